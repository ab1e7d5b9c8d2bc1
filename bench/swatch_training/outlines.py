"""Closed outlines, and the parts that objects are put together from.

Coordinates: x right, y down, an object about fills the square from -1 to 1.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]
Rng = np.random.Generator
Ink = tuple[int, int, int]

DARK: Ink = (38, 36, 40)
PALE: Ink = (235, 238, 240)
PANE: Ink = (150, 195, 220)
WOOD: Ink = (96, 66, 42)


@dataclass(frozen=True)
class Part:
    """One closed outline, points (n, 2)."""

    points: Points
    tone: float = 1.0
    ink: Ink | None = None
    beside: bool = False
    """Painted with the object, and no part of it: the saucer of a cup."""


def poly(*points: tuple[float, float]) -> Points:
    return np.array(points, dtype=float)


def ellipse(
    x: float,
    y: float,
    rx: float,
    ry: float,
    turn: float = 0.0,
    start: float = 0.0,
    end: float = 1.0,
) -> Points:
    angle = np.linspace(start, end, 40) * 2 * np.pi
    px, py, a = rx * np.cos(angle), ry * np.sin(angle), turn * np.pi / 180
    return np.stack([x + px * np.cos(a) - py * np.sin(a), y + px * np.sin(a) + py * np.cos(a)], 1)


def arc(x: float, y: float, r: float, width: float, start: float, end: float) -> Points:
    """A band of a ring; start and end in turns, clockwise from the right."""
    inner = ellipse(x, y, r - width, r - width, 0, start, end)
    return np.concatenate([ellipse(x, y, r, r, 0, start, end), inner[::-1]])


def rect(x0: float, y0: float, x1: float, y1: float) -> Points:
    return poly((x0, y0), (x1, y0), (x1, y1), (x0, y1))


def profile(*half: tuple[float, float]) -> Points:
    """A turned body: its right half from top to bottom, rounded off and mirrored."""
    knots = np.array(half)
    t = np.linspace(0, len(knots) - 1, 40)
    right = np.stack([np.interp(t, range(len(knots)), knots[:, i]) for i in (0, 1)], 1)
    padded = np.pad(right, ((3, 3), (0, 0)), mode="edge")
    right = np.mean([padded[i : i + len(right)] for i in range(7)], axis=0)
    return np.concatenate([right, right[::-1] * (-1, 1)])


def one_of(inks: tuple[Ink, ...], rng: Rng) -> Ink:
    return inks[int(rng.integers(len(inks)))]
