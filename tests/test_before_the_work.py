"""What is refused before the work, and that refusing leaves nothing behind."""

from __future__ import annotations

import shutil
import time
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest

from tests.clips import painted, save_frames
from tests.commands import one_line, run
from text2live_cli.config import resolve_settings
from text2live_cli.guide.clip import load_guide
from text2live_cli.media.picture_writing import write_picture
from text2live_cli.pipelines.session import TimeLimit
from text2live_cli.progress import Silent
from text2live_cli.runs import memory

QUICK = ("--clip", "swatch", "--preset", "draft", "--views", "1", "--steps", "1")
Usage = namedtuple("Usage", "total used free")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A picture and a clip in the current folder."""
    monkeypatch.chdir(tmp_path)
    frames = np.stack(list(painted(4, 64, 80)))
    save_frames(Path("clip"), frames)
    write_picture(Path("cup.png"), frames[0])
    write_picture(Path("layer.png"), frames[0], frames[0][..., 0])
    return tmp_path


def refused(*arguments: object) -> str:
    """The error line of a command that leaves all as it was."""
    before = sorted(Path().rglob("*"))
    result = run(*arguments)
    assert result.exit_code in (1, 2), result.output
    assert sorted(Path().rglob("*")) == before
    for stage in ("training", "optical flow", "fitting", "reading frames"):
        assert f"\n{stage}" not in result.stderr
    return one_line(result)


FIT = ("fit-atlas", "clip", "--steps", 1)
REFUSED = [
    ((*FIT, "--box", "0,0,999,9"), "--box 0,0,999,9: must lie in the frame"),
    ((*FIT, "--box", "9" * 5000 + ",1,1,1"), "--box 999"),
    ((*FIT, "--frames", "9" * 5000 + ":"), "--frames 999"),
    ((*FIT, "--seed", 2**63), "--seed 9223372036854775808: must be a whole number from 0"),
    ((*FIT, "--foreground", "bagpipe", "--clip", "swatch"), "no word for"),
    ((*FIT, "--model", "nla", "--export-nla", "no/x.pt"), "there is no folder no"),
    (("composite", "cup.png", "layer.png", "-o", "new.gif"), "use a name that ends in"),
    (("composite", "cup.png", "layer.png", "-o", "no/new.png"), "there is no folder no"),
    (("composite", "clip", "--bg-layer", "x.png", "-o", "new.avi"), "use a name that ends in"),
    (("edit-image", "cup.png", "golden cup", *QUICK, "--seed", 2**63), "--seed"),
    (("edit-image", "cup.png", "golden cup", *QUICK[:6], "--minutes", 1e9), "10080 at most"),
    (("edit-image", "cup.png", "golden cup", *QUICK, "--lambda-screen", 1e300), "1,000,000"),
]


@pytest.mark.parametrize(("arguments", "text"), REFUSED)
def test_what_cannot_work_is_refused_first(
    here: Path, arguments: tuple[object, ...], text: str
) -> None:
    assert text in refused(*arguments)


@pytest.mark.parametrize(
    "command",
    [
        ("edit-image", "cup.png", "golden cup", *QUICK),
        ("edit-video", "clip", "golden cup", *QUICK),
        ("fit-atlas", "clip"),
    ],
)
def test_a_full_disk_and_too_little_memory_are_seen_first(
    here: Path, command: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as during:
        during.setattr(memory, "available", lambda: 10**8)
        line = refused(*command)
        assert "GiB of memory, and 0.1 are free" in line
        assert "--size" in line
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(10**9, 10**9, 1000))
    assert "GB are free: make room" in refused(*command)


def test_a_clip_that_is_a_long_strip_is_refused_first(here: Path) -> None:
    save_frames(Path("strip"), np.stack(list(painted(2, 16, 1100))))
    line = refused("edit-video", "strip", "golden cup", *QUICK)
    assert "strip: 1100×16 is too long a strip to edit; cut it into parts" in line


def test_room_for_an_inner_fit_is_seen_first(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from text2live_cli.runs import preflight

    pixels = 4 * 64 * 80
    need = preflight.video_bytes(pixels, ("mov",)) + preflight.fit_bytes(pixels)
    free = Usage(10**12, 10**12, need - 1)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: free)
    assert "GB are free: make room" in refused("edit-video", "clip", "golden cup", *QUICK)


@pytest.mark.parametrize("output", ["/proc/no/such", "clip/00000.png", "cup.png/inner"])
def test_a_folder_that_cannot_be_is_seen_before_an_inner_fit(here: Path, output: str) -> None:
    refused("edit-video", "clip", "golden cup", *QUICK, "-o", output)


def test_weights_of_raft_that_are_missing_are_seen_first(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("TORCH_HOME", str(here / "torch"))
    monkeypatch.setenv("TEXT2LIVE_CACHE", str(here / "cache"))
    assert "cannot fetch RAFT" in refused(*FIT, "--flow", "raft")


def test_an_encoder_of_videos_that_is_missing_is_seen_first(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from text2live_cli.media import clip_writing

    kind = clip_writing.KINDS[".mp4"]._replace(encoder="no_such_encoder")
    monkeypatch.setitem(clip_writing.KINDS, ".mp4", kind)
    assert "no_such_encoder is missing" in refused(*FIT)
    layer = ("--bg-layer", "layer.png", "-o", "new.mp4")
    assert "no_such_encoder is missing" in refused("composite", "clip", *layer)


@pytest.mark.parametrize(
    ("size", "preset", "views", "measured"),
    [
        ((192, 192), "draft", 64, 3075),
        ((384, 384), "paper", 1, 2752),
        ((384, 768), "paper", 1, 4640),
        ((192, 192), "draft", 128, 4981),
        ((768, 768), "draft", 1, 2963),
    ],
)
def test_the_estimate_of_memory_is_near_what_was_measured(
    size: tuple[int, int], preset: str, views: int, measured: int
) -> None:
    guide = load_guide("swatch", None, Silent())
    settings = resolve_settings(preset, "swatch", views=views)
    need = memory.training_need(guide.shape, settings, size, size[0] * size[1]) / 2**20
    assert need == pytest.approx(measured, rel=0.12)


def test_the_limit_of_memory_is_what_the_system_says() -> None:
    there = memory.available()
    assert there is None or 10**7 < there < 10**14


def test_minutes_leave_time_for_what_comes_before_and_after() -> None:
    limit = TimeLimit(2, time.monotonic() - 30, lambda: 40)
    assert limit.left() == pytest.approx(50, abs=0.5)
