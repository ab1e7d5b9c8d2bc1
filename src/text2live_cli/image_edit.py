"""`edit_image`: one photo and one sentence → an RGBA edit layer and its composite (paper §3.1)."""

from __future__ import annotations

import dataclasses
import math
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from . import edit_run, record, weights
from .charts import write_loss_chart
from .checkpoint import Checkpoint
from .checkpoint_clock import CheckpointClock
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
from .edit_layer import GREEN_SCREEN, EditLayer
from .errors import UsageError
from .internal_dataset import Example, InternalDataset, render
from .keeping import keeping
from .media import Picture, read_mask, read_picture, to_uint, to_unit, write_picture
from .memory import require_memory, training_need
from .preflight import picture_bytes, require_room
from .progress import Progress, Silent
from .prompts import Prompts, slug
from .relevancy import relevancy_map
from .run_folder import (
    CHECKPOINT,
    discard_former_run,
    open_run_folder,
    run_folder,
)
from .strips import enlarged_rows, shrink, strips
from .training import Trainer
from .upsampling import MAX_DIRECT_SCALE, render_at, snap_alpha, upsampled

_MAX_AREA_ASPECT = 4.0  # a longer picture is trained smaller, so that its area stays that of 4:1
_MAX_LONG_SIDE = 8192
_TRIED_PIXELS = 2_000_000  # of the source, by which the delivery is timed


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
    """The source, and what it is at the size of the training: (1, C, h, w) in [0, 1]."""

    picture: Picture
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
    checkpoint_every: float | None = None,
    progress: Progress | None = None,
    **overrides: Any,
) -> EditResult:
    """Edit the picture `source` so that it fits `prompt`; results go to a folder of their own.

    `roi` names what is in the picture now (default: taken from the prompt), `screen` the edit by
    itself, `also` holds further prompts for the same edit, `keep` what must stay, `mask` is a
    picture of the source's size, white where it may change. `preset` is "paper", "standard" or
    "draft" (default: "paper" on a GPU, else "draft"); `overrides` are fields of `EditSettings`, and
    those of `LossWeights` after "lambda_". `minutes` fixes the number of steps by their pace.
    Ctrl-C, SIGTERM and SIGHUP end the run after the step at hand; its result is written, and
    `resume=True` goes on. A checkpoint is written every minute or twentieth of the run, or every
    `checkpoint_every` seconds.

    Raises UsageError for what cannot be asked for, Text2LiveError for what goes wrong.
    """
    begin = time.monotonic()
    progress = progress or Silent()
    source = Path(source)
    device = choose_device(overrides.get("device") or "auto")
    chosen = ("draft" if device.type == "cpu" else "paper") if preset is None else preset
    settings = resolve_settings(chosen, clip, **overrides)
    edit_run.check_limits(minutes, save_every, overrides.get("steps"))
    clock = CheckpointClock(checkpoint_every)
    folder = Path(output) if output else Path(f"{source.stem}.{slug(prompt)}")
    open_run_folder(folder, overwrite, resume, [source, *([Path(mask)] if mask else [])])
    picture = read_picture(source)
    for note in picture.notes:
        progress.message(f"{source.name}: {note}")
    sample_bytes = picture.color.dtype.itemsize
    require_room(folder, picture_bytes(picture.height * picture.width, sample_bytes))
    prepare(device)
    precision = choose_precision(settings.precision, device)
    reason = "" if preset else (": no GPU here" if device.type == "cpu" else ": there is a GPU")
    progress.message(f"preset {chosen}{reason}; on {device.type} in {precision.name}")
    scene = prepare_scene(picture, Path(mask) if mask else None, settings, device, progress)
    checkpoint = Checkpoint.read(folder / CHECKPOINT) if resume else None
    with run_folder(folder), keeping(folder):
        guide = load_guide(clip, Path(clip_weights) if clip_weights else None, progress)
        guide.to(device)
        prompts = edit_run.resolve_prompts(
            prompt, roi, screen, also, keep, guide, scene.working, progress
        )
        trainer = make_trainer(guide, prompts, scene, settings, device, precision)
        if device.type == "cpu":
            shown = (scene.working.shape[2], scene.working.shape[3])
            need = training_need(guide, settings, shown, picture.height * picture.width)
            require_memory(need, "lower --size or --views, or save a smaller copy")
        mask_hash = None if scene.mask is None else record.hash_array(scene.mask)
        inputs = {"input": picture.sha256, "mask": mask_hash}
        job = edit_run.describe_job(inputs, prompts, trainer, guide)
        preview = partial(_preview, trainer, scene)
        saver = edit_run.Saver(folder, trainer, job, preview, save_every, clock, progress)
        if overwrite:
            discard_former_run(folder)
        prepared = time.monotonic()
        delivery = partial(_delivery_seconds, trainer, scene, guide, prompts)
        limit = edit_run.TimeLimit(minutes, begin, delivery) if minutes else None
        pace = edit_run.resume_or_begin(checkpoint, saver, limit, progress)
        trained = time.monotonic()
        progress.stage("writing the result")
        unchanged = _write_result(folder, trainer, scene, guide, prompts)
        timings = {
            "preparation": prepared - begin,
            "training": trained - prepared,
            "result": time.monotonic() - trained,
            "per_step": pace,
        }
        source_facts = record.describe_picture(picture)
        made = record.make_record(
            "edit-image",
            source_facts,
            trainer,
            guide,
            prompts,
            folder,
            timings,
            unchanged,
            job,
        )
        record.write_record(folder, made)
    saver.require_saved()
    return EditResult(folder, made["interrupted"], made)


def prepare_scene(
    picture: Picture,
    mask: Path | None,
    settings: EditSettings,
    device: torch.device,
    progress: Progress,
) -> Scene:
    """The picture and its mask on `device`, as read and resized for the training."""
    size = _working_size(picture, settings.size, progress)
    full = (picture.height, picture.width)
    limit = read_mask(mask, full) if mask else None
    working_mask = None
    if limit is not None:
        working_mask = _resize(_to_tensor(limit[..., None], device), size)
    working = shrink(lambda rows: _rows_of(picture, rows, device), full, size)
    return Scene(picture, working.contiguous(), limit, working_mask)


def _rows_of(picture: Picture, rows: slice, device: torch.device) -> Tensor:
    """What the encoder and the generator see of the source, (1, 3, rows, W) in [0, 1]."""
    source = _to_tensor(to_unit(picture.color[rows]), device)
    if picture.alpha is not None:  # what is transparent is seen as white
        opacity = _to_tensor(to_unit(picture.alpha[rows])[..., None], device)
        source = torch.lerp(torch.ones_like(source), source, opacity)
    return source


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


def make_trainer(
    guide: ClipGuide,
    prompts: Prompts,
    scene: Scene,
    settings: EditSettings,
    device: torch.device,
    precision: Precision,
) -> Trainer:
    """The trainer of one picture and its prompts."""
    whole = Example(scene.working, scene.working_mask)
    dataset = InternalDataset(whole, settings.dataset, settings.internal_dataset)
    return edit_run.make_trainer(guide, prompts, dataset, settings, device, precision)


def _preview(trainer: Trainer, scene: Scene) -> np.ndarray:
    """The composite at the working size, (h, w, 3) uint8."""
    example = Example(scene.working, scene.working_mask)
    with torch.no_grad(), trainer.precision.autocast(trainer.device):
        composite = render(trainer.generator, example).composite
    return to_uint(_to_array(composite), 255)


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
    size = (picture.height, picture.width)
    shown = [_to_array(enlarged_rows(found, size, rows))[..., 0] for rows in strips(size)]
    write_picture(folder / "relevancy.png", np.concatenate([to_uint(x, 255) for x in shown]))
    write_loss_chart(folder / "loss.png", trainer.history)
    return float(np.mean(alpha == 0))


def _delivery_seconds(trainer: Trainer, scene: Scene, guide: ClipGuide, prompts: Prompts) -> float:
    """How long `_write_result` will take: timed on every k-th pixel, where there are many."""
    picture, mask = scene.picture, scene.mask
    every = math.ceil(math.sqrt(picture.height * picture.width / _TRIED_PIXELS))
    color, alpha = picture.color[::every, ::every], picture.alpha
    thinned = dataclasses.replace(
        scene,
        picture=dataclasses.replace(
            picture, color=color, alpha=None if alpha is None else alpha[::every, ::every]
        ),
        mask=None if mask is None else mask[::every, ::every],
    )
    begin = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        _write_result(Path(folder), trainer, thinned, guide, prompts)
    return (time.monotonic() - begin) * every**2


def _render_layer(trainer: Trainer, scene: Scene) -> np.ndarray:
    """The layer as it is saved: (H, W, 4) uint8 at the size of the source, alpha snapped."""
    picture, made = scene.picture, np.empty((*scene.picture.color.shape[:2], 4), np.uint8)
    with torch.no_grad(), trainer.precision.autocast(trainer.device):
        for rows, layer in _layer_rows(trainer, scene):
            alpha = _to_array(snap_alpha(layer.alpha, trainer.settings.alpha_cut))[..., 0]
            if scene.mask is not None:
                alpha = alpha * scene.mask[rows]
            if picture.alpha is not None:  # what is transparent stays transparent
                alpha = alpha * (picture.alpha[rows] > 0)
            made[rows, :, :3] = to_uint(_to_array(layer.color), 255)
            made[rows, :, 3] = to_uint(alpha, 255)
    return made


def _layer_rows(trainer: Trainer, scene: Scene) -> Iterator[tuple[slice, EditLayer]]:
    """The layer at the size of the source; strip by strip where that is much larger."""
    picture, device = scene.picture, trainer.device
    size = (picture.height, picture.width)
    if size[0] <= MAX_DIRECT_SCALE * scene.working.shape[2]:
        whole = slice(0, size[0])
        source = _rows_of(picture, whole, device)
        return iter([(whole, render_at(trainer.generator, source, scene.working))])
    trained = EditLayer.from_rgba(trainer.generator(scene.working))
    return upsampled(trained, scene.working, size, lambda rows: _rows_of(picture, rows, device))


def _to_array(x: Tensor) -> np.ndarray:
    """(1, C, H, W) → (H, W, C)."""
    return x[0].permute(1, 2, 0).float().cpu().numpy()
