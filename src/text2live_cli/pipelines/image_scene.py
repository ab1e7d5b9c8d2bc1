"""A picture as an edit sees it: at the size of its training, with its region; and its layer."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..config import EditSettings
from ..device import here_or_on_cpu
from ..engine.delivery import render_rows, snap_alpha
from ..engine.edit_layer import EditLayer
from ..engine.internal_dataset import Example, render
from ..engine.training import Trainer
from ..guide.clip import ClipGuide
from ..guide.hints import Hints
from ..guide.picture_region import find_keep, resolve_region, seen_colors, text_map, write_region
from ..guide.prompts import Prompts, knows
from ..guide.region import FREE, Hold, Region, with_outside
from ..guide.relevancy import make_query, relevancy_map
from ..media.picture_writing import write_picture
from ..media.pictures import Picture
from ..media.resampling import enlarged_rows, resized, strips
from ..media.samples import to_uint, to_unit
from ..progress import Progress


@dataclass(frozen=True)
class Scene:
    """The source, and what it is at the size of the training: (1, C, h, w) in [0, 1]."""

    picture: Picture
    working: Tensor
    example: Example  # the working picture, and its region at that size
    relevancy: np.ndarray | None = None  # the map of the ROI's text, (h, w) in [0, 1]
    keep: dict[str, Any] | None = None  # what a record says of the things that must stay
    hold: Hold = FREE  # what the delivered alpha is held by, (H, W), halves


def prepare_scene(picture: Picture, size: tuple[int, int], device: torch.device) -> Scene:
    """The picture, and on `device` its copy of `size` for the training; its region is not known."""
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
    by_hand = hints.given or mask is not None
    if settings.region == "paper" and not by_hand:
        # What the examples are looked at with, on the picture without their disturbances.
        relevancy = relevancy_map(guide, scene.working, [make_query(guide, prompts.roi)])[0, 0]
        return dataclasses.replace(scene, relevancy=relevancy.float().cpu().numpy()), None
    where = text_map(guide, colors, prompts.roi)
    scene = dataclasses.replace(scene, relevancy=where.values)
    usable = where if knows(guide, prompts.roi) or not by_hand else None
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


def write_sight(scene: Scene, region: Region | None, folder: Path) -> None:
    """Write relevancy.png, and what is known of the region, so that it can be seen at once."""
    assert scene.relevancy is not None
    size = scene.picture.height, scene.picture.width
    small = torch.from_numpy(scene.relevancy)[None, None]
    parts = (_to_array(enlarged_rows(small, size, rows))[..., 0] for rows in strips(size))
    write_picture(folder / "relevancy.png", np.concatenate([to_uint(x, 255) for x in parts]))
    if region is not None:
        colors = seen_colors(scene.picture)
        write_region(folder / "region.png", folder / "mask.png", colors, region)


def preview(trainer: Trainer, scene: Scene) -> np.ndarray:
    """The composite at the working size, (h, w, 3) uint8."""
    with torch.no_grad(), trainer.precision.autocast(trainer.device):
        composite = render(trainer.generator, scene.example).composite
    return to_uint(_to_array(composite), 255)


def render_layer(trainer: Trainer, scene: Scene, progress: Progress) -> np.ndarray:
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


def _to_tensor(values: np.ndarray, device: torch.device) -> Tensor:
    """(H, W, C) → (1, C, H, W)."""
    return torch.from_numpy(values).to(device).permute(2, 0, 1)[None].contiguous()
