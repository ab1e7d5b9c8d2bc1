"""Layers of the atlases over all frames of a clip, streamed (spec §7, Render)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from ..engine.edit_layer import GREEN_SCREEN
from ..errors import Text2LiveError, UsageError
from ..media.clips import Clip
from ..media.outside import RECORD_ERRORS, plain_text, read_record
from ..media.pictures import read_picture, to_uint
from ..progress import Progress
from ..runs.folder import RECORD
from .discretise import AtlasPicture
from .layers import SIDES, Side
from .render import Layer, lay_over_frame
from .store import ATLAS, Atlas

_LONGEST_PATH = 4096  # characters

ATLAS_LAYER = "atlas-layer.png"
"""The edit layer of a result, on the atlas."""

Stack = Sequence[dict[Side, Layer]]
"""Layers that are composited one after the other; those of one dict at once."""


def find_atlas(source: Path) -> Path | None:
    """Where `fit_atlas` put its result: beside the clip, or else in the current folder."""
    named = source.resolve() if source.name in ("", "..") else source
    beside = named.with_name(f"{named.stem}.atlas")
    return next((f for f in (beside, Path(beside.name)) if (f / ATLAS).is_file()), None)


def tell_uncovered(clip: Clip, atlas: Atlas) -> tuple[str, ...]:
    """What to say of the frames that were not fitted. Raises UsageError where none was."""
    fitted = [number for number in range(clip.count) if atlas.covers(number)]
    if len(fitted) == clip.count:
        return ()
    if not fitted:
        raise UsageError(f"{clip.path}: none of its {clip.count} frames was fitted; fit it again")
    ends = (range(fitted[0]), range(fitted[-1] + 1, clip.count))
    spans = [f"{end[0]}–{end[-1]}" if len(end) > 1 else f"{end[0]}" for end in ends if end]
    return (f"frames {' and '.join(spans)} were not fitted: they are copied as they are",)


def composited(
    clip: Clip, atlas: Atlas, stack: Stack, progress: Progress, alpha: bool = False
) -> Iterator[NDArray[np.uint8]]:
    """The clip's frames (h, w, 3) under the layers; with `alpha` (h, w, 4), the clip's own."""
    progress.stage("compositing", clip.count, "frame")
    stack = [{side: layer.on(atlas.device) for side, layer in part.items()} for part in stack]
    for number, stored in enumerate(clip.frames(alpha=alpha)):
        frame = stored[..., :3]
        if stack and atlas.covers(number):
            maps = atlas.locate(number, (clip.height, clip.width))
            for layers in stack:
                frame = lay_over_frame(frame, maps, layers)
        yield np.dstack([frame, stored[..., 3]]) if alpha else frame
        progress.advance(number + 1)


def on_green(
    clip: Clip, atlas: Atlas, side: Side, layer: Layer, progress: Progress
) -> Iterator[NDArray[np.uint8]]:
    """One layer in every frame, over plain green."""
    progress.stage("layer over green", clip.count, "frame")
    green = np.empty((clip.height, clip.width, 3), np.uint8)
    green[:] = to_uint(np.array(GREEN_SCREEN), 255)
    layer = layer.on(atlas.device)
    for number in range(clip.count):
        frame = green
        if atlas.covers(number):
            maps = atlas.locate(number, (clip.height, clip.width))
            frame = lay_over_frame(green, maps, {side: layer})
        yield frame
        progress.advance(number + 1)


def by_itself(
    clip: Clip, atlas: Atlas, side: Side, layer: Layer, progress: Progress
) -> Iterator[NDArray[np.uint8]]:
    """One layer in every frame as straight RGBA (h, w, 4): its alpha times the frame's opacity."""
    progress.stage("edit layer", clip.count, "frame")
    nothing = np.zeros((clip.height, clip.width, 4), np.uint8)
    layer = layer.on(atlas.device)
    for number in range(clip.count):
        frame = nothing
        if atlas.covers(number):
            maps = atlas.locate(number, (clip.height, clip.width))
            rgba = layer.at(getattr(maps, side))
            share = maps.opacity if side == "foreground" else 1 - maps.opacity
            color = rgba[..., :3] / rgba[..., 3:].clamp(min=1e-6)
            alpha = rgba[..., 3] * share
            frame = to_uint(torch.cat([color, alpha[..., None]], dim=-1).cpu().numpy(), 255)
        yield frame
        progress.advance(number + 1)


def result_layers(
    folders: Sequence[Path], clip: Clip, fit: str, written: Path | None = None
) -> list[tuple[Side, Layer]]:
    """The layers of results of `edit_video`, lowest first, each with what it was laid onto, once.

    `fit` is the digest of the atlas. Raises UsageError where a folder is no such result, one of
    another clip or fit, or where a result would lie on itself: `written` is the folder of one that
    is about to be laid onto them.
    """
    layers: list[tuple[Side, Layer]] = []
    placed: set[Path] = set()
    for folder in folders:
        chain: list[tuple[Side, Layer]] = []
        met = set() if written is None else {written.resolve()}
        below: Path | None = folder
        while below is not None:
            here = below.resolve()
            if here in met:
                raise UsageError(f"{folder}: {below} would lie on itself; choose another -o DIR")
            met.add(here)
            layer, below = _result_layer(below, clip, fit)
            if here not in placed:
                chain.insert(0, layer)
            placed.add(here)
        layers += chain
    return layers


def _result_layer(folder: Path, clip: Clip, fit: str) -> tuple[tuple[Side, Layer], Path | None]:
    """The layer of a result, and the folder of the one that it lies on."""
    try:
        told = read_record(folder / RECORD)
        facts, source, onto = told["layer"], told["input"]["sha256"], told["onto"]
        fitted = told["job"]["fit"]
        side: Side = facts["side"]
        place = float(facts["left"]), float(facts["top"]), float(facts["scale"])
        if onto is not None and Path(plain_text(onto, _LONGEST_PATH)).is_absolute():
            raise ValueError("a record names no place outside of where it lies")
        below = None if onto is None else folder / onto
    except RECORD_ERRORS as error:
        raise UsageError(f"{folder}: no result of edit-video there") from error
    if source != clip.sha256:
        raise UsageError(f"{folder}: it is an edit of another clip than {clip.path}")
    if fitted != fit:
        raise UsageError(f"{folder}: it was made on another fit of the clip; edit it again")
    picture = read_picture(folder / ATLAS_LAYER)
    sound = side in SIDES and all(map(math.isfinite, place)) and place[2] > 0
    if not sound or picture.alpha is None or picture.color.dtype != np.uint8:
        raise Text2LiveError(f"{folder}: {ATLAS_LAYER} or {RECORD} was altered; edit it again")
    rgba = np.dstack([picture.color, picture.alpha])
    left, top, scale = place
    layer = Layer.of(AtlasPicture(rgba, 0, 0), scale)._replace(left=left, top=top)
    return (side, layer), below


def stacked(layers: Sequence[tuple[Side, Layer]]) -> Stack:
    """Both sides at once, as long as each is there once; the same side again lies above."""
    stack: list[dict[Side, Layer]] = []
    for side, layer in layers:
        if not stack or side in stack[-1]:
            stack.append({})
        stack[-1][side] = layer
    return stack
