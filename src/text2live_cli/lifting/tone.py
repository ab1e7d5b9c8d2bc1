"""Undo what an editor did to the whole picture: tones and sharpness, by what was not edited."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from .filters import Image, Mask, blurred, gray, length, shrunk

_TABLE, _ROWS = 2**14, 256  # steps of a curve as a table; rows at a time, to spare memory
_SAMPLES = 60_000
_SOFT_PIXELS = 1_000_000
_EVERY = 16  # of the samples: those by which γ is chosen
_ROUNDS = 12
_GAMMAS = tuple(float(g) for g in np.exp(np.linspace(-0.7, 0.7, 29)).round(3))
_LOST = 0.05  # more of a residual tells nothing
_KNOTS = 17
_CUT = 4.685  # of Tukey's biweight, by the spread of the residuals
_SHARP_BLUR, _SHARP_SAMPLES = 1.5, 1_000_000  # σ of the unsharp mask, pixels
_LEAST_SHARP, _MOST_SHARP = 0.08, 0.8
_LEAST = 0.6 / 255  # mean change of what agrees under which colours are left alone


class Tone(NamedTuple):
    """Colours x (…, 3) → curve(matrix · [x^γ, 1]), channel by channel; `None`: as they are."""

    matrix: NDArray[np.float64] | None
    """(3, 4)."""
    curves: NDArray[np.float64] | None
    """(3, knots): values at even steps of [0, 1]."""
    gamma: float
    change: float
    """Mean change of what was not edited, in 8-bit levels."""

    def apply(self, color: Image) -> Image:
        """(H, W, 3) → the same, clipped to [0, 1]."""
        if self.matrix is None or self.curves is None:
            return color
        matrix, knots = self.matrix.astype(np.float32), np.linspace(0, 1, self.curves.shape[1])
        even = np.linspace(0, 1, _TABLE)
        steps = [np.interp(even, knots, curve).astype(np.float32) for curve in self.curves]
        result = np.empty_like(color)
        for top in range(0, len(color), _ROWS):
            part = color[top : top + _ROWS]
            bent = part if self.gamma == 1 else np.asarray(cv2.pow(part, self.gamma), np.float32)
            moved = np.asarray(cv2.transform(bent, matrix), np.float32) * (_TABLE - 1)
            places = np.rint(moved).clip(0, _TABLE - 1).astype(np.uint16)
            for i, step in enumerate(steps):
                result[top : top + _ROWS, :, i] = step[places[..., i]]
        return result


def match_tone(source: Image, other: Image, valid: Mask) -> Tone:
    """What brings the colours of `other` to those of `source`, where most of both agree."""
    rng = np.random.default_rng(0)
    scale = min(1.0, (_SOFT_PIXELS / valid.size) ** 0.5)
    soft = [blurred(shrunk(x, scale), 1.5) for x in (source, other)]
    seen = shrunk(valid.astype(np.float32), scale) > 0.99
    places = np.flatnonzero(seen)
    places = rng.choice(places, min(len(places), _SAMPLES), replace=False)
    ours, theirs = (x.reshape(-1, 3)[places].astype(np.float64) for x in soft)
    weights = _agreement(ours - theirs, np.ones(len(ours)))
    gamma = min(_GAMMAS, key=lambda g: _left(ours[::_EVERY], theirs[::_EVERY] ** g))
    theirs **= gamma
    matrix, weights = _fit_matrix(ours, theirs, weights)
    moved = (np.c_[theirs, np.ones(len(theirs))] @ matrix.T).clip(0, 1)
    curves = _fit_curves(ours, moved, weights)
    sure = weights > 0.5
    change = float(np.abs(ours - theirs ** (1 / gamma))[sure].mean()) if sure.any() else 0.0
    if change < _LEAST:
        return Tone(None, None, 1.0, 255 * change)
    return Tone(matrix, curves, gamma, 255 * change)


def _left(ours: NDArray[np.float64], theirs: NDArray[np.float64]) -> float:
    """What the best affine map leaves of what agrees, mean, and a little for each that does not."""
    start = _agreement(ours - theirs, np.ones(len(ours)))
    matrix, _ = _fit_matrix(ours, theirs, start)
    rest = length(ours - np.c_[theirs, np.ones(len(theirs))] @ matrix.T)
    return float(np.minimum(rest, _LOST).mean())


def _fit_matrix(
    ours: NDArray[np.float64], theirs: NDArray[np.float64], weights: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The affine map by iteratively reweighted least squares, and the weights in the end."""
    inputs = np.c_[theirs, np.ones(len(theirs))]
    matrix = np.eye(3, 4)
    for _ in range(_ROUNDS):
        weighted = inputs * weights[:, None]
        normal = weighted.T @ inputs + 1e-4 * len(inputs) * np.diag([1, 1, 1, 0.1])
        pull = weighted.T @ ours + 1e-4 * len(inputs) * np.eye(4, 3)
        matrix = np.linalg.solve(normal, pull).T
        weights = _agreement(ours - inputs @ matrix.T, weights)
    return matrix, weights


def _fit_curves(
    ours: NDArray[np.float64], moved: NDArray[np.float64], weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    """For each channel a rising curve, piecewise linear; the identity where little is known."""
    knots = np.linspace(0, 1, _KNOTS)
    curves = []
    for channel in range(3):
        place = moved[:, channel] * (_KNOTS - 1)
        low = np.minimum(place.astype(int), _KNOTS - 2)
        share = place - low
        basis = np.zeros((len(place), _KNOTS))
        rows = np.arange(len(place))
        basis[rows, low], basis[rows, low + 1] = 1 - share, share
        weighted = basis * weights[:, None]
        bends = np.diff(np.eye(_KNOTS), 2, axis=0)
        stiff = 2e-4 * len(place) * bends.T @ bends + 1e-5 * len(place) * np.eye(_KNOTS)
        rest = ours[:, channel] - moved[:, channel]
        curve = knots + np.linalg.solve(weighted.T @ basis + stiff, weighted.T @ rest)
        curves.append(np.maximum.accumulate(curve))
    return np.array(curves)


def _agreement(residuals: NDArray[np.float64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Tukey's biweight of the residuals' length, by the spread of the nearer half."""
    far = length(residuals)
    sure = far[weights > 0.05] if (weights > 0.05).any() else far
    spread = max(float(np.median(sure)) * 1.2, 1 / 255)
    return np.square(np.maximum(1 - np.square(far / (_CUT * spread)), 0))


def sharpening(source: Image, other: Image, valid: Mask) -> float:
    """How much `other` was sharpened: the share of its unsharp mask that has to be taken back.

    0 where it was not; `soften` takes it back.
    """
    height, width = source.shape[:2]
    every = max(1, round((height * width / _SHARP_SAMPLES) ** 0.5))
    light = [gray(x) for x in (source, other)]
    mask = blurred(light[1], _SHARP_BLUR) - light[1]
    rest = light[0] - light[1]
    x, y = (v[::every, ::every][valid[::every, ::every]] for v in (mask, rest))
    near = (np.abs(y) < 4 * np.median(np.abs(y)) + 1e-4) & (np.abs(x) > 1e-3)
    if near.sum() < 500:
        return 0.0
    share = float((x[near] * y[near]).sum() / (x[near] ** 2).sum())
    return min(share, _MOST_SHARP) if share > _LEAST_SHARP else 0.0


def soften(color: Image, share: float) -> Image:
    """With so much of an unsharp mask taken back."""
    if not share:
        return color
    soft = blurred(color, _SHARP_BLUR)
    return (color + np.float32(share) * (soft - color)).clip(0, 1)
