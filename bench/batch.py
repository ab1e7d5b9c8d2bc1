"""What a batch saves: drafts by a shell loop, by workers, by Ray; and how it bears many jobs.

    python bench/batch.py [--drafts 8] [--size 256] [--steps N] [--tiny 1000]

All figures are of one run, as ratios to the loop; each edit is of one painted picture with the
embedded encoder, another seed each.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from swatch_training.painter import paint_scene

from text2live_cli.media.picture_writing import write_picture

TEXT2LIVE = [sys.executable, "-m", "text2live_cli"]


def seconds_of(*words: str) -> float:
    """How long a command takes; it must pass."""
    begin = time.monotonic()
    subprocess.run([*TEXT2LIVE, *words], check=True, capture_output=True)
    return time.monotonic() - begin


def write_jobs(folder: Path, count: int) -> Path:
    """A jobs file of one picture with so many seeds."""
    path = folder / f"{count}.jsonl"
    rows = ({"source": "cup.png", "prompt": "golden cup", "seed": seed} for seed in range(count))
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def drafts(folder: Path, count: int, how: list[str]) -> None:
    """The same drafts in four ways."""
    edit = ["edit-image", "cup.png", "golden cup", *how]
    loop = sum(
        seconds_of(*edit, "--seed", str(seed), "-o", f"loop/{seed}") for seed in range(count)
    )
    print(f"loop of {count}: {loop:.0f} s")
    jobs = str(write_jobs(folder, count))
    one = 0.0
    for name, words in (
        ("--jobs 1", ["--jobs", "1"]),
        ("--jobs 2", ["--jobs", "2"]),
        ("--engine ray --jobs 2", ["--engine", "ray", "--jobs", "2"]),
    ):
        out = name.replace(" ", "")
        seconds = seconds_of("batch", jobs, *how, *words, "-o", out)
        one = one or seconds
        print(f"batch {name}: {seconds:.0f} s, {loop / seconds:.2f} × the loop, ", end="")
        print(f"{one / seconds:.2f} × --jobs 1")
        records = [json.loads(path.read_text()) for path in Path(out).glob("*/run.json")]
        starts = sorted(record["seconds"]["preparation"] for record in records)
        print(f"  before the first step: {statistics.median(starts):.2f} s (median of its jobs)")


def many(folder: Path, count: int, how: list[str]) -> None:
    """Jobs of two steps: memory of the parent, and how soon a finished batch says so."""
    for number in (count // 10, count):
        jobs = str(write_jobs(folder, number))
        words = ["batch", jobs, *how, "--steps", "2", "--jobs", "2", "-o", f"tiny{number}"]
        program = (
            "import resource, sys; from text2live_cli.__main__ import main; import atexit;"
            "atexit.register(lambda: print('RSS', resource.getrusage(0).ru_maxrss)); main()"
        )
        begin = time.monotonic()
        run = subprocess.run(
            [sys.executable, "-c", program, *words], check=True, capture_output=True, text=True
        )
        took = time.monotonic() - begin
        memory = int(run.stdout.split("RSS")[1]) / 1024
        again = seconds_of(*words)
        print(f"{number} tiny jobs: {took:.0f} s, parent {memory:.0f} MB; again: {again:.1f} s")


def main() -> None:
    """Run all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--drafts", type=int, default=8)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--steps", type=int)
    parser.add_argument("--tiny", type=int, default=1000)
    given = parser.parse_args()
    how = ["--clip", "swatch", "--preset", "draft"]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rgb, _ = paint_scene([("cup", "red")], "wooden table", 0, (given.size, given.size * 5 // 4))
        write_picture(folder / "cup.png", rgb)
        with_steps = ["--steps", str(given.steps)] if given.steps else []
        os.chdir(folder)
        if given.drafts:
            drafts(folder, given.drafts, [*how, "--size", str(given.size), *with_steps])
        if given.tiny:
            many(folder, given.tiny, [*how, "--size", "192", "--views", "1"])


if __name__ == "__main__":
    main()
