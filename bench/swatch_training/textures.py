"""Procedural looks: each paints a field (h, w, 3) of floats in 0..1 that fills the frame."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from swatch_training.fields import (
    Field,
    Rng,
    axes,
    cells,
    fractal,
    mix,
    noise,
    ramp,
    rgb,
    step,
)

Look = Callable[[Rng, int, int], Field]
TEXTURES: dict[str, Look] = {}

COLOUR_RGB: dict[str, tuple[int, int, int]] = {
    "red": (205, 32, 36), "orange": (240, 130, 25), "yellow": (245, 215, 45),
    "green": (50, 150, 60), "blue": (40, 80, 200), "purple": (125, 50, 165),
    "pink": (245, 135, 180), "brown": (120, 75, 40), "black": (26, 26, 28),
    "white": (242, 242, 240), "grey": (130, 132, 134),
}  # fmt: skip


def texture(look: str, rng: Rng, height: int, width: int) -> Field:
    """The colour or look named `look`, filling (height, width, 3), floats in 0..1."""
    if look in COLOUR_RGB:
        return _plain(look, rng, height, width)
    return np.clip(TEXTURES[look](rng, height, width), 0, 1)


def random_colour(rng: Rng) -> Field:
    """A plain colour of the vocabulary, a little varied: (3,) floats in 0..1."""
    base = np.array(COLOUR_RGB[rng.choice(list(COLOUR_RGB))], np.float32) / 255
    return np.clip(base + rng.normal(0, 0.04, 3), 0, 1).astype(np.float32)


def _two_colours(rng: Rng) -> tuple[Field, Field]:
    while True:
        a, b = random_colour(rng), random_colour(rng)
        if np.abs(a - b).sum() > 0.7:
            return a, b


def _plain(colour: str, rng: Rng, h: int, w: int) -> Field:
    base = np.array(COLOUR_RGB[colour], np.float32) / 255
    base = base * rng.uniform(0.88, 1.1) + rng.normal(0, 0.025, 3)
    return np.clip(base + 0.03 * noise(rng, h, w, 0.4)[..., None], 0, 1).astype(np.float32)


def _look(function: Look) -> Look:
    TEXTURES[function.__name__.lstrip("_")] = function
    return function


def _metal(*palette: tuple[int, int, int]) -> Look:
    def paint(rng: Rng, h: int, w: int) -> Field:
        u, _ = axes(rng, h, w)
        wave = np.sin(u * rng.uniform(5, 12) + 1.5 * noise(rng, h, w, 0.4))
        return ramp(0.5 + 0.32 * wave + 0.12 * noise(rng, h, w, 0.08), *palette)

    return paint


TEXTURES["golden"] = _metal(
    (88, 52, 8), (170, 115, 20), (222, 172, 45), (250, 216, 100), (255, 246, 190)
)
TEXTURES["silver"] = _metal(
    (60, 64, 70), (130, 136, 142), (180, 185, 190), (225, 229, 233), (255, 255, 255)
)
TEXTURES["copper"] = _metal(
    (70, 28, 14), (140, 66, 38), (190, 104, 66), (226, 150, 110), (255, 214, 186)
)


@_look
def _rusty(rng: Rng, h: int, w: int) -> Field:
    rust = ramp(
        fractal(rng, h, w, 0.07), (60, 26, 16), (122, 54, 24), (178, 88, 34), (206, 128, 62)
    )
    bare = ramp(fractal(rng, h, w, 0.2), (88, 84, 84), (128, 122, 120))
    return mix(rust, bare, step(fractal(rng, h, w, 0.16), 0.68, 0.12))


@_look
def _wooden(rng: Rng, h: int, w: int) -> Field:
    u, v = axes(rng, h, w, rng.choice([0.0, np.pi / 2]) + rng.normal(0, 0.1))
    rings = np.sin(
        (u * rng.uniform(3, 6) + 0.35 * np.sin(v * 2.2) + 0.4 * noise(rng, h, w, 0.5)) * 6
    )
    grain = np.sin(u * 110 + 3 * noise(rng, h, w, 0.2))
    planks = step(np.abs((u * rng.uniform(2, 4)) % 1 - 0.5), 0.47, 0.02)
    wood = ramp(0.5 + 0.3 * rings + 0.14 * grain, (104, 62, 30), (160, 104, 56), (202, 150, 94))
    return wood * (1 - 0.5 * planks[..., None])


@_look
def _brick(rng: Rng, h: int, w: int) -> Field:
    u, v = axes(rng, h, w, rng.normal(0, 0.05))
    rows = rng.uniform(7, 12)
    row = np.floor(v * rows)
    across = u * rows / 2.2 + 0.5 * (row % 2)
    joint = np.maximum(
        step(np.abs(across % 1 - 0.5), 0.46, 0.03), step(np.abs(v * rows % 1 - 0.5), 0.42, 0.06)
    )
    tint = np.sin(row * 12.99 + np.floor(across) * 78.2) * 0.25 + 0.5
    clay = ramp(tint + 0.2 * noise(rng, h, w, 0.04), (120, 44, 30), (164, 72, 50), (196, 104, 76))
    return mix(clay, rgb(h, w, 198, 190, 178), joint)


@_look
def _stone(rng: Rng, h: int, w: int) -> Field:
    border, value = cells(rng, h, w, int(rng.integers(16, 40)))
    grey = 0.3 + 0.35 * value + 0.25 * fractal(rng, h, w, 0.06)
    rock = ramp(grey, (56, 54, 52), (128, 124, 118), (190, 186, 178))
    return rock * (0.45 + 0.55 * step(border, 0.025, 0.05))[..., None]


@_look
def _marble(rng: Rng, h: int, w: int) -> Field:
    u, _ = axes(rng, h, w)
    warp = 2.2 * noise(rng, h, w, 0.35) + 0.9 * noise(rng, h, w, 0.12)
    veins = 1 - np.abs(np.sin(u * rng.uniform(4, 7) + warp))
    return ramp(veins**3, (240, 238, 236), (214, 212, 214), (96, 98, 108))


@_look
def _mossy(rng: Rng, h: int, w: int) -> Field:
    fine = 0.6 * fractal(rng, h, w, 0.04) + 0.4 * fractal(rng, h, w, 0.2)
    return ramp(fine, (22, 40, 14), (62, 94, 28), (118, 148, 50), (164, 182, 84))


@_look
def _snowy(rng: Rng, h: int, w: int) -> Field:
    snow = ramp(fractal(rng, h, w, 0.18), (176, 194, 222), (226, 234, 246), (252, 253, 255))
    sparkle = step(noise(rng, h, w, 0.02), 0.75, 0.1)
    return snow + 0.08 * sparkle[..., None]


@_look
def _icy(rng: Rng, h: int, w: int) -> Field:
    ice = ramp(fractal(rng, h, w, 0.3), (96, 170, 214), (164, 214, 238), (224, 244, 252))
    border, _ = cells(rng, h, w, int(rng.integers(5, 12)))
    cracks = 1 - step(border + 0.02 * noise(rng, h, w, 0.05), 0.02, 0.03)
    return ice + 0.5 * cracks[..., None]


@_look
def _crystal(rng: Rng, h: int, w: int) -> Field:
    border, value = cells(rng, h, w, int(rng.integers(20, 45)))
    facets = ramp(
        value, (110, 70, 190), (150, 130, 240), (190, 220, 255), (245, 230, 255), (210, 120, 230)
    )
    return facets + 0.5 * (1 - step(border, 0.012, 0.02))[..., None]


@_look
def _fiery(rng: Rng, h: int, w: int) -> Field:
    flames = fractal(rng, h, w, 0.12, stretch=2.6)
    heat = flames + 0.25 * (np.linspace(-0.6, 0.8, h, dtype=np.float32)[:, None])
    return ramp(
        heat * 1.1 - 0.05, (50, 4, 0), (190, 28, 0), (250, 110, 8), (255, 205, 50), (255, 250, 190)
    )


@_look
def _lava(rng: Rng, h: int, w: int) -> Field:
    border, _ = cells(rng, h, w, int(rng.integers(10, 24)))
    glow = 1 - np.clip((border + 0.02 * noise(rng, h, w, 0.08)) / 0.11, 0, 1)
    crust = 0.12 * fractal(rng, h, w, 0.06)
    return ramp(
        crust + glow, (20, 14, 14), (70, 20, 10), (220, 60, 6), (255, 150, 20), (255, 236, 120)
    )


@_look
def _smoky(rng: Rng, h: int, w: int) -> Field:
    puff = 0.65 * fractal(rng, h, w, 0.4) + 0.35 * fractal(rng, h, w, 0.12)
    return ramp(puff * 1.5 - 0.25, (40, 41, 46), (104, 106, 112), (168, 170, 176), (226, 226, 230))


@_look
def _watery(rng: Rng, h: int, w: int) -> Field:
    web = 1 - np.abs(noise(rng, h, w, 0.13, 0.5)) - 0.6 * np.abs(noise(rng, h, w, 0.07, 0.5))
    deep = 0.4 * fractal(rng, h, w, 0.4)
    return ramp(
        deep + 0.7 * np.clip(web, 0, 1) ** 3,
        (8, 50, 110),
        (20, 104, 170),
        (70, 170, 210),
        (220, 246, 252),
    )


@_look
def _sandy(rng: Rng, h: int, w: int) -> Field:
    _, v = axes(rng, h, w, rng.normal(0, 0.3))
    ripples = np.sin(v * rng.uniform(28, 50) + 2 * noise(rng, h, w, 0.25))
    grain = rng.normal(0, 1, (h, w)).astype(np.float32)
    return ramp(
        0.5 + 0.18 * ripples + 0.11 * grain, (172, 136, 86), (216, 184, 130), (244, 222, 176)
    )


@_look
def _chocolate(rng: Rng, h: int, w: int) -> Field:
    u, v = axes(rng, h, w, rng.normal(0, 0.2))
    n = rng.uniform(3, 6)
    tile = np.maximum(np.abs(u * n % 1 - 0.5), np.abs(v * n * 1.3 % 1 - 0.5))
    bevel = step(tile, 0.43, 0.12)
    gloss = 0.35 + 0.25 * noise(rng, h, w, 0.25)
    return ramp(gloss - 0.3 * bevel, (34, 16, 8), (78, 40, 20), (116, 66, 36), (176, 122, 84))


@_look
def _striped(rng: Rng, h: int, w: int) -> Field:
    u, _ = axes(rng, h, w)
    a, b = _two_colours(rng)
    t = step(np.sin(u * rng.uniform(24, 48)), 0, 0.3)
    return a + (b - a) * t[..., None]


_CHESS = (np.full(3, 20 / 255, np.float32), np.full(3, 245 / 255, np.float32))


@_look
def _checkered(rng: Rng, h: int, w: int) -> Field:
    u, v = axes(rng, h, w, rng.choice([0.0, np.pi / 4]) + rng.normal(0, 0.1))
    n = rng.uniform(14, 30)
    a, b = _two_colours(rng) if rng.random() < 0.6 else _CHESS
    t = step(np.sin(u * n) * np.sin(v * n), 0, 0.15)
    return a + (b - a) * t[..., None]


@_look
def _dotted(rng: Rng, h: int, w: int) -> Field:
    u, v = axes(rng, h, w)
    n = rng.uniform(6, 11)
    v = v * n
    u = u * n + 0.5 * (np.floor(v) % 2)
    a, b = _two_colours(rng)
    radius = np.sqrt((u % 1 - 0.5) ** 2 + (v % 1 - 0.5) ** 2)
    return a + (b - a) * (1 - step(radius, rng.uniform(0.25, 0.33), 0.08))[..., None]


@_look
def _zebra(rng: Rng, h: int, w: int) -> Field:
    u, _ = axes(rng, h, w)
    wave = np.sin(u * rng.uniform(20, 32) + 2.6 * noise(rng, h, w, 0.3) + noise(rng, h, w, 0.12))
    return ramp(step(wave, 0.05, 0.25), (18, 16, 18), (246, 244, 238))


@_look
def _leopard(rng: Rng, h: int, w: int) -> Field:
    border, value = cells(rng, h, w, int(rng.integers(40, 75)))
    coat = ramp(fractal(rng, h, w, 0.3), (196, 138, 62), (228, 178, 100))
    inside = step(border + 0.03 * noise(rng, h, w, 0.05), 0.05, 0.03)
    core = step(border, 0.115 + 0.03 * float(value.mean()), 0.03)
    return mix(mix(coat, rgb(h, w, 40, 26, 16), inside), rgb(h, w, 160, 98, 44), core)


@_look
def _giraffe(rng: Rng, h: int, w: int) -> Field:
    border, value = cells(rng, h, w, int(rng.integers(14, 30)))
    patch = ramp(value * 0.6 + 0.3 * fractal(rng, h, w, 0.1), (120, 66, 26), (176, 106, 48))
    return mix(
        rgb(h, w, 240, 222, 178), patch, step(border + 0.015 * noise(rng, h, w, 0.06), 0.045, 0.03)
    )


@_look
def _knitted(rng: Rng, h: int, w: int) -> Field:
    u, v = axes(rng, h, w, rng.normal(0, 0.15))
    n = rng.uniform(11, 17)
    slant = np.abs(u * n % 1 - 0.5) * 2
    stitch = np.sin((v * n * 1.3 + slant * 0.9) * 2 * np.pi)
    rows = 0.72 + 0.26 * stitch - 0.4 * step(np.abs(slant - 0.5), 0.42, 0.12)
    return random_colour(rng) * 0.9 * (0.25 + rows)[..., None] + 0.05


@_look
def _denim(rng: Rng, h: int, w: int) -> Field:
    u, v = axes(rng, h, w, np.pi / 4 + rng.normal(0, 0.1))
    twill = np.sin(u * 170) + 0.5 * np.sin(v * 60)
    worn = fractal(rng, h, w, 0.3) * 0.6
    seam = step(np.abs(v * 1.4 % 1 - 0.5), 0.47, 0.02) * step(np.sin(u * 60), 0, 0.2)
    cloth = ramp(worn + 0.2 + 0.1 * twill, (24, 38, 74), (50, 80, 134), (112, 146, 192))
    return mix(cloth, rgb(h, w, 214, 160, 80), seam)


@_look
def _paper(rng: Rng, h: int, w: int) -> Field:
    border, value = cells(rng, h, w, int(rng.integers(18, 36)))
    u, v = axes(rng, h, w)
    shade = 0.55 + 0.4 * np.sin(6.28 * value + 5 * (u * np.cos(9 * value) + v * np.sin(9 * value)))
    crease = 1 - step(border, 0.01, 0.03)
    return ramp(shade - 0.3 * crease, (176, 166, 146), (228, 220, 202), (250, 247, 236))


@_look
def _neon(rng: Rng, h: int, w: int) -> Field:
    u, _ = axes(rng, h, w)
    line = np.abs(np.sin(u * rng.uniform(12, 20) + 2 * noise(rng, h, w, 0.35)))
    hot = np.exp(-((line / 0.3) ** 2))
    glow = np.array(_NEON[rng.integers(len(_NEON))], np.float32) / 255
    return 0.06 + glow * (0.3 + 0.9 * hot)[..., None] + 0.75 * (hot**6)[..., None]


_NEON = ((255, 30, 200), (30, 240, 255), (80, 255, 60), (180, 60, 255), (255, 70, 60))


@_look
def _glass(rng: Rng, h: int, w: int) -> Field:
    u, v = axes(rng, h, w, rng.uniform(0.5, 1.0))
    streak = step(np.sin(u * rng.uniform(5, 9) + 0.3 * noise(rng, h, w, 0.5)), 0.72, 0.5)
    body = ramp(fractal(rng, h, w, 0.6), (150, 196, 196), (190, 226, 222), (216, 240, 236))
    return body * (0.85 + 0.1 * np.sin(v * 5))[..., None] + 0.4 * streak[..., None]


@_look
def _starry(rng: Rng, h: int, w: int) -> Field:
    night = ramp(
        fractal(rng, h, w, 0.4) * 0.9, (6, 8, 30), (22, 24, 76), (70, 44, 120), (110, 90, 170)
    )
    dots = step(noise(rng, h, w, 0.028), 0.78, 0.15) + 0.7 * step(
        noise(rng, h, w, 0.018), 0.8, 0.15
    )
    return night + dots[..., None]


@_look
def _rainbow(rng: Rng, h: int, w: int) -> Field:
    u, _ = axes(rng, h, w)
    hue = (u * rng.uniform(1.2, 2.4) + 0.05 * noise(rng, h, w, 0.4)) % 1
    colours = (
        (225, 40, 40),
        (245, 150, 30),
        (245, 225, 50),
        (60, 180, 70),
        (50, 90, 215),
        (140, 60, 180),
        (225, 40, 40),
    )
    return ramp(hue, *colours)


@_look
def _camouflage(rng: Rng, h: int, w: int) -> Field:
    t = fractal(rng, h, w, 0.22)
    cloth = ramp(t * 0, (110, 112, 66))
    cloth = mix(cloth, rgb(h, w, 62, 74, 40), step(fractal(rng, h, w, 0.2), 0.55))
    cloth = mix(cloth, rgb(h, w, 84, 62, 40), step(fractal(rng, h, w, 0.2), 0.62))
    return mix(cloth, rgb(h, w, 28, 30, 24), step(t, 0.7))


@_look
def _straw(rng: Rng, h: int, w: int) -> Field:
    u, v = axes(rng, h, w, rng.normal(0, 0.25))
    strands = np.sin(u * 75 + 5 * noise(rng, h, w, 0.2)) + np.sin(
        (u + 0.35 * v) * 50 + 4 * noise(rng, h, w, 0.3)
    )
    return ramp(0.5 + 0.24 * strands, (112, 80, 28), (198, 158, 70), (240, 212, 128))


@_look
def _mosaic(rng: Rng, h: int, w: int) -> Field:
    u, v = axes(rng, h, w, rng.normal(0, 0.2))
    n = rng.uniform(9, 14)
    key = np.abs(np.sin(np.floor(u * n) * 12.9 + np.floor(v * n) * 78.2)) * 43.7 % 1
    tiles = ramp(key, (200, 50, 50), (240, 200, 70), (50, 140, 120), (40, 90, 190), (235, 235, 225))
    gap = step(np.maximum(np.abs(u * n % 1 - 0.5), np.abs(v * n % 1 - 0.5)), 0.43, 0.04)
    return mix(tiles, rgb(h, w, 210, 205, 195), gap)
