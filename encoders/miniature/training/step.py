"""One step: what is seen of a batch, and the losses."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from encoders.align.losses import info_nce
from encoders.miniature.training.heads import Helpers
from encoders.miniature.training.meanings import fits, fits_by_ear
from encoders.miniature.training.recipe import Recipe
from encoders.miniature.training.towers import Miniature, Seen, normal_pictures, normal_sounds
from encoders.miniature.training.world import Batch


def augment_pictures(pixels: Tensor, g: torch.Generator) -> Tensor:
    """Shifted by up to three pixels, now and then blurred, with other contrast, brightness and tint."""
    n = len(pixels)
    padded = functional.pad(pixels, (3,) * 4, mode="replicate")
    shifts = torch.randint(0, 7, (4, 2), generator=g).tolist()
    blurs = torch.rand(4, generator=g).tolist()
    parts = []
    for part, (i, j), blur in zip(padded.chunk(4), shifts, blurs, strict=True):
        shifted = part[:, :, i : i + 64, j : j + 64]
        if blur < 0.25:
            soft = functional.avg_pool2d(functional.pad(shifted, (1,) * 4, mode="replicate"), 3, 1)
            shifted = torch.lerp(shifted, soft, 4 * blur)
        parts.append(shifted)
    contrast, light = torch.rand(n, 1, 1, 1, generator=g), torch.randn(n, 1, 1, 1, generator=g)
    return torch.cat(parts) * (0.9 + 0.2 * contrast) + 0.1 * light + 0.04 * torch.randn(n, 3, 1, 1, generator=g)


def augment_sounds(mel: Tensor, g: torch.Generator) -> Tensor:
    """Shifted in time and loudness, with stripes of bands and of frames masked."""
    n = len(mel)
    mel = torch.roll(mel, int(torch.randint(-24, 25, (1,), generator=g)), 1) + 0.1 * torch.randn(n, 1, 1, generator=g)
    for part in mel.chunk(4):
        band, wide, frame, long, _ = torch.rand(5, generator=g).tolist()
        part[:, :, int(band * 58) : int(band * 58) + int(wide * 7)] = -1
        part[:, int(frame * 280) : int(frame * 280) + int(long * 24)] = -1
    return mel


def keep(count: int, patches: int, share: float, g: torch.Generator) -> Tensor | None:
    """Patches to look at, other ones for each item: int64 (count, kept), or None for all."""
    if share <= 0:
        return None
    return torch.rand(count, patches, generator=g).argsort(1)[:, : round(patches * (1 - share))].sort(1).values


def trimmed(tokens: np.ndarray) -> Tensor:
    """Without the padding that all have."""
    return torch.from_numpy(tokens[:, : int((tokens != 0).sum(1).max())].astype(np.int64))


def texts_in_two(model: Miniature, tokens: np.ndarray) -> tuple[Tensor, Tensor]:
    """Short and long ones apart, so that little is spent on padding."""
    order = np.argsort((tokens != 0).sum(1), kind="stable")
    halves = [model.texts(trimmed(tokens[half])) for half in np.array_split(order, 3)]
    back = torch.from_numpy(np.argsort(order))
    return torch.cat([v for v, _ in halves])[back], torch.cat([p for _, p in halves])[back]


def loss_of(
    model: Miniature, helpers: Helpers, batch: Batch, step: int, recipe: Recipe, g: torch.Generator
) -> tuple[Tensor, dict[str, float]]:
    n, sounding = len(batch.facts), batch.sounding
    facts, told = torch.from_numpy(batch.facts.astype(np.int64)), torch.from_numpy(batch.told.astype(np.int64))
    dropped = recipe.dropped if step < recipe.cools_at else 0.0
    pixels = augment_pictures(normal_pictures(batch.pictures), g)
    picture: Seen = model.pictures(pixels, kept := keep(n, 64, dropped, g))
    sound = model.sounds(augment_sounds(normal_sounds(batch.sounds), g), keep(sounding, 76, dropped, g))
    text, pooled = texts_in_two(model, batch.captions.reshape(2 * n, -1))
    scale = model.scale.clamp(max=recipe.coldest)
    seen = torch.from_numpy(fits(batch.told, batch.facts))
    heard = torch.from_numpy(fits_by_ear(batch.told[-sounding:], batch.facts[-sounding:]))
    alike = torch.from_numpy(fits_by_ear(batch.facts[-sounding:], batch.facts[-sounding:]))
    equal = (told[:, None] == told[None]).all(-1)
    losses = {
        "en-image": info_nce(text[:n], picture.vectors, scale, seen),
        "zh-image": info_nce(text[n:], picture.vectors, scale, seen),
        "en-audio": info_nce(text[:n][-sounding:], sound.vectors, scale, heard),
        "zh-audio": info_nce(text[n:][-sounding:], sound.vectors, scale, heard),
        "image-audio": recipe.picture_sound * info_nce(picture.vectors[-sounding:], sound.vectors, scale, alike),
        "en-zh": recipe.languages * info_nce(text[:n], text[n:], scale, equal),
    }
    done = min(1.0, step / recipe.help_steps)
    weight = (1 - done) * recipe.help_weight + done * recipe.help_rest
    places = torch.from_numpy(batch.places.astype(np.int64))
    helped = {
        "help image": helpers.pictures(picture, facts, places if kept is None else places.gather(1, kept)),
        "help audio": helpers.sounds(sound, facts[-sounding:]),
        "help text": helpers.texts(pooled, told.repeat(2, 1)),
    }
    total = torch.stack([*losses.values()]).sum() + weight * torch.stack([*helped.values()]).sum()
    return total, {name: float(value.detach()) for name, value in {**losses, **helped}.items()}
