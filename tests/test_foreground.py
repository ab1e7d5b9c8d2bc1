"""Foreground masks: from motion, a box, a text, and from files that people have."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from swatch_training.moving import paint_clip
from swatch_training.painter import paint_scene

from text2live_cli.atlas.fit.cutout import (
    carried,
    colour_models,
    cut_out,
    objects,
)
from text2live_cli.atlas.fit.flow import Flow, dis_flow, with_agreement
from text2live_cli.atlas.fit.foreground import (
    Foreground,
    masks_from_hints,
    masks_from_motion,
    masks_from_text,
)
from text2live_cli.atlas.fit.mask_files import masks_from_files
from text2live_cli.atlas.fit.motion import background_homographies, chained, positions
from text2live_cli.errors import UsageError
from text2live_cli.guide.hints import parse_hints
from text2live_cli.progress import Silent

MEDIA = Path(__file__).resolve().parents[2] / "shared" / "media"
SIZE = (120, 200)


def iou(found: np.ndarray, true: np.ndarray) -> float:
    return float((found & true).sum() / max((found | true).sum(), 1))


def worst(found: Foreground, true: np.ndarray) -> float:
    return min(iou(a > 0.5, b) for a, b in zip(found.masks, true, strict=True))


@lru_cache
def painted(thing: str, look: str, place: str, seed: int) -> tuple[np.ndarray, np.ndarray, Flow]:
    frames, masks = paint_clip(thing, look, place, seed, frames=12, size=SIZE)
    return frames, masks, dis_flow(frames, Silent())


def panned(count: int, step: float, noise: float = 0) -> np.ndarray:
    """A place that nothing moves in, under a moving camera."""
    place, _ = paint_scene([], "background", 5, (SIZE[0], SIZE[1] + int(step * count) + 1))
    frames = np.stack([place[:, int(t * step) : int(t * step) + SIZE[1]] for t in range(count)])
    grain = np.random.default_rng(0).normal(0, noise, frames.shape)
    return np.clip(frames + grain, 0, 255).astype(np.uint8)


def one_line(error: pytest.ExceptionInfo[Exception], *words: str) -> None:
    text = str(error.value)
    assert "\n" not in text
    for word in words:
        assert word in text


# Homographies


@given(
    angle=st.floats(-0.05, 0.05),
    zoom=st.floats(0.95, 1.05),
    shift=st.tuples(st.floats(-8, 8), st.floats(-8, 8)),
)
@settings(deadline=None, max_examples=20)
def test_the_background_is_found_beside_an_object(
    angle: float, zoom: float, shift: tuple[float, float]
) -> None:
    true = np.eye(3)
    true[:2] = np.column_stack([cv2.getRotationMatrix2D((100, 60), 60 * angle, zoom)[:, :2], shift])
    start = positions(np.eye(3), SIZE)
    forward = positions(true, SIZE) - start
    backward = positions(np.linalg.inv(true), SIZE) - start
    forward[30:90, 20:80] += (7, -5)
    flow = with_agreement([(forward, backward)], 1, SIZE)
    found = background_homographies(flow, None)
    np.testing.assert_allclose(positions(found[0], SIZE), positions(true, SIZE), atol=0.05)


def test_masks_keep_a_large_object_out_of_the_background() -> None:
    forward = np.zeros((1, *SIZE, 2), np.float32)
    forward[:, :, :140] = (5, 0)
    masks = np.zeros((2, *SIZE), np.float32)
    masks[:, :, :145] = 1
    flow = with_agreement([(forward[0], -forward[0])], 1, SIZE)
    np.testing.assert_allclose(background_homographies(flow, masks)[0], np.eye(3), atol=1e-5)
    assert background_homographies(flow, None)[0, 0, 2] == pytest.approx(5, abs=0.05)


def test_without_flow_to_trust_the_background_rests() -> None:
    nowhere, still = np.full((*SIZE, 2), 500, np.float32), np.zeros((*SIZE, 2), np.float32)
    flow = with_agreement([(nowhere, still)] * 2, 2, SIZE)
    np.testing.assert_array_equal(background_homographies(flow, None), np.eye(3)[None].repeat(2, 0))
    moves = np.stack([np.eye(3)] * 2)
    moves[0, 1, 2], moves[1, 0, 1] = 5, 1  # a shift, then a shear
    np.testing.assert_array_equal(chained(moves)[1:], [moves[0], moves[1] @ moves[0]])


# From motion


@pytest.mark.parametrize(
    ("thing", "look", "place", "seed"),
    [
        ("car", "blue", "background", 1),
        ("tree", "red", "table", 2),
        ("star", "checkered", "grass", 3),
        ("cup", "golden", "wall", 4),
    ],
)
def test_what_moves_is_found(thing: str, look: str, place: str, seed: int) -> None:
    frames, true, flow = painted(thing, look, place, seed)
    found = masks_from_motion(frames, flow, Silent())
    assert found.source == "motion"
    assert found.masks.dtype == np.float32 and found.masks.shape == true.shape
    assert found.masks.min() >= 0 and found.masks.max() <= 1
    assert worst(found, true) > 0.85


def test_what_pauses_is_kept() -> None:
    frames, true, _ = painted("car", "blue", "background", 1)
    order = [0, 1, 2, 3, 4, 4, 4, 4, 4, 4, 5, 6, 7, 8]
    frames, true = frames[order], true[order]
    found = masks_from_motion(frames, dis_flow(frames, Silent()), Silent())
    assert worst(found, true) > 0.8


def test_slow_motion_adds_up() -> None:
    place, _ = paint_scene([], "background", 5, SIZE)
    thing, masks = paint_scene([("apple", "red")], "screen", 3, SIZE)
    large, cover = np.float32(thing), np.float32(masks[0])
    frames, true = [], []
    for t in range(16):
        shift = np.float32([[1, 0, 0.3 * t], [0, 1, 0]])
        alpha = cv2.warpAffine(cover, shift, SIZE[::-1])
        front = cv2.warpAffine(large, shift, SIZE[::-1])
        frames.append(np.uint8(place + (front - place) * alpha[..., None]))
        true.append(alpha > 0.5)
    stack = np.stack(frames)
    found = masks_from_motion(stack, dis_flow(stack, Silent()), Silent())
    assert np.mean([iou(a > 0.5, b) for a, b in zip(found.masks, true, strict=True)]) > 0.8


@pytest.mark.parametrize(("step", "noise"), [(0, 0), (0, 4), (3, 0), (3, 4)])
def test_a_clip_without_motion_of_its_own_is_background(step: int, noise: float) -> None:
    frames = panned(8, step, noise)
    found = masks_from_motion(frames, dis_flow(frames, Silent()), Silent())
    assert found.source == "none"
    assert not found.masks.any()
    assert "single background layer" in found.notes[0]


def test_a_single_frame_is_background() -> None:
    frames = panned(1, 0)
    nothing = np.zeros((0, *SIZE, 2), np.float32)
    flow = Flow(nothing, nothing, nothing[..., 0] > 0, nothing[..., 0] > 0)
    assert masks_from_motion(frames, flow, Silent()).source == "none"


@pytest.mark.slow
@pytest.mark.skipif(not (MEDIA / "tennis").is_dir(), reason="shared/media is not here")
def test_the_tennis_player_is_found() -> None:
    names = [f"{number:05d}.png" for number in range(20)]
    frames = np.stack([np.array(Image.open(MEDIA / "tennis" / name)) for name in names])
    rough = np.stack([np.array(Image.open(MEDIA / "tennis-masks" / n).convert("L")) for n in names])
    found = masks_from_motion(frames, dis_flow(frames, Silent()), Silent()).masks > 0.5
    # The rough masks are far too large: all of ours should be in them, and a good part of them.
    assert (found & (rough > 0)).sum() > 0.97 * found.sum()
    assert min(mask.mean() for mask in found) > 0.015


# From a box and a text


@pytest.mark.parametrize("frame", [0, 6, 11])
def test_a_box_is_cut_out_and_carried(frame: int) -> None:
    frames, true, flow = painted("car", "blue", "background", 1)
    rows, columns = np.nonzero(true[frame])
    left, top = columns.min() - 4, rows.min() - 4
    box = f"{left},{top},{columns.max() + 5 - left},{rows.max() + 5 - top}"
    found = masks_from_hints(frames, flow, parse_hints(SIZE, box), frame)
    assert found.source == "hints"
    assert worst(found, true) > 0.75
    assert iou(found.masks[frame] > 0.5, true[frame]) > 0.85


def test_points_are_cut_out_and_carried() -> None:
    frames, true, flow = painted("car", "blue", "background", 1)
    rows, columns = np.nonzero(true[6])
    middle = f"{np.median(columns):.0f},{np.median(rows):.0f}"
    corner = f"{columns.min() - 12},{rows.min() - 8}"
    found = masks_from_hints(frames, flow, parse_hints(SIZE, None, [middle], [corner]), 6)
    assert worst(found, true) > 0.75


@pytest.mark.parametrize(
    ("box", "frame", "word"),
    [("10,10,30,30", 12, "no frame 12"), ("0,0,200,120", 0, "nothing there stands out")],
)
def test_boxes_that_cannot_be_are_one_line(box: str, frame: int, word: str) -> None:
    frames, _, flow = painted("car", "blue", "background", 1)
    with pytest.raises(UsageError) as error:
        masks_from_hints(frames, flow, parse_hints(SIZE, box), frame)
    one_line(error, "--box", word)


def test_a_text_takes_what_moves_and_is_relevant() -> None:
    frames, true, flow = painted("car", "blue", "background", 1)
    keys = [0, 5, 11]
    relevancy = np.stack([cv2.GaussianBlur(true[k].astype(np.float32), (0, 0), 6) for k in keys])
    found = masks_from_text(relevancy, keys, frames, flow, "car", Silent())
    assert found.source == "text" and not found.notes
    assert worst(found, true) > 0.85


def test_a_hint_that_fits_nothing_leaves_what_moves() -> None:
    frames, true, flow = painted("car", "blue", "background", 1)
    nowhere = np.zeros((1, *true.shape[1:]), np.float32)
    found = masks_from_text(nowhere, [3], frames, flow, "boat", Silent(), or_motion=True)
    assert found.source == "motion" and "boat" in found.notes[0]
    np.testing.assert_array_equal(found.masks, masks_from_motion(frames, flow, Silent()).masks)
    still = panned(3, 0)
    nowhere, flow = np.zeros((1, *SIZE), np.float32), dis_flow(still, Silent())
    found = masks_from_text(nowhere, [0], still, flow, "cat", Silent(), or_motion=True)
    assert found.source == "none" and not found.masks.any()


def test_a_text_finds_what_rests() -> None:
    picture, masks = paint_scene([("apple", "red")], "grass", 3, SIZE)
    frames = np.stack([np.uint8(picture)] * 6)
    relevancy = cv2.GaussianBlur(masks[0].astype(np.float32), (0, 0), 4)[None]
    found = masks_from_text(relevancy, [2], frames, dis_flow(frames, Silent()), "apple", Silent())
    assert found.source == "text" and "apple" in found.notes[0]
    assert worst(found, np.stack([masks[0]] * 6).astype(bool)) > 0.8


def test_a_text_that_nothing_looks_like_is_one_line() -> None:
    frames = panned(3, 0)
    nowhere = np.zeros((1, *SIZE), np.float32)
    with pytest.raises(UsageError) as error:
        masks_from_text(nowhere, [0], frames, dis_flow(frames, Silent()), "cat", Silent())
    one_line(error, "--foreground", "'cat'")


# Pieces


def test_objects_are_followed_and_numbered_by_size() -> None:
    masks = np.zeros((3, 40, 60), bool)
    flow = np.zeros((2, 40, 60, 2), np.float32)
    for t in range(3):
        masks[t, 5:10, 5 + 8 * t : 11 + 8 * t] = True
        masks[t, 20:35, 30:50] = True
    flow[:, 3:12] = (8, 0)
    found = objects(masks, with_agreement(zip(flow, -flow, strict=True), 2, (40, 60)))
    assert [set(np.unique(one)) for one in found] == [{0, 1, 2}] * 3
    assert (found[:, 25, 40] == 1).all() and (found[:, 7] == 2).any(axis=1).all()


def test_carried_values_follow_the_flow_and_enter_as_nothing() -> None:
    values = np.zeros((10, 10), np.float32)
    values[4, 6] = 1
    flow = np.broadcast_to(np.float32([2, 0]), (10, 10, 2)).copy()
    assert carried(values, flow)[4, 4] == 1
    assert not carried(np.ones_like(values), flow)[:, 8:].any()


def test_a_cut_follows_the_edges() -> None:
    frame = np.full((60, 80, 3), 40, np.uint8)
    frame[20:40, 25:55] = (200, 60, 60)
    true = frame[..., 0] > 100
    rough = np.zeros_like(true)
    rough[22:43, 24:53] = True
    colours = colour_models(frame[None], (true & rough)[None], ~(true | rough)[None])
    nothing = np.zeros_like(true)
    assert iou(cut_out(frame, rough, colours, nothing, nothing), true) > 0.95
    np.testing.assert_array_equal(cut_out(frame, rough, None, nothing, nothing), rough)


# Files


def drawn(size: tuple[int, int], left: int, value: object = 255) -> np.ndarray:
    height, width = size
    colour = np.atleast_1d(np.asarray(value, np.uint8))
    mask = np.zeros((height, width, len(colour)), np.uint8)
    mask[height // 4 : height // 2, left : left + width // 4] = colour
    return mask[..., 0] if len(colour) == 1 else mask


def save_masks(folder: Path, names: list[str], value: object = 255, size: object = SIZE) -> None:
    folder.mkdir(exist_ok=True)
    for i, name in enumerate(names):
        Image.fromarray(drawn(size, 4 * i, value)).save(folder / name)  # type: ignore[arg-type]


NAMES = ["00003", "00004", "00005"]
FILES = [f"{name}.png" for name in NAMES]
TRUE = np.stack([drawn(SIZE, 4 * i) > 0 for i in range(3)])


def test_masks_are_matched_by_name(tmp_path: Path) -> None:
    save_masks(tmp_path / "m", FILES)
    Image.new("L", SIZE[::-1]).save(tmp_path / "m" / "00001.png")
    found = masks_from_files(tmp_path / "m", NAMES, 3, SIZE)
    assert found == Foreground(found.masks, "masks", ())
    np.testing.assert_array_equal(found.masks, TRUE.astype(np.float32))


@pytest.mark.parametrize("names", [None, ["a", "b", "c"]])
def test_else_in_order_or_by_number(tmp_path: Path, names: list[str] | None) -> None:
    save_masks(tmp_path / "m", ["2.png", "9.png", "10.png"])
    found = masks_from_files(tmp_path / "m", names, 3, SIZE)
    np.testing.assert_array_equal(found.masks > 0.5, TRUE)
    found = masks_from_files(tmp_path / "m", names, 2, SIZE, numbers=[0, 2])
    np.testing.assert_array_equal(found.masks > 0.5, TRUE[[0, 2]])


@pytest.mark.parametrize("value", [1, 2, (128, 0, 0), (0, 128, 0), (255, 255, 255)])
def test_objects_are_foreground_whatever_their_number_or_colour(
    tmp_path: Path, value: object
) -> None:
    save_masks(tmp_path / "m", FILES, value)
    np.testing.assert_array_equal(masks_from_files(tmp_path / "m", NAMES, 3, SIZE).masks, TRUE)


def test_palette_masks_are_read(tmp_path: Path) -> None:
    folder = tmp_path / "m"
    folder.mkdir()
    for name, true in zip(FILES, TRUE, strict=True):
        image = Image.fromarray(true.astype(np.uint8), "P")
        image.putpalette([0, 0, 0, 128, 0, 0])
        image.save(folder / name)
    np.testing.assert_array_equal(masks_from_files(folder, NAMES, 3, SIZE).masks, TRUE)


def test_soft_masks_stay_soft(tmp_path: Path) -> None:
    save_masks(tmp_path / "m", FILES, 128)
    found = masks_from_files(tmp_path / "m", NAMES, 3, SIZE).masks
    np.testing.assert_allclose(found[TRUE], 128 / 255, atol=1e-6)


def test_inverted_masks_are_turned_round(tmp_path: Path) -> None:
    folder = tmp_path / "m"
    folder.mkdir()
    for name, true in zip(FILES, TRUE, strict=True):
        Image.fromarray(np.uint8(255 * ~true)).save(folder / name)
    found = masks_from_files(folder, NAMES, 3, SIZE)
    np.testing.assert_array_equal(found.masks, TRUE)
    assert "inverted" in found.notes[0]


def test_a_gif_of_masks_is_read(tmp_path: Path) -> None:
    images = [Image.fromarray(np.uint8(255 * true)) for true in TRUE]
    path = tmp_path / "m.gif"
    images[0].save(path, save_all=True, append_images=images[1:], duration=100)
    found = masks_from_files(path, None, 3, SIZE)
    np.testing.assert_array_equal(found.masks > 0.5, TRUE)
    found = masks_from_files(path, NAMES, 2, SIZE, numbers=[1, 2])
    np.testing.assert_array_equal(found.masks > 0.5, TRUE[1:])


def test_masks_of_another_size_are_resized(tmp_path: Path) -> None:
    save_masks(tmp_path / "m", FILES, size=(240, 400))
    found = masks_from_files(tmp_path / "m", NAMES, 3, SIZE).masks
    assert found.shape == (3, *SIZE) and iou(found[0] > 0.5, TRUE[0]) > 0.95


def test_masks_that_do_not_fit_are_one_line(tmp_path: Path) -> None:
    folder = tmp_path / "m"
    save_masks(folder, FILES)
    with pytest.raises(UsageError) as error:
        masks_from_files(folder, [*NAMES, "00006", "00007"], 5, SIZE)
    one_line(error, "2 of 5", "00006, 00007")
    with pytest.raises(UsageError) as error:
        masks_from_files(folder, None, 5, SIZE)
    one_line(error, "3 masks for 5 frames")
    with pytest.raises(UsageError) as error:
        masks_from_files(folder, NAMES, 3, (120, 120))
    one_line(error, "another shape", "200×120")
    with pytest.raises(UsageError) as error:
        masks_from_files(tmp_path / "absent", NAMES, 3, SIZE)
    one_line(error, "absent")


@pytest.mark.parametrize(("level", "word"), [(0, "all black"), (255, "all white")])
def test_masks_of_one_colour_are_refused(tmp_path: Path, level: int, word: str) -> None:
    for name in FILES:
        Image.new("L", SIZE[::-1], level).save(tmp_path / name)
    with pytest.raises(UsageError) as error:
        masks_from_files(tmp_path, NAMES, 3, SIZE)
    one_line(error, word)
