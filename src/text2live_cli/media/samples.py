"""Samples of pictures: whole numbers, and [0, 1]."""

from __future__ import annotations

import numpy as np

MAX_PIXELS = 100_000_000
"""Larger pictures are refused from their header, before any memory is taken for them."""


class RefusedError(Exception):
    """A file that is sound or not, but not for us; the text says why and what to do."""


def to_unit(array: np.ndarray) -> np.ndarray:
    """Turn uint8 or uint16 values into float32 in [0, 1]; `to_uint` gives them back exactly."""
    return array.astype(np.float32) / np.float32(np.iinfo(array.dtype).max)


def to_uint(array: np.ndarray, max_value: int) -> np.ndarray:
    """Turn floats in [0, 1] into rounded and clipped uint8 (`max_value` 255) or uint16 (65535)."""
    scaled = np.clip(array, 0, 1)
    scaled *= max_value  # in place, to spare memory
    return np.rint(scaled, out=scaled).astype(np.uint8 if max_value == 255 else np.uint16)


def check_size(width: int, height: int) -> None:
    """Raise RefusedError for a picture of more than `MAX_PIXELS`."""
    if width * height > MAX_PIXELS:
        raise RefusedError(
            f"{width}×{height} pixels are too many (limit {MAX_PIXELS // 10**6} megapixels); "
            "save a smaller copy"
        )


def unmultiplied(color: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Straight colours (h, w, c) uint8 or uint16 of those multiplied by `alpha` (h, w, 1)."""
    white = np.uint32(np.iinfo(color.dtype).max)
    divisor = np.maximum(alpha, 1).astype(np.uint32)
    straight = (color.astype(np.uint32) * white + divisor // 2) // divisor  # 65535² fits 32 bits
    return np.where(alpha > 0, np.minimum(straight, white), color).astype(color.dtype)
