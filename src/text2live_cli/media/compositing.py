"""A layer over a picture, in whole numbers: what it does not cover stays bit-equal."""

from __future__ import annotations

import numpy as np

_PIXELS = 1_000_000  # at a time, so that memory does not grow with the picture


def lay_over(source: np.ndarray, layer: np.ndarray, opacity: float = 1.0) -> np.ndarray:
    """Composite a straight-alpha layer (H, W, 4) uint8 over a source (H, W, 3) uint8 or uint16.

    Where alpha is 0 the source's values come out untouched, where it is 255 the layer's colour.
    """
    result = np.empty_like(source)
    scale = np.iinfo(source.dtype).max // 255
    step = max(1, _PIXELS // source.shape[1])
    for top in range(0, len(source), step):
        rows = slice(top, top + step)
        below = source[rows].astype(np.float64)
        color = layer[rows, :, :3].astype(np.float64) * scale
        share = layer[rows, :, 3:].astype(np.float64) / 255 * opacity
        result[rows] = np.rint(below + share * (color - below)).astype(source.dtype)
    return result
