"""Resizing row by row, so that a large picture can be made in strips.

A row of the result does not depend on the strip that it is made in, bit for bit: along the width
PyTorch's own resizing does the same to every row, along the height the weights are written out.
They are those of `F.interpolate` without aligned corners: bilinear, and antialiased when shrinking.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

Size = tuple[int, int]
_STRIP = 2**22  # pixels: some 50 MB for each of the few tensors of three channels at hand


def strips(size: Size) -> Iterator[slice]:
    """The rows of a picture of `size`, some at a time."""
    height, width = size
    rows = max(1, _STRIP // width)
    return (slice(top, min(top + rows, height)) for top in range(0, height, rows))


def enlarged_rows(x: Tensor, size: Size, rows: slice) -> Tensor:
    """The `rows` of (B, C, h, w) brought to `size`, bilinear: (B, C, rows, W)."""
    count = x.shape[2]
    at = torch.arange(rows.start, rows.stop, device=x.device, dtype=torch.float32)
    at = ((at + 0.5) * (count / size[0]) - 0.5).clamp(0, count - 1)
    above = at.long()
    below = (above + 1).clamp(max=count - 1)
    mixed = torch.lerp(x[:, :, above], x[:, :, below], (at - above)[:, None])
    return F.interpolate(mixed, (len(at), size[1]), mode="bilinear", align_corners=False)


def shrunk(x: Tensor, size: Size) -> Tensor:
    """(B, C, H, W) brought to a smaller `size`, antialiased: the strips of `x`, one by one."""
    parts = [_shrunk_rows(x, size, rows) for rows in strips((size[0], x.shape[3]))]
    return torch.cat(parts, dim=2)


def _shrunk_rows(x: Tensor, size: Size, rows: slice) -> Tensor:
    """The `rows` of the small picture: a tent over twice `scale` rows of the large one each."""
    count, scale = x.shape[2], x.shape[2] / size[0]
    centre = scale * (torch.arange(rows.start, rows.stop, device=x.device) + 0.5)
    first = (centre - scale).floor().long()
    result, total = None, torch.zeros_like(centre)
    for tap in range(math.ceil(2 * scale) + 1):
        row = first + tap
        weight = (1 - ((row + 0.5 - centre) / scale).abs()).clamp(min=0)
        weight = weight * ((row >= 0) & (row < count))
        part = weight[:, None] * x[:, :, row.clamp(0, count - 1)]
        result = part if result is None else result + part
        total = total + weight
    assert result is not None
    result = result / total[:, None]
    return F.interpolate(
        result, (len(centre), size[1]), mode="bilinear", antialias=True, align_corners=False
    )
