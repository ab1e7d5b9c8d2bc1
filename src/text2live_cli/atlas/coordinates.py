"""Every conversion between coordinates (docs/conventions.md).

Frame positions are in pixels of the working size with the centre of the first pixel at (0, 0); uv
are in pixels of an atlas with the centre of its first pixel at (0.5, 0.5).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ..device import vector


def centres(count: int, working: int, device: torch.device | str = "cpu") -> Tensor:
    """Centres of `count` pixels on an axis of `working` pixels: (count,), in the latter's unit."""
    return (torch.arange(count, device=device) + 0.5) * (working / count) - 0.5


def to_grid(uv: Tensor, size: tuple[int, int]) -> Tensor:
    """uv (..., 2) in pixels of a picture of `size` (height, width) → `grid_sample`'s [-1, 1],
    without aligned corners.
    """
    height, width = size
    return uv * vector((2 / width, 2 / height), uv) - 1


def sample(picture: Tensor, uv: Tensor, padding: str = "zeros") -> Tensor:
    """Bilinear samples of a picture (C, H, W) at uv (..., 2): (..., C): Eq. 10 of the paper."""
    grid = to_grid(uv.reshape(1, 1, -1, 2), (picture.shape[1], picture.shape[2]))
    look_up = sample_border if padding == "border" else sample_zeros
    return look_up(picture[None], grid)[0, :, 0].T.unflatten(0, uv.shape[:-1])


def sample_zeros(pictures: Tensor, grid: Tensor) -> Tensor:
    """Bilinear samples (B, C, h, w) of (B, C, H, W) at `grid` (B, h, w, 2); 0 outside."""
    return F.grid_sample(pictures, grid, padding_mode="zeros", align_corners=False)


def sample_border(pictures: Tensor, grid: Tensor) -> Tensor:
    """The same (B, C, h, w) at grids (B, h, w, 2), outside with the border going on."""
    if pictures.device.type != "mps":
        return F.grid_sample(pictures, grid, padding_mode="border", align_corners=False)
    # MPS has no such padding. Half a pixel inside, the border is all that is looked up.
    pixel = vector((1 / pictures.shape[3], 1 / pictures.shape[2]), grid)
    return sample_zeros(pictures, grid.clamp(pixel - 1, 1 - pixel))


def bilinear_taps(y: Tensor, x: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Where a bilinear look-up at texels y and x (n,) reads a picture of `size`, (height, width),
    at least 2×2, and how much of each: places in the flattened picture and weights, (4, n).

    Outside the border goes on. For where the gradient of `sample_border`, which is as large as what
    it reads, would cost more than it: many look-ups in one large volume.
    """
    height, width = size
    y, x = y.clamp(0, height - 1), x.clamp(0, width - 1)
    top, left = y.floor().clamp(max=height - 2), x.floor().clamp(max=width - 2)
    down, right = y - top, x - left
    first = top.long() * width + left.long()
    places = torch.stack([first, first + 1, first + width, first + width + 1])
    up, before = 1 - down, 1 - right
    return places, torch.stack([up * before, up * right, down * before, down * right])


def clip_to_unit(x: Tensor, y: Tensor, t: Tensor, size: tuple[int, int], frames: int) -> Tensor:
    """Frame positions → the (..., 3) input of Kasten et al.'s networks, in [-1, 1].

    x and y are both divided by half of the larger side, t by half of the number of frames.
    """
    half = max(size) / 2
    x, y, t = torch.broadcast_tensors(x, y, t)
    return torch.stack([x / half - 1, y / half - 1, t / (frames / 2) - 1], dim=-1)
