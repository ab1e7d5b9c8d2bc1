"""The explicit model: splines, mappings, textures, where it starts, its terms, and its measure."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from swatch_training.moving import paint_clip
from torch import Tensor

from tests.moving_truth import overlap, transfer_errors, true_model
from text2live_cli.atlas import spline
from text2live_cli.atlas.fit.flow import Flow, dis_flow
from text2live_cli.atlas.fit.grid_fit import GridProblem
from text2live_cli.atlas.fit.grid_start import (
    chain,
    follow_flow,
    foreground_steps,
    mosaic,
    opacity_logits,
    place_on_canvas,
)
from text2live_cli.atlas.fit.measure import (
    GAP,
    Quality,
    measure,
    psnr_of,
    verdict,
)
from text2live_cli.atlas.fit.settings import GridSettings
from text2live_cli.atlas.grid import (
    GridModel,
    Lattice,
    Mapping,
    Place,
    Texture,
    whole_frames,
)
from text2live_cli.atlas.layers import BACKGROUND, FOREGROUND, FRONT_FIRST, LAYERS, Side
from text2live_cli.engine.steps import step_rng
from text2live_cli.progress import Silent

SIZE = (24, 40)
CPU = torch.device("cpu")


def numbers(*values: float) -> Tensor:
    return torch.tensor([float(v) for v in values])


def close(a: Tensor, b: Tensor | float, within: float = 1e-4) -> None:
    torch.testing.assert_close(a, torch.as_tensor(b).expand_as(a), atol=within, rtol=0)


def shifts(*by: tuple[float, float]) -> Tensor:
    """Base matrices (T, 3, 3) that shift by (x, y)."""
    base = torch.eye(3).repeat(len(by), 1, 1)
    base[:, :2, 2] = torch.tensor(by)
    return base


def every_pixel(mapping: Mapping, *times: float) -> Tensor:
    """uv (n, h, w, 2) of all pixels of some frames."""
    y, x = (torch.arange(n).float() for n in mapping.size)
    with torch.no_grad():
        return mapping(whole_frames(numbers(*times), y, x))


def pixels(size: tuple[int, int]) -> Tensor:
    """(x, y) of every pixel, (h, w, 2)."""
    y, x = torch.meshgrid(*(torch.arange(n).float() for n in size), indexing="ij")
    return torch.stack([x, y], -1)


# Splines


@given(
    length=st.integers(2, 90),
    spacing=st.floats(1, 40),
    share=st.lists(st.floats(0, 1), min_size=1, max_size=8),
    slope=st.floats(-3, 3),
)
@settings(max_examples=60, deadline=None)
def test_a_spline_is_a_mean_of_its_knots_and_repeats_lines(
    length: int, spacing: float, share: list[float], slope: float
) -> None:
    count = spline.knots(length, spacing)
    at = numbers(*share) * (length - 1)
    basis = spline.basis(at, spacing, count)
    assert basis.shape == (len(share), count)
    assert float(basis.min()) >= -1e-6
    close(basis.sum(-1), 1.0, 1e-5)
    line = 2 + slope * spacing * (torch.arange(count) - 1)
    close(basis @ line, 2 + slope * at, 2e-3)


def test_the_weights_of_a_cubic_spline() -> None:
    basis = spline.basis(numbers(0, 4, 2), 4, 5)
    expected = [[1, 4, 1, 0, 0], [0, 1, 4, 1, 0], [1 / 8, 23 / 8, 23 / 8, 1 / 8, 0]]
    close(basis, torch.tensor(expected) / 6, 1e-6)
    assert spline.knots(9, 4) == 5
    assert spline.knots(10, 4) == 6
    outside = spline.basis(numbers(-3, 100), 4, 5)
    close(outside, spline.basis(numbers(0, 8), 4, 5), 1e-6)


def test_a_spline_has_no_kinks() -> None:
    values = torch.randn(9, generator=torch.Generator().manual_seed(0))
    step = 1e-2
    for knot in (5.0, 10.0, 15.0, 20.0):
        before, at, after = (
            spline.basis(numbers(knot + d, knot + d + step), 5.0, 9) @ values
            for d in (-step, 0, step)
        )
        slopes = [float(pair.diff()) / step for pair in (before, at, after)]
        assert slopes[0] == pytest.approx(slopes[2], abs=0.02)


# Mappings


def test_a_mapping_starts_as_its_base() -> None:
    mapping = Mapping(shifts((0, 0), (5, -2)), SIZE, 8, 2)
    uv = every_pixel(mapping, 0, 1)
    close(uv[0], pixels(SIZE), 1e-5)
    close(uv[1], pixels(SIZE) + numbers(5, -2), 1e-5)


def test_a_homography_divides() -> None:
    base = torch.tensor([[[2.0, 0.5, 3], [0.25, 1, -1], [0.01, 0.02, 1]]])
    uv = every_pixel(Mapping(base, SIZE, 8, 2), 0)[0]
    x, y = 30, 10
    w = 0.01 * x + 0.02 * y + 1
    close(uv[y, x], numbers((2 * x + 0.5 * y + 3) / w, (0.25 * x + y - 1) / w))


def test_between_two_frames_lies_the_mean() -> None:
    mapping = Mapping(shifts((0, 0), (6, 2), (20, 0)), SIZE, 8, 2)
    uv = every_pixel(mapping, 0.5, 1.75, 2)
    for found, by in zip(uv, ((3, 1), (16.5, 0.5), (20, 0)), strict=True):
        close(found, pixels(SIZE) + numbers(*by))


def test_the_frames_own_part_is_in_pixels_of_the_larger_side() -> None:
    mapping = Mapping(shifts((0, 0), (0, 0)), SIZE, 8, 2)
    mapping.affine.data[1] = torch.tensor([[3.0, 0, 1], [0, 0, -2]])
    uv = every_pixel(mapping, 0, 1)
    close(uv[0], pixels(SIZE))
    close(uv[1, :, 0], pixels(SIZE)[:, 0] + numbers(1 - 3, -2))  # the left edge moved by 3
    close(uv[1, :, 20], pixels(SIZE)[:, 20] + numbers(1, -2))  # the middle
    half = Mapping(shifts((0, 0), (0, 0)), SIZE, 8, 2)
    half.affine.data[1] = mapping.affine.data[1] / 2
    close(every_pixel(mapping, 0.5), every_pixel(half, 1))


def test_the_spline_bends_near_its_knots_only() -> None:
    mapping = Mapping(shifts(*[(0, 0)] * 9), SIZE, 8, 2)
    mapping.field.data[:] = numbers(4, -1)[:, None, None]
    close(every_pixel(mapping, 3.3)[0], pixels(SIZE) + numbers(4, -1))
    mapping.field.data[:] = 0
    mapping.field.data[2, 0, 2, 3] = 27.0  # frame 2, y = 8, x = 16
    uv = every_pixel(mapping, 2, 6)
    assert float(uv[0, 8, 16, 0]) == pytest.approx(16 + 27 * (2 / 3) ** 3, abs=1e-4)
    close(uv[0, :, 33:], pixels(SIZE)[:, 33:])
    close(uv[1], pixels(SIZE))


# Where it starts


@given(reference=st.integers(0, 5), seed=st.integers(0, 99))
@settings(max_examples=25, deadline=None)
def test_chained_steps_lead_to_the_reference(reference: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    steps = np.eye(3) + rng.uniform(-1, 1, (5, 3, 3)) * [[0.1, 0.1, 9], [0.1, 0.1, 9], [1e-4] * 3]
    whole = chain(steps, reference)
    assert np.allclose(whole[reference], np.eye(3))
    point = np.array([12.0, 7.0, 1])
    for t, step in enumerate(steps):
        here, there = whole[t] @ point, whole[t + 1] @ (step @ point)
        assert np.allclose(here / here[2], there / there[2], atol=1e-6)


def test_chained_shifts_add_up() -> None:
    steps = shifts((1, 0), (2, 0), (4, 1)).double().numpy()
    assert chain(steps, 1)[:, :2, 2].tolist() == [[1, 0], [0, 0], [-2, 0], [-6, -1]]
    assert chain(steps[:0], 0).tolist() == [np.eye(3).tolist()]


def flow_of(places: list[Tensor], back: list[Tensor]) -> Flow:
    """The flow of a motion: where each frame's pixels go in the next, and whence they came."""
    here = pixels((places[0].shape[0], places[0].shape[1]))
    forward = np.stack([(p - here).numpy() for p in places]).astype(np.float32)
    backward = np.stack([(p - here).numpy() for p in back]).astype(np.float32)
    inside = [np.stack([within(p) for p in positions]) for positions in (places, back)]
    return Flow(forward, backward, *inside)


def within(places: Tensor) -> np.ndarray:
    """Which positions (h, w, 2) of a frame are in it, (h, w)."""
    last = torch.tensor(places.shape[1::-1]) - 1
    return ((places >= 0) & (places <= last)).all(-1).numpy()


def swelling(t: float, p: Tensor) -> Tensor:
    """Where what is at p in frame 0 is at `t`: it grows, turns and drifts about a point."""
    middle = numbers(22, 10)
    grow, turn = 1 + 0.02 * t, 0.03 * t
    rotation = torch.tensor([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]])
    return (p - middle) @ rotation.T * grow + middle + numbers(0.5, -0.2) * t


def swollen_back(t: float, p: Tensor) -> Tensor:
    """The reverse of `swelling`."""
    middle = numbers(22, 10)
    turn = -0.03 * t
    rotation = torch.tensor([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]])
    return (p - middle - numbers(0.5, -0.2) * t) / (1 + 0.02 * t) @ rotation.T + middle


@pytest.mark.parametrize("reference", [0, 4, 8])
@pytest.mark.parametrize("period", [1, 3])
def test_following_flow_finds_a_smooth_motion(reference: int, period: float) -> None:
    count, here = 9, pixels(SIZE)
    flow = flow_of(
        [swelling(t + 1, swollen_back(t, here)) for t in range(count - 1)],
        [swelling(t, swollen_back(t + 1, here)) for t in range(count - 1)],
    )
    mapping = Mapping(shifts(*[(0, 0)] * count), SIZE, 8, period)
    follow_flow(mapping, flow, np.ones((count, *SIZE), bool), reference)
    for t, uv in enumerate(every_pixel(mapping, *range(count))):
        true = swelling(reference, swollen_back(t, here))
        off = (uv - true).norm(dim=-1)[within(true)]
        assert float(off.median()) < 0.1, t
        assert float(off.max()) < 0.6, t  # in corners, where matches lie on one side only


def test_flow_that_is_not_to_be_used_bends_nothing() -> None:
    here = pixels(SIZE)
    flow = flow_of([here + 3] * 3, [here - 3] * 3)
    mapping = Mapping(shifts(*[(0, 0)] * 4), SIZE, 8, 1)
    follow_flow(mapping, flow, np.zeros((4, *SIZE), bool), 1)
    close(every_pixel(mapping, 0, 3), here.expand(2, -1, -1, -1))


def test_a_foregrounds_steps_are_those_of_what_moves_in_its_mask() -> None:
    still, moved = pixels(SIZE), pixels(SIZE).clone()
    moved[6:18, 10:24] += numbers(3, 1)  # the object, in a mask that holds ground as well
    flow = flow_of([moved, moved], [2 * still - moved] * 2)
    masks = np.zeros((3, *SIZE), np.float32)
    masks[:, 2:22, 6:28] = 1
    steps, used = foreground_steps(flow, masks, np.tile(np.eye(3), (2, 1, 1)))
    assert np.allclose(steps @ [15, 10, 1], [18, 11, 1], atol=1e-3)
    truth = np.zeros(SIZE, bool)
    truth[6:18, 10:24] = True
    assert (used == truth).all()


def test_what_is_seen_lies_on_the_canvas() -> None:
    mapping = Mapping(shifts((0, 0), (30, -7)), SIZE, 8, 1)
    height, width = place_on_canvas(mapping, np.ones((2, *SIZE), bool), SIZE)
    uv = every_pixel(mapping, 0, 1)
    assert float(uv.min()) >= 8
    assert float(uv[..., 0].max()) <= width - 4  # positions were asked on a lattice
    assert float(uv[..., 1].max()) <= height - 4
    assert (height, width) == (20 + 7 + 16, 36 + 30 + 16)
    assert place_on_canvas(mapping, np.zeros((2, *SIZE), bool), SIZE) == (16, 16)


def test_a_canvas_has_a_limit() -> None:
    mapping = Mapping(shifts(*[(0, 0)] * 8, (1e5, 0)), SIZE, 8, 1)
    height, width = place_on_canvas(mapping, np.ones((9, *SIZE), bool), SIZE)
    assert width < 1e3
    assert height < 2 * SIZE[0]


def translating(count: int = 6, step: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Frames (T, h, w, 3) of a window that moves over a picture (h, W, 3), and the picture."""
    rng = np.random.default_rng(0)
    picture = rng.integers(0, 256, (SIZE[0], SIZE[1] + step * (count - 1), 3)).astype(np.uint8)
    frames = [picture[:, step * t : step * t + SIZE[1]] for t in range(count)]
    return np.stack(frames), picture


def test_the_mosaic_of_a_translating_picture_is_the_picture() -> None:
    frames, picture = translating()
    unit = torch.from_numpy(frames).permute(0, 3, 1, 2) / 255
    mapping = Mapping(shifts(*[(3 * t + 0.5, 0.5) for t in range(len(frames))]), SIZE, 8, 1)
    canvas = place_on_canvas(mapping, np.ones(frames.shape[:3], bool), SIZE)
    made = mosaic(unit, torch.ones(frames.shape[:3]), mapping, canvas)
    inside = np.s_[8 : 8 + picture.shape[0], 8 : 8 + picture.shape[1]]
    found = made.permute(1, 2, 0).numpy()[inside] * 255
    assert np.abs(found - picture).max() < 1e-2
    assert bool(((made >= 0) & (made <= 1)).all())  # around it: filled from what is near


def test_a_mosaic_takes_what_it_is_told_to_take() -> None:
    frames = torch.stack([torch.full((3, *SIZE), 0.2), torch.full((3, *SIZE), 0.8)])
    weights = torch.ones(2, *SIZE)
    weights[1] = 0
    weights[:, :, :8] = 0
    made = mosaic(frames, weights, Mapping(shifts((0.5, 0.5), (0.5, 0.5)), SIZE, 8, 1), SIZE)
    close(made, 0.2, 1e-5)


def test_opacity_starts_at_the_masks() -> None:
    masks = np.zeros((2, *SIZE), np.float32)
    masks[0, 8:16, 10:20] = 1
    sure = masks.copy()
    sure[0, 8:16, 16:20] = 0  # a shadow: in the mask, but it does not move
    opacity = opacity_logits(masks, sure).sigmoid()
    assert opacity.shape == (2, 12, 20)
    assert float(opacity[0, 5:7, 6:7].min()) > 0.9
    assert 0.05 < float(opacity[0, 6, 9]) < 0.5
    assert float(opacity[1].max()) < 1e-3
    assert float(opacity[0, 6, 19]) < 1e-3


# Textures and the model


def test_a_texture_is_its_start_and_a_pyramid_of_changes() -> None:
    start = torch.rand(3, 33, 18, generator=torch.Generator().manual_seed(1))
    texture = Texture(start, 3)
    assert [tuple(level.shape[2:]) for level in texture.levels] == [(33, 18), (9, 5), (3, 2)]
    close(texture()[0], start, 0)
    texture.levels[2].data[:] = 0.25
    texture.levels[1].data[:] = -0.05
    texture.levels[0].data[0, 1, 4, 7] = 0.5
    change = texture()[0].detach() - start
    assert float(change[1, 4, 7]) == pytest.approx(0.7, abs=1e-6)
    change[1, 4, 7] = 0.2
    close(change, 0.2, 1e-5)
    close(Texture(start, 0)()[0], start, 0)


def some_model(frames: int = 3) -> GridModel:
    """A model in which nothing is zero."""
    rng = torch.Generator().manual_seed(5)

    def random(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=rng)

    mappings: dict[Side, Mapping] = {}
    textures: dict[Side, Texture] = {}
    for side, spacing in zip(FRONT_FIRST, (8, 13.5), strict=True):
        base = torch.eye(3).repeat(frames, 1, 1) + random(frames, 3, 3) * 1e-3
        mappings[side] = Mapping(base, SIZE, spacing, 1.5)
        mappings[side].field.data = 3 * random(*mappings[side].field.shape)
        mappings[side].affine.data = random(frames, 2, 3)
        textures[side] = Texture(random(3, 30, 50), 2)
        textures[side].levels[1].data = random(1, 3, 8, 13) - 0.5
    return GridModel(SIZE, mappings, textures, 4 * random(frames, 12, 20) - 2)


@pytest.mark.parametrize("t", [0, 1.25, 2])
def test_another_size_shows_the_same_places(t: float) -> None:
    model = some_model()
    for here, finer in zip(model.locate(t), model.locate(t, (72, 120)), strict=True):
        close(finer[:, 1::3, 1::3], here, 1e-4)  # the middle one of each three is in the same place


def test_pixel_centres_of_all_sizes_lie_on_the_same_picture() -> None:
    mapping = Mapping(shifts((0.5, 0.5)), SIZE, 8, 1)
    texture = Texture(torch.zeros(3, *SIZE), 0)
    mappings: dict[Side, Mapping] = dict.fromkeys(FRONT_FIRST, mapping)
    textures: dict[Side, Texture] = dict.fromkeys(FRONT_FIRST, texture)
    model = GridModel(SIZE, mappings, textures, torch.zeros(1, 12, 20))
    for size in ((24, 40), (48, 80), (7, 200)):
        uv = model.locate(0, size).uv[BACKGROUND] * torch.tensor([size[1] / 40, size[0] / 24])
        close(uv, pixels(size) + 0.5, 1e-3)


def test_opacity_between_frames_and_at_the_border() -> None:
    model = some_model()
    model.opacity_logits.data = torch.stack([torch.full((12, 20), v) for v in (-4.0, 0, 2)])
    y, x = (torch.arange(n).float() for n in SIZE)
    for t, logit in ((0, -4), (0.5, -2), (1, 0), (1.75, 1.5), (2, 2), (2.4, 2)):
        close(model.opacity(whole_frames(numbers(t), y, x)), torch.tensor(float(logit)).sigmoid())


def test_one_look_up_of_many_places_is_as_many_look_ups() -> None:
    model = some_model()
    y, x = torch.rand(2, 3, 7) * torch.tensor([30.0, 50])[:, None, None] - 5  # also outside
    lattice = Lattice(torch.arange(3.0), y, x, whole=True)
    there = Place(torch.arange(3)[:, None, None], y[:, :, None], x[:, None, :])
    alone = Place(torch.tensor([2, 0]), torch.tensor([0.0, 23]), torch.tensor([39.0, 100]))
    of_lattice, single = model.opacities([there, alone])
    close(of_lattice, model.opacity(lattice), 1e-5)
    corners = torch.stack([model.opacity_logits[2, 0, -1], model.opacity_logits[0, -1, -1]])
    close(single, corners.sigmoid(), 1e-5)
    gradients = []
    for values in (model.opacities([there])[0], model.opacity(lattice)):
        model.zero_grad()
        values.square().sum().backward()
        gradients.append(model.opacity_logits.grad)
    close(*gradients, 1e-5)


def test_opacity_that_is_next_to_nothing_or_all_counts_as_that() -> None:
    model = some_model()
    model.opacity_logits.data = torch.stack([torch.full((12, 20), v) for v in (-4.0, 0, 4)])
    for t, opacity in enumerate((0.0, 0.5, 1.0)):
        close(model.locate(t).share[FOREGROUND], opacity, 1e-6)


def test_edits_see_no_specks_in_the_opacity_but_windows() -> None:
    model = some_model()
    logits = torch.full((3, 12, 20), -30.0)
    logits[:, 2:10, 3:17] = 30
    speck, window = np.s_[:, 4:6, 5], np.s_[:, 5:9, 10:14]
    logits[speck] = logits[window] = -30
    model.opacity_logits.data = logits
    closed = model.closed()
    wanted = logits.clone()
    wanted[speck] = 30
    assert torch.equal(closed.opacity_logits, wanted)
    assert torch.equal(model.opacity_logits, logits), "the fit itself stays as it is"
    assert torch.equal(closed.closed().opacity_logits, wanted)
    for side in FRONT_FIRST:
        assert torch.equal(closed.texture(side), model.texture(side))
        assert torch.equal(closed.locate(1).uv[side], model.locate(1).uv[side])


def test_a_model_survives_its_tensors() -> None:
    model = some_model()
    canvases = {side: model.canvas(side) for side in FRONT_FIRST}
    again = GridModel.from_tensors(model.tensors(), SIZE, 3, canvases)
    for t in (0, 1.4):
        for a, b in zip(model.locate(t), again.locate(t), strict=True):
            assert torch.equal(a, b)
    for side in FRONT_FIRST:
        assert torch.equal(model.texture(side), again.texture(side))
        assert again.canvas(side) == model.canvas(side) == (30, 50)


@pytest.mark.parametrize("wrong", ["missing", "more", "frames", "canvas", "knots", "nan"])
def test_tensors_of_no_model_are_refused(wrong: str) -> None:
    tensors = some_model().tensors()
    frames, canvas = 3, (30, 50)
    if wrong == "missing":
        del tensors["mappings.background.affine"]
    elif wrong == "more":
        tensors["payload"] = torch.zeros(1)
    elif wrong == "frames":
        frames = 4
    elif wrong == "canvas":
        canvas = (30, 51)
    else:
        pitch = tensors["mappings.background.pitch"]
        pitch[0] = 0 if wrong == "knots" else float("nan")
    complaint = {
        "missing": "affine",
        "more": "payload",
        "frames": "size mismatch",
        "canvas": "size mismatch",
    }.get(wrong, "impossible knots")
    with pytest.raises((LookupError, ValueError, RuntimeError), match=complaint):
        GridModel.from_tensors(tensors, SIZE, frames, dict.fromkeys(FRONT_FIRST, canvas))


# What a fit compares

COUNT = 24


@pytest.fixture(scope="module")
def clip() -> tuple[np.ndarray, np.ndarray]:
    return paint_clip("cat", "leopard", "mosaic wall", 3, COUNT, (120, 200))


@pytest.fixture
def problem(clip: tuple[np.ndarray, np.ndarray]) -> GridProblem:
    frames, masks = clip
    flow = dis_flow(frames, Silent())
    chosen = GridSettings(steps=40, samples=4000)
    return GridProblem(frames, masks.astype(np.float32), flow, chosen, CPU)


def terms(problem: GridProblem, step: int = 0) -> dict[str, float]:
    """Those of a step, with the next one's where it takes them by turns."""
    both = {
        **problem.loss(step + 1, step_rng(0, step + 1)),
        **problem.loss(step, step_rng(0, step)),
    }
    return {name: value.item() for name, value in both.items()}


def test_shapes_are_judged_by_turns(problem: GridProblem) -> None:
    for step, side in enumerate(("foreground", "background", "foreground")):
        judged = {n for n in problem.loss(step, step_rng(0, step)) if n.startswith(("fold", "rig"))}
        assert judged == {f"fold {side}", f"rigidity {side}"}


def test_every_term_is_a_number_and_every_parameter_learns(problem: GridProblem) -> None:
    first = terms(problem)
    assert set(first) == {
        "colour", "bootstrap", "halves", "opacity flow",
        *(f"{kind} {side}" for kind in ("flow", "rigidity", "fold") for side in LAYERS),
    }  # fmt: skip
    assert all(math.isfinite(value) and value >= 0 for value in first.values())
    assert first == terms(problem)  # the same step draws the same
    assert first["colour"] != terms(problem, 1)["colour"]
    # The fold term rests while nothing is near a fold.
    torch.stack([*problem.loss(0, step_rng(0, 0)).values()]).sum().backward()
    learning = [p for group in problem.parameter_groups() for p in group["params"]]
    assert len(learning) == len(list(problem.model.parameters()))
    for parameter in learning:
        assert parameter.grad is not None
        assert bool(parameter.grad.isfinite().all())
        assert bool(parameter.grad.any())


def test_the_true_maps_leave_little_to_learn(problem: GridProblem, clip: tuple) -> None:
    begin = terms(problem)
    problem.model = true_model(*clip)
    true = terms(problem)
    # Edges of the painted object are soft, those of the true model's opacity are not.
    assert true["colour"] < 0.5
    assert true["colour"] < begin["colour"]
    for side in LAYERS:
        assert true[f"flow {side}"] < 0.1
        assert true[f"rigidity {side}"] < 1e-6
        assert true[f"fold {side}"] == 0


@given(
    angle=st.floats(-3, 3),
    across=st.floats(0.3, 3),
    down=st.floats(0.7, 1.4),
    turned=st.booleans(),
)
@settings(max_examples=15, deadline=None)
def test_a_map_that_is_turned_over_counts_as_folded_and_no_other(
    angle: float, across: float, down: float, turned: bool
) -> None:
    frames = np.zeros((3, *SIZE, 3), np.uint8)
    masks = np.zeros((3, *SIZE), np.float32)
    flow = flow_of([pixels(SIZE)] * 2, [pixels(SIZE)] * 2)
    problem = GridProblem(frames, masks, flow, GridSettings(steps=10, samples=500), CPU)
    c, s = math.cos(angle), math.sin(angle)
    scale = torch.tensor([across, across * down]) * torch.tensor([-1.0 if turned else 1.0, 1])
    base = torch.eye(3)
    base[:2, :2] = torch.tensor([[c, -s], [s, c]]) * scale
    problem.model.mappings["background"].base[:] = base
    found = terms(problem)
    assert found["fold foreground"] == 0
    assert (found["fold background"] > 0.1) == turned
    # A turn and a change of size are rigid; to be stretched one way is not. Twice, as by turns.
    even = ((1 - down**2) / (0.5 * (1 + down**2))) ** 2
    expected = 2 * problem.settings.rigidity_background * even
    assert found["rigidity background"] == pytest.approx(expected, abs=1e-4)


def test_a_still_clip_without_a_foreground_starts_as_one_layer() -> None:
    frames, _ = paint_clip("cat", "leopard", "mosaic wall", 3, 2, (48, 80))
    frames[1] = frames[0]
    masks = np.zeros(frames.shape[:3], np.float32)
    chosen = GridSettings(steps=10, samples=500)
    problem = GridProblem(frames, masks, dis_flow(frames, Silent()), chosen, CPU)
    assert all(math.isfinite(value) for value in terms(problem).values())
    found = measure(problem.model, frames, masks, Silent())
    assert found.worst > 15
    assert found.agreement is None
    assert set(found.folded) == {"background"}


# How good it is


def judged(model: GridModel, clip: tuple, first: int = 0) -> tuple[Quality, list[str], list[str]]:
    frames, masks = clip
    quality = measure(model, frames, masks.astype(np.float32), Silent())
    return quality, *verdict(quality, list(range(first, first + len(frames))), True)


def test_the_true_atlas_is_good(clip: tuple[np.ndarray, np.ndarray]) -> None:
    _, masks = clip
    model = true_model(*clip)
    quality, words, advice = judged(model, clip)
    assert len(quality.psnr) == COUNT
    assert quality.worst > 30
    assert quality.folded == quality.stretched == {"foreground": 0, "background": 0}
    for side in FRONT_FIRST:
        drift = quality.drift[LAYERS[side]]
        assert drift is not None
        assert drift < 0.35  # that of DIS flow itself, over four frames
        pairs = [(0, 10), (7, 3)]
        assert transfer_errors(model.locate, masks, side, pairs).max() < 1e-3
    assert overlap(model.locate, masks) == 1
    assert quality.drift_together is not None
    assert min(quality.drift.values()) <= quality.drift_together <= max(quality.drift.values())
    assert quality.agreement == pytest.approx(1, abs=0.01)
    assert words[0] == "good: ready for edits"
    assert f"{quality.mean:.1f} dB" in words[1]
    assert advice == []


def test_an_edit_that_would_swim_is_told(clip: tuple[np.ndarray, np.ndarray]) -> None:
    model = true_model(*clip)
    slip = 0.75  # pixels a frame
    model.mappings["background"].base[:, 1, 2] += slip * torch.arange(COUNT)
    found = transfer_errors(model.locate, clip[1], BACKGROUND, [(2, 10)])
    assert found == pytest.approx(8 * slip, abs=1e-3)
    quality, words, advice = judged(model, clip)
    assert quality.drift["background"] == pytest.approx(slip * GAP, abs=0.2)
    assert quality.drift["foreground"] == judged(true_model(*clip), clip)[0].drift["foreground"]
    assert words[0].startswith(("fair", "poor"))
    assert any("edits on the background swim by 3.0 px in 4 frames" in line for line in advice)
    assert not any("folds" in line for line in advice)


def test_the_drift_is_in_pixels_of_the_clip_not_of_the_atlas(
    clip: tuple[np.ndarray, np.ndarray],
) -> None:
    model = true_model(*clip)
    before = judged(model, clip)[0].drift["background"]
    model.mappings["background"].base[:, :2] *= 2
    found = judged(model, clip)[0].drift["background"]
    assert found == pytest.approx(before, rel=1e-3)


def test_a_folded_map_is_told(clip: tuple[np.ndarray, np.ndarray]) -> None:
    model = true_model(*clip)
    field = model.mappings["foreground"].field.data
    field += 300 * torch.rand(field.shape, generator=torch.Generator().manual_seed(0))
    quality, _, advice = judged(model, clip)
    assert quality.folded["foreground"] > 0.05
    assert quality.stretched["foreground"] > 0.05
    assert quality.folded["background"] == 0
    assert any("the foreground map folds" in line for line in advice)


def test_a_map_that_is_mirrored_as_a_whole_is_not_folded(
    clip: tuple[np.ndarray, np.ndarray],
) -> None:
    model = true_model(*clip)
    model.mappings["background"].base[:, 0] *= -1
    assert judged(model, clip)[0].folded["background"] == 0


def test_frames_that_leave_the_atlas_are_named(clip: tuple[np.ndarray, np.ndarray]) -> None:
    model = true_model(*clip)
    model.mappings["background"].base[14:, 0, 2] += 37
    quality, _, advice = judged(model, clip, first=40)
    assert min(quality.psnr[:14]) > max(quality.psnr[14:]) + 10
    assert "frames 54–63 leave the atlas: use --frames 40:54" in advice


def test_a_foreground_unlike_its_masks_is_told(clip: tuple[np.ndarray, np.ndarray]) -> None:
    model = true_model(*clip)
    model.opacity_logits.data[:, :, :100] = -30
    model.opacity_logits.data[:, :20] = -30
    quality, words, _ = judged(model, clip)
    assert quality.agreement is not None
    assert quality.agreement < 0.6
    assert any(f"overlaps the masks by {quality.agreement:.0%}" in line for line in words)
    _, unmasked = verdict(quality, list(range(COUNT)), False)
    assert any("give --masks or --box" in line for line in unmasked)


GOOD = Quality(
    psnr=(34.0,) * 10,
    folded={"foreground": 0.0, "background": 0.004},
    stretched={"foreground": 0.02, "background": 0.0},
    drift={"foreground": None, "background": 0.4},
    drift_together=0.4,
    agreement=0.93,
)


def test_the_verdict_in_words() -> None:
    assert verdict(GOOD, list(range(10)), True) == (
        [
            "good: ready for edits",
            "the atlases give the frames back at 34.0 dB, 34.0 dB in the worst frame",
            "foreground map: no trusted flow to check it by, 0.0% folded, 2.0% stretched",
            "background map: drift 0.40 px, 0.4% folded, 0.0% stretched",
            "the opacity overlaps the masks by 93%",
        ],
        [],
    )


@pytest.mark.parametrize(
    ("psnr", "every", "advice"),
    [
        ((34.0,) * 6 + (20.0,) * 4, 1, "frames 6–9 leave the atlas: use --frames 0:6"),
        ((20.0,) * 3 + (34.0,) * 7, 1, "frames 0–2 leave the atlas: use --frames 3:10"),
        ((34.0,) * 6 + (20.0,) * 4, 2, "frames 12–18 leave the atlas: use --frames 0:11"),
        (
            (20.0, 34, 34, 20, 34, 34, 34, 34, 34, 20),
            1,
            "frames 0 and 3 and 9 leave the atlas: use --frames 4:9",
        ),
        ((34.0,) * 9 + (29.0,), 1, None),  # below the others, but good enough
        ((20.0,) * 10, 1, None),  # poor as a whole
    ],
)
def test_advice_on_frames(psnr: tuple[float, ...], every: int, advice: str | None) -> None:
    quality = dataclasses.replace(GOOD, psnr=psnr)
    _, given_ = verdict(quality, list(range(0, 10 * every, every)), True)
    assert given_ == ([] if advice is None else [advice])


@pytest.mark.parametrize(("mean", "first"), [(25.0, "poor"), (28.0, "fair"), (31.0, "good")])
def test_the_overall_judgement(mean: float, first: str) -> None:
    quality = dataclasses.replace(GOOD, psnr=(mean,) * 10)
    assert verdict(quality, list(range(10)), True)[0][0].startswith(first)


def test_psnr() -> None:
    black = np.zeros((4, 5, 3), np.uint8)
    assert psnr_of(black, black) == pytest.approx(100)
    assert psnr_of(black + 255, black) == 0
    assert psnr_of(black + 1, black) == pytest.approx(20 * math.log10(255))
