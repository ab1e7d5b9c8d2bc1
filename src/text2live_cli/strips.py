"""Resizing by strips of rows, so that memory does not grow with a picture's height."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

_PIXELS = 2_000_000  # of a strip, at least a row

Rows = Callable[[slice], Tensor]
"""Gives the rows of a picture: (1, C, rows, W)."""


def strips(size: tuple[int, int]) -> Iterator[slice]:
    """The rows of a picture of `size` (height, width), a strip at a time."""
    height, width = size
    step = max(1, _PIXELS // width)
    return (slice(top, min(top + step, height)) for top in range(0, height, step))


class Shrinker:
    """Antialiased bilinear resizing, strip by strip: what `F.interpolate` gives for the whole."""

    def __init__(self, size: tuple[int, int], to: tuple[int, int]) -> None:
        self.size, self.to = size, to
        self._sum: Tensor | None = None

    def add(self, rows: slice, strip: Tensor) -> None:
        """Take the rows (1, C, rows, W) of the large picture."""
        narrow = _resized(strip, (strip.shape[2], self.to[1]), antialias=True)
        share = _row_weights(self.size[0], self.to[0], rows, strip.device)
        part = torch.einsum("hr,bcrw->bchw", share.to(narrow.dtype), narrow)
        self._sum = part if self._sum is None else self._sum + part

    @property
    def result(self) -> Tensor:
        """The small picture (1, C, *to), after all rows."""
        assert self._sum is not None, "no rows were added"
        return self._sum


def shrink(rows: Rows, size: tuple[int, int], to: tuple[int, int]) -> Tensor:
    """The picture of `size` whose rows are given, resized: (1, C, *to)."""
    shrinker = Shrinker(size, to)
    for part in strips(size):
        shrinker.add(part, rows(part))
    return shrinker.result


def enlarged_rows(x: Tensor, size: tuple[int, int], rows: slice) -> Tensor:
    """The rows of (1, C, h, w) resized to `size`: those of plain bilinear interpolation."""
    height = x.shape[2]
    y = (torch.arange(rows.start, rows.stop, device=x.device) + 0.5) * (height / size[0]) - 0.5
    y = y.clamp(0, height - 1)
    above = y.floor().long()
    below = (above + 1).clamp(max=height - 1)
    share = (y - above).to(x.dtype)[:, None]
    mixed = torch.lerp(x[:, :, above], x[:, :, below], share.expand(len(y), x.shape[3]))
    return _resized(mixed, (len(y), size[1]))


def _row_weights(height: int, to: int, rows: slice, device: torch.device) -> Tensor:
    """How much each of `rows` of a picture of `height` counts in each of `to` rows."""
    scale = height / to
    reach = max(scale, 1.0)
    center = scale * (torch.arange(to, dtype=torch.float64)[:, None] + 0.5)

    def weights(of: Tensor) -> Tensor:
        return (1 - (of + 0.5 - center).abs() / reach).clamp_min(0)

    total = weights(torch.arange(height, dtype=torch.float64)).sum(1, keepdim=True)
    part = weights(torch.arange(rows.start, rows.stop, dtype=torch.float64))
    return (part / total).float().to(device)


def _resized(x: Tensor, size: tuple[int, int], antialias: bool = False) -> Tensor:
    return F.interpolate(x, size, mode="bilinear", antialias=antialias, align_corners=False)
