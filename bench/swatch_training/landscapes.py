"""Landscapes: ground in perspective, with trees, mountains and a sky beyond it, as in photos.

Each part has a cover (h, w) in 0..1 and a surface (h, w, 3); they are laid over one another from
back to front. A part whose look is its natural one varies in hue and light as it does outdoors;
any other look is its texture, seen in perspective where it lies on the ground.
"""

from __future__ import annotations

import colorsys
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw

from swatch_training.clutter import lettering
from swatch_training.fields import (
    Field,
    Rng,
    fractal,
    mix,
    noise,
    ramp,
    step,
)
from swatch_training.scene import Landscape, Region
from swatch_training.textures import random_colour, texture


class Layer(NamedTuple):
    """One part of a landscape, ready to be laid over those behind it."""

    cover: Field  # (h, w)
    surface: Field  # (h, w, 3)


class _View(NamedTuple):
    """Where the horizon is, in each column, and how far each pixel of the ground is."""

    edge: Field  # (w,), rows
    depth: Field  # (h, w): 1 at the bottom, growing towards the horizon
    y: Field  # (h, w), rows
    x: Field  # (h, w), columns


def paint_landscape(
    landscape: Landscape, rng: Rng, height: int, width: int
) -> list[tuple[Region, Layer]]:
    """The parts of a landscape, back to front."""
    view = _view(rng, height, width, open_above=landscape.sky is not None)
    layers: list[tuple[Region, Layer]] = []
    for name, region in landscape.parts.items():
        part = np.random.default_rng(int(rng.integers(2**62)))  # another look moves nothing else
        layers.append((region, _PAINTERS[name](region, part, view, landscape)))
    return layers


def clouds(field: Field, rng: Rng) -> Field:
    """A sky (h, w, 3) that pales towards the horizon, with some clouds."""
    h, w = field.shape[:2]
    pale = np.linspace(0, rng.uniform(0.2, 0.6), h, dtype=np.float32)[:, None]
    cloud = np.clip(noise(rng, h, w, 0.4, 0.5) + 0.4 * noise(rng, h, w, 0.15, 0.5) - 0.2, 0, 1)
    return field + (0.97 - field) * np.clip(pale + cloud * rng.uniform(0, 1), 0, 0.9)[..., None]


def leaves(look: str, rng: Rng, h: int, w: int) -> Field:
    """Leaves (h, w, 3) as they hang behind a flower: large ones over small and dark ones."""
    if look == "green":
        colours = [_hsv(rng, (0.2, 0.5), (0.2, 0.95), (0.05, 0.6)) for _ in range(4)]
    else:
        mean = texture(look, rng, h, w).mean((0, 1))
        colours = [mean * rng.uniform(0.4, 1.2) for _ in range(4)]
    ground = _foliage(look, rng, h, w) * rng.uniform(0.2, 1)
    image = Image.fromarray((np.clip(ground, 0, 1) * 255).astype(np.uint8))
    draw, along = ImageDraw.Draw(image), np.linspace(-1, 1, 24)
    for _ in range(int(rng.integers(4, 50))):
        size, turn = rng.uniform(0.05, 0.35) * min(h, w), rng.uniform(0, 2 * np.pi)
        half = rng.uniform(0.25, 0.5) * (1 - along**2)
        blade = np.concatenate([np.stack([along, half], 1), np.stack([along, -half], 1)[::-1]])
        c, s = np.cos(turn), np.sin(turn)
        place = rng.uniform(0, 1, 2) * (w, h)
        shade = colours[int(rng.integers(4))] * rng.uniform(0.6, 1.2)
        for outline, tone in ((blade, 1.0), (blade * (0.95, 0.07), rng.uniform(0.6, 1.4))):
            points = outline @ np.array([[c, s], [-s, c]]) * size + place
            draw.polygon([tuple(p) for p in points.tolist()], fill=_levels(shade * tone))
    return np.asarray(image, np.float32) / 255


def letter(field: Field, rng: Rng) -> None:
    """Write a line of letters on a wall (h, w, 3)."""
    colour = random_colour(rng)
    for left, top, right, bottom in lettering(rng, *field.shape[:2]):
        field[max(top, 0) : max(bottom, 0), max(left, 0) : max(right, 0)] = colour


def trees_in_front(region: Region, rng: Rng, h: int, w: int) -> Layer:
    """Crowns that rise from the bottom, and at times a tall one at a side."""
    y, x = np.mgrid[0:h, 0:w].astype(np.float32)
    rise = rng.uniform(0.08, 0.4) * h
    tops = _crowns(rng, w, rng.uniform(0.4, 1) * rise, rng.random() < 0.3)
    ragged = 0.03 * h * noise(rng, h, w, 0.03)
    cover = step(y - (h - rise + tops) + ragged, 0, 2)
    if rng.random() < 0.5:
        reach = rng.uniform(0.05, 0.25) * w * (0.4 + y / h) + 2 * ragged
        side = x if rng.random() < 0.5 else w - 1 - x
        cover = np.maximum(cover, step(reach - side, 0, 2) * (y > rng.uniform(0, 0.6) * h))
    return Layer(cover, _foliage(region.look, rng, h, w))


def _view(rng: Rng, h: int, w: int, open_above: bool) -> _View:
    y, x = np.mgrid[0:h, 0:w].astype(np.float32)
    horizon = rng.uniform(0.12, 0.7) * h
    slope = rng.normal(0, 0.05) * h
    swell = rng.uniform(0, 0.05) * h
    edge = horizon + slope * np.linspace(-1, 1, w) + swell * noise(rng, 2, w, rng.uniform(5, 60))[0]
    if not open_above and rng.random() < 0.2:
        edge = edge - 2 * h  # nothing but ground
    # A camera at a height: depth is the inverse of the distance below the vanishing line.
    vanishing = np.minimum(edge, 0.9 * h) - rng.uniform(0.03, 0.4) * h
    depth = (h - vanishing) / np.maximum(y - vanishing, 1)
    return _View(edge.astype(np.float32), depth.astype(np.float32), y, x)


def _sky(region: Region, rng: Rng, view: _View, landscape: Landscape) -> Layer:
    h, w = view.y.shape
    field = np.array(texture(region.look, rng, h, w), np.float32)
    if region.look != "starry":
        field = clouds(field, rng)
    return Layer(np.ones((h, w), np.float32), field)


def _mountains(region: Region, rng: Rng, view: _View, landscape: Landscape) -> Layer:
    h, w = view.y.shape
    rise = rng.uniform(0.08, 0.5) * h if landscape.sky else 2 * h
    ridge = fractal(rng, 2, w, rng.uniform(10, 40))[0] + 0.15 * noise(rng, 2, w, 4)[0]
    cover = step(view.y - (view.edge - rise * ridge), 0, 2)
    if region.look in ("stone", "grey", "blue", "brown"):
        steep = noise(rng, h, w, 0.12, rng.uniform(0.7, 2)) + 0.7 * noise(rng, h, w, 0.03)
        light = 0.5 + 0.3 * steep + 0.12 * noise(rng, h, w, 0.015)
        tint = {"blue": (0.8, 0.95, 1.25), "brown": (1.2, 1.0, 0.75)}.get(region.look, (1, 1, 1))
        surface = ramp(light, (52, 54, 58), (122, 122, 122), (206, 206, 204)) * np.array(tint)
    else:
        surface = texture(region.look, rng, h, w) * _uneven(rng, h, w, 0.25)[..., None]
    haze = rng.uniform(0, 0.5)
    return Layer(cover, surface + haze * (np.array((0.78, 0.83, 0.9)) - surface))


def _water(region: Region, rng: Rng, view: _View, landscape: Landscape) -> Layer:
    h, w = view.y.shape
    shore = view.edge.min() - rng.uniform(0.03, 0.3) * h
    field = _calm(rng, h, w) if region.look == "watery" else texture(region.look, rng, h, w)
    return Layer(step(view.y - shore, 0, 1.5) * step(view.edge + 8 - view.y, 0, 2), field)


def _calm(rng: Rng, h: int, w: int) -> Field:
    """Water from afar: pale, bluish, greenish or grey, with the sky on it and faint ripples."""
    near = _hsv(rng, (0.42, 0.62), (0.08, 0.6), (0.25, 0.75))
    sky = _hsv(rng, (0.5, 0.62), (0.03, 0.25), (0.7, 0.95))
    far = np.linspace(rng.uniform(0.4, 1), rng.uniform(0, 0.5), h, dtype=np.float32)[:, None]
    ripples = noise(rng, h, w, rng.uniform(0.05, 0.3), rng.uniform(0.05, 0.25))
    fine = noise(rng, h, w, 0.03, 0.3)
    light = 1 + rng.uniform(0, 0.15) * ripples + rng.uniform(0, 0.08) * fine
    return mix(near + np.zeros((h, w, 3)), sky, far + np.zeros((h, w))) * light[..., None]


def _wall(region: Region, rng: Rng, view: _View, landscape: Landscape) -> Layer:
    h, w = view.y.shape
    rise, slope = rng.uniform(0.08, 0.6) * h, rng.normal(0, 0.08) * h
    top = view.edge.mean() - rise + slope * np.linspace(-1, 1, w)
    field = np.array(texture(region.look, rng, h, w) * _uneven(rng, h, w, 0.15)[..., None])
    for _ in range(int(rng.integers(0, 3))):
        letter(field, rng)
    return Layer(step(view.y - top, 0, 1.5) * step(view.edge + 8 - view.y, 0, 2), field)


def _trees(region: Region, rng: Rng, view: _View, landscape: Landscape) -> Layer:
    h, w = view.y.shape
    closed = not landscape.sky and not landscape.mountains
    rise = 2 * h if closed else rng.uniform(0.04, 0.4) * h
    tops = _crowns(rng, w, rng.uniform(0.15, 1.0) * min(rise, 0.3 * h), rng.random() < 0.6)
    foot = view.edge + 5 + rng.uniform(0, 0.05) * h  # behind the ground's soft edge
    cover = step(view.y - (view.edge - rise + tops), 0, 2) * step(foot - view.y, 0, 2)
    if not closed and rng.random() < 0.3:  # a wood with gaps
        cover *= noise(rng, 2, w, rng.uniform(10, 40))[0] > rng.uniform(-0.5, 0.2)
    for _ in range(int(rng.integers(0, 5))):
        cover = np.maximum(cover, _single_tree(rng, view))
    return Layer(cover, _foliage(region.look, rng, h, w))


def _crowns(rng: Rng, w: int, height: float, pointed: bool) -> Field:
    """How far below the highest top the wood's outline lies, (w,)."""
    x = np.arange(w, dtype=np.float32)
    low = np.full(w, 1.0, np.float32)
    for _ in range(int(rng.integers(8, 60))):
        reach = abs(x - rng.uniform(0, w)) / (rng.uniform(0.02, 0.09) * w)
        crown = reach if pointed else np.clip(reach, 0, 1) ** 2
        low = np.minimum(low, rng.uniform(0, 0.7) + crown)
    return low * height


def _single_tree(rng: Rng, view: _View) -> Field:
    h, w = view.y.shape
    column = int(rng.integers(w))
    foot = view.edge[column] + rng.uniform(0, 0.5) ** 2 * h
    tall, wide = rng.uniform(0.05, 0.35) * h, rng.uniform(0.02, 0.1) * h
    up = (foot - view.y) / tall
    ragged = 1 + 0.35 * noise(rng, h, w, 0.03)
    within = np.clip(up, 0, 1)
    outline = 1 - within if rng.random() < 0.6 else np.sin(within * np.pi)  # a cone, or a ball
    return step(wide * ragged * outline - abs(view.x - column), 1, 2) * (up > 0)


def _foliage(look: str, rng: Rng, h: int, w: int) -> Field:
    boughs, leaves = noise(rng, h, w, 0.1, rng.uniform(0.8, 2.5)), noise(rng, h, w, 0.035, 1.5)
    light = (
        0.5 + 0.22 * boughs + 0.2 * leaves + 0.35 * rng.normal(0, 0.5, (h, w)).astype(np.float32)
    )
    if look == "green":
        dark = _hsv(rng, (0.2, 0.45), (0.2, 0.75), (0.04, 0.22))
        lit = _hsv(rng, (0.17, 0.38), (0.25, 0.75), (0.25, 0.65))
        return mix(dark + np.zeros((h, w, 3)), lit, np.clip(light, 0, 1))
    return texture(look, rng, h, w) * np.clip(0.55 + 0.55 * light, 0.3, 1.25)[..., None]


def _ground(region: Region, rng: Rng, view: _View, landscape: Landscape) -> Layer:
    h, w = view.y.shape
    cover = step(view.y - view.edge, 0, rng.choice([1.5, 6.0]))
    if region.thing == "grass":
        return Layer(cover, _grass(region.look, rng, view))
    if region.thing == "sea" and region.look == "watery" and rng.random() < 0.5:
        return Layer(cover, _calm(rng, h, w))
    if region.thing in ("road", "background"):
        field = _paving(region.look, rng, view)
        return Layer(cover, field if region.thing == "road" else _marked(field, rng, view))
    return Layer(cover, _in_perspective(texture(region.look, rng, 2 * h, 2 * w), rng, view))


def _grass(look: str, rng: Rng, view: _View) -> Field:
    h, w = view.y.shape
    blades = _far_noise(rng, view, rng.uniform(0.01, 0.05), rng.uniform(1, 4))
    patches = _far_noise(rng, view, rng.uniform(0.15, 0.6), 1)
    fine = rng.normal(0, 1, (h, w)).astype(np.float32) * rng.uniform(0, 0.14)
    light = 1 + rng.uniform(0, 0.5) * blades + rng.uniform(0, 0.25) * patches + fine
    lush = _hsv(rng, (0.2, 0.34), (0.35, 0.85), (0.3, 0.75))
    if look == "green":
        dry = _hsv(rng, (0.12, 0.26), (0.25, 0.75), (0.3, 0.75))
        earth = _hsv(rng, (0.05, 0.15), (0.2, 0.6), (0.2, 0.5))
        share = np.clip(rng.uniform(0, 0.7) + rng.uniform(0, 0.8) * patches, 0, 1)
        field = mix(lush + np.zeros((h, w, 3)), dry, share)
        field = mix(field, earth, rng.uniform(0, 0.5) * step(patches - blades, 0.9, 0.4))
        field = mix(field, np.ones(3), rng.uniform(0, 0.7) * step(blades, 0.8, 0.1))  # flowers
    else:
        field = _in_perspective(texture(look, rng, 2 * h, 2 * w), rng, view)
        light = 0.4 + 0.6 * light
        field = mix(field, lush, rng.uniform(0, 0.8) * step(blades, rng.uniform(0.5, 0.9), 0.2))
    return field * np.clip(light, 0.3, 1.5)[..., None]


def _paving(look: str, rng: Rng, view: _View) -> Field:
    h, w = view.y.shape
    rough = rng.normal(0, 1, (h, w)).astype(np.float32) * rng.uniform(0, 0.06)
    light = 1 + rough + rng.uniform(0, 0.15) * _far_noise(rng, view, 0.3, 1)
    field: Field
    if look in ("grey", "black"):  # asphalt
        value = rng.uniform(0.3, 0.8) if look == "grey" else rng.uniform(0.08, 0.22)
        field = value * (1 + rng.normal(0, 0.03, 3)) + np.zeros((h, w, 3))
    else:
        field = _in_perspective(texture(look, rng, 2 * h, 2 * w), rng, view)
    return field * light[..., None]


def _marked(field: Field, rng: Rng, view: _View) -> Field:
    """A playing field (h, w, 3) with its lines: some lead away, some lie across."""
    h, w = view.y.shape
    pale, thin = rng.uniform(0.6, 1), rng.uniform(0.004, 0.015)
    for _ in range(int(rng.integers(0, 5))):
        if rng.random() < 0.5:
            off = view.x - (rng.uniform(0, 1) + rng.normal(0, 0.4) * (view.depth - 1)) * w
            breadth = thin * w / np.maximum(view.depth, 1)
        else:
            off = view.y - rng.uniform(0.3, 1) * h - rng.normal(0, 0.06) * (view.x - w / 2)
            breadth = np.full((h, w), 0.6 * thin * h)
        field = mix(field, pale * np.ones(3), step(breadth - abs(off), -0.5, 1))
    return field


def _road(region: Region, rng: Rng, view: _View, landscape: Landscape) -> Layer:
    h, w = view.y.shape
    if rng.random() < 0.5:  # along the bottom, its far edge bent
        bend = rng.uniform(-0.35, 0.35) * h * np.linspace(-1, 1, w) ** int(rng.integers(1, 4))
        far = view.edge + rng.uniform(0.15, 0.8) * (h - view.edge) + bend
        cover = step(view.y - np.maximum(far, view.edge), 0, 2)
        if rng.random() < 0.3:  # and grass on this side of it
            cover *= step(far + rng.uniform(0.2, 0.4) * h - view.y, 0, 2)
    else:  # leading away
        middle = (rng.uniform(0.1, 0.9) + rng.normal(0, 0.15) * (view.depth - 1)) * w
        half = rng.uniform(0.1, 0.45) * w / np.maximum(view.depth, 1)
        cover = step(half - abs(view.x - middle), 0, 2) * step(view.y - view.edge, 0, 2)
    field = _paving(region.look, rng, view)
    if region.look == "grey" and rng.random() < 0.3:  # a line
        level = rng.uniform(0.5, 1) * h + rng.normal(0, 0.2) * (view.x - w / 2)
        field = mix(field, np.ones(3), 0.7 * step(0.012 * h - abs(view.y - level), 0, 1))
    return Layer(cover, field)


_PAINTERS = {
    "sky": _sky, "mountains": _mountains, "water": _water, "trees": _trees, "wall": _wall,
    "ground": _ground, "road": _road,
}  # fmt: skip


def _in_perspective(flat: Field, rng: Rng, view: _View) -> Field:
    """A texture (H, W, ...) lying on the ground; it repeats, mirrored."""
    h, w = view.y.shape
    across = (view.x - rng.uniform(0, w)) * view.depth
    away = view.depth * rng.uniform(0.5, 1.5) * h + rng.uniform(0, h)
    rows, columns = _mirrored(away, flat.shape[0]), _mirrored(across, flat.shape[1])
    return np.asarray(flat[rows, columns], np.float32)


def _far_noise(rng: Rng, view: _View, cell: float, stretch: float) -> Field:
    h, w = view.y.shape
    return _in_perspective(noise(rng, 2 * h, 2 * w, cell / 2, stretch), rng, view)


def _mirrored(position: Field, length: int) -> np.ndarray:
    period = np.abs(position).astype(np.int64) % (2 * length)
    return np.where(period < length, period, 2 * length - 1 - period)


def _uneven(rng: Rng, h: int, w: int, depth: float) -> Field:
    return 1 + depth * (noise(rng, h, w, 0.2) + 0.7 * noise(rng, h, w, 0.05))


def _hsv(rng: Rng, *ranges: tuple[float, float]) -> Field:
    """A colour (3,) with hue, saturation and value drawn from three ranges."""
    return np.array(colorsys.hsv_to_rgb(*(rng.uniform(*r) for r in ranges)), np.float32)


def _levels(colour: Field) -> tuple[int, int, int]:
    red, green, blue = (int(level * 255) for level in np.clip(colour, 0, 1))
    return red, green, blue
