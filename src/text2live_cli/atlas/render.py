"""Atlas pictures back to the frames: reconstructions, and layers over the clip (paper, Eq. 10)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..device import vector
from ..media.blending import NORMAL, blend
from .coordinates import sample
from .discretise import AtlasPicture
from .layers import LAYERS, AtlasModel, Maps, Side

_NOTHING = 1e-6  # alpha under which a colour is none


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
        """`picture`, whose pixels are 1/`scale` atlas pixels wide."""
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
        mask = (x < end[0] / 2 + margin) & (y < end[1] / 2 + margin)
        rows, columns = mask.any(1).nonzero()[:, 0], mask.any(0).nonzero()[:, 0]
        if not len(rows):
            return slice(0, 0), slice(0, 0)
        return slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)

    def at(self, uv: Tensor) -> Tensor:
        """Premultiplied RGBA (h, w, 4) at uv (h, w, 2); nothing outside of the layer."""
        origin = vector((self.left, self.top), uv)
        return sample(self.premultiplied, (uv - origin) * self.scale)


def reconstruct(textures: Sequence[Tensor], maps: Maps) -> NDArray[np.uint8]:
    """The frame (h, w, 3) that the layers' atlases (3, H, W), back to front, give by themselves."""
    colours = [sample(texture, uv, "border") for texture, uv in zip(textures, maps.uv, strict=True)]
    frame = maps.mixed(colours).clamp(0, 1) * 255
    return frame.round().to(torch.uint8).cpu().numpy()


def textures_of(model: AtlasModel) -> list[Tensor]:
    """The layers' atlases (3, H, W) over their whole canvases, back to front, on the model's
    device.
    """
    return [model.texture(side) for side in range(len(LAYERS))]


def lay_over_frame(
    frame: NDArray[np.uint8],
    maps: Maps,
    layers: dict[Side, Layer],
    opacity: float = 1.0,
    mode: str = NORMAL,
) -> NDArray[np.uint8]:
    """Composite layers of the atlases over a frame (h, w, 3); `maps` are of its size.

    Their colours meet the frame's by a blend `mode`.

    All is computed where maps and layers are.
    out = Σ_l s_l·(α_l·C_l + (1−α_l)·c) over the layers l and their shares s_l: Kasten et al.'s
    Eqs. 15 and 16 for any number of layers (docs/method.md). Where nothing of a layer is, the
    frame's values come out untouched.
    """
    device = maps.share.device
    part = np.s_[:, :]  # a GPU is quicker with all of it than with looking what it takes
    if device.type == "cpu":
        boxes = [layer.box(maps.uv[side]) for side, layer in layers.items()]
        part = _union([rows for rows, _ in boxes]), _union([columns for _, columns in boxes])
        if not part[0].stop:
            return frame
    below = torch.from_numpy(frame[part]).to(device).float()
    change = torch.zeros_like(below)
    for side, layer in layers.items():
        rgba = layer.at(maps.uv[side][part])
        if mode != NORMAL:
            rgba = _blended(rgba, below / 255, mode)
        rgba = rgba * (maps.share[side][part][..., None] * opacity)
        change += 255 * rgba[..., :3] - rgba[..., 3:] * below
    result = frame.copy()
    result[part] = (below + change).clamp(0, 255).round().to(torch.uint8).cpu().numpy()
    return result


def _blended(rgba: Tensor, below: Tensor, mode: str) -> Tensor:
    """A premultiplied layer (h, w, 4) with the colours that it comes to over `below` (h, w, 3)."""
    alpha = rgba[..., 3:]
    color = (rgba[..., :3] / alpha.clamp(min=_NOTHING)).cpu().double().numpy()
    met = torch.from_numpy(blend(mode, below.cpu().double().numpy(), color)).to(rgba)
    return torch.cat([met * alpha, alpha], dim=-1)


def _union(spans: Sequence[slice]) -> slice:
    some = [span for span in spans if span.stop]
    if not some:
        return slice(0, 0)
    return slice(min(span.start for span in some), max(span.stop for span in some))
