"""The rim of a cut-out, matted against its picture: a guided filter (He, Sun and Tang 2010).

Twice, the second time on what the first made of it, and on a smaller copy where the picture is
large, whose coefficients are enlarged (the "fast guided filter", He and Sun 2015). Chosen by
bench/matting.py (docs/region.md).
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

_RADIUS = 0.015  # of the short side, of the filter's window
_EPSILON = 1e-3  # variance of colour under which a window counts as flat
_CONTRASTS = (2.0, 1.3)  # of each round: the filter blurs beyond the picture's own edges
_COARSE = 8  # pixels of the radius from which on the copy is smaller
_ROWS = 256  # of the result at a time, so that memory hardly grows with the picture

Map = NDArray[np.float32]


def matted(mask: Map, picture: NDArray[np.uint8]) -> Map:
    """`mask` (H, W) in [0, 1] with the edges of `picture` (H, W, 3), soft where these are.

    Nothing changes further from its rim than four times the radius.
    """
    height, width = mask.shape
    radius = max(2, round(_RADIUS * min(height, width)))
    scale = max(1, radius // _COARSE)
    size = max(1, round(width / scale)), max(1, round(height / scale))
    small = cv2.resize(mask, size, interpolation=cv2.INTER_AREA).astype(np.float32, copy=False)
    guide = _guide(cv2.resize(picture, size, interpolation=cv2.INTER_AREA))
    first, second = _CONTRASTS
    rough = _applied(_local_linear(small, guide, round(radius / scale)), guide, first)
    linear = _local_linear(rough, guide, round(radius / scale))
    x = (np.arange(width, dtype=np.float32) + 0.5) * (size[0] / width) - 0.5
    y = (np.arange(height, dtype=np.float32) + 0.5) * (size[1] / height) - 0.5
    result = np.empty_like(mask)
    for top in range(0, height, _ROWS):
        rows = slice(top, top + _ROWS)
        at_x, at_y = np.meshgrid(x, y[rows])
        here = cv2.remap(linear, at_x, at_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        result[rows] = _applied(here, _guide(picture[rows]), second)
    return result


def _guide(picture: NDArray[Any]) -> NDArray[np.float32]:
    return np.asarray(picture, np.float32) / np.float32(255)


def _local_linear(mask: Map, guide: NDArray[np.float32], radius: int) -> NDArray[np.float32]:
    """Slopes by colour and offset (h, w, 4) of mask ≈ slope · guide + offset, around each pixel."""
    mean_guide, mean_mask = _mean(guide, radius), _mean(mask, radius)
    covariance = _mean(guide * mask[..., None], radius) - mean_guide * mean_mask[..., None]
    products = (guide[..., :, None] * guide[..., None, :]).reshape(*mask.shape, 9)
    variance = np.stack([_mean(p, radius) for p in np.moveaxis(products, -1, 0)], axis=-1)
    variance = variance.reshape(*mask.shape, 3, 3)
    variance -= mean_guide[..., :, None] * mean_guide[..., None, :]
    variance += _EPSILON * np.eye(3, dtype=np.float32)
    slope = np.linalg.solve(variance, covariance[..., None])[..., 0]
    offset = mean_mask - (slope * mean_guide).sum(-1)
    return _mean(np.dstack([slope, offset]), radius)


def _applied(linear: NDArray[Any], guide: NDArray[np.float32], contrast: float) -> Map:
    soft = (linear[..., :3] * guide).sum(-1) + linear[..., 3]
    return np.clip((soft - 0.5) * contrast + 0.5, 0, 1).astype(np.float32)


def _mean(values: NDArray[Any], radius: int) -> NDArray[np.float32]:
    side = 2 * radius + 1
    mean = cv2.blur(values, (side, side), borderType=cv2.BORDER_REFLECT)
    return mean.astype(np.float32, copy=False)
