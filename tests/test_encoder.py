"""The CLIP guide, relevancy and the whole objective against the authors' arrays."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from tests.conftest import Arrays
from text2live_cli.config import LossWeights, Schedule
from text2live_cli.engine import objective as objective_module
from text2live_cli.engine.edit_layer import EditLayer
from text2live_cli.engine.objective import Objective, Rendered
from text2live_cli.guide.clip import ClipGuide, interpolate_positions
from text2live_cli.guide.prompts import (
    SCREEN_TEMPLATES,
    TEMPLATES,
    Prompts,
    embed_prompts,
    fill,
)
from text2live_cli.guide.relevancy import attention_relevancy, make_query, relevancy_map
from text2live_cli.guide.views import ViewSettings

TOLERANCE = 1e-5
RELEVANCY_TOLERANCE = 2e-4
PLAIN = ViewSettings(flip_p=0, affine_p=0, perspective_p=0, jitter_p=0, gray_p=0)
PROMPTS = [
    "golden horse",
    "stained glass giraffe",
    "Fire out of the bear's mouth",
    "oreo cake",
    "swarovski blue crystal swan",
    "café & ice-cream, 3 scoops!",
]


def close(ours: Tensor, theirs: Tensor, atol: float = TOLERANCE) -> None:
    torch.testing.assert_close(ours, theirs, atol=atol, rtol=0)


@pytest.mark.parametrize("name", ["sq224", "sq256", "land224x320", "port320x224", "land213x320"])
def test_picture_embeddings(tiny: ClipGuide, encoder_arrays: Arrays, name: str) -> None:
    with torch.no_grad():
        embedding = tiny.encode_views(encoder_arrays.picture(f"image/{name}/u8"))
    close(embedding, encoder_arrays[f"image/{name}/embed"])


@pytest.mark.parametrize("name", ["sq256", "land224x320", "port320x224", "land213x320"])
def test_positions(tiny: ClipGuide, encoder_arrays: Arrays, name: str) -> None:
    grid = tiny.grid(encoder_arrays.picture(f"image/{name}/u8"))
    close(tiny.positions(*grid)[None, ::5], encoder_arrays[f"image/{name}/pos"])


def test_transposing_the_picture_transposes_the_positions(tiny: ClipGuide) -> None:
    wide = interpolate_positions(tiny.visual.positional_embedding, 5, 9)
    swapped = tiny.visual.positional_embedding[1:].unflatten(0, (7, 7)).transpose(0, 1)
    table = torch.cat([tiny.visual.positional_embedding[:1], swapped.flatten(0, 1)])
    tall = interpolate_positions(table, 9, 5)
    close(wide[1:].unflatten(0, (5, 9)).transpose(0, 1), tall[1:].unflatten(0, (9, 5)))


def test_the_twelve_block_encoder(tiny12: ClipGuide, encoder_arrays: Arrays) -> None:
    with torch.no_grad():
        embedding = tiny12.encode_views(encoder_arrays.picture("image/sq224/u8"))
    close(embedding, encoder_arrays["image/sq224/tiny12_embed"])
    texts = tiny12.encode_text(fill(TEMPLATES, (PROMPTS[0],)))
    close(texts, encoder_arrays["text/tiny12_embed_0"])


@pytest.mark.parametrize("index", range(6))
def test_text_tokens_and_embeddings(tiny: ClipGuide, encoder_arrays: Arrays, index: int) -> None:
    for key, templates in (("", TEMPLATES), ("screen_", SCREEN_TEMPLATES)):
        texts = fill(templates, (PROMPTS[index],))
        tokens = encoder_arrays[f"text/{key}tokens_{index}"].long()
        assert torch.equal(tiny.tokenizer(texts), tokens)
        close(tiny.encode_text(texts), encoder_arrays[f"text/{key}embed_{index}"])


def test_several_prompts_stand_one_after_the_other(tiny: ClipGuide, encoder_arrays: Arrays) -> None:
    prompts = Prompts(PROMPTS[0], "horse", PROMPTS[0], also=(PROMPTS[1],))
    texts = embed_prompts(tiny, prompts)
    close(texts.target, encoder_arrays["text/embed_list_0_1"])
    assert texts.roi.shape == texts.target.shape
    close(texts.roi[:14], texts.roi[14:])


@pytest.mark.parametrize("name", ["A", "B", "C", "D"])
def test_self_similarity(tiny: ClipGuide, encoder_arrays: Arrays, name: str) -> None:
    with torch.no_grad():
        similarity = tiny.self_similarity(encoder_arrays.picture(f"structure/{name}_u8"))
    close(similarity[:, ::3], encoder_arrays[f"structure/selfsim_{name}"])


@pytest.mark.parametrize("pair", ["AB", "CD"])
def test_structure_loss(tiny: ClipGuide, encoder_arrays: Arrays, pair: str) -> None:
    source, edited = (
        tiny.self_similarity(encoder_arrays.picture(f"structure/{name}_u8")) for name in pair
    )
    close(F.mse_loss(edited, source), encoder_arrays[f"structure/loss_{pair}"].squeeze())


@pytest.mark.parametrize(("key", "blocks"), [("10", 1), ("9", 2), ("6", 5), ("-1", 12)])
def test_relevancy_by_blocks(
    tiny12: ClipGuide, encoder_arrays: Arrays, key: str, blocks: int
) -> None:
    views = F.interpolate(
        encoder_arrays.picture("relevancy/u8"), (224, 224), mode="bilinear", align_corners=False
    )
    ours = attention_relevancy(tiny12, views, tiny12.encode_text(["cup"]), blocks)[0]
    theirs = encoder_arrays[f"relevancy/layers{key}/R_7x7"]
    close(ours / theirs.max(), theirs / theirs.max(), RELEVANCY_TOLERANCE)


def test_relevancy_of_two_prompts_at_once(tiny12: ClipGuide, encoder_arrays: Arrays) -> None:
    views = F.interpolate(
        encoder_arrays.picture("relevancy/u8"), (224, 224), mode="bilinear", align_corners=False
    )
    ours = attention_relevancy(tiny12, views, tiny12.encode_text(["cup", "spoon"]))[0]
    theirs = encoder_arrays["relevancy/two_prompts/R_7x7"]
    close(ours / theirs.max(), theirs / theirs.max(), RELEVANCY_TOLERANCE)


def test_relevancy_maps(tiny12: ClipGuide, encoder_arrays: Arrays) -> None:
    picture = encoder_arrays.picture("relevancy/u8")
    maps = relevancy_map(tiny12, picture, [make_query(tiny12, text) for text in ("cup", "table")])
    close(maps[0, :1, ::4, ::4], encoder_arrays["relevancy/layers10/map"], RELEVANCY_TOLERANCE)
    theirs = encoder_arrays["relevancy/layers10/map_negative_table"]
    close(maps[0, 1:, ::8, ::8], theirs, RELEVANCY_TOLERANCE)
    assert not maps.requires_grad


@pytest.mark.parametrize("case", ["crop_only", "crop_and_image"])
def test_the_whole_objective_and_its_gradient(
    tiny12: ClipGuide, encoder_arrays: Arrays, case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    arrays = {
        name.removeprefix("step/"): encoder_arrays[name]
        for name in encoder_arrays.names
        if name.startswith("step/")
    }
    draws = iter([arrays[f"{case}/idx_{term}"] for term in ("comp", "dir", "screen")])

    def authors_draws(count: int, rng: object) -> Tensor:
        drawn = next(draws)
        return torch.bincount(drawn, minlength=count) / len(drawn)

    monkeypatch.setattr(objective_module, "_draw_shares", authors_draws)
    names = ["crop"] if case == "crop_only" else ["crop", "image"]
    layers = {name: (arrays[f"layer_{name}_u8"].float() / 255).requires_grad_() for name in names}
    pictures = []
    for name, rgba in layers.items():
        source = encoder_arrays.picture(f"step/{name}_u8")
        layer = EditLayer.from_rgba(rgba)
        pictures.append(
            Rendered(source, layer.over(source), layer.over_green_screen(), layer.alpha)
        )
    texts = embed_prompts(tiny12, Prompts("golden cup", "cup", "golden cup"))
    objective = Objective(tiny12, texts, LossWeights(), 1, "spherical", PLAIN)
    share = Schedule().bootstrap_share_at(int(arrays["step"]), 1000)
    terms = objective(pictures, LossWeights().bootstrap * share, torch.Generator())
    terms.total.backward()

    def theirs(term: str) -> Tensor:
        return arrays[f"{case}/loss_{term}"].squeeze()

    close(terms.values["composition"].detach(), theirs("comp_clip"))
    close(terms.values["direction"].detach(), theirs("comp_dir"))
    close(terms.values["screen"].detach(), theirs("screen"))
    close(terms.values["structure"].detach(), theirs("structure"))
    close(terms.values["bootstrap"].detach(), theirs("bootstrap"), RELEVANCY_TOLERANCE)
    close(terms.total.detach(), arrays[f"{case}/loss"].squeeze(), 1e-4)
    for name, rgba in layers.items():
        gradient = arrays[f"{case}/grad_layer_{name}"]
        assert rgba.grad is not None
        close(rgba.grad[:, :, ::3, ::3], gradient, 1e-3 * float(gradient.abs().max()))
