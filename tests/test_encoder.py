"""The CLIP guide, relevancy and the whole objective against the authors' arrays."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from tests.conftest import Arrays
from text2live_cli.config import VIDEO_WEIGHTS, LossWeights, Schedule
from text2live_cli.engine import objective as objective_module
from text2live_cli.engine.edit_layer import EditLayer
from text2live_cli.engine.losses import cosine_distance, structure_loss
from text2live_cli.engine.objective import Objective, Rendered, Terms
from text2live_cli.guide.clip import ClipGuide, interpolate_positions
from text2live_cli.guide.prompts import (
    SCREEN_TEMPLATES,
    TEMPLATES,
    Prompts,
    embed_prompts,
    fill,
)
from text2live_cli.guide.relevancy import attention_relevancy, make_query, relevancy_map
from text2live_cli.guide.views import Views, ViewSettings, apply_views

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
    close(structure_loss(source, edited), encoder_arrays[f"structure/loss_{pair}"].squeeze())


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
    terms = judged(objective, pictures, LossWeights().bootstrap * share, torch.Generator())
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


def judged(
    objective: Objective, pictures: list[Rendered], bootstrap: float, rng: torch.Generator
) -> Terms:
    """The terms of a step that shows these pictures, with chances drawn by `rng`."""
    sizes = [(picture.source.shape[2], picture.source.shape[3]) for picture in pictures]
    return objective(pictures, objective.draw(sizes, torch.device("cpu"), rng), bootstrap)


def rendered(height: int, width: int, seed: int) -> Rendered:
    """A picture with a layer over it, of random colours and an alpha that grows to the right."""
    rng = torch.Generator().manual_seed(seed)
    source, color = torch.rand(2, 1, 3, height, width, generator=rng)
    layer = EditLayer(color, torch.linspace(0, 1, width).expand(1, 1, height, width))
    return Rendered(source, layer.over(source), layer.over_green_screen(), layer.alpha)


def test_every_picture_is_judged_through_its_own_views(
    tiny: ClipGuide, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By hand, view by view: several views, pictures of two sizes, and a weight for each term."""
    pictures = [rendered(90, 120, 1), rendered(120, 90, 2), rendered(90, 120, 3)]
    texts = embed_prompts(tiny, Prompts("golden cup", "cup", "golden cup"))
    weights = LossWeights(
        composition=2, direction=3, screen=5, structure=7, sparsity=11, sparsity_l1=13
    )
    objective = Objective(tiny, texts, weights, 4, "cosine")
    drawn: list[Views] = []

    def noting(size: tuple[int, int], rng: torch.Generator) -> Views:
        drawn.append(Objective.draw_views(objective, size, rng))
        return drawn[-1]

    monkeypatch.setattr(objective, "draw_views", noting)
    shares = {14: torch.eye(14)[4], 2: torch.eye(2)[1]}
    monkeypatch.setattr(objective_module, "_draw_shares", lambda count, rng: shares[count])
    terms = judged(objective, pictures, 0, torch.Generator().manual_seed(0))

    def encoded(picture: Tensor, views: Views) -> Tensor:
        return torch.cat([tiny.encode_views(view[None]) for view in apply_views(picture, views)])

    whole = torch.cat([encoded(p.composite, drawn[2 * i]) for i, p in enumerate(pictures)])
    source = torch.cat([encoded(p.source, drawn[2 * i]) for i, p in enumerate(pictures)])
    screen = torch.cat([encoded(p.screen, drawn[2 * i + 1]) for i, p in enumerate(pictures)])
    way = (texts.target - texts.roi)[4:5]
    by_hand = {
        "composition": cosine_distance(whole, texts.target[4:5]).mean(),
        "direction": cosine_distance(whole - source, way).mean(),
        "screen": cosine_distance(screen, texts.screen[1:]).mean(),
    }
    for name, value in by_hand.items():
        close(terms.values[name], value)
    assert len(whole) == 12
    expected = 2 * by_hand["composition"] + 6 * by_hand["direction"] + 5 * by_hand["screen"]
    rest = 7 * terms.values["structure"] + 11 * terms.values["sparsity"]
    close(terms.total, expected + rest, 1e-4)


@pytest.mark.parametrize(
    ("weights", "l1", "l0"), [(LossWeights(), 0.06, 0.06), (VIDEO_WEIGHTS, 1e-3, 5e-4)]
)
def test_the_sparsity_costs_what_the_authors_have_it_cost(
    tiny: ClipGuide, weights: LossWeights, l1: float, l0: float
) -> None:
    layer = EditLayer(torch.rand(1, 3, 64, 64), torch.tensor([0.0, 0.5]).repeat(1, 1, 64, 32))
    picture = torch.rand(1, 3, 64, 64)
    one = Rendered(picture, layer.over(picture), layer.over_green_screen(), layer.alpha)
    texts = embed_prompts(tiny, Prompts("golden cup", "cup", "golden cup"))
    objective = Objective(tiny, texts, weights, 1, "spherical")
    terms = judged(objective, [one], 0, torch.Generator())
    psi = 2 * torch.tensor(2.5).sigmoid() - 1  # Ψ₀(½)
    cost = terms.weights["sparsity"] * terms.values["sparsity"]
    assert float(cost) == pytest.approx(l1 * 0.25 + l0 * float(psi) / 2)
