"""`edit_video`: a clip and a sentence → an edit layer on an atlas, seen in all frames (§3.2)."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..atlas.footage import composited, stacked, tell_uncovered
from ..atlas.layers import LAYERS, Side
from ..atlas.render import Layer
from ..atlas.store import Atlas, read_atlas
from ..config import EditSettings
from ..device import IN_DELIVERY, explain_out_of_memory
from ..engine.training import make_trainer
from ..errors import Text2LiveError
from ..guide.picture_region import write_region
from ..guide.prompts import Prompts, knows
from ..guide.views import ViewSettings
from ..media.clips import Clip, open_clip
from ..progress import Progress
from ..report.charts import write_loss_chart
from ..runs import record
from ..runs.checkpoint import Checkpoint
from ..runs.folder import RunFolder
from ..runs.inputs import describe_clip
from ..runs.memory import clip_need, require_memory
from ..runs.preflight import film_bytes, require_room, video_bytes
from ..texts import shown_path
from ..video.baselines import FramesScene, prepare_frames_scene
from ..video.figures import clip_figures
from ..video.region import FrameRegion, find_atlas_region, fitted_frame
from ..video.result import (
    AtlasEdit,
    Edit,
    composites,
    delivery_seconds,
    result_layers,
    write_atlas_layer,
    write_copy,
    write_report,
    write_videos,
)
from ..video.scene import AtlasScene, prepare_atlas_scene
from .checks import SIDES
from .clip_atlas import ClipAtlas
from .done import finished, lacks_copy, tell_done
from .folders import film_kind
from .option_fields import taking
from .options import VideoOptions
from .plans import VideoPlan, plan_video
from .results import VideoResult
from .session import Prepared, Session, Trained, claimed, resolve_prompts, what_was_asked

VIEWS = ViewSettings(fill=0.0)  # black: where no foreground is, a crop is black too


@dataclass(frozen=True)
class ClipScene:
    """What an edit of a clip is trained and delivered on."""

    trained_on: AtlasScene | FramesScene
    atlas: ClipAtlas | None
    notes: tuple[str, ...]
    """What the user was told of the clip, its atlas and the region."""


@explain_out_of_memory()
def run_edit_video(
    options: VideoOptions, session: Session | None = None, begin: float | None = None
) -> VideoResult:
    """Edit the layer `atlas` ("fg" or "bg") of the clip `source` so that it fits `prompt`.

    The options are the fields of `VideoOptions`, which says what each means. The clip's atlas is
    that in `atlas_dir`, or where `fit_atlas` puts it, or is fitted now. Ctrl-C, SIGTERM and SIGHUP
    end the run as in `edit_image`. A `session` brings what former edits have loaded; `begin`, by
    `time.monotonic`, is when the time of `--minutes` began to run; default: now.

    Raises UsageError for what cannot be asked for, Text2LiveError for what goes wrong.
    """
    begin = time.monotonic() if begin is None else begin
    session = session or Session.of(options)
    plan = plan_video(options, session.device.type, session.progress)
    with claimed(plan) as run:
        former = finished(plan)
        if former is not None:
            session.progress.message(tell_done(plan.folder))
            if lacks_copy(plan):
                write_film(plan, session.progress)
            return VideoResult(plan.folder, False, former, plan.copy)
        trained = session.train(plan, prepare_video, run, begin)
        result = deliver_video(trained, plan, run, session.progress)
    trained.require_saved(result.folder)
    return result


edit_video = taking(VideoOptions)(run_edit_video)


def prepare_video(
    plan: VideoPlan, session: Session, checkpoint: Checkpoint | None
) -> Prepared[ClipScene]:
    """All that comes before the first step: atlas (fitted, if need be), texts, region, generator.

    Raises UsageError where the atlas is not the clip's or lacks the layer, Text2LiveError where no
    region is found.
    """
    clip, progress = plan.clip, session.progress
    atlas = _located(plan)
    below = _check_atlas(plan, atlas, session.device)
    for note in clip.notes:
        progress.message(note)
    settings = session.with_layout(plan.settings, checkpoint)
    guide = session.guide
    if session.device.type == "cpu":
        need = clip_need(guide.shape, settings, plan.size, clip.count)
        require_memory(need, "lower --size or --views")
    middle = _middle_frame(clip, atlas.fitted if atlas else None, plan.size, session.device)
    prompts = resolve_prompts(plan.options, guide, middle, plan.is_placed, progress)
    scene: AtlasScene | FramesScene
    region, notes = None, list(clip.notes)
    if atlas is None:
        _tell_not_needed(plan.options, progress)
        scene = prepare_frames_scene(clip, settings, session.device, progress)
    else:
        fitted, lines = _complete(plan, atlas, prompts, settings, session)
        notes += lines
        scene = _atlas_scene(plan, fitted, settings, session, below)
        # Without a pull, a text's region would change nothing (the paper's backgrounds).
        rule = settings.region if settings.weights.bootstrap else "paper"
        scene, region = find_atlas_region(scene, guide, prompts, plan.hints, rule, progress)
        notes += region.record["notes"] if region else []
    dataset = scene.dataset(settings)
    where = session.device, session.precision
    trainer = make_trainer(guide, prompts, dataset, settings, *where, VIEWS)
    edit = partial(scene.edit, trainer)
    return Prepared(
        trainer=trainer,
        prompts=prompts,
        scene=ClipScene(scene, atlas, tuple(notes)),
        inputs=_inputs(plan, atlas),
        facts=_facts(plan, region),
        preview=partial(scene.preview, trainer),
        delivery_seconds=partial(delivery_seconds, clip, edit, plan.options.layer_formats),
        write_first=partial(_write_region, region),
    )


def deliver_video(
    trained: Trained[ClipScene], plan: VideoPlan, run: RunFolder, progress: Progress
) -> VideoResult:
    """Write films, layer, report and record of a trained edit into its folder.

    Raises Text2LiveError where one cannot be written.
    """
    begin, clip = time.monotonic(), plan.clip
    scene, atlas = trained.edit.scene.trained_on, trained.edit.scene.atlas
    notes = list(trained.edit.scene.notes)
    most = film_bytes(clip.count * clip.height * clip.width, plan.options.layer_formats)
    progress.message(f"{plan.folder}: films and layers take up to {most / 1e9:.2f} GB")
    with explain_out_of_memory(IN_DELIVERY):
        edit = scene.edit(trained.trainer, progress)
        notes += write_videos(
            *(run.work, clip, edit, plan.options.layer_formats, progress),
            premultiplied=plan.options.premultiplied,
        )
    for note in atlas.changed() if atlas else ():
        progress.warning(note)
        notes.append(note)
    write_loss_chart(run.work / "loss.png", trained.trainer.history)
    composite = open_clip(run.work / "composite.mp4")
    figures = clip_figures(trained.trainer.objective, clip, composite)
    seconds = {**trained.seconds, "result": time.monotonic() - begin}
    source, unchanged = describe_clip(clip), _unchanged(edit)
    facts = record.make_record(plan.command, source, trained, plan.folder, seconds, unchanged)
    facts.update(trained.edit.facts)
    facts["figures"] = figures.describe()
    facts.update(what_was_asked(plan, trained))
    copy = None if trained.interrupted else plan.copy
    facts["copy"] = None if copy is None else shown_path(copy)
    if atlas and isinstance(edit, AtlasEdit):
        layer = write_atlas_layer(run.work, edit)
        facts["layer"] = {"atlas": shown_path(atlas.folder), **layer}
    write_report(run.work, clip, edit, facts, notes)
    record.write_history(run.work, trained.trainer.history)
    record.write_record(run.work, facts)
    folder = run.deliver(not trained.interrupted, progress, copy)
    if copy is not None:
        _write_film(copy, plan, composites(edit, clip.count, progress), progress)
    return VideoResult(folder, trained.interrupted, facts, copy)


def write_film(plan: VideoPlan, progress: Progress) -> None:
    """Write what -o names beside the folder, from the layer of the result in it.

    Raises Text2LiveError where it cannot be written, or an edit without an atlas left no layer.
    """
    assert plan.copy is not None
    if plan.atlas_folder is None:
        raise Text2LiveError(
            f"{plan.copy}: is not there, and an edit without an atlas leaves no layer to make it"
            " of; --overwrite does it again"
        )
    atlas = read_atlas(plan.atlas_folder)
    layers = result_layers([plan.folder], plan.clip, atlas.digest)
    _write_film(plan.copy, plan, composited(plan.clip, atlas, stacked(layers), progress), progress)


def _write_film(
    path: Path, plan: VideoPlan, frames: Iterator[NDArray[np.uint8]], progress: Progress
) -> None:
    for note in write_copy(path, plan.clip, frames, film_kind(plan.options)):
        progress.message(note)


def _takes_any(plan: VideoPlan) -> bool:
    """Whether a poor atlas is no obstacle: that was asked for, or the edit has begun on it."""
    return plan.options.any_atlas or plan.resumes


def _located(plan: VideoPlan) -> ClipAtlas | None:
    """The clip's atlas, not read yet."""
    if plan.atlas_folder is None:
        return None
    is_named = plan.options.atlas_dir is not None
    return ClipAtlas(plan.clip, plan.atlas_folder, is_named, plan.resumes_fit)


def _check_atlas(
    plan: VideoPlan, atlas: ClipAtlas | None, device: torch.device
) -> list[tuple[Side, Layer]]:
    """Read the atlas, if it is there; the layers that the edit will lie on.

    Raises UsageError where it cannot serve, Text2LiveError where the result has no room.
    """
    clip = plan.clip
    room = video_bytes(clip.count * clip.height * clip.width, plan.options.layer_formats)
    if atlas is None:
        require_room(plan.folder, room)
        return []
    atlas.read()
    if atlas.fitted:
        atlas.verdict(_takes_any(plan))
    if atlas.fitted and plan.hints.given:
        fitted_frame(atlas.fitted, plan.hints)
    require_room(plan.folder, room + atlas.fit_bytes(device))
    onto = plan.options.onto
    return atlas.layers_of(Path(onto), plan.folder) if onto else []


def _complete(
    plan: VideoPlan, atlas: ClipAtlas, prompts: Prompts, settings: EditSettings, session: Session
) -> tuple[Atlas, tuple[str, ...]]:
    """The atlas on the session's device, fitted now if need be, and what to say of it."""
    options = plan.options
    is_sought = options.atlas == "fg" and knows(session.guide, prompts.roi)
    hint = prompts.roi if is_sought else None
    fit = {"masks": options.masks, "foreground": options.foreground}
    encoder: dict[str, Any] = {"clip": options.clip, "clip_weights": options.clip_weights}
    span = {"frames": options.frames, "every": options.every}
    encoder.update({name: value for name, value in span.items() if value is not None})
    how: dict[str, Any] = {"device": settings.device, "checkpoint_every": options.checkpoint_every}
    if session.device.type == "cpu":
        how["threads"] = torch.get_num_threads()  # chosen already
    fitted = atlas.complete(fit, hint, {**encoder, **how}, session.progress).on(session.device)
    notes = (*atlas.verdict(_takes_any(plan)), *tell_uncovered(plan.clip, fitted))
    for note in notes:
        session.progress.message(note)
    return fitted, notes


def _atlas_scene(
    plan: VideoPlan,
    fitted: Atlas,
    settings: EditSettings,
    session: Session,
    below: Sequence[tuple[Side, Layer]],
) -> AtlasScene:
    side, as_picture = LAYERS.index(SIDES[plan.options.atlas]), plan.options.baseline == "atlas"
    where = session.device, session.progress
    return prepare_atlas_scene(plan.clip, fitted, side, settings, *where, below, as_picture)


def _inputs(plan: VideoPlan, atlas: ClipAtlas | None) -> dict[str, Any]:
    """What a run must share with the one that it resumes, besides settings and prompts."""
    options, hints = plan.options, plan.hints
    return {
        "input": plan.clip.sha256,
        "atlas": options.atlas,
        "fit": atlas.fitted.digest if atlas and atlas.fitted else None,
        "baseline": options.baseline,
        "mask": None if hints.mask is None else record.hash_array(hints.mask),
        "box": options.box,
        "points": list(options.points) or None,
        "not": list(options.not_points) or None,
        "mask frame": None if hints.mask is None else hints.frame,
    }


def _facts(plan: VideoPlan, region: FrameRegion | None) -> dict[str, Any]:
    """What a record says of an edit of a clip, and of no other."""
    onto = plan.options.onto
    return {
        "region": region.record if region else None,
        "keep_regions": region.keep if region else None,
        "onto": os.path.relpath(onto, plan.folder) if onto else None,
    }


def _write_region(region: FrameRegion | None, folder: Path) -> None:
    if region is not None:
        files = folder / "region.png", folder / "mask.png"
        write_region(*files, region.frame, region.region)


def _middle_frame(
    clip: Clip, fitted: Atlas | None, size: tuple[int, int], device: torch.device
) -> Tensor:
    """The frame in which the ROI is looked for, (1, 3, *size) in [0, 1]."""
    number = clip.count // 2
    if fitted is not None:
        number = fitted.frames[len(fitted.frames) // 2]
    frame = next(clip.frames(min(number, clip.count - 1), size=size))
    return torch.from_numpy(frame).to(device).permute(2, 0, 1)[None].float() / 255


def _tell_not_needed(options: VideoOptions, progress: Progress) -> None:
    for name in ("atlas_dir", "masks", "foreground"):
        if getattr(options, name):
            flag = name.replace("_", "-")
            progress.warning(f"--{flag} is for an atlas: the baseline frames has none")


def _unchanged(edit: Edit) -> float | None:
    """Share of the atlas that stays untouched."""
    if isinstance(edit, AtlasEdit):
        return float(np.mean(edit.picture.rgba[..., 3] == 0))
    return None
