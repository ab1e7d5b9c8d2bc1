"""What the edits of a process share, and how one of them is trained: plan → train → deliver."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor

from ..config import CHANNELS_LAST, PLAIN, EditSettings
from ..device import Precision, choose_device, choose_precision, prepare
from ..endings import catch_signals
from ..engine.layout import choose_layout
from ..engine.training import FORMAT, Trainer
from ..errors import UsageError
from ..guide.clip import ClipGuide, load_guide
from ..guide.prompts import Prompts, check_text, choose_roi
from ..guide.weights import DEFAULT_CLIP
from ..media.picture_writing import write_picture
from ..progress import Progress, Silent
from ..runs.checkpoint import Checkpoint, Saver
from ..runs.clock import CheckpointClock
from ..runs.folder import CHECKPOINT, Outputs, RunFolder, claim_folder, preview_path
from ..runs.keeping import keeping
from .options import EditOptions
from .requests import command_line
from .self_test import edit_step


class Plan(Protocol):
    """What is common to `ImagePlan` and `VideoPlan`."""

    @property
    def options(self) -> EditOptions:
        """As given."""

    @property
    def settings(self) -> EditSettings:
        """As resolved."""

    @property
    def command(self) -> str:
        """Its name."""

    @property
    def request(self) -> dict[str, Any]:
        """What was asked for, as a record keeps it."""

    @property
    def reason(self) -> str:
        """Why it has its preset; nothing where that was asked for."""

    @property
    def folder(self) -> Path:
        """Of the result."""

    @property
    def outputs(self) -> Outputs:
        """What is written there."""

    @property
    def inputs(self) -> list[Path | str | None]:
        """The files that must not be written over."""

    @property
    def resumes(self) -> bool:
        """Whether a stopped run goes on."""


AnyPlan = TypeVar("AnyPlan", bound=Plan)
Scene = TypeVar("Scene")


@dataclass
class Prepared(Generic[Scene]):
    """An edit before its first step."""

    trainer: Trainer
    prompts: Prompts
    scene: Scene
    """What it is trained on, and delivered on."""
    inputs: dict[str, Any]
    """What a run must share with the one that it resumes, besides settings and prompts."""
    facts: dict[str, Any]
    """What a record says of it, and of no other kind of edit."""
    preview: Callable[[], np.ndarray]
    """The edit as it is, (H, W, 3) uint8."""
    delivery_seconds: Callable[[], float]
    """Tries a part of the delivery: the seconds that all of it will take."""
    write_first: Callable[[Path], None] | None
    """Writes what can be seen before the training; let go after that, since it holds pictures."""


@dataclass(frozen=True)
class Trained(Generic[Scene]):
    """An edit after its last step, or after a signal."""

    edit: Prepared[Scene]
    guide: ClipGuide
    job: dict[str, Any]
    saver: Saver
    seconds: dict[str, float]
    """Of the preparation, of the training, and of a step."""

    @property
    def trainer(self) -> Trainer:
        """The generator, its settings and its history."""
        return self.edit.trainer

    @property
    def prompts(self) -> Prompts:
        """The texts, as they were used."""
        return self.edit.prompts

    @property
    def interrupted(self) -> bool:
        """Whether steps are left."""
        return self.trainer.done < self.trainer.steps


class Session:
    """Device, precision and encoder, each found or loaded when it is first needed, and kept."""

    def __init__(
        self,
        clip: str = DEFAULT_CLIP,
        clip_weights: Path | str | None = None,
        device: str | None = None,
        precision: str | None = None,
        progress: Progress | None = None,
    ) -> None:
        """As the options of the same names; nothing is loaded yet."""
        self.clip = clip
        self.clip_weights = None if clip_weights is None else Path(clip_weights)
        self.progress: Progress = progress or Silent()
        self._device, self._precision = device or "auto", precision or "auto"

    @classmethod
    def of(cls, options: EditOptions) -> Session:
        """The session that an edit with these options needs."""
        return cls(
            options.clip,
            options.clip_weights,
            options.device,
            options.precision,
            options.progress,
        )

    @cached_property
    def device(self) -> torch.device:
        """Where is computed. Raises UsageError where the one asked for is absent."""
        return choose_device(self._device, edit_step, self.progress)

    @cached_property
    def precision(self) -> Precision:
        """How precisely."""
        prepare(self.device)
        return choose_precision(self._precision, self.device, self.progress)

    @cached_property
    def guide(self) -> ClipGuide:
        """The encoder, on the device.

        Raises UsageError for names that cannot serve, Text2LiveError for weights that cannot be
        had.
        """
        return load_guide(self.clip, self.clip_weights, self.progress).to(self.device)

    def require(self, options: EditOptions) -> None:
        """Raise UsageError where an edit asks for what this session has not."""
        file = None if options.clip_weights is None else Path(options.clip_weights)
        if (options.clip, file) != (self.clip, self.clip_weights):
            raise UsageError(f"--clip {options.clip}: this session is with {self.clip}")
        for name, own in (("device", self._device), ("precision", self._precision)):
            if (getattr(options, name) or own) != own:
                raise UsageError(f"--{name} {getattr(options, name)}: this session is with {own}")

    def train(
        self,
        plan: AnyPlan,
        prepare_edit: Callable[[AnyPlan, Session, Checkpoint | None], Prepared[Scene]],
        run: RunFolder,
        begin: float | None = None,
    ) -> Trained[Scene]:
        """Train what `prepare_edit` makes of a plan, in `run`, to the end or to a signal.

        A checkpoint is written by the clock and at the end. `begin` is when the command began, by
        `time.monotonic`; default: now. Raises `Stopped` where a second signal leaves no time for a
        result.
        """
        options, progress = plan.options, self.progress
        begin = time.monotonic() if begin is None else begin
        self.require(options)
        run.open(options.overwrite, plan.resumes)
        self._tell(plan)
        checkpoint = Checkpoint.read(run.work / CHECKPOINT, FORMAT) if plan.resumes else None
        if "guide" in vars(self):  # a former edit may have left it in less precision
            self.guide.to(self.device)
        edit = prepare_edit(plan, self, checkpoint)
        job = describe_job(edit.inputs, edit.prompts, edit.trainer, self.guide)
        clock = CheckpointClock(options.checkpoint_every)
        previews = _previews(run.work, edit.preview, options.save_every)
        saver = Saver(run.work / CHECKPOINT, edit.trainer, job, clock, progress, previews)
        if checkpoint is None:
            run.begin(progress)
            assert edit.write_first is not None
            edit.write_first(run.work)
        edit.write_first = None
        ready = time.monotonic()
        limit = None
        if options.minutes:
            limit = TimeLimit(options.minutes, begin, edit.delivery_seconds)
        pace = _resume_or_begin(checkpoint, saver, edit.trainer, limit, progress)
        seconds = {"preparation": ready - begin, "training": time.monotonic() - ready}
        seconds["per_step"] = pace
        return Trained(edit, self.guide, job, saver, seconds)

    def _tell(self, plan: Plan) -> None:
        reason = f": {plan.reason}" if plan.reason else ""
        where = f"on {self.device.type} in {self.precision.name}"
        self.progress.message(f"preset {plan.settings.preset}{reason}; {where}")

    def with_layout(self, settings: EditSettings, checkpoint: Checkpoint | None) -> EditSettings:
        """With "auto" resolved: as in the run that is resumed, or the faster one here."""
        if settings.layout != "auto":
            return settings
        if checkpoint is not None:
            layout = checkpoint.job.get("layout")
            if layout not in (PLAIN, CHANNELS_LAST):  # none: of a run before there was a choice
                layout = checkpoint.job["layout"] = CHANNELS_LAST
        else:
            layout = choose_layout(self.device, settings.channels, self.precision, self.progress)
        return dataclasses.replace(settings, layout=layout)


def what_was_asked(plan: Plan, trained: Trained[Any]) -> dict[str, Any]:
    """The request as a record keeps it, and the command that repeats the run on any machine."""
    steps = trained.trainer.steps if plan.options.minutes is not None else plan.options.steps
    fixed: dict[str, Any] = {"preset": plan.settings.preset, "minutes": None, "steps": steps}
    repeated = dataclasses.replace(plan.options, **fixed)
    return {"request": plan.request, "command_line": command_line(plan.command, repeated)}


@contextmanager
def claimed(plan: Plan) -> Iterator[RunFolder]:
    """The plan's folder as this run's own; what goes wrong within says what is kept."""
    with claim_folder(plan.folder, plan.outputs, plan.inputs) as run, keeping(run):
        yield run


def resolve_prompts(
    options: EditOptions, guide: ClipGuide, picture: Tensor, progress: Progress
) -> Prompts:
    """All texts of an edit, checked; a missing ROI is looked for in `picture` (1, 3, H, W)."""

    def check(option: str, text: str) -> str:
        return check_text(option, text, guide, progress)

    target = check("PROMPT", options.prompt)
    if options.roi is None:
        roi = choose_roi(guide, picture, target)
        progress.message(f'in the picture now: "{roi}" (--roi TEXT changes it)')
    else:
        roi = check("--roi", options.roi)
    return Prompts(
        target=target,
        roi=roi,
        screen=target if options.screen is None else check("--screen", options.screen),
        also=tuple(check("--also", text) for text in options.also),
        keep=tuple(check("--keep", text) for text in options.keep),
    )


def describe_job(
    inputs: dict[str, Any], prompts: Prompts, trainer: Trainer, guide: ClipGuide
) -> dict[str, Any]:
    """What a run must share with the one it resumes: flat, with the names users know."""
    job: dict[str, Any] = {**inputs, "clip weights": guide.sha256}
    job.update({name: list(v) if isinstance(v, tuple) else v for name, v in vars(prompts).items()})
    values = dataclasses.asdict(trainer.settings)
    values.update(device=trainer.device.type, precision=trainer.precision.name)
    loss_weights = values.pop("weights")
    for group in ("dataset", "schedule"):
        values.update({f"{group}.{name}": value for name, value in values.pop(group).items()})
    job.update({name.replace("_", "-"): value for name, value in values.items()})
    job.update({f"lambda-{n.replace('_', '-')}": value for n, value in loss_weights.items()})
    return job


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


def _previews(
    folder: Path, preview: Callable[[], np.ndarray], every: int | None
) -> Callable[[int], None]:
    """Writes the edit as it is after `every` so many steps."""

    def write(done: int) -> None:
        if every and done % every == 0:
            path = preview_path(folder, done)
            path.parent.mkdir(exist_ok=True)
            write_picture(path, preview())

    return write


def _resume_or_begin(
    checkpoint: Checkpoint | None,
    saver: Saver,
    trainer: Trainer,
    limit: TimeLimit | None,
    progress: Progress,
) -> float:
    """Train to the end or to a signal, from `checkpoint` on if there is one; seconds per step.

    `limit` fixes the number of steps of a run that begins.
    """
    if checkpoint is not None:
        checkpoint.require_job(saver.job, ignore=("steps",) if limit else ())
        checkpoint.restore(trainer)
        progress.message(f"going on after step {trainer.done}")
    with catch_signals() as stopped:
        if limit is not None and checkpoint is None:
            trainer.fit_to(limit.minutes, limit.left, progress, stopped)
            progress.message(f"{trainer.steps} steps fit into {limit.minutes:g} minutes")
        begin, first = time.monotonic(), trainer.done
        saver.begin()
        trainer.run(progress, stopped, saver)
        saver.save()
        if stopped.hurried:
            stopped.end()
    return (time.monotonic() - begin) / max(trainer.done - first, 1)
