"""Seconds per step, rendered frames per second, and a whole `edit-video`, as one Markdown table.

    python bench/edit_video.py [--atlas-dir DIR] [--preset paper] [--encoder vit] [--device cuda]

Both layers of car-turn are edited. The steps are those of the trainer itself: first as they are,
then with a clock around each part, which on a GPU waits for it ("backward" includes that of the
render; "other" is the zeroing of gradients and what lies between). "render" is the final one:
decode, look up, composite, without encoding. The whole run is the command in a process of its own,
and read from its run.json. Without `--atlas-dir` the clip is fitted first, which is not counted.
`--encoder vit` takes a ViT-B/32 with random weights, which costs what the trained one costs.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from itertools import takewhile
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple
from unittest import mock

import torch
from fit_atlas import CLIPS, MEDIA, RENDER_SECONDS, fit
from safetensors.torch import save_file

from text2live_cli.atlas.layers import FOREGROUND, LAYERS
from text2live_cli.atlas.store import read_atlas
from text2live_cli.config import PRESET_NAMES, resolve_video_settings
from text2live_cli.device import choose_device, choose_precision, prepare
from text2live_cli.engine.training import Trainer, make_trainer
from text2live_cli.guide.clip import build_model, load_guide
from text2live_cli.guide.prompts import Prompts
from text2live_cli.media.clips import open_clip
from text2live_cli.pipelines import video
from text2live_cli.pipelines.checks import SIDES
from text2live_cli.progress import Silent
from text2live_cli.video.scene import AtlasScene, prepare_atlas_scene

VIT = "ViT-B-32-quickgelu"
PROMPTS = {
    "fg": Prompts("rusty car", "car", "rusty car"),
    "bg": Prompts("snowy grass", "grass", "snowy grass"),
}
PARTS = ("generator", "crops, atlas lookups", "objective", "backward", "optimiser")
WARM_UP = 3  # steps


class Bench(NamedTuple):
    """What is measured, and with what."""

    clip: Path
    atlas_dir: Path
    preset: str
    encoder: str
    """As in `--clip`."""
    weights: Path | None
    device: str

    def train(self, layer: str) -> tuple[Trainer, AtlasScene]:
        """A fresh trainer for "fg" or "bg", as `edit_video` makes it."""
        device = choose_device(self.device)
        prepare(device)
        side = LAYERS.index(SIDES[layer])
        settings = resolve_video_settings(
            self.preset, self.encoder, side == FOREGROUND, device=self.device
        )
        scene = prepare_atlas_scene(
            open_clip(self.clip), read_atlas(self.atlas_dir), side, settings, device, Silent()
        )
        guide = load_guide(self.encoder, self.weights, Silent()).to(device)
        trainer = make_trainer(
            guide,
            PROMPTS[layer],
            scene.dataset(settings),
            settings,
            device,
            choose_precision(settings.precision, device),
            video.VIEWS,
        )
        return trainer, scene


class Stopwatch:
    """Sums the seconds of the calls that it is put around."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.spent: dict[str, float] = defaultdict(float)

    def around(self, part: str, work: Callable[..., Any]) -> Callable[..., Any]:
        """`work`, its seconds added to those of `part`."""

        def timed(*arguments: Any, **options: Any) -> Any:
            begin = self.now()
            result = work(*arguments, **options)
            self.spent[part] += self.now() - begin
            return result

        return timed

    def now(self) -> float:
        """The clock, when the device has done all that was asked of it."""
        if self.device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter()


def time_steps(trainer: Trainer, steps: int) -> dict[str, float]:
    """Mean seconds of a step and of its parts; the trainer is not to be trained on after it."""
    trainer.graphs = None  # whose parts cannot be timed
    trainer.done = 1  # step 0 adds the whole atlas
    for _ in range(WARM_UP):
        trainer.step()
    watch = Stopwatch(trainer.device)

    def train() -> None:
        for _ in range(steps):
            trainer.step()

    watch.around("whole step", train)()
    trainer.done -= steps  # the parts are those of the same steps

    cut = watch.around("crops, atlas lookups", trainer.dataset.examples)

    def examples(step: int, rng: torch.Generator) -> Any:
        shown = cut(step, rng)
        return SimpleNamespace(sizes=shown.sizes, render=watch.around("render", shown.render))

    objective: Any = watch.around("objective", trainer.objective)
    objective.draw = watch.around("objective", trainer.objective.draw)
    objective.weights_of = trainer.objective.weights_of
    timed: dict[str, Any] = {
        "dataset": SimpleNamespace(examples=examples),
        "generator": watch.around("generator", trainer.generator),
        "objective": objective,
        "optimizer": SimpleNamespace(
            zero_grad=trainer.optimizer.zero_grad,
            step=watch.around("optimiser", trainer.optimizer.step),
        ),
    }
    backward = watch.around("backward", torch.Tensor.backward)
    with (
        mock.patch.multiple(trainer, **timed),
        mock.patch.object(torch.Tensor, "backward", backward),
    ):
        watch.around("timed step", train)()
    seconds = {part: value / steps for part, value in watch.spent.items()}
    seconds["crops, atlas lookups"] += seconds.pop("render") - seconds["generator"]
    seconds["other"] = seconds.pop("timed step") - sum(seconds[part] for part in PARTS)
    return {part: seconds[part] for part in (*PARTS, "other", "whole step")}


def time_render(trainer: Trainer, scene: AtlasScene) -> float:
    """Frames per second of the clip under the edit, over green, and of the layer alone."""
    frames = scene.edit(trainer).frames()
    next(frames)  # opens the file, and warms up
    begin = time.perf_counter()
    in_time = takewhile(lambda _: time.perf_counter() - begin < RENDER_SECONDS, frames)
    done = sum(1 for _ in in_time)
    return done / (time.perf_counter() - begin)


def run_command(bench: Bench, layer: str, steps: int | None, folder: Path) -> dict[str, float]:
    """Run `text2live edit-video`; the seconds of its parts, and its peak memory in GiB."""
    prompts = PROMPTS[layer]
    command = [sys.executable, "-m", "text2live_cli", "edit-video", str(bench.clip)]
    command += [prompts.target, "--roi", prompts.roi, "--atlas", layer, "--quiet"]
    command += ["--atlas-dir", str(bench.atlas_dir), "--output", str(folder / layer)]
    command += ["--preset", bench.preset, "--device", bench.device, "--clip", bench.encoder]
    if bench.weights:
        command += ["--clip-weights", str(bench.weights)]
    if steps:
        command += ["--steps", str(steps)]
    begin = time.perf_counter()
    subprocess.run(command, check=True)
    whole = time.perf_counter() - begin
    record = json.loads((folder / layer / "run.json").read_text("utf-8"))
    seconds = record["seconds"]
    return {
        "steps": record["steps_done"],
        "preparation, s": seconds["preparation"],
        "training, s": seconds["training"],
        "result, s": seconds["result"],
        "whole process, s": whole,
        "peak memory, GiB": (record["peak_memory_mib"] or float("nan")) / 1024,
    }


def measure(bench: Bench, layer: str, steps: int, whole_steps: int | None, folder: Path) -> dict:
    """One column of the table, as text."""
    trainer, scene = bench.train(layer)
    size = scene.frames.shape[1:3]
    column = {
        "frames": f"{len(scene.frames)} of {size[1]}×{size[0]}",
        "atlas": "×".join(str(side) for side in reversed(scene.working.color.shape[2:])),
    }
    parts = time_steps(trainer, steps)
    column.update({f"{part}, s per step": f"{value:.3f}" for part, value in parts.items()})
    column["render, frames/s"] = f"{time_render(trainer, scene):.1f}"
    del trainer, scene  # the command has the memory for itself
    whole = run_command(bench, layer, whole_steps, folder)
    for name, value in whole.items():
        digits = 0 if name == "steps" else 2 if "GiB" in name else 1
        column[name] = f"{value:.{digits}f}"
    return column


def print_table(columns: dict[str, dict[str, str]]) -> None:
    """A row for every figure and a column for every layer."""
    print("| | " + " | ".join(columns) + " |")
    print("| --- |" + " ---: |" * len(columns))
    for row in next(iter(columns.values())):
        print(f"| {row} | " + " | ".join(column[row] for column in columns.values()) + " |")


def main() -> None:
    """Measure both layers and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--media", type=Path, default=MEDIA, help="folder with car-turn.mp4")
    parser.add_argument("--atlas-dir", type=Path, help="of car-turn; default: it is fitted first")
    parser.add_argument("--preset", choices=PRESET_NAMES, default="draft")
    parser.add_argument("--encoder", choices=("swatch", "vit"), default="swatch")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--layers", nargs="+", choices=PROMPTS, default=list(PROMPTS))
    parser.add_argument("--steps", type=int, default=10, help="to measure the parts on")
    parser.add_argument("--whole-steps", type=int, help="of the whole run; default: the preset's")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        atlas_dir, weights = asked.atlas_dir, None
        if atlas_dir is None:
            atlas_dir = folder / "car-turn.atlas"
            fit(CLIPS["car-turn"], asked.media, atlas_dir, asked.device, None)
        if asked.encoder == "vit":
            weights = folder / "random.safetensors"
            torch.manual_seed(0)
            state = build_model(VIT).state_dict()
            save_file({key: value.contiguous() for key, value in state.items()}, weights)
        encoder = f"{VIT}/openai" if weights else asked.encoder
        clip = asked.media / CLIPS["car-turn"].clip
        bench = Bench(clip, atlas_dir, asked.preset, encoder, weights, asked.device)
        columns = {
            layer: measure(bench, layer, asked.steps, asked.whole_steps, folder)
            for layer in asked.layers
        }
        device = choose_device(asked.device)
        threads = "" if device.type == "cuda" else f", {torch.get_num_threads()} threads"
        print(f"{asked.preset}, {asked.encoder}, on {device.type}{threads}\n")
        print_table(columns)


if __name__ == "__main__":
    main()
