"""Decoded frames of video files: their size, colours, alpha, fields, and the way up."""

from __future__ import annotations

import contextlib
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from av.video.reformatter import VideoReformatter

from .clip_clock import FrameStamp
from .clip_colors import (
    MATRICES,
    SCALING,
    UNSPECIFIED,
    ColorTags,
    matrix_for,
)
from .clip_decoding import (
    Refused,
    can_read_alpha,
    check_size,
    field_parity,
    says_alpha,
)
from .clip_filters import LeftSited

# Code points of ITU-T H.273.
_HDR_TRANSFERS = frozenset({16, 18})

# What counts as unspecified: 0 means RGB and 3 nothing, but both are seen on YUV.
_NO_MATRIX = frozenset({0, UNSPECIFIED, 3})

MARKED = "marked"
"""The interlacing of a clip whose frames say how their fields lie."""


class Scan:
    """What one pass over the frames of a file finds out."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.stamps: list[FrameStamp] = []
        self.size = (0, 0)
        self.colors = ColorTags()
        self._turned = False
        self.is_damaged = False
        self.is_transparent = False
        self._is_interlaced = False
        self._in_rgb = InRgb()

    def add(self, frame: Any) -> None:
        """Take the next frame, or None for a place that does not decode."""
        if frame is None:
            self.is_damaged = True
            return
        size = _upright_size(frame)
        if not self.stamps:
            self._add_first(frame, size)
        if size != self.size:
            raise Refused(
                f"frame {len(self.stamps)} is {size[0]}×{size[1]}, the first {self.size[0]}×"
                f"{self.size[1]}; the frames of a clip have one size"
            )
        if not self.is_transparent and _has_alpha(frame):
            self.is_transparent = bool(self._in_rgb(frame)[..., 3].min() < 255)
        self._is_interlaced = self._is_interlaced or frame.interlaced_frame
        self.stamps.append(FrameStamp(frame.pts, frame.dts, frame.duration or 0))

    def _add_first(self, frame: Any, size: tuple[int, int]) -> None:
        check_size(self.path, frame.width, frame.height)
        is_known = frame.colorspace in MATRICES or frame.colorspace in _NO_MATRIX
        if not (is_known or _is_rgb(frame)):
            raise Refused(
                f"its colour matrix (H.273 code {frame.colorspace}) is not supported; convert it "
                "to BT.709"
            )
        self.size = size
        self._turned = _orientation(frame)[0]
        if not _is_rgb(frame):  # which would say nothing about how YUV should be made of it
            matrix = frame.colorspace if frame.colorspace in MATRICES else UNSPECIFIED
            self.colors = ColorTags(
                frame.color_primaries, frame.color_trc, matrix, frame.color_range
            )

    def interlacing(self, stream: Any) -> str | None:
        """As `Clip.interlacing`."""
        return MARKED if self._is_interlaced else field_parity(stream)

    def pixel_aspect(self, stream: Any) -> Fraction:
        """Upright, as `size` is."""
        aspect = Fraction(stream.sample_aspect_ratio or 1)
        return 1 / aspect if self._turned else aspect

    def notes(self, stream: Any) -> tuple[str, ...]:
        """What to tell the user."""
        name, count, notes = self.path.name, len(self.stamps), []
        if self.is_damaged:
            of = f" of {stream.frames}" if stream.frames > count else ""
            notes.append(f"{name}: {count}{of} frames decode, the rest is damaged")
        if self.interlacing(stream):
            notes.append(f"{name}: is interlaced; its frames are deinterlaced (bwdif)")
        if self.is_transparent:
            notes.append(transparency_note(self.path))
        elif says_alpha(stream) and not can_read_alpha(stream):
            notes.append(f"{name}: its transparency is lost: this build of FFmpeg lacks libvpx")
        if self.colors.transfer in _HDR_TRANSFERS:
            notes.append(f"{name}: HDR is not tone-mapped, and rounded to 8 bits")
        return tuple(notes)


class InRgb:
    """Makes RGB of the frames of a stream with this codec.

    The chroma of 4:2:2 is left-sited, as every standard but JPEG has it and some decoders do not
    say. Elsewhere it lies where the decoder says, which VP9 leaves open.
    """

    def __init__(self, codec: str = "") -> None:
        self._reformatter = VideoReformatter()
        self._left_sited = None if codec == "mjpeg" else LeftSited()

    def __call__(self, frame: Any) -> np.ndarray:
        """(H, W, 3 or 4) uint8 RGB or RGBA, as stored."""
        if self._left_sited is not None and _halves_columns_alone(frame):
            frame = self._left_sited(frame)
        converted = self._reformatter.reformat(
            frame,
            format="rgba" if _has_alpha(frame) else "gbrp",  # planes: twice as fast as rgb24
            src_colorspace=None if _is_rgb(frame) else matrix_for(frame.colorspace, frame.height),
            interpolation=SCALING,
        )
        return np.asarray(converted.to_ndarray())


def transparency_note(path: Path) -> str:
    """What is said where the alpha of a clip is not kept."""
    return f"{path.name}: transparent pixels are shown on white"


def upright(frame: Any, in_rgb: InRgb) -> np.ndarray:
    """(H, W, 3 or 4) uint8 RGB or RGBA, upright."""
    samples = in_rgb(frame)
    swap, flip_rows, flip_columns = _orientation(frame)
    if swap:
        samples = samples.swapaxes(0, 1)
    samples = samples[:: -1 if flip_rows else 1, :: -1 if flip_columns else 1]
    return np.ascontiguousarray(samples)


def _halves_columns_alone(frame: Any) -> bool:
    """Whether it has chroma for every second column of all rows: 4:2:2."""
    pixels = frame.format
    return (pixels.chroma_width(4), pixels.chroma_height(4)) == (2, 4)


def _is_rgb(frame: Any) -> bool:
    return bool(frame.format.is_rgb or frame.format.has_palette)


def _has_alpha(frame: Any) -> bool:
    pixels = frame.format
    return pixels.has_palette or any(component.is_alpha for component in pixels.components)


def _orientation(frame: Any) -> tuple[bool, bool, bool]:
    """From the display matrix: swap the axes, then flip the rows, flip the columns."""
    with contextlib.suppress(KeyError):
        # Row-major (a b u, c d v, x y w): x' = a x + c y and y' = b x + d y, y pointing down.
        a, b, _, c, d = np.frombuffer(frame.side_data["DISPLAYMATRIX"], "<i4", 5).tolist()
        if abs(b) + abs(c) > abs(a) + abs(d):
            return True, b < 0, c < 0
        return False, d < 0, a < 0
    return False, False, False


def _upright_size(frame: Any) -> tuple[int, int]:
    swap, _, _ = _orientation(frame)
    return (frame.height, frame.width) if swap else (frame.width, frame.height)
