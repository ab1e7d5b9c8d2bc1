"""Foreground masks that a user gives, in pictures or a video."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from ...errors import UsageError
from ...media.clips import open_clip
from ...media.files import natural_order
from ...media.pictures import read_picture
from ...media.samples import to_unit
from .foreground import Foreground

_PICTURES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp", ".gif"})
_SAME_ASPECT = 0.03
_FEW_LABELS = 15
"""A clip of grey masks that never gets brighter holds numbers of objects, not brightness."""
_COLOURED = 40
"""A mask whose channels differ by so many levels shows objects as colours (DAVIS)."""


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
    drawings: Iterator[NDArray[np.float32]]
    if path.is_dir():
        drawings = (_drawing(one, size) for one in _matched(path, names, numbers))
    else:
        drawings = _video_drawings(path, numbers, size)
    masks = _opacities(drawings, (len(numbers), *size))
    coverage = masks.mean()
    if coverage < 1e-4 or coverage > 1 - 1e-4:
        kind = "black" if coverage < 0.5 else "white"
        raise UsageError(f"{path}: the masks are all {kind}; paint the foreground white on black")
    if _inverted(masks):
        note = f"{path}: the masks cover the border of the frames: they are taken as inverted"
        return Foreground(np.subtract(1, masks, out=masks), "masks", (note,))
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
    pictures = natural_order(paths)
    if len(pictures) == len(numbers):
        return pictures
    _check_count(folder, len(pictures), numbers)
    return [pictures[number] for number in numbers]


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
) -> Iterator[NDArray[np.float32]]:
    clip = open_clip(path)
    _check_shape(path, (clip.height, clip.width), size)
    if clip.count != len(numbers):
        _check_count(path, clip.count, numbers)
        selection = set(numbers)
    else:
        selection = set(range(clip.count))
    frames = enumerate(clip.frames(0, max(selection) + 1))
    return (_fitted(frame.astype(np.float32), size) for i, frame in frames if i in selection)


def _check_shape(path: Path, own: tuple[int, int], size: tuple[int, int]) -> None:
    if abs(own[1] * size[0] / (own[0] * size[1]) - 1) > _SAME_ASPECT:
        raise UsageError(
            f"{path}: the mask is {own[1]}×{own[0]} pixels and has another shape than the"
            f" frames ({size[1]}×{size[0]}); save it at the frames' size"
        )


def _fitted(drawing: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.float32]:
    if drawing.shape[:2] == size:
        return drawing
    shrinks = size[0] < drawing.shape[0]
    mode = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return cv2.resize(drawing, size[::-1], interpolation=mode).astype(np.float32)


def _opacities(
    drawings: Iterable[NDArray[np.float32]], shape: tuple[int, ...]
) -> NDArray[np.float32]:
    """Drawings (h, w, 3) → masks (T, h, w) in [0, 1], whatever stands for the foreground."""
    values, coloured = np.empty(shape, np.float32), False
    for value, drawing in zip(values, drawings, strict=True):
        drawing.max(axis=-1, out=value)
        coloured |= bool((value - drawing.min(axis=-1)).max() > _COLOURED)
    labelled = 0 < values.max() <= _FEW_LABELS
    if not labelled:
        values /= _COLOURED if coloured else 255
    return np.clip(values, 0, 1, out=values)  # area averages overshoot by an ulp


def _inverted(masks: NDArray[np.float32]) -> bool:
    """Whether, in most frames, they cover most of the picture and most of its border."""
    edges = (masks[:, 0], masks[:, -1], masks[:, :, 0], masks[:, :, -1])
    border = np.concatenate(edges, axis=1).mean(axis=1)
    return bool(np.mean((border > 0.5) & (masks.mean(axis=(1, 2)) > 0.5)) > 0.5)
