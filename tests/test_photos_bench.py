"""The outlines of bench/photos.py: how they become masks, and that its lines point at them."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import text2live_cli
from text2live_cli.errors import UsageError
from text2live_cli.guide.swatch.vocabulary import unknown_words
from text2live_cli.media.picture_writing import write_picture

BENCH = Path(__file__).parents[1] / "bench"
if not (BENCH / "outlines").is_dir():
    pytest.skip("no bench beside the tests", allow_module_level=True)
sys.path.insert(0, str(BENCH))
import photos  # noqa: E402
from outline import Outline, fill, make_outline, read_outline  # noqa: E402
from photo_lines import LINES, Line  # noqa: E402

sys.path.remove(str(BENCH))

SQUARE = [[2, 3], [8, 3], [8, 9], [2, 9]]


def test_pixels_of_a_square_are_those_between_its_corners() -> None:
    inside = fill([SQUARE], 12, 10)
    truth = np.zeros((10, 12), bool)
    truth[3:9, 2:8] = True
    np.testing.assert_array_equal(inside, truth)


def test_area_of_a_triangle_and_of_what_lies_beyond_the_picture() -> None:
    assert fill([[[0, 0], [100, 0], [0, 60]]], 100, 60).sum() == pytest.approx(3000, rel=0.01)
    assert fill([[[-50, -50], [50, -50], [50, 50], [-50, 50]]], 80, 80).sum() == 2500


def test_half_of_a_pixel_counts_and_less_does_not() -> None:
    assert fill([[[2, 2], [4.75, 2], [4.75, 4], [2, 4]]], 8, 8).sum() == 6
    assert fill([[[2, 2], [4.25, 2], [4.25, 4], [2, 4]]], 8, 8).sum() == 4


def _outlines() -> dict:
    return {
        "size": [12, 10],
        "objects": {
            "ring": {"polygons": [SQUARE], "holes": [[[4, 5], [6, 5], [6, 7], [4, 7]]]},
            "wall": {"polygons": [[[0, 0], [12, 0], [12, 10], [0, 10]]], "minus": ["ring"]},
            "lamp": {"polygons": [[[9, 0], [12, 0], [12, 2], [9, 2]]], "doubt": ["ring"]},
        },
    }


def test_holes_are_left_out_and_belong_to_what_lies_behind() -> None:
    ring = make_outline(_outlines(), ("ring",)).inside
    wall = make_outline(_outlines(), ("wall",)).inside
    assert ring.sum() == 36 - 4
    assert not ring[5, 4] and wall[5, 4]
    np.testing.assert_array_equal(wall, ~ring)
    assert make_outline(_outlines(), ("ring", "wall")).inside.all()


def test_doubtful_pixels_count_neither_way() -> None:
    lamp = make_outline(_outlines(), ("lamp",))
    everything_of_both = make_outline(_outlines(), ("ring", "lamp")).inside
    assert lamp.overlap(lamp.inside) == 1.0
    assert lamp.overlap(everything_of_both) == 1.0
    assert lamp.outside.sum() == 120 - 32 - 6
    assert lamp.overlap(np.ones((10, 12), bool)) == pytest.approx(6 / (120 - 32))


def test_bounds_and_rim() -> None:
    outline = Outline(fill([SQUARE], 12, 10), np.ones((10, 12), bool))
    assert outline.bounds() == (2, 3, 8, 9)
    assert outline.rim().sum() == 36 - 16


@pytest.mark.parametrize("line", LINES, ids=lambda line: line.title)
def test_every_line_points_at_its_object(line: Line) -> None:
    outline = read_outline(line.picture, line.things)
    assert outline.inside.mean() > 0.002
    assert line.box or line.points
    assert len(line.points) <= 3
    if line.box:
        left, top, width, height = map(int, line.box.split(","))
        boxed = np.zeros_like(outline.inside)
        boxed[top : top + height, left : left + width] = True
        assert (outline.inside & ~boxed).sum() <= 0.01 * outline.inside.sum()
        assert boxed.sum() < 0.95 * boxed.size
    for points, there in ((line.points, True), (line.not_points, False)):
        for point in points:
            x, y = map(int, point.split(","))
            assert outline.inside[y, x] == there, point


def test_halves_are_balanced_and_every_picture_is_in_both() -> None:
    halves = {half: [line for line in LINES if line.half == half] for half in ("choose", "report")}
    assert sum(map(len, halves.values())) == len(LINES) >= 24
    assert abs(len(halves["choose"]) - len(halves["report"])) <= 2
    pictures = {line.picture for line in LINES}
    assert len(pictures) == 12
    for lines in halves.values():
        assert {line.picture for line in lines} == pictures
    assert len({line.title for line in LINES}) == len(LINES)


def test_what_the_readme_shows_is_only_reported_on() -> None:
    shown = {"golden cup", "icy flower", "leopard cat", "golden house"}
    assert {line.prompt: line.half for line in LINES if line.prompt in shown} == dict.fromkeys(
        shown, "report"
    )


def test_lines_say_truly_whether_the_encoder_has_a_word() -> None:
    for line in LINES:
        assert line.known == (not unknown_words(line.word)), line.title


CUP = Line("cup", "golden cup", ("cup",), "choose", box="2,3,6,6", alike=("other cup",))
JUDGE = SimpleNamespace(score=lambda rgb, prompt: rgb.mean() / 255)


def _cup_outline(width: int = 12, height: int = 10) -> Outline:
    return Outline(fill([SQUARE], width, height), np.ones((height, width), bool))


def test_figures_of_an_edit_that_spills_over() -> None:
    source = np.full((10, 12, 3), 100, np.uint8)
    made, edited = source.copy(), np.zeros((10, 12), np.uint8)
    made[3:9, 2:8] = 220
    made[0, :4] = 220
    edited[3:9, 2:11] = 255
    outcome = photos.Outcome(CUP, "box", source, edited, edited, made, 2.0)
    figures = photos.measure(outcome, _cup_outline(), JUDGE)
    assert figures["region"] == figures["alpha"] == pytest.approx(36 / 54)
    assert figures["equal"] == pytest.approx(80 / 84)
    assert figures["inside"] == pytest.approx(figures["outside"] * 84 / 4, rel=1e-6)
    assert figures["inside"] > photos.VISIBLE
    assert figures["judge_after"] > figures["judge_before"] == pytest.approx(100 / 255)


def test_the_judge_sees_the_object_also_at_the_picture_s_edge() -> None:
    rows, columns = np.mgrid[:40, :60]
    picture = np.dstack([rows, columns, rows]).astype(np.uint8)
    outline = Outline(fill([[[50, 10], [60, 10], [60, 20], [50, 20]]], 60, 40), np.ones((40, 60)))
    seen = photos.closeup(picture, outline)
    assert seen.shape == (12, 12, 3)
    assert (seen[0, 0, :2].tolist(), seen[-1, -1, :2].tolist()) == ([9, 48], [20, 59])


def test_the_text_alone_is_measured_without_box_and_with_what_looks_alike(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_picture(tmp_path / "cup.png", np.zeros((20, 24, 3), np.uint8))
    asked = []

    def find_region(picture: Path, text: str, **hints: object) -> SimpleNamespace:
        asked.append((text, hints))
        return SimpleNamespace(target=np.full((20, 24), 0.75, np.float32))

    monkeypatch.setattr(text2live_cli, "find_region", find_region, raising=False)
    for way in photos.WAYS:
        outcome = photos.run((CUP, way), tmp_path, True, {})
        assert (outcome.region == 191).all()
        figures = photos.measure(outcome, _cup_outline(24, 20), None)
        assert figures["region"] == pytest.approx(36 / 480)
        assert np.isnan(figures["alpha"]) and np.isnan(figures["inside"])
    assert asked == [
        ("cup", {"clip": "swatch"}),
        ("cup", {"clip": "swatch", "box": "2,3,6,6", "points": (), "not_points": ()}),
    ]
    assert CUP.meant("text") == ("cup", "other cup") and CUP.meant("box") == ("cup",)


def test_a_refused_edit_counts_as_one_that_changed_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_picture(tmp_path / "cup.png", np.zeros((20, 24, 3), np.uint8))

    def refuse(*_: object, **__: object) -> None:
        raise UsageError("the region is empty")

    monkeypatch.setattr(text2live_cli, "edit_image", refuse, raising=False)
    outcome = photos.run((CUP, "box"), tmp_path, False, {"steps": 3})
    figures = photos.measure(outcome, _cup_outline(24, 20), JUDGE)
    assert figures["failure"] == "the region is empty"
    assert (figures["region"], figures["inside"], figures["equal"]) == (0.0, 0.0, 1.0)


def test_overrides_are_numbers_where_they_look_like_it() -> None:
    assert photos.parse_override("steps=80") == ("steps", 80)
    assert photos.parse_override("lambda_form=0.5") == ("lambda_form", 0.5)
    assert photos.parse_override("region=paper") == ("region", "paper")
    with pytest.raises(photos.argparse.ArgumentTypeError, match="NAME=VALUE"):
        photos.parse_override("steps")
