"""Atlas pictures back to the frames: reconstructions, and layers over the clip (paper, Eq. 10)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..device import vector
from .coordinates import sample
from .discretise import AtlasPicture
from .layers import (
    SIDES,
    AtlasModel,
    Maps,
    Side,
)


class Layer(NamedTuple):
    """An RGBA layer on an atlas, ready to be sampled."""

    premultiplied: Tensor
    """(4, H, W) in [0, 1], colours times alpha."""
    left: float
    """Canvas position of its left edge, atlas pixels."""
    top: float
    scale: float
    """Its pixels to an atlas pixel."""

    @classmethod
    def of(cls, picture: AtlasPicture, scale: float = 1.0) -> Layer:
        """`picture` at `scale` times the atlas's resolution."""
        rgba = torch.from_numpy(picture.rgba).permute(2, 0, 1).float() / 255
        return cls(torch.cat([rgba[:3] * rgba[3:], rgba[3:]]), picture.left, picture.top, scale)

    def on(self, device: torch.device) -> Layer:
        """The same on `device`."""
        return self._replace(premultiplied=self.premultiplied.to(device))

    def box(self, uv: Tensor) -> tuple[slice, slice]:
        """The rows and columns of a frame, with uv (h, w, 2), that hold all it shows of this."""
        height, width = self.premultiplied.shape[1:]
        end = torch.tensor([width, height]) / self.scale
        x, y = (uv - torch.tensor([self.left, self.top]) - end / 2).abs().unbind(-1)
        margin = 0.5 / self.scale  # of a bilinear lookup
        seen = (x < end[0] / 2 + margin) & (y < end[1] / 2 + margin)
        rows, columns = seen.any(1).nonzero()[:, 0], seen.any(0).nonzero()[:, 0]
        if not len(rows):
            return slice(0, 0), slice(0, 0)
        return slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)

    def at(self, uv: Tensor) -> Tensor:
        """Premultiplied RGBA (h, w, 4) at uv (h, w, 2); nothing outside of the layer."""
        origin = vector((self.left, self.top), uv)
        return sample(self.premultiplied, (uv - origin) * self.scale)


def reconstruct(textures: dict[Side, Tensor], maps: Maps) -> NDArray[np.uint8]:
    """The frame (h, w, 3) that both atlases (3, H, W) give by themselves."""
    foreground, background = (sample(textures[s], getattr(maps, s), "border") for s in SIDES)
    mixed = torch.lerp(background, foreground, maps.opacity[..., None])
    return (mixed.clamp(0, 1) * 255).round().to(torch.uint8).cpu().numpy()


def textures_of(model: AtlasModel) -> dict[Side, Tensor]:
    """Both atlases over their whole canvases, on the model's device."""
    return {side: model.texture(side) for side in SIDES}


def lay_over_frame(
    frame: NDArray[np.uint8], maps: Maps, layers: dict[Side, Layer]
) -> NDArray[np.uint8]:
    """Composite layers of the atlases over a frame (h, w, 3); `maps` are of its size.

    All is computed where maps and layers are.
    out = α·(α_f·C_f + (1−α_f)·c) + (1−α)·(α_b·C_b + (1−α_b)·c), Kasten et al.'s Eqs. 15 and 16
    (docs/method.md). Where nothing of a layer is, the frame's values come out untouched.
    """
    device = maps.opacity.device
    part = np.s_[:, :]  # a GPU is quicker with all of it than with looking what it takes
    if device.type == "cpu":
        seen = [layer.box(getattr(maps, side)) for side, layer in layers.items()]
        part = _union([rows for rows, _ in seen]), _union([columns for _, columns in seen])
        if not part[0].stop:
            return frame
    below = torch.from_numpy(frame[part]).to(device).float()
    change = torch.zeros_like(below)
    for side, layer in layers.items():
        opacity = maps.opacity[part]
        share = opacity if side == "foreground" else 1 - opacity
        rgba = layer.at(getattr(maps, side)[part]) * share[..., None]
        change += 255 * rgba[..., :3] - rgba[..., 3:] * below
    result = frame.copy()
    result[part] = (below + change).clamp(0, 255).round().to(torch.uint8).cpu().numpy()
    return result


def _union(spans: Sequence[slice]) -> slice:
    some = [span for span in spans if span.stop]
    if not some:
        return slice(0, 0)
    return slice(min(span.start for span in some), max(span.stop for span in some))
