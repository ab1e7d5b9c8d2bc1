"""Painting by hand: layers on an atlas or on one frame come back in every frame."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tests.clips import add_sound, audio_packets, save_frames
from tests.moving_truth import paint_closed
from text2live_cli.atlas import ATLAS
from text2live_cli.atlas.discretise import AtlasPicture, discretise
from text2live_cli.atlas.grid import GridModel, Mapping, Texture
from text2live_cli.atlas.layers import BACKGROUND, FOREGROUND, FRONT_FIRST, Maps, Side
from text2live_cli.atlas.painting import carry
from text2live_cli.atlas.reconcile import Carried, reconciled
from text2live_cli.atlas.render import Layer, lay_over_frame
from text2live_cli.atlas.store import PICTURES, AtlasFacts, write_atlas
from text2live_cli.errors import Text2LiveError, UsageError
from text2live_cli.media.clip_writing import write_layer_video, write_video
from text2live_cli.media.clips import open_clip
from text2live_cli.media.compositing import lay_over
from text2live_cli.media.picture_writing import write_picture
from text2live_cli.pipelines.composite import composite_clip

COUNT, HEIGHT, WIDTH = 10, 96, 160
TRAVEL, PAN = WIDTH // 3, WIDTH // 5
MARGIN = {FOREGROUND: (9, 14), BACKGROUND: (5, 3)}  # canvas position (v, u) of where x = 0
RED = (250, 10, 20)


class Told:
    """A `Progress` that remembers."""

    def __init__(self) -> None:
        self.messages: list[str] = []
        self.warnings: list[str] = []
        self.done = 0

    def stage(self, name: str, total: int | None = None, unit: str = "step") -> None:
        self.done = 0

    def advance(self, done: int, values: Any = None) -> None:
        self.done = done

    def message(self, text: str) -> None:
        self.messages.append(text)

    def warning(self, text: str) -> None:
        self.warnings.append(text)


class Painted(NamedTuple):
    """A painted clip, as a folder of frames, and its atlas with the true maps."""

    clip: Path
    atlas: Path
    frames: np.ndarray
    masks: np.ndarray


def shift(side: Side, t: int, count: int = COUNT) -> int:
    """Atlas position of a frame's column 0, without the margin."""
    done = np.linspace(0, 1, count)[t]
    return round((1 - done) * TRAVEL) if side == FOREGROUND else round(done * PAN)


def true_model(frames: np.ndarray, masks: np.ndarray, first: int = 0, every: int = 1) -> GridModel:
    """The maps that `paint_clip` moves by, of frames first, first + every, …"""
    fitted = range(first, len(frames), every)
    mappings, textures = {}, {}
    for side in FRONT_FIRST:
        top, left = MARGIN[side]
        canvas = np.full((HEIGHT + 2 * top, WIDTH + TRAVEL + 2 * left, 3), 90, np.uint8)
        base = torch.eye(3).repeat(len(fitted), 1, 1)
        for i, t in enumerate(fitted):
            x = left + shift(side, t)
            base[i, 0, 2], base[i, 1, 2] = x + 0.5, top + 0.5
            seen = masks[t] if side == FOREGROUND else ~masks[t]
            canvas[top : top + HEIGHT, x : x + WIDTH][seen] = frames[t][seen]
        mappings[side] = Mapping(base, (HEIGHT, WIDTH), 16, 4)
        textures[side] = Texture(torch.from_numpy(canvas).permute(2, 0, 1) / 255, 1)
    logits = torch.from_numpy(masks[first::every].astype(np.float32)) * 60 - 30
    return GridModel((HEIGHT, WIDTH), mappings, textures, logits)


def save_atlas(folder: Path, model: GridModel, clip: Path, first: int = 0, every: int = 1) -> None:
    """As `fit_atlas` leaves it, as far as painting needs it."""
    folder.mkdir()
    found = {side: discretise(model, side) for side in FRONT_FIRST}
    corners = {side: (p.left, p.top) for side, p in found.items() if p is not None}
    for side, picture in found.items():
        if picture is not None:
            rgba = picture.rgba
            write_picture(folder / PICTURES[side], rgba[..., :3], rgba[..., 3])
    facts = AtlasFacts(
        model="grid",
        size=model.size,
        frames=model.frames,
        first=first,
        every=every,
        rate="24",
        source=open_clip(clip).sha256,
        source_size=(HEIGHT, WIDTH),
        canvases={side: model.canvas(side) for side in FRONT_FIRST},
        corners=corners,
        settings={},
    )
    write_atlas(folder, model, facts)


def load_frames(folder: Path) -> np.ndarray:
    return np.stack([np.asarray(Image.open(path)) for path in sorted(folder.iterdir())])


@pytest.fixture(scope="module")
def painted(tmp_path_factory: pytest.TempPathFactory) -> Painted:
    folder = tmp_path_factory.mktemp("painted")
    frames, masks = paint_closed("cat", "leopard", frames=COUNT, size=(HEIGHT, WIDTH), seed=3)
    save_frames(folder / "clip", frames)
    save_atlas(folder / "clip.atlas", true_model(frames, masks), folder / "clip")
    return Painted(folder / "clip", folder / "clip.atlas", frames, masks)


def picture_of(painted: Painted, side: Side) -> np.ndarray:
    return np.array(Image.open(painted.atlas / PICTURES[side]))


def corner_of(painted: Painted, side: Side) -> tuple[int, int]:
    """Where the atlas picture's first pixel is, from the position of frame columns: (v, u)."""
    found = discretise(true_model(painted.frames, painted.masks), side)
    assert found is not None
    return found.top - MARGIN[side][0], found.left - MARGIN[side][1]


def save(path: Path, rgba: np.ndarray) -> Path:
    Image.fromarray(rgba).save(path)
    return path


def square_layer(painted: Painted, side: Side, box: tuple[int, int, int, int]) -> np.ndarray:
    """A layer with a red square at rows and columns (from, to, from, to) of the first frame."""
    rgba = np.zeros_like(picture_of(painted, side))
    v, u = corner_of(painted, side)
    top, bottom, left, right = box
    u -= shift(side, 0)
    rgba[top - v : bottom - v, left - u : right - u] = (*RED, 255)
    return rgba


def expected(painted: Painted, side: Side, box: tuple[int, int, int, int]) -> np.ndarray:
    """The clip with that square, where its layer is what one sees."""
    result = painted.frames.copy()
    top, bottom, left, right = box
    for t in range(COUNT):
        moved = shift(side, 0) - shift(side, t)
        square = np.zeros((HEIGHT, WIDTH), bool)
        square[top:bottom, max(left + moved, 0) : max(right + moved, 0)] = True
        result[t][square & (painted.masks[t] == (side == FOREGROUND))] = RED
    return result


def box_of(painted: Painted, side: Side) -> tuple[int, int, int, int]:
    """A square that is inside of the object, or on the place that the object crosses."""
    rows, columns = np.nonzero(painted.masks[0])
    y, x = int(np.median(rows)), int(np.median(columns))
    return (y - 6, y + 6, x - 5, x + 5) if side == FOREGROUND else (y - 8, y + 8, x + 10, x + 40)


@pytest.mark.parametrize("side", FRONT_FIRST)
def test_a_square_on_an_atlas_is_in_every_frame(
    side: Side, painted: Painted, tmp_path: Path
) -> None:
    box = box_of(painted, side)
    layer = save(tmp_path / "layer.png", square_layer(painted, side, box))
    option = "fg_layer" if side == FOREGROUND else "bg_layer"
    told = Told()
    out = composite_clip(painted.clip, f"{tmp_path}/out/", **{option: layer}, progress=told)
    wanted = expected(painted, side, box)
    assert (wanted != painted.frames).any((1, 2, 3)).all()  # it is seen in every frame
    assert np.array_equal(load_frames(out), wanted)
    assert told.done == COUNT


def test_the_square_is_hidden_behind_the_object(painted: Painted, tmp_path: Path) -> None:
    box = box_of(painted, BACKGROUND)
    layer = save(tmp_path / "layer.png", square_layer(painted, BACKGROUND, box))
    frames = load_frames(composite_clip(painted.clip, tmp_path / "out", bg_layer=layer))
    changed = (frames != painted.frames).any(-1)
    sizes = changed.sum((1, 2))
    assert sizes.min() < 0.8 * sizes.max()
    assert not (changed & painted.masks).any()


def test_a_layer_of_twice_the_size_says_the_same(painted: Painted, tmp_path: Path) -> None:
    box = box_of(painted, BACKGROUND)
    twice = square_layer(painted, BACKGROUND, box).repeat(2, 0).repeat(2, 1)
    layer = save(tmp_path / "layer.png", twice)
    frames = load_frames(composite_clip(painted.clip, tmp_path / "out", bg_layer=layer))
    assert np.array_equal(frames, expected(painted, BACKGROUND, box))


def painted_copy(painted: Painted, side: Side, scale: int = 1, kernel: int = 0) -> np.ndarray:
    rgba = picture_of(painted, side)
    if scale > 1:
        image = Image.fromarray(rgba)
        size = (image.width * scale, image.height * scale)
        rgba = np.array(image.resize(size, Image.Resampling(kernel)))
    square = square_layer(painted, side, box_of(painted, side)).repeat(scale, 0).repeat(scale, 1)
    rgba[square[..., 3] > 0] = (*RED, 255)
    return rgba


@pytest.mark.parametrize("side", FRONT_FIRST)
@pytest.mark.parametrize("flattened", [False, True])
def test_a_painted_over_copy_is_the_same_as_a_layer(
    side: Side, flattened: bool, painted: Painted, tmp_path: Path
) -> None:
    rgba = painted_copy(painted, side)
    if flattened:  # as an editor saves it, with what is transparent in some colour
        rgba = np.where(rgba[..., 3:] > 0, rgba, 255)[..., :3]
    option = "fg_layer" if side == FOREGROUND else "bg_layer"
    copy = save(tmp_path / "copy.png", rgba)
    frames = load_frames(composite_clip(painted.clip, tmp_path / "out", **{option: copy}))
    assert np.array_equal(frames, expected(painted, side, box_of(painted, side)))


@pytest.mark.parametrize("kernel", [0, 1, 2, 3])
def test_an_enlarged_copy_may_be_painted_too(kernel: int, painted: Painted, tmp_path: Path) -> None:
    copy = save(tmp_path / "copy.png", painted_copy(painted, BACKGROUND, 3, kernel))
    frames = load_frames(composite_clip(painted.clip, tmp_path / "out", bg_layer=copy))
    wanted = expected(painted, BACKGROUND, box_of(painted, BACKGROUND))
    outside = (wanted == painted.frames).all(-1)
    assert np.array_equal(frames[outside], painted.frames[outside])
    assert (frames == wanted).all(-1)[~outside].mean() > 0.97  # paint of the atlas's own colour


@pytest.mark.parametrize("side", FRONT_FIRST)
@pytest.mark.parametrize("way", ["itself", "copied", "flattened", "levels", "deep", "2", "3", "cv"])
def test_a_copy_with_nothing_painted_changes_no_pixel(
    side: Side, way: str, painted: Painted, tmp_path: Path
) -> None:
    path = tmp_path / "copy.png"
    image = Image.open(painted.atlas / PICTURES[side])
    rgba = np.array(image)
    if way == "flattened":
        rgba = np.where(rgba[..., 3:] > 0, rgba, 255)[..., :3]
    elif way == "levels":
        rgba[..., :3] = np.clip(rgba[..., :3] + np.array([2, -2, 1]), 0, 255)
    elif way == "deep":
        write_picture(path, rgba[..., :3].astype(np.uint16) * 257)
    elif way == "cv":
        rgba = cv2.resize(rgba, None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC)
    elif way.isdigit():
        size = (image.width * int(way), image.height * int(way))
        rgba = np.array(image.resize(size, Image.Resampling.BICUBIC))
    if way == "itself":
        path = painted.atlas / PICTURES[side]
    elif way != "deep":
        save(path, rgba)
    option = "fg_layer" if side == FOREGROUND else "bg_layer"
    told = Told()
    out = composite_clip(painted.clip, tmp_path / "out", **{option: path}, progress=told)
    assert np.array_equal(load_frames(out), painted.frames)
    assert [w for w in told.warnings if "nothing is painted" in w]


def test_a_copy_saved_over_the_original(painted: Painted, tmp_path: Path) -> None:
    atlas = tmp_path / "copied.atlas"
    atlas.mkdir()
    for name in (ATLAS, *PICTURES):
        (atlas / name).write_bytes((painted.atlas / name).read_bytes())
    copy = save(atlas / PICTURES[BACKGROUND], painted_copy(painted, BACKGROUND))
    out = composite_clip(painted.clip, tmp_path / "out", atlas_dir=atlas, bg_layer=copy)
    wanted = expected(painted, BACKGROUND, box_of(painted, BACKGROUND))
    assert np.array_equal(load_frames(out), wanted)


def test_paint_up_to_the_rim_goes_on_over_soft_edges(painted: Painted, tmp_path: Path) -> None:
    """All of the object repainted in a copy: no rim of the old colour is left around it."""
    soft = np.stack([cv2.GaussianBlur(m.astype(np.float32), (0, 0), 1.2) for m in painted.masks])
    model = true_model(painted.frames, painted.masks)
    model.opacity_logits.data = torch.from_numpy(soft).clamp(1e-6, 1 - 1e-6).logit()
    save_atlas(tmp_path / "soft.atlas", model, painted.clip)
    rgba = np.array(Image.open(tmp_path / "soft.atlas" / "foreground.png"))
    rgba[rgba[..., 3] > 0] = (*RED, 255)
    copy = save(tmp_path / "red.png", rgba)
    out = composite_clip(
        painted.clip, tmp_path / "out", atlas_dir=tmp_path / "soft.atlas", fg_layer=copy
    )
    closed = model.closed()
    shares = [closed.locate(t).share[FOREGROUND].numpy() for t in range(len(soft))]
    share = np.stack(shares)[..., None]
    wanted = share * np.array(RED) + (1 - share) * painted.frames
    seen = soft > 0.05
    assert np.abs(load_frames(out) - wanted)[seen].max() < 4


@pytest.mark.parametrize("number", [0, 4, 9])
@pytest.mark.parametrize("side", FRONT_FIRST)
def test_a_frame_edit_sticks_to_what_it_was_painted_on(
    side: Side, number: int, painted: Painted, tmp_path: Path
) -> None:
    top, bottom, left, _ = box_of(painted, side)
    box = (top, bottom, left, left + 10)
    moved = shift(side, 0) - shift(side, number)
    edit = np.zeros((HEIGHT, WIDTH, 4), np.uint8)
    edit[top:bottom, left + moved : left + 10 + moved] = (*RED, 255)
    where = painted.masks[number] == (side == FOREGROUND)
    edit[~where] = 0
    save(tmp_path / "edit.png", edit)
    told = Told()
    out = composite_clip(
        painted.clip,
        tmp_path / "out",
        frame_edits=[f"{number}:{tmp_path / 'edit.png'}"],
        progress=told,
    )
    frames = load_frames(out)
    square = edit[..., 3] > 0
    assert (np.abs(frames[number].astype(int) - RED) <= 1)[square].all()
    assert np.array_equal(frames[number][~square], painted.frames[number][~square])
    wanted = expected(painted, side, box)
    for t in range(COUNT):
        inside = (wanted[t] == RED).all(-1).astype(np.uint8)
        core = cv2.erode(inside, np.ones((3, 3), np.uint8)) > 0
        around = cv2.dilate(inside, np.ones((3, 3), np.uint8)) > 0
        hidden = np.roll(~where, shift(side, number) - shift(side, t), 1)  # in frame `number`
        near_hidden = cv2.dilate(hidden.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
        assert (np.abs(frames[t].astype(int) - RED) <= 2)[core & ~near_hidden].all()
        assert np.array_equal(frames[t][~around], painted.frames[t][~around])
    assert any(f"of frame {number} is painted" in line for line in told.messages)


def test_a_frame_that_was_painted_over_is_taken_as_it_is(painted: Painted, tmp_path: Path) -> None:
    number = 4
    top, bottom, left, right = box_of(painted, FOREGROUND)
    moved = shift(FOREGROUND, 0) - shift(FOREGROUND, number)
    frame = painted.frames[number].copy()
    square = np.zeros((HEIGHT, WIDTH), bool)
    square[top:bottom, left + moved : right + moved] = True
    square &= painted.masks[number] > 0.5
    frame[square] = RED
    edit = save(tmp_path / "frame.png", frame)
    out = composite_clip(painted.clip, tmp_path / "out", frame_edits=[f"{number}:{edit}"])
    frames = load_frames(out)
    wanted = expected(painted, FOREGROUND, (top, bottom, left, right))
    for t in range(COUNT):
        inside = (wanted[t] == RED).all(-1).astype(np.uint8)
        core = cv2.erode(inside, np.ones((5, 5), np.uint8)) > 0
        around = cv2.dilate(inside, np.ones((9, 9), np.uint8)) > 0
        assert core.any() and (np.abs(frames[t].astype(int) - RED) <= 3)[core].all()
        assert np.array_equal(frames[t][~around], painted.frames[t][~around])
    noise = np.random.default_rng(2).integers(0, 256, frame.shape, np.uint8)
    other = save(tmp_path / "other.png", noise)
    with pytest.raises(Text2LiveError, match=r"same scene|all of it"):
        composite_clip(painted.clip, tmp_path / "no", frame_edits=[f"{number}:{other}"])


def test_a_frame_edit_lies_over_layers(painted: Painted, tmp_path: Path) -> None:
    box = box_of(painted, BACKGROUND)
    layer = save(tmp_path / "layer.png", square_layer(painted, BACKGROUND, box))
    last = COUNT - 1
    square = (expected(painted, BACKGROUND, box)[last] == RED).all(-1).astype(np.uint8)
    y, x = np.argwhere(cv2.erode(square, np.ones((7, 27), np.uint8)) > 0)[0]
    edit = np.zeros((HEIGHT, WIDTH, 4), np.uint8)
    edit[y - 3 : y + 3, x - 3 : x + 3] = (0, 255, 0, 255)
    green = f"{last}:{save(tmp_path / 'green.png', edit)}"
    out = composite_clip(painted.clip, tmp_path / "out", bg_layer=layer, frame_edits=[green])
    frame = load_frames(out)[last]
    assert [tuple(frame[y, x + d]) for d in (-10, 2)] == [RED, (0, 255, 0)]
    with pytest.raises(UsageError, match=f"frame {last} is edited twice"):
        composite_clip(painted.clip, tmp_path / "no", frame_edits=[green, green])


def test_paint_on_two_frames_is_one_layer(painted: Painted, tmp_path: Path) -> None:
    """Each frame has all of a square on the background that its cup does not hide."""
    top, bottom, _, _ = box_of(painted, FOREGROUND)
    last, edits = COUNT - 1, []
    box = (max(top - 8, 1), bottom, WIDTH // 2 - 40, WIDTH // 2 + 40)
    wanted = expected(painted, BACKGROUND, box)
    for number in (0, last):
        edit = np.zeros((HEIGHT, WIDTH, 4), np.uint8)
        edit[..., :3], edit[..., 3] = RED, 255 * (wanted[number] == RED).all(-1)
        edits.append(f"{number}:{save(tmp_path / f'{number}.png', edit)}")
    told = Told()
    out = composite_clip(painted.clip, tmp_path / "out", frame_edits=edits, progress=told)
    for frame, square in zip(load_frames(out), wanted, strict=True):
        inside = (square == RED).all(-1).astype(np.uint8)
        core = cv2.erode(inside, np.ones((5, 5), np.uint8)) > 0
        assert core.any() and (np.abs(frame.astype(int) - RED) <= 3)[core].all()
    told_of = [m for m in told.messages if "no edited frame shows" in m]
    assert len(told_of) == 1 and told_of[0].startswith("the background: ")


def carried(columns: slice, color: float, size: float) -> Carried:
    """Opaque grey paint on some columns of an atlas of 20×40, shown by its frame at a size."""
    layer, sizes = torch.zeros(4, 20, 40), torch.zeros(20, 40)
    layer[:3, :, columns], layer[3, :, columns], sizes[:, columns] = color, 1.0, size
    return Carried(Layer(layer, 5.0, 7.0, 1.0), sizes)


def test_the_frame_that_shows_a_place_largest_has_its_way() -> None:
    both = reconciled([carried(slice(0, 30), 0.2, 1.0), carried(slice(10, 40), 0.8, 3.0)])
    assert (both.left, both.top, both.scale) == (5.0, 7.0, 1.0)
    row = both.premultiplied[:, 10]
    assert torch.allclose(row[0, :9], torch.tensor(0.2)) and torch.allclose(row[3], torch.ones(40))
    assert torch.allclose(row[0, 18:], torch.tensor(0.8), atol=0.01)
    seam = row[0, 9:18]
    assert (seam.diff() >= -1e-6).all() and 0.2 < seam[4] < 0.81
    one = carried(slice(0, 30), 0.2, 1.0)
    assert reconciled([one]) is one.layer


def test_layers_of_other_scales_and_places_are_reconciled() -> None:
    fine = torch.zeros(4, 20, 20)
    fine[:] = torch.tensor([0.9, 0.9, 0.9, 1.0])[:, None, None]
    far = Carried(Layer(fine, 100.0, 7.0, 2.0), torch.ones(20, 20))
    both = reconciled([carried(slice(0, 40), 0.2, 1.0), far])
    assert both.scale == 2.0 and both.premultiplied.shape == (4, 40, 210)
    assert torch.allclose(both.premultiplied[:3, 10, 192:208], torch.tensor(0.9))
    assert not both.premultiplied[:, :, 90:180].any()


def test_opacity_scales_every_layer(painted: Painted, tmp_path: Path) -> None:
    box = box_of(painted, BACKGROUND)
    layer = save(tmp_path / "layer.png", square_layer(painted, BACKGROUND, box))
    out = composite_clip(painted.clip, tmp_path / "out", bg_layer=layer, opacity=0.25)
    wanted = 0.75 * painted.frames + 0.25 * expected(painted, BACKGROUND, box)
    assert np.abs(load_frames(out) - wanted).max() <= 0.5
    none = composite_clip(painted.clip, tmp_path / "none", bg_layer=layer, opacity=0)
    assert np.array_equal(load_frames(none), painted.frames)


@pytest.mark.parametrize("mode", ["multiply", "screen", "luminosity"])
def test_blend_modes_through_an_atlas(mode: str, painted: Painted, tmp_path: Path) -> None:
    box = box_of(painted, BACKGROUND)
    rgba = square_layer(painted, BACKGROUND, box)
    rgba[..., 3] //= 2
    layer = save(tmp_path / "layer.png", rgba)
    out = composite_clip(painted.clip, tmp_path / "out", bg_layer=layer, blend=[mode])
    inside, seen = (expected(painted, BACKGROUND, box) == RED).all(-1), 0
    for source, frame, square in zip(painted.frames, load_frames(out), inside, strict=True):
        over = np.zeros((HEIGHT, WIDTH, 4), np.uint8)
        over[square] = (*RED, 127)
        wanted = lay_over(source, over, 1.0, mode)
        core = cv2.erode(square.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
        away = cv2.dilate(square.astype(np.uint8), np.ones((3, 3), np.uint8)) == 0
        assert (np.abs(frame.astype(int) - wanted)[core] <= 1).all()
        assert np.array_equal(frame[away], source[away])
        seen += core.sum()
    assert seen > 500
    with pytest.raises(UsageError, match="one mode for all"):
        composite_clip(painted.clip, tmp_path / "no", bg_layer=layer, blend=[mode, "normal"])


def test_frames_that_were_not_fitted_are_copied(painted: Painted, tmp_path: Path) -> None:
    model = true_model(painted.frames[:8], painted.masks[:8], first=2, every=1)
    atlas = tmp_path / "part.atlas"
    save_atlas(atlas, model, painted.clip, first=2)
    rgba = np.array(Image.open(atlas / PICTURES[BACKGROUND]))
    rgba[..., :] = (*RED, 255)
    layer = save(tmp_path / "layer.png", rgba)
    told = Told()
    out = composite_clip(
        painted.clip, tmp_path / "out", atlas_dir=atlas, bg_layer=layer, progress=told
    )
    changed = (load_frames(out) != painted.frames).any((1, 2, 3))
    assert changed.tolist() == [2 <= t < 8 for t in range(COUNT)]
    assert "frames 0–1 and 8–9 were not fitted: they are copied as they are" in told.messages
    edit = save(tmp_path / "edit.png", np.full((HEIGHT, WIDTH, 4), 255, np.uint8))
    with pytest.raises(UsageError, match="frame 8 was not fitted; choose one of 2 to 7"):
        composite_clip(painted.clip, tmp_path / "no", atlas_dir=atlas, frame_edits=[f"8:{edit}"])


def test_a_video_keeps_its_timing_sound_and_colours(painted: Painted, tmp_path: Path) -> None:
    times = [Fraction(t * t + 9 * t, 100) for t in range(COUNT)]
    silent = tmp_path / "silent.mp4"
    write_video(silent, painted.frames, Fraction(10), times=times)
    source = add_sound(silent, tmp_path / "clip.mp4", "aac")
    save_atlas(tmp_path / "clip.atlas", true_model(painted.frames, painted.masks), source)
    box = box_of(painted, FOREGROUND)
    layer = save(tmp_path / "layer.png", square_layer(painted, FOREGROUND, box))
    out = composite_clip(source, tmp_path / "out.mp4", fg_layer=layer)
    before, after = open_clip(source), open_clip(out)
    assert after.variable and after.has_audio and after.count == COUNT
    assert (after.width, after.height, after.colors) == (WIDTH, HEIGHT, before.colors)
    assert [data for _, data in audio_packets(out)] == [d for _, d in audio_packets(source)]
    gaps = [abs(a - b) for a, b in zip(after.times, before.times, strict=True)]
    assert max(gaps) <= Fraction(1, 1000)
    wanted = expected(painted, FOREGROUND, box)
    for t, frame in enumerate(after.frames()):
        inside = cv2.erode((wanted[t] == RED).all(-1).astype(np.uint8), np.ones((5, 5))) > 0
        assert np.abs(frame[inside].mean(0) - RED).max() < 12
        assert np.abs(frame - wanted[t].astype(int)).mean() < 6
    with pytest.raises(UsageError, match=r"out.mp4 exists: add --overwrite"):
        composite_clip(source, out, fg_layer=layer)
    composite_clip(source, out, fg_layer=layer, overwrite=True)


def test_transparency_is_kept_where_the_file_can(painted: Painted, tmp_path: Path) -> None:
    alpha = np.full(painted.frames.shape[:3], 255, np.uint8)
    alpha[:, :, :12] = 0
    source = tmp_path / "clip.webm"
    write_layer_video(source, np.concatenate([painted.frames, alpha[..., None]], 3), Fraction(10))
    save_atlas(tmp_path / "clip.atlas", true_model(painted.frames, painted.masks), source)
    box = box_of(painted, FOREGROUND)
    layer = save(tmp_path / "layer.png", square_layer(painted, FOREGROUND, box))
    wanted = expected(painted, FOREGROUND, box)
    for name in ("out.webm", "out.mov", "folder", "out.mp4"):
        told = Told()
        out = composite_clip(source, tmp_path / name, fg_layer=layer, progress=told)
        on_white = "clip.webm: transparent pixels are shown on white" in told.messages
        assert on_white == (name == "out.mp4")
        for frame, frame_wanted in zip(open_clip(out).frames(alpha=True), wanted, strict=True):
            assert np.abs(frame[:, 16:, :3].astype(int) - frame_wanted[:, 16:]).mean() < 6
            if not on_white:
                assert frame[:, :8, 3].max() <= 3
                assert frame[:, 16:, 3].min() >= 252


def test_the_atlas_may_be_in_the_current_folder(
    painted: Painted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip = tmp_path / "elsewhere" / "clip"
    clip.parent.mkdir()
    save_frames(clip, painted.frames)
    layer = save(
        tmp_path / "layer.png",
        square_layer(painted, FOREGROUND, box_of(painted, FOREGROUND)),
    )
    with pytest.raises(UsageError, match="no atlas of it; run text2live fit-atlas"):
        composite_clip(clip, tmp_path / "out", fg_layer=layer)
    (tmp_path / "clip.atlas").symlink_to(painted.atlas)
    monkeypatch.chdir(tmp_path)
    composite_clip(clip, "out", fg_layer=layer)
    assert len(list((tmp_path / "out").iterdir())) == COUNT


def test_bad_requests_are_one_line(painted: Painted, tmp_path: Path) -> None:
    height, width = picture_of(painted, FOREGROUND).shape[:2]
    wrong = save(tmp_path / "wrong.png", np.zeros((height + 1, width, 4), np.uint8))
    flat = save(tmp_path / "flat.png", np.zeros((HEIGHT, WIDTH, 3), np.uint8))
    clear = save(tmp_path / "clear.png", np.zeros((height, width, 4), np.uint8))
    full = tmp_path / "full"
    save_frames(full, painted.frames[:1])
    cases: list[tuple[dict[str, Any], str]] = [
        ({}, "give --fg-layer, --bg-layer, --frame-edit or results"),
        ({"fg_layer": clear, "opacity": 1.5}, "--opacity 1.5: must be from 0 to 1"),
        ({"fg_layer": clear, "opacity": float("nan")}, "--opacity nan"),
        ({"fg_layer": wrong}, f"it must be {width}×{height}, as foreground.png is, or a whole"),
        ({"fg_layer": flat}, "--fg-layer .*flat.png: is 160×96; it must be"),
        ({"fg_layer": tmp_path / "none.png"}, "no such file"),
        ({"frame_edits": ["edit.png"]}, "write FRAME:PICTURE"),
        ({"frame_edits": ["-1:edit.png"]}, "write FRAME:PICTURE"),
        ({"frame_edits": [f"99:{flat}"]}, "frame 99 was not fitted; choose one of 0 to 9"),
        ({"frame_edits": [f"0:{clear}"]}, f"the picture is {width}×{height}, the clip 160×96"),
        ({"fg_layer": clear, "output": painted.clip}, "is the clip itself"),
        ({"fg_layer": clear, "output": painted.clip, "overwrite": True}, "is the clip itself"),
        ({"fg_layer": clear, "output": full}, "exists: add --overwrite"),
        ({"fg_layer": clear, "output": tmp_path / "out.avi"}, "use a name that ends in .mp4"),
    ]
    for request, message in cases:
        with pytest.raises(UsageError, match=message) as caught:
            composite_clip(painted.clip, request.pop("output", tmp_path / "out"), **request)
        assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()
    with pytest.raises(Text2LiveError, match="cannot be made a folder"):
        composite_clip(painted.clip, f"{clear}/", fg_layer=clear, overwrite=True)


def test_an_atlas_that_does_not_fit(painted: Painted, tmp_path: Path) -> None:
    layer = painted.atlas / PICTURES[BACKGROUND]
    other = tmp_path / "other"
    save_frames(other, painted.frames[::-1])
    with pytest.raises(UsageError, match="fitted to another clip"):
        composite_clip(other, tmp_path / "out", atlas_dir=painted.atlas, bg_layer=layer)
    model = true_model(painted.frames, np.zeros_like(painted.masks))
    save_atlas(tmp_path / "single.atlas", model, painted.clip)
    with pytest.raises(UsageError, match=r"--fg-layer .* has no foreground atlas"):
        composite_clip(
            painted.clip, tmp_path / "out", atlas_dir=tmp_path / "single.atlas", fg_layer=layer
        )
    (tmp_path / "single.atlas" / PICTURES[BACKGROUND]).write_bytes(
        save(tmp_path / "flat.png", np.zeros((64, 64, 3), np.uint8)).read_bytes()
    )
    with pytest.raises(Text2LiveError, match=r"background.png: was changed since the fit"):
        composite_clip(
            painted.clip, tmp_path / "out", atlas_dir=tmp_path / "single.atlas", bg_layer=layer
        )


def similarity(scale: float, angle: float, height: int, width: int) -> torch.Tensor:
    """uv (h, w, 2) of a frame that is turned and scaled into its atlas."""
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    cos, sin = scale * np.cos(angle), scale * np.sin(angle)
    return torch.stack([cos * x - sin * y + 80, sin * x + cos * y + 80], -1).float()


@settings(max_examples=25, deadline=None)
@given(st.floats(0.2, 4), st.floats(-3, 3), st.integers(0, 2**31))
def test_a_carried_edit_comes_back_where_it_was(scale: float, angle: float, seed: int) -> None:
    """Through any similarity, on the frame that was painted: within a level or two."""
    random = np.random.default_rng(seed)
    edit = np.zeros((40, 60, 4), np.float32)
    edit[10:30, 15:45] = random.random((20, 30, 4)) * 0.5 + 0.5
    uv = similarity(scale, angle, 40, 60)
    maps = Maps.of_two(uv, uv, torch.zeros(40, 60))
    layers = carry(torch.from_numpy(edit), maps, 3)
    assert list(layers) == [BACKGROUND]
    frame = random.integers(0, 256, (40, 60, 3), dtype=np.uint8)
    result = lay_over_frame(frame, maps, layers)
    alpha = edit[..., 3:]
    wanted = 255 * edit[..., :3] * alpha + (1 - alpha) * frame
    off = np.abs(result - wanted)
    assert np.array_equal(result[:9], frame[:9]) and np.array_equal(result[:, 46:], frame[:, 46:])
    assert np.median(off) < 1 and off.mean() < 6


def test_a_magnified_edit_has_no_holes() -> None:
    """A part that the atlas shows larger than the rest: what lies between splats is filled."""
    uv = similarity(1, 0, 60, 60)
    uv[..., 0] = uv[..., 0] + (uv[..., 0] - 110).clamp(min=0) * 1.5
    maps = Maps.of_two(uv, uv, torch.zeros(60, 60))
    edit = torch.zeros(60, 60, 4)
    edit[10:50, 5:55] = torch.tensor([1.0, 0.0, 0.0, 1.0])
    layer = carry(edit, maps, 3)[BACKGROUND]
    wide = torch.nn.functional.interpolate(
        uv.permute(2, 0, 1)[None], scale_factor=4, mode="bilinear"
    )[0].permute(1, 2, 0)
    alpha = layer.at(wide)[..., 3]
    assert alpha[48:192, 28:200].min() > 0.99
    assert alpha[:36].max() == 0 and alpha[:, :12].max() == 0


def test_paint_that_is_out_of_the_picture_changes_nothing() -> None:
    rgba = np.full((20, 30, 4), 255, np.uint8)
    uv = similarity(1, 0.5, 40, 60)
    maps = Maps.of_two(uv, uv, torch.full((40, 60), 0.5))
    frame = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    away = Layer.of(AtlasPicture(rgba, 300, 300))
    assert np.array_equal(lay_over_frame(frame, maps, {FOREGROUND: away}), frame)
    assert np.array_equal(lay_over_frame(frame, maps, {}), frame)
    here = Layer.of(AtlasPicture(rgba, 80, 80))
    both = lay_over_frame(frame, maps, {FOREGROUND: away, BACKGROUND: here})
    assert np.array_equal(both, lay_over_frame(frame, maps, {BACKGROUND: here}))
    touched = here.at(uv)[..., 3].numpy() > 0
    assert np.array_equal((both != frame).any(-1), touched & (frame < 254).any(-1))


def test_soft_edges_follow_the_paint_on_either_side() -> None:
    """A stroke over the object's edge shows whole; one on the object leaves nothing behind it."""
    ramp = ((torch.arange(60.0) - 30) / 6 + 0.5).clamp(0, 1).expand(40, 60)  # object at the right
    uv = similarity(1, 0, 40, 60)
    maps = Maps.of_two(uv, uv, ramp)
    frame = np.full((40, 60, 3), 100, np.uint8)
    across = torch.zeros(40, 60, 4)
    across[10:30, 10:50] = torch.tensor([1.0, 0.0, 0.0, 1.0])
    result = lay_over_frame(frame, maps, carry(across, maps, 4))
    assert (result[11:29, 11:49] == (255, 0, 0)).all()
    on_object = torch.zeros(40, 60, 4)
    on_object[10:30, 29:50] = torch.tensor([1.0, 0.0, 0.0, 1.0])
    assert list(carry(on_object, maps, 4)) == [FOREGROUND]
    beside = torch.zeros(40, 60, 4)
    beside[10:30, 10:32] = torch.tensor([1.0, 0.0, 0.0, 1.0])
    assert list(carry(beside, maps, 4)) == [BACKGROUND]
