"""OpenCV's filters as they are used here, with types."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.float32]
"""(H, W, 3) in [0, 1]."""
Map = NDArray[np.float32]
"""(H, W)."""
Mask = NDArray[np.bool_]
"""(H, W)."""
Bytes = NDArray[np.uint8]


def blurred(values: NDArray[np.float32], sigma: float) -> NDArray[np.float32]:
    """(H, W) or (H, W, 3), by a Gaussian of `sigma` pixels; 0: as they are."""
    return _floats(cv2.GaussianBlur(values, (0, 0), sigma)) if sigma else values


def shrunk(values: NDArray[np.float32], scale: float) -> NDArray[np.float32]:
    """(H, W) or (H, W, 3) at `scale` times the size, by averaging; 1: as they are."""
    if scale == 1:
        return values
    height, width = (max(1, round(side * scale)) for side in values.shape[:2])
    return _floats(cv2.resize(values, (width, height), interpolation=cv2.INTER_AREA))


def enlarged(values: NDArray[np.float32], size: tuple[int, ...]) -> NDArray[np.float32]:
    """At `size` (H, W), bilinear."""
    return _floats(cv2.resize(values, size[1::-1], interpolation=cv2.INTER_LINEAR))


def gray(picture: Image) -> Map:
    """Brightness."""
    return _floats(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY))


def lab(picture: Image) -> Image:
    """CIE Lab: L from 0 to 100."""
    return _floats(cv2.cvtColor(picture, cv2.COLOR_RGB2Lab))


def length(values: NDArray[Any]) -> NDArray[Any]:
    """(…, C) → (…): Euclidean; several times faster than numpy's own norm of short vectors."""
    return np.asarray(np.sqrt(np.einsum("...c,...c->...", values, values)))


def grown(mask: Mask, reach: int) -> Mask:
    """By so many pixels, in squares."""
    return cv2.dilate(mask.astype(np.uint8), _square(reach)).astype(bool)


def narrowed(mask: Mask, reach: int) -> Mask:
    """By so many pixels, in squares."""
    return cv2.erode(mask.astype(np.uint8), _square(reach)).astype(bool)


def closed(mask: Mask, reach: int) -> Mask:
    """Without gaps of so many pixels."""
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1,) * 2)
    return cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_CLOSE, disc).astype(bool)


def without_small(mask: Mask, least: int) -> Mask:
    """Without the pieces of fewer pixels."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    large = stats[:, cv2.CC_STAT_AREA] >= least
    large[0] = False
    return np.asarray(large[labels], bool)


def pieces(mask: Mask) -> NDArray[np.int32]:
    """A number for each piece, 0 outside."""
    return np.asarray(cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)[1], np.int32)


def bounds(mask: Mask, margin: int = 0) -> tuple[slice, slice]:
    """The window about a mask, with a margin; empty where the mask is."""
    x, y, width, height = cv2.boundingRect(mask.astype(np.uint8))
    if not width:
        return slice(0, 0), slice(0, 0)
    top, left = max(0, y - margin), max(0, x - margin)
    return slice(top, y + height + margin), slice(left, x + width + margin)


def _square(reach: int) -> Bytes:
    return np.ones((2 * reach + 1,) * 2, np.uint8)


def _floats(values: object) -> NDArray[np.float32]:
    return np.asarray(values, np.float32)
