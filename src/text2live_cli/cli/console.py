"""What the user sees: a line of progress on a terminal, plain lines elsewhere; all on stderr.

Texts may come from anywhere (file names, prompts, answers of a server): `visible` makes them
harmless before rich sees them, and rich takes none of them for markup or emoji.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Any, cast

from rich.console import Console
from rich.live import Live
from rich.text import Text

from ..config import require_one_of
from ..texts import visible
from .progress_line import Progress

STYLES = ("auto", "bar", "plain", "json", "none")
_PLAIN_SECONDS, _PLAIN_SHARE = 10.0, 0.05  # of plain lines: so far apart, or so much of a stage
_SOON = 1.0  # seconds between two of them at the least


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
    """A `Progress` for people, or with the style "json" for programs; it leaves the terminal clean.

    Styles: "bar" (one line that is drawn anew), "plain" (lines, for logs), "json" (an event a
    line), "none", and "auto": a bar on a terminal, else plain.
    """

    def __init__(self, quiet: bool = False, style: str = "auto", verbose: bool = False) -> None:
        """Raises UsageError for another style."""
        require_one_of("--progress", style, STYLES)
        # None where stderr was closed before the start: rich then writes nowhere
        stream = sys.stderr and cast("IO[str]", EnduringStream(sys.stderr))
        self.console = Console(stderr=True, file=stream, highlight=False)
        self.quiet, self.verbose = quiet, verbose
        if style == "auto":
            style = "bar" if self.console.is_terminal else "plain"
        self.style = "none" if quiet and style != "json" else style
        self.stage_name = ""
        self._live: Live | None = None
        self._total: int | None = None
        self._unit = "step"
        self._from: int | None = None
        self._begin = self._last = 0.0
        self._last_done = 0
        self.shows_previews = True
        """For people: the first of a run is told, unless it is not for them."""

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
        """Begin a stage."""
        self._close()
        self.stage_name, self._total, self._unit = name, total, unit
        self._from, self._last_done = None, 0
        self._begin = self._last = time.monotonic()
        if self.style == "json":
            self._event("stage", of=total, unit=unit)
        elif self.style == "bar":
            self._live = Live(console=self.console, transient=True, auto_refresh=False)
            self._live.start()
            self._draw(Progress(name, 0, total, unit))
        elif self.style == "plain":
            self._print(name + ("…" if total is None else f" ({total} {unit}s)"))

    def advance(self, done: int, values: Mapping[str, float] | None = None) -> None:
        """Draw the line anew; in logs, add one now and then."""
        now = time.monotonic()
        if self._from is None:  # a resumed run begins in the middle, and its first step is over
            self._from, self._begin = done, now
        pace = (now - self._begin) / (done - self._from) if done > self._from else None
        progress = Progress(self.stage_name, done, self._total, self._unit, pace, values)
        if self.style == "json":
            loss = sum(values.values()) if values else None
            self._event("step", step=done, of=self._total, loss=loss, seconds=now - self._begin)
        elif self.style == "bar":
            self._draw(progress)
        elif self.style == "plain" and self._is_due(done, now):
            self._last, self._last_done = now, done
            self._print(progress.plain(self.verbose))

    def preview(self, path: Path) -> None:
        """For people, the first picture alone is told: the next ones take its place."""
        if self.style == "json":
            self._event("preview", path=visible(str(path)))
        elif self.shows_previews:
            self.shows_previews = False
            self.message(f"a first look at the edit, redrawn as it goes on: {path}")

    def message(self, text: str) -> None:
        """A line for the user, unless quiet."""
        if self.style == "json":
            self._event("message", text=text)
        elif not self.quiet:
            self._print(text)

    def warning(self, text: str) -> None:
        """A line that is shown even when quiet."""
        if self.style == "json":
            self._event("warning", text=text)
        else:
            self._print(text, ("warning: ", "yellow"))

    def error(self, text: str) -> None:
        """The line that ends a failed command."""
        self._close()
        if self.style == "json":
            self._event("error", text=text)
        else:
            self._print(text, ("error: ", "bold red"))

    def _is_due(self, done: int, now: float) -> bool:
        """Whether a plain line is: each 10 s or twentieth of the stage, and at its end."""
        past = now - self._last
        share = done - self._last_done >= _PLAIN_SHARE * (self._total or float("inf"))
        return past >= _PLAIN_SECONDS or (share and past >= _SOON) or done == self._total

    def _draw(self, progress: Progress) -> None:
        if self._live is not None:
            line = visible(progress.line(self.console.width - 1, self.verbose))
            self._live.update(Text(line, no_wrap=True, overflow="crop"), refresh=True)

    def event(self, kind: str, **facts: object) -> None:
        """For programs alone."""
        if self.style == "json":
            self._event(kind, **facts)

    def _event(self, kind: str, **facts: object) -> None:
        event = {"event": kind, "stage": self.stage_name, **facts}
        self.console.file.write(json.dumps(event) + "\n")
        self.console.file.flush()

    def _print(self, text: str, *before: tuple[str, str]) -> None:
        self.console.print(Text.assemble(*before, visible(text)), soft_wrap=True)

    def _close(self) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None
