"""The internal dataset of a clip: atlas crops, seen in three frames at a time (paper, A.4).

The generator's picture is a crop of the atlas; what is judged are frames. Both layers take the same
way: the background is shown in whole frames, the foreground in boxes around it and as far as the
frame's opacity lets it be seen.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from ..atlas.discretise import AtlasPicture
from ..config import MIN_SIDE, DatasetSettings
from ..engine.delivery import render_at, snap_alpha
from ..engine.edit_layer import EditLayer, green_screen
from ..engine.generator import Generator
from ..engine.internal_dataset import (
    SIZE_STEP,
    Example,
    lay,
    render,
)
from ..engine.objective import Rendered
from ..guide.views import color_jitter, jitter_factors
from ..media.samples import to_uint
from .footage import LEVELS, LOWEST, Box, Footage, WorkingAtlas, grown

NEIGHBOUR = 2
"""Frames between the three of a step."""
_WHOLE_SHARE = (1 / 3, 1.0)  # of the sides of the background's atlas, and of the foreground's


class Draw(NamedTuple):
    """What a step draws by chance."""

    times: list[int]
    """Frames, t among them."""
    direct: int
    """Which of them the generator is given as it is."""
    cover: tuple[float, float]
    """Height and width of the crops, as shares of the boxes."""
    place: tuple[float, float]
    """Where in the boxes they are, down and across: 0 first, 1 last."""
    flip: bool
    jitter: Tensor | None
    """Factors (1, 4) for `color_jitter`."""


class Crops(NamedTuple):
    """k crops of frames, and the atlas crop that holds all that they show."""

    atlas: Example
    """That of the atlas, with what is known of the edit's region there."""
    grid: Tensor
    """Where each pixel is in it, (k, h, w, 2) for `grid_sample` without aligned corners."""
    frames: Tensor | None
    """What the frames show of the layer, on black, (k, 3, h, w); None for one seen whole."""
    opacity: Tensor | None
    """Of the layer, (k, 1, h, w) in [0, 1]; None for one seen whole."""


class ClipExamples(NamedTuple):
    """What a step shows of a clip."""

    crops: Crops
    direct: int
    """Which of the frames the generator is given as it is."""
    whole: Example | None

    @property
    def sizes(self) -> list[tuple[int, int]]:
        """Height and width of what is rendered."""
        count, height, width, _ = self.crops.grid.shape
        sizes = [(height, width)] * (count + 1)
        if self.whole is not None:
            sizes.append((self.whole.picture.shape[2], self.whole.picture.shape[3]))
        return sizes

    def render(self, generator: Generator) -> list[Rendered]:
        """The edit in three frames by way of the atlas, in one of them directly, and on the whole
        atlas.
        """
        crops = self.crops
        layer = EditLayer.from_rgba(generator(crops.atlas.picture)).limited(crops.atlas.limit)
        views = through_atlas(layer, crops)
        one = slice(self.direct, self.direct + 1)
        opacity = None if crops.opacity is None else crops.opacity[one]
        view = views[self.direct]
        picture = view.source if crops.frames is None else crops.frames[one]
        limit = crops.atlas.limit
        if limit is not None:
            limit = sample_crops(limit, crops.grid[one])
        layer = EditLayer.from_rgba(generator(picture)).limited(limit)
        direct = directly(layer, picture, opacity)
        views.append(direct._replace(target=view.target, keep=view.keep))
        if self.whole is not None:
            views.append(render(generator, self.whole))
        return views


class AtlasDataset:
    """Draws the examples of each step from a clip: a `steps.Dataset`.

    Without augmentation (the paper's ablation) they are always the same three frames, undisturbed.
    """

    def __init__(
        self,
        footage: Footage,
        settings: DatasetSettings,
        augment: bool,
        max_pixels: int | None = None,
        atlas: Example | None = None,
        few_sizes: bool = False,
    ) -> None:
        """Atlas crops of more than `max_pixels` are shrunk to that, which bounds a step's cost.

        `atlas` is the footage's atlas with what is known of the edit's region on it. With
        `few_sizes` the sides of all crops go up in steps.
        """
        self.footage = footage
        self.atlas = atlas or Example(footage.atlas.color)
        self.settings = settings
        self.augment = augment
        self._direct_first = few_sizes  # so that it has no place of its own among the shapes
        self._step, self._atlas_step = (SIZE_STEP, 2 * SIZE_STEP) if few_sizes else (1, 1)
        self.max_pixels = max_pixels
        share = _WHOLE_SHARE[footage.side]
        self.whole = self.atlas.each(lambda x: _bounded(_shrunk(x, share), max_pixels))
        self._visible = [t for t, box in enumerate(footage.boxes) if box is not None]
        last = len(footage.boxes) - 1
        with_both = [t for t in self._visible if NEIGHBOUR <= t <= last - NEIGHBOUR]
        self._middles = with_both or self._visible

    def examples(self, step: int, rng: torch.Generator) -> ClipExamples:
        """The crops of step `step`, and by turns the whole atlas too."""
        draw = self.draw(rng) if self.augment else self._undisturbed()
        if self._direct_first:
            one = draw.times[draw.direct]
            draw = draw._replace(times=[one, *(t for t in draw.times if t != one)], direct=0)
        by_turns = self.augment and step % self.settings.whole_every == 0
        return ClipExamples(self.cut(draw), draw.direct, self.whole if by_turns else None)

    def draw(self, rng: torch.Generator) -> Draw:
        """The chances of one step, all from `rng` (CPU)."""
        s = self.settings
        shares = torch.rand(8, generator=rng).tolist()
        jitter, flip, tall, wide, down, across, middle, direct = shares
        factors = jitter_factors(1, s.jitter, torch.tensor([True]), rng)
        times = self._segment(self._middles[int(middle * len(self._middles))])
        return Draw(
            times=times,
            direct=int(direct * len(times)),
            cover=(s.min_crop + (1 - s.min_crop) * tall, s.min_crop + (1 - s.min_crop) * wide),
            place=(down, across),
            flip=flip < s.flip_p,
            jitter=factors if jitter < s.jitter_p else None,
        )

    def _undisturbed(self) -> Draw:
        middle = self._middles[len(self._middles) // 2]
        times = self._segment(middle)
        return Draw(times, times.index(middle), (1.0, 1.0), (0.0, 0.0), False, None)

    def _segment(self, t: int) -> list[int]:
        """t − 2, t and t + 2, in a short clip its ends, of the frames that show the layer."""
        last = len(self.footage.boxes) - 1
        near = {min(max(t + way, 0), last) for way in (-NEIGHBOUR, 0, NEIGHBOUR)}
        return sorted(near.intersection(self._visible))

    def cut(self, draw: Draw) -> Crops:
        """The crops that were drawn; flip and jitter do the same to frames and atlas."""
        footage = self.footage
        boxes = self.frame_boxes(draw)
        place = self._atlas_box(draw.times, boxes)
        atlas = self.atlas.each(lambda x: _bounded(place.of(x), self.max_pixels))
        grid = _stack(footage.uv, draw.times, boxes)
        grid = self._grid(grid, place, (atlas.picture.shape[2], atlas.picture.shape[3]))
        frames = opacity = None
        if footage.frames is not None and footage.opacity is not None:
            frames = _stack(footage.frames, draw.times, boxes).float() / 255
            opacity = _stack(footage.opacity, draw.times, boxes).float() / 255
            frames = _jittered(frames, draw.jitter) * opacity
        atlas = atlas._replace(picture=_jittered(atlas.picture, draw.jitter))
        crops = Crops(atlas, grid, frames, opacity)
        return _mirrored(crops) if draw.flip else crops

    def frame_boxes(self, draw: Draw) -> list[Box]:
        """The crops of the frames drawn, in proportion to their boxes.

        All have one size, that of the largest, so that the encoder sees them in one pass; in a
        frame whose box is smaller, the crop goes over it by the pixels that it is.
        """
        boxes = [box for box in (self.footage.boxes[t] for t in draw.times) if box is not None]
        tall = max(max(MIN_SIDE, round(draw.cover[0] * box.height)) for box in boxes)
        wide = max(max(MIN_SIDE, round(draw.cover[1] * box.width)) for box in boxes)
        height, width = self.footage.size
        tall, wide = min(_up(tall, self._step), height), min(_up(wide, self._step), width)
        (down, across), crops = draw.place, []
        for box in boxes:
            top = round(box.top + down * (box.height - tall))
            left = round(box.left + across * (box.width - wide))
            top, left = min(max(top, 0), height - tall), min(max(left, 0), width - wide)
            crops.append(Box(top, left, tall, wide))
        return crops

    def _atlas_box(self, times: list[int], boxes: list[Box]) -> Box:
        """The smallest part of the atlas that all pixels of the frames' crops are looked up in."""
        height, width = self.footage.atlas.color.shape[2:]
        crops = [box.of(self.footage.uv_cpu[t]) for t, box in zip(times, boxes, strict=True)]
        low = torch.stack([crop.amin((1, 2)) for crop in crops]).amin(0).tolist()
        high = torch.stack([crop.amax((1, 2)) for crop in crops]).amax(0).tolist()
        spans = []
        for first, last, count in zip(low, high, (width, height), strict=True):
            start, end = ((q - LOWEST) * (count / LEVELS) - 0.5 for q in (first, last))
            first, last = max(math.floor(start), 0), min(math.floor(end) + 2, count)
            least = min(_up(max(MIN_SIDE, last - first), self._atlas_step), count)
            spans.append(grown(first, last, least, count))
        (left, wide), (top, tall) = spans
        return Box(top, left, tall, wide)

    def _grid(self, levels: Tensor, place: Box, size: tuple[int, int]) -> Tensor:
        """Stored uv (k, 2, h, w) on the atlas crop `place`, at `size`, as (k, h, w, 2)."""
        height, width = self.footage.atlas.color.shape[2:]
        axes = (width, place.left, place.width, size[1]), (height, place.top, place.height, size[0])
        along = []
        for values, (count, start, length, pixels) in zip(levels.unbind(1), axes, strict=True):
            position = (values.float() - LOWEST) * (count / LEVELS) - start
            # Half a pixel inside of a crop that was shrunk, which continues its border.
            along.append((position * (2 / length) - 1).clamp(1 / pixels - 1, 1 - 1 / pixels))
        return torch.stack(along, dim=-1)


def through_atlas(layer: EditLayer, crops: Crops) -> list[Rendered]:
    """A layer of the atlas crop in each crop of a frame (paper, Eq. 10).

    Layer, composite and screen are made on the atlas, sampled, and seen as far as the opacity goes;
    so is the source (in the authors' code not: there the two differ by more than the edit).
    """
    picture = crops.atlas.picture
    on_atlas = torch.cat([layer.over(picture), layer.over_green_screen(), layer.alpha], dim=1)
    composite, screen, alpha = sample_crops(on_atlas, crops.grid).split([3, 3, 1], dim=1)
    with torch.no_grad():
        source = sample_crops(picture, crops.grid)
        maps = (crops.atlas.target, crops.atlas.keep)
        target, keep = (None if x is None else sample_crops(x, crops.grid) for x in maps)
    if crops.opacity is not None:
        source, composite, alpha = (x * crops.opacity for x in (source, composite, alpha))
        target = None if target is None else target * crops.opacity
        screen = torch.lerp(green_screen(screen.device), screen, crops.opacity)
    parts = (source, composite, screen, alpha, target, keep)
    nothing = (None,) * len(alpha)
    rows = zip(*(nothing if x is None else x.split(1) for x in parts), strict=True)
    return [Rendered(*row) for row in rows]


def directly(layer: EditLayer, picture: Tensor, opacity: Tensor | None) -> Rendered:
    """A layer that the generator made of a frame's crop (1, 3, h, w) itself.

    `opacity` (1, 1, h, w) is the edited layer's in the frame, and times all four channels; None for
    1.
    """
    if opacity is not None:
        layer = EditLayer(layer.color * opacity, layer.alpha * opacity)
    return lay(layer, picture)


def sample_crops(picture: Tensor, grid: Tensor) -> Tensor:
    """Bilinear samples of (1, C, H, W) at k grids (k, h, w, 2): (k, C, h, w)."""
    same = picture.expand(len(grid), -1, -1, -1)
    return F.grid_sample(same, grid, mode="bilinear", align_corners=False)


@torch.no_grad()
def atlas_layer(
    generator: Generator,
    working: WorkingAtlas,
    fine: WorkingAtlas,
    alpha_cut: float,
    outside_cut: float = 0.0,
    matte: Tensor | None = None,
    outside: Tensor | None = None,
) -> AtlasPicture:
    """The edit of the whole atlas as it is saved: 8 bits, straight alpha that reaches 0 and 1.

    `fine` is `working` or the same `finer`; `render.Layer.of(result, fine.scale)` brings
    it to the frames. `matte` and `outside` (1, 1, h, w), of the size of `working`, are what the
    alpha is multiplied by, and where its cut rises (`snap_alpha`). To be called in the training's
    autocast.
    """
    layer = render_at(generator, fine.color, working.color)
    matte, outside = (
        None if x is None else F.interpolate(x, layer.alpha.shape[2:], mode="bilinear")
        for x in (matte, outside)
    )
    alpha = snap_alpha(layer.alpha, alpha_cut, outside_cut, outside)
    if matte is not None:
        alpha = alpha * matte
    rgba = torch.cat([layer.color, alpha], dim=1)
    values = rgba[0].permute(1, 2, 0).float().cpu().numpy()
    return AtlasPicture(to_uint(values, 255), fine.left, fine.top)


def _up(side: int, step: int) -> int:
    """To the next multiple of `step`."""
    return math.ceil(side / step) * step


def _stack(levels: Tensor, times: list[int], boxes: list[Box]) -> Tensor:
    """Crops of frames, of one size: (T, C, h, w) → (k, C, h', w')."""
    return torch.stack([box.of(levels[t]) for t, box in zip(times, boxes, strict=True)])


def _jittered(pictures: Tensor, factors: Tensor | None) -> Tensor:
    if factors is None:
        return pictures
    return color_jitter(pictures, factors.to(pictures.device, non_blocking=True))


def _mirrored(crops: Crops) -> Crops:
    """Atlas and frames, each left to right: what a mirrored clip would give."""
    x, y = crops.grid.flip(2).unbind(-1)
    frames, opacity = (None if x is None else x.flip(3) for x in (crops.frames, crops.opacity))
    atlas = crops.atlas.each(lambda x: x.flip(3))
    return Crops(atlas, torch.stack([-x, y], dim=-1), frames, opacity)


def _bounded(picture: Tensor, max_pixels: int | None) -> Tensor:
    """`picture` (1, 3, H, W), shrunk where it has more than `max_pixels`."""
    pixels = picture.shape[2] * picture.shape[3]
    if max_pixels is None or pixels <= max_pixels:
        return picture
    return _shrunk(picture, (max_pixels / pixels) ** 0.5)


def _shrunk(picture: Tensor, share: float) -> Tensor:
    """`picture` (1, 3, H, W) at `share` of its sides, but not under `MIN_SIDE`."""
    height, width = picture.shape[2:]
    share = max(share, MIN_SIDE / min(height, width))
    if share >= 1:
        return picture
    size = max(MIN_SIDE, round(height * share)), max(MIN_SIDE, round(width * share))
    return F.interpolate(picture, size, mode="bilinear", antialias=True, align_corners=False)
