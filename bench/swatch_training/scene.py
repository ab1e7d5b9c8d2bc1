"""What a painted scene shows: regions that are things with looks, drawn at random from a seed."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

from swatch_training.fields import Rng
from text2live_cli.guide.swatch.vocabulary import (
    APPEARANCES,
    COLOURS,
    LOOKS,
    OBJECTS,
)

UNNAMED = 255
"""Label of pixels that no caption speaks of (the wall behind a table)."""
MIX = "+"
"""Joins two looks that are blended on one object: a look that no caption is true of."""


@dataclass(frozen=True)
class PainterSettings:
    """What a training set is made of, as shares; the defaults are those of `swatch`."""

    landscapes: float = 0.35
    """Scenes that are landscapes; `counts`, `crowded` and `backgrounds` are of the others."""
    counts: tuple[float, ...] = (0.1, 0.6, 0.22, 0.08)
    """Scenes of 0, 1, 2 and 3 objects."""
    crowded: float = 0.3
    """Scenes whose objects stand close and hide parts of one another."""
    screens: float = 0.17
    """Scenes before the green screen (of landscapes: one part alone)."""
    backgrounds: float = 0.4
    """Places that are a mere background, of which half are plain."""
    plain: float = 0.3
    """Plain colours among the looks."""
    mixed: float = 0.12
    """Objects that bear two looks at once: see `MIX`."""
    lifelike: float = 0.6
    """Scenes as photos are: see `lifelike.py`."""
    close: float = 0.25
    """Lifelike scenes of one object that reaches over the picture's rim."""
    cluttered: float = 0.4
    """Lifelike scenes with things about that have no name."""
    courts: float = 0.12
    """Lifelike landscapes whose ground is one for games, and has no name."""


_SWATCH = PainterSettings()

PLACE_LOOKS: dict[str, tuple[str, ...]] = {
    "background": APPEARANCES,
    "table": ("wooden", "marble", "stone", "glass", "checkered", "white", "grey", "brown", "black"),
    "wall": ("brick", "stone", "wooden", "white", "yellow", "blue", "pink", "mosaic", "grey"),
    "sky": ("blue", "starry", "grey", "orange"),
    "grass": ("green",),
    "beach": ("sandy",),
    "sea": ("watery",),
    "road": ("grey",),
    "mountain": ("stone",),
    "leaf": ("green", "green", "green", "green", "green", "brown", "orange", "yellow", "red"),
    "screen": ("green",),
}
"""How places look in a scene that is no landscape; the first is what they look like unasked."""
_FLAT = ("table", "wall", "sky", "grass", "beach", "sea")
_LIFELIKE_PLACES = (
    "table", "table", "wall", "wall", "leaf", "leaf", "sky", "grass", "beach", "sea",
)  # fmt: skip
"""Places of a lifelike scene; leaves are one, behind flowers and fruit."""
_GROUNDS = {"grass": 0.6, "beach": 0.13, "sea": 0.13, "road": 0.14}
_IN_NATURE: dict[str, tuple[str, ...]] = {
    "sky": ("blue", "blue", "grey", "white", "orange", "starry"),
    "mountain": ("stone", "grey", "grey", "snowy", "blue", "brown"),
    "tree": ("green",),
    "grass": ("green",),
    "beach": ("sandy",),
    "sea": ("watery",),
    "road": ("grey", "grey", "grey", "black", "sandy", "brown", "stone"),
    "wall": ("brick", "stone", "white", "yellow", "grey", "blue", "green", "wooden"),
}
"""How the parts of a landscape mostly look."""
_NATURAL: dict[str, tuple[str, ...]] = {
    "cup": ("white", "red", "blue", "brown", "grey", "black"),
    "car": ("grey", "silver", "white", "black", "red", "blue"),
    "house": ("white", "red", "brick", "wooden", "stone", "yellow", "brown", "grey"),
    "tree": ("green", "green", "green", "green", "orange"),
    "leaf": ("green", "green", "green", "brown", "orange"),
    "cat": ("brown", "orange", "grey", "black", "white", "brown"),
    "bird": ("brown", "grey", "black", "white", "blue"),
    "fish": ("orange", "silver", "grey"),
    "boat": ("white", "wooden", "blue", "brown"),
    "rocket": ("white", "white", "grey", "silver"),
    "chair": ("wooden", "brown", "white", "black"),
    "vase": ("white", "glass", "blue", "brown"),
    "bottle": ("green", "glass", "brown"),
    "cake": ("chocolate", "white", "brown", "pink"),
    "mushroom": ("brown", "white", "red"),
    "apple": ("red", "green", "yellow"),
    "pear": ("green", "yellow"),
    "box": ("brown", "white", "wooden"),
    "plate": ("white", "white", "blue", "brown", "red"),
}
"""How objects mostly look in photos; those that are not here, in any plain colour."""
_SERVED = (["cup"], ["cake"], ["apple"], ["pear"])
"""Objects that stand on a plate, where they are alone."""
_COURTS = ("orange", "brown", "red", "blue", "grey", "sandy", "wooden")
"""Grounds that games are played on."""
_ODD = (*COLOURS, "grey", "grey", "grey", "black", "white", "silver", "wooden")
"""How clutter looks."""


@dataclass(frozen=True)
class Region:
    """What one region is, and how it looks (two looks joined by `MIX`: a blend)."""

    thing: str
    look: str


SCREEN = Region("screen", "green")


@dataclass(frozen=True)
class Landscape:
    """The parts of a view into the distance, back to front; what is absent shows none of it."""

    sky: Region | None = None
    mountains: Region | None = None
    water: Region | None = None
    """A lake or the sea beyond the ground."""
    trees: Region | None = None
    wall: Region | None = None
    ground: Region | None = None
    road: Region | None = None

    @property
    def parts(self) -> dict[str, Region]:
        """The parts that there are, by name, back to front."""
        named = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: region for name, region in named.items() if region}


@dataclass(frozen=True)
class Scene:
    """The objects, back to front, their place, and the seed of all that is left open.

    In a landscape the place is its ground, or the green screen behind its only part.
    """

    objects: tuple[Region, ...]
    place: Region
    seed: int
    crowded: bool = False
    landscape: Landscape | None = None
    lifelike: bool = False
    """Painted as in a photo: other silhouettes, soft or uneven places, any size and position."""
    close: bool = False
    """The object reaches over the picture's rim."""
    served: bool = False
    """The second object stands on the first, a plate."""
    clutter: Region | None = None
    """What lies about and has no name of its own: background, as a region."""

    @property
    def regions(self) -> tuple[Region, ...]:
        """The place (label 0), the objects (labels 1, 2, ...), the rest of a landscape, clutter."""
        parts = self.landscape.parts.values() if self.landscape else ()
        others = tuple(part for part in parts if part != self.place)
        return (self.place, *self.objects, *others, *((self.clutter,) if self.clutter else ()))


def left_out(thing: str, look: str) -> bool:
    """Whether an object is never shown, nor spoken of, with this look in training.

    55 of the 1260 pairs, spread evenly; how the encoder judges them shows whether it has learned
    objects and looks, or pairs.
    """
    return (11 * OBJECTS.index(thing) + 4 * APPEARANCES.index(look)) % 23 == 1


def random_scene(rng: Rng, settings: PainterSettings = _SWATCH) -> Scene:
    """A scene as the encoder is trained on: up to three objects in any place, or a landscape."""
    lifelike = bool(settings.lifelike) and bool(rng.random() < settings.lifelike)
    if settings.landscapes and rng.random() < settings.landscapes:
        scene = _random_landscape(rng, settings)
    else:
        scene = _random_view(rng, settings, _LIFELIKE_PLACES if lifelike else _FLAT)
    return _as_in_photos(rng, settings, scene) if lifelike else scene


def _as_in_photos(rng: Rng, settings: PainterSettings, scene: Scene) -> Scene:
    """With objects that look natural, or are close, or on a plate, and with what lies about."""
    if scene.landscape and scene.place != SCREEN and rng.random() < settings.courts:
        ground = Region("background", str(rng.choice(_COURTS)))
        scene = replace(scene, place=ground, landscape=replace(scene.landscape, ground=ground))
    objects = _dressed(rng, scene.objects, {region.look for region in scene.regions})
    served = [o.thing for o in objects] in _SERVED and bool(rng.random() < 0.5)
    if served:
        (thing,) = objects
        alike = rng.random() < 0.4 and MIX not in thing.look and not left_out("plate", thing.look)
        objects = (Region("plate", thing.look if alike else "white"), thing)
    close = len(objects) == 1 and bool(rng.random() < settings.close)
    clutter = None
    if scene.place != SCREEN and rng.random() < settings.cluttered:
        clutter = Region("background", str(rng.choice(_ODD)))
    return replace(
        scene, objects=objects, lifelike=True, close=close, served=served, clutter=clutter
    )


def _dressed(rng: Rng, objects: tuple[Region, ...], taken: set[str]) -> tuple[Region, ...]:
    """Half of the objects in their natural looks, where no other region looks the same."""
    dressed = []
    for region in objects:
        look = str(rng.choice(_NATURAL.get(region.thing, COLOURS)))
        if rng.random() < 0.5 and look not in taken and not left_out(region.thing, look):
            taken = taken | {look}
            region = replace(region, look=look)
        dressed.append(region)
    return tuple(dressed)


def _random_view(rng: Rng, settings: PainterSettings, places: tuple[str, ...]) -> Scene:
    """Objects before one place, which is no landscape."""
    count = int(rng.choice(len(settings.counts), p=settings.counts))
    place = _random_place(rng, settings, places)
    if not count:
        place = Region("background", _random_look(rng, settings))
    objects = _random_objects(rng, settings, count, [place])
    crowded = bool(rng.random() < settings.crowded)
    return Scene(objects, place, int(rng.integers(2**31)), crowded)


def _random_objects(
    rng: Rng, settings: PainterSettings, count: int, others: list[Region]
) -> tuple[Region, ...]:
    """Objects that share neither name nor look with one another, nor with the other regions."""
    objects: list[Region] = []
    while len(objects) < count:
        region = Region(str(rng.choice(OBJECTS)), _random_look(rng, settings, settings.mixed))
        taken = {word for o in (*others, *objects) for word in (o.thing, o.look)}
        if taken & {region.thing, region.look}:
            continue
        if not any(left_out(region.thing, look) for look in region.look.split(MIX)):
            objects.append(region)
    return tuple(objects)


def _random_landscape(rng: Rng, settings: PainterSettings) -> Scene:
    """Ground under a sky or before trees; now and then one part alone, on the green screen."""
    kind = str(rng.choice(list(_GROUNDS), p=list(_GROUNDS.values())))
    landscape = Landscape(
        sky=_part(rng, settings, 0.8, "sky"),
        mountains=_part(rng, settings, 0.35, "mountain"),
        water=_part(rng, settings, 0 if kind in ("sea", "beach") else 0.2, "sea"),
        trees=_part(rng, settings, 0.65, "tree"),
        wall=_part(rng, settings, 0.15, "wall"),
        ground=_part(rng, settings, 1, kind),
        road=_part(rng, settings, 0 if kind == "road" else 0.4, "road"),
    )
    seed, count = int(rng.integers(2**31)), int(rng.choice(3, p=(0.5, 0.35, 0.15)))
    if rng.random() < settings.screens:
        name = str(rng.choice([name for name in landscape.parts if name != "sky"]))
        return Scene((), SCREEN, seed, landscape=Landscape(**{name: landscape.parts[name]}))
    assert landscape.ground
    objects = _random_objects(rng, settings, count, list(landscape.parts.values()))
    return Scene(objects, landscape.ground, seed, landscape=landscape)


def _part(rng: Rng, settings: PainterSettings, share: float, thing: str) -> Region | None:
    """A part of a landscape, if there is one: mostly as in nature, a third in any look."""
    if rng.random() >= share:
        return None
    looks = _IN_NATURE[thing]
    look = str(rng.choice(looks)) if rng.random() < 2 / 3 else _random_look(rng, settings)
    if thing in OBJECTS and left_out(thing, look):
        look = looks[0]
    return Region(thing, look)


def _random_look(rng: Rng, settings: PainterSettings, mixed: float = 0.0) -> str:
    if rng.random() < mixed:
        return MIX.join(rng.choice(APPEARANCES, 2, replace=False))
    return str(rng.choice(COLOURS if rng.random() < settings.plain else LOOKS))


def _random_place(rng: Rng, settings: PainterSettings, places: tuple[str, ...]) -> Region:
    draw = rng.random()
    if draw < settings.screens:
        return SCREEN
    if draw < settings.screens + settings.backgrounds:
        textured = rng.random() < 0.5
        look = _random_look(rng, settings) if textured else str(rng.choice(COLOURS))
        return Region("background", look)
    thing = str(rng.choice(places))
    return Region(thing, str(rng.choice(PLACE_LOOKS[thing])))
