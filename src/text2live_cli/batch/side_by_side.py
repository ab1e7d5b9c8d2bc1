"""Tries of a picture two at once, by workers with half of the processors each.

A step of a small generator hardly gains by a second thread: two edits with one each take about
half the time of two edits in turn (docs/performance.md).
"""

from __future__ import annotations

import signal
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import fields
from pathlib import Path
from typing import Any

from ..endings import Stopped, catch_signals
from ..errors import Text2LiveError
from ..media.outside import RECORD_ERRORS, read_record
from ..pipelines.dry_run import need_of
from ..pipelines.options import ImageOptions
from ..pipelines.plans import ImagePlan, VideoPlan
from ..progress import Progress
from ..runs.folder import RECORD
from ..runs.lock import held
from ..runs.memory import available
from .jobs import Job
from .journal import DONE, FAILED, Entry
from .local import Pool, processors
from .work import Order

AT_ONCE = 2
_OF_THE_RUN = ("output", "overwrite", "resume", "progress")  # options that an order gives itself


def fits(plan: ImagePlan | VideoPlan) -> bool:
    """Whether two edits of a picture run side by side here: on a CPU, with memory for both."""
    if not isinstance(plan, ImagePlan) or plan.device != "cpu" or plan.options.log_dir is not None:
        return False
    need, free = need_of(plan), available()
    has_room = need is not None and (free is None or AT_ONCE * need <= free)
    return has_room and processors() >= AT_ONCE * (plan.options.threads or 1)


def run_side_by_side(
    every: Sequence[ImageOptions], place: Path, overwrite: bool, steps: int, progress: Progress
) -> dict[str, dict[str, Any]]:
    """Run all, each into its number below `place`, from where it was stopped; done ones stay.

    Returns their records by these names; after a signal, when those at work have written theirs,
    that of one that it stopped. Raises Text2LiveError for the first that fails.
    """
    orders = [
        Order(_job(number, options), str(place), overwrite)
        for number, options in enumerate(every, 1)
    ]
    progress.message(f"{len(orders)} tries, two at once")
    watch = _Tally(progress, steps, len(orders))
    with held(place / ".lock") as lock, catch_signals() as stop:
        Pool(orders, AT_ONCE, lock, watch).run(stop)
    if watch.failure:
        raise Text2LiveError(watch.failure)
    if stop.number is not None:
        return _stopped(place, orders, stop.number)
    return {order.job.name: read_record(place / order.job.name / RECORD) for order in orders}


def _stopped(place: Path, orders: Sequence[Order], number: int) -> dict[str, dict[str, Any]]:
    """The record of a try that was stopped. Raises `Stopped` where none has one."""
    for order in orders:
        with suppress(*RECORD_ERRORS):
            record = read_record(place / order.job.name / RECORD)
            if record["interrupted"]:  # by what stopped all of them
                return {order.job.name: record | {"stopped_by": signal.Signals(number).name}}
    raise Stopped(number)


class _Tally:
    """A `Watch` that makes one bar of all tries, and keeps the first failure."""

    def __init__(self, progress: Progress, each: int, tries: int) -> None:
        """Of so many `tries`, of so many steps `each`."""
        self._progress, self._each, self._steps = progress, each, each * tries
        self._stage: dict[str, str] = {}
        self._done: dict[str, int] = {}
        self._warnings = set[str]()
        self.failure = ""

    def opened(self, todo: int, done: int, failed: int) -> None:
        """Nothing."""

    def began(self, worker: int, job: Job) -> None:
        """The bar stays."""
        if not self._stage:
            self._progress.stage("training", self._steps)
        self._stage[job.name] = ""

    def told(self, worker: int, job: Job, event: str, facts: dict[str, Any]) -> None:
        """Steps of the training count; a warning of several is passed on once."""
        if event == "stage":
            self._stage[job.name] = facts["name"]
        elif event == "step" and self._stage[job.name] == "training":
            self._done[job.name] = facts["done"]
            self._progress.advance(sum(self._done.values()))
        elif event == "warning" and facts["text"] not in self._warnings:
            self._warnings.add(facts["text"])
            self._progress.warning(facts["text"])

    def ended(self, worker: int, job: Job, entry: Entry) -> None:
        """Its steps are done, or the rest of them left out."""
        if entry.state == DONE:
            self._done[job.name] = self._each
            self._progress.advance(sum(self._done.values()))
        elif entry.state == FAILED:
            self.failure = self.failure or f"{job.where}: {entry.error}"

    def message(self, text: str) -> None:
        """Passed on."""
        self._progress.message(text)


def _job(number: int, options: ImageOptions) -> Job:
    values = {
        one.name: _in_json(getattr(options, one.name))
        for one in fields(options)
        if one.name not in _OF_THE_RUN and getattr(options, one.name) != one.default
    }
    return Job(f"{number:02d}", "edit-image", values, f"try {number}")


def _in_json(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value)
    return list(value) if isinstance(value, tuple) else value
