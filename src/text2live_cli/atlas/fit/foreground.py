"""The rough foreground masks that a fit starts from: given, from hints, a text, or from motion."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from ...errors import UsageError
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
from ...guide.region import cut_out_hints, text_labels
from ...media.clips import open_clip
from ...media.files import natural_order
from ...media.pictures import read_picture, to_unit
from ...progress import Progress
from .cutout import (
    Frames,
    carried,
    colour_models,
    cut_out,
    objects,
    steadied,
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

_PICTURES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp", ".gif"})
_SAME_ASPECT = 0.03
_FEW_LABELS = 15
"""A clip of grey masks that never gets brighter holds numbers of objects, not brightness."""
_COLOURED = 40
"""A mask whose channels differ by so many levels shows objects as colours (DAVIS)."""

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


# Given masks


def masks_from_files(
    path: Path,
    names: Sequence[str] | None,
    count: int,
    size: tuple[int, int],
    numbers: Sequence[int] | None = None,
) -> Foreground:
    """Masks of `count` frames from a folder of pictures, or from a video or GIF.

    Pictures are matched by the frames' `names` (without endings) where any of these is there;
    otherwise, and in a video, in order if there are `count`, else by the frames' `numbers` in the
    source (default: 0, 1, …). White or any object's colour or number is foreground; masks of
    another size and the same shape are resized to `size`, and inverted ones turned round.

    Raises UsageError for masks that do not fit, Text2LiveError for files that cannot be read.
    """
    numbers = range(count) if numbers is None else numbers
    if path.is_dir():
        chosen = _matched(path, names, numbers)
        drawn = [_drawing(one, size) for one in chosen]
    else:
        drawn = _video_drawings(path, numbers, size)
    masks = _opacities(drawn)
    coverage = masks.mean()
    if coverage < 1e-4 or coverage > 1 - 1e-4:
        kind = "black" if coverage < 0.5 else "white"
        raise UsageError(f"{path}: the masks are all {kind}; paint the foreground white on black")
    if _inverted(masks):
        note = f"{path}: the masks cover the border of the frames: they are taken as inverted"
        return Foreground(1 - masks, "masks", (note,))
    return Foreground(masks, "masks", ())


def _matched(folder: Path, names: Sequence[str] | None, numbers: Sequence[int]) -> list[Path]:
    """One picture of `folder` for each frame."""
    paths = [path for path in folder.iterdir() if path.suffix.lower() in _PICTURES]
    by_name = {path.stem: path for path in paths}
    if names is not None and any(name in by_name for name in names):
        missing = [name for name in names if name not in by_name]
        if missing:
            raise UsageError(
                f"{folder}: no masks for {len(missing)} of {len(names)} frames:"
                f" {_listed(missing)}; add them, or choose the others by --frames"
            )
        return [by_name[name] for name in names]
    ordered = natural_order(paths)
    if len(ordered) == len(numbers):
        return ordered
    _check_count(folder, len(ordered), numbers)
    return [ordered[number] for number in numbers]


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (", …" if len(names) > 5 else "")


def _check_count(path: Path, count: int, numbers: Sequence[int]) -> None:
    if count <= max(numbers):
        raise UsageError(
            f"{path}: holds {count} masks for {len(numbers)} frames up to number {max(numbers)};"
            " give one for each frame"
        )


def _drawing(path: Path, size: tuple[int, int]) -> NDArray[np.float32]:
    """A mask picture as drawn: (h, w, 3) in 0..255 at the working size."""
    picture = read_picture(path)
    color, alpha = picture.color, picture.alpha
    if alpha is not None and np.ptp(alpha) > 0 and not np.ptp(color, axis=(0, 1)).any():
        color = np.repeat(alpha[..., None], 3, axis=2)  # it alone carries the drawing
    _check_shape(path, (picture.height, picture.width), size)
    return _fitted(to_unit(color) * 255, size)


def _video_drawings(
    path: Path, numbers: Sequence[int], size: tuple[int, int]
) -> list[NDArray[np.float32]]:
    clip = open_clip(path)
    _check_shape(path, (clip.height, clip.width), size)
    if clip.count != len(numbers):
        _check_count(path, clip.count, numbers)
        wanted = set(numbers)
    else:
        wanted = set(range(clip.count))
    frames = enumerate(clip.frames(0, max(wanted) + 1))
    return [_fitted(frame.astype(np.float32), size) for i, frame in frames if i in wanted]


def _check_shape(path: Path, found: tuple[int, int], size: tuple[int, int]) -> None:
    if abs(found[1] * size[0] / (found[0] * size[1]) - 1) > _SAME_ASPECT:
        raise UsageError(
            f"{path}: the mask is {found[1]}×{found[0]} pixels and has another shape than the"
            f" frames ({size[1]}×{size[0]}); save it at the frames' size"
        )


def _fitted(drawing: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.float32]:
    if drawing.shape[:2] == size:
        return drawing
    shrinks = size[0] < drawing.shape[0]
    mode = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return cv2.resize(drawing, size[::-1], interpolation=mode).astype(np.float32)


def _opacities(drawn: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    """Drawings (h, w, 3) → masks (T, h, w) in [0, 1], whatever stands for the foreground."""
    stack = np.stack(drawn)
    value = stack.max(axis=-1)
    if 0 < value.max() <= _FEW_LABELS:
        return np.clip(value, 0, 1)
    if (value - stack.min(axis=-1)).max() > _COLOURED:
        return np.clip(value / _COLOURED, 0, 1)
    return np.clip(value / 255, 0, 1)  # area averages overshoot by an ulp


def _inverted(masks: NDArray[np.float32]) -> bool:
    """Whether, in most frames, they cover most of the picture and most of its border."""
    edges = (masks[:, 0], masks[:, -1], masks[:, :, 0], masks[:, :, -1])
    border = np.concatenate(edges, axis=1).mean(axis=1)
    return bool(np.mean((border > 0.5) & (masks.mean(axis=(1, 2)) > 0.5)) > 0.5)


# From motion


def masks_from_motion(frames: Frames, flow: Flow, progress: Progress) -> Foreground:
    """What moves against the background of frames (T, h, w, 3), RGB.

    A pixel is foreground where it moves and looks otherwise than the background that other frames
    show in its place; background where neither; the rest follows its neighbours in time and
    space, then colours and edges. The second round knows where objects were in the first.
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
    masks: Mask | None = None
    for done in (0, count):
        unlike = unlike_background(frames, background, residual.speed, masks)
        evidence = _evidence(residual, unlike, masks)
        linked = _linked(evidence, flow)
        if masks is not None:
            linked &= _around(masks, flow) | evidence.foreground
        masks = _cut_all(frames, _dominant(linked, flow), evidence)
        if masks.mean() < _LEAST_AREA:
            return np.zeros_like(masks)
        progress.advance(done + count)
    assert masks is not None
    return _dominant(steadied(masks, flow) > 0.5, flow)


class Evidence(NamedTuple):
    """What is known of every pixel, (T, h, w) each; none of them where it may be either."""

    foreground: Mask
    sure: Mask
    """The part of the foreground that colours cannot outvote."""
    hidden: Mask
    """Foreground so far, and no other frame shows the background there."""
    background: Mask


def _evidence(residual: Residual, unlike: Unlikeness, masks: Mask | None) -> Evidence:
    """What motion and looks say; `masks` is what is known of the foreground so far."""
    fast = residual.length > residual.least[:, None, None]
    moves, still = fast & residual.known, ~fast & residual.known
    quiet = unlike.known & still
    noise = float(unlike.levels[quiet].mean()) if quiet.any() else 0.0
    differs = unlike.levels > max(_DIFFERENT[0], _DIFFERENT[1] * noise)
    slow = residual.speed < _SLOW * min(moves.shape[1:])
    alone = moves & slow[:, None, None]
    if masks is None:
        none = np.zeros_like(moves)
        return Evidence(moves & differs | alone, none, none, still & ~differs)
    beside = np.stack([dilated(mask, _BESIDE) for mask in masks]) & ~residual.known
    found = (moves | beside) & differs
    sure = np.stack([eroded(one, 3) for one in found])
    hidden = masks & ~unlike.known
    return Evidence(found | alone, sure, hidden & ~still, still & ~(differs | hidden))


def _linked(evidence: Evidence, flow: Flow) -> Mask:
    """Masks (T, h, w): evidence without specks or holes, and what it becomes over time."""
    count, height, width = evidence.foreground.shape
    reach = odd(_REACH * min(height, width))
    found = evidence.foreground | evidence.hidden
    seeds = np.stack([closed(opened(one), reach) for one in found]) & ~evidence.background
    forward, backward = seeds.copy(), seeds.copy()
    for t in range(1, count):
        here = carried(forward[t - 1].astype(np.float32), flow.backward[t - 1]) > 0.5
        forward[t] |= here & ~evidence.background[t]
        s = count - 1 - t
        here = carried(backward[s + 1].astype(np.float32), flow.forward[s]) > 0.5
        backward[s] |= here & ~evidence.background[s]
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


def _dominant(masks: Mask, flow: Flow) -> Mask:
    """Only the objects that have `_MINOR` of the largest one's pixels in the clip."""
    numbers = objects(masks, flow)
    mass = np.bincount(numbers.ravel())
    mass[0] = 0
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
    size = np.maximum(np.bincount(numbers[keys].ravel()), 1)
    mean = np.bincount(numbers[keys].ravel(), relevancy.ravel().astype(np.float64)) / size
    taken = np.zeros(int(numbers.max()) + 1, bool)
    taken[: len(mean)] = mean > max(_RELEVANT * float(mean.max()), 1.5 * float(mean[0]), 0.2)
    taken[0] = False
    if taken.any():
        return Foreground(steadied(taken[numbers], flow), "text", ())
    if or_motion and numbers.any():
        note = f"nothing that moves looks like {text!r}: all is foreground that moves"
        return Foreground(steadied(numbers > 0, flow), "motion", (note,))
    found = {}
    for t, relevant in zip(key_frames, relevancy, strict=True):
        mask = opened(grab(frames[t], text_labels(relevant)))
        if mask.mean() > _LEAST_AREA:
            found[t] = mask
    if not found and or_motion:
        return Foreground(np.zeros(numbers.shape, np.float32), "none", (_NO_MOTION,))
    if not found:
        raise UsageError(f"--foreground: nothing in the clip looks like {text!r}; use --box")
    note = f"nothing that moves looks like {text!r}: it is taken from single frames"
    return Foreground(_spread(found, frames, flow), "text", (note,))


def _spread(keys: dict[int, Mask], frames: Frames, flow: Flow) -> NDArray[np.float32]:
    """Masks of all frames from those of key frames, each carried from the nearest key."""
    masks = np.zeros(frames.shape[:3], bool)
    nearest = [min(keys, key=lambda key: abs(key - t)) for t in range(len(frames))]
    for key, mask in keys.items():
        masks[key] = mask
        for step in (1, -1):
            t = key + step
            while 0 <= t < len(frames) and nearest[t] == key:
                there = flow.backward[t - 1] if step > 0 else flow.forward[t]
                moved = carried(masks[t - step].astype(np.float32), there) > 0.5
                if abs(t - key) % _REFINE == 0:
                    moved = _refined(frames, masks, (key, t - step), t, moved)
                masks[t] = moved
                t += step
    return steadied(masks, flow)


def _refined(frames: Frames, masks: Mask, known: tuple[int, int], t: int, rough: Mask) -> Mask:
    """The mask of frame t cut out by the colours of frames that are `known`."""
    chosen = list(known)
    colours = colour_models(frames[chosen], masks[chosen], ~masks[chosen])
    sure = eroded(rough, odd(0.05 * min(rough.shape)))
    return cut_out(frames[t], rough, colours, sure, np.zeros_like(rough))
