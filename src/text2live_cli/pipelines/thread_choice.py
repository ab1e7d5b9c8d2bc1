"""Threads of a run on a CPU: as asked for, as in the run that it resumes, or as measured."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress

import torch

from ..config import MAX_THREADS
from ..engine.threads import choose_threads
from ..media.outside import whole_number
from ..progress import Progress
from ..runs.checkpoint import Checkpoint


def set_threads(
    asked: int | None, checkpoint: Checkpoint | None, channels: int, progress: Progress
) -> None:
    """Set how many torch computes with; where it is measured, by a generator of so many `channels`.

    Another number than that of the run in `checkpoint` is told: each rounds in its own way.
    """
    former = None
    if checkpoint is not None:
        with suppress(ValueError):  # none: of a run before there was a choice
            former = whole_number(checkpoint.job.get("threads"), 1, MAX_THREADS)
    if asked and former and asked != former:
        progress.warning(
            f"--threads {asked}: begun with {former}; from here on it rounds otherwise"
        )
    number = asked or former
    if number is None and checkpoint is None:
        number = choose_threads(channels, progress)
    if number is not None:
        torch.set_num_threads(number)


@contextmanager
def threads_kept() -> Iterator[None]:
    """Afterwards the process has as many threads as before."""
    threads = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(threads)
