"""Sentences into texts, presets and overrides, the relevancy of painted things."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from swatch_training.painter import paint_scene

from tests.commands import passed, run
from text2live_cli.config import (
    PICTURE,
    PRESETS,
    SWATCH,
    VIDEO_WEIGHTS,
    VIT,
    EditSettings,
    LossWeights,
    presets_in_words,
    resolve_settings,
    resolve_video_settings,
)
from text2live_cli.errors import UsageError
from text2live_cli.guide import weights
from text2live_cli.guide.clip import ClipGuide, load_guide
from text2live_cli.guide.prompts import (
    SCREEN_TEMPLATES,
    TEMPLATES,
    Prompts,
    choose_roi,
    embed_prompts,
    fill,
    trailing_parts,
)
from text2live_cli.progress import Silent
from text2live_cli.texts import slug


@pytest.fixture(scope="module")
def swatch() -> ClipGuide:
    return load_guide("swatch", None, Silent())


def test_there_are_the_fourteen_and_two_templates() -> None:
    assert len(set(TEMPLATES)) == 14
    assert len(SCREEN_TEMPLATES) == 2
    assert all(template.count("{}") == 1 for template in TEMPLATES + SCREEN_TEMPLATES)
    assert fill(("a {}", "{}!"), ("x", "y")) == ["a x", "x!", "a y", "y!"]
    assert fill(("a {}",), ("{braces}",)) == ["a {braces}"]


@pytest.mark.parametrize(
    ("prompt", "parts"),
    [
        ("oreo cake", ["cake"]),
        ("oreo birthday cake", ["birthday cake", "cake"]),
        ("fire out of the bear's mouth", ["bear's mouth", "mouth"]),
        ("golden", ["golden"]),
        ("made of", ["made of"]),
    ],
)
def test_trailing_parts(prompt: str, parts: list[str]) -> None:
    assert trailing_parts(prompt) == parts


@given(st.text(max_size=80))
def test_a_slug_is_a_safe_file_name(prompt: str) -> None:
    name = slug(prompt)
    assert 0 < len(name.encode()) <= 40
    assert not set(name) & set('/\\:*?"<>|. \n\0')


def test_the_screen_text_follows_all_targets_unless_given(tiny: ClipGuide) -> None:
    several = Prompts("crochet swan", "swan", "crochet swan", also=("knitted swan",))
    assert len(embed_prompts(tiny, several).screen) == 4
    fire = Prompts("fire from the mouth", "mouth", "fire", keep=("sky", "grass"))
    texts = embed_prompts(tiny, fire)
    assert len(texts.screen) == 2
    torch.testing.assert_close(texts.screen, tiny.encode_text(fill(SCREEN_TEMPLATES, ("fire",))))
    assert len(texts.keep_queries) == 2
    assert embed_prompts(tiny, several).keep_queries == ()


def test_the_roi_is_what_the_picture_shows(swatch: ClipGuide) -> None:
    rgb, _ = paint_scene([("cup", "red")], "wooden table", 3, (192, 256))
    picture = torch.from_numpy(rgb).permute(2, 0, 1)[None].float() / 255
    assert choose_roi(swatch, picture, "golden fish cup") in ("cup", "fish cup")
    assert choose_roi(swatch, picture, "golden cup") == "cup"


def test_presets_are_the_published_ones() -> None:
    paper = PRESETS[PICTURE, "paper", VIT]
    assert (paper.size, paper.channels, paper.views, paper.steps) == (512, 128, 16, 1000)
    assert paper.weights == LossWeights()
    assert resolve_settings("draft", weights.DEFAULT_CLIP).steps == 60
    assert resolve_settings("draft", "swatch").steps == 85
    assert EditSettings().clip == weights.DEFAULT_CLIP


def test_the_layers_of_a_clip_have_weights_of_their_own() -> None:
    vit = "ViT-B-32-quickgelu/openai"
    fg, bg = (resolve_video_settings("paper", vit, side).weights for side in (True, False))
    assert fg == VIDEO_WEIGHTS and fg.bootstrap == 10
    assert bg == dataclasses.replace(VIDEO_WEIGHTS, bootstrap=0.0)
    fg, bg = (resolve_video_settings("draft", "swatch", side) for side in (True, False))
    assert fg.weights == bg.weights and bg.weights.bootstrap > 0 and bg.weights.form > 0
    assert bg.schedule.bootstrap_share_at(239, 240) == 1
    fading = resolve_settings("draft", vit).schedule
    assert fading.bootstrap_share_at(59, 60) == 0 and fading.bootstrap_share_at(29, 60) == 0.5
    assert resolve_video_settings("draft", "swatch", True).steps == 120
    assert resolve_video_settings("draft", vit, True).steps == 120
    asked = resolve_video_settings("draft", vit, False, lambda_bootstrap=4.0)
    assert asked.weights.bootstrap == 4


def test_overrides_win_and_unknown_ones_are_refused() -> None:
    settings = resolve_settings("draft", "swatch", steps=7, lambda_screen=0.0, views=None)
    assert settings.steps == 7
    assert settings.weights.screen == 0
    assert settings.views == PRESETS[PICTURE, "draft", SWATCH].views
    with pytest.raises(UsageError, match="did you mean lambda_screen"):
        resolve_settings("draft", "swatch", lambda_scren=1.0)
    with pytest.raises(UsageError, match="--preset"):
        resolve_settings("fast", "swatch")


def test_every_setting_can_be_changed_and_is_checked() -> None:
    for field in dataclasses.fields(LossWeights):
        with pytest.raises(UsageError, match="--lambda-" + field.name.replace("_", "-")):
            resolve_settings("draft", "swatch", **{f"lambda_{field.name}": float("nan")})


def test_views_and_structure_sizes_scale_with_the_encoder(
    swatch: ClipGuide, tiny: ClipGuide
) -> None:
    assert tiny.view_size(512, 768) == (213, 320)
    assert tiny.structure_size(512, 768) == (224, 336)
    assert swatch.native == 112
    assert max(swatch.view_size(512, 768)) <= 160
    assert max(swatch.structure_size(512, 1024)) <= 190


def test_a_panorama_is_seen_through_windows(tiny: ClipGuide) -> None:
    long = torch.rand(1, 3, 40, 500)
    with torch.no_grad():
        similarity = tiny.self_similarity(long)
    assert len(similarity) > 1
    assert min(tiny.view_size(40, 200)) >= 2 * tiny.patch


def test_the_help_says_the_presets_numbers() -> None:
    assert presets_in_words(PICTURE) == (
        "paper (512 px, 1000 steps), standard (320 px, 400 steps) or"
        " draft (192 px, 60 steps, with swatch 85)"
    )
    help_text = passed(run("edit-video", "--help")).output
    assert "192 px, 120 steps" in help_text and "3000" in help_text
