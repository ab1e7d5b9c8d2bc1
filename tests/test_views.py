"""The one batched warp against torchvision's operations, step by step; sizes; panoramas."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
import torchvision.transforms.functional as TF
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torchvision.transforms import InterpolationMode

from text2live_cli.guide import views as V
from text2live_cli.guide.hue import shift_hue
from text2live_cli.guide.shape import view_size
from text2live_cli.guide.views import (
    Rectangle,
    ViewSettings,
    apply_views,
    draw_views,
    panorama_windows,
)

PLAIN = ViewSettings(flip_p=0, affine_p=0, perspective_p=0, jitter_p=0, gray_p=0)
ALWAYS = ViewSettings(flip_p=1, affine_p=1, perspective_p=1, jitter_p=1, gray_p=0.5, fill=0.7)


def smooth_picture(height: int, width: int, seed: int = 0) -> Tensor:
    rng = torch.Generator().manual_seed(seed)
    coarse = torch.rand(1, 3, 9, 9, generator=rng)
    return F.interpolate(coarse, (height, width), mode="bicubic", align_corners=False).clamp(0, 1)


def draw(picture: Tensor, count: int, kind: ViewSettings, seed: int = 0) -> V.Views:
    size = picture.shape[2], picture.shape[3]
    rng = torch.Generator().manual_seed(seed)
    windows = panorama_windows(*size, 5.0)
    return draw_views(count, view_size(*size, 224, 320), windows, size, kind, rng)


def step_by_step(picture: Tensor, views: V.Views, row: int) -> tuple[Tensor, Tensor]:
    """View `row` as torchvision makes it, and where no fill or edge is near: crop → … → gray."""
    height, width = views.size
    left, top, share_w, share_h = views.crops[row].tolist()
    full_h, full_w = picture.shape[2:]
    crop = [round(v) for v in (top * full_h, left * full_w, share_h * full_h, share_w * full_w)]
    view = TF.resize(TF.crop(picture, *crop), [height, width], antialias=False)
    view = torch.cat([view, torch.ones_like(view[:, :1])], dim=1)
    flipped = views.place[row][0, 0] < 0
    view = TF.hflip(view) if flipped else view
    angle, shift = affine_of(views, row, bool(flipped))
    bilinear = InterpolationMode.BILINEAR
    view = TF.affine(view, angle, shift, 1.0, [0.0, 0.0], bilinear, fill=[0.0] * 4)
    start, end = perspective_of(views, row)
    view = TF.perspective(view, start, end, bilinear, fill=[0.0] * 4)
    color, cover = view[:, :3], view[:, 3:]
    color = torch.where(cover > 0.5, color / cover.clamp_min(1e-6), views.fill).clamp(0, 1)
    brightness, contrast, saturation, hue = views.jitter[row].tolist()
    color = TF.adjust_brightness(color, brightness)
    color = TF.adjust_contrast(color, contrast)
    color = TF.adjust_saturation(color, saturation)
    color = TF.adjust_hue(color, hue)
    if views.gray[row]:
        color = TF.rgb_to_grayscale(color, 3)
    edge = F.max_pool2d((cover - cover.round()).abs(), 5, 1, 2) > 1e-3
    near = F.max_pool2d(cover, 5, 1, 2) - (-F.max_pool2d(-cover, 5, 1, 2)) > 0.5
    return color, ~(edge | near)


def affine_of(views: V.Views, row: int, flipped: bool) -> tuple[float, list[int]]:
    """The angle and shift that torchvision takes, from the matrix."""
    height, width = views.size
    matrix = views.place[row].double()
    if flipped:
        matrix = torch.tensor([[-1, 0, width], [0, 1, 0], [0, 0, 1]], dtype=torch.double) @ matrix
    angle = math.degrees(math.atan2(float(matrix[0, 1]), float(matrix[0, 0])))
    centre = torch.tensor([width / 2, height / 2, 1.0], dtype=torch.double)
    moved = torch.linalg.solve(matrix, centre) - centre
    return angle, [round(float(moved[0])), round(float(moved[1]))]


def perspective_of(views: V.Views, row: int) -> tuple[list[list[int]], list[list[int]]]:
    """Corners before and after, from the homography."""
    height, width = views.size
    start = [[0, 0], [width - 1, 0], [width - 1, height - 1], [0, height - 1]]
    back = torch.linalg.inv(views.warp[row].double())
    end = []
    for x, y in start:
        moved = back @ torch.tensor([x, y, 1.0], dtype=torch.double)
        end.append([round(float(moved[0] / moved[2])), round(float(moved[1] / moved[2]))])
    return start, end


@pytest.mark.parametrize("size", [(256, 384), (300, 300), (400, 280)])
def test_one_warp_is_torchvisions_five_steps(size: tuple[int, int]) -> None:
    picture = smooth_picture(*size)
    views = draw(picture, 8, ALWAYS)
    ours = apply_views(picture, views)
    compared = 0.0
    for row in range(8):
        theirs, inside = step_by_step(picture, views, row)
        difference = (ours[row : row + 1] - theirs).abs().mean(1, keepdim=True)
        assert float(difference[inside].mean()) <= 2 / 255, row
        compared += float(inside.float().mean()) / 8
    assert compared > 0.8


def test_without_augmentation_the_first_view_is_the_resized_picture() -> None:
    picture = smooth_picture(200, 300)
    view = apply_views(picture, draw(picture, 1, PLAIN))
    expected = F.interpolate(picture, (213, 320), mode="bilinear", align_corners=False)
    torch.testing.assert_close(view, expected, atol=1e-4, rtol=0)


def test_crops_are_sixty_to_a_hundred_percent_and_inside() -> None:
    views = draw(smooth_picture(150, 200), 200, PLAIN)
    left, top, width, height = views.crops.unbind(1)
    torch.testing.assert_close(width, height)
    assert float(width[0]) == 1
    assert 0.6 <= float(width.min()) < 0.63
    assert float(left.min()) >= 0
    assert float(top.min()) >= 0
    assert float((left + width).max()) <= 1 + 1e-6


def test_probabilities_are_the_methods() -> None:
    views = draw(smooth_picture(100, 100), 4000, ViewSettings())
    eye = torch.eye(3)
    flipped = (views.place[:, 0, 0] < 0).float().mean()
    still = ((views.place - eye).abs().amax((1, 2)) < 1e-6).float().mean()
    assert float(flipped) == pytest.approx(0.5, abs=0.03)
    assert float(still) == pytest.approx(0.5 * 0.2, abs=0.02)
    assert float(((views.warp - eye).abs().amax((1, 2)) > 1e-6).float().mean()) == pytest.approx(
        0.5, abs=0.03
    )
    jittered = (views.jitter - torch.tensor([1.0, 1.0, 1.0, 0.0])).abs().amax(1) > 0
    assert float(jittered.float().mean()) == pytest.approx(0.7, abs=0.03)
    assert float(views.gray.mean()) == pytest.approx(0.15, abs=0.02)


def test_pictures_share_their_views_and_the_order_is_picture_by_picture() -> None:
    a, b = smooth_picture(160, 160, 1), smooth_picture(160, 160, 2)
    views = draw(a, 5, ALWAYS)
    together = apply_views(torch.cat([a, b]), views)
    torch.testing.assert_close(together[:5], apply_views(a, views))
    torch.testing.assert_close(together[5:], apply_views(b, views))


def test_every_pixel_gets_gradient_from_the_whole_view() -> None:
    picture = torch.rand(1, 3, 900, 900, requires_grad=True)
    apply_views(picture, draw(picture, 1, PLAIN)).sum().backward()
    assert picture.grad is not None
    assert float((picture.grad.abs().sum(1) > 0).float().mean()) == 1


def test_views_are_differentiable_through_the_colour_steps() -> None:
    # A colour whose channels nearly tie lies at a kink of the hue: this seed draws none.
    rng = torch.Generator().manual_seed(0)
    noise = torch.rand(1, 3, 12, 12, dtype=torch.float64, generator=rng)
    picture = (0.2 + 0.6 * noise).requires_grad_()
    factors = torch.tensor([[1.03, 0.97, 1.02, 0.04]], dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda x: V.color_jitter(x, factors), picture)


def test_view_sizes_of_the_parity_table() -> None:
    table = {
        (512, 512): ((224, 224), (224, 224)),
        (512, 768): ((213, 320), (224, 336)),
        (512, 683): ((224, 298), (224, 298)),
        (768, 512): ((320, 213), (336, 224)),
        (300, 1200): ((80, 320), (95, 380)),
        (432, 768): ((180, 320), (213, 380)),
        (145, 203): ((224, 313), (224, 313)),
        (487, 731): ((213, 320), (224, 336)),
    }
    for size, (view, structure) in table.items():
        assert view_size(*size, 224, 320) == view
        assert view_size(*size, 224, 380) == structure


@settings(max_examples=60, deadline=None)
@given(
    short=st.integers(20, 400),
    aspect=st.floats(1, 40),
    max_aspect=st.floats(1.5, 6),
    tall=st.booleans(),
)
def test_windows_cover_a_panorama(short: int, aspect: float, max_aspect: float, tall: bool) -> None:
    long = int(short * aspect)
    size = (long, short) if tall else (short, long)
    windows = panorama_windows(*size, max_aspect)
    covered = torch.zeros(size, dtype=torch.bool)
    for window in windows:
        x, y, width, height = (int(v) for v in window)
        assert max(width, height) <= max_aspect * min(width, height) + 1
        assert x >= 0 and y >= 0 and y + height <= size[0] and x + width <= size[1]
        covered[y : y + height, x : x + width] = True
    assert bool(covered.all())
    assert (len(windows) == 1) == (long <= max_aspect * short)


def test_a_panoramas_views_begin_with_its_windows() -> None:
    picture = smooth_picture(100, 900)
    windows = panorama_windows(100, 900, 5.0)
    rng = torch.Generator().manual_seed(0)
    views = draw_views(8, (64, 320), windows, (100, 900), PLAIN, rng)
    assert len(windows) == 3
    whole = {round(left * 900): width for left, _, width, _ in views.crops[:3].tolist()}
    assert whole == {0: pytest.approx(5 / 9), 200: pytest.approx(5 / 9), 400: pytest.approx(5 / 9)}
    few = [draw_views(1, (64, 320), windows, (100, 900), PLAIN, rng) for _ in range(30)]
    assert len({round(float(views.crops[0, 0]), 3) for views in few}) == 3
    assert apply_views(picture, views).shape == (8, 3, 64, 320)
    assert windows[0] == Rectangle(0, 0, 500, 100)


def test_a_turned_hue_is_torchvisions_and_its_slope_the_true_one() -> None:
    picture = torch.rand(
        2, 3, 5, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(4)
    )
    turns = torch.tensor([0.09, -0.31], dtype=torch.float64).view(2, 1, 1, 1)
    for row, turn in zip(picture, turns.flatten().tolist(), strict=True):
        torch.testing.assert_close(
            shift_hue(row[None], torch.tensor(turn).view(1, 1, 1, 1))[0],
            TF.adjust_hue(row, turn),
            atol=1e-6,
            rtol=0,
        )
    picture.requires_grad_()
    assert torch.autograd.gradcheck(lambda x: shift_hue(x, turns), picture)


def test_grey_has_no_hue_and_moves_as_a_whole() -> None:
    grey = torch.tensor([0.0, 0.4, 1.0]).view(1, 1, 1, 3).repeat(1, 3, 1, 1).requires_grad_()
    turned = shift_hue(grey, torch.full((1, 1, 1, 1), 0.2))
    assert torch.equal(turned, grey)
    weights = torch.tensor([1.0, 2.0, 3.0]).view(1, 3, 1, 1)
    (slope,) = torch.autograd.grad((turned * weights).sum(), grey)
    assert torch.equal(slope, torch.full_like(slope, 2.0))
