"""People, in clothes that bear the look: standing, stepping out, or from close."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from swatch_training.outlines import DARK, Ink, Part, Rng, ellipse, one_of, poly, rect

_SKINS: tuple[Ink, ...] = ((236, 196, 168), (206, 156, 120), (150, 102, 70), (92, 60, 42))
_HAIRS: tuple[Ink, ...] = ((40, 30, 26), (90, 60, 36), (200, 160, 90), (150, 150, 150))
_TROUSERS: tuple[Ink, ...] = ((40, 50, 84), (50, 48, 46), (150, 130, 100), (225, 225, 222))


def figure(rng: Rng) -> list[Part]:
    """The whole of somebody; at times the look is on the shirt alone."""
    skin, hair = one_of(_SKINS, rng), one_of(_HAIRS, rng)
    trousers = None if rng.random() < 0.5 else one_of(_TROUSERS, rng)
    stride, lean = rng.uniform(0.02, 0.5), rng.uniform(-0.2, 0.2)
    sleeves = None if rng.random() < 0.6 else skin
    parts = []
    for s in (-1, 1):
        foot, knee = s * (0.08 + stride * rng.uniform(0.3, 1)), s * rng.uniform(0.08, 0.3)
        hand = s * rng.uniform(0.15, 0.6), rng.uniform(-0.7, 0.3)
        elbow = s * rng.uniform(0.3, 0.45), rng.uniform(-0.35, -0.1)
        shoulder = lean + s * 0.16, -0.52
        parts += [
            Part(_limb((s * 0.09, 0.05), (knee, 0.5), 0.1), 0.85, trousers),
            Part(_limb((knee, 0.5), (foot, 0.95), 0.075), 0.8, skin if stride > 0.3 else trousers),
            Part(ellipse(foot + s * 0.04, 0.97, 0.1, 0.05), 1, DARK),
            Part(_limb(shoulder, elbow, 0.07), 0.95, sleeves),
            Part(_limb(elbow, hand, 0.055), 0.95, skin),
        ]
    return [
        *parts,
        Part(rect(lean - 0.05, -0.7, lean + 0.05, -0.5), 0.9, skin),
        Part(poly((lean - 0.22, -0.58), (lean + 0.22, -0.58), (0.17, 0.12), (-0.17, 0.12))),
        Part(ellipse(lean, -0.8, 0.13, 0.17), 1, hair),
        Part(ellipse(lean + 0.02, -0.77, 0.11, 0.13), 1, skin),
    ]


def portrait(rng: Rng) -> list[Part]:
    """Head and shoulders, from ahead."""
    skin, hair = one_of(_SKINS, rng), one_of(_HAIRS, rng)
    long = rng.uniform(0.1, 0.7)
    dark: Ink = (skin[0] * 2 // 3, skin[1] * 2 // 3, skin[2] * 2 // 3)
    parts = [
        Part(ellipse(0, -0.35 + long / 2, 0.52, 0.55 + long / 2), 0.9, hair),
        Part(ellipse(0, 1.0, 1.0, 0.6)),
        Part(rect(-0.18, 0.1, 0.18, 0.55), 0.85, dark),
        Part(ellipse(0, 0.5, 0.25, 0.12), 1, skin),
        Part(ellipse(0, -0.25, 0.42, 0.52), 1, skin),
        Part(ellipse(0, -0.68, 0.44, 0.24), 1, hair),
        Part(poly((-0.04, -0.2), (0.04, -0.2), (0.07, 0.0), (-0.07, 0.0)), 1, dark),
        Part(ellipse(0, 0.1, 0.15, 0.04), 1, (170, 80, 76)),
    ]
    for s in (-1, 1):
        parts += [
            Part(ellipse(s * 0.18, -0.28, 0.08, 0.04), 1, (235, 232, 228)),
            Part(ellipse(s * 0.18, -0.28, 0.04, 0.04), 1, DARK),
            Part(rect(s * 0.18 - 0.1, -0.4, s * 0.18 + 0.1, -0.37), 1, hair),
        ]
    # Higher and smaller: the clothes bear the look, and must be seen.
    return [replace(part, points=0.75 * part.points - (0, 0.3)) for part in parts]


def _limb(start: tuple[float, float], end: tuple[float, float], wide: float) -> np.ndarray:
    """A bar that narrows a little."""
    a, b = np.array(start), np.array(end)
    along = (b - a) / max(float(np.hypot(*(b - a))), 1e-6)
    across = np.array((-along[1], along[0])) * wide
    return np.array([a + across, a - across, b - 0.8 * across, b + 0.8 * across])
