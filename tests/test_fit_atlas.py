"""`fit-atlas` through the real command, on painted clips whose maps are known."""

from __future__ import annotations

import functools
import json
import re
import shutil
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from swatch_training.moving import paint_clip
from typer.testing import Result

from tests.clips import save_frames
from tests.commands import StopAt, assert_interrupted_well, one_line, passed, run
from tests.moving_truth import overlap, transfer_errors
from text2live_cli.atlas import ATLAS
from text2live_cli.atlas.fit.measure import psnr_of
from text2live_cli.atlas.fit.nla_files import read_published
from text2live_cli.atlas.fit.settings import NlaSettings
from text2live_cli.atlas.layers import BACKGROUND, FOREGROUND, FRONT_FIRST, LAYERS, Maps
from text2live_cli.atlas.store import Atlas, read_atlas
from text2live_cli.errors import Text2LiveError, UsageError
from text2live_cli.media.clip_writing import write_video
from text2live_cli.media.clips import open_clip
from text2live_cli.media.picture_writing import write_picture
from text2live_cli.media.tensor_files import read_tensors, write_tensors
from text2live_cli.pipelines.fit import fit_atlas
from text2live_cli.progress import Silent
from text2live_cli.runs.folder import CHECKPOINT, RECORD

MEDIA = Path(__file__).resolve().parents[2] / "shared" / "media"
FORMAT = "text2live-atlas/1"
FLOW = "flow.safetensors"
FILES = {
    ATLAS,
    FLOW,
    RECORD,
    "foreground.png",
    "background.png",
    "opacity.mp4",
    "reconstruction.mp4",
    "report.html",
}
STEPS = 60  # enough for a clip this small


class Painted(NamedTuple):
    """A painted clip on disk: a folder with `clip/` and `masks/`, named as DAVIS does."""

    folder: Path
    frames: np.ndarray
    masks: np.ndarray

    @property
    def clip(self) -> Path:
        return self.folder / "clip"

    @property
    def mask_files(self) -> Path:
        return self.folder / "masks"


def save_painted(folder: Path, count: int, size: tuple[int, int]) -> Painted:
    frames, masks = paint_clip("cat", "leopard", "mossy wall", 3, count, size)
    save_frames(folder / "clip", frames)
    save_frames(folder / "masks", masks.astype(np.uint8) * 255)
    return Painted(folder, frames, masks)


@pytest.fixture(scope="module")
def moving(tmp_path_factory: pytest.TempPathFactory) -> Painted:
    """The clip by which accuracy is measured."""
    return save_painted(tmp_path_factory.mktemp("moving"), 16, (96, 160))


@pytest.fixture(scope="module")
def painted(tmp_path_factory: pytest.TempPathFactory) -> Painted:
    """A clip so small that two steps take no time."""
    return save_painted(tmp_path_factory.mktemp("painted"), 6, (48, 72))


@pytest.fixture
def tiny(painted: Painted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Painted:
    """A copy of `painted`, in the current folder."""
    shutil.copytree(painted.folder, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return painted._replace(folder=Path())


def fit(clip: Path | str, *arguments: object) -> Result:
    """Two steps with the masks of the current folder, unless told otherwise."""
    given = [str(a) for a in arguments]
    steps = () if {"--steps", "--import"} & {*given} else ("--steps", "2")
    masks = () if {"--masks", "--box", "--foreground", "--no-masks"} & {*given} else MASKS
    given = [a for a in given if a != "--no-masks"]
    return run("fit-atlas", clip, *steps, *masks, *given)


MASKS = ("--masks", "masks")


def record_of(folder: Path | str) -> dict:
    return json.loads(Path(folder, RECORD).read_text("utf-8"))


def tensors_of(folder: Path | str) -> dict[str, torch.Tensor]:
    return load_file(Path(folder, ATLAS))


def assert_equal_atlases(a: Path | str, b: Path | str) -> None:
    first, second = tensors_of(a), tensors_of(b)
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


def contents(folder: Path | str) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in Path(folder).iterdir() if p.is_file()}


def video_frames(path: Path) -> np.ndarray:
    return np.stack(list(open_clip(path).frames()))


# Accuracy: what the atlas carries from frame to frame, against the truth


class Fitted(NamedTuple):
    """A finished fit of `moving`."""

    folder: Path
    stderr: str
    atlas: Atlas

    def locate(self, t: int) -> Maps:
        return self.atlas.locate(t, (96, 160))


def fitted(painted: Painted, folder: Path, clip: Path, *arguments: object) -> Fitted:
    result = passed(run("fit-atlas", clip, "-o", folder, "--steps", STEPS, *arguments))
    return Fitted(folder, result.stderr, read_atlas(folder))


@pytest.fixture(scope="module")
def masked(moving: Painted, tmp_path_factory: pytest.TempPathFactory) -> Fitted:
    folder = tmp_path_factory.mktemp("masked") / "out"
    return fitted(moving, folder, moving.clip, "--masks", moving.mask_files)


@pytest.fixture(scope="module")
def unmasked(moving: Painted, tmp_path_factory: pytest.TempPathFactory) -> Fitted:
    """Fitted to an MP4, without masks."""
    folder = tmp_path_factory.mktemp("unmasked")
    write_video(folder / "clip.mp4", moving.frames, Fraction(25))
    return fitted(moving, folder / "out", folder / "clip.mp4")


@pytest.fixture(scope="module")
def every_second(moving: Painted, tmp_path_factory: pytest.TempPathFactory) -> Fitted:
    folder = tmp_path_factory.mktemp("second") / "out"
    return fitted(moving, folder, moving.clip, "--masks", moving.mask_files, "--every", 2)


def pairs(count: int, gaps: tuple[int, ...] = (1, 4, 10)) -> list[tuple[int, int]]:
    ahead = [(s, s + gap) for gap in gaps for s in range(count - gap)]
    return ahead + [(t, s) for s, t in ahead]


@pytest.mark.slow
@pytest.mark.parametrize(("which", "least"), [("masked", 0.95), ("unmasked", 0.85)])
def test_pixels_are_carried_to_where_they_truly_go(
    moving: Painted, which: str, least: float, request: pytest.FixtureRequest
) -> None:
    found: Fitted = request.getfixturevalue(which)
    for side in FRONT_FIRST:
        errors = transfer_errors(found.locate, moving.masks, side, pairs(16))
        assert len(errors) > 10_000
        assert np.median(errors) <= 1
        assert np.percentile(errors, 95) <= 3
    assert overlap(found.locate, moving.masks) >= least
    quality = record_of(found.folder)["quality"]
    assert quality["psnr_mean"] >= 34
    assert quality["psnr_worst"] >= 32
    assert max(quality["folded"].values()) <= 0.01
    assert "error" not in found.stderr


@pytest.mark.slow
def test_frames_between_the_fitted_ones_are_carried_too(
    moving: Painted, every_second: Fitted
) -> None:
    facts = every_second.atlas.facts
    assert (facts.first, facts.every, facts.frames, facts.last) == (0, 2, 9, 15)
    assert every_second.atlas.covers(15)
    assert not every_second.atlas.covers(16)
    between = [(s, t) for s in (1, 5, 9, 13) for t in (0, 3, 8, 14) if abs(s - t) <= 10]
    for side in FRONT_FIRST:
        errors = transfer_errors(every_second.locate, moving.masks, side, between)
        assert np.median(errors) <= 1
        assert np.percentile(errors, 95) <= 3
    assert overlap(every_second.locate, moving.masks[:16]) >= 0.85
    assert record_of(every_second.folder)["frames"] == [*range(0, 16, 2), 15]


# What is left behind


@pytest.mark.slow
def test_all_files_are_there_and_sound(moving: Painted, masked: Fitted) -> None:
    folder = masked.folder
    assert {path.name for path in folder.iterdir()} == FILES
    made = video_frames(folder / "reconstruction.mp4")
    assert made.shape == moving.frames.shape
    assert min(psnr_of(a, b) for a, b in zip(made, moving.frames, strict=True)) > 30
    opacity = video_frames(folder / "opacity.mp4")[..., 0] > 127
    assert (opacity & moving.masks).sum() / (opacity | moving.masks).sum() > 0.94
    report = (folder / "report.html").read_text("utf-8")
    assert "good: ready for edits" in report
    assert "data:video/webm" in report
    assert not re.search(r"""(src|href)=["']?(https?:)?//""", report)


@pytest.mark.slow
def test_the_atlas_pictures_show_what_the_frames_show(moving: Painted, masked: Fitted) -> None:
    for side in FRONT_FIRST:
        with Image.open(masked.folder / f"{LAYERS[side]}.png") as image:
            assert image.mode == "RGBA"
            rgba = np.array(image)
        assert {*np.unique(rgba[..., 3])} == {0, 255}
        covered = rgba[..., 3] > 0
        for axis in (0, 1):  # cropped to what is covered
            used = np.flatnonzero(covered.any(axis))
            assert used[0] <= 4
            assert used[-1] >= covered.shape[1 - axis] - 5
        left, top = masked.atlas.facts.corners[side]
        uv = np.floor(masked.locate(8).uv[side].numpy()).astype(int) - (left, top)
        seen = moving.masks[8] if side == FOREGROUND else ~moving.masks[8]
        v, u = uv[seen][:, 1], uv[seen][:, 0]
        assert (rgba[v, u, 3] == 255).mean() > 0.97
        assert np.abs(rgba[v, u, :3].astype(int) - moving.frames[8][seen]).mean() < 12
    height, width = moving.frames.shape[1:3]
    background = np.array(Image.open(masked.folder / "background.png"))
    assert background.shape[1] == pytest.approx(width + width // 5, abs=8)
    assert background.shape[0] == pytest.approx(height, abs=8)


@pytest.mark.slow
def test_the_record_and_the_terminal_say_the_same(moving: Painted, masked: Fitted) -> None:
    record = record_of(masked.folder)
    assert record["command"] == "fit-atlas"
    assert record["frames"] == list(range(16))
    assert record["size"] == [96, 160]
    assert record["steps_done"] == STEPS
    assert record["interrupted"] is False
    assert record["settings"]["seed"] == record["job"]["seed"] == 0
    assert record["job"]["input"] == record["input"]["sha256"] == open_clip(moving.clip).sha256
    assert record["foreground"]["source"] == "masks"
    assert len(record["quality"]["psnr"]) == 16
    assert record["versions"]["torch"]
    assert record["verdict"][0] == "good: ready for edits"
    for line in (*record["verdict"], *record["advice"]):
        assert line in masked.stderr
    _, texts = read_tensors(masked.folder / ATLAS, FORMAT)
    facts = json.loads(texts["facts"])
    assert facts["source"] == record["input"]["sha256"]
    assert facts["source_size"] == facts["size"] == [96, 160]
    assert facts["settings"]["seed"] == 0


def test_a_fit_without_an_output_goes_beside_the_clip(tiny: Painted) -> None:
    before = sorted(Path("clip").iterdir())
    result = passed(fit("clip"))
    assert {path.name for path in Path("clip.atlas").iterdir()} == FILES
    assert sorted(Path("clip").iterdir()) == before
    assert "look at report.html" in result.stderr
    assert result.stdout == ""


def test_the_clip_may_be_the_current_folder(tiny: Painted, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("clip")
    passed(fit(".", "--masks", "../masks"))
    assert Path("../clip.atlas", ATLAS).exists()


# Again, otherwise, stopped


def test_a_second_run_says_already_done(tiny: Painted) -> None:
    passed(fit("clip"))
    before = contents("clip.atlas")
    result = passed(fit("clip"))
    assert "already done" in result.stderr
    assert contents("clip.atlas") == before
    again = json.loads(passed(fit("clip", "--json")).stdout)
    assert again == record_of("clip.atlas")
    # All frames by name are all frames.
    assert "already done" in passed(fit("clip", "--frames", "0:6")).stderr


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (("--steps", 3), "steps"),
        (("--seed", 7), "seed"),
        (("--frames", "0:5"), "frames"),
        (("--every", 2), "every"),
        (("--no-masks",), "masks"),
        (("--model", "nla"), "model"),
    ],
)
def test_other_settings_are_refused_by_name(
    tiny: Painted, change: tuple[object, ...], named: str
) -> None:
    passed(fit("clip"))
    before = contents("clip.atlas")
    result = fit("clip", *change)
    assert result.exit_code == 2
    assert f"{named} was" in one_line(result)
    assert "--overwrite" in one_line(result)
    assert contents("clip.atlas") == before


def test_overwrite_fits_anew(tiny: Painted) -> None:
    passed(fit("clip"))
    before = contents("clip.atlas")
    passed(fit("clip", "--seed", 7, "--overwrite"))
    assert {path.name for path in Path("clip.atlas").iterdir()} == FILES
    assert contents("clip.atlas")[ATLAS] != before[ATLAS]
    assert contents("clip.atlas")[FLOW] == before[FLOW]  # flow has no seed
    assert record_of("clip.atlas")["job"]["seed"] == 7
    result = fit("clip", "--overwrite", "--resume")
    assert result.exit_code == 2
    assert "choose one" in one_line(result)


def test_flow_is_taken_from_the_former_fit(tiny: Painted) -> None:
    passed(fit("clip"))
    result = passed(fit("clip", "--seed", 7, "--overwrite"))
    assert "flow taken from" in result.stderr
    result = passed(fit("clip", "--frames", "1:6", "--overwrite"))
    assert "flow taken from" not in result.stderr


def test_the_same_seed_gives_the_same_bytes(tiny: Painted) -> None:
    for folder, seed in (("a", 1), ("b", 1), ("c", 2)):
        passed(fit("clip", "-o", folder, "--seed", seed))
    atlases = {name: Path(name, ATLAS).read_bytes() for name in "abc"}
    assert atlases["a"] == atlases["b"] != atlases["c"]


def test_json_prints_the_record_and_nothing_else(tiny: Painted) -> None:
    result = passed(fit("clip", "--json"))
    assert json.loads(result.stdout) == record_of("clip.atlas")
    assert result.stderr == ""


def test_quiet_is_quiet(tiny: Painted) -> None:
    result = passed(fit("clip", "--quiet"))
    assert result.stderr == result.stdout == ""


def test_a_resumed_fit_ends_as_one_that_was_never_stopped(tiny: Painted) -> None:
    options = {"masks": Path("masks"), "steps": 6}
    fit_atlas("clip", output="whole", **options)
    part = fit_atlas("clip", output="parts", progress=StopAt("fitting", 2), **options)
    assert part.interrupted
    assert part.record["steps_done"] == 2
    assert {path.name for path in Path("parts").iterdir()} == FILES | {CHECKPOINT}
    assert read_atlas(Path("parts")).model.frames == 6
    refused = fit("clip", "-o", "parts", "--steps", 6)
    assert refused.exit_code == 2
    assert "--resume" in one_line(refused)
    other = fit("clip", "-o", "parts", "--steps", 6, "--seed", 3, "--resume")
    assert other.exit_code == 2
    assert "seed was 0 and is now 3" in one_line(other)
    result = passed(fit("clip", "-o", "parts", "--steps", 6, "--resume"))
    assert "going on after step 2" in result.stderr
    assert {path.name for path in Path("parts").iterdir()} == FILES
    assert_equal_atlases("parts", "whole")
    assert record_of("parts")["steps_done"] == 6
    assert "already done" in passed(fit("clip", "-o", "parts", "--steps", 6)).stderr


def test_a_resumed_fit_takes_the_threads_of_its_fit(tiny: Painted) -> None:
    before, stopped = torch.get_num_threads(), StopAt("fitting", 1)
    how: dict[str, Any] = {"output": "threads", "steps": 2, "size": 64}
    fit_atlas("clip", threads=2, progress=stopped, **how)
    result = fit_atlas("clip", resume=True, **how)
    assert result.record["job"]["threads"] == 2 and torch.get_num_threads() == before
    assert fit_atlas("clip", threads=1, **how).already_done
    wrong = fit("clip", "--threads", 0, "--overwrite")
    assert "--threads 0: must be a whole number" in one_line(wrong)


def test_resume_needs_a_sound_checkpoint(tiny: Painted) -> None:
    result = fit("clip", "-o", "fresh", "--resume")
    assert result.exit_code == 2
    assert "no checkpoint" in one_line(result)
    assert not Path("fresh").exists()
    fit_atlas("clip", output="parts", masks=Path("masks"), steps=6, progress=StopAt("fitting", 2))
    path = Path("parts", CHECKPOINT)
    path.write_bytes(path.read_bytes()[:3000])
    result = fit("clip", "-o", "parts", "--steps", 6, "--resume")
    assert result.exit_code == 1
    assert "checkpoint is damaged" in one_line(result)


@pytest.mark.slow
def test_ctrl_c_on_the_command_line_exits_130_with_a_result(tiny: Painted) -> None:
    command = ["fit-atlas", "clip", *MASKS, "--steps", 1_000_000]
    assert_interrupted_well("fitting", *command)
    assert {path.name for path in Path("clip.atlas").iterdir()} == FILES | {CHECKPOINT}
    assert record_of("clip.atlas")["interrupted"] is True


def test_a_failed_fit_leaves_the_former_one(tiny: Painted, monkeypatch: pytest.MonkeyPatch) -> None:
    passed(fit("clip"))
    before = contents("clip.atlas")

    def lost(*_: object) -> dict[str, torch.Tensor]:
        return {"colour": torch.tensor(float("nan"), requires_grad=True)}

    monkeypatch.setattr("text2live_cli.atlas.fit.grid_fit.GridProblem.loss", lost)
    result = fit("clip", "--steps", 100, "--overwrite")
    assert result.exit_code == 1
    assert "not finite" in one_line(result)
    assert contents("clip.atlas") == before


# Which frames, which size, which pixels


def test_frames_choose_a_part(tiny: Painted) -> None:
    passed(fit("clip", "--frames", "2:5"))
    assert record_of("clip.atlas")["frames"] == [2, 3, 4]
    atlas = read_atlas(Path("clip.atlas"))
    assert [atlas.covers(n) for n in range(6)] == [False, False, True, True, True, False]
    made = video_frames(Path("clip.atlas/reconstruction.mp4"))
    assert len(made) == 3
    assert psnr_of(made[1], tiny.frames[3]) > psnr_of(made[1], tiny.frames[0])
    for open_end, numbers in ((":3", [0, 1, 2]), ("4:", [4, 5])):
        passed(fit("clip", "--frames", open_end, "--overwrite"))
        assert record_of("clip.atlas")["frames"] == numbers


def test_every_second_frame_keeps_the_pace(tiny: Painted) -> None:
    write_video(Path("clip.mp4"), tiny.frames, Fraction(30))
    passed(fit("clip.mp4", "--every", 2))
    assert record_of("clip.atlas")["frames"] == [0, 2, 4, 5]
    slow = open_clip(Path("clip.atlas/reconstruction.mp4"))
    assert (slow.rate, slow.count) == (Fraction(15), 4)
    assert read_atlas(Path("clip.atlas")).facts.rate == "30"


@pytest.mark.parametrize("size", [(101, 67), (66, 131)])
def test_odd_and_portrait_clips_at_a_smaller_size(tiny: Painted, size: tuple[int, int]) -> None:
    frames, masks = paint_clip("cat", "leopard", "mossy wall", 3, 3, (size[1], size[0]))
    save_frames(Path("odd"), frames)
    save_frames(Path("odd-masks"), masks.astype(np.uint8) * 255)
    passed(fit("odd", "--size", 65, "--masks", "odd-masks"))
    scale = 65 / min(size)
    height, width = round(size[1] * scale), round(size[0] * scale)
    assert record_of("odd.atlas")["size"] == [height, width]
    for name in ("reconstruction.mp4", "opacity.mp4"):
        made = open_clip(Path("odd.atlas", name))
        assert abs(made.width - width) <= 1
        assert abs(made.height - height) <= 1
    maps = read_atlas(Path("odd.atlas")).locate(1, (size[1], size[0]))
    assert maps.share.shape == (2, size[1], size[0])


def test_a_size_over_the_clips_does_not_enlarge_it(tiny: Painted) -> None:
    passed(fit("clip", "--size", 500))
    assert record_of("clip.atlas")["size"] == [48, 72]


@pytest.mark.slow
@pytest.mark.parametrize("at", ["", "@8"])
def test_a_box_finds_the_object(
    moving: Painted, tmp_path: Path, at: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    y, x = np.nonzero(moving.masks[8 if at else 0])
    box = f"{x.min() - 2},{y.min() - 2},{np.ptp(x) + 5},{np.ptp(y) + 5}{at}"
    result = passed(fit(moving.clip, "-o", "out", "--box", box, "--steps", 1))
    assert record_of("out")["foreground"]["source"] == "hints"
    atlas = read_atlas(Path("out"))
    assert overlap(lambda t: atlas.locate(t, (96, 160)), moving.masks) > 0.8, result.stderr


def test_an_animated_gif(tiny: Painted) -> None:
    images = [Image.fromarray(f).quantize(64, dither=Image.Dither.NONE) for f in tiny.frames]
    images[0].save("clip.gif", save_all=True, append_images=images[1:], duration=100)
    passed(fit("clip.gif"))
    record = record_of("clip.atlas")
    assert record["input"]["frames"] == 6
    assert record["input"]["rate"] == "10"
    assert {path.name for path in Path("clip.atlas").iterdir()} == FILES


def test_masks_as_a_video_and_of_another_size(tiny: Painted) -> None:
    large = np.repeat(np.repeat(tiny.masks, 2, 1), 2, 2)
    write_video(Path("m.mp4"), large[..., None].repeat(3, 3) * np.uint8(255), Fraction(24))
    passed(fit("clip", "--masks", "m.mp4"))
    atlas = read_atlas(Path("clip.atlas"))
    assert overlap(lambda t: atlas.locate(t, (48, 72)), tiny.masks) > 0.8


def test_inverted_masks_are_turned_round_and_said(tiny: Painted) -> None:
    save_frames(Path("inverted"), (1 - tiny.masks.astype(np.uint8)) * 255)
    result = passed(fit("clip", "--masks", "inverted"))
    assert "taken as inverted" in result.stderr
    atlas = read_atlas(Path("clip.atlas"))
    assert overlap(lambda t: atlas.locate(t, (48, 72)), tiny.masks) > 0.8


def bad_masks(kind: str, masks: np.ndarray) -> None:
    drawn = masks.astype(np.uint8) * 255
    save_frames(Path("bad"), np.zeros_like(drawn) if kind == "black" else drawn)
    if kind == "white":
        for path in Path("bad").iterdir():
            Image.new("L", (72, 48), 255).save(path)
    elif kind == "missing":
        Path("bad/00003.png").unlink()
    elif kind == "shape":
        for path in Path("bad").iterdir():
            Image.new("L", (48, 48), 255).save(path)
    elif kind == "count":
        for path in sorted(Path("bad").iterdir())[:2]:
            path.unlink()
        for path in sorted(Path("bad").iterdir()):
            path.rename(path.with_name(f"mask{path.name}"))
    elif kind == "text":
        Path("bad/00002.png").write_text("no picture")


@pytest.mark.parametrize(
    ("kind", "code", "text"),
    [
        ("black", 2, "the masks are all black"),
        ("white", 2, "the masks are all white"),
        ("missing", 2, "no masks for 1 of 6 frames: 00003"),
        ("shape", 2, "the mask is 48×48 pixels and has another shape than the frames (72×48)"),
        ("count", 2, "holds 4 masks for 6 frames"),
        ("text", 1, "00002.png"),
    ],
)
def test_masks_that_do_not_fit(tiny: Painted, kind: str, code: int, text: str) -> None:
    bad_masks(kind, tiny.masks)
    result = fit("clip", "--masks", "bad")
    assert result.exit_code == code, result.output
    assert text in one_line(result)


def test_a_truncated_video_is_used_as_far_as_it_goes(tiny: Painted) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (20, 48, 72, 3)).astype(np.uint8)
    noise[:, 8:40, 12:60] //= 4
    write_video(Path("cut.mp4"), noise, Fraction(24))
    data = Path("cut.mp4").read_bytes()
    Path("cut.mp4").write_bytes(data[: int(len(data) * 0.6)])
    masks = np.zeros((20, 48, 72), np.uint8)
    masks[:, 8:40, 12:60] = 255
    save_frames(Path("cut-masks"), masks)
    result = passed(fit("cut.mp4", "--masks", "cut-masks"))
    record = record_of("cut.atlas")
    assert 2 <= len(record["frames"]) < 20
    said = f"cut.mp4: {len(record['frames'])} of 20 frames decode"
    assert said in result.stderr
    assert any(said in note for note in record["input"]["notes"])


# What is refused

BAD = [
    (("missing.mp4",), 2, "no such file"),
    (("empty.mp4",), 1, "empty"),
    (("text.mp4",), 1, "not a video"),
    (("https://example.org/clip.mp4",), 2, "only local files are read"),
    (("list.m3u8",), 2, "is a playlist"),
    (("list.mp4",), 2, "is a playlist"),
    (("picture.png",), 2, "is a PNG picture"),
    (("one",), 2, "it takes at least two"),
    (("nothing",), 2, "holds no pictures"),
    (("sizes",), 2, "the frames of a clip have one size"),
    (("clip", "--frames", "3"), 2, "--frames 3: must be A:B"),
    (("clip", "--frames", "3:3"), 2, "--frames 3:3"),
    (("clip", "--frames", "0:7"), 2, "has the frames 0:6"),
    (("clip", "--frames", "2:3"), 2, "it takes at least two"),
    (("clip", "--frames", "-2:3"), 2, "--frames -2:3"),
    (("clip", "--frames", "2:3"), 2, "it takes at least two"),
    (("clip", "--every", "0"), 2, "--every 0"),
    (("clip", "--steps", "0"), 2, "--steps 0"),
    (("clip", "--seed", "-1"), 2, "--seed -1"),
    (("clip", "--size", "10"), 2, "--size 10"),
    (("clip", "--box", "1,2,3"), 2, "--box 1,2,3: must be X,Y,W,H"),
    (("clip", "--box", "1,2,90,9"), 2, "must lie in the frame, 72×48"),
    (("clip", "--box", "1,2,1,9"), 2, "--box 1,2,1,9"),
    (("clip", "--box", "1,2,9,9@6"), 2, "frame 6 is not in 0:6"),
    (("clip", "--box", "1,2,20,20", "--masks", "masks"), 2, "choose one"),
    (("clip", "--model", "gird"), 2, "did you mean grid"),
    (("clip", "--flow", "farneback"), 2, "--flow farneback"),
    (("clip", "--device", "gpu"), 2, "--device gpu"),
    (("clip", "--export-nla", "a.pth"), 2, "--model nla only"),
    (("clip", "--import", "a.pth", "--steps", "3"), 2, "takes no --steps"),
    (("clip", "--import", "a.pth", "--export-nla", "b.pth"), 2, "--export-nla"),
    (("clip", "--flow-dir", "nothing"), 2, "--flow-dir nothing"),
    (("clip", "--masks", "nowhere"), 2, "nowhere"),
    (("clip", "--masks", "nothing"), 2, "nothing"),
    (("clip", "-o", "text.mp4"), 2, "is a file"),
    (("clip", "-o", "clip"), 2, "clip itself"),
    (("clip", "-o", "x" * 300), 1, "cannot write into"),
    (("clip", "-o", "/proc/nowhere"), 1, "cannot write into"),
]


@pytest.mark.parametrize(
    ("arguments", "code", "text"), BAD, ids=[" ".join(a)[:40] for a, *_ in BAD]
)
def test_bad_input_is_one_line_and_leaves_nothing(
    tiny: Painted, arguments: tuple[str, ...], code: int, text: str
) -> None:
    Path("empty.mp4").touch()
    Path("text.mp4").write_text("no video at all")
    playlist = "#EXTM3U\n#EXTINF:1,\nclip.mp4\n"
    Path("list.m3u8").write_text(playlist)
    Path("list.mp4").write_text(playlist)
    write_picture(Path("picture.png"), tiny.frames[0])
    save_frames(Path("one"), tiny.frames[:1])
    Path("nothing").mkdir()
    save_frames(Path("sizes"), tiny.frames[:1])
    write_picture(Path("sizes/00001.png"), tiny.frames[1][:40])
    before = sorted(Path().rglob("*"))
    result = fit(*arguments)
    assert result.exit_code == code, result.output
    assert text in one_line(result)
    found = [path for path in sorted(Path().rglob("*")) if path.name != FLOW]
    assert [path for path in found if path not in before] in ([], [Path("clip.atlas")])


def test_a_fit_has_no_precision_to_choose(tiny: Painted) -> None:
    """It computes in fp32: see `Fitter`."""
    result = fit("clip", "--precision", "bf16")
    assert result.exit_code == 2
    assert "No such option" in result.stderr
    assert not Path("clip.atlas").exists()


def test_a_result_beside_a_clip_that_cannot_be_written_goes_here(
    tiny: Painted, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("clip").rename("films")
    Path("locked").mkdir()
    Path("films").rename("locked/clip")
    monkeypatch.setattr("os.access", lambda path, mode: Path(path).name != "locked")
    result = passed(fit("locked/clip"))
    assert "locked is not writable: the result goes to clip.atlas" in result.stderr
    assert Path("clip.atlas", ATLAS).exists()
    assert not Path("locked/clip.atlas").exists()


# Reading an atlas again


def test_an_altered_atlas_is_refused(tiny: Painted) -> None:
    passed(fit("clip"))
    path = Path("clip.atlas", ATLAS)
    sound = path.read_bytes()
    tensors, texts = read_tensors(path, FORMAT)
    tensors = {name: t.clone() for name, t in tensors.items()}  # no longer the file itself
    facts = json.loads(texts["facts"])

    def refused() -> None:
        with pytest.raises(Text2LiveError, match="no atlas of this program, or damaged"):
            read_atlas(Path("clip.atlas"))

    for data in (b"", b"no tensors", sound[:-100], sound[:100]):
        path.write_bytes(data)
        refused()
    for wrong in (
        {"frames": 7}, {"frames": 0}, {"frames": "6"}, {"every": 0}, {"size": [48]},
        {"size": [48, 200]}, {"model": "other"}, {"model": "nla"}, {"extra": 1},
        {"canvases": {"foreground": [9, 9], "background": [9, 9]}},
    ):  # fmt: skip
        write_tensors(path, tensors, {**texts, "facts": json.dumps({**facts, **wrong})})
        refused()
    write_tensors(path, tensors, {**texts, "format": "text2live-atlas/99"})
    refused()
    for name, value in (
        ("opacity_logits", torch.full_like(tensors["opacity_logits"], float("nan"))),
        ("mappings.background.field", torch.zeros(3)),
    ):
        write_tensors(path, {**tensors, name: value}, texts)
        refused()
    path.write_bytes(sound)
    assert read_atlas(Path("clip.atlas")).facts.frames == 6
    with pytest.raises(UsageError, match="no atlas there"):
        read_atlas(Path("clip"))


def test_an_atlas_of_another_clip_is_refused(tiny: Painted) -> None:
    passed(fit("clip"))
    save_frames(Path("other"), tiny.frames[:, ::-1])
    layer = np.zeros((*np.array(Image.open("clip.atlas/background.png")).shape[:2], 4), np.uint8)
    layer[20:30, 20:30] = (255, 0, 0, 255)
    Image.fromarray(layer).save("layer.png")
    flags = ("--atlas-dir", "clip.atlas", "--bg-layer", "layer.png", "-o", "out.mp4")
    result = run("composite", "other", *flags)
    assert result.exit_code == 2
    assert "was fitted to another clip" in one_line(result)
    assert not Path("out.mp4").exists()
    passed(run("composite", "clip", *flags))
    assert open_clip(Path("out.mp4")).count == 6


# A clip in which nothing moves


def test_a_still_clip_becomes_one_layer(tiny: Painted) -> None:
    passed(fit("clip"))
    assert Path("clip.atlas/foreground.png").exists()
    shutil.rmtree("clip")
    save_frames(Path("clip"), np.repeat(tiny.frames[:1], 6, axis=0))
    result = passed(fit("clip", "--no-masks", "--overwrite", "--steps", 20))
    assert "nothing moves" in result.stderr
    assert {path.name for path in Path("clip.atlas").iterdir()} == FILES - {"foreground.png"}
    record = record_of("clip.atlas")
    assert record["foreground"]["source"] == "none"
    assert record["quality"]["agreement"] is None
    assert {*record["quality"]["folded"]} == {"background"}
    assert record["quality"]["psnr_worst"] > 25
    atlas = read_atlas(Path("clip.atlas"))
    assert {*atlas.facts.corners} == {BACKGROUND}
    assert float(atlas.locate(3, (48, 72)).share[FOREGROUND].max()) < 0.01


# The published model


@pytest.fixture
def small_nla(monkeypatch: pytest.MonkeyPatch) -> None:
    """The published model with small networks, and small pictures of its atlases."""
    small = functools.partial(
        NlaSettings,
        samples=600,
        learning_rate=2e-3,
        width=32,
        resolution=64,
        pretraining_rounds=20,
        global_rigidity_reach=8,
        gradient=0.0,
    )
    monkeypatch.setattr(small, "steps", 2, raising=False)
    monkeypatch.setattr("text2live_cli.atlas.fit.settings.NlaSettings", small)
    reader = functools.partial(read_published, resolution=64)
    monkeypatch.setattr("text2live_cli.pipelines.fit.read_published", reader)


def smooth_clip(masks: np.ndarray) -> np.ndarray:
    """A red thing before slow changes of colour, which few steps of small networks can show."""
    rows, columns = np.mgrid[: masks.shape[1], : masks.shape[2]] / masks.shape[1]
    behind = np.stack([40 + 120 * columns, 40 + 180 * rows, np.full_like(rows, 90)], -1)
    return np.where(masks[..., None], (230, 60, 200), behind).astype(np.uint8)


@pytest.mark.slow
@pytest.mark.usefixtures("small_nla")
def test_the_published_model_out_and_in_again(
    tiny: Painted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("text2live_cli.pipelines.fit.MIN_PSNR", 14)  # so few steps give no more
    clip = smooth_clip(tiny.masks)
    shutil.rmtree("clip")
    save_frames(Path("clip"), clip)
    flags = ("--frames", "1:5")
    result = passed(
        fit("clip", *flags, "--model", "nla", "--steps", 120, "--export-nla", "nla.pth")
    )
    assert "model nla" in result.stderr
    assert {path.name for path in Path("clip.atlas").iterdir()} >= FILES - {"foreground.png"}
    contents_ = torch.load("nla.pth", weights_only=True)
    assert contents_["iteration"] == 120
    quality = record_of("clip.atlas")["quality"]
    flat = np.broadcast_to(clip[1:5].mean((0, 1, 2)), clip[1:5].shape)
    assert quality["psnr_mean"] > psnr_of(flat, clip[1:5]) + 1.5

    # Any number of frames fits the networks; only the right ones give the clip back.
    passed(fit("clip", *flags, "--import", "nla.pth", "-o", "imported"))
    assert record_of("imported")["steps_done"] == 0
    assert record_of("imported")["quality"]["psnr"] == pytest.approx(quality["psnr"], abs=0.01)
    assert_equal_atlases("imported", "clip.atlas")
    original, again = (read_atlas(Path(f)) for f in ("clip.atlas", "imported"))
    for a, b in zip(original.locate(2, (48, 72)), again.locate(2, (48, 72)), strict=True):
        assert torch.equal(a, b)

    save_frames(Path("other"), 255 - clip)
    result = fit("other", *flags, "--import", "nla.pth", "-o", "refused")
    assert result.exit_code == 2
    assert "--frames" in one_line(result)
    assert re.search(r"gives this clip back at \d+\.\d dB only", one_line(result))
    assert not Path("refused", ATLAS).exists()


@pytest.mark.usefixtures("small_nla")
def test_an_export_after_the_fit(tiny: Painted) -> None:
    """A fit that is already done still writes what is asked of it."""
    flags = ("--model", "nla", "--steps", 2)
    passed(fit("clip", *flags))
    result = passed(fit("clip", *flags, "--export-nla", "late.pth"))
    assert "already done" in result.stderr
    passed(fit("clip", *flags, "-o", "other", "--export-nla", "at-once.pth"))
    late, at_once = (torch.load(f, weights_only=True) for f in ("late.pth", "at-once.pth"))
    assert late.keys() == at_once.keys()
    assert late["iteration"] == at_once["iteration"] == 2
    key = "F_atlas_state_dict"
    assert all(torch.equal(late[key][n], at_once[key][n]) for n in at_once[key])


@pytest.mark.usefixtures("small_nla")
def test_the_published_model_resumes(tiny: Painted) -> None:
    options = {"masks": Path("masks"), "model": "nla", "steps": 6}
    fit_atlas("clip", output="whole", **options)
    part = fit_atlas("clip", output="parts", progress=StopAt("fitting", 2), **options)
    assert part.interrupted
    passed(fit("clip", "-o", "parts", "--model", "nla", "--steps", 6, "--resume"))
    assert_equal_atlases("parts", "whole")


@pytest.mark.parametrize("kind", ["pickle", "text", "missing", "other"])
def test_a_checkpoint_that_is_none_is_refused(tiny: Painted, kind: str) -> None:
    path = Path("foreign.pth")
    if kind == "pickle":
        torch.save({"model": Silent()}, path)
    elif kind == "text":
        path.write_text("no checkpoint")
    elif kind == "other":
        torch.save({"state_dict": {"weight": torch.zeros(3)}}, path)
    result = fit("clip", "--import", path)
    assert result.exit_code == (2 if kind == "missing" else 1)
    assert "foreign.pth" in one_line(result)
    assert not Path("clip.atlas", ATLAS).exists()


# Real clips


@pytest.mark.slow
@pytest.mark.skipif(not MEDIA.is_dir(), reason="no shared/media beside this checkout")
@pytest.mark.parametrize(
    ("name", "frames"), [("newtonscradle.gif", "0:12"), ("realshort.mp4", "0:12")]
)
def test_real_clips(
    name: str, frames: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    flags = ("--frames", frames, "--size", 96, "--steps", 20, "-o", "out")
    passed(run("fit-atlas", MEDIA / name, *flags))
    assert {path.name for path in Path("out").iterdir()} >= FILES - {"foreground.png"}
    record = record_of("out")
    assert min(record["size"]) == 96
    assert record["quality"]["psnr_mean"] > 22
    assert video_frames(Path("out/reconstruction.mp4")).shape[0] == 12
