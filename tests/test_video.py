"""Reading clips and writing videos."""

from __future__ import annotations

import hashlib
import os
import random
import resource
import weakref
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tests import pictures
from text2live_cli import video
from text2live_cli.errors import Text2LiveError, UsageError
from text2live_cli.video import ColorTags, open_clip, webm_bytes, write_video

MEDIA = Path(__file__).parents[2] / "shared" / "media"
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


@pytest.fixture
def clip_path(tmp_path: Path) -> Path:
    """Twelve painted frames at 25 frames a second."""
    path = tmp_path / "source" / "clip.mp4"
    path.parent.mkdir()
    write_video(path, painted(12), Fraction(25))
    return path


# Round trips


@pytest.mark.parametrize("ending", [".mp4", ".mov", ".mkv", ".webm", ".MP4"])
@pytest.mark.parametrize("rate", [Fraction(25), NTSC, Fraction(45_000, 1499), Fraction(10)])
def test_round_trip(
    tmp_path: Path, ending: str, rate: Fraction, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / f"a{ending}"
    assert write_video(path, painted(8), rate) == ()
    clip = open_clip(path)
    assert (clip.width, clip.height, clip.count, clip.start) == (64, 48, 8, 0)
    assert (clip.variable, clip.has_audio, clip.notes) == (False, False, ())
    assert clip.colors == ColorTags(1, 1, 1, 1)
    assert clip.pixel_aspect == 1
    assert clip.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    if ending in (".mp4", ".mov", ".MP4"):
        assert clip.rate == rate
        assert clip.times == tuple(index / rate for index in range(8))
    else:  # whole milliseconds
        assert abs(float(clip.rate / rate) - 1) < 1e-4
        assert max(abs(t - i / rate) for i, t in enumerate(clip.times)) <= Fraction(1, 1000)
    for frame, expected in zip(clip.frames(), painted(8), strict=True):
        assert frame.dtype == np.uint8
        assert np.abs(frame.astype(int) - expected).mean() < 2.5
    assert list(tmp_path.iterdir()) == [path]
    assert capfd.readouterr() == ("", "")


def test_the_same_frames_make_the_same_file(tmp_path: Path) -> None:
    for ending in (".mp4", ".mkv"):
        for name in "ab":
            write_video(tmp_path / f"{name}{ending}", painted(), NTSC)
        first, second = ((tmp_path / f"{name}{ending}").read_bytes() for name in "ab")
        assert first == second
    assert webm_bytes(painted(), NTSC) == webm_bytes(painted(), NTSC)


@pytest.mark.parametrize("ending", [".mp4", ".mkv", ".webm"])
def test_variable_rate_keeps_its_timestamps(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"a{ending}"
    times = [Fraction(ms, 1000) for ms in (0, 33, 71, 250, 262, 1500, 1533)]
    write_video(path, painted(7), Fraction(20), times=[time + 5 for time in times])
    clip = open_clip(path)
    assert clip.variable
    assert clip.count == 7
    assert max(abs(a - b) for a, b in zip(clip.times, times, strict=True)) <= Fraction(1, 1000)
    assert abs(float(clip.rate) - 6 / 1.533) < 0.01
    assert order(clip.frames(), 7) == list(range(7))


@settings(max_examples=12, deadline=None)
@given(st.lists(st.integers(2, 900), min_size=2, max_size=9))
def test_any_timestamps_come_back(
    tmp_path_factory: pytest.TempPathFactory, gaps: list[int]
) -> None:
    path = tmp_path_factory.mktemp("times") / "a.mp4"
    times = [Fraction(sum(gaps[:index]), 1000) for index in range(len(gaps) + 1)]
    write_video(path, painted(len(times), 16, 16), Fraction(25), times=times)
    clip = open_clip(path)
    assert max(abs(a - b) for a, b in zip(clip.times, times, strict=True)) <= Fraction(1, 1000)


def test_rounded_timestamps_become_their_rate(tmp_path: Path) -> None:
    rounded = [Fraction(round(index * 1001 / 30), 1000) for index in range(30)]
    write_video(tmp_path / "a.mp4", painted(30), NTSC, times=rounded)
    clip = open_clip(tmp_path / "a.mp4")
    assert (clip.rate, clip.variable) == (NTSC, False)
    assert clip.times[-1] == 29 / NTSC


# Colours


@pytest.mark.parametrize(
    ("tags", "height", "meant"),
    [
        (BT601, 48, (6, False)),
        (ColorTags(), 48, (1, False)),
        (ColorTags(5, 6, 5, 1), 48, (6, False)),
        (ColorTags(1, 1, 1, 2), 48, (1, True)),
        (ColorTags(6, 6, 6, 2), 48, (6, True)),
        (ColorTags(2, 2, 2, 0), 48, (6, False)),
        (ColorTags(2, 2, 2, 0), 720, (1, False)),
    ],
)
def test_matrix_and_range_are_those_of_the_stream(
    tmp_path: Path, tags: ColorTags, height: int, meant: tuple[int, bool]
) -> None:
    path = save_yuv(tmp_path / "a.mp4", yuv_of(PATCHES, *meant), tags, height)
    clip = open_clip(path)
    assert clip.colors == tags
    frame = next(clip.frames())
    means = patch_means([frame[..., channel] for channel in range(3)])
    np.testing.assert_allclose(means, PATCHES, atol=2.5)

    copy = tmp_path / "copy.mp4"
    write_video(copy, clip.frames(), clip.rate, like=clip)
    assert open_clip(copy).colors == tags
    np.testing.assert_allclose(
        patch_means(stored_planes(copy)), patch_means(stored_planes(path)), atol=2
    )


@pytest.mark.parametrize("ending", [".mp4", ".webm"])
def test_without_a_model_bt709_is_written(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"a{ending}"
    write_video(path, [patches()] * 3, Fraction(25))
    np.testing.assert_allclose(
        patch_means(stored_planes(path)), yuv_of(PATCHES, 1, False), atol=2.5
    )


def test_hdr_is_said(tmp_path: Path) -> None:
    tags = ColorTags(9, 16, 9, 1)
    path = save_yuv(tmp_path / "a.mp4", yuv_of(PATCHES, 1, False), tags, 48)
    clip = open_clip(path)
    assert clip.notes == ("a.mp4: HDR is not tone-mapped, and rounded to 8 bits",)
    assert clip.colors == tags


def test_unknown_matrix_is_refused(tmp_path: Path) -> None:
    path = save_yuv(tmp_path / "a.mp4", yuv_of(PATCHES, 1, False), ColorTags(1, 1, 8, 1), 48)
    with pytest.raises(Text2LiveError, match=r"code 8.*BT\.709") as caught:
        open_clip(path)
    assert_one_line(caught.value, path)


# Shapes


@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
@pytest.mark.parametrize("flips", [(False, False), (True, False), (False, True), (True, True)])
def test_rotation_is_applied_and_dropped(
    tmp_path: Path, degrees: int, flips: tuple[bool, bool]
) -> None:
    stored = np.repeat(np.repeat(np.arange(18).reshape(2, 3, 3) * 14, 16, 0), 16, 1)
    stored = stored.astype(np.uint8)
    path = save_raw(tmp_path / "a.mp4", [stored] * 2, (degrees, *flips))
    # What `ffmpeg` does over these tags: turn counterclockwise, then flip.
    upright = np.rot90(stored, degrees // 90)
    upright = np.flip(upright, [axis for axis, flip in ((1, flips[0]), (0, flips[1])) if flip])
    clip = open_clip(path)
    assert (clip.height, clip.width) == upright.shape[:2]
    assert all((frame == upright).all() for frame in clip.frames())
    write_video(tmp_path / "b.mp4", clip.frames(), clip.rate, like=clip)
    again = open_clip(tmp_path / "b.mp4")
    assert (again.height, again.width) == upright.shape[:2]


@pytest.mark.parametrize(
    ("height", "width", "said"),
    [(47, 64, "last row repeated"), (48, 63, "last column"), (47, 63, "last row and column")],
)
def test_odd_sides(tmp_path: Path, height: int, width: int, said: str) -> None:
    frames = list(painted(3, height, width))
    path = tmp_path / "a.mp4"
    (note,) = write_video(path, frames, NTSC)
    assert said in note
    assert note.startswith("a.mp4: is 64×48")
    clip = open_clip(path)
    assert (clip.width, clip.height) == (64, 48)
    frame = next(clip.frames()).astype(int)
    assert np.abs(frame[:height, :width] - frames[0]).mean() < 2.5
    assert np.abs(frame[47] - frame[46]).max() <= (6 if height == 47 else 10)

    assert write_video(tmp_path / "a.webm", frames, NTSC) == ()
    clip = open_clip(tmp_path / "a.webm")
    assert (clip.width, clip.height) == (width, height)
    assert np.abs(next(clip.frames()).astype(int) - frames[0]).mean() < 2.5


def test_pixel_aspect_is_kept_and_turned(tmp_path: Path) -> None:
    for degrees, aspect in ((0, Fraction(4, 3)), (90, Fraction(3, 4))):
        path = tmp_path / f"{degrees}.mp4"
        with av.open(str(path), "w") as output:
            stream = output.add_stream("libx264", rate=25, width=48, height=48)
            stream.sample_aspect_ratio = Fraction(4, 3)
            stream.set_display_rotation(degrees)
            output.mux(stream.encode(av.VideoFrame.from_ndarray(next(painted(1, 48, 48)), "rgb24")))
            output.mux(stream.encode(None))
        clip = open_clip(path)
        assert clip.pixel_aspect == aspect
        write_video(tmp_path / "b.mp4", clip.frames(), clip.rate, like=clip)
        assert open_clip(tmp_path / "b.mp4").pixel_aspect == aspect


# Slices


@pytest.mark.parametrize(
    "part", [slice(0, None, 1), slice(3, 9, 1), slice(1, None, 4), slice(5, 5, 1), slice(10, 99, 3)]
)
@pytest.mark.parametrize("kind", ["file", "folder"])
def test_slices(tmp_path: Path, clip_path: Path, part: slice, kind: str) -> None:
    if kind == "folder":
        for index, frame in enumerate(painted(12)):
            Image.fromarray(frame).save(tmp_path / f"{index:05d}.png")
    clip = open_clip(tmp_path if kind == "folder" else clip_path)
    frames = clip.frames(part.start, part.stop, part.step)
    assert order(frames, 12) == list(range(12))[part]


def test_resized_frames_are_area_averages(tmp_path: Path) -> None:
    frame = np.random.default_rng(0).integers(0, 256, (32, 48, 3), np.uint8)
    Image.fromarray(frame).save(tmp_path / "0.png")
    clip = open_clip(tmp_path)
    averaged = frame.reshape(8, 4, 12, 4, 3).mean(axis=(1, 3))
    np.testing.assert_allclose(next(clip.frames(size=(8, 12))), averaged, atol=0.51)
    assert next(clip.frames(size=(64, 50))).shape == (64, 50, 3)


def test_frames_are_not_kept(tmp_path: Path) -> None:
    alive: list[weakref.ref[np.ndarray]] = []
    most = 0

    def watched(frames: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
        nonlocal most
        for frame in frames:
            alive[:] = [
                *(reference for reference in alive if reference() is not None),
                weakref.ref(frame),
            ]
            most = max(most, len(alive))
            yield frame

    write_video(tmp_path / "a.mp4", watched(painted(40)), Fraction(25))
    for _ in watched(open_clip(tmp_path / "a.mp4").frames()):
        pass
    assert 1 <= most <= 4


# GIF, APNG, folders


def test_gif(tmp_path: Path) -> None:
    images = [Image.fromarray(np.full((20, 30, 3), 40 * i, np.uint8)) for i in range(5)]
    durations = [50, 100, 50, 200, 50]
    images[0].save(tmp_path / "a.gif", save_all=True, append_images=images[1:], duration=durations)
    clip = open_clip(tmp_path / "a.gif")
    assert (clip.count, clip.width, clip.height, clip.variable) == (5, 30, 20, True)
    assert clip.times == tuple(Fraction(ms, 1000) for ms in (0, 50, 150, 200, 400))
    assert clip.notes == ()
    assert [int(frame.mean()) for frame in clip.frames()] == [0, 40, 80, 120, 160]


def test_transparency_is_shown_on_white(tmp_path: Path) -> None:
    images = []
    for shade in (0, 60, 120):
        samples = np.full((20, 20, 4), (shade, shade, shade, 255), np.uint8)
        samples[:, 10:, 3] = 0
        images.append(Image.fromarray(samples))
    images[0].save(
        tmp_path / "a.png", save_all=True, append_images=images[1:], duration=100, blend=0
    )
    (tmp_path / "folder").mkdir()
    for index, image in enumerate(images):
        image.save(tmp_path / "folder" / f"{index}.png")
    for path in (tmp_path / "a.png", tmp_path / "folder"):
        clip = open_clip(path)
        assert clip.notes == (f"{path.name}: transparent pixels are shown on white",)
        for frame, shade in zip(clip.frames(), (0, 60, 120), strict=True):
            assert (frame[:, :10] == shade).all()
            assert (frame[:, 10:] == 255).all()


def test_folder_in_natural_order(tmp_path: Path) -> None:
    names = ["frame2.png", "frame10.png", "frame1.png", "frame03.jpg"]
    for name, index in zip(names, (1, 3, 0, 2), strict=True):
        frame = np.full((20, 30, 3), 5 + index * 60, np.uint8)
        Image.fromarray(frame).save(tmp_path / name, quality=95)
    for name in (".hidden.png", "notes.txt", "Thumbs.db"):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "more.png").mkdir()
    clip = open_clip(tmp_path)
    assert [path.name for path in clip.pictures] == [
        "frame1.png", "frame2.png", "frame03.jpg", "frame10.png"
    ]  # fmt: skip
    assert order(clip.frames(), 4) == [0, 1, 2, 3]
    assert (clip.rate, clip.times[2], clip.colors) == (24, Fraction(2, 24), None)
    assert open_clip(tmp_path, rate=NTSC).times[3] == 3 / NTSC
    before = clip.sha256
    (tmp_path / "frame1.png").rename(tmp_path / "frame0.png")
    assert open_clip(tmp_path).sha256 != before


def test_folder_frames_are_upright_and_8_bits(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    for name in "01":
        Image.fromarray(next(painted(1))).save(tmp_path / f"{name}.jpg", exif=exif)
    assert (open_clip(tmp_path).width, open_clip(tmp_path).height) == (48, 64)
    deep = pictures.pattern(3, np.uint16)
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "0.png").write_bytes(pictures.png_bytes(deep))
    (frame,) = open_clip(tmp_path / "deep").frames()
    np.testing.assert_array_equal(frame, np.rint(deep / 257).astype(np.uint8), strict=True)


def test_folders_that_are_no_clips(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="holds no pictures"):
        open_clip(tmp_path)
    Image.fromarray(next(painted(1))).save(tmp_path / "0.png")
    Image.fromarray(next(painted(1, 48, 66))).save(tmp_path / "1.png")
    with pytest.raises(UsageError, match=r"1\.png: is 66×48, but 0\.png is 64×48"):
        open_clip(tmp_path)
    (tmp_path / "1.png").write_bytes(b"hello")
    with pytest.raises(Text2LiveError, match=r"1\.png: not a picture"):
        open_clip(tmp_path)
    (tmp_path / "1.png").rename(tmp_path / "0.jpg")
    with pytest.raises(UsageError, match=r"0\.jpg and 0\.png; keep one"):
        open_clip(tmp_path)
    with pytest.raises(UsageError, match="frame rate of 0"):
        open_clip(tmp_path, rate=Fraction(0))


# Audio


@pytest.mark.parametrize(
    ("codec", "held", "ending"),
    [
        ("aac", ".mp4", ".mp4"),
        ("aac", ".ts", ".mp4"),
        ("aac", ".mkv", ".mov"),
        ("libopus", ".mkv", ".mp4"),
        ("libopus", ".mkv", ".webm"),
        ("ac3", ".mkv", ".mp4"),
        ("pcm_s16le", ".mkv", ".mkv"),
    ],
)
@pytest.mark.parametrize("late", [0, 0.2])
def test_audio_is_copied(
    tmp_path: Path, clip_path: Path, codec: str, held: str, ending: str, late: float
) -> None:
    rate = 48_000 if codec == "libopus" else 44_100
    source = add_sound(clip_path, tmp_path / f"source{held}", codec, rate, late)
    clip = open_clip(source)
    assert clip.has_audio
    out = tmp_path / f"out{ending}"
    assert write_video(out, clip.frames(), clip.rate, like=clip, audio_from=clip) == ()
    copy = open_clip(out)
    assert (copy.has_audio, copy.count) == (True, clip.count)
    stored, copied = audio_packets(source), audio_packets(out)
    assert len(stored) == len(copied) > 10
    if held != ".ts":  # the muxer takes the ADTS headers away
        assert [data for _, data in stored] == [data for _, data in copied]
    assert max(abs(a - b) for (a, _), (b, _) in zip(stored, copied, strict=True)) <= 0.0015
    np.testing.assert_allclose(heard(out), heard(source), atol=0.003)


@pytest.mark.parametrize(
    ("codec", "ending", "becomes"),
    [("pcm_s16le", ".mp4", "aac"), ("flac", ".mp4", "aac"), ("aac", ".webm", "opus")],
)
def test_audio_that_the_format_cannot_hold_is_encoded(
    tmp_path: Path, clip_path: Path, codec: str, ending: str, becomes: str
) -> None:
    source = add_sound(clip_path, tmp_path / "source.mkv", codec, late=0.25)
    clip = open_clip(source)
    out = tmp_path / f"out{ending}"
    (note,) = write_video(out, clip.frames(), clip.rate, audio_from=clip)
    assert note == f"source.mkv: its audio is converted from {codec} to {becomes}"
    np.testing.assert_allclose(heard(out), heard(source), atol=0.03)
    with av.open(str(out)) as container:
        assert container.streams.audio[0].codec_context.codec.canonical_name == becomes
        assert container.streams.audio[0].codec_context.layout.name == "mono"


def test_audio_ends_with_a_shorter_video(tmp_path: Path, clip_path: Path) -> None:
    clip = open_clip(add_sound(clip_path, tmp_path / "source.mp4", "aac"))
    out = tmp_path / "out.mp4"
    write_video(out, clip.frames(stop=5), clip.rate, audio_from=clip)
    assert abs(heard(out)[1] - 0.2) < 0.05
    write_video(out, clip.frames(), clip.rate, audio_from=clip)
    assert heard(out)[1] > 0.9


def test_no_audio_is_no_failure(tmp_path: Path, clip_path: Path) -> None:
    clip = open_clip(clip_path)
    assert write_video(tmp_path / "a.mp4", clip.frames(), clip.rate, audio_from=clip) == ()
    assert not open_clip(tmp_path / "a.mp4").has_audio


# Real media


@pytest.mark.skipif(not MEDIA.exists(), reason="no shared/media beside this checkout")
def test_realshort_keeps_frames_rate_and_audio(tmp_path: Path) -> None:
    source = MEDIA / "realshort.mp4"
    clip = open_clip(source)
    assert (clip.count, clip.rate, clip.variable) == (36, Fraction(45_000, 1499), False)
    out = tmp_path / "out.mp4"
    notes = write_video(out, clip.frames(), clip.rate, times=clip.times, like=clip, audio_from=clip)
    copy = open_clip(out)
    assert notes == copy.notes == ()
    assert (copy.count, copy.rate, copy.times) == (36, clip.rate, clip.times)
    assert (copy.width, copy.height, copy.colors) == (320, 240, clip.colors)
    assert audio_packets(out) == audio_packets(source)
    for a, b in zip(clip.frames(), copy.frames(), strict=True):
        assert np.abs(a.astype(int) - b).mean() < 3


@pytest.mark.skipif(not MEDIA.exists(), reason="no shared/media beside this checkout")
def test_real_gif_and_folder() -> None:
    gif = open_clip(MEDIA / "newtonscradle.gif")
    assert (gif.count, gif.variable, gif.width, gif.height) == (36, True, 200, 150)
    assert gif.times[:3] == (0, Fraction(5, 100), Fraction(7, 100))
    with Image.open(MEDIA / "newtonscradle.gif") as image:
        image.seek(20)
        expected = np.array(image.convert("RGB"))
    np.testing.assert_array_equal(next(gif.frames(20)), expected)
    assert open_clip(MEDIA / "tennis").count == 70


# Bad input


@pytest.mark.parametrize("share", [0.3, 0.5, 0.8, 0.95])
def test_truncated_file_gives_the_frames_that_decode(
    tmp_path: Path, share: float, capfd: pytest.CaptureFixture[str]
) -> None:
    noise = np.random.default_rng(0)
    frames = [noise.integers(0, 256, (32, 48, 3), np.uint8) for _ in range(40)]
    path = tmp_path / "cut.mp4"
    write_video(path, frames, Fraction(25))
    whole = list(open_clip(path).frames())
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    clip = open_clip(path)
    assert 40 * share - 8 < clip.count < 40
    assert clip.notes == (f"cut.mp4: {clip.count} of 40 frames decode, the rest is damaged",)
    read = list(clip.frames())
    assert len(read) == clip.count == len(clip.times)
    assert all((a == b).all() for a, b in zip(read, whole, strict=False))
    assert capfd.readouterr() == ("", "")


def test_places_that_are_no_clips(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    for path, said in (
        (tmp_path / "missing.mp4", "no such file"),
        (fifo, "no regular file"),
        (Path("/dev/null"), "no regular file"),
        (Path("https://example.org/clip.mp4"), "only local files"),
        (Path("rtsp://example.org/clip"), "only local files"),
        (Path("concat:a.mp4|b.mp4"), "only local files"),
        (Path("pipe:0"), "only local files"),
    ):
        with pytest.raises(UsageError, match=said) as caught:
            open_clip(path)
        assert_one_line(caught.value, path)


def test_a_name_like_a_protocol_is_only_a_name(
    tmp_path: Path, clip_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("concat:clip.mp4", "http:clip.mp4", "%05d.mp4", "-i", "\udcff.mp4"):
        clip_path = clip_path.rename(name)
        assert open_clip(clip_path).count == 12
        write_video(Path(f"{name}.mp4"), painted(3), Fraction(25))
        assert open_clip(Path(f"{name}.mp4")).count == 3


@pytest.mark.parametrize("name", ["clip.mp4", "clip.m3u8", "clip.gif", "clip"])
@pytest.mark.parametrize(
    "text",
    [
        "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nclip.mp4\n#EXT-X-ENDLIST\n",
        "ffconcat version 1.0\nfile source/clip.mp4\n",
        "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 1 RTP/AVP 96\n",
        '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011"></MPD>',
    ],
    ids=["hls", "concat", "sdp", "dash"],
)
def test_playlists_are_refused(tmp_path: Path, clip_path: Path, name: str, text: str) -> None:
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(UsageError, match="is a playlist; name the local video") as caught:
        open_clip(path)
    assert_one_line(caught.value, path)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "is empty"),
        (b"hello world\n" * 200, "not a video"),
        (b"\0\0\0\x20ftypisom\0\0\x02\0isomiso2avc1mp41", "not a video"),
        (b"GIF89a" + bytes(20), "damaged|not a video|too few"),
        (pictures.png_bytes(pictures.pattern()), "is a PNG picture"),
        (pictures.bomb_png(40_000, 40_000), "not a video|is a PNG picture"),
    ],
    ids=["empty", "text", "header", "gif", "picture", "bomb"],
)
def test_files_that_are_no_video(
    tmp_path: Path, data: bytes, said: str, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(data)
    with pytest.raises(Text2LiveError, match=said) as caught:
        open_clip(path)
    assert_one_line(caught.value, path)
    assert capfd.readouterr() == ("", "")


def test_sound_alone_is_refused(tmp_path: Path) -> None:
    for ending, codec in ((".m4a", "aac"), (".mkv", "aac"), (".wav", "pcm_s16le")):
        path = tmp_path / f"a{ending}"
        with av.open(str(path), "w") as output:
            stream = output.add_stream(codec, rate=44_100, layout="mono")
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 44_100), np.int16), "s16", "mono")
            frame.sample_rate = 44_100
            output.mux(stream.encode(frame))
            output.mux(stream.encode(None))
        with pytest.raises(Text2LiveError, match=r"holds no video|not a video"):
            open_clip(path)


def test_absurd_sizes_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.gif"
    write_small = Image.fromarray(np.zeros((20, 20), np.uint8))
    write_small.save(path)
    data = bytearray(path.read_bytes())
    data[6:10] = b"\xff\xff\xff\xff"
    path.write_bytes(data)
    with pytest.raises(Text2LiveError, match=r"65535×65535 .* too many|not a video|damaged"):
        open_clip(path)
    Image.fromarray(np.zeros((8, 40), np.uint8)).save(path)
    with pytest.raises(Text2LiveError, match="40×8 pixels are too few"):
        open_clip(path)


def test_a_size_that_changes_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.ts"
    parts = []
    for size in ((48, 64), (64, 48)):
        with av.open(str(path), "w", format="mpegts") as output:
            stream = output.add_stream("libx264", rate=25, width=size[1], height=size[0])
            for frame in painted(4, *size):
                output.mux(stream.encode(av.VideoFrame.from_ndarray(frame, "rgb24")))
            output.mux(stream.encode(None))
        parts.append(path.read_bytes())
    path.write_bytes(b"".join(parts))
    with pytest.raises(Text2LiveError, match="frame 4 is 48×64, the first 64×48") as caught:
        open_clip(path)
    assert_one_line(caught.value, path)


def test_a_rate_is_for_folders(clip_path: Path) -> None:
    with pytest.raises(UsageError, match="has its own frame rate"):
        open_clip(clip_path, rate=Fraction(30))


def test_a_clip_that_changes_after_opening(tmp_path: Path, clip_path: Path) -> None:
    clip = open_clip(clip_path)
    write_video(clip_path, painted(5), Fraction(25))
    with pytest.raises(Text2LiveError, match="was changed while it was read"):
        list(clip.frames())
    write_video(clip_path, painted(12, 64, 64), Fraction(25))
    with pytest.raises(Text2LiveError, match="was changed while it was read"):
        list(clip.frames())
    clip_path.unlink()
    with pytest.raises(Text2LiveError) as caught:
        list(clip.frames())
    assert_one_line(caught.value, clip_path)


@pytest.mark.parametrize("ending", [".mp4", ".mkv", ".webm", ".gif"])
def test_flipped_bytes_never_crash(
    tmp_path: Path, ending: str, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / f"a{ending}"
    if ending == ".gif":
        images = [Image.fromarray(frame) for frame in painted(4, 16, 24)]
        images[0].save(path, save_all=True, append_images=images[1:])
    else:
        write_video(path, painted(4, 16, 24), Fraction(25))
    data = path.read_bytes()
    dice = random.Random(ending)
    for _ in range(40):
        damaged = bytearray(data)
        for _ in range(4):
            damaged[dice.randrange(min(len(data), 3000))] = dice.randrange(256)
        path.write_bytes(damaged)
        try:
            clip = open_clip(path)
            assert len(list(clip.frames())) == clip.count
        except Text2LiveError as error:
            assert_one_line(error, path)
    assert capfd.readouterr() == ("", "")


# Failed writing


def test_interrupted_writing_leaves_nothing(tmp_path: Path) -> None:
    def stopped(error: BaseException) -> Iterator[np.ndarray]:
        yield from painted(60)
        raise error

    for ending in (".mp4", ".mkv", ".webm"):
        path = tmp_path / f"a{ending}"
        for error in (KeyboardInterrupt(), Text2LiveError("clip.mp4: gone"), ZeroDivisionError()):
            with pytest.raises(type(error)):
                write_video(path, stopped(error), Fraction(25))
        assert list(tmp_path.iterdir()) == []
    path.write_bytes(b"old")
    with pytest.raises(KeyboardInterrupt):
        write_video(path, stopped(KeyboardInterrupt()), Fraction(25))
    assert path.read_bytes() == b"old"


@pytest.mark.parametrize("ending", [".mp4", ".mkv", ".webm"])
def test_full_disk_is_one_line(tmp_path: Path, ending: str) -> None:
    noise = np.random.default_rng(0)
    frames = (noise.integers(0, 256, (64, 64, 3), np.uint8) for _ in range(60))
    path = tmp_path / f"a{ending}"
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, hard))
    try:
        with pytest.raises(Text2LiveError, match="File too large; make room") as caught:
            write_video(path, frames, Fraction(25))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert_one_line(caught.value, path)
    assert list(tmp_path.iterdir()) == []


def test_places_and_names_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"ends in \.mp4, \.mov, \.mkv, \.webm"):
        write_video(tmp_path / "a.avi", painted(), Fraction(25))
    (tmp_path / "folder.mp4").mkdir()
    for path in (tmp_path / "missing" / "a.mp4", tmp_path / "folder.mp4"):
        with pytest.raises(Text2LiveError, match="cannot write") as caught:
            write_video(path, painted(), Fraction(25))
        assert_one_line(caught.value, path)
    assert len(list(tmp_path.iterdir())) == 1


def test_a_missing_encoder_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kind = video._KINDS[".mp4"]._replace(encoder="libabsent")
    monkeypatch.setitem(video._KINDS, ".mp4", kind)
    with pytest.raises(Text2LiveError, match="the encoder libabsent is missing"):
        write_video(tmp_path / "a.mp4", painted(), Fraction(25))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("given_times", [2, 9])
def test_frames_and_times_have_to_agree(tmp_path: Path, given_times: int) -> None:
    for step in (Fraction(1, 25), Fraction(1, 7)):
        times = [index * index * step for index in range(given_times)]
        with pytest.raises(ValueError, match="times"):
            write_video(tmp_path / "a.mp4", painted(6), Fraction(25), times=times)
    with pytest.raises(ValueError, match="at least one frame"):
        write_video(tmp_path / "a.mp4", [], Fraction(25))
    sizes = [next(painted(1)), next(painted(1, 50))]
    with pytest.raises(ValueError, match="frame 1 is"):
        write_video(tmp_path / "a.mp4", sizes, Fraction(25))
    assert list(tmp_path.iterdir()) == []


# Previews


def test_webm_bytes_play_like_the_frames(tmp_path: Path) -> None:
    data = webm_bytes(painted(10, 47, 63), NTSC)
    path = tmp_path / "a.webm"
    path.write_bytes(data)
    clip = open_clip(path)
    assert (clip.count, clip.width, clip.height, clip.variable) == (10, 63, 47, False)
    assert abs(float(clip.rate / NTSC) - 1) < 1e-4
    for frame, expected in zip(clip.frames(), painted(10, 47, 63), strict=True):
        assert np.abs(frame.astype(int) - expected).mean() < 5
    with av.open(str(path)) as container:
        context = container.streams.video[0].codec_context
        assert (context.codec.canonical_name, context.pix_fmt) == ("vp9", "yuv420p")
