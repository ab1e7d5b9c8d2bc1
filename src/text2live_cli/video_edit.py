"""`edit_video`: a clip and a sentence → an edit layer on an atlas, seen in all frames (§3.2)."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from . import edit_run, record, weights
from .atlas.dataset import AtlasDataset, WorkingAtlas, atlas_layer, gather_footage, pixel_ratio
from .atlas.discretise import AtlasPicture, discretise
from .atlas.footage import (
    ATLAS_LAYER,
    by_itself,
    composited,
    find_atlas,
    on_green,
    result_layers,
    stacked,
    tell_uncovered,
)
from .atlas.layers import Side
from .atlas.render import Layer
from .atlas.store import Atlas, read_atlas
from .atlas_fit import default_folder, fit_atlas
from .atomic import write_text_atomic
from .charts import write_loss_chart
from .checkpoint import Checkpoint
from .clip_guide import load_guide
from .compositing import lay_over
from .config import EditSettings, resolve_video_settings
from .device import choose_device, choose_precision, explain_out_of_memory, prepare
from .errors import UsageError
from .generator import MIN_SIDE
from .internal_dataset import Example, InternalDataset
from .media import write_picture
from .progress import Progress, Silent
from .prompts import slug
from .run_folder import CHECKPOINT, discard_former_run, open_run_folder, run_folder
from .training import Renderer, Trainer
from .video import Clip, open_clip
from .video_report import VideoReport, video_report_html
from .video_writing import webm_bytes, write_layer_frames, write_layer_video, write_video

SIDES: dict[str, Side] = {"fg": "foreground", "bg": "background"}
BASELINES = ("atlas",)
LAYER_FORMATS = ("mov", "webm", "png", "none")
REPORT = "report.html"
_REPORT_SIDE = 480  # longest side of its videos, pixels
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
    `baseline="atlas"` trains on the atlas as if it were a picture (the paper's comparison). All
    else is as in `edit_image`.

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
    open_run_folder(folder, overwrite, resume, [source])
    read = open_clip(source)
    for note in read.notes:
        progress.message(note)
    prepare(device)
    precision = choose_precision(settings.precision, device)
    progress.message(f"preset {chosen}; on {device.type} in {precision.name}")
    fit = {"masks": masks, "box": box, "foreground": foreground}
    where, fitted = _find_or_fit(read, atlas_dir, fit, settings, progress)
    below = result_layers(Path(onto), read) if onto else []
    scene = _prepare_scene(read, where, fitted, side, settings, device, progress)
    checkpoint = Checkpoint.read(folder / CHECKPOINT) if resume else None
    with run_folder(folder):
        guide = load_guide(clip, Path(clip_weights) if clip_weights else None, progress)
        guide.to(device)
        shown = torch.from_numpy(scene.frames[len(scene.frames) // 2]).to(device)
        shown = shown.permute(2, 0, 1)[None].float() / 255
        prompts = edit_run.resolve_prompts(prompt, roi, screen, also, keep, guide, shown, progress)
        renderer = _renderer(scene, settings, baseline)
        trainer = edit_run.make_trainer(guide, prompts, renderer, settings, device, precision)
        inputs = {
            "input": read.sha256,
            "atlas": atlas,
            "fit": record.hash_array(scene.picture.rgba),
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
        made_layer, scale = _make_layer(trainer, scene)
        unchanged = _write_result(
            folder, scene, made_layer, scale, below, layer_formats, trainer, progress
        )
        timings = {
            "preparation": prepared - begin,
            "training": trained - prepared,
            "result": time.monotonic() - trained,
            "per_step": pace,
        }
        facts = record.describe_clip(read)
        made = record.make_record(
            "edit-video", facts, trainer, guide, prompts, folder, timings, unchanged, job
        )
        made["layer"] = {
            "side": side,
            "left": made_layer.left,
            "top": made_layer.top,
            "scale": scale,
            "atlas": str(where),
        }
        made["onto"] = str(onto) if onto else None
        _write_report(folder, scene, made_layer, made)
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


def _find_or_fit(
    clip: Clip,
    atlas_dir: Path | str | None,
    fit: dict[str, Any],
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
            clip.path, output=where, progress=progress, device=settings.device, **values
        )
        if fitted.interrupted:
            raise KeyboardInterrupt
    elif given:
        progress.warning(f"{given[0]} is for fitting: the atlas in {where} is used as it is")
    atlas = read_atlas(where)
    atlas.require_clip(clip, where)
    for note in tell_uncovered(clip, atlas):
        progress.message(note)
    return where, atlas


def _prepare_scene(
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


def _renderer(scene: Scene, settings: EditSettings, baseline: str | None) -> Renderer:
    """Where the pictures of a step come from."""
    if baseline == "atlas":
        whole = Example(scene.working.color, None)
        return InternalDataset(whole, settings.dataset, settings.internal_dataset)
    size = (scene.frames.shape[1], scene.frames.shape[2])
    footage = gather_footage(
        scene.side, scene.working, scene.frames, lambda t: scene.atlas.model.locate(t, size)
    )
    limit = None if settings.preset == "paper" else round(_ATLAS_CROP * size[0] * size[1])
    return AtlasDataset(footage, settings.dataset, settings.internal_dataset, limit)


def _make_layer(trainer: Trainer, scene: Scene) -> tuple[AtlasPicture, float]:
    """The edit on the whole atlas as it is saved, and its pixels to an atlas pixel."""
    delivered = scene.working.finer(scene.picture)
    with torch.no_grad(), trainer.precision.autocast(trainer.device):
        made = atlas_layer(trainer.generator, scene.working, delivered, trainer.settings.alpha_cut)
    return made, delivered.scale


def _preview(trainer: Trainer, scene: Scene) -> NDArray[np.uint8]:
    """The edited atlas as it is, (h, w, 3)."""
    layer, _ = _make_layer(trainer, scene)
    alpha = layer.rgba[..., 3:] / 255.0
    below = scene.working.finer(scene.picture).color[0].permute(1, 2, 0).cpu().numpy() * 255
    mixed = below + alpha * (layer.rgba[..., :3] - below)
    return np.asarray(mixed.round(), np.uint8)


def _write_result(
    folder: Path,
    scene: Scene,
    made: AtlasPicture,
    scale: float,
    below: Sequence[tuple[Side, Layer]],
    layer_formats: Sequence[str],
    trainer: Trainer,
    progress: Progress,
) -> float:
    """Write the videos of the result; returns the share of the atlas that stays untouched."""
    clip, atlas, side = scene.clip, scene.atlas, scene.side
    layer = Layer.of(made, scale)
    write_picture(folder / ATLAS_LAYER, made.rgba[..., :3], made.rgba[..., 3])
    frames = composited(clip, atlas, stacked([*below, (side, layer)]), progress)
    timing: dict[str, Any] = {"times": clip.times, "like": clip}
    notes = write_video(folder / "composite.mp4", frames, clip.rate, audio_from=clip, **timing)
    screen = on_green(clip, atlas, side, layer, progress)
    write_video(folder / "screen.mp4", screen, clip.rate, **timing)
    for name in layer_formats:
        alone = by_itself(clip, atlas, side, layer, progress)
        if name == "png":
            write_layer_frames(folder / "layer", alone)
        elif name != "none":
            notes += write_layer_video(folder / f"layer.{name}", alone, clip.rate, **timing)
    for note in notes:
        progress.message(note)
    write_loss_chart(folder / "loss.png", trainer.history)
    return float(np.mean(made.rgba[..., 3] == 0))


def small(clip: Clip) -> Iterator[NDArray[np.uint8]]:
    """The clip's frames, their longer side at most that of a report."""
    share = min(1.0, _REPORT_SIDE / max(clip.width, clip.height))
    return clip.frames(size=(max(2, round(clip.height * share)), max(2, round(clip.width * share))))


def _write_report(folder: Path, scene: Scene, made: AtlasPicture, facts: dict[str, Any]) -> None:
    """Write report.html: everything that was written, to look at in a browser."""
    clip = scene.clip
    pictures = [small(open_clip(folder / name)) for name in ("composite.mp4", "screen.mp4")]
    before = scene.working.finer(scene.picture).color[0].permute(1, 2, 0).cpu().numpy() * 255
    after = lay_over(np.asarray(before.round(), np.uint8), made.rgba)
    prompts = facts["prompts"]
    report = VideoReport(
        title=f"{clip.path.name}: {prompts['target']}",
        summary=(
            f'"{prompts["roi"]}" becomes "{prompts["target"]}" on the {scene.side}',
            f"{facts['unchanged_share']:.0%} of the atlas is untouched",
        ),
        original=webm_bytes(small(clip), clip.rate),
        composite=webm_bytes(pictures[0], clip.rate),
        screen=webm_bytes(pictures[1], clip.rate),
        atlas_before=scene.picture.rgba,
        atlas_after=np.dstack([after, np.full(after.shape[:2], 255, np.uint8)]),
        figures=tuple((f"seconds, {k}", f"{v:.1f}") for k, v in facts["seconds"].items()),
        settings=facts["job"],
    )
    write_text_atomic(folder / REPORT, video_report_html(report))
