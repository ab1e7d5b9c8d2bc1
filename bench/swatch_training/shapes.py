"""Silhouettes of the objects: one recipe of parts each, a little different at every call."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from swatch_training import made, people
from swatch_training.outlines import (
    DARK,
    PALE,
    PANE,
    Part,
    Rng,
    arc,
    ellipse,
    poly,
    profile,
    rect,
)

Recipe = Callable[[Rng], list[Part]]
RECIPES: dict[str, Recipe] = {"person": people.figure, "plate": made.plate}


def _recipe(function: Recipe) -> Recipe:
    RECIPES[function.__name__.lstrip("_")] = function
    return function


@_recipe
def _cup(rng: Rng) -> list[Part]:
    top, foot = rng.uniform(0.6, 0.75), rng.uniform(0.4, 0.6)
    return [
        Part(arc(top - 0.05, 0.05, 0.45, 0.17, -0.27, 0.27), 0.9),
        Part(poly((-top, -0.7), (top, -0.7), (foot, 0.75), (-foot, 0.75))),
        Part(ellipse(0, 0.75, foot, 0.13)),
        Part(ellipse(0, -0.7, top, 0.2), 1.12),
        Part(ellipse(0, -0.68, top - 0.1, 0.14), 0.45),
    ]


@_recipe
def _cake(rng: Rng) -> list[Part]:
    tiers = int(rng.integers(1, 3))
    parts = [Part(ellipse(0, 0.72, 1.0, 0.2), 1.0, PALE)]
    for i in range(tiers):
        w, y, h = 0.82 - 0.3 * i, 0.65 - 0.55 * i, 0.6
        parts += [
            Part(ellipse(0, y, w, 0.16), 0.85),
            Part(rect(-w, y - h, w, y), 0.92),
            Part(ellipse(0, y - h, w, 0.16), 1.15),
        ]
    top = 0.65 - 0.55 * (tiers - 1) - 0.6
    for x in (-0.3, 0.0, 0.3):
        parts += [
            Part(rect(x - 0.04, top - 0.35, x + 0.04, top), 1.0, PALE),
            Part(ellipse(x, top - 0.42, 0.05, 0.1), 1.0, (255, 190, 60)),
        ]
    return parts


@_recipe
def _car(rng: Rng) -> list[Part]:
    roof = rng.uniform(-0.5, -0.35)
    parts = [
        Part(poly((-1, 0.3), (-0.95, -0.02), (-0.6, -0.1), (0.7, -0.1), (0.98, 0.05), (1, 0.3))),
        Part(poly((-0.6, -0.08), (-0.38, roof), (0.3, roof), (0.62, -0.08)), 0.95),
        Part(
            poly((-0.47, -0.08), (-0.32, roof + 0.07), (-0.06, roof + 0.07), (-0.06, -0.08)),
            1,
            PANE,
        ),
        Part(poly((0.03, -0.08), (0.03, roof + 0.07), (0.26, roof + 0.07), (0.48, -0.08)), 1, PANE),
    ]
    for x in (-0.55, 0.55):
        parts += [
            Part(ellipse(x, 0.3, 0.23, 0.23), 1, DARK),
            Part(ellipse(x, 0.3, 0.1, 0.1), 1, PALE),
        ]
    return parts


@_recipe
def _house(rng: Rng) -> list[Part]:
    eave = rng.uniform(-0.2, -0.05)
    return [
        Part(rect(0.35, -0.8, 0.58, -0.1), 0.7),
        Part(rect(-0.75, eave, 0.75, 0.85)),
        Part(poly((-0.95, eave), (0, -0.95), (0.95, eave)), 0.72),
        Part(rect(-0.16, 0.3, 0.18, 0.85), 1, (92, 60, 40)),
        Part(rect(-0.58, 0.12, -0.3, 0.42), 1, PANE),
        Part(rect(0.32, 0.12, 0.6, 0.42), 1, PANE),
    ]


@_recipe
def _tree(rng: Rng) -> list[Part]:
    trunk = Part(poly((-0.13, 0.95), (-0.09, 0), (0.09, 0), (0.13, 0.95)), 1, (96, 66, 42))
    if rng.random() < 0.4:
        layers = [(0.75, 0.55, -0.1), (0.6, 0.1, -0.5), (0.42, -0.35, -0.98)]
        return [trunk] + [
            Part(poly((-w, y0), (0, y1), (w, y0)), 0.9 + 0.08 * i)
            for i, (w, y0, y1) in enumerate(layers)
        ]
    blobs = [
        (-0.4, -0.1, 0.42),
        (0.4, -0.1, 0.42),
        (0, 0.1, 0.4),
        (-0.2, -0.5, 0.42),
        (0.25, -0.5, 0.4),
    ]
    return [trunk] + [
        Part(ellipse(x, y, r, r * rng.uniform(0.85, 1.05)), rng.uniform(0.88, 1.1))
        for x, y, r in blobs
    ]


@_recipe
def _fish(rng: Rng) -> list[Part]:
    fat = rng.uniform(0.4, 0.55)
    return [
        Part(poly((0.45, 0), (1, -0.5), (0.85, 0), (1, 0.5)), 0.85),
        Part(poly((-0.3, -0.3), (0.1, -fat - 0.3), (0.35, -0.2)), 0.8),
        Part(poly((-0.1, 0.3), (0.1, fat + 0.2), (0.25, 0.2)), 0.8),
        Part(ellipse(-0.2, 0, 0.75, fat)),
        Part(arc(-0.75, 0, 0.42, 0.04, -0.12, 0.12), 0.6),
        Part(ellipse(-0.62, -0.12, 0.1, 0.1), 1, PALE),
        Part(ellipse(-0.63, -0.12, 0.05, 0.05), 1, DARK),
    ]


@_recipe
def _bird(rng: Rng) -> list[Part]:
    lift = rng.uniform(-25, 20)
    return [
        Part(rect(-0.12, 0.4, -0.06, 0.95), 1, (190, 120, 50)),
        Part(rect(0.1, 0.4, 0.16, 0.95), 1, (190, 120, 50)),
        Part(poly((0.4, 0), (1, -0.25), (1, 0.08), (0.4, 0.3)), 0.85),
        Part(ellipse(0.05, 0.1, 0.6, 0.42, 10)),
        Part(ellipse(-0.5, -0.4, 0.3, 0.29), 1.05),
        Part(poly((-0.74, -0.5), (-1.05, -0.36), (-0.74, -0.28)), 1, (235, 160, 40)),
        Part(ellipse(0.15, 0.05, 0.4, 0.22, lift), 0.75),
        Part(ellipse(-0.56, -0.46, 0.06, 0.06), 1, DARK),
    ]


@_recipe
def _cat(rng: Rng) -> list[Part]:
    return [
        Part(arc(0.55, 0.45, 0.4, 0.14, -0.3, 0.25), 0.85),
        Part(ellipse(0.05, 0.45, 0.55, 0.52)),
        Part(ellipse(-0.2, 0.85, 0.2, 0.12), 1.1),
        Part(ellipse(0.2, 0.85, 0.2, 0.12), 1.1),
        Part(poly((-0.5, -0.3), (-0.52, -0.98), (-0.08, -0.62)), 0.9),
        Part(poly((0.42, -0.3), (0.46, -0.98), (0.02, -0.62)), 0.9),
        Part(ellipse(-0.03, -0.3, 0.5, 0.42), 1.05),
        Part(ellipse(-0.22, -0.36, 0.09, 0.1), 1, (150, 190, 70)),
        Part(ellipse(0.16, -0.36, 0.09, 0.1), 1, (150, 190, 70)),
        Part(ellipse(-0.22, -0.36, 0.03, 0.09), 1, DARK),
        Part(ellipse(0.16, -0.36, 0.03, 0.09), 1, DARK),
        Part(poly((-0.09, -0.2), (0.03, -0.2), (-0.03, -0.12)), 1, (200, 110, 110)),
    ]


@_recipe
def _apple(rng: Rng) -> list[Part]:
    return [
        Part(poly((-0.05, -0.5), (0.05, -0.5), (0.14, -0.95), (0.05, -0.97)), 1, (96, 66, 42)),
        Part(ellipse(-0.3, 0.15, 0.55, 0.68)),
        Part(ellipse(0.3, 0.15, 0.55, 0.68)),
        Part(ellipse(0, -0.42, 0.22, 0.06), 0.6),
        Part(ellipse(0.36, -0.75, 0.26, 0.11, -20), 1, (80, 150, 60)),
    ]


@_recipe
def _vase(rng: Rng) -> list[Part]:
    belly, neck = rng.uniform(0.55, 0.72), rng.uniform(0.18, 0.28)
    return [
        Part(
            profile(
                (0.42, -0.95),
                (neck, -0.7),
                (neck, -0.45),
                (belly, 0.05),
                (belly, 0.3),
                (0.32, 0.85),
                (0.38, 0.95),
            )
        ),
        Part(ellipse(0, -0.9, 0.38, 0.09), 0.5),
    ]


@_recipe
def _ball(rng: Rng) -> list[Part]:
    return [Part(ellipse(0, 0, 0.9, 0.9))]


@_recipe
def _box(rng: Rng) -> list[Part]:
    d = rng.uniform(0.25, 0.4)
    return [
        Part(rect(-0.85, -0.4, 0.85 - d, 0.85)),
        Part(poly((-0.85, -0.4), (-0.85 + d, -0.4 - d), (0.85, -0.4 - d), (0.85 - d, -0.4)), 1.25),
        Part(poly((0.85 - d, -0.4), (0.85, -0.4 - d), (0.85, 0.85 - d), (0.85 - d, 0.85)), 0.65),
    ]


@_recipe
def _hat(rng: Rng) -> list[Part]:
    top = rng.uniform(0.4, 0.55)
    return [
        Part(ellipse(0, 0.5, 1, 0.25), 0.9),
        Part(poly((-0.58, 0.45), (-top, -0.65), (top, -0.65), (0.58, 0.45))),
        Part(ellipse(0, 0.45, 0.58, 0.13)),
        Part(ellipse(0, -0.65, top, 0.13), 1.1),
        Part(poly((-0.56, 0.36), (-0.54, 0.14), (0.54, 0.14), (0.56, 0.36)), 1, DARK),
    ]


@_recipe
def _mushroom(rng: Rng) -> list[Part]:
    stem = rng.uniform(0.18, 0.28)
    return [
        Part(profile((stem, -0.1), (stem, 0.4), (stem + 0.14, 0.95)), 1, (232, 222, 200)),
        Part(ellipse(0, -0.02, 0.95, 0.2), 0.6),
        Part(ellipse(0, 0, 0.95, 0.9, 0, 0.5, 1.0)),
    ]


@_recipe
def _flower(rng: Rng) -> list[Part]:
    petals = int(rng.integers(5, 8))
    turns = np.arange(petals) * 2 * np.pi / petals + rng.uniform(0, 1)
    green = (70, 140, 60)
    return [
        Part(rect(-0.05, -0.2, 0.05, 1), 1, green),
        Part(ellipse(0.25, 0.65, 0.28, 0.11, -30), 1, green),
        *(
            Part(
                ellipse(0.42 * np.cos(t), -0.32 + 0.42 * np.sin(t), 0.3, 0.2, np.degrees(t)),
                0.9 + 0.15 * (i % 2),
            )
            for i, t in enumerate(turns)
        ),
        Part(ellipse(0, -0.32, 0.2, 0.2), 1, (240, 200, 60)),
    ]


@_recipe
def _boat(rng: Rng) -> list[Part]:
    return [
        Part(rect(-0.04, -0.95, 0.04, 0.4), 1, (96, 66, 42)),
        Part(poly((0.08, -0.9), (0.75, 0.25), (0.08, 0.25)), 1, PALE),
        Part(poly((-0.08, -0.7), (-0.6, 0.25), (-0.08, 0.25)), 1, PALE),
        Part(poly((-1, 0.35), (1, 0.35), (0.65, 0.9), (-0.65, 0.9))),
        Part(poly((-1, 0.35), (1, 0.35), (0.94, 0.46), (-0.94, 0.46)), 1.25),
    ]


@_recipe
def _bottle(rng: Rng) -> list[Part]:
    w = rng.uniform(0.3, 0.4)
    return [
        Part(profile((0.12, -0.85), (0.12, -0.45), (w, -0.1), (w, 0.3), (w, 0.6), (w, 0.95))),
        Part(rect(-0.15, -0.98, 0.15, -0.8), 0.6),
        Part(rect(-w + 0.02, 0.15, w - 0.02, 0.6), 1, PALE),
    ]


@_recipe
def _star(rng: Rng) -> list[Part]:
    inner = rng.uniform(0.38, 0.48)
    angle = np.arange(10) * np.pi / 5 - np.pi / 2
    radius = np.where(np.arange(10) % 2 == 0, 1.0, inner)
    return [Part(np.stack([radius * np.cos(angle), radius * np.sin(angle)], 1))]


@_recipe
def _heart(rng: Rng) -> list[Part]:
    t = np.linspace(0, 2 * np.pi, 60)
    x = 16 * np.sin(t) ** 3
    y = 13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t)
    return [Part(np.stack([x, -y - 2], 1) / 17)]


@_recipe
def _leaf(rng: Rng) -> list[Part]:
    t = np.linspace(-1, 1, 30)
    half = rng.uniform(0.4, 0.55) * (1 - t**2) * (1 + 0.35 * t)
    outline = np.concatenate([np.stack([half, t], 1), np.stack([-half[::-1], t[::-1]], 1)])
    parts = [Part(outline * 0.9), Part(rect(-0.035, -0.75, 0.035, 1.05), 0.6)]
    for y in (-0.3, 0.05, 0.4):
        parts += [
            Part(poly((0, y), (s * 0.3, y - 0.22), (s * 0.3, y - 0.17), (0, y + 0.07)), 0.65)
            for s in (-1, 1)
        ]
    return parts


@_recipe
def _chair(rng: Rng) -> list[Part]:
    return [
        Part(rect(-0.6, -0.98, -0.42, 0.98), 0.9),
        Part(rect(0.42, 0.15, 0.6, 0.98), 0.9),
        Part(rect(-0.25, 0.15, -0.13, 0.75), 0.6),
        Part(rect(0.15, 0.15, 0.27, 0.75), 0.6),
        Part(poly((-0.5, -0.95), (-0.12, -0.85), (-0.12, 0.05), (-0.5, 0.1)), 1.05),
        Part(poly((-0.6, 0.1), (-0.3, -0.08), (0.75, -0.08), (0.6, 0.1)), 1.2),
        Part(rect(-0.6, 0.1, 0.6, 0.25), 0.8),
    ]


@_recipe
def _lamp(rng: Rng) -> list[Part]:
    top = rng.uniform(0.28, 0.42)
    return [
        Part(rect(-0.06, 0, 0.06, 0.85), 1, DARK),
        Part(ellipse(0, 0.85, 0.42, 0.12), 1, DARK),
        Part(poly((-top, -0.9), (top, -0.9), (0.78, 0.1), (-0.78, 0.1))),
        Part(ellipse(0, 0.1, 0.78, 0.12), 0.85),
    ]


@_recipe
def _butterfly(rng: Rng) -> list[Part]:
    wings = []
    for s in (-1, 1):
        wings += [
            Part(ellipse(s * 0.5, -0.32, 0.52, 0.4, s * -38)),
            Part(ellipse(s * 0.42, 0.38, 0.38, 0.34, s * 38), 0.88),
            Part(ellipse(s * 0.58, -0.42, 0.16, 0.13, s * -38), 0.6),
        ]
    return [
        *wings,
        Part(ellipse(0, 0.05, 0.09, 0.6), 1, DARK),
        Part(poly((0, -0.5), (-0.3, -0.95), (-0.25, -0.97), (0.03, -0.5)), 1, DARK),
        Part(poly((0, -0.5), (0.3, -0.95), (0.25, -0.97), (-0.03, -0.5)), 1, DARK),
    ]


@_recipe
def _pear(rng: Rng) -> list[Part]:
    belly = rng.uniform(0.58, 0.68)
    return [
        Part(poly((-0.04, -0.6), (0.05, -0.6), (0.12, -0.98), (0.04, -1)), 1, (96, 66, 42)),
        Part(
            profile(
                (0.0, -0.75),
                (0.25, -0.72),
                (0.3, -0.35),
                (belly, 0.15),
                (belly, 0.55),
                (0.4, 0.9),
                (0, 0.95),
            )
        ),
    ]


@_recipe
def _umbrella(rng: Rng) -> list[Part]:
    dome = ellipse(0, 0.1, 0.98, 0.95, 0, 0.5, 1.0)
    ribs = [Part(poly((0, -0.85), (x, 0.1), (x + 0.3, 0.1)), 0.85) for x in (-0.65, 0.0, 0.6)]
    scallops = [Part(ellipse(x, 0.1, 0.245, 0.1), 0.7) for x in (-0.735, -0.245, 0.245, 0.735)]
    return [
        Part(rect(-0.03, 0, 0.03, 0.85), 1, DARK),
        Part(arc(0.12, 0.82, 0.15, 0.06, 0, 0.5), 1, DARK),
        Part(dome),
        *ribs,
        *scallops,
    ]


@_recipe
def _rocket(rng: Rng) -> list[Part]:
    w = rng.uniform(0.28, 0.36)
    return [
        Part(poly((-0.2, 0.6), (0.2, 0.6), (0.0, 1.05)), 1, (255, 160, 40)),
        Part(poly((-w, 0.1), (-0.75, 0.7), (-w + 0.05, 0.6)), 0.7),
        Part(poly((w, 0.1), (0.75, 0.7), (w - 0.05, 0.6)), 0.7),
        Part(profile((0, -1.05), (0.12, -0.85), (w, -0.3), (w, 0.2), (w - 0.1, 0.62))),
        Part(ellipse(0, -0.25, 0.16, 0.16), 1, PALE),
        Part(ellipse(0, -0.25, 0.11, 0.11), 1, PANE),
    ]
