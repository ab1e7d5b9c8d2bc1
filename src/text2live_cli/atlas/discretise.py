"""The atlases as pictures: what of each canvas the clip uses, cropped (paper, A.4)."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from ..media.samples import to_uint
from .layers import AtlasModel, Side

_OPAQUE = 0.5
"""How much of a layer must be seen in a frame for its place in the atlas to count as covered."""
_HOLE = 4  # atlas pixels that no frame's pixel may meet, though those around are covered
_SEAM = 2  # atlas pixels around what is covered, for bilinear lookups


class AtlasPicture(NamedTuple):
    """A discretised atlas, or a layer on it: the part of the canvas from (left, top) on."""

    rgba: NDArray[np.uint8]
    """(H, W, 4); alpha is 255 where the clip uses the atlas."""
    left: int
    top: int


def discretise(model: AtlasModel, side: Side) -> AtlasPicture | None:
    """The layer's atlas, cropped to what the clip uses of it; None where it uses nothing."""
    mask = _covered(model, side)
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(rows):
        return None
    top, left = max(rows[0] - _SEAM, 0), max(columns[0] - _SEAM, 0)
    part = np.s_[top : rows[-1] + 1 + _SEAM, left : columns[-1] + 1 + _SEAM]
    color = to_uint(model.texture(side).permute(1, 2, 0).cpu().numpy()[part], 255)
    alpha = mask[part].astype(np.uint8) * 255
    return AtlasPicture(np.dstack([color, alpha]), int(left), int(top))


def _covered(model: AtlasModel, side: Side) -> NDArray[np.bool_]:
    height, width = model.canvas(side)
    pixels = np.zeros((height, width), np.uint8)
    for t in range(model.frames):
        maps = model.locate(t)
        uv = maps.uv[side][maps.share[side] > _OPAQUE].floor().long().cpu().numpy()
        u, v = uv[:, 0], uv[:, 1]
        inside = (u >= 0) & (u < width) & (v >= 0) & (v < height)
        pixels[v[inside], u[inside]] = 1
    kernel = np.ones((_HOLE + 1, _HOLE + 1), np.uint8)
    return cv2.morphologyEx(pixels, cv2.MORPH_CLOSE, kernel).astype(bool)
