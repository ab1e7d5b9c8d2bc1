"""Writing videos that everyone can play, and edit layers that editors open.

Frames are streamed: memory does not depend on the length of a video. Files are written whole or not
at all. Colours are the numbers of the source: R'G'B' becomes YUV by the matrix and range of the
tags that the file gets; primaries and transfer are carried, not converted.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from io import BytesIO
from pathlib import Path
from typing import Any

import av
import numpy as np

from ..errors import Text2LiveError
from .clip_kinds import (
    ALPHA_KINDS,
    KINDS,
    LAYER_KINDS,
    PREVIEW,
    Kind,
    kind_of,
    named_encoder,
)
from .clip_program import needs_program, video_track
from .clip_streams import CarriedStreams
from .clip_video_track import peeked
from .clips import Clip
from .files import atomic_path, temporary_beside
from .picture_writing import png_bytes


def write_video(
    path: Path,
    frames: Iterable[np.ndarray],
    rate: Fraction,
    *,
    times: Sequence[Fraction] | None = None,
    end: Fraction | None = None,
    like: Clip | None = None,
    audio_from: Clip | None = None,
    kind: Kind | None = None,
) -> tuple[str, ...]:
    """Write (h, w, 3) uint8 RGB frames of one size as a video, whole or not at all.

    The ending chooses: .mp4, .mov and .mkv hold H.264 that phones and browsers play, .webm holds
    VP9; both 4:2:0 at 8 bits; `kind` (of `encoded_as`) chooses otherwise. Straight RGBA frames
    (h, w, 4) keep their alpha where `keeps_alpha`, and no kind is given.
    `times` (seconds from the first frame, one per frame, increasing) keep a variable rate to 1 ms;
    None, or times within `JITTER` of it, give the constant `rate`. `end` is when the last of them
    ends, by default after one frame of the `rate`.
    `like` is the clip whose colour tags and pixel aspect are kept (BT.709 without; .webm has square
    pixels). The sound of `audio_from` is copied from its beginning, in step with its first frame,
    or encoded anew where the format asks for it; it ends with the video where that has fewer frames
    than the clip. So do its subtitles, and its chapters, timecode, date and place are kept.
    Returns what the user should be told. Raises UsageError for another ending, Text2LiveError for
    a missing encoder or where the file cannot be written; whatever `frames` raises passes through.
    """
    form = kind or kind_of(path, KINDS)
    with atomic_path(path) as temporary, _encoder_errors(path), contextlib.ExitStack() as stack:
        first, frames = peeked(frames)
        if first.shape[2] == 4 and kind is None:
            form = kind_of(path, ALPHA_KINDS)
        output = stack.enter_context(_output(f"file:{temporary}", form.format, form.options))
        video = video_track(stack, output, form, frames, rate, times, end, like)
        notes = video.notes(path)
        if form is ALPHA_KINDS[".mov"]:
            notes += (f"{path.name}: is ProRes 4444, to keep the transparency",)
        if audio_from is None or not audio_from.is_file:
            video.write(None)
            return notes
        others = CarriedStreams(stack, output, form, audio_from, video.stream)
        video.write(others)
        others.write(None if video.written >= audio_from.count else video.end)
        return notes + others.notes()


def keeps_alpha(path: Path) -> bool:
    """Whether `write_video` keeps the alpha of frames in a file with this ending."""
    return path.suffix.lower() in ALPHA_KINDS


def write_layer_video(
    path: Path,
    frames: Iterable[np.ndarray],
    rate: Fraction,
    *,
    times: Sequence[Fraction] | None = None,
    end: Fraction | None = None,
    like: Clip | None = None,
) -> tuple[str, ...]:
    """Write (h, w, 4) uint8 RGBA frames of one size, alpha straight, as a video with alpha.

    The ending chooses: .mov holds ProRes 4444, whose alpha is without loss; .webm holds VP9, 4:2:0
    at 8 bits, whose alpha is off by a quarter of a level in the mean and by up to 20 in places, and
    which browsers and libvpx-vp9 decode (FFmpeg's own decoder drops the alpha). Both hold the exact
    size, odd sides too. Colours under alpha 0 are stored as well, and both formats blur them over
    the edge of the layer. `rate`, `times`, `end` and `like` are those of `write_video`, but ProRes
    has limited range only. Returns what the user should be told. Raises UsageError for another
    ending, Text2LiveError for a missing encoder or where the file cannot be written; whatever
    `frames` raises passes through.
    """
    kind = kind_of(path, LAYER_KINDS)
    with (
        atomic_path(path) as temporary,
        _encoder_errors(path),
        contextlib.ExitStack() as stack,
        _output(f"file:{temporary}", kind.format, kind.options) as output,
    ):
        video = video_track(stack, output, kind, frames, rate, times, end, like)
        video.write(None)
        return video.notes(path)


def write_layer_frames(folder: Path, frames: Iterable[np.ndarray]) -> None:
    """Write RGBA frames (h, w, 4) uint8, alpha straight, or RGB ones to `folder`/00000.png and on.

    All or none: when the last one is written they take the place of the numbered pictures of an
    older `folder`. Raises Text2LiveError where one cannot be written; whatever `frames` raises
    passes through.
    """
    with _pictures_at_once(folder) as temporary:
        _, frames = peeked(frames)
        for index, frame in enumerate(frames):
            data = png_bytes(frame)
            with (temporary / f"{index:05d}.png").open("wb") as file:
                file.write(data)
                os.fsync(file.fileno())


def webm_bytes(frames: Iterable[np.ndarray], rate: Fraction) -> bytes:
    """Encode (h, w, 3) uint8 RGB frames of one size as a small VP9/WebM file, for a web page.

    Quick rather than good, without sound. Raises Text2LiveError where the encoder is missing.
    """
    buffer = BytesIO()
    with (
        _encoder_errors(Path("preview.webm")),
        contextlib.ExitStack() as stack,
        _output(buffer, PREVIEW.format, {}) as output,
    ):
        video_track(stack, output, PREVIEW, frames, rate, None, None, None).write(None)
    return buffer.getvalue()


def require_encoders(layer_formats: Sequence[str]) -> None:
    """Raise Text2LiveError where an encoder is missing for an MP4, a web page, or a layer format.

    Layer formats are endings of `write_layer_video` without the point; others need no encoder.
    """
    for kind in (KINDS[".mp4"], PREVIEW):  # always written: nothing else will do
        _require_encoder(kind.encoder, "")
    for name in layer_formats:
        if kind_of_layer := LAYER_KINDS.get(f".{name}"):
            _require_encoder(kind_of_layer.encoder, kind_of_layer.instead)


def require_writable(path: Path, alpha: bool = False, kind: Kind | None = None) -> None:
    """Raise, before there are frames (with `alpha`), what `write_video` would for this ending."""
    form = kind or kind_of(path, ALPHA_KINDS if alpha else KINDS)
    _require_encoder(form.encoder, form.instead)


def _require_encoder(encoder: str, instead: str) -> None:
    if not needs_program(encoder):
        with named_encoder(encoder, instead):
            av.codec.Codec(encoder, "w")


@contextlib.contextmanager
def _pictures_at_once(folder: Path) -> Iterator[Path]:
    """A folder whose files replace the numbered PNGs of `folder` when the block ends well."""
    temporary = temporary_beside(folder)
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
