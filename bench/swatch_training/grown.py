"""Living things as photos show them: more parts and more variety than in `shapes.py`."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from swatch_training.outlines import (
    DARK,
    PALE,
    WOOD,
    Ink,
    Part,
    Rng,
    arc,
    ellipse,
    one_of,
    poly,
    rect,
)

_EYES: tuple[Ink, ...] = ((150, 190, 70), (200, 170, 60), (110, 160, 190), (120, 130, 60))
_HEARTS: tuple[Ink, ...] = ((240, 200, 60), (120, 70, 30), (190, 150, 50))


def cat_face(rng: Rng) -> list[Part]:
    """From close: the further half of the face is narrower."""
    far, eye, pink = rng.uniform(0.5, 1), one_of(_EYES, rng), (205, 130, 125)
    slit = rng.uniform(0.03, 0.09)
    parts = [Part(ellipse(-0.15, 1.25, 1.05, 0.8), 0.85)]
    for s in (-1, 1):
        parts += [
            Part(poly((s * 0.35, -0.65), (s * 0.75, -1.25), (s * 0.85, -0.3)), 0.9),
            Part(poly((s * 0.47, -0.7), (s * 0.72, -1.1), (s * 0.76, -0.5)), 1, pink),
        ]
    parts += [Part(ellipse(0, 0, 0.9, 0.82)), Part(ellipse(0, 0.5, 0.5, 0.35), 1.15)]
    for x in np.linspace(-0.3, 0.3, int(rng.integers(3, 6))):
        parts.append(
            Part(
                poly(
                    (x - 0.03, -0.75), (x + 0.03, -0.75), (0.6 * x + 0.02, -0.35), (0.6 * x, -0.35)
                ),
                0.65,
            )
        )
    for s in (-1, 1):
        for y in (0.05, 0.25, 0.45)[: int(rng.integers(1, 4))]:
            parts.append(Part(poly((s * 0.6, y), (s * 0.9, y - 0.08), (s * 0.9, y)), 0.65))
        parts += [
            Part(ellipse(s * 0.4, -0.12, 0.24, 0.19, s * 15), 1, DARK),
            Part(ellipse(s * 0.4, -0.12, 0.2, 0.16, s * 15), 1, eye),
            Part(ellipse(s * 0.4, -0.12, slit, 0.14), 1, DARK),
            Part(ellipse(s * 0.36, -0.17, 0.03, 0.03), 1, PALE),
            Part(poly((s * 0.02, 0.42), (s * 0.22, 0.56), (s * 0.2, 0.58), (s * 0.01, 0.47)), 0.5),
        ]
        for lift in rng.uniform(-0.25, 0.3, 4):
            parts.append(
                Part(poly((s * 0.25, 0.45), (s * 1.25, 0.45 + lift), (s * 0.25, 0.465)), 1, PALE)
            )
    parts.append(
        Part(
            poly((-0.13, 0.24), (0.13, 0.24), (0.0, 0.42)), 1, pink if rng.random() < 0.7 else DARK
        )
    )
    return [_squeezed(part, far) for part in parts]


def _squeezed(part: Part, far: float) -> Part:
    x, y = part.points.T
    return replace(part, points=np.stack([np.where(x > 0, far * x, x), y], 1))


def cat_lying(rng: Rng) -> list[Part]:
    parts = [
        Part(arc(0.75, 0.3, 0.35, 0.12, -0.3, 0.3), 0.8),
        Part(ellipse(0.2, 0.3, 0.75, 0.38)),
        Part(ellipse(-0.35, 0.58, 0.35, 0.12, 5), 1.05),
        Part(ellipse(0.45, 0.58, 0.35, 0.12, -5), 0.95),
    ]
    parts += [
        Part(poly((x, -0.03), (x + 0.06, -0.03), (x + 0.1, 0.3), (x + 0.07, 0.3)), 0.65)
        for x in (0, 0.2, 0.4, 0.6)
    ]
    head = [replace(part, points=0.42 * part.points - (0.55, 0.1)) for part in cat_face(rng)[1:]]
    return parts + head


def full_flower(rng: Rng) -> list[Part]:
    """From the front, ring within ring of petals."""
    rings, tilt = int(rng.integers(3, 6)), rng.uniform(0.7, 1)
    parts = []
    for i in range(rings):
        reach = 0.75 * (1 - i / rings)
        count = int(rng.integers(8, 16))
        for t in np.arange(count) * 2 * np.pi / count + rng.uniform(0, 1):
            petal = ellipse(reach * np.cos(t), tilt * reach * np.sin(t), 0.26, 0.14, np.degrees(t))
            parts.append(Part(petal, rng.uniform(0.8, 1.15) - 0.08 * i))
    if rng.random() < 0.6:
        parts.append(
            Part(
                ellipse(0, 0, 0.16, 0.16 * tilt),
                1,
                one_of(_HEARTS, rng),
            )
        )
    return parts


def tulip(rng: Rng) -> list[Part]:
    green = (64, 120, 58)
    return [
        Part(rect(-0.05, 0, 0.05, 1.05), 1, green, beside=True),
        Part(ellipse(0.25, 0.6, 0.12, 0.5, 20), 1, green, beside=True),
        Part(ellipse(0, -0.35, 0.3, 0.6), 0.8),
        Part(ellipse(-0.22, -0.3, 0.26, 0.55, -12), 1.0),
        Part(ellipse(0.22, -0.3, 0.26, 0.55, 12), 1.08),
    ]


def ragged_tree(rng: Rng) -> list[Part]:
    trunk = Part(poly((-0.1, 1), (-0.06, 0), (0.06, 0), (0.1, 1)), 1, WOOD)
    high = rng.uniform(0.5, 0.9)
    blobs = []
    for _ in range(int(rng.integers(12, 28))):
        x, y = rng.normal(0, 0.38), rng.uniform(-high, 0.45)
        r = rng.uniform(0.12, 0.32) * (1 - 0.3 * abs(y))
        blobs.append(Part(ellipse(x, y, r, r * rng.uniform(0.7, 1.1)), rng.uniform(0.6, 1.2)))
    return [trunk, *blobs]


def sprig(rng: Rng) -> list[Part]:
    parts = [Part(poly((-0.02, -0.9), (0.02, -0.9), (0.04, 1.05), (-0.04, 1.05)), 0.7)]
    for y in np.linspace(-0.75, 0.7, int(rng.integers(3, 6))):
        for s in (-1, 1):
            t = s * rng.uniform(20, 50)
            x = s * 0.4
            parts += [
                Part(ellipse(x, y - 0.1, 0.38, 0.17, -t), rng.uniform(0.8, 1.15)),
                Part(ellipse(x, y - 0.1, 0.36, 0.02, -t), 0.7),
            ]
    return parts


def wide_leaf(rng: Rng) -> list[Part]:
    """With lobes, as a maple's."""
    lobes = int(rng.integers(3, 8))
    t = np.linspace(0, 2 * np.pi, 80)
    reach = 0.62 + 0.3 * np.abs(np.cos(lobes * t / 2)) + 0.05 * np.cos(17 * t)
    veins = [
        Part(poly((0, 0.05), (0.75 * np.sin(a), -0.75 * np.cos(a)), (0.02, 0.05)), 0.7)
        for a in np.linspace(-1.9, 1.9, lobes)
    ]
    return [
        Part(np.stack([reach * np.sin(t), -reach * np.cos(t)], 1)),
        *veins,
        Part(rect(-0.03, 0.4, 0.03, 1.1), 0.6),
    ]


def flying_bird(rng: Rng) -> list[Part]:
    lift = rng.uniform(0.2, 0.8)
    wing = [
        poly(
            (-0.15, 0.05),
            (s * 0.55, -lift),
            (s * 1.05, -0.4 * lift),
            (s * 0.5, -0.2 * lift),
            (0.15, 0.2),
        )
        for s in (-1, 1)
    ]
    return [
        Part(wing[0], 0.8),
        Part(wing[1], 0.95),
        Part(ellipse(0, 0.12, 0.42, 0.18, 8)),
        Part(poly((0.35, 0.12), (0.75, 0.08), (0.72, 0.28)), 0.85),
        Part(ellipse(-0.42, 0.02, 0.16, 0.14), 1.05),
        Part(poly((-0.55, 0), (-0.75, 0.05), (-0.55, 0.09)), 1, (235, 160, 40)),
    ]
