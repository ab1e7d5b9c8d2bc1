"""`batch`: many edits, each done once; whatever ends it, the same command goes on."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..endings import Stop, catch_signals
from ..errors import UsageError
from ..pipelines.done import MAIN_FILES
from ..runs.folder import RECORD
from ..runs.lock import LockedError, held
from ..runs.places import explained
from ..texts import shown_path
from .jobs import Job, read_jobs
from .journal import BEGUN, DONE, FAILED, INTERRUPTED, OPEN, Entry, Journal, shard_name
from .local import Pool, default_workers
from .options import BatchOptions
from .remote import names_below
from .watch import Watch
from .work import Order

_WAIT = 0.5  # seconds between two looks at whether another batch has ended


@dataclass(frozen=True)
class BatchResult:
    """What became of all jobs, in their order."""

    folder: Path
    entries: list[Entry]
    left_out: list[Job]
    """Those whose files are not there."""
    place: str
    """Where the results are: the folder, or a URL."""
    stopped_by: str | None
    """The signal, such as "SIGTERM", that ended it early."""

    def count(self, state: str) -> int:
        """How many are in a state."""
        return sum(entry.state == state for entry in self.entries)

    def record(self) -> dict[str, Any]:
        """For `--json`."""
        return {
            "command": "batch",
            "output": self.place,
            "counts": {state: self.count(state) for state in (DONE, FAILED, INTERRUPTED, OPEN)},
            "left_out": [job.name for job in self.left_out],
            "stopped_by": self.stopped_by,
            "jobs": [entry.told() for entry in self.entries],
        }

    @property
    def good(self) -> bool:
        """Whether all are done."""
        return self.count(DONE) == len(self.entries)


@dataclass(frozen=True)
class _Journaled:
    """A `Watch` that also writes the journal."""

    journal: Journal
    watch: Watch

    def opened(self, todo: int, done: int, failed: int) -> None:
        """Passed on."""
        self.watch.opened(todo, done, failed)

    def began(self, worker: int, job: Job) -> None:
        """Written, so that a job that was killed is known to have begun."""
        self.journal.add(Entry.of(job, BEGUN))
        self.watch.began(worker, job)

    def told(self, worker: int, job: Job, event: str, facts: dict[str, Any]) -> None:
        """Passed on."""
        self.watch.told(worker, job, event, facts)

    def ended(self, worker: int, job: Job, entry: Entry) -> None:
        """Written."""
        self.journal.add(entry)
        self.watch.ended(worker, job, entry)

    def message(self, text: str) -> None:
        """Passed on."""
        self.watch.message(text)


def run_batch(options: BatchOptions, watch: Watch) -> BatchResult:
    """Run all jobs that are not done, each into its folder in `options.out`.

    A job that fails stops no other. Signals end those at work as they end a single edit, with
    result and checkpoint. Raises UsageError, before anything is begun, for jobs that cannot be
    asked for.
    """
    asked = read_jobs(options)
    folder = Path(options.out)
    with explained(folder):
        if folder.exists() and not folder.is_dir():
            raise UsageError(f"--out {folder}: is a file; name a folder")
        folder.mkdir(parents=True, exist_ok=True)
    with _alone(folder, options.shard, watch) as lock:
        journal = Journal(folder, options.shard)
        states = _states(asked.jobs, journal, options)
        orders = [
            _order(job, journal.entry_of(job), options)
            for job, state in zip(asked.jobs, states, strict=True)
            if not state
        ]
        watch.opened(len(orders), states.count(DONE), states.count(FAILED))
        with catch_signals() as stop:
            if orders:
                _engine(orders, options, lock, _Journaled(journal, watch), stop)
    entries = [journal.entry_of(job) or Entry.of(job, OPEN) for job in asked.jobs]
    place = options.store or shown_path(folder)
    return BatchResult(folder, entries, asked.left_out, place, stop.name)


def planned(options: BatchOptions) -> list[tuple[Job, str]]:
    """All jobs, and what would become of each: "done", "failed" before, or "" to be run."""
    jobs = read_jobs(options).jobs
    journal = Journal(Path(options.out), options.shard)
    return list(zip(jobs, _states(jobs, journal, options), strict=True))


def _engine(
    orders: list[Order], options: BatchOptions, lock: int, watch: Watch, stop: Stop
) -> None:
    if options.engine == "ray":
        from .ray_engine import run_on_ray

        run_on_ray(orders, options, watch, stop)
    else:
        Pool(orders, options.workers or default_workers(), lock, watch).run(stop)


def _states(jobs: list[Job], journal: Journal, options: BatchOptions) -> list[str]:
    """Of each DONE, or FAILED where that is not to be tried again; else nothing."""
    kept = names_below(options.store) if options.store else None
    again = options.retry_failed or options.overwrite

    def is_whole(job: Job) -> bool:
        names = [f"{job.name}/{name}" for name in (RECORD, *MAIN_FILES[job.command])]
        if kept is not None:
            return kept.issuperset(names)
        return all((Path(options.out) / name).is_file() for name in names)

    def state(job: Job) -> str:
        entry = journal.entry_of(job)
        if entry is None:
            return ""
        if entry.state == DONE and is_whole(job):
            return DONE
        return FAILED if entry.state == FAILED and not again else ""

    return [state(job) for job in jobs]


def _order(job: Job, entry: Entry | None, options: BatchOptions) -> Order:
    """It goes on where it was begun; what is left of a result that was whole is replaced."""
    former = OPEN if entry is None else entry.state
    begun, lost = former in (BEGUN, INTERRUPTED), former == DONE
    return Order(job, str(options.out), options.overwrite or lost, begun, options.store)


@contextmanager
def _alone(folder: Path, shard: str | None, watch: Watch) -> Iterator[int]:
    """This batch's, or this part's, own; another one there is waited for."""
    path, told = folder / f".{shard_name(shard)}.lock", False
    with ExitStack() as stack:
        while True:
            try:
                with explained(folder):
                    lock = stack.enter_context(held(path))
                break
            except LockedError:
                if not told:
                    watch.message(f"{folder}: another batch is at work there; waiting for its end")
                told = True
                time.sleep(_WAIT)
        yield lock
