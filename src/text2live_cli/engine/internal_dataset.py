"""The internal dataset: training examples drawn from the one picture (paper §3.1, appendix A.2)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from ..config import MIN_SIDE, DatasetSettings
from ..guide.views import color_jitter, jitter_factors
from .edit_layer import EditLayer
from .generator import Generator
from .objective import Rendered

SIZE_STEP = 32
"""Pixels: of the sides of crops where there shall be few sizes."""
_SIZES = 4


class Example(NamedTuple):
    """A picture (1, 3, H, W), and the region of its edit, as far as that is known beforehand."""

    picture: Tensor
    limit: Tensor | None = None
    """What the alpha may not pass, (1, 1, H, W)."""
    target: Tensor | None = None
    """What the alpha is drawn to, (1, 1, H, W)."""
    keep: Tensor | None = None
    """Where the things are that must stay, (1, K, H, W)."""

    def each(self, change: Callable[[Tensor], Tensor]) -> Example:
        """`change` done to the picture and its maps alike."""
        limit, target, keep = (None if x is None else change(x) for x in self[1:])
        return Example(change(self.picture), limit, target, keep)


class PictureExamples(NamedTuple):
    """The examples of one step, which the generator edits one by one."""

    shown: list[Example]

    @property
    def sizes(self) -> list[tuple[int, int]]:
        """Height and width of what is rendered."""
        return [(example.picture.shape[2], example.picture.shape[3]) for example in self.shown]

    def render(self, generator: Generator) -> list[Rendered]:
        """The generator's edit of every example, as the objective wants it."""
        return [render(generator, example) for example in self.shown]


class InternalDataset:
    """Draws the examples of each step from one picture; without augmentation always the whole."""

    def __init__(
        self, whole: Example, settings: DatasetSettings, augment: bool, few_sizes: bool = False
    ) -> None:
        """With `few_sizes` crops have one of four sizes (`crop_sizes`), not any."""
        self.whole = whole
        self.settings = settings
        self.augment = augment
        self._sizes = crop_sizes(whole.picture.shape[2:], settings) if few_sizes else ()

    def examples(self, step: int, rng: torch.Generator) -> PictureExamples:
        """The examples of step `step`: one augmented, and every 75th step the whole picture too."""
        if not self.augment:
            return PictureExamples([self.whole])
        examples = [self._augmented(rng)]
        if step % self.settings.whole_every == 0:
            examples.append(self.whole)
        return PictureExamples(examples)

    def _augmented(self, rng: torch.Generator) -> Example:
        """Colour jitter, flip, rescale and crop, in the order of the authors' code."""
        s = self.settings
        jitter, flip, scale, cover, top, left = torch.rand(6, generator=rng).tolist()
        factors = jitter_factors(1, s.jitter, torch.tensor([jitter < s.jitter_p]), rng)
        scale = s.min_scale + (s.max_scale - s.min_scale) * scale
        cover = s.min_crop + (1 - s.min_crop) * cover
        size, crop = self._size_and_crop(scale, cover)
        corner = [
            round(share * (a - b)) for share, a, b in zip((top, left), size, crop, strict=True)
        ]

        def augment(x: Tensor) -> Tensor:
            x = x.flip(3) if flip < s.flip_p else x
            x = F.interpolate(x, size, mode="bilinear", antialias=True, align_corners=False)
            return x[:, :, corner[0] : corner[0] + crop[0], corner[1] : corner[1] + crop[1]]

        whole = self.whole
        if jitter < s.jitter_p:
            factors = factors.to(whole.picture.device, non_blocking=True)
            whole = whole._replace(picture=color_jitter(whole.picture, factors))
        return whole.each(augment)

    def _size_and_crop(self, scale: float, cover: float) -> tuple[tuple[int, int], tuple[int, int]]:
        """Of the picture at about this scale, and of a crop of about this share of its sides."""
        height, width = self.whole.picture.shape[2:]
        if not self._sizes:
            size = max(MIN_SIDE, round(scale * height)), max(MIN_SIDE, round(scale * width))
            return size, (
                max(MIN_SIDE, round(cover * size[0])),
                max(MIN_SIDE, round(cover * size[1])),
            )
        wanted = scale * cover * math.sqrt(height * width)
        crop = min(self._sizes, key=lambda size: abs(math.sqrt(size[0] * size[1]) - wanted))
        scale = max(crop[0] / height, crop[1] / width) / cover
        return (max(crop[0], round(scale * height)), max(crop[1], round(scale * width))), crop


def crop_sizes(size: Sequence[int], settings: DatasetSettings) -> tuple[tuple[int, int], ...]:
    """At most four sizes for the crops of a picture (height, width), in whole steps of 32 pixels.

    They lie evenly in the range that scale and crop together span: for every new one a GPU chooses
    its kernels and records its graph anew.
    """
    least, most = settings.min_scale * settings.min_crop, settings.max_scale
    shares = [least + (most - least) * (i + 0.5) / _SIZES for i in range(_SIZES)]
    rounded = [tuple(in_steps(share * side) for side in size) for share in shares]
    return tuple(dict.fromkeys((height, width) for height, width in rounded))


def in_steps(side: float) -> int:
    """`side` in whole steps of 32 pixels, and large enough for the generator."""
    return max(math.ceil(MIN_SIDE / SIZE_STEP), round(side / SIZE_STEP)) * SIZE_STEP


def render(generator: Generator, example: Example) -> Rendered:
    """Edit layer, composite and screen of one example."""
    layer = EditLayer.from_rgba(generator(example.picture)).limited(example.limit)
    return lay(layer, example.picture)._replace(target=example.target, keep=example.keep)


def lay(layer: EditLayer, picture: Tensor) -> Rendered:
    """A layer over its picture (1, 3, H, W) and over green."""
    return Rendered(
        source=picture,
        composite=layer.over(picture),
        screen=layer.over_green_screen(),
        alpha=layer.alpha,
    )
