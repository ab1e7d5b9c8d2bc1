"""Clips: reading what users have, frame by frame.

Clips are untrusted, and whatever goes wrong in a decoder becomes one line that names the file.
Frames are streamed: memory does not depend on the length of a clip.

Colours keep the numbers of the file: YUV becomes R'G'B' by the clip's own matrix and range.
Primaries and transfer are carried, not converted.
"""

from __future__ import annotations

import hashlib
import itertools
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from ..errors import Text2LiveError, UsageError
from .clip_animations import animation_format, animation_frames, read_animation
from .clip_clock import (
    DEFAULT_RATE,
    Clock,
    Timeline,
    nominal_rate,
    read_clock,
    read_timeline,
    refuse_absurd,
)
from .clip_colors import ColorTags
from .clip_decoding import (
    Refused,
    check_size,
    decoded_frames,
    decoder_errors,
    deinterlaced,
    demuxed_packets,
    open_container,
    video_stream,
)
from .clip_frames import (
    MARKED,
    InRgb,
    Scan,
    transparency_note,
    upright,
)
from .files import natural_order
from .pictures import Picture, read_picture
from .samples import to_uint, to_unit

_PICTURE_ENDINGS = frozenset({".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp"})


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
    end: Fraction
    """Seconds from the first frame until the last one ends."""
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
    transparent: bool
    """Whether some pixels are not opaque."""
    pictures: tuple[Path, ...] = ()
    """The frames of a folder, in order; empty for a file."""
    timeline: Timeline = field(default_factory=Timeline)
    """What brings the stamps of a file's streams on one clock."""
    animation: str | None = None
    """The format of an animated picture that Pillow reads."""
    interlacing: str | None = None
    """How a file's fields are found: by marks of the frames, "tff" or "bff"; None: progressive."""

    @property
    def is_file(self) -> bool:
        """Whether it is a video file, which may hold more than its pictures."""
        return not self.pictures and self.animation is None

    def frames(
        self,
        start: int = 0,
        stop: int | None = None,
        step: int = 1,
        size: tuple[int, int] | None = None,
        alpha: bool = False,
    ) -> Iterator[np.ndarray]:
        """Stream the frames of the slice `start:stop:step`: (h, w, 3) uint8 RGB, upright.

        `size` (height, width) asks for resized frames: area averages where it shrinks. A file is
        decoded from its beginning wherever the slice starts: seeking lands beside the frame asked
        for in too many files. Transparent pixels are shown on white, or with `alpha` frames are
        straight RGBA (h, w, 4). Raises Text2LiveError where the clip is no longer what it was when
        it was opened.
        """
        if step < 1:
            raise ValueError("step must be at least 1")
        numbers = range(self.count)[start:stop:step]
        for frame in self._stored(numbers):
            if frame.shape[:2] != (self.height, self.width):
                raise _changed(self)
            frame = _with_alpha(frame) if alpha else _flat(frame)
            yield frame if size is None else _resized(frame, size)

    def _stored(self, numbers: range) -> Iterator[np.ndarray]:
        """RGB or straight RGBA, upright."""
        if self.pictures:
            return (_eight_bits(read_picture(self.pictures[index])) for index in numbers)
        if self.animation:
            return _picked(self, animation_frames(self.path, self.animation), numbers)
        return _video_frames(self, numbers)


def open_clip(path: Path, rate: Fraction | None = None) -> Clip:
    """Decode a video, an animated GIF, APNG, WebP or AVIF, or a folder of frames once, to know it.

    A folder is read in the natural order of its names; `rate`, in frames per second, is for
    folders only (`DEFAULT_RATE` where None). Of a damaged file the frames that decode are used,
    with a note. A clip of one frame is a clip. Raises UsageError where `path` names no local clip
    or the frames of a folder do not fit together, Text2LiveError where a file cannot be read, is
    no video, changes its size on the way, or has an absurd size or clock.
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
        return _open_folder(path, DEFAULT_RATE if rate is None else rate)
    if not stat.S_ISREG(mode):
        raise UsageError(f"{path}: is no regular file; save the clip to disk first")
    if rate is not None:
        raise UsageError(f"{path}: a video has its own frame rate; only a folder is given one")
    animation = animation_format(path)
    return _open_file(path) if animation is None else _open_animation(path, animation)


# Reading a folder


def _open_folder(path: Path, rate: Fraction) -> Clip:
    if rate <= 0:
        raise UsageError(f"{path}: a frame rate of {rate} makes no clip; use one over 0")
    pictures = _picture_paths(path)
    place = path.resolve()  # the name of "."
    digest, notes = hashlib.sha256(), dict[str, None]()
    size: tuple[int, int] | None = None
    transparent = False
    for picture_path in pictures:
        picture = read_picture(picture_path)
        check_size(picture_path, picture.width, picture.height)
        size = size or (picture.width, picture.height)
        if (picture.width, picture.height) != size:
            raise UsageError(
                f"{picture_path}: is {picture.width}×{picture.height}, but {pictures[0].name} is"
                f" {size[0]}×{size[1]}; the frames of a clip have one size"
            )
        digest.update(f"{picture_path.name}\0{picture.sha256}\n".encode("utf-8", "surrogateescape"))
        notes.update(dict.fromkeys(f"{place.name}: {note}" for note in picture.notes))
        if picture.alpha is not None and picture.alpha.min() < picture.max_value:
            transparent = True
    if transparent:
        notes[transparency_note(place)] = None
    assert size is not None
    times = tuple(index / rate for index in range(len(pictures)))
    refuse_absurd(path, times, len(pictures) / rate, rate)
    return Clip(
        path=path,
        width=size[0],
        height=size[1],
        count=len(pictures),
        times=times,
        end=len(pictures) / rate,
        rate=rate,
        variable=False,
        sha256=digest.hexdigest(),
        notes=tuple(notes),
        has_audio=False,
        colors=None,
        pixel_aspect=Fraction(1),
        start=Fraction(0),
        transparent=transparent,
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
    paths = natural_order(paths)
    for path, after in itertools.pairwise(paths):
        if path.stem == after.stem:
            raise UsageError(
                f"{folder}: holds {path.name} and {after.name}; keep one picture per frame"
            )
    return tuple(paths)


def _eight_bits(picture: Picture) -> np.ndarray:
    picture = picture.in_eight_bits()
    return np.dstack([x for x in (picture.color, picture.alpha) if x is not None])


def _flat(frame: np.ndarray) -> np.ndarray:
    """(H, W, 3) uint8: straight RGBA on white."""
    if frame.shape[2] == 3:
        return frame
    return to_uint(1 - to_unit(frame[..., 3:]) * (1 - to_unit(frame[..., :3])), 255)


def _with_alpha(frame: np.ndarray) -> np.ndarray:
    if frame.shape[2] == 4:
        return frame
    return np.dstack([frame, np.full(frame.shape[:2], 255, np.uint8)])


def _resized(frame: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    shrinks = size[0] <= frame.shape[0] and size[1] <= frame.shape[1]
    interpolation = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return cv2.resize(frame, (size[1], size[0]), interpolation=interpolation)


# Reading a file


def _open_file(path: Path) -> Clip:
    digest = _file_digest(path)
    with open_container(path) as container, decoder_errors(path):
        timeline = read_timeline(container, demuxed_packets(container))
    with open_container(path) as container:
        stream = video_stream(path, container)
        scan = Scan(path)
        with decoder_errors(path):
            packets = timeline.ordered(demuxed_packets(container, stream))
            for frame in decoded_frames(stream, packets):
                scan.add(frame)
            if not scan.stamps:
                raise Refused("no frame decodes: the file is damaged; fetch or export it again")
            clock = read_clock(path, scan.stamps, container, stream, not scan.is_damaged)
            return _clip_of(path, digest, container, stream, scan, clock, timeline)


def _clip_of(
    path: Path,
    digest: str,
    container: Any,
    stream: Any,
    scan: Scan,
    clock: Clock,
    timeline: Timeline,
) -> Clip:
    return Clip(
        path=path,
        width=scan.size[0],
        height=scan.size[1],
        count=len(scan.stamps),
        times=clock.times,
        end=clock.end,
        rate=clock.rate,
        variable=clock.variable,
        sha256=digest,
        notes=scan.notes(stream) + timeline.notes(path) + clock.notes,
        has_audio=bool(container.streams.audio),
        colors=scan.colors,
        pixel_aspect=scan.pixel_aspect(stream),
        start=clock.start,
        transparent=scan.is_transparent,
        timeline=timeline,
        interlacing=scan.interlacing(stream),
    )


def _open_animation(path: Path, kind: str) -> Clip:
    digest = _file_digest(path)
    animation = read_animation(path, kind)
    *times, end = itertools.accumulate(animation.durations, initial=Fraction(0))
    rate, variable = nominal_rate(times, [1 / animation.durations[0]], animation.durations[0])
    refuse_absurd(path, times, end, rate)
    notes = []
    if not animation.is_whole:
        notes.append(f"{path.name}: {len(times)} frames decode, the rest is damaged")
    if animation.is_transparent:
        notes.append(transparency_note(path))
    return Clip(
        path=path,
        width=animation.width,
        height=animation.height,
        count=len(times),
        times=tuple(times),
        end=end,
        rate=rate,
        variable=variable,
        sha256=digest,
        notes=tuple(notes),
        has_audio=False,
        colors=None,
        pixel_aspect=Fraction(1),
        start=Fraction(0),
        transparent=animation.is_transparent,
        animation=kind,
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


def _video_frames(clip: Clip, numbers: range) -> Iterator[np.ndarray]:
    with open_container(clip.path) as container, decoder_errors(clip.path):
        stream = video_stream(clip.path, container)
        in_rgb = InRgb(stream.codec_context.name)
        frames = decoded_frames(stream, demuxed_packets(container, stream))
        sound: Iterator[Any] = (frame for frame in frames if frame is not None)
        if clip.interlacing:
            sound = deinterlaced(sound, None if clip.interlacing == MARKED else clip.interlacing)
        for frame in _picked(clip, sound, numbers):
            yield upright(frame, in_rgb)


def _picked(clip: Clip, frames: Iterator[Any], numbers: range) -> Iterator[Any]:
    """Those of a file's frames that are wanted."""
    if not numbers:
        return
    for index, frame in enumerate(frames):
        if index in numbers:
            yield frame
        if index == numbers[-1]:
            return
    raise _changed(clip)


def _changed(clip: Clip) -> Text2LiveError:
    return Text2LiveError(f"{clip.path}: was changed while it was read; run the command again")
