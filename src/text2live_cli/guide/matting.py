"""The rim of a cut-out, matted against its picture: a guided filter (He, Sun and Tang 2010)."""

from __future__ import annotations

from itertools import product
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

_RADIUS = 0.012  # of the short side: so far from its rim a cut-out is matted
_EPSILON = 1e-3  # variance of colour under which a window counts as flat
_CONTRAST = 1.6  # what the filter blurs beyond the picture's own edges
_TILE = 512  # pixels a side, at a time, so that memory hardly grows with the picture

Map = NDArray[np.float32]


def matted(mask: Map, picture: NDArray[np.uint8]) -> Map:
    """`mask` (H, W) in [0, 1] with the edges of `picture` (H, W, 3), soft where these are.

    Nothing changes further from its rim than twice `_RADIUS`.
    """
    radius = max(2, round(_RADIUS * min(mask.shape)))
    result = np.empty_like(mask)
    for corner in product(*(range(0, side, _TILE) for side in mask.shape)):
        around = tuple(slice(max(at - 2 * radius, 0), at + _TILE + 2 * radius) for at in corner)
        inner = tuple(
            slice(at - span.start, at - span.start + _TILE)
            for at, span in zip(corner, around, strict=True)
        )
        part = mask[around]
        if part.min() < part.max():
            part = _guided(part, picture[around], radius)
        result[tuple(slice(at, at + _TILE) for at in corner)] = part[inner]
    return result


def _guided(mask: Map, picture: NDArray[np.uint8], radius: int) -> Map:
    guide = picture.astype(np.float32) / 255
    mean_guide, mean_mask = _mean(guide, radius), _mean(mask, radius)
    covariance = _mean(guide * mask[..., None], radius) - mean_guide * mean_mask[..., None]
    products = (guide[..., :, None] * guide[..., None, :]).reshape(*mask.shape, 9)
    variance = np.stack([_mean(p, radius) for p in np.moveaxis(products, -1, 0)], axis=-1)
    variance = variance.reshape(*mask.shape, 3, 3)
    variance -= mean_guide[..., :, None] * mean_guide[..., None, :]
    variance += _EPSILON * np.eye(3, dtype=np.float32)
    slope = np.linalg.solve(variance, covariance[..., None])[..., 0]
    offset = mean_mask - (slope * mean_guide).sum(-1)
    soft = (_mean(slope, radius) * guide).sum(-1) + _mean(offset, radius)
    return np.clip((soft - 0.5) * _CONTRAST + 0.5, 0, 1).astype(np.float32)


def _mean(values: NDArray[Any], radius: int) -> NDArray[np.float32]:
    side = 2 * radius + 1
    mean = cv2.blur(values, (side, side), borderType=cv2.BORDER_REFLECT)
    return mean.astype(np.float32, copy=False)
