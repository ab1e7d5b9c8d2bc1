"""The rough foreground masks that a fit starts from: from hints, a text, or from motion."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...errors import UsageError
from ...guide.cut_out import cut_out_hints, text_labels
from ...guide.grabcut import (
    Mask,
    closed,
    dilated,
    eroded,
    grab,
    odd,
    opened,
)
from ...guide.hints import Hints
from ...progress import Progress
from .cutout import (
    Frames,
    carried,
    colour_models,
    cut_out,
    objects,
    steadied,
    sum_by,
)
from .flow import Flow
from .motion import (
    Residual,
    Unlikeness,
    background_homographies,
    residual_motion,
    unlike_background,
)

Source = Literal["masks", "hints", "text", "motion", "none"]

_DIFFERENT = (8.0, 4.0)
"""A pixel looks unlike the background over so many levels, and so many times the usual noise."""
_SLOW = 0.004
"""Of the short side, a frame: what moves less uncovers little, and its flow is good by itself."""
_BESIDE = 9
"""Pixels around a mask in which unlikeness counts although the flow is not known."""
_REACH = 0.25
"""Of the short side: holes and bays so wide are closed where nothing speaks against it."""
_NEAR = 0.1
"""Of the short side: the second round adds no more than half of that around the first."""
_LEAST_AREA = 0.0015
"""Of the frame, on average: what moves and is smaller is no foreground."""
_MINOR = 0.15
"""Of the largest object's pixels in the clip: smaller objects are dropped."""
_KNOWN = 0.05
"""Of an object's pixels: where less is seen to uncover a background, it is noise of the flow."""
_AWAY = 24
"""Frames: so near, an object and its background keep their colours."""
_REFINE = 4
"""Frames over which a mask is carried before it is cut out anew."""
_RELEVANT = 0.5
_NO_MOTION = "nothing moves against the background: the clip becomes a single background layer"


class Foreground(NamedTuple):
    """Rough opacity of the foreground layer over a clip of T frames."""

    masks: NDArray[np.float32]
    """(T, h, w) in [0, 1] at the working size; 0 everywhere: a single background layer."""
    source: Source
    notes: tuple[str, ...]
    """What the user should be told."""


# From motion


def masks_from_motion(frames: Frames, flow: Flow, progress: Progress) -> Foreground:
    """What moves against the background of frames (T, h, w, 3), RGB.

    A pixel is foreground where it moves and looks otherwise than the background that other frames
    show in its place; background where neither; the rest follows its neighbours in time and
    space, then colours and edges. Frames that an object hides the background in say nothing of it:
    in the first round where something moves, in the second where the first found an object.
    """
    masks = _moving(frames, flow, progress)
    if not masks.any():
        return Foreground(masks.astype(np.float32), "none", (_NO_MOTION,))
    return Foreground(steadied(masks, flow), "motion", ())


def _moving(frames: Frames, flow: Flow, progress: Progress) -> Mask:
    count = len(frames)
    if count < 2:
        return np.zeros(frames.shape[:3], bool)
    progress.stage("foreground", 2 * count, "frame")
    background = background_homographies(flow, None)
    residual = residual_motion(frames, flow, background)
    hiding = np.stack([opened(one) for one in residual.moves])
    masks: Mask | None = None
    for turn in (1, 2):
        unlike = unlike_background(frames, background, residual.speed, hiding)
        evidence = _evidence(residual, unlike, masks)
        candidate = _linked(evidence, flow)
        if masks is not None:
            candidate &= _around(masks, flow) | evidence.foreground
        hiding = masks = _cut_all(frames, _dominant(candidate, evidence.foreground, flow), evidence)
        if masks.mean() < _LEAST_AREA:
            return np.zeros_like(masks)
        progress.advance(turn * count)
    assert masks is not None
    steady = steadied(masks, flow) > 0.5
    return _dominant(steady, steady, flow)


class Evidence(NamedTuple):
    """What is known of every pixel, (T, h, w) each; none of them where it may be either."""

    foreground: Mask
    sure: Mask
    """The part of the foreground that colours cannot outvote."""
    hidden: Mask
    """What moves, or was foreground so far, and no other frame shows the background there."""
    background: Mask


def _evidence(residual: Residual, unlike: Unlikeness, masks: Mask | None) -> Evidence:
    """What motion and looks say; `masks` is what is known of the foreground so far."""
    moves, still = residual.moves, ~residual.moves & residual.valid
    quiet = unlike.valid & still
    noise = float(unlike.levels[quiet].mean()) if quiet.any() else 0.0
    differs = unlike.levels > max(_DIFFERENT[0], _DIFFERENT[1] * noise)
    slow = residual.speed < _SLOW * min(moves.shape[1:])
    alone = moves & slow[:, None, None]
    if masks is None:
        none = np.zeros_like(moves)
        return Evidence(moves & differs | alone, none, moves & ~unlike.valid, still & ~differs)
    around = np.stack([dilated(mask, _BESIDE) for mask in masks]) & ~residual.valid
    foreground = (moves | around) & differs
    sure = np.stack([eroded(one, 3) for one in foreground])
    hidden = masks & ~unlike.valid
    return Evidence(foreground | alone, sure, hidden & ~still, still & ~(differs | hidden))


def _linked(evidence: Evidence, flow: Flow) -> Mask:
    """Masks (T, h, w): evidence without specks or holes, and what it becomes over time."""
    count, height, width = evidence.foreground.shape
    reach = odd(_REACH * min(height, width))
    foreground = evidence.foreground | evidence.hidden
    seeds = np.stack([closed(opened(one), reach) for one in foreground]) & ~evidence.background
    forward, backward = seeds.copy(), seeds.copy()
    for t in range(1, count):
        arrival = carried(forward[t - 1].astype(np.float32), flow.backward[t - 1]) > 0.5
        forward[t] |= arrival & ~evidence.background[t]
        s = count - 1 - t
        arrival = carried(backward[s + 1].astype(np.float32), flow.forward[s]) > 0.5
        backward[s] |= arrival & ~evidence.background[s]
    return np.stack([opened(mask) for mask in (forward & backward) | seeds])


def _around(masks: Mask, flow: Flow) -> Mask:
    """Where the second round may find what the first found, in a frame or in its neighbours."""
    grown = odd(_NEAR * min(masks.shape[1:]))
    return np.stack([dilated(soft > 0.2, grown) for soft in steadied(masks, flow)])


def _cut_all(frames: Frames, masks: Mask, evidence: Evidence) -> Mask:
    result = np.empty_like(masks)
    for t, frame in enumerate(frames):
        near = slice(max(t - _AWAY, 0), t + _AWAY + 1, _AWAY // 4)
        inside = evidence.foreground[near] & masks[near]
        colours = colour_models(frames[near], inside, ~masks[near])
        rough = masks[t] | (evidence.foreground[t] & dilated(masks[t], _BESIDE))
        result[t] = cut_out(frame, rough, colours, evidence.sure[t], evidence.background[t])
    return result


def _dominant(masks: Mask, known: Mask, flow: Flow) -> Mask:
    """Only the objects that have `_MINOR` of the largest one's pixels in the clip, and of which
    `_KNOWN` is `known` foreground, not only what may be (T, h, w).
    """
    numbers = objects(masks, flow)
    count = int(numbers.max()) + 1
    mass = sum_by(numbers, masks, count)
    mass[sum_by(numbers, known, count) < _KNOWN * mass] = 0
    return (mass >= max(_MINOR * mass.max(), 1))[numbers]


# From hints or a text


def masks_from_hints(frames: Frames, flow: Flow, hints: Hints, frame: int) -> Foreground:
    """What a user points at on `frame`, through frames (T, h, w, 3).

    Raises UsageError where the clip has no such frame, and where nothing stands out there.
    """
    if not 0 <= frame < len(frames):
        raise UsageError(f"--box, --point: there is no frame {frame}; the clip has {len(frames)}")
    key = opened(cut_out_hints(frames[frame], hints, None).mask)
    if not key.any():
        raise UsageError(
            f"--{'box' if hints.box else 'point'}: nothing there stands out from what is around it;"
            " draw a --box close around the object, or add a --point on it"
        )
    return Foreground(_spread({frame: key}, frames, flow), "hints", ())


def masks_from_text(
    relevancy: NDArray[np.float32],
    key_frames: Sequence[int],
    frames: Frames,
    flow: Flow,
    text: str,
    progress: Progress,
    or_motion: bool = False,
) -> Foreground:
    """What a text names, by its `relevancy` (K, h, w) in [0, 1] on key frames, through frames.

    Moving objects that are relevant are taken as they move; where none is, what is relevant on the
    key frames is cut out there and carried along. With `or_motion` that is only done where nothing
    moves; else all is taken that moves. Without it, raises UsageError where nothing is relevant.
    """
    numbers = objects(_moving(frames, flow, progress), flow)
    keys = np.asarray(key_frames)
    shown, count = numbers[keys], int(numbers.max()) + 1
    size = np.maximum(sum_by(shown, np.ones(shown.shape), count), 1)
    mean = sum_by(shown, relevancy, count) / size
    selection = mean > max(_RELEVANT * float(mean.max()), 1.5 * float(mean[0]), 0.2)
    selection[0] = False
    if selection.any():
        return Foreground(steadied(selection[numbers], flow), "text", ())
    if or_motion and numbers.any():
        note = f"nothing that moves looks like {text!r}: all is foreground that moves"
        return Foreground(steadied(numbers > 0, flow), "motion", (note,))
    cutouts = {}
    for t, relevant in zip(key_frames, relevancy, strict=True):
        mask = opened(grab(frames[t], text_labels(relevant)))
        if mask.mean() > _LEAST_AREA:
            cutouts[t] = mask
    if not cutouts and or_motion:
        return Foreground(np.zeros(numbers.shape, np.float32), "none", (_NO_MOTION,))
    if not cutouts:
        raise UsageError(f"--foreground: nothing in the clip looks like {text!r}; use --box")
    note = f"nothing that moves looks like {text!r}: it is taken from single frames"
    return Foreground(_spread(cutouts, frames, flow), "text", (note,))


def _spread(keys: dict[int, Mask], frames: Frames, flow: Flow) -> NDArray[np.float32]:
    """Masks of all frames from those of key frames, each carried from the nearest key."""
    masks = np.zeros(frames.shape[:3], bool)
    nearest = [min(keys, key=lambda key: abs(key - t)) for t in range(len(frames))]
    for key, mask in keys.items():
        masks[key] = mask
        for step in (1, -1):
            t = key + step
            while 0 <= t < len(frames) and nearest[t] == key:
                way = flow.backward[t - 1] if step > 0 else flow.forward[t]
                rough = carried(masks[t - step].astype(np.float32), way) > 0.5
                if abs(t - key) % _REFINE == 0:
                    rough = _refined(frames, masks, (key, t - step), t, rough)
                masks[t] = rough
                t += step
    return steadied(masks, flow)


def _refined(frames: Frames, masks: Mask, sources: tuple[int, int], t: int, rough: Mask) -> Mask:
    """The mask of frame t cut out by the colours of the frames `sources`."""
    indices = list(sources)
    colours = colour_models(frames[indices], masks[indices], ~masks[indices])
    sure = eroded(rough, odd(0.05 * min(rough.shape)))
    return cut_out(frames[t], rough, colours, sure, np.zeros_like(rough))
