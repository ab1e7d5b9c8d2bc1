"""Seconds, memory and quality of `fit-atlas` on two clips, as one Markdown table.

    python bench/fit_atlas.py [--media FOLDER] [--device cuda] [--render] [--against-nla 20]

Every clip is fitted by the command itself, in a process of its own, and the table is read from its
run.json: car-turn from the clip alone, tennis with its rough masks. `--render` adds the frames per
second of laying two full layers over the clip. `--against-nla` fits the published networks for so
many minutes to 20 small frames of car-turn, and says how soon the grid model is as good.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

MEDIA = Path(__file__).resolve().parents[2] / "shared" / "media"


class Source(NamedTuple):
    """A clip of the media folder, and its masks."""

    clip: str
    masks: str | None


CLIPS = {"car-turn": Source("car-turn.mp4", None), "tennis": Source("tennis", "tennis-masks")}
SMALL: dict[str, Any] = {"frames": "0:20", "size": 160}  # of car-turn, for the published networks
PRETRAINING = 10  # rounds, of the published 100: the clip has 20 frames, not 70
CHECK_EVERY = 5  # steps of the grid between looks at its PSNR
RENDERED = {"cpu": [(240, 432)], "cuda": [(240, 432), (432, 768)]}  # heights and widths
RENDER_SECONDS = 5.0


# The command, as a user runs it


def fit(source: Source, media: Path, folder: Path, device: str, steps: int | None) -> dict:
    """Run `text2live fit-atlas` into `folder`; its record, and the seconds of the whole process."""
    command = [sys.executable, "-m", "text2live_cli", "fit-atlas", str(media / source.clip)]
    command += ["--output", str(folder), "--device", device, "--quiet"]
    if source.masks:
        command += ["--masks", str(media / source.masks)]
    if steps:
        command += ["--steps", str(steps)]
    begin = time.perf_counter()
    subprocess.run(command, check=True)
    seconds = time.perf_counter() - begin
    return {**json.loads((folder / "run.json").read_text("utf-8")), "whole": seconds}


def table(runs: dict[str, dict]) -> str:
    """A row for every figure and a column for every clip."""
    lines = ["| | " + " | ".join(runs) + " |", "| --- |" + " ---: |" * len(runs)]
    columns = [figures(run) for run in runs.values()]
    for name in columns[0]:
        lines.append(f"| {name} | " + " | ".join(column[name] for column in columns) + " |")
    return "\n".join(lines)


def figures(run: dict[str, Any]) -> dict[str, str]:
    """What the table says of one run; "–" for what it has not measured."""
    seconds, quality = run["seconds"], run["quality"]
    height, width = run["size"]
    drift, folded = quality["drift"], quality["folded"]
    return {
        "frames": str(len(run["frames"])),
        "size": f"{width}×{height}",
        "foreground from": run["foreground"]["source"],
        "model": run["settings"]["model"],
        "steps": str(run["steps_done"]),
        "seconds, whole process": _number(run["whole"], 1),
        "optical flow": _number(seconds.get("flow"), 1),
        "foreground": _number(seconds.get("foreground"), 1),
        "fit": _number(seconds["fit"], 1),
        "measuring, result": _number(seconds["result"], 1),
        "peak memory, MiB": _number(run["peak_memory_mib"], 0),
        "PSNR, mean, dB": _number(quality["psnr_mean"], 1),
        "PSNR, worst frame, dB": _number(quality["psnr_worst"], 1),
        "flow consistency, foreground, px": _number(drift.get("foreground"), 2),
        "flow consistency, background, px": _number(drift.get("background"), 2),
        "flow consistency, together, px": _number(quality.get("drift_together"), 2),
        "folded, foreground": _share(folded.get("foreground")),
        "folded, background": _share(folded.get("background")),
        "verdict": run["verdict"][0].partition(":")[0],
    }


def _number(value: float | None, digits: int) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.2%}"


# Rendering


def render(folder: Path, device: str) -> str:
    """Frames per second of an atlas in `folder`, with every pixel of both layers half painted."""
    import numpy as np

    from text2live_cli.atlas.discretise import discretise
    from text2live_cli.atlas.layers import LAYERS
    from text2live_cli.atlas.render import Layer, lay_over_frame
    from text2live_cli.atlas.store import read_atlas
    from text2live_cli.device import choose_device

    where = choose_device(device)
    atlas = read_atlas(folder)
    layers = {}
    for side in range(len(LAYERS)):
        picture = discretise(atlas.model, side)
        if picture is not None:
            picture.rgba[..., 3] //= 2
            layers[side] = Layer.of(picture).on(where)
    atlas = atlas.on(where)
    numbers = [n for n in range(atlas.facts.first, 1_000_000) if atlas.covers(n)]
    lines = []
    for size in RENDERED.get(where.type, RENDERED["cpu"]):
        frame = np.full((*size, 3), 128, np.uint8)
        done, begin = 0, 0.0
        while done < 3 or time.perf_counter() - begin < RENDER_SECONDS:
            if done == 2:  # the first ones warm up
                begin = time.perf_counter()
            lay_over_frame(frame, atlas.locate(numbers[done % len(numbers)], size), layers)
            done += 1
        rate = (done - 2) / (time.perf_counter() - begin)
        lines.append(f"{size[1]}×{size[0]}: {rate:.1f} frames/s on {where.type}")
    return "\n".join(lines)


# The published networks against the grid


def against_nla(media: Path, device: str, minutes: float) -> str:
    """How much sooner the grid has the PSNR that the published networks have after `minutes`.

    Both start from the same frames, flow and masks. The networks get the time of their pre-training
    on top, the grid's start is counted as part of its time; measuring the PSNR is counted for
    neither. On a CPU it is CPU seconds that count: run it with one thread. The networks' PSNR is
    that of the networks themselves, the grid's that of its textures.
    """
    from text2live_cli.atlas.fit.fitting import Fitter
    from text2live_cli.atlas.fit.grid_fit import GridProblem
    from text2live_cli.atlas.fit.nla_losses import NlaProblem
    from text2live_cli.atlas.fit.settings import GridSettings, NlaSettings
    from text2live_cli.device import choose_device, prepare
    from text2live_cli.progress import Silent

    where = choose_device(device)
    clock = time.process_time if where.type == "cpu" else time.perf_counter
    prepare(where)
    frames, masks, flow = _material(media, where)
    begin = clock()
    settings = replace(NlaSettings(), pretraining_rounds=PRETRAINING)
    slow = NlaProblem(frames, masks, flow, settings, 0, where)
    fitter = Fitter(slow, NlaSettings.steps, 0, where)
    slow.prepare(Silent(), lambda: False)
    pretraining = clock() - begin
    end = clock() + 60 * minutes
    while fitter.done < fitter.steps and clock() < end:
        fitter.step()
    goal = _mean_psnr(lambda t: _rounded(slow.model.reconstruct(t)), frames)

    begin = clock()
    quick = GridProblem(frames, masks, flow, GridSettings(), where)
    racer = Fitter(quick, GridSettings.steps, 0, where)
    spent, reached = clock() - begin, _grid_psnr(quick.model, frames)
    start = f"{reached:.1f} dB after {spent:.1f} s"
    while reached < goal and racer.done < racer.steps:
        begin = clock()
        for _ in range(CHECK_EVERY):
            racer.step()
        spent += clock() - begin
        reached = _grid_psnr(quick.model, frames)
    height, width = quick.size
    lines = [
        f"{len(frames)} frames of {width}×{height}, {where.type}",
        f"nla:  {goal:.1f} dB after {60 * minutes:.0f} s, {fitter.done} steps"
        f" (and {pretraining:.0f} s of pre-training before)",
        f"grid: {reached:.1f} dB after {spent:.1f} s, {racer.done} steps (its start: {start})",
        f"ratio {60 * minutes / spent:.0f}" if reached >= goal else "not reached",
    ]
    return "\n".join(lines)


def _material(media: Path, where: Any) -> tuple[Any, Any, Any]:
    """Frames, masks and flow of the small clip."""
    from text2live_cli.atlas.fit.inputs import read_material
    from text2live_cli.atlas.fit.settings import FitSettings, choose_span, working_size
    from text2live_cli.media.clips import open_clip
    from text2live_cli.progress import Silent

    settings = FitSettings(**SMALL)
    clip = open_clip(media / CLIPS["car-turn"].clip)
    span, size = choose_span(settings, clip), working_size(clip, settings, where)
    with tempfile.TemporaryDirectory() as folder:
        found = read_material(clip, span, settings, size, Path(folder), where, Silent())
    return found.frames, found.foreground.masks, found.flow


def _mean_psnr(shown: Callable[[int], Any], frames: Any) -> float:
    from text2live_cli.atlas.fit.measure import psnr_of

    return sum(psnr_of(shown(t), frame) for t, frame in enumerate(frames)) / len(frames)


def _grid_psnr(model: Any, frames: Any) -> float:
    from text2live_cli.atlas.render import reconstruct, textures_of

    textures = textures_of(model)
    return _mean_psnr(lambda t: reconstruct(textures, model.locate(t)), frames)


def _rounded(picture: Any) -> Any:
    """A tensor (h, w, 3) in [0, 1] as 8 bits."""
    return (picture.clamp(0, 1) * 255).round().byte().cpu().numpy()


@contextmanager
def _results(kept: Path | None) -> Iterator[Path]:
    if kept is None:
        with tempfile.TemporaryDirectory() as folder:
            yield Path(folder)
    else:
        kept.mkdir(parents=True)  # a new one: an old flow in it would not be computed again
        yield kept


def main() -> None:
    """Fit the clips and print what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--media", type=Path, default=MEDIA, help="folder with car-turn.mp4, …")
    parser.add_argument("--clips", nargs="*", choices=CLIPS, default=list(CLIPS))
    parser.add_argument("--steps", type=int, help="of the fits in the table; default: the model's")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--keep", type=Path, help="a new folder to keep the results in")
    parser.add_argument("--render", action="store_true", help="also measure rendering")
    parser.add_argument("--against-nla", type=float, metavar="MINUTES")
    asked = parser.parse_args()
    with _results(asked.keep) as folder:
        runs = {
            name: fit(CLIPS[name], asked.media, folder / f"{name}.atlas", asked.device, asked.steps)
            for name in asked.clips
        }
        if runs:
            print(f"{next(iter(runs.values()))['device']}\n\n{table(runs)}", flush=True)
        if asked.render:
            for name in runs:
                print(f"\nrendering {name}, both layers painted all over", flush=True)
                print(render(folder / f"{name}.atlas", asked.device), flush=True)
    if asked.against_nla:
        print(f"\n{against_nla(asked.media, asked.device, asked.against_nla)}")


if __name__ == "__main__":
    main()
