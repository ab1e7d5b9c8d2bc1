"""`preview`, pictures through pipes, and completion: shell comfort."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from swatch_training.painter import paint_scene
from typer.testing import CliRunner

from tests.commands import StopAt, Terminal, one_line, passed, run
from text2live_cli import edit_image, preview
from text2live_cli.cli.commands import app
from text2live_cli.cli.console import ConsoleProgress
from text2live_cli.endings import Stopped
from text2live_cli.media.picture_writing import write_picture

SETTINGS: dict[str, Any] = {"clip": "swatch", "preset": "draft", "views": 1, "layout": "plain"}
posix = pytest.mark.skipif(os.name != "posix", reason="terminals as POSIX has them")
QUICK = [text for name, value in SETTINGS.items() for text in (f"--{name}", str(value))]


@pytest.fixture
def cup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A painted cup in the current folder; what is temporary goes to `tmp` in it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    rgb, _ = paint_scene([("cup", "red")], "wooden table", 3, (96, 128))
    write_picture(tmp_path / "cup.png", rgb)
    return Path("cup.png")


def left() -> set[str]:
    return {path.name for path in Path().iterdir()} | {
        f"tmp/{p.name}" for p in Path("tmp").iterdir()
    }


def piped(data: bytes, *arguments: object) -> Any:
    return CliRunner().invoke(app, [str(a) for a in arguments], input=data)


def test_a_preview_says_where_how_it_begins_and_what_all_of_it_costs(cup: Path) -> None:
    result = passed(run("preview", cup, "golden cup", *QUICK, "--steps", 500, "--json"))
    record = json.loads(result.stdout)
    assert record["cost"]["steps"] == 500 and record["draft"]["steps"] == 30
    assert record["cost"]["seconds"] > 100 * record["draft"].get("per_step", 0)
    assert record["roi"] == "cup" and 0 < record["roi_score"] < 1
    assert record["region"]["certainty"] > 0.5
    words = " ".join(QUICK)
    assert record["command_line"].startswith("text2live edit-image --clip swatch --steps 500")
    assert words.split()[0] in record["command_line"]
    assert Image.open("cup.preview.png").size == (3 * 128 + 2 * 8, 96)
    assert left() == {"cup.png", "cup.preview.png", "tmp"}
    again = run("preview", cup, "golden cup", *QUICK)
    assert again.exit_code == 2 and "exists" in one_line(again)


def test_a_preview_beside_a_result_of_the_same_name(cup: Path) -> None:
    edit_image(cup, "golden cup", steps=1, **SETTINGS)
    told = passed(run("preview", cup, "golden cup", *QUICK, "--steps", 2, "-o", "p.png")).stdout
    assert [line.split(":")[0] for line in told.splitlines()] == [
        *("region", "picture", "draft", "all of it", "run")
    ]


def test_a_preview_that_is_stopped_leaves_nothing(cup: Path) -> None:
    with pytest.raises(Stopped) as stopped:
        preview(cup, "golden cup", progress=StopAt("training", 1), **SETTINGS)
    assert stopped.value.exit_code == 128 + signal.SIGINT
    assert left() == {"cup.png", "tmp"}
    for arguments in (
        ("astronaut",),
        ("golden cup", "-o", "a.jpg"),
        ("golden cup", "-o", "x/a.png"),
    ):
        assert run("preview", cup, *arguments, *QUICK).exit_code == 2
    assert left() == {"cup.png", "tmp"}


def test_a_picture_goes_through(cup: Path) -> None:
    result = piped(
        cup.read_bytes(), "edit-image", "-", "golden cup", *QUICK, "--steps", 2, "-o", "-"
    )
    assert result.exit_code == 0, result.stderr
    assert left() == {"cup.png", "tmp"}
    whole = edit_image(cup, "golden cup", output="out", steps=2, **SETTINGS)
    sent = np.array(Image.open(io.BytesIO(result.stdout_bytes)))
    assert (sent == np.array(whole.picture())).all()
    again = piped(cup.read_bytes(), "composite", "-", "out", "-o", "-")
    assert (np.array(Image.open(io.BytesIO(again.stdout_bytes))) == sent).all()
    passed(piped(cup.read_bytes(), "edit-image", "-", "golden cup", *QUICK, "--steps", 2))
    assert Path("stdin.golden-cup/layer.png").read_bytes() == whole.layer.read_bytes()


@pytest.mark.parametrize(
    ("data", "arguments", "words"),
    [
        (b"", ("edit-image", "-", "golden cup"), "nothing came from stdin"),
        (b"no picture", ("edit-image", "-", "golden cup"), "stdin"),
        (b"x", ("edit-image", "cup.png", "golden cup", "-o", "-", "--json"), "and --json"),
        (b"x", ("edit-image", "cup.png", "golden cup", "-o", "-", "--dry-run"), "and --dry-run"),
        (b"x", ("edit-image", "cup.png", "golden cup", "-o", "-", "--tries", "2"), "and --tries"),
        (b"x", ("edit-video", "-", "golden cup"), "go through pipes"),
        (b"x", ("edit-video", "clip.mp4", "golden cup", "-o", "-"), "go through pipes"),
        (b"x", ("preview", "-", "golden cup"), "go through pipes"),
    ],
)
def test_pipes_that_cannot_be(
    data: bytes, arguments: tuple[str, ...], words: str, cup: Path
) -> None:
    result = piped(data, *arguments, *QUICK)
    assert result.exit_code in (1, 2) and words in one_line(result)
    assert left() == {"cup.png", "tmp"}


@pytest.mark.parametrize(
    "arguments",
    [("lift", "-", "cup.png"), ("apply", ".", "-"), ("fit-atlas", "-")],
    ids=lambda arguments: str(arguments[0]),
)
def test_commands_without_pipes_say_so(arguments: tuple[str, ...], cup: Path) -> None:
    result = piped(b"x", *arguments)
    assert result.exit_code == 2 and "go through pipes" in one_line(result)
    assert left() == {"cup.png", "tmp"}


def test_a_pipe_that_is_stopped_sends_nothing(cup: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(self: ConsoleProgress, done: int, values: object = None) -> None:
        signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(ConsoleProgress, "advance", stop)
    result = run("edit-image", cup, "golden cup", *QUICK, "--steps", 50, "-o", "-")
    assert result.exit_code == 128 + signal.SIGTERM and result.stdout_bytes == b""
    assert "nothing was sent or kept" in result.stderr and "the same command" not in result.stderr
    assert left() == {"cup.png", "tmp"}


@posix
def test_a_terminal_is_no_pipe(cup: Path) -> None:
    import pty

    ours, theirs = pty.openpty()
    for words in (["-", "golden cup"], ["cup.png", "golden cup", "-o", "-"]):
        command = [sys.executable, "-m", "text2live_cli", "edit-image", *words, *QUICK]
        done = subprocess.run(command, stdin=theirs, stdout=theirs, stderr=subprocess.PIPE)
        assert done.returncode == 2 and b"-" in done.stderr
    os.close(ours)
    os.close(theirs)


SIXEL = b"\x1bP"  # how pictures begin there


@pytest.mark.parametrize(
    ("answer", "flag", "shows"),
    [
        (b"\x1b[?62;4c", "--quiet", False),
        (b"\x1b[?62;4c", "--seed=0", True),
        (b"\x1b[?62c", "--seed=0", False),
        (b"\x1b[?62;4c", "--no-picture", False),
    ],
)
@posix
def test_a_terminal_that_can_shows_the_picture(
    answer: bytes, flag: str, shows: bool, cup: Path
) -> None:
    pytest.importorskip("textual_image")
    terminal = Terminal(answer)
    assert terminal.run("edit-image", cup, "golden cup", *QUICK, "--steps", 1, flag) == 0
    assert (SIXEL in terminal.shown) is shows


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish", "powershell"])
def test_shells_complete(shell: str) -> None:
    def completed(kind: str, words: str = "") -> str:
        told = {"_TEXT2LIVE_COMPLETE": f"{kind}_{shell}", "_TYPER_COMPLETE_ARGS": words}
        told |= {"COMP_WORDS": words, "COMP_CWORD": "1", "_TYPER_COMPLETE_FISH_ACTION": "get-args"}
        told["_TYPER_COMPLETE_WORD_TO_COMPLETE"] = words.split()[-1] if words else ""
        command = [sys.executable, "-m", "text2live_cli"]
        return subprocess.run(
            command, env={**os.environ, **told}, capture_output=True, text=True
        ).stdout

    assert "_TEXT2LIVE_COMPLETE" in completed("source")
    assert "batch" in completed("complete", "text2live bat")
