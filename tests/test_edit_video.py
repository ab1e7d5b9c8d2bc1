"""`edit-video` through the real command, on painted clips whose atlas is known exactly."""

from __future__ import annotations

import errno
import itertools
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import av
import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import SafetensorError
from safetensors.torch import load_file
from swatch_training.moving import paint_clip
from typer.testing import Result

from tests.browser import SEEKED, TIMES, Outline, assert_self_contained, open_browser, png
from tests.clips import NTSC, audio_packets, save_frames
from tests.commands import StopAt, assert_interrupted_well, history_of, one_line, passed, run
from tests.moving_truth import offset, paint_closed, true_model
from text2live_cli import UsageError
from text2live_cli.atlas import ATLAS
from text2live_cli.atlas.discretise import AtlasPicture, discretise
from text2live_cli.atlas.fit.settings import GridSettings
from text2live_cli.atlas.footage import EditedFrame, edited
from text2live_cli.atlas.grid import GridModel, Texture
from text2live_cli.atlas.grid import Mapping as GridMapping
from text2live_cli.atlas.layers import BACKGROUND, FOREGROUND, FRONT_FIRST, Side
from text2live_cli.atlas.render import Layer, lay_over_frame
from text2live_cli.atlas.store import PICTURES, Atlas, AtlasFacts, read_atlas, write_atlas
from text2live_cli.config import MIN_SIDE, resolve_video_settings
from text2live_cli.engine.edit_layer import GREEN_SCREEN
from text2live_cli.media import clip_kinds, clip_writing, files
from text2live_cli.media.clip_writing import write_video
from text2live_cli.media.clips import open_clip
from text2live_cli.media.picture_writing import write_picture
from text2live_cli.media.pictures import read_picture
from text2live_cli.pipelines.video import edit_video
from text2live_cli.progress import Silent
from text2live_cli.runs.folder import CHECKPOINT, RECORD
from text2live_cli.video.frames import training_size
from text2live_cli.video.result import write_videos
from text2live_cli.video.scene import prepare_atlas_scene

MEDIA = Path(__file__).resolve().parents[2] / "shared" / "media"
COUNT, SIZE = 6, (136, 160)
SETTINGS = {"clip": "swatch", "preset": "draft", "views": 1, "steps": 1}
QUICK = [text for name, value in SETTINGS.items() for text in (f"--{name}", str(value))]
RESULT = {
    "composite",  # as the source: a folder of frames
    "composite.mp4",
    "screen.mp4",
    "atlas-layer.png",
    "loss.png",
    "report.html",
    "region.png",
    "mask.png",
    "history.csv",
    "previews",
    RECORD,
    CHECKPOINT,
}


class Painted(NamedTuple):
    """A painted clip on disk: its frames in `clip/`, its true atlas in `clip.atlas/`."""

    folder: Path
    frames: np.ndarray
    masks: np.ndarray

    @property
    def clip(self) -> Path:
        return self.folder / "clip"

    @property
    def atlas(self) -> Path:
        return self.folder / "clip.atlas"


def save_atlas(folder: Path, model: GridModel, clip: Path, first: int = 0) -> None:
    """As `fit_atlas` leaves it, as far as an edit needs it."""
    folder.mkdir()
    found = {side: discretise(model, side) for side in FRONT_FIRST}
    corners = {side: (p.left, p.top) for side, p in found.items() if p is not None}
    for side, picture in found.items():
        if picture is not None:
            write_picture(folder / PICTURES[side], picture.rgba[..., :3], picture.rgba[..., 3])
    facts = AtlasFacts(
        model="grid",
        size=model.size,
        frames=model.frames,
        first=first,
        every=1,
        rate="24",
        source=open_clip(clip).sha256,
        source_size=model.size,
        canvases={side: model.canvas(side) for side in FRONT_FIRST},
        corners=corners,
        settings={},
    )
    write_atlas(folder, model, facts)


def save_painted(folder: Path, frames: np.ndarray, masks: np.ndarray) -> Painted:
    save_frames(folder / "clip", frames)
    save_atlas(folder / "clip.atlas", true_model(frames, masks), folder / "clip")
    return Painted(folder, frames, masks)


def noise_at(atlas: Atlas, side: Side, x: int, y: int) -> Layer:
    """Some, in colours and alpha, with its corner at a pixel of the first frame."""
    rgba = np.random.default_rng(x).integers(0, 256, (40, 60, 4), dtype=np.uint8)
    left, top = atlas.locate(0, atlas.facts.source_size).uv[side][y, x].int().tolist()
    return Layer.of(AtlasPicture(rgba, left, top), 1.3)


def test_the_films_of_a_frame_are_the_layers_over_it_over_green_and_by_itself(
    painted: Painted,
) -> None:
    """Whatever lies below it, beside it, or half out of the frame."""
    clip, atlas = open_clip(painted.clip), read_atlas(painted.atlas)
    atlas = replace(atlas, facts=replace(atlas.facts, frames=COUNT - 1))
    top = noise_at(atlas, BACKGROUND, 130, 40)
    behind, before = noise_at(atlas, BACKGROUND, 90, 30), noise_at(atlas, FOREGROUND, 80, 60)
    below = [(BACKGROUND, behind), (FOREGROUND, before)]
    frames = list(edited(clip, atlas, below, BACKGROUND, top))
    size, green = (clip.height, clip.width), np.empty((clip.height, clip.width, 3), np.uint8)
    green[:] = np.rint(255 * np.array(GREEN_SCREEN))
    for number, (made, frame) in enumerate(zip(frames[:-1], clip.frames(), strict=False)):
        maps = atlas.locate(number, size)
        frame = lay_over_frame(frame, maps, {BACKGROUND: behind, FOREGROUND: before})
        np.testing.assert_array_equal(
            made.composite, lay_over_frame(frame, maps, {BACKGROUND: top})
        )
        np.testing.assert_array_equal(made.screen, lay_over_frame(green, maps, {BACKGROUND: top}))
        seen = top.at(maps.uv[BACKGROUND])
        alpha = (seen[..., 3] * maps.share[BACKGROUND]).numpy() * 255
        assert np.abs(made.layer[..., 3] - alpha).max() < 0.51 and alpha.max() > 200
        color = (seen[..., :3] / seen[..., 3:].clamp(min=1e-6)).numpy() * 255
        assert np.abs(made.layer[..., :3] - color)[alpha > 0].max() < 0.51
        assert not made.layer[(seen == 0).all(-1).numpy()].any()
    last = frames[-1]  # was not fitted
    np.testing.assert_array_equal(last.composite, painted.frames[-1])
    assert (last.screen == green).all() and not last.layer.any()


def save_video(path: Path, painted: Painted, rate: Fraction, **timing: Any) -> Path:
    """The painted clip as a video, with its atlas beside it."""
    write_video(path, painted.frames, rate, **timing)
    save_atlas(path.with_suffix(".atlas"), true_model(painted.frames, painted.masks), path)
    return path


def part_of(model: GridModel, first: int, end: int) -> GridModel:
    """The model of the frames from `first` on before `end`."""
    mappings, textures = {}, {}
    for side in FRONT_FIRST:
        mappings[side] = GridMapping(model.mapping(side).base[first:end], model.size, 16, 4)
        textures[side] = Texture(model.texture(side), 1)
    logits = model.opacity_logits[first:end]
    return GridModel(model.size, mappings, textures, logits)


@pytest.fixture(scope="module")
def painted(tmp_path_factory: pytest.TempPathFactory) -> Painted:
    frames, masks = paint_closed("cup", "red", "grass", 3, COUNT, SIZE)
    return save_painted(tmp_path_factory.mktemp("painted"), frames, masks)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def copied(painted: Painted, here: Path) -> Painted:
    """A copy of `painted`, in the current folder."""
    shutil.copytree(painted.folder, here, dirs_exist_ok=True)
    return painted._replace(folder=Path())


class Results(NamedTuple):
    """Finished edits of `painted`, to be read and not to be written to."""

    fg: Path
    """In all formats."""
    bg: Path
    stderr: str
    """Of the first."""


@pytest.fixture(scope="module")
def made(painted: Painted, tmp_path_factory: pytest.TempPathFactory) -> Results:
    folder = tmp_path_factory.mktemp("made")
    fg, bg = folder / "fg", folder / "bg"
    first = passed(edit(painted.clip, *FORMATS, "-o", fg))
    passed(edit(painted.clip, "--atlas", "bg", *NO_LAYER, "-o", bg, prompt="sand"))
    return Results(fg, bg, first.stderr)


FORMATS = [text for name in ("mov", "webm", "png") for text in ("--layer-format", name)]
NO_LAYER = ("--layer-format", "none")


def edit(clip: Path | str, *arguments: object, prompt: str = "golden cup") -> Result:
    """A quick edit; an option in `arguments` replaces that of `QUICK`."""
    given = [str(a) for a in arguments]
    rows = zip(QUICK[::2], QUICK[1::2], strict=True)
    quick = [text for row in rows if row[0] not in given for text in row]
    return run("edit-video", clip, prompt, *quick, *given)


def refused(result: Result, code: int, *texts: str) -> str:
    """The error line of a command that failed with `code`; it says all of `texts`."""
    line = one_line(result)
    assert result.exit_code == code, result.output
    for text in texts:
        assert text in line
    return line


def record_of(folder: Path | str) -> dict[str, Any]:
    return json.loads(Path(folder, RECORD).read_text("utf-8"))


def names(folder: Path | str) -> set[str]:
    return {path.name for path in Path(folder).iterdir()}


def contents(folder: Path | str) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in Path(folder).iterdir() if p.is_file()}


def load(folder: Path) -> np.ndarray:
    return np.stack([np.asarray(Image.open(path)) for path in sorted(folder.glob("*.png"))])


def rgba_of(folder: Path | str) -> np.ndarray:
    with Image.open(Path(folder, "atlas-layer.png")) as picture:
        assert picture.mode == "RGBA"
        return np.array(picture)


def video_frames(path: Path) -> np.ndarray:
    return np.stack(list(open_clip(path).frames()))


def rendered(clip: Path, *arguments: object) -> np.ndarray:
    """The frames of `composite CLIP RESULT_DIR…`, without loss."""
    out = Path(f"rendered-{len(list(Path().glob('rendered-*')))}")
    passed(run("composite", clip, *arguments, "-o", out))
    return load(out)


def alphas(path: Path) -> np.ndarray:
    """The alpha (T, h, w) of a layer video."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        decoder: Any = stream.codec_context
        if path.suffix == ".webm":  # FFmpeg's own decoder drops the alpha
            decoder = av.CodecContext.create("libvpx-vp9", "r")
        packets = [packet if packet.size else None for packet in container.demux(stream)]
        frames = [frame for packet in packets for frame in decoder.decode(packet)]
        return np.stack([f.reformat(format="rgba").to_ndarray()[..., 3] for f in frames])


# The result


def test_a_result_is_complete_and_its_videos_fit_the_clip(painted: Painted, made: Results) -> None:
    assert names(made.fg) == RESULT | {"layer.mov", "layer.webm", "layer"}
    assert names(made.bg) == RESULT
    assert "the edited clip; report.html beside it" in made.stderr
    source = open_clip(painted.clip)
    for name in ("composite.mp4", "screen.mp4", "layer.mov", "layer.webm"):
        with av.open(str(made.fg / name)) as container:
            stream = container.streams.video[0]
            assert (stream.width, stream.height) == (SIZE[1], SIZE[0])
            assert sum(packet.size > 0 for packet in container.demux(stream)) == COUNT
            assert stream.average_rate == source.rate
    with av.open(str(made.fg / "composite.mp4")) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.pix_fmt) == ("h264", "yuv420p")
    assert len(list((made.fg / "layer").iterdir())) == COUNT
    with Image.open(made.fg / "loss.png") as chart:
        chart.load()
    corner = video_frames(made.fg / "screen.mp4")[:, 0, 0]
    assert np.abs(corner - np.array(GREEN_SCREEN) * 255).max() <= 6
    page = (made.fg / "report.html").read_text("utf-8")
    assert_self_contained(page)
    outline = Outline(page)
    assert outline.text("h1") == ["clip: golden cup"]
    before, after = (png(shown["src"]) for shown in outline.all("img"))
    assert before.shape == after.shape == rgba_of(made.fg).shape
    assert not np.array_equal(before, after)


def test_the_layer_is_the_same_in_all_formats(painted: Painted, made: Results) -> None:
    layer = load(made.fg / "layer")
    assert layer.shape == (*painted.frames.shape[:3], 4)
    assert layer[..., 3].max() > 60
    assert not layer[~painted.masks, 3].any()
    for name, most, mean in (("layer.mov", 1, 0.5), ("layer.webm", 20, 1.0)):
        off = np.abs(alphas(made.fg / name).astype(int) - layer[..., 3])
        assert off.max() <= most
        assert off.mean() <= mean


class Layered:
    """An edit whose layer is what was painted, for the files alone."""

    def __init__(self, painted: Painted) -> None:
        soft = np.repeat(np.linspace(0, 255, SIZE[1])[None, :], SIZE[0], axis=0).astype(np.uint8)
        self.rgba = [np.dstack([frame, soft]) for frame in painted.frames]

    def frames(self) -> Iterator[EditedFrame]:
        return (EditedFrame(rgba[..., :3], rgba[..., :3], rgba) for rgba in self.rgba)


def test_a_matte_is_the_alpha_and_colours_may_be_multiplied_by_it(
    painted: Painted, tmp_path: Path
) -> None:
    clip, layered = open_clip(painted.clip), Layered(painted)
    formats = ("png", "matte", "png")  # one twice is as once
    write_videos(tmp_path, clip, layered, formats, Silent(), premultiplied=True)
    alpha = layered.rgba[0][..., 3].astype(float)
    matte = video_frames(tmp_path / "matte.mp4").astype(float)
    assert len(matte) == COUNT and np.abs(matte - alpha[..., None]).mean() < 1.5
    for frame, saved in zip(layered.rgba, load(tmp_path / "layer"), strict=True):
        assert np.array_equal(saved[..., 3], frame[..., 3])
        expected = frame[..., :3] * (alpha / 255)[..., None]
        assert np.abs(saved[..., :3] - expected).max() <= 0.51


def test_the_record_says_what_was_done(painted: Painted, here: Path) -> None:
    extra = ("--steps", 2, "--seed", 7, "--also", "silver cup", "--save-every", 1)
    result = passed(edit(painted.clip, "--json", "--roi", "red cup", *NO_LAYER, *extra))
    folder = Path("clip.fg.golden-cup")
    record = json.loads(result.stdout)
    assert record == record_of(folder)
    assert not [line for line in result.stderr.splitlines() if "edited clip" in line]
    assert record["input"]["sha256"] == open_clip(painted.clip).sha256
    assert record["input"]["frames"] == COUNT
    assert record["onto"] is None
    assert record["layer"]["side"] == "foreground"
    assert record["layer"]["scale"] > 0
    assert record["prompts"]["roi"] == "red cup"
    assert record["prompts"]["also"] == ["silver cup"]
    assert record["job"]["atlas"] == "fg"
    assert record["job"]["baseline"] is None
    assert record["seed"] == record["job"]["seed"] == 7
    assert record["steps_done"] == len(history_of(folder)["terms"]) == 2
    assert 0 <= record["unchanged_share"] <= 1
    assert set(record["seconds"]) >= {"preparation", "training", "result", "per_step"}
    assert names(folder / "previews") == {"00001.png", "00002.png", "latest.png"}


def test_the_frames_are_rendered_again_exactly(painted: Painted, made: Results, here: Path) -> None:
    frames = rendered(painted.clip, made.fg)
    passed(run("composite", painted.clip, made.fg, "-o", "again.mp4"))
    for path in (made.fg / "composite.mp4", Path("again.mp4")):
        off = np.abs(video_frames(path).astype(int) - frames)
        assert off.mean() < 4  # H.264, and colours at half the resolution
    layer = load(made.fg / "layer").astype(float)
    alpha = layer[..., 3:] / 255
    expected = painted.frames + alpha * (layer[..., :3] - painted.frames)
    assert np.abs(expected - frames).max() <= 1.5


def test_where_the_layer_is_not_the_frames_are_the_sources_bit_for_bit(
    painted: Painted, made: Results, here: Path
) -> None:
    frames = rendered(painted.clip, made.fg)
    nothing = load(made.fg / "layer")[..., 3] == 0
    assert 0.2 < nothing.mean() < 0.98
    np.testing.assert_array_equal(frames[nothing], painted.frames[nothing])
    assert (frames[painted.masks] != painted.frames[painted.masks]).any()


def test_an_edit_changes_its_own_side_only(painted: Painted, made: Results, here: Path) -> None:
    changed = (rendered(painted.clip, made.fg) != painted.frames).any(-1)
    assert changed[painted.masks].mean() > 0.5
    assert not changed[~painted.masks].any()
    changed = (rendered(painted.clip, made.bg) != painted.frames).any(-1)
    assert changed[~painted.masks].mean() > 0.5
    assert not changed[painted.masks].any()


def test_an_edit_sticks_to_the_object(painted: Painted, made: Results) -> None:
    """Both layers move by whole pixels, so that a frame's layer is the first one's, moved."""
    layer = load(made.fg / "layer")
    moved = offset(FOREGROUND, 0, COUNT, SIZE[1]) - offset(FOREGROUND, 5, COUNT, SIZE[1])
    assert moved > 20
    there, first = layer[5, :, moved:], layer[0, :, :-moved]
    both = painted.masks[5, :, moved:] & painted.masks[0, :, :-moved]
    assert both.sum() > 500
    assert np.abs(there[both].astype(int) - first[both]).max() <= 1


def test_opacity_fades_the_edit(painted: Painted, made: Results, here: Path) -> None:
    full = rendered(painted.clip, made.fg).astype(float)
    half = rendered(painted.clip, made.fg, "--opacity", 0.5)
    assert np.abs(half - (full + painted.frames) / 2).max() <= 1
    np.testing.assert_array_equal(rendered(painted.clip, made.fg, "--opacity", 0), painted.frames)
    result = run("composite", painted.clip, made.fg, "--opacity", 1.5, "-o", "out")
    refused(result, 2, "--opacity 1.5")


# A film beside the result


def test_a_film_that_is_gone_is_made_again_of_the_layer(painted: Painted, here: Path) -> None:
    line = ("-o", "film.mov", "--codec", "prores", *NO_LAYER)
    told = passed(edit(painted.clip, *line)).stderr
    assert "film.mov: the edited clip; report.html in film" in told
    made = Path("film.mov").read_bytes()
    Path("film.mov").unlink()
    assert "done already" in passed(edit(painted.clip, *line)).stderr
    assert Path("film.mov").read_bytes() == made
    tries = (*line, "--tries", "2", "--overwrite")
    passed(edit(painted.clip, *tries))
    assert open_clip(Path("film.mov")).count == COUNT
    record = record_of("film")
    assert (record["copy"], record["options"]["codec"]) == ("film.mov", "prores")
    best = Path("film.mov").read_bytes()
    Path("film.mov").unlink()
    assert "done already" in passed(edit(painted.clip, *tries[:-1])).stderr
    assert Path("film.mov").read_bytes() == best
    refused(edit(painted.clip, *tries, "--baseline", "frames"), 2, "-o film.mov", "name a folder")


def test_a_film_of_a_transparent_clip_is_made_again_as_it_was(painted: Painted, here: Path) -> None:
    alpha = np.full((COUNT, *SIZE, 1), 255, np.uint8)
    alpha[:, :20] = 90
    save_frames(here / "clip", np.concatenate([painted.frames, alpha], axis=3))
    save_atlas(here / "clip.atlas", true_model(painted.frames, painted.masks), here / "clip")
    passed(edit("clip", "-o", "film.mov", *NO_LAYER))
    made = Path("film.mov").read_bytes()
    Path("film.mov").unlink()
    passed(edit("clip", "-o", "film.mov", *NO_LAYER))
    assert Path("film.mov").read_bytes() == made


# One result onto another


def test_the_other_side_onto_a_result_shows_both(
    painted: Painted, made: Results, here: Path
) -> None:
    result = edit(
        painted.clip, "--atlas", "bg", "--onto", made.fg, "-o", "both", *FORMATS, prompt="sand"
    )
    passed(result)
    assert rgba_of("both").tobytes() == rgba_of(made.bg).tobytes()  # trained on the original
    both = rendered(painted.clip, "both")
    off = np.abs(video_frames(Path("both/composite.mp4")).astype(int) - both)
    assert off.mean() < 4
    np.testing.assert_array_equal(both, rendered(painted.clip, made.fg, made.bg))
    np.testing.assert_array_equal(both, rendered(painted.clip, made.bg, made.fg))
    for folder, seen in ((made.fg, painted.masks), (made.bg, ~painted.masks)):
        np.testing.assert_array_equal(both[seen], rendered(painted.clip, folder)[seen])
    assert not load(Path("both/layer"))[painted.masks, 3].any()  # its own side alone


def test_the_same_side_twice_is_stacked_in_order(
    painted: Painted, made: Results, here: Path
) -> None:
    options = ("--seed", 5, "--onto", made.fg, "-o", "second", *FORMATS)
    passed(edit(painted.clip, *options, prompt="wooden cup"))
    first, second = rendered(painted.clip, made.fg), rendered(painted.clip, "second")
    layer = load(Path("second/layer")).astype(float)
    expected = first + layer[..., 3:] / 255 * (layer[..., :3] - first)
    assert np.abs(second - expected).max() <= 1.5
    assert not np.array_equal(second, first)
    # Three of them: the third is laid onto the second with all that is below it.
    passed(edit(painted.clip, "--onto", "second", "-o", "third", *FORMATS, prompt="blue cup"))
    third, layer = rendered(painted.clip, "third"), load(Path("third/layer")).astype(float)
    expected = second + layer[..., 3:] / 255 * (layer[..., :3] - second)
    assert np.abs(third - expected).max() <= 1.5


def test_a_result_is_found_below_from_another_folder(
    copied: Painted, monkeypatch: pytest.MonkeyPatch
) -> None:
    passed(edit("clip", "-o", "results/one", *NO_LAYER))
    passed(edit("clip", "--atlas", "bg", "--onto", "results/one", "-o", "results/two", *NO_LAYER))
    before = rendered(Path("clip"), "results/two")
    Path("elsewhere").mkdir()
    monkeypatch.chdir("elsewhere")
    np.testing.assert_array_equal(rendered(Path("../clip"), "../results/two"), before)


def test_what_an_edit_cannot_be_laid_onto(painted: Painted, made: Results, here: Path) -> None:
    onto = lambda folder, *more: edit(painted.clip, "--onto", folder, *more)  # noqa: E731
    refused(onto("nowhere"), 2, "nowhere", "no result of edit-video")
    refused(onto(painted.atlas), 2, "no result of edit-video")
    refused(onto(made.fg, "--baseline", "frames"), 2, "--onto", "frames")
    shutil.copytree(made.fg, "bent")
    told = record_of("bent")
    layer = told["layer"]
    for code, damage in (
        (2, {"onto": "../bent"}),
        (2, {"onto": 7}),
        (2, {"layer": None}),
        (2, {"layer": {"side": "foreground"}}),
        (1, {"layer": {**layer, "side": "middle"}}),
        (1, {"layer": {**layer, "scale": 0}}),
        (1, {"layer": {**layer, "left": float("nan")}}),
    ):
        Path("bent", RECORD).write_text(json.dumps({**told, **damage}), "utf-8")
        refused(onto("bent"), code, "bent")
    Path("bent", RECORD).write_text(json.dumps(told), "utf-8")
    Path("bent", "atlas-layer.png").write_bytes(b"no picture")
    refused(onto("bent"), 1, "atlas-layer.png")
    assert names(here) == {"bent"}


def test_a_result_cannot_take_the_place_of_what_it_is_made_from(
    copied: Painted,
) -> None:
    passed(edit("clip", "-o", "one", *NO_LAYER))
    before = {name: contents(name) for name in ("clip", "clip.atlas", "one")}
    for folder in ("clip", "clip.atlas"):
        for flag in ((), ("--overwrite",)):
            refused(edit("clip", "-o", folder, *flag), 2, "choose another -o DIR")
    passed(edit("clip", "--onto", "one", "-o", "two", *NO_LAYER))
    for onto in ("one", "two"):
        result = edit("clip", "--onto", onto, "-o", "one", "--overwrite")
        refused(result, 2, f"{onto}: ", "would lie on itself")
    assert {name: contents(name) for name in before} == before


# Atlases


def test_the_atlas_may_be_anywhere(copied: Painted, made: Results) -> None:
    shutil.move("clip.atlas", "mine")
    passed(edit("clip", "--atlas-dir", "mine", *NO_LAYER))
    Path("sub").mkdir()
    shutil.move("clip", "sub/clip")
    shutil.move("mine", "clip.atlas")  # in the current folder
    passed(edit("sub/clip", "-o", "out", *NO_LAYER))
    for folder in ("clip.fg.golden-cup", "out"):
        assert rgba_of(folder).tobytes() == rgba_of(made.fg).tobytes()
    result = edit("sub/clip", "--atlas-dir", "gone", "-o", "third")
    refused(result, 2, "gone: no atlas there", "fit-atlas")
    assert not Path("third").exists()


@pytest.fixture
def quick_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fits of two steps, at a small size."""
    monkeypatch.setattr(GridSettings, "steps", 2)
    monkeypatch.setattr("text2live_cli.atlas.fit.settings._CPU_SIZE", 96)


def test_a_missing_atlas_is_fitted_first_and_kept(copied: Painted, quick_fit: None) -> None:
    shutil.rmtree("clip.atlas")
    save_frames(Path("masks"), copied.masks.astype(np.uint8) * 255)
    result = passed(edit("clip", "--masks", "masks", *NO_LAYER))
    assert "no atlas of this clip yet: it is fitted first" in result.stderr
    assert Path("clip.atlas", ATLAS).exists()
    assert record_of("clip.atlas")["job"]["masks"]
    kept = contents("clip.atlas")
    again = passed(edit("clip", "--masks", "masks", *NO_LAYER, "--overwrite"))
    assert "--masks is for fitting" in again.stderr
    assert "is fitted first" not in again.stderr
    assert contents("clip.atlas") == kept


def test_a_missing_atlas_is_fitted_with_the_encoder_of_the_edit(
    copied: Painted, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: dict[str, Any] = {}

    def fitted(source: Path, **options: Any) -> None:
        asked.update(options)
        raise UsageError("asked")

    monkeypatch.setattr("text2live_cli.pipelines.clip_atlas.fit_atlas", fitted)
    shutil.rmtree("clip.atlas")
    refused(edit("clip", "--foreground", "cup"), 2, "asked")
    assert (asked["foreground"], asked["clip"], asked["masks"]) == ("cup", "swatch", None)
    refused(edit("clip"), 2, "asked")
    assert (asked["foreground_hint"], asked["foreground"]) == ("cup", None)
    refused(edit("clip", "--roi", "red cup"), 2, "asked")
    assert asked["foreground_hint"] == "red cup"
    asked.clear()
    refused(edit("clip", "--atlas", "bg", prompt="snowy grass"), 2, "asked")
    assert "foreground_hint" not in asked


def test_a_fit_that_fails_leaves_no_result(copied: Painted) -> None:
    shutil.rmtree("clip.atlas")
    refused(edit("clip", "--foreground", "cup", "--masks", "clip"), 2, "choose one")
    assert names(".") == {"clip"}
    refused(edit("clip", "--box", "1,2,3000,40"), 2, "--box 1,2,3000,40")
    assert not Path("clip.fg.golden-cup").exists()


def test_a_fit_that_was_stopped_is_not_used_unsaid(copied: Painted, quick_fit: None) -> None:
    shutil.rmtree("clip.atlas")
    with pytest.raises(KeyboardInterrupt):
        edit_video("clip", "golden cup", progress=StopAt("fitting", 1), **SETTINGS)
    assert not Path("clip.fg.golden-cup").exists()
    assert record_of("clip.atlas")["interrupted"]
    result = passed(edit("clip", *NO_LAYER, "--any-atlas"))  # poor, after a single step
    assert "clip.atlas: its fit was stopped early and is used as it is" in result.stderr


def test_resuming_goes_on_with_a_fit_that_was_stopped(copied: Painted, quick_fit: None) -> None:
    shutil.copytree("clip", "other")
    passed(edit("other", *NO_LAYER))
    shutil.rmtree("clip.atlas")
    with pytest.raises(KeyboardInterrupt):
        edit_video("clip", "golden cup", progress=StopAt("fitting", 1), **SETTINGS)
    Path("clip.atlas", ATLAS).unlink()  # as if it had been killed
    refused(edit("clip", *NO_LAYER), 2, "clip.atlas holds an unfinished fit: add --resume")
    refused(edit("clip", *NO_LAYER, "--resume", "--overwrite"), 2, "choose one")
    refused(edit("clip", *NO_LAYER, "--resume", "--onto", "other.fg.golden-cup"), 2, "--onto")
    result = passed(edit("clip", *NO_LAYER, "--resume", "--roi", "red cup"))
    assert "clip.atlas: its fit goes on where it was stopped" in result.stderr
    assert "stopped early" not in result.stderr
    assert not record_of("clip.atlas")["interrupted"]
    assert not Path("clip.atlas", CHECKPOINT).exists()
    fits = [load_file(Path(name, ATLAS)) for name in ("clip.atlas", "other.atlas")]
    assert all(torch.equal(fits[0][name], fits[1][name]) for name in fits[1])


def test_an_atlas_of_another_clip_is_refused(copied: Painted) -> None:
    other = save_frames(Path("other"), copied.frames[::-1])
    refused(edit(other, "--atlas-dir", "clip.atlas"), 2, "clip.atlas was fitted to another clip")
    Image.fromarray(255 - copied.frames[2]).save("clip/00002.png")
    refused(edit("clip"), 2, "clip.atlas was fitted to another clip", "changed")
    assert names(".") == {"clip", "clip.atlas", "other"}


def test_results_of_another_clip_are_refused(copied: Painted, made: Results) -> None:
    other, none = copied.frames[::-1], np.zeros_like(copied.masks)
    save_painted(Path("other"), other, none)
    result = edit("other/clip", "--atlas", "bg", "--onto", made.fg)
    refused(result, 2, "another clip")
    refused(run("composite", "other/clip", made.fg, "-o", "out"), 2, "another clip")


def test_one_layer_has_no_foreground(painted: Painted, here: Path) -> None:
    save_painted(Path("still"), painted.frames, np.zeros_like(painted.masks))
    refused(edit("still/clip", "--atlas", "fg"), 2, "--atlas", "no foreground")
    assert names(here) == {"still"}
    passed(edit("still/clip", "--atlas", "bg", *NO_LAYER, prompt="sand"))
    assert Path("clip.bg.sand/composite.mp4").exists()


def test_frames_that_were_not_fitted_are_copied(painted: Painted, here: Path) -> None:
    shutil.copytree(painted.clip, "clip")
    model = part_of(true_model(painted.frames, painted.masks), 2, 5)
    save_atlas(Path("clip.atlas"), model, Path("clip"), first=2)
    result = passed(edit("clip", "-o", "out", *FORMATS))
    assert "frames 0–1 and 5 were not fitted: they are copied as they are" in result.stderr
    assert open_clip(Path("out/composite.mp4")).count == COUNT
    frames, layer = rendered(Path("clip"), "out"), load(Path("out/layer"))
    for t in range(COUNT):
        changed = not np.array_equal(frames[t], painted.frames[t])
        assert changed == layer[t, ..., 3].any() == (2 <= t < 5)


def test_a_range_without_any_frame_is_refused(painted: Painted, here: Path) -> None:
    shutil.copytree(painted.clip, "clip")
    save_atlas(Path("clip.atlas"), true_model(painted.frames, painted.masks), Path("clip"), 90)
    refused(edit("clip"), 2, "none of its 6 frames was fitted")


def test_a_poor_atlas_is_edited_only_when_that_is_asked_for(copied: Painted) -> None:
    facts = {"verdict": ["poor: edits will not sit well on this clip"], "advice": ["more steps"]}
    Path("clip.atlas", "run.json").write_text(json.dumps(facts))
    told = refused(edit("clip", *FORMATS), 1, "clip.atlas: atlas poor", "more steps", "--any-atlas")
    assert not Path("clip.fg.golden-cup").exists(), told
    passed(edit("clip", "--any-atlas", *FORMATS))
    page = Path("clip.fg.golden-cup", "report.html").read_text("utf-8")
    assert "more steps" in page


# Again, over it, and on


def test_an_existing_result_is_not_overwritten_silently(copied: Painted) -> None:
    passed(edit("clip", *FORMATS))
    folder = Path("clip.fg.golden-cup")
    atlas, before = contents("clip.atlas"), contents(folder)
    refused(edit("clip"), 2, "holds a result already", "--overwrite")
    assert contents(folder) == before
    passed(edit("clip", "--seed", 4, "--overwrite", "--layer-format", "webm"))
    after = contents(folder)
    assert rgba_of(folder).tobytes() != before["atlas-layer.png"]
    assert after["composite.mp4"] != before["composite.mp4"]
    assert record_of(folder)["seed"] == 4
    assert names(folder) == RESULT | {"layer.webm"}  # no layer of the former edit stays
    assert contents("clip.atlas") == atlas
    refused(edit("clip", "--overwrite", "--resume"), 2, "choose one")


def test_what_is_not_ours_survives_overwriting(copied: Painted) -> None:
    passed(edit("clip", "-o", "out", *FORMATS))
    for name in ("notes.txt", "layer/mine.png", "layer/00001.txt"):
        Path("out", name).write_bytes(b"mine")
    passed(edit("clip", "-o", "out", "--overwrite", *NO_LAYER))
    assert names("out") == RESULT | {"notes.txt", "layer"}
    assert names("out/layer") == {"mine.png", "00001.txt"}


def test_a_failed_run_leaves_the_former_result(copied: Painted) -> None:
    passed(edit("clip", "-o", "out"))
    before = contents("out")
    refused(edit("clip", "-o", "out", "--overwrite", prompt="quantum bagpipe"), 2, "swatch")
    assert contents("out") == before


def test_the_same_seed_gives_the_same_files_and_another_does_not(
    painted: Painted, made: Results, here: Path
) -> None:
    passed(edit(painted.clip, *FORMATS, "-o", "same"))
    passed(edit(painted.clip, *NO_LAYER, "--seed", 1, "-o", "other"))
    same, first = contents("same"), contents(made.fg)
    for name in ("atlas-layer.png", "layer.mov", "layer.webm"):  # x264 is not so steady
        assert same[name] == first[name], name
    assert contents("other")["atlas-layer.png"] != first["atlas-layer.png"]


def tensors(folder: str) -> dict[str, torch.Tensor]:
    return load_file(Path(folder, CHECKPOINT))


def assert_same_run(a: str, b: str) -> None:
    assert rgba_of(a).tobytes() == rgba_of(b).tobytes()
    first, second = tensors(a), tensors(b)
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert history_of(a) == history_of(b)


@pytest.mark.parametrize("baseline", [None, "frames"])
def test_a_resumed_run_ends_as_one_that_was_never_stopped(
    baseline: str | None, painted: Painted, here: Path
) -> None:
    settings: dict[str, Any] = {**SETTINGS, "steps": 4, "layer_formats": ("none",)}
    settings["baseline"] = baseline
    edit_video(painted.clip, "golden cup", output="whole", **settings)
    stop = StopAt("training", 2)
    part = edit_video(painted.clip, "golden cup", output="parts", progress=stop, **settings)
    assert part.interrupted
    assert part.record["steps_done"] == 2
    assert part.composite.exists()
    options = ["--steps", 4, "-o", "parts", *NO_LAYER]
    options += [] if baseline is None else ["--baseline", baseline]
    other = edit(painted.clip, *options, "--seed", 3, "--resume")
    refused(other, 2, "cannot resume: seed was 0 and is now 3")
    result = passed(edit(painted.clip, *options, "--resume"))
    assert "going on after step 2" in result.stderr
    if baseline is None:
        assert_same_run("whole", "parts")
    assert record_of("parts")["interrupted"] is False
    first, second = tensors("whole"), tensors("parts")
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_resume_is_refused_where_it_would_be_another_run(copied: Painted, made: Results) -> None:
    refused(edit("clip", "--resume"), 2, "no checkpoint")
    shutil.copytree(made.fg, "out")
    refused(edit("clip", "-o", "out", "--resume", "--atlas", "bg"), 2, "atlas was 'fg'")
    refused(edit("clip", "-o", "out", "--resume", "--baseline", "atlas"), 2, "baseline was None")
    refused(edit("clip", "-o", "out", "--resume", "--no-screen"), 2, "lambda-screen")
    other = true_model(copied.frames[:, ::-1], copied.masks[:, ::-1])
    save_atlas(Path("other.atlas"), other, Path("clip"))
    refused(edit("clip", "-o", "out", "--resume", "--atlas-dir", "other.atlas"), 2, "fit was")
    Path("out", CHECKPOINT).write_bytes(b"nothing")
    refused(edit("clip", "-o", "out", "--resume"), 1, "checkpoint is damaged")


@pytest.mark.slow
def test_ctrl_c_on_the_command_line_exits_130_with_a_result(copied: Painted) -> None:
    command = ["edit-video", "clip", "golden cup", *QUICK[:-2], "--steps", 100_000, *NO_LAYER]
    assert_interrupted_well("training", *command)
    assert names("clip.fg.golden-cup") | {"previews"} == RESULT


# Full disks and missing encoders


def fill_up(monkeypatch: pytest.MonkeyPatch, ending: str, after: int = 0) -> None:
    """No room for files of this ending, when `after` of them are written."""
    written = iter(range(after))
    flush = files._flush

    def full(path: Path) -> None:
        if path.suffix == ending and next(written, None) is None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        flush(path)

    monkeypatch.setattr(files, "_flush", full)


@pytest.mark.parametrize(
    ("ending", "after", "named"),
    [
        (".mp4", 0, "composite.mp4"),
        (".mp4", 1, ".mp4"),  # one of the two, which are written side by side
        (".mov", 0, "layer.mov"),
        (".png", 4, "atlas-layer.png"),  # after the region, its mask, a preview and the chart
        (".html", 0, "report.html"),
        (".json", 0, "run.json"),
    ],
)
def test_a_disk_that_fills_up_loses_neither_the_training_nor_a_file(
    ending: str,
    after: int,
    named: str,
    painted: Painted,
    made: Results,
    here: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with monkeypatch.context() as during:
        fill_up(during, ending, after)
        line = refused(edit(painted.clip, "-o", "out"), 1, named, "No space left on device")
    assert "cannot write" in line
    assert CHECKPOINT in names("out") < RESULT | {"layer.mov"}  # nothing half-written
    assert named not in names("out")
    result = passed(edit(painted.clip, "-o", "out", "--resume"))
    assert "going on after step 1" in result.stderr
    assert names("out") == RESULT | {"layer.mov"}
    assert rgba_of("out").tobytes() == rgba_of(made.fg).tobytes()


def test_a_disk_that_fills_up_within_the_frames_of_the_layer(
    painted: Painted, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encode, written = clip_writing.png_bytes, iter(range(4))

    def full(frame: np.ndarray) -> bytes:
        if next(written, None) is None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return encode(frame)

    with monkeypatch.context() as during:
        during.setattr(clip_writing, "png_bytes", full)
        refused(edit(painted.clip, "-o", "out", "--layer-format", "png"), 1, "No space left")
    made = {CHECKPOINT, "region.png", "mask.png", "previews", "composite.mp4", "screen.mp4"}
    assert names("out") == made


def test_a_disk_that_fills_up_in_a_run_that_overwrites(
    painted: Painted, made: Results, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(made.fg, "out")
    before = contents("out")
    with monkeypatch.context() as during:
        fill_up(during, ".mp4")
        result = edit(painted.clip, "-o", "out", "--overwrite", *NO_LAYER, "--seed", 2)
        refused(result, 1, "composite.mp4")
    assert contents("out")["composite.mp4"] == before["composite.mp4"]
    passed(edit(painted.clip, "-o", "out", "--resume", *NO_LAYER, "--seed", 2))
    assert record_of("out")["seed"] == 2


def test_no_room_for_the_checkpoint_keeps_the_result(
    painted: Painted, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise SafetensorError("No space left on device (os error 28)")

    monkeypatch.setattr("text2live_cli.media.tensor_files.save_file", full)
    refused(edit(painted.clip), 1, "the result in clip.fg.golden-cup is written")
    assert names("clip.fg.golden-cup") == RESULT - {CHECKPOINT} | {"layer.mov"}


@pytest.mark.parametrize(
    ("kinds", "ending", "encoder", "instead"),
    [
        ("LAYER_KINDS", ".mov", "prores_ks", "write the layer as .webm or PNG frames"),
        ("LAYER_KINDS", ".webm", "libvpx-vp9", "write the layer as .mov or PNG frames"),
        ("KINDS", ".mp4", "libx264", "install the wheel of av"),
    ],
)
def test_a_missing_encoder_is_named_with_what_else_there_is(
    kinds: str,
    ending: str,
    encoder: str,
    instead: str,
    painted: Painted,
    here: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    table = getattr(clip_kinds, kinds)
    missing = table[ending]._replace(encoder=f"{encoder}-not-here")
    with monkeypatch.context() as during:
        during.setitem(table, ending, missing)
        layer = ("--layer-format", ending[1:]) if kinds == "LAYER_KINDS" else NO_LAYER
        result = edit(painted.clip, "-o", "out", *layer)
    refused(result, 1, f"the encoder {encoder}-not-here is missing", instead)
    assert names(here) == set(), "known before any work is done"


# The paper's baselines and ablations


def test_the_baseline_atlas_trains_on_the_atlas_as_a_picture(
    painted: Painted, made: Results, here: Path
) -> None:
    passed(edit(painted.clip, "--baseline", "atlas", "-o", "out", *NO_LAYER))
    assert names("out") == RESULT
    assert record_of("out")["job"]["baseline"] == "atlas"
    assert rgba_of("out").shape == rgba_of(made.fg).shape
    assert rgba_of("out").tobytes() != rgba_of(made.fg).tobytes()
    changed = (rendered(painted.clip, "out") != painted.frames).any(-1)
    assert changed[painted.masks].any() and not changed[~painted.masks].any()
    passed(edit(painted.clip, "--atlas", "bg", "--onto", "out", "-o", "both", *NO_LAYER))


def test_the_baseline_frames_edits_every_frame_by_itself(copied: Painted, painted: Painted) -> None:
    shutil.rmtree("clip.atlas")
    refused(edit("clip", "--baseline", "frames", "--box", "1,2,30,40"), 2, "--box", "frames")
    options = ("--masks", "masks", "-o", "out", "--save-every", 1)
    told = passed(edit("clip", "--baseline", "frames", *options, *FORMATS)).stderr
    assert "--masks is for an atlas" in " ".join(told.split())
    assert names(".") == {"clip", "out"}, "no atlas is needed, and none is fitted"
    assert "<h2>Atlas" not in Path("out/report.html").read_text("utf-8")
    layers = {"layer", "layer.mov", "layer.webm"}
    assert names("out") == RESULT - {"atlas-layer.png", "region.png", "mask.png"} | layers
    record = record_of("out")
    assert record["job"]["baseline"] == "frames"
    assert "layer" not in record
    layer = load(Path("out/layer"))
    assert layer.shape == (*painted.frames.shape[:3], 4)
    expected = layer[..., 3:] / 255 * (layer[..., :3].astype(float) - painted.frames)
    off = np.abs(video_frames(Path("out/composite.mp4")) - (painted.frames + expected))
    assert off.mean() < 4
    result = run("composite", painted.clip, "out", "-o", "again")
    assert result.exit_code in (1, 2)
    refused(result, result.exit_code)
    refused(edit(painted.clip, "--onto", "out"), 2, "no result of edit-video")


@pytest.mark.parametrize(
    ("flags", "left_out"),
    [
        (("--no-structure", "--no-sparsity"), {"structure", "sparsity"}),
        (("--no-screen", "--no-bootstrap"), {"screen", "bootstrap"}),
        (("--no-internal-dataset",), set()),
        (("--lambda-direction", "0", "--keep", "grass"), {"direction"}),
    ],
)
def test_ablations_leave_their_term_out(
    flags: tuple[str, ...], left_out: set[str], painted: Painted, here: Path
) -> None:
    passed(edit(painted.clip, "--steps", 2, "-o", "out", *flags, *NO_LAYER))
    terms = set(history_of("out")["terms"][0])
    every = {"composition", "direction", "screen", "structure", "form", "sparsity", "bootstrap"}
    kept = {"keep"} if "--keep" in flags else set()
    assert terms == every - left_out | kept


def test_a_time_limit_fixes_the_steps(
    painted: Painted, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = SimpleNamespace(monotonic=itertools.count(step=1000).__next__)  # 1000 s a step
    monkeypatch.setattr("text2live_cli.engine.training.time", slow)
    settings = {**SETTINGS, "layer_formats": ("none",), "output": "limited"}
    del settings["steps"]
    limited = edit_video(painted.clip, "golden cup", minutes=200, **settings)
    assert limited.record["steps_done"] == limited.record["settings"]["steps"] == 11
    plain = edit_video(painted.clip, "golden cup", steps=11, **settings | {"output": "plain"})
    assert history_of(limited.folder) == history_of(plain.folder)


# Clips of all kinds


def test_odd_sides_gain_a_row_and_a_column_in_the_composite_alone(here: Path) -> None:
    frames, masks = paint_closed("cup", "red", "grass", 3, 4, (137, 161))
    save_painted(Path(), frames, masks)
    result = passed(edit("clip", *FORMATS, "-o", "out"))
    assert "composite.mp4: is 162×138, with the last row and column repeated" in result.stderr
    for name, size in (
        ("composite.mp4", (162, 138)),
        ("layer.mov", (161, 137)),
        ("layer.webm", (161, 137)),
    ):
        with av.open(str(Path("out", name))) as container:
            stream = container.streams.video[0]
            assert (stream.width, stream.height) == size
    assert load(Path("out/layer")).shape == (4, 137, 161, 4)
    assert rendered(Path("clip"), "out").shape == frames.shape


def test_fractional_and_variable_rates_are_kept(painted: Painted, here: Path) -> None:
    save_video(Path("even.mp4"), painted, NTSC)
    passed(edit("even.mp4", "-o", "even", *NO_LAYER))
    for name in ("composite.mp4", "screen.mp4"):
        assert open_clip(Path("even", name)).rate == NTSC
    times = [Fraction(n, 1000) for n in (0, 40, 73, 180, 200, 333)]
    save_video(Path("uneven.mp4"), painted, Fraction(20), times=times)
    source = open_clip(Path("uneven.mp4"))
    assert source.variable
    passed(edit("uneven.mp4", "-o", "uneven", "--layer-format", "mov"))
    for name in ("composite.mp4", "screen.mp4", "layer.mov"):
        written = open_clip(Path("uneven", name))
        off = [abs(a - b) for a, b in zip(written.times, source.times, strict=True)]
        assert max(off) <= Fraction(1, 1000)
        assert "audio" not in written.notes


def test_a_clip_larger_than_the_training(here: Path) -> None:
    """The atlas keeps the clip's resolution; the edit is trained smaller, and delivered finer."""
    frames, masks = paint_closed("cup", "red", "grass", 3, 3, (240, 300))
    save_painted(Path(), frames, masks)
    passed(edit("clip", "--layer-format", "png", "-o", "out"))
    record = record_of("out")
    assert record["layer"]["scale"] == pytest.approx(1, abs=1.01)
    layer = load(Path("out/layer"))
    assert layer.shape == (3, 240, 300, 4)
    frames_again = rendered(Path("clip"), "out")
    np.testing.assert_array_equal(frames_again[~masks], frames[~masks])
    assert (frames_again[masks] != frames[masks]).any()


def test_a_small_foreground_is_trained_on_larger(here: Path) -> None:
    side, source = 140, (384, 512)
    frames, masks = paint_closed("ball", "red", "grass", 3, COUNT, source)
    small = np.zeros_like(masks)
    for t in range(COUNT):
        left = 260 - offset(FOREGROUND, t, COUNT, source[1])
        small[t, 120 : 120 + side, left : left + side] = True
    save_painted(Path("small"), frames, small)
    clip, atlas = open_clip(Path("small/clip")), read_atlas(Path("small/clip.atlas"))
    settings = resolve_video_settings("draft", "swatch", True)
    plain = training_size(clip, settings)
    assert plain == (192, 256)
    cpu = torch.device("cpu")
    fg, bg = (
        prepare_atlas_scene(clip, atlas, side, settings, cpu, Silent()) for side in FRONT_FIRST
    )
    assert bg.frames.shape[1:3] == plain
    larger = fg.frames.shape[1:3]
    assert plain[0] < larger[0] < source[0]
    border = 30 / 768 * larger[1]
    assert side * larger[0] / source[0] + 2 * border == pytest.approx(MIN_SIDE, abs=4)
    full = replace(settings, size=384)
    assert prepare_atlas_scene(clip, atlas, FOREGROUND, full, cpu, Silent()).frames.shape[1] == 384


@pytest.mark.slow
def test_a_real_clip_keeps_its_frames_rate_and_sound(here: Path, quick_fit: None) -> None:
    source = MEDIA / "realshort.mp4"
    if not source.exists():
        pytest.skip("shared/media is not here")
    shutil.copy(source, "realshort.mp4")
    clip = open_clip(Path("realshort.mp4"))
    assert (clip.count, clip.has_audio) == (36, True)
    assert float(clip.rate) == pytest.approx(30.02, abs=0.01)
    place = ("--atlas", "bg", "--any-atlas")  # of a fit of two steps
    result = passed(edit("realshort.mp4", *place, *NO_LAYER, prompt="sand"))
    assert Path("realshort.atlas", ATLAS).exists()
    folder = Path("realshort.bg.sand")
    assert names(folder) == RESULT - {"composite"}, result.output
    written = open_clip(folder / "composite.mp4")
    assert (written.count, written.rate) == (36, clip.rate)
    assert (written.width, written.height) == (clip.width, clip.height)
    assert written.colors == clip.colors
    wanted, found = audio_packets(Path("realshort.mp4")), audio_packets(folder / "composite.mp4")
    assert [data for _, data in found] == [data for _, data in wanted]
    for (before, _), (after, _) in zip(wanted, found, strict=True):
        assert abs(before - after) < Fraction(1, 1000)
    assert not open_clip(folder / "screen.mp4").has_audio


# Bad input


BAD = [
    (("missing.mp4", "golden cup"), 2, "missing.mp4"),
    (("empty.mp4", "golden cup"), 1, "empty.mp4"),
    (("text.mp4", "golden cup"), 1, "text.mp4"),
    (("clip", "   "), 2, "PROMPT is empty"),
    (("clip", "golden cup", "--atlas", "middle"), 2, "--atlas middle: must be fg or bg"),
    (
        ("clip", "golden cup", "--premultiplied", "--layer-format", "webm"),
        2,
        "--premultiplied: is of",
    ),
    (("clip", "golden cup", "--layer-format", "avi"), 2, "--layer-format avi: must be one of mov"),
    (("clip", "golden cup", *FORMATS[:2], *NO_LAYER), 2, "--layer-format none: stands alone"),
    (("clip", "golden cup", "--baseline", "all"), 2, "--baseline all"),
    (("clip", "golden cup", "--onto", "missing"), 2, "missing"),
    (("clip", "golden cup", "--atlas-dir", "missing"), 2, "missing: no atlas there"),
    (("clip", "golden cup", "--steps", "0"), 2, "--steps 0"),
    (("clip", "golden cup", "--size", "1"), 2, "--size 1"),
    (("clip", "golden cup", "--preset", "drafty"), 2, "did you mean draft"),
    (("clip", "golden cup", "--minutes", "1", "--steps", "3"), 2, "choose one"),
    (("clip", "golden cup", "--save-every", "0"), 2, "--save-every"),
    (("clip", "golden cup", "--lambda-screen", "-1"), 2, "--lambda-screen -1"),
    (("clip", "golden cup", "--device", "gpu"), 2, "--device gpu"),
    (("clip", "golden cup", "--roi", ""), 2, "--roi is empty"),
    (("clip", "golden cup", "-o", "text.mp4"), 2, "text.mp4 exists"),
    (("clip", "golden cup", "-o", "x" * 300), 1, "cannot write into"),
    (("clip", "golden cup", "-o", "/proc/nowhere"), 1, "cannot write into"),
]


@pytest.mark.parametrize(("arguments", "code", "text"), BAD)
def test_bad_input_is_one_line_and_leaves_nothing(
    copied: Painted, arguments: tuple[str, ...], code: int, text: str
) -> None:
    Path("empty.mp4").touch()
    Path("text.mp4").write_text("no clip at all")
    before = sorted(Path().rglob("*"))
    source, prompt, *options = arguments
    refused(edit(source, *options, prompt=prompt), code, text)
    assert sorted(Path().rglob("*")) == before


def test_bad_names_to_composite_into(painted: Painted, made: Results, here: Path) -> None:
    refused(run("composite", painted.clip, made.fg, "-o", "out.avi"), 2, ".mp4", ".webm")
    refused(run("composite", painted.clip, made.fg), 2, "-o OUT")
    refused(run("composite", painted.clip, made.fg, "gone", "-o", "out"), 2, "gone")
    refused(run("composite", "gone.mp4", made.fg, "-o", "out"), 2, "gone.mp4")
    Path("out").mkdir()
    Path("out/00000.png").touch()
    refused(run("composite", painted.clip, made.fg, "-o", "out"), 2, "--overwrite")
    assert names(here) == {"out"}


def test_an_altered_atlas_is_refused(copied: Painted) -> None:
    Path("clip.atlas", ATLAS).write_bytes(b"nothing")
    refused(edit("clip"), 1, "damaged")
    assert names(".") == {"clip", "clip.atlas"}


def test_quiet_is_quiet(painted: Painted, here: Path) -> None:
    result = passed(edit(painted.clip, "-q", *NO_LAYER))
    assert result.output == ""


def test_debug_shows_the_traceback(painted: Painted, here: Path) -> None:
    result = edit(painted.clip, "--debug", "--atlas", "middle")
    assert isinstance(result.exception, UsageError)


# In a browser


@pytest.mark.slow
def test_a_browser_shows_the_report_and_has_nothing_to_complain_about(made: Results) -> None:
    with open_browser() as browser:
        browser.open(made.fg / "report.html")
        assert browser.run("document.documentElement.dataset.shown") == "ready"
        sizes = browser.run(
            "[...document.querySelectorAll('video')].map((f) => [f.videoWidth, f.videoHeight])"
        )
        assert sizes == [[SIZE[1], SIZE[0]]] * 3
        browser.wait_for("document.querySelector('.scrubber').value > 2")  # it plays by itself
        browser.wait_for("document.querySelector('.scrubber').value < 2")  # and begins again
        browser.run("document.querySelector('.wipe').focus()")
        clip_path = "getComputedStyle(document.querySelectorAll('.stage .film')[1]).clipPath"
        before = browser.run(clip_path)
        browser.press("ArrowRight", "ArrowRight")
        assert browser.run(clip_path) != before
        browser.run("document.querySelector('.play').click()")
        browser.run("document.querySelector('.scrubber').focus()")
        browser.press("Home", "ArrowRight", "ArrowRight")
        browser.wait_for(SEEKED)
        np.testing.assert_allclose(browser.run(TIMES), 2.5 / 24, atol=2e-3)
        assert all(not url.startswith(("http", "ws")) for url in browser.requests)
        assert browser.complaints == []


@pytest.mark.slow
def test_a_point_on_one_frame_limits_the_edit_in_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the sails of examples/boat.mp4 turn golden, pointed at in its frame 10."""
    boat = Path(__file__).parents[1] / "examples" / "boat.mp4"
    monkeypatch.chdir(tmp_path)
    shutil.copy(boat, "boat.mp4")
    place = ("--point", "178,80@10", "--point", "143,85@10", "--not", "150,125@10")
    passed(run("fit-atlas", "boat.mp4", "--steps", 20, "--point", "150,125", "--point", "135,80"))
    options = ("--clip", "swatch", "--preset", "draft", "--steps", 15, *NO_LAYER)
    passed(
        run("edit-video", "boat.mp4", "golden boat", *place, *options, "--any-atlas", "-o", "out")
    )
    record = record_of("out")
    assert record["region"]["origin"] == "2 points" and record["region"]["limited"]
    mask = read_picture(Path("out/mask.png")).color[..., 0]
    assert mask[80, 178] == 255 and mask[85, 143] == 255 and mask[125, 150] == 0
    before, after = (video_frames(Path(p)).astype(int) for p in ("boat.mp4", "out/composite.mp4"))
    _, masks = paint_clip("boat", "red", "sea", 12)
    change = np.abs(after - before).mean(-1)
    for frame, shown, boat_mask in zip(before, change, masks, strict=True):
        white = boat_mask & (frame.min(-1) > 180)
        red = boat_mask & (frame[..., 0] > 2 * frame[..., 1] + 40)
        assert shown[white].mean() > 3 * shown[red].mean()
        assert shown[~boat_mask].mean() < 6
