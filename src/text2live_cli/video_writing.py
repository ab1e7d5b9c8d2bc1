"""Writing videos that everyone can play, and edit layers that editors open.

Frames are streamed: memory does not depend on the length of a video. Files are written whole or not
at all. Colours are the numbers of the source: R'G'B' becomes YUV by the matrix and range of the
tags that the file gets; primaries and transfer are carried, not converted.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import secrets
import shutil
from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import av
import imagecodecs
import numpy as np
from av.video.reformatter import ColorRange, Interpolation, VideoReformatter

from .atomic import atomic_path
from .errors import Text2LiveError, UsageError
from .video import Clip, decoded_frames, demuxed_packets, keeps_rate, open_container
from .video_color import SCALING, ColorTags, matrix_for

_FINE_TIME_BASE = Fraction(1, 90_000)
_LIMITED_RANGE = 1
_FULL_RANGE = 2
_CHROMA_OF_ALL_PIXELS = int(Interpolation.FULL_CHR_H_INP)


def write_video(
    path: Path,
    frames: Iterable[np.ndarray],
    rate: Fraction,
    *,
    times: Sequence[Fraction] | None = None,
    like: Clip | None = None,
    audio_from: Clip | None = None,
) -> tuple[str, ...]:
    """Write (h, w, 3) uint8 RGB frames of one size as a video, whole or not at all.

    The ending chooses: .mp4, .mov and .mkv hold H.264 that phones and browsers play, .webm holds
    VP9; both 4:2:0 at 8 bits. `times` (seconds from the first frame, one per frame, increasing)
    keep a variable rate to 1 ms; None, or times within `JITTER` of it, give the constant `rate`.
    `like` is the clip whose colour tags and pixel aspect are kept (BT.709 without; .webm has square
    pixels). The audio of `audio_from` is copied from its beginning, in step with its first frame,
    or encoded anew where the format asks for it; it ends with the video where that has fewer frames
    than the clip.
    Returns what the user should be told. Raises UsageError for another ending, Text2LiveError for
    a missing encoder or where the file cannot be written; whatever `frames` raises passes through.
    """
    kind = _kind(path, _KINDS)
    with atomic_path(path) as temporary, _encoder_errors(path), contextlib.ExitStack() as stack:
        output = stack.enter_context(_output(f"file:{temporary}", kind.format, kind.options))
        first, frames = _peeked(frames)
        video = _VideoTrack(output, kind, first.shape, rate, times, like)
        notes = video.notes(path)
        if audio_from is None or not audio_from.has_audio:
            video.write(frames, None)
            return notes
        audio = _AudioTrack(stack, output, kind, audio_from)
        video.write(frames, audio)
        audio.write(None if video.written >= audio_from.count else video.end)
        return notes + audio.notes


def write_layer_video(
    path: Path,
    frames: Iterable[np.ndarray],
    rate: Fraction,
    *,
    times: Sequence[Fraction] | None = None,
    like: Clip | None = None,
) -> tuple[str, ...]:
    """Write (h, w, 4) uint8 RGBA frames of one size, alpha straight, as a video with alpha.

    The ending chooses: .mov holds ProRes 4444, whose alpha is without loss; .webm holds VP9, 4:2:0
    at 8 bits, whose alpha is off by a quarter of a level in the mean and by up to 20 in places, and
    which browsers and libvpx-vp9 decode (FFmpeg's own decoder drops the alpha). Both hold the exact
    size, odd sides too. Colours under alpha 0 are stored as well, and both formats blur them over
    the edge of the layer. `rate`, `times` and `like` are those of `write_video`, but ProRes has
    limited range only. Returns what the user should be told. Raises UsageError for another ending,
    Text2LiveError for a missing encoder or where the file cannot be written; whatever `frames`
    raises passes through.
    """
    kind = _kind(path, _LAYER_KINDS)
    with (
        atomic_path(path) as temporary,
        _encoder_errors(path),
        _output(f"file:{temporary}", kind.format, kind.options) as output,
    ):
        first, frames = _peeked(frames)
        video = _VideoTrack(output, kind, first.shape, rate, times, like)
        video.write(frames, None)
        return video.notes(path)


def write_layer_frames(folder: Path, frames: Iterable[np.ndarray]) -> None:
    """Write (h, w, 4) uint8 RGBA frames, alpha straight, to `folder`/00000.png and so on.

    All or none: when the last one is written they take the place of the numbered pictures of an
    older `folder`. Raises Text2LiveError where one cannot be written; whatever `frames` raises
    passes through.
    """
    with _pictures_at_once(folder) as temporary:
        _, frames = _peeked(frames)
        for index, frame in enumerate(frames):
            data = imagecodecs.png_encode(np.ascontiguousarray(frame))
            with (temporary / f"{index:05d}.png").open("wb") as file:
                file.write(data)
                os.fsync(file.fileno())


def webm_bytes(frames: Iterable[np.ndarray], rate: Fraction) -> bytes:
    """Encode (h, w, 3) uint8 RGB frames of one size as a small VP9/WebM file, for a web page.

    Quick rather than good, without sound. Raises Text2LiveError where the encoder is missing.
    """
    buffer = BytesIO()
    with _encoder_errors(Path("preview.webm")), _output(buffer, _PREVIEW.format, {}) as output:
        first, frames = _peeked(frames)
        _VideoTrack(output, _PREVIEW, first.shape, rate, None, None).write(frames, None)
    return buffer.getvalue()


def require_encoders(layer_formats: Sequence[str]) -> None:
    """Raise Text2LiveError where an encoder is missing for an MP4, a web page, or a layer format.

    Layer formats are endings of `write_layer_video` without the point; others need no encoder.
    """
    for kind in (_KINDS[".mp4"], _PREVIEW):  # always written: nothing else will do
        _require_encoder(kind.encoder, "")
    for name in layer_formats:
        if kind_of_layer := _LAYER_KINDS.get(f".{name}"):
            _require_encoder(kind_of_layer.encoder, kind_of_layer.instead)


def require_writable(path: Path) -> None:
    """Raise, before there are frames, what `write_video` would for this ending."""
    kind = _kind(path, _KINDS)
    _require_encoder(kind.encoder, kind.instead)


def _require_encoder(encoder: str, instead: str) -> None:
    with _named_encoder(encoder, instead):
        av.codec.Codec(encoder, "w")


class _Kind(NamedTuple):
    """A file format with its encoders."""

    format: str
    encoder: str
    encoder_options: dict[str, str]
    options: dict[str, str]
    instead: str
    """What else can be done where an encoder is missing."""
    even: bool = False
    """Whether both sides have to be even."""
    pixels: str = "yuv420p"
    limited: bool = False
    """Whether the format cannot say that the range is full."""
    copied: frozenset[str] = frozenset()
    """The audio codecs that go in as they are."""
    audio_encoder: str = ""


_IN_MP4 = frozenset({"aac", "mp3", "ac3", "eac3", "alac", "opus"})
_IN_MOV = frozenset({"aac", "mp3", "ac3", "eac3", "alac", "pcm_s16le", "pcm_s24le"})
_IN_MKV = _IN_MP4 | _IN_MOV | {"vorbis", "flac", "dts", "mp2"}
_IN_WEBM = frozenset({"opus", "vorbis"})
_X264 = {"crf": "16", "preset": "medium"}
_VP9 = {"crf": "20", "b": "0", "deadline": "good", "cpu-used": "4", "row-mt": "1"}
_QUICK_VP9 = {"crf": "32", "b": "0", "deadline": "realtime", "cpu-used": "8", "row-mt": "1"}
# Hidden frames would have to fall together in the streams of the colours and of the alpha.
_VP9_LAYER = {**_VP9, "crf": "8", "auto-alt-ref": "0"}
_PRORES_LAYER = {"profile": "4444", "alpha_bits": "16"}  # of 8 bits some come back one lower
_INDEX_FIRST = {"movflags": "+faststart"}  # a browser can start before it has the whole file

_OR_WEBM = ", or write a .webm file"
_H264_IN_MP4 = _Kind(
    "mp4", "libx264", _X264, _INDEX_FIRST, _OR_WEBM, even=True, copied=_IN_MP4, audio_encoder="aac"
)
_KINDS = {
    ".mp4": _H264_IN_MP4,
    ".mov": _H264_IN_MP4._replace(format="mov", copied=_IN_MOV),
    ".mkv": _H264_IN_MP4._replace(format="matroska", options={}, copied=_IN_MKV),
    ".webm": _Kind(
        "webm",
        "libvpx-vp9",
        _VP9,
        {},
        ", or write a .mp4, .mov or .mkv file",
        copied=_IN_WEBM,
        audio_encoder="libopus",
    ),
}
_PREVIEW = _Kind("webm", "libvpx-vp9", _QUICK_VP9, {}, "")
_LAYER_KINDS = {
    ".mov": _Kind(
        "mov",
        "prores_ks",
        _PRORES_LAYER,
        {},
        ", or write the layer as .webm or PNG frames",
        pixels="yuva444p10le",
        limited=True,
    ),
    ".webm": _Kind(
        "webm",
        "libvpx-vp9",
        _VP9_LAYER,
        {},
        ", or write the layer as .mov or PNG frames",
        pixels="yuva420p",
    ),
}


def _kind(path: Path, kinds: dict[str, _Kind]) -> _Kind:
    kind = kinds.get(path.suffix.lower())
    if kind is None:
        raise UsageError(f"cannot write {path}: use a name that ends in {', '.join(kinds)}")
    return kind


@contextlib.contextmanager
def _pictures_at_once(folder: Path) -> Iterator[Path]:
    """A folder whose files replace the numbered PNGs of `folder` when the block ends well."""
    temporary = folder.with_name(f".{secrets.token_hex(6)}")
    try:
        if folder.exists() and not folder.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        temporary.mkdir()
        yield temporary
        folder.mkdir(exist_ok=True)
        for former in folder.glob("*.png"):
            if former.stem.isdigit():
                former.unlink()
        for path in temporary.iterdir():
            path.replace(folder / path.name)
    except OSError as error:
        raise Text2LiveError(
            f"cannot write {folder}: {error.strerror or error}; make room or choose another place"
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@contextlib.contextmanager
def _encoder_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except av.FFmpegError as error:
        if error.errno in errno.errorcode and error.errno != errno.EINVAL:
            raise OSError(error.errno, error.strerror) from error  # for `atomic_path`
        raise Text2LiveError(f"cannot write {path}: the encoder says {error.strerror}") from error


@contextlib.contextmanager
def _output(file: str | BytesIO, form: str, options: dict[str, str]) -> Iterator[Any]:
    # Bit-exact: no random identifiers, so that the same frames make the same file.
    options = {"fflags": "+bitexact", **options}
    output = av.open(file, "w", format=form, container_options=options)
    try:
        yield output
    except BaseException:
        with contextlib.suppress(Exception):  # the first error is the one to tell
            output.close()
        raise
    output.close()


def _peeked(frames: Iterable[np.ndarray]) -> tuple[np.ndarray, Iterator[np.ndarray]]:
    iterator = iter(frames)
    first = next(iterator, None)
    if first is None:
        raise ValueError("a video needs at least one frame")
    return first, itertools.chain([first], iterator)


def _add_stream(output: Any, encoder: str, instead: str, **settings: Any) -> Any:
    with _named_encoder(encoder, instead):
        return output.add_stream(encoder, **settings)


@contextlib.contextmanager
def _named_encoder(encoder: str, instead: str) -> Iterator[None]:
    """An encoder that is missing within is named, with what to do."""
    try:
        yield
    except (av.codec.codec.UnknownCodecError, av.error.EncoderNotFoundError) as error:
        raise Text2LiveError(
            f"the encoder {encoder} is missing from this build of FFmpeg; install the wheel of "
            f"av from PyPI{instead}"
        ) from error


class _VideoTrack:
    """The video stream of an output container."""

    def __init__(
        self,
        output: Any,
        kind: _Kind,
        shape: tuple[int, ...],
        rate: Fraction,
        times: Sequence[Fraction] | None,
        like: Clip | None,
    ) -> None:
        height, width = shape[:2]
        self.shape = shape
        self.padding = (height % 2, width % 2) if kind.even else (0, 0)
        self.written = 0
        self.end = Fraction(0)
        self._rate = rate
        self._count = None if times is None else len(times)
        self._times = None if times is None else [time - times[0] for time in times]
        if self._times is not None and keeps_rate(self._times, rate):
            self._times = None
        self._tags = ColorTags() if like is None or like.colors is None else like.colors
        if kind.limited:
            self._tags = self._tags._replace(range=_LIMITED_RANGE)
        self._aspect = Fraction(1) if like is None else like.pixel_aspect
        self._loses_aspect = self._aspect != 1 and kind.format == "webm"
        self._pixels = kind.pixels
        self._given = "rgba" if kind.pixels.startswith("yuva") else "rgb24"
        self._reformatter = VideoReformatter()
        self._output = output
        self.stream = _add_stream(
            output,
            kind.encoder,
            kind.instead,
            rate=rate,
            options=kind.encoder_options,
            width=width + self.padding[1],
            height=height + self.padding[0],
            pix_fmt=kind.pixels,
            time_base=1 / rate if self._times is None else _FINE_TIME_BASE,
        )
        context = self.stream.codec_context
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
                f"last {what} repeated, since H.264 needs even sides"
            )
        if self._loses_aspect:  # PyAV sets it in the bitstream, where VP9 has no place for it
            notes.append(
                f"{path.name}: is played with square pixels; stretch its width by "
                f"{float(self._aspect):.4g}"
            )
        return tuple(notes)

    def write(self, frames: Iterable[np.ndarray], audio: _AudioTrack | None) -> None:
        """Encode all frames, with the `audio` up to each before it."""
        last = -1
        for index, array in enumerate(frames):
            if array.shape != self.shape:
                raise ValueError(f"frame {index} is {array.shape}, the first {self.shape}")
            time, duration = self._timing(index)
            if audio is not None:
                audio.write(time)
            frame = self._yuv(array)
            frame.time_base = self.stream.codec_context.time_base
            frame.pts = last = max(round(time / frame.time_base), last + 1)
            frame.duration = round(duration / frame.time_base)
            self._output.mux(self.stream.encode(frame))
            self.written, self.end = index + 1, time + duration
        if self._count not in (None, self.written):
            raise ValueError(f"{self.written} frames, but {self._count} times")
        self._output.mux(self.stream.encode(None))

    def _timing(self, index: int) -> tuple[Fraction, Fraction]:
        """When a frame appears and for how long, in seconds."""
        if self._times is None:
            return index / self._rate, 1 / self._rate
        if index >= len(self._times):
            raise ValueError(f"more frames than the {len(self._times)} times")
        time, after = self._times[index], self._times[index + 1 : index + 2]
        return time, after[0] - time if after else 1 / self._rate

    def _yuv(self, array: np.ndarray) -> Any:
        rows, columns = self.padding
        if rows or columns:
            array = np.pad(array, ((0, rows), (0, columns), (0, 0)), mode="edge")
        full = self._tags.range == _FULL_RANGE
        frame = self._reformatter.reformat(
            av.VideoFrame.from_ndarray(np.ascontiguousarray(array), self._given),
            format=self._pixels,
            dst_colorspace=matrix_for(self._tags.matrix, array.shape[0]),
            dst_color_range=ColorRange.JPEG if full else ColorRange.MPEG,
            interpolation=SCALING | _CHROMA_OF_ALL_PIXELS,
        )
        frame.colorspace, frame.color_range = self._tags.matrix, self._tags.range
        frame.color_primaries, frame.color_trc = self._tags.primaries, self._tags.transfer
        return frame


class _AudioTrack:
    """The audio of a clip on its way into an output container, packet by packet."""

    def __init__(self, stack: contextlib.ExitStack, output: Any, kind: _Kind, clip: Clip) -> None:
        self.notes: tuple[str, ...] = ()
        self._output = output
        self._container = stack.enter_context(open_container(clip.path))
        self._source = self._container.streams.best("audio")
        self._start = clip.start
        self._packets: Iterator[Any] = iter(())
        if self._source is None or self._source.codec_context is None:
            self.notes = (f"{clip.path.name}: its audio cannot be read and is left out",)
        elif (codec := self._source.codec_context.codec.canonical_name) in kind.copied:
            self._stream = output.add_stream_from_template(self._source)
            self._packets = self._copied()
        else:
            self._stream = _add_audio_encoder(output, kind, self._source)
            self._packets = self._encoded()
            name = self._stream.codec_context.codec.canonical_name
            self.notes = (f"{clip.path.name}: its audio is converted from {codec} to {name}",)
        self._next = None

    def write(self, until: Fraction | None) -> None:
        """Mux what begins before `until` (seconds of the video; None: all that is left)."""
        while True:
            if self._next is None:
                self._next = next(self._packets, None)
            if self._next is None:
                return
            if until is not None and self._next.pts * self._next.time_base >= until:
                return
            self._output.mux(self._next)
            self._next = None

    def _copied(self) -> Iterator[Any]:
        shift = round(self._start / self._source.time_base)
        last = None
        for packet in demuxed_packets(self._container, self._source):
            if packet is None or packet.pts is None or packet.dts is None:
                continue
            if last is not None and packet.dts <= last:  # muxers refuse to go back in time
                continue
            last = packet.dts
            packet.pts, packet.dts = packet.pts - shift, packet.dts - shift
            packet.stream = self._stream
            yield packet

    def _encoded(self) -> Iterator[Any]:
        for frame in decoded_frames(self._container, self._source):
            if frame is None or frame.pts is None:
                continue
            frame.pts -= round(self._start / frame.time_base)
            yield from self._stream.encode(frame)
        yield from self._stream.encode(None)


def _add_audio_encoder(output: Any, kind: _Kind, source: Any) -> Any:
    """Mono stays mono, all else becomes stereo; at 44.1 kHz only where that is the source's."""
    is_cd_rate = kind.audio_encoder == "aac" and source.codec_context.sample_rate == 44_100
    return _add_stream(
        output,
        kind.audio_encoder,
        kind.instead,
        rate=44_100 if is_cd_rate else 48_000,
        layout="mono" if source.codec_context.layout.nb_channels == 1 else "stereo",
        bit_rate=192_000,
    )
