"""The course of a training: begun, within a time, or gone on with, perhaps to more steps."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from ..endings import catch_signals
from ..engine.training import Trainer
from ..errors import UsageError
from ..progress import Progress
from ..runs.checkpoint import Checkpoint, Saver
from .previews import Log


@dataclass(frozen=True)
class TimeLimit:
    """`--minutes`: for the whole command, so that the training gets what the rest leaves."""

    minutes: float
    begin: float
    """When the command began, by `time.monotonic`."""
    delivery: Callable[[], float]
    """Tries a part of the delivery: the seconds that all of it will take."""

    def left(self) -> float:
        """Seconds for the training that begins after this."""
        delivery = self.delivery()
        return 60 * self.minutes - (time.monotonic() - self.begin) - delivery


def resume_or_begin(
    checkpoint: Checkpoint | None,
    saver: Saver,
    trainer: Trainer,
    steps: int | None,
    limit: TimeLimit | None,
    log: Log,
) -> float:
    """Train to the end or to a signal, from `checkpoint` on if there is one; seconds per step.

    `steps` are those asked for; `limit` fixes their number in a run that begins.
    """
    progress = saver.progress
    if checkpoint is not None:
        # Looks that were not taken cannot be made up for; those that were need not be heeded.
        free = () if trainer.settings.until_settled else ("until-settled",)
        checkpoint.require_job(saver.job, ignore=("steps", "threads", *free))
        checkpoint.restore(trainer)
        progress.message(f"going on after step {trainer.done}")
        _train_on(trainer, steps, progress)
    with catch_signals() as stopped:
        if limit is not None and checkpoint is None:
            trainer.fit_to(limit.minutes, limit.left, progress, stopped)
            progress.message(f"{trainer.steps} steps fit into {limit.minutes:g} minutes")
        saver.job["steps"] = trainer.steps
        log.begin(trainer)
        begin, first = time.monotonic(), trainer.done
        saver.begin()
        trainer.run(progress, stopped, saver)
        log.terms(trainer)
        saver.save()
        if stopped.hurried:
            stopped.end()
    return (time.monotonic() - begin) / max(trainer.done - first, 1)


def _train_on(trainer: Trainer, steps: int | None, progress: Progress) -> None:
    """Go on to `steps`, if they are given; UsageError where the run has more."""
    if steps is None or steps == trainer.steps:
        return
    if steps < trainer.steps:
        raise UsageError(
            f"cannot resume: steps was {trainer.steps} and is now {steps}; give as many or more,"
            " or --overwrite to start anew"
        )
    former = trainer.steps
    trainer.train_on(steps)
    progress.message(
        f"training on, from {former} to {steps} steps: the schedule goes on where it stood, with a"
        f" learning rate of {trainer.learning_rate:.2g}"
    )
