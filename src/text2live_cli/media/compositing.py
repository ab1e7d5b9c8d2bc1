"""A layer over a picture, in whole numbers: what it does not cover stays bit-equal."""

from __future__ import annotations

import numpy as np

from .blending import NORMAL, blend

_PIXELS = 1_000_000  # at a time, so that memory does not grow with the picture


def lay_over(
    source: np.ndarray, layer: np.ndarray, opacity: float = 1.0, mode: str = NORMAL
) -> np.ndarray:
    """Composite a straight-alpha layer (H, W, 4) uint8 over a source (H, W, 3) uint8 or uint16.

    Where alpha is 0 the source's values come out untouched, where it is 255 the layer's colour, or
    what the blend `mode` makes of the two.
    """
    result = source.copy()
    most = np.iinfo(source.dtype).max
    step = max(1, _PIXELS // source.shape[1])
    for top in range(0, len(source), step):
        rows = slice(top, top + step)
        place = rows, _covered(layer[rows, :, 3])
        below = source[place].astype(np.float64)
        color = layer[place][..., :3].astype(np.float64) * (most // 255)
        if mode != NORMAL:
            color = blend(mode, below / most, color / most) * most
        share = layer[place][..., 3:].astype(np.float64) / 255 * opacity
        result[place] = np.rint(below + share * (color - below)).astype(source.dtype)
    return result


def _covered(alpha: np.ndarray) -> slice:
    """The columns of (h, w) from the first that is covered to the last."""
    columns = np.flatnonzero(alpha.any(axis=0))
    return slice(columns[0], columns[-1] + 1) if len(columns) else slice(0)
