"""What no machine here shows: with a GPU nothing waits, and no operand is on another device.

The steps run on CUDA tensors without values (tests/fake_gpu.py), forward; the first may send what
stays the same in all others.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

import gpu as gpu_bench
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from swatch_training.moving import paint_clip
from torch import Tensor

from tests import tiny_clip
from tests.fake_gpu import CUDA, FakeGpu, fake_gpu
from tests.moving_truth import true_model
from text2live_cli.atlas.discretise import AtlasPicture, discretise
from text2live_cli.atlas.fit.fitting import Fitter, Problem
from text2live_cli.atlas.fit.flow import Flow, dis_flow
from text2live_cli.atlas.fit.grid_fit import GridProblem
from text2live_cli.atlas.fit.nla_losses import NlaProblem
from text2live_cli.atlas.fit.settings import GridSettings, NlaSettings
from text2live_cli.atlas.grid import GridModel
from text2live_cli.atlas.layers import FOREGROUND, FRONT_FIRST, AtlasModel, Side
from text2live_cli.atlas.nla import NlaModel, new_networks
from text2live_cli.atlas.render import (
    Layer,
    lay_over_frame,
    reconstruct,
    textures_of,
)
from text2live_cli.config import PLAIN, VIDEO_DATASET, resolve_settings
from text2live_cli.device import FP32
from text2live_cli.engine.delivery import render_at
from text2live_cli.engine.generator import Generator
from text2live_cli.engine.internal_dataset import Example, InternalDataset
from text2live_cli.engine.steps import Dataset, step_rng
from text2live_cli.engine.training import Trainer, make_trainer
from text2live_cli.guide.clip import ClipGuide, load_guide
from text2live_cli.guide.prompts import Prompts
from text2live_cli.progress import Silent
from text2live_cli.video.baselines import FramesDataset
from text2live_cli.video.dataset import AtlasDataset
from text2live_cli.video.footage import WorkingAtlas, gather_footage

SETTINGS = resolve_settings("draft", "swatch", channels=4, views=2, graphs=False)
PROMPTS = Prompts("golden cup", "cup", "golden cup", keep=("table",))
SIZE, COUNT = (144, 200), 5
QUICK_NLA = NlaSettings(width=16, resolution=60, pretraining_rounds=1, bootstrap_until=3)


class Painted(NamedTuple):
    """A painted clip, its flow, and its true atlas."""

    frames: NDArray[np.uint8]
    masks: NDArray[np.float32]
    flow: Flow
    model: GridModel
    pictures: dict[Side, AtlasPicture]


@pytest.fixture(scope="module")
def painted() -> Painted:
    frames, masks = paint_clip("cat", "leopard", "checkered table", frames=COUNT, size=SIZE)
    model = true_model(frames, masks)
    pictures = {side: discretise(model, side) for side in FRONT_FIRST}
    known = {side: picture for side, picture in pictures.items() if picture is not None}
    return Painted(frames, masks.astype(np.float32), dis_flow(frames, Silent()), model, known)


@pytest.fixture
def gpu() -> Iterator[FakeGpu]:
    with fake_gpu() as gpu:
        yield gpu


def guide_named(name: str) -> ClipGuide:
    """The embedded encoder, or one that takes the way of a ViT; on the GPU."""
    if name == "swatch":
        return load_guide("swatch", None, Silent()).to(CUDA)
    return tiny_clip.guide(tiny_clip.TINY).to(CUDA)


def trainer_of(dataset: Dataset, encoder: str) -> Trainer:
    return make_trainer(guide_named(encoder), PROMPTS, dataset, SETTINGS, CUDA, FP32)


def assert_only_the_first_step_waits(gpu: FakeGpu, trainer: Trainer, steps: int = 2) -> None:
    trainer.step()
    gpu.waits.clear()
    for _ in range(steps):
        trainer.step()
    assert gpu.waits == []
    drawn = trainer._draw(10.0)
    gpu.uploads.clear()
    trainer._forward_and_backward(drawn)
    assert gpu.uploads == []  # a recorded step would send the same again
    trainer.read()
    assert {wait.split(":")[0] for wait in gpu.waits} == {"value read"}
    assert all("training.py" in wait for wait in gpu.waits)
    assert len(trainer.history.terms) == steps + 1


# What is noted


def test_the_fake_gpu_notes_what_makes_a_real_one_wait(gpu: FakeGpu) -> None:
    x = torch.rand(4, 3, device=CUDA)
    assert x.device == CUDA
    waits = {
        "value read": lambda: float(x.sum()),
        "tensor read": x.cpu,
        "upload that waits": lambda: torch.ones(3).to(CUDA),
        "upload of 400000 bytes from ordinary memory": lambda: torch.ones(100_000).to(
            CUDA, non_blocking=True
        ),
        "nonzero reads a size": x.nonzero,
        "index on the CPU": lambda: x[torch.tensor([0, 2])],
        "index by a mask reads a size": lambda: _ignoring_what_it_cannot(lambda: x[x[:, 0] > 0]),
    }
    for what, work in waits.items():
        gpu.waits.clear()
        work()
        assert [wait.split(":")[0] for wait in gpu.waits] == [what]
    gpu.waits.clear()
    y = torch.ones(3).to(CUDA, non_blocking=True) + x * 2
    assert gpu.waits == []
    assert y.shape == (4, 3)
    with pytest.raises(RuntimeError, match="two"):
        x + torch.ones(4, 3)


def _ignoring_what_it_cannot(work: Callable[[], object]) -> None:
    with contextlib.suppress(RuntimeError):
        work()


# Steps


@pytest.mark.parametrize(("encoder", "masked"), [("swatch", True), ("vit", False)])
def test_a_step_on_a_picture(gpu: FakeGpu, encoder: str, masked: bool) -> None:
    picture = torch.rand(1, 3, 192, 256, device=CUDA)
    mask = torch.rand(1, 1, 192, 256, device=CUDA) if masked else None
    dataset = InternalDataset(Example(picture, mask), SETTINGS.dataset, augment=True)
    dataset.settings = dataclasses.replace(dataset.settings, jitter_p=1.0, whole_every=2)
    assert_only_the_first_step_waits(gpu, trainer_of(dataset, encoder))


def test_a_step_on_a_panorama(gpu: FakeGpu) -> None:
    picture = torch.rand(1, 3, 140, 1900, device=CUDA)
    dataset = InternalDataset(Example(picture, None), SETTINGS.dataset, augment=True)
    assert_only_the_first_step_waits(gpu, trainer_of(dataset, "vit"))


def test_a_step_on_a_clip(gpu: FakeGpu, painted: Painted) -> None:
    side = FOREGROUND
    atlas = WorkingAtlas.of(painted.pictures[side], 1.0, CUDA)
    footage = gather_footage(side, atlas, painted.frames, painted.model.locate)
    settings = dataclasses.replace(VIDEO_DATASET, jitter_p=1.0, whole_every=2)
    dataset = AtlasDataset(footage, settings, augment=True, max_pixels=30_000)
    assert_only_the_first_step_waits(gpu, trainer_of(dataset, "swatch"))


def test_a_step_on_frames(gpu: FakeGpu, painted: Painted) -> None:
    dataset = FramesDataset(painted.frames, VIDEO_DATASET, True, CUDA)
    assert_only_the_first_step_waits(gpu, trainer_of(dataset, "swatch"))


def copied(flow: Flow) -> Flow:
    """For a problem that changes it."""
    return Flow(*(part.copy() for part in flow))


def grid_problem(painted: Painted, max_frames: int = 96) -> Problem:
    settings = GridSettings(steps=20, samples=2_000, max_frames=max_frames)
    return GridProblem(painted.frames, painted.masks, copied(painted.flow), settings, CUDA)


def nla_problem(painted: Painted) -> Problem:
    problem = NlaProblem(painted.frames, painted.masks, painted.flow, QUICK_NLA, 0, CUDA)
    problem.prepare(Silent(), lambda: False)
    return problem


@pytest.mark.parametrize("make", [grid_problem, partial(grid_problem, max_frames=3), nla_problem])
def test_a_step_of_a_fit(
    gpu: FakeGpu, painted: Painted, make: Callable[[Painted], Problem]
) -> None:
    problem = make(painted)
    fitter = Fitter(problem, 20, 0, CUDA)
    fitter.step()
    gpu.waits.clear()
    for _ in range(3):
        fitter.step()
    assert gpu.waits == []
    assert "colour" in fitter.read()
    assert all("value read: fitting.py" in wait for wait in gpu.waits)


def test_the_losses_of_a_fit_are_read_every_25_steps(
    gpu: FakeGpu, monkeypatch: pytest.MonkeyPatch
) -> None:
    fitter = Fitter(Plain(), 60, 0, CUDA)  # type: ignore[arg-type]
    told = Told()
    fitter.run(told, lambda: False, lambda: None)
    assert told.steps == [25, 50, 60]
    reads = [wait for wait in gpu.waits if "fitting.py" in wait]
    assert len(reads) == 2 * 60  # of each step its term and whether it was finite, in three looks


@pytest.mark.parametrize("make", [GridProblem, NlaProblem])
def test_a_fit_computes_in_fp32_even_within_autocast(painted: Painted, make: type) -> None:
    cpu = torch.device("cpu")
    if make is GridProblem:
        settings = GridSettings(steps=2, samples=2_000)
        problem: Problem = GridProblem(
            painted.frames, painted.masks, copied(painted.flow), settings, cpu
        )
    else:
        problem = NlaProblem(painted.frames, painted.masks, painted.flow, QUICK_NLA, 0, cpu)
    plain = problem.loss(0, step_rng(0, 0))
    fitter = Fitter(problem, 2, 0, cpu)
    with torch.autocast("cpu", torch.bfloat16):
        fitter.step()
    assert fitter.read() == {name: float(value.detach()) for name, value in plain.items()}


class Plain:
    """A problem of one number."""

    def __init__(self) -> None:
        self.value = torch.zeros(1, device=CUDA, requires_grad=True)

    def parameter_groups(self) -> list[dict[str, object]]:
        return [{"params": [self.value], "lr": 0.1}]

    def rate(self, step: int) -> float:
        return 1.0

    def loss(self, step: int, rng: torch.Generator) -> dict[str, Tensor]:
        return {"colour": self.value.square().sum()}


class Told(Silent):
    """Remembers at which steps it was told of progress."""

    def __init__(self) -> None:
        self.steps: list[int] = []

    def advance(self, done: int, values: object = None) -> None:
        self.steps.append(done)


# Results


def models(painted: Painted) -> dict[str, AtlasModel]:
    nla = NlaModel(new_networks(16), SIZE, COUNT, 60)
    return {"grid": painted.model, "nla": nla}


@pytest.mark.parametrize("name", ["grid", "nla"])
@pytest.mark.parametrize("t", [1, 1.5])
def test_frames_are_located_and_rendered_where_the_model_is(
    gpu: FakeGpu, painted: Painted, name: str, t: float
) -> None:
    model = models(painted)[name].on(CUDA).closed()
    gpu.waits.clear()
    maps = model.locate(t, (100, 140))
    assert gpu.waits == []
    assert {values.device for values in maps} == {CUDA}
    textures = textures_of(model)
    layers = {side: Layer.of(painted.pictures[side]).on(CUDA) for side in FRONT_FIRST}
    gpu.waits.clear()
    frame = lay_over_frame(painted.frames[0, :100, :140], maps, layers)
    again = reconstruct(textures, maps)
    assert frame.shape == again.shape == (100, 140, 3)
    reads = [wait for wait in gpu.waits if "read" in wait]
    assert [wait.split(":")[0] for wait in reads] == ["tensor read"] * 2  # each frame, once


@pytest.mark.parametrize("size", [(192, 256), (210, 280), (400, 533), (150, 200)])
def test_a_layer_is_delivered_where_the_generator_is(gpu: FakeGpu, size: tuple[int, int]) -> None:
    generator = Generator(4).to(CUDA)
    source, working = (torch.rand(1, 3, *s, device=CUDA) for s in (size, (192, 256)))
    gpu.waits.clear()
    with torch.no_grad():
        layer = render_at(generator, source, working)
    assert gpu.waits == []
    assert {part.device for part in layer} == {CUDA}
    assert layer.alpha.shape == (1, 1, *size)


def test_the_gpu_bench_finds_nothing_that_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_bench, "LAYOUTS", ("auto", PLAIN))
    for row in gpu_bench.rows(gpu_bench.SMALL, (FP32,), (False,)):
        if row.name.startswith("edit-video"):  # as above, and slow
            continue
        with fake_gpu() as fake:
            assert gpu_bench.checked(row, fake, 1) == f"| {row.name} | nothing |"
