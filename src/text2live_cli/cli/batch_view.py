"""A batch on the screen: a line for each worker and one for all, or plain lines; then a table."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Any

from rich.live import Live
from rich.table import Table
from rich.text import Text

from ..batch.jobs import Job
from ..batch.journal import DONE, Entry
from ..batch.run import BatchResult
from ..texts import clock, visible
from .console import ConsoleProgress
from .progress_line import Progress

_ROWS = 50  # of the table; of more jobs, only those that are not done are told


class BatchView:
    """A `Watch` for people, or for programs an event a line."""

    def __init__(self, console: ConsoleProgress) -> None:
        """In the manner of `console`."""
        self._console = console
        self._live: Live | None = None
        self._lines: dict[int, Progress] = {}
        self._jobs: dict[int, str] = {}
        self._begin: dict[int, float] = {}
        self._todo = self._ended = 0
        self._start = time.monotonic()

    def __enter__(self) -> BatchView:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def opened(self, todo: int, done: int, failed: int) -> None:
        """How many there are."""
        self._todo = todo
        parts = [f"{todo} to run"]
        parts += [f"{done} done already"] * bool(done)
        parts += [f"{failed} failed before (--retry-failed runs them again)"] * bool(failed)
        self._console.message(", ".join(parts))
        if todo and self._console.style == "bar":
            self._live = Live(console=self._console.console, transient=True, auto_refresh=False)
            self._live.start()

    def began(self, worker: int, job: Job) -> None:
        """A line of its own."""
        self._jobs[worker] = job.name
        self._stage(worker, "begins", None)
        self._console.event("job", job=job.name, worker=worker, state="begun")

    def told(self, worker: int, job: Job, event: str, facts: dict[str, Any]) -> None:
        """On its line; warnings are kept."""
        if event == "warning":
            self._console.warning(f"{job.name}: {facts.get('text', '')}")
        elif event == "message" and self._console.verbose:
            self._console.message(f"{job.name}: {facts.get('text', '')}")
        elif event == "stage":
            self._stage(worker, str(facts.get("name", "")), facts.get("total"))
        elif event == "step" and worker in self._lines:
            line, done = self._lines[worker], int(facts.get("done", 0))
            pace = (time.monotonic() - self._begin[worker]) / done if done else None
            self._lines[worker] = Progress(line.name, done, line.total, pace=pace)
            self._console.event("step", job=job.name, step=done, of=line.total)
        self._draw()

    def ended(self, worker: int, job: Job, entry: Entry) -> None:
        """A line that stays."""
        self._ended += 1
        self._lines.pop(worker, None)
        about = f"{entry.error or entry.verdict or 'kept'}"
        seconds = "" if entry.seconds is None else f", {entry.seconds:.1f} s"
        line = f"[{self._ended}/{self._todo}] {entry.state}: {job.name} ({about}{seconds})"
        if self._console.style == "json":
            self._console.event("job", **entry.told())
        else:
            (self._console.message if entry.state == DONE else self._console.warning)(line)
        self._draw()

    def message(self, text: str) -> None:
        """As any."""
        self._console.message(text)

    def _stage(self, worker: int, name: str, total: int | None) -> None:
        self._begin[worker] = time.monotonic()
        self._lines[worker] = Progress(f"{self._jobs[worker]}: {name}", 0, total)
        self._draw()

    def _draw(self) -> None:
        if self._live is None:
            return
        width = self._console.console.width - 1
        pace = (time.monotonic() - self._start) / self._ended if self._ended else None
        lines = [Progress("all", self._ended, self._todo, pace=pace)]
        lines += [line for _, line in sorted(self._lines.items())]
        text = "\n".join(visible(line.line(width)) for line in lines)
        self._live.update(Text(text, no_wrap=True, overflow="crop"), refresh=True)


def print_table(result: BatchResult, progress: ConsoleProgress) -> None:
    """What became of all jobs, or of those that are not done; and in one line, how many."""
    all_of_them = len(result.entries) <= _ROWS
    entries = [one for one in result.entries if all_of_them or one.state != DONE]
    if entries and not progress.quiet and progress.style != "json":
        table = Table(box=None, pad_edge=False)
        for name in ("job", "state", "time", "score", ""):
            table.add_column(name, overflow="fold")
        for one in entries[:_ROWS]:
            took = "" if one.seconds is None else clock(one.seconds)
            score = "" if one.score is None else f"{one.score:.3f}"
            cells = (one.job, one.state, took, score, one.error or one.verdict)
            table.add_row(*(Text(visible(cell)) for cell in cells))
        progress.console.print(table)
    counts = [f"{n} {state}" for state, n in result.record()["counts"].items() if n]
    counts += [f"{len(result.left_out)} left out: files not there"] * bool(result.left_out)
    progress.message(f"{result.place}: {', '.join(counts) or 'nothing to do'}")
