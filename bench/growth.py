"""How time and memory grow: with pixels, views, steps, layers, and the frames of a clip.

    python bench/growth.py [--only pixels frames …] [--frames 20 75 150 300 600] [--size 432x768]

Each row is one command in a process of its own, on pictures and clips that are painted for it:
seconds and peak memory of the whole process. Few steps, so that what is not training shows.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from swatch_training.moving import paint_clip
from swatch_training.painter import paint_scene

from text2live_cli.media.clip_writing import write_video
from text2live_cli.media.picture_writing import write_picture

DRAFT = ("--clip", "swatch", "--preset", "draft")
MEGAPIXELS = (0.25, 1, 4, 12, 24)
VIEWS, STEPS, LAYERS = (2, 6, 12, 24), (5, 10, 20, 40), (1, 2, 4, 8)
FRAMES, SIZE = (20, 75, 150, 300, 600), (432, 768)


class Row(NamedTuple):
    """One command's cost."""

    amount: str
    command: str
    seconds: float
    gib: float


def cost(amount: str, *words: object) -> Row:
    """Run a command to its end."""
    line = [sys.executable, "-m", "text2live_cli", *map(str, words), "--overwrite"]
    begin = time.monotonic()
    process = subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    assert process.stderr is not None
    told = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{' '.join(line)}\n{told.decode(errors='replace')[-2000:]}")
    seconds, kib = time.monotonic() - begin, usage.ru_maxrss
    return Row(amount, str(words[0]), seconds, kib / 2**20)


def paint(name: str, megapixels: float = 0.25) -> str:
    """A scene of that size, with the grain that photos have."""
    small, _ = paint_scene([("cup", "red")], "wooden table", 3, (432, 576))
    height = round((megapixels * 1e6 * 3 / 4) ** 0.5)
    large = cv2.resize(small, (height * 4 // 3, height), interpolation=cv2.INTER_CUBIC)
    grain = np.random.default_rng(0).integers(-4, 5, large.shape)
    write_picture(Path(name), (large + grain).clip(0, 255).astype(np.uint8))
    return name


def by_pixels() -> Iterator[Row]:
    """A draft of three steps."""
    for megapixels in MEGAPIXELS:
        picture = paint("large.png", megapixels)
        options = (*DRAFT, "--steps", 3, "-o", "out")
        yield cost(f"{megapixels:g} MP", "edit-image", picture, "golden cup", *options)


def by_views() -> Iterator[Row]:
    """A draft of ten steps."""
    picture = paint("cup.png")
    for views in VIEWS:
        options = (*DRAFT, "--steps", 10, "--views", views, "-o", "out")
        yield cost(f"{views} views", "edit-image", picture, "golden cup", *options)


def by_steps() -> Iterator[Row]:
    """A draft."""
    picture = paint("cup.png")
    for steps in STEPS:
        options = (*DRAFT, "--steps", steps, "-o", "out")
        yield cost(f"{steps} steps", "edit-image", picture, "golden cup", *options)


def by_layers() -> Iterator[Row]:
    """`composite` of 12 megapixels."""
    picture = paint("large.png", 12)
    cost("", "edit-image", picture, "golden cup", *DRAFT, "--steps", 2, "-o", "layer")
    for count in LAYERS:
        layers = ["layer"] * count
        yield cost(f"{count} layers", "composite", picture, *layers, "-o", "out.png")


def by_frames(counts: Sequence[int], size: tuple[int, int]) -> Iterator[Row]:
    """The fit, with rough masks and few steps, and a draft of two steps on it."""
    for count in counts:
        frames, masks = paint_clip("boat", "red", "sea", 12, count, size)
        write_video(Path("clip.mp4"), frames, Fraction(24))
        write_video(
            Path("masks.mp4"),
            (np.repeat(255 * m[..., None], 3, 2) for m in masks.astype(np.uint8)),
            Fraction(24),
        )
        del frames, masks
        shutil.rmtree("clip.atlas", ignore_errors=True)
        amount = f"{count} frames"
        yield cost(amount, "fit-atlas", "clip.mp4", "--masks", "masks.mp4", "--steps", 50)
        options = (*DRAFT, "--steps", 2, "--any-atlas", "-o", "out")
        yield cost(amount, "edit-video", "clip.mp4", "golden boat", *options)


def main() -> None:
    """Print one table for each kind of growth."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--only", nargs="+", default=["pixels", "views", "steps", "layers", "frames"]
    )
    parser.add_argument("--frames", type=int, nargs="+", default=FRAMES)
    parser.add_argument("--size", default="x".join(map(str, SIZE)), help="of the clip: HxW")
    asked = parser.parse_args()
    height, width = map(int, asked.size.split("x"))
    kinds: dict[str, Callable[[], Iterator[Row]]] = {
        "pixels": by_pixels,
        "views": by_views,
        "steps": by_steps,
        "layers": by_layers,
        "frames": lambda: by_frames(asked.frames, (height, width)),
    }
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        for name in asked.only:
            print(f"\n| {name} | command | s | peak GiB |\n| --- | --- | ---: | ---: |", flush=True)
            for row in kinds[name]():
                print(
                    f"| {row.amount} | {row.command} | {row.seconds:.1f} | {row.gib:.2f} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
