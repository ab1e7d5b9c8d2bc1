"""The frames of a clip and one of its atlases, at the size of the training."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from ..atlas.discretise import AtlasPicture
from ..atlas.layers import BACKGROUND, LAYERS, OPAQUE, Maps, Side
from ..config import MIN_SIDE
from ..errors import UsageError
from ..media.clip_reading import frames_at
from ..media.clips import Clip
from ..progress import Progress

_BORDER = 30 / 768  # around what a layer shows, as a share of the frame's larger side
LEVELS, LOWEST = 2**16 - 1, -(2**15)
"""A stored uv: its number of steps, and where they begin."""


class Box(NamedTuple):
    """A part of a frame or an atlas, whole pixels."""

    top: int
    left: int
    height: int
    width: int

    def of(self, x: Tensor) -> Tensor:
        """That part of (..., H, W)."""
        return x[..., self.top : self.top + self.height, self.left : self.left + self.width]


class WorkingAtlas(NamedTuple):
    """An atlas picture at the size that is trained on.

    Its pixel (i, j) has its centre at uv = (left + (i + ½)/scale, top + (j + ½)/scale), as in a
    `render.Layer`. It may reach a little over the atlas picture, whose border is repeated there.
    """

    color: Tensor
    """(1, 3, H, W) in [0, 1], no side under `MIN_SIDE`."""
    left: int
    top: int
    scale: float
    """Its pixels to an atlas pixel."""

    @classmethod
    def of(
        cls, picture: AtlasPicture, scale: float, device: torch.device | str = "cpu"
    ) -> WorkingAtlas:
        """`picture` with `scale` pixels to one of the atlas's."""
        height, width = picture.rgba.shape[:2]
        size = max(MIN_SIDE, math.ceil(height * scale)), max(MIN_SIDE, math.ceil(width * scale))
        return cls(_resized(picture, scale, size).to(device), picture.left, picture.top, scale)

    def on(self, device: torch.device) -> WorkingAtlas:
        """The same on `device`."""
        return self._replace(color=self.color.to(device))

    def finer(self, picture: AtlasPicture) -> WorkingAtlas:
        """The same part of the atlas at its own resolution or a little over, if this is coarser.

        Whole multiples only, so that no pixel is at another place. `picture` is what this is of.
        """
        times = max(1, math.ceil(1 / self.scale - 1e-6))
        if times == 1:
            return self
        height, width = self.color.shape[2:]
        scale = self.scale * times
        color = _resized(picture, scale, (height * times, width * times))
        return WorkingAtlas(color.to(self.color.device), self.left, self.top, scale)


class Footage(NamedTuple):
    """A clip as the steps look it up: everything that is the same in all of them."""

    side: Side
    atlas: WorkingAtlas
    size: tuple[int, int]
    """Height and width of the working frames."""
    uv: Tensor
    """(T, 2, h, w) int16, u then v in steps of 1/65535 of the working atlas. (Half floats are as
    small, but coarser than a pixel in atlases of 2000.)"""
    uv_cpu: Tensor
    """The same on the CPU, where boxes are found without waiting for a GPU."""
    frames: Tensor | None
    """(T, 3, h, w) uint8; None for a layer that is seen whole: it shows nothing of them."""
    opacity: Tensor | None
    """The layer's share of them, (T, 1, h, w) uint8, 255 for 1; None for one that is seen whole."""
    boxes: list[Box | None]
    """Where the layer is in each frame."""


def seen_whole(side: Side) -> bool:
    """Whether training shows the layer in whole frames: the hindmost one, which lies behind all.

    The others are shown in boxes around them, as far as their share goes (paper A.4).
    """
    return side == BACKGROUND


def gather_footage(
    side: Side,
    atlas: WorkingAtlas,
    frames: NDArray[np.uint8],
    locate: Callable[[int], Maps],
) -> Footage:
    """Map every frame to the atlas, once; on the atlas's device.

    `frames` (T, h, w, 3) are at the working size, at least `MIN_SIDE` px a side; `locate` gives the
    maps of the frame of an index, at that size. Raises UsageError where no frame shows the layer,
    ValueError for frames that are too small.
    """
    count, height, width, _ = frames.shape
    if min(height, width) < MIN_SIDE:
        raise ValueError(f"frames of {width}×{height}: the generator needs {MIN_SIDE} px a side")
    uv = torch.empty(count, 2, height, width, dtype=torch.int16)
    opacity = torch.empty(count, 1, height, width, dtype=torch.uint8)
    boxes: list[Box | None] = [Box(0, 0, height, width)] * count
    for t in range(count):
        maps = locate(t)
        uv[t] = _stored(maps.uv[side], atlas)
        if not seen_whole(side):
            opacity[t, 0] = (maps.share[side] * 255).round().to(torch.uint8)
            boxes[t] = mask_box(maps.share[side].cpu().numpy() > OPAQUE)
    if not any(boxes):
        name = LAYERS[side]
        raise UsageError(f"the clip shows no {name} to edit: edit the background, --atlas bg")
    device = atlas.color.device
    footage = Footage(side, atlas, (height, width), uv.to(device), uv, None, None, boxes)
    if seen_whole(side):
        return footage
    pictures = torch.from_numpy(frames).permute(0, 3, 1, 2).contiguous().to(device)
    return footage._replace(frames=pictures, opacity=opacity.to(device))


def mask_box(
    mask: NDArray[np.bool_], border: int | None = None, least: int = MIN_SIDE
) -> Box | None:
    """What `mask` (h, w) covers, grown by `border` px (default: 30 of 768) and to `least` a side.

    None where it covers nothing.
    """
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(rows):
        return None
    height, width = mask.shape
    if border is None:
        border = max(1, round(_BORDER * max(height, width)))
    top, tall = grown(rows[0] - border, rows[-1] + border, least, height)
    left, wide = grown(columns[0] - border, columns[-1] + border, least, width)
    return Box(top, left, tall, wide)


def _resized(picture: AtlasPicture, scale: float, size: tuple[int, int]) -> Tensor:
    """The colours at exactly `scale`, from the same corner on, (1, 3, *size).

    What `size` has over the picture repeats its border.
    """
    color = torch.from_numpy(picture.rgba[..., :3].copy()).permute(2, 0, 1)[None].float() / 255
    below, beside = (
        max(0, math.ceil(length / scale) + 1 - own)
        for length, own in zip(size, tuple(color.shape[2:]), strict=True)
    )
    color = F.pad(color, (0, beside, 0, below), mode="replicate")
    if scale != 1:
        antialias = scale < 1
        color = F.interpolate(
            color, scale_factor=(scale, scale), mode="bilinear", antialias=antialias
        )
    return color[:, :, : size[0], : size[1]].contiguous()


def _stored(uv: Tensor, atlas: WorkingAtlas) -> Tensor:
    """uv (h, w, 2) of the canvas → (2, h, w) as `Footage` keeps it; outside, the atlas's border."""
    levels = []
    for axis, (start, count) in enumerate(
        ((atlas.left, atlas.color.shape[3]), (atlas.top, atlas.color.shape[2]))
    ):
        position = ((uv[..., axis] - start) * atlas.scale).clamp(0.5, count - 0.5)
        levels.append((position * (LEVELS / count)).round() + LOWEST)
    return torch.stack(levels).to(torch.int16)


def grown(start: int, end: int, least: int, limit: int) -> tuple[int, int]:
    """Start and length of [start, end) within [0, limit), grown to `least` about its middle."""
    start, end = max(int(start), 0), min(int(end), limit)
    length = max(end - start, least)
    return min(max(start - (length - (end - start)) // 2, 0), limit - length), length


def read_frames(
    clip: Clip, numbers: Sequence[int], size: tuple[int, int], progress: Progress
) -> NDArray[np.uint8]:
    """Frames `numbers` of the clip, from 0, at `size` (height, width): (T, h, w, 3), RGB.

    Raises Text2LiveError where the clip cannot be read to their end.
    """
    progress.stage("reading frames", len(numbers), "frame")
    frames = np.empty((len(numbers), *size, 3), np.uint8)
    for i, frame in enumerate(frames_at(clip, numbers, size)):
        frames[i] = frame
        progress.advance(i + 1)
    return frames
