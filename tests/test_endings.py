"""How commands end: by signals, without a reader, with faults, and without room."""

from __future__ import annotations

import errno
import io
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from swatch_training.painter import paint_scene

from tests.commands import StopAt, assert_interrupted_well, history_of, one_line, run
from text2live_cli import (
    Text2LiveError,
    UsageError,
    edit_image,
    endings,
)
from text2live_cli.cli.console import ConsoleProgress, EnduringStream
from text2live_cli.config import CHANNELS_LAST
from text2live_cli.endings import (
    Stop,
    Stopped,
    catch_signals,
    signals_raise,
)
from text2live_cli.errors import UnexpectedError
from text2live_cli.media.picture_writing import write_picture
from text2live_cli.progress import Silent
from text2live_cli.runs.clock import CheckpointClock
from text2live_cli.runs.folder import CHECKPOINT, EDIT_IMAGE, RunFolder
from text2live_cli.runs.keeping import as_known, keeping

SETTINGS = {"clip": "swatch", "preset": "draft", "views": 1, "steps": 4}
QUICK = [text for name, value in SETTINGS.items() for text in (f"--{name}", str(value))]
KEPT = "the checkpoint in cup.golden-cup is kept: --resume goes on"


@pytest.fixture
def cup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A painted red cup in the current folder."""
    monkeypatch.chdir(tmp_path)
    rgb, _ = paint_scene([("cup", "red")], "wooden table", 3, (96, 128))
    write_picture(tmp_path / "cup.png", rgb)
    return Path("cup.png")


# Signals


@pytest.fixture(autouse=True)
def _hang_ups_are_heard() -> Iterator[None]:
    """Also where the tests run under `nohup`."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_other_signals_end_a_training_as_ctrl_c_does(cup: Path, number: signal.Signals) -> None:
    command = ["edit-image", cup, "golden cup", *QUICK[:6], "--steps", 100_000]
    assert_interrupted_well("training", *command, number=number)
    record = json.loads(Path("cup.golden-cup/run.json").read_text())
    assert record["interrupted"] is True
    assert record["stopped_by"] == number.name
    assert Path("cup.golden-cup/composite.png").exists()


def test_a_second_signal_leaves_out_the_result_and_keeps_the_checkpoint(
    cup: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(endings, "_ECHO_SECONDS", 0.0)
    whole = edit_image(cup, "golden cup", output="whole", **SETTINGS)
    twice = StopAt("training", 2, signal.SIGINT, signal.SIGTERM)
    with pytest.raises(Stopped) as stopped:
        edit_image(cup, "golden cup", output="parts", progress=twice, **SETTINGS)
    assert stopped.value.exit_code == 143
    assert "parts is kept" in stopped.value.kept
    sight = {"relevancy.png", "region.png", "mask.png"}  # written before the training
    assert {path.name for path in Path("parts").iterdir()} == {CHECKPOINT, "previews", *sight}
    resumed = edit_image(cup, "golden cup", output="parts", resume=True, **SETTINGS)
    assert resumed.layer.read_bytes() == whole.layer.read_bytes()
    assert history_of(resumed.folder) == history_of(whole.folder)
    assert resumed.record["stopped_by"] is None


def test_a_third_signal_is_not_waited_for_and_an_echo_is_no_second(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stop = Stop()
    stop.note(signal.SIGINT)
    stop.note(signal.SIGINT)  # of a wrapper that passes on what the terminal sent too
    assert (stop.times, stop.hurried, stop.name) == (1, False, "SIGINT")
    monkeypatch.setattr(endings, "_ECHO_SECONDS", 0.0)
    stop.note(signal.SIGTERM)
    assert stop.hurried
    with pytest.raises(Stopped) as stopped:
        stop.note(signal.SIGTERM)
    assert stopped.value.number == signal.SIGTERM


def test_handlers_stand_in_the_main_thread_and_only_while_training() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with catch_signals() as stopped:
        signal.raise_signal(signal.SIGTERM)
        assert stopped()
    assert signal.getsignal(signal.SIGTERM) == before
    with pytest.raises(Stopped) as ended, signals_raise():
        signal.raise_signal(signal.SIGHUP)
    assert ended.value.exit_code == 129
    told = []
    with catch_signals():
        handler = signal.getsignal(signal.SIGTERM)

        def elsewhere() -> None:
            with catch_signals() as other:
                told.append((other(), signal.getsignal(signal.SIGTERM) == handler))

        thread = threading.Thread(target=elsewhere)
        thread.start()
        thread.join()
    assert told == [(False, True)]


def test_nohup_is_obeyed() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with catch_signals() as stopped:
            signal.raise_signal(signal.SIGHUP)
            assert not stopped()
    finally:
        signal.signal(signal.SIGHUP, before)


# Nobody reads


class Gone(io.StringIO):
    """A pipe whose reader went away."""

    def write(self, text: str) -> int:
        raise BrokenPipeError(errno.EPIPE, "Broken pipe")


def test_a_stream_without_a_reader_is_written_to_in_vain() -> None:
    stream = EnduringStream(Gone())
    assert stream.write("text") == 4
    stream.flush()
    closed = io.StringIO()
    closed.close()
    assert EnduringStream(closed).write("text") == 4


def test_a_training_goes_on_without_a_reader(cup: Path) -> None:
    for output, close in (("out", True), ("err", False)):
        reader, writer = os.pipe()
        os.close(reader)
        command = [sys.executable, "-m", "text2live_cli", "edit-image", str(cup), "golden cup"]
        streams = {"stdout": writer, "stderr": None if close else writer}
        done = subprocess.run(
            [*command, *QUICK, "--layout", CHANNELS_LAST, "-o", output, "--json"],
            **streams,
            close_fds=True,
            timeout=300,
        )
        os.close(writer)
        assert done.returncode == 0
        assert Path(output, "composite.png").exists()


def test_the_console_does_without_stderr(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", None)
    with ConsoleProgress() as progress:
        progress.stage("training", 3)
        progress.warning("nobody sees this")


# Faults, and what is kept


def fail_at(step: int, error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    from text2live_cli.engine.training import Trainer

    real = Trainer.step

    def failing(trainer: Trainer) -> None:
        if trainer.done == step:
            raise error
        real(trainer)

    monkeypatch.setattr(Trainer, "step", failing)


def test_a_fault_is_one_line_that_says_what_is_kept(
    cup: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ("edit-image", cup, "golden cup", *QUICK, "--checkpoint-every", 0)
    with monkeypatch.context() as during:
        fail_at(2, KeyError("nothing\nthere"), during)
        result = run(*command, "--json")
    assert result.exit_code == 70
    line = one_line(result)
    for text in ("KeyError: 'nothing\\nthere'", "“training”", KEPT, "--debug"):
        assert text in line
    assert json.loads(result.stdout) == {
        "error": line.removeprefix("error: "),
        "kind": "KeyError",
    }
    assert run(*command, "--resume").exit_code == 0


def test_a_fault_with_debug_is_shown(cup: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fail_at(2, KeyError("nothing"), monkeypatch)
    result = run("edit-image", cup, "golden cup", *QUICK, "--debug")
    assert isinstance(result.exception, UnexpectedError)
    assert isinstance(result.exception.__cause__, KeyError)


def test_errors_of_the_system_come_with_their_path(
    cup: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail_at(2, PermissionError(errno.EACCES, "Permission denied", "some/file"), monkeypatch)
    result = run("edit-image", cup, "golden cup", *QUICK)
    assert result.exit_code == 1
    assert one_line(result) == f"error: some/file: Permission denied; {KEPT}"


def test_what_is_kept_beside_a_former_result_is_told(
    cup: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Path("cup.golden-cup")
    former = edit_image(cup, "golden cup", **SETTINGS).layer.read_bytes()
    fail_at(2, KeyError("nothing"), monkeypatch)
    with pytest.raises(UnexpectedError) as failed:
        edit_image(cup, "golden cup", overwrite=True, checkpoint_every=0, **SETTINGS)
    work = Path(".cup.golden-cup.partial")
    assert failed.value.kept == f"the checkpoint in {work} is kept: --resume goes on"
    assert (work / CHECKPOINT).exists()
    assert (folder / "layer.png").read_bytes() == former


def test_usage_errors_are_json_too(cup: Path) -> None:
    result = run("edit-image", cup, "golden cup", *QUICK, "--size", 3, "--json")
    assert result.exit_code == 2
    assert json.loads(result.stdout)["kind"] == "UsageError"
    command = [sys.executable, "-m", "text2live_cli", "edit-image", str(cup), "--json"]
    done = subprocess.run(
        [*command, "golden cup", "--size", "x"], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 2
    assert "--size" in json.loads(done.stdout)["error"]


def test_what_the_program_does_not_know_stays_what_it_is() -> None:
    own = Text2LiveError("one line")
    assert as_known(own) is own
    assert isinstance(as_known(RuntimeError("a tensor")), UnexpectedError)
    assert "out of memory" in str(as_known(MemoryError()))
    with pytest.raises(UsageError) as refused, keeping(RunFolder(Path(), Path(), EDIT_IMAGE)):
        raise UsageError("not so")
    assert str(refused.value) == "not so"


class NoRoomFor(Silent):
    """The disk is full from the stage on that is named."""

    def __init__(self, stage: str, monkeypatch: pytest.MonkeyPatch) -> None:
        self.wanted, self.monkeypatch = stage, monkeypatch

    def stage(self, name: str, total: int | None = None, unit: str = "step") -> None:
        def full(*_: object) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        if name == self.wanted:
            self.monkeypatch.setattr("text2live_cli.media.files._flush", full)


def test_no_room_for_the_result_keeps_the_checkpoint(
    cup: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as during:
        full = NoRoomFor("writing the result", during)
        with pytest.raises(Text2LiveError, match="No space left") as failed:
            edit_image(cup, "golden cup", progress=full, **SETTINGS)
    assert KEPT in str(failed.value)
    resumed = edit_image(cup, "golden cup", resume=True, **SETTINGS)
    assert resumed.record["steps_done"] == 4


# Checkpoints by the clock


def test_a_checkpoint_is_due_each_minute_or_twentieth(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr("text2live_cli.runs.clock.time.monotonic", lambda: now)
    clock = CheckpointClock()
    clock.begin(10)
    assert not clock.due(14, 100)
    assert clock.due(15, 100)
    now += 61
    assert clock.due(11, 100)
    with clock.saving(11):
        now += 2
    assert not clock.due(20, 100)  # saving takes too long to be done at each twentieth
    now += 40
    assert clock.due(20, 100)
    asked = CheckpointClock(5)
    assert not asked.due(90, 100)
    now += 5
    assert asked.due(1, 100)
    with pytest.raises(UsageError, match="--checkpoint-every"):
        CheckpointClock(float("nan"))
