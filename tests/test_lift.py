"""`lift`: a known edit is found again, whatever else was done; bad input is refused in words."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from tests.commands import one_line, passed, run
from text2live_cli.lifting.lift import LiftSettings, lift
from text2live_cli.lifting.register import register
from text2live_cli.lifting.solve import matte, solve_layer
from text2live_cli.lifting.tone import match_tone
from text2live_cli.media.compositing import lay_over
from text2live_cli.media.pictures import read_picture
from text2live_cli.media.samples import to_unit

Rgb = NDArray[np.uint8]
HEIGHT, WIDTH = 180, 240
DISC = np.hypot(*np.ogrid[-90:90, -150:90]) < 40


def scene(seed: int = 0) -> Rgb:
    """Soft blobs with grain: (H, W, 3), detail everywhere."""
    rng = np.random.default_rng(seed)
    layers = [
        cv2.resize(rng.uniform(0, 1, (n, n, 3)), (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
        for n in (5, 14, 40, 90)
    ]
    mixed = sum(w * np.asarray(x) for w, x in zip((0.4, 0.3, 0.2, 0.1), layers, strict=True))
    return np.asarray((30 + 190 * np.asarray(mixed)).clip(0, 255), np.uint8)


def edited(source: Rgb) -> Rgb:
    """With a purple disc that has stripes."""
    made = source.copy()
    stripes = (np.arange(WIDTH) // 6 % 2)[None, :, None] * np.array([60, 0, -90])
    made[DISC] = (np.array([150, 20, 200]) + stripes + np.zeros((HEIGHT, 1, 1)))[DISC]
    return made


def shifted(rgb: Rgb, x: float, y: float, zoom: float = 1.0) -> Rgb:
    matrix = np.array([[zoom, 0, x], [0, zoom, y]])
    way, border = cv2.INTER_CUBIC, cv2.BORDER_REFLECT
    moved = cv2.warpAffine(rgb, matrix, (WIDTH, HEIGHT), flags=way, borderMode=border)
    return np.asarray(moved, np.uint8)


def as_jpeg(rgb: Rgb, quality: int = 75) -> Rgb:
    buffer = io.BytesIO()
    Image.fromarray(rgb).save(buffer, "JPEG", quality=quality)
    return np.array(Image.open(buffer))


def toned(rgb: Rgb) -> Rgb:
    unit = (rgb / 255.0) ** 0.85 * [1.04, 1, 0.94]
    return np.rint(255 * unit.clip(0, 1)).astype(np.uint8)


def overlap(layer: Rgb) -> float:
    found = layer[..., 3] > 127
    return float((found & DISC).sum() / (found | DISC).sum())


@pytest.mark.parametrize(
    ("disturb", "iou", "levels"),
    [
        (lambda x: x, 0.99, 1.0),
        (lambda x: shifted(x, 3.3, -2.1), 0.93, 12.0),
        (lambda x: shifted(x, -3, -2, 1.02), 0.93, 12.0),
        (lambda x: x[5:170, 3:230], 0.95, 3.0),
        (as_jpeg, 0.93, 10.0),
        (toned, 0.97, 6.0),
        (lambda x: np.array(Image.fromarray(x).resize((WIDTH * 2, HEIGHT * 2))), 0.95, 6.0),
        (lambda x: as_jpeg(toned(shifted(x, 2, 1)), 85), 0.9, 14.0),
    ],
    ids=["as-it-is", "shift", "zoom", "crop", "jpeg", "tone", "larger", "together"],
)
def test_the_edit_is_found_and_the_rest_stays(
    disturb: Callable[[Rgb], Rgb], iou: float, levels: float
) -> None:
    source = scene()
    made = edited(source)
    layer = lift(to_unit(source), to_unit(disturb(made)), LiftSettings()).layer
    composite = lay_over(source, layer)
    assert overlap(layer) > iou
    far = cv2.dilate(DISC.astype(np.uint8), np.ones((9, 9))) == 0
    assert (composite == source).all(-1)[far].mean() > 0.98
    assert np.abs(composite[DISC].astype(int) - made[DISC]).mean() < levels


def test_without_disturbance_the_composite_is_the_edited_picture() -> None:
    source = scene(1)
    made = edited(source)
    layer = lift(to_unit(source), to_unit(made), LiftSettings()).layer
    assert np.abs(lay_over(source, layer).astype(int) - made).max() <= 1


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**31))
def test_a_layer_gives_the_other_picture_wherever_it_is(seed: int) -> None:
    rng = np.random.default_rng(seed)
    source, other = rng.uniform(0, 1, (2, 12, 15, 3)).astype(np.float32)
    alpha = rng.choice([0, 0.3, 1], (12, 15)).astype(np.float32)
    layer = solve_layer(source, other, alpha)
    assert (layer[alpha == 0] == 0).all()
    color, share = layer[..., :3] / 255, layer[..., 3:] / 255
    made = source + share * (color - source)
    assert np.abs(made - other)[alpha > 0].max() < 1.5 / 255


def test_at_the_rim_the_opacity_is_how_far_the_colour_has_come() -> None:
    source = np.full((40, 60, 3), 0.2, np.float32)
    true = np.clip((30 - np.arange(60)) / 4, 0, 1).astype(np.float32)[None].repeat(40, 0)
    other = source + true[..., None] * (np.float32([0.9, 0.5, 0.1]) - source)
    alpha = matte(source, other, true > 0.5, 2.0)
    assert np.abs(alpha - true)[:, 20:36].max() < 0.08


@pytest.mark.parametrize("zoom", [0.97, 1.0, 1.04])
def test_the_registration_says_how_the_picture_was_moved(zoom: float) -> None:
    source = scene(2)
    moved = shifted(source, 4.5, -2.25, zoom)
    told = register(to_unit(source), to_unit(moved)).describe()
    assert abs(float(str(told["zoom"])) - zoom) < 0.002
    assert np.abs(np.array(told["shift"]) - [4.5, -2.25]).max() < 0.3


def test_tones_are_left_alone_where_nothing_changed_them() -> None:
    source = to_unit(scene(3))
    tone = match_tone(source, to_unit(edited(scene(3))), np.ones(source.shape[:2], bool))
    assert tone.matrix is None
    assert tone.apply(source) is source


# The command


@pytest.fixture
def pair(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Rgb, Rgb]:
    """before.png and after.jpg here."""
    monkeypatch.chdir(tmp_path)
    source = scene()
    made = edited(source)
    Image.fromarray(source).save("before.png")
    Image.fromarray(made).save("after.jpg", quality=92)
    return source, made


def test_the_command_writes_a_result_that_composite_takes(pair: tuple[Rgb, Rgb]) -> None:
    source, _ = pair
    result = passed(run("lift", "before.png", "after.jpg", "--json"))
    record = json.loads(result.stdout)
    names = {path.name for path in Path("before.lift").iterdir()}
    assert names == {
        *("run.json", "layer.png", "composite.png", "alpha.png", "region.png", "report.html")
    }
    layer = read_picture(Path("before.lift/layer.png"))
    assert layer.alpha is not None
    composite = read_picture(Path("before.lift/composite.png")).color
    untouched = layer.alpha == 0
    assert (composite == source)[untouched].all()
    assert record["unchanged_share"] == pytest.approx(untouched.mean())
    assert 0.9 < record["edited_share"] / DISC.mean() < 1.1
    passed(run("composite", "before.png", "before.lift", "-o", "again.png"))
    assert np.array_equal(read_picture(Path("again.png")).color, composite)
    assert "command_line" in record
    assert "after.jpg" in Path("before.lift/report.html").read_text("utf-8")


def test_a_place_limits_what_is_taken(pair: tuple[Rgb, Rgb]) -> None:
    made = pair[1].copy()
    made[10:40, 10:40] = [255, 220, 0]
    Image.fromarray(made).save("two.png")
    options = {
        "both": (),
        "square": ("--point", "25,25"),
        "disc": ("--not", "25,25", "--point", "150,90"),
        "half": ("--box", "0,0,25,180"),
    }
    for name, places in options.items():
        passed(run("lift", "before.png", "two.png", "-o", name, *places))
    taken = {name: read_picture(Path(name, "layer.png")).alpha for name in options}
    square = np.zeros((HEIGHT, WIDTH), bool)
    square[10:40, 10:40] = True
    shares = {
        name: (np.mean(alpha[square] > 0), np.mean(alpha[DISC] > 0))
        for name, alpha in taken.items()
        if alpha is not None
    }
    assert shares["both"] == (1, 1)
    assert shares["square"] == (1, 0)
    assert shares["disc"] == (0, 1)
    assert shares["half"] == (0.5, 0)


def test_sixteen_bits_stay_sixteen(pair: tuple[Rgb, Rgb]) -> None:
    import imageio.v3 as imageio

    source, made = pair
    rng = np.random.default_rng(0)
    deep = source.astype(np.uint16) * 257 + rng.integers(0, 200, source.shape, np.uint16)
    imageio.imwrite("deep.tiff", deep)
    Image.fromarray(made).save("made.png")
    passed(run("lift", "deep.tiff", "made.png", "-o", "out"))
    composite = read_picture(Path("out/composite.png")).color
    layer = read_picture(Path("out/layer.png"))
    assert composite.dtype == np.uint16
    assert layer.alpha is not None
    assert np.array_equal(composite[layer.alpha == 0], deep[layer.alpha == 0])


@pytest.mark.parametrize(
    ("after", "options", "code", "words"),
    [
        (scene(9), (), 1, "same scene"),
        (as_jpeg(scene()), (), 1, "nothing was edited"),
        (np.rint(255 - 0.5 * scene()).astype(np.uint8)[::-1].copy(), (), 1, "same scene"),
        (scene()[:40, :50], (), 2, "64×64"),
        (scene()[:, :100], (), 2, "shape"),
        (None, ("--strength", "2"), 2, "--strength"),
        (None, ("--box", "500,0,10,10"), 2, "--box"),
        (None, ("--box", "0,0,5,5"), 1, "nothing was edited there"),
        (None, ("--min-area", "-1"), 2, "--min-area"),
    ],
    ids=["other", "none", "negative", "small", "aspect", "strength", "box", "empty", "area"],
)
def test_what_cannot_be_lifted_is_refused_in_a_line(
    pair: tuple[Rgb, Rgb], after: Rgb | None, options: tuple[str, ...], code: int, words: str
) -> None:
    if after is not None:
        Image.fromarray(after).save("after.png")
    name = "after.jpg" if after is None else "after.png"
    result = run("lift", "before.png", name, *options)
    assert result.exit_code == code, result.output
    assert words in one_line(result)
    assert not Path("before.lift").exists()


def test_the_same_file_and_an_old_result_are_refused(pair: tuple[Rgb, Rgb]) -> None:
    assert "same file" in one_line(run("lift", "before.png", "before.png"))
    passed(run("lift", "before.png", "after.jpg"))
    assert "--overwrite" in one_line(run("lift", "before.png", "after.jpg"))
    passed(run("lift", "before.png", "after.jpg", "--overwrite"))
