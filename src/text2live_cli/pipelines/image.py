"""`edit_image`: one photo and one sentence → an RGBA edit layer and its composite (paper §3.1)."""

from __future__ import annotations

import dataclasses
import math
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch

from ..device import IN_DELIVERY, explain_out_of_memory, wants_few_sizes
from ..engine.edit_layer import GREEN_SCREEN
from ..engine.figures import Figures, likeness, outside_figures
from ..engine.internal_dataset import InternalDataset
from ..engine.training import Trainer, make_trainer
from ..guide.picture_region import describe_region, seen_colors
from ..media.compositing import lay_over
from ..media.files import write_text_atomic
from ..media.layered_files import LAYERED_ENDINGS, layered_beside, write_layered
from ..media.picture_writing import write_picture
from ..media.pictures import Picture, read_mask, read_picture
from ..media.samples import to_uint
from ..progress import Progress, Silent
from ..report.charts import write_loss_chart
from ..report.image import Views, image_report_html, view
from ..runs import record
from ..runs.checkpoint import Checkpoint
from ..runs.folder import LAYER_PICTURE, RunFolder
from ..runs.inputs import describe_picture
from ..runs.memory import require_memory, training_need
from ..texts import shown_path
from .done import finished, lacks_copy, tell_done
from .image_scene import Scene, prepare_scene, preview, render_layer, with_region, write_sight
from .option_fields import taking
from .options import ImageOptions
from .overlays import named_layer
from .plans import ImagePlan, plan_image
from .results import EditResult
from .session import Prepared, Session, Trained, claimed, resolve_prompts, what_was_asked

REPORT = "report.html"
_KEPT_PIXELS = 8_000_000  # of a source whose region is kept for the next edit: some 16 bytes each
_TRIED_PIXELS = 2_000_000  # of the source, by which the delivery is timed


@explain_out_of_memory()
def run_edit_image(
    options: ImageOptions, session: Session | None = None, begin: float | None = None
) -> EditResult:
    """Edit the picture `source` so that it fits `prompt`; results go to a folder of their own.

    The options are the fields of `ImageOptions`, which says what each means. Ctrl-C, SIGTERM and
    SIGHUP end the run after the step at hand; its result is written, and `resume=True` goes on.
    A `session` brings what former edits have loaded; `begin`, by `time.monotonic`, is when the time
    of `--minutes` began to run; default: now.

    Raises UsageError for what cannot be asked for, Text2LiveError for what goes wrong.
    """
    begin = time.monotonic() if begin is None else begin
    session = session or Session.of(options)
    plan = plan_image(options, session.device.type, session.progress)
    with claimed(plan) as run:
        former = finished(plan)
        if former is not None:
            session.progress.message(tell_done(plan.folder))
            result = EditResult(plan.folder, False, former, Path(options.source), plan.copy)
            if lacks_copy(plan):
                write_copy(plan, result)
            return result
        trained = session.train(plan, prepare_image, run, begin)
        result = deliver_image(trained, plan, run, session.progress)
    trained.require_saved(result.folder)
    return result


edit_image = taking(ImageOptions)(run_edit_image)


def prepare_image(
    plan: ImagePlan, session: Session, checkpoint: Checkpoint | None
) -> Prepared[Scene]:
    """All that comes before the first step: encoder, texts, region, a fresh generator.

    Raises Text2LiveError where no region is found, UsageError for texts that cannot be read.
    """
    picture, progress = plan.picture, session.progress
    scene = prepare_scene(picture, plan.working, session.device)
    guide = session.guide
    if session.device.type == "cpu":
        need = training_need(guide.shape, plan.settings, plan.working, plan.pixels)
        require_memory(need, "lower --size or --views, or save a smaller copy")
    prompts = resolve_prompts(plan.options, guide, scene.working, plan.is_placed, progress)
    path, size = plan.options.mask, (picture.height, picture.width)
    mask = read_mask(Path(path), size, progress) if path is not None else None
    inputs = _inputs(plan, mask)
    settings = session.with_layout(plan.settings, checkpoint)
    find = partial(with_region, scene, guide, prompts, settings, plan.hints, mask, progress)
    if plan.pixels > _KEPT_PIXELS:
        scene, region = find()
    else:
        same = picture.sha256, plan.working, plan.hints, inputs["mask"], settings.region
        scene, region = session.remembered((*same, prompts.roi, tuple(prompts.keep)), find)
    scene = dataclasses.replace(scene, picture=picture)  # the same, maybe from another place
    dataset = InternalDataset(
        scene.example,
        settings.dataset,
        settings.internal_dataset,
        few_sizes=wants_few_sizes(session.device),
    )
    trainer = make_trainer(guide, prompts, dataset, settings, session.device, session.precision)
    return Prepared(
        trainer=trainer,
        prompts=prompts,
        scene=scene,
        inputs=inputs,
        facts={"region": describe_region(region) if region else None, "keep_regions": scene.keep},
        preview=partial(preview, trainer, scene),
        delivery_seconds=partial(_delivery_seconds, trainer, scene),
        write_first=partial(write_sight, scene, region),
    )


def deliver_image(
    trained: Trained[Scene],
    plan: ImagePlan,
    run: RunFolder,
    progress: Progress,
    asked: dict[str, Any] | None = None,
) -> EditResult:
    """Write the result of a trained edit into its folder; OSErrors are told as Text2LiveErrors.

    `asked` is what the record says of the command, by default `what_was_asked`.
    """
    begin = time.monotonic()
    progress.stage("writing the result")
    with explain_out_of_memory(IN_DELIVERY):
        written = _write_result(run.work, trained.trainer, trained.edit.scene, progress)
        formats = plan.options.layer_formats
        for path in layered_beside(run.work / LAYER_PICTURE, formats):
            _write_layered(path, plan.picture, run.work, trained.edit.prompts.target)
        figures = _measure(trained, written)
    seconds = {**trained.seconds, "result": time.monotonic() - begin}
    source = describe_picture(plan.picture)
    facts = record.make_record(
        plan.command, source, trained, plan.folder, seconds, written.unchanged
    )
    facts.update(trained.edit.facts)
    facts["figures"] = figures.describe()
    facts.update(asked or what_was_asked(plan, trained))
    copy = None if trained.interrupted else plan.copy
    facts["copy"] = None if copy is None else shown_path(copy)
    history = trained.trainer.history
    record.write_history(run.work, history)
    page = image_report_html(written.views, run.work, history.weighted, facts)
    write_text_atomic(run.work / REPORT, page)
    record.write_record(run.work, facts)
    folder = run.deliver(not trained.interrupted, progress, copy)
    result = EditResult(folder, trained.interrupted, facts, Path(plan.options.source), copy)
    if copy is not None:
        write_copy(plan, result)
    return result


def write_copy(plan: ImagePlan, result: EditResult) -> None:
    """Write what -o names beside the folder: the composite, or source and layer in one file."""
    if plan.copy is None:
        return
    if plan.copy.suffix.lower() in LAYERED_ENDINGS:
        prompt = result.record["prompts"]["target"]
        _write_layered(plan.copy, plan.picture, result.folder, prompt)
        return
    composite = read_picture(result.composite)
    profile, exif = composite.icc_profile, composite.exif
    write_picture(plan.copy, composite.color, composite.alpha, profile, exif)


def _write_layered(path: Path, picture: Picture, result: Path, name: str) -> None:
    """The picture and the layer of a result, by that name, in one file."""
    write_layered(path, picture, [named_layer(result, name)])


def _inputs(plan: ImagePlan, mask: np.ndarray | None) -> dict[str, Any]:
    """What a run must share with the one that it resumes, besides settings and prompts."""
    options = plan.options
    return {
        "input": plan.picture.sha256,
        "mask": None if mask is None else record.hash_array(mask),
        "box": options.box,
        "points": list(options.points) or None,
        "not": list(options.not_points) or None,
    }


class Written(NamedTuple):
    """A result as it was written, at the size of the training for its figures."""

    unchanged: float
    """Share of the pixels that stay untouched."""
    composite: np.ndarray
    """(h, w, 3) uint8."""
    alpha: np.ndarray
    """(h, w) uint8."""
    views: Views
    """For the page."""


def _write_result(folder: Path, trainer: Trainer, scene: Scene, progress: Progress) -> Written:
    """Write all pictures of the result."""
    picture, profile = scene.picture, scene.picture.icc_profile
    layer = render_layer(trainer, scene, progress)
    color, alpha = layer[..., :3], layer[..., 3]
    green = np.broadcast_to(to_uint(np.array(GREEN_SCREEN), 255), color.shape)
    write_picture(folder / "layer.png", color, alpha, profile)
    composite = lay_over(picture.color, layer)
    write_picture(folder / "composite.png", composite, picture.alpha, profile, picture.exif)
    size = scene.working.shape[3], scene.working.shape[2]
    seen = seen_colors(dataclasses.replace(picture, color=composite))
    small = cv2.resize(seen, size, interpolation=cv2.INTER_AREA)
    views = Views(view(seen_colors(picture)), view(seen), np.dstack([view(color), view(alpha)]))
    del composite, seen  # some bytes for each pixel of the source
    write_picture(folder / "alpha.png", alpha)
    write_picture(folder / "screen.png", lay_over(green, layer))
    write_loss_chart(folder / "loss.png", trainer.history)
    thin = cv2.resize(alpha, size, interpolation=cv2.INTER_AREA)
    return Written(float(np.mean(alpha == 0)), np.asarray(small), np.asarray(thin), views)


def _measure(trained: Trained[Scene], written: Written) -> Figures:
    """The figures of a result, by the encoder that guided it."""
    scene, objective = trained.edit.scene, trained.trainer.objective
    after = torch.from_numpy(written.composite).to(scene.working.device).permute(2, 0, 1)[None]
    pictures = [scene.working, after.float() / 255]
    text_before, text_after = likeness(objective.guide, objective.texts.target, pictures)
    before = to_uint(scene.working[0].permute(1, 2, 0).cpu().numpy(), 255)
    target = scene.example.target
    region = None if target is None else target[0, 0].cpu().numpy()
    untouched, outside = outside_figures(before, written.composite, written.alpha, region)
    return Figures(text_before, text_after, untouched, outside)


def _delivery_seconds(trainer: Trainer, scene: Scene) -> float:
    """How long `_write_result` will take: timed on every k-th pixel, where there are many."""
    picture = scene.picture
    every = math.ceil(math.sqrt(picture.height * picture.width / _TRIED_PIXELS))
    thin = np.s_[::every, ::every]
    alpha = None if picture.alpha is None else picture.alpha[thin]
    picture = dataclasses.replace(picture, color=picture.color[thin], alpha=alpha)
    thinned = dataclasses.replace(scene, picture=picture, hold=scene.hold.at(thin))
    begin = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        _write_result(Path(folder), trainer, thinned, Silent())
    return (time.monotonic() - begin) * every**2
