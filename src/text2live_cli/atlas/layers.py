"""What both models of a clip share: where every pixel is in the two atlases, and how opaque."""

from __future__ import annotations

from typing import Literal, NamedTuple, Protocol

import torch
from torch import Tensor

Side = Literal["foreground", "background"]
SIDES: tuple[Side, Side] = ("foreground", "background")


class Maps(NamedTuple):
    """Where positions of the clip are in the two atlases.

    uv is in pixels of the layer's atlas canvas: u to the right, v down, and the centre of the first
    pixel at (0.5, 0.5).
    """

    foreground: Tensor
    """uv, (..., 2)."""
    background: Tensor
    """uv, (..., 2)."""
    opacity: Tensor
    """Of the foreground layer, (...), in [0, 1]."""


class AtlasModel(Protocol):
    """A clip of `frames` frames of `size` (height, width), unwrapped into two atlases."""

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
        """The maps of all pixels of frame `t` (from 0; may be fractional), (h, w, ...).

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
"""Opacity from which a pixel counts as foreground."""


def pixel_ratio(maps: Maps, side: Side) -> float:
    """Atlas pixels to a frame pixel along a line, in the median of what is seen; 0 for nothing.

    1/ratio is the scale at which a `WorkingAtlas` has about one pixel per frame pixel.
    """
    uv: Tensor = getattr(maps, side)
    seen = maps.opacity > OPAQUE if side == "foreground" else maps.opacity < 1 - OPAQUE
    right, down = uv[:-1, 1:] - uv[:-1, :-1], uv[1:, :-1] - uv[:-1, :-1]
    area = (right[..., 0] * down[..., 1] - right[..., 1] * down[..., 0]).abs()
    shown = area[seen[:-1, :-1]]
    return float(shown.median()) ** 0.5 if len(shown) else 0.0
