"""Seconds per step and frames per second on a CUDA GPU, as one Markdown table.

    python bench/gpu.py [--steps 20]

A step of `edit-image` (preset paper, 512×512, 16 views), of `edit-video` (432×768, 6 views) and of
the grid fit, and laying two layers over frames. A ViT-B/32 with random weights costs what the
trained one costs; the clip is painted. Steps are measured kernel by kernel and as graphs
(`engine.graphs`). Without a GPU, the same runs on CUDA tensors without values
(tests/fake_gpu.py), smaller, and the table says what would make a GPU wait: a check, no figures.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import itertools
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from swatch_training.moving import paint_clip

from tests.fake_gpu import CUDA, FakeGpu, fake_gpu
from tests.moving_truth import true_model
from text2live_cli.atlas.discretise import discretise
from text2live_cli.atlas.fit.fitting import Fitter
from text2live_cli.atlas.fit.flow import dis_flow
from text2live_cli.atlas.fit.grid_fit import GridProblem
from text2live_cli.atlas.fit.settings import GridSettings
from text2live_cli.atlas.layers import FOREGROUND, LAYERS
from text2live_cli.atlas.render import Layer, lay_over_frame
from text2live_cli.config import LAYOUTS, EditSettings, resolve_settings, resolve_video_settings
from text2live_cli.device import (
    BF16,
    FP32,
    Precision,
    prepare,
)
from text2live_cli.engine.internal_dataset import Example, InternalDataset
from text2live_cli.engine.steps import Dataset
from text2live_cli.engine.training import Trainer, make_trainer
from text2live_cli.guide.clip import ClipGuide, build_model
from text2live_cli.guide.prompts import Prompts
from text2live_cli.pipelines import video
from text2live_cli.progress import Silent
from text2live_cli.video.dataset import AtlasDataset
from text2live_cli.video.footage import WorkingAtlas, gather_footage

VIT = "ViT-B-32-quickgelu"
PROMPTS = Prompts("golden cat", "cat", "golden cat")
WARM_UP = 3  # rounds before the clock runs
GRAPHS_WARM_UP = 60  # steps, until crops of most sizes were seen twice and are recorded


class Scale(NamedTuple):
    """How large everything is."""

    picture: int
    """Side of the square picture."""
    frame: tuple[int, int]
    """Height and width of the clip."""
    frames: int


REAL, SMALL = Scale(512, (432, 768), 24), Scale(192, (144, 208), 5)


class Row(NamedTuple):
    """One line of the table: what is done in a round, and how many results that gives."""

    name: str
    prepare: Callable[[], Callable[[], object]]
    per_second: str = ""
    """The unit of a rate; empty for seconds per round."""
    warm_up: int = WARM_UP


def rows(
    scale: Scale, precisions: tuple[Precision, ...], recorded: tuple[bool, ...]
) -> Iterator[Row]:
    """All that is measured, nothing of it made yet; steps as graphs too, where `recorded`."""
    for precision, layout, graphs in itertools.product(precisions, LAYOUTS[1:], recorded):
        how = f"{precision.name}, {layout}" + ", graphs" * graphs
        warm_up = GRAPHS_WARM_UP if graphs else WARM_UP
        for name, made in (
            (f"edit-image step, {scale.picture}²", picture_trainer),
            (f"edit-video step, {scale.frame[0]}×{scale.frame[1]}", clip_trainer),
        ):
            work = functools.partial(_stepping, made, scale, precision, layout, graphs)
            yield Row(f"{name}, {how}", work, warm_up=warm_up)
    yield Row("grid fit step, fp32", lambda: grid_fitter(scale).step)
    yield Row(f"rendering {scale.frame[0]}×{scale.frame[1]}", lambda: renderer(scale), "frames/s")


def _stepping(made: Callable[..., Trainer], *how: object) -> Callable[[], object]:
    """Steps of a trainer, made now; an error where graphs are asked for and refused."""
    trainer = made(*how)

    def step() -> None:
        trainer.step()
        if trainer.graphs and trainer.graphs.refused is not None:
            raise RuntimeError(f"no graphs: {trainer.graphs.refused}")

    return step


def picture_trainer(scale: Scale, precision: Precision, layout: str, graphs: bool) -> Trainer:
    """As `edit_image` makes it."""
    settings = resolve_settings("paper", "random", layout=layout, graphs=graphs)
    picture = torch.rand(1, 3, scale.picture, scale.picture).to(CUDA)
    dataset = InternalDataset(Example(picture, None), settings.dataset, True, few_sizes=True)
    return trainer(dataset, settings, precision)


def clip_trainer(scale: Scale, precision: Precision, layout: str, graphs: bool) -> Trainer:
    """As `edit_video` makes it, for the foreground."""
    settings = resolve_video_settings("paper", "random", True, layout=layout, graphs=graphs)
    frames, masks = painted(scale)
    model = true_model(frames, masks)
    picture = discretise(model, FOREGROUND)
    assert picture is not None
    working = WorkingAtlas.of(picture, 1.0, CUDA)
    footage = gather_footage(FOREGROUND, working, frames, model.locate)
    dataset = AtlasDataset(footage, settings.dataset, True, few_sizes=True)
    return trainer(dataset, settings, precision)


def trainer(dataset: Dataset, settings: EditSettings, precision: Precision) -> Trainer:
    import open_clip

    guide = ClipGuide(build_model(VIT), open_clip.get_tokenizer(VIT), "random").to(CUDA)
    made = make_trainer(guide, PROMPTS, dataset, settings, CUDA, precision, video.VIEWS)
    made.done = 1  # step 0 adds the whole picture
    return made


def grid_fitter(scale: Scale) -> Fitter:
    """As `fit_atlas` makes it."""
    frames, masks = painted(scale)
    flow = dis_flow(frames, Silent())
    problem = GridProblem(frames, masks.astype(np.float32), flow, GridSettings(), CUDA)
    return Fitter(problem, GridSettings.steps, 0, CUDA)


def renderer(scale: Scale) -> Callable[[], object]:
    """Two full layers over one frame after the other."""
    frames, masks = painted(scale)
    model = true_model(frames, masks)
    pictures = {side: discretise(model, side) for side in range(len(LAYERS))}
    layers = {side: Layer.of(p).on(CUDA) for side, p in pictures.items() if p is not None}
    there = model.on(CUDA).closed()
    numbers = iter(range(10**9))

    def one() -> object:
        t = next(numbers) % len(frames)
        return lay_over_frame(frames[t], there.locate(t), layers)

    return one


def painted(scale: Scale) -> tuple[np.ndarray, np.ndarray]:
    return paint_clip(
        "cat", "leopard", "checkered table", frames=scale.frames, size=scale.frame, seed=3
    )


def timed(row: Row, rounds: int) -> str:
    """A line of figures."""
    work = row.prepare()
    torch.cuda.reset_peak_memory_stats()
    for _ in range(row.warm_up):
        work()
    torch.cuda.synchronize()
    begin = time.perf_counter()
    for _ in range(rounds):
        work()
    torch.cuda.synchronize()
    seconds = (time.perf_counter() - begin) / rounds
    figure = f"{1 / seconds:.1f} {row.per_second}" if row.per_second else f"{seconds:.4f} s"
    return f"| {row.name} | {figure} | {torch.cuda.max_memory_reserved() / 2**30:.2f} |"


def checked(row: Row, gpu: FakeGpu, rounds: int) -> str:
    """A line of what would make a GPU wait after the first round."""
    work = row.prepare()
    work()
    gpu.waits.clear()
    for _ in range(rounds):
        work()
    allowed = ("tensor read", "upload") if row.per_second else ()  # a frame comes and goes
    waits = [wait for wait in gpu.waits if not wait.startswith(allowed or "-")]
    return f"| {row.name} | {'; '.join(sorted(set(waits))) or 'nothing'} |"


def main() -> int:
    """Print the table; 1 where the check finds something to wait for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=20)
    asked = parser.parse_args()
    torch.manual_seed(0)
    if torch.cuda.is_available():
        prepare(CUDA)
        print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}, TF32 off\n")
        print("| | time | peak GiB |\n| --- | ---: | ---: |")
        for row in rows(REAL, (FP32, BF16), (False, True)):
            print(timed(row, asked.steps), flush=True)
        return 0
    print("no CUDA device here: a check on tensors without values, no figures\n")
    print("| | makes a GPU wait |\n| --- | --- |")
    lines = []
    for row in rows(SMALL, (FP32,), (False,)):
        with contextlib.ExitStack() as stack:
            lines.append(checked(row, stack.enter_context(fake_gpu()), 1))
        print(lines[-1], flush=True)
    return int(not all(line.endswith("| nothing |") for line in lines))


if __name__ == "__main__":
    sys.exit(main())
