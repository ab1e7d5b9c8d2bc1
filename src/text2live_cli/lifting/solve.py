"""The layer that, laid over the source, gives the edited picture: colour and opacity."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .filters import Image, Map, Mask, blurred, bounds, grown, narrowed

_RIM = 2  # pixels on either side of a mask's edge where the opacity is in doubt
_REACH = 2.5  # pixels (σ): the edit's own colour at its rim is that of its core so far away
_LEAST = 1.5 / 255
_FAINT = 0.06
_ROWS = 256  # at a time, to spare memory


def matte(source: Image, other: Image, mask: Mask, feather: float, scale: float = 1.0) -> Map:
    """Opacity (H, W): 1 within the mask, at its rim by how far the colour has come.

    There α = ⟨other − source, F − source⟩ / |F − source|², with the colour F of the core nearby;
    `feather` widens the band, pixels; `scale` is how many of them the mask's own are wide.
    """
    rim = round(_RIM * scale)
    core = narrowed(mask, rim)
    band = grown(mask, rim + round(feather)) & ~core
    alpha = core.astype(np.float32)
    here = bounds(band, 4 * rim + 8)
    share = _share(source[here], other[here], mask[here], core[here], _REACH * scale)
    alpha[here] = np.where(band[here], share, core[here])
    return alpha


def _share(source: Image, other: Image, mask: Mask, core: Mask, reach: float) -> Map:
    """How far each pixel's colour has come to that of the core, `reach` pixels (σ) away."""
    weight = core.astype(np.float32)
    near = blurred(weight, reach)
    way = blurred(other * weight[..., None], reach) / np.maximum(near, 1e-6)[..., None] - source
    share = ((other - source) * way).sum(-1) / np.maximum((way * way).sum(-1), 1e-4)
    share = np.where(near > 0.01, share.clip(0, 1), mask)  # thin things have no core
    share[share < _FAINT] = 0
    return share.astype(np.float32)


def solve_layer(source: Image, other: Image, alpha: Map) -> NDArray[np.uint8]:
    """(H, W, 4) straight alpha: over `source` it gives `other`, where `alpha` is not 0.

    α is raised where no colour in [0, 1] could do it with that little.
    """
    layer = np.zeros((*alpha.shape, 4), np.uint8)
    rows, columns = bounds(alpha > 0)
    for top in range(rows.start, rows.stop, _ROWS):
        here = slice(top, min(top + _ROWS, rows.stop)), columns
        layer[here] = _solved(source[here], other[here], alpha[here])
    return layer


def _solved(source: Image, other: Image, alpha: Map) -> NDArray[np.uint8]:
    rise = other - source
    room = np.where(rise > 0, 1 - source, source)
    needed = _largest(np.abs(rise) / np.maximum(room, 1e-4)).clip(0, 1)
    needed[_largest(np.abs(rise)) < _LEAST] = 0
    alpha = np.where(alpha > 0, np.maximum(alpha, needed), 0).astype(np.float32)
    alpha = np.ceil(alpha * 255 - 1e-3) / 255
    share = np.maximum(alpha, 1 / 255)[..., None]
    color = (source + rise / share).clip(0, 1)
    color[alpha == 0] = 0
    return np.rint(255 * np.dstack([color, alpha])).astype(np.uint8)


def _largest(values: Image) -> Map:
    """Of the three channels; so, several times faster than a reduction over the last axis."""
    return np.maximum(np.maximum(values[..., 0], values[..., 1]), values[..., 2])
