"""The internal dataset of a clip: the authors' arrays, and a painted clip whose maps are exact.

tests/data/process_crops.npz lacks the frames 1 and 2 and has alphas of one channel; `mask_alpha`
and `mask_boundaries` in it are those of the authors' atlas.npz.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from swatch_training.moving import paint_clip
from torch import Tensor, nn

from tests.conftest import Arrays
from tests.moving_truth import true_model
from text2live_cli.atlas.discretise import AtlasPicture, discretise
from text2live_cli.atlas.grid import GridModel
from text2live_cli.atlas.layers import (
    BACKGROUND,
    FOREGROUND,
    FRONT_FIRST,
    Maps,
    Side,
    pixel_ratio,
)
from text2live_cli.atlas.render import Layer, lay_over_frame
from text2live_cli.config import MIN_SIDE, VIDEO_DATASET, DatasetSettings, resolve_settings
from text2live_cli.device import FP32
from text2live_cli.engine.edit_layer import GREEN_SCREEN, EditLayer
from text2live_cli.engine.generator import Generator
from text2live_cli.engine.internal_dataset import Example
from text2live_cli.engine.objective import Objective, Rendered
from text2live_cli.engine.steps import step_rng
from text2live_cli.engine.training import Trainer
from text2live_cli.errors import UsageError
from text2live_cli.guide.clip import load_guide
from text2live_cli.guide.prompts import Prompts, embed_prompts
from text2live_cli.guide.views import ViewSettings
from text2live_cli.progress import Silent
from text2live_cli.video.baselines import FramesDataset
from text2live_cli.video.dataset import (
    AtlasDataset,
    Crops,
    atlas_layer,
    directly,
    sample_crops,
    through_atlas,
)
from text2live_cli.video.footage import Footage, WorkingAtlas, gather_footage, mask_box

COUNT, HEIGHT, WIDTH = 8, 144, 200
STILL = DatasetSettings(jitter_p=0, flip_p=0, min_crop=0.95)
FLIPPED = DatasetSettings(jitter_p=0, flip_p=1, min_crop=0.95)
RED = (0.9, 0.1, 0.2)


class Painted(NamedTuple):
    """A clip that `paint_clip` painted, and its true maps."""

    frames: NDArray[np.uint8]
    masks: NDArray[np.bool_]
    model: GridModel
    pictures: dict[Side, AtlasPicture]

    def footage(self, side: Side, scale: float = 1.0) -> Footage:
        atlas = WorkingAtlas.of(self.pictures[side], scale)
        return gather_footage(side, atlas, self.frames, self.model.locate)

    def dataset(
        self,
        side: Side,
        settings: DatasetSettings = VIDEO_DATASET,
        augment: bool = True,
        max_pixels: int | None = None,
    ) -> AtlasDataset:
        return AtlasDataset(self.footage(side), settings, augment, max_pixels)

    def sure(self, side: Side) -> NDArray[np.bool_]:
        """Where the layer is seen, away from soft edges."""
        kernel = np.ones((5, 5), np.uint8)
        shown = self.masks if side == FOREGROUND else ~self.masks
        return np.stack([cv2.erode(m.astype(np.uint8), kernel) > 0 for m in shown])


@pytest.fixture(scope="module")
def painted() -> Painted:
    frames, masks = paint_clip(
        "cat", "leopard", "checkered table", frames=COUNT, size=(HEIGHT, WIDTH), seed=3
    )
    model = true_model(frames, masks)
    pictures = {}
    for side in FRONT_FIRST:
        picture = discretise(model, side)
        assert picture is not None
        pictures[side] = picture
    return Painted(frames, masks, model, pictures)


@pytest.fixture(scope="session")
def arrays() -> Arrays:
    return Arrays("process_crops")


class Paint(nn.Module):
    """In place of a generator: one colour everywhere, alpha 1; it remembers what it was given."""

    def __init__(self) -> None:
        super().__init__()
        self.given: list[Tensor] = []

    def forward(self, picture: Tensor) -> Tensor:
        self.given.append(picture)
        color = torch.tensor([*RED, 1.0]).view(1, 4, 1, 1)
        return color.expand(1, 4, *picture.shape[2:])


class Copy(nn.Module):
    """In place of a generator: the picture itself, alpha 1."""

    def forward(self, picture: Tensor) -> Tensor:
        return torch.cat([picture, torch.ones_like(picture[:, :1])], dim=1)


def close(ours: Tensor, theirs: Tensor, atol: float = 1e-5) -> None:
    torch.testing.assert_close(ours, theirs, atol=atol, rtol=0)


def as_image(x: Tensor) -> NDArray[np.float32]:
    """(1, C, h, w) → (h, w, C)."""
    return x[0].permute(1, 2, 0).detach().numpy()


# The authors' arrays


@pytest.mark.parametrize("mode", ["with_alpha", "no_alpha"])
def test_a_layer_of_the_atlas_in_three_frames(arrays: Arrays, mode: str) -> None:
    grid = torch.cat([arrays[f"uv_{i}"] for i in range(3)])
    opacity = torch.cat([arrays[f"alpha_{i}"] for i in range(3)]) if mode == "with_alpha" else None
    layer = EditLayer.from_rgba(arrays["layer_atlas"])
    crops = Crops(Example(arrays["atlas_crop"]), grid, None, opacity)
    share = torch.ones(1) if opacity is None else opacity
    edit = sample_crops(layer.color, grid) * share
    for i, rendered in enumerate(through_atlas(layer, crops)):
        close(edit[i], arrays[f"{mode}/edit_{i}"])
        close(rendered.alpha[0], arrays[f"{mode}/alpha_{i}"])
        close(rendered.screen[0], arrays[f"{mode}/edit_on_greenscreen_{i}"])
        close(rendered.composite[0], arrays[f"{mode}/composite_{i}"])
        # theirs is not multiplied by the opacity, ours is (docs/method.md)
        source = arrays[f"with_alpha/input_{i}"] * (1 if opacity is None else opacity[i])
        close(rendered.source, source)


@pytest.mark.parametrize("mode", ["with_alpha", "no_alpha"])
def test_a_layer_of_a_frame_itself(arrays: Arrays, mode: str) -> None:
    opacity = arrays["alpha_0"] if mode == "with_alpha" else None
    layer = EditLayer.from_rgba(arrays["layer_frame"])
    rendered = directly(layer, arrays["frame_0"], opacity)
    close(rendered.alpha[0], arrays[f"{mode}/alpha_3"])
    close(rendered.screen[0], arrays[f"{mode}/edit_on_greenscreen_3"])
    close(rendered.composite[0], arrays[f"{mode}/composite_3"])
    close(rendered.source, arrays["frame_0"])


def test_boxes_of_the_foreground(arrays: Arrays) -> None:
    opaque = arrays["mask_alpha"][:, 0].numpy() > 0.95
    boxes = [mask_box(mask, border=2, least=9) for mask in opaque]
    assert np.array_equal(boxes, arrays["mask_boundaries"])


# Positions


@pytest.mark.parametrize("scale", [0.3, 0.5, 0.77, 1.0, 1.6, 2.5])
def test_a_resized_atlas_keeps_its_places(scale: float) -> None:
    width, height = 120, 90
    ramp = np.zeros((height, width, 4), np.uint8)
    ramp[..., 0], ramp[..., 1] = np.arange(width) * 2, (np.arange(height) * 2)[:, None]
    working = WorkingAtlas.of(AtlasPicture(ramp, 7, 5), scale)
    for atlas in (working, working.finer(AtlasPicture(ramp, 7, 5))):
        rows, columns = atlas.color.shape[2:]
        assert min(rows, columns) >= MIN_SIDE
        assert rows >= height * atlas.scale and columns >= width * atlas.scale
        for channel, (count, there) in enumerate(((columns, width), (rows, height))):
            values = atlas.color[0, channel].mean(channel).numpy() * 255
            places = (np.arange(count) + 0.5) / atlas.scale
            inside = (places > 4) & (places < there - 4)
            # a value is twice the pixel's number, and its centre half a pixel on
            assert np.abs(values - 2 * (places - 0.5))[inside].max() < 0.2
            assert np.allclose(values[places > there + 4], 2 * (there - 1))  # the border, repeated
    assert working.finer(AtlasPicture(ramp, 7, 5)).scale >= min(1, scale)


@pytest.mark.parametrize("side", FRONT_FIRST)
@pytest.mark.parametrize("chosen", [STILL, FLIPPED])
@pytest.mark.parametrize(("scale", "few_sizes"), [(1.0, False), (1.0, True), (1.5, False)])
def test_an_atlas_crop_shows_the_frames(
    painted: Painted, side: Side, chosen: DatasetSettings, scale: float, few_sizes: bool
) -> None:
    dataset = AtlasDataset(painted.footage(side, scale), chosen, augment=True, few_sizes=few_sizes)
    sure = painted.sure(side)
    for step in range(6):
        drawn = dataset.draw(step_rng(1, step))
        crops = dataset.cut(drawn)
        seen = sample_crops(crops.atlas.picture, crops.grid)
        for t, box, shown in zip(drawn.times, dataset.frame_boxes(drawn), seen, strict=True):
            part = np.s_[box.top : box.top + box.height, box.left : box.left + box.width]
            frame, where = painted.frames[t][part] / 255, sure[t][part]
            if drawn.flip:
                frame, where = frame[:, ::-1], where[:, ::-1]
            assert where.sum() > 500
            error = np.abs(as_image(shown[None]) - frame)[where]
            beside = np.abs(as_image(shown[None]) - np.roll(frame, 2, 1))[where]
            # some of the true atlas was last seen at an edge of the object
            assert np.quantile(error, 0.9) < 0.02 if scale == 1 else error.mean() < 0.02
            assert error.mean() < 0.4 * beside.mean()


@pytest.mark.parametrize("chosen", [STILL, FLIPPED])
def test_the_frames_of_a_crop_are_those_that_the_atlas_shows(
    painted: Painted, chosen: DatasetSettings
) -> None:
    dataset = painted.dataset(FOREGROUND, chosen)
    crops = dataset.cut(dataset.draw(step_rng(0, 3)))
    assert crops.frames is not None and crops.opacity is not None
    source = sample_crops(crops.atlas.picture, crops.grid) * crops.opacity
    error = (source - crops.frames).abs()
    assert error.mean() < 0.005  # soft edges alone differ
    assert (crops.frames * (1 - crops.opacity)).abs().max() == 0  # on black


def test_jitter_does_the_same_to_atlas_and_frames(painted: Painted) -> None:
    strong = DatasetSettings(jitter_p=1, jitter=0.4, flip_p=0, min_crop=1)
    dataset = painted.dataset(FOREGROUND, strong)
    drawn = dataset.draw(step_rng(0, 2))
    crops, plain = dataset.cut(drawn), dataset.cut(drawn._replace(jitter=None))
    assert crops.frames is not None and plain.frames is not None
    change = (crops.atlas.picture - plain.atlas.picture).abs().mean()
    source = sample_crops(crops.atlas.picture, crops.grid) * crops.opacity
    assert change > 0.05
    assert (source - crops.frames).abs().mean() < 0.2 * change
    none = painted.dataset(FOREGROUND, DatasetSettings(jitter_p=0))
    assert none.draw(step_rng(0, 2)).jitter is None


def rectangles(
    size: tuple[int, int], masks: list[tuple[int, int, int, int] | None], side: Side, stretch: float
) -> Footage:
    """A clip of rectangles, of which each frame is `stretch` times larger on the atlas."""
    height, width = size
    y, x = np.mgrid[:height, :width].astype(np.float32)
    uv = torch.from_numpy(np.dstack([x, y]) + 0.5) * stretch

    def locate(t: int) -> Maps:
        opacity = torch.zeros(size)
        mask = masks[t]
        if mask is not None:
            opacity[mask[0] : mask[1], mask[2] : mask[3]] = 1
        return Maps.of_two(uv, uv, opacity)

    rng = np.random.default_rng(0)
    canvas = [max(1, int(n * stretch)) for n in size]
    picture = AtlasPicture(rng.integers(0, 255, (*canvas, 4), dtype=np.uint8), 0, 0)
    frames = rng.integers(0, 255, (len(masks), *size, 3), dtype=np.uint8)
    return gather_footage(side, WorkingAtlas.of(picture, 1.0), frames, locate)


@st.composite
def clips(draw: st.DrawFn) -> tuple[tuple[int, int], list[tuple[int, int, int, int] | None]]:
    size = draw(st.integers(MIN_SIDE, 190)), draw(st.integers(MIN_SIDE, 240))

    def span(limit: int) -> tuple[int, int]:
        start = draw(st.integers(0, limit - 1))
        return start, draw(st.integers(start + 1, limit))

    count = draw(st.integers(1, 7))
    shown = draw(st.lists(st.booleans(), min_size=count, max_size=count).filter(any))
    return size, [(*span(size[0]), *span(size[1])) if is_there else None for is_there in shown]


@settings(max_examples=40, deadline=None)
@given(
    clips(),
    st.sampled_from(FRONT_FIRST),
    st.sampled_from([0.3, 1, 1.7]),
    st.integers(0, 1000),
    st.booleans(),
)
def test_crops_stay_in_bounds(
    clip: tuple[tuple[int, int], list[tuple[int, int, int, int] | None]],
    side: Side,
    stretch: float,
    step: int,
    few_sizes: bool,
) -> None:
    """Of portrait and odd frames, short clips, and frames without any foreground."""
    (height, width), masks = clip
    footage = rectangles((height, width), masks, side, stretch)
    dataset = AtlasDataset(footage, VIDEO_DATASET, True, max_pixels=150**2, few_sizes=few_sizes)
    drawn = dataset.draw(step_rng(0, step))
    boxes = dataset.frame_boxes(drawn)
    assert 0 <= drawn.direct < len(drawn.times) == len(set(drawn.times)) <= 3
    assert len({(box.height, box.width) for box in boxes}) == 1
    for t, box in zip(drawn.times, boxes, strict=True):
        assert side == BACKGROUND or masks[t] is not None
        assert min(box.height, box.width) >= MIN_SIDE
        assert 0 <= box.top <= height - box.height and 0 <= box.left <= width - box.width
    crops = dataset.cut(drawn)
    assert min(crops.atlas.picture.shape[2:]) >= MIN_SIDE
    assert crops.grid.shape == (len(boxes), boxes[0].height, boxes[0].width, 2)
    tall, wide = crops.atlas.picture.shape[2:]
    limits = torch.tensor([1 - 1 / wide, 1 - 1 / tall])
    assert (crops.grid.abs() <= limits + 1e-6).all()


def test_the_crop_of_a_box_covers_95_to_100_percent() -> None:
    masks = [(20, 150, 10 + 5 * t, 180 + 5 * t) for t in range(7)]
    footage = rectangles((180, 240), [*masks], FOREGROUND, 1.0)
    dataset = AtlasDataset(footage, VIDEO_DATASET, augment=True)
    shares = []
    for step in range(30):
        drawn = dataset.draw(step_rng(0, step))
        assert drawn.times == [drawn.times[0] + way for way in (0, 2, 4)]
        for t, box in zip(drawn.times, dataset.frame_boxes(drawn), strict=True):
            whole = footage.boxes[t]
            assert whole is not None
            assert whole.top <= box.top and box.top + box.height <= whole.top + whole.height
            shares.append((box.height / whole.height, box.width / whole.width))
    assert 0.945 < np.min(shares) < 0.96 and 0.99 < np.max(shares) <= 1.01


def test_the_atlas_crop_is_the_smallest_that_holds_the_crops() -> None:
    """Frames that lie on an atlas of twice their size, crops that may be anywhere in them."""
    footage = rectangles((150, 200), [(0, 150, 0, 200)] * 5, BACKGROUND, 2.0)
    free = DatasetSettings(jitter_p=0, flip_p=0, min_crop=0.7)
    dataset = AtlasDataset(footage, free, augment=True)
    for step in range(10):
        drawn = dataset.draw(step_rng(0, step))
        box = dataset.frame_boxes(drawn)[0]
        height, width = dataset.cut(drawn).atlas.picture.shape[2:]
        assert abs(height - 2 * box.height) <= 3 and abs(width - 2 * box.width) <= 3
    bounded = AtlasDataset(footage, free, augment=True, max_pixels=30_000)
    crops = bounded.cut(drawn)
    assert crops.atlas.picture.shape[2] * crops.atlas.picture.shape[3] <= 30_300
    close(crops.atlas.picture.mean(), dataset.cut(drawn).atlas.picture.mean(), 0.01)


def test_a_uv_is_kept_to_a_thirtieth_of_a_pixel() -> None:
    """On an atlas of 2000 px, where a half float would be off by up to half of one."""
    picture = AtlasPicture(np.zeros((2000, 2000, 4), np.uint8), 30, 40)
    atlas = WorkingAtlas.of(picture, 1.0)
    rng = torch.Generator().manual_seed(0)
    uv = torch.rand(130, 130, 2, generator=rng) * 2200 - 60
    maps = Maps.of_two(uv, uv, torch.ones(130, 130))
    frames = np.zeros((1, 130, 130, 3), np.uint8)
    footage = gather_footage(BACKGROUND, atlas, frames, lambda t: maps)
    drawn = AtlasDataset(footage, STILL, augment=False)
    crops = drawn.cut(drawn._undisturbed())
    size = torch.tensor([crops.atlas.picture.shape[3], crops.atlas.picture.shape[2]])
    found = (crops.grid[0] + 1) / 2 * size + torch.tensor([30, 40])
    wanted = torch.stack([uv[..., 0].clamp(30.5, 2029.5), uv[..., 1].clamp(40.5, 2039.5)], -1)
    assert (found - wanted).abs().max() < 1 / 30


def test_how_large_a_frame_pixel_is_on_the_atlas(painted: Painted) -> None:
    maps = painted.model.locate(2)
    for side in FRONT_FIRST:
        assert pixel_ratio(maps, side) == pytest.approx(1, abs=1e-3)
    hidden = Maps(maps.uv * 2, torch.zeros_like(maps.share))
    assert pixel_ratio(hidden, FOREGROUND) == 0  # nothing of it is seen
    assert pixel_ratio(hidden._replace(share=maps.share), FOREGROUND) == pytest.approx(2)


# Steps


def test_a_clip_without_foreground_is_refused() -> None:
    with pytest.raises(UsageError, match="no foreground"):
        rectangles((140, 150), [None, None], FOREGROUND, 1.0)
    assert rectangles((140, 150), [None, None], BACKGROUND, 1.0).boxes == [(0, 0, 140, 150)] * 2


@pytest.mark.parametrize("side", FRONT_FIRST)
@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_short_clips(side: Side, count: int) -> None:
    footage = rectangles((140, 150), [(10, 100, 20, 110)] * count, side, 1.0)
    dataset = AtlasDataset(footage, VIDEO_DATASET, augment=True)
    met: set[int] = set()
    for step in range(1, 20):
        met.update(dataset.draw(step_rng(0, step)).times)
    assert met == set(range(count))
    crops = len(dataset.draw(step_rng(0, 1)).times)
    assert len(dataset.examples(1, step_rng(0, 1)).render(Paint())) == crops + 1


@pytest.mark.parametrize("side", FRONT_FIRST)
def test_a_step_has_three_frames_one_direct_and_every_75_the_whole(
    painted: Painted, side: Side
) -> None:
    dataset, paint = painted.dataset(side), Paint()
    rendered = dataset.examples(1, step_rng(0, 1)).render(paint)
    assert len(rendered) == 4 and len(paint.given) == 2
    assert len({r.composite.shape for r in rendered}) == 1
    assert len(dataset.examples(75, step_rng(0, 75)).render(paint)) == 5
    height, width = painted.footage(side).atlas.color.shape[2:]
    share = 1.0 if side == FOREGROUND else max(1 / 3, MIN_SIDE / min(height, width))
    assert paint.given[-1].shape[2:] == (round(height * share), round(width * share))


@pytest.mark.parametrize("side", FRONT_FIRST)
def test_a_step_depends_on_seed_and_number_alone(painted: Painted, side: Side) -> None:
    torch.manual_seed(0)
    generator = Generator(8)
    first = painted.dataset(side).examples(5, step_rng(7, 5)).render(generator)
    dataset = painted.dataset(side)
    dataset.examples(4, step_rng(7, 4)).render(generator)
    again = dataset.examples(5, step_rng(7, 5)).render(generator)
    other = dataset.examples(6, step_rng(7, 6)).render(generator)
    for one, two in zip(first, again, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(one[:4], two[:4], strict=True))
    assert not all(a.source.shape == b.source.shape for a, b in zip(first, other, strict=True)) or (
        any(not torch.equal(a.source, b.source) for a, b in zip(first, other, strict=True))
    )


@pytest.mark.parametrize("side", FRONT_FIRST)
def test_without_augmentation_every_step_is_the_same(painted: Painted, side: Side) -> None:
    dataset = painted.dataset(side, augment=False)
    steps = [dataset.examples(step, step_rng(0, step)).render(Copy()) for step in (0, 1, 75)]
    for other in steps[1:]:
        for one, two in zip(steps[0], other, strict=True):
            assert all(torch.equal(a, b) for a, b in zip(one[:4], two[:4], strict=True))


@pytest.mark.parametrize("side", FRONT_FIRST)
def test_gradients_reach_the_generator(painted: Painted, side: Side) -> None:
    torch.manual_seed(0)
    generator = Generator(8)
    rendered = painted.dataset(side).examples(1, step_rng(0, 1)).render(generator)
    for name in ("composite", "screen", "alpha"):
        for picture in (rendered[0], rendered[-1]):
            generator.zero_grad()
            (getattr(picture, name) ** 2).mean().backward(retain_graph=True)
            norms = [p.grad.norm() for p in generator.parameters() if p.grad is not None]
            assert torch.stack(norms).isfinite().all() and sum(norms) > 0
    assert not any(picture.source.requires_grad for picture in rendered)


def test_paint_is_on_the_foreground_and_black_around_it(painted: Painted) -> None:
    dataset = painted.dataset(FOREGROUND, STILL)
    for step in range(1, 5):
        crops = dataset.cut(dataset.draw(step_rng(0, step)))
        assert crops.opacity is not None
        rendered = dataset.examples(step, step_rng(0, step)).render(Paint())
        red, green = (torch.tensor(c).view(1, 3, 1, 1) for c in (RED, GREEN_SCREEN))
        for picture, share in zip(rendered, crops.opacity.split(1), strict=False):
            close(picture.alpha, share)
            close(picture.composite, red * share)
            close(picture.screen, red * share + green * (1 - share))


def test_paint_on_the_background_is_everywhere(painted: Painted) -> None:
    for picture in painted.dataset(BACKGROUND).examples(1, step_rng(0, 1)).render(Paint()):
        red = torch.tensor(RED).view(1, 3, 1, 1).expand_as(picture.composite)
        close(picture.composite, red)
        close(picture.screen, red)
        assert picture.alpha.min() > 1 - 1e-5


def test_a_clip_is_trained_by_the_loop_of_pictures(painted: Painted) -> None:
    guide = load_guide("swatch", None, Silent())
    texts = embed_prompts(guide, Prompts("golden cat", "cat", "golden cat", (), ()))
    chosen = resolve_settings("draft", "swatch", steps=3, views=2, channels=8)
    objective = Objective(guide, texts, chosen.weights, 2, "spherical", ViewSettings(fill=0.0))
    trainer = Trainer(painted.dataset(FOREGROUND), objective, chosen, torch.device("cpu"), FP32)
    while trainer.done < 2:
        trainer.step()
    trainer.read()
    assert trainer.history.skipped == 0
    assert all(np.isfinite(total) for total in trainer.history.totals())


# The result


@pytest.mark.parametrize("side", FRONT_FIRST)
@pytest.mark.parametrize("scale", [0.8, 1.0])
def test_the_layer_of_paint_is_what_one_sees_of_its_side(
    painted: Painted, side: Side, scale: float
) -> None:
    working = WorkingAtlas.of(painted.pictures[side], scale)
    delivered = working.finer(painted.pictures[side])
    picture = atlas_layer(Paint(), working, delivered, alpha_cut=0.02)
    layer = Layer.of(picture, delivered.scale)
    red = np.rint(np.array(RED) * 255)
    for t in (0, 4, COUNT - 1):
        maps = painted.model.locate(t)
        shown = lay_over_frame(painted.frames[t], maps, {side: layer})
        edited = painted.masks[t] == (side == FOREGROUND)
        assert np.abs(shown[edited] - red).max() <= (scale != 1)
        assert np.array_equal(shown[~edited], painted.frames[t][~edited])


@pytest.mark.parametrize("side", FRONT_FIRST)
@pytest.mark.parametrize("scale", [0.8, 1.0, 1.7])
def test_the_layer_is_where_the_atlas_is(painted: Painted, side: Side, scale: float) -> None:
    """A layer that repeats the atlas leaves the frames as they are."""
    working = WorkingAtlas.of(painted.pictures[side], scale)
    delivered = working.finer(painted.pictures[side])
    picture = atlas_layer(Copy(), working, delivered, alpha_cut=0.02)
    assert (picture.rgba[..., 3] == 255).all()
    layer, t = Layer.of(picture, delivered.scale), 3
    sure = painted.sure(side)[t]
    shown = lay_over_frame(painted.frames[t], painted.model.locate(t), {side: layer})
    error = np.abs(shown.astype(int) - painted.frames[t])[sure].mean()
    beside = np.abs(shown.astype(int) - np.roll(painted.frames[t], 1, 1))[sure].mean()
    assert error < (1 if scale == 1 else 0.6 * beside)


def test_a_region_holds_the_layer_of_the_atlas(painted: Painted) -> None:
    working = WorkingAtlas.of(painted.pictures[BACKGROUND], 1.0)
    half = torch.zeros_like(working.color[:, :1])
    half[..., : half.shape[3] // 2] = 1
    faint = nn.Sequential(Copy(), _Faint())
    layers = {
        name: atlas_layer(faint, working, working, 0.02, 0.3, **maps).rgba[..., 3]
        for name, maps in {"free": {}, "matte": {"matte": half}, "cut": {"outside": half}}.items()
    }
    there = half[0, 0].numpy() > 0
    assert (layers["free"] > 0).all()
    assert np.array_equal(layers["matte"] > 0, there)
    assert np.array_equal(layers["cut"] > 0, ~there)
    assert np.array_equal(layers["cut"][~there], layers["free"][~there])


class _Faint(nn.Module):
    """A layer with a fifth of its alpha."""

    def forward(self, rgba: Tensor) -> Tensor:
        return rgba * torch.tensor([1, 1, 1, 0.2]).view(1, 4, 1, 1)


def test_the_baseline_of_frames_draws_from_all_of_them(painted: Painted) -> None:
    plain = DatasetSettings(jitter_p=0, flip_p=0, min_scale=1, max_scale=1, min_crop=1)
    dataset = FramesDataset(painted.frames, plain, augment=True)
    met = set()
    for step in range(1, 40):
        (rendered,) = dataset.examples(step, step_rng(0, step)).render(Copy())
        assert isinstance(rendered, Rendered)
        shown = np.rint(as_image(rendered.source) * 255)
        met.add(int(np.abs(painted.frames - shown).sum((1, 2, 3)).argmin()))
    assert met == set(range(COUNT))
    fixed = FramesDataset(painted.frames, plain, augment=False)
    (rendered,) = fixed.examples(0, step_rng(0, 0)).render(Copy())
    assert np.array_equal(np.rint(as_image(rendered.source) * 255), painted.frames[COUNT // 2])
