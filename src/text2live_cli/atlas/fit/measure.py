"""How good a fitted atlas is, in figures and in words."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from ...progress import Progress, Silent
from .. import POOR
from ..layers import (
    BACKGROUND,
    FOREGROUND,
    FRONT_FIRST,
    LAYERS,
    AtlasModel,
    Maps,
    Side,
)
from ..render import reconstruct, textures_of
from .flow import dis_flow

GAP = 4
"""Frames between which consistency is measured; the fit saw neighbours only."""
_STRETCH = 4.0  # times the usual area, or a quarter of it: a stretched map
_BRIGHTNESS = 6.0  # levels that a trusted flow may be off by, in the mean around a pixel
_TEXTURE = 2e-3  # least eigenvalue of the structure tensor that a trusted flow needs
_ENOUGH = 0.01  # of a layer's pixels must have trusted flow for a drift to be told
_FAIR_PSNR, _GOOD_PSNR = 26.0, 30.0
_FAR_BELOW = 4.0  # dB under the median: a frame that falls out
_MAX_FOLDED, _MAX_DRIFT, _MIN_AGREEMENT = 0.01, 1.0, 0.6


@dataclass(frozen=True)
class Quality:
    """What was measured at the working size."""

    psnr: tuple[float, ...]
    """Of every fitted frame, dB."""
    folded: dict[str, float]
    """By the layer's name: share of the layer's pixels where its map is turned over."""
    stretched: dict[str, float]
    """Share where it is stretched or squeezed over four times the usual area."""
    drift: dict[str, float | None]
    """Mean pixels by which `GAP` frames of trusted flow miss the same atlas position.

    None where too few pixels have such flow.
    """
    drift_together: float | None
    """The same over the pixels of both layers."""
    agreement: float | None
    """Intersection over union of the opacity and the masks; None without a foreground."""

    @property
    def mean(self) -> float:
        """Mean PSNR, dB."""
        return float(np.mean(self.psnr))

    @property
    def worst(self) -> float:
        """PSNR of the worst frame, dB."""
        return float(np.min(self.psnr))


def measure(
    model: AtlasModel,
    frames: NDArray[np.uint8],
    masks: NDArray[np.float32],
    progress: Progress,
) -> Quality:
    """Compare `model` with frames (T, h, w, 3), RGB, masks (T, h, w) in [0, 1], and flow.

    The flow is one that it was not fitted to: another preset of DIS, `GAP` frames apart.
    """
    progress.stage("measuring the atlas", len(frames), "frame")
    textures = textures_of(model)
    sides = FRONT_FIRST if masks.any() else (BACKGROUND,)
    psnr: list[float] = []
    shapes = {side: _Mean(2) for side in sides}
    misses, together = {side: _Mean(1) for side in sides}, _Mean(1)
    both = either = 0.0
    queue: list[Maps] = []  # of the last GAP frames, so that memory does not grow with the clip
    for t, frame in enumerate(frames):
        maps = model.locate(t)
        psnr.append(psnr_of(reconstruct(textures, maps), frame))
        maps = Maps(*(values.cpu() for values in maps))
        opaque, mask = maps.share[FOREGROUND].numpy() > 0.5, masks[t] > 0.5
        both, either = both + (opaque & mask).sum(), either + (opaque | mask).sum()
        queue.append(maps)
        for side in sides:
            shapes[side].add(_shape(maps, side))
        if len(queue) > GAP:
            way, ok = _trusted_flow(frames[t - GAP], frame)
            for side in sides:
                missed = _misses(queue[0], maps, side, way, ok)[None]
                misses[side].add(missed)
                together.add(missed)
            queue.pop(0)
        progress.advance(t + 1)
    return Quality(
        tuple(psnr),
        {LAYERS[side]: shapes[side].of(0) for side in sides},
        {LAYERS[side]: shapes[side].of(1) for side in sides},
        {LAYERS[side]: _told(misses[side], shapes[side].count) for side in sides},
        _told(together, sum(shapes[side].count for side in sides)),
        float(both / either) if masks.any() and either else None,
    )


def psnr_of(picture: NDArray[np.uint8], true: NDArray[np.uint8]) -> float:
    """Peak signal-to-noise ratio of 8-bit pictures (…, 3) of one shape, dB; at most 100."""
    error = float(np.square(picture.astype(np.float32) - true).mean())
    return float(10 * np.log10(255**2 / max(error, 255**2 / 1e10)))


def _layer(maps: Maps, side: Side) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """uv (h, w, 2) of a layer, and the pixels that show it."""
    return maps.uv[side].numpy(), maps.share[side].numpy() > 0.5


def _areas(uv: NDArray[np.float32]) -> NDArray[np.float32]:
    """Signed area that each pixel covers in the atlas, (h, w)."""
    down, right = np.gradient(uv, axis=0), np.gradient(uv, axis=1)
    return right[..., 0] * down[..., 1] - right[..., 1] * down[..., 0]


def _shape(maps: Maps, side: Side) -> NDArray[np.bool_]:
    """Folded and stretched, (2, n), of the pixels that show the layer."""
    uv, mask = _layer(maps, side)
    areas = _areas(uv)[mask]
    usual = np.median(areas) if len(areas) else 1.0
    folds = areas * np.sign(usual) <= 0
    ratio = np.abs(areas) / max(abs(float(usual)), 1e-6)
    return np.stack([folds, ~folds & ((ratio > _STRETCH) | (ratio < 1 / _STRETCH))])


def _trusted_flow(
    frame: NDArray[np.uint8], later: NDArray[np.uint8]
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Flow (h, w, 2) to a later frame, and where it can be trusted.

    There forward and backward flow agree, the colours do too, and there is texture in both
    directions: on a bare wall any flow looks right.
    """
    flow = dis_flow(np.stack([frame, later]), Silent(), "fast")
    way, ok = flow.forward[0], flow.forward_ok[0]
    grey, later_grey = (cv2.cvtColor(p, cv2.COLOR_RGB2GRAY) for p in (frame, later))
    arrival = cv2.remap(later_grey, *_places(way), cv2.INTER_LINEAR)
    off = cv2.blur(np.abs(grey.astype(np.float32) - arrival), (7, 7))
    return way, ok & (off < _BRIGHTNESS) & (cv2.cornerMinEigenVal(grey, 9, ksize=3) > _TEXTURE)


def _places(way: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    y, x = np.mgrid[: way.shape[0], : way.shape[1]].astype(np.float32)
    return x + way[..., 0], y + way[..., 1]


def _misses(
    before: Maps, after: Maps, side: Side, way: NDArray[np.float32], ok: NDArray[np.bool_]
) -> NDArray[np.float32]:
    """Pixels between where a layer's pixels are in the atlas and where the flow's ends are."""
    uv, mask = _layer(before, side)
    later, later_mask = _layer(after, side)
    x, y = _places(way)
    ends = cv2.remap(later, x, y, cv2.INTER_LINEAR)
    still = cv2.remap(later_mask.astype(np.uint8), x, y, cv2.INTER_NEAREST) > 0
    scale = np.sqrt(max(float(np.median(np.abs(_areas(uv)[mask]))), 1e-6)) if mask.any() else 1
    return np.linalg.norm(uv - ends, axis=-1)[ok & mask & still] / scale


class _Mean:
    """Means of rows of values that come in pieces."""

    def __init__(self, rows: int) -> None:
        self.sums, self.count = np.zeros(rows), 0

    def add(self, values: NDArray[np.generic]) -> None:
        """Some more of them, (rows, n)."""
        self.sums += values.sum(1, dtype=np.float64)
        self.count += values.shape[1]

    def of(self, row: int) -> float:
        """The mean of a row; 0 of nothing."""
        return float(self.sums[row] / self.count) if self.count else 0.0


def _told(mean: _Mean, shown: int) -> float | None:
    """The mean, where it is of enough of the pixels that show the layer."""
    return mean.of(0) if mean.count > _ENOUGH * shown else None


def verdict(quality: Quality, numbers: list[int], masks_given: bool) -> tuple[list[str], list[str]]:
    """What to think of an atlas, the overall judgement first; and what to do about it.

    `numbers` are the source's numbers of the fitted frames.
    """
    flaws = [*_unsteady(quality), *_bad_frames(quality, numbers)]
    agreement = quality.agreement
    if agreement is not None and agreement < _MIN_AGREEMENT and not masks_given:
        flaws.append(
            f"the foreground is not the one that was found at first (overlap {agreement:.0%}):"
            " look at opacity.mp4, and give --masks or --box"
        )
    if quality.mean < _FAIR_PSNR:
        overall = f"{POOR}: edits will not sit well on this clip"
    elif quality.mean < _GOOD_PSNR or flaws:
        overall = "fair: usable, look at the report first"
    else:
        overall = "good: ready for edits"
    words = [
        overall,
        f"the atlases give the frames back at {quality.mean:.1f} dB,"
        f" {quality.worst:.1f} dB in the worst frame",
    ]
    for side in quality.folded:
        drift = quality.drift[side]
        steady = "no trusted flow to check it by" if drift is None else f"drift {drift:.2f} px"
        words.append(
            f"{side} map: {steady}, {quality.folded[side]:.1%} folded,"
            f" {quality.stretched[side]:.1%} stretched"
        )
    if quality.agreement is not None:
        words.append(f"the opacity overlaps the masks by {quality.agreement:.0%}")
    return words, flaws


def _unsteady(quality: Quality) -> list[str]:
    flaws = []
    for side, share in quality.folded.items():
        drift = quality.drift[side]
        if share > _MAX_FOLDED:
            flaws.append(
                f"the {side} map folds: edits there show twice or torn; fewer frames"
                " (--frames A:B) or better --masks help"
            )
        if drift is not None and drift > _MAX_DRIFT:
            flaws.append(
                f"edits on the {side} swim by {drift:.1f} px in {GAP} frames; fewer frames"
                " (--frames A:B) or more --steps help"
            )
    return flaws


def _bad_frames(quality: Quality, numbers: list[int]) -> list[str]:
    """Runs of frames far below the others."""
    psnr = np.array(quality.psnr)
    bad = psnr < min(np.median(psnr) - _FAR_BELOW, _FAIR_PSNR)
    if not bad.any():
        return []
    spans = " and ".join(_named(numbers, run) for run in _runs(bad))
    longest = max(_runs(~bad), key=len)
    use = f"{numbers[longest[0]]}:{numbers[longest[-1]] + 1}"
    return [f"frames {spans} leave the atlas: use --frames {use}"]


def _runs(flags: NDArray[np.bool_]) -> list[NDArray[np.intp]]:
    """The indices that are chosen, those in a row together."""
    indices = np.flatnonzero(flags)
    return np.split(indices, np.flatnonzero(np.diff(indices) > 1) + 1)


def _named(numbers: list[int], run: NDArray[np.intp]) -> str:
    first, last = numbers[run[0]], numbers[run[-1]]
    return f"{first}" if first == last else f"{first}–{last}"
