"""The views through which an edit is judged, drawn anew each time a painted picture is seen."""

from __future__ import annotations

import math

import torch
from torch.nn import functional

from text2live_cli.swatch.painter import UNNAMED

_GREY = (0.299, 0.587, 0.114)


def random_size(generator: torch.Generator) -> tuple[int, int]:
    """Height and width in pixels: mostly native, at times smaller, larger or oblong."""
    sizes = ((112, 112),) * 4 + ((96, 96),) * 3 + ((80, 112), (112, 80), (96, 128))
    return sizes[int(torch.randint(len(sizes), (1,), generator=generator))]


def augment(
    pictures: torch.Tensor, labels: torch.Tensor, size: tuple[int, int], generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Random views of pictures (B, 3, H, W) in 0..1 and of their labels (B, h, w).

    Returns views (B, 3, *size) in 0..1 and labels (B, *size); what a view pulls in from outside
    the picture is filled white or black and labelled `UNNAMED`.
    """
    grid = _view_grid(len(pictures), size, generator)
    warped = functional.grid_sample(pictures, grid, "bilinear", "border", align_corners=False)
    seen = functional.grid_sample(labels[:, None].float(), grid, "nearest", "border", False)[:, 0]
    outside = grid.abs().amax(-1) > 1
    fill = (_uniform(len(pictures), 0, 1, generator) < 0.6).float()
    warped = torch.where(outside[:, None], fill.view(-1, 1, 1, 1), warped)
    seen = torch.where(outside, torch.full_like(seen, UNNAMED), seen)
    return _jitter(warped, generator), seen


def _uniform(n: int, low: float, high: float, generator: torch.Generator) -> torch.Tensor:
    return torch.rand(n, generator=generator) * (high - low) + low


def _chance(n: int, p: float, generator: torch.Generator) -> torch.Tensor:
    return (torch.rand(n, generator=generator) < p).float()


def _view_grid(n: int, size: tuple[int, int], generator: torch.Generator) -> torch.Tensor:
    """Where each pixel of n views (n, h, w, 2) looks in the source, in -1..1 inside it."""
    h, w = size
    y = (torch.arange(h) + 0.5) / h * 2 - 1
    x = (torch.arange(w) + 0.5) / w * 2 - 1
    points = torch.stack(torch.meshgrid(x, y, indexing="xy"), -1).expand(n, h, w, 2)
    points = _perspective(points, _chance(n, 0.4, generator) * 0.25, generator)
    points = _affine(points, _chance(n, 0.7, generator), generator)
    return _crop(points, size, generator)


def _perspective(
    points: torch.Tensor, strength: torch.Tensor, generator: torch.Generator
) -> torch.Tensor:
    n = len(points)
    tilt = (torch.rand(n, 1, 1, 2, generator=generator) * 2 - 1) * strength.view(-1, 1, 1, 1)
    depth = 1 + (points * tilt).sum(-1, keepdim=True)
    return points / depth


def _affine(points: torch.Tensor, on: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    n = len(points)
    angle = _uniform(n, -15, 15, generator) * on * math.pi / 180
    flip = 1 - 2 * _chance(n, 0.5, generator)
    c, s = angle.cos(), angle.sin()
    matrix = torch.stack([torch.stack([c, -s], 1), torch.stack([s, c], 1)], 1)
    matrix = matrix * torch.stack([flip, torch.ones(n)], 1)[:, :, None]
    shift = (torch.rand(n, 1, 1, 2, generator=generator) * 0.4 - 0.2) * on.view(-1, 1, 1, 1)
    return torch.einsum("nij,nhwj->nhwi", matrix, points) + shift


def _crop(points: torch.Tensor, size: tuple[int, int], generator: torch.Generator) -> torch.Tensor:
    """60-100 % of each side; an oblong view keeps the proportions in half of the cases."""
    n = len(points)
    scale = _uniform(n, 0.6, 1.0, generator)[:, None].expand(n, 2).clone()
    keep = _chance(n, 0.5, generator)
    for axis, length in enumerate(reversed(size)):
        scale[:, axis] *= 1 - keep * (1 - length / max(size))
    room = 1 - scale
    centre = (torch.rand(n, 2, generator=generator) * 2 - 1) * room
    return points * scale[:, None, None] + centre[:, None, None]


def _jitter(views: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Brightness, contrast, saturation and a slight hue change by up to 10 %, or no colour."""
    n = len(views)
    on = _chance(n, 0.7, generator).view(-1, 1, 1, 1)
    brightness, contrast, saturation = (
        1 + on * _uniform(n, -0.1, 0.1, generator).view(-1, 1, 1, 1) for _ in range(3)
    )
    saturation = saturation * (1 - _chance(n, 0.1, generator).view(-1, 1, 1, 1))
    views = views * brightness
    mean = views.mean((1, 2, 3), keepdim=True)
    views = mean + (views - mean) * contrast
    grey = (views * views.new_tensor(_GREY).view(1, 3, 1, 1)).sum(1, keepdim=True)
    views = grey + (views - grey) * saturation
    return _turn_hue(views, _uniform(n, -0.04, 0.04, generator) * on.view(-1)).clamp(0, 1)


def _turn_hue(views: torch.Tensor, turns: torch.Tensor) -> torch.Tensor:
    """Rotate colours about the grey axis by a share of a full turn each."""
    angle = turns * 2 * math.pi
    c, s = angle.cos().view(-1, 1, 1), angle.sin().view(-1, 1, 1)
    around = torch.tensor([[0.0, -1, 1], [1, 0, -1], [-1, 1, 0]]) / math.sqrt(3)
    matrix = c * torch.eye(3) + (1 - c) / 3 + s * around
    return torch.einsum("nij,njhw->nihw", matrix, views)
