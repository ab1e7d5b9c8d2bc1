"""`edit_image`: one photo and one sentence → an RGBA edit layer and its composite (paper §3.1)."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from . import record, weights
from .charts import write_loss_chart
from .checkpoint import Checkpoint, save_checkpoint
from .clip_guide import ClipGuide, load_guide
from .compositing import lay_over
from .config import EditSettings, resolve_settings
from .device import (
    Precision,
    choose_device,
    choose_precision,
    explain_out_of_memory,
    prepare,
)
from .edit_layer import GREEN_SCREEN
from .errors import UsageError
from .internal_dataset import Example, InternalDataset, render
from .media import Picture, read_mask, read_picture, to_uint, to_unit, write_picture
from .objective import Objective
from .progress import Progress, Silent
from .prompts import Prompts, check_text, choose_roi, embed_prompts, slug
from .relevancy import relevancy_map
from .run_folder import CHECKPOINT, PREVIEWS, open_run_folder, run_folder
from .training import Trainer, catch_interrupt
from .upsampling import render_at, snap_alpha

_CHECKPOINT_SECONDS = 60.0


@dataclass(frozen=True)
class EditResult:
    """What an edit left behind; `record` is what stands in run.json."""

    folder: Path
    interrupted: bool
    record: dict[str, Any]

    @property
    def composite(self) -> Path:
        """The edited picture."""
        return self.folder / "composite.png"

    @property
    def layer(self) -> Path:
        """The RGBA edit layer, straight alpha."""
        return self.folder / "layer.png"


@dataclass(frozen=True)
class Scene:
    """The source at its own size and at the size of the training, each (1, C, H, W) in [0, 1]."""

    picture: Picture
    source: Tensor
    working: Tensor
    mask: np.ndarray | None  # (H, W) at the size of the source
    working_mask: Tensor | None


def edit_image(
    source: Path | str,
    prompt: str,
    *,
    roi: str | None = None,
    screen: str | None = None,
    also: Sequence[str] = (),
    keep: Sequence[str] = (),
    mask: Path | str | None = None,
    preset: str | None = None,
    clip: str = weights.DEFAULT_CLIP,
    clip_weights: Path | str | None = None,
    output: Path | str | None = None,
    overwrite: bool = False,
    resume: bool = False,
    minutes: float | None = None,
    save_every: int | None = None,
    progress: Progress | None = None,
    **overrides: Any,
) -> EditResult:
    """Edit the picture `source` so that it fits `prompt`; results go to a folder of their own.

    `roi` names what is in the picture now (default: taken from the prompt), `screen` the edit by
    itself, `also` holds further prompts for the same edit, `keep` what must stay, `mask` is a
    picture of the source's size, white where it may change. `preset` is "paper", "standard" or
    "draft" (default: "paper" on a GPU, else "draft"); `overrides` are fields of `EditSettings`, and
    those of `LossWeights` after "lambda_". `minutes` fixes the number of steps by their pace.
    Ctrl-C ends the run after the step at hand; its result is written, and `resume=True` goes on.

    Raises UsageError for what cannot be asked for, Text2LiveError for what goes wrong.
    """
    begin = time.monotonic()
    progress = progress or Silent()
    source = Path(source)
    device = choose_device(overrides.get("device") or "auto")
    preset = preset or _default_preset(device, progress)
    settings = resolve_settings(preset, clip, **overrides)
    _check_limits(minutes, save_every)
    folder = Path(output) if output else Path(f"{source.stem}.{slug(prompt)}")
    open_run_folder(folder, overwrite, resume)
    picture = read_picture(source)
    for note in picture.notes:
        progress.message(f"{source.name}: {note}")
    prepare(device)
    precision = choose_precision(settings.precision, device)
    scene = prepare_scene(picture, Path(mask) if mask else None, settings, device)
    checkpoint = Checkpoint.read(folder / CHECKPOINT) if resume else None
    with run_folder(folder, overwrite), explain_out_of_memory():
        guide = load_guide(clip, Path(clip_weights) if clip_weights else None, progress)
        guide.to(device)
        prompts = _resolve_prompts(prompt, roi, screen, also, keep, guide, scene, progress)
        trainer = make_trainer(guide, prompts, scene, settings, device, precision)
        job = _describe_job(scene, prompts, settings, guide)
        saver = _Saver(folder, trainer, job, scene, save_every)
        with catch_interrupt() as stopped:
            if checkpoint is not None:
                checkpoint.require_job(job, ignore=("steps",) if minutes else ())
                checkpoint.restore(trainer)
                progress.message(f"going on after step {trainer.done}")
            elif minutes is not None:
                trainer.fit_to(minutes)
                progress.message(f"{trainer.settings.steps} steps fit into {minutes:g} minutes")
            train_begin = time.monotonic()
            trainer.run(progress, stopped, saver)
        trained = time.monotonic()
        progress.stage("writing the result")
        saver.save()
        unchanged = _write_result(folder, trainer, scene, guide, prompts)
        interrupted = trainer.done < trainer.settings.steps
        timings = {
            "preparation": train_begin - begin,
            "training": trained - train_begin,
            "result": time.monotonic() - trained,
        }
        made = record.make_record(
            trainer, guide, picture, prompts, folder, timings, unchanged, interrupted, job
        )
        record.write_record(folder, made)
    return EditResult(folder, interrupted, made)


def _default_preset(device: torch.device, progress: Progress) -> str:
    preset = "draft" if device.type == "cpu" else "paper"
    progress.message(
        f"preset {preset}: "
        + ("there is no GPU" if preset == "draft" else f"running on {device.type}")
        + " (--preset changes it)"
    )
    return preset


def _check_limits(minutes: float | None, save_every: int | None) -> None:
    if minutes is not None and not 0 < minutes < float("inf"):
        raise UsageError(f"--minutes {minutes}: must be more than 0")
    if save_every is not None and save_every < 1:
        raise UsageError(f"--save-every {save_every}: must be at least 1")


def prepare_scene(
    picture: Picture, mask: Path | None, settings: EditSettings, device: torch.device
) -> Scene:
    """The picture and its mask on `device`, as read and resized for the training."""
    source = _to_tensor(to_unit(picture.color), device)
    if picture.alpha is not None:  # the encoder sees what is transparent as white
        opacity = _to_tensor(to_unit(picture.alpha)[..., None], device)
        source = torch.lerp(torch.ones_like(source), source, opacity)
    scale = settings.size / min(picture.height, picture.width)
    size = round(scale * picture.height), round(scale * picture.width)
    limit = read_mask(mask, (picture.height, picture.width)) if mask else None
    working_mask = None
    if limit is not None:
        working_mask = _resize(_to_tensor(limit[..., None], device), size)
    return Scene(picture, source, _resize(source, size), limit, working_mask)


def _to_tensor(values: np.ndarray, device: torch.device) -> Tensor:
    """(H, W, C) → (1, C, H, W)."""
    return torch.from_numpy(values).to(device).permute(2, 0, 1)[None].contiguous()


def _resize(x: Tensor, size: tuple[int, int]) -> Tensor:
    return F.interpolate(x, size, mode="bilinear", antialias=True, align_corners=False)


def _resolve_prompts(
    prompt: str,
    roi: str | None,
    screen: str | None,
    also: Sequence[str],
    keep: Sequence[str],
    guide: ClipGuide,
    scene: Scene,
    progress: Progress,
) -> Prompts:
    target = check_text("PROMPT", prompt, guide, progress)
    if roi is None:
        roi = choose_roi(guide, scene.working, target)
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


def make_trainer(
    guide: ClipGuide,
    prompts: Prompts,
    scene: Scene,
    settings: EditSettings,
    device: torch.device,
    precision: Precision,
) -> Trainer:
    """The one generator, and all that judges it, for one picture and its prompts."""
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
    )
    whole = Example(scene.working, scene.working_mask)
    dataset = InternalDataset(whole, settings.dataset, settings.internal_dataset)
    return Trainer(dataset, objective, settings, device, precision)


def _describe_job(
    scene: Scene, prompts: Prompts, settings: EditSettings, guide: ClipGuide
) -> dict[str, Any]:
    """What a run must share with the one it resumes: flat, with the names users know."""
    job: dict[str, Any] = {"input": scene.picture.sha256, "clip weights": guide.sha256}
    job.update({name: list(v) if isinstance(v, tuple) else v for name, v in vars(prompts).items()})
    values = dataclasses.asdict(settings)
    loss_weights = values.pop("weights")
    for group in ("dataset", "schedule"):
        values.update({f"{group}.{name}": value for name, value in values.pop(group).items()})
    job.update({name.replace("_", "-"): value for name, value in values.items()})
    job.update({f"lambda-{n.replace('_', '-')}": value for n, value in loss_weights.items()})
    job["mask"] = None if scene.mask is None else record.hash_array(scene.mask)
    return job


class _Saver:
    """Called after every step: writes checkpoints by the clock, and the previews asked for."""

    def __init__(
        self,
        folder: Path,
        trainer: Trainer,
        job: dict[str, Any],
        scene: Scene,
        save_every: int | None,
    ) -> None:
        self.folder = folder
        self.trainer = trainer
        self.job = job
        self.scene = scene
        self.save_every = save_every
        self.saved_at = time.monotonic()

    def __call__(self) -> None:
        if time.monotonic() - self.saved_at > _CHECKPOINT_SECONDS:
            self.save()
        if self.save_every and self.trainer.done % self.save_every == 0:
            self._preview()

    def save(self) -> None:
        """Write the checkpoint."""
        save_checkpoint(self.folder / CHECKPOINT, self.trainer, self.job)
        self.saved_at = time.monotonic()

    def _preview(self) -> None:
        example = Example(self.scene.working, self.scene.working_mask)
        with torch.no_grad(), self.trainer.precision.autocast(self.trainer.device):
            composite = render(self.trainer.generator, example).composite
        (self.folder / PREVIEWS).mkdir(exist_ok=True)
        path = self.folder / PREVIEWS / f"{self.trainer.done:05d}.png"
        write_picture(path, to_uint(_to_array(composite), 255))


def _write_result(
    folder: Path, trainer: Trainer, scene: Scene, guide: ClipGuide, prompts: Prompts
) -> float:
    """Write all pictures of the result; returns the share of pixels that stay untouched."""
    picture, profile = scene.picture, scene.picture.icc_profile
    layer = _render_layer(trainer, scene)
    color, alpha = layer[..., :3], layer[..., 3]
    composite = lay_over(picture.color, layer)
    green = np.broadcast_to(to_uint(np.array(GREEN_SCREEN), 255), color.shape)
    write_picture(folder / "layer.png", color, alpha, profile)
    write_picture(folder / "composite.png", composite, picture.alpha, profile)
    write_picture(folder / "alpha.png", alpha)
    write_picture(folder / "screen.png", lay_over(green, layer))
    found = relevancy_map(guide, scene.working, [trainer.objective.texts.roi_query])
    found = F.interpolate(found, scene.source.shape[2:], mode="bilinear", align_corners=False)
    write_picture(folder / "relevancy.png", to_uint(_to_array(found)[..., 0], 255))
    write_loss_chart(folder / "loss.png", trainer.history)
    return float(np.mean(alpha == 0))


def _render_layer(trainer: Trainer, scene: Scene) -> np.ndarray:
    """The layer as it is saved: (H, W, 4) uint8 at the size of the source, alpha snapped."""
    with torch.no_grad(), trainer.precision.autocast(trainer.device):
        layer = render_at(trainer.generator, scene.source, scene.working)
    alpha = _to_array(snap_alpha(layer.alpha))[..., 0]
    if scene.mask is not None:
        alpha = alpha * scene.mask
    if scene.picture.alpha is not None:  # what is transparent stays transparent
        alpha = alpha * to_unit(scene.picture.alpha)
    return np.dstack([to_uint(_to_array(layer.color), 255), to_uint(alpha, 255)])


def _to_array(x: Tensor) -> np.ndarray:
    """(1, C, H, W) → (H, W, C)."""
    return x[0].permute(1, 2, 0).float().cpu().numpy()
