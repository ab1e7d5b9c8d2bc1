"""The opacity of layers: one number, or one that changes over the frames of a clip."""

from __future__ import annotations

import math
from bisect import bisect_right
from dataclasses import dataclass

from ..errors import UsageError


@dataclass(frozen=True)
class Fade:
    """Opacities from 0 to 1 at some frames; linear between them, and the same beyond."""

    frames: tuple[int, ...]
    values: tuple[float, ...]

    @classmethod
    def read(cls, text: str | float) -> Fade:
        """Of "0.7", or "0:0,24:1" by frame. Raises UsageError for anything else."""
        parts = [part.rpartition(":") for part in str(text).split(",")]
        try:
            points = sorted((int(frame or 0), float(value)) for frame, _, value in parts)
        except ValueError as error:
            raise UsageError(
                f"--opacity {text}: must be a number from 0 to 1, or FRAME:VALUE,…"
            ) from error
        frames, values = (tuple(column) for column in zip(*points, strict=True))
        if len(set(frames)) < len(frames) or frames[0] < 0:
            raise UsageError(f"--opacity {text}: give each frame once, from 0")
        if not all(0 <= value <= 1 for value in values):
            raise UsageError(f"--opacity {text}: must be from 0 to 1")
        return cls(frames, values)

    @property
    def constant(self) -> float:
        """The one number. Raises UsageError where it changes."""
        if len(self.values) > 1:
            raise UsageError("--opacity: changes over the frames of clips only")
        return self.values[0]

    def __call__(self, frame: int) -> float:
        """At a frame."""
        after = bisect_right(self.frames, frame)
        if after in (0, len(self.frames)):
            return self.values[max(after - 1, 0)]
        first, last = self.frames[after - 1], self.frames[after]
        share = (frame - first) / (last - first)
        return math.fsum((self.values[after - 1] * (1 - share), self.values[after] * share))
