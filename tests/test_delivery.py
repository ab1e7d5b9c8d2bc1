"""From the trained layer to files: upsampling, the snap of the alpha, exact compositing."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from swatch_training.painter import paint_scene

from text2live_cli.engine.delivery import render_at, snap_alpha, upsample
from text2live_cli.engine.edit_layer import EditLayer
from text2live_cli.engine.generator import Generator
from text2live_cli.errors import Text2LiveError, UsageError
from text2live_cli.guide.hints import parse_hints
from text2live_cli.guide.picture_region import resolve_region
from text2live_cli.media import resampling
from text2live_cli.media.compositing import lay_over
from text2live_cli.media.picture_writing import write_picture
from text2live_cli.media.pictures import read_mask, read_picture
from text2live_cli.media.resampling import enlarged_rows, resized, strips
from text2live_cli.pipelines.composite import composite
from text2live_cli.progress import Silent


def painted(size: tuple[int, int], look: str = "red") -> tuple[torch.Tensor, torch.Tensor]:
    """A painted cup (1, 3, H, W) in [0, 1] and its mask (1, 1, H, W)."""
    rgb, masks = paint_scene([("cup", look)], "wooden table", 3, size)
    picture = torch.from_numpy(rgb).permute(2, 0, 1)[None].float() / 255
    return picture, torch.from_numpy(masks[0])[None, None].float()


def shrink(x: torch.Tensor, size: torch.Size) -> torch.Tensor:
    return F.interpolate(x, size, mode="bilinear", antialias=True, align_corners=False)


def test_the_large_layer_shrunk_is_the_trained_one_and_keeps_the_sources_edges() -> None:
    large, large_mask = painted((720, 960))
    golden, _ = painted((720, 960), "golden")
    size = torch.Size((192, 256))
    small, mask, color = shrink(large, size), shrink(large_mask, size), shrink(golden, size)
    layer = upsample(EditLayer(color, mask), small, large)
    assert float((shrink(layer.alpha, size) - mask).abs().mean()) <= 3 / 255
    assert float((shrink(layer.color, size) - color).abs().mean()) <= 3 / 255
    lifted = shrink(layer.over(large), size)
    assert float((lifted - EditLayer(color, mask).over(small)).abs().mean()) <= 3 / 255
    plain = F.interpolate(mask, large.shape[2:], mode="bilinear", align_corners=False)
    ours_off = float((layer.alpha - large_mask).abs().mean())
    plain_off = float((plain - large_mask).abs().mean())
    assert ours_off < 0.8 * plain_off


def test_upsampling_makes_no_alpha_where_there_was_none() -> None:
    large, _ = painted((480, 640))
    small = shrink(large, torch.Size((192, 256)))
    alpha = torch.zeros(1, 1, 192, 256)
    alpha[..., 80:120, 100:160] = 1
    lifted = upsample(EditLayer(small, alpha), small, large).alpha
    near = F.max_pool2d(F.interpolate(alpha, (480, 640), mode="nearest"), 13, 1, 6)
    assert float(lifted[near == 0].abs().max()) == 0
    assert float(lifted.max()) <= 1


@pytest.mark.parametrize(
    "size", [(192, 256), (220, 293), (160, 213), (60, 80), (400, 533), (193, 257)]
)
def test_layers_have_the_size_of_the_source_and_shrink_to_the_trained(
    size: tuple[int, int],
) -> None:
    source, _ = painted(size)
    working = F.interpolate(source, (192, 256), mode="bilinear", antialias=True)
    generator = Generator(8)
    with torch.no_grad():
        layer = render_at(generator, source, working)
        trained = EditLayer.from_rgba(generator(working))
    assert layer.color.shape == (1, 3, *size)
    assert layer.alpha.shape == (1, 1, *size)
    if size[0] >= 192:
        for ours, theirs in zip(layer, trained, strict=True):
            off = (shrink(ours, torch.Size((192, 256))) - theirs).abs().mean()
            assert float(off) <= 3 / 255


def test_the_snap_reaches_both_ends_and_keeps_the_order() -> None:
    alpha = torch.linspace(0, 1, 1001)
    snapped = snap_alpha(alpha, 2 / 255)
    assert float(snapped[alpha <= 2 / 255].max()) == 0
    assert float(snapped[alpha >= 253 / 255].min()) == 1
    assert bool((snapped.diff() >= 0).all())
    assert float((snapped - alpha).abs().max()) <= 2.01 / 255


@settings(max_examples=40, deadline=None)
@given(
    source=hnp.arrays(st.sampled_from([np.uint8, np.uint16]), (5, 7, 3)),
    layer=hnp.arrays(np.uint8, (5, 7, 4)),
    opacity=st.floats(0, 1),
)
def test_compositing_is_exact_at_both_ends_and_between_the_two(
    source: np.ndarray, layer: np.ndarray, opacity: float
) -> None:
    result = lay_over(source, layer, opacity)
    scale = np.iinfo(source.dtype).max // 255
    color = layer[..., :3].astype(np.int64) * scale
    assert result.dtype == source.dtype
    clear, full = layer[..., 3] == 0, layer[..., 3] == 255
    assert np.array_equal(result[clear], source[clear])
    assert np.array_equal(lay_over(source, layer)[full], color[full].astype(source.dtype))
    assert np.array_equal(lay_over(source, layer, 0.0), source)
    assert (result >= np.minimum(color, source)).all()
    assert (result <= np.maximum(color, source)).all()


def test_composite_stacks_layers_in_order(tmp_path: Path) -> None:
    source = np.full((20, 30, 3), 10, np.uint8)
    write_picture(tmp_path / "source.png", source)
    red = np.zeros((20, 30, 3), np.uint8)
    red[..., 0] = 200
    half = np.full((20, 30), 0, np.uint8)
    half[:, :15] = 255
    write_picture(tmp_path / "red.png", red, half)
    write_picture(tmp_path / "gray.png", red // 2, half[:, ::-1].copy())
    out = composite(
        tmp_path / "source.png", [tmp_path / "red.png", tmp_path / "gray.png"], tmp_path / "o.png"
    )
    color = read_picture(out).color
    assert (color[:, :15] == [200, 0, 0]).all()
    assert (color[:, 15:] == [100, 0, 0]).all()


def test_composite_fits_a_layer_to_a_larger_source(tmp_path: Path) -> None:
    write_picture(tmp_path / "source.png", np.full((80, 120, 3), 10, np.uint8))
    alpha = np.zeros((20, 30), np.uint8)
    alpha[:, 20:] = 255
    write_picture(tmp_path / "layer.png", np.full((20, 30, 3), 90, np.uint8), alpha)
    out = composite(tmp_path / "source.png", [tmp_path / "layer.png"], tmp_path / "o.png")
    color = read_picture(out).color
    assert (color[:, :60] == 10).all()
    assert (color[:, 90:] == 90).all()


def test_composite_refuses_what_cannot_work(tmp_path: Path) -> None:
    rgb = np.zeros((20, 30, 3), np.uint8)
    alpha = np.zeros((20, 30), np.uint8)
    source, layer, flat, tall = (tmp_path / f"{n}.png" for n in ("s", "l", "f", "t"))
    write_picture(source, rgb)
    write_picture(layer, rgb, alpha)
    write_picture(flat, rgb)
    write_picture(tall, rgb.transpose(1, 0, 2).copy(), alpha.T.copy())
    out = tmp_path / "out.png"
    with pytest.raises(UsageError, match="--opacity"):
        composite(source, [layer], out, opacity=1.5)
    with pytest.raises(UsageError, match="no alpha"):
        composite(source, [flat], out)
    with pytest.raises(Text2LiveError, match="shape of the source"):
        composite(source, [tall], out)
    with pytest.raises(UsageError, match="at least one layer"):
        composite(source, [], out)
    assert not out.exists()
    composite(source, [layer], out)
    with pytest.raises(UsageError, match="--overwrite"):
        composite(source, [layer], out)


# In strips


@settings(max_examples=40, deadline=None)
@given(
    small=st.tuples(st.integers(1, 20), st.integers(2, 20)),  # PyTorch errs at a width of 1
    large=st.tuples(st.integers(20, 90), st.integers(20, 90)),
)
def test_rows_are_resized_as_pytorch_resizes_pictures(
    small: tuple[int, int], large: tuple[int, int]
) -> None:
    rng = torch.Generator().manual_seed(0)
    little, big = (torch.rand(1, 2, *size, generator=rng) for size in (small, large))
    enlarged = enlarged_rows(little, large, slice(0, large[0]))
    wanted = F.interpolate(little, large, mode="bilinear", align_corners=False)
    torch.testing.assert_close(enlarged, wanted, atol=1e-5, rtol=0)
    shrunk = resized(lambda rows: big[:, :, rows], large, small)
    torch.testing.assert_close(shrunk, shrink(big, torch.Size(small)), atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("size", "to"), [((300, 200), (37, 41)), ((50, 60), (77, 90)), ((64, 48), (64, 48))]
)
def test_strips_are_resized_as_the_whole(
    size: tuple[int, int], to: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    large = torch.rand(1, 4, *size)
    whole = resized(lambda rows: large[:, :, rows], size, to)
    assert float((whole - shrink(large, torch.Size(to))).abs().max()) < 1e-5
    monkeypatch.setattr(resampling, "_STRIP", 997)
    assert len(list(strips(size))) > 2
    assert torch.equal(resized(lambda rows: large[:, :, rows], size, to), whole)


@pytest.mark.parametrize("pixels", [1, 640 * 3, 640 * 100 + 7])
def test_strips_give_the_bytes_of_the_whole(pixels: int, monkeypatch: pytest.MonkeyPatch) -> None:
    large, mask = painted((481, 640))
    small = shrink(large, torch.Size((193, 257)))
    layer = EditLayer(small.flip(1), shrink(mask, torch.Size((193, 257))))
    whole = upsample(layer, small, large)
    assert len(list(resampling.strips((481, 640)))) == 1
    monkeypatch.setattr(resampling, "_STRIP", pixels)
    assert len(list(resampling.strips((481, 640)))) > 4
    parts = upsample(layer, small, large)
    assert torch.equal(parts.color, whole.color)
    assert torch.equal(parts.alpha, whole.alpha)


def test_a_region_by_box_and_mask_takes_few_bytes_a_pixel(tmp_path: Path) -> None:
    """Of 100 megapixels, a map of floats is 0.4 GB."""
    size = 1500, 2000
    picture = np.full((*size, 3), 40, np.uint8)
    picture[400:1100, 500:1500] = 200, 60, 40
    drawn = np.zeros(size, np.uint8)
    drawn[300:1200, 400:1600] = 255
    write_picture(tmp_path / "mask.png", drawn)
    tracemalloc.start()
    try:
        mask = read_mask(tmp_path / "mask.png", size)
        assert tracemalloc.get_traced_memory()[1] < 10 * drawn.size
        tracemalloc.reset_peak()
        hints = parse_hints(size, "24%,24%,52%,52%")
        resolve_region(picture, None, hints, mask, Silent())
        assert tracemalloc.get_traced_memory()[1] < 50 * drawn.size
    finally:
        tracemalloc.stop()
