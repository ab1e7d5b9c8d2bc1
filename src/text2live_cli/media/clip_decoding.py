"""Opening video files and decoding what is in them.

Clips are untrusted. Only regular local files are opened, by demuxers that read nothing but that one
file (no playlists, no protocols).
"""

from __future__ import annotations

import contextlib
import itertools
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import av
from PIL import Image

from ..errors import Text2LiveError, UsageError
from .clip_filters import filter_graph
from .pictures import MIN_SIDE
from .samples import MAX_PIXELS

MAX_SIDE = 16384
"""Longer sides, in pixels, are refused: it is also where H.264 encoders end."""

# Containers that hold their own data. Absent on purpose: hls, dash, concat, sdp, image2, lavfi and
# whatever else opens other files, the network or a device.
_DEMUXERS = (
    "mov,matroska,webm,avi,gif,apng,mpegts,mpeg,mpegvideo,h264,hevc,vvc,av1,obu,m4v,ivf,flv,asf,"
    "ogg,mxf,nut,dv,yuv4mpegpipe,rm,wtv,gxf,mjpeg,flic,h261,h263,dirac,vc1,swf,amv,nsv,film_cpk"
)
_PLAYLIST_STARTS = (b"#EXTM3U", b"ffconcat", b"v=0", b"[playlist]", b"<?xml", b"<MPD", b"<smil")
_PICTURE_FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "AVIF")

# What PyAV is known to raise over damaged or hostile files.
DECODER_ERRORS = (
    av.FFmpegError,
    ArithmeticError,
    AttributeError,
    LookupError,
    MemoryError,
    OSError,
    RuntimeError,
    ValueError,
)

# FFmpeg's own decoders of these drop the alpha.
_ALPHA_DECODERS = {"vp8": "libvpx", "vp9": "libvpx-vp9"}

_TOP_FIRST, _BOTTOM_FIRST = (2, 4), (3, 5)  # AVFieldOrder: how the fields are shown


class Refused(Exception):
    """A file that is sound or not, but not for us; the text says why and what to do."""


@contextlib.contextmanager
def open_container(path: Path) -> Iterator[Any]:
    """The input container of a regular local file, which opens nothing but that file.

    Raises Text2LiveError, or UsageError, where no demuxer wants it.
    """
    options = {
        "protocol_whitelist": "file",
        "format_whitelist": _DEMUXERS,
        "max_pixels": str(MAX_PIXELS),
    }
    try:
        # With the protocol said, a name such as "concat:a" is only a name.
        container = av.open(f"file:{path}", options=options, metadata_errors="replace")
    except DECODER_ERRORS as error:
        raise _unreadable(path) from error
    with container:
        yield container


def _unreadable(path: Path) -> Text2LiveError:
    """Why no demuxer wants a file, for what can be told from its beginning."""
    with contextlib.suppress(OSError), path.open("rb") as file:
        if file.read(64).lstrip(b"\xef\xbb\xbf \r\n").startswith(_PLAYLIST_STARTS):
            return UsageError(f"{path}: is a playlist; name the local video file itself")
    with contextlib.suppress(Exception), warnings.catch_warnings():  # all this is for the words
        warnings.simplefilter("ignore")
        with Image.open(path, formats=_PICTURE_FORMATS) as image:
            return UsageError(
                f"{path}: is a {image.format} picture, for edit-image; name a video, GIF or folder"
            )
    return Text2LiveError(
        f"{path}: not a video that can be read, or cut short; fetch or export it again"
    )


@contextlib.contextmanager
def decoder_errors(path: Path) -> Iterator[None]:
    """Turn all that a decoder may do over a bad file into one line about `path`."""
    try:
        yield
    except Refused as error:
        raise Text2LiveError(f"{path}: {error}") from error
    except DECODER_ERRORS as error:
        raise Text2LiveError(
            f"{path}: the video is damaged or of an unknown kind; fetch or export it again"
        ) from error


def video_stream(path: Path, container: Any) -> Any:
    """The stream of the pictures. Raises Text2LiveError where there is none for us."""
    with decoder_errors(path):
        stream = container.streams.best("video")
        # The cover of a song counts as a video stream with one frame.
        if stream is None or stream.disposition & av.stream.Disposition.attached_pic:
            raise Refused("holds no video; name a file with moving pictures")
        if stream.codec_context is None:
            raise Refused("its video codec is not supported; convert it to H.264")
        if stream.codec_context.width and stream.codec_context.height:
            check_size(path, stream.codec_context.width, stream.codec_context.height)
    return stream


def check_size(path: Path, width: int, height: int) -> None:
    """Raise Text2LiveError for frames that are too large or too small."""
    if max(width, height) > MAX_SIDE or width * height > MAX_PIXELS:
        raise Text2LiveError(
            f"{path}: {width}×{height} pixels are too many (limit {MAX_SIDE} a side and "
            f"{MAX_PIXELS // 10**6} megapixels); make a smaller copy"
        )
    if min(width, height) < MIN_SIDE:
        raise Text2LiveError(
            f"{path}: {width}×{height} pixels are too few; use at least {MIN_SIDE}×{MIN_SIDE}"
        )


def demuxed_packets(container: Any, *streams: Any) -> Iterator[Any]:
    """The packets of streams (all without); a last one, None, where the file cannot be read on."""
    try:
        yield from container.demux(*streams)
    except av.FFmpegError:
        yield None


def decoded_frames(stream: Any, packets: Iterable[Any]) -> Iterator[Any]:
    """The frames in the packets of a stream; None stands for a place that does not decode."""
    decoder = _alpha_decoder(stream) or stream.codec_context
    for packet in packets:
        try:
            frames = decoder.decode(packet)
        except av.FFmpegError:
            yield None
            continue
        for frame in frames:
            yield None if frame.is_corrupt else frame
        if packet is None:
            yield None


def says_alpha(stream: Any) -> bool:
    """Whether a VP8 or VP9 stream says that it holds transparency beside its pictures."""
    tags = {name.lower(): value for name, value in stream.metadata.items()}
    return tags.get("alpha_mode") == "1" and stream.codec_context.name in _ALPHA_DECODERS


def _alpha_decoder(stream: Any) -> Any:
    """The decoder that keeps the alpha of the stream; None where no other one is needed or here."""
    if stream.type != "video" or not says_alpha(stream):
        return None
    try:
        decoder: Any = av.CodecContext.create(_ALPHA_DECODERS[stream.codec_context.name], "r")
    except (ValueError, av.FFmpegError):
        return None
    codec = stream.codec_context  # by the container, not in the bitstream
    decoder.color_primaries, decoder.color_trc = codec.color_primaries, codec.color_trc
    decoder.colorspace, decoder.color_range = codec.colorspace, codec.color_range
    return decoder


def can_read_alpha(stream: Any) -> bool:
    """Whether the alpha that a stream says it holds is decoded."""
    return _alpha_decoder(stream) is not None


def field_parity(stream: Any) -> str | None:
    """Which field of an interlaced stream the container shows first; None: it is progressive."""
    order = getattr(stream.codec_context, "field_order", 0)
    return {**dict.fromkeys(_TOP_FIRST, "tff"), **dict.fromkeys(_BOTTOM_FIRST, "bff")}.get(order)


def deinterlaced(frames: Iterable[Any], parity: str | None) -> Iterator[Any]:
    """The same frames without combs, in the same number.

    Fields are those of frames that are marked; with `parity` ("tff", "bff"), of all frames.
    """
    how = f"mode=send_frame:parity={parity or 'auto'}:deint={'all' if parity else 'interlaced'}"
    for _, alike in itertools.groupby(frames, lambda frame: frame.format.name):
        graph: Any = None  # of one pixel format: it would read another one out of bounds
        waiting: list[Any] = []  # what goes in comes out, in this order
        for frame in alike:
            graph = graph or filter_graph(frame, "bwdif", how)
            waiting.append(frame)
            graph.push(frame)
            yield from _pulled(graph, waiting)
        graph.push(None)
        yield from _pulled(graph, waiting)


def _pulled(graph: Any, waiting: list[Any]) -> Iterator[Any]:
    while True:
        try:
            frame = graph.pull()
        except (av.BlockingIOError, av.EOFError):
            return
        before = waiting.pop(0)
        frame.colorspace, frame.color_range = before.colorspace, before.color_range
        yield frame
