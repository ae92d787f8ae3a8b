"""Training-only heads: what a tower has understood, asked attribute by attribute. They are thrown away.

A contrastive loss tells a tower only that it was wrong; these tell it what it missed, and that brings it to the point some times sooner.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from encoders.miniature.scenes import SOUNDERS, WEATHERS
from encoders.miniature.training.meanings import ABSENT, AXIS, CLASSES, UNTOLD, WEATHER
from encoders.miniature.training.towers import Seen

FIRST_SOUNDER = ABSENT[0] - len(SOUNDERS)
THING = CLASSES[:3]
PAIRED = ABSENT[0] * (ABSENT[1] + ABSENT[2])  # kinds with colours, kinds with sizes


class Helpers(nn.Module):
    """Heads on the pooled state of a picture, its patches, the pooled state of a sound, and of a caption."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.scene = nn.Linear(width, sum(CLASSES))
        self.patch = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, sum(THING)))
        self.sound = nn.Linear(width, 2 * len(SOUNDERS) + len(WEATHERS))
        self.told = nn.Linear(width, sum(CLASSES))
        self.things = nn.Linear(width, PAIRED)

    def pictures(self, seen: Seen, facts: Tensor, places: Tensor) -> Tensor:
        """Attributes of the scene, and of the thing that each patch shows. facts (n, 8), places (n, patches) int64."""
        absent = torch.tensor(ABSENT).expand(len(facts), 1, 3)
        shown = torch.cat([absent, facts[:, :AXIS].view(-1, 2, 3)], 1)  # (n, 3 of `places`, 3 attributes)
        labels = shown.gather(1, places[:, :, None].expand(-1, -1, 3)).flatten(0, 1)
        logits = self.patch(seen.patches).flatten(0, 1).split(THING, 1)
        patches = sum(functional.cross_entropy(z, labels[:, i]) for i, z in enumerate(logits)) / 3
        return 2 * _attributes(self.scene(seen.pooled), facts) + 2 * patches

    def sounds(self, seen: Seen, facts: Tensor) -> Tensor:
        """Which things in which size, and the weather."""
        logits = self.sound(seen.pooled)
        voices = functional.binary_cross_entropy_with_logits(logits[:, : -len(WEATHERS)], _voices(facts))
        return 8 * voices + functional.cross_entropy(logits[:, -len(WEATHERS) :], facts[:, WEATHER])

    def texts(self, pooled: Tensor, told: Tensor) -> Tensor:
        """What the caption tells: by place where it tells places, and always each kind with its colour and its size."""
        placed = torch.where((told[:, AXIS] == UNTOLD)[:, None] & (torch.arange(8) < AXIS), UNTOLD, told)
        return 2 * _attributes(self.told(pooled), placed) + 20 * functional.binary_cross_entropy_with_logits(
            self.things(pooled), _paired(told)
        )


def _attributes(logits: Tensor, facts: Tensor) -> Tensor:
    losses = [
        functional.cross_entropy(z, facts[:, i], ignore_index=UNTOLD, reduction="sum") / len(facts)
        for i, z in enumerate(torch.split(logits, list(CLASSES), 1))
    ]
    return torch.stack(losses).mean()


def _voices(facts: Tensor) -> Tensor:
    marks = torch.zeros(len(facts), 2 * len(SOUNDERS) + 3)
    for kind, size in ((0, 2), (3, 5)):
        there = facts[:, kind] != ABSENT[0]
        place = torch.where(there, (facts[:, kind] - FIRST_SOUNDER) * 2 + facts[:, size], 2 * len(SOUNDERS))
        marks.scatter_(1, place[:, None], 1.0)
    return marks[:, : 2 * len(SOUNDERS)]


def _paired(told: Tensor) -> Tensor:
    colors, sizes, kinds = ABSENT[1], ABSENT[2], ABSENT[0]
    marks = torch.zeros(len(told), PAIRED + 1)  # the last for what is not told
    for at in (0, 3):
        kind, color, size = told[:, at], told[:, at + 1], told[:, at + 2]
        named = (kind >= 0) & (kind < kinds)
        marks.scatter_(1, torch.where(named & (color >= 0), kind * colors + color, PAIRED)[:, None], 1.0)
        marks.scatter_(1, torch.where(named & (size >= 0), kinds * colors + kind * sizes + size, PAIRED)[:, None], 1.0)
    return marks[:, :PAIRED]
