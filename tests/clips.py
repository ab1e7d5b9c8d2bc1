"""Clips for the tests: painted frames, files with given codes, sound, and what is stored."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from PIL import Image

from text2live_cli.media.clip_colors import ColorTags
from text2live_cli.media.clip_writing import write_video
from text2live_cli.media.clips import open_clip

NTSC = Fraction(30_000, 1001)
BT601 = ColorTags(6, 6, 6, 1)
KR_KB = {1: (0.2126, 0.0722), 6: (0.299, 0.114)}
PATCHES = np.array(
    [(0, 0, 0), (255, 255, 255), (200, 30, 40), (20, 190, 60), (30, 50, 220), (230, 200, 20)]
)


def painted(count: int = 6, height: int = 48, width: int = 64) -> Iterator[np.ndarray]:
    """Soft frames that differ: each is brighter than the one before, and red from left to right."""
    for index in range(count):
        frame = np.empty((height, width, 3), np.uint8)
        frame[..., 0] = np.linspace(20, 230, width)
        frame[..., 1] = np.linspace(30, 200, height)[:, np.newaxis]
        frame[..., 2] = 5 + index * (240 // count)
        yield frame


def save_painted(path: Path, count: int = 12) -> Path:
    """A clip of painted frames at 25 frames a second, in a folder that is made for it."""
    path.parent.mkdir()
    write_video(path, painted(count), Fraction(25))
    return path


def save_frames(folder: Path, frames: np.ndarray) -> Path:
    """A folder of frames (T, h, w[, 3])."""
    folder.mkdir(parents=True)
    for i, frame in enumerate(frames):
        Image.fromarray(frame).save(folder / f"{i:05d}.png")
    return folder


def order(frames: Iterator[np.ndarray], count: int) -> list[int]:
    """Which of the painted frames these are."""
    return [round((float(frame[..., 2].mean()) - 5) / (240 // count)) for frame in frames]


def patches(height: int = 48) -> np.ndarray:
    """(height, 96, 3): six columns of one colour each."""
    return np.repeat(PATCHES, 16, axis=0)[np.newaxis].repeat(height, axis=0).astype(np.uint8)


def patch_means(planes: list[np.ndarray]) -> np.ndarray:
    """(6, 3): the value in the middle of each patch, in each plane."""
    means = []
    for plane in planes:
        columns = plane.astype(float).mean(axis=0).reshape(6, -1)
        quarter = columns.shape[1] // 4
        means.append(columns[:, quarter:-quarter].mean(axis=1))
    return np.stack(means, axis=1)


def yuv_of(rgb: np.ndarray, matrix: int, full: bool) -> np.ndarray:
    """(N, 3) R'G'B' in 0–255 as Y'CbCr codes, by the formula of BT.601 and BT.709."""
    kr, kb = KR_KB[matrix]
    rgb = rgb / 255
    luma = rgb @ np.array([kr, 1 - kr - kb, kb])
    blue = (rgb[:, 2] - luma) / (2 - 2 * kb)
    red = (rgb[:, 0] - luma) / (2 - 2 * kr)
    if full:
        return np.stack([255 * luma, 128 + 255 * blue, 128 + 255 * red], axis=1)
    return np.stack([16 + 219 * luma, 128 + 224 * blue, 128 + 224 * red], axis=1)


def stored_planes(path: Path) -> list[np.ndarray]:
    """Y, Cb and Cr of the first frame, as they are in the file."""
    with av.open(str(path)) as container:
        frame = next(container.decode(video=0))
        return [
            np.frombuffer(plane, np.uint8).reshape(plane.height, -1)[:, : plane.width]
            for plane in frame.planes
        ]


def save_yuv(path: Path, colors: np.ndarray, tags: ColorTags, height: int) -> Path:
    """A clip of patches, each of the Y'CbCr codes in `colors`, without loss."""
    columns = np.rint(colors).astype(np.uint8).repeat(16, axis=0)
    with av.open(str(path), "w") as output:
        stream = output.add_stream("libx264", rate=25, width=96, height=height)
        stream.options = {"qp": "0"}
        context = stream.codec_context
        context.color_primaries, context.color_trc = tags.primaries, tags.transfer
        context.colorspace, context.color_range = tags.matrix, tags.range
        for _ in range(2):
            frame = av.VideoFrame(96, height, "yuv420p")
            for plane, samples, every in zip(frame.planes, columns.T, (1, 2, 2), strict=True):
                rows = np.zeros((plane.height, plane.line_size), np.uint8)
                rows[:, : plane.width] = samples[::every]
                plane.update(rows.tobytes())
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return path


def save_raw(path: Path, frames: list[np.ndarray], rotation: tuple[float, bool, bool]) -> Path:
    """Frames without loss, tagged with a rotation (degrees, flips)."""
    with av.open(str(path), "w") as output:
        height, width = frames[0].shape[:2]
        stream = output.add_stream("libx264rgb", rate=25, width=width, height=height)
        stream.pix_fmt, stream.options = "rgb24", {"qp": "0"}
        stream.set_display_rotation(*rotation)
        for frame in frames:
            output.mux(stream.encode(av.VideoFrame.from_ndarray(frame, "rgb24")))
        output.mux(stream.encode(None))
    return path


def add_sound(path: Path, out: Path, codec: str, rate: int = 44_100, late: float = 0) -> Path:
    """The video of `path` with a tone of one second, which begins `late` seconds after it."""
    with av.open(str(path)) as source, av.open(str(out), "w") as output:
        video_stream = output.add_stream_from_template(source.streams.video[0])
        sound = output.add_stream(codec, rate=rate, layout="mono")
        for packet in source.demux(source.streams.video[0]):
            if packet.dts is not None:
                packet.stream = video_stream
                output.mux(packet)
        tone = np.sin(np.arange(rate) * 440 * 2 * np.pi / rate).astype(np.float32)[np.newaxis]
        for begin in range(0, rate, 1024):
            frame = av.AudioFrame.from_ndarray(tone[:, begin : begin + 1024] / 2, "fltp", "mono")
            frame.sample_rate, frame.time_base = rate, Fraction(1, rate)
            frame.pts = round(late * rate) + begin
            output.mux(sound.encode(frame))
        output.mux(sound.encode(None))
    return out


def audio_packets(path: Path) -> list[tuple[Fraction, bytes]]:
    """(Seconds from the first frame of the video, data) of the packets of the audio."""
    start = open_clip(path).start
    with av.open(str(path)) as container:
        return [
            (packet.pts * packet.time_base - start, bytes(packet))
            for packet in container.demux(container.streams.audio[0])
            if packet.pts is not None
        ]


def heard(path: Path) -> tuple[float, float]:
    """When (seconds after the first frame) the tone of a file begins and ends."""
    start = float(open_clip(path).start)
    with av.open(str(path)) as container:
        loud = []
        for frame in container.decode(audio=0):
            samples = frame.to_ndarray().astype(float)
            full = 32768 if samples.max() > 2 else 1
            channels = 1 if samples.shape[0] > 1 else len(frame.layout.channels)
            above = np.flatnonzero(np.abs(samples[0, ::channels]) > 0.1 * full)
            loud += [frame.time - start + index / frame.sample_rate for index in above]
    return min(loud), max(loud)


def assert_one_line(error: BaseException, path: Path) -> None:
    assert str(path) in str(error)
    assert "\n" not in str(error)
