"""`edit_image`: one photo and one sentence → an RGBA edit layer and its composite (paper §3.1)."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from . import edit_run, record, weights
from .charts import write_loss_chart
from .checkpoint import Checkpoint
from .clip_guide import ClipGuide, load_guide
from .compositing import lay_over
from .config import MIN_SIZE, EditSettings, resolve_settings
from .device import (
    IN_DELIVERY,
    Precision,
    choose_device,
    choose_precision,
    explain_out_of_memory,
    here_or_on_cpu,
    prepare,
)
from .edit_layer import GREEN_SCREEN, EditLayer
from .errors import UsageError
from .hints import Hints, parse_hints
from .image_region import (
    describe_region,
    keep_maps,
    resolve_region,
    seen_colors,
    text_map,
    write_region,
)
from .internal_dataset import Example, InternalDataset, render
from .media import Picture, read_mask, read_picture, to_uint, to_unit, write_picture
from .progress import Progress, Silent
from .prompts import Prompts, knows, slug
from .region import Region
from .run_folder import CHECKPOINT, EDIT_IMAGE, claim_folder
from .self_test import edit_step
from .texts import check_texts
from .training import Trainer
from .upsampling import render_at, snap_alpha

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
    example: Example  # the working picture, and its region at that size
    relevancy: np.ndarray | None = None  # the map of the ROI's text, (h, w) in [0, 1]
    region: Region | None = None  # at the size of the source


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
    box: str | None = None,
    points: Sequence[str] = (),
    not_points: Sequence[str] = (),
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
    itself, `also` holds further prompts for the same edit, `keep` what must stay. Where it is to be
    is said by `mask` (of the source's size, white where it may change), `box` ("X,Y,W,H"), `points`
    and `not_points` ("X,Y", on the object and beside it), in pixels or per cent. `preset` is
    "paper", "standard" or "draft" (default: "paper" on a GPU, else "draft"); `overrides` are fields
    of `EditSettings`, and those of `LossWeights` after "lambda_". `minutes` fixes the number of
    steps by their pace.
    Ctrl-C ends the run after the step at hand; its result is written, and `resume=True` goes on.

    Raises UsageError for what cannot be asked for, Text2LiveError for what goes wrong.
    """
    begin = time.monotonic()
    progress = progress or Silent()
    check_texts(prompt, roi, screen, also, keep)
    source = Path(source)
    device = choose_device(overrides.get("device") or "auto", edit_step, progress)
    chosen = preset or ("draft" if device.type == "cpu" else "paper")
    settings = resolve_settings(chosen, clip, **overrides)
    edit_run.check_limits(minutes, save_every, overrides.get("steps"))
    folder = Path(output) if output else Path(f"{source.stem}.{slug(prompt)}")
    with claim_folder(folder, EDIT_IMAGE, [source, mask, clip_weights]) as run:
        run.open(overwrite, resume)
        picture = read_picture(source)
        for note in picture.notes:
            progress.message(f"{source.name}: {note}")
        prepare(device)
        precision = choose_precision(settings.precision, device, progress)
        reason = "" if preset else (": no GPU here" if device.type == "cpu" else ": there is a GPU")
        progress.message(f"preset {chosen}{reason}; on {device.type} in {precision.name}")
        size = picture.height, picture.width
        hints = parse_hints(size, box, points, not_points)
        drawn = read_mask(Path(mask), size) if mask else None
        scene = prepare_scene(picture, settings, device, progress)
        checkpoint = Checkpoint.read(run.work / CHECKPOINT) if resume else None
        settings = edit_run.with_layout(settings, device, precision, checkpoint, progress)
        guide = load_guide(clip, Path(clip_weights) if clip_weights else None, progress)
        guide.to(device)
        prompts = edit_run.resolve_prompts(
            prompt, roi, screen, also, keep, guide, scene.working, progress
        )
        scene = with_region(scene, guide, prompts, settings, hints, drawn, progress)
        trainer = make_trainer(guide, prompts, scene, settings, device, precision)
        inputs = {
            "input": picture.sha256,
            "mask": None if drawn is None else record.hash_array(drawn),
            "box": box,
            "points": list(points),
            "not": list(not_points),
        }
        job = edit_run.describe_job(inputs, prompts, trainer, guide)
        preview = partial(_preview, trainer, scene)
        saver = edit_run.Saver(run.work, trainer, job, preview, save_every, progress)
        if not resume:
            run.begin(progress)
            _write_sight(run.work, scene)
        prepared = time.monotonic()
        pace = edit_run.resume_or_begin(checkpoint, saver, minutes, progress)
        trained = time.monotonic()
        progress.stage("writing the result")
        saver.save()
        with explain_out_of_memory(IN_DELIVERY):
            unchanged = _write_result(run.work, trainer, scene, progress)
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
        made["region"] = describe_region(scene.region) if scene.region else None
        record.write_record(run.work, made)
        delivered = run.deliver(not made["interrupted"], progress)
    return EditResult(delivered, made["interrupted"], made)


def prepare_scene(
    picture: Picture, settings: EditSettings, device: torch.device, progress: Progress
) -> Scene:
    """The picture on `device`, as read and resized for the training; its region is not known."""
    source = _to_tensor(to_unit(picture.color), device)
    if picture.alpha is not None:  # the encoder sees what is transparent as white
        opacity = _to_tensor(to_unit(picture.alpha)[..., None], device)
        source = torch.lerp(torch.ones_like(source), source, opacity)
    size = _working_size(picture, settings.size, progress)
    working = _resize(source, size)
    return Scene(picture, source, working, Example(working))


def with_region(
    scene: Scene,
    guide: ClipGuide,
    prompts: Prompts,
    settings: EditSettings,
    hints: Hints,
    mask: np.ndarray | None,
    progress: Progress,
) -> Scene:
    """The scene with its text's map, and the region unless that is looked for in every example."""
    colors = seen_colors(scene.picture)
    relevancy = text_map(guide, colors, prompts.roi)
    scene = dataclasses.replace(scene, relevancy=relevancy)
    pointed = hints.given or mask is not None
    if settings.region == "paper" and not pointed:
        return scene
    told = relevancy if knows(guide, prompts.roi) or not pointed else None
    region = resolve_region(colors, told, hints, mask, progress)
    keep = None
    if settings.region == "auto" and prompts.keep:
        keep = np.dstack(keep_maps(guide, colors, prompts.keep))
    maps = (region.limit, region.target, keep)
    example = Example(scene.working, *(_working_map(scene, x) for x in maps))
    return dataclasses.replace(scene, region=region, example=example)


def _working_map(scene: Scene, values: np.ndarray | None) -> Tensor | None:
    """A map (H, W) or (H, W, K) at the size of the source → (1, K, h, w) at the working size."""
    if values is None:
        return None
    values = values.reshape(*values.shape[:2], -1)
    size = scene.working.shape[2], scene.working.shape[3]
    return _resize(_to_tensor(values, scene.working.device), size)


def _write_sight(folder: Path, scene: Scene) -> None:
    """Write relevancy.png, and what is known of the region, so that it can be seen at once."""
    assert scene.relevancy is not None
    size = scene.picture.width, scene.picture.height
    relevancy = cv2.resize(scene.relevancy, size, interpolation=cv2.INTER_LINEAR)
    write_picture(folder / "relevancy.png", to_uint(relevancy, 255))
    if scene.region is not None:
        colors = seen_colors(scene.picture)
        write_region(folder / "region.png", folder / "mask.png", colors, scene.region)


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
    dataset = InternalDataset(scene.example, settings.dataset, settings.internal_dataset)
    return edit_run.make_trainer(guide, prompts, dataset, settings, device, precision)


def _preview(trainer: Trainer, scene: Scene) -> np.ndarray:
    """The composite at the working size, (h, w, 3) uint8."""
    with torch.no_grad(), trainer.precision.autocast(trainer.device):
        composite = render(trainer.generator, scene.example).composite
    return to_uint(_to_array(composite), 255)


def _write_result(folder: Path, trainer: Trainer, scene: Scene, progress: Progress) -> float:
    """Write all pictures of the result; returns the share of pixels that stay untouched."""
    picture, profile = scene.picture, scene.picture.icc_profile
    layer = _render_layer(trainer, scene, progress)
    color, alpha = layer[..., :3], layer[..., 3]
    composite = lay_over(picture.color, layer)
    green = np.broadcast_to(to_uint(np.array(GREEN_SCREEN), 255), color.shape)
    write_picture(folder / "layer.png", color, alpha, profile)
    write_picture(folder / "composite.png", composite, picture.alpha, profile)
    write_picture(folder / "alpha.png", alpha)
    write_picture(folder / "screen.png", lay_over(green, layer))
    write_loss_chart(folder / "loss.png", trainer.history)
    return float(np.mean(alpha == 0))


def _render_layer(trainer: Trainer, scene: Scene, progress: Progress) -> np.ndarray:
    """The layer as it is saved: (H, W, 4) uint8 at the size of the source, alpha snapped."""

    def render_on(device: torch.device) -> EditLayer:
        generator, precision = trainer.generator_on(device)
        with torch.no_grad(), precision.autocast(device):
            return render_at(generator, scene.source.to(device), scene.working.to(device))

    layer = here_or_on_cpu(render_on, trainer.device, progress)
    alpha = _to_array(snap_alpha(layer.alpha, trainer.settings.alpha_cut))[..., 0]
    if scene.region is not None and scene.region.matte is not None:
        alpha = alpha * scene.region.matte
    if scene.picture.alpha is not None:  # what is transparent stays transparent
        alpha = alpha * (scene.picture.alpha > 0)
    return np.dstack([to_uint(_to_array(layer.color), 255), to_uint(alpha, 255)])


def _to_array(x: Tensor) -> np.ndarray:
    """(1, C, H, W) → (H, W, C)."""
    return x[0].permute(1, 2, 0).float().cpu().numpy()
