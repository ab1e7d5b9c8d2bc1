"""The edit layer and what it is laid over: composite (paper, Eq. 1) and green screen (Eq. 4)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from ..device import constant

GREEN_SCREEN = (0.0, 177 / 255, 64 / 255)


class EditLayer(NamedTuple):
    """Straight (un-premultiplied) colour (B, 3, H, W) and opacity (B, 1, H, W), both in [0, 1]."""

    color: Tensor
    alpha: Tensor

    @classmethod
    def from_rgba(cls, rgba: Tensor) -> EditLayer:
        """Split a generator's output (B, 4, H, W)."""
        color, alpha = rgba.split([3, 1], dim=1)
        return cls(color, alpha)

    def limited(self, mask: Tensor | None) -> EditLayer:
        """The layer with its alpha held under a hard limit `mask` (B, 1, H, W), if there is one."""
        return self if mask is None else EditLayer(self.color, self.alpha * mask)

    def over(self, background: Tensor) -> Tensor:
        """The composite α·C + (1 − α)·background (B, 3, H, W): Eq. 1 of the paper."""
        return torch.lerp(background, self.color, self.alpha)

    def over_green_screen(self) -> Tensor:
        """The layer over plain chroma-key green (B, 3, H, W): I_screen of Eq. 4."""
        return self.over(green_screen(self.color.device).expand_as(self.color))


def green_screen(device: torch.device) -> Tensor:
    """The chroma-key green, (1, 3, 1, 1)."""
    return constant(GREEN_SCREEN, device).view(1, 3, 1, 1)
