"""Resizing by strips gives what resizing the whole gives."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from text2live_cli import strips as module
from text2live_cli.edit_layer import EditLayer
from text2live_cli.strips import enlarged_rows, shrink, strips
from text2live_cli.upsampling import upsample


@pytest.mark.parametrize(
    ("size", "to"), [((300, 200), (37, 41)), ((50, 60), (77, 90)), ((64, 48), (64, 48))]
)
def test_strips_are_resized_as_the_whole(
    size: tuple[int, int], to: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_PIXELS", 997)
    large, small = torch.rand(1, 4, *size), torch.rand(1, 4, *to)
    whole = F.interpolate(large, to, mode="bilinear", antialias=True)
    assert len(list(strips(size))) > 2
    assert float((shrink(lambda rows: large[:, :, rows], size, to) - whole).abs().max()) < 1e-5
    enlarged = torch.cat([enlarged_rows(small, size, rows) for rows in strips(size)], dim=2)
    plain = F.interpolate(small, size, mode="bilinear", align_corners=False)
    assert float((enlarged - plain).abs().max()) < 1e-5


def test_a_layer_is_upsampled_the_same_in_one_strip_or_in_many(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    large, small = torch.rand(1, 3, 150, 100), torch.rand(1, 3, 30, 20)
    layer = EditLayer(torch.rand(1, 3, 30, 20), torch.rand(1, 1, 30, 20))
    whole = upsample(layer, small, large)
    monkeypatch.setattr(module, "_PIXELS", 1100)
    for ours, theirs in zip(upsample(layer, small, large), whole, strict=True):
        assert float((ours - theirs).abs().max()) < 1e-5
