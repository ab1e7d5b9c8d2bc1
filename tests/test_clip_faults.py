"""Clocks and streams of clips that go wrong elsewhere: each stands for a kind."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import imageio_ffmpeg
import numpy as np
import pytest
from PIL import Image, features

from tests.clips import painted, save_painted
from text2live_cli.errors import Text2LiveError, UsageError
from text2live_cli.media.clip_clock import nominal_rate
from text2live_cli.media.clip_decoding import deinterlaced
from text2live_cli.media.clip_writing import keeps_alpha, write_layer_video, write_video
from text2live_cli.media.clips import Clip, open_clip
from text2live_cli.media.stamps import mend_stamps

FAULTS = Path(__file__).parent / "data" / "faults"
FFMPEG = imageio_ffmpeg.get_ffmpeg_exe()
RATE = 48_000


def rewritten(clip: Clip, path: Path) -> tuple[str, ...]:
    """Write the clip as `composite` does; what is told."""
    frames = clip.frames(alpha=clip.transparent and keeps_alpha(path))
    timing = {"times": clip.times, "end": clip.end}
    return write_video(path, frames, clip.rate, **timing, like=clip, audio_from=clip)


def told_by_ffmpeg(path: Path) -> str:
    """What another build of FFmpeg says about a file."""
    command = [FFMPEG, "-hide_banner", "-i", str(path)]
    return subprocess.run(command, capture_output=True, text=True, check=False).stderr


def ffmpeg_frame_times(path: Path) -> list[float]:
    command = [FFMPEG, "-i", str(path), "-vf", "showinfo", "-fps_mode", "passthrough"]
    said = subprocess.run([*command, "-f", "null", "-"], capture_output=True, text=True, check=True)
    return [float(time) for time in re.findall(r"pts_time:([\d.]+)", said.stderr)]


def ffmpeg_clicks(path: Path, track: int = 0) -> list[float]:
    """When the clicks of a sound track begin, in seconds after the first frame."""
    command = [FFMPEG, "-v", "error", "-i", str(path), "-map", f"0:a:{track}", "-af"]
    command += ["aresample=async=1:min_hard_comp=0.001:first_pts=0", "-ac", "1", "-ar", str(RATE)]
    sound = subprocess.run([*command, "-f", "f32le", "-"], capture_output=True, check=True).stdout
    loud = np.flatnonzero(np.abs(np.frombuffer(sound, np.float32)) > 0.3)
    begins = loud[np.diff(loud, prepend=-RATE) > RATE // 20]
    return [begin / RATE - ffmpeg_frame_times(path)[0] for begin in begins]


def add_clicks(stream: av.AudioStream) -> list[av.Packet]:
    """The packets of 0.8 s with clicks at 0.2, 0.4 and 0.6 s."""
    layout = stream.codec_context.layout
    samples = np.zeros((1, RATE * 8 // 10 * layout.nb_channels), np.int16)
    for second in (0.2, 0.4, 0.6):
        begin = round(second * RATE) * layout.nb_channels
        samples[:, begin : begin + 240 * layout.nb_channels] = 20_000
    frame = av.AudioFrame.from_ndarray(samples, "s16", layout.name)
    frame.sample_rate, frame.pts, frame.time_base = RATE, 0, Fraction(1, RATE)
    return [*stream.encode(frame), *stream.encode(None)]


def save_streams(
    path: Path,
    sound: Sequence[dict[str, str]] = (),
    video_tags: dict[str, str] | None = None,
    tags: dict[str, str] | None = None,
    subtitles: dict[str, str] | None = None,
) -> Path:
    """Twenty frames at 25 frames a second, with sound tracks and what else a file may hold."""
    form = {".mkv": "matroska"}.get(path.suffix, path.suffix[1:])
    with av.open(str(path), "w", format=form) as output:
        video = output.add_stream("libx264", rate=25, width=64, height=48)
        video.metadata.update(video_tags or {})
        output.metadata.update(tags or {})
        tracks = []
        for track in sound:
            codec, layout, *_ = track.values()
            tracks.append(output.add_stream(codec, rate=RATE, layout=layout))
            tracks[-1].metadata.update(track)
        text = None
        if subtitles is not None:
            text = output.add_mux_stream("subrip", time_base=Fraction(1, 1000))
            text.metadata.update(subtitles)
            marks = [(0, 300, "One"), (300, 800, "Two")]
            output.set_chapters(
                [
                    {
                        "id": number,
                        "start": begin,
                        "end": end,
                        "time_base": Fraction(1, 1000),
                        "metadata": {"title": title},
                    }
                    for number, (begin, end, title) in enumerate(marks)
                ]
            )
        packets = []
        for index, frame in enumerate(painted(20)):
            shown = av.VideoFrame.from_ndarray(frame, "rgb24")
            shown.pts, shown.time_base = index, Fraction(1, 25)
            packets += video.encode(shown)
        packets += video.encode(None)
        for track in tracks:
            packets += add_clicks(track)
        for begin, words in ((100, "<i>Guten</i> Tag"), (500, "Ende")) if text else ():
            packet = av.Packet(words.encode())
            packet.pts = packet.dts = begin
            packet.duration, packet.time_base, packet.stream = 200, Fraction(1, 1000), text
            output.mux(packet)
        output.mux(sorted(packets, key=lambda packet: packet.dts * packet.time_base))
    return path


# Stamps that repeat, go back, jump


@pytest.mark.parametrize("ending", [".mp4", ".mov", ".mkv", ".webm"])
def test_one_repeated_stamp_leaves_the_others(tmp_path: Path, ending: str) -> None:
    clip = open_clip(FAULTS / "dupstamp.mkv")
    assert clip.times == tuple(Fraction(index, 25) for index in range(20))
    assert (clip.start, clip.end, clip.rate, clip.variable) == (2, Fraction(4, 5), 25, False)
    assert clip.notes == (
        "dupstamp.mkv: 1 timestamp that repeats or is out of order is mended",
    )  # fmt: skip
    out = tmp_path / f"out{ending}"
    rewritten(clip, out)
    # As in the file itself: by its sound 2.2003 s, by its first frame 2.0 s on its clock.
    np.testing.assert_allclose(ffmpeg_clicks(out), [0.2, 0.4, 0.6], atol=0.005)
    np.testing.assert_allclose(np.diff(ffmpeg_frame_times(out)), 0.04, atol=0.0011)


@pytest.mark.parametrize("ending", [".mp4", ".mov", ".mkv", ".webm"])
def test_joined_recordings_go_on_in_step(tmp_path: Path, ending: str) -> None:
    clip = open_clip(FAULTS / "joined.ts")
    assert (clip.count, clip.start) == (20, Fraction(37, 25))
    assert clip.notes == (
        "joined.ts: its clock jumps once; pictures and sound go on in step",
    )  # fmt: skip
    for half in (clip.times[:10], clip.times[10:]):
        assert [time - half[0] for time in half] == [Fraction(index, 25) for index in range(10)]
    second = clip.times[10]
    assert Fraction(2, 5) <= second < Fraction(2, 5) + Fraction(1, 25)
    out = tmp_path / f"out{ending}"
    assert not any("dropped" in note for note in rewritten(clip, out))
    clicks = [0.2, float(second), float(second) + 0.2]
    np.testing.assert_allclose(ffmpeg_clicks(out), clicks, atol=0.005)
    assert len(ffmpeg_frame_times(out)) == 20


@pytest.mark.parametrize(
    ("given", "mended", "wrong"),
    [
        ([0, 40, 80, 120], [0, 40, 80, 120], 0),
        ([0, 40, 40, 120], [0, 40, 80, 120], 1),
        ([80, 120, 100, 200, 240], [80, 120, 160, 200, 240], 1),
        ([0, 40, 10**12, 120, 160], [0, 40, 80, 120, 160], 1),
        ([10**9, 40, 80, 120, 160], [0, 40, 80, 120, 160], 1),
        ([0, 40, 80, 120, 20], [0, 40, 80, 120, 160], 1),
        ([0, None, 80, None, None, 200], [0, 40, 80, 120, 160, 200], 3),
        ([5], [5], 0),
    ],
)
def test_wrong_stamps_are_put_between_their_neighbours(
    given: list[int | None], mended: list[int], wrong: int
) -> None:
    if 2 * wrong >= len(given) > 1:
        assert mend_stamps(given) is None
    else:
        assert mend_stamps(given) == (mended, wrong)


def test_a_clock_that_is_mostly_wrong_is_no_use() -> None:
    assert mend_stamps([7, 7, 7, 7]) is None
    assert mend_stamps([None, None]) is None
    assert mend_stamps([4, 3, 2, 1]) is None


# The end of the last frame, and rates


@pytest.mark.parametrize("source", [".gif", ".png", ".webp", ".avif"])
def test_the_last_frame_stands_as_long_as_it_should(tmp_path: Path, source: str) -> None:
    path = tmp_path / f"hold{source}"
    if source == ".avif" and not features.check("avif"):
        pytest.skip("this Pillow has no AVIF")
    images = [Image.fromarray(frame) for frame in painted(8)]
    durations = [100] * 7 + [1500]
    images[0].save(path, save_all=True, append_images=images[1:], duration=durations)
    clip = open_clip(path)
    assert clip.times == tuple(Fraction(index, 10) for index in range(8))
    assert (clip.end, clip.rate) == (Fraction(11, 5), 10)
    for ending in (".mp4", ".mov", ".mkv", ".webm"):
        out = tmp_path / f"out{ending}"
        rewritten(clip, out)
        again = open_clip(out)
        assert again.count == 8
        assert abs(again.end - clip.end) <= Fraction(1, 1000)
        assert "Duration: 00:00:02.20" in told_by_ffmpeg(out)
        layer = tmp_path / "layer.webm"
    layers = (np.dstack([frame, frame[..., :1]]) for frame in painted(8))
    write_layer_video(layer, layers, clip.rate, times=clip.times, end=clip.end)
    assert "Duration: 00:00:02.20" in told_by_ffmpeg(layer)


@pytest.mark.parametrize("base", [24, 30, 60, 120])
@pytest.mark.parametrize("held", [".mp4", ".mkv", ".webm", ".ts"])
def test_rates_of_television_stay_exact(tmp_path: Path, base: int, held: str) -> None:
    rate = Fraction(base * 1000, 1001)
    path = tmp_path / f"a{held}"
    if held == ".ts":
        with av.open(str(path), "w", format="mpegts") as output:
            stream = output.add_stream("libx264", rate=rate, width=64, height=48)
            for frame in painted(20):
                output.mux(stream.encode(av.VideoFrame.from_ndarray(frame, "rgb24")))
            output.mux(stream.encode(None))
    else:
        write_video(path, painted(20), rate)
    clip = open_clip(path)
    assert (clip.rate, clip.variable) == (rate, False)
    rewritten(clip, tmp_path / "out.mp4")
    again = open_clip(tmp_path / "out.mp4")
    assert (again.rate, again.times[-1], again.end) == (rate, 19 / rate, 20 / rate)
    with av.open(str(tmp_path / "out.mp4")) as container:
        assert container.streams.video[0].average_rate == rate


def test_rounded_rates_are_those_of_the_trade() -> None:
    times = [Fraction(round(index * Fraction(1001, 60)), 1000) for index in range(3000)]
    assert nominal_rate(times, [Fraction(60_000, 1001)]) == (Fraction(60_000, 1001), False)
    assert nominal_rate(times, []) == (Fraction(60_000, 1001), False)
    sixty = [Fraction(round(index * Fraction(1000, 60)), 1000) for index in range(3000)]
    assert nominal_rate(sixty, []) == (60, False)


def test_absurd_clocks_are_refused_before_the_work(tmp_path: Path) -> None:
    year, path = 365 * 24 * 3600, tmp_path / "a.mkv"
    with av.open(str(path), "w", format="matroska") as output:
        stream = output.add_stream("libx264", rate=25, width=64, height=48)
        stream.codec_context.time_base = Fraction(1, 1000)
        for index, frame in enumerate(painted(4)):
            shown = av.VideoFrame.from_ndarray(frame, "rgb24")
            shown.pts = 40 * index + (1000 * year if index > 1 else 0)
            shown.time_base = Fraction(1, 1000)
            output.mux(stream.encode(shown))
        output.mux(stream.encode(None))
    with pytest.raises(Text2LiveError, match=r"frame 1 stands for 365\.0 days .limit one hour"):
        open_clip(path)
    fast = tmp_path / "fast.mp4"
    with av.open(str(fast), "w") as output:
        stream = output.add_stream("mpeg4", rate=25, width=64, height=48)
        packets = []
        for index, frame in enumerate(painted(4)):
            shown = av.VideoFrame.from_ndarray(frame, "rgb24")
            shown.pts, shown.time_base = index, Fraction(1, 25)
            packets += stream.encode(shown)
        packets += stream.encode(None)
        for index, packet in enumerate(packets):
            packet.time_base = Fraction(1, 12_800)
            packet.pts = packet.dts = index
            packet.duration = 1
            output.mux(packet)
    with pytest.raises(Text2LiveError, match=r"12800 frames a second are too many"):
        open_clip(fast)
    Image.fromarray(next(painted(1))).save(tmp_path / "0.png")
    folder = tmp_path / "folder"
    folder.mkdir()
    (tmp_path / "0.png").rename(folder / "0.png")
    for rate in (Fraction(2**31), Fraction(1, 10**6)):
        with pytest.raises(Text2LiveError, match="limit"):
            open_clip(folder, rate)


# What else is in the file


@pytest.mark.parametrize("ending", [".mp4", ".mov", ".mkv", ".webm"])
def test_all_sound_tracks_are_kept(tmp_path: Path, ending: str) -> None:
    tracks = [
        {"codec": "aac", "layout": "stereo", "language": "eng", "title": "Mic"},
        {"codec": "aac", "layout": "mono", "language": "deu", "title": "Desktop"},
    ]
    clip = open_clip(save_streams(tmp_path / "two.mp4", tracks))
    out = tmp_path / f"out{ending}"
    notes = rewritten(clip, out)
    becomes = ("two.mp4: its audio is converted from aac to opus",)
    assert notes == (becomes if ending == ".webm" else ())
    with av.open(str(out)) as container:
        streams = container.streams.audio
        assert [stream.codec_context.layout.nb_channels for stream in streams] == [2, 1]
        titles = [s.metadata.get("title") or s.metadata.get("name") for s in streams]
        assert titles == ["Mic", "Desktop"]
    said = told_by_ffmpeg(out)
    assert re.findall(r"\((eng|deu|ger)\): Audio", said) in (["eng", "deu"], ["eng", "ger"])
    for track in range(2):
        np.testing.assert_allclose(ffmpeg_clicks(out, track), [0.2, 0.4, 0.6], atol=0.005)


def test_subtitles_and_chapters_are_kept(tmp_path: Path) -> None:
    tags = {"language": "deu", "title": "Untertitel"}
    clip = open_clip(save_streams(tmp_path / "texts.mkv", subtitles=tags))
    for ending in (".mp4", ".mov", ".mkv"):
        out = tmp_path / f"out{ending}"
        spoken = "<i>Guten</i> Tag" if ending == ".mkv" else "Guten Tag"
        assert rewritten(clip, out) == ()
        command = [FFMPEG, "-v", "error", "-i", str(out), "-map", "0:s:0", "-f", "srt", "-"]
        texts = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        assert re.findall(r"(00:00:00,\d00 --> 00:00:00,\d00)\n(.*)\n", texts) == [
            ("00:00:00,100 --> 00:00:00,300", spoken),
            ("00:00:00,500 --> 00:00:00,700", "Ende"),
        ]
        said = told_by_ffmpeg(out)
        assert re.search(r"\((deu|ger)\): Subtitle", said)
        assert "Untertitel" in said
        assert re.findall(r"start (0\.\d00000), end (0\.\d00000)", said) == [
            ("0.000000", "0.300000"), ("0.300000", "0.800000")
        ]  # fmt: skip
        assert re.findall(r"title +: (One|Two)", said) == ["One", "Two"]
    assert rewritten(clip, tmp_path / "out.webm") == (
        "texts.mkv: left out, for want of a place in the file: a subtitle track (subrip)",
    )  # fmt: skip


def test_timecode_date_and_place_are_kept(tmp_path: Path) -> None:
    facts = {
        "creation_time": "2020-03-04T05:06:07.000000Z",
        "location": "+48.1374+011.5755/",
        "title": "A walk",
    }
    source = save_streams(tmp_path / "a.mov", video_tags={"timecode": "01:02:03:04"}, tags=facts)
    clip = open_clip(source)
    for ending in (".mp4", ".mov"):
        out = tmp_path / f"out{ending}"
        assert rewritten(clip, out) == ()
        said = told_by_ffmpeg(out)
        assert len(re.findall(r"timecode +: 01:02:03:04", said)) == 2  # of the video and its track
        for value in facts.values():
            assert value in said


@pytest.mark.parametrize("code", ["01:02:03;04", "01:02:03:25", "99:99:99:99", "noon"])
def test_a_timecode_that_cannot_count_is_told(tmp_path: Path, code: str) -> None:
    source = save_streams(tmp_path / "a.mkv", video_tags={"timecode": code})
    (note,) = rewritten(open_clip(source), tmp_path / "out.mp4")
    assert note.endswith(f"for want of a place in the file: its timecode ({code})")


@pytest.mark.parametrize("ending", [".mp4", ".mov", ".webm"])
def test_tags_that_say_nothing_do_no_harm(tmp_path: Path, ending: str) -> None:
    tags = {"creation_time": "the day before", "location": "here\n" * 9, "title": "\u202e" * 999}
    source = save_streams(tmp_path / "a.mkv", video_tags={"language": "klingon"}, tags=tags)
    assert rewritten(open_clip(source), tmp_path / f"out{ending}") == ()
    assert open_clip(tmp_path / f"out{ending}").count == 20


@pytest.mark.parametrize("ending", [".mp4", ".mov", ".mkv", ".webm"])
def test_surround_stays_surround(tmp_path: Path, ending: str) -> None:
    source = save_streams(tmp_path / "a.mkv", [{"codec": "flac", "layout": "5.1"}])
    out = tmp_path / f"out{ending}"
    rewritten(open_clip(source), out)
    assert re.search(r"Audio: (aac|flac|opus).* 5\.1,", told_by_ffmpeg(out))
    np.testing.assert_allclose(ffmpeg_clicks(out), [0.2, 0.4, 0.6], atol=0.005)


def test_what_becomes_of_seven_channels_is_said(tmp_path: Path) -> None:
    source = save_streams(tmp_path / "a.mkv", [{"codec": "flac", "layout": "7.1"}])
    (note,) = rewritten(open_clip(source), tmp_path / "out.mp4")
    assert note == "a.mkv: its audio is converted from flac to aac, and from 7.1 to 5.1"


# Alpha


@pytest.mark.parametrize("source", ["vp9.webm", "vp8.webm", "prores.mov", "anim.webp", "anim.png"])
def test_alpha_is_read_and_kept_where_it_can_be(tmp_path: Path, source: str) -> None:
    layers = []
    for frame in painted(6):
        alpha = np.full(frame.shape[:2], 255, np.uint8)
        alpha[:, :24] = 0
        layers.append(np.dstack([frame, alpha]))
    path = tmp_path / source
    if source.startswith("anim"):
        images = [Image.fromarray(layer) for layer in layers]
        exact = {"lossless": True, "exact": True} if source.endswith("webp") else {}
        images[0].save(path, save_all=True, append_images=images[1:], duration=100, **exact)
    elif source.startswith("vp8"):
        save_vp8(path, layers)
    else:
        write_layer_video(path, iter(layers), Fraction(25))
    clip = open_clip(path)
    assert clip.transparent
    assert clip.notes == (f"{source}: transparent pixels are shown on white",)
    for frame, layer in zip(clip.frames(), layers, strict=True):
        assert (frame[:, :20] > 250).all()
        assert np.abs(frame[:, 28:].astype(int) - layer[:, 28:, :3]).mean() < 5
    for frame in clip.frames(alpha=True):
        assert frame[:, :20, 3].max() <= 3
        assert frame[:, 28:, 3].min() >= 252
    for ending in (".mov", ".webm"):
        rewritten(clip, tmp_path / f"out{ending}")
        again = open_clip(tmp_path / f"out{ending}")
        assert again.transparent
        for frame, layer in zip(again.frames(alpha=True), layers, strict=True):
            assert frame[:, :20, 3].max() <= 3
            assert frame[:, 28:, 3].min() >= 252
            assert np.abs(frame[:, 28:, :3].astype(int) - layer[:, 28:, :3]).mean() < 6
    rewritten(clip, tmp_path / "out.mp4")
    assert (next(open_clip(tmp_path / "out.mp4").frames())[:, :16] > 245).all()


def save_vp8(path: Path, layers: list[np.ndarray]) -> None:
    """By the other build of FFmpeg."""
    height, width = layers[0].shape[:2]
    command = [FFMPEG, "-v", "error", "-f", "rawvideo", "-pix_fmt", "rgba", "-r", "25"]
    command += ["-s", f"{width}x{height}", "-i", "-", "-c:v", "libvpx", "-pix_fmt", "yuva420p"]
    command += ["-b:v", "2M", "-auto-alt-ref", "0", str(path)]
    subprocess.run(command, input=b"".join(layer.tobytes() for layer in layers), check=True)


def test_an_opaque_layer_is_not_transparent(tmp_path: Path) -> None:
    path = tmp_path / "a.webm"
    opaque = (np.dstack([frame, np.full(frame.shape[:2], 255, np.uint8)]) for frame in painted(3))
    write_layer_video(path, opaque, Fraction(25))
    assert not open_clip(path).transparent


# Interlaced


def combs(frame: np.ndarray) -> float:
    """How much each row differs from the mean of its neighbours."""
    rows = frame.astype(float).mean(axis=2)
    return float(np.abs(rows[1:-1] - (rows[:-2] + rows[2:]) / 2).mean())


def test_interlaced_frames_of_several_pixel_formats_keep_their_own() -> None:
    """A filter that was made for one reads another out of bounds."""
    frames = []
    for number, pixels in enumerate(("yuv444p10le",) * 3 + ("yuv420p",) * 3 + ("yuv444p10le",)):
        grey = np.full((48, 64, 3), 40 + 20 * number, np.uint8)
        frames.append(av.VideoFrame.from_ndarray(grey, "rgb24").reformat(format=pixels))
        frames[-1].pts = number
    made = list(deinterlaced(iter(frames), "tff"))
    assert [frame.format.name for frame in made] == [frame.format.name for frame in frames]
    for before, after in zip(frames, made, strict=True):
        shown, expected = (one.reformat(format="gray").to_ndarray() for one in (after, before))
        assert np.abs(shown.astype(int) - expected).max() <= 1


def test_interlaced_frames_are_deinterlaced_and_it_is_said(tmp_path: Path) -> None:
    path = FAULTS / "interlaced.mp4"
    with av.open(str(path)) as container:
        stored = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    clip = open_clip(path)
    assert clip.notes == ("interlaced.mp4: is interlaced; its frames are deinterlaced (bwdif)",)
    assert (clip.count, clip.rate, clip.end) == (10, Fraction(25, 2), Fraction(4, 5))
    frames = list(clip.frames())
    assert len(frames) == 10
    assert max(map(combs, frames)) < 0.5 * min(map(combs, stored))
    np.testing.assert_array_equal(next(clip.frames(7)), frames[7])
    rewritten(clip, tmp_path / "out.mp4")
    with av.open(str(tmp_path / "out.mp4")) as container:
        assert not any(frame.interlaced_frame for frame in container.decode(video=0))
    assert open_clip(tmp_path / "out.mp4").notes == ()


@pytest.mark.parametrize("first", ["tff", "bff"])
@pytest.mark.parametrize(
    ("ending", "codec"), [(".ts", "mpeg2video"), (".mkv", "ffv1"), (".mov", "prores_ks")]
)
def test_fields_that_frames_or_the_file_declare(
    tmp_path: Path, first: str, ending: str, codec: str
) -> None:
    """A grey bar that moves 4 px a field: combs without, and a whole bar with, deinterlacing."""
    fields = np.full((12, 64, 96), 40, np.uint8)
    for index, field in enumerate(fields):
        field[:, 10 + 4 * index : 34 + 4 * index] = 200
    raw = b""
    for index in range(6):
        woven = fields[2 * index].copy()
        woven[1 if first == "tff" else 0 :: 2] = fields[2 * index + 1][::2]
        raw += woven.tobytes()
    path = tmp_path / f"a{ending}"
    command = [FFMPEG, "-v", "error", "-f", "rawvideo", "-pix_fmt", "gray", "-s", "96x64", "-r"]
    command += [
        "25",
        "-i",
        "-",
        "-vf",
        f"setfield={first},format=yuv422p"
        if codec != "mpeg2video"
        else f"setfield={first},format=yuv420p",
        "-c:v",
        codec,
        "-flags",
        "+ildct+ilme",
    ]
    command += ["-field_order", "tt" if first == "tff" else "bb", "-q:v", "2", str(path)]
    subprocess.run(command, input=raw, check=True)
    clip = open_clip(path)
    assert [note for note in clip.notes if "deinterlaced (bwdif)" in note]
    frames = list(clip.frames())
    assert len(frames) == 6
    for index, frame in enumerate(frames):
        assert combs(frame[8:-8]) < 3
        bar = np.flatnonzero(frame[8:-8].mean(axis=(0, 2)) > 120)
        assert abs(bar[0] - (10 + 8 * index)) <= 2  # where it is in the field shown first


# Animated pictures


@pytest.mark.parametrize("kind", ["webp", "avif"])
def test_animated_pictures_are_clips(tmp_path: Path, kind: str) -> None:
    if not features.check(kind):
        pytest.skip(f"this Pillow has no {kind}")
    path = tmp_path / f"anim.{kind}"
    images = [Image.fromarray(frame) for frame in painted(8)]
    images[0].save(path, save_all=True, append_images=images[1:], duration=[100] * 7 + [1500])
    clip = open_clip(path)
    assert (clip.count, clip.width, clip.height) == (8, 64, 48)
    assert (clip.times[-1], clip.end) == (Fraction(7, 10), Fraction(11, 5))
    assert clip.notes == ()
    for frame, expected in zip(clip.frames(), painted(8), strict=True):
        assert np.abs(frame.astype(int) - expected).mean() < 6
    np.testing.assert_array_equal(next(clip.frames(5)), list(clip.frames())[5])
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 2 // 3])
    try:
        cut = open_clip(path)
    except Text2LiveError as error:
        assert str(path) in str(error)
    else:
        assert len(list(cut.frames())) == cut.count < 8
        assert cut.notes == (f"anim.{kind}: {cut.count} frames decode, the rest is damaged",)


@pytest.mark.parametrize("kind", ["webp", "avif"])
def test_still_pictures_are_no_clips(tmp_path: Path, kind: str) -> None:
    if not features.check(kind):
        pytest.skip(f"this Pillow has no {kind}")
    path = tmp_path / f"still.{kind}"
    Image.fromarray(next(painted(1))).save(path)
    with pytest.raises(UsageError, match=f"is a {kind.upper()} picture"):
        open_clip(path)


def test_a_plain_clip_is_told_nothing_about(tmp_path: Path) -> None:
    clip = open_clip(save_painted(tmp_path / "source" / "clip.mp4"))
    assert (clip.notes, rewritten(clip, tmp_path / "out.mp4")) == ((), ())
    assert (clip.interlacing, clip.transparent, clip.timeline.joints) == (None, False, 0)
