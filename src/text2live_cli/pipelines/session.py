"""What the edits of pictures and of videos share: prompts, trainer, checkpoints and the job."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..config import (
    CHANNELS_LAST,
    MAX_MINUTES,
    MAX_STEPS,
    PLAIN,
    EditSettings,
    require_whole,
)
from ..device import Precision
from ..endings import catch_signals
from ..engine.layout import choose_layout
from ..engine.objective import Objective
from ..engine.training import Renderer, Trainer
from ..errors import Text2LiveError, UsageError
from ..guide.clip import ClipGuide
from ..guide.prompts import (
    Prompts,
    check_text,
    choose_roi,
    embed_prompts,
)
from ..guide.views import ViewSettings
from ..media.pictures import write_picture
from ..progress import Progress
from ..runs.checkpoint import Checkpoint, save_checkpoint
from ..runs.clock import CheckpointClock
from ..runs.folder import CHECKPOINT, preview_path


def check_limits(minutes: float | None, save_every: int | None, steps: int | None) -> None:
    """Refuse limits that cannot be kept, naming the option."""
    if minutes is not None and steps is not None:
        raise UsageError("--minutes and --steps: choose one")
    if minutes is not None and not 0 < minutes <= MAX_MINUTES:
        raise UsageError(f"--minutes {minutes:g}: must be over 0, and {MAX_MINUTES:g} at most")
    if save_every is not None:
        require_whole("--save-every", save_every, 1, MAX_STEPS)


def resolve_prompts(
    prompt: str,
    roi: str | None,
    screen: str | None,
    also: Sequence[str],
    keep: Sequence[str],
    guide: ClipGuide,
    shown: Tensor,
    progress: Progress,
) -> Prompts:
    """All texts of an edit, checked; a missing ROI is looked for in `shown` (1, 3, H, W)."""
    target = check_text("PROMPT", prompt, guide, progress)
    if roi is None:
        roi = choose_roi(guide, shown, target)
        progress.message(f'in the picture now: "{roi}" (--roi TEXT changes it)')
    else:
        roi = check_text("--roi", roi, guide, progress)
    return Prompts(
        target=target,
        roi=roi,
        screen=target if screen is None else check_text("--screen", screen, guide, progress),
        also=tuple(check_text("--also", text, guide, progress) for text in also),
        keep=tuple(check_text("--keep", text, guide, progress) for text in keep),
    )


def with_layout(
    settings: EditSettings,
    device: torch.device,
    precision: Precision,
    checkpoint: Checkpoint | None,
    progress: Progress,
) -> EditSettings:
    """The settings with "auto" resolved: as in the run that is resumed, or the faster one here."""
    if settings.layout != "auto":
        return settings
    if checkpoint is not None:
        layout = checkpoint.job.get("layout")
        if layout not in (PLAIN, CHANNELS_LAST):  # none: of a run before there was a choice
            layout = checkpoint.job["layout"] = CHANNELS_LAST
    else:
        layout = choose_layout(device, settings.channels, precision, progress)
    return dataclasses.replace(settings, layout=layout)


def make_trainer(
    guide: ClipGuide,
    prompts: Prompts,
    renderer: Renderer,
    settings: EditSettings,
    device: torch.device,
    precision: Precision,
    view_settings: ViewSettings | None = None,
) -> Trainer:
    """The one generator, and all that judges it, for what `renderer` shows and its prompts."""
    texts = embed_prompts(guide, prompts)
    loss_weights = settings.weights
    if not prompts.directed:  # from "cake" to "cake" there is no direction
        loss_weights = dataclasses.replace(loss_weights, direction=0.0)
    objective = Objective(
        guide.to(device, precision.encoder),
        texts,
        loss_weights,
        settings.views,
        settings.text_distance,
        view_settings,
    )
    return Trainer(renderer, objective, settings, device, precision)


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


class Saver:
    """Called after every step: writes checkpoints by `clock`, and the previews asked for."""

    def __init__(
        self,
        folder: Path,
        trainer: Trainer,
        job: dict[str, Any],
        preview: Callable[[], np.ndarray],
        save_every: int | None,
        clock: CheckpointClock,
        progress: Progress,
    ) -> None:
        """`preview` gives the edit as it is, (H, W, 3) uint8."""
        self.folder = folder
        self.trainer = trainer
        self.job = job
        self.preview = preview
        self.save_every = save_every
        self.clock = clock
        self.progress = progress
        self._lost: Text2LiveError | None = None

    def __call__(self) -> None:
        done = self.trainer.done
        if self.clock.due(done, self.trainer.settings.steps):
            self.save()
        if self.save_every and done % self.save_every == 0:
            path = preview_path(self.folder, done)
            path.parent.mkdir(exist_ok=True)
            write_picture(path, self.preview())

    def save(self) -> None:
        """Write the checkpoint; one that cannot be written now is no reason to lose the work."""
        self._lost = None
        try:
            with self.clock.saving(self.trainer.done):
                save_checkpoint(self.folder / CHECKPOINT, self.trainer, self.job)
        except Text2LiveError as error:
            self._lost = error
            self.progress.warning(f"no checkpoint for now: {error}")

    def require_saved(self, delivered: Path) -> None:
        """Raise Text2LiveError where the last checkpoint could not be, but a result `delivered`."""
        if self._lost is not None:
            self._lost.kept = f"the result in {delivered} is written, and cannot be resumed"
            raise self._lost


@dataclasses.dataclass(frozen=True)
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
    limit: TimeLimit | None,
    progress: Progress,
) -> float:
    """Train to the end or to a signal, from `checkpoint` on if there is one; seconds per step.

    A checkpoint is written at the end. `limit` fixes the number of steps of a run that begins.
    Raises `Stopped` where a second signal leaves no time for a result.
    """
    trainer = saver.trainer
    if checkpoint is not None:
        checkpoint.require_job(saver.job, ignore=("steps",) if limit else ())
        checkpoint.restore(trainer)
        progress.message(f"going on after step {trainer.done}")
    with catch_signals() as stopped:
        if limit is not None and checkpoint is None:
            trainer.fit_to(limit.minutes, limit.left, progress, stopped)
            progress.message(f"{trainer.settings.steps} steps fit into {limit.minutes:g} minutes")
        begin, first = time.monotonic(), trainer.done
        saver.clock.begin(first)
        trainer.run(progress, stopped, saver)
        saver.save()
        if stopped.hurried:
            stopped.end()
    return (time.monotonic() - begin) / max(trainer.done - first, 1)
