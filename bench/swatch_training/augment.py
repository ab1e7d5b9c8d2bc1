"""The views through which an edit is judged, drawn anew each time a painted picture is seen."""

from __future__ import annotations

import math

import torch
from torch.nn import functional

from swatch_training.scene import UNNAMED
from text2live_cli.guide.views import color_jitter, jitter_factors

_EARLY = ((80, 80),) * 4 + ((96, 96),) * 2 + ((64, 96), (96, 64))
_LATE = ((112, 112),) * 4 + ((96, 96),) * 2 + ((80, 112), (112, 80), (96, 128), (144, 144))
_LATE_FROM = 0.55


def random_size(progress: float, generator: torch.Generator) -> tuple[int, int]:
    """Height and width in pixels, by the share of the training that is done.

    Small at first, which costs half as much; later mostly native, at times larger or oblong.
    """
    sizes = _EARLY if progress < _LATE_FROM else _LATE
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


def soften(views: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Blur some views (B, 3, H, W), down to mere patches of colour, and put noise over some.

    An edit in the making is a flat colour without a texture yet. Where the encoder has learned
    that such a picture is nearly right, its gradient leads on from there; and where it has seen
    noise, less of its gradient is noise.
    """
    n, size = len(views), views.shape[2:]
    cell = int(2 ** torch.randint(1, 5, (1,), generator=generator))
    coarse = functional.avg_pool2d(views, cell, ceil_mode=True)
    blurred = functional.interpolate(coarse, size, mode="bilinear", align_corners=False)
    views = torch.lerp(views, blurred, _chance(n, 0.35, generator).view(-1, 1, 1, 1))
    strength = _uniform(n, 0, 0.15, generator) * _chance(n, 0.4, generator)
    noise = torch.randn(views.shape, generator=generator)
    return (views + strength.view(-1, 1, 1, 1) * noise).clamp(0, 1)


def develop(views: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Views (B, 3, H, W) as cameras differ: brightness curve, tint, uneven light, sharpness, noise.

    Each in some of them.
    """
    n = len(views)

    def some(share: float, other: torch.Tensor) -> torch.Tensor:
        return torch.where(_chance(n, share, generator).view(-1, 1, 1, 1) > 0, other, views)

    def drawn(low: float, high: float) -> torch.Tensor:
        return _uniform(n, low, high, generator).view(-1, 1, 1, 1)

    views = some(0.4, views.clamp(1e-4, 1) ** drawn(-0.5, 0.5).exp())
    views = some(0.3, views * (1 + 0.15 * torch.randn(n, 3, 1, 1, generator=generator)))
    light = torch.randn(n, 1, 4, 4, generator=generator)
    light = functional.interpolate(light, views.shape[2:], mode="bicubic", align_corners=False)
    views = some(0.4, views * (0.25 * light).exp())
    blurred = functional.avg_pool2d(functional.pad(views, (1,) * 4, mode="replicate"), 3, 1)
    views = some(0.2, views + drawn(0.5, 1.5) * (views - blurred))
    views = some(0.25, blurred)
    noise = torch.randn(views.shape, generator=generator)
    return some(0.3, views + drawn(0, 0.06) * noise).clamp(0, 1)


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
    """Slight changes of colour in most views, and no colour at all in some."""
    n = len(views)
    factors = jitter_factors(n, 0.1, _chance(n, 0.7, generator), generator)
    factors[:, 2] *= 1 - _chance(n, 0.07, generator)
    factors[:, 3] *= 0.4  # names of colours stop being true sooner than views look odd
    return color_jitter(views, factors)
