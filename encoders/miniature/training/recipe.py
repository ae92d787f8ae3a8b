"""All numbers that decide the weights."""

from __future__ import annotations

from dataclasses import dataclass

from encoders.errors import EncoderError


@dataclass(frozen=True)
class Recipe:
    """What is drawn, what is built, and how it is trained. The same recipe on the same machine gives the same weights.

    Parameters
    ----------
    seed : of everything: scenes, first weights, order, augmentation.
    pairs : scenes with their twins.
    share_of_shapes : of the pairs are of silent world A, in the drawn material and in every batch.
    wordings : captions of each scene, each in both languages.
    voices, skies : single sounds of each kind and size, and of each weather, to mix from.
    workers, batch : processes of one thread, and scenes that each takes in a step; their gradients are averaged.
    width, hidden, layers, text_layers, heads, dimension : of the towers; the last is that of the common space.
    steps, warm_up, cooling : the learning rate rises over the first `warm_up` steps, stays, and falls in a straight line to zero over the
        last `cooling`. What happens before does not depend on `steps`, so that a run can be made longer until then.
    rate, matrix_rate, decay : learning rate of AdamW, of Muon, which trains the blocks' matrices, and weight decay of both.
    dropped : share of the patches that a tower does not see until the rate falls (FLIP, Li et al. 2023).
    help_weight, help_rest, help_steps : weight of the training-only heads at the start, after that many steps, and how many.
    picture_sound, languages : weights of these pairs; pairs with a text weigh 1 in each language.
    coldest : the highest scale of the cosines (an inverse temperature).
    checkpoint_every : steps.
    """

    seed: int = 1
    pairs: int = 30_000
    pairs_per_chunk: int = 1_000
    share_of_shapes: float = 0.42
    wordings: int = 4
    voices: int = 256
    skies: int = 512
    workers: int = 2
    batch: int = 128
    width: int = 128
    hidden: int = 256
    layers: int = 4
    text_layers: int = 3
    heads: int = 4
    dimension: int = 128
    steps: int = 5_000
    warm_up: int = 100
    cooling: int = 1_000
    rate: float = 2e-3
    matrix_rate: float = 2e-3
    decay: float = 0.05
    dropped: float = 0.5
    help_weight: float = 1.0
    help_rest: float = 0.1
    help_steps: int = 2_400
    picture_sound: float = 1.0
    languages: float = 0.3
    coldest: float = 60.0
    checkpoint_every: int = 100

    def __post_init__(self) -> None:
        for name in ("pairs", "pairs_per_chunk", "wordings", "voices", "skies", "workers", "batch", "steps", "warm_up"):
            if getattr(self, name) < 1:
                raise EncoderError(f"{name} is {getattr(self, name)}; it must be at least 1")
        if self.pairs % self.pairs_per_chunk:
            raise EncoderError(f"{self.pairs} pairs are no whole number of chunks of {self.pairs_per_chunk}")

    @property
    def cools_at(self) -> int:
        """The step from which on the learning rate falls."""
        return max(0, self.steps - self.cooling)
