"""`edit_video`: a clip and a sentence → an edit layer on an atlas, seen in all frames (§3.2)."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from . import edit_run, record, weights
from .atlas.dataset import (
    AtlasDataset,
    FramesDataset,
    WorkingAtlas,
    atlas_layer,
    gather_footage,
    pixel_ratio,
)
from .atlas.discretise import AtlasPicture, discretise
from .atlas.footage import (
    find_atlas,
    fit_digest,
    result_layers,
    tell_uncovered,
)
from .atlas.layers import Side
from .atlas.render import Layer
from .atlas.store import ATLAS, Atlas, read_atlas
from .atlas_fit import default_folder, fit_atlas
from .charts import write_loss_chart
from .checkpoint import Checkpoint
from .clip_guide import load_guide
from .config import DatasetSettings, EditSettings, resolve_video_settings
from .device import choose_device, choose_precision, explain_out_of_memory, prepare
from .errors import UsageError
from .generator import MIN_SIDE
from .internal_dataset import Example, InternalDataset
from .progress import Progress, Silent
from .prompts import slug
from .run_folder import CHECKPOINT, discard_former_run, explained, open_run_folder, run_folder
from .training import Renderer, Trainer
from .video import Clip, open_clip
from .video_result import (
    LAYER_FORMATS,
    AtlasEdit,
    Edit,
    FramesEdit,
    write_atlas_layer,
    write_report,
    write_videos,
)
from .views import ViewSettings

SIDES: dict[str, Side] = {"fg": "foreground", "bg": "background"}
BASELINES = ("atlas", "frames")
VIEWS = ViewSettings(fill=0.0)  # black: where no foreground is, a crop is black too
_PAPER_ATLAS = 2000  # pixels of its longer side, at least as fine as the frames
_ATLAS_CROP = 1.5  # frames' worth of pixels that an atlas crop may have, but in `paper`


@dataclass(frozen=True)
class VideoResult:
    """What an edit left behind; `record` is what stands in run.json."""

    folder: Path
    interrupted: bool
    record: dict[str, Any]

    @property
    def composite(self) -> Path:
        """The edited clip."""
        return self.folder / "composite.mp4"


@dataclass(frozen=True)
class Scene:
    """A clip with its atlas, and the layer of it that is edited."""

    clip: Clip
    atlas: Atlas
    side: Side
    picture: AtlasPicture
    """The layer's atlas."""
    frames: NDArray[np.uint8]
    """The fitted frames at the size of the training, (T, h, w, 3)."""
    working: WorkingAtlas
    """The layer's atlas at the size of the training."""


@explain_out_of_memory()
def edit_video(
    source: Path | str,
    prompt: str,
    *,
    atlas: str = "fg",
    atlas_dir: Path | str | None = None,
    masks: Path | str | None = None,
    box: str | None = None,
    foreground: str | None = None,
    onto: Path | str | None = None,
    layer_formats: Sequence[str] = ("mov",),
    baseline: str | None = None,
    roi: str | None = None,
    screen: str | None = None,
    also: Sequence[str] = (),
    keep: Sequence[str] = (),
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
) -> VideoResult:
    """Edit the layer `atlas` ("fg" or "bg") of a clip so that it fits `prompt`.

    The clip's atlas is that in `atlas_dir`, or where `fit_atlas` puts it, or is fitted now, with
    `masks`, `box` or `foreground` as there. `onto` is an earlier result on the same atlas: both are
    rendered together. `layer_formats` are "mov" (ProRes 4444), "webm" (VP9) and "png", or "none".
    `baseline` is one of the paper's comparisons: "atlas" trains on the atlas as if it were a
    picture, "frames" on the frames, without an atlas. All else is as in `edit_image`.

    Raises UsageError for what cannot be asked for, Text2LiveError for what goes wrong.
    """
    begin = time.monotonic()
    progress = progress or Silent()
    side = _check_choices(atlas, layer_formats, baseline)
    source = Path(source)
    device = choose_device(overrides.get("device") or "auto")
    chosen = preset or ("draft" if device.type == "cpu" else "paper")
    settings = resolve_video_settings(chosen, clip, side == "foreground", **overrides)
    edit_run.check_limits(minutes, save_every, overrides.get("steps"))
    folder = Path(output) if output else Path(f"{source.stem}.{atlas}.{slug(prompt)}")
    _check_folder(folder, source)
    open_run_folder(folder, overwrite, resume, [source])
    read = open_clip(source)
    for note in read.notes:
        progress.message(note)
    prepare(device)
    precision = choose_precision(settings.precision, device)
    progress.message(f"preset {chosen}; on {device.type} in {precision.name}")
    if onto and baseline == "frames":
        raise UsageError("--onto: the baseline frames has no atlas to share")
    below = _layers_below(Path(onto), read, atlas_dir, folder) if onto else []
    fit = {"masks": masks, "box": box, "foreground": foreground}
    encoder = {"clip": clip, "clip_weights": clip_weights}
    where, fitted = _find_or_fit(read, atlas_dir, fit, encoder, settings, progress)
    scene = prepare_scene(read, where, fitted, side, settings, device, progress)
    checkpoint = Checkpoint.read(folder / CHECKPOINT) if resume else None
    with run_folder(folder):
        guide = load_guide(clip, Path(clip_weights) if clip_weights else None, progress)
        guide.to(device)
        shown = torch.from_numpy(scene.frames[len(scene.frames) // 2]).to(device)
        shown = shown.permute(2, 0, 1)[None].float() / 255
        prompts = edit_run.resolve_prompts(prompt, roi, screen, also, keep, guide, shown, progress)
        renderer = make_renderer(scene, settings, baseline)
        trainer = edit_run.make_trainer(
            guide, prompts, renderer, settings, device, precision, VIEWS
        )
        inputs = {
            "input": read.sha256,
            "atlas": atlas,
            "fit": fit_digest(where),
            "baseline": baseline,
        }
        job = edit_run.describe_job(inputs, prompts, trainer, guide)
        preview = partial(_preview, trainer, scene)
        saver = edit_run.Saver(folder, trainer, job, preview, save_every, progress)
        if overwrite:
            discard_former_run(folder)
        prepared = time.monotonic()
        pace = edit_run.resume_or_begin(checkpoint, saver, minutes, progress)
        trained = time.monotonic()
        saver.save()
        edit = make_edit(trainer, scene, below, baseline)
        notes = write_videos(folder, read, edit, layer_formats, progress)
        write_loss_chart(folder / "loss.png", trainer.history)
        timings = {
            "preparation": prepared - begin,
            "training": trained - prepared,
            "result": time.monotonic() - trained,
            "per_step": pace,
        }
        facts = record.describe_clip(read)
        made = record.make_record(
            "edit-video", facts, trainer, guide, prompts, folder, timings, _unchanged(edit), job
        )
        made["onto"] = os.path.relpath(onto, folder) if onto else None
        if isinstance(edit, AtlasEdit):
            write_atlas_layer(folder, edit.picture)
            made["layer"] = {
                "side": side,
                "left": edit.picture.left,
                "top": edit.picture.top,
                "scale": edit.scale,
                "atlas": str(where),
            }
        below_edit = scene.working.finer(scene.picture)
        covered = scene.picture.rgba[..., 3]
        told = (*read.notes, *tell_uncovered(read, fitted), *notes)
        write_report(folder, read, below_edit, covered, edit, made, told)
        record.write_record(folder, made)
    return VideoResult(folder, made["interrupted"], made)


def _check_choices(atlas: str, layer_formats: Sequence[str], baseline: str | None) -> Side:
    if atlas not in SIDES:
        raise UsageError(f"--atlas {atlas}: must be fg or bg")
    for name in layer_formats:
        if name not in LAYER_FORMATS:
            raise UsageError(f"--layer-format {name}: must be one of {', '.join(LAYER_FORMATS)}")
    if baseline is not None and baseline not in BASELINES:
        raise UsageError(f"--baseline {baseline}: must be {', '.join(BASELINES)}")
    return SIDES[atlas]


def _check_folder(folder: Path, source: Path) -> None:
    """Refuse to write among the clip's frames, or over an atlas."""
    with explained(folder):
        if folder.resolve() == source.resolve():
            raise UsageError(f"{folder} is the clip itself: choose another -o DIR")
        if folder.name == f"{source.stem}.atlas" or (folder / ATLAS).exists():
            raise UsageError(f"{folder} is for an atlas: choose another -o DIR")


def _layers_below(
    onto: Path, clip: Clip, atlas_dir: Path | str | None, folder: Path
) -> list[tuple[Side, Layer]]:
    """The layers of an earlier result, which is on an atlas that is there already."""
    where = Path(atlas_dir) if atlas_dir else find_atlas(clip.path)
    if where is None or not (where / ATLAS).is_file():
        raise UsageError(f"--onto {onto}: the atlas that it was made on is not there: --atlas-dir")
    return result_layers([onto], clip, fit_digest(where), folder)


def _find_or_fit(
    clip: Clip,
    atlas_dir: Path | str | None,
    fit: dict[str, Any],
    encoder: dict[str, Any],
    settings: EditSettings,
    progress: Progress,
) -> tuple[Path, Atlas]:
    """The folder of the clip's atlas and what is in it; fitted first where there is none."""
    given = [f"--{name}" for name, value in fit.items() if value]
    where = Path(atlas_dir) if atlas_dir else find_atlas(clip.path)
    if where is None:
        progress.message("no atlas of this clip yet: it is fitted first, and kept")
        where = default_folder(clip.path, progress)
        values = {
            "masks": Path(fit["masks"]) if fit["masks"] else None,
            "box": fit["box"],
            "foreground": fit["foreground"],
        }
        fitted = fit_atlas(
            clip.path,
            output=where,
            progress=progress,
            device=settings.device,
            **values,
            **encoder,
        )
        if fitted.interrupted:
            raise KeyboardInterrupt
    elif given:
        progress.warning(f"{given[0]} is for fitting: the atlas in {where} is used as it is")
    if (where / CHECKPOINT).exists():
        progress.warning(
            f"{where}: its fit was stopped early; text2live fit-atlas --resume goes on"
        )
    atlas = read_atlas(where)
    atlas.require_clip(clip, where)
    for note in tell_uncovered(clip, atlas):
        progress.message(note)
    return where, atlas


def prepare_scene(
    clip: Clip,
    where: Path,
    atlas: Atlas,
    side: Side,
    settings: EditSettings,
    device: torch.device,
    progress: Progress,
) -> Scene:
    """The fitted frames and the layer's atlas, at the size of the training."""
    picture = discretise(atlas.model, side) if side in atlas.facts.corners else None
    if picture is None:
        raise UsageError(f"--atlas: {where} has no {side}, as nothing moves in it; take the other")
    short = max(MIN_SIDE, min(settings.size, clip.height, clip.width))
    scale = short / min(clip.height, clip.width)
    size = (round(clip.height * scale), round(clip.width * scale))
    facts = atlas.facts
    end = facts.first + facts.every * (facts.frames - 1) + 1
    progress.stage("reading frames", facts.frames, "frame")
    frames = np.empty((facts.frames, *size, 3), np.uint8)
    for i, frame in enumerate(clip.frames(facts.first, end, facts.every, size)):
        frames[i] = frame
        progress.advance(i + 1)
    ratios = [
        pixel_ratio(atlas.model.locate(t, size), side)
        for t in range(0, facts.frames, max(1, facts.frames // 8))
    ]
    known = [ratio for ratio in ratios if ratio > 0]
    finest = 1 / float(np.median(known)) if known else 1.0
    if settings.preset == "paper":
        finest = max(finest, _PAPER_ATLAS / max(atlas.model.canvas(side)))
    return Scene(clip, atlas, side, picture, frames, WorkingAtlas.of(picture, finest, device))


def make_renderer(scene: Scene, settings: EditSettings, baseline: str | None) -> Renderer:
    """Where the pictures of a step come from; the baselines treat theirs as §5 does pictures."""
    augment = settings.internal_dataset
    if baseline == "atlas":
        whole = Example(scene.working.color, None)
        return InternalDataset(whole, DatasetSettings(), augment)
    if baseline == "frames":
        return FramesDataset(scene.frames, DatasetSettings(), augment, scene.working.color.device)
    size = (scene.frames.shape[1], scene.frames.shape[2])
    footage = gather_footage(
        scene.side, scene.working, scene.frames, lambda t: scene.atlas.model.locate(t, size)
    )
    limit = None if settings.preset == "paper" else round(_ATLAS_CROP * size[0] * size[1])
    return AtlasDataset(footage, settings.dataset, augment, limit)


def _make_layer(trainer: Trainer, scene: Scene) -> tuple[AtlasPicture, float]:
    """The edit on the whole atlas as it is saved, and its pixels to an atlas pixel."""
    delivered = scene.working.finer(scene.picture)
    with trainer.precision.autocast(trainer.device):
        made = atlas_layer(trainer.generator, scene.working, delivered, trainer.settings.alpha_cut)
    return made, delivered.scale


def make_edit(
    trainer: Trainer, scene: Scene, below: Sequence[tuple[Side, Layer]], baseline: str | None
) -> Edit:
    """The trained edit, ready for the frames."""
    if baseline == "frames":
        return FramesEdit(scene.clip, trainer, (scene.frames.shape[1], scene.frames.shape[2]))
    picture, scale = _make_layer(trainer, scene)
    return AtlasEdit(scene.clip, scene.atlas, scene.side, picture, scale, below)


def _unchanged(edit: Edit) -> float | None:
    """Share of the atlas that stays untouched."""
    if isinstance(edit, AtlasEdit):
        return float(np.mean(edit.picture.rgba[..., 3] == 0))
    return None


def _preview(trainer: Trainer, scene: Scene) -> NDArray[np.uint8]:
    """The edited atlas as it is, (h, w, 3)."""
    layer, _ = _make_layer(trainer, scene)
    alpha = layer.rgba[..., 3:] / 255.0
    below = scene.working.finer(scene.picture).color[0].permute(1, 2, 0).cpu().numpy() * 255
    mixed = below + alpha * (layer.rgba[..., :3] - below)
    return np.asarray(mixed.round(), np.uint8)
