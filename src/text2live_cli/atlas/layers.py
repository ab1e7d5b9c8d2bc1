"""What both models of a clip share: where every pixel is in each atlas, and what it shows of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

_NOTHING = 1e-12  # a share under which no layer is seen

Side = int
"""A layer of a clip: its place in `LAYERS`."""
LAYERS = ("background", "foreground")
"""What the layers are called in files, options and reports; back to front."""
BACKGROUND, FOREGROUND = range(len(LAYERS))
FRONT_FIRST: tuple[Side, ...] = (FOREGROUND, BACKGROUND)
"""The order in which fits compute and files list them: another one gives other last digits."""


class Maps(NamedTuple):
    """Where positions of the clip are in the atlases of its L layers, back to front.

    uv is in pixels of the layer's atlas canvas: u to the right, v down, and the centre of the first
    pixel at (0.5, 0.5).
    """

    uv: Tensor
    """(L, ..., 2)."""
    share: Tensor
    """How much of each position shows each layer, (L, ...) in [0, 1]; over the layers they sum
    to 1."""

    @classmethod
    def of_two(cls, background: Tensor, foreground: Tensor, opacity: Tensor) -> Maps:
        """The maps of two layers, uv (..., 2) each, the foreground of `opacity` (...) in [0, 1]."""
        return cls(torch.stack([background, foreground]), torch.stack([1 - opacity, opacity]))

    def mixed(self, values: Sequence[Tensor]) -> Tensor:
        """What is seen where each layer has its `values` (..., C), back to front: (..., C)."""
        mixture, total = values[0], self.share[0]
        for value, share in zip(values[1:], self.share[1:], strict=True):
            total = total + share
            mixture = torch.lerp(mixture, value, (share / total.clamp(min=_NOTHING))[..., None])
        return mixture


class AtlasModel(Protocol):
    """A clip of `frames` frames of `size` (height, width), unwrapped into an atlas a layer."""

    name: str
    frames: int
    size: tuple[int, int]

    @property
    def device(self) -> torch.device:
        """Where its tensors are, and all that it gives."""

    def on(self, device: torch.device) -> AtlasModel:
        """The same on `device`; this one stays where it is."""

    def canvas(self, side: Side) -> tuple[int, int]:
        """Height and width of the layer's atlas, in atlas pixels."""

    def locate(self, t: float, size: tuple[int, int] | None = None) -> Maps:
        """The maps of all pixels of frame `t` (from 0; may be fractional), (L, h, w, ...).

        `size` is that of the frame to be rendered (default: the working size); the pixel centres of
        both sizes lie on the same picture.
        """

    def closed(self) -> AtlasModel:
        """The same for edits: an opacity without the small holes that mend a reconstruction.

        Where a layer's atlas is not quite what a frame shows, the other one may be nearer, and the
        fit opens a hole; an edit of either would show it as a speck.
        """

    def texture(self, side: Side) -> Tensor:
        """The layer's discretised atlas, RGB (3, H, W) in [0, 1], over its whole canvas."""

    def tensors(self) -> dict[str, Tensor]:
        """All that `locate` and `texture` depend on, by name, for the file."""


OPAQUE = 0.95
"""Share from which a pixel counts as showing that layer alone."""


def pixel_ratio(maps: Maps, side: Side) -> float:
    """Atlas pixels to a frame pixel along a line, in the median of what is seen; 0 for nothing.

    `maps` are those of a frame, (L, h, w, ...).

    1/ratio is the scale at which a `WorkingAtlas` has about one pixel per frame pixel.
    """
    uv, mask = maps.uv[side], maps.share[side] > OPAQUE
    right, down = uv[:-1, 1:] - uv[:-1, :-1], uv[1:, :-1] - uv[:-1, :-1]
    area = (right[..., 0] * down[..., 1] - right[..., 1] * down[..., 0]).abs()
    area = area[mask[:-1, :-1]]
    return float(area.median()) ** 0.5 if len(area) else 0.0
