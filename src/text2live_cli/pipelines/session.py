"""What the edits of a process share, and how one of them is trained: plan → train → deliver."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Hashable, Iterator
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
from ..engine.layout import choose_layout
from ..engine.training import FORMAT, Trainer
from ..errors import UsageError
from ..guide.clip import ClipGuide, load_guide
from ..guide.prompts import Prompts, check_text, choose_roi
from ..guide.weights import DEFAULT_CLIP
from ..progress import Progress, Silent
from ..runs.checkpoint import Checkpoint, Saver
from ..runs.clock import CheckpointClock
from ..runs.folder import CHECKPOINT, Outputs, RunFolder, claim_folder
from ..runs.keeping import keeping
from .course import TimeLimit, resume_or_begin
from .options import EditOptions
from .previews import Log, Previews, require_log
from .requests import command_line, given_options
from .self_test import edit_step
from .thread_choice import set_threads, threads_kept


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
Value = TypeVar("Value")


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
    saver: Saver | None
    """None: nothing was trained."""
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
        return not self.trainer.ended

    def require_saved(self, result: Path) -> None:
        """Raise Text2LiveError where the last checkpoint could not be written."""
        if self.saver is not None:
            self.saver.require_saved(result)


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
        self._former: tuple[Hashable, Any] | None = None

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

    def remembered(self, key: Hashable, make: Callable[[], Value]) -> Value:
        """What `make` gives; that of the last call, if its `key` was the same.

        So that a second seed, or another wording, on one picture does not look for its region anew.
        """
        if self._former is None or self._former[0] != key:
            self._former = None  # it goes before the next one comes
            self._former = key, make()
        value: Value = self._former[1]
        return value

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
        require_log(options.log_dir)
        run.open(options.overwrite, plan.resumes)
        self._tell(plan)
        checkpoint = Checkpoint.read(run.work / CHECKPOINT, FORMAT) if plan.resumes else None
        if "guide" in vars(self):  # a former edit may have left it in less precision
            self.guide.to(self.device)
        if self.device.type == "cpu":
            set_threads(options.threads, checkpoint, plan.settings.channels, progress)
        edit = prepare_edit(plan, self, checkpoint)
        job = describe_job(edit.inputs, edit.prompts, edit.trainer, self.guide)
        with Log(options.log_dir) as log:
            looks = (edit.preview, edit.trainer, options.save_every, log, progress)
            saver = Saver(
                run.work / CHECKPOINT,
                edit.trainer,
                job,
                CheckpointClock(options.checkpoint_every),
                progress,
                Previews(run.work, *looks),
            )
            if checkpoint is None:
                run.begin(progress)
                assert edit.write_first is not None
                edit.write_first(run.work)
            edit.write_first = None
            ready = time.monotonic()
            limit = None
            if options.minutes:
                limit = TimeLimit(options.minutes, begin, edit.delivery_seconds)
            pace = resume_or_begin(checkpoint, saver, edit.trainer, options.steps, limit, log)
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
    """The request as a record keeps it, and the command and options that repeat the run."""
    trainer, wishes = trained.trainer, dict(plan.request)
    steps = plan.options.steps
    if plan.options.minutes is not None:
        steps = trainer.steps
    elif trainer.steps != plan.settings.steps:  # it went on with those of its beginning
        steps = wishes["steps"] = trainer.steps
    fixed: dict[str, Any] = {"preset": plan.settings.preset, "minutes": None, "steps": steps}
    fixed["threads"] = trained.job["threads"]
    repeated = dataclasses.replace(plan.options, **fixed)
    line = command_line(plan.command, repeated)
    if trainer.schedule_steps < trainer.steps:  # trained on after its end
        wishes["schedule_steps"] = trainer.schedule_steps
        begun = dataclasses.replace(repeated, steps=trainer.schedule_steps)
        line = f"{command_line(plan.command, begun)} && {line} --resume"
    return {"request": wishes, "command_line": line, "options": given_options(repeated)}


@contextmanager
def claimed(plan: Plan) -> Iterator[RunFolder]:
    """The plan's folder as this run's own; what goes wrong within says what is kept.

    Afterwards the process has as many threads as before.
    """
    claim = claim_folder(plan.folder, plan.outputs, plan.inputs)
    with threads_kept(), claim as run, keeping(run):
        yield run


def resolve_prompts(
    options: EditOptions, guide: ClipGuide, picture: Tensor, placed: bool, progress: Progress
) -> Prompts:
    """All texts of an edit, checked; a missing ROI is looked for in `picture` (1, 3, H, W).

    `placed` is whether the place of the edit is given, by box, points or mask.
    """

    def check(option: str, text: str, seen: bool = False) -> str:
        is_placed = placed and option != "--keep"
        return check_text(option, text, guide, progress, seen, is_placed)

    target = check("PROMPT", options.prompt)
    if options.roi is None:
        roi = choose_roi(guide, picture, target, placed)
        progress.message(f'in the picture now: "{roi}" (--roi TEXT changes it)')
    else:
        roi = check("--roi", options.roi, seen=True)
    return Prompts(
        target=target,
        roi=roi,
        screen=target if options.screen is None else check("--screen", options.screen),
        also=tuple(check("--also", text) for text in options.also),
        keep=tuple(check("--keep", text, seen=True) for text in options.keep),
    )


def describe_job(
    inputs: dict[str, Any], prompts: Prompts, trainer: Trainer, guide: ClipGuide
) -> dict[str, Any]:
    """What a run must share with the one it resumes: flat, with the names users know."""
    job: dict[str, Any] = {**inputs, "clip weights": guide.sha256}
    if guide.locator:
        job["locator weights"] = guide.locator.sha256
    job.update({name: list(v) if isinstance(v, tuple) else v for name, v in vars(prompts).items()})
    values = dataclasses.asdict(trainer.settings)
    on_cpu = trainer.device.type == "cpu"
    values.update(device=trainer.device.type, precision=trainer.precision.name)
    values["threads"] = torch.get_num_threads() if on_cpu else None
    del values["graphs"]  # a run may go on without them
    loss_weights = values.pop("weights")
    for group in ("dataset", "schedule"):
        values.update({f"{group}.{name}": value for name, value in values.pop(group).items()})
    job.update({name.replace("_", "-"): value for name, value in values.items()})
    job.update({f"lambda-{n.replace('_', '-')}": value for n, value in loss_weights.items()})
    return job
