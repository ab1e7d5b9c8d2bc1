"""The folder of a result: what it protects, what a run that fails leaves, and one run at a time."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from swatch_training.moving import paint_clip
from swatch_training.painter import paint_scene
from typer.testing import Result

from tests.clips import save_frames
from tests.commands import StopAt, one_line, passed, run
from text2live_cli import UsageError, edit_image, fit_atlas
from text2live_cli.atlas import ATLAS
from text2live_cli.atlas.fit.inputs import FLOW
from text2live_cli.atlas.store import PICTURES
from text2live_cli.media.files import atomic_path, sweep, temporary_beside
from text2live_cli.media.picture_writing import write_picture
from text2live_cli.progress import Silent
from text2live_cli.report.atlas_films import OPACITY, RECONSTRUCTION, REPORT
from text2live_cli.runs.folder import (
    CHECKPOINT,
    EDIT_IMAGE,
    FIT_ATLAS,
    RECORD,
    Outputs,
    RunFolder,
    claim_folder,
)
from text2live_cli.runs.places import beside

OUTPUTS = Outputs((RECORD, CHECKPOINT, "a.txt", "b.txt"), ("layer",))
OURS = '{"command": "edit-image"}'
FILES = {name for name in EDIT_IMAGE.files if not name.endswith((".psd", ".ora", ".exr"))}
"""Of an edit that was not asked for more."""
SETTINGS = {"clip": "swatch", "preset": "draft", "views": 1, "steps": 2}
QUICK = [text for name, value in SETTINGS.items() for text in (f"--{name}", str(value))]
posix = pytest.mark.skipif(os.name != "posix", reason="pipes, links and signals as POSIX has them")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def cup(here: Path) -> Path:
    rgb, _ = paint_scene([("cup", "red")], "wooden table", 3, (160, 200))
    write_picture(here / "cup.png", rgb)
    return Path("cup.png")


@pytest.fixture
def clip(here: Path) -> Path:
    frames, masks = paint_clip("cat", "leopard", "mossy wall", 3, 4, (48, 72))
    save_frames(here / "clip", frames)
    save_frames(here / "masks", masks.astype(np.uint8) * 255)
    return Path("clip")


def edit(*arguments: object) -> Result:
    return run("edit-image", "cup.png", "golden cup", *QUICK, *arguments)


def fit(*arguments: object) -> Result:
    return run("fit-atlas", "clip", "--masks", "masks", "--steps", 2, *arguments)


def contents(folder: Path | str) -> dict[str, bytes]:
    paths = [path for path in Path(folder).rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def write(folder: Path, run_folder: RunFolder, **files: str) -> None:
    for name, text in files.items():
        path = run_folder.work / name.replace("__", "/").replace("_", ".")
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)


def make(*, overwrite: bool = True, whole: bool = True, **files: str) -> Path:
    """A run into `out` that writes `files` ("a_txt" for a.txt, "layer__1_png")."""
    with claim_folder(Path("out"), OUTPUTS, []) as claimed:
        claimed.open(overwrite, False)
        claimed.begin(Silent())
        write(Path("out"), claimed, run_json=OURS, **files)
        return claimed.deliver(whole, Silent())


# What is declared


def test_the_declared_outputs_are_what_the_commands_write(cup: Path, clip: Path) -> None:
    passed(edit("-o", "out", "--save-every", 1))
    written = contents("out")
    numbered = {"previews/00001.png", "previews/00002.png"}
    assert set(written) == {*FILES, *numbered}
    assert all(map(EDIT_IMAGE.holds, written))
    names = {ATLAS, FLOW, *PICTURES, OPACITY, RECONSTRUCTION, REPORT, RECORD, CHECKPOINT}
    assert set(FIT_ATLAS.files) == names
    passed(fit())
    assert set(contents("clip.atlas")) == names - {CHECKPOINT}


# What is not the command's own


@pytest.mark.parametrize("name", [name for name in FIT_ATLAS.files if name != FLOW])
def test_a_fit_replaces_nothing_of_the_users(clip: Path, name: str) -> None:
    Path("out").mkdir()
    Path("out", name).write_bytes(b"mine")
    before = contents("out")
    result = fit("-o", "out")
    assert result.exit_code == 2
    assert "--overwrite" in one_line(result)
    assert contents("out") == before


@posix
def test_inputs_are_known_by_what_they_are(cup: Path) -> None:
    passed(edit("-o", "out"))
    layer = Path("out/layer.png")
    os.link(layer, "hard.png")
    Path("soft.png").symlink_to(layer)
    Path("linked").symlink_to("out")
    before = contents("out")
    for source, folder in (
        *((name, "out") for name in ("out/layer.png", "hard.png", "soft.png")),
        *(("linked/layer.png", "out"), ("out/layer.png", "linked"), ("out/layer.png", "./out/.")),
    ):
        result = run("edit-image", source, "golden cup", *QUICK, "-o", folder, "--overwrite")
        assert result.exit_code == 2, source
        assert "would be overwritten" in one_line(result)
        masked = edit("--mask", source, "-o", folder, "--overwrite")
        assert "would be overwritten" in one_line(masked)
    assert contents("out") == before


def test_a_fit_does_not_eat_its_inputs(clip: Path) -> None:
    passed(fit("-o", "out"))
    before, masks = contents("out"), contents("masks")
    Path("film.mp4").write_bytes(Path("out/reconstruction.mp4").read_bytes())
    film = Path("film.mp4").read_bytes()
    for arguments in (
        ("out/reconstruction.mp4", "-o", "out"),
        ("clip", "--masks", "out/opacity.mp4", "-o", "out"),
        ("clip", "--masks", "masks", "-o", "masks"),
        ("film.mp4", "--masks", "masks", "--model", "nla", "--export-nla", "film.mp4"),
        ("clip", "--masks", "masks", "--model", "nla", "--export-nla", "masks/00000.png"),
    ):
        result = run("fit-atlas", *arguments, "--overwrite", "--steps", 2)
        assert result.exit_code == 2, arguments
        assert "would be overwritten" in one_line(result)
    assert (contents("out"), contents("masks")) == (before, masks)
    assert Path("film.mp4").read_bytes() == film
    Path("notes.pth").write_bytes(b"mine")
    result = fit("--model", "nla", "--export-nla", "notes.pth")
    assert "--export-nla notes.pth exists" in one_line(result)
    assert not Path("clip.atlas").exists()


def test_a_composite_does_not_eat_its_inputs(cup: Path) -> None:
    passed(edit("-o", "out"))
    before = contents(".")
    for output in ("cup.png", "./out/../cup.png", "out/layer.png"):
        result = run("composite", "cup.png", "out", "-o", output, "--overwrite")
        assert result.exit_code == 2, output
        assert "would be overwritten" in one_line(result)
    assert contents(".") == before


@posix
def test_a_region_that_is_shown_does_not_eat_its_inputs(cup: Path) -> None:
    box = ("--box", "20,20,134,113")
    passed(run("region", "cup.png", *box))
    os.link("mask.png", "hard.png")
    Path("a").mkdir()
    Path("a/mask.png").symlink_to("../cup.png")
    before = contents(".")
    for arguments in (
        ("cup.png", *box, "-o", "./cup.png"),
        ("cup.png", "--mask", "mask.png"),
        ("cup.png", "--mask", "hard.png"),
        ("region.png", *box),
        ("cup.png", *box, "-o", "a/region.png"),
    ):
        result = run("region", *arguments, "--overwrite")
        assert result.exit_code == 2, arguments
        assert "would be overwritten" in one_line(result)
    Path("region.png").unlink()
    assert "mask.png exists" in one_line(run("region", "cup.png", *box))
    passed(run("region", "cup.png", *box, "-o", "new.png"))
    assert Path("new.mask.png").exists()
    before = contents(".")
    os.mkfifo("pipe.png")
    result = run("region", "cup.png", *box, "-o", "pipe.png", "--overwrite")
    assert result.exit_code == 2
    Path("pipe.png").unlink()
    assert "a control character" in one_line(run("region", "cup.png", "red\x1b cup"))
    assert contents(".") == before


def test_a_refused_resume_leaves_the_region_as_it_is(cup: Path) -> None:
    passed(edit("-o", "out", "--box", "20,20,134,113"))
    before = contents("out")
    for flag, box in (("--resume", "22,22,130,110"), ("--resume", "1,2,3")):
        result = edit("-o", "out", flag, "--box", box)
        assert result.exit_code in (1, 2), result.output
        assert "box" in one_line(result)
    assert contents("out") == before


@posix
def test_pipes_and_links_in_the_place_of_outputs_are_refused(cup: Path) -> None:
    Path("out").mkdir()
    os.mkfifo("out/layer.png")
    result = edit("-o", "out", "--overwrite")
    assert "out/layer.png is no regular file" in one_line(result)
    Path("out/layer.png").unlink()
    Path("photos").mkdir()
    Path("photos/00001.png").write_bytes(b"mine")
    Path("out/previews").symlink_to("../photos")
    result = edit("-o", "out", "--overwrite", "--save-every", 1)
    assert "out/previews is no plain folder" in one_line(result)
    assert Path("photos/00001.png").read_bytes() == b"mine"


# The former result stays


def test_a_whole_result_takes_the_place_of_the_former(here: Path) -> None:
    make(a_txt="1", b_txt="1", layer__1_png="1", layer__2_png="1")
    Path("out/notes.txt").write_text("mine")
    Path("out/layer/mine.png").write_text("mine")
    assert make(a_txt="2", layer__2_png="2") == Path("out")
    assert contents("out") == {
        RECORD: OURS.encode(),
        "a.txt": b"2",
        "layer/2.png": b"2",
        "notes.txt": b"mine",
        "layer/mine.png": b"mine",
    }
    assert [path.name for path in here.iterdir()] == ["out"]


@pytest.mark.parametrize("record", [None, "{}", '{"command": "other"}', "[]", "no JSON"])
def test_in_a_folder_that_is_not_ours_nothing_is_removed(here: Path, record: str | None) -> None:
    Path("out").mkdir()
    Path("out/b.txt").write_text("mine")
    if record is not None:
        Path("out", RECORD).write_text(record)
    make(a_txt="1")
    assert contents("out") == {RECORD: OURS.encode(), "a.txt": b"1", "b.txt": b"mine"}


def test_a_run_that_fails_leaves_the_former_result(here: Path) -> None:
    make(a_txt="1")
    before = contents(".")
    with (
        pytest.raises(RuntimeError, match="on purpose"),
        claim_folder(Path("out"), OUTPUTS, []) as claimed,
    ):
        claimed.open(True, False)
        claimed.begin(Silent())
        write(Path("out"), claimed, a_txt="2")
        assert contents("out") == {RECORD: OURS.encode(), "a.txt": b"1"}
        raise RuntimeError("on purpose")
    assert contents(".") == before


@pytest.mark.parametrize("kept", [None, CHECKPOINT, RECORD])
def test_a_first_run_that_fails_leaves_what_can_be_gone_on_with(
    here: Path, kept: str | None
) -> None:
    Path("out").mkdir()
    Path("out/notes.txt").write_text("mine")
    Path("out/b.txt").write_text("of an earlier run")
    spare = Outputs(OUTPUTS.files, OUTPUTS.numbered, spare=("b.txt",))
    with (
        pytest.raises(RuntimeError, match="on purpose"),
        claim_folder(Path("out"), spare, []) as claimed,
    ):
        claimed.open(False, False)
        claimed.begin(Silent())
        write(Path("out"), claimed, a_txt="1", layer__1_png="1")
        if kept:
            Path("out", kept).write_text("{}")
        raise RuntimeError("on purpose")
    written = {"a.txt", "layer/1.png", kept} if kept else set()
    assert set(contents("out")) == {"notes.txt", "b.txt"} | written
    assert Path("out/layer").exists() == bool(kept)


def test_an_interrupted_run_waits_beside_the_former_result(here: Path) -> None:
    make(a_txt="1")
    before = contents("out")
    work = make(a_txt="2", checkpoint_safetensors="half", whole=False)
    assert work == Path(".out.partial")
    assert contents("out") == before
    with pytest.raises(UsageError, match="holds a result already"):
        make(overwrite=False)
    with claim_folder(Path("out"), OUTPUTS, []) as claimed:
        claimed.open(False, True)
        assert (claimed.work / CHECKPOINT).read_text() == "half"
        write(Path("out"), claimed, a_txt="3")
        assert claimed.deliver(True, Silent()) == Path("out")
    assert Path("out/a.txt").read_text() == "3"
    assert not work.exists()


@pytest.mark.parametrize("moves", range(4))
def test_a_delivery_that_was_killed_is_finished_by_the_next_run(
    here: Path, monkeypatch: pytest.MonkeyPatch, moves: int
) -> None:
    make(a_txt="1", b_txt="1")
    left, replace = iter(range(moves)), Path.replace

    def killed(path: Path, target: Path) -> Path:
        if path.suffix in (".txt", ".safetensors") and next(left, None) is None:
            raise KeyboardInterrupt
        return replace(path, target)

    with monkeypatch.context() as during:
        during.setattr(Path, "replace", killed)
        try:
            make(a_txt="2", checkpoint_safetensors="whole")
        except KeyboardInterrupt:
            assert moves < 2
    with claim_folder(Path("out"), OUTPUTS, []):
        pass
    assert contents("out") == {RECORD: OURS.encode(), "a.txt": b"2", CHECKPOINT: b"whole"}
    assert [path.name for path in here.iterdir()] == ["out"]


def test_a_forged_delivery_moves_and_removes_nothing_else(here: Path) -> None:
    make(a_txt="1")
    Path("mine.txt").write_text("mine")
    Path("out/notes.txt").write_text("mine")
    work = beside(Path("out"), "partial")
    work.mkdir()
    (work / CHECKPOINT).write_text("half")
    names = ["../mine.txt", "notes.txt", "layer/../../mine.txt", str(here / "mine.txt"), 7, "layer"]
    (work / "delivery.json").write_text(json.dumps({"files": names, "stale": names}))
    with claim_folder(Path("out"), OUTPUTS, []):
        pass
    assert Path("mine.txt").read_text() == Path("out/notes.txt").read_text() == "mine"
    assert Path("out/a.txt").read_text() == "1"


def test_the_folder_may_be_the_current_one_or_have_a_long_name(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("a").mkdir()
    assert beside(Path("a/b"), "lock") == Path("a/.b.lock")
    assert beside(Path(), "lock") == here.with_name(f".{here.name}.lock")
    assert beside(here / "a" / ".." / "b", "lock") == here / ".b.lock"
    long = beside(Path("ü" * 120), "partial")
    assert len(os.fsencode(long.name)) < 64
    monkeypatch.setattr("os.access", lambda path, mode: False)
    assert beside(Path("b"), "lock") == Path("b/.text2live.lock")


def test_an_edit_that_is_interrupted_while_it_overwrites_goes_on_beside(cup: Path) -> None:
    settings = {**SETTINGS, "steps": 4}
    edit_image(cup, "golden cup", output="whole", seed=5, **settings)
    edit_image(cup, "golden cup", output="out", **settings)
    before = contents("out")
    again = {**settings, "seed": 5, "output": "out"}
    part = edit_image(cup, "golden cup", overwrite=True, progress=StopAt("training", 2), **again)
    assert part.interrupted
    assert part.folder == Path(".out.partial")
    assert part.composite.exists()
    assert contents("out") == before
    done = edit_image(cup, "golden cup", resume=True, **again)
    assert done.folder == Path("out")
    assert done.layer.read_bytes() == Path("whole/layer.png").read_bytes()
    assert not part.folder.exists()


def test_a_fit_that_is_interrupted_while_it_overwrites_goes_on_beside(clip: Path) -> None:
    options = {"masks": Path("masks"), "steps": 4}
    fit_atlas("clip", output="whole", seed=5, **options)
    fit_atlas("clip", output="out", **options)
    before = contents("out")
    again = {**options, "seed": 5, "output": "out"}
    part = fit_atlas("clip", overwrite=True, progress=StopAt("fitting", 2), **again)
    assert part.folder == Path(".out.partial")
    assert contents("out") == before
    assert fit_atlas("clip", resume=True, **again).folder == Path("out")
    assert Path("out", ATLAS).read_bytes() == Path("whole", ATLAS).read_bytes()
    assert set(contents("out")) == set(before)


# A first run that was killed


def kill(*arguments: object, at: str) -> None:
    """Run a command in a process that gets SIGKILL once it has made the file `at`."""
    command = [sys.executable, "-m", "text2live_cli", *map(str, arguments), "--quiet"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    until = time.monotonic() + 120
    while not Path(at).exists():
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < until
        time.sleep(0.005)
    process.kill()
    process.communicate(timeout=60)


@posix
@pytest.mark.slow
@pytest.mark.parametrize("at", ["out/relevancy.png", "out/previews/00002.png"])
def test_what_is_killed_before_its_first_checkpoint_begins_again(cup: Path, at: str) -> None:
    """In the region's stage, and in the first steps."""
    command = ("edit-image", "cup.png", "golden cup", *QUICK[:-2])
    kill(
        *command, "--steps", 1000, "--checkpoint-every", 1e6, "--save-every", 1, "-o", "out", at=at
    )
    assert not Path("out", CHECKPOINT).exists()
    passed(edit("-o", "out"))
    assert set(contents("out")) == FILES
    assert "out: done already" in passed(edit("-o", "out")).stderr


def leave_broken_off(**files: str) -> dict[str, bytes]:
    """What a run into `out` leaves when it is killed."""
    with claim_folder(Path("out"), OUTPUTS, []) as claimed:
        claimed.open(False, False)
        claimed.begin(Silent())
        write(Path("out"), claimed, **files)
        remains = contents("out")
    for name, data in remains.items():
        Path("out", name).write_bytes(data)
    return remains


def test_a_run_that_was_killed_early_leaves_nothing_in_the_way(here: Path) -> None:
    leave_broken_off(b_txt="1", layer__1_png="1")
    Path("out/notes.txt").write_text("mine")
    make(overwrite=False, a_txt="2")
    assert contents("out") == {RECORD: OURS.encode(), "a.txt": b"2", "notes.txt": b"mine"}
    with pytest.raises(UsageError, match="holds a result already"):
        make(overwrite=False)


def test_the_same_run_refused_after_a_kill_keeps_no_remains(here: Path) -> None:
    leave_broken_off(b_txt="1", layer__1_png="1")
    broken = pytest.raises(RuntimeError, match="on purpose")
    with broken, claim_folder(Path("out"), OUTPUTS, []) as claimed:
        claimed.open(False, False)
        raise RuntimeError("on purpose")
    assert contents(".") == {}


@pytest.mark.parametrize("kept", [CHECKPOINT, RECORD])
def test_a_run_that_was_killed_late_is_not_begun_again(here: Path, kept: str) -> None:
    leave_broken_off(b_txt="1")
    Path("out", kept).write_text(OURS)
    before = contents("out")
    with pytest.raises(UsageError, match="holds a result already"):
        make(overwrite=False)
    remains = contents("out")
    assert remains.items() < before.items()
    assert set(remains) == {"b.txt", kept}


# One run at a time


@posix
def test_a_second_run_is_refused_while_the_first_lives(cup: Path) -> None:
    command = ["edit-image", "cup.png", "golden cup", *QUICK[:-2], "--steps", "100000"]
    command += ["-o", "out", "--save-every", "1"]
    process = subprocess.Popen(
        [sys.executable, "-m", "text2live_cli", *command], stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    try:
        until = time.monotonic() + 120
        while not list(Path("out").glob("previews/*.png")):
            assert process.poll() is None, process.stderr.read()
            assert time.monotonic() < until
            time.sleep(0.05)
        for flags in ((), ("--overwrite",), ("--resume",)):
            begun = time.monotonic()
            result = edit("-o", "out", *flags)
            assert result.exit_code == 2
            assert "another run is at work there" in one_line(result)
            assert time.monotonic() - begun < 5
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=60)
    passed(edit("-o", "out", "--overwrite"))  # a killed process holds nothing
    assert set(contents("out")) == FILES
    assert [path.name for path in Path().iterdir() if path.name.startswith(".")] == []


def test_two_runs_in_one_process_are_two(here: Path) -> None:
    with claim_folder(Path("out"), OUTPUTS, []):
        for name in ("out", "./out/", str(here / "out")):
            with (
                pytest.raises(UsageError, match="another run"),
                claim_folder(Path(name), OUTPUTS, []),
            ):
                pass
        with claim_folder(Path("other"), OUTPUTS, []):
            pass
    assert list(here.iterdir()) == []


# Temporary files


@posix
def test_what_a_killed_process_left_is_swept(here: Path) -> None:
    code = (
        "import os, pathlib, signal\n"
        "from text2live_cli.media.files import atomic_path\n"
        "with atomic_path(pathlib.Path('a.png')) as temporary:\n"
        "    temporary.write_bytes(b'half')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=False)
    (left,) = here.iterdir()
    folder = left.with_name(left.name.replace(".png", ""))
    folder.mkdir()
    (folder / "00000.png").write_bytes(b"half")
    mine = [Path(".text2live-notes"), Path(".0123456789ab.png"), Path("a.txt")]
    for path in mine:
        path.write_bytes(b"mine")
    with atomic_path(Path("b.png")) as temporary:
        temporary.write_bytes(b"whole")
        sweep(here)  # its process lives
    assert {path.name for path in here.iterdir()} == {"b.png", *(path.name for path in mine)}


@posix
def test_an_edit_sweeps_its_folder(cup: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    passed(edit("-o", "out", "--save-every", 1))
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    with monkeypatch.context() as before:
        before.setattr("os.getpid", lambda: ended.pid)
        for name in ("out/layer.png", "out/previews/00001.png", "out.png"):
            temporary_beside(Path(name)).write_bytes(b"half")
    passed(edit("-o", "out", "--overwrite"))
    passed(run("composite", "cup.png", "out", "-o", "out.png"))
    assert not [path for path in Path().rglob("*") if path.name.startswith(".")]
