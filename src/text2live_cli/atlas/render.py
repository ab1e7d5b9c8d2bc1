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

Part = tuple[slice, slice]
"""Rows and columns of a frame."""


class Shown(NamedTuple):
    """What a frame shows of a layer."""

    part: Part
    """The rows and columns that hold all that is seen of it; both empty where nothing is."""
    rgba: Tensor
    """There, (h, w, 4) in [0, 1], colours times alpha, as if nothing lay before it."""
    share: Tensor
    """How much of that is seen, (h, w) in [0, 1]."""


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

    def at(self, uv: Tensor) -> Tensor:
        """Premultiplied RGBA (h, w, 4) at uv (h, w, 2); nothing outside of the layer."""
        origin = vector((self.left, self.top), uv)
        return sample(self.premultiplied, (uv - origin) * self.scale)

    def shown_in(self, maps: Maps, side: Side) -> Shown:
        """What the frame of `maps` shows of it, if it is a layer of `side`."""
        uv = maps.uv[side]
        part = np.s_[0 : uv.shape[0], 0 : uv.shape[1]]
        if uv.device.type == "cpu":  # a GPU is quicker with all of it than with looking where
            part = self._part(uv)
        return Shown(part, self.at(uv[part]), maps.share[side][part])

    def _part(self, uv: Tensor) -> Part:
        """The rows and columns of a frame, with uv (h, w, 2), that hold all it shows of this."""
        spans = []
        for axis, start in ((1, self.top), (0, self.left)):
            half = self.premultiplied.shape[2 - axis] / self.scale / 2
            reach = half + 0.51 / self.scale  # of a bilinear lookup, and a little for rounding
            spans.append((uv[..., axis] - (start + half)).abs() < reach)
        mask = (spans[0] & spans[1]).numpy()
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        if not len(rows):
            return np.s_[0:0, 0:0]
        return np.s_[int(rows[0]) : int(rows[-1]) + 1, int(columns[0]) : int(columns[-1]) + 1]


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
    shown = [layer.shown_in(maps, side) for side, layer in layers.items()]
    return lay_over_shown(frame, shown, opacity, mode)


def lay_over_shown(
    frame: NDArray[np.uint8], layers: Sequence[Shown], opacity: float = 1.0, mode: str = NORMAL
) -> NDArray[np.uint8]:
    """`lay_over_frame` onto a frame (h, w, 3), of layers that are looked up already.

    `opacity` is a factor on their alphas, `mode` how their colours meet the frame's.
    """
    seen = [layer for layer in layers if layer.rgba.numel()]
    if not seen:
        return frame
    whole = _around([layer.part for layer in seen])
    below = torch.from_numpy(frame[whole]).to(seen[0].rgba.device).float()
    change = torch.zeros_like(below)
    for layer in seen:
        part = _within(whole, layer.part)
        rgba = layer.rgba if mode == NORMAL else _blended(layer.rgba, below[part] / 255, mode)
        rgba = rgba * (layer.share[..., None] * opacity)
        change[part] += 255 * rgba[..., :3] - rgba[..., 3:] * below[part]
    result = frame.copy()
    result[whole] = (below + change).clamp_(0, 255).round_().to(torch.uint8).cpu().numpy()
    return result


def _blended(rgba: Tensor, below: Tensor, mode: str) -> Tensor:
    """A premultiplied layer (h, w, 4) with the colours that it comes to over `below` (h, w, 3)."""
    alpha = rgba[..., 3:]
    color = (rgba[..., :3] / alpha.clamp(min=_NOTHING)).cpu().double().numpy()
    met = torch.from_numpy(blend(mode, below.cpu().double().numpy(), color)).to(rgba)
    return torch.cat([met * alpha, alpha], dim=-1)


def _around(parts: Sequence[Part]) -> Part:
    """The smallest part that holds them."""
    rows, columns = (
        slice(min(span.start for span in spans), max(span.stop for span in spans))
        for spans in zip(*parts, strict=True)
    )
    return rows, columns


def _within(whole: Part, part: Part) -> Part:
    """`part` of a frame as a part of what is cut out of it."""
    rows, columns = (
        slice(span.start - of.start, span.stop - of.start)
        for span, of in zip(part, whole, strict=True)
    )
    return rows, columns
