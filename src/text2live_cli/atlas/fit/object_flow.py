"""Flow on an object of few colours: it moves as a whole where nothing seen speaks against it."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from .flow import Flow
from .motion import positions

_RIM = 3  # pixels across: the outline itself shows best how an object of one colour moves
_ROUNDS = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 30, 1e-4)  # of the alignment
_SMOOTH = 1  # pixels: side of its Gaussian, none
_WINDOW = 7  # pixels: side of the square in which two motions are compared
_AS_WELL = 1.0  # levels of 255: so much worse in the mean is no worse
_EXPLAINED = 4.0  # levels: what is further off shows neither motion
_FAINT = 1e-3  # share of a window under which there is no object in it


class _Pair(NamedTuple):
    """Two frames in grey (h, w), and what is object in the first."""

    here: NDArray[np.float32]
    there: NDArray[np.float32]
    mask: NDArray[np.bool_]

    @classmethod
    def of(
        cls, frames: NDArray[np.uint8], masks: NDArray[np.bool_], here: int, there: int
    ) -> _Pair:
        """Two of the frames (T, h, w, 3) with masks (T, h, w)."""
        return cls(_grey(frames[here]), _grey(frames[there]), masks[here])

    def misfit(self, ends: NDArray[np.float32]) -> NDArray[np.float32]:
        """Mean difference (h, w) around each pixel of the object, were it at `ends` (h, w, 2)."""
        arrival = cv2.remap(
            self.there,
            ends[..., 0],
            ends[..., 1],
            cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REPLICATE,
        )
        inside = self.mask.astype(np.float32)
        off = cv2.blur(np.abs(self.here - arrival) * inside, (_WINDOW, _WINDOW))
        share = cv2.blur(inside, (_WINDOW, _WINDOW))
        return np.asarray(off / np.maximum(share, _FAINT), np.float32)

    def aligned(self, step: NDArray[np.float64]) -> NDArray[np.float64]:
        """`step` (3, 3), here → there, turned and shifted to where the pictures agree best.

        By their correlation inside the mask (ECC, Evangelidis and Psarakis 2008); as it was where
        that finds nothing better.
        """
        size = (self.here.shape[0], self.here.shape[1])
        ends = positions(step, size)
        brought = cv2.remap(
            self.there,
            ends[..., 0],
            ends[..., 1],
            cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REPLICATE,
        )
        near = cv2.dilate(self.mask.astype(np.uint8), np.ones((_RIM, _RIM), np.uint8))
        rest = np.eye(2, 3, dtype=np.float32)
        try:
            _, rest = cv2.findTransformECC(  # type: ignore[assignment]
                self.here, brought, rest, cv2.MOTION_EUCLIDEAN, _ROUNDS, near, _SMOOTH
            )
        except cv2.error:  # it does not converge
            return step
        better = step @ np.vstack([rest, (0, 0, 1)])
        before, after = (self.misfit(positions(m, size))[self.mask].mean() for m in (step, better))
        return better if after < before else step


def aligned_steps(
    frames: NDArray[np.uint8], masks: NDArray[np.bool_], steps: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The motions `steps` (T−1, 3, 3) of what is in `masks` (T, h, w), frame t → t + 1, made exact
    by what frames (T, h, w, 3) show: flow is drawn along by a background that moves otherwise.
    """
    result = steps.copy()
    for t, step in enumerate(steps):
        if masks[t].any():
            result[t] = _Pair.of(frames, masks, t, t + 1).aligned(step)
    return result


def settle_flow(
    frames: NDArray[np.uint8], masks: NDArray[np.bool_], steps: NDArray[np.float64], flow: Flow
) -> None:
    """Make `flow` the object's motion where that explains the frames (T, h, w, 3) as well.

    `steps` (T−1, 3, 3) is the motion of what is in `masks` (T, h, w). On a surface of one colour
    any flow explains them, and the one found there is a guess from what is around it.
    """
    for t, step in enumerate(steps):
        for here, there, way, ok, motion in (
            (t, t + 1, flow.forward[t], flow.forward_ok[t], step),
            (t + 1, t, flow.backward[t], flow.backward_ok[t], np.linalg.inv(step)),
        ):
            if masks[here].any():
                _settle(_Pair.of(frames, masks, here, there), way, ok, motion)


def _settle(
    pair: _Pair, way: NDArray[np.float16], ok: NDArray[np.bool_], motion: NDArray[np.float64]
) -> None:
    """Put `motion` into the flow `way` (h, w, 2), and trust it in `ok`, where it does as well."""
    size = (way.shape[0], way.shape[1])
    start, ends = positions(np.eye(3), size), positions(motion, size)
    inside = ((ends >= 0) & (ends <= (size[1] - 1, size[0] - 1))).all(axis=-1)
    off = pair.misfit(ends)
    as_well = (off < _EXPLAINED) & (off < pair.misfit(start + way) + _AS_WELL)
    whole = pair.mask & as_well & inside
    way[whole] = (ends - start)[whole]
    ok[whole] = True


def _grey(frame: NDArray[np.uint8]) -> NDArray[np.float32]:
    return cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY).astype(np.float32)
