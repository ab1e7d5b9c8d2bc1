"""Silhouettes as photos show them: seen from above or close, with more parts and more variety.

Beside those of `shapes.py`, which the scenes of other benches and of tests are painted with.
"""

from __future__ import annotations

from swatch_training import grown, made, people
from swatch_training.outlines import Part, Rng
from swatch_training.shapes import RECIPES, Recipe


def recipe(thing: str, rng: Rng) -> list[Part]:
    """One of the ways in which a thing is seen, or the plain one."""
    ways = _WAYS.get(thing, ())
    if not ways or rng.random() < 0.3:
        return RECIPES[thing](rng)
    return ways[int(rng.integers(len(ways)))](rng)


_WAYS: dict[str, tuple[Recipe, ...]] = {
    "cup": (made.cup_from_above, made.cup_from_above, made.mug),
    "cat": (grown.cat_face, grown.cat_face, grown.cat_lying),
    "rocket": (made.tall_rocket,),
    "house": (made.storeys,),
    "flower": (grown.full_flower, grown.tulip),
    "car": (made.boxy_car, made.boxy_car, made.car_from_ahead),
    "hat": (made.cap, made.woolly_hat),
    "tree": (grown.ragged_tree,),
    "leaf": (grown.sprig, grown.wide_leaf),
    "boat": (made.ship,),
    "bird": (grown.flying_bird,),
    "cake": (made.cake_slice,),
    "person": (people.figure, people.portrait),
}
