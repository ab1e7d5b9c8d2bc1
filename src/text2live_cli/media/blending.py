"""How a layer's colour meets the picture below: the formulas of W3C Compositing and Blending 1.

Of a backdrop colour b and a layer's colour s in [0, 1], B(b, s) is what takes the place of s before
alpha mixes it in: with B = s ("normal") a layer covers.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from ..config import BLEND_MODES

Colors = NDArray[np.float64]
"""(..., 3) in [0, 1]."""
NORMAL = BLEND_MODES[0]
_LUMINOSITY = np.array((0.3, 0.59, 0.11))  # of red, green, blue, as the formulas have it


def blend(mode: str, below: Colors, above: Colors) -> Colors:
    """B(b, s) of colours (..., 3) in [0, 1]; `mode` is one of `config.BLEND_MODES`."""
    return _FORMULAS[mode](below, above)


def _normal(b: Colors, s: Colors) -> Colors:
    return s


def _multiply(b: Colors, s: Colors) -> Colors:
    return b * s


def _screen(b: Colors, s: Colors) -> Colors:
    return b + s - b * s


def _overlay(b: Colors, s: Colors) -> Colors:
    return np.where(b <= 0.5, _multiply(s, 2 * b), _screen(s, 2 * b - 1))


def _soft_light(b: Colors, s: Colors) -> Colors:
    curve = np.where(b <= 0.25, ((16 * b - 12) * b + 4) * b, np.sqrt(b))
    return np.where(s <= 0.5, b - (1 - 2 * s) * b * (1 - b), b + (2 * s - 1) * (curve - b))


def _color(b: Colors, s: Colors) -> Colors:
    return _with_luminosity(s, _luminosity(b))


def _luminosity_of(b: Colors, s: Colors) -> Colors:
    return _with_luminosity(b, _luminosity(s))


def _luminosity(colors: Colors) -> Colors:
    return np.asarray(colors @ _LUMINOSITY)[..., None]


def _with_luminosity(colors: Colors, luminosity: Colors) -> Colors:
    """SetLum and ClipColor: moved to that luminosity, then drawn to it until all is in [0, 1]."""
    moved = colors + (luminosity - _luminosity(colors))
    middle = _luminosity(moved)
    low, high = moved.min(axis=-1, keepdims=True), moved.max(axis=-1, keepdims=True)
    apart = moved - middle
    with np.errstate(divide="ignore", invalid="ignore"):
        moved = np.where(low < 0, middle + apart * middle / (middle - low), moved)
        raised = middle + apart * (1 - middle) / (high - middle)
    return np.asarray(np.where((high > 1) & (low >= 0), raised, moved))


_FORMULAS: dict[str, Callable[[Colors, Colors], Colors]] = dict(
    zip(
        BLEND_MODES,
        (_normal, _multiply, _screen, _overlay, _soft_light, _color, _luminosity_of),
        strict=True,
    )
)
