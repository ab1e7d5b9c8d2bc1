"""Clips of any number of layers: what is seen where several lie over each other."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from text2live_cli.atlas import ATLAS
from text2live_cli.atlas.discretise import AtlasPicture
from text2live_cli.atlas.grid import GridModel, Mapping, Texture
from text2live_cli.atlas.layers import BACKGROUND, FOREGROUND, Maps
from text2live_cli.atlas.render import Layer, lay_over_frame, reconstruct
from text2live_cli.atlas.store import AtlasFacts, read_atlas, write_atlas
from text2live_cli.media.tensor_files import read_tensors

SIZE = 12, 16


def layered(layers: int, seed: int) -> Maps:
    """Layers that all lie on their atlases as they are; some pixels show one of them only."""
    rng = torch.Generator().manual_seed(seed)
    y, x = torch.meshgrid(torch.arange(SIZE[0]), torch.arange(SIZE[1]), indexing="ij")
    share = torch.rand(layers, *SIZE, generator=rng)
    share[1:, :4] = 0
    share[:-1, 4:8] = 0
    return Maps(torch.stack([x, y], -1).expand(layers, -1, -1, -1) + 0.5, share / share.sum(0))


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 5), st.integers(0, 1000))
def test_what_is_seen_is_each_layers_share_of_it(layers: int, seed: int) -> None:
    maps = layered(layers, seed)
    values = torch.rand(layers, *SIZE, 3, generator=torch.Generator().manual_seed(seed + 1))
    expected = (maps.share[..., None] * values).sum(0)
    torch.testing.assert_close(maps.mixed([*values]), expected, atol=1e-5, rtol=0)
    frame = reconstruct([*values.permute(0, 3, 1, 2)], maps)
    assert np.abs(frame - 255 * expected.numpy()).max() < 0.51


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 5), st.integers(0, 1000))
def test_edits_of_all_layers_are_seen_by_their_shares(layers: int, seed: int) -> None:
    maps, rng = layered(layers, seed), np.random.default_rng(seed)
    rgba = rng.integers(0, 256, (layers, *SIZE, 4), dtype=np.uint8)
    frame = rng.integers(0, 256, (*SIZE, 3), dtype=np.uint8)
    edits = {side: Layer.of(AtlasPicture(rgba[side], 0, 0)) for side in range(layers)}
    alpha, share = rgba[..., 3:] / 255, maps.share[..., None].numpy()
    expected = (share * (alpha * rgba[..., :3] + (1 - alpha) * frame)).sum(0)
    assert np.abs(lay_over_frame(frame, maps, edits) - expected).max() < 0.51


def test_a_file_calls_the_layers_by_name_and_in_the_order_that_it_always_had(
    tmp_path: Path,
) -> None:
    base = torch.eye(3).repeat(2, 1, 1)
    mappings = {side: Mapping(base.clone(), SIZE, 8, 1) for side in (BACKGROUND, FOREGROUND)}
    textures = {
        BACKGROUND: Texture(torch.zeros(3, 20, 30), 0),
        FOREGROUND: Texture(torch.ones(3, 9, 7), 0),
    }
    model = GridModel(SIZE, mappings, textures, torch.zeros(2, 6, 8))
    canvases = {side: model.canvas(side) for side in mappings}
    corners = {BACKGROUND: (3, 4), FOREGROUND: (1, 2)}
    facts = AtlasFacts("grid", SIZE, 2, 0, 1, "25", "0", SIZE, canvases, corners, {})
    write_atlas(tmp_path, model, facts)
    tensors, texts = read_tensors(tmp_path / ATLAS, "text2live-atlas/1")
    stored = json.loads(texts["facts"])
    assert [*stored["corners"].items()] == [("foreground", [1, 2]), ("background", [3, 4])]
    assert [*stored["canvases"].items()] == [("foreground", [9, 7]), ("background", [20, 30])]
    assert tensors["textures.foreground.start"].shape == (1, 3, 9, 7)
    atlas = read_atlas(tmp_path)
    assert atlas.facts == facts
    assert atlas.model.canvas(FOREGROUND) == (9, 7)
