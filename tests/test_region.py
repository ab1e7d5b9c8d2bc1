"""The region of an edit: what users say, cut-outs, limits, and that they reach the training."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from swatch_training.painter import paint_scene

from tests.commands import one_line, passed, run
from text2live_cli.config import DatasetSettings
from text2live_cli.engine import losses
from text2live_cli.engine.delivery import snap_alpha
from text2live_cli.engine.internal_dataset import Example, InternalDataset
from text2live_cli.engine.losses import form_loss
from text2live_cli.errors import Text2LiveError, UsageError
from text2live_cli.guide import matting, region
from text2live_cli.guide.clip import load_guide
from text2live_cli.guide.cut_out import CutOut
from text2live_cli.guide.hints import (
    Box,
    Hints,
    Point,
    parse_hints,
)
from text2live_cli.guide.matting import matted
from text2live_cli.guide.picture_region import dimmed, resolve_region, text_region
from text2live_cli.guide.region import (
    TextMap,
    region_from_hints,
    region_from_mask,
    region_from_text,
    with_outside,
)
from text2live_cli.guide.relevancy import averaged_relevancy, make_query, relevancy_map
from text2live_cli.media.picture_writing import write_picture
from text2live_cli.media.pictures import read_picture
from text2live_cli.pipelines.region import find_region
from text2live_cli.progress import Silent

SIZE = (200, 280)


def iou(found: np.ndarray, true: np.ndarray) -> float:
    return float((found & true).sum() / (found | true).sum())


def disc_picture() -> tuple[np.ndarray, np.ndarray]:
    """A noisy blue disc on a noisy green ground, and its mask."""
    rng = np.random.default_rng(0)
    mask = np.zeros(SIZE, np.uint8)
    cv2.circle(mask, (170, 90), 45, 1, -1)
    picture = np.where(mask[..., None] > 0, (40, 60, 190), (60, 150, 70))
    return np.clip(picture + rng.normal(0, 9, picture.shape), 0, 255).astype(np.uint8), mask > 0


def blurred(mask: np.ndarray, sigma: float = 14) -> np.ndarray:
    """A coarse map of a mask, as an encoder gives it."""
    return cv2.GaussianBlur(mask.astype(np.float32), (0, 0), sigma)


# What users say


def test_pixels_and_per_cent_are_the_same_place() -> None:
    hints = parse_hints((200, 400), "40,20,100,50", ["25%, 25%", "50,20.5"], ["399.5,200"])
    assert hints.box == Box(0.1, 0.1, 0.25, 0.25)
    assert hints.points == (Point(0.25, 0.25), Point(0.125, 0.1025))
    assert hints.not_points == (Point(0.99875, 1.0),)
    assert parse_hints((200, 400), "10%,10%,25%,25%").box == Box(0.1, 0.1, 0.25, 0.25)
    assert (hints.describe(), Hints(points=hints.points[:1]).describe()) == (
        "box and 2 points",
        "1 point",
    )


def test_a_frame_can_be_named_in_a_clip() -> None:
    hints = parse_hints((200, 400), "0,0,40,50@7", ["10,10@7"], [], range(3, 9))
    assert hints.frames == {7}
    assert parse_hints((200, 400), None, ["10,10"], [], range(3, 9)).frames == set()


@pytest.mark.parametrize(
    ("box", "points", "not_points", "words"),
    [
        ("1,2,3", (), (), ("--box 1,2,3", "must be X,Y,W,H")),
        ("a,b,c,d", (), (), ("--box a,b,c,d", "must be X,Y,W,H")),
        ("1,2,nan,4", (), (), ("--box", "must be X,Y,W,H")),
        ("-5,2,30,40", (), (), ("--box -5,2,30,40", "must be X,Y,W,H")),
        ("10,10,0,30", (), (), ("--box 10,10,0,30", "no area")),
        ("300,10,200,30", (), (), ("--box", "must lie in the picture, 400×200")),
        ("500,10,20,30", (), (), ("--box", "must lie in the picture")),
        ("10%,10%,120%,30%", (), (), ("--box", "120% is more than 100%")),
        ("10,10,40,40", ("90,10",), (), ("--point 90,10", "outside of --box 10,10,40,40")),
        (None, ("500,10",), (), ("--point 500,10", "must lie in the picture, 400×200")),
        (None, ("10",), (), ("--point 10", "must be X,Y")),
        (None, ("10,10@3",), (), ("--point 10,10@3", "a picture has none")),
        (None, (), ("10,10",), ("--not", "--point or a --box")),
        (None, ("10,10",), ("10,10",), ("--not 10,10", "the same point")),
        (None, ("10,20",), ("2.5%,10%",), ("--not 2.5%,10%", "the same point")),
        ("1" * 30 + ",2,3,4", (), (), ("--box", "must be X,Y,W,H")),
    ],
)
def test_hints_that_cannot_be_are_refused(
    box: str | None, points: tuple[str, ...], not_points: tuple[str, ...], words: tuple[str, ...]
) -> None:
    with pytest.raises(UsageError) as error:
        parse_hints((200, 400), box, points, not_points)
    assert all(word in str(error.value) for word in words), error.value


@pytest.mark.parametrize(
    ("points", "word"),
    [(["1,2@9"], "frame 9 is not in 3:9"), (["1,2@4", "5,6@5"], "frames 4 and 5")],
)
def test_frames_that_cannot_be_are_refused(points: list[str], word: str) -> None:
    with pytest.raises(UsageError, match=word):
        parse_hints((200, 400), None, points, [], range(3, 9))


# Cut-outs


def test_a_coarse_map_is_cut_out_along_edges() -> None:
    picture, mask = disc_picture()
    coarse = blurred(mask)
    shown = region_from_text(picture, coarse / coarse.max())
    assert iou(shown.target > 0.5, mask) > 0.95
    assert shown.limit is None and shown.origin == "text" and shown.certainty > 0.9
    assert shown.target.shape == SIZE and shown.target.min() >= 0 and shown.target.max() <= 1


def test_an_unsure_cut_out_is_blended_with_the_map(monkeypatch: pytest.MonkeyPatch) -> None:
    picture, mask = disc_picture()
    coarse = blurred(mask)
    monkeypatch.setattr(region, "cut_out_text", lambda *_: CutOut(mask, 0.25))
    shown = region_from_text(picture, coarse)
    np.testing.assert_allclose(shown.target, 0.25 * mask + 0.75 * coarse, atol=1e-6)


def test_outside_of_a_text_s_region_faint_alpha_is_cut_and_clear_alpha_is_not() -> None:
    picture, mask = disc_picture()
    found = region_from_text(picture, blurred(mask) / blurred(mask).max())
    sure = with_outside(found, picture)
    assert found.outside is None and sure.outside is not None and sure.matte is not None
    away = cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, 5)
    np.testing.assert_allclose(sure.outside[away > 10], sure.certainty, atol=1e-6)
    assert sure.outside[blurred(~mask, 3) == 0].max() == 0
    hold = sure.hold.at(np.s_[40:80])
    assert np.array_equal(hold.outside, sure.outside[40:80])
    assert (sure.matte[away < 0.035 * SIZE[0]] == 1).all()
    assert (sure.matte[away > 0.13 * SIZE[0]] == 0).all()
    unsure = with_outside(found._replace(certainty=0.3), picture)
    assert unsure.matte is None and unsure.outside is not None and unsure.outside.max() <= 0.3
    outside = torch.from_numpy(sure.outside)
    for alpha, is_kept in ((0.2, False), (0.5, True)):
        layer = snap_alpha(torch.full(SIZE, alpha), 0.06, 0.3, outside).numpy()
        plain = float(snap_alpha(torch.tensor(alpha), 0.06))
        assert (layer[away > 10] > 0.2).all() if is_kept else (layer[away > 10] == 0).all()
        np.testing.assert_allclose(layer[blurred(~mask, 3) == 0], plain, atol=1e-6)
    assert float(snap_alpha(torch.tensor(0.94), 0.06, 0.3, torch.tensor(1.0))) == pytest.approx(1)


def test_a_plain_map_and_a_region_with_a_limit_have_nothing_outside() -> None:
    picture, mask = disc_picture()
    for one in (
        region_from_text(picture, blurred(mask) * 0.01),
        region_from_hints(picture, parse_hints(SIZE, "110,30,120,120"), None),
    ):
        assert with_outside(one, picture).outside is None


@pytest.mark.parametrize("fill", [0.0, 1.0])
def test_an_empty_or_full_cut_out_leaves_the_map_and_says_so(fill: float) -> None:
    picture, mask = disc_picture()
    coarse = blurred(mask) * 0.01 + fill * 0.9
    shown = region_from_text(picture, coarse)
    np.testing.assert_allclose(shown.target, coarse, atol=1e-6)
    assert shown.certainty == 0 and "its rough map serves" in shown.notes[0]
    assert shown.matte is None


def test_a_box_holds_its_object_and_little_around_it() -> None:
    picture, mask = disc_picture()
    shown = region_from_hints(picture, parse_hints(SIZE, "110,30,120,120"), None)
    assert iou(shown.target > 0.5, mask) > 0.95
    assert shown.limit is not None and shown.origin == "box"
    away = cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, 5)
    assert (shown.limit[away > 0.04 * SIZE[0]] == 0).all()
    assert (shown.limit[mask] > 0.9).all()
    assert 0.3 < shown.limit[np.abs(away - 0.02 * SIZE[0]) < 0.5].mean() < 0.7


def test_points_choose_a_piece_and_leave_another() -> None:
    rng = np.random.default_rng(1)
    labels = np.zeros(SIZE, np.uint8)
    cv2.circle(labels, (80, 100), 40, 1, -1)
    cv2.circle(labels, (200, 100), 40, 2, -1)
    picture = np.where(labels[..., None] > 0, (200, 60, 40), (90, 90, 100))
    picture = np.clip(picture + rng.normal(0, 6, picture.shape), 0, 255).astype(np.uint8)
    for number, point in ((1, "80,100"), (2, "200,100")):
        shown = region_from_hints(picture, parse_hints(SIZE, None, [point]), None)
        assert iou(shown.target > 0.5, labels == number) > 0.9
    # a box around both, and a point on one
    hints = parse_hints(SIZE, "30,50,220,100", ["80,100"])
    assert iou(region_from_hints(picture, hints, None).target > 0.5, labels == 1) > 0.9


def test_a_locators_map_says_where_a_pointed_place_ends() -> None:
    """A lake below a pale sky of nearly its colour, and a dark cloud: the picture cannot tell."""
    rng = np.random.default_rng(2)
    lake = np.zeros(SIZE, bool)
    lake[SIZE[0] // 2 :] = True
    ground = np.where(lake[..., None], (150, 170, 190), (162, 182, 202))
    ground[: SIZE[0] // 5] = (90, 60, 40)
    picture = np.clip(ground + rng.normal(0, 8, ground.shape), 0, 255).astype(np.uint8)
    likely, hints = blurred(lake, 4), Hints(None, (Point(0.5, 0.75),), ())

    def overlap(relevancy: np.ndarray | None, located: bool) -> float:
        found = region_from_hints(picture, hints, relevancy, located)
        return iou(found.target > 0.5, lake)

    alone = overlap(None, False)
    assert alone < 0.7 and overlap(likely, True) > 0.95
    assert overlap(likely, False) == alone
    assert overlap(1 - likely, True) == alone, "it does not say what the point says"


def test_a_not_point_is_never_in_the_region() -> None:
    picture, _ = disc_picture()
    hints = parse_hints(SIZE, "110,30,120,120", [], ["170,60"])
    shown = region_from_hints(picture, hints, None)
    assert shown.target[60, 170] == 0
    assert (shown.target[100:120, 160:180] == 1).all()


def test_nothing_that_stands_out_is_said_before_any_work() -> None:
    flat = np.full((*SIZE, 3), 120, np.uint8)
    for box, points in (("40,40,90,90", ()), (None, ["80,80"]), ("40,40,90,90", ["80,80"])):
        with pytest.raises(Text2LiveError, match=r"nothing stands out.*--box closer.*--point"):
            region_from_hints(flat, parse_hints(SIZE, box, points), None)


def test_a_map_that_misses_the_object_does_not_empty_its_box() -> None:
    picture = np.full((240, 320, 3), (90, 120, 90), np.uint8)
    picture[110:130, 100:220] = (200, 40, 40)
    noisy = picture + np.random.default_rng(0).normal(0, 6, picture.shape)
    picture = np.clip(noisy, 0, 255).astype(np.uint8)
    relevancy = np.zeros((240, 320), np.float32)
    relevancy[132:] = 0.9  # of the box, the part without the bar
    found = region_from_hints(picture, Hints(box=Box(90 / 320, 0.42, 140 / 320, 0.25)), relevancy)
    assert found.target[112:128, 105:215].mean() > 0.95
    assert found.share == pytest.approx(20 * 120 / (240 * 320), rel=0.1)


def test_a_small_thing_in_a_large_photo_is_found_in_its_box() -> None:
    mask = np.zeros((1500, 2000), np.uint8)
    cv2.circle(mask, (1300, 500), 20, 1, -1)
    rng = np.random.default_rng(4)
    picture = np.where(mask[..., None] > 0, (200, 40, 40), (60, 150, 70))
    picture = np.clip(picture + rng.normal(0, 6, picture.shape), 0, 255).astype(np.uint8)
    shown = region_from_hints(picture, parse_hints(mask.shape, "1270,470,60,60"), None)
    assert iou(shown.target > 0.5, mask > 0) > 0.9
    assert shown.limit is not None and not shown.limit[:, :1200].any()


@given(st.integers(30, 240), st.integers(30, 170), st.integers(12, 28))
@settings(max_examples=8, deadline=None)
def test_a_region_lies_in_its_box_wherever_it_is(x: int, y: int, radius: int) -> None:
    mask = np.zeros(SIZE, np.uint8)
    cv2.circle(mask, (x, y), radius, 1, -1)
    picture = np.where(mask[..., None] > 0, (220, 200, 30), (30, 40, 120)).astype(np.uint8)
    left, top = max(x - radius - 4, 0), max(y - radius - 4, 0)
    wide, tall = min(2 * radius + 8, 280 - left), min(2 * radius + 8, 200 - top)
    shown = region_from_hints(picture, parse_hints(SIZE, f"{left},{top},{wide},{tall}"), None)
    assert iou(shown.target > 0.5, mask > 0) > 0.9
    outside = np.ones(SIZE, bool)
    outside[top : top + tall, left : left + wide] = False
    assert not shown.target[outside].any()


def test_a_mask_is_target_and_limit_and_meets_a_box_halfway() -> None:
    picture, mask = disc_picture()
    drawn = np.zeros(SIZE, np.float32)
    drawn[:90] = 0.5
    alone = region_from_mask(drawn)
    assert alone.target is drawn and alone.limit is drawn and alone.origin == "mask"
    both = resolve_region(picture, None, parse_hints(SIZE, "110,30,120,120"), drawn, Silent())
    assert both.origin == "mask and box"
    assert both.limit is not None and not both.limit[90:].any()
    np.testing.assert_allclose(both.target[60, 170], 0.5)
    assert not both.target[~mask & (blurred(mask, 3) == 0)].any()


def test_an_empty_region_is_refused() -> None:
    picture, _ = disc_picture()
    with pytest.raises(Text2LiveError, match="--mask is black"):
        resolve_region(picture, None, Hints(), np.zeros(SIZE, np.float32), Silent())


# The averaged map


def test_the_averaged_map_finds_more_than_one_look() -> None:
    guide = load_guide("swatch", None, Silent())
    scores = []
    for seed in range(6):
        rgb, (mask,) = paint_scene([("cup", "red")], "wooden table", seed, SIZE)
        shown = torch.from_numpy(rgb).permute(2, 0, 1)[None].float() / 255
        found = averaged_relevancy(guide, shown, [make_query(guide, "cup")])
        (one,) = found.relevancy.numpy()
        assert one.shape == SIZE and 0 <= one.min() < 0.05 and one.max() == 1
        assert found.probability is not None and found.probability[0].max() > 0.5
        scores.append(iou(region_from_text(rgb, one).target > 0.5, mask))
    assert np.median(scores) > 0.9


def test_what_is_not_in_the_picture_is_told() -> None:
    guide = load_guide("swatch", None, Silent())
    told: dict[str, list[bool]] = {"grass": [], "lake": [], "cup": [], "boat": []}
    for seed in range(6):
        rgb, _ = paint_scene([("cup", "red")], "grass", seed, SIZE)
        for text, hardly in told.items():
            shown = text_region(guide, rgb, text)
            assert shown.score is not None and shown.score.probability is not None
            hardly.append(any("hardly looks like" in note for note in shown.notes))
    assert sum(told["grass"]) == 0 and sum(told["cup"]) == 0
    assert sum(told["lake"]) >= 5 and sum(told["boat"]) >= 5


def test_a_region_is_weighed_by_how_likely_it_shows_its_text() -> None:
    target = np.zeros((40, 60), np.float32)
    target[:, 30:] = 1
    seen = np.tile(np.array([0.9, 0.9, 0.9, 0.002, 0.005, 0.005], np.float32), (4, 1))
    where = TextMap("lake", target, seen)
    found = region.Region(target, None, None, "text", 1.0)
    shown = region.scored(found, where)
    assert shown.score is not None and shown.score.probability == pytest.approx(0.004)
    assert shown.notes == ('the region hardly looks like "lake"',)
    assert region.scored(found._replace(origin="box"), where).notes == ()
    assert region.scored(found, where._replace(probability=seen[:, ::-1])).notes == ()


# In the training


def test_a_mask_that_is_a_copy_of_the_picture_stays_one() -> None:
    rng = torch.Generator().manual_seed(3)
    picture = torch.rand(1, 3, 200, 280, generator=rng)
    grey = picture[:, :1]
    plain = DatasetSettings(jitter_p=0.0)
    whole = Example(picture, limit=grey, target=grey, keep=picture)
    dataset = InternalDataset(whole, plain, augment=True)
    for step in range(76):
        for example in dataset.examples(step, rng).shown:
            assert example.limit is not None and example.target is not None
            assert torch.equal(example.picture[:, :1], example.limit)
            assert torch.equal(example.limit, example.target)
            assert torch.equal(example.picture, example.keep)


def test_form_is_lost_where_shading_is_and_not_where_detail_is_added() -> None:
    rng = torch.Generator().manual_seed(0)
    shading = torch.rand(1, 1, 60, 80, generator=rng).expand(1, 3, 60, 80)
    assert float(form_loss(shading, shading)) == pytest.approx(0, abs=1e-6)
    assert float(form_loss(shading, shading.flip(1) * 0 + 0.5)) == pytest.approx(1, abs=0.02)
    assert float(form_loss(shading, 0.5 + 0.5 * (shading - 0.5))) == pytest.approx(0.25, abs=0.02)
    recoloured = shading * torch.tensor([1.4, 0.97, 0.4]).view(1, 3, 1, 1)
    assert float(form_loss(shading, recoloured)) < 0.01
    pattern = 0.3 * torch.rand(1, 1, 60, 80, generator=torch.Generator().manual_seed(9))
    assert float(form_loss(shading, shading + pattern)) < 0.02


def test_form_looks_through_square_windows() -> None:
    x = torch.rand(1, 1, 20, 31, generator=torch.Generator().manual_seed(0))
    square = torch.nn.functional.avg_pool2d(x, 5, 1, 2, count_include_pad=False)
    down, across = losses._averaging(20, 5, x), losses._averaging(31, 5, x).T
    torch.testing.assert_close(down @ x @ across, square)


# The commands


@pytest.fixture
def cups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[np.ndarray, np.ndarray]:
    """two.png: a red and a blue cup; their masks."""
    rgb, (red, blue) = paint_scene([("cup", "red"), ("cup", "blue")], "grey background", 3, SIZE)
    assert not (red & blue).any()
    monkeypatch.chdir(tmp_path)
    write_picture(Path("two.png"), rgb)
    return red, blue


def middle(mask: np.ndarray) -> str:
    rows, columns = np.nonzero(mask)
    return f"{np.median(columns):.0f},{np.median(rows):.0f}"


def test_region_shows_what_it_finds_and_a_point_puts_it_right(
    cups: tuple[np.ndarray, np.ndarray],
) -> None:
    red, blue = cups
    told = passed(run("region", "two.png", "red cup", "--clip", "swatch", "--json"))
    record = json.loads(told.stdout)
    assert record["origin"] == "text" and not record["limited"]
    assert record["text"] == "cup" and record["score"] > 0.5 > record["score_beside"]
    wrong = read_picture(Path("mask.png")).color[..., 0] > 127
    assert wrong[red].mean() > 0.7, "the text finds the cup that is not meant"
    point = ("--point", middle(blue), "-o", "b/region.png")
    Path("b").mkdir()
    passed(run("region", "two.png", "red cup", "--clip", "swatch", *point))
    right = read_picture(Path("b/mask.png")).color[..., 0] > 127
    assert iou(right, blue) > 0.9 and not (right & red).any()
    shown, source = read_picture(Path("b/region.png")).color, read_picture(Path("two.png")).color
    inside = right & (blurred(~right, 3) == 0)
    assert np.array_equal(shown[inside], source[inside])
    assert shown[red].mean() < 0.5 * source[red].mean()


def test_a_point_edits_the_one_cup_that_is_meant(
    cups: tuple[np.ndarray, np.ndarray],
) -> None:
    red, blue = cups
    options = ("--roi", "red cup", "--clip", "swatch", "--steps", 12, "--preset", "draft")
    passed(run("edit-image", "two.png", "golden cup", *options, "-o", "text"))
    passed(
        run("edit-image", "two.png", "golden cup", *options, "-o", "point", "--point", middle(blue))
    )
    source = read_picture(Path("two.png")).color.astype(int)
    change = {
        name: np.abs(read_picture(Path(name, "composite.png")).color - source).max(-1)
        for name in ("text", "point")
    }
    assert change["text"][red].mean() > 10, "the text edits the cup that is not meant"
    assert change["point"][blue].mean() > 10
    assert not change["point"][red].any()
    record = json.loads(Path("point/run.json").read_text("utf-8"))
    assert record["region"]["origin"] == "1 point" and record["region"]["limited"]
    record = json.loads(Path("text/run.json").read_text("utf-8"))
    assert record["region"]["text"] == "red cup" and record["region"]["score"] > 0.5
    assert {"region.png", "mask.png", "relevancy.png"} <= {p.name for p in Path("point").iterdir()}


def test_a_resumed_edit_with_a_region_is_the_uninterrupted_one(
    cups: tuple[np.ndarray, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.commands import StopAt
    from text2live_cli import edit_image

    options = {"clip": "swatch", "steps": 6, "preset": "draft", "keep": ["table"]}
    options["points"] = [middle(cups[1])]
    whole = edit_image("two.png", "golden cup", output="whole", **options)
    edit_image("two.png", "golden cup", output="part", progress=StopAt("training", 3), **options)
    edit_image("two.png", "golden cup", output="part", resume=True, **options)
    assert (whole.layer.read_bytes()) == Path("part/layer.png").read_bytes()
    other = [middle(cups[0])]
    with pytest.raises(Text2LiveError, match="points"):
        edit_image(
            "two.png", "golden cup", output="part", resume=True, **{**options, "points": other}
        )


@pytest.mark.parametrize(
    ("arguments", "code", "word"),
    [
        (("two.png",), 2, "TEXT, --box, --point or --mask"),
        (("two.png", "--box", "1,2,3"), 2, "--box 1,2,3"),
        (("two.png", "--box", "10,10,40,40", "-o", "mask.png"), 2, "-o mask.png"),
        (("two.png", "--box", "10,10,40,40", "-o", "two.png"), 2, "two.png would be overwritten"),
        (("two.png", "--mask", "two.png", "-o", "out.jpg"), 2, "out.jpg"),
        (("none.png", "--box", "1,2,30,40"), 2, "none.png"),
        (("two.png", "astronaut", "--clip", "swatch"), 2, "astronaut"),
    ],
)
def test_regions_that_cannot_be_leave_nothing(
    cups: tuple[np.ndarray, np.ndarray], arguments: tuple[str, ...], code: int, word: str
) -> None:
    before = sorted(Path().iterdir())
    result = run("region", *arguments)
    assert result.exit_code == code, result.output
    assert word in one_line(result)
    assert sorted(Path().iterdir()) == before


def test_paper_looks_for_the_region_in_every_example(cups: tuple[np.ndarray, np.ndarray]) -> None:
    options = ("--clip", "swatch", "--preset", "draft", "--steps", 2, "--region", "paper")
    passed(run("edit-image", "two.png", "golden cup", *options, "-o", "out"))
    record = json.loads(Path("out/run.json").read_text("utf-8"))
    assert record["region"] is None and record["settings"]["region"] == "paper"
    assert not Path("out/mask.png").exists()
    # relevancy.png is what the examples are looked at with: a single look, squeezed to a square
    guide = load_guide("swatch", None, Silent())
    picture = torch.from_numpy(read_picture(Path("two.png")).color).permute(2, 0, 1)[None] / 255
    working = F.interpolate(picture, (192, 269), mode="bilinear", antialias=True)
    look = relevancy_map(guide, working, [make_query(guide, record["prompts"]["roi"])])
    true = F.interpolate(look, SIZE, mode="bilinear")[0, 0].numpy()
    written = read_picture(Path("out/relevancy.png")).color[..., 0] / 255
    assert np.abs(written - true).mean() < 0.01


def test_that_a_thing_that_must_stay_is_not_sure_is_said_and_recorded(
    cups: tuple[np.ndarray, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(region, "_UNSURE", 1.01)
    monkeypatch.setattr(region, "_SEEN", 1.01)
    options = ("--clip", "swatch", "--preset", "draft", "--steps", 1, "--keep", "table")
    result = passed(run("edit-image", "two.png", "golden cup", *options, "-o", "out"))
    notes = json.loads(Path("out/run.json").read_text("utf-8"))["keep_regions"]["table"]["notes"]
    assert notes == ["not sure of the region", 'the region hardly looks like "table"']
    for note in notes:
        assert f'--keep "table": {note}' in " ".join(result.stderr.split())


def test_a_word_that_is_not_known_does_not_hinder_a_box(
    cups: tuple[np.ndarray, np.ndarray],
) -> None:
    rows, columns = np.nonzero(cups[0])
    left, top = columns.min() - 3, rows.min() - 3
    box = f"{left},{top},{np.ptp(columns) + 6},{np.ptp(rows) + 6}"
    shown = find_region("two.png", "astronaut", box=box, clip="swatch")
    assert iou(shown.target > 0.5, cups[0]) > 0.9


def test_dimming_leaves_the_region_as_it_is() -> None:
    picture, mask = disc_picture()
    shown = dimmed(picture, mask.astype(np.float32))
    assert np.array_equal(shown[mask], picture[mask])
    far = blurred(mask, 4) == 0
    np.testing.assert_allclose(shown[far], picture[far] * 0.3, atol=0.51)


# The rim


def blurred_disc(size: tuple[int, int], radius: int, blur: float) -> tuple[np.ndarray, np.ndarray]:
    """A red disc with a soft rim on grey, (H, W, 3), and its alpha (H, W)."""
    disc = cv2.circle(np.zeros(size, np.float32), (size[1] // 2, size[0] // 2), radius, 1, -1)
    alpha = cv2.GaussianBlur(disc, (0, 0), blur)
    picture = alpha[..., None] * (200, 40, 30) + (1 - alpha[..., None]) * (90, 90, 95)
    return np.round(picture).astype(np.uint8), alpha


@pytest.mark.parametrize("times", [1, 4])
def test_a_rim_is_as_soft_as_the_picture_and_nothing_else_changes(times: int) -> None:
    picture, alpha = blurred_disc((240 * times, 300 * times), 70 * times, 2.5 * times)
    mask = (alpha > 0.5).astype(np.float32)
    found = matted(mask, picture)
    rim = (alpha > 0.02) & (alpha < 0.98)
    assert np.abs(found - alpha)[rim].mean() < 0.6 * np.abs(mask - alpha)[rim].mean()
    far = cv2.distanceTransform((~rim).astype(np.uint8), cv2.DIST_L2, 5) > 0.07 * len(mask)
    np.testing.assert_array_equal(found[far], mask[far])


def test_a_rim_is_where_the_picture_has_its_edge() -> None:
    picture, alpha = blurred_disc((240, 300), 70, 0.6)
    near = cv2.erode((alpha > 0.5).astype(np.float32), np.ones((5, 5)))  # two pixels too small
    found = matted(near, picture)
    assert np.abs(found - alpha).mean() < 0.6 * np.abs(near - alpha).mean()


@pytest.mark.parametrize("size", [(130, 1900), (2301, 1421)])
def test_rims_are_the_same_tile_by_tile(
    size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    picture, alpha = blurred_disc(size, 60, 2)
    mask = (alpha > 0.5).astype(np.float32)
    whole = matted(mask, picture)
    monkeypatch.setattr(matting, "_TILE", 48)
    np.testing.assert_allclose(matted(mask, picture), whole, atol=1e-5)


def test_the_rim_of_a_small_thing_in_a_long_strip() -> None:
    picture = np.full((40, 33_000, 3), 90, np.uint8)
    mask = np.zeros((40, 33_000), np.float32)
    mask[10:30, 20_000:20_040], picture[10:30, 20_000:20_040] = 1, (200, 40, 30)
    assert np.abs(matted(mask, picture) - mask).mean() < 1e-4


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_a_mask_without_a_rim_stays(value: float) -> None:
    picture, _ = blurred_disc((120, 90), 30, 1)
    mask = np.full((120, 90), value, np.float32)
    np.testing.assert_array_equal(matted(mask, picture), mask)
