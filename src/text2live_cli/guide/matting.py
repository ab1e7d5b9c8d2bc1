"""The rim of a cut-out, matted against its picture: a guided filter (He, Sun and Tang 2010).

Twice, the second time on what the first made of it, and on a smaller copy where the picture is
large, whose coefficients are enlarged (the "fast guided filter", He and Sun 2015). Chosen by
bench/matting.py (docs/region.md).
"""

from __future__ import annotations

from itertools import product
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

_RADIUS = 0.015  # of the short side, of the filter's window
_EPSILON = 1e-3  # variance of colour under which a window counts as flat
_CONTRASTS = (2.0, 1.3)  # of each round: the filter blurs beyond the picture's own edges
_COARSE = 8  # pixels of the radius from which on the copy is smaller
_TILE = 512  # pixels a side of the copy, at a time: memory hardly grows with the picture
_ROWS = 256  # of the picture, at a time

Map = NDArray[np.float32]


def matted(mask: Map, picture: NDArray[np.uint8]) -> Map:
    """`mask` (H, W) in [0, 1] with the edges of `picture` (H, W, 3), soft where these are.

    Nothing changes further from its rim than four times the radius.
    """
    radius = max(2, round(_RADIUS * min(mask.shape)))
    scale = max(1, radius // _COARSE)
    side, margin = _TILE * scale, -(-4 * radius // scale) * scale
    result = mask.copy()
    for corner in product(*(range(0, length, side) for length in mask.shape)):
        around = tuple(slice(max(at - margin, 0), at + side + margin) for at in corner)
        part = mask[around]
        if part.min() < part.max():
            inner = tuple(
                slice(at - span.start, min(at - span.start + side, length))
                for at, span, length in zip(corner, around, part.shape, strict=True)
            )
            place = tuple(slice(at, at + side) for at in corner)
            result[place] = _tile(part, picture[around], inner, round(radius / scale), scale)
    return result


def _tile(
    mask: Map, picture: NDArray[np.uint8], inner: tuple[slice, ...], radius: int, scale: int
) -> Map:
    """The `inner` part of a mask (h, w), matted by a copy of 1/`scale` the size."""
    small, guide = _shrunk(mask, scale), _guide(_shrunk(picture, scale))
    first, second = _CONTRASTS
    rough = _applied(_local_linear(small, guide, radius), guide, first)
    linear = _local_linear(rough, guide, radius)
    rows, columns = inner
    x = (np.arange(columns.start, columns.stop, dtype=np.float32) + 0.5) / scale - 0.5
    parts = []
    for top in range(rows.start, rows.stop, _ROWS):
        bottom = min(top + _ROWS, rows.stop)
        y = (np.arange(top, bottom, dtype=np.float32) + 0.5) / scale - 0.5
        places = np.meshgrid(x, y)
        here = cv2.remap(linear, *places, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        parts.append(_applied(here, _guide(picture[top:bottom, columns]), second))
    return np.concatenate(parts)


def _shrunk(values: NDArray[Any], scale: int) -> NDArray[Any]:
    """(h, w, …) at exactly 1/`scale` of the size; what is over is filled with the border."""
    if scale == 1:
        return values
    height, width = (-(-side // scale) for side in values.shape[:2])
    over = height * scale - values.shape[0], width * scale - values.shape[1]
    whole = cv2.copyMakeBorder(values, 0, over[0], 0, over[1], cv2.BORDER_REPLICATE)
    return cv2.resize(whole, (width, height), interpolation=cv2.INTER_AREA)


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
