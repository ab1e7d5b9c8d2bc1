"""The command line as the tests use it: in this process, and as a real one that is interrupted."""

from __future__ import annotations

import csv
import os
import signal
import struct
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from typer.testing import CliRunner, Result

from text2live_cli.cli.commands import app
from text2live_cli.config import CHANNELS_LAST
from text2live_cli.progress import Silent
from text2live_cli.runs.folder import HISTORY


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(a) for a in arguments])


def passed(result: Result) -> Result:
    assert result.exit_code == 0, result.output
    return result


def one_line(result: Result) -> str:
    """The error line of a failed command; fails if there is more, or a traceback."""
    lines = [line for line in result.stderr.splitlines() if line.startswith("error:")]
    assert len(lines) == 1, result.output
    assert "Traceback" not in result.output
    return lines[0]


def history_of(folder: Path | str) -> dict[str, list[dict[str, float]]]:
    """The terms of every step, and the same weighted, as history.csv has them."""
    history: dict[str, list[dict[str, float]]] = {"terms": [], "weighted": []}
    with Path(folder, HISTORY).open(encoding="utf-8", newline="") as file:
        for number, row in enumerate(csv.DictReader(file), 1):
            assert int(row.pop("step")) == number
            figures = {name: float(value) for name, value in row.items() if value}
            by_weight = {n.split()[1]: v for n, v in figures.items() if n.startswith("weighted ")}
            history["weighted"].append(by_weight)
            history["terms"].append({n: v for n, v in figures.items() if " " not in n})
    return history


def assert_interrupted_well(
    stage: str, *arguments: object, number: signal.Signals = signal.SIGINT
) -> None:
    """A signal, once `stage` has begun, ends a real process with 128 + it and tells of --resume."""
    command = [sys.executable, "-m", "text2live_cli", *map(str, arguments)]
    if arguments[0] != "fit-atlas":
        command += ["--layout", CHANNELS_LAST]  # not measured, which takes time and keeps a file
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    seen = ""
    for line in process.stderr:
        seen += line
        if line.startswith(stage):
            process.send_signal(number)
            break
    _, rest = process.communicate(timeout=120)
    assert process.returncode == 128 + number, seen + rest
    assert "--resume" in rest


class StopAt(Silent):
    """Presses Ctrl-C, or sends other signals one after the other, after a step of a stage."""

    def __init__(self, stage: str, step: int, *numbers: signal.Signals) -> None:
        self.wanted, self.step, self.name = stage, step, ""
        self.numbers = numbers or (signal.SIGINT,)

    def stage(self, name: str, total: int | None = None, unit: str = "step") -> None:
        self.name = name

    def advance(self, done: int, values: Mapping[str, float] | None = None) -> None:
        if self.name == self.wanted and done == self.step:
            for number in self.numbers:
                signal.raise_signal(number)


class Terminal:
    """The other side of a pseudo-terminal: it keeps what is shown, and says what it can."""

    def __init__(self, answer: bytes) -> None:
        import fcntl
        import pty
        import termios

        self.ours, self.theirs = pty.openpty()
        size = struct.pack("HHHH", 24, 80, 800, 480)  # rows, columns, pixels
        fcntl.ioctl(self.ours, termios.TIOCSWINSZ, size)
        self.answer, self.shown = answer, b""

    def run(self, *words: object) -> int:
        command = [sys.executable, "-m", "text2live_cli", *map(str, words)]
        end = self.theirs
        process = subprocess.Popen(command, stdin=end, stdout=end, stderr=end)
        os.close(end)
        while True:
            try:
                new = os.read(self.ours, 65536)
            except OSError:  # the other side is closed
                break
            self.shown += new
            if b"\x1b[c" in new:
                os.write(self.ours, self.answer)
            if b"\x1b[16t" in new:
                os.write(self.ours, b"\x1b[6;20;10t")
        os.close(self.ours)
        return process.wait()
