"""Checkpoints of a training: one safetensors file with its JSON inside, replaced atomically."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

from torch import Tensor

from ..device import FP32
from ..engine.training import History, Trainer
from ..errors import Text2LiveError, UsageError
from ..media.outside import whole_number
from ..media.tensor_files import (
    READ_ERRORS,
    read_tensors,
    require_finite,
    require_like,
    write_tensors,
)

_BUFFER = "buffer."
_FORMAT = "1"
_VECTORS = ("weights", "grad_sum_sq", "s", "x0")  # of MADGRAD, from its first step on
_MAX_STEPS = 2**40


def save_checkpoint(path: Path, trainer: Trainer, job: dict[str, Any]) -> None:
    """Write all that the rest of the run depends on; `job` says which run this is."""
    trainer.read()
    buffers = {_BUFFER + name: value for name, value in trainer.generator.named_buffers()}
    tensors = trainer.optimizer.state() | buffers
    metadata = {
        "format": _FORMAT,
        "job": json.dumps(job),
        "steps": str(trainer.settings.steps),
        "done": str(trainer.done),
        "optimizer_steps": str(trainer.optimizer.steps),
        "precision": trainer.precision.name,
        "history": json.dumps(dataclasses.asdict(trainer.history)),
    }
    write_tensors(path, tensors, metadata)


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """A checkpoint as read: nothing in it is trusted before `restore`."""

    path: Path
    tensors: dict[str, Tensor]
    job: dict[str, Any]
    steps: int
    done: int
    optimizer_steps: int
    precision: str
    history: History

    @classmethod
    def read(cls, path: Path) -> Checkpoint:
        """Raises Text2LiveError where the file is damaged or of another kind."""
        try:
            tensors, texts = read_tensors(path, _FORMAT)
            require_finite({n: t for n, t in tensors.items() if not n.startswith(_BUFFER)})
            steps = whole_number(int(texts["steps"]), 1, _MAX_STEPS)
            done = whole_number(int(texts["done"]), 0, steps)
            return cls(
                path,
                tensors,
                dict(json.loads(texts["job"])),
                steps,
                done,
                whole_number(int(texts["optimizer_steps"]), 0, _MAX_STEPS),
                texts["precision"],
                _read_history(texts["history"], done),
            )
        except READ_ERRORS as error:
            raise _damaged(path) from error

    def require_job(self, job: dict[str, Any], ignore: tuple[str, ...] = ()) -> None:
        """Refuse to go on with a run of other settings, naming the first that differs."""
        for name in (name for name in job if name not in ignore):
            if self.job.get(name) != job[name]:
                raise UsageError(
                    f"cannot resume: {name} was {self.job.get(name)!r} and is now {job[name]!r};"
                    " use the former settings, or --overwrite to start anew"
                )

    def restore(self, trainer: Trainer) -> None:
        """Put `trainer` where the checkpoint was made."""
        buffers = {n[len(_BUFFER) :]: t for n, t in self.tensors.items() if n.startswith(_BUFFER)}
        state = {n: t for n, t in self.tensors.items() if not n.startswith(_BUFFER)}
        weights = trainer.optimizer.state()["weights"]
        names = _VECTORS if self.done else ("weights",)
        try:
            require_like(buffers, dict(trainer.generator.named_buffers()))
            require_like(state, dict.fromkeys(names, weights))
            trainer.generator.load_state_dict(buffers, strict=False)
            trainer.optimizer.load(state, self.optimizer_steps)
        except READ_ERRORS as error:
            raise _damaged(self.path) from error
        trainer.settings = dataclasses.replace(trainer.settings, steps=self.steps)
        trainer.done = self.done
        trainer.history = self.history
        if self.precision == FP32.name and trainer.precision is not FP32:
            trainer.use_fp32()


def _read_history(text: str, done: int) -> History:
    """The terms of `done` steps; those of a skipped step need not be finite."""
    told = json.loads(text)
    history = History(told["terms"], told["weighted"], whole_number(told["skipped"], 0, done))
    for rows in (history.terms, history.weighted):
        if len(rows) != done:
            raise ValueError("the history has another length than the run")
        for row in rows:
            if not all(isinstance(value, float) for value in row.values()):
                raise ValueError("a term that is no number")
    return history


def _damaged(path: Path) -> Text2LiveError:
    return Text2LiveError(f"{path}: the checkpoint is damaged; start anew with --overwrite")
