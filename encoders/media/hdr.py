"""Frames of high dynamic range as a usual screen shows them: without this they look grey and flat."""

from __future__ import annotations

from functools import cache

import numpy as np

_WHITE = 203.0  # candelas per square metre of diffuse white (ITU-R BT.2408); what is brighter is clipped
_GAMMA = 2.4  # of a screen (ITU-R BT.1886)
_STRIP = 128  # lines that are converted at a time, for memory
_STEPS = 4095

PQ, HLG = 16, 18  # AVCOL_TRC_SMPTE2084, AVCOL_TRC_ARIB_STD_B67
BT2020 = 9  # AVCOL_PRI_BT2020

# Linear light of BT.2020's primaries as that of BT.709's (ITU-R BT.2087).
_PRIMARIES = np.array([[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]], np.float32)


def to_standard(rgb: np.ndarray, transfer: int, primaries: int) -> np.ndarray:
    """Pixels of PQ or HLG as those of a standard picture; all others as they are.

    Parameters
    ----------
    rgb : uint8 (height, width, 3), values as they are coded.
    transfer, primaries : as FFmpeg numbers them.

    Returns
    -------
    uint8 (height, width, 3)
    """
    if transfer not in (PQ, HLG):
        return rgb
    light, coded = _light(transfer), _coded()
    shown = np.empty_like(rgb)
    for top in range(0, len(rgb), _STRIP):
        linear = light[rgb[top : top + _STRIP]]  # (lines, width, 3), 1 is white
        if primaries == BT2020:
            linear = linear @ _PRIMARIES.T
        shown[top : top + _STRIP] = coded[np.rint(np.clip(linear, 0, 1) * _STEPS).astype(np.uint16)]
    return shown


@cache
def _light(transfer: int) -> np.ndarray:
    """Light of each of 256 coded values, float32 (256,), 1 is white."""
    value = np.arange(256) / 255
    light = _pq(value) if transfer == PQ else _hlg(value)
    return (light / _WHITE).astype(np.float32)


def _pq(value: np.ndarray) -> np.ndarray:
    """SMPTE ST 2084, in candelas per square metre."""
    m1, m2, c1, c2, c3 = 2610 / 16384, 2523 / 32, 3424 / 4096, 2413 / 128, 2392 / 128
    root = value ** (1 / m2)
    return np.asarray(10_000 * (np.maximum(root - c1, 0) / (c2 - c3 * root)) ** (1 / m1))


def _hlg(value: np.ndarray) -> np.ndarray:
    """ITU-R BT.2100's hybrid log-gamma on a screen of 1,000 candelas per square metre, whose gamma of 1.2 is taken by channel."""
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    scene = np.where(value <= 0.5, value**2 / 3, (np.exp((value - c) / a) + b) / 12)
    return np.asarray(1000 * scene**1.2)


@cache
def _coded() -> np.ndarray:
    """Coded value of each step of light, uint8."""
    return np.rint(255 * (np.arange(_STEPS + 1) / _STEPS) ** (1 / _GAMMA)).astype(np.uint8)
