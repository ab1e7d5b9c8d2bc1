"""`composite` of a clip and stills or clips with alpha; the range of frames that a fit is of."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from tests.commands import one_line, passed, run
from text2live_cli import UsageError
from text2live_cli.atlas.fit.settings import FitSettings, Span, choose_span
from text2live_cli.media.clip_kinds import encoded_as
from text2live_cli.media.clip_reading import frames_at
from text2live_cli.media.clip_writing import write_layer_frames, write_layer_video, write_video
from text2live_cli.media.clips import open_clip
from text2live_cli.media.compositing import lay_over
from text2live_cli.pipelines.fading import Fade

H, W, COUNT = 48, 64, 7


@pytest.fixture
def clip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[np.ndarray]:
    """A folder `frames` of seven numbered pictures, each of its own grey."""
    monkeypatch.chdir(tmp_path)
    frames = [np.full((H, W, 3), 20 * i + 40, np.uint8) for i in range(COUNT)]
    Path("frames").mkdir()
    for i, frame in enumerate(frames):
        Image.fromarray(frame).save(f"frames/{i:03d}.png")
    return frames


def layer(shift: int = 0) -> np.ndarray:
    rgba = np.zeros((H, W, 4), np.uint8)
    rgba[10:20, 5 + shift : 30 + shift] = [250, 10, 30, 255]
    rgba[30:40, 5:30] = [0, 200, 0, 128]
    return rgba


def test_a_still_lies_over_every_frame(clip: list[np.ndarray]) -> None:
    Image.fromarray(layer()).save("layer.png")
    passed(run("composite", "frames", "layer.png", "-o", "out", "--opacity", "0.5"))
    made = list(open_clip(Path("out")).frames())
    assert len(made) == COUNT
    for source, frame in zip(clip, made, strict=True):
        assert np.array_equal(frame, lay_over(source, layer(), 0.5))


def test_a_clip_with_alpha_lies_over_its_frames(clip: list[np.ndarray]) -> None:
    write_layer_video(Path("layer.mov"), [layer(i) for i in range(COUNT + 2)], Fraction(25))
    told = passed(run("composite", "frames", "layer.mov", "-o", "out"))
    assert f"after {COUNT} are left out" in told.stderr
    for i, frame in enumerate(open_clip(Path("out")).frames()):
        expected = lay_over(clip[i], layer(i))
        assert np.abs(frame.astype(int) - expected)[2:28].max() <= 6  # ProRes


@pytest.mark.parametrize("name", ["layer.mov", "layer"])
def test_a_premultiplied_layer_is_laid_as_such(clip: list[np.ndarray], name: str) -> None:
    straight = [layer(i) for i in range(COUNT)]
    multiplied = [frame.copy() for frame in straight]
    for frame in multiplied:
        frame[..., :3] = np.rint(frame[..., :3] * (frame[..., 3:] / 255))
    Path("result").mkdir()
    write_layer_video(Path("result/layer.mov"), multiplied, Fraction(25))
    write_layer_frames(Path("result/layer"), iter(multiplied))
    Path("link").symlink_to(f"result/{name}")
    request = {"request": {"premultiplied": True}}
    Path("result/run.json").write_text(json.dumps(request), "utf-8")
    told = passed(run("composite", "frames", "link", "-o", "out"))
    assert "link: its colours are multiplied by alpha" in told.stderr
    for i, frame in enumerate(open_clip(Path("out")).frames()):
        off = np.abs(frame.astype(int) - lay_over(clip[i], straight[i]))
        assert off[32:38, 8:26].max() <= (1 if name == "layer" else 4)  # where alpha is half


def test_a_folder_of_frames_is_written_of_a_film(clip: list[np.ndarray]) -> None:
    write_video(Path("clip.mp4"), clip, Fraction(12))
    Image.fromarray(layer()).save("layer.png")
    passed(run("composite", "clip.mp4", "layer.png", "-o", "out/"))
    shown = open_clip(Path("clip.mp4")).frames()
    for source, frame in zip(shown, open_clip(Path("out")).frames(), strict=True):
        assert np.array_equal(frame, lay_over(source, layer()))
    told = run("composite", "clip.mp4", "layer.png", "-o", "out.png")
    assert (told.exit_code, ".mp4" in one_line(told)) == (2, True)
    Image.fromarray(clip[0]).save("still.png")
    told = run("composite", "still.png", "layer.png", "-o", "nothing")
    assert (told.exit_code, ".png" in one_line(told)) == (2, True)


def test_a_video_is_written_too(clip: list[np.ndarray]) -> None:
    write_video(Path("clip.mp4"), clip, Fraction(12))
    Image.fromarray(layer()).save("layer.png")
    passed(run("composite", "clip.mp4", "layer.png", "-o", "out.mp4"))
    made = open_clip(Path("out.mp4"))
    assert (made.count, made.rate) == (COUNT, 12)
    assert np.abs(next(made.frames())[12:18, 8:26].astype(int) - [250, 10, 30]).mean() < 12


@pytest.mark.parametrize("bad", ["size", "opaque", "short", "none"])
def test_what_does_not_fit_is_refused_in_a_line(clip: list[np.ndarray], bad: str) -> None:
    name = "layer.png"
    if bad == "size":
        Image.fromarray(layer()[:-2]).save(name)
    elif bad == "opaque":
        Image.fromarray(layer()[..., :3]).save(name)
    elif bad == "short":
        name = "layer.mov"
        write_layer_video(Path(name), [layer()] * 3, Fraction(25))
    result = run("composite", "frames", name, "-o", "out")
    assert result.exit_code == 2
    assert name in one_line(result)
    assert not Path("out").exists()


def test_a_range_keeps_its_last_frame(clip: list[np.ndarray]) -> None:
    assert Span(0, 7, 3).numbers == [0, 3, 6]
    assert Span(0, 7, 4).numbers == [0, 4, 6]
    assert Span(2, 7, 4).numbers == [2, 6]
    opened = open_clip(Path("frames"))
    numbers = choose_span(FitSettings(every=4), opened).numbers
    shown = [int(frame[0, 0, 0]) for frame in frames_at(opened, numbers)]
    assert shown == [20 * n + 40 for n in numbers]


def test_a_fit_covers_its_whole_range_and_meets_the_fitted_frames(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from swatch_training.moving import paint_clip

    from text2live_cli.atlas.store import read_atlas

    monkeypatch.chdir(tmp_path)
    frames, masks = paint_clip("cat", "leopard", "mossy wall", 3, 8, (72, 96))
    for name, pictures in (("clip", frames), ("masks", masks.astype(np.uint8) * 255)):
        Path(name).mkdir()
        for i, picture in enumerate(pictures):
            Image.fromarray(picture).save(f"{name}/{i:03d}.png")
    passed(run("fit-atlas", "clip", "--masks", "masks", "--steps", "5", "--every", "3"))
    atlas = read_atlas(Path("clip.atlas"))
    assert atlas.frames == [0, 3, 6, 7]
    assert atlas.covers(7) and not atlas.covers(8)
    for t, number in enumerate(atlas.frames):
        there = atlas.locate(number, (72, 96)).uv
        assert np.allclose(there, atlas.model.closed().locate(t, (72, 96)).uv)


def test_frames_of_an_edits_fit_are_checked_before_it(clip: list[np.ndarray]) -> None:
    line = ("edit-video", "frames", "golden cup", "--clip", "swatch")
    assert "--frames" in one_line(run(*line, "--frames", "5:99"))
    result = run(*line, "--frames", "0:4", "--box", "1,1,20,20@6")
    assert result.exit_code == 2
    assert "frame 6 is not fitted" in one_line(result)


@pytest.mark.parametrize(
    ("codec", "name", "encoder", "pixels", "levels"),
    [
        ("h264", "out.mp4", "h264", "yuv420p", 3),
        ("hevc", "out.mp4", "hevc", "yuv420p10le", 3),
        ("hevc", "out.mkv", "hevc", "yuv420p10le", 3),
        ("prores", "out.mov", "prores", "yuv422p10le", 2),
        ("dnxhr", "out.mov", "dnxhd", "yuv422p10le", 3),
        ("vp9", "out.webm", "vp9", "yuv420p", 3),
    ],
)
def test_a_film_is_encoded_as_asked_for(
    tmp_path: Path, codec: str, name: str, encoder: str, pixels: str, levels: float
) -> None:
    smooth = Image.fromarray(np.random.default_rng(0).integers(0, 255, (6, 8, 3), np.uint8))
    picture = np.array(smooth.resize((320, 240), Image.Resampling.BICUBIC))
    frames = [np.roll(picture, 4 * i, axis=1) for i in range(4)]
    kind = encoded_as(tmp_path / name, codec, None)
    write_video(tmp_path / name, frames, Fraction(25), kind=kind)
    with av.open(str(tmp_path / name)) as container:
        context = container.streams.video[0].codec_context
        assert (context.name.split("-")[0], context.pix_fmt) == (encoder, pixels)
    made = list(open_clip(tmp_path / name).frames())
    assert len(made) == 4
    assert np.abs(made[2].astype(int) - frames[2]).mean() < levels


@pytest.mark.parametrize("name", ["out.gif", "out.webp", "out.apng"])
def test_an_animation_keeps_its_frames_and_times(clip: list[np.ndarray], name: str) -> None:
    Image.fromarray(layer()).save("layer.png")
    passed(run("composite", "frames", "layer.png", "-o", name, "--fps", "10"))
    made = open_clip(Path(name))
    assert (made.count, made.rate) == (COUNT, 10)
    shown = next(made.frames()).astype(int)
    assert np.abs(shown - lay_over(clip[0], layer())).max() <= (0 if name != "out.gif" else 30)


@pytest.mark.parametrize("source", ["moving.gif", "moving.webp"])
def test_an_animation_may_become_a_webp(clip: list[np.ndarray], source: str) -> None:
    Image.fromarray(layer()).save("layer.png")
    first, *rest = map(Image.fromarray, clip)
    first.save(source, save_all=True, append_images=rest, duration=100)
    passed(run("composite", source, "layer.png", "-o", "out.webp"))
    assert open_clip(Path("out.webp")).count == COUNT
    first.save("still.webp")
    passed(run("composite", "still.webp", "layer.png", "-o", "picture.webp"))
    with Image.open("picture.webp") as picture:
        assert not getattr(picture, "is_animated", False)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("-o", "out.mp4", "--codec", "av1"), "--codec"),
        (("-o", "out.mp4", "--codec", "prores"), ".mov"),
        (("-o", "out.mov", "--codec", "prores", "--crf", "3"), "--crf"),
        (("-o", "out.mp4", "--crf", "99"), "--crf"),
        (("-o", "out.gif", "--crf", "9"), "--codec, --crf"),
        (("-o", "out", "--codec", "h264"), "--codec, --crf"),
        (("-o", "out.mp4", "--fps", "0"), "--fps"),
    ],
)
def test_films_that_cannot_be_are_refused(
    clip: list[np.ndarray], options: tuple[str, ...], words: str
) -> None:
    Image.fromarray(layer()).save("layer.png")
    result = run("composite", "frames", "layer.png", *options)
    assert result.exit_code == 2
    assert words in one_line(result)
    assert not Path(options[1]).exists()


@pytest.mark.parametrize("name", ["edited.gif", "edited.mov"])
def test_an_edit_puts_its_composite_where_it_is_named(clip: list[np.ndarray], name: str) -> None:
    for i in range(COUNT):
        rough = np.random.default_rng(i).integers(0, 255, (6, 8, 3), np.uint8)
        Image.fromarray(rough).resize((200, 200)).save(f"frames/{i:03d}.png")
    line = (
        "edit-video",
        "frames",
        "golden cup",
        "--clip",
        "swatch",
        "--steps",
        "1",
        "--views",
        "1",
    )
    line += ("--baseline", "frames", "--layer-format", "none", "--fps", "12", "-o", name)
    line += ("--codec", "prores") if name.endswith("mov") else ()
    assert f"{name}: the edited clip; report.html in edited" in passed(run(*line)).stderr
    made = open_clip(Path(name))
    assert (made.count, made.rate) == (COUNT, Fraction(12))
    assert open_clip(Path("edited/composite.mp4")).rate == 12
    whole = list(open_clip(Path("edited/composite")).frames())  # as the source: frames
    assert len(whole) == COUNT
    assert json.loads(Path("edited/run.json").read_text("utf-8"))["copy"] == name
    assert "done already" in passed(run(*line)).stderr
    Path(name).unlink()
    told = run(*line)
    assert (told.exit_code, f"{name}: is not there" in one_line(told)) == (1, True)


def test_opacity_may_change_over_the_frames() -> None:
    fade = Fade.read("4:1, 0:0")
    assert [fade(frame) for frame in (0, 1, 2, 4, 9)] == [0, 0.25, 0.5, 1, 1]
    assert Fade.read(0.3)(7) == Fade.read("0.3").constant == 0.3
    for text in ("x", "0:0,0:1", "-1:0", "0:0,4", "1.5", "0:0,4:2", "", "nan"):
        with pytest.raises(UsageError, match="--opacity"):
            assert Fade.read(text).constant < 0


def test_a_fade_over_a_clip(clip: list[np.ndarray]) -> None:
    whole = np.full((H, W, 4), (200, 30, 10, 255), np.uint8)
    Image.fromarray(whole).save("layer.png")
    passed(run("composite", "frames", "layer.png", "-o", "out", "--opacity", "0:0,4:1"))
    made = list(open_clip(Path("out")).frames())
    for number, (source, frame) in enumerate(zip(clip, made, strict=True)):
        assert np.array_equal(frame, lay_over(source, whole, min(number / 4, 1.0)))
    still = run("composite", "frames/000.png", "layer.png", "-o", "a.png", "--opacity", "0:0,4:1")
    assert still.exit_code == 2 and "of clips only" in one_line(still)


def test_blend_modes_over_a_clip(clip: list[np.ndarray]) -> None:
    Image.fromarray(layer()).save("layer.png")
    words = ("composite", "frames", "layer.png", "-o", "out", "--blend", "screen")
    passed(run(*words))
    for source, frame in zip(clip, open_clip(Path("out")).frames(), strict=True):
        assert np.array_equal(frame, lay_over(source, layer(), 1.0, "screen"))
    refused = run(*words[:3], "-o", "b", "--bg-layer", "layer.png", "--blend", "screen")
    assert refused.exit_code == 2
