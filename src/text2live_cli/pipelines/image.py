"""`edit_image`: one photo and one sentence → an RGBA edit layer and its composite (paper §3.1)."""

from __future__ import annotations

import dataclasses
import math
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..config import MAX_LONG_SIDE, MIN_SIZE, EditSettings, resolve_settings
from ..device import (
    IN_DELIVERY,
    Precision,
    choose_device,
    choose_precision,
    explain_out_of_memory,
    here_or_on_cpu,
    prepare,
)
from ..engine.delivery import lay_over, render_rows, snap_alpha
from ..engine.edit_layer import GREEN_SCREEN, EditLayer
from ..engine.internal_dataset import Example, InternalDataset, render
from ..engine.training import Trainer
from ..errors import UsageError
from ..guide import weights
from ..guide.clip import ClipGuide, load_guide
from ..guide.hints import Hints, parse_hints
from ..guide.picture_region import (
    describe_region,
    find_keep,
    resolve_region,
    seen_colors,
    text_map,
    write_region,
)
from ..guide.prompts import Prompts, knows
from ..guide.region import FREE, Hold, Region, with_outside
from ..guide.relevancy import make_query, relevancy_map
from ..media.pictures import (
    Picture,
    read_mask,
    read_picture,
    to_uint,
    to_unit,
    write_picture,
)
from ..media.resampling import enlarged_rows, resized, strips
from ..progress import Progress, Silent
from ..report.charts import write_loss_chart
from ..runs import record
from ..runs.checkpoint import Checkpoint
from ..runs.clock import CheckpointClock
from ..runs.folder import CHECKPOINT, EDIT_IMAGE, claim_folder
from ..runs.keeping import keeping
from ..runs.memory import require_memory, training_need
from ..runs.preflight import _MAX_AREA_ASPECT, picture_bytes, require_room
from ..texts import check_texts, slug
from . import session
from .self_test import edit_step

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
    example: Example  # the working picture, and its region at that size
    relevancy: np.ndarray | None = None  # the map of the ROI's text, (h, w) in [0, 1]
    keep: dict[str, Any] | None = None  # what a record says of the things that must stay
    hold: Hold = FREE  # what the delivered alpha is held by, (H, W), halves


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
    checkpoint_every: float | None = None,
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
    Ctrl-C, SIGTERM and SIGHUP end the run after the step at hand; its result is written, and
    `resume=True` goes on. A checkpoint is written every minute or twentieth of the run, or every
    `checkpoint_every` seconds.

    Raises UsageError for what cannot be asked for, Text2LiveError for what goes wrong.
    """
    begin = time.monotonic()
    progress = progress or Silent()
    check_texts(prompt, roi, screen, also, keep)
    source = Path(source)
    device = choose_device(overrides.get("device") or "auto", edit_step, progress)
    chosen = ("draft" if device.type == "cpu" else "paper") if preset is None else preset
    settings = resolve_settings(chosen, clip, **overrides)
    session.check_limits(minutes, save_every, overrides.get("steps"))
    clock = CheckpointClock(checkpoint_every)
    folder = Path(output) if output else Path(f"{source.stem}.{slug(prompt)}")
    with claim_folder(folder, EDIT_IMAGE, [source, mask, clip_weights]) as run, keeping(run):
        run.open(overwrite, resume)
        picture = read_picture(source)
        for note in picture.notes:
            progress.message(f"{source.name}: {note}")
        sample_bytes = picture.color.dtype.itemsize
        require_room(folder, picture_bytes(picture.height * picture.width, sample_bytes))
        prepare(device)
        precision = choose_precision(settings.precision, device, progress)
        reason = "" if preset else (": no GPU here" if device.type == "cpu" else ": there is a GPU")
        progress.message(f"preset {chosen}{reason}; on {device.type} in {precision.name}")
        size = picture.height, picture.width
        hints = parse_hints(size, box, points, not_points)
        drawn = read_mask(Path(mask), size) if mask else None
        scene = prepare_scene(picture, settings, device, progress)
        checkpoint = Checkpoint.read(run.work / CHECKPOINT) if resume else None
        settings = session.with_layout(settings, device, precision, checkpoint, progress)
        guide = load_guide(clip, Path(clip_weights) if clip_weights else None, progress)
        guide.to(device)
        if device.type == "cpu":
            shown = (scene.working.shape[2], scene.working.shape[3])
            need = training_need(guide, settings, shown, picture.height * picture.width)
            require_memory(need, "lower --size or --views, or save a smaller copy")
        prompts = session.resolve_prompts(
            prompt, roi, screen, also, keep, guide, scene.working, progress
        )
        mask_hash = None if drawn is None else record.hash_array(drawn)
        scene, region = with_region(scene, guide, prompts, settings, hints, drawn, progress)
        del drawn  # some bytes for each pixel of the source
        trainer = make_trainer(guide, prompts, scene, settings, device, precision)
        inputs = {
            "input": picture.sha256,
            "mask": mask_hash,
            "box": box,
            "points": list(points) or None,
            "not": list(not_points) or None,
        }
        job = session.describe_job(inputs, prompts, trainer, guide)
        preview = partial(_preview, trainer, scene)
        saver = session.Saver(run.work, trainer, job, preview, save_every, clock, progress)
        if not resume:
            run.begin(progress)
            _write_sight(run.work, scene, region)
        shown_region = describe_region(region) if region else None
        del region  # so does this
        prepared = time.monotonic()
        delivery = partial(_delivery_seconds, trainer, scene)
        limit = session.TimeLimit(minutes, begin, delivery) if minutes else None
        pace = session.resume_or_begin(checkpoint, saver, limit, progress)
        trained = time.monotonic()
        progress.stage("writing the result")
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
        made["region"], made["keep_regions"] = shown_region, scene.keep
        record.write_record(run.work, made)
        delivered = run.deliver(not made["interrupted"], progress)
    saver.require_saved(delivered)
    return EditResult(delivered, made["interrupted"], made)


def prepare_scene(
    picture: Picture, settings: EditSettings, device: torch.device, progress: Progress
) -> Scene:
    """The picture, and on `device` its copy for the training; its region is not known."""
    size = _working_size(picture, settings.size, progress)
    full = (picture.height, picture.width)
    working = resized(lambda rows: _seen_rows(picture, rows, device), full, size)
    return Scene(picture, working, Example(working))


def _seen_rows(picture: Picture, rows: slice, device: torch.device) -> Tensor:
    """What the encoder and the generator see of the source, (1, 3, rows, W) in [0, 1]."""
    source = _to_tensor(to_unit(picture.color[rows]), device)
    if picture.alpha is not None:  # what is transparent is seen as white
        opacity = _to_tensor(to_unit(picture.alpha[rows])[..., None], device)
        source = torch.lerp(torch.ones_like(source), source, opacity)
    return source


def with_region(
    scene: Scene,
    guide: ClipGuide,
    prompts: Prompts,
    settings: EditSettings,
    hints: Hints,
    mask: np.ndarray | None,
    progress: Progress,
) -> tuple[Scene, Region | None]:
    """The scene with its text's map, and the region unless that is looked for in every example."""
    colors = seen_colors(scene.picture)
    pointed = hints.given or mask is not None
    if settings.region == "paper" and not pointed:
        # What the examples are looked at with, on the picture without their disturbances.
        seen = relevancy_map(guide, scene.working, [make_query(guide, prompts.roi)])[0, 0]
        return dataclasses.replace(scene, relevancy=seen.float().cpu().numpy()), None
    where = text_map(guide, colors, prompts.roi)
    scene = dataclasses.replace(scene, relevancy=where.values)
    usable = where if knows(guide, prompts.roi) or not pointed else None
    region = with_outside(resolve_region(colors, usable, hints, mask, progress), colors)
    keep = None
    if settings.region == "auto" and prompts.keep:
        stays = find_keep(guide, [colors], prompts.keep, progress)
        scene = dataclasses.replace(scene, keep=stays.record)
        keep = torch.cat([_working_map(scene, one) for one in stays.maps[0]], dim=1)
    limit = None if region.limit is None else _working_map(scene, region.limit)
    example = Example(scene.working, limit, _working_map(scene, region.target), keep)
    halves = Hold(*(None if one is None else one.astype(np.float16) for one in region.hold))
    return dataclasses.replace(scene, hold=halves, example=example), region


def _working_map(scene: Scene, values: np.ndarray) -> Tensor:
    """A map (H, W) at the size of the source → (1, 1, h, w) at the working size."""
    size = scene.working.shape[2], scene.working.shape[3]

    def rows_of(rows: slice) -> Tensor:
        return _to_tensor(values[rows, :, None], scene.working.device)

    return resized(rows_of, (values.shape[0], values.shape[1]), size)


def _write_sight(folder: Path, scene: Scene, region: Region | None) -> None:
    """Write relevancy.png, and what is known of the region, so that it can be seen at once."""
    assert scene.relevancy is not None
    size = scene.picture.height, scene.picture.width
    found = torch.from_numpy(scene.relevancy)[None, None]
    parts = (_to_array(enlarged_rows(found, size, rows))[..., 0] for rows in strips(size))
    write_picture(folder / "relevancy.png", np.concatenate([to_uint(x, 255) for x in parts]))
    if region is not None:
        colors = seen_colors(scene.picture)
        write_region(folder / "region.png", folder / "mask.png", colors, region)


def _working_size(picture: Picture, short: int, progress: Progress) -> tuple[int, int]:
    """Height and width of the working picture; that of a long panorama is held in bounds."""
    aspect = max(picture.height, picture.width) / min(picture.height, picture.width)
    bounded = max(MIN_SIZE, min(short, int(short * (_MAX_AREA_ASPECT / aspect) ** 0.5)))
    if bounded < short:
        progress.message(f"a panorama: trained at a short side of {bounded} px, not {short}")
    if bounded * aspect > MAX_LONG_SIDE:
        raise UsageError(
            f"{picture.path}: {picture.width}×{picture.height} is too long a strip to edit;"
            " cut it into parts"
        )
    scale = bounded / min(picture.height, picture.width)
    return round(scale * picture.height), round(scale * picture.width)


def _to_tensor(values: np.ndarray, device: torch.device) -> Tensor:
    """(H, W, C) → (1, C, H, W)."""
    return torch.from_numpy(values).to(device).permute(2, 0, 1)[None].contiguous()


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
    return session.make_trainer(guide, prompts, dataset, settings, device, precision)


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
    green = np.broadcast_to(to_uint(np.array(GREEN_SCREEN), 255), color.shape)
    write_picture(folder / "layer.png", color, alpha, profile)
    composite = lay_over(picture.color, layer)
    write_picture(folder / "composite.png", composite, picture.alpha, profile)
    del composite  # some bytes for each pixel of the source
    write_picture(folder / "alpha.png", alpha)
    write_picture(folder / "screen.png", lay_over(green, layer))
    write_loss_chart(folder / "loss.png", trainer.history)
    return float(np.mean(alpha == 0))


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


def _render_layer(trainer: Trainer, scene: Scene, progress: Progress) -> np.ndarray:
    """The layer as it is saved: (H, W, 4) uint8 at the size of the source, alpha snapped."""
    picture = scene.picture
    size = (picture.height, picture.width)
    layer = np.empty((*size, 4), np.uint8)

    def render_on(device: torch.device) -> None:
        generator, precision = trainer.generator_on(device)
        working = scene.working.to(device)
        with torch.no_grad(), precision.autocast(device):
            source = partial(_seen_rows, picture, device=device)
            for rows, part in render_rows(generator, source, size, working):
                layer[rows] = _delivered_rows(part, rows, scene, trainer.settings)

    here_or_on_cpu(render_on, trainer.device, progress)
    return layer


def _delivered_rows(
    layer: EditLayer, rows: slice, scene: Scene, settings: EditSettings
) -> np.ndarray:
    """Some rows of the layer in 8 bits, held within the region and what the source shows."""
    matte, outside = scene.hold.at(rows)
    sure = None if outside is None else _to_tensor(outside[..., None], layer.alpha.device)
    cuts = settings.alpha_cut, settings.outside_cut
    alpha = _to_array(snap_alpha(layer.alpha, *cuts, sure))[..., 0]
    if matte is not None:
        alpha = alpha * matte
    if scene.picture.alpha is not None:  # what is transparent stays transparent
        alpha = alpha * (scene.picture.alpha[rows] > 0)
    return np.dstack([to_uint(_to_array(layer.color), 255), to_uint(alpha, 255)])


def _to_array(x: Tensor) -> np.ndarray:
    """(1, C, H, W) → (H, W, C)."""
    return x[0].permute(1, 2, 0).float().cpu().numpy()
