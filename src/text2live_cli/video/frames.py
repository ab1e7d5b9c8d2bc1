"""The frames of a clip before one is read: their size in training, what is pointed at in one."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..config import MAX_LONG_SIDE, MIN_SIDE, EditSettings
from ..errors import UsageError
from ..guide.hints import Hints, parse_hints
from ..media.clips import Clip
from ..media.pictures import read_mask


def training_size(clip: Clip, settings: EditSettings) -> tuple[int, int]:
    """Height and width of the frames that are trained on.

    Larger than the source's only where those are too small to train on. Raises UsageError where
    such frames are too long a strip.
    """
    short = max(MIN_SIDE, min(settings.size, clip.height, clip.width))
    scale = short / min(clip.height, clip.width)
    size = round(clip.height * scale), round(clip.width * scale)
    if scale > 1 and max(size) > MAX_LONG_SIDE:
        raise UsageError(
            f"{clip.path}: {clip.width}×{clip.height} is too long a strip to edit;"
            " cut it into parts"
        )
    return size


@dataclass(frozen=True)
class FrameHints:
    """What a user says of where the edit is to be, on one frame of the clip."""

    hints: Hints
    mask: NDArray[np.float32] | None
    """(H, W) of the clip's size, white where it may be edited."""
    frame: int | None
    """Counted from 0; None for the first that was fitted."""
    path: Path | None = None
    """The file of the mask."""

    @property
    def given(self) -> bool:
        """Whether there is any."""
        return self.hints.given or self.mask is not None


def read_frame_hints(
    clip: Clip,
    mask: Path | str | None,
    box: str | None,
    points: Sequence[str],
    not_points: Sequence[str],
) -> FrameHints:
    """Read box, points and a mask, "FILE" or "FILE@FRAME"; raises UsageError, naming the option."""
    size = clip.height, clip.width
    hints = parse_hints(size, box, points, not_points, range(clip.count))
    frames = set(hints.frames)
    limit = path = None
    if mask is not None:
        path, number = _named_frame(Path(mask), clip)
        limit = read_mask(path, size)
        frames |= {number} if number is not None else set()
    if len(frames) > 1:
        numbers = " and ".join(map(str, sorted(frames)))
        raise UsageError(f"--mask and --box, --point are on the frames {numbers}; choose one")
    return FrameHints(hints, limit, min(frames, default=None), path)


def _named_frame(mask: Path, clip: Clip) -> tuple[Path, int | None]:
    name, at, number = mask.name.rpartition("@")
    if not at or mask.exists() or not re.fullmatch(r"[0-9]{1,9}", number):
        return mask, None
    if int(number) >= clip.count:
        raise UsageError(f"--mask {mask}: the clip has the frames 0:{clip.count}")
    return mask.with_name(name), int(number)
