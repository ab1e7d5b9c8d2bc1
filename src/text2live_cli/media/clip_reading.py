"""Some frames of a clip, by their numbers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from .clips import Clip


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
