"""Painting by hand: what is drawn on an atlas, or on one frame, in every frame (docs/method.md)."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from ..errors import Text2LiveError, UsageError
from ..media.clips import Clip
from ..media.layered_files import LAYERED_ENDINGS, layered_picture
from ..media.pictures import Picture, read_picture
from ..media.samples import to_unit
from ..progress import Progress
from .discretise import AtlasPicture, discretise
from .layers import FRONT_FIRST, LAYERS, Maps, Side
from .reconcile import Carried, reconciled
from .render import Layer
from .store import PICTURES, Atlas

_OPTIONS = ("--bg-layer", "--fg-layer")  # of the layers, back to front
_FRAME_EDIT = re.compile(r"([0-9]{1,9}):(.+)", re.DOTALL)

_LEVELS = 2  # of 255: a painted-over copy counts as painted where it differs by more
_MOSTLY = 0.95  # of what the atlas covers is opaque: a painted-over copy
_RIM = 6  # atlas pixels beyond what is covered, where soft edges of the layer still show
_ENLARGED_RIM = 3  # atlas pixels beside it that an enlargement mixes with what is not covered
_ENLARGEMENTS = tuple(Image.Resampling[k] for k in ("NEAREST", "BILINEAR", "BICUBIC", "LANCZOS"))

_SURE = 0.8  # of a frame's pixel is one layer: what is painted there is meant for that layer
_EDGE = 3  # working pixels from there, within which a soft edge is taken for the same stroke
_AROUND = 0.06  # of the frame's height: so near its own paint, a frame speaks against another's
_FINENESS = 2  # layer pixels to a source pixel, so that no two of these are mixed
_MAX_CARRIED = 16_000_000  # pixels of a carried layer; beyond, it is made coarser
_HOLE = 4  # layer pixels around a splat that are filled where another is across
_LEAST_WEIGHT = 1e-4  # weight of a layer's pixel that a splat has reached


# Paint on an atlas


def painted_layer(
    path: Path, side: Side, atlas: Atlas, folder: Path, progress: Progress
) -> Layer | None:
    """The layer that a picture of an atlas's size is; None where nothing is painted.

    `folder` is the atlas's. Raises UsageError where the clip has no such layer or the picture
    another size, Text2LiveError where the atlas's own picture was changed.
    """
    if side not in atlas.facts.corners:
        raise UsageError(
            f"{_OPTIONS[side]} {path}: {folder} has no {LAYERS[side]} atlas, as the clip is one"
            f" layer; use {' or '.join(_OPTIONS[other] for other in atlas.facts.corners)}"
        )
    picture = _read(path, progress)
    color, alpha = picture.color, picture.alpha
    reference = _reference(path, side, atlas, folder)
    scale = _enlargement(picture, reference.rgba.shape[:2], side)
    cover = _covered(reference, scale)
    if alpha is None or np.count_nonzero(alpha[cover] == 255) >= _MOSTLY * cover.sum():
        paint = _differs(color, reference.rgba[..., :3]) & cover
        opaque = np.full(paint.shape, 255, np.uint8) if alpha is None else alpha
        rgba = np.dstack([color, np.where(paint, opaque, 0)])
        rgba = _over_rim(rgba, ~cover, _RIM * scale)
    else:
        rgba = np.dstack([color, alpha])
    if not rgba[..., 3].any():
        progress.warning(f"{path}: nothing is painted on the {LAYERS[side]}; it changes nothing")
        return None
    share = (rgba[..., 3] > 0).mean()
    progress.message(f"{path}: {share:.1%} of the {LAYERS[side]} atlas's picture is painted")
    rows, columns = _box(rgba[..., 3] > 0)
    part = AtlasPicture(rgba[rows, columns], 0, 0)
    left, top = reference.left + columns.start / scale, reference.top + rows.start / scale
    return Layer.of(part, scale)._replace(left=left, top=top)


def _read(path: Path, progress: Progress) -> Picture:
    if path.suffix.lower() in LAYERED_ENDINGS:
        return layered_picture(path)
    picture = read_picture(path)
    for note in picture.notes:
        progress.message(f"{path.name}: {note}")
    return picture.in_eight_bits()


def _reference(path: Path, side: Side, atlas: Atlas, folder: Path) -> AtlasPicture:
    """The atlas picture as it was fitted, whatever the user has done to the file."""
    original = folder / PICTURES[side]
    picture: AtlasPicture | None = None
    if original.exists() and path.samefile(original):  # painted over in place, or not at all
        picture = discretise(atlas.model, side)
    else:
        fitted = read_picture(original).in_eight_bits()
        if fitted.alpha is not None and (fitted.alpha > 127).any():
            rgba = np.dstack([fitted.color, fitted.alpha])
            picture = AtlasPicture(rgba, *atlas.facts.corners[side])
    if picture is None:
        raise Text2LiveError(
            f"{original}: was changed since the fit; fit the clip again, with --overwrite"
        )
    return picture


def _enlargement(picture: Picture, size: tuple[int, int], side: Side) -> int:
    height, width = size
    scale = picture.width // width
    if scale < 1 or (picture.width, picture.height) != (width * scale, height * scale):
        raise UsageError(
            f"{_OPTIONS[side]} {picture.path}: is {picture.width}×{picture.height}; it must be"
            f" {width}×{height}, as {PICTURES[side]} is, or a whole multiple of both"
        )
    return scale


def _covered(reference: AtlasPicture, scale: int) -> NDArray[np.bool_]:
    """Where an enlarged copy shows what the atlas covers, and nothing else.

    Outside a copy says nothing: editors fill it with whatever they like, and mix it into the rim.
    """
    cover = reference.rgba[..., 3] > 127
    if scale > 1:
        side = 2 * _ENLARGED_RIM + 1
        cover = cv2.erode(cover.astype(np.uint8), np.ones((side, side), np.uint8)) > 0
    return cover.repeat(scale, 0).repeat(scale, 1)


def _differs(color: NDArray[np.uint8], reference: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Where `color` (H, W, 3) is not what any usual enlargement of `reference` shows."""
    size = (color.shape[1], color.shape[0])
    low = high = reference
    if reference.shape != color.shape:
        image = Image.fromarray(reference)
        enlargements = [np.asarray(image.resize(size, kernel)) for kernel in _ENLARGEMENTS]
        enlargements.append(cv2.resize(reference, size, interpolation=cv2.INTER_CUBIC))
        low, high = np.minimum.reduce(enlargements), np.maximum.reduce(enlargements)
    off = np.maximum(cv2.subtract(low, color), cv2.subtract(color, high))  # both end at 0
    return off.max(axis=2) > _LEVELS


def _over_rim(rgba: NDArray[np.uint8], open_to: NDArray[np.bool_], reach: int) -> NDArray[np.uint8]:
    """Let paint go on for `reach` pixels, in the colour nearest by, where `open_to` says so."""
    paint = rgba[..., 3] > 0
    if not paint.any():
        return rgba
    distance, labels = cv2.distanceTransformWithLabels(
        (~paint).astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    nearest = np.zeros((int(labels.max()) + 1, 4), np.uint8)
    nearest[labels[paint]] = rgba[paint]
    rim = open_to & ~paint & (distance <= reach)
    rgba[rim] = nearest[labels[rim]]
    return rgba


def _box(paint: NDArray[np.bool_]) -> tuple[slice, slice]:
    """Rows and columns of what is painted, and one more around it for bilinear lookups."""
    rows, columns = np.flatnonzero(paint.any(1)), np.flatnonzero(paint.any(0))
    top, left = max(int(rows[0]) - 1, 0), max(int(columns[0]) - 1, 0)
    return slice(top, int(rows[-1]) + 2), slice(left, int(columns[-1]) + 2)


# Paint on a frame

Lift = Callable[[NDArray[np.uint8], NDArray[np.uint8]], NDArray[np.uint8]]
"""Of a frame (h, w, 3) and its edited version, the edit layer (h, w, 4)."""


def read_frame_edits(
    texts: Sequence[str],
    clip: Clip,
    atlas: Atlas,
    folder: Path,
    lift: Lift,
    progress: Progress,
) -> dict[Side, Layer]:
    """The atlas layers that show in frames N what each "N:PICTURE" painted there, reconciled.

    None where nothing was painted. Of a picture without alpha, a painted-over frame, `lift` makes
    a layer. What no edited frame shows of a painted layer is told, against its picture in the
    `folder` of the atlas. Raises UsageError for a frame that was not fitted or is named twice, and
    for a layer of another size, and whatever `lift` raises.
    """
    edits = [_FrameEdit.read(text, clip, atlas, lift, progress) for text in texts]
    numbers = [edit.number for edit in edits]
    twice = next((number for number in numbers if numbers.count(number) > 1), None)
    if twice is not None:
        raise UsageError(f"--frame-edit {twice}: frame {twice} is edited twice; merge the two")
    reach = max(1, round(_EDGE * clip.height / atlas.facts.size[0]))
    sides, found = tuple(atlas.facts.corners), dict[Side, list[Carried]]()
    for edit in edits:
        if edit.rgba is not None:
            maps = atlas.locate(edit.number, (clip.height, clip.width))
            around = round(_AROUND * clip.height) if len(edits) > 1 else 0
            for side, carried in _carried(edit.rgba, maps, reach, sides, around).items():
                found.setdefault(side, []).append(carried)
    if len(edits) > 1:
        _tell_unseen(numbers, tuple(found), clip, atlas, folder, progress)
    return {side: reconciled(parts) for side, parts in found.items()}


class _FrameEdit(NamedTuple):
    """One "N:PICTURE"."""

    number: int
    rgba: Tensor | None
    """(h, w, 4) in [0, 1], straight; None: nothing is painted."""

    @classmethod
    def read(
        cls, text: str, clip: Clip, atlas: Atlas, lift: Lift, progress: Progress
    ) -> _FrameEdit:
        """Its picture: an edit layer already, or lifted from the frame. Raises UsageError where
        the atlas has no such frame, or the picture another size.
        """
        match = _FRAME_EDIT.fullmatch(text)
        if match is None:
            raise UsageError(f"--frame-edit {text}: write FRAME:PICTURE, as in 12:edit.png")
        number, path = int(match[1]), Path(match[2])
        if number >= clip.count or not atlas.covers(number):
            raise UsageError(
                f"--frame-edit {text}: frame {number} was not fitted; choose one of"
                f" {atlas.frames[0]} to {atlas.frames[-1]}"
            )
        edit = _read(path, progress)
        if edit.alpha is None:
            frame = np.ascontiguousarray(next(clip.frames(number))[..., :3])
            layer = lift(frame, edit.color)
            edit = dataclasses.replace(edit, color=layer[..., :3], alpha=layer[..., 3])
        color, alpha = edit.color, edit.alpha
        assert alpha is not None
        if (edit.width, edit.height) != (clip.width, clip.height):
            raise UsageError(
                f"--frame-edit {text}: the picture is {edit.width}×{edit.height}, the clip"
                f" {clip.width}×{clip.height}; paint on a layer of the clip's size"
            )
        if not alpha.any():
            progress.warning(f"{path}: nothing is painted; it changes nothing")
            return cls(number, None)
        progress.message(f"{path}: {(alpha > 0).mean():.1%} of frame {number} is painted")
        return cls(number, torch.from_numpy(to_unit(np.dstack([color, alpha]))))


def _tell_unseen(
    numbers: Sequence[int],
    sides: Sequence[Side],
    clip: Clip,
    atlas: Atlas,
    folder: Path,
    progress: Progress,
) -> None:
    """How much of the painted layers' atlases none of the edited frames shows."""
    located = [atlas.locate(number, (clip.height, clip.width)) for number in numbers]
    for side in sides:
        used = read_picture(folder / PICTURES[side])
        if used.alpha is None:
            continue
        shown = np.zeros((used.height, used.width), np.uint8)
        for maps in located:
            uv = maps.uv[side][maps.share[side] > 0.5].cpu()
            x, y = (uv - torch.tensor(atlas.facts.corners[side])).floor().long().T.numpy()
            inside = (x >= 0) & (y >= 0) & (x < shown.shape[1]) & (y < shown.shape[0])
            shown[y[inside], x[inside]] = 1
        kernel = np.ones((_HOLE + 1, _HOLE + 1), np.uint8)
        closed = cv2.morphologyEx(shown, cv2.MORPH_CLOSE, kernel) > 0
        unseen = float(np.mean(~closed[used.alpha > 0])) if used.alpha.any() else 0.0
        progress.message(f"the {LAYERS[side]}: no edited frame shows {unseen:.0%} of it")


def carry(
    rgba: Tensor, maps: Maps, reach: int, sides: Sequence[Side] = FRONT_FIRST
) -> dict[Side, Layer]:
    """Carry a layer (h, w, 4) in [0, 1], painted on the frame that `maps` belong to, to the atlas.

    What lies on a layer goes to that layer's atlas. Where the shares are soft, paint goes to the
    layer, or the layers, on which it goes on clearly within `reach` pixels. Among `sides`, those on
    which nothing is painted are left out.
    """
    return {side: one.layer for side, one in _carried(rgba, maps, reach, sides).items()}


def _carried(
    rgba: Tensor, maps: Maps, reach: int, sides: Sequence[Side], around: int = 0
) -> dict[Side, Carried]:
    """As `carry`; up to so many pixels `around` its paint the frame says that there is none."""
    paint = rgba[..., 3] > 0
    takes = {side: _belongs(paint, maps.share[side], reach) for side in sides}
    rest = paint & ~torch.stack(list(takes.values())).any(0)
    layers: dict[Side, Carried] = {}
    for side in sides:
        uv, share = maps.uv[side], maps.share[side]
        take = (takes[side] | (rest & (share >= 0.5))) & uv.isfinite().all(-1)
        if take.any():
            seen = (share > _SURE) & uv.isfinite().all(-1)
            layers[side] = _splatted(rgba, take, share, uv, take | (_grown(take, around) & seen))
    return layers


def _belongs(paint: Tensor, share: Tensor, reach: int) -> Tensor:
    """Which painted pixels (h, w) are meant for the layer whose `share` of them this is."""
    sure = paint & (share > _SURE)
    return sure | (_grown(sure, reach) & paint & (share > 0))


def _grown(mask: Tensor, reach: int) -> Tensor:
    """What lies within `reach` pixels of a mask (h, w)."""
    side = 2 * reach + 1
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
    return torch.from_numpy(cv2.dilate(mask.numpy().astype(np.uint8), kernel)) > 0


def splat(rgba: Tensor, take: Tensor, share: Tensor, uv: Tensor) -> Layer:
    """Normalised splats, on the atlas, of the pixels (h, w, C + 1), alpha last, that `take` (h, w)
    names.

    They lie beside the unpainted ones around them. Each counts by its `share` (h, w) in the layer,
    at its place `uv` (h, w, 2). Holes between splats are filled, and only those.
    """
    return _splatted(rgba, take, share, uv, take).layer


def _splatted(rgba: Tensor, take: Tensor, share: Tensor, uv: Tensor, says: Tensor) -> Carried:
    """As `splat`, with how large the pixels are that `says` (h, w) names."""
    low = uv[says].amin(0).floor() - 1
    extent = uv[says].amax(0).ceil() + 1 - low
    scale = _fineness(uv, take)
    scale = min(scale, float((_MAX_CARRIED / extent.prod()).sqrt()))
    width, height = (int(n) for n in (extent * scale).ceil().clamp(min=2))
    at = (uv - low) * scale - 0.5
    near = ((at > -1) & (at < torch.tensor([width, height]))).all(-1) & (share > 0)
    alpha = (rgba[..., -1] * take)[near][:, None]
    values = torch.cat([rgba[near][:, :-1] * alpha, alpha, torch.ones_like(alpha)], dim=1)
    sums = _scatter(values * share[near][:, None], at[near], (height, width))
    layer = Layer(_filled(sums), float(low[0]), float(low[1]), scale)
    size = _scatter((share * says)[near][:, None], at[near], (height, width))[None]
    return Carried(layer, F.avg_pool2d(size, 5, stride=1, padding=2)[0, 0] * scale**2)


def _fineness(uv: Tensor, take: Tensor) -> float:
    """Layer pixels to an atlas pixel so that there are `_FINENESS` to a source pixel."""
    across, down = uv.diff(dim=1)[:-1], uv.diff(dim=0)[:, :-1]
    area = (across[..., 0] * down[..., 1] - across[..., 1] * down[..., 0]).abs()
    area = area[take[:-1, :-1]]
    step = float(area.median().sqrt()) if len(area) else 1.0
    return _FINENESS / min(max(step, 1 / 16), 16)


def _scatter(values: Tensor, at: Tensor, size: tuple[int, int]) -> Tensor:
    """Sums (c, H, W) of values (n, c), each spread bilinearly around `at` (n, 2)."""
    height, width = size
    sums = torch.zeros(height * width, values.shape[1])
    corner = at.floor()
    for dx, dy in ((0, 0), (1, 0), (0, 1), (1, 1)):
        pixel = corner + torch.tensor([dx, dy])
        weight = (1 - (at - pixel).abs()).prod(-1)
        inside = ((pixel >= 0) & (pixel < torch.tensor([width, height]))).all(-1)
        x, y = pixel[inside].long().T
        sums.index_add_(0, y * width + x, values[inside] * weight[inside][:, None])
    return sums.T.unflatten(1, size)


def _filled(sums: Tensor) -> Tensor:
    """Weighted sums (c + 1, H, W), the weight last → means (c, H, W).

    Holes between known pixels are filled from their rims inwards; around them there is nothing.
    """
    mask = (sums[-1:] > _LEAST_WEIGHT).float()
    means = sums[:-1] / sums[-1:].clamp(min=_LEAST_WEIGHT) * mask
    kernel = np.ones((2 * _HOLE + 1, 2 * _HOLE + 1), np.uint8)
    closure = torch.from_numpy(cv2.morphologyEx(mask[0].numpy(), cv2.MORPH_CLOSE, kernel))
    for _ in range(_HOLE):
        around = F.avg_pool2d(torch.cat([means * mask, mask]), 3, stride=1, padding=1)
        share = around[-1:]
        means = torch.where(mask > 0, means, around[:-1] / share.clamp(min=_LEAST_WEIGHT))
        mask = (share > _LEAST_WEIGHT).float()
    return means * closure
