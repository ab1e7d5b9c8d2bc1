"""Resizing row by row, so that a large picture can be read and made in strips.

A row of the result does not depend on the strips, bit for bit: along the width PyTorch's own
resizing does the same to every row, along the height the weights are written out, and summed from
top to bottom. They are those of `F.interpolate` without aligned corners: bilinear, and antialiased
when shrinking.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

Size = tuple[int, int]
Rows = Callable[[slice], Tensor]
"""Gives some rows of a picture: (B, C, rows, W)."""

_STRIP = 2**21  # pixels: some 25 MB for each of the few tensors of three channels at hand


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


def resized(large: Rows, size: Size, to: Size) -> Tensor:
    """The picture of `size` whose rows `large` gives, antialiased where it shrinks: (B, C, *to)."""
    parts = strips(size)
    sums = _RowSums(size[0], _narrowed(large, next(parts), to[1]), to[0])
    for rows in parts:
        sums.add(rows, _narrowed(large, rows, to[1]))
    return sums.result


def _narrowed(large: Rows, rows: slice, width: int) -> Tensor:
    size = rows.stop - rows.start, width
    return F.interpolate(large(rows), size, mode="bilinear", antialias=True, align_corners=False)


class _RowSums:
    """The rows of a resized picture: each sums a tent over twice `reach` rows of the large one."""

    def __init__(self, height: int, first: Tensor, to: int) -> None:
        """`first` (B, C, rows, w) are the topmost of the `height` rows."""
        self._height, self._scale = height, height / to
        self._reach = max(self._scale, 1.0)
        self._taps = math.ceil(2 * self._reach) + 1
        self._centre = self._scale * (torch.arange(to, device=first.device) + 0.5)
        self._first = (self._centre - self._reach).floor().long()
        self._sum = first.new_zeros(*first.shape[:2], to, first.shape[3])
        self.add(slice(0, first.shape[2]), first)

    def add(self, rows: slice, narrow: Tensor) -> None:
        """Take the next `rows` (B, C, rows, w) of the large picture."""
        begin = max(0, math.floor((rows.start - self._reach) / self._scale) - 1)
        end = math.ceil((rows.stop + self._reach) / self._scale) + 1
        total = self._sum[:, :, begin:end]
        for tap in range(self._taps):
            row = self._first[begin:end] + tap
            weight = self._weight(begin, end, row) * ((row >= rows.start) & (row < rows.stop))
            column = (row - rows.start).clamp(0, narrow.shape[2] - 1)
            total += weight[:, None] * narrow[:, :, column]

    @property
    def result(self) -> Tensor:
        """(B, C, to, w), after all rows."""
        whole = torch.zeros_like(self._centre)
        for tap in range(self._taps):
            row = self._first + tap
            inside = (row >= 0) & (row < self._height)
            whole += self._weight(0, len(whole), row) * inside
        return self._sum / whole[:, None]

    def _weight(self, begin: int, end: int, row: Tensor) -> Tensor:
        away = (row + 0.5 - self._centre[begin:end]) / self._reach
        return (1 - away.abs()).clamp(min=0)
