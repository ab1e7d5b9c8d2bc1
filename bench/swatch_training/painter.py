"""Seeded scenes with exact masks: objects with a look, in a place, lit and shaded.

A scene is fully known, so what is true of it is known too, and it can be painted again with
another look and nothing else changed.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from swatch_training.clutter import oddment
from swatch_training.fields import (
    Field,
    Rng,
    mix,
    noise,
)
from swatch_training.landscapes import (
    clouds,
    leaves,
    letter,
    paint_landscape,
    trees_in_front,
)
from swatch_training.lifelike import recipe
from swatch_training.outlines import Part
from swatch_training.scene import (
    MIX,
    PLACE_LOOKS,
    UNNAMED,
    Region,
    Scene,
)
from swatch_training.shapes import RECIPES
from swatch_training.textures import random_colour, texture
from text2live_cli.guide.swatch.vocabulary import APPEARANCES, PLACES, canonical

SCREEN_GREEN = np.array((0, 177, 64), np.float32) / 255
_ROTATES_FREELY = frozenset({"ball", "star", "leaf", "butterfly", "rocket", "fish", "heart"})


def paint_scene(
    objects: Sequence[tuple[str, str]],
    background: str = "background",
    seed: int = 0,
    size: tuple[int, int] = (360, 480),
) -> tuple[NDArray[np.uint8], list[NDArray[np.bool_]]]:
    """Paint one named scene: RGB (h, w, 3) of 0..255 and a mask (h, w) for each object.

    `objects` are up to three (thing, look) pairs, `background` a phrase like "wooden table". The
    same seed with another look is the same scene, truly repainted.
    """
    regions = tuple(Region(thing, look) for thing, look in objects)
    rgb, labels = paint(Scene(regions, _place_from_phrase(background), seed), *size, oversample=3)
    return rgb, [labels == i + 1 for i in range(len(regions))]


def paint(
    scene: Scene, height: int, width: int, oversample: int = 2
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """RGB (h, w, 3) and labels (h, w): of the scene's regions, and `UNNAMED`."""
    canvas, labels = (_paint_view if scene.landscape else _paint_place)(scene, height, width)
    light = _rng(scene, "light")
    angle = light.uniform(-np.pi, 0)
    towards = np.array((np.cos(angle), np.sin(angle)), np.float32)
    boxes = (_free_layout if scene.lifelike else _layout)(_rng(scene, "layout"), scene)
    shadow = light.random() < 0.6 and scene.place.thing != "screen"
    if scene.lifelike:
        _add_clutter(scene, canvas, labels, towards, "behind", oversample)
        canvas = _out_of_focus(canvas, _rng(scene, "focus"))
    for i, (region, box) in enumerate(zip(scene.objects, boxes, strict=True), start=1):
        rng = _rng(scene, "shape", i)
        parts = recipe(region.thing, rng) if scene.lifelike else RECIPES[region.thing](rng)
        tumbles = region.thing in _ROTATES_FREELY and rng.random() < 0.5
        sprite = _sprite(parts, tumbles, box, rng, labels.shape, oversample)
        if shadow:
            canvas *= 1 - 0.45 * _blur(_shift(sprite.cover, -towards), 0.03)[..., None]
        surface = _surface(scene, region, i, canvas, sprite.cover)
        if scene.lifelike:
            surface = surface * _unevenness(_rng(scene, "wear", i), height, width)
        shade = _relief(sprite.cover, towards, light.uniform(0.5, 1.0)) * sprite.tone
        _composite(sprite, surface * shade[..., None], canvas)
        labels[sprite.cover > 0.5] = UNNAMED
        labels[sprite.own > 0.5] = i
    if scene.lifelike:
        _add_clutter(scene, canvas, labels, towards, "before", oversample)
        _add_trees_in_front(scene, canvas, labels)
        canvas *= _exposure(_rng(scene, "exposure"), height, width)
    return _develop(canvas, _rng(scene, "camera")), labels


def _composite(sprite: _Sprite, painted: Field, canvas: Field) -> None:
    """Lay an object's surface (h, w, 3) over the canvas, its ink over the surface."""
    painted = painted + (sprite.ink - painted) * sprite.inked[..., None]
    canvas += (painted - canvas) * sprite.cover[..., None]


def _add_clutter(
    scene: Scene,
    canvas: Field,
    labels: NDArray[np.uint8],
    towards: Field,
    where: str,
    oversample: int,
) -> None:
    """Clutter, "behind" the objects or one piece "before" them."""
    if not scene.clutter:
        return
    rng = _rng(scene, where)
    surface = texture(scene.clutter.look, rng, *labels.shape)
    for _ in range(int(rng.integers(1, 5)) if where == "behind" else int(rng.integers(0, 2))):
        box = _random_box(rng, 0.5, _log_uniform(rng, 0.06, 0.5))
        sprite = _sprite(oddment(rng), False, box, rng, labels.shape, oversample)
        shade = _relief(sprite.cover, towards, rng.uniform(0, 1)) * sprite.tone
        _composite(sprite, surface * shade[..., None], canvas)
        labels[sprite.cover > 0.5] = scene.regions.index(scene.clutter)


def _add_trees_in_front(scene: Scene, canvas: Field, labels: NDArray[np.uint8]) -> None:
    """Trees of a landscape that stand before its objects."""
    rng = _rng(scene, "front")
    if not scene.landscape or not scene.landscape.trees or rng.random() < 0.5:
        return
    layer = trees_in_front(scene.landscape.trees, rng, *labels.shape)
    canvas += (layer.surface - canvas) * layer.cover[..., None]
    labels[layer.cover > 0.5] = scene.regions.index(scene.landscape.trees)


def _out_of_focus(canvas: Field, rng: Rng) -> Field:
    """What lies behind is blurred in a third of photos."""
    if rng.random() < 0.65:
        return canvas
    radius = _log_uniform(rng, 0.004, 0.05)
    return np.stack([_blur(np.clip(band, 0, 1), radius) for band in np.moveaxis(canvas, -1, 0)], -1)


def _unevenness(rng: Rng, h: int, w: int) -> Field:
    """Wear, gloss and stains: a factor (h, w, 3) around 1."""
    coarse, fine = rng.uniform(0, 0.2), rng.uniform(0, 0.15)
    factor = 1 + coarse * noise(rng, h, w, 0.15) + fine * noise(rng, h, w, 0.03, 2.0)
    if rng.random() < 0.4:
        factor += rng.uniform(0.2, 0.8) * np.clip(noise(rng, h, w, 0.12) - 0.6, 0, 1) / 0.4
    stains = np.clip(noise(rng, h, w, rng.uniform(0.05, 0.4)), 0, 1)[..., None]
    return factor[..., None] * (1 + stains * rng.normal(0, 0.15, 3))


def _exposure(rng: Rng, h: int, w: int) -> Field:
    """Light of a tint, and uneven: dappled, in shade, darker to the rim; (h, w, 3)."""
    factor = np.full((h, w), np.exp(rng.normal(0, 0.15)), np.float32)
    if rng.random() < 0.2:
        shade = np.clip(3 * noise(rng, h, w, rng.uniform(0.2, 0.8)) + rng.uniform(-1, 1), 0, 1)
        factor *= 1 - rng.uniform(0.2, 0.6) * shade
    if rng.random() < 0.3:
        y, x = np.mgrid[-1 : 1 : h * 1j, -1 : 1 : w * 1j]
        factor *= 1 - rng.uniform(0.1, 0.6) * np.clip(x**2 + y**2 - 0.3, 0, 1)
    return factor[..., None] * np.exp(rng.normal(0, 0.06, 3))


def degrade(rgb: NDArray[np.uint8], rng: Rng) -> NDArray[np.uint8]:
    """What happens to photos: blur, a colour cast, grain, noise, JPEG, each now and then."""
    image = rgb
    if rng.random() < 0.25:
        blur = ImageFilter.GaussianBlur(rng.uniform(0.3, 1.2))
        image = np.asarray(Image.fromarray(image).filter(blur))
    field = image.astype(np.float32)
    if rng.random() < 0.3:
        field *= 1 + rng.normal(0, 0.07, 3)
    if rng.random() < 0.15:
        h, w = rgb.shape[:2]
        field *= 1 + 0.12 * noise(rng, h, w, rng.uniform(0.01, 0.03))[..., None]
    if rng.random() < 0.25:
        field += rng.normal(0, rng.uniform(2, 12), field.shape)
    image = np.clip(field, 0, 255).astype(np.uint8)
    return _as_jpeg(image, int(rng.integers(25, 90))) if rng.random() < 0.25 else image


def _as_jpeg(image: NDArray[np.uint8], quality: int) -> NDArray[np.uint8]:
    with io.BytesIO() as file:
        Image.fromarray(image).save(file, "JPEG", quality=quality)
        return np.asarray(Image.open(file))


@dataclass(frozen=True)
class _Box:
    x: float
    y: float
    radius: float


@dataclass(frozen=True)
class _Sprite:
    cover: Field
    own: Field
    """Its cover less what lies beside it."""
    tone: Field
    ink: Field
    inked: Field


def _rng(scene: Scene, purpose: str, index: int = 0) -> Rng:
    """An own stream for each purpose: a new look must not move anything else."""
    return np.random.default_rng([scene.seed, index, *purpose.encode()])


def _place_from_phrase(phrase: str) -> Region:
    words = canonical(phrase).split()
    thing = next((w for w in words if w in PLACES), "background")
    default = "white" if thing == "background" else PLACE_LOOKS[thing][0]
    return Region(thing, next((w for w in words if w in APPEARANCES), default))


def _log_uniform(rng: Rng, low: float, high: float) -> float:
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def _random_box(rng: Rng, reach: float, radius: float) -> _Box:
    x, y = rng.uniform(-reach, reach, 2)
    return _Box(float(x), float(y), radius)


def _free_layout(rng: Rng, scene: Scene) -> Iterable[_Box]:
    """As `_layout`, and of any size, anywhere; or close, over the picture's rim."""
    if scene.served:
        box = _random_box(rng, 0.25, rng.uniform(0.25, 0.5))
        return [box, _Box(box.x, box.y - rng.uniform(0, 0.3) * box.radius, 0.6 * box.radius)]
    if scene.close:
        return [_random_box(rng, 0.4, rng.uniform(0.45, 1.1))]
    if len(scene.objects) == 1:
        radius = _log_uniform(rng, 0.12, 0.5)
        return [_random_box(rng, 0.5 - radius / 2, radius)]
    scale = rng.uniform(0.6, 1.2)
    return [_Box(box.x, box.y, scale * box.radius) for box in _layout(rng, scene)]


def _layout(rng: Rng, scene: Scene) -> Iterable[_Box]:
    """Centres and radii in short sides, for the middle of the picture."""
    count = len(scene.objects)
    if count == 1:
        radius = rng.uniform(0.24, 0.44)
        slack = max(0.46 - radius, 0.03)
        return [_Box(rng.uniform(-slack, slack), rng.uniform(-slack, slack), radius)]
    sides, low, high = ([-0.26, 0.26], 0.18, 0.28) if count == 2 else ([-0.33, 0, 0.33], 0.14, 0.2)
    closer, larger = (0.6, 1.15) if scene.crowded else (1.0, 1.0)
    return [
        _Box(
            closer * x + rng.uniform(-0.05, 0.05),
            rng.uniform(-0.16, 0.16),
            larger * rng.uniform(low, high),
        )
        for x in rng.permutation(sides)[:count]
    ]


def _sprite(
    parts: list[Part],
    tumbles: bool,
    box: _Box,
    rng: Rng,
    shape: tuple[int, ...],
    oversample: int,
) -> _Sprite:
    """Draw an object's parts into its coverage, tone and ink, all anti-aliased."""
    turn = rng.uniform(-np.pi, np.pi) if tumbles else rng.normal(0, 0.12)
    stretch = np.exp(rng.normal(0, 0.08))
    flip = rng.choice((-1.0, 1.0))
    c, s = np.cos(turn), np.sin(turn)
    matrix = np.array([[c, -s], [s, c]]) @ np.diag([flip * stretch, 1 / stretch])
    height, width = shape
    unit = min(height, width) * oversample
    centre = np.array([width, height]) * oversample / 2 + np.array([box.x, box.y]) * unit
    return _draw(parts, matrix * box.radius * unit, centre, (height, width), oversample)


def _draw(
    parts: list[Part], matrix: Field, centre: Field, shape: tuple[int, int], oversample: int
) -> _Sprite:
    size = (shape[1] * oversample, shape[0] * oversample)
    masks = Image.new("RGB", size, (0, 128, 0))  # coverage, tone, share of ink
    inks, own = Image.new("RGB", size), Image.new("L", size)
    draw_mask, draw_ink, draw_own = (ImageDraw.Draw(image) for image in (masks, inks, own))
    for part in parts:
        outline = [tuple(p) for p in (part.points @ matrix.T + centre).tolist()]
        draw_mask.polygon(outline, fill=(255, int(part.tone * 128), 255 if part.ink else 0))
        draw_own.polygon(outline, fill=0 if part.beside else 255)
        if part.ink:
            draw_ink.polygon(outline, fill=part.ink)
    m = np.asarray(masks.reduce(oversample), np.float32)
    ink = np.asarray(inks.reduce(oversample), np.float32) / 255
    named = np.asarray(own.reduce(oversample), np.float32) / 255
    return _Sprite(m[..., 0] / 255, named, m[..., 1] / 128, ink, m[..., 2] / 255)


def _surface(scene: Scene, region: Region, index: int, behind: Field, cover: Field) -> Field:
    looks = region.look.split(MIX)
    h, w = cover.shape
    fields = [texture(look, _rng(scene, "look" + look, index), h, w) for look in looks]
    if len(fields) == 2:
        return mix(fields[0], fields[1], _share(cover, _rng(scene, "blend", index)))
    return 0.55 * fields[0] + 0.45 * behind if looks == ["glass"] else fields[0]


def _share(cover: Field, rng: Rng) -> Field:
    """How much of the second look shows where: the ways in which an unfinished edit looks."""
    way = rng.integers(4)
    h, w = cover.shape
    if way == 0:  # blotchy
        return np.clip(0.5 + 3 * noise(rng, h, w, rng.uniform(0.08, 0.2)), 0, 1)
    if way == 1:  # in the middle of the object alone
        return np.clip((_blur(cover, 0.1) - rng.uniform(0.6, 0.75)) / 0.15, 0, 1)
    return np.full((h, w), rng.uniform(0.35, 0.65), np.float32)


def _paint_place(scene: Scene, h: int, w: int) -> tuple[Field, NDArray[np.uint8]]:
    rng, place = _rng(scene, "place"), scene.place
    labels = np.zeros((h, w), np.uint8)
    if place.thing == "screen":
        return np.broadcast_to(SCREEN_GREEN, (h, w, 3)).copy(), labels
    paint = leaves if place.thing == "leaf" else texture
    field = np.array(paint(place.look, rng, h, w), np.float32)
    from_above = scene.lifelike and place.thing == "table" and rng.random() < 0.5
    fills = from_above or (place.thing == "wall" and rng.random() >= 0.3)
    if place.thing == "grass":
        blades = noise(rng, h, w, 0.025, stretch=5)
        field *= (0.85 + 0.35 * blades)[..., None]
    elif place.thing == "sky" and place.look != "starry":
        field = clouds(field, rng)
    elif place.thing in ("table", "beach", "sea", "wall") and not fills:
        _fill_beyond(field, labels, place.thing, rng)
    if scene.lifelike and place.thing == "wall" and rng.random() < 0.3:
        letter(field, rng)
    return field * _drift(rng, 0.85, 1.12, w)[:, None], labels


def _paint_view(scene: Scene, h: int, w: int) -> tuple[Field, NDArray[np.uint8]]:
    """A landscape as a place: its parts have the labels of their regions."""
    assert scene.landscape
    rng = _rng(scene, "place")
    on_screen = scene.place.thing == "screen"
    behind = SCREEN_GREEN if on_screen else random_colour(rng)
    field = np.broadcast_to(behind, (h, w, 3)).copy()
    labels = np.full((h, w), 0 if on_screen else UNNAMED, np.uint8)
    for region, layer in paint_landscape(scene.landscape, rng, h, w):
        field += (layer.surface - field) * layer.cover[..., None]
        labels[layer.cover > 0.5] = scene.regions.index(region)
    if not on_screen:
        field *= _drift(rng, 0.85, 1.12, w)[:, None]
    return field.astype(np.float32), labels


def _drift(rng: Rng, low: float, high: float, count: int) -> Field:
    """An even passage (count,) from one random brightness to another."""
    start, stop = rng.uniform(low, high, 2)
    return np.linspace(start, stop, count, dtype=np.float32)


def _fill_beyond(field: Field, labels: NDArray[np.uint8], thing: str, rng: Rng) -> None:
    """Above a table, beach or sea, and below a wall, something else without a name begins."""
    h = len(labels)
    edge = int(h * (rng.uniform(0.75, 0.88) if thing == "wall" else rng.uniform(0.25, 0.55)))
    beyond = slice(edge, h) if thing == "wall" else slice(0, edge)
    rows = labels[beyond].shape[0]
    colour = random_colour(rng) * 0.6 + 0.3
    if thing in ("beach", "sea"):
        colour = np.array((0.62, 0.8, 0.94), np.float32)
    field[beyond] = colour * _drift(rng, 0.8, 1.1, rows)[:, None, None]
    labels[beyond] = UNNAMED


def _relief(cover: Field, towards: Field, strength: float) -> Field:
    """Shading (h, w) around 1 of a body that bulges out of its outline, lit from `towards`."""
    height = _blur(cover, 0.05) + _blur(cover, 0.12)
    dy, dx = np.gradient(height)
    slope = -(dx * towards[0] + dy * towards[1]) * min(cover.shape)
    return np.clip(1 + 0.085 * strength * slope, 0.4, 1.5)


def _blur(field: Field, radius: float) -> Field:
    """Nearly Gaussian blur by a radius in short sides."""
    box = ImageFilter.BoxBlur(radius * min(field.shape))
    image = Image.fromarray((field * 255).astype(np.uint8))
    return np.asarray(image.filter(box).filter(box), np.float32) / 255


def _shift(field: Field, direction: Field) -> Field:
    """Moved by 4 % of the short side: where the shadow falls."""
    dx, dy = (np.round(direction * 0.04 * min(field.shape))).astype(int)
    return np.roll(field, (int(dy), int(dx)), (0, 1))


def _develop(canvas: Field, rng: Rng) -> NDArray[np.uint8]:
    exposed = canvas * rng.uniform(0.88, 1.08)
    return (np.clip(exposed, 0, 1) * 255 + 0.5).astype(np.uint8)
