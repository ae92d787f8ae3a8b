"""Media through an encoder as one batch, the way the pipeline does it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from encoders.spec import Encoder
from encoders.stacking import stack


def vectors(encoder: Encoder, media: Sequence[Any]) -> np.ndarray:
    """Vectors of all media, prepared one by one and encoded together: float32 (n, dimension)."""
    prepared = [encoder.prepare(medium) for medium in media]
    return encoder.encode(stack({name: [one[name] for one in prepared] for name in prepared[0]}, range(len(prepared))))
