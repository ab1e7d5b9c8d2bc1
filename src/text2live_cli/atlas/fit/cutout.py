"""Masks of frames: cut out by colour and edges, carried along by flow, followed through time."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ...guide.grabcut import (
    Mask,
    dilated,
    odd,
    opened,
)
from .flow import Flow

Frames = NDArray[np.uint8]
Colours = tuple[NDArray[np.float64], NDArray[np.float64]]
"""GrabCut's colour models: of the background, of the foreground."""

_BAND = 0.04
"""Of the short side: so far from its outline a rough mask may be wrong."""
_SAMPLES = 2000
"""Pixels that a colour model is made of."""
_OVERLAP = 0.25
"""Of the smaller one: pieces of neighbouring frames that share so much are one object."""


def colour_models(frames: Frames, inside: Mask, outside: Mask) -> Colours | None:
    """The colours of an object and of all else, from frames (n, h, w, 3), RGB.

    `inside` and `outside` (n, h, w) tell pixels of the one and the other. None where there are too
    few of a kind.
    """
    rows = []
    for mask in (inside, outside):
        pixels = frames[mask]
        if len(pixels) < _SAMPLES // 20:
            return None
        rows.append(pixels[np.linspace(0, len(pixels) - 1, _SAMPLES).astype(int)])
    # GrabCut learns its models from labelled pixels: these make a picture of two rows.
    picture = np.ascontiguousarray(np.stack(rows))
    labels = np.repeat(np.array([[cv2.GC_FGD], [cv2.GC_BGD]], np.uint8), _SAMPLES, axis=1)
    background, foreground = np.zeros((1, 65)), np.zeros((1, 65))
    cv2.setRNGSeed(0)
    cv2.grabCut(picture, labels, (0, 0, 0, 0), background, foreground, 1, cv2.GC_INIT_WITH_MASK)
    return background, foreground


def cut_out(
    frame: NDArray[np.uint8], mask: Mask, colours: Colours | None, sure: Mask, never: Mask
) -> Mask:
    """A rough mask (h, w) brought to the colours and edges of its frame (h, w, 3), RGB.

    It stays where it is `sure`, and grows neither far beyond its outline nor into what is `never`
    foreground. Without `colours` it stays as it is (GrabCut, Rother et al. 2004).
    """
    height, width = mask.shape
    band = odd(_BAND * min(height, width))
    near = dilated(mask, 2 * band + 1)
    if colours is None or not mask.any():
        return mask
    rows, columns = np.flatnonzero(near.any(axis=1)), np.flatnonzero(near.any(axis=0))
    box = (
        slice(max(rows[0] - band, 0), rows[-1] + band + 1),
        slice(max(columns[0] - band, 0), columns[-1] + band + 1),
    )
    trimap = np.where(mask, cv2.GC_PR_FGD, cv2.GC_PR_BGD).astype(np.uint8)
    trimap[mask & sure] = cv2.GC_FGD
    trimap[~near | opened(never & ~mask)] = cv2.GC_BGD
    labels = np.ascontiguousarray(trimap[box])
    picture = np.ascontiguousarray(frame[box])
    background, foreground = colours[0].copy(), colours[1].copy()
    cv2.grabCut(picture, labels, (0, 0, 0, 0), background, foreground, 1, cv2.GC_EVAL_FREEZE_MODEL)
    result = np.zeros_like(mask)
    result[box] = (labels == cv2.GC_FGD) | (labels == cv2.GC_PR_FGD)
    return opened(result)


def carried(values: NDArray[np.float32], flow: NDArray[np.float16]) -> NDArray[np.float32]:
    """Values (h, w) of a neighbouring frame, seen from the frame whose `flow` (h, w, 2) leads
    there; 0 where it leads out of the picture.
    """
    height, width = values.shape
    y, x = np.mgrid[:height, :width].astype(np.float32)
    values_here = cv2.remap(
        values, x + flow[..., 0], y + flow[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT
    )
    return values_here.astype(np.float32)


def steadied(masks: Mask, flow: Flow) -> NDArray[np.float32]:
    """Soft masks (T, h, w) in [0, 1]: each of `masks` averaged with its neighbours, brought here by
    the flow.
    """
    soft = np.empty(masks.shape, np.float32)
    for t in range(len(masks)):
        value = masks[t].astype(np.float32)
        before, after = value, value
        if t > 0:
            before = carried(masks[t - 1].astype(np.float32), flow.backward[t - 1])
        if t + 1 < len(masks):
            after = carried(masks[t + 1].astype(np.float32), flow.forward[t])
        soft[t] = cv2.GaussianBlur(0.5 * value + 0.25 * (before + after), (0, 0), 0.7)
    return soft


def objects(masks: Mask, flow: Flow) -> NDArray[np.int32]:
    """The connected pieces of masks (T, h, w), followed through time by the flow.

    (T, h, w): 0 outside of the masks, else the number of the object, the largest in the clip first.
    """
    pieces = np.empty(masks.shape, np.int32)
    first = np.zeros(len(masks) + 1, np.int64)
    for t, mask in enumerate(masks):
        count, pieces[t] = cv2.connectedComponents(mask.astype(np.uint8))
        pieces[t] += first[t]
        first[t + 1] = first[t] + count
    areas = sum_by(pieces, masks, int(first[-1]))
    parent = np.arange(first[-1])
    for t in range(len(masks) - 1):
        ahead = _rounded_remap(pieces[t + 1], flow.forward[t])
        both = masks[t] & (ahead > first[t + 1])
        pairs, overlaps = np.unique(
            pieces[t][both].astype(np.int64) * first[-1] + ahead[both], return_counts=True
        )
        for pair, overlap in zip(pairs, overlaps, strict=True):
            a, b = divmod(int(pair), int(first[-1]))
            if overlap > _OVERLAP * min(areas[a], areas[b]):
                parent[_root(parent, a)] = _root(parent, b)
    roots = np.array([_root(parent, i) for i in range(len(parent))], np.int64)
    mass = np.bincount(roots, areas, minlength=len(parent))
    rank = np.empty(len(parent), np.int32)
    rank[np.argsort(-mass, kind="stable")] = np.arange(1, len(parent) + 1)
    numbers = rank[roots]
    for piece, mask in zip(pieces, masks, strict=True):
        piece[:] = np.where(mask, numbers[piece], 0)
    return pieces


def sum_by(numbers: NDArray[np.int32], values: NDArray[Any], count: int) -> NDArray[np.float64]:
    """The sum of `values` where `numbers`, both (T, h, w), are 0, 1, … `count` − 1."""
    sums = np.zeros(count)
    for of, value in zip(numbers, values, strict=True):
        sums += np.bincount(of.ravel(), value.ravel(), minlength=count)
    return sums


def _rounded_remap(labels: NDArray[np.int32], flow: NDArray[np.float16]) -> NDArray[np.int32]:
    height, width = labels.shape
    y, x = np.mgrid[:height, :width]
    x = np.clip(np.rint(x + flow[..., 0]), 0, width - 1).astype(int)
    y = np.clip(np.rint(y + flow[..., 1]), 0, height - 1).astype(int)
    return labels[y, x]


def _root(parent: NDArray[np.int64], node: int) -> int:
    while parent[node] != node:
        parent[node] = parent[parent[node]]
        node = int(parent[node])
    return node
