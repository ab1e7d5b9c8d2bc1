"""The internal dataset: training examples drawn from the one picture (paper §3.1, appendix A.2)."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from ..config import MIN_SIDE, DatasetSettings
from ..guide.views import color_jitter, jitter_factors
from .edit_layer import EditLayer
from .generator import Generator
from .objective import Rendered


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


class InternalDataset:
    """Draws the examples of each step from one picture; without augmentation always the whole."""

    def __init__(self, whole: Example, settings: DatasetSettings, augment: bool) -> None:
        self.whole = whole
        self.settings = settings
        self.augment = augment

    def draw(self, step: int, rng: torch.Generator) -> list[Example]:
        """The examples of step `step`: one augmented, and every 75th step the whole picture too."""
        if not self.augment:
            return [self.whole]
        examples = [self._augmented(rng)]
        if step % self.settings.whole_every == 0:
            examples.append(self.whole)
        return examples

    def render(self, generator: Generator, step: int, rng: torch.Generator) -> list[Rendered]:
        """The generator's edit of every example of step `step`, as the objective wants it."""
        return [render(generator, example) for example in self.draw(step, rng)]

    def _augmented(self, rng: torch.Generator) -> Example:
        """Colour jitter, flip, rescale and crop, in the order of the authors' code."""
        s = self.settings
        jitter, flip, scale, cover, top, left = torch.rand(6, generator=rng).tolist()
        factors = jitter_factors(1, s.jitter, torch.tensor([jitter < s.jitter_p]), rng)
        height, width = self.whole.picture.shape[2:]
        scale = s.min_scale + (s.max_scale - s.min_scale) * scale
        size = max(MIN_SIDE, round(scale * height)), max(MIN_SIDE, round(scale * width))
        cover = s.min_crop + (1 - s.min_crop) * cover
        crop = [max(MIN_SIDE, round(cover * side)) for side in size]
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
