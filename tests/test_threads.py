"""Two edits at once in one process: each gives what its seed gives, and neither leaves a trace."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from swatch_training.painter import paint_scene

from text2live_cli import edit_image
from text2live_cli.atlas.fit.flow import Flow
from text2live_cli.atlas.fit.nla_losses import NlaProblem
from text2live_cli.atlas.fit.settings import NlaSettings
from text2live_cli.atlas.nla import new_networks
from text2live_cli.config import CHANNELS_LAST, PLAIN
from text2live_cli.engine.generator import Generator
from text2live_cli.media.picture_writing import write_picture
from text2live_cli.media.pictures import read_picture
from text2live_cli.runs.folder import HISTORY

QUICK: dict[str, Any] = {"clip": "swatch", "preset": "draft", "views": 2, "steps": 2}


def edit(cup: Path, seed: int, name: str) -> dict[str, bytes]:
    result = edit_image(cup, "golden cup", output=cup.with_name(name), seed=seed, **QUICK)
    return {
        "layer": result.layer.read_bytes(),
        "composite": result.composite.read_bytes(),
        "history": (result.folder / HISTORY).read_bytes(),
    }


@pytest.fixture
def cup(tmp_path: Path) -> Path:
    rgb, _ = paint_scene([("cup", "red")], "wooden table", 3, (200, 260))
    write_picture(tmp_path / "cup.png", rgb)
    return tmp_path / "cup.png"


def test_two_edits_at_once_give_what_each_gives_alone(cup: Path) -> None:
    alone = [edit(cup, seed, f"alone-{seed}") for seed in (1, 2)]
    together = threading.Barrier(2)

    def at_once(seed: int) -> dict[str, bytes]:
        together.wait()
        return edit(cup, seed, f"at-once-{seed}")

    with ThreadPoolExecutor(2) as pool:
        both = list(pool.map(at_once, (1, 2)))
    assert both == alone
    assert alone[0]["layer"] != alone[1]["layer"]


def test_an_edit_neither_seeds_the_process_nor_depends_on_its_random_numbers(
    cup: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or another thread's would be others; the test above meets that by chance alone."""

    def refuse(*given: object, **options: object) -> None:
        raise AssertionError("the process was seeded")

    for name in ("torch.manual_seed", "torch.random.fork_rng", "numpy.random.seed", "random.seed"):
        monkeypatch.setattr(name, refuse)
    first = edit(cup, 1, "first")
    torch.rand(7)
    np.random.rand(7)
    assert edit(cup, 1, "second") == first


def test_the_published_model_is_drawn_by_its_seed_alone() -> None:
    frames = np.random.default_rng(0).integers(0, 256, (3, 24, 40, 3), np.uint8)
    still, ok = np.zeros((2, 24, 40, 2), np.float32), np.ones((2, 24, 40), bool)
    masks, flow = np.zeros((3, 24, 40), np.float32), Flow(still, still, ok, ok)
    settings = NlaSettings(width=16, samples=20)
    before = torch.get_rng_state()
    first, again, other = (
        NlaProblem(frames, masks, flow, settings, seed, "cpu").model.tensors() for seed in (3, 3, 4)
    )
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["alpha.hidden.1.weight"], other["alpha.hidden.1.weight"])


def test_weights_are_drawn_as_pytorch_draws_them() -> None:
    """Layer after layer, so that a seed goes on giving what it gave."""
    rng = torch.Generator().manual_seed(5)
    drawn = [Generator(4, rng=rng).state_dict(), new_networks(8, rng)["alpha"].state_dict()]
    torch.manual_seed(5)
    expected = torch.nn.Conv2d(3, 4, 1)  # the first skip
    assert torch.equal(drawn[0]["skips.0.squeeze.weight"], expected.weight)
    assert torch.equal(drawn[0]["skips.0.squeeze.bias"], expected.bias)
    torch.manual_seed(5)
    plain = [Generator(4).state_dict(), new_networks(8)["alpha"].state_dict()]
    for ours, theirs in zip(drawn, plain, strict=True):
        assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    for kind in (PLAIN, CHANNELS_LAST):
        order = Generator(4, kind != PLAIN, torch.Generator().manual_seed(5)).state_dict()
        assert all(torch.equal(order[name], drawn[0][name]) for name in order)


def test_pillows_limit_is_lifted_for_our_own_reading_alone(cup: Path) -> None:
    before = Image.MAX_IMAGE_PIXELS
    with ThreadPoolExecutor(8) as pool:
        sizes = list(pool.map(lambda _: read_picture(cup).width, range(64)))
    assert sizes == [260] * 64
    assert before == Image.MAX_IMAGE_PIXELS
