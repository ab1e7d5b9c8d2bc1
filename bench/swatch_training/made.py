"""Made things as photos show them: from above or ahead, with more parts than in `shapes.py`."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from swatch_training.outlines import (
    DARK,
    PALE,
    PANE,
    WOOD,
    Ink,
    Part,
    Rng,
    arc,
    ellipse,
    one_of,
    poly,
    profile,
    rect,
)

_WINDSCREEN: Ink = (66, 78, 88)
_ROOFS: tuple[Ink, ...] = (
    (176, 88, 48),
    (120, 60, 48),
    (84, 90, 100),
    (70, 110, 110),
    (60, 52, 48),
)
_DRINKS: tuple[Ink, ...] = (
    (70, 40, 22),
    (176, 116, 60),
    (40, 24, 16),
    (190, 120, 40),
    (225, 215, 195),
)


def cup_from_above(rng: Rng) -> list[Part]:
    k, rim, foot = rng.uniform(0.45, 0.95), rng.uniform(0.5, 0.62), rng.uniform(0.3, 0.45)
    deep = rng.uniform(0.35, 0.65)
    top, low = -0.35, -0.35 + deep
    turn, side = rng.uniform(0.5, 1.0), rng.choice((-1.0, 1.0))
    handle = arc(side * rim * turn, top + 0.5 * deep, 0.3, 0.12, 0, 1)
    lined = PALE if rng.random() < 0.4 else None
    return [
        Part(handle, 0.9),
        Part(poly((-rim, top), (rim, top), (foot, low), (-foot, low))),
        Part(ellipse(0, low, foot, foot * k)),
        Part(ellipse(0, top, rim, rim * k), 1.12, lined),
        Part(ellipse(0, top + 0.02, rim - 0.07, (rim - 0.07) * k), 0.75, lined and (205, 200, 192)),
        Part(
            ellipse(0, top + rng.uniform(0.04, 0.14), rim - 0.13, (rim - 0.15) * k),
            1,
            one_of(_DRINKS, rng),
        ),
    ]


def mug(rng: Rng) -> list[Part]:
    k, w = rng.uniform(0.15, 0.4), rng.uniform(0.5, 0.7)
    side = rng.choice((-1.0, 1.0))
    return [
        Part(arc(side * w, 0.05, 0.4, 0.13, 0, 1), 0.9),
        Part(rect(-w, -0.7, w, 0.75)),
        Part(ellipse(0, 0.75, w, w * k)),
        Part(ellipse(0, -0.7, w, w * k), 1.12),
        Part(ellipse(0, -0.68, w - 0.06, (w - 0.06) * k), 0.5),
        Part(ellipse(0, -0.6, w - 0.14, (w - 0.2) * k), 1, one_of(_DRINKS, rng)),
    ]


def tall_rocket(rng: Rng) -> list[Part]:
    w, nose = rng.uniform(0.07, 0.16), rng.uniform(0.15, 0.35)
    wide = w * rng.uniform(1, 1.4)
    parts = [Part(rect(-0.45, 0.92, 0.45, 1.05), 1, (130, 130, 128), beside=True)]
    if rng.random() < 0.5:
        x = rng.choice((-1, 1)) * (w + 0.15)
        parts += [
            Part(rect(x - 0.02 + d, -0.6, x + 0.02 + d, 0.95), 1, DARK, beside=True)
            for d in (-0.08, 0.08)
        ]
        parts += [
            Part(rect(x - 0.08, y, x + 0.08, y + 0.03), 1, DARK, beside=True)
            for y in np.arange(-0.6, 0.9, 0.2)
        ]
    if rng.random() < 0.4:
        parts += [
            Part(poly((s * w, 0.5), (s * (w + 0.15), 0.9), (s * w, 0.85)), 0.7) for s in (-1, 1)
        ]
    parts += [
        Part(rect(-w, -0.5, w, 0.92)),
        Part(rect(-w, -0.5, -0.4 * w, 0.92), 0.75),
        Part(profile((0, -0.62 - nose), (0.7 * wide, -0.6), (wide, -0.5), (wide, -0.3))),
    ]
    parts += [
        Part(rect(-w, y, w, y + 0.04), 1, DARK)
        for y in rng.uniform(-0.3, 0.8, int(rng.integers(0, 4)))
    ]
    if rng.random() < 0.3:
        parts.append(Part(poly((-w, 0.92), (w, 0.92), (0, 1.5)), 1, (255, 190, 90), beside=True))
    return parts


def storeys(rng: Rng) -> list[Part]:
    """A pagoda, a villa, or a block with a flat roof."""
    n, narrowing = int(rng.integers(1, 5)), rng.uniform(0.72, 1)
    high, flat = 1.5 / n, rng.random() < 0.3
    roof = None if rng.random() < 0.4 else one_of(_ROOFS, rng)
    parts: list[Part] = []
    w, y = rng.uniform(0.45, 0.9), 0.95
    for _ in range(n):
        body = 0.6 * high if not flat else high
        parts += [Part(rect(-w, y - body, w, y)), *_windows(rng, w, y, body)]
        y -= body
        if not flat:
            eaves = w + rng.uniform(0.08, 0.2)
            narrow = w * narrowing
            parts.append(
                Part(
                    poly(
                        (-eaves, y), (eaves, y), (narrow, y - 0.4 * high), (-narrow, y - 0.4 * high)
                    ),
                    0.7,
                    roof,
                )
            )
            y -= 0.4 * high
            w = narrow
    if not flat:
        parts.append(Part(poly((-w, y), (w, y), (0, y - rng.uniform(0.1, 0.5))), 0.65, roof))
    return parts


def _windows(rng: Rng, w: float, y: float, high: float) -> list[Part]:
    pane = PANE if rng.random() < 0.4 else DARK
    count = int(rng.integers(2, 7))
    half = 0.28 * w / count
    return [
        Part(rect(x - half, y - 0.75 * high, x + half, y - 0.25 * high), 1, pane)
        for x in (np.arange(count) + 0.5) / count * 2 * w - w
    ]


def _wheels(places: tuple[float, ...], y: float, r: float, narrow: float = 1.0) -> list[Part]:
    return [
        part
        for x in places
        for part in (
            Part(ellipse(x, y, r * narrow, r), 1, DARK),
            Part(ellipse(x, y, 0.5 * r * narrow, 0.5 * r), 1, (165, 168, 170)),
        )
    ]


def boxy_car(rng: Rng) -> list[Part]:
    """An off-roader or a van, from the side, with the face of it in some."""
    roof, bonnet = rng.uniform(-0.62, -0.4), rng.uniform(0.25, 0.7)
    front, r = rng.uniform(0, 0.35), rng.uniform(0.17, 0.24)
    parts = [
        Part(rect(-0.95, 0.25, 0.9, 0.4), 0.45, DARK),
        Part(poly((-0.95, -0.12), (bonnet, -0.14), (0.95, -0.05), (0.97, 0.33), (-0.97, 0.33))),
        Part(poly((-0.93, -0.1), (-0.86, roof), (bonnet - 0.2, roof), (bonnet, -0.1)), 0.95),
    ]
    for x0, x1, slant in ((-0.82, -0.45, 0.0), (-0.38, 0.02, 0.0), (0.08, bonnet - 0.1, 0.12)):
        if x1 - x0 > 0.1:
            parts.append(
                Part(
                    poly((x0, -0.12), (x0, roof + 0.08), (x1 - slant, roof + 0.08), (x1, -0.12)),
                    1,
                    PANE if rng.random() < 0.4 else _WINDSCREEN,
                )
            )
    if front > 0.12:
        parts += [
            Part(poly((0.93, -0.06), (0.93 + front, 0.0), (0.93 + front, 0.3), (0.93, 0.35)), 0.8),
            Part(ellipse(0.93 + 0.5 * front, 0.08, 0.05, 0.07), 1, PALE),
        ]
    parts += [Part(rect(x, -0.1, x + 0.012, 0.3), 0.6) for x in (-0.42, 0.05)]
    return parts + _wheels((-0.58, 0.6), 0.35, r, rng.uniform(0.7, 1))


def car_from_ahead(rng: Rng) -> list[Part]:
    w, roof = rng.uniform(0.7, 0.85), rng.uniform(-0.7, -0.45)
    parts = _wheels((-w + 0.12, w - 0.12), 0.62, 0.22, 0.5)
    parts += [
        Part(poly((-0.75 * w, -0.1), (-0.6 * w, roof), (0.6 * w, roof), (0.75 * w, -0.1)), 0.95),
        Part(
            poly(
                (-0.66 * w, -0.1),
                (-0.54 * w, roof + 0.08),
                (0.54 * w, roof + 0.08),
                (0.66 * w, -0.1),
            ),
            1,
            _WINDSCREEN,
        ),
        Part(
            poly((-0.8 * w, -0.12), (0.8 * w, -0.12), (w, 0.1), (w, 0.65), (-w, 0.65), (-w, 0.1)),
            1.05,
        ),
        Part(rect(-0.5 * w, 0.2, 0.5 * w, 0.4), 1, DARK),
        Part(rect(-w, 0.5, w, 0.65), 0.6),
    ]
    return parts + [Part(ellipse(s * 0.74 * w, 0.25, 0.12, 0.1), 1, PALE) for s in (-1, 1)]


def cap(rng: Rng) -> list[Part]:
    droop = rng.uniform(-0.1, 0.25)
    parts = [
        Part(ellipse(0.1, 0.1, 0.75, 0.8, 0, 0.5, 1.0)),
        Part(rect(-0.65, 0.05, 0.85, 0.3)),
        Part(poly((-0.65, 0.15), (0.4, 0.3), (-0.4, 0.7 + droop), (-1, 0.6 + droop)), 0.85),
        Part(ellipse(-0.35, 0.42 + droop / 2, 0.62, 0.22, 12), 0.85),
        Part(ellipse(0.1, -0.7, 0.07, 0.04), 0.7),
    ]
    parts += [
        Part(poly((0.1, -0.7), (x, 0.28), (x + 0.03, 0.28)), 0.75) for x in (-0.3, 0.15, 0.55)
    ]
    if rng.random() < 0.5:
        parts += [
            Part(rect(x, -0.1, x + 0.05, rng.uniform(-0.02, 0.1)), 1, DARK)
            for x in np.arange(-0.4, 0.2, 0.1)
        ]
    return parts


def woolly_hat(rng: Rng) -> list[Part]:
    parts = [Part(ellipse(0, 0.3, 0.75, 1.1, 0, 0.5, 1.0)), Part(rect(-0.82, 0.2, 0.82, 0.6), 0.85)]
    if rng.random() < 0.6:
        parts.append(Part(ellipse(0, -0.85, 0.22, 0.2), 1.1))
    return parts


def ship(rng: Rng) -> list[Part]:
    deck, cabin = rng.uniform(0.0, 0.3), rng.uniform(0.2, 0.5)
    parts = [
        Part(poly((-1, deck - 0.1), (1, deck), (0.8, 0.7), (-0.75, 0.7))),
        Part(rect(-0.75, 0.58, 0.8, 0.7), 0.6),
    ]
    if rng.random() < 0.7:
        parts += [
            Part(
                rect(-0.5, deck - cabin, 0.3, deck + 0.02),
                1.1,
                None if rng.random() < 0.5 else PALE,
            ),
            *(
                Part(rect(x, deck - 0.7 * cabin, x + 0.12, deck - 0.4 * cabin), 1, DARK)
                for x in (-0.4, -0.15, 0.1)
            ),
        ]
    if rng.random() < 0.5:
        parts.append(Part(rect(-0.03, -0.95, 0.03, deck), 1, WOOD))
    return parts


def cake_slice(rng: Rng) -> list[Part]:
    layers = int(rng.integers(2, 5))
    parts = []
    edges = np.linspace(-0.1, 0.65, 2 * layers)
    for i, (y0, y1) in enumerate(pairwise(edges)):
        parts.append(Part(rect(-0.75, y0, 0.75, y1), 0.9, PALE if i % 2 else None))
    return [*parts, Part(poly((-0.75, -0.1), (0.75, -0.1), (0.3, -0.5), (-0.1, -0.55)), 1.15)]


def plate(rng: Rng) -> list[Part]:
    """A plate or a bowl, from above or the side, at times with something on it."""
    tilt, rim = rng.uniform(0.25, 1), rng.uniform(0.55, 0.8)
    deep = rng.uniform(0, 0.5) * (1 - tilt)
    parts = [
        Part(ellipse(0, deep, 0.7, 0.7 * tilt), 0.7),
        Part(poly((-1, 0), (1, 0), (0.7, deep), (-0.7, deep)), 0.8),
        Part(ellipse(0, 0, 1, tilt)),
        Part(ellipse(0, 0.02, rim, rim * tilt), 0.85),
    ]
    if rng.random() < 0.5:
        x, y = rng.uniform(-0.2, 0.2, 2)
        food: Ink = one_of(_DRINKS, rng)
        parts.append(Part(ellipse(x, y * tilt - 0.1, 0.4, 0.4 * max(tilt, 0.5)), 1, food, True))
    return parts
