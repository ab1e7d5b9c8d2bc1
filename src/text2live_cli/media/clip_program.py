"""Encoders that PyAV's build of FFmpeg lacks, lent by the program that imageio-ffmpeg brings.

Frames go there without loss through a pipe; what comes back is put into the file by PyAV, with all
that is carried beside it, as if it had been encoded here.
"""

from __future__ import annotations

import contextlib
import itertools
import re
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import numpy as np

from ..errors import Text2LiveError
from .clip_colors import ColorTags
from .clip_kinds import Kind
from .clip_streams import CarriedStreams
from .clip_video_track import VideoTrack, tags_of
from .clips import Clip


def needs_program(encoder: str) -> bool:
    """Whether PyAV's build lacks `encoder` and the program has it."""
    return not _is_built_in(encoder) and encoder in _encoders_of_program()


def video_track(stack: contextlib.ExitStack, output: Any, kind: Kind, *frames: Any) -> VideoTrack:
    """A `VideoTrack` of `output`, and what it takes, by whichever has its encoder.

    The `stack` closes what it needs. Raises what `VideoTrack` raises.
    """
    if needs_program(kind.encoder):
        return _ProgramTrack(stack, output, kind, *frames)
    return VideoTrack(output, kind, *frames)


class _ProgramTrack(VideoTrack):
    """Is encoded as soon as it is made, into a file of its own; `write` carries it over."""

    def __init__(
        self,
        stack: contextlib.ExitStack,
        output: Any,
        kind: Kind,
        frames: Iterable[np.ndarray],
        rate: Fraction,
        times: Sequence[Fraction] | None,
        end: Fraction | None,
        like: Clip | None,
    ) -> None:
        path = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "coded"
        lossless = kind._replace(encoder="ffv1", encoder_options={})
        with _piped(_command(kind, tags_of(kind, like), path, times is not None), kind) as pipe:
            super().__init__(pipe, lossless, frames, rate, times, end, like)
            super().write(None)
        self._source = stack.enter_context(av.open(str(path)))
        self._output = output
        source = self._source.streams.video[0]
        self.stream = output.add_stream_from_template(source, opaque=True)  # needs no encoder
        context = self.stream.codec_context
        context.framerate, context.sample_aspect_ratio = rate, self._aspect
        context.pix_fmt = kind.pixels  # which says that there is alpha
        if kind.format in ("mp4", "mov"):
            context.codec_tag = source.codec_context.codec_tag  # of ProRes there are several

    def write(self, others: CarriedStreams | None) -> None:
        """Put all pictures into the output, with what `others` hold up to each before it."""
        unit = self._source.streams.video[0].time_base
        timing = map(self._timing, range(self.written))
        holds = {round(time / unit): round(hold / unit) for time, hold in timing}
        for packet in self._source.demux(video=0):
            if not packet.size:  # the end
                return
            if others is not None:
                others.write(packet.pts * unit)
            packet.duration = holds.get(packet.pts, packet.duration)
            packet.stream = self.stream
            self._output.mux(packet)


def _command(kind: Kind, tags: ColorTags, path: Path, varies: bool) -> list[str]:
    names = ("color_primaries", "color_trc", "colorspace", "color_range")
    colors = dict(zip((f"-{name}" for name in names), map(str, tags), strict=True))
    options = {f"-{name}:v": value for name, value in kind.encoder_options.items()}
    if varies and kind.encoder == "libx264":
        options["-bf:v"] = "0"  # as in `VideoTrack`
    return [
        *(_program(), "-v", "error", "-nostdin", *itertools.chain(*colors.items())),
        *("-f", "nut", "-i", "pipe:0", "-fps_mode", "passthrough", "-enc_time_base", "demux"),
        *("-c:v", kind.encoder, "-pix_fmt", kind.pixels, *itertools.chain(*options.items())),
        *("-fflags", "+bitexact", "-f", "webm" if kind.format == "webm" else "mov", str(path)),
    ]  # not Matroska, which stores no times of decoding


@contextlib.contextmanager
def _piped(command: list[str], kind: Kind) -> Iterator[Any]:
    """A container that the program reads. Raises Text2LiveError where it ends badly."""
    with (
        tempfile.TemporaryFile() as errors,
        subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stderr=errors,
            start_new_session=True,
            restore_signals=False,
        ) as process,
    ):
        assert process.stdin is not None
        failure: Exception | None = None
        try:
            with av.open(SimpleNamespace(write=process.stdin.write), "w", "nut") as container:
                yield container
        except (BrokenPipeError, av.FFmpegError) as error:  # it has ended, and says why
            failure = error
        except BaseException:
            process.kill()
            raise
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()
        if process.wait():
            errors.seek(0)
            reason = errors.readline().decode(errors="replace").strip() or f"{process.returncode}"
            raise Text2LiveError(
                f"the encoder {kind.encoder} of imageio-ffmpeg failed: {reason}"
            ) from failure
        if failure is not None:
            raise failure


@cache
def _encoders_of_program() -> frozenset[str]:
    try:
        command = [_program(), "-v", "error", "-encoders"]
        listing = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    except (RuntimeError, OSError, subprocess.SubprocessError):  # imageio-ffmpeg brought none
        return frozenset()
    return frozenset(re.findall(r"^ V\S{5} (\S+)", listing, re.MULTILINE))


def _program() -> str:
    import imageio_ffmpeg  # seldom needed

    return imageio_ffmpeg.get_ffmpeg_exe()


def _is_built_in(encoder: str) -> bool:
    try:
        av.codec.Codec(encoder, "w")
    except av.codec.codec.UnknownCodecError:
        return False
    return True
