"""The random views of a picture that CLIP sees (paper §3.1, "augmentations"; appendix A.3).

Crop, resize, flip, affine and perspective are one matrix per view, so that all views of a picture
are made by one bilinear warp; colour jitter and grayscale follow, batched over the views. Random
numbers are drawn on the CPU from the caller's generator, so that a seed means the same everywhere.

Matrices are 3×3, map *output* to *input* pixels, and act on (x, y, 1) with pixel centres at ½.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from ..device import constant, upload, vector
from .hue import shift_hue

MAX_REDUCTION = 2.0
"""A warp may shrink at most this much; what is larger is first reduced with antialiasing."""


@dataclass(frozen=True)
class ViewSettings:
    """How strongly views are disturbed: the values of the authors' code (docs/method.md)."""

    min_crop: float = 0.6
    flip_p: float = 0.5
    affine_p: float = 0.8
    max_rotation: float = 15.0  # degrees
    max_shift: float = 0.1  # share of the side
    perspective_p: float = 0.5
    distortion: float = 0.4
    jitter_p: float = 0.7
    jitter: float = 0.1
    gray_p: float = 0.15
    fill: float = 1.0  # white for pictures; black for videos


class Rectangle(NamedTuple):
    """A part of a picture in pixels: left, top, width, height."""

    x: float
    y: float
    width: float
    height: float


class Views(NamedTuple):
    """The parameters of n views of one picture: draw once, apply to pictures of the same size."""

    size: tuple[int, int]  # height and width of every view
    warp: Tensor  # (n, 3, 3) view pixel → frame after the affine (undoes the perspective)
    place: Tensor  # (n, 3, 3) frame after the affine → resized crop (undoes affine and flip)
    crops: Tensor  # (n, 4) left, top, width, height, as shares of the picture
    jitter: Tensor  # (n, 4) brightness, contrast and saturation factors, hue shift in turns
    gray: Tensor  # (n,) 1 where the view turns gray
    fill: float

    def to(self, device: torch.device) -> Views:
        """The same parameters on `device`."""
        return self._replace(
            warp=upload(self.warp, device),
            place=upload(self.place, device),
            crops=upload(self.crops, device),
            jitter=upload(self.jitter, device),
            gray=upload(self.gray, device),
        )


def panorama_windows(height: int, width: int, max_aspect: float) -> list[Rectangle]:
    """The picture itself, or overlapping windows that cover one longer than `max_aspect`."""
    long, short = max(height, width), min(height, width)
    if long <= max_aspect * short:
        return [Rectangle(0, 0, width, height)]
    side = int(max_aspect * short)
    count = math.ceil(1.5 * (long - side) / side) + 1
    starts = [round(i * (long - side) / (count - 1)) for i in range(count)]
    if width >= height:
        return [Rectangle(start, 0, side, height) for start in starts]
    return [Rectangle(0, start, width, side) for start in starts]


def reduce(picture: Tensor, height: int, width: int) -> Tensor:
    """Shrink (B, C, H, W) with antialiasing to at most `MAX_REDUCTION` times height × width.

    A bilinear warp alone would pass over pixels, and these would get no gradient.
    """
    limit_h, limit_w = int(MAX_REDUCTION * height), int(MAX_REDUCTION * width)
    if picture.shape[2] <= limit_h and picture.shape[3] <= limit_w:
        return picture
    size = (min(limit_h, picture.shape[2]), min(limit_w, picture.shape[3]))
    return F.interpolate(picture, size, mode="bilinear", antialias=True, align_corners=False)


def resize(picture: Tensor, height: int, width: int) -> Tensor:
    """Resize (B, C, H, W): antialiased to twice the target, from there plain bilinear."""
    reduced = reduce(picture, height, width)
    return F.interpolate(reduced, (height, width), mode="bilinear", align_corners=False)


def draw_views(
    count: int,
    size: tuple[int, int],
    windows: list[Rectangle],
    picture_size: tuple[int, int],
    settings: ViewSettings,
    rng: torch.Generator,
) -> Views:
    """Draw `count` random views, each `size` (height, width) pixels.

    The first view of every window is the whole window, the others are crops of 60–100 % of it.
    With more windows than views, a random start lets every window have its turn.
    """
    height, width = size
    crops = _draw_crops(count, windows, picture_size, settings, rng)
    warp = torch.eye(3, dtype=torch.float64).repeat(count, 1, 1)
    place = _flip(width, _happens(count, settings.flip_p, rng))
    affine = _draw_affine(count, height, width, settings, rng)
    happens = _happens(count, settings.affine_p, rng).view(-1, 1, 1)
    place = torch.where(happens, place @ affine, place)
    perspective = _draw_perspective(count, height, width, settings, rng)
    happens = _happens(count, settings.perspective_p, rng).view(-1, 1, 1)
    warp = torch.where(happens, perspective, warp)
    return Views(
        size,
        warp.float(),
        place.float(),
        crops,
        _draw_jitter(count, settings, rng),
        _happens(count, settings.gray_p, rng).float(),
        settings.fill,
    )


def apply_views(pictures: Tensor, views: Views) -> Tensor:
    """The views of pictures that show the same scene: (k, 3, H, W) → (k·n, 3, h, w).

    All k pictures are seen through the same n views; view j of picture i is row i·n + j.
    """
    k, n = pictures.shape[0], views.warp.shape[0]
    height, width = views.size
    warped = _warp(reduce(pictures, height, width), views)  # (k, 3, n·h, w)
    batch = warped.view(k, 3, n, height, width).transpose(1, 2).reshape(k * n, 3, height, width)
    return _to_gray(color_jitter(batch, views.jitter.repeat(k, 1)), views.gray.repeat(k))


def _warp(pictures: Tensor, views: Views) -> Tensor:
    """All views of (k, 3, H, W), one below the other: (k, 3, n·h, w), filled where nothing is."""
    height, width = views.size
    n = views.warp.shape[0]
    x = torch.arange(width, device=pictures.device) + 0.5
    y = torch.arange(height, device=pictures.device) + 0.5
    pixels = torch.stack(
        [
            x.expand(height, width),
            y[:, None].expand(height, width),
            torch.ones_like(x).expand(height, width),
        ]
    ).view(1, 3, -1)
    in_affine = views.warp @ pixels
    in_affine = in_affine / in_affine[:, 2:]
    in_crop = (views.place @ in_affine)[:, :2]
    scale = vector((width, height), in_affine).view(1, 2, 1)
    inside = _within(in_affine[:, :2], scale) & _within(in_crop, scale)
    share = views.crops[:, :2, None] + views.crops[:, 2:, None] * in_crop / scale
    # Held half a pixel inside, which continues the border (not every device has that padding).
    pixel = vector((1 / pictures.shape[3], 1 / pictures.shape[2]), share).view(1, 2, 1)
    grid = (2 * share - 1).clamp(pixel - 1, 1 - pixel)
    grid = grid.transpose(1, 2).reshape(1, n * height, width, 2)
    sampled = F.grid_sample(
        pictures,
        grid.expand(len(pictures), -1, -1, -1),
        mode="bilinear",
        padding_mode="zeros",
        align_corners=False,
    )
    seen = inside.view(1, 1, n * height, width).to(sampled.dtype)
    return sampled * seen + views.fill * (1 - seen)  # many times as fast as `where`


def _within(points: Tensor, scale: Tensor) -> Tensor:
    """Where (n, 2, p) points lie inside [0, width] × [0, height]: (n, p)."""
    return ((points >= 0) & (points <= scale)).all(dim=1)


def _happens(count: int, p: float, rng: torch.Generator) -> Tensor:
    return torch.rand(count, generator=rng) < p


def _uniform(count: int, low: float, high: float, rng: torch.Generator) -> Tensor:
    return low + (high - low) * torch.rand(count, generator=rng, dtype=torch.float64)


def _draw_crops(
    count: int,
    windows: list[Rectangle],
    picture_size: tuple[int, int],
    settings: ViewSettings,
    rng: torch.Generator,
) -> Tensor:
    factor = _uniform(count, settings.min_crop, 1.0, rng)
    factor[: len(windows)] = 1.0
    left, top = torch.rand(2, count, generator=rng, dtype=torch.float64)
    start = int(torch.randint(len(windows), (1,), generator=rng))
    base = torch.tensor(windows, dtype=torch.float64)[(start + torch.arange(count)) % len(windows)]
    x, y, width, height = base.unbind(1)
    crops = torch.stack(
        [
            x + left * (1 - factor) * width,
            y + top * (1 - factor) * height,
            factor * width,
            factor * height,
        ],
        dim=1,
    )
    full_height, full_width = picture_size
    scale = torch.tensor([full_width, full_height, full_width, full_height], dtype=torch.float64)
    return (crops / scale).float()


def _flip(width: int, happens: Tensor) -> Tensor:
    """Mirror x where it happens: (n, 3, 3)."""
    matrix = torch.eye(3, dtype=torch.float64).repeat(len(happens), 1, 1)
    matrix[happens, 0, 0] = -1
    matrix[happens, 0, 2] = width
    return matrix


def _draw_affine(
    count: int, height: int, width: int, settings: ViewSettings, rng: torch.Generator
) -> Tensor:
    """Rotation about the centre, then a shift by whole pixels; inverted: (n, 3, 3)."""
    angle = _uniform(count, -settings.max_rotation, settings.max_rotation, rng).deg2rad()
    limit_x, limit_y = settings.max_shift * width, settings.max_shift * height
    shift_x = _uniform(count, -limit_x, limit_x, rng).round()
    shift_y = _uniform(count, -limit_y, limit_y, rng).round()
    return affine_matrix(angle, shift_x, shift_y, height, width)


def affine_matrix(
    angle: Tensor, shift_x: Tensor, shift_y: Tensor, height: int, width: int
) -> Tensor:
    """Output → input pixels of a clockwise turn by `angle` (n,) and a shift: (n, 3, 3)."""
    cos, sin = angle.cos(), angle.sin()
    x, y = width / 2, height / 2
    matrix = torch.eye(3, dtype=torch.float64).repeat(len(angle), 1, 1)
    matrix[:, 0, 0], matrix[:, 0, 1] = cos, sin
    matrix[:, 1, 0], matrix[:, 1, 1] = -sin, cos
    matrix[:, 0, 2] = x - cos * (x + shift_x) - sin * (y + shift_y)
    matrix[:, 1, 2] = y + sin * (x + shift_x) - cos * (y + shift_y)
    return matrix


def _draw_perspective(
    count: int, height: int, width: int, settings: ViewSettings, rng: torch.Generator
) -> Tensor:
    """Every corner moves inward by up to half of the distortion: (n, 3, 3)."""
    inward = torch.rand(count, 4, 2, generator=rng, dtype=torch.float64)
    reach = torch.tensor([width, height], dtype=torch.float64) * settings.distortion / 2
    inward = (inward * reach).floor()
    corners = _corners(height, width)
    towards = torch.tensor([[1, 1], [-1, 1], [-1, -1], [1, -1]], dtype=torch.float64)
    return perspective_matrix(corners.expand(count, 4, 2), corners + towards * inward)


def _corners(height: int, width: int) -> Tensor:
    """Top left, top right, bottom right, bottom left as (x, y)."""
    right, bottom = width - 1, height - 1
    return torch.tensor([[0, 0], [right, 0], [right, bottom], [0, bottom]], dtype=torch.float64)


def perspective_matrix(start: Tensor, end: Tensor) -> Tensor:
    """The homographies that take `end` back to `start`, each (n, 4, 2) corners: (n, 3, 3)."""
    count = len(start)
    x, y = end.unbind(2)
    u, v = start.unbind(2)
    one, zero = torch.ones_like(x), torch.zeros_like(x)
    rows_u = torch.stack([x, y, one, zero, zero, zero, -u * x, -u * y], dim=2)
    rows_v = torch.stack([zero, zero, zero, x, y, one, -v * x, -v * y], dim=2)
    system = torch.cat([rows_u, rows_v], dim=1)
    solution = torch.linalg.solve(system, torch.cat([u, v], dim=1))
    return torch.cat([solution, solution.new_ones(count, 1)], dim=1).view(count, 3, 3)


def _draw_jitter(count: int, settings: ViewSettings, rng: torch.Generator) -> Tensor:
    happens = _happens(count, settings.jitter_p, rng)
    return jitter_factors(count, settings.jitter, happens, rng)


def jitter_factors(count: int, strength: float, happens: Tensor, rng: torch.Generator) -> Tensor:
    """Brightness, contrast and saturation factors near 1 and a hue shift near 0: (count, 4)."""
    shares = _uniform(4 * count, -strength, strength, rng).view(count, 4).float()
    neutral = torch.tensor([1.0, 1.0, 1.0, 0.0])
    return neutral + shares * happens.float()[:, None]


def color_jitter(batch: Tensor, factors: Tensor) -> Tensor:
    """Brightness, contrast, saturation, hue of (B, 3, H, W), in this order, by (B, 4) factors."""
    brightness, contrast, saturation, hue = factors.view(-1, 4, 1, 1, 1).unbind(1)
    x = (batch * brightness).clamp(0, 1)
    x = torch.lerp(luminance(x).mean((2, 3), keepdim=True), x, contrast).clamp(0, 1)
    x = torch.lerp(luminance(x), x, saturation).clamp(0, 1)
    return shift_hue(x, hue)


def _to_gray(batch: Tensor, gray: Tensor) -> Tensor:
    return torch.lerp(batch, luminance(batch).expand_as(batch), gray.view(-1, 1, 1, 1))


def luminance(batch: Tensor) -> Tensor:
    """(B, 3, H, W) → (B, 1, H, W), the weights of ITU-R 601."""
    weights = constant((0.2989, 0.587, 0.114), batch.device).view(1, 3, 1, 1)
    return (batch * weights).sum(1, keepdim=True)
