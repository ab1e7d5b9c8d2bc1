"""Deliver large what was trained small: the edit layer at the size of the source.

Up to 1.2 times the trained size the generator itself is run there. Above, the layer is upsampled
along the source's edges, by a guided filter (He, Sun and Tang 2010; its coefficients upsampled, as
in the "fast guided filter", He and Sun 2015), in strips, so that the memory it takes hardly grows.
What either loses against the trained layer is added back.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from ..media.resampling import (
    Rows,
    Size,
    enlarged_rows,
    resized,
    strips,
)
from .edit_layer import EditLayer
from .generator import Generator

MAX_DIRECT_SCALE = 1.2
"""The generator has seen its picture at up to this scale, and can be run there."""
_RADIUS = 2  # pixels of the small picture
_EPSILON = 1e-2  # variance of the guide under which a window counts as flat
_CORRECTIONS = 2


def render_at(generator: Generator, source: Tensor, working: Tensor) -> EditLayer:
    """The edit layer (1, ·, H, W) at the size of `source`, trained on `working`, a resized copy."""
    size = (source.shape[2], source.shape[3])
    return _joined(render_rows(generator, lambda rows: source[:, :, rows], size, working))


def render_rows(
    generator: Generator, source: Rows, size: Size, working: Tensor
) -> Iterator[tuple[slice, EditLayer]]:
    """The same of a source of `size` whose rows are given: some rows of the layer at a time.

    All of them at once where the source is not much larger than `working`.
    """
    layer = EditLayer.from_rgba(generator(working))
    scale = size[0] / working.shape[2]
    if scale > MAX_DIRECT_SCALE:
        yield from upsampled(layer, working, source, size)
        return
    if scale < 1:
        layer = EditLayer(*(_shrink(part, size) for part in layer))
    elif scale > 1:
        large = EditLayer.from_rgba(generator(source(slice(0, size[0]))))
        pairs = zip(large, layer, strict=True)
        layer = EditLayer(*(_corrected(a, b).clamp(0, 1) for a, b in pairs))
    yield slice(0, size[0]), layer


def upsample(layer: EditLayer, small: Tensor, large: Tensor) -> EditLayer:
    """Bring a layer of the picture `small` (1, 3, h, w) to the size of `large` (1, 3, H, W)."""
    size = (large.shape[2], large.shape[3])
    return _joined(upsampled(layer, small, lambda rows: large[:, :, rows], size))


def upsampled(
    layer: EditLayer, small: Tensor, large: Rows, size: Size
) -> Iterator[tuple[slice, EditLayer]]:
    """The same, strip by strip, where `large` gives the rows of a picture of `size`."""
    guided = _Guided(torch.cat([layer.color, layer.alpha], dim=1), small, large, size)
    for rows in strips(size):
        values = guided.rows(rows)
        yield rows, EditLayer(values[:, :3], values[:, 3:])


def _joined(parts: Iterable[tuple[slice, EditLayer]]) -> EditLayer:
    layers = [part for _, part in parts]
    return EditLayer(*(torch.cat(planes, dim=2) for planes in zip(*layers, strict=True)))


def snap_alpha(
    alpha: Tensor, cut: float, outside_cut: float = 0.0, outside: Tensor | None = None
) -> Tensor:
    """Stretch an alpha (B, 1, H, W): what is under `cut` becomes 0, what is over 1 − `cut` 1.

    A sigmoid reaches neither, and only where the alpha is 0 is the source left as it is. Where
    `outside`, in [0, 1], the lower of the two rises to `outside_cut`.
    """
    if outside is None:
        return ((alpha - cut) / (1 - 2 * cut)).clamp(0, 1)
    low = cut + max(outside_cut - cut, 0.0) * outside
    return ((alpha - low) / (1 - cut - low)).clamp(0, 1)


class _Guided:
    """Guided upsampling of (1, C, h, w), held between the local extremes of the small values.

    What the result lacks against the small values, when shrunk, is found in a pass over all strips
    for each correction.
    """

    def __init__(self, values: Tensor, small: Tensor, large: Rows, size: Size) -> None:
        self._size, self._large = size, large
        self._low = -F.max_pool2d(-values, 3, 1, 1)
        self._high = F.max_pool2d(values, 3, 1, 1)
        self._slope, self._offset = _local_linear(values, small)
        self._lacking: list[Tensor] = []
        of = (small.shape[2], small.shape[3])
        for _ in range(_CORRECTIONS):
            self._lacking.append(values - resized(self.rows, size, of))

    def rows(self, rows: slice) -> Tensor:
        """Rows of the result, (1, C, rows, W)."""
        low, high = (enlarged_rows(x, self._size, rows) for x in (self._low, self._high))
        result = self._apply_linear(rows).clamp(low, high)
        for lacking in self._lacking:
            result = (result + enlarged_rows(lacking, self._size, rows)).clamp(low, high)
        return result

    def _apply_linear(self, rows: slice) -> Tensor:
        """slope · guide + offset; axis by axis, to spare memory."""
        result = enlarged_rows(self._offset, self._size, rows)
        for axis, guide in enumerate(self._large(rows).unbind(1)):
            slopes = enlarged_rows(self._slope[None, :, axis], self._size, rows)
            result += slopes * guide[:, None]
        return result


def _corrected(large: Tensor, small: Tensor) -> Tensor:
    """`large` plus what it lacks, when shrunk, against `small`."""
    return large + _bilinear(small - _shrink(large, small.shape[2:]), large.shape[2:])


def _local_linear(values: Tensor, guide: Tensor) -> tuple[Tensor, Tensor]:
    """Slopes (C, 3, h, w) and offsets (1, C, h, w) of values ≈ slope · guide + offset."""
    channels, (height, width) = values.shape[1], values.shape[2:]
    mean_guide, mean_values = _window_mean(guide), _window_mean(values)
    pairs = torch.einsum("bihw,bjhw->ijhw", guide, guide).view(1, 9, height, width)
    variance = _window_mean(pairs).view(3, 3, height, width)
    variance = variance - torch.einsum("bihw,bjhw->ijhw", mean_guide, mean_guide)
    pairs = torch.einsum("bchw,bihw->cihw", values, guide).reshape(1, channels * 3, height, width)
    covariance = _window_mean(pairs).view(channels, 3, height, width)
    covariance = covariance - torch.einsum("bchw,bihw->cihw", mean_values, mean_guide)
    damped = variance.permute(2, 3, 0, 1) + _EPSILON * torch.eye(3, device=values.device)
    slope = torch.linalg.solve(damped, covariance.permute(2, 3, 1, 0)).permute(3, 2, 0, 1)
    offset = mean_values - torch.einsum("cihw,bihw->bchw", slope, mean_guide)
    smooth = _window_mean(slope.reshape(1, channels * 3, height, width))
    return smooth.view(channels, 3, height, width), _window_mean(offset)


def _window_mean(x: Tensor) -> Tensor:
    side = 2 * _RADIUS + 1
    return F.avg_pool2d(x, side, stride=1, padding=_RADIUS, count_include_pad=False)


def _bilinear(x: Tensor, size: tuple[int, int] | torch.Size) -> Tensor:
    return F.interpolate(x, size, mode="bilinear", align_corners=False)


def _shrink(x: Tensor, size: tuple[int, int] | torch.Size) -> Tensor:
    return F.interpolate(x, size, mode="bilinear", antialias=True, align_corners=False)
