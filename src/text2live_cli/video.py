"""Clips: reading what users have, frame by frame.

Clips are untrusted. Only regular local files are opened, by demuxers that read nothing but that one
file (no playlists, no protocols), and whatever goes wrong in a decoder becomes one line that names
the file. Frames are streamed: memory does not depend on the length of a clip.

Colours keep the numbers of the file: YUV becomes R'G'B' by the clip's own matrix and range.
Primaries and transfer are carried, not converted.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import re
import stat
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from av.video.reformatter import VideoReformatter
from PIL import Image

from .errors import Text2LiveError, UsageError
from .media import MAX_PIXELS, MIN_SIDE, Picture, read_picture, to_uint, to_unit
from .video_color import MATRICES, SCALING, UNSPECIFIED, ColorTags, matrix_for

MAX_SIDE = 16384
"""Longer sides, in pixels, are refused: it is also where H.264 encoders end."""

FOLDER_RATE = Fraction(24)
"""Frames per second of a folder of frames, where nobody says otherwise."""

JITTER = Fraction(1, 1000)
"""Timestamps this close (seconds) to a constant rate are taken for rounded ones of that rate."""

_PICTURE_FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP")
_PICTURE_ENDINGS = frozenset({".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp"})

# Containers that hold their own data. Absent on purpose: hls, dash, concat, sdp, image2, lavfi and
# whatever else opens other files, the network or a device.
_DEMUXERS = (
    "mov,matroska,webm,avi,gif,apng,mpegts,mpeg,mpegvideo,h264,hevc,vvc,av1,obu,m4v,ivf,flv,asf,"
    "ogg,mxf,nut,dv,yuv4mpegpipe,rm,wtv,gxf,mjpeg,flic,h261,h263,dirac,vc1,swf,amv,nsv,film_cpk"
)
_PLAYLIST_STARTS = (b"#EXTM3U", b"ffconcat", b"v=0", b"[playlist]", b"<?xml", b"<MPD", b"<smil")

# What PyAV is known to raise over damaged or hostile files.
_DECODER_ERRORS = (
    av.FFmpegError,
    ArithmeticError,
    AttributeError,
    LookupError,
    MemoryError,
    OSError,
    RuntimeError,
    ValueError,
)

# Code points of ITU-T H.273.
_HDR_TRANSFERS = frozenset({16, 18})

# What counts as unspecified: 0 means RGB and 3 nothing, but both are seen on YUV.
_NO_MATRIX = frozenset({0, UNSPECIFIED, 3})


@dataclass(frozen=True)
class Clip:
    """A video file, or a folder of frames, that was decoded once from end to end."""

    path: Path
    width: int
    """Pixels, upright."""
    height: int
    """Pixels, upright."""
    count: int
    """The frames that decode, at least one."""
    times: tuple[Fraction, ...]
    """Seconds from the first frame, increasing, one per frame."""
    rate: Fraction
    """Frames per second, nominal; the mean where `variable`."""
    variable: bool
    """Whether `times` leave the constant rate by more than `JITTER`."""
    sha256: str
    """Hex digest of the file's bytes; of a folder, over the names and digests of its frames."""
    notes: tuple[str, ...]
    """What the user should be told about how the clip was read."""
    has_audio: bool
    colors: ColorTags | None
    """As in the stream (the default where that is RGB); None for a folder."""
    pixel_aspect: Fraction
    """Width of a pixel over its height, upright; 1 almost always."""
    start: Fraction
    """Seconds of the first frame on the file's clock, by which its audio is timed."""
    pictures: tuple[Path, ...]
    """The frames of a folder, in order; empty for a file."""

    def frames(
        self,
        start: int = 0,
        stop: int | None = None,
        step: int = 1,
        size: tuple[int, int] | None = None,
    ) -> Iterator[np.ndarray]:
        """Stream the frames of the slice `start:stop:step`: (h, w, 3) uint8 RGB, upright.

        `size` (height, width) asks for resized frames: area averages where it shrinks. A file is
        decoded from its beginning wherever the slice starts: seeking lands beside the frame asked
        for in too many files. Transparent pixels are shown on white. Raises Text2LiveError where
        the clip is no longer what it was when it was opened.
        """
        if step < 1:
            raise ValueError("step must be at least 1")
        wanted = range(self.count)[start:stop:step]
        read = _folder_frames if self.pictures else _video_frames
        for frame in read(self, wanted):
            if frame.shape[:2] != (self.height, self.width):
                raise _changed(self)
            yield frame if size is None else _resized(frame, size)


def open_clip(path: Path, rate: Fraction | None = None) -> Clip:
    """Decode a video file, an animated GIF or APNG, or a folder of frames once, to know it.

    A folder is read in the natural order of its names; `rate`, in frames per second, is for
    folders only (`FOLDER_RATE` where None). Of a damaged file the frames that decode are used, with
    a note. A clip of one frame is a clip. Raises UsageError where `path` names no local clip or
    the frames of a folder do not fit together, Text2LiveError where a file cannot be read, is no
    video, changes its size on the way, or has an absurd one.
    """
    try:
        mode = path.stat().st_mode
    except FileNotFoundError as error:
        if re.match(r"[a-zA-Z][a-zA-Z0-9+.-]*:", str(path)):
            raise UsageError(
                f"{path}: only local files are read; download the clip first"
            ) from error
        raise UsageError(f"{path}: no such file; check the name and the folder") from error
    except (OSError, ValueError) as error:
        raise Text2LiveError(f"{str(path)[:200]}: cannot be read; check its name") from error
    if stat.S_ISDIR(mode):
        return _open_folder(path, FOLDER_RATE if rate is None else rate)
    if not stat.S_ISREG(mode):
        raise UsageError(f"{path}: is no regular file; save the clip to disk first")
    if rate is not None:
        raise UsageError(f"{path}: a video has its own frame rate; only a folder is given one")
    return _open_file(path)


# Reading a folder


def _open_folder(path: Path, rate: Fraction) -> Clip:
    if rate <= 0:
        raise UsageError(f"{path}: a frame rate of {rate} makes no clip; use one over 0")
    pictures = _picture_paths(path)
    named = path.resolve()  # the name of "."
    digest, notes = hashlib.sha256(), dict[str, None]()
    size: tuple[int, int] | None = None
    for picture_path in pictures:
        picture = read_picture(picture_path)
        _check_size(picture_path, picture.width, picture.height)
        size = size or (picture.width, picture.height)
        if (picture.width, picture.height) != size:
            raise UsageError(
                f"{picture_path}: is {picture.width}×{picture.height}, but {pictures[0].name} is"
                f" {size[0]}×{size[1]}; the frames of a clip have one size"
            )
        digest.update(f"{picture_path.name}\0{picture.sha256}\n".encode("utf-8", "surrogateescape"))
        notes.update(dict.fromkeys(f"{named.name}: {note}" for note in picture.notes))
        if picture.alpha is not None and picture.alpha.min() < picture.max_value:
            notes[_transparency_note(named)] = None
    assert size is not None
    return Clip(
        path=path,
        width=size[0],
        height=size[1],
        count=len(pictures),
        times=tuple(index / rate for index in range(len(pictures))),
        rate=rate,
        variable=False,
        sha256=digest.hexdigest(),
        notes=tuple(notes),
        has_audio=False,
        colors=None,
        pixel_aspect=Fraction(1),
        start=Fraction(0),
        pictures=pictures,
    )


def _picture_paths(folder: Path) -> tuple[Path, ...]:
    try:
        paths = [
            path
            for path in folder.iterdir()
            if path.suffix.lower() in _PICTURE_ENDINGS
            and not path.name.startswith(".")
            and path.is_file()
        ]
    except OSError as error:
        raise Text2LiveError(
            f"{folder}: cannot be read ({error.strerror}); check its permissions"
        ) from error
    if not paths:
        raise UsageError(f"{folder}: holds no pictures; name a video or a folder of frames")
    paths.sort(key=_natural)
    for path, after in itertools.pairwise(paths):
        if path.stem == after.stem:
            raise UsageError(
                f"{folder}: holds {path.name} and {after.name}; keep one picture per frame"
            )
    return tuple(paths)


def _natural(path: Path) -> tuple[list[tuple[str, int]], str]:
    """Sort 2.png before 10.png: by the numbers in the stem, then by the name."""
    parts = re.split(r"([0-9]+)", path.stem.casefold())
    numbers = [*map(int, parts[1::2]), -1]
    return list(zip(parts[::2], numbers, strict=True)), path.name


def _folder_frames(clip: Clip, wanted: range) -> Iterator[np.ndarray]:
    for index in wanted:
        yield _flat(read_picture(clip.pictures[index]))


def _flat(picture: Picture) -> np.ndarray:
    color = picture.color
    if color.dtype != np.uint8:
        color = to_uint(to_unit(color), 255)
    return color if picture.alpha is None else _on_white(color, to_unit(picture.alpha))


def _on_white(color: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """(H, W, 3) uint8 colours under (H, W) float32 alpha in [0, 1], on white."""
    return to_uint(1 - alpha[..., np.newaxis] * (1 - to_unit(color)), 255)


def _resized(frame: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    shrinks = size[0] <= frame.shape[0] and size[1] <= frame.shape[1]
    interpolation = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return cv2.resize(frame, (size[1], size[0]), interpolation=interpolation)


# Reading a file


def _open_file(path: Path) -> Clip:
    digest = _file_digest(path)
    with open_container(path) as container:
        stream = _video_stream(path, container)
        scan = _Scan(path)
        with _decoder_errors(path):
            for frame in decoded_frames(container, stream):
                scan.add(frame)
            if not scan.count:
                raise _Refused("no frame decodes: the file is damaged; fetch or export it again")
            times, origin, notes = scan.clock(stream)
            rate, variable = _nominal_rate(times, stream)
            return Clip(
                path=path,
                width=scan.size[0],
                height=scan.size[1],
                count=scan.count,
                times=times,
                rate=rate,
                variable=variable,
                sha256=digest,
                notes=scan.notes(stream.frames) + notes,
                has_audio=bool(container.streams.audio),
                colors=scan.colors,
                pixel_aspect=scan.pixel_aspect(stream),
                start=origin,
                pictures=(),
            )


def _file_digest(path: Path) -> str:
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while block := file.read(2**20):
                digest.update(block)
            if not file.tell():
                raise Text2LiveError(f"{path}: the file is empty; fetch or export it again")
    except OSError as error:
        raise Text2LiveError(
            f"{path}: cannot be read ({error.strerror or error}); check its permissions"
        ) from error
    return digest.hexdigest()


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
    except _DECODER_ERRORS as error:
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
                f"{path}: is a {image.format} picture; name a video, an animated GIF or a folder"
            )
    return Text2LiveError(
        f"{path}: not a video that can be read, or cut short; fetch or export it again"
    )


class _Refused(Exception):
    """A file that is sound or not, but not for us; the text says why and what to do."""


@contextlib.contextmanager
def _decoder_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except _Refused as error:
        raise Text2LiveError(f"{path}: {error}") from error
    except _DECODER_ERRORS as error:
        raise Text2LiveError(
            f"{path}: the video is damaged or of an unknown kind; fetch or export it again"
        ) from error


def _video_stream(path: Path, container: Any) -> Any:
    with _decoder_errors(path):
        stream = container.streams.best("video")
        # The cover of a song counts as a video stream with one frame.
        if stream is None or stream.disposition & av.stream.Disposition.attached_pic:
            raise _Refused("holds no video; name a file with moving pictures")
        if stream.codec_context is None:
            raise _Refused("its video codec is not supported; convert it to H.264")
        if stream.codec_context.width and stream.codec_context.height:
            _check_size(path, stream.codec_context.width, stream.codec_context.height)
    return stream


def _check_size(path: Path, width: int, height: int) -> None:
    if max(width, height) > MAX_SIDE or width * height > MAX_PIXELS:
        raise Text2LiveError(
            f"{path}: {width}×{height} pixels are too many (limit {MAX_SIDE} a side and "
            f"{MAX_PIXELS // 10**6} megapixels); make a smaller copy"
        )
    if min(width, height) < MIN_SIDE:
        raise Text2LiveError(
            f"{path}: {width}×{height} pixels are too few; use at least {MIN_SIDE}×{MIN_SIDE}"
        )


def decoded_frames(container: Any, stream: Any) -> Iterator[Any]:
    """The frames of a stream, in order; None stands for a place that does not decode."""
    for packet in demuxed_packets(container, stream):
        try:
            frames = stream.decode(packet)
        except av.FFmpegError:
            yield None
            continue
        for frame in frames:
            yield None if frame.is_corrupt else frame
        if packet is None:
            yield None


def demuxed_packets(container: Any, stream: Any) -> Iterator[Any]:
    """The packets of a stream; a last one, None, where the file cannot be read on."""
    try:
        yield from container.demux(stream)
    except av.FFmpegError:
        yield None


class _Scan:
    """What one pass over the frames of a file finds out."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.count = 0
        self.size = (0, 0)
        self.colors = ColorTags()
        self._turned = False
        self._damaged = False
        self._transparent = False
        self._pts: list[int | None] = []
        self._dts: list[int | None] = []
        self._reformatter = VideoReformatter()

    def add(self, frame: Any) -> None:
        """Take the next frame, or None for a place that does not decode."""
        if frame is None:
            self._damaged = True
            return
        size = _upright_size(frame)
        if not self.count:
            self._add_first(frame, size)
        if size != self.size:
            raise _Refused(
                f"frame {self.count} is {size[0]}×{size[1]}, the first {self.size[0]}×"
                f"{self.size[1]}; the frames of a clip have one size"
            )
        if not self._transparent and _has_alpha(frame):
            self._transparent = bool(_samples(frame, self._reformatter)[..., 3].min() < 255)
        self._pts.append(frame.pts)
        self._dts.append(frame.dts)
        self.count += 1

    def _add_first(self, frame: Any, size: tuple[int, int]) -> None:
        _check_size(self.path, frame.width, frame.height)
        known = frame.colorspace in MATRICES or frame.colorspace in _NO_MATRIX
        if not (known or _is_rgb(frame)):
            raise _Refused(
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

    def clock(self, stream: Any) -> tuple[tuple[Fraction, ...], Fraction, tuple[str, ...]]:
        """Seconds from the first frame, when that is on the file's clock, and notes."""
        for stamps in (self._pts, self._dts):  # some containers store decoding times only
            known = [stamp for stamp in stamps if stamp is not None]
            increasing = all(a < b for a, b in itertools.pairwise(known))
            if len(known) == self.count and increasing:
                times = tuple((stamp - known[0]) * stream.time_base for stamp in known)
                return times, known[0] * stream.time_base, ()
        rate = _declared_rates(stream)[0]
        note = f"{self.path.name}: no usable timestamps; {float(rate):g} frames a second assumed"
        return tuple(index / rate for index in range(self.count)), Fraction(0), (note,)

    def pixel_aspect(self, stream: Any) -> Fraction:
        """Upright, as `size` is."""
        aspect = Fraction(stream.sample_aspect_ratio or 1)
        return 1 / aspect if self._turned else aspect

    def notes(self, declared: int) -> tuple[str, ...]:
        """What to tell the user; `declared` is the header's frame count, 0 where it has none."""
        name, notes = self.path.name, []
        if self._damaged:
            of = f" of {declared}" if declared > self.count else ""
            notes.append(f"{name}: {self.count}{of} frames decode, the rest is damaged")
        if self._transparent:
            notes.append(_transparency_note(self.path))
        if self.colors.transfer in _HDR_TRANSFERS:
            notes.append(f"{name}: HDR is not tone-mapped, and rounded to 8 bits")
        return tuple(notes)


def _transparency_note(path: Path) -> str:
    return f"{path.name}: transparent pixels are shown on white"


def _declared_rates(stream: Any) -> list[Fraction]:
    """The frame rates that a container claims, the likeliest first."""
    rates = (stream.guessed_rate, stream.average_rate, stream.base_rate)
    return [Fraction(rate) for rate in rates if rate] or [FOLDER_RATE]


def _nominal_rate(times: tuple[Fraction, ...], stream: Any) -> tuple[Fraction, bool]:
    """The declared rate that the timestamps keep, else their mean; and whether they vary."""
    rates = _declared_rates(stream)
    if len(times) == 1:
        return rates[0], False
    mean = ((len(times) - 1) / times[-1]).limit_denominator(1001)
    rates.append(mean or (len(times) - 1) / times[-1])
    for rate in rates:
        if keeps_rate(times, rate):
            return rate, False
    return rates[-1], True


def keeps_rate(times: Sequence[Fraction], rate: Fraction) -> bool:
    """Whether `times`, seconds from the first frame, are those of a constant `rate`."""
    return all(abs(time - index / rate) <= JITTER for index, time in enumerate(times))


def _video_frames(clip: Clip, wanted: range) -> Iterator[np.ndarray]:
    if not wanted:
        return
    reformatter = VideoReformatter()
    with open_container(clip.path) as container, _decoder_errors(clip.path):
        stream = _video_stream(clip.path, container)
        sound = (frame for frame in decoded_frames(container, stream) if frame is not None)
        for index, frame in enumerate(sound):
            if index in wanted:
                yield _rgb(frame, reformatter)
            if index == wanted[-1]:
                return
    raise _changed(clip)


def _changed(clip: Clip) -> Text2LiveError:
    return Text2LiveError(f"{clip.path}: was changed while it was read; run the command again")


def _rgb(frame: Any, reformatter: VideoReformatter) -> np.ndarray:
    """(H, W, 3) uint8, upright."""
    samples = _samples(frame, reformatter)
    if samples.shape[2] == 4:
        samples = _on_white(samples[..., :3], to_unit(samples[..., 3]))
    swap, flip_rows, flip_columns = _orientation(frame)
    if swap:
        samples = samples.swapaxes(0, 1)
    samples = samples[:: -1 if flip_rows else 1, :: -1 if flip_columns else 1]
    return np.ascontiguousarray(samples)


def _samples(frame: Any, reformatter: VideoReformatter) -> np.ndarray:
    """(H, W, 3 or 4) uint8 RGB or RGBA, as stored."""
    converted = reformatter.reformat(
        frame,
        format="rgba" if _has_alpha(frame) else "gbrp",  # planes: twice as fast as rgb24
        src_colorspace=None if _is_rgb(frame) else matrix_for(frame.colorspace, frame.height),
        interpolation=SCALING,
    )
    return np.asarray(converted.to_ndarray())


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
