"""Seconds per step and peak memory of `edit-image`, part by part, as one Markdown table.

    python bench/edit_image.py PICTURE [--device cuda] [--steps 4] [--layout plain]

A ViT-B/32 with random weights costs what the trained one costs; the generator has 128 channels.
Every column is a process of its own, so that its peak memory is its own. The parts are measured
one by one (forward and backward) on the crops that the steps draw; "other" is the whole step less
their sum: internal dataset, compositing, optimiser. The peak is that of a step which adds the whole
picture, as the authors' is. `ONEDNN_MAX_CPU_ISA=AVX2 ATEN_CPU_CAPABILITY=avx2` before the command
has a processor with AVX-512 compute as if it had none.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from text2live_cli.config import CHANNELS_LAST, LAYOUTS
from text2live_cli.device import choose_device
from text2live_cli.engine.layout import machine

PARTS = ("generator", "views", "encoder", "relevancy", "structure", "other", "whole step")
# The authors' code on a 600×400 photo, 2 threads of an AMD EPYC (Zen 4), fp32.
AUTHORS = {
    (256, 4): {
        "generator": 2.18,
        "views": 0.14,
        "encoder": 2.80,
        "relevancy": 0.22,
        "structure": 0.44,
        "whole step": 5.9,
        "peak GiB": 4.8,
    },
    (512, 16): {
        "generator": 8.2,
        "views": 1.25,
        "encoder": 10.2,
        "relevancy": 0.20,
        "structure": 0.47,
        "whole step": 20.9,
        "peak GiB": 11.5,
    },
}

_SIZES = [f"{size}x{views}" for size, views in AUTHORS]


def measure(
    picture: Path, size: int, views: int, precision: str, device: str, steps: int, layout: str
) -> dict:
    """Mean seconds of every part over `steps` random crops, and the peak memory in GiB."""
    import open_clip
    import torch
    import torch.nn.functional as F

    from text2live_cli.config import resolve_settings
    from text2live_cli.device import (
        choose_precision,
        peak_memory_mib,
        prepare,
        wants_few_sizes,
    )
    from text2live_cli.engine.internal_dataset import InternalDataset
    from text2live_cli.engine.steps import step_rng
    from text2live_cli.engine.training import make_trainer
    from text2live_cli.guide import views as view_module
    from text2live_cli.guide.clip import ClipGuide, build_model
    from text2live_cli.guide.prompts import Prompts
    from text2live_cli.guide.relevancy import relevancy_map
    from text2live_cli.pipelines.image_scene import prepare_scene
    from text2live_cli.pipelines.options import ImageOptions
    from text2live_cli.pipelines.plans import plan_image
    from text2live_cli.progress import Silent

    torch.manual_seed(0)
    where = choose_device(device)
    prepare(where)
    how = choose_precision(precision, where)
    model = build_model("ViT-B-32-quickgelu")
    guide = ClipGuide(model, open_clip.get_tokenizer("ViT-B-32-quickgelu"), "random").to(where)
    settings = resolve_settings(
        "paper", "random", size=size, views=views, precision=precision, layout=layout
    )
    options = ImageOptions(picture, "golden cup", preset="paper", size=size)
    plan = plan_image(options, where.type, Silent())
    scene = prepare_scene(plan.picture, plan.working, where)
    prompts = Prompts("golden cup", "cup", "golden cup")
    few_sizes = wants_few_sizes(where)
    source = InternalDataset(scene.example, settings.dataset, True, few_sizes)
    trainer = make_trainer(guide, prompts, source, settings, where, how)
    objective, generator = trainer.objective, trainer.generator
    text = [objective.texts.roi_query]
    spent = dict.fromkeys(PARTS, 0.0)

    def timed(part: str, work: Callable[..., object], *arguments: object) -> None:
        begin = time.perf_counter()
        work(*arguments)
        if where.type == "cuda":
            torch.cuda.synchronize()
        spent[part] += (time.perf_counter() - begin) / steps

    def run_generator(crop: torch.Tensor) -> None:
        with how.autocast(where):
            layer = generator(crop)
        layer.backward(torch.rand_like(layer))

    def run_views(crop: torch.Tensor, seen: view_module.Views, made: list) -> None:
        edited = crop.clone().requires_grad_()
        both = torch.cat([view_module.apply_views(edited, seen) for _ in range(2)])
        with torch.no_grad():
            source = view_module.apply_views(crop, seen)
        both.sum().backward()
        made[:] = [both.detach(), source]

    def run_encoder(edited: torch.Tensor, source: torch.Tensor) -> None:
        guide.encode_views(edited.requires_grad_()).sum().backward()
        with torch.no_grad():
            guide.encode_views(source)

    def run_structure(crop: torch.Tensor) -> None:
        with torch.no_grad():
            source = guide.self_similarity(crop)
        edited = guide.self_similarity(crop.clone().requires_grad_())
        F.mse_loss(edited, source).backward()

    trainer.graphs = None  # whose parts cannot be timed
    trainer.done = 1  # not a step that adds the whole picture
    trainer.step()
    if where.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    for step in range(2, 2 + steps):
        trainer.done = step
        timed("whole step", trainer.step)
    trainer.done = settings.dataset.whole_every
    trainer.step()
    peak = (peak_memory_mib(where) or 0) / 1024
    for step in range(2, 2 + steps):
        crop = source.examples(step, step_rng(0, step)).shown[0].picture
        shape = crop.shape[2], crop.shape[3]
        seen = objective.draw_views(shape, step_rng(1, step)).to(where)
        made: list = []
        timed("generator", run_generator, crop)
        timed("views", run_views, crop, seen, made)
        timed("encoder", run_encoder, *made)
        timed("relevancy", relevancy_map, guide, crop, text)
        timed("structure", run_structure, crop)
    spent["other"] = spent["whole step"] - sum(spent[p] for p in PARTS[:5])
    return {**spent, "peak GiB": peak}


def main() -> None:
    """Run every column and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("picture", type=Path)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--precisions", default="fp32,bf16")
    parser.add_argument("--layout", choices=LAYOUTS[1:], default=CHANNELS_LAST)
    parser.add_argument("--sizes", nargs="+", choices=_SIZES, default=_SIZES)
    parser.add_argument("--column", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.column:
        size, views, precision = arguments.column.split("x")
        found = measure(
            arguments.picture,
            int(size),
            int(views),
            precision,
            arguments.device,
            arguments.steps,
            arguments.layout,
        )
        print(json.dumps(found))
        return
    print(f"{machine(choose_device(arguments.device))}, generator {arguments.layout}")
    for size, views in (map(int, row.split("x")) for row in arguments.sizes):
        columns = {"authors": AUTHORS[size, views]}
        for precision in arguments.precisions.split(","):
            command = [sys.executable, *sys.argv, "--column", f"{size}x{views}x{precision}"]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            columns[precision] = json.loads(done.stdout.splitlines()[-1])
        print_table(size, views, columns)


def print_table(size: int, views: int, columns: dict[str, dict[str, float]]) -> None:
    """One column for the authors' code and for each precision, with ratios to the authors'."""
    print(f"\n{size} px × {views} views, seconds per step (ratio to the authors' code)\n")
    print("| | " + " | ".join(columns) + " |")
    print("| --- |" + " ---: |" * len(columns))
    for row in (*PARTS, "peak GiB"):
        theirs = AUTHORS[size, views].get(row)
        cells = []
        for name, values in columns.items():
            value = values.get(row)
            text = "–" if value is None else f"{value:.2f}"
            if theirs and value is not None and name != "authors":
                text += f" ({value / theirs:.2f})"
            cells.append(text)
        print(f"| {row} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
