"""The region of a clip's edit on its atlas: carried there from frames, and cut for the training."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from swatch_training.moving import paint_clip
from torch import Tensor, nn

from tests.moving_truth import offset, true_model
from text2live_cli.atlas.discretise import discretise
from text2live_cli.atlas.layers import BACKGROUND, FOREGROUND, FRONT_FIRST, Side
from text2live_cli.atlas.store import Atlas, AtlasFacts
from text2live_cli.config import DatasetSettings
from text2live_cli.engine.internal_dataset import Example
from text2live_cli.engine.steps import step_rng
from text2live_cli.video.dataset import AtlasDataset, sample_crops
from text2live_cli.video.footage import WorkingAtlas, gather_footage
from text2live_cli.video.region import carried

COUNT, HEIGHT, WIDTH = 6, 144, 200
FIRST, EVERY = 3, 2  # of the fitted frames: index t is frame 3 + 2t of the clip


class Painted(NamedTuple):
    """A painted clip and its true atlas."""

    frames: NDArray[np.uint8]
    masks: NDArray[np.bool_]
    atlas: Atlas

    def working(self, side: Side, scale: float = 1.0) -> WorkingAtlas:
        picture = discretise(self.atlas.model, side)
        assert picture is not None
        return WorkingAtlas.of(picture, scale)

    def places(self, side: Side, t: int, working: WorkingAtlas) -> Tensor:
        """Where the pixels of frame t are in the working atlas, (1, h, w, 2) for `grid_sample`."""
        uv = self.atlas.locate(FIRST + EVERY * t, (HEIGHT, WIDTH)).uv[side]
        height, width = working.color.shape[2:]
        corner = torch.tensor([working.left, working.top])
        return ((uv - corner) * working.scale * 2 / torch.tensor([width, height]) - 1)[None]

    def sure(self, side: Side, t: int, pixels: int = 7) -> NDArray[np.bool_]:
        """Where frame t shows the layer, away from its rim."""
        mask = self.masks[t] if side == FOREGROUND else ~self.masks[t]
        return cv2.erode(mask.astype(np.uint8), np.ones((pixels, pixels), np.uint8)) > 0


@pytest.fixture(scope="module")
def painted() -> Painted:
    frames, masks = paint_clip(
        "cat", "leopard", "checkered table", frames=COUNT, size=(HEIGHT, WIDTH), seed=3
    )
    size = HEIGHT, WIDTH
    corners: dict[Side, tuple[int, int]] = dict.fromkeys(FRONT_FIRST, (0, 0))
    facts = AtlasFacts("grid", size, COUNT, FIRST, EVERY, "25", "", size, {}, corners, {})
    return Painted(frames, masks, Atlas(true_model(frames, masks), facts))


@pytest.mark.parametrize("side", FRONT_FIRST)
@pytest.mark.parametrize("scale", [1.0, 0.8])
def test_a_map_that_is_a_copy_of_the_frames_is_one_on_the_atlas(
    painted: Painted, side: Side, scale: float
) -> None:
    working = painted.working(side, scale)
    values = {FIRST + EVERY * t: painted.frames[t] / np.float32(255) for t in (0, 2, COUNT - 1)}
    maps = carried(painted.atlas, side, working, values)
    assert maps.shape == working.color.shape[1:]
    for t in (0, 2, COUNT - 1):
        grid, where = painted.places(side, t, working), painted.sure(side, t)
        there, true = (sample_crops(x, grid)[0] for x in (maps[None], working.color))
        error = (there - true).abs().mean(0).numpy()[where]
        beside = (there - true.roll(2, 2)).abs().mean(0).numpy()[where]
        assert error.mean() < 0.25 * beside.mean()


@pytest.mark.parametrize("side", FRONT_FIRST)
@pytest.mark.parametrize(("here", "there"), [(0, 3), (5, 1)])
def test_a_box_on_one_frame_lies_on_the_same_content_in_another(
    painted: Painted, side: Side, here: int, there: int
) -> None:
    rows, columns = np.nonzero(painted.sure(side, here) & _seen_too(painted, side, here, there))
    middle = np.median(rows), np.median(columns)
    nearest = np.hypot(rows - middle[0], columns - middle[1]).argmin()
    y, x = int(rows[nearest]), int(columns[nearest])
    box = np.zeros((HEIGHT, WIDTH, 1), np.float32)
    box[y - 6 : y + 6, x - 9 : x + 9] = 1
    working = painted.working(side)
    maps = carried(painted.atlas, side, working, {FIRST + EVERY * here: box})
    seen = sample_crops(maps[None], painted.places(side, there, working))[0, 0].numpy()
    shift = offset(side, here, COUNT, WIDTH) - offset(side, there, COUNT, WIDTH)
    assert shift != 0
    moved_box = cv2.warpAffine(box, np.float32([[1, 0, shift], [0, 1, 0]]), (WIDTH, HEIGHT))
    where = painted.sure(side, there, 3) & (_shifted(painted.sure(side, here, 3), shift) > 0)
    assert (where & (moved_box > 0.5)).sum() > 50
    assert np.abs(seen - moved_box)[where].mean() < 0.01
    assert np.array_equal((seen > 0.5)[where], (moved_box > 0.5)[where])


def _shifted(mask: NDArray[np.bool_], shift: int) -> NDArray[np.uint8]:
    matrix = np.float32([[1, 0, shift], [0, 1, 0]])
    return cv2.warpAffine(mask.astype(np.uint8), matrix, (WIDTH, HEIGHT)).astype(np.uint8)


def _seen_too(painted: Painted, side: Side, here: int, there: int) -> NDArray[np.bool_]:
    """Where frame `here` shows what frame `there` shows too."""
    shift = offset(side, there, COUNT, WIDTH) - offset(side, here, COUNT, WIDTH)
    return _shifted(painted.sure(side, there), shift) > 0


def test_what_no_frame_shows_is_not_in_the_region(painted: Painted) -> None:
    working = painted.working(BACKGROUND)
    full = np.ones((HEIGHT, WIDTH, 1), np.float32)
    maps = carried(painted.atlas, BACKGROUND, working, {FIRST: full})[0]
    grid = painted.places(BACKGROUND, 0, working)
    there = sample_crops(maps[None, None], grid)[0, 0].numpy()
    assert there[painted.sure(BACKGROUND, 0)].min() > 0.99
    last = offset(BACKGROUND, COUNT - 1, COUNT, WIDTH) - offset(BACKGROUND, 0, COUNT, WIDTH)
    assert last > 20 and not maps[:, -last + 10 :].any()  # came into view later


class Copy(nn.Module):
    """In place of a generator: the picture itself, alpha 1."""

    def forward(self, picture: Tensor) -> Tensor:
        return torch.cat([picture, torch.ones_like(picture[:, :1])], dim=1)


@pytest.mark.parametrize("side", FRONT_FIRST)
@pytest.mark.parametrize("flip", [0.0, 1.0])
@pytest.mark.parametrize("max_pixels", [None, 140**2])
def test_maps_that_are_copies_of_the_atlas_stay_ones_in_the_training(
    painted: Painted, side: Side, flip: float, max_pixels: int | None
) -> None:
    working = painted.working(side)
    footage = gather_footage(side, working, painted.frames, painted.atlas.model.locate)
    red, green, blue = working.color.split(1, dim=1)
    region = Example(working.color, limit=red, target=green, keep=torch.cat([blue, red], dim=1))
    chances = DatasetSettings(jitter_p=0, flip_p=flip, min_crop=0.9, whole_every=2)
    dataset = AtlasDataset(footage, chances, True, max_pixels, region)
    for step in range(4):
        crop = dataset.cut(dataset.draw(step_rng(0, step))).atlas
        assert torch.equal(crop.limit, crop.picture[:, :1])
        assert torch.equal(crop.target, crop.picture[:, 1:2])
        assert torch.equal(crop.keep, crop.picture[:, [2, 0]])
        with torch.no_grad():
            rendered = dataset.examples(step, step_rng(0, step)).render(Copy())
        for one in rendered[:-2] if step % 2 == 0 else rendered[:-1]:
            assert one.target is not None and one.keep is not None
            torch.testing.assert_close(one.alpha, one.source[:, :1])  # held by its limit
            torch.testing.assert_close(one.target, one.source[:, 1:2])
        assert all(one.target is not None for one in rendered)
