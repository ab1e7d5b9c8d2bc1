"""Reading clips."""

from __future__ import annotations

import os
import random
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from tests import pictures
from tests.clips import (
    BT601,
    NTSC,
    PATCHES,
    assert_one_line,
    order,
    painted,
    patch_means,
    save_painted,
    save_raw,
    save_yuv,
    stored_planes,
    yuv_of,
)
from text2live_cli.errors import Text2LiveError, UsageError
from text2live_cli.media.clip_colors import ColorTags
from text2live_cli.media.clip_writing import write_video
from text2live_cli.media.clips import open_clip

MEDIA = Path(__file__).parents[2] / "shared" / "media"


@pytest.fixture
def clip_path(tmp_path: Path) -> Path:
    """Twelve painted frames at 25 frames a second."""
    return save_painted(tmp_path / "source" / "clip.mp4")


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
