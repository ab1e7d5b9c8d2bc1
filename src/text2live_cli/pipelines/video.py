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
from torch import Tensor

from ..atlas import ATLAS
from ..atlas.footage import tell_uncovered
from ..atlas.layers import Side
from ..atlas.store import Atlas
from ..config import resolve_video_settings
from ..device import (
    IN_DELIVERY,
    choose_device,
    choose_precision,
    explain_out_of_memory,
    prepare,
)
from ..errors import UsageError
from ..guide import weights
from ..guide.clip import load_guide
from ..guide.picture_region import write_region
from ..guide.views import ViewSettings
from ..media.clip_writing import require_encoders
from ..media.clips import Clip, open_clip
from ..progress import Progress, Silent
from ..report.charts import write_loss_chart
from ..runs import record
from ..runs.checkpoint import Checkpoint
from ..runs.clock import CheckpointClock
from ..runs.folder import (
    CHECKPOINT,
    EDIT_VIDEO,
    claim_folder,
    explained,
)
from ..runs.keeping import keeping
from ..runs.memory import clip_need, require_memory
from ..runs.preflight import require_room, video_bytes
from ..texts import check_texts, require_text, shown_path, slug
from ..video.baselines import FramesScene, prepare_frames_scene
from ..video.frames import read_frame_hints, training_size
from ..video.region import FrameRegion, find_atlas_region, fitted_frame
from ..video.result import (
    LAYER_FORMATS,
    AtlasEdit,
    Edit,
    delivery_seconds,
    write_atlas_layer,
    write_report,
    write_videos,
)
from ..video.scene import AtlasScene, prepare_atlas_scene
from . import session
from .clip_atlas import ClipAtlas
from .self_test import edit_step

SIDES: dict[str, Side] = {"fg": "foreground", "bg": "background"}
BASELINES = ("atlas", "frames")
VIEWS = ViewSettings(fill=0.0)  # black: where no foreground is, a crop is black too


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


@explain_out_of_memory()
def edit_video(
    source: Path | str,
    prompt: str,
    *,
    atlas: str = "fg",
    atlas_dir: Path | str | None = None,
    masks: Path | str | None = None,
    foreground: str | None = None,
    mask: Path | str | None = None,
    box: str | None = None,
    points: Sequence[str] = (),
    not_points: Sequence[str] = (),
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
    checkpoint_every: float | None = None,
    progress: Progress | None = None,
    **overrides: Any,
) -> VideoResult:
    """Edit the layer `atlas` ("fg" or "bg") of a clip so that it fits `prompt`.

    The clip's atlas is that in `atlas_dir`, or where `fit_atlas` puts it, or is fitted now, with
    `masks` or `foreground` as there. `mask`, `box`, `points` and `not_points` say where the edit is
    to be, as for a picture, on one frame: each may end in "@FRAME" (from 0; default: the first that
    was fitted). `onto` is an earlier result on the same atlas: both are
    rendered together. `layer_formats` are "mov" (ProRes 4444), "webm" (VP9) and "png", or "none".
    `baseline` is one of the paper's comparisons: "atlas" trains on the atlas as if it were a
    picture, "frames" on the frames, without an atlas. All else is as in `edit_image`.

    Raises UsageError for what cannot be asked for, Text2LiveError for what goes wrong.
    """
    begin = time.monotonic()
    progress = progress or Silent()
    check_texts(prompt, roi, screen, also, keep)
    require_text("--foreground", foreground)
    side = _check_choices(atlas, layer_formats, baseline, onto)
    source = Path(source)
    device = choose_device(overrides.get("device") or "auto", edit_step, progress)
    chosen = ("draft" if device.type == "cpu" else "paper") if preset is None else preset
    settings = resolve_video_settings(chosen, clip, side == "foreground", **overrides)
    session.check_limits(minutes, save_every, overrides.get("steps"))
    clock = CheckpointClock(checkpoint_every)
    folder = Path(output) if output else Path(f"{source.stem}.{atlas}.{slug(prompt)}")
    _check_folder(folder, source)
    require_encoders(layer_formats)
    read = open_clip(source)
    pointed = read_frame_hints(read, mask, box, points, not_points)
    if pointed.given and baseline == "frames":
        raise UsageError("--box, --point, --mask: the baseline frames has no atlas to carry it to")
    may_resume = resume and not overwrite and not (folder / CHECKPOINT).exists()
    clip_atlas = None
    if baseline != "frames":
        clip_atlas = ClipAtlas.locate(read, atlas_dir, may_resume, progress)
    # Where a stopped fit goes on, the edit after it begins anew.
    resume_edit = resume and not (clip_atlas and clip_atlas.resumes)
    used = [source, masks, pointed.path, atlas_dir, clip_weights]
    with claim_folder(folder, EDIT_VIDEO, used) as run, keeping(run):
        run.open(overwrite, resume_edit)
        if clip_atlas:
            clip_atlas.read()
            if clip_atlas.fitted and pointed.given:
                fitted_frame(clip_atlas.fitted, pointed)
        room = video_bytes(read.count * read.height * read.width, layer_formats)
        require_room(folder, room + (clip_atlas.fit_bytes(device) if clip_atlas else 0))
        below = clip_atlas.layers_of(Path(onto), folder) if clip_atlas and onto else []
        prepare(device)
        precision = choose_precision(settings.precision, device, progress)
        for note in read.notes:
            progress.message(note)
        progress.message(f"preset {chosen}; on {device.type} in {precision.name}")
        guide = load_guide(clip, Path(clip_weights) if clip_weights else None, progress)
        guide.to(device)
        size = training_size(read, settings)
        if device.type == "cpu":
            require_memory(clip_need(guide, settings, size, read.count), "lower --size or --views")
        middle = _middle_frame(read, clip_atlas.fitted if clip_atlas else None, size, device)
        prompts = session.resolve_prompts(prompt, roi, screen, also, keep, guide, middle, progress)
        fit = {"masks": masks, "foreground": foreground}
        scene: AtlasScene | FramesScene
        shown: FrameRegion | None = None
        told = list(read.notes)
        if clip_atlas is None:
            _tell_not_needed({"atlas-dir": atlas_dir, **fit}, progress)
            scene = prepare_frames_scene(read, settings, device, progress)
        else:
            hint = prompts.roi if side == "foreground" else None
            encoder = {"clip": clip, "clip_weights": clip_weights, "device": settings.device}
            how = {**encoder, "checkpoint_every": checkpoint_every}
            fitted = clip_atlas.complete(fit, hint, how, progress).on(device)
            uncovered = tell_uncovered(read, fitted)
            for note in uncovered:
                progress.message(note)
            told += uncovered
            scene = prepare_atlas_scene(
                read, fitted, side, settings, device, progress, below, baseline == "atlas"
            )
            # Without a pull, a text's region would change nothing (the paper's backgrounds).
            rule = settings.region if settings.weights.bootstrap else "paper"
            scene, shown = find_atlas_region(scene, guide, prompts, pointed, rule, progress)
            told += shown.record["notes"] if shown else []
        checkpoint = Checkpoint.read(run.work / CHECKPOINT) if resume_edit else None
        settings = session.with_layout(settings, device, precision, checkpoint, progress)
        trainer = session.make_trainer(
            guide, prompts, scene.renderer(settings), settings, device, precision, VIEWS
        )
        inputs = {
            "input": read.sha256,
            "atlas": atlas,
            "fit": clip_atlas.fitted.digest if clip_atlas and clip_atlas.fitted else None,
            "baseline": baseline,
            "mask": None if pointed.mask is None else record.hash_array(pointed.mask),
            "box": box,
            "points": list(points) or None,
            "not": list(not_points) or None,
            "mask frame": None if pointed.mask is None else pointed.frame,
        }
        job = session.describe_job(inputs, prompts, trainer, guide)
        preview = partial(scene.preview, trainer)
        saver = session.Saver(run.work, trainer, job, preview, save_every, clock, progress)
        if not resume_edit:
            run.begin(progress)
            if shown is not None:
                region_files = run.work / "region.png", run.work / "mask.png"
                write_region(*region_files, shown.frame, shown.region)
        prepared = time.monotonic()
        limit = None
        if minutes:
            delivery = partial(delivery_seconds, read, partial(scene.edit, trainer), layer_formats)
            limit = session.TimeLimit(minutes, begin, delivery)
        pace = session.resume_or_begin(checkpoint, saver, limit, progress)
        trained = time.monotonic()
        with explain_out_of_memory(IN_DELIVERY):
            edit = scene.edit(trainer, progress)
            told += write_videos(run.work, read, edit, layer_formats, progress)
        for note in clip_atlas.changed() if clip_atlas else ():
            progress.warning(note)
            told.append(note)
        write_loss_chart(run.work / "loss.png", trainer.history)
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
        made["region"] = shown.record if shown else None
        made["keep_regions"] = shown.keep if shown else None
        made["onto"] = os.path.relpath(onto, folder) if onto else None
        if clip_atlas and isinstance(edit, AtlasEdit):
            made["layer"] = {
                "atlas": shown_path(clip_atlas.folder),
                **write_atlas_layer(run.work, edit),
            }
        write_report(run.work, read, edit, made, told)
        record.write_record(run.work, made)
        delivered = run.deliver(not made["interrupted"], progress)
    saver.require_saved(delivered)
    return VideoResult(delivered, made["interrupted"], made)


def _check_choices(
    atlas: str, layer_formats: Sequence[str], baseline: str | None, onto: Path | str | None
) -> Side:
    if atlas not in SIDES:
        raise UsageError(f"--atlas {atlas}: must be fg or bg")
    for name in layer_formats:
        if name not in LAYER_FORMATS:
            raise UsageError(f"--layer-format {name}: must be one of {', '.join(LAYER_FORMATS)}")
    if baseline is not None and baseline not in BASELINES:
        raise UsageError(f"--baseline {baseline}: must be {', '.join(BASELINES)}")
    if onto and baseline == "frames":
        raise UsageError("--onto: the baseline frames has no atlas to share")
    return SIDES[atlas]


def _check_folder(folder: Path, source: Path) -> None:
    """Refuse to write among the clip's frames, or over an atlas."""
    with explained(folder):
        if folder.resolve() == source.resolve():
            raise UsageError(f"{folder} is the clip itself: choose another -o DIR")
        if folder.name == f"{source.stem}.atlas" or (folder / ATLAS).exists():
            raise UsageError(f"{folder} is for an atlas: choose another -o DIR")


def _middle_frame(
    clip: Clip, fitted: Atlas | None, size: tuple[int, int], device: torch.device
) -> Tensor:
    """The frame in which the ROI is looked for, (1, 3, *size) in [0, 1]."""
    number = clip.count // 2
    if fitted is not None:
        number = fitted.frames[len(fitted.frames) // 2]
    frame = next(clip.frames(min(number, clip.count - 1), size=size))
    return torch.from_numpy(frame).to(device).permute(2, 0, 1)[None].float() / 255


def _tell_not_needed(given: dict[str, Any], progress: Progress) -> None:
    for name, value in given.items():
        if value:
            progress.warning(f"--{name} is for an atlas: the baseline frames has none")


def _unchanged(edit: Edit) -> float | None:
    """Share of the atlas that stays untouched."""
    if isinstance(edit, AtlasEdit):
        return float(np.mean(edit.picture.rgba[..., 3] == 0))
    return None
