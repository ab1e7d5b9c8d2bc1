"""`composite` of a clip and stills or clips with alpha; the range of frames that a fit is of."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.commands import one_line, passed, run
from text2live_cli.atlas.fit.settings import FitSettings, Span, choose_span
from text2live_cli.media.clip_reading import frames_at
from text2live_cli.media.clip_writing import write_layer_video, write_video
from text2live_cli.media.clips import open_clip
from text2live_cli.media.compositing import lay_over

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
