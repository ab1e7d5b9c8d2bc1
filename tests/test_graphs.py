"""Steps that are recorded and repeated whole: they are the steps themselves, or are not used.

CUDA's graphs cannot be had here; `fake_graphs` repeats operations as they do, with their values.
"""

from __future__ import annotations

import dataclasses
import gc
import itertools
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from swatch_training.moving import paint_clip
from torch import Tensor

from tests import tiny_clip
from tests.fake_graphs import FakeRecorder
from tests.moving_truth import true_model
from text2live_cli.atlas.discretise import discretise
from text2live_cli.atlas.layers import FRONT_FIRST, Side
from text2live_cli.config import (
    MIN_SIDE,
    VIDEO_DATASET,
    DatasetSettings,
    EditSettings,
    resolve_settings,
)
from text2live_cli.device import FP32
from text2live_cli.endings import Stop
from text2live_cli.engine import graphs
from text2live_cli.engine.graphs import MOST, Graphs, Values
from text2live_cli.engine.internal_dataset import (
    SIZE_STEP,
    Example,
    InternalDataset,
    crop_sizes,
)
from text2live_cli.engine.steps import Dataset, step_rng
from text2live_cli.engine.training import Trainer, make_trainer
from text2live_cli.guide.clip import load_guide
from text2live_cli.guide.prompts import Prompts
from text2live_cli.progress import Silent
from text2live_cli.video.dataset import AtlasDataset
from text2live_cli.video.footage import WorkingAtlas, gather_footage

CPU = torch.device("cpu")
STEPS = 8
PROMPTS = Prompts("golden cup", "cup", "golden cup", keep=("table",))
SETTINGS = resolve_settings("draft", "swatch", channels=4, views=2, steps=STEPS)
SETTINGS = dataclasses.replace(
    SETTINGS, schedule=dataclasses.replace(SETTINGS.schedule, bootstrap_fades=True)
)
FEW = DatasetSettings(jitter_p=0.5, whole_every=2)


@pytest.fixture
def recorders(monkeypatch: pytest.MonkeyPatch) -> list[FakeRecorder]:
    """Steps are recorded on the CPU too; every trainer's recorder, in their order."""
    made: list[FakeRecorder] = []

    def recorder() -> FakeRecorder:
        made.append(FakeRecorder())
        return made[-1]

    monkeypatch.setattr(graphs, "CudaRecorder", recorder)
    monkeypatch.setattr(EditSettings, "uses_graphs", lambda self, device: self.graphs)
    return made


# Steps


def picture_dataset(region: bool) -> Dataset:
    rng = torch.Generator().manual_seed(0)
    whole = Example(torch.rand(1, 3, 150, 150, generator=rng))
    if region:
        target = torch.zeros(1, 1, 150, 150)
        target[..., 40:120, 60:110] = 1
        whole = whole._replace(limit=target, target=target)
    return InternalDataset(whole, FEW, True, few_sizes=True)


def clip_dataset(side: Side) -> Dataset:
    frames, masks = paint_clip("cat", "leopard", "checkered table", frames=5, size=(144, 200))
    model = true_model(frames, masks)
    picture = discretise(model, side)
    assert picture is not None
    atlas = WorkingAtlas.of(picture, 1.0, CPU)
    footage = gather_footage(side, atlas, frames, model.locate)
    settings = dataclasses.replace(VIDEO_DATASET, jitter_p=0.5, whole_every=100)
    return AtlasDataset(footage, settings, True, 30_000, few_sizes=True)


DATASETS: dict[str, Callable[[], Dataset]] = {
    "picture": lambda: picture_dataset(False),
    "region": lambda: picture_dataset(True),
    "foreground": lambda: clip_dataset(FRONT_FIRST[0]),
    "background": lambda: clip_dataset(FRONT_FIRST[1]),
}


def trainer_of(dataset: Dataset, encoder: str, recorded: bool) -> Trainer:
    settings = dataclasses.replace(SETTINGS, graphs=recorded)
    if encoder == "swatch":
        guide = load_guide("swatch", None, Silent())
    else:
        guide = tiny_clip.guide(tiny_clip.TINY)
    return make_trainer(guide, PROMPTS, dataset, settings, CPU, FP32)


@pytest.mark.parametrize(
    ("shown", "encoder"),
    [("picture", "vit"), ("region", "swatch"), ("foreground", "vit"), ("background", "swatch")],
)
def test_recorded_steps_are_the_steps_themselves(
    recorders: list[FakeRecorder], shown: str, encoder: str
) -> None:
    trainer = trainer_of(DATASETS[shown](), encoder, True)
    gradient = trainer.optimizer.gradient
    for step in range(STEPS):
        drawn = trainer._draw(10.0 - step / 2)
        values = {name: float(value) for name, value in trainer._pass(drawn).items()}
        repeated = gradient.clone()
        plain = trainer._forward_and_backward(drawn)
        # A graph's own tensors have no gaps in memory, so that some sums round otherwise, which
        # gradients at kinks make more of. A chance that is not given changes them by half.
        assert values == pytest.approx({n: float(x) for n, x in plain.items()}, rel=1e-3, abs=1e-6)
        assert float((repeated - gradient).norm()) < 1e-2 * float(gradient.norm())
        trainer.optimizer.step(trainer.learning_rate)
        trainer.done += 1
    (recorder,) = recorders
    assert trainer.graphs is not None
    assert trainer.graphs.refused is None
    assert sum(recorder.repeats) - len(recorder.repeats) >= 2  # one of each is for the comparison


def test_other_arithmetic_is_recorded_anew(recorders: list[FakeRecorder]) -> None:
    trainer = trainer_of(picture_dataset(True), "swatch", True)
    first = trainer.graphs
    for _ in range(4):
        trainer.step()
    trainer.use_fp32()
    assert trainer.graphs is not None
    assert trainer.graphs is not first
    assert trainer.graphs.count == 0
    assert len(recorders) == 2


def test_a_trainer_ends_with_its_last_reference(recorders: list[FakeRecorder]) -> None:
    """What a GPU's memory is full of shall not wait for Python to look for cycles."""
    trainer = trainer_of(picture_dataset(True), "swatch", True)
    for _ in range(4):
        trainer.step()
    trainer.read()
    gone = weakref.ref(trainer)
    gc.disable()
    try:
        del trainer
        assert gone() is None
    finally:
        gc.enable()


def test_a_run_counts_its_graphs_and_lets_them_go(recorders: list[FakeRecorder]) -> None:
    trainer = trainer_of(picture_dataset(True), "swatch", True)
    trainer.run(Silent(), Stop(), lambda: None)
    assert trainer.graphs is None
    assert trainer.recorded == len(recorders[-1].repeats) > 0


def test_a_run_tells_once_that_it_goes_without(
    recorders: list[FakeRecorder], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Heard(Silent):
        def __init__(self) -> None:
            self.messages: list[str] = []

        def message(self, text: str) -> None:
            self.messages.append(text)

    def refuse() -> FakeRecorder:
        def recorder(work: Callable[[], Values]) -> Any:
            raise RuntimeError("CUDA error: operation not permitted\nCompile with …")

        return recorder  # type: ignore[return-value]

    plain = trainer_of(picture_dataset(True), "swatch", False)
    plain.run(Silent(), Stop(), lambda: None)
    monkeypatch.setattr(graphs, "CudaRecorder", refuse)
    heard, trainer = Heard(), trainer_of(picture_dataset(True), "swatch", True)
    trainer.run(heard, Stop(), lambda: None)
    assert heard.messages == [
        "steps go to the GPU kernel by kernel: CUDA error: operation not permitted"
    ]
    assert trainer.graphs is None
    assert trainer.history == plain.history


# Whatever is recorded


def work_on(gradient: Tensor, factors: Iterator[float]) -> Callable[[Any], Values]:
    """Scalars and a gradient of what is given, times a factor that only Python knows."""

    def work(given: Any) -> Values:
        x = given[0] * next(factors)
        gradient.zero_()
        gradient.add_(x.sum())
        return {"sum": x.sum(), "mean": x.mean()}

    return work


def test_what_changes_without_being_given_is_found_out() -> None:
    gradient = torch.zeros(3)
    changing, work = Graphs(gradient, FakeRecorder()), work_on(gradient, itertools.count(1.0))
    for number in range(1, 3):
        changing(work, [torch.ones(4)])
        assert gradient.tolist() == [4.0 * number] * 3  # the step's own, not the recording's
    assert changing.refused is not None
    assert "gradient off by 50.0%, terms by 4" in changing.refused
    assert changing.count == 0


def test_a_graph_that_does_nothing_is_found_out() -> None:
    gradient = torch.zeros(3)

    def idle(work: Callable[[], Values]) -> tuple[Callable[[], None], Values]:
        return lambda: None, work()

    made, work = Graphs(gradient, idle), work_on(gradient, itertools.repeat(1.0))
    for _ in range(3):
        assert float(made(work, [torch.ones(4)])["sum"]) == 4
    assert made.refused is not None


@pytest.mark.parametrize("wrong", ["gradient", "mean"])
def test_a_graph_that_does_half_of_it_is_found_out(wrong: str) -> None:
    gradient = torch.zeros(3)
    work = work_on(gradient, itertools.repeat(1.0))

    def half(record: Callable[[], Values]) -> tuple[Callable[[], None], Values]:
        outputs = record()
        places = {"gradient": gradient, **outputs}
        right = {name: place.clone() for name, place in places.items()}

        def repeat() -> None:
            for name, place in places.items():
                place.copy_(right[name] * (1.1 if name == wrong else 1))

        return repeat, outputs

    made = Graphs(gradient, half)
    for _ in range(3):
        assert float(made(work, [torch.full((4,), 0.1)])["mean"]) == pytest.approx(0.1)
        assert gradient.tolist() == pytest.approx([0.4] * 3)
    assert made.refused is not None
    assert made.count == 0


def test_what_reads_a_value_is_not_recorded() -> None:
    gradient = torch.zeros(3)

    def work(given: Tensor) -> Values:
        gradient.fill_(float(given.sum()))
        return {"sum": given.sum()}

    made = Graphs(gradient, FakeRecorder())
    for number in range(1, 5):
        assert float(made(work, torch.full((2,), float(number)))["sum"]) == 2 * number
        assert gradient.tolist() == [2.0 * number] * 3
    assert made.refused == "operation not permitted when stream is capturing"


def test_a_graph_serves_what_has_its_shapes_and_fixed_values() -> None:
    gradient, recorder = torch.zeros(3), FakeRecorder()
    made, work = Graphs(gradient, recorder), work_on(gradient, itertools.repeat(2.0))
    four, square = torch.ones(4), torch.ones(2, 2)
    kinds = [(four, 1, None), (four, 2, None), (square, 1, None), (four.double(), 1, None)]
    kinds += [(four, 1, [square]), (four, 1, (square,))]
    for times in range(1, 5):
        for number, (x, *rest) in enumerate(kinds):
            given = (x * (number + times), *rest)
            assert float(made(work, given)["sum"]) == 8 * (number + times)
            assert gradient.tolist() == [8.0 * (number + times)] * 3
    assert made.count == len(kinds)
    assert recorder.repeats == [3] * len(kinds)  # to compare, and the third and fourth time


def test_steps_that_are_not_finite_are_no_measure() -> None:
    gradient = torch.zeros(3)
    made, work = Graphs(gradient, FakeRecorder()), work_on(gradient, itertools.repeat(1.0))
    for value in (1.0, float("nan"), float("inf")):
        made(work, [torch.full((4,), value)])
    assert made.count == 0
    assert made.refused is None
    made(work, [torch.ones(4)])
    assert made.count == 1


def test_there_are_only_so_many_graphs() -> None:
    gradient = torch.zeros(3)
    made, work = Graphs(gradient, FakeRecorder()), work_on(gradient, itertools.repeat(1.0))
    for _ in range(3):
        for size in range(1, MOST + 4):
            assert float(made(work, [torch.ones(size)])["sum"]) == size
    assert made.count == MOST


# Few sizes


@given(height=st.integers(150, 900), width=st.integers(150, 2000), seed=st.integers(0, 2**20))
def test_crops_of_pictures_have_four_sizes(height: int, width: int, seed: int) -> None:
    settings = DatasetSettings()
    sizes = crop_sizes((height, width), settings)
    assert 1 <= len(sizes) <= 4
    rows = torch.linspace(0, 1, height)[:, None].expand(height, width)
    columns = torch.linspace(0, 1, width).expand(height, width)
    picture = torch.stack([rows, columns, rows])[None]
    dataset = InternalDataset(Example(picture, picture[:, :1]), settings, True, few_sizes=True)
    (example,) = dataset.examples(1, step_rng(0, seed)).shown
    assert example.picture.shape[2:] in sizes
    assert example.limit is not None
    assert example.limit.shape[2:] == example.picture.shape[2:]
    for axis, side in ((2, height), (3, width)):
        length = example.picture.shape[axis]
        assert length % SIZE_STEP == 0
        assert length >= MIN_SIDE
        # How much of the side is seen, and at which scale: near what is drawn otherwise, but for
        # sides that are hardly larger than the least crop.
        lines = example.picture[0, axis - 2].amax() - example.picture[0, axis - 2].amin()
        assert float(lines) > (0.6 if min(height, width) > 400 else 0.45)
        if min(height, width) > 400:
            assert 0.7 < length / (float(lines) * side) < 1.5


def test_four_sizes_are_enough_for_a_hundred_steps() -> None:
    dataset = InternalDataset(Example(torch.rand(1, 3, 512, 683)), FEW, True, few_sizes=True)
    seen = [dataset.examples(step, step_rng(0, step)).sizes[0] for step in range(1, 100)]
    assert len(set(seen)) == 4
    assert min(map(seen.count, seen)) >= 8


@pytest.mark.parametrize("side", FRONT_FIRST)
def test_crops_of_clips_have_few_sizes(side: Side) -> None:
    dataset = clip_dataset(side)
    assert isinstance(dataset, AtlasDataset)
    frame, atlas = dataset.footage.size, dataset.footage.atlas.color.shape[2:]
    kinds = set()
    for step in range(1, 60):
        shown = dataset.examples(step, step_rng(0, step))
        draw = dataset.draw(step_rng(0, step))
        place = dataset._atlas_box(draw.times, dataset.frame_boxes(draw))
        for sides, most, by in (
            (shown.sizes[0], frame, SIZE_STEP),
            ((place.height, place.width), atlas, 2 * SIZE_STEP),
        ):
            assert all(a % by == 0 or a == b for a, b in zip(sides, most, strict=True))
        kinds.add((shown.sizes[0], shown.crops.atlas.picture.shape, shown.direct))
    assert len(kinds) <= 8
