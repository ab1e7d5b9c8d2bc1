"""What the user sees: progress bars on a terminal, plain lines elsewhere; all of it on stderr.

Texts may come from anywhere (file names, prompts, answers of a server): `visible` makes them
harmless before rich sees them, and rich takes none of them for markup or emoji.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Mapping
from types import TracebackType
from typing import IO, Any, cast

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as Bars
from rich.text import Text

from ..texts import visible

_PLAIN_SECONDS = 10.0


class EnduringStream:
    """A text stream whose reader may go away: from then on it writes nothing, and says nothing."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """As of a stream that never fails."""
        try:
            return self._stream.write(text)
        except (OSError, ValueError) as error:  # ValueError: it is closed
            self._give_up(error)
            return len(text)

    def flush(self) -> None:
        """As of a stream that never fails."""
        try:
            self._stream.flush()
        except (OSError, ValueError) as error:
            self._give_up(error)

    def _give_up(self, error: Exception) -> None:
        if isinstance(error, UnicodeError):
            raise error
        with contextlib.suppress(OSError, ValueError):  # else Python fails as it ends, at its flush
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stream.fileno())
            os.close(nowhere)


def print_result(text: str) -> None:
    """One text on stdout; nothing where nobody reads it any more."""
    if sys.stdout is not None:
        stream = EnduringStream(sys.stdout)
        stream.write(text + "\n")
        stream.flush()


class ConsoleProgress:
    """A `Progress` for people; as a context manager it leaves the terminal clean."""

    def __init__(self, quiet: bool = False) -> None:
        # None where stderr was closed before the start: rich then writes nowhere
        stream = sys.stderr and cast("IO[str]", EnduringStream(sys.stderr))
        self.console = Console(stderr=True, file=stream, highlight=False)
        self.quiet = quiet
        self._live = self.console.is_terminal and not quiet
        self._bars: Bars | None = None
        self._task = TaskID(0)
        self.stage_name = ""
        self._total: int | None = None
        self._from: int | None = None
        self._begin = self._told = 0.0

    def __enter__(self) -> ConsoleProgress:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._close()

    def stage(self, name: str, total: int | None = None, unit: str = "step") -> None:
        """Begin a stage, with a bar of its own on a terminal."""
        self._close()
        self.stage_name, self._total = name, total
        self._from = None
        self._begin = self._told = time.monotonic()
        if self._live:
            count = DownloadColumn() if unit == "byte" else MofNCompleteColumn()
            self._bars = Bars(
                TextColumn("{task.description}", markup=False),
                BarColumn(),
                count,
                TimeElapsedColumn(),
                TextColumn("left"),
                TimeRemainingColumn(),
                TextColumn("{task.fields[values]}", style="dim", markup=False),
                console=self.console,
                transient=True,
            )
            self._bars.start()
            self._task = self._bars.add_task(visible(name), total=total, values="")
        elif not self.quiet:
            self._print(name + ("…" if total is None else f" ({total} {unit}s)"))

    def advance(self, done: int, values: Mapping[str, float] | None = None) -> None:
        """Move the bar; off a terminal, a line now and then."""
        now = time.monotonic()
        if self._from is None:  # a resumed run begins in the middle, and its first step is over
            self._from, self._begin = done, now
        pace = (now - self._begin) / max(done - self._from, 1)
        figures = "  ".join(f"{name} {value:.3g}" for name, value in (values or {}).items())
        if self._bars is not None:
            text_values = f"{pace:.2f} s/step  {figures}" if values else figures
            self._bars.update(self._task, completed=done, values=visible(text_values))
        elif not self.quiet and (now - self._told > _PLAIN_SECONDS or done == self._total):
            self._told = now
            text = f"{self.stage_name} {done}/{self._total or '?'}"
            if values:
                text += f", {pace:.2f} s/step"
            if self._total:
                text += f", {pace * (self._total - done):.0f} s left"
            self._print(f"{text}  {figures}".rstrip())

    def message(self, text: str) -> None:
        """A line for the user, unless quiet."""
        if not self.quiet:
            self._print(text)

    def warning(self, text: str) -> None:
        """A line that is shown even when quiet."""
        self._print(text, ("warning: ", "yellow"))

    def error(self, text: str) -> None:
        """The line that ends a failed command."""
        self._close()
        self._print(text, ("error: ", "bold red"))

    def _print(self, text: str, *before: tuple[str, str]) -> None:
        self.console.print(Text.assemble(*before, visible(text)), soft_wrap=True)

    def _close(self) -> None:
        if self._bars is not None:
            self._bars.stop()
            self._bars = None
