"""What training minimises: a contrastive loss between all pairs of modalities, with the scale and bias that are learned along."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from functools import partial
from itertools import combinations
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional

from encoders.align import losses
from encoders.errors import EncoderError
from encoders.spec import MODALITIES, Modality

Loss = Literal["info-nce", "multi-positive", "sigmoid"]
LOSSES: tuple[Loss, ...] = get_args(Loss)
MOST = 100.0  # CLIP's limit of the scale: above it training becomes unstable

Extras = Mapping[Modality, tuple[Tensor, Tensor]]
"""Further candidates by modality: vectors (m, d) and their ids, int64 (m,)."""


class Objective(nn.Module):
    """Vectors of several modalities into one loss, over all pairs of modalities.

    Parameters
    ----------
    loss : "info-nce" (CLIP), "multi-positive" (equal items are positives), or "sigmoid" (SigLIP).
    weights : of pairs of modalities, such as {"image-audio": 0.7}; 1 for those not named, 0 leaves a pair out.
    scale : what cosines are multiplied by at the start; by default CLIP's 1 / 0.07, or SigLIP's 10.
    bias : at the start, of the sigmoid loss alone.
    learned : whether scale and bias are trained.
    most : highest scale, see `clamp`.
    """

    def __init__(
        self,
        loss: Loss = "info-nce",
        weights: Mapping[str, float] | None = None,
        scale: float | None = None,
        bias: float = -10.0,
        learned: bool = True,
        most: float = MOST,
    ) -> None:
        super().__init__()
        if loss not in LOSSES:
            raise EncoderError(f"loss {loss!r} is unknown; use {', '.join(LOSSES)}")
        scale = (10.0 if loss == "sigmoid" else 1 / 0.07) if scale is None else scale
        if not 0 < scale <= most:
            raise EncoderError(f"scale = {scale} is not above 0 and at most {most}; CLIP begins with 14.3, SigLIP with 10")
        self.loss = loss
        self.weights = _checked(weights or {})
        self.most = most
        self.log_scale = nn.Parameter(torch.tensor(math.log(scale)), requires_grad=learned)
        if loss == "sigmoid":
            self.bias = nn.Parameter(torch.tensor(float(bias)), requires_grad=learned)

    @property
    def scale(self) -> Tensor:
        """What cosines are multiplied by."""
        return self.log_scale.exp()

    def clamp(self) -> None:
        """Bring the scale back under its limit; the loop calls this after every step, so that the scale can also fall again."""
        with torch.no_grad():
            self.log_scale.clamp_(max=math.log(self.most))

    def forward(
        self, vectors: Mapping[Modality, Tensor], ids: Mapping[Modality, Tensor], extras: Extras | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The weighted mean of the losses of all pairs of modalities, and each of them by name.

        Parameters
        ----------
        vectors : (n, d) by modality, of any length; row i of all of them belongs together.
        ids : int64 (n,) by modality: equal where the contents are; -1 where this row lacks the modality and its vector means nothing.
        extras : hard negatives by modality: further wrong candidates for the rows of every other modality.

        Returns
        -------
        A scalar, and {"text-image": scalar without gradient, …} of the pairs of which this batch has rows.

        Raises
        ------
        EncoderError : no row has two modalities that are trained on.
        """
        parts: dict[str, Tensor] = {}
        total, weights = self.log_scale.new_zeros(()), 0.0
        for a, b in combinations([modality for modality in MODALITIES if modality in vectors], 2):
            name, weight = pair_name(a, b), self.weights.get(pair_name(a, b), 1.0)
            if weight and (part := self._pair_loss(a, b, vectors, ids, extras or {})) is not None:
                parts[name] = part.detach()
                total, weights = total + weight * part, weights + weight
        if not parts:
            raise EncoderError(f"no row of this batch has two of {', '.join(vectors)}; a row needs two modalities whose weight is not 0")
        return total / weights, parts

    def _pair_loss(
        self, a: Modality, b: Modality, vectors: Mapping[Modality, Tensor], ids: Mapping[Modality, Tensor], extras: Extras
    ) -> Tensor | None:
        both = (ids[a] >= 0) & (ids[b] >= 0)
        if not both.any():
            return None
        whole = bool(both.all())
        (va, ia), (vb, ib) = ((vectors[m], ids[m]) if whole else (vectors[m][both], ids[m][both]) for m in (a, b))
        same = losses.equal(ia, ib) if _repeats(ia) or _repeats(ib) else None
        negatives = _negatives(extras, b, ia, ib)
        negatives_of_b = _negatives(extras, a, ib, ia)
        one = partial(losses.sigmoid, bias=self.bias) if self.loss == "sigmoid" else _BY_NAME[self.loss]
        return one(unit(va), unit(vb), self.scale, same=same, negatives=negatives, negatives_of_b=negatives_of_b)


_BY_NAME = {"info-nce": losses.info_nce, "multi-positive": losses.multi_positive_info_nce}


def unit(vectors: Tensor) -> Tensor:
    """Vectors (n, d) brought to length one, in float32 at least."""
    return functional.normalize(vectors if vectors.dtype == torch.float64 else vectors.float(), dim=1)


def pair_name(a: Modality, b: Modality) -> str:
    """A pair's name: "text-image", always in the order text, image, audio, video."""
    return "-".join(sorted((a, b), key=MODALITIES.index))


def trained_pairs(modalities: Iterable[Modality], weights: Mapping[str, float]) -> list[tuple[Modality, Modality]]:
    """Pairs of some modalities whose weight is not 0, each in the order of its name."""
    known, found = _checked(weights), set(modalities)
    pairs = combinations([modality for modality in MODALITIES if modality in found], 2)
    return [pair for pair in pairs if known.get(pair_name(*pair), 1.0)]


def _checked(weights: Mapping[str, float]) -> dict[str, float]:
    for name, weight in weights.items():
        if not (math.isfinite(weight) and weight >= 0):
            raise EncoderError(f"the weight of {name} is {weight:g}; weights are 0, which leaves the pair out, or more")
    return {pair_name(*_pair(name)): float(weight) for name, weight in weights.items()}


def _pair(name: str) -> tuple[Modality, Modality]:
    found = [modality for modality in MODALITIES if modality in name.split("-")]
    if len(found) != 2 or len(name.split("-")) != 2:
        raise EncoderError(f"{name!r} is no pair of modalities; write two of {', '.join(MODALITIES)} with a hyphen, as in text-image")
    return found[0], found[1]


def _repeats(ids: Tensor) -> bool:
    return len(torch.unique(ids)) < len(ids)


def _negatives(extras: Extras, modality: Modality, ids: Tensor, partners: Tensor) -> losses.Negatives | None:
    """Extras of one modality as candidates for rows of another, those left out that the batch knows to be right."""
    if modality not in extras:
        return None
    vectors, candidates = extras[modality]
    return losses.Negatives(unit(vectors), losses.equal(ids, partners, candidates))
