"""Checkpoints of trainings and fits: one safetensors file with texts inside, replaced atomically.

Written by a clock, read with suspicion, and only gone on with by the run that they are of.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from torch import Tensor

from ..errors import Text2LiveError, UsageError
from ..media.tensor_files import READ_ERRORS, read_tensors, write_tensors
from ..progress import Progress
from .clock import CheckpointClock


class Resumable(Protocol):
    """What can be stopped and gone on with: a `Trainer`, a `Fitter`."""

    done: int
    """Steps so far."""

    @property
    def steps(self) -> int:
        """Steps of the whole run."""

    @property
    def format(self) -> str:
        """Name of what `state` gives."""

    def state(self) -> tuple[dict[str, Tensor], dict[str, str]]:
        """All that the rest of the run depends on, as tensors and as texts."""

    def load(self, tensors: dict[str, Tensor], texts: dict[str, str]) -> None:
        """Go on where `state` was called; one of `READ_ERRORS` for what that never gives."""


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint as read: its tensors are not trusted before `restore`."""

    path: Path
    tensors: dict[str, Tensor]
    texts: dict[str, str]
    job: dict[str, Any]
    """Which run it is of."""

    @classmethod
    def read(cls, path: Path, form: str) -> Checkpoint:
        """Raises Text2LiveError where the file is damaged or of another format than `form`."""
        try:
            tensors, texts = read_tensors(path, form)
            return cls(path, tensors, texts, dict(json.loads(texts["job"])))
        except READ_ERRORS as error:
            raise _damaged(path) from error

    def require_job(self, job: dict[str, Any], ignore: tuple[str, ...] = ()) -> None:
        """Refuse to go on with a run of other settings, naming the first that differs."""
        matters = {name: value for name, value in job.items() if name not in ignore}
        require_job(self.job, matters, "cannot resume")

    def restore(self, run: Resumable) -> None:
        """Put `run` where the checkpoint was made; Text2LiveError where it does not fit."""
        try:
            run.load(self.tensors, self.texts)
        except READ_ERRORS as error:
            raise _damaged(self.path) from error
        self.tensors.clear()  # as large as the run itself


def require_job(former: dict[str, Any], job: dict[str, Any], complaint: str) -> None:
    """Raise UsageError naming the first setting in which two jobs differ."""
    for name in job:
        if former.get(name) != job[name]:
            raise UsageError(
                f"{complaint}: {name} was {former.get(name)!r} and is now {job[name]!r};"
                " use the former settings, or --overwrite to start anew"
            )


class Saver:
    """Called after every step: writes the checkpoint where its clock says that one is due."""

    def __init__(
        self,
        path: Path,
        run: Resumable,
        job: dict[str, Any],
        clock: CheckpointClock,
        progress: Progress,
        each_step: Callable[[int], None] | None = None,
    ) -> None:
        """`each_step` is called with the number of steps done, after every one."""
        self.path = path
        self.run = run
        self.job = job
        self.clock = clock
        self.progress = progress
        self._each_step = each_step
        self.unsaved: Text2LiveError | None = None
        """Why the last checkpoint could not be written."""

    def begin(self) -> None:
        """From here on the clock runs."""
        self.clock.begin(self.run.done)

    def __call__(self) -> None:
        if self._each_step is not None:  # before the checkpoint: after a kill it is done again
            self._each_step(self.run.done)
        if self.clock.due(self.run.done, self.run.steps):
            self.save()

    def save(self) -> None:
        """Write the checkpoint; one that cannot be written now is no reason to lose the work."""
        self.unsaved = None
        try:
            with self.clock.saving(self.run.done):
                tensors, texts = self.run.state()
                about = {"format": self.run.format, "job": json.dumps(self.job)}
                write_tensors(self.path, tensors, {**about, **texts})
        except Text2LiveError as error:
            self.unsaved = error
            self.progress.warning(f"no checkpoint for now: {error}")

    def require_saved(self, result: Path) -> None:
        """Raise Text2LiveError where the last checkpoint could not be, but the `result`."""
        if self.unsaved is not None:
            self.unsaved.kept = f"the result in {result} is written, and cannot be resumed"
            raise self.unsaved


def _damaged(path: Path) -> Text2LiveError:
    return Text2LiveError(
        f"{path}: the checkpoint is damaged, or of another version of text2live; start anew with"
        " --overwrite"
    )
