"""Figures of an edit, and the best of several by them."""

from __future__ import annotations

import dataclasses
import json
import signal
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from tests.commands import StopAt, one_line, passed, run
from text2live_cli import Text2LiveError, edit_image
from text2live_cli.batch.side_by_side import fits
from text2live_cli.batch.tries import Tries, try_edits
from text2live_cli.engine.figures import Figures, likeness, outside_figures
from text2live_cli.guide.clip import load_guide
from text2live_cli.media.clip_writing import write_video
from text2live_cli.media.clips import open_clip
from text2live_cli.media.pictures import read_picture
from text2live_cli.pipelines.options import ImageOptions
from text2live_cli.pipelines.plans import plan_image
from text2live_cli.progress import Silent
from text2live_cli.video.figures import flicker

EXAMPLES = Path(__file__).parents[1] / "examples"
QUICK = ("--clip", "swatch", "--steps", "2", "--views", "1", "--layout", "plain")


# Figures


@pytest.mark.parametrize(
    ("figures", "verdict", "advices"),
    [
        (Figures(0.0, 0.2, 0.99, 0.1), "good", 0),
        (Figures(0.0, 0.2, 0.5, 9.0), "fair", 1),
        (Figures(0.0, 0.08, 0.99, 0.1), "fair", 1),
        (Figures(0.2, 0.2, 0.99, 0.1), "poor", 1),
        (Figures(0.2, 0.1, 0.2, 20.0), "poor", 2),
        (Figures(0.0, 0.2, 0.9, None, 0.5), "fair", 1),
        (Figures(0.0, 0.2, 0.1, None, 0.01), "good", 0),
    ],
)
def test_the_verdict_and_its_advice(figures: Figures, verdict: str, advices: int) -> None:
    assert figures.verdict == verdict
    assert len(figures.advice) == advices
    assert figures.describe()["score"] == pytest.approx(figures.gain * figures.untouched_share)


def test_the_likeness_of_a_picture_is_higher_to_what_it_shows() -> None:
    guide = load_guide("swatch", None, Silent())
    rgb = torch.from_numpy(read_picture(EXAMPLES / "cup.png").color).permute(2, 0, 1)[None] / 255
    texts = guide.encode_text(["a red cup", "the red cup"]), guide.encode_text(["a golden car"])
    first, again = likeness(guide, texts[0], [rgb, rgb])
    assert first == again
    assert first > likeness(guide, texts[1], [rgb])[0] + 0.1


def test_what_lies_outside_of_the_region() -> None:
    before = np.zeros((4, 6, 3), np.uint8)
    after, alpha = before.copy(), np.zeros((4, 6), np.uint8)
    after[:, :4], alpha[:, :4] = 255, 255
    region = np.zeros((4, 6), np.float32)
    region[:, :3] = 1
    share, change = outside_figures(before, after, alpha, region)
    assert share == pytest.approx(2 / 3)
    assert change == pytest.approx(100 / 3, abs=0.1)
    assert outside_figures(before, after, alpha, None) == (pytest.approx(1 / 3), None)


def test_flicker_is_what_does_not_follow_the_flow() -> None:
    rng = np.random.default_rng(0)
    rough = rng.integers(0, 255, (14, 20, 3)).astype(np.uint8)
    wide = np.array(Image.fromarray(rough).resize((160, 112), Image.Resampling.BICUBIC))
    before = np.stack([wide[8:104, 8:136], wide[8:104, 5:133]])  # moves by three to the right
    dot = np.zeros((112, 160, 3), np.uint8)
    dot[40:70, 50:90] = 60
    still, moved = dot[8:104, 8:136], dot[8:104, 5:133]
    follows = flicker(before, np.clip(before + np.stack([still, moved]), 0, 255).astype(np.uint8))
    stays = flicker(before // 2, before // 2 + np.stack([still, still]))
    followed = flicker(before // 2, before // 2 + np.stack([still, moved]))
    assert follows is not None and stays is not None and followed is not None
    assert followed < 0.1 < stays
    assert flicker(before, before) is None


# Tries


@pytest.fixture
def cup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Image.open(EXAMPLES / "cup.png").resize((200, 200)).save("cup.png")
    monkeypatch.setattr("text2live_cli.batch.side_by_side.processors", lambda: 1)  # one by one
    return tmp_path


def options(progress: Silent, **others: Any) -> ImageOptions:
    quick: dict[str, Any] = {"clip": "swatch", "steps": 4, "views": 1, "layout": "plain", **others}
    return ImageOptions("cup.png", "golden cup", output="out", progress=progress, **quick)


def assert_is_the_edit_that_its_seed_gives_alone(record: dict[str, Any]) -> None:
    steps, job = record["settings"]["steps"], record["job"]
    alone = options(Silent(), steps=steps, seed=record["seed"], threads=job["threads"])
    edit_image(**vars(dataclasses.replace(alone, output="alone")))
    assert Path("out/layer.png").read_bytes() == Path("alone/layer.png").read_bytes()


def test_the_best_of_several_is_delivered_and_the_rest_is_small(cup: Path) -> None:
    line = ("edit-image", "cup.png", "golden cup", *QUICK, "--tries", "2", "-o", "out")
    line += ("--also-try", "copper cup")
    record = json.loads(passed(run(*line, "--json")).stdout)
    ranked = record["tries"]["ranked"]
    assert [row["seed"] for row in sorted(ranked, key=lambda r: r["folder"])] == [0, 1, 0, 1]
    scores = [row["figures"]["score"] for row in ranked]
    assert scores == sorted(scores, reverse=True)
    assert record["figures"] == ranked[0]["figures"]
    assert record["prompts"]["target"] == ranked[0]["prompt"]
    assert read_picture(cup / "out/layer.png").alpha is not None
    for number in range(1, 5):
        names = {path.name for path in (cup / f"out/tries/{number:02d}").iterdir()}
        assert names == {"run.json", "composite.jpg"}
    assert (cup / "out/tries/sheet.jpg").exists()
    again = passed(run(*line))
    assert "done already" in again.stderr
    assert "--overwrite" in one_line(run(*line[:-2], "--also-try", "silver cup"))


def test_interrupted_tries_go_on_where_they_were(cup: Path) -> None:
    result = try_edits(options(StopAt("training", 2)), Tries(2))
    assert result.interrupted
    assert not (cup / "out/composite.png").exists()
    result = try_edits(options(Silent()), Tries(2))
    assert not result.interrupted
    assert len(result.record["tries"]["ranked"]) == 2
    assert_is_the_edit_that_its_seed_gives_alone(result.record)


class StopAtFirst(Silent):
    """Presses Ctrl-C at the first step that is told; keeps the steps and the messages."""

    def __init__(self) -> None:
        self.steps = list[int]()
        self.texts = list[str]()

    def advance(self, done: int, values: Mapping[str, float] | None = None) -> None:
        self.steps.append(done)
        if len(self.steps) == 1:
            signal.raise_signal(signal.SIGINT)

    def message(self, text: str) -> None:
        self.texts.append(text)


@pytest.mark.slow
def test_two_tries_at_once_are_stopped_and_go_on(
    cup: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("text2live_cli.batch.side_by_side.processors", lambda: 2)
    long = {"steps": 12}
    looker = StopAtFirst()
    stopped = try_edits(options(looker, **long), Tries(2))
    assert stopped.interrupted and 0 < stopped.record["steps_done"] < 12
    assert stopped.record["stopped_by"] == "SIGINT"  # though each try was sent SIGTERM
    assert "2 tries, two at once" in looker.texts
    result = try_edits(options(looker, **long), Tries(2))
    assert not result.interrupted and looker.steps[-1] == 24
    assert not (cup / "out/tries/.lock").exists()
    assert_is_the_edit_that_its_seed_gives_alone(result.record)


@pytest.mark.slow
def test_a_try_of_two_that_fails_is_told(cup: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("text2live_cli.batch.side_by_side.processors", lambda: 2)
    (cup / "torn.safetensors").write_bytes(b"\x08" + b"\0" * 40)
    torn = {"clip": "ViT-B-32-quickgelu/openai", "clip_weights": "torn.safetensors"}
    with pytest.raises(Text2LiveError, match=r"try [12]: torn\.safetensors"):
        try_edits(options(Silent(), **torn), Tries(2))


def test_where_two_run_side_by_side(cup: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fit(**others: Any) -> bool:
        return fits(plan_image(options(Silent(), **others), "cpu", Silent()))

    assert not fit()
    monkeypatch.setattr("text2live_cli.batch.side_by_side.processors", lambda: 2)
    assert fit() and fit(threads=1) and not fit(threads=2) and not fit(log_dir="log")
    monkeypatch.setattr("text2live_cli.batch.side_by_side.available", lambda: 2**31)
    assert not fit()
    assert not fits(plan_image(options(Silent()), "cuda", Silent()))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--tries", "0"), "--tries"),
        (("--tries", "1000"), "--tries"),
        (("--tries", "2", "--also-try", ""), "--also-try"),
    ],
)
def test_tries_that_cannot_be_are_refused(cup: Path, options: tuple[str, ...], words: str) -> None:
    result = run("edit-image", "cup.png", "golden cup", *QUICK, *options)
    assert result.exit_code == 2
    assert words in one_line(result)
    assert [path.name for path in cup.iterdir()] == ["cup.png"]


def test_a_clip_is_tried_too(cup: Path) -> None:
    frame = read_picture(cup / "cup.png").color
    write_video(cup / "clip.mp4", [np.roll(frame, i, axis=1) for i in range(4)], Fraction(25))
    line = ("edit-video", "clip.mp4", "golden cup", *QUICK, "--baseline", "frames")
    passed(run(*line, "--tries", "2", "-o", "out", "--layer-format", "none"))
    record = json.loads((cup / "out/run.json").read_text("utf-8"))
    assert record["figures"]["flicker"] is not None
    assert open_clip(cup / "out/composite.mp4").count == 4
    assert (cup / "out/report.html").exists()
    assert (cup / "out/tries/02/composite.jpg").exists()
