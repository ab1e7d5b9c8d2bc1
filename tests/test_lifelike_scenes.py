"""Painted scenes as photos are: what is labelled as what, and what another look leaves alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from swatch_training.captions import describe, encode_scene
from swatch_training.clutter import lettering, oddment
from swatch_training.lifelike import recipe
from swatch_training.painter import paint
from swatch_training.scene import (
    MIX,
    SCREEN,
    UNNAMED,
    PainterSettings,
    Region,
    Scene,
    left_out,
    random_scene,
)

from text2live_cli.guide.swatch.vocabulary import OBJECTS, THINGS

LIFELIKE = PainterSettings(lifelike=1)


def _scenes(count: int, settings: PainterSettings = LIFELIKE, seed: int = 3) -> list[Scene]:
    rng = np.random.default_rng(seed)
    return [random_scene(rng, settings) for _ in range(count)]


@pytest.mark.parametrize("thing", OBJECTS)
def test_every_object_has_outlines_about_its_square(thing: str) -> None:
    rng = np.random.default_rng(1)
    for _ in range(12):
        parts = [part for part in recipe(thing, rng) if not part.beside]
        points = np.concatenate([part.points for part in parts])
        assert np.abs(points).max() < 2.1, "of its square from -1 to 1"
        assert np.ptp(points, axis=0).min() > 0.1 and np.ptp(points, axis=0).max() > 1


def test_labels_are_of_regions_and_clutter_is_background() -> None:
    seen = 0
    for scene in _scenes(80):
        _, labels = paint(scene, 48, 48)
        assert set(np.unique(labels)) <= {*range(len(scene.regions)), UNNAMED}
        if scene.clutter:
            assert scene.clutter.thing == "background" and MIX not in scene.clutter.look
            seen += int((labels == scene.regions.index(scene.clutter)).any())
    assert seen > 10


def test_another_look_of_an_object_moves_nothing() -> None:
    for seed in range(8):
        scene = Scene(
            (Region("cat", "brown"),), Region("wall", "brick"), seed, lifelike=True, close=seed > 4,
            clutter=Region("background", "grey"),
        )  # fmt: skip
        before, labels = paint(scene, 60, 90)
        after, same = paint(replace(scene, objects=(Region("cat", "golden"),)), 60, 90)
        np.testing.assert_array_equal(labels, same)
        changed = (before != after).any(-1)
        assert changed[labels == 1].mean() > 0.3 and changed[labels == 0].mean() < 0.15


def test_what_is_beside_an_object_has_no_label() -> None:
    scene = Scene((Region("flower", "red"),), SCREEN, 0, lifelike=True)
    labels = [paint(replace(scene, seed=seed), 64, 64)[1] for seed in range(30)]
    assert any((one == UNNAMED).any() for one in labels), "the stem of a tulip"
    cup = replace(scene, objects=(Region("cup", "red"),))
    assert not any((paint(replace(cup, seed=s), 64, 64)[1] == UNNAMED).any() for s in range(30))


def test_what_is_served_stands_on_its_plate() -> None:
    scene = Scene(
        (Region("plate", "white"), Region("cup", "red")), Region("table", "wooden"), 0,
        lifelike=True, served=True,
    )  # fmt: skip
    for seed in range(10):
        _, labels = paint(replace(scene, seed=seed), 80, 80)
        plate, cup = (np.argwhere(labels == label) for label in (1, 2))
        assert len(cup) > 40 and np.abs(plate.mean(0) - cup.mean(0)).max() < 20
    assert any(scene.served for scene in _scenes(300))


def test_left_out_pairs_stay_so_in_natural_looks_and_on_plates() -> None:
    regions = {region for scene in _scenes(1500) for region in scene.objects}
    assert not any(left_out(r.thing, look) for r in regions for look in r.look.split(MIX))


def test_clutter_is_never_what_a_caption_is_about() -> None:
    rng = np.random.default_rng(2)
    for scene in _scenes(300):
        if scene.clutter and scene.objects:
            about = {THINGS[claim.thing] for claim in describe(encode_scene(scene), rng)}
            assert "background" not in about


def test_the_judges_scenes_are_not_lifelike() -> None:
    assert not any(scene.lifelike for scene in _scenes(100, PainterSettings(lifelike=0)))


def test_oddments_and_letters_are_drawn() -> None:
    rng = np.random.default_rng(0)
    assert all(part.ink is None for _ in range(20) for part in oddment(rng))
    for left, top, right, bottom in lettering(rng, 90, 120):
        assert right > left and bottom > top


def test_a_court_is_ground_without_a_name() -> None:
    courts = [
        scene
        for scene in _scenes(60, replace(LIFELIKE, landscapes=1, screens=0, courts=1))
        if scene.landscape and not scene.objects
    ]
    assert len(courts) > 10
    for scene in courts:
        assert scene.place.thing == "background" and scene.place is scene.landscape.ground
        assert THINGS[encode_scene(scene)[0][0]] == "background"
        assert (paint(scene, 64, 64)[1] == 0).any()
