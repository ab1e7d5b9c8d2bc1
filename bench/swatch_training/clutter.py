"""What lies about in photos and has no name: painted, so that not every thing is one asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from swatch_training.outlines import Part, Rng, ellipse, poly, rect


def oddment(rng: Rng) -> list[Part]:
    """A pole, a mast, a scrap or a spoon."""
    return _KINDS[int(rng.integers(len(_KINDS)))](rng)


def _spoon(rng: Rng) -> list[Part]:
    """From above, the bowl up."""
    turn = rng.uniform(0, 2 * np.pi)
    c, s = np.cos(turn), np.sin(turn)
    pieces = (
        (rect(-0.05, -0.3, 0.05, 1), 1.0),
        (ellipse(0, -0.6, 0.25, 0.4), 1.1),
        (ellipse(0, -0.6, 0.16, 0.3), 0.75),
    )
    matrix = np.array([[c, s], [-s, c]])
    return [Part(points @ matrix, tone) for points, tone in pieces]


def lettering(rng: Rng, height: int, width: int) -> Sequence[tuple[int, int, int, int]]:
    """Strokes (left, top, right, bottom) of a line of letters, from afar: pixels."""
    tall = rng.uniform(0.05, 0.16) * height
    x, top = rng.uniform(-0.3, 0.5) * width, rng.uniform(0.02, 0.7) * height
    strokes: list[tuple[int, int, int, int]] = []
    for _ in range(int(rng.integers(4, 16))):
        thick = max(0.16 * tall, 1)
        for stroke in rng.choice(4, int(rng.integers(1, 4)), replace=False):
            upright = stroke < 2
            left = x + (0.4 * tall if stroke == 1 else 0)
            high = top + (0.5 * tall if stroke == 3 else 0)
            right = left + (thick if upright else 0.5 * tall)
            low = high + (tall if upright else thick)
            strokes.append((round(left), round(high), round(right), round(low)))
        x += rng.uniform(0.6, 0.9) * tall
    return strokes


def _pole(rng: Rng) -> list[Part]:
    w = rng.uniform(0.03, 0.12)
    return [Part(rect(-w, -1, w, 1))]


def _mast(rng: Rng) -> list[Part]:
    """A lattice that is narrower above."""
    low, count = rng.uniform(0.15, 0.3), int(rng.integers(4, 8))
    levels = np.linspace(-1, 1, count + 1)
    half = low / 3 + (levels + 1) / 3 * low
    lines = [((s * low / 3, -1.0), (s * low, 1.0)) for s in (-1, 1)]
    for i in range(count):
        lines.append(((-half[i], levels[i]), (half[i + 1], levels[i + 1])))
        lines.append(((half[i], levels[i]), (-half[i + 1], levels[i + 1])))
    return [Part(poly(a, (a[0] + 0.05, a[1]), (b[0] + 0.05, b[1]), b)) for a, b in lines]


def _scrap(rng: Rng) -> list[Part]:
    corners = int(rng.integers(3, 9))
    turns, reach = np.sort(rng.uniform(0, 2 * np.pi, corners)), rng.uniform(0.4, 1, corners)
    return [Part(np.stack([reach * np.cos(turns), reach * np.sin(turns)], 1))]


_KINDS: tuple[Callable[[Rng], list[Part]], ...] = (_pole, _mast, _scrap, _spoon)
