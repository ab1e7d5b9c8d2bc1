"""The locator of `swatch`: where in a picture each thing is, by fresh painted scenes."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
import torch
from safetensors import safe_open
from swatch_training.augment import develop
from swatch_training.captions import BANK, Caption
from swatch_training.losses import locating_loss
from swatch_training.painter import paint, paint_scene
from swatch_training.scene import PainterSettings, random_scene
from swatch_training.store import Store, paint_store
from swatch_training.train import digest
from swatch_training.train_locator import Settings, Trainer, untrained
from torch.nn import functional

from text2live_cli.guide.clip import ClipGuide, load_guide
from text2live_cli.guide.relevancy import averaged_relevancy, make_query, relevancy_map
from text2live_cli.guide.swatch import vocabulary
from text2live_cli.guide.swatch.locator import CELL, LOCATOR, load_locator
from text2live_cli.guide.swatch.model import WEIGHTS, encode_tokens, load_swatch
from text2live_cli.progress import Silent

LOCATOR_SHA256 = "dcfc079322fc79f92be18b32eca23a1362320d6c9d358217bd3a5a56c3d68660"


@pytest.fixture(scope="module")
def guide() -> ClipGuide:
    return load_guide("swatch", None, Silent())


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Store:
    painted = Store.open(tmp_path_factory.mktemp("store"), 12, "w+")
    paint_store(painted, range(12), 5, PainterSettings())
    return painted


def _picture(rgb: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(rgb).permute(2, 0, 1)[None].float() / 255


def _overlap(found: np.ndarray, mask: np.ndarray) -> float:
    return float((found & mask).sum() / (found | mask).sum())


def test_the_file_is_the_one_that_was_trained() -> None:
    data = LOCATOR.read_bytes()
    assert len(data) < 4_000_000
    assert hashlib.sha256(data).hexdigest() == LOCATOR_SHA256
    with safe_open(LOCATOR, "pt") as file:
        assert file.metadata()["start"] == digest(WEIGHTS), "it reads the encoder's texts"


def test_a_cell_is_four_pixels() -> None:
    found = load_locator()(torch.rand(2, 3, 96, 128))
    assert found.shape == (2, 96 // CELL, 128 // CELL, 128)
    lengths = found.norm(dim=-1)
    torch.testing.assert_close(lengths, lengths[:1, :1, :1].expand_as(lengths))


def test_untrained_it_says_what_the_patches_say() -> None:
    swatch, _, _ = load_swatch()
    pictures = torch.rand(1, 3, 112, 112)
    tokens = encode_tokens(swatch, pictures)[:, 1:].transpose(1, 2).unflatten(2, (7, 7))
    with torch.no_grad():
        found = functional.normalize(untrained(swatch.visual)(pictures), dim=-1)
    fine = functional.interpolate(tokens, (28, 28), mode="bilinear", align_corners=False)
    expected = functional.normalize(fine, dim=1).permute(0, 2, 3, 1)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-3)


def test_the_loss_falls_where_cells_say_what_they_show() -> None:
    """Two regions, a cup before a sky: right and wrong embeddings, given as their own texts."""
    things = vocabulary.THINGS
    labels = torch.zeros(1, 64, 64)
    labels[:, :, 32:] = 1
    scenes = torch.tensor([[[things.index("sky"), -2], [things.index("cup"), -2]]])
    texts = torch.eye(len(BANK) + 1)
    described = [Caption(things.index("cup"))]
    right = torch.zeros(1, 16, 16, len(texts))
    right[:, :, :8, things.index("sky")] = 12
    right[:, :, 8:, things.index("cup")] = right[:, :, 8:, -1] = 12

    def loss(found: torch.Tensor) -> float:
        generator = torch.Generator().manual_seed(0)
        return locating_loss(found, texts, labels, scenes, described, generator).item()

    assert loss(right) < 0.01 < 1 < loss(torch.zeros_like(right)) < loss(right.flip(2))


def test_two_steps_of_its_training_are_reproduced(store: Store, tmp_path) -> None:
    settings = Settings(out=tmp_path / "w", work=tmp_path, steps=3, batch=4, scenes=12, workers=1)
    losses = []
    for _ in range(2):
        trainer = Trainer(settings)
        losses.append([trainer.train_step(store) for _ in range(2)])
    assert losses[0] == losses[1]
    assert losses[0] == pytest.approx([2.158, 1.862], rel=0.02)


def test_views_are_developed_within_range_and_some_stay() -> None:
    views = torch.rand(64, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    made = develop(views, torch.Generator().manual_seed(2))
    assert made.shape == views.shape and made.min() >= 0 and made.max() <= 1
    same = (made == views).flatten(1).all(1)
    assert 0 < same.sum() < 32


def test_it_finds_whole_things_in_fresh_scenes(guide: ClipGuide) -> None:
    overlaps = []
    for i, thing in enumerate(vocabulary.OBJECTS):
        rgb, (mask,) = paint_scene([(thing, "golden")], "grey wall", 80_000 + i, (160, 160))
        (found,) = averaged_relevancy(guide, _picture(rgb), [make_query(guide, thing)]).relevancy
        overlaps.append(_overlap(found.numpy() > 0.5, mask))
    assert np.median(overlaps) > 0.85 and np.mean(np.array(overlaps) > 0.6) > 0.85


def test_it_tells_two_things_apart(guide: ClipGuide) -> None:
    rng = np.random.default_rng(5)
    overlaps = []
    for seed in range(61_000, 61_016):
        things = [str(t) for t in rng.choice(vocabulary.OBJECTS, 2, replace=False)]
        objects = [(things[0], "red"), (things[1], "blue")]
        rgb, masks = paint_scene(objects, "wooden table", seed, (160, 160))
        queries = [make_query(guide, thing) for thing in things]
        for found, mask in zip(relevancy_map(guide, _picture(rgb), queries)[0], masks, strict=True):
            fine = functional.interpolate(found[None, None], mask.shape, mode="bilinear")[0, 0]
            overlaps.append(_overlap(fine.numpy() > 0.5, mask))
    assert np.median(overlaps) > 0.7


def test_it_finds_things_in_scenes_as_photos_are(guide: ClipGuide) -> None:
    rng, overlaps = np.random.default_rng(9), []
    settings = PainterSettings(lifelike=1, landscapes=0.3, screens=0)
    while len(overlaps) < 24:
        scene = random_scene(rng, settings)
        rgb, labels = paint(scene, 160, 160)
        mask = labels == 1
        if scene.objects and mask.mean() > 0.03:
            query = make_query(guide, scene.objects[0].thing)
            found = averaged_relevancy(guide, _picture(rgb), [query]).relevancy[0]
            overlaps.append(_overlap(found.numpy() > 0.5, mask))
    assert np.median(overlaps) > 0.6


def test_what_is_not_there_is_relevant_nowhere(guide: ClipGuide) -> None:
    """Else `--keep` of something that an example's crop does not hold would keep all of it."""
    rgb, _ = paint_scene([("cup", "red")], "wooden table", 4, (160, 160))
    words = ("boat", "butterfly", "umbrella")
    found = relevancy_map(guide, _picture(rgb), [make_query(guide, word) for word in words])
    assert found.max() < 0.6


def test_it_moves_with_its_encoder_and_stays_precise() -> None:
    guide = load_guide("swatch", None, Silent())
    guide.to(torch.device("cpu"), torch.bfloat16)
    assert guide.locator is not None and guide.relevancy_rule == "located"
    assert guide.dtype == torch.bfloat16
    assert {value.dtype for value in guide.locator.state_dict().values()} == {torch.float32}


def test_likely_is_what_is_there(guide: ClipGuide) -> None:
    rgb, (mask,) = paint_scene([("cup", "red")], "grass", 3, (160, 160))
    words = ("cup", "grass", "boat")
    found = averaged_relevancy(guide, _picture(rgb), [make_query(guide, w) for w in words])
    assert found.probability is not None
    cup, grass, boat = (found.probability.numpy()[i] for i in range(3))
    assert cup[mask].mean() > 0.8 and grass[~mask].mean() > 0.8 and boat.mean() < 0.1
