"""Maps between frames and atlas pictures as compositors take them: Nuke's STMap.

Red is s, from 0 at the left edge of the picture that is looked up to 1 at its right edge; green is
t, from 0 at its bottom to 1 at its top; both at the centres of pixels, so that the map that changes
nothing is ((x + ½) / width, (y + ½) / height) with y upwards. Blue is 1, which Blender takes for
opaque. Alpha says what they are worth.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .layers import Maps, Side
from .painting import splat

_SEEN = 0.5  # share of a layer from which a pixel of a frame counts for the way back
_SPREAD = 4.0  # frame pixels that what meets at one place of the atlas may lie around its mean


def map_to_atlas(
    maps: Maps, side: Side, corner: tuple[int, int], size: tuple[int, int]
) -> NDArray[np.float32]:
    """Where each pixel of a frame is in a layer's atlas picture: (h, w, 4), s, t, 1 and its share.

    The picture, of `size` (height, width), begins at `corner` (left, top) of the canvas. Looked up
    in it and multiplied by alpha, it is what the frame shows of the layer.
    """
    at = maps.uv[side] - torch.tensor(corner, dtype=torch.float32)
    return _st_map(at, size, maps.share[side])


def map_to_frame(
    maps: Maps, side: Side, corner: tuple[int, int], size: tuple[int, int]
) -> NDArray[np.float32]:
    """Where each pixel of a layer's atlas picture is in a frame: (H, W, 4), s, t and twice 1;
    all 0 where it is nowhere.

    Alpha is 1 where the frame shows it, and at one place alone.
    """
    height, width = maps.share.shape[1:]
    middle = torch.tensor([width / 2, height / 2])
    place = _centres((height, width)) - middle
    seen = (maps.share[side] > _SEEN) & maps.uv[side].isfinite().all(-1)
    if not seen.any():
        return np.zeros((*size, 4), np.float32)
    square = place.square().sum(-1, keepdim=True)
    values = torch.cat([place, square, torch.ones_like(square)], dim=-1)
    layer = splat(values, seen, maps.share[side], maps.uv[side])
    around = layer.at(_centres(size) + torch.tensor(corner))
    mean = around[..., :3] / around[..., 3:].clamp(min=1e-6)
    spread = mean[..., 2] - mean[..., :2].square().sum(-1)
    single = (around[..., 3] > _SEEN) & (spread < _SPREAD**2)
    back = _st_map(mean[..., :2] + middle, (height, width), single.float())
    return back * single[..., None].numpy()


def _centres(size: tuple[int, int]) -> Tensor:
    """The centres of all pixels of a picture, (h, w, 2), from its upper left corner."""
    rows, columns = (torch.arange(count) + 0.5 for count in size)
    return torch.stack(torch.meshgrid(columns, rows, indexing="xy"), dim=-1)


def _st_map(at: Tensor, size: tuple[int, int], alpha: Tensor) -> NDArray[np.float32]:
    """Positions (..., 2), pixels from the upper left corner of a picture of `size`, as a map."""
    s, t = at[..., 0] / size[1], 1 - at[..., 1] / size[0]
    return torch.stack([s, t, torch.ones_like(s), alpha], dim=-1).numpy().astype(np.float32)
