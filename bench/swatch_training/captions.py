"""Sentences about painted scenes, and the exact table of which sentence is true of which scene.

A caption is four numbers (thing, look, place thing, place look): some region is that thing with
that look, and the place is such; `ANY` asks nothing. A scene is an array (R, 2) of (thing, look)
for each region, the place first; `NOTHING` fills what is absent and matches no caption.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from swatch_training.scene import MIX, Scene, left_out
from text2live_cli.guide.swatch.vocabulary import APPEARANCES, OBJECTS, THINGS

ANY, NOTHING = -1, -2
MAX_REGIONS = 10  # a landscape of seven parts with two objects, and clutter
SceneCode = NDArray[np.int16]
Rng = np.random.Generator

TEMPLATES = (
    "photo of {}.", "high quality photo of {}.", "a photo of {}.", "the photo of {}.",
    "image of {}.", "an image of {}.", "high quality image of {}.", "a high quality image of {}.",
    "the {}.", "a {}.", "{}.", "{}", "{}!", "{}...",
)  # fmt: skip
SCREEN_TEMPLATES = ("{} over a green screen.", "{} in front of a green screen.")
_PLACE_FORMS = {
    "background": ("{} on a {}background", "{} on {}"),
    "table": ("{} on a {}table", "{} on the {}table"),
    "wall": ("{} in front of a {}wall", "{} by a {}wall"),
    "sky": ("{} in the {}sky", "{} against the {}sky"),
    "grass": ("{} on {}grass", "{} on the {}grass"),
    "beach": ("{} on a {}beach", "{} on the {}beach"),
    "sea": ("{} in the {}sea", "{} on the {}sea"),
    "road": ("{} on a {}road", "{} on the {}road"),
    "leaf": ("{} on a {}leaf", "{} in front of {}leaves"),
}
_SCREEN, _BACKGROUND = THINGS.index("screen"), THINGS.index("background")


class Caption(NamedTuple):
    """What a sentence claims, as indices of THINGS and APPEARANCES or `ANY`."""

    thing: int = ANY
    look: int = ANY
    place: int = ANY
    place_look: int = ANY


BANK: tuple[Caption, ...] = (
    *(Caption(thing=i) for i in range(len(THINGS))),
    *(Caption(look=i) for i in range(len(APPEARANCES))),
)
"""Every concept alone: negatives and positives that each training step contains."""


def encode_scene(scene: Scene) -> SceneCode:
    """Indices (MAX_REGIONS, 2) of each region's thing and look."""
    code = np.full((MAX_REGIONS, 2), NOTHING, np.int16)
    for row, region in zip(code, scene.regions, strict=False):
        blended = MIX in region.look
        row[:] = THINGS.index(region.thing), NOTHING if blended else APPEARANCES.index(region.look)
    return code


def truth(captions: torch.Tensor, scenes: torch.Tensor) -> torch.Tensor:
    """Which of the captions (C, 4) are true of each region of the scenes (B, R, 2): (B, R, C).

    A caption is true of a picture where it is true of any of its regions.
    """
    subject = _matches(captions[:, :2], scenes[:, :, None])
    place = _matches(captions[:, 2:], scenes[:, :1, None])
    return subject & place


def sentence(caption: Caption, rng: Rng) -> str:
    """Put a caption into words, in one of the forms that prompts take."""
    words = [APPEARANCES[caption.look]] if caption.look != ANY else []
    words += [THINGS[caption.thing]] if caption.thing != ANY else []
    subject = " ".join(words)
    if caption.place == _SCREEN:
        return str(rng.choice(SCREEN_TEMPLATES)).format(subject)
    if caption.place != ANY:
        look = f"{APPEARANCES[caption.place_look]} " if caption.place_look != ANY else ""
        forms = _PLACE_FORMS[THINGS[caption.place]][: 2 if look else 1]
        subject = " ".join(str(rng.choice(forms)).format(subject, look).split())
    return str(rng.choice(TEMPLATES)).format(subject)


def describe(code: SceneCode, rng: Rng) -> list[Caption]:
    """Two captions for a scene: a true one and, nearly always, a closely related false one."""
    place, others = code[0], code[1:]
    objects = others[(others[:, 0] != NOTHING) & (others[:, 0] != _BACKGROUND)]
    if not len(objects):
        other = int(rng.integers(len(APPEARANCES)))
        return [Caption(int(place[0]), int(place[1])), Caption(int(place[0]), other)]
    thing, look = (int(v) for v in objects[rng.integers(len(objects))])
    look = ANY if look == NOTHING else look
    where = _place_claim(place, rng)
    return [Caption(thing, look, *where), _tempting(thing, look, code, rng)]


def _place_claim(place: NDArray[np.int16], rng: Rng) -> tuple[int, int]:
    draw = rng.random()
    if draw < 0.5:
        return ANY, ANY
    if place[0] == _SCREEN or (draw < 0.6 and THINGS[place[0]] != "background"):
        return int(place[0]), ANY
    return int(place[0]), int(place[1])


def _tempting(thing: int, look: int, code: SceneCode, rng: Rng) -> Caption:
    """The object with a look that belongs elsewhere in the picture, or to no part of it."""
    place = code[0]
    false = [v for v in range(len(APPEARANCES)) if v != look and not _left_out(thing, v)]
    seen = [int(v) for v in code[:, 1] if v in false]
    draw = rng.random()
    if draw < 0.3 and place[1] in false and place[0] != _SCREEN:
        swapped = look if rng.random() < 0.5 and not _left_out(int(place[0]), look) else ANY
        return Caption(thing, int(place[1]), int(place[0]), swapped)
    return Caption(thing, int(rng.choice(seen if draw < 0.6 and seen else false)))


def _left_out(thing: int, look: int) -> bool:
    return thing < len(OBJECTS) and left_out(OBJECTS[thing], APPEARANCES[look])


def _matches(claims: torch.Tensor, facts: torch.Tensor) -> torch.Tensor:
    return ((claims == ANY) | (claims == facts)).all(-1)
