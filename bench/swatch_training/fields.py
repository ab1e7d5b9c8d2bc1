"""Scalar and colour fields over a picture: what the procedural looks are made of.

Lengths are in short sides of the picture, so that a pattern keeps its proportions at any size.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Field = NDArray[np.floating]
Rng = np.random.Generator


def noise(rng: Rng, h: int, w: int, cell: float, stretch: float = 1.0) -> Field:
    """Smooth noise, about -1..1; blobs of `cell` times the short side, `stretch` times as tall."""
    step = cell * min(h, w)
    rows, cols = max(2, round(h / step / stretch) + 2), max(2, round(w / step) + 2)
    grid = Image.fromarray(rng.uniform(-1, 1, (rows, cols)).astype(np.float32))
    return np.asarray(grid.resize((w, h), Image.Resampling.BICUBIC), dtype=np.float32)


def fractal(rng: Rng, h: int, w: int, cell: float, stretch: float = 1.0) -> Field:
    octaves = [noise(rng, h, w, cell / 2**i, stretch) / 1.7**i for i in range(3)]
    return np.clip(0.5 + 0.45 * sum(octaves[1:], octaves[0]), 0, 1)


def ramp(t: Field, *colours: tuple[int, int, int]) -> Field:
    """Colours 0..255 spread evenly over t in 0..1."""
    stops, knots = np.array(colours) / 255.0, np.linspace(0, 1, len(colours))
    index = np.linspace(0, 1, 256)
    table = np.stack([np.interp(index, knots, stops[:, c]) for c in range(3)], 1)
    return table.astype(np.float32)[(np.clip(t, 0, 1) * 255).astype(np.uint8)]


def axes(rng: Rng, h: int, w: int, turn: float | None = None) -> tuple[Field, Field]:
    """Coordinates in short sides, turned by `turn` radians (random when None) and shifted."""
    angle = rng.uniform(0, np.pi) if turn is None else turn
    y, x = np.mgrid[0:h, 0:w].astype(np.float32) / min(h, w)
    x, y = x + rng.uniform(0, 5), y + rng.uniform(0, 5)
    c, s = np.cos(angle), np.sin(angle)
    return c * x + s * y, c * y - s * x


def cells(rng: Rng, h: int, w: int, count: int) -> tuple[Field, Field]:
    """Voronoi cells: distance to the border between cells (short sides), a random value a cell."""
    low_h, low_w = (h + 1) // 2, (w + 1) // 2
    side = int(np.ceil(np.sqrt(count)))
    gy, gx = np.mgrid[-0.5 : side + 1, -0.5 : side + 1]
    py = ((gy + rng.uniform(-0.4, 0.4, gy.shape)) / side * low_h).ravel().astype(np.float32)
    px = ((gx + rng.uniform(-0.4, 0.4, gx.shape)) / side * low_w).ravel().astype(np.float32)
    y, x = np.mgrid[0:low_h, 0:low_w].astype(np.float32)
    distance = (y[..., None] - py) ** 2 + (x[..., None] - px) ** 2
    owner = distance.argmin(-1)
    nearest = np.sqrt(np.partition(distance, 1, axis=-1)[..., :2])
    border = (nearest[..., 1] - nearest[..., 0]) / min(low_h, low_w)
    value = rng.uniform(0, 1, len(px)).astype(np.float32)[owner]
    return _enlarge(border, h, w), _enlarge(value, h, w)


def _enlarge(field: Field, h: int, w: int) -> Field:
    image = Image.fromarray(field.astype(np.float32))
    return np.asarray(image.resize((w, h), Image.Resampling.BILINEAR), dtype=np.float32)


def step(t: Field, edge: float = 0.0, soft: float = 0.03) -> Field:
    """0 below the edge, 1 above, with a soft passage."""
    return np.clip((t - edge) / soft + 0.5, 0, 1)


def mix(a: Field, b: Field, t: Field) -> Field:
    return a + (b - a) * t[..., None]


def rgb(h: int, w: int, *rgb: float) -> Field:
    return np.broadcast_to(np.array(rgb, np.float32) / 255, (h, w, 3)).copy()
