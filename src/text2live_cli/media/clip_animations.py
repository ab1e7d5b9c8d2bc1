"""Animated WebP and AVIF files, by Pillow: FFmpeg reads neither with its timing and its alpha."""

from __future__ import annotations

import contextlib
import struct
import warnings
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, features

from ..errors import Text2LiveError, UsageError
from .clip_decoding import DECODER_ERRORS, check_size

_PILLOW_ERRORS = (*DECODER_ERRORS, EOFError, SyntaxError, TypeError, struct.error)
_ANIMATED = ("GIF", "PNG", "WEBP")
_SHORTEST = 11  # milliseconds; what is shorter is shown for a tenth of a second, as browsers do
_BRANDS_END = 64  # bytes, within which the brands of an ISO file stand


class Animation(NamedTuple):
    """An animated picture that was decoded once from end to end."""

    width: int
    height: int
    durations: tuple[Fraction, ...]
    """Seconds, one per frame."""
    is_whole: bool
    is_transparent: bool


def animation_format(path: Path) -> str | None:
    """ "WEBP" or "AVIF" for a file that begins like an animated one or a still; else None.

    Raises UsageError for a still picture of the kinds that FFmpeg takes for a video of one frame.
    """
    with contextlib.suppress(OSError), path.open("rb") as file:
        start = file.read(_BRANDS_END)
        if start[:4] == b"RIFF" and start[8:12] == b"WEBP":
            return "WEBP"
        if start[4:8] == b"ftyp":
            length = struct.unpack(">I", start[:4])[0]
            brands = {start[i : i + 4] for i in range(8, min(length, len(start)), 4)}
            if b"avis" in brands:
                return "AVIF"
            for name, brand in (("AVIF", b"avif"), ("HEIC", b"heic"), ("HEIC", b"heix")):
                if brand in brands:
                    raise UsageError(f"{path}: is a {name} picture; name a video or a folder")
    return None


def is_animated(path: Path) -> bool:
    """Whether a GIF, PNG or WebP file has several frames."""
    with contextlib.suppress(*_PILLOW_ERRORS), Image.open(path, formats=_ANIMATED) as image:
        return bool(getattr(image, "is_animated", False))
    return False


def read_animation(path: Path, kind: str) -> Animation:
    """What one pass over the frames finds out.

    Raises UsageError for a still picture, Text2LiveError where nothing decodes.
    """
    durations: list[Fraction] = []
    is_transparent, is_whole = False, True
    with _opened(path, kind) as image:
        size, count = image.size, int(getattr(image, "n_frames", 1))
        if count < 2:
            raise UsageError(
                f"{path}: is a {kind} picture, for edit-image; name a video, GIF or folder"
            )
        for samples, duration in _decoded(image):
            if samples is None:
                is_whole = False
                break
            durations.append(duration)
            is_transparent = is_transparent or bool(samples[..., 3].min() < 255)
    if not durations:
        raise Text2LiveError(
            f"{path}: no frame decodes: the file is damaged; fetch or export it again"
        )
    width, height = size
    return Animation(width, height, tuple(durations), is_whole, is_transparent)


def animation_frames(path: Path, kind: str) -> Iterator[np.ndarray]:
    """Stream the frames that decode: (h, w, 4) uint8 RGBA, alpha straight."""
    with _opened(path, kind) as image:
        for samples, _ in _decoded(image):
            if samples is None:
                return
            yield samples


@contextlib.contextmanager
def _opened(path: Path, kind: str) -> Iterator[Any]:
    if not features.check(kind.lower()):
        raise Text2LiveError(
            f"{path}: animated {kind} needs a Pillow that reads it (pip install -U pillow);"
            " or convert it to MP4"
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            image = Image.open(path, formats=[kind])
        except _PILLOW_ERRORS as error:
            raise Text2LiveError(
                f"{path}: the {kind} file is damaged; fetch or export it again"
            ) from error
    with image:
        check_size(path, *image.size)
        yield image


def _decoded(image: Any) -> Iterator[tuple[np.ndarray | None, Fraction]]:
    """Frames with the seconds that they stand; a last one, None, where the rest is damaged."""
    for index in range(image.n_frames):
        try:
            image.seek(index)
            samples = np.array(image.convert("RGBA"))
            milliseconds = Fraction(image.info.get("duration") or 0)
        except _PILLOW_ERRORS:
            yield None, Fraction(0)
            return
        yield samples, Fraction(milliseconds if milliseconds >= _SHORTEST else 100) / 1000
