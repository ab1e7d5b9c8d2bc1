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
from .config import MIN_SIZE, EditSettings, resolve_settings
from .device import (
    Precision,
    choose_device,
    choose_precision,
    explain_out_of_memory,
    prepare,
)
from .edit_layer import GREEN_SCREEN
from .errors import Text2LiveError, UsageError
from .internal_dataset import Example, InternalDataset, render
from .media import Picture, read_mask, read_picture, to_uint, to_unit, write_picture
from .objective import Objective
from .progress import Progress, Silent
from .prompts import Prompts, check_text, choose_roi, embed_prompts, slug
from .relevancy import relevancy_map
from .run_folder import (
    CHECKPOINT,
    discard_former_run,
    open_run_folder,
    preview_path,
    run_folder,
)
from .training import Trainer, catch_interrupt
from .upsampling import render_at, snap_alpha

_CHECKPOINT_SECONDS = 60.0
_MAX_AREA_ASPECT = 4.0  # a longer picture is trained smaller, so that its area stays that of 4:1
_MAX_LONG_SIDE = 8192


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


@explain_out_of_memory()
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
    chosen = preset or ("draft" if device.type == "cpu" else "paper")
    settings = resolve_settings(chosen, clip, **overrides)
    _check_limits(minutes, save_every, overrides.get("steps"))
    folder = Path(output) if output else Path(f"{source.stem}.{slug(prompt)}")
    open_run_folder(folder, overwrite, resume, [source, *([Path(mask)] if mask else [])])
    picture = read_picture(source)
    for note in picture.notes:
        progress.message(f"{source.name}: {note}")
    prepare(device)
    precision = choose_precision(settings.precision, device)
    reason = "" if preset else (": no GPU here" if device.type == "cpu" else ": there is a GPU")
    progress.message(f"preset {chosen}{reason}; on {device.type} in {precision.name}")
    scene = prepare_scene(picture, Path(mask) if mask else None, settings, device, progress)
    checkpoint = Checkpoint.read(folder / CHECKPOINT) if resume else None
    with run_folder(folder):
        guide = load_guide(clip, Path(clip_weights) if clip_weights else None, progress)
        guide.to(device)
        prompts = _resolve_prompts(prompt, roi, screen, also, keep, guide, scene, progress)
        trainer = make_trainer(guide, prompts, scene, settings, device, precision)
        job = _describe_job(scene, prompts, trainer, guide)
        saver = _Saver(folder, trainer, job, scene, save_every, progress)
        if checkpoint is not None:
            checkpoint.require_job(job, ignore=("steps",) if minutes else ())
            checkpoint.restore(trainer)
            progress.message(f"going on after step {trainer.done}")
        elif overwrite:
            discard_former_run(folder)
        prepared, first = time.monotonic(), trainer.done
        _train(trainer, saver, None if resume else minutes, progress)
        trained = time.monotonic()
        progress.stage("writing the result")
        saver.save()
        unchanged = _write_result(folder, trainer, scene, guide, prompts)
        timings = {
            "preparation": prepared - begin,
            "training": trained - prepared,
            "result": time.monotonic() - trained,
            "per_step": (trained - prepared) / max(trainer.done - first, 1),
        }
        made = record.make_record(trainer, guide, picture, prompts, folder, timings, unchanged, job)
        record.write_record(folder, made)
    return EditResult(folder, made["interrupted"], made)


def _train(trainer: Trainer, saver: _Saver, minutes: float | None, progress: Progress) -> None:
    """Train to the end or to Ctrl-C, with as many steps as fit into `minutes` where given."""
    with catch_interrupt() as stopped:
        if minutes is not None:
            trainer.fit_to(minutes, progress, stopped)
            progress.message(f"{trainer.settings.steps} steps fit into {minutes:g} minutes")
        trainer.run(progress, stopped, saver)


def _check_limits(minutes: float | None, save_every: int | None, steps: int | None) -> None:
    if minutes is not None and steps is not None:
        raise UsageError("--minutes and --steps: choose one")
    if minutes is not None and not 0 < minutes < float("inf"):
        raise UsageError(f"--minutes {minutes}: must be more than 0")
    if save_every is not None and save_every < 1:
        raise UsageError(f"--save-every {save_every}: must be at least 1")


def prepare_scene(
    picture: Picture,
    mask: Path | None,
    settings: EditSettings,
    device: torch.device,
    progress: Progress,
) -> Scene:
    """The picture and its mask on `device`, as read and resized for the training."""
    source = _to_tensor(to_unit(picture.color), device)
    if picture.alpha is not None:  # the encoder sees what is transparent as white
        opacity = _to_tensor(to_unit(picture.alpha)[..., None], device)
        source = torch.lerp(torch.ones_like(source), source, opacity)
    size = _working_size(picture, settings.size, progress)
    limit = read_mask(mask, (picture.height, picture.width)) if mask else None
    working_mask = None
    if limit is not None:
        working_mask = _resize(_to_tensor(limit[..., None], device), size)
    return Scene(picture, source, _resize(source, size), limit, working_mask)


def _working_size(picture: Picture, short: int, progress: Progress) -> tuple[int, int]:
    """Height and width of the working picture; that of a long panorama is held in bounds."""
    aspect = max(picture.height, picture.width) / min(picture.height, picture.width)
    bounded = max(MIN_SIZE, min(short, int(short * (_MAX_AREA_ASPECT / aspect) ** 0.5)))
    if bounded < short:
        progress.message(f"a panorama: trained at a short side of {bounded} px, not {short}")
    if bounded * aspect > _MAX_LONG_SIDE:
        raise UsageError(
            f"{picture.path}: {picture.width}×{picture.height} is too long a strip to edit;"
            " cut it into parts"
        )
    scale = bounded / min(picture.height, picture.width)
    return round(scale * picture.height), round(scale * picture.width)


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
    scene: Scene, prompts: Prompts, trainer: Trainer, guide: ClipGuide
) -> dict[str, Any]:
    """What a run must share with the one it resumes: flat, with the names users know."""
    job: dict[str, Any] = {"input": scene.picture.sha256, "clip weights": guide.sha256}
    job.update({name: list(v) if isinstance(v, tuple) else v for name, v in vars(prompts).items()})
    values = dataclasses.asdict(trainer.settings)
    values.update(device=trainer.device.type, precision=trainer.precision.name)
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
        progress: Progress,
    ) -> None:
        self.folder = folder
        self.trainer = trainer
        self.job = job
        self.scene = scene
        self.save_every = save_every
        self.progress = progress
        self.saved_at = time.monotonic()

    def __call__(self) -> None:
        if time.monotonic() - self.saved_at > _CHECKPOINT_SECONDS:
            self._try_save()
        if self.save_every and self.trainer.done % self.save_every == 0:
            self._preview()

    def save(self) -> None:
        """Write the checkpoint."""
        save_checkpoint(self.folder / CHECKPOINT, self.trainer, self.job)
        self.saved_at = time.monotonic()

    def _try_save(self) -> None:
        """A checkpoint that cannot be written now is no reason to lose the training."""
        try:
            self.save()
        except Text2LiveError as error:
            self.progress.warning(f"no checkpoint for now: {error}")
            self.saved_at = time.monotonic()

    def _preview(self) -> None:
        example = Example(self.scene.working, self.scene.working_mask)
        with torch.no_grad(), self.trainer.precision.autocast(self.trainer.device):
            composite = render(self.trainer.generator, example).composite
        path = preview_path(self.folder, self.trainer.done)
        path.parent.mkdir(exist_ok=True)
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
    alpha = _to_array(snap_alpha(layer.alpha, trainer.settings.alpha_cut))[..., 0]
    if scene.mask is not None:
        alpha = alpha * scene.mask
    if scene.picture.alpha is not None:  # what is transparent stays transparent
        alpha = alpha * (scene.picture.alpha > 0)
    return np.dstack([to_uint(_to_array(layer.color), 255), to_uint(alpha, 255)])


def _to_array(x: Tensor) -> np.ndarray:
    """(1, C, H, W) → (H, W, C)."""
    return x[0].permute(1, 2, 0).float().cpu().numpy()
