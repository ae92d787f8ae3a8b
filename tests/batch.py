"""Media through an encoder as one batch, the way the pipeline does it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from encoders.spec import Encoder
from encoders.stacking import together


def vectors(encoder: Encoder, media: Sequence[Any]) -> np.ndarray:
    """Vectors of all media, prepared one by one and encoded together: float32 (n, dimension)."""
    prepared = [encoder.prepare(medium) for medium in media]
    return encoder.encode(together(prepared))
