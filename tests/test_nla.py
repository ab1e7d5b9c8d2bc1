"""The published model of layered neural atlases: networks, losses, fit, checkpoints.

tests/data/imlp.npz is whole; of atlas.npz, arrays over frames of 24×40 keep every second row and
column.
"""

from __future__ import annotations

import dataclasses
import math
import pickle
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tests.conftest import Arrays
from text2live_cli.atlas import nla
from text2live_cli.atlas.coordinates import clip_to_unit, sample
from text2live_cli.atlas.fit import nla_files, nla_losses
from text2live_cli.atlas.fit.flow import Flow
from text2live_cli.atlas.fit.nla_losses import NlaProblem
from text2live_cli.atlas.fit.settings import NlaSettings
from text2live_cli.atlas.layers import BACKGROUND, FOREGROUND, FRONT_FIRST, LAYERS, Side
from text2live_cli.atlas.nla import Imlp, NlaModel, Shape
from text2live_cli.errors import Text2LiveError
from text2live_cli.progress import Silent

SIZE, FRAMES, RESOLUTION = (24, 40), 5, 60  # of the parity arrays
THEIR_NAMES = {
    "foreground": "fg_mapping",
    "background": "bg_mapping",
    "alpha": "alpha",
    "atlas": "fg_atlas",
}
SHIFT = (1, 0)  # of each layer's quadrant, to [0, 1]


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Networks this small only wait for a second thread."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def imlp_arrays() -> Arrays:
    return Arrays("imlp")


@pytest.fixture(scope="module")
def atlas_arrays() -> Arrays:
    return Arrays("atlas")


@pytest.fixture(scope="module")
def model(imlp_arrays: Arrays) -> NlaModel:
    """The authors' small networks."""
    tensors = {
        f"{own}.{name.split('/w/')[1]}": imlp_arrays[name]
        for own, theirs in THEIR_NAMES.items()
        for name in imlp_arrays.names
        if name.startswith(f"{theirs}/w/")
    }
    return NlaModel.from_tensors(tensors, SIZE, FRAMES, RESOLUTION)


def thinned(frame: Tensor) -> Tensor:
    return frame[::2, ::2]


def close(ours: Tensor, theirs: Tensor, atol: float) -> None:
    torch.testing.assert_close(ours.detach(), theirs, atol=atol, rtol=0)


# --- networks ---


@pytest.mark.parametrize("name", THEIR_NAMES)
def test_networks_and_encodings_are_the_authors(
    model: NlaModel, imlp_arrays: Arrays, name: str
) -> None:
    network, theirs = getattr(model, name), THEIR_NAMES[name]
    x = imlp_arrays[f"{theirs}/in"]
    if network.shape.octaves is not None:
        encoded = nla.encode(x, network.shape.octaves)
        close(encoded, imlp_arrays[f"{theirs}/encoding"], 1e-5)
    close(network(x), imlp_arrays[f"{theirs}/out"], 1e-5)


@pytest.mark.parametrize("name", THEIR_NAMES)
def test_shapes_are_read_off_the_weights(model: NlaModel, name: str) -> None:
    assert getattr(model, name).shape == nla.PUBLISHED[name]


def test_the_published_networks_have_the_published_shapes() -> None:
    state = {name: net.state_dict() for name, net in nla.new_networks().items()}
    shapes = {
        name: {part: tuple(t.shape) for part, t in parts.items() if part.endswith("weight")}
        for name, parts in state.items()
    }
    assert shapes["foreground"] == {
        "hidden.0.weight": (256, 3),
        **{f"hidden.{i}.weight": (256, 256) for i in range(1, 5)},
        "hidden.5.weight": (2, 256),
    }
    assert list(shapes["background"]) == [f"hidden.{i}.weight" for i in range(4)]
    assert shapes["alpha"]["hidden.0.weight"] == (256, 30)
    assert shapes["alpha"]["hidden.7.weight"] == (1, 256)
    assert shapes["atlas"]["hidden.4.weight"] == (256, 296)
    assert shapes["atlas"]["hidden.7.weight"] == (3, 296)


def test_no_gradient_reaches_the_input_through_a_skip() -> None:
    torch.manual_seed(0)
    network = Imlp(Shape(2, 3, 4, 3, (2, 3)), 8)
    x = torch.rand(6, 2) - 0.5
    analytic = torch.autograd.functional.jacobian(lambda p: network(p).sum(0), x)

    def with_frozen_skips(moved: Tensor) -> Tensor:
        """The same network, written out, with the encoding at the skips held at x."""
        frozen = nla.encode(x, 3)
        value = nla.encode(moved, 3)
        for i, layer in enumerate(network.hidden):
            value = torch.relu(value) if i else value
            value = layer(torch.cat([value, frozen], -1) if i in (2, 3) else value)
        return torch.tanh(value)

    close(network(x), with_frozen_skips(x).detach(), 0)
    expected = torch.autograd.functional.jacobian(lambda p: with_frozen_skips(p).sum(0), x)
    close(analytic, expected, 1e-6)
    step = 1e-3 * torch.tensor([1.0, 0.0])
    whole = (network(x + step) - network(x - step)).detach() / 2e-3
    partial = analytic[:, :, 0].T
    assert float((whole - partial).abs().max()) > 0.05  # the skips do matter to the value


# --- maps and textures ---


def test_maps_are_the_authors(model: NlaModel, atlas_arrays: Arrays) -> None:
    for t in range(FRAMES):
        maps = model.locate(t)
        for side, (layer, theirs) in enumerate(zip(LAYERS, ("bg_uv", "fg_uv"), strict=True)):
            uv = thinned(maps.uv[side])
            quadrant = atlas_arrays[theirs][t] + SHIFT[side]
            close(uv, quadrant * RESOLUTION, 1e-4)
            corner = atlas_arrays[f"{layer}/min_u_min_v_max_u_max_v"][:2]
            close(uv - corner, atlas_arrays[f"{layer}/uv_pixels"][t], 1e-4)
        published = nla.OPACITY_SPAN * maps.share[FOREGROUND] + nla.OPACITY_FLOOR
        close(thinned(published), atlas_arrays["alpha"][t, 0], 1e-5)


def test_opacity_is_published_between_its_bounds(model: NlaModel, imlp_arrays: Arrays) -> None:
    points = imlp_arrays["alpha/in"]
    expected = 0.99 * (imlp_arrays["alpha/out"][:, 0] + 1) / 2 + 0.001
    close(model.opacity(points), expected, 1e-5)
    with torch.no_grad():
        extreme = NlaModel.from_tensors(model.tensors(), SIZE, FRAMES, RESOLUTION)
        for bias, value, located in ((50.0, 0.991, 1.0), (-50.0, 0.001, 0.0)):
            extreme.alpha.hidden[-1].weight.zero_()
            extreme.alpha.hidden[-1].bias.fill_(bias)
            close(extreme.opacity(points), torch.full((50,), value), 1e-6)
            close(extreme.locate(0).share[FOREGROUND], torch.full(SIZE, located), 0)


@pytest.mark.parametrize("side", FRONT_FIRST)
def test_colours_at_the_authors_positions(
    model: NlaModel, atlas_arrays: Arrays, side: Side
) -> None:
    layer = LAYERS[side]
    u0, v0, width, height = atlas_arrays[f"{layer}/min_u_min_v_max_u_max_v"].tolist()
    u, v = torch.meshgrid(
        torch.arange(u0, u0 + width), torch.arange(v0, v0 + height), indexing="xy"
    )
    mapped = torch.stack([u, v], -1) / RESOLUTION * 2 - 1
    colours = model.colour(side, mapped).permute(2, 0, 1)
    close(colours, atlas_arrays[f"{layer}/grid_atlas"][0], 1e-4)


@pytest.mark.parametrize("side", FRONT_FIRST)
def test_a_texture_pixel_shows_the_atlas_at_its_centre(model: NlaModel, side: Side) -> None:
    texture = model.texture(side)
    assert texture.shape == (3, *model.canvas(side)) == (3, RESOLUTION, RESOLUTION)
    u, v = 17, 42
    centre = torch.tensor([(u + 0.5) / RESOLUTION, (v + 0.5) / RESOLUTION]) * 2 - 1
    close(texture[:, v, u], model.colour(side, centre).detach(), 1e-5)
    uv = torch.tensor([[u + 0.5, v + 0.5]])  # as `locate` counts
    close(sample(texture, uv)[0], texture[:, v, u], 1e-5)


def test_frames_are_the_authors_when_layers_are_sampled(atlas_arrays: Arrays) -> None:
    composites = {}
    video = atlas_arrays["video_u8"].float() / 255
    for side in LAYERS:
        layer = atlas_arrays[f"{side}/layer_rgba"][0]
        _, _, width, height = atlas_arrays[f"{side}/min_u_min_v_max_u_max_v"].tolist()
        if side == "foreground":  # the crop, back in its place
            top, left, h, w = atlas_arrays["foreground/atlas_bbox_top_left_h_w"].tolist()
            around = (left, width - left - w, top, height - top - h)
            layer = torch.nn.functional.pad(layer[None], around, mode="replicate")[0]
        uv = atlas_arrays[f"{side}/uv_pixels"]
        scaled = atlas_arrays[f"{side}/uv_scaled"]
        close(uv / torch.tensor([width, height]) * 2 - 1, scaled, 1e-6)
        rgba = sample(layer, uv).permute(0, 3, 1, 2).clamp(0, 1)
        colour, alpha = rgba[:, :3], rgba[:, 3:]
        close(colour, atlas_arrays[f"{side}/frames_edit"], 1e-5)
        close(alpha, atlas_arrays[f"{side}/frames_alpha"], 1e-5)
        composites[side] = alpha * colour + (1 - alpha) * video
        close(composites[side], atlas_arrays[f"{side}/frames_composite"], 1e-5)
    opacity = atlas_arrays["alpha"]
    full = opacity * composites["foreground"] + (1 - opacity) * composites["background"]
    close(full, atlas_arrays["full_video"], 1e-5)


def test_every_size_and_moment_is_located(model: NlaModel) -> None:
    maps = model.locate(1.5, (48, 80))
    assert maps.uv.shape == (2, 48, 80, 2)
    assert maps.share.shape == (2, 48, 80)
    assert float(maps.uv.min()) >= 0
    assert float(maps.uv.max()) <= RESOLUTION
    close(maps.share.sum(0), torch.ones(48, 80), 1e-6)
    point = clip_to_unit(
        torch.tensor(-0.25), torch.tensor(0.25), torch.tensor(1.5), SIZE, FRAMES
    )  # pixel (0, 1) of twice the size
    expected = (model.mapped(FOREGROUND, point) + 1) / 2 * RESOLUTION
    close(maps.uv[FOREGROUND][1, 0], expected.detach(), 1e-4)


def test_chunks_change_nothing(model: NlaModel, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, texture, shown = model.locate(2), model.texture(BACKGROUND), model.reconstruct(2)
    monkeypatch.setattr(nla, "_CHUNK", 37)
    for once, again in zip(whole, model.locate(2), strict=True):
        close(again, once, 1e-4)
    close(model.texture(BACKGROUND), texture, 1e-5)
    close(model.reconstruct(2), shown, 1e-5)


def test_a_reconstruction_is_the_composite_of_its_layers(model: NlaModel) -> None:
    torch.manual_seed(0)
    smooth = Imlp(Shape(2, 3, 4, 3), 16)  # or 60 pixels could not show it
    networks = {name: getattr(model, name) for name in nla.PUBLISHED} | {"atlas": smooth}
    coarse = NlaModel(networks, SIZE, FRAMES, RESOLUTION)
    maps = coarse.locate(3)
    front = sample(coarse.texture(FOREGROUND), maps.uv[FOREGROUND])
    behind = sample(coarse.texture(BACKGROUND), maps.uv[BACKGROUND])
    shown = behind + (front - behind) * maps.share[FOREGROUND][..., None]
    assert float((front - behind).abs().mean()) > 0.005
    close(coarse.reconstruct(3), shown, 0.001)


def test_tensors_make_the_model_again(model: NlaModel) -> None:
    again = NlaModel.from_tensors(model.tensors(), SIZE, FRAMES, RESOLUTION)
    assert (again.size, again.frames, again.name) == (SIZE, FRAMES, "nla")
    for a, b in zip(model.locate(4), again.locate(4), strict=True):
        assert torch.equal(a, b)
    tensors = model.tensors()
    tensors.pop("alpha.hidden.3.bias")
    with pytest.raises(ValueError, match=r"alpha has not the layers"):
        NlaModel.from_tensors(tensors, SIZE, FRAMES)


# --- losses ---


def rigidity_of(matrix: Tensor, step: float, pixels: float) -> float:
    points = torch.rand(50, 2, dtype=torch.float64)
    shifts = (torch.zeros(2), torch.tensor([step, 0.0]), torch.tensor([0.0, step]))
    uv = [(points + shift) @ matrix.T for shift in shifts]
    return float(nla_losses.rigidity_loss(uv[0], uv[1], uv[2], pixels))


@settings(max_examples=30, deadline=None)
@given(st.floats(-math.pi, math.pi), st.sampled_from([1, 100]))
def test_rigidity_of_a_rotation(angle: float, reach: int) -> None:
    half = 200.0  # of the larger side, in pixels
    c, s = math.cos(angle), math.sin(angle)
    rotation = 0.8 * torch.tensor([[c, -s], [s, c]], dtype=torch.float64)
    found = rigidity_of(rotation, reach / half, half / 0.8 / reach)
    assert found == pytest.approx(math.sqrt(2) * (1 + 1 / 1.001), abs=1e-5)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(-2, 2), min_size=4, max_size=4))
def test_rigidity_of_any_linear_map(entries: list[float]) -> None:
    jacobian = torch.tensor(entries, dtype=torch.float64).reshape(2, 2)
    product = jacobian.T @ jacobian
    inverse = torch.linalg.inv(product + 1e-3 * torch.eye(2, dtype=torch.float64))
    expected = float(product.norm() + inverse.norm())
    assert rigidity_of(jacobian, 0.01, 100.0) == pytest.approx(expected, rel=1e-5)


def test_rigidity_of_a_constant_map_has_a_finite_gradient() -> None:
    uv = torch.zeros(3, 5, 2, requires_grad=True)
    loss = nla_losses.rigidity_loss(uv[0], uv[1], uv[2], 100.0)
    loss.backward()
    assert float(loss.detach()) == pytest.approx(math.sqrt(2) / 1e-3, rel=1e-4)
    assert uv.grad is not None
    assert bool(uv.grad.isfinite().all())


def test_flow_loss_tells_pixels_and_trusts_only_the_flow_that_holds() -> None:
    mapped = torch.rand(4, 2)
    trusted = torch.tensor([[True, True, False, False], [True, False, False, False]])
    weight = torch.tensor([1.0, 0.5, 1.0, 1.0])
    still = mapped.expand(2, -1, -1)
    assert float(nla_losses.flow_loss(mapped, still, weight, trusted, 250.0)) == 0
    moved = still + torch.tensor([0.006, 0.008])  # 2.5 pixels
    moved[:, 2:] += 10  # not trusted
    found = nla_losses.flow_loss(mapped, moved, weight, trusted, 250.0)
    assert float(found) == pytest.approx((2.5 * 1.5 / 2 + 2.5) / 2, rel=1e-4)
    nowhere = torch.zeros_like(trusted)
    assert float(nla_losses.flow_loss(mapped, moved, weight, nowhere, 250.0)) == 0


def test_opacity_flow_loss_is_l1() -> None:
    opacity = torch.tensor([0.2, 0.9])
    carried = torch.tensor([[0.5, 0.0], [0.1, 0.7]])
    trusted = torch.tensor([[True, False], [True, True]])
    found = nla_losses.opacity_flow_loss(opacity, carried, trusted)
    assert float(found) == pytest.approx((0.3 + (0.1 + 0.2) / 2) / 2)


def test_colour_gradient_sparsity_and_bootstrap_losses() -> None:
    shown = torch.tensor([[0.5, 0.5, 0.5], [0.0, 1.0, 0.0]])
    true = torch.tensor([[0.5, 0.1, 0.2], [0.0, 1.0, 0.0]])
    assert float(nla_losses.colour_loss(shown, true)) == pytest.approx((0.16 + 0.09) / 2)
    flat = torch.full((3, 2, 3), 0.3)
    steep = flat.clone()
    steep[1] += 0.1
    steep[2] += 0.2
    assert float(nla_losses.gradient_loss(flat, flat + 0.5)) == pytest.approx(0, abs=1e-12)
    assert float(nla_losses.gradient_loss(steep, flat)) == pytest.approx(3 * (0.01 + 0.04))
    opacity = torch.tensor([1.0, 0.5])
    white = torch.ones(2, 3)
    assert float(nla_losses.sparsity_loss(opacity, white)) == pytest.approx(0.25 * 3 / 2)
    opacity, masks = torch.tensor([0.991, 0.001, 0.5]), torch.tensor([1.0, 0.0, 0.25])
    expected = -(math.log(0.991) + math.log(0.999) + math.log(0.5)) / 3
    assert float(nla_losses.bootstrap_loss(opacity, masks)) == pytest.approx(expected, rel=1e-5)


# --- a fit ---

SMALL = NlaSettings(
    samples=256,
    learning_rate=1e-3,
    width=32,
    resolution=32,
    pretraining_rounds=30,
    global_rigidity_reach=8,
)
CLIP = (6, 24, 32)


def painted() -> tuple[np.ndarray, np.ndarray, Flow]:
    """A square that moves a pixel per frame over a still gradient, its masks, its true flow."""
    frames, height, width = CLIP
    v, u = np.mgrid[:height, :width]
    behind = np.stack([4 * u + 40, 6 * v + 40, np.full_like(u, 90)], -1).astype(np.uint8)
    shown = np.repeat(behind[None], frames, 0)
    masks = np.zeros(CLIP, np.float32)
    for t in range(frames):
        masks[t, 8:16, 6 + t : 14 + t] = 1
        shown[t, 8:16, 6 + t : 14 + t] = (230, 60, 40)
    forward = np.zeros((frames - 1, height, width, 2), np.float32)
    backward = forward.copy()
    forward[..., 0] = masks[:-1]
    backward[..., 0] = -masks[1:]
    forward_ok = (masks[:-1] == 1) | (masks[1:] == 0)  # not what is hidden in the other frame
    backward_ok = (masks[1:] == 1) | (masks[:-1] == 0)
    return shown, masks, Flow(forward, backward, forward_ok, backward_ok)


def problem(seed: int = 0, settings: NlaSettings = SMALL) -> NlaProblem:
    return NlaProblem(*painted(), settings, seed, "cpu")


def rng_of(step: int) -> torch.Generator:
    return torch.Generator().manual_seed(step)


def fit(made: NlaProblem, steps: int) -> list[float]:
    optimizer = torch.optim.Adam(made.parameter_groups())
    losses = []
    for step in range(steps):
        terms = made.loss(step, rng_of(step))
        loss = torch.stack(list(terms.values())).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    return losses


@pytest.fixture(scope="module")
def fitted() -> tuple[NlaProblem, list[float]]:
    made = problem()
    made.prepare(Silent(), lambda: False)
    return made, fit(made, 300)


PUBLISHED_WEIGHTS = {
    "colour": 5000,
    "gradient": 1000,
    "flow_foreground": 5,
    "flow_background": 5,
    "opacity_flow": 49,
    "rigidity_foreground": 1,
    "rigidity_background": 1,
    "global_rigidity_foreground": 5,
    "global_rigidity_background": 50,
    "sparsity": 1000,
    "bootstrap": 2000,
}
"""Of Kasten et al.'s code."""


def test_every_term_has_its_published_weight() -> None:
    knobs = {field.name for field in dataclasses.fields(NlaSettings)} & {
        *PUBLISHED_WEIGHTS,
        *("flow", "rigidity"),
    }
    bare = dataclasses.replace(SMALL, **dict.fromkeys(knobs, 1))
    weighted, unweighted = (problem(0, s).loss(0, rng_of(0)) for s in (SMALL, bare))
    ratios = {name: float((weighted[name] / unweighted[name]).detach()) for name in weighted}
    assert ratios == pytest.approx(PUBLISHED_WEIGHTS)


def test_pre_training_brings_both_mappings_near_the_identity() -> None:
    made = problem()
    made.prepare(Silent(), lambda: False)
    height, width = CLIP[1:]
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    points = clip_to_unit(x, y, torch.tensor(2), (height, width), CLIP[0])
    for side in FRONT_FIRST:
        off = made.model.mapped(side, points) - 0.8 * points[..., :2]
        assert float(off.norm(dim=-1).mean().detach()) < 0.1  # 2 pixels; 0.5 at first


def test_pre_training_can_be_stopped() -> None:
    with pytest.raises(KeyboardInterrupt):
        problem().prepare(Silent(), lambda: True)


def test_a_fit_lowers_the_loss_and_shows_the_clip(
    fitted: tuple[NlaProblem, list[float]],
) -> None:
    made, losses = fitted
    assert np.mean(losses[-10:]) < 0.3 * np.mean(losses[:10])
    shown, masks, _ = painted()
    before = nla_files.check_import(problem().model, shown)
    assert nla_files.check_import(made.model, shown) > before + 3
    opacity = torch.stack([made.model.locate(t).share[FOREGROUND] for t in range(CLIP[0])]).numpy()
    assert opacity[masks == 1].mean() > opacity[masks == 0].mean() + 0.5


def test_terms_come_and_go_with_the_steps() -> None:
    made = problem()
    always = {
        "colour",
        "gradient",
        "flow_foreground",
        "flow_background",
        "opacity_flow",
        "rigidity_foreground",
        "rigidity_background",
        "sparsity",
    }
    far = {"global_rigidity_foreground", "global_rigidity_background"}
    assert set(made.loss(0, rng_of(0))) == always | far | {"bootstrap"}
    assert set(made.loss(4_999, rng_of(0))) == always | far | {"bootstrap"}
    assert set(made.loss(5_000, rng_of(0))) == always | {"bootstrap"}
    assert set(made.loss(10_000, rng_of(0))) == always


def looked_up(clip: np.ndarray, points: Tensor) -> Tensor:
    """The values of a clip (T, h, w, ...) at points that are pixels, or a little outside."""
    half = max(CLIP[1:]) / 2
    x, y, t = (points + 1).unbind(-1)
    places = zip((t * CLIP[0] / 2, y * half, x * half), CLIP, strict=True)
    return torch.from_numpy(clip)[tuple(p.round().long().clamp(0, n - 1) for p, n in places)]


def along_the_flow(side: Side, points: Tensor) -> Tensor:
    """Mappings that follow the painted clip exactly: the square's atlas moves along with it."""
    x, y, t = points.unbind(-1)
    moved = (t + 1) * CLIP[0] / max(CLIP[1:]) if side == FOREGROUND else 0
    return 0.8 * torch.stack([x - moved, y], -1)


def test_no_flow_loss_where_the_mappings_follow_the_flow(monkeypatch: pytest.MonkeyPatch) -> None:
    made = problem()
    masks = painted()[1]
    monkeypatch.setattr(made.model, "mapped", along_the_flow)
    monkeypatch.setattr(made.model, "opacity", lambda points: looked_up(masks, points))
    terms = made.loss(0, rng_of(1))
    rigid = math.sqrt(2) * (1 + 1 / 1.001)
    for side, weight in (("foreground", 5), ("background", 50)):
        assert float(terms[f"flow_{side}"].detach()) == pytest.approx(0, abs=1e-4)
        assert float(terms[f"rigidity_{side}"]) == pytest.approx(rigid, abs=1e-3)
        assert float(terms[f"global_rigidity_{side}"]) == pytest.approx(weight * rigid, abs=1e-2)
    assert float(terms["opacity_flow"]) == pytest.approx(0, abs=1e-6)
    assert float(terms["bootstrap"]) == pytest.approx(0, abs=1e-3)


def test_no_colour_loss_where_the_atlases_show_the_clip(monkeypatch: pytest.MonkeyPatch) -> None:
    made = problem()
    shown = painted()[0].astype(np.float32) / 255
    monkeypatch.setattr(made.model, "mapped", lambda side, points: points)
    monkeypatch.setattr(made.model, "colour", lambda side, points: looked_up(shown, points))
    terms = made.loss(0, rng_of(1))
    assert float(terms["colour"].detach()) == pytest.approx(0, abs=1e-6)
    assert float(terms["gradient"].detach()) == pytest.approx(0, abs=1e-6)


def test_the_same_seed_is_the_same_fit() -> None:
    short = dataclasses.replace(SMALL, pretraining_rounds=2)
    results = []
    for seed in (3, 3, 4):
        torch.manual_seed(len(results))  # torch's global numbers do not matter
        made = problem(seed, short)
        made.prepare(Silent(), lambda: False)
        results.append((fit(made, 5), made.model.tensors()))
    assert results[0][0] == results[1][0]
    assert all(torch.equal(t, results[1][1][name]) for name, t in results[0][1].items())
    assert results[0][0] != results[2][0]


def test_a_clip_of_one_frame_has_no_flow() -> None:
    shown, masks, flow = painted()
    none = Flow(*(part[:0] for part in flow))
    made = NlaProblem(shown[:1], masks[:1], none, SMALL, 0, "cpu")
    terms = made.loss(0, rng_of(0))
    assert float(terms["flow_foreground"].detach()) == 0
    assert all(bool(term.isfinite()) for term in terms.values())


# --- checkpoints ---


def their_dict(model: NlaModel) -> dict[str, object]:
    return {key: getattr(model, name).state_dict() for name, key in nla_files.KEYS.items()}


def refusal(path: Path) -> str:
    with pytest.raises(Text2LiveError) as caught:
        nla_files.read_published(path, SIZE, FRAMES)
    text = str(caught.value)
    assert str(path) in text
    assert "\n" not in text
    return text


def test_round_trip_of_a_fit(fitted: tuple[NlaProblem, list[float]], tmp_path: Path) -> None:
    model = fitted[0].model
    path = tmp_path / "checkpoint"
    nla_files.write_published(path, model, 250)
    first = path.read_bytes()
    nla_files.write_published(path, model, 250)
    assert path.read_bytes() == first
    assert list(tmp_path.iterdir()) == [path]
    again = nla_files.read_published(path, model.size, model.frames, model.resolution)
    for name, tensor in model.tensors().items():
        assert torch.equal(again.tensors()[name], tensor)
    shown = painted()[0]
    assert nla_files.check_import(again, shown) == nla_files.check_import(model, shown)
    assert all(parameter.requires_grad for parameter in again.parameters())


def test_an_export_has_the_published_layout(model: NlaModel, tmp_path: Path) -> None:
    path = tmp_path / "checkpoint"
    nla_files.write_published(path, model, 7)
    contents = torch.load(path, weights_only=True)
    assert set(contents) == {
        "F_atlas_state_dict",
        "model_F_mapping1_state_dict",
        "model_F_mapping2_state_dict",
        "model_F_alpha_state_dict",
        "iteration",
        "optimizer_all_state_dict",
    }
    assert contents["iteration"] == 7
    assert len(contents["model_F_mapping1_state_dict"]) == 12  # fg: the deeper mapping
    assert len(contents["model_F_mapping2_state_dict"]) == 8
    groups = [
        {"params": list(getattr(model, name).parameters())}
        for name in ("foreground", "background", "alpha", "atlas")
    ]
    torch.optim.Adam(groups).load_state_dict(contents["optimizer_all_state_dict"])


def test_a_published_checkpoint_with_an_optimizers_state_is_read(
    fitted: tuple[NlaProblem, list[float]], tmp_path: Path
) -> None:
    made = fitted[0]
    optimizer = torch.optim.Adam(made.parameter_groups())
    torch.stack(list(made.loss(0, rng_of(0)).values())).sum().backward()
    optimizer.step()
    state = {"iteration": 3, "optimizer_all_state_dict": optimizer.state_dict()}
    for zipped in (True, False):  # older versions of torch wrote no zip files
        path = tmp_path / f"checkpoint-{zipped}"
        torch.save(their_dict(made.model) | state, path, _use_new_zipfile_serialization=zipped)
        read = nla_files.read_published(path, made.model.size, made.model.frames)
        assert torch.equal(read.tensors()["atlas.hidden.7.bias"], made.model.atlas.hidden[7].bias)


def test_the_authors_small_networks_are_read(model: NlaModel, tmp_path: Path) -> None:
    path = tmp_path / "checkpoint"
    torch.save(their_dict(model), path)
    read = nla_files.read_published(path, SIZE, FRAMES, RESOLUTION)
    assert torch.equal(read.locate(2).uv, model.locate(2).uv)


class Payload:
    """Runs a command when it is unpickled by a careless program."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[[Path], None], tuple[Path]]:
        return Path.touch, (self.path,)


def test_code_in_a_checkpoint_is_not_run(model: NlaModel, tmp_path: Path) -> None:
    path, touched = tmp_path / "checkpoint", tmp_path / "touched"
    torch.save(their_dict(model) | {"extra": Payload(touched)}, path)
    assert "runs no code" in refusal(path)
    path.write_bytes(pickle.dumps(Payload(touched)))
    refusal(path)
    assert not touched.exists()


ALTERED: dict[str, tuple[Callable[[dict[str, dict[str, Tensor]]], object], str]] = {
    "no atlas": (lambda d: d.pop("F_atlas_state_dict"), "no F_atlas_state_dict"),
    "a layer less": (
        lambda d: d["model_F_alpha_state_dict"].pop("hidden.3.weight"),
        "alpha has not the layers",
    ),
    "a layer more": (
        lambda d: d["model_F_alpha_state_dict"].update({"other.weight": torch.ones(1)}),
        "alpha has not the layers",
    ),
    "empty": (lambda d: d["F_atlas_state_dict"].clear(), "atlas has not the layers"),
    "another width": (
        lambda d: d["F_atlas_state_dict"].update({"hidden.5.weight": torch.ones(16, 15)}),
        "atlas.hidden.5.weight has the shape 16×15",
    ),
    "another output": (
        lambda d: d["model_F_mapping1_state_dict"].update({"hidden.5.bias": torch.ones(3)}),
        "foreground.hidden.5.bias has the shape 3",
    ),
    "no encoding": (
        lambda d: d["model_F_mapping2_state_dict"].update({"hidden.0.weight": torch.ones(16, 4)}),
        "background",
    ),
    "NaN": (
        lambda d: d["model_F_mapping2_state_dict"]["hidden.1.weight"].view(-1)[3:4].fill_(math.nan),
        "background.hidden.1.weight holds numbers that are not finite",
    ),
    "whole numbers": (
        lambda d: d["F_atlas_state_dict"].update({"hidden.1.bias": torch.ones(16).long()}),
        "no matrix or vector",
    ),
    "a number": (
        lambda d: d["F_atlas_state_dict"].update({"hidden.1.bias": 4}),  # type: ignore[dict-item]
        "no matrix or vector",
    ),
    "sparse": (
        lambda d: d["F_atlas_state_dict"].update({"hidden.1.weight": torch.eye(16).to_sparse()}),
        "no matrix or vector",
    ),
    "immense": (
        lambda d: d["F_atlas_state_dict"].update(
            {"hidden.1.weight": torch.zeros(1, 1).expand(10**7, 10**7)}
        ),
        "no matrix or vector",
    ),
    "no dict of tensors": (
        lambda d: d.update({"F_atlas_state_dict": [1, 2]}),  # type: ignore[dict-item]
        "no F_atlas_state_dict",
    ),
}


@pytest.fixture
def own_model(model: NlaModel) -> NlaModel:
    """May be changed."""
    return NlaModel.from_tensors(model.tensors(), SIZE, FRAMES, RESOLUTION)


@pytest.mark.parametrize("case", ALTERED)
def test_an_altered_checkpoint_is_refused(own_model: NlaModel, tmp_path: Path, case: str) -> None:
    change, complaint = ALTERED[case]
    path = tmp_path / "checkpoint"
    contents = {
        key: dict(getattr(own_model, name).state_dict()) for name, key in nla_files.KEYS.items()
    }
    change(contents)
    torch.save(contents, path)
    assert complaint in refusal(path)


def test_foreign_files_are_refused(model: NlaModel, tmp_path: Path) -> None:
    path = tmp_path / "checkpoint"
    refusal(path)  # is not there
    refusal(tmp_path)  # a folder
    for data in (b"", b"hello, world", bytes(range(256)) * 20):
        path.write_bytes(data)
        refusal(path)
    torch.save([1, 2, 3], path)
    assert "no dict" in refusal(path)
    nla_files.write_published(path, model, 1)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    refusal(path)


def test_a_compressed_archive_is_refused(model: NlaModel, tmp_path: Path) -> None:
    plain, packed = tmp_path / "plain", tmp_path / "packed"
    nla_files.write_published(plain, model, 1)
    with (
        zipfile.ZipFile(plain) as source,
        zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as target,
    ):
        for name in source.namelist():
            target.writestr(name, source.read(name))
    assert "no checkpoint" in refusal(packed)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_damaged_checkpoint_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("damaged")
    path = folder / "checkpoint"
    networks = {name: Imlp(shape, 4) for name, shape in nla.PUBLISHED.items()}
    nla_files.write_published(path, NlaModel(networks, SIZE, FRAMES), 1)
    raw = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 8))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(bytes(raw))
    try:
        read = nla_files.read_published(path, SIZE, FRAMES)
    except Text2LiveError as error:
        assert "\n" not in str(error)
    else:
        assert all(bool(tensor.isfinite().all()) for tensor in read.tensors().values())


def test_an_import_of_another_clip_is_told_by_its_psnr(model: NlaModel) -> None:
    shown = np.stack([(model.reconstruct(t) * 255).round().byte().numpy() for t in range(FRAMES)])
    assert nla_files.check_import(model, shown) > 50
    other = np.random.default_rng(0).integers(0, 256, shown.shape, np.uint8)
    assert nla_files.check_import(model, other) < nla_files.MIN_PSNR
    assert nla_files.check_import(model, shown[:1]) > 50
