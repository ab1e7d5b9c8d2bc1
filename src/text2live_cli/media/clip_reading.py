"""Some frames of a clip, by their numbers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from ..errors import UsageError
from .clips import Clip

_MAX_FPS = 1000


def frames_at(
    clip: Clip, numbers: Sequence[int], size: tuple[int, int] | None = None
) -> Iterator[NDArray[np.uint8]]:
    """The frames of these rising numbers, (h, w, 3) uint8 RGB, at `size` (height, width) if given.

    The clip is decoded once where they are evenly apart, else the last ones once more.
    """
    step = numbers[1] - numbers[0] if len(numbers) > 1 else 1
    even = next((i for i in range(1, len(numbers)) if numbers[i] - numbers[i - 1] != step), None)
    regular = numbers if even is None else numbers[:even]
    yield from clip.frames(regular[0], regular[-1] + 1, step, size)
    if even is not None:
        yield from frames_at(clip, numbers[even:], size)


def rate_of(fps: float | None) -> Fraction | None:
    """`--fps` as `open_clip` takes it: 29.97 is 30000/1001. Raises UsageError for what is none."""
    if fps is None:
        return None
    if not 0 < fps <= _MAX_FPS:
        raise UsageError(f"--fps {fps:g}: must be over 0, and {_MAX_FPS} at most")
    film = Fraction(round(fps * 1.001) * 1000, 1001)
    exact = Fraction(str(fps))
    return film if round(float(film), 2) == round(fps, 2) != round(fps) else exact
