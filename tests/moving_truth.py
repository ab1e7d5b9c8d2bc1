"""What is true of a clip that `swatch.moving.paint_clip` painted: where its pixels truly go."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from swatch_training.moving import paint_clip

from text2live_cli.atlas.grid import GridModel, Mapping, Texture
from text2live_cli.atlas.layers import FOREGROUND, FRONT_FIRST, Maps, Side

MARGIN = 5
"""Of the true atlases, in pixels."""

Locate = Callable[[int], Maps]
"""The maps of a frame, at the size of the clip."""


def offset(side: Side, t: int, frames: int, width: int) -> int:
    """Where column 0 of frame `t` lies in the layer; both layers move by whole pixels."""
    done = float(np.linspace(0, 1, frames)[t])
    return round((1 - done) * (width // 3)) if side == FOREGROUND else round(done * (width // 5))


def true_model(frames: NDArray[np.uint8], masks: NDArray[np.bool_]) -> GridModel:
    """The atlas that a perfect fit of the clip would find."""
    count, height, width, _ = frames.shape
    mappings, textures = {}, {}
    for side in FRONT_FIRST:
        places = [offset(side, t, count, width) + MARGIN for t in range(count)]
        canvas = np.full((height + 2 * MARGIN, width + max(places) + MARGIN, 3), 90, np.uint8)
        base = torch.eye(3).repeat(count, 1, 1)
        for t, left in enumerate(places):
            base[t, 0, 2], base[t, 1, 2] = left + 0.5, MARGIN + 0.5
            seen = masks[t] if side == FOREGROUND else ~masks[t]
            canvas[MARGIN : MARGIN + height, left : left + width][seen] = frames[t][seen]
        mappings[side] = Mapping(base, (height, width), 16, 4)
        textures[side] = Texture(torch.from_numpy(canvas).permute(2, 0, 1) / 255, 1)
    logits = torch.from_numpy(masks.astype(np.float32)) * 60 - 30
    return GridModel((height, width), mappings, textures, logits)


def paint_closed(*arguments: Any, **options: Any) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """`paint_clip`, its masks without the gaps that an atlas closes for edits."""
    frames, masks = paint_clip(*arguments, **options)
    square = np.ones((3, 3), np.uint8)
    closed = [cv2.morphologyEx(m.astype(np.uint8), cv2.MORPH_CLOSE, square) for m in masks]
    return frames, np.stack(closed) > 0


def transfer_errors(
    locate: Locate,
    masks: NDArray[np.bool_],
    side: Side,
    pairs: Iterable[tuple[int, int]],
) -> NDArray[np.float32]:
    """Pixels between where the atlas carries what a layer shows from frame s to t, and the truth.

    Of all pixels of s that show the layer, and do in t too; those of soft edges are left out.
    """
    count, height, width = masks.shape
    visible = [_shows(mask, side) for mask in masks]
    y, x = np.mgrid[:height, :width].astype(np.float32)
    found = []
    for s, t in pairs:
        moved = offset(side, s, count, width) - offset(side, t, count, width)
        true_x = x + moved
        there = np.clip(true_x, 0, width - 1).astype(int)
        seen = visible[s] & (true_x == there) & np.take_along_axis(visible[t], there, 1)
        wanted, uv = (locate(i).uv[side].numpy() for i in (s, t))
        ends = _inverse(uv, wanted, np.dstack([true_x, y]))
        found.append(np.hypot(ends[..., 0] - true_x, ends[..., 1] - y)[seen])
    return np.concatenate(found)


def _shows(mask: NDArray[np.bool_], side: Side) -> NDArray[np.bool_]:
    kernel = np.ones((3, 3), np.uint8)
    if side == FOREGROUND:
        return cv2.erode(mask.astype(np.uint8), kernel) > 0
    return cv2.dilate(mask.astype(np.uint8), kernel) == 0


def _inverse(
    uv: NDArray[np.float32], wanted: NDArray[np.float32], start: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Frame positions (h, w, 2) at which a map `uv` is what is `wanted`, by Newton's method."""
    height, width = uv.shape[:2]
    down, right = np.gradient(uv, axis=(0, 1))
    known = np.dstack([uv, right, down])
    at = start.astype(np.float32)
    for _ in range(4):
        inside = np.clip(at, 0, (width - 1, height - 1)).astype(np.float32)
        here = cv2.remap(known, inside[..., 0], inside[..., 1], cv2.INTER_LINEAR)
        jacobian = here[..., 2:].reshape(height, width, 2, 2).swapaxes(2, 3)  # ∂(u, v)/∂(x, y)
        off = wanted - here[..., :2] - _times(jacobian, at - inside)  # outside it goes straight on
        at = at + _times(_inverted(jacobian), off)
    return at


def _times(matrices: NDArray[np.float32], vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.einsum("hwij,hwj->hwi", matrices, vectors)


def _inverted(m: NDArray[np.float32]) -> NDArray[np.float32]:
    (a, b), (c, d) = (m[..., 0, 0], m[..., 0, 1]), (m[..., 1, 0], m[..., 1, 1])
    area = a * d - b * c
    area = np.where(np.abs(area) < 1e-3, 1e-3, area)
    adjugate = np.stack([np.stack([d, -b], -1), np.stack([-c, a], -1)], -2)
    return (adjugate / area[..., None, None]).astype(np.float32)


def overlap(locate: Locate, masks: NDArray[np.bool_]) -> float:
    """Intersection over union of the opacity and the true masks."""
    both = either = 0
    for t, mask in enumerate(masks):
        opaque = locate(t).share[FOREGROUND].numpy() > 0.5
        both, either = both + (opaque & mask).sum(), either + (opaque | mask).sum()
    return float(both / either)
