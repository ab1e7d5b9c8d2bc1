"""What was edited: where two pictures differ by more than the noise measured in them."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

from .filters import (
    Image,
    Map,
    Mask,
    blurred,
    closed,
    grown,
    lab,
    length,
    pieces,
    without_small,
)

_BLURS = (0.0, 0.5, 0.8, 1.2, 1.7, 2.4)  # pixels: how much less sharp the other picture may be
_SCALES = (0.0, 0.8, 4.0)  # pixels: single ones, fine changes, and faint ones of some size
_STEEP = 0.6  # share of the pixels that are less steep than those which tell of slopes
_NOISY, _NOISY_TO_MEDIAN = 40, 0.85  # a percentile that edits hardly reach; of the median it is
_FLOOR, _TONED_FLOOR = 1.2, 2.5  # ΔE: less is never a change, the second where tones were matched
_SEED, _REST = 6.0, 3.5  # times the noise: where a change begins, and how far it goes
_CLOSING = 2  # pixels
_FAR = 12  # pixels: what is nearer to a sharp change is no faint one of its own


class Change(NamedTuple):
    """Where a picture was edited."""

    mask: Mask
    noise: float
    """ΔE of what was not edited, median."""
    blur: float
    """By how many pixels (σ) the other picture is less sharp than the source."""


def find_change(
    source: Image, other: Image, valid: Mask, least: float, toned: bool = False
) -> Change:
    """The pixels (H, W) that were edited; `least` is the smallest area, a share of the picture;
    `toned`: the colours of one were brought to those of the other.

    A change begins where the difference, blurred, is well over the noise, and goes as far as it
    is over it; then it is drawn in to where single pixels say so.
    """
    ours, theirs = (lab(x) for x in (source, other))
    blur, ours = _as_sharp(ours, theirs, valid)
    difference, noise = theirs - ours, 0.0
    difference[~valid] = 0  # nothing of what is not there is to be blurred in
    slope = _slope(ours)
    scores, floor = [], _TONED_FLOOR if toned else _FLOOR
    for scale in _SCALES:
        far = length(blurred(difference, scale))
        scores.append(far / _tolerance(far, blurred(slope, scale), valid, floor))
        noise = float(np.median(far[valid])) if scale == 0 else noise
    score = np.maximum(scores[1], scores[2])
    few = max(16, round(least * score.size))
    mask = _holding(score > _REST, score > _SEED) & valid
    mask = _cleaned(mask, few)
    return Change(_drawn_in(mask, scores[0] > _REST, few) & valid, noise, blur)


def _as_sharp(ours: Image, theirs: Image, valid: Mask) -> tuple[float, Image]:
    """The source as little sharp as the other: the blur that leaves the least between the two."""
    step = max(1, min(ours.shape[:2]) // 600)
    rows = np.s_[::1, ::1] if step == 1 else _middle(ours.shape, 1200)
    light = ours[rows][..., 0]
    seen, there = theirs[rows][..., 0], valid[rows]
    left = [float(np.median(np.abs(blurred(light, b) - seen)[there])) for b in _BLURS]
    best = int(np.argmin(left))
    if left[best] > 0.9 * left[0]:
        best = 0
    return _BLURS[best], blurred(ours, _BLURS[best])


def _middle(size: tuple[int, ...], side: int) -> tuple[slice, slice]:
    """A window of at most `side` pixels in the middle."""
    return tuple(  # type: ignore[return-value]
        slice(max(0, (n - side) // 2), max(0, (n - side) // 2) + min(n, side)) for n in size[:2]
    )


def _slope(lab: Image) -> Map:
    """How steep a picture is, ΔE a pixel: there a shift of part of a pixel shows."""
    light = lab[..., 0]
    x, y = (cv2.Sobel(light, cv2.CV_32F, *axis, scale=1 / 8) for axis in ((1, 0), (0, 1)))
    return np.asarray(cv2.dilate(np.sqrt(x * x + y * y), np.ones((3, 3))), np.float32)


def _tolerance(length: Map, slope: Map, valid: Mask, floor: float) -> Map:
    """The noise of each pixel: a + b · slope, by the less different pixels of the whole picture."""
    every = max(1, int(valid.sum()) // 400_000)
    x, y = slope[valid][::every], length[valid][::every]
    flat = _typical(y)
    steep = x > np.quantile(x, _STEEP)
    rise = _typical(np.maximum(y[steep] - flat, 0) / x[steep]) if steep.any() else 0.0
    return np.maximum(flat + rise * slope, floor / _REST).astype(np.float32)


def _typical(values: Map) -> float:
    """The median of what is noise among these, where up to a third is not."""
    return float(np.percentile(values, _NOISY)) / _NOISY_TO_MEDIAN


def _holding(rest: Mask, seeds: Mask) -> Mask:
    """The pieces of `rest` that hold a seed."""
    labels = pieces(rest)
    held = np.zeros(int(labels.max()) + 1, bool)
    held[np.unique(labels[seeds & rest])] = True
    held[0] = False
    return np.asarray(held[labels], bool)


def _cleaned(mask: Mask, least: int) -> Mask:
    """Closed, without small holes, and without small pieces."""
    filled = ~without_small(~closed(mask, _CLOSING), least)
    return without_small(filled, least)


def _drawn_in(mask: Mask, sharp: Mask, least: int) -> Mask:
    """The mask without the rim that blurring gave it; what is faint throughout keeps it."""
    fine = _cleaned(mask & sharp, least)
    return fine | (mask & ~grown(fine, _FAR))
