"""The video stream of a file that is written: timing, colours, alpha."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.video.reformatter import ColorRange, VideoReformatter

from .clip_clock import JITTER, keeps_rate
from .clip_colors import (
    CHROMA_OF_ALL_PIXELS,
    SCALING,
    ColorTags,
    matrix_for,
)
from .clip_filters import LeftSited
from .clip_kinds import Kind, add_stream
from .clip_streams import CarriedStreams
from .clips import Clip

_FINE_TIME_BASE = Fraction(1, 90_000)
_LIMITED_RANGE = 1
_FULL_RANGE = 2


class VideoTrack:
    """The video stream of an output container."""

    def __init__(
        self,
        output: Any,
        kind: Kind,
        frames: Iterable[np.ndarray],
        rate: Fraction,
        times: Sequence[Fraction] | None,
        end: Fraction | None,
        like: Clip | None,
    ) -> None:
        """`frames` are (h, w, 3) RGB or (h, w, 4) RGBA, at least one; the rest as `write_video`."""
        first, self._frames = peeked(frames)
        height, width = first.shape[:2]
        self.shape = first.shape
        self.padding = (height % 2, width % 2) if kind.even else (0, 0)
        self.written = 0
        self.end = Fraction(0)
        self._rate = rate
        self._count = None if times is None else len(times)
        self._times = None if times is None else [time - times[0] for time in times]
        self._hold = 1 / rate  # of the last frame, in seconds
        if times and end is not None:
            self._hold = max(end - times[-1], JITTER)
        if self._times is not None and keeps_rate(self._times, rate):
            if abs(self._hold - 1 / rate) <= JITTER:
                self._times = None
            else:  # the rate as it is meant, and a longer last frame
                self._times = [index / rate for index in range(len(self._times))]
        self._durations: dict[int, int] = {}
        self._tags = tags_of(kind, like)
        self._aspect = Fraction(1) if like is None else like.pixel_aspect
        self._loses_aspect = self._aspect != 1 and kind.format == "webm"
        self._pixels = kind.pixels
        self._given = "rgba" if kind.pixels.startswith("yuva") else "rgb24"
        self._reformatter = VideoReformatter()
        self._left_sited = LeftSited() if kind.left_sited else None
        self._output = output
        options = kind.encoder_options
        if self._times is not None and kind.encoder == "libx264":
            # MP4 has durations in the order of decoding: the last shown must be the last decoded.
            options = {**options, "bf": "0"}
        self.stream = add_stream(
            output,
            kind.encoder,
            kind.instead,
            rate=rate,
            options=options,
            width=width + self.padding[1],
            height=height + self.padding[0],
            pix_fmt=kind.pixels,
            time_base=1 / rate if self._times is None else _FINE_TIME_BASE,
        )
        context = self.stream.codec_context
        if kind.tag:
            context.codec_tag = kind.tag
        context.sample_aspect_ratio = self._aspect
        context.color_primaries, context.color_trc = self._tags.primaries, self._tags.transfer
        context.colorspace, context.color_range = self._tags.matrix, self._tags.range

    def notes(self, path: Path) -> tuple[str, ...]:
        """What to tell the user about the video in `path`."""
        notes = []
        if any(self.padding):
            height, width = self.shape[:2]
            what = " and ".join(
                word for word, odd in zip(("row", "column"), self.padding, strict=True) if odd
            )
            notes.append(
                f"{path.name}: is {width + self.padding[1]}×{height + self.padding[0]}, with the "
                f"last {what} repeated, since its codec needs even sides"
            )
        if self._loses_aspect:  # PyAV sets it in the bitstream, where VP9 has no place for it
            notes.append(
                f"{path.name}: is played with square pixels; stretch its width by "
                f"{float(self._aspect):.4g}"
            )
        return tuple(notes)

    def write(self, others: CarriedStreams | None) -> None:
        """Encode all frames, with what `others` hold up to each before it."""
        last = -1
        for index, array in enumerate(self._frames):
            if array.shape != self.shape:
                raise ValueError(f"frame {index} is {array.shape}, the first {self.shape}")
            time, duration = self._timing(index)
            if others is not None:
                others.write(time)
            frame = self._yuv(array)
            frame.time_base = self.stream.codec_context.time_base
            frame.pts = last = max(round(time / frame.time_base), last + 1)
            frame.duration = self._durations[last] = round(duration / frame.time_base)
            self._mux(frame)
            self.written, self.end = index + 1, time + duration
        if self._count not in (None, self.written):
            raise ValueError(f"{self.written} frames, but {self._count} times")
        self._mux(None)

    def _mux(self, frame: Any) -> None:
        for packet in self.stream.encode(frame):
            packet.duration = self._durations.pop(packet.pts, packet.duration)
            self._output.mux(packet)

    def _timing(self, index: int) -> tuple[Fraction, Fraction]:
        """When a frame appears and for how long, in seconds."""
        if self._times is None:
            return index / self._rate, 1 / self._rate
        if index >= len(self._times):
            raise ValueError(f"more frames than the {len(self._times)} times")
        time, after = self._times[index], self._times[index + 1 : index + 2]
        return time, after[0] - time if after else self._hold

    def _yuv(self, array: np.ndarray) -> Any:
        rows, columns = self.padding
        if rows or columns:
            array = np.pad(array, ((0, rows), (0, columns), (0, 0)), mode="edge")
        full = self._tags.range == _FULL_RANGE
        given = av.VideoFrame.from_ndarray(np.ascontiguousarray(array), self._given)
        frame = self._reformatter.reformat(
            given if self._left_sited is None else self._left_sited(given),
            format=self._pixels,
            dst_colorspace=matrix_for(self._tags.matrix, array.shape[0]),
            dst_color_range=ColorRange.JPEG if full else ColorRange.MPEG,
            interpolation=SCALING | CHROMA_OF_ALL_PIXELS,
        )
        frame.colorspace, frame.color_range = self._tags.matrix, self._tags.range
        frame.color_primaries, frame.color_trc = self._tags.primaries, self._tags.transfer
        return frame


def tags_of(kind: Kind, like: Clip | None) -> ColorTags:
    """The colour tags of a file: those of a clip, as far as its kind can have them."""
    tags = ColorTags() if like is None or like.colors is None else like.colors
    if kind.limited:
        tags = tags._replace(range=_LIMITED_RANGE)
    return tags if kind.matrix is None else tags._replace(matrix=kind.matrix)


def peeked(frames: Iterable[np.ndarray]) -> tuple[np.ndarray, Iterator[np.ndarray]]:
    """The first frame, and all frames. Raises ValueError where there is none."""
    iterator = iter(frames)
    first = next(iterator, None)
    if first is None:
        raise ValueError("a video needs at least one frame")
    return first, itertools.chain([first], iterator)
