"""Masks of one picture: cut out by colour and edges (GrabCut, Rother et al. 2004), and cleaned."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]


def grab(picture: NDArray[np.uint8], labels: NDArray[np.uint8], rounds: int = 5) -> Mask:
    """What GrabCut makes of `labels` (h, w), cv2.GC_…, on a picture (h, w, 3), RGB.

    Empty where the labels leave no choice: nothing may be the object, or all of it.
    """
    maybe = (labels == cv2.GC_PR_FGD) | (labels == cv2.GC_FGD)
    if not maybe.any() or maybe.all():
        return np.zeros(labels.shape, bool)
    labels = labels.copy()
    cv2.setRNGSeed(0)
    models = np.zeros((1, 65)), np.zeros((1, 65))
    picture = np.ascontiguousarray(picture)
    cv2.grabCut(picture, labels, (0, 0, 0, 0), *models, rounds, cv2.GC_INIT_WITH_MASK)
    return (labels == cv2.GC_FGD) | (labels == cv2.GC_PR_FGD)


def grab_each(picture: NDArray[np.uint8], every: Sequence[NDArray[np.uint8]]) -> list[Mask]:
    """`grab` by several labels (h, w) of one picture (h, w, 3), side by side: OpenCV takes one core
    for each.
    """
    with ThreadPoolExecutor(len(every)) as pool:
        return list(pool.map(lambda labels: grab(picture, labels), every))


def odd(length: float) -> int:
    """The odd number of pixels nearest to a length."""
    return 2 * round((length - 1) / 2) + 1


def opened(mask: Mask, side: int = 3) -> Mask:
    """Without specks thinner than `side` pixels."""
    return cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_OPEN, _disc(side)).astype(bool)


def closed(mask: Mask, side: int) -> Mask:
    """With holes and bays narrower than `side` filled."""
    return cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_CLOSE, _disc(side)).astype(bool)


def dilated(mask: Mask, side: int) -> Mask:
    """Grown by a disc of diameter `side`."""
    return cv2.dilate(mask.astype(np.uint8), _disc(side)).astype(bool)


def eroded(mask: Mask, side: int) -> Mask:
    """Shrunk by a disc of diameter `side`."""
    return cv2.erode(mask.astype(np.uint8), _disc(side)).astype(bool)


def outline(mask: Mask, width: int) -> Mask:
    """The line of `width` pixels around a mask, outside of it."""
    return dilated(mask, 2 * width + 1) & ~mask


def _disc(side: int) -> NDArray[np.uint8]:
    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side)).astype(np.uint8)
