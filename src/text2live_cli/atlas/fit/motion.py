"""What of a clip's flow is the camera's, and what moves against it."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from .flow import Flow

Homographies = NDArray[np.float64]

_POINTS = 48
"""Matches along the longer side: 48 × 27 of a wide picture are enough for eight unknowns."""
_MIN_MATCHES = 24
_INLIER = 1.0
"""Pixels."""
_MAX_CORNER = 0.5
"""Of the longer side: a background whose corners move further between frames is a wrong fit."""

_SPAN = 8
"""Frames over which slow motion may add up."""
_FAST = 2.0
"""Pixels: motion that needs no adding up."""
_STRONGEST = 98
"""Percentile of a frame's residual motion that stands for its moving object."""
_SHARE = 0.25
"""Of the strongest motion: less is parallax or noise, within `_LEAST` pixels."""
_LEAST = (0.8, 2.5)

_GAPS = (1, 2, 4, 8, 16, 32, 64)
"""Frames that may be asked what the background looks like."""
_APART = 6.0
"""Pixels: in a frame so near that an object moved less it may still be in its place."""
_NEAREST = 8
"""Frames: where objects are so slow that they take longer, those are asked nevertheless."""
_ASKED = 5
"""So many of the gaps are, from the nearest on: what a large object hides shows only far away."""
_SMOOTH = 0.8
_QUANTILE = 0.25
_UNSEEN = 256
"""Larger than any difference of 8 bits."""


def background_homographies(flow: Flow, masks: NDArray[np.float32] | None) -> Homographies:
    """The background's motion from each frame t to t + gap, (T−gap, 3, 3), in working pixels.

    Fitted by RANSAC to the flow of both directions where the two agree and `masks`
    (T, h, w; the foreground, None: unknown) are below one half. Where too little of a frame can be
    trusted, the fit is a shift by the median flow, and without any match the identity.
    """
    pairs, height, width = flow.forward.shape[:3]
    y, x = _grid(height, width)
    result = np.empty((pairs, 3, 3))
    for t in range(pairs):
        free, free_later = flow.forward_ok[t][y, x], flow.backward_ok[t][y, x]
        if masks is not None:
            gap = len(masks) - pairs
            free = free & (masks[t][y, x] < 0.5)
            free_later = free_later & (masks[t + gap][y, x] < 0.5)
        grid = np.stack([x, y], axis=-1).astype(np.float32)
        starts, ends = grid[free], grid[free_later]
        source = np.concatenate([starts, ends + flow.backward[t][y, x][free_later]])
        target = np.concatenate([starts + flow.forward[t][y, x][free], ends])
        result[t] = _fit(source, target, (height, width))
    return result


def positions(matrix: NDArray[np.float64], size: tuple[int, int]) -> NDArray[np.float32]:
    """Where a homography (3, 3) brings every pixel of a frame of `size` (height, width): x and y,
    (h, w, 2).
    """
    height, width = size
    y, x = np.mgrid[:height, :width].astype(np.float64)
    places = np.stack([x, y, np.ones_like(x)], axis=-1) @ matrix.T
    return (places[..., :2] / places[..., 2:]).astype(np.float32)


class Residual(NamedTuple):
    """How pixels move against the background, over T frames."""

    length: NDArray[np.float32]
    """(T, h, w), in pixels; 0 where it is not known."""
    least: NDArray[np.float32]
    """(T,): the length from which on a pixel of the frame counts as moving."""
    valid: NDArray[np.bool_]
    """(T, h, w): where the flow can be trusted in one direction of time or both."""
    speed: NDArray[np.float32]
    """(T,): pixels a frame of what moves most."""

    @property
    def moves(self) -> NDArray[np.bool_]:
        """(T, h, w): what counts as moving."""
        return self.valid & (self.length > self.least[:, None, None])


def residual_motion(frames: NDArray[np.uint8], flow: Flow, background: Homographies) -> Residual:
    """Motion against the background in frames (T, h, w, 3).

    A frame in which nothing moves fast is compared with ones up to `_SPAN` away, to which slow
    motion adds up. Of both directions of time, where they can be trusted, and between neighbours
    also of the given flow and one that starts from the background's motion, the least counts:
    where a surface without texture allows it, a pixel is at rest.
    """
    pairs, height, width = flow.forward.shape[:3]
    valid = np.zeros((pairs + 1, height, width), bool)
    valid[:-1] |= flow.forward_ok
    valid[1:] |= flow.backward_ok
    length = np.zeros(valid.shape, np.float32)
    least, speed = np.empty(pairs + 1, np.float32), np.empty(pairs + 1, np.float32)
    grey = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in frames]
    place = chained(background)
    for t in range(pairs + 1):
        motion = np.minimum(_given(flow, background, t), _searched(grey, place, t, 1))
        span, strongest = 1, _strongest(motion, valid[t])
        while strongest < _FAST and 2 * span <= min(_SPAN, pairs):
            span *= 2
            motion = _searched(grey, place, t, span)
            strongest = _strongest(motion, valid[t])
        least[t] = np.clip(_SHARE * strongest, *_LEAST)
        speed[t] = strongest / span
        valid[t] &= np.isfinite(motion)
        length[t] = np.where(valid[t], motion, 0)
    return Residual(length, least, valid, speed)


def _strongest(length: NDArray[np.float32], valid: NDArray[np.bool_]) -> float:
    lengths = length[valid & np.isfinite(length)]
    return float(np.percentile(lengths, _STRONGEST)) if lengths.size else 0.0


def _given(flow: Flow, background: Homographies, t: int) -> NDArray[np.float32]:
    """Length of the flow of frame t against the background, (h, w); infinite where unknown."""
    pairs, height, width = flow.forward.shape[:3]
    start = positions(np.eye(3), (height, width))
    smallest = np.full((height, width), np.inf, np.float32)
    steps = []
    if t < pairs:
        steps.append((flow.forward[t], flow.forward_ok[t], background[t]))
    if t > 0:
        back = np.linalg.inv(background[t - 1])
        steps.append((flow.backward[t - 1], flow.backward_ok[t - 1], back))
    for step, ok, matrix in steps:
        rest = np.linalg.norm(start + step - positions(matrix, (height, width)), axis=-1)
        smallest = np.where(ok, np.minimum(smallest, rest), smallest)
    return smallest.astype(np.float32)


def _searched(
    grey: list[NDArray[Any]], place: Homographies, t: int, span: int
) -> NDArray[np.float32]:
    """Length of DIS flow from frame t to those `span` away, the background's motion undone."""
    size = grey[t].shape
    smallest = np.full(size, np.inf, np.float32)
    for s in (t - span, t + span):
        if 0 <= s < len(grey):
            ends = positions(place[s] @ np.linalg.inv(place[t]), size)
            inside = ((ends >= 0) & (ends <= (size[1] - 1, size[0] - 1))).all(axis=-1)
            search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
            rest = search.calc(grey[t], _moved(grey[s], ends), None)  # type: ignore[call-overload]
            rest = np.linalg.norm(rest, axis=-1)
            smallest = np.where(inside, np.minimum(smallest, rest), smallest)
    return smallest


def _moved(picture: NDArray[Any], place: NDArray[np.float32]) -> NDArray[Any]:
    x, y = place[..., 0], place[..., 1]
    return cv2.remap(picture, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


class Unlikeness(NamedTuple):
    """How unlike the background the pixels look that a clip shows elsewhere in time."""

    levels: NDArray[np.float32]
    """(T, h, w), in 0..255 of the channel that differs most; 0 where nothing is known."""
    valid: NDArray[np.bool_]
    """(T, h, w): where another frame shows the background of this pixel."""


def unlike_background(
    frames: NDArray[np.uint8],
    background: Homographies,
    speed: NDArray[np.float32],
    masks: NDArray[np.bool_],
) -> Unlikeness:
    """Compare every pixel of frames (T, h, w, 3) with the same place of the background elsewhere.

    The others, `_GAPS` away, are brought here by the background's motion; a
    difference that a shift by a pixel explains counts as none. Frames in which `masks` (T, h, w)
    say that an object was there are not asked: the middle of a large one of one colour looks as it
    does in most frames. Of the differences a low quantile is kept, since masks may miss some.
    `speed` (T,), pixels a frame of what moves, says how far the others must be away.
    """
    count, height, width = frames.shape[:3]
    window = np.ones((3, 3), np.uint8)

    @lru_cache(2 * _GAPS[-1] + 1)
    def looks(t: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.uint8]]:
        """A frame without its noise, and the least and the most around each pixel of it."""
        smooth = cv2.GaussianBlur(frames[t], (0, 0), _SMOOTH)
        return smooth, cv2.erode(smooth, window), cv2.dilate(smooth, window)  # type: ignore[return-value]

    free = [_free(mask) for mask in masks]
    place = chained(background)
    levels = np.zeros((count, height, width), np.float32)
    valid = np.zeros((count, height, width), bool)
    for t in range(count):
        differences = []
        nearest = min(_APART / max(float(speed[t]), 1e-3), _NEAREST)
        gaps = [gap for gap in _GAPS if gap >= nearest][:_ASKED]
        for s in (s for gap in gaps for s in (t - gap, t + gap) if 0 <= s < count):
            matrix = place[s] @ np.linalg.inv(place[t])
            _, low, high = looks(s)
            under, over, sight = (_brought(p, matrix) for p in (low, high, free[s]))
            here = looks(t)[0]
            far = np.maximum(cv2.subtract(here, over), cv2.subtract(under, here))
            differences.append(np.where(sight > 0, far.max(axis=-1).astype(np.int16), _UNSEEN))
        if differences:
            levels[t], valid[t] = _low_quantile(np.stack(differences))
    return Unlikeness(levels, valid)


def chained(background: Homographies) -> Homographies:
    """From frame 0 to every frame, (T, 3, 3), of the motions (T−1, 3, 3) from frame to frame."""
    place = [np.eye(3)]
    for matrix in background:
        place.append(matrix @ place[-1])
    return np.stack(place)


def _free(mask: NDArray[np.bool_]) -> NDArray[np.uint8]:
    grown = cv2.dilate(mask.astype(np.uint8), np.ones((5, 5), np.uint8))
    return (grown == 0).astype(np.uint8)


def _brought(picture: NDArray[Any], matrix: NDArray[np.float64]) -> NDArray[Any]:
    """The picture seen from where `matrix` leads; 0 outside of it."""
    size = (picture.shape[1], picture.shape[0])
    flags = cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP
    return cv2.warpPerspective(picture, matrix, size, flags=flags)


def _low_quantile(
    differences: NDArray[np.integer],
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """The low quantile of those (n, h, w) that were seen, and whether any were."""
    count = (differences < _UNSEEN).sum(axis=0)
    rank = (count * _QUANTILE).astype(int)
    values = np.take_along_axis(np.sort(differences, axis=0), rank[None] % len(differences), 0)[0]
    return np.where(count > 0, values, 0).astype(np.float32), count > 0


def _grid(height: int, width: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    step = max(1, round(max(height, width) / _POINTS))
    y, x = np.mgrid[step // 2 : height : step, step // 2 : width : step]
    return y.ravel(), x.ravel()


def _fit(
    source: NDArray[np.float32], target: NDArray[np.float32], size: tuple[int, int]
) -> NDArray[np.float64]:
    """The homography of matches (n, 2), or the nearest thing to it that they support."""
    shift = np.eye(3)
    if not len(source):
        return shift
    shift[:2, 2] = np.median(target - source, axis=0)
    if len(source) < _MIN_MATCHES:
        return shift
    cv2.setRNGSeed(0)
    matrix, _ = cv2.findHomography(source, target, cv2.RANSAC, _INLIER, maxIters=2000)
    if matrix is None:
        return shift
    homography = matrix.astype(np.float64)
    return homography if _plausible(homography, shift, size) else shift


def _plausible(
    matrix: NDArray[np.float64], shift: NDArray[np.float64], size: tuple[int, int]
) -> bool:
    """Whether the corners stay in order and near where the median flow brings them."""
    height, width = size
    x, y = width - 1, height - 1
    corners = np.array([[0, 0, 1], [x, 0, 1], [x, y, 1], [0, y, 1]], np.float64)
    places = corners @ matrix.T
    if not (np.isfinite(places).all() and (places[:, 2] > 0.1).all()):
        return False
    places = places[:, :2] / places[:, 2:]
    if not cv2.isContourConvex(places.astype(np.float32)):
        return False
    goals = (corners @ shift.T)[:, :2]
    return bool(np.abs(places - goals).max() < _MAX_CORNER * max(height, width))
