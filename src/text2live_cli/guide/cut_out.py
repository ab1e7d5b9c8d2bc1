"""An object cut out along its picture's own edges: from a text's map, or a user's box and points.

GrabCut, begun in several ways, to see how sure it is. How, and why so: docs/region.md.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from .grabcut import Mask, closed, grab_each, odd, opened
from .hints import Box, Hints, Point
from .matting import Map

CUT_SHORT = 320  # pixels of the short side that objects are cut out at; finer only takes longer
PERHAPS = 0.4  # of a text's map: perhaps the object
_SURE, _NOT = 0.8, 0.05  # surely, and surely not
_SHIFTS = (0.0, -0.1, 0.1)  # of `PERHAPS`, to see how sure a cut-out is
_FILLS = 0.35  # of a box: a map that fills less of it does not know its object
_WHOLE = 0.97  # of the picture: a box that says nothing
_ALIKE = 20.0  # ΔE: a border that differs less from the points may be the object's
_BLURS = (3.0, 2.0, 4.5)  # of the watershed, pixels; again, to see how sure it is
_INSETS = (0.0, 0.06, 0.12)  # of a box's sides, to see how sure its cut-out is
_DISC = 0.025  # of the short side: around a point, its radius
_SPECK, _HOLE = 5 / CUT_SHORT, 9 / CUT_SHORT  # of the short side: what is cleaned away, and filled


class CutOut(NamedTuple):
    """An object's mask (h, w), and in [0, 1] how little it changes when its thresholds move."""

    mask: Mask
    certainty: float


def cut_out_text(picture: NDArray[np.uint8], relevancy: Map) -> CutOut:
    """A text's map (h, w), brought to the edges of its picture (h, w, 3)."""
    labels = [text_labels(relevancy, shift) for shift in _SHIFTS]
    masks = [_cleaned(mask) for mask in grab_each(picture, labels)]
    return CutOut(masks[0], _agreement(masks))


def text_labels(relevancy: Map, shift: float = 0.0) -> NDArray[np.uint8]:
    """Where GrabCut begins from a text's map (h, w) in [0, 1]; `shift` moves what is perhaps it."""
    labels = np.full(relevancy.shape, cv2.GC_PR_BGD, np.uint8)
    labels[relevancy > PERHAPS + shift] = cv2.GC_PR_FGD
    labels[relevancy > _SURE] = cv2.GC_FGD
    labels[relevancy < _NOT] = cv2.GC_BGD
    return labels


def cut_out_hints(
    picture: NDArray[np.uint8], hints: Hints, relevancy: Map | None, located: bool = False
) -> CutOut:
    """The object of a picture (h, w, 3) that is in a box, and at points.

    A box is taken to hold the object, and a text's map to say which part of it where it fills a
    good part of the box. Without a box the basin around the points is where to begin; less what is
    not the text's by the map of a locator (`located`), if that says of all points what they say.
    """
    size = picture.shape[:2]
    inside, outside = (_discs(points, size) for points in (hints.points, hints.not_points))
    frame = None if hints.box is None else _framed(hints.box, size)
    if frame is not None and frame.mean() > _WHOLE:
        frame = None
    if frame is None and not hints.points:
        return CutOut(np.zeros(size, bool), 0.0)
    never = outside if frame is None else outside | ~frame
    if frame is None:
        starts = [_basin(picture, inside, outside, blur) for blur in _BLURS]
    else:
        assert hints.box is not None
        starts = _starts_in_box(hints.box, size, relevancy)
    every = [np.where(start, cv2.GC_PR_FGD, cv2.GC_PR_BGD).astype(np.uint8) for start in starts]
    if frame is None and located and relevancy is not None and _says(relevancy, hints):
        for labels, shift in zip(every, _SHIFTS, strict=True):
            labels[relevancy <= PERHAPS + shift] = cv2.GC_PR_BGD
            labels[relevancy < _NOT] = cv2.GC_BGD
    for labels in every:
        labels[never] = cv2.GC_BGD
        labels[inside & ~outside] = cv2.GC_FGD
    masks = [_cleaned(mask) & ~never for mask in grab_each(picture, every)]
    if hints.points:
        masks = [_pieces_at(mask, inside) for mask in masks]
    # A pixel more or less can empty a cut-out: the one that agrees best with the others is taken.
    orders = [[mask, *masks[:i], *masks[i + 1 :]] for i, mask in enumerate(masks)]
    best = max(orders, key=_agreement)
    return CutOut(best[0], _agreement(best))


def _starts_in_box(box: Box, size: tuple[int, ...], relevancy: Map | None) -> list[Mask]:
    """Where in a box GrabCut begins, three ways."""
    return [
        _start_in(_framed(box, size, inset), relevancy, PERHAPS + shift)
        for inset, shift in zip(_INSETS, _SHIFTS, strict=True)
    ]


def _says(relevancy: Map, hints: Hints) -> bool:
    """Whether a text's map (h, w) holds all points, and none of those that are beside it."""

    def at(points: tuple[Point, ...]) -> list[float]:
        discs = [_discs((point,), relevancy.shape) for point in points]
        return [float(relevancy[disc].mean()) for disc in discs]

    return min(at(hints.points), default=0) > PERHAPS > max(at(hints.not_points), default=0)


def _start_in(frame: Mask, relevancy: Map | None, perhaps: float) -> Mask:
    """Where in a box GrabCut begins."""
    if relevancy is None or (relevancy[frame] > perhaps).mean() < _FILLS:
        return frame
    return frame & (relevancy > perhaps)


def _basin(picture: NDArray[np.uint8], inside: Mask, outside: Mask, blur: float) -> Mask:
    """What a watershed floods from `inside`, against `outside` and the picture's border.

    The border does not count where it has the colours of `inside`: the object may go on there.
    """
    border = np.ones(inside.shape, bool)
    border[2:-2, 2:-2] = False
    markers = np.zeros(inside.shape, np.int32)
    markers[outside | (border & ~_alike(picture, inside))] = 2
    markers[inside] = 1
    smooth = cv2.GaussianBlur(picture, (0, 0), blur)
    cv2.watershed(np.ascontiguousarray(smooth), markers)
    return markers == 1


def _alike(picture: NDArray[np.uint8], inside: Mask) -> Mask:
    """Where a picture (h, w, 3) has the mean colour of one of the discs `inside`, or nearly."""
    smooth = cv2.GaussianBlur(picture.astype(np.float32) / 255, (0, 0), _BLURS[0])
    lab = cv2.cvtColor(smooth, cv2.COLOR_RGB2LAB)
    count, discs = cv2.connectedComponents(inside.astype(np.uint8))
    away = [np.linalg.norm(lab - lab[discs == i].mean(0), axis=2) for i in range(1, count)]
    return np.asarray(np.min(away, axis=0) < _ALIKE)


def _framed(box: Box, size: tuple[int, ...], inset: float = 0.0) -> Mask:
    """The box, less `inset` of its sides all around, at least a pixel."""
    height, width = size
    mask = np.zeros((height, width), bool)
    rows, columns = (
        slice(
            int((start + inset * length) * count), math.ceil((start + (1 - inset) * length) * count)
        )
        for start, length, count in ((box.y, box.height, height), (box.x, box.width, width))
    )
    mask[rows, columns] = True
    return mask


def _discs(points: tuple[Point, ...], size: tuple[int, ...]) -> Mask:
    height, width = size
    discs = np.zeros((height, width), np.uint8)
    for point in points:
        at = round(point.x * width), round(point.y * height)
        cv2.circle(discs, at, max(2, round(_DISC * min(height, width))), 1, -1)
    return discs > 0


def _pieces_at(mask: Mask, at: Mask) -> Mask:
    """Only those connected pieces of `mask` that touch `at`."""
    _, pieces = cv2.connectedComponents(mask.astype(np.uint8))
    return mask & np.isin(pieces, np.unique(pieces[at & mask]))


def _agreement(masks: list[Mask]) -> float:
    """Mean IoU of the first mask with the others."""
    first, *others = masks
    unions = [(first | other).sum() for other in others]
    overlaps = [(first & other).sum() for other in others]
    return float(np.mean([o / u if u else 0.0 for o, u in zip(overlaps, unions, strict=True)]))


def _cleaned(mask: Mask) -> Mask:
    speck, hole = (max(3, odd(share * min(mask.shape))) for share in (_SPECK, _HOLE))
    return closed(opened(mask, speck), hole)
