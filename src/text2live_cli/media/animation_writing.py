"""Animated pictures: GIF, WebP and APNG, whole or not at all, with the times of their frames."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from ..errors import Text2LiveError
from .clip_video_track import peeked
from .files import atomic_path


class _Kind(NamedTuple):
    format: str
    tick: int
    """Milliseconds that its durations are whole multiples of."""
    options: dict[str, Any]


_KINDS = {
    ".gif": _Kind("GIF", 10, {"disposal": 1}),
    ".webp": _Kind("WEBP", 1, {"lossless": True, "quality": 60, "method": 2}),
    ".apng": _Kind("PNG", 1, {"default_image": False}),
}
ANIMATION_ENDINGS = tuple(_KINDS)
"""Of the files that can be written, in lower case, with the point."""


def write_animation(
    path: Path, frames: Iterable[np.ndarray], times: Sequence[Fraction], end: Fraction
) -> None:
    """Write (h, w, 3) or straight (h, w, 4) uint8 frames as the ending of `path` says, in a loop.

    `times` are seconds, one for each frame, `end` is when the last one ends. GIF has 256 colours a
    frame and hundredths of a second; WebP and APNG are without loss. Raises Text2LiveError where
    it cannot be written; whatever `frames` raises passes through.
    """
    kind = _KINDS[path.suffix.lower()]
    _, rest = peeked(frames)
    pictures = _pictures(rest, kind)
    durations = _durations(times, end, kind.tick)
    with atomic_path(path) as temporary:
        try:
            start = next(pictures)
            # Pillow goes twice through the pictures of a PNG.
            others = list(pictures) if kind.format == "PNG" else pictures
            start.save(
                temporary,
                kind.format,
                save_all=True,
                append_images=others,
                duration=durations if len(durations) > 1 else durations[0],
                loop=0,
                **kind.options,
            )
        except (OSError, ValueError) as error:
            raise Text2LiveError(f"cannot write {path}: {error}") from error


def _pictures(frames: Iterator[np.ndarray], kind: _Kind) -> Iterator[Image.Image]:
    for frame in frames:
        image = Image.fromarray(np.ascontiguousarray(frame))
        if kind.format == "GIF" and image.mode == "RGB":
            image = image.quantize(256, dither=Image.Dither.FLOYDSTEINBERG)
        yield image


def _durations(times: Sequence[Fraction], end: Fraction, tick: int) -> list[int]:
    """Milliseconds of each frame, whole ticks, rounded so that they do not drift."""
    places = [round(1000 * time / tick) for time in (*times, end)]
    return [max(1, b - a) * tick for a, b in pairwise(places)]
