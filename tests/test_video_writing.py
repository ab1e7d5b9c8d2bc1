"""Writing videos."""

from __future__ import annotations

import contextlib
import hashlib
import resource
import weakref
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import imageio_ffmpeg
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tests.clips import (
    BT601,
    NTSC,
    PATCHES,
    add_sound,
    assert_one_line,
    audio_packets,
    heard,
    order,
    painted,
    patch_means,
    patches,
    save_painted,
    stored_planes,
    yuv_of,
)
from text2live_cli.errors import Text2LiveError, UsageError
from text2live_cli.media import clip_kinds, clip_program
from text2live_cli.media.clip_colors import ColorTags
from text2live_cli.media.clip_kinds import CODECS, LAYER_KINDS, encoded_as
from text2live_cli.media.clip_writing import (
    require_encoders,
    webm_bytes,
    write_layer_frames,
    write_layer_video,
    write_video,
)
from text2live_cli.media.clips import open_clip

MEDIA = Path(__file__).parents[2] / "shared" / "media"


@pytest.fixture
def clip_path(tmp_path: Path) -> Path:
    """Twelve painted frames at 25 frames a second."""
    return save_painted(tmp_path / "source" / "clip.mp4")


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


@pytest.mark.parametrize("ending", [".mp4", ".webm"])
def test_without_a_model_bt709_is_written(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"a{ending}"
    write_video(path, [patches()] * 3, Fraction(25))
    np.testing.assert_allclose(
        patch_means(stored_planes(path)), yuv_of(PATCHES, 1, False), atol=2.5
    )


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


class Watch:
    """Counts the frames that are alive at once."""

    def __init__(self) -> None:
        self.most = 0
        self._alive: list[weakref.ref[np.ndarray]] = []

    def watched(self, frames: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
        for frame in frames:
            self._alive = [reference for reference in self._alive if reference() is not None]
            self._alive.append(weakref.ref(frame))
            self.most = max(self.most, len(self._alive))
            yield frame


def test_frames_are_not_kept(tmp_path: Path) -> None:
    watch = Watch()
    write_video(tmp_path / "a.mp4", watch.watched(painted(40)), Fraction(25))
    for _ in watch.watched(open_clip(tmp_path / "a.mp4").frames()):
        pass
    for ending in (".mov", ".webm"):
        write_layer_video(tmp_path / f"b{ending}", watch.watched(layers(40)), Fraction(25))
    write_layer_frames(tmp_path / "b", watch.watched(layers(40)))
    assert 1 <= watch.most <= 4


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


# Edit layers with alpha


def layers(count: int = 6, height: int = 48, width: int = 64) -> Iterator[np.ndarray]:
    """Painted frames under a soft disc that moves, opaque in its middle and clear around it."""
    rows, columns = np.mgrid[:height, :width]
    for index, color in enumerate(painted(count, height, width)):
        center = width * (index + 1) / (count + 1)
        distance = np.hypot(rows - height / 2, columns - center) / min(height, width)
        yield np.dstack([color, np.rint(255 * np.clip(2.5 - 6 * distance, 0, 1)).astype(np.uint8)])


def read_layer(path: Path) -> list[np.ndarray]:
    """The (h, w, 4) RGBA frames of a layer, by the decoder that knows of the alpha."""
    read = []
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        decoder = stream.codec_context
        if path.suffix == ".webm":
            decoder = av.CodecContext.create("libvpx-vp9", "r")
        for packet in container.demux(stream):
            for frame in decoder.decode(packet if packet.size else None):
                read.append(frame.reformat(format="rgba", src_colorspace=1).to_ndarray())
    return read


def assert_layers_alike(
    path: Path, expected: Iterator[np.ndarray], alpha: tuple[int, float], color: float
) -> None:
    """Alpha within (most, mean) levels; the mean of the colours within `color` where opaque."""
    for frame, layer in zip(read_layer(path), expected, strict=True):
        assert frame.shape == layer.shape
        off = np.abs(frame.astype(int) - layer)
        assert off[..., 3].max() <= alpha[0]
        assert off[..., 3].mean() <= alpha[1]
        opaque = layer[..., 3] == 255
        assert opaque.sum() > 50
        assert off[opaque][:, :3].mean() <= color


LAYER_BOUNDS = {".mov": ((1, 0.7), 1.0), ".webm": ((20, 0.8), 2.5)}


@pytest.mark.parametrize("ending", [".mov", ".webm"])
@pytest.mark.parametrize(("height", "width"), [(48, 64), (47, 64), (48, 63), (47, 63), (17, 31)])
def test_layers_come_back_at_their_exact_size(
    tmp_path: Path, ending: str, height: int, width: int, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / f"layer{ending}"
    assert write_layer_video(path, layers(6, height, width), NTSC) == ()
    assert_layers_alike(path, layers(6, height, width), *LAYER_BOUNDS[ending])
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert (stream.width, stream.height) == (width, height)
        if ending == ".webm":
            assert stream.metadata["alpha_mode"] == "1"
        else:
            assert (stream.codec_context.codec_tag, stream.codec_context.pix_fmt) == (
                "ap4h", "yuva444p12le",
            )  # fmt: skip
    clip = open_clip(path)
    assert (clip.count, clip.variable, clip.has_audio) == (6, False, False)
    assert abs(float(clip.rate / NTSC) - 1) < 1e-4
    assert list(tmp_path.iterdir()) == [path]
    assert capfd.readouterr() == ("", "")


def test_prores_keeps_every_level_of_alpha(tmp_path: Path) -> None:
    """To 16 bits: an editor of 8 bits gets the same level back."""
    levels = np.arange(256, dtype=np.uint8).reshape(16, 16)
    layer = np.dstack([np.full((16, 16, 3), 90, np.uint8), levels])
    write_layer_video(tmp_path / "a.mov", [layer] * 2, Fraction(25))
    with av.open(str(tmp_path / "a.mov")) as container:
        plane = next(container.decode(video=0)).planes[3]
        stored = np.frombuffer(plane, "<u2").reshape(plane.height, -1)[:, : plane.width]
    np.testing.assert_array_equal(np.rint(stored / 4095 * 255), levels)


def test_prores_keeps_grain(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    layer = np.full((64, 96, 4), 255, np.uint8)
    layer[..., :3] = rng.normal(128, 20, (64, 96, 3)).clip(0, 255)
    write_layer_video(tmp_path / "a.mov", [layer], Fraction(25))
    off = np.abs(read_layer(tmp_path / "a.mov")[0].astype(int) - layer)
    assert off.max() <= 2 and off.mean() < 0.1


def test_prores_says_32_bits_a_pixel(tmp_path: Path) -> None:
    """Editors look there whether there is alpha: QTFF, "Video sample description"."""
    write_layer_video(tmp_path / "a.mov", layers(2), Fraction(25))
    data = (tmp_path / "a.mov").read_bytes()
    entry = data.index(b"ap4h", data.index(b"stsd"))
    assert int.from_bytes(data[entry + 78 : entry + 80], "big") == 32


def test_colors_under_clear_pixels_stay_straight(tmp_path: Path) -> None:
    layer = np.dstack([patches(), np.full((48, 96), 1, np.uint8)])
    for ending in (".mov", ".webm"):
        path = tmp_path / f"a{ending}"
        write_layer_video(path, [layer] * 3, Fraction(25))
        frame = read_layer(path)[1]
        means = patch_means([frame[..., channel] for channel in range(3)])
        np.testing.assert_allclose(means, PATCHES, atol=2.5)
        assert np.abs(frame[..., 3].astype(int) - 1).max() <= 1


def test_layers_of_many_frames_keep_alpha_with_its_frame(tmp_path: Path) -> None:
    """Longer than the encoder looks ahead, with a cut in the middle."""
    frames = [*layers(30), *(frame[:, ::-1] for frame in layers(20))]
    for ending in (".mov", ".webm"):
        path = tmp_path / f"a{ending}"
        write_layer_video(path, frames, Fraction(25))
        assert_layers_alike(path, iter(frames), *LAYER_BOUNDS[ending])


@pytest.mark.parametrize("ending", [".mov", ".webm"])
def test_layers_keep_a_variable_rate(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"a{ending}"
    times = [Fraction(ms, 1000) for ms in (0, 33, 71, 250, 262, 1500, 1533)]
    write_layer_video(path, layers(7), Fraction(20), times=times)
    clip = open_clip(path)
    assert clip.variable
    assert max(abs(a - b) for a, b in zip(clip.times, times, strict=True)) <= Fraction(1, 1000)
    assert_layers_alike(path, layers(7), *LAYER_BOUNDS[ending])


@pytest.mark.parametrize(
    "tags", [BT601, ColorTags(), ColorTags(1, 1, 1, 2), ColorTags(5, 6, 5, 1), ColorTags(9, 16, 9)]
)
def test_layers_keep_the_tags_of_the_clip(tmp_path: Path, clip_path: Path, tags: ColorTags) -> None:
    like = replace(open_clip(clip_path), colors=tags)
    layer = np.dstack([patches(), np.full((48, 96), 255, np.uint8)])
    for ending in (".mov", ".webm"):
        path = tmp_path / f"a{ending}"
        write_layer_video(path, [layer] * 2, Fraction(25), like=like)
        clip = open_clip(path)
        assert clip.colors == (tags._replace(range=1) if ending == ".mov" else tags)
        frame = next(clip.frames())
        means = patch_means([frame[..., channel] for channel in range(3)])
        np.testing.assert_allclose(means, PATCHES, atol=3)


def test_pixel_aspect_is_kept_or_its_loss_said(tmp_path: Path, clip_path: Path) -> None:
    like = replace(open_clip(clip_path), pixel_aspect=Fraction(4, 3))
    assert write_layer_video(tmp_path / "a.mov", layers(2), Fraction(25), like=like) == ()
    assert open_clip(tmp_path / "a.mov").pixel_aspect == Fraction(4, 3)
    said = ("a.webm: is played with square pixels; stretch its width by 1.333",)
    assert write_layer_video(tmp_path / "a.webm", layers(2), Fraction(25), like=like) == said
    assert write_video(tmp_path / "a.webm", painted(2), Fraction(25), like=like) == said


def test_the_same_layers_make_the_same_file(tmp_path: Path) -> None:
    for ending in (".mov", ".webm"):
        for name in "ab":
            write_layer_video(tmp_path / f"{name}{ending}", layers(), NTSC)
        first, second = ((tmp_path / f"{name}{ending}").read_bytes() for name in "ab")
        assert first == second


def test_layer_frames_are_exact(tmp_path: Path) -> None:
    folder = tmp_path / "layer"
    write_layer_frames(folder, layers(3, 17, 31))
    assert sorted(path.name for path in folder.iterdir()) == [
        "00000.png", "00001.png", "00002.png"
    ]  # fmt: skip
    for path, layer in zip(sorted(folder.iterdir()), layers(3, 17, 31), strict=True):
        with Image.open(path) as image:
            assert image.mode == "RGBA"
            np.testing.assert_array_equal(np.array(image), layer, strict=True)
    assert list(tmp_path.iterdir()) == [folder]


def test_layer_frames_replace_those_of_a_longer_run(tmp_path: Path) -> None:
    write_layer_frames(tmp_path / "layer", layers(4))
    (tmp_path / "layer" / "notes.txt").write_text("mine")
    write_layer_frames(tmp_path / "layer", layers(2, 20, 30))
    assert sorted(path.name for path in (tmp_path / "layer").iterdir()) == [
        "00000.png", "00001.png", "notes.txt"
    ]  # fmt: skip
    assert open_clip(tmp_path / "layer").width == 30


# Failed writing


WRITERS: dict[str, Callable[[Path, Iterable[np.ndarray]], object]] = {
    "a.mov": lambda path, frames: write_layer_video(path, frames, Fraction(25)),
    "a.webm": lambda path, frames: write_layer_video(path, frames, Fraction(25)),
    "a": write_layer_frames,
}
"""Of layers."""


@contextlib.contextmanager
def full_disk(size: int) -> Iterator[None]:
    """No file can grow over `size` bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("name", WRITERS)
def test_interrupted_layers_leave_nothing(tmp_path: Path, name: str) -> None:
    def stopped(error: BaseException) -> Iterator[np.ndarray]:
        yield from layers(40)
        raise error

    for error in (KeyboardInterrupt(), Text2LiveError("clip.mp4: gone"), ZeroDivisionError()):
        with pytest.raises(type(error)) as caught:
            WRITERS[name](tmp_path / name, stopped(error))
        assert caught.value is error
    assert list(tmp_path.iterdir()) == []
    WRITERS[name](tmp_path / name, layers(3))
    before = stored_bytes(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        WRITERS[name](tmp_path / name, stopped(KeyboardInterrupt()))
    assert stored_bytes(tmp_path) == before


def stored_bytes(folder: Path) -> dict[Path, bytes]:
    """Every file below a folder."""
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", WRITERS)
def test_a_disk_that_fills_up_leaves_no_half_layer(tmp_path: Path, name: str) -> None:
    noise = np.random.default_rng(0)
    frames = [noise.integers(0, 256, (64, 64, 4), np.uint8) for _ in range(8)]
    path = tmp_path / name
    WRITERS[name](path, frames)
    size = max(map(len, stored_bytes(tmp_path).values()))
    frames[6:] = [np.zeros((64, 64, 4), np.uint8)]  # another result, with a big frame in the middle
    before = stored_bytes(tmp_path)
    for limit in (1000, size // 2):
        with full_disk(limit), pytest.raises(Text2LiveError, match="File too large") as caught:
            WRITERS[name](path, frames)
        assert_one_line(caught.value, path)
        assert stored_bytes(tmp_path) == before
        assert list(tmp_path.iterdir()) == [path]


def test_layer_places_and_names_that_cannot_be_written(tmp_path: Path) -> None:
    for name in ("a.mp4", "a.png", "a"):
        with pytest.raises(UsageError, match=r"ends in \.mov, \.webm"):
            write_layer_video(tmp_path / name, layers(), Fraction(25))
    (tmp_path / "file").write_bytes(b"x")
    (tmp_path / "folder.mov").mkdir()
    for path in (tmp_path / "missing" / "a.mov", tmp_path / "folder.mov"):
        with pytest.raises(Text2LiveError, match="cannot write") as caught:
            write_layer_video(path, layers(), Fraction(25))
        assert_one_line(caught.value, path)
    for path in (tmp_path / "missing" / "a", tmp_path / "file"):
        with pytest.raises(Text2LiveError, match="cannot write") as caught:
            write_layer_frames(path, layers())
        assert_one_line(caught.value, path)
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize(
    ("ending", "others"), [(".mov", r"\.webm or PNG"), (".webm", r"\.mov or PNG")]
)
def test_a_missing_layer_encoder_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: str, others: str
) -> None:
    kind = clip_kinds.LAYER_KINDS[ending]._replace(encoder="libabsent")
    monkeypatch.setitem(clip_kinds.LAYER_KINDS, ending, kind)
    with pytest.raises(
        Text2LiveError, match=rf"encoder libabsent is missing .* {others}"
    ) as caught:
        write_layer_video(tmp_path / f"a{ending}", layers(), Fraction(25))
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_layers_need_frames_of_one_size_and_their_times(tmp_path: Path) -> None:
    for name, write in WRITERS.items():
        with pytest.raises(ValueError, match="at least one frame"):
            write(tmp_path / name, [])
    path = tmp_path / "a.mov"
    with pytest.raises(ValueError, match="frame 1 is"):
        write_layer_video(path, [*layers(1), *layers(1, 50)], Fraction(25))
    for count in (2, 9):
        times = [Fraction(index * index, 25) for index in range(count)]
        with pytest.raises(ValueError, match="times"):
            write_layer_video(path, layers(6), Fraction(25), times=times)
    assert list(tmp_path.iterdir()) == []


def test_interrupted_writing_leaves_nothing(tmp_path: Path) -> None:
    def stopped(error: BaseException) -> Iterator[np.ndarray]:
        yield from painted(60)
        raise error

    for ending in (".mp4", ".mkv", ".webm"):
        path = tmp_path / f"a{ending}"
        for error in (KeyboardInterrupt(), Text2LiveError("clip.mp4: gone"), ZeroDivisionError()):
            with pytest.raises(type(error)) as caught:
                write_video(path, stopped(error), Fraction(25))
            assert caught.value is error
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
    with full_disk(40_000), pytest.raises(Text2LiveError, match="File too large; make") as caught:
        write_video(path, frames, Fraction(25))
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
    kind = clip_kinds.KINDS[".mp4"]._replace(encoder="libabsent")
    monkeypatch.setitem(clip_kinds.KINDS, ".mp4", kind)
    with pytest.raises(Text2LiveError, match=r"the encoder libabsent is missing .* \.webm file"):
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


def test_dnxhr_is_bt709_whatever_the_clip_is(tmp_path: Path, clip_path: Path) -> None:
    """Its decoders take it to be."""
    like = replace(open_clip(clip_path), colors=ColorTags(*BT601))
    path, frame = tmp_path / "a.mov", colorful()
    kind = encoded_as(path, "dnxhr", None)
    write_video(path, [frame] * 2, Fraction(25), like=like, kind=kind)
    assert np.abs(next(open_clip(path).frames()).astype(int) - frame).mean() < 1


# Where chroma lies


def colorful(alpha: bool = False) -> np.ndarray:
    """Smooth colours (h, w, 3 or 4) of one brightness."""
    rough = np.random.default_rng(0).uniform(-60, 60, (12, 16, 2)).astype(np.float32)
    blue, red = np.moveaxis(cv2.resize(rough, (256, 192), interpolation=cv2.INTER_CUBIC), 2, 0)
    green = -(0.0722 * blue + 0.2126 * red) / 0.7152
    rgb = np.rint(np.stack([red, green, blue], 2).clip(-100, 100) + 128).astype(np.uint8)
    return np.dstack([rgb, np.full(rgb.shape[:2], 255, np.uint8)]) if alpha else rgb


def blueness(rgb: np.ndarray) -> np.ndarray:
    """Cb of BT.709 (h, w), but for a factor."""
    return np.asarray(rgb[..., 2] - rgb[..., :3] @ np.array([0.2126, 0.7152, 0.0722]))


def moved(after: np.ndarray, before: np.ndarray) -> np.ndarray:
    """How far `after` lies to the right of `before` and below it, in pixels (least squares)."""
    inner = np.s_[8:-8, 8:-8]
    down, right = np.gradient(before)
    terms = np.stack([t[inner].ravel() for t in (before, right, down, np.ones_like(before))], 1)
    scale, dx, dy, _ = np.linalg.lstsq(terms, after[inner].ravel(), rcond=None)[0]
    return np.array([-dx / scale, -dy / scale])


@pytest.mark.parametrize(
    ("codec", "ending"), [(codec, end) for codec, kinds in CODECS.items() for end in kinds]
)
def test_colors_stay_where_they_are(tmp_path: Path, codec: str, ending: str) -> None:
    path, picture = tmp_path / f"a{ending}", colorful()
    write_video(path, [picture] * 2, Fraction(25), kind=encoded_as(path, codec, None))
    assert np.abs(moved(blueness(next(open_clip(path).frames())), blueness(picture))).max() < 0.05


def test_colors_of_layers_and_pages_stay_where_they_are(tmp_path: Path) -> None:
    path, picture = tmp_path / "a.webm", colorful(alpha=True)
    for write in (
        lambda: write_layer_video(path, [picture] * 2, Fraction(25)),
        lambda: path.write_bytes(webm_bytes(iter([picture[..., :3]] * 2), Fraction(25))),
    ):
        write()
        shown = blueness(next(open_clip(path).frames()))
        assert np.abs(moved(shown, blueness(picture))).max() < 0.05


@pytest.mark.parametrize("codec", ["mjpeg", "ffv1"])
def test_chroma_is_read_where_its_standard_has_it(tmp_path: Path, codec: str) -> None:
    """JPEG's lies between two columns, though some decoders do not say so."""
    picture, path = colorful(), tmp_path / "a.mkv"
    red, green, blue = (picture[..., i].astype(float) for i in range(3))
    luma = 0.299 * red + 0.587 * green + 0.114 * blue
    left = [(blue - luma) / 1.772, (red - luma) / 1.402]
    half = [
        np.stack([c[:, ::2], c[:, 1::2]]).mean(0) if codec == "mjpeg" else c[:, ::2] for c in left
    ]
    with av.open(str(path), "w") as output:
        stream = output.add_stream(codec, rate=25, width=256, height=192)
        stream.pix_fmt = "yuvj422p" if codec == "mjpeg" else "yuv422p"
        stream.codec_context.color_range = 2
        stream.codec_context.qmin = stream.codec_context.qmax = 2
        frame = av.VideoFrame(256, 192, stream.pix_fmt)
        for plane, samples in zip(frame.planes, (luma, *(c + 128 for c in half)), strict=True):
            rows = np.zeros((plane.height, plane.line_size), np.uint8)
            rows[:, : plane.width] = np.rint(samples)
            plane.update(rows.tobytes())
        frame.color_range = 2
        output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    assert np.abs(moved(blueness(next(open_clip(path).frames())), blueness(picture))).max() < 0.1


@pytest.mark.parametrize(("codec", "ending"), [("h264", ".mp4"), ("prores", ".mov")])
def test_chroma_is_stored_on_every_second_column(tmp_path: Path, codec: str, ending: str) -> None:
    path, picture = tmp_path / f"a{ending}", colorful()
    write_video(path, [picture] * 2, Fraction(25), kind=encoded_as(path, codec, None))
    with av.open(str(path)) as container:
        plane = next(container.decode(video=0)).planes[1]
    samples = np.frombuffer(plane, np.uint16 if codec == "prores" else np.uint8)
    stored = samples.reshape(plane.height, -1)[:, : plane.width].astype(float)
    every = picture.shape[0] // plane.height
    rows = blueness(picture).reshape(plane.height, every, -1).mean(1)
    right, _ = moved(stored, rows[:, ::2])
    assert abs(2 * right) < 0.05


# Another build of FFmpeg


def decoded_elsewhere(path: Path, pixels: str = "rgb24") -> np.ndarray:
    """The frames (T, h, w, 3 or 4) of a file by the program that imageio-ffmpeg brings."""
    alpha = ["-c:v", "libvpx-vp9"] if path.suffix == ".webm" else []
    channels = len(pixels.removesuffix("24"))
    raw = imageio_ffmpeg.read_frames(path, pixels, bpp=channels, input_params=alpha)
    width, height = next(raw)["source_size"]
    return np.stack([np.frombuffer(f, np.uint8).reshape(height, width, channels) for f in raw])


@pytest.mark.parametrize("ending", [".mp4", ".mov", ".mkv", ".webm"])
def test_another_decoder_sees_the_frames(tmp_path: Path, ending: str) -> None:
    write_video(tmp_path / f"a{ending}", painted(8), Fraction(25))
    frames = decoded_elsewhere(tmp_path / f"a{ending}")
    assert len(frames) == 8
    for frame, expected in zip(frames, painted(8), strict=True):
        assert np.abs(frame.astype(int) - expected).mean() < 3


@pytest.mark.parametrize("ending", [".mov", ".webm"])
def test_another_decoder_sees_layers_with_their_alpha(tmp_path: Path, ending: str) -> None:
    write_layer_video(tmp_path / f"a{ending}", layers(), Fraction(25))
    frames = decoded_elsewhere(tmp_path / f"a{ending}", "rgba")
    for frame, layer in zip(frames, layers(), strict=True):
        off = np.abs(frame.astype(int) - layer)
        assert off[..., 3].mean() <= 1
        assert off[layer[..., 3] == 255].mean() < 3


# Encoders that PyAV's build lacks


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Every encoder is missing; what imageio-ffmpeg's program is asked to do in their place."""
    asked: list[list[str]] = []
    command = clip_program._command

    def noted(*arguments: Any) -> list[str]:
        asked.append(command(*arguments))
        return asked[-1]

    monkeypatch.setattr(clip_program, "_is_built_in", lambda encoder: False)
    monkeypatch.setattr(clip_program, "_command", noted)
    return asked


@pytest.mark.parametrize("ending", [".mp4", ".mov", ".mkv", ".webm"])
def test_a_missing_encoder_is_lent(
    tmp_path: Path, clip_path: Path, ending: str, commands: list[list[str]]
) -> None:
    source = add_sound(clip_path, tmp_path / "source.mkv", "libopus", 48_000)
    clip = replace(open_clip(source), colors=BT601)
    path = tmp_path / f"a{ending}"
    times = [Fraction(ms, 1000) for ms in (0, 33, 71, 250, 262, 600, 633)]
    write_video(
        path, painted(7), Fraction(20), times=times, end=Fraction(1), like=clip, audio_from=clip
    )
    assert [command[0] for command in commands] == [imageio_ffmpeg.get_ffmpeg_exe()]
    again = open_clip(path)
    assert max(abs(a - b) for a, b in zip(again.times, times, strict=True)) <= Fraction(1, 1000)
    assert ending == ".mkv" or abs(again.end - 1) <= Fraction(1, 1000)
    assert again.colors == BT601
    assert order(again.frames(), 7) == list(range(7))
    np.testing.assert_allclose(heard(path), heard(source), atol=0.03)


@pytest.mark.parametrize("ending", [".mov", ".webm"])
def test_a_missing_encoder_of_layers_is_lent(
    tmp_path: Path, ending: str, commands: list[list[str]]
) -> None:
    path = tmp_path / f"a{ending}"
    write_layer_video(path, layers(6, 47, 63), NTSC)
    assert len(commands) == 1
    assert_layers_alike(path, layers(6, 47, 63), *LAYER_BOUNDS[ending])
    assert open_clip(path).transparent and list(tmp_path.iterdir()) == [path]


def test_lent_encoders_are_enough_to_begin(
    commands: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    require_encoders(["mov", "webm", "png"])
    monkeypatch.setattr(clip_program, "_encoders_of_program", frozenset)
    monkeypatch.setitem(clip_kinds.LAYER_KINDS, ".mov", LAYER_KINDS[".mov"]._replace(encoder="x"))
    with pytest.raises(Text2LiveError, match="the encoder x is missing"):
        require_encoders(["mov"])


def test_a_lent_encoder_that_fails_or_is_stopped_leaves_nothing(
    tmp_path: Path, commands: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped() -> Iterator[np.ndarray]:
        yield from painted(60)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_video(tmp_path / "a.mp4", stopped(), Fraction(25))
    kind = clip_kinds.KINDS[".mp4"]._replace(encoder_options={"preset": "none such"})
    monkeypatch.setitem(clip_kinds.KINDS, ".mp4", kind)
    with pytest.raises(Text2LiveError, match=r"the encoder libx264 of .* failed: .+") as caught:
        write_video(tmp_path / "a.mp4", painted(60, 480, 640), Fraction(25))
    assert "\n" not in str(caught.value)
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
