"""Paint on several frames of a clip as one layer: each place from the frame that shows it best."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
import torch
from torch import Tensor

from .coordinates import sample
from .render import Layer

_DECIDED = 4  # power by which the frame that shows a place larger is preferred: soft where alike
_SEAM = 8.0  # layer pixels from the edge of what a frame says, over which it fades in
_ALIKE = 161  # layer pixels over which sizes are averaged: few seams, not one for every wrinkle
_LEAST = 1e-6
_MOST = 16_000_000  # pixels of a layer; beyond, it is made coarser


class Carried(NamedTuple):
    """A layer that was painted on a frame, on the atlas."""

    layer: Layer
    size: Tensor
    """How large the frame shows each of its pixels, (H, W), frame pixels to an atlas pixel; 0 where
    the frame says nothing: away from its paint."""


def reconciled(carried: Sequence[Carried]) -> Layer:
    """One layer of all, of the finest scale.

    Where several frames say something, paint or none, they are mixed by weight: how large each
    shows the place, to a power that decides where they differ, fading in from the edge of what it
    says something of.
    """
    if len(carried) == 1:
        return carried[0].layer
    left = min(one.layer.left for one in carried)
    top = min(one.layer.top for one in carried)
    width = max(_end(one.layer)[0] for one in carried) - left
    height = max(_end(one.layer)[1] for one in carried) - top
    scale = max(one.layer.scale for one in carried)
    scale = min(scale, (_MOST / (width * height)) ** 0.5)
    rows, columns = (max(1, round(extent * scale)) for extent in (height, width))
    y, x = (torch.arange(count) + 0.5 for count in (rows, columns))
    uv = torch.stack(torch.meshgrid(x / scale + left, y / scale + top, indexing="xy"), dim=-1)
    total, weights = torch.zeros(rows, columns, 4), torch.zeros(rows, columns, 1)
    for one in carried:
        weight = _weight(one, uv)
        total += weight * one.layer.at(uv)
        weights += weight
    mixed = total / weights.clamp(min=torch.finfo(torch.float32).tiny)
    return Layer(mixed.permute(2, 0, 1).contiguous(), left, top, scale)


def _end(layer: Layer) -> tuple[float, float]:
    """The canvas position of the right and lower edge."""
    height, width = layer.premultiplied.shape[1:]
    return layer.left + width / layer.scale, layer.top + height / layer.scale


def _weight(one: Carried, uv: Tensor) -> Tensor:
    """How much a frame says at uv (H, W, 2): (H, W, 1)."""
    layer, says = one.layer, (one.size > 0).numpy().astype(np.float32)
    outside = np.pad(says, 1).astype(np.uint8)
    depth = cv2.distanceTransform(outside, cv2.DIST_L2, 3)[1:-1, 1:-1]
    share = cv2.blur(says, (_ALIKE, _ALIKE))
    size = cv2.blur(one.size.numpy(), (_ALIKE, _ALIKE)) / np.maximum(share, _LEAST)
    weight = torch.from_numpy(size * says * (depth / _SEAM).clip(0, 1))
    origin = torch.tensor([layer.left, layer.top])
    return sample(weight[None], (uv - origin) * layer.scale) ** _DECIDED
