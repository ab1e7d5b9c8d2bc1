"""Kills each long command at random moments, goes on with --resume, and compares the bytes.

    python bench/kills.py --kills 20 --terms 10

Every command runs once undisturbed; then `kill -9`, and SIGTERM, end it at a moment drawn from the
time that this took from its first checkpoint on (with --start: from its start on), until it has
ended well. What it leaves must be what the undisturbed run left,
byte for byte; of videos the decoded frames, and of records and reports, which hold seconds, what
the training was. Paints its own small inputs; needs no weights.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np
from swatch_training.moving import paint_clip
from swatch_training.painter import paint_scene

from text2live_cli.media.clips import open_clip
from text2live_cli.media.picture_writing import write_picture
from text2live_cli.runs.folder import CHECKPOINT, RECORD

SWATCH = ("--clip", "swatch", "--preset", "draft", "--views", "1")
COMMANDS = {
    "edit-image": ("edit-image", "cup.png", "golden cup", *SWATCH, "--steps", "40"),
    "fit-atlas": ("fit-atlas", "clip", "--masks", "masks", "--steps", "240"),
    "edit-video": (
        *("edit-video", "clip", "golden cat", *SWATCH, "--steps", "25"),
        *("--atlas-dir", "kept.atlas", "--any-atlas", "--layer-format", "none"),
    ),
}
SECONDS_INSIDE = (RECORD, "report.html")  # files that tell how long things took
TOO_LATE = "had ended before"  # and was not killed: another one is
MAX_RUNS = 5  # of one command, until it has ended well


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=20, help="kill -9 of each command")
    parser.add_argument("--terms", type=int, default=10, help="SIGTERM of each command")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--start", action="store_true", help="also before the first checkpoint")
    parser.add_argument("--only", choices=COMMANDS, action="append")
    asked = parser.parse_args()
    rng = random.Random(asked.seed)
    with tempfile.TemporaryDirectory() as folder:
        inputs = paint_inputs(Path(folder))
        for name in asked.only or COMMANDS:
            whole, first, last = undisturbed(inputs, name)
            print(f"{name}: {last:.1f} s undisturbed, {first:.1f} to its checkpoint", flush=True)
            span = (0.0 if asked.start else first, last)
            for number, times in ((signal.SIGKILL, asked.kills), (signal.SIGTERM, asked.terms)):
                ended = list[str]()
                while len(ended) - ended.count(TOO_LATE) < times and ended.count(TOO_LATE) < times:
                    ended.append(one(inputs, name, number, whole, span, rng))
                counted = ", ".join(f"{n} {what}" for what, n in Counter(ended).most_common())
                print(
                    f"{name}: {len(ended)} × {signal.Signals(number).name}: {counted}", flush=True
                )


def paint_inputs(folder: Path) -> Path:
    """A picture, and a clip with masks and an atlas."""
    rgb, _ = paint_scene([("cup", "red")], "wooden table", 3, (96, 128))
    write_picture(folder / "cup.png", rgb)
    frames, masks = paint_clip("cat", "leopard", "mossy wall", 3, 6, (136, 160))
    for name, pictures in (("clip", frames), ("masks", masks.astype(np.uint8) * 255)):
        (folder / name).mkdir()
        for i, picture in enumerate(pictures):
            write_picture(folder / name / f"{i:05d}.png", picture)
    fitted = (*COMMANDS["fit-atlas"][:-1], "60", "-o", "kept.atlas")
    assert start(folder, fitted).wait() == 0
    return folder


def undisturbed(inputs: Path, name: str) -> tuple[dict[str, bytes], float, float]:
    """What the command leaves; the seconds to its first checkpoint, and to its end."""
    begin = time.monotonic()
    process = start(inputs, (*COMMANDS[name], "-o", "whole"))
    while process.poll() is None and not (inputs / "whole" / CHECKPOINT).exists():
        time.sleep(0.02)
    first = time.monotonic() - begin
    assert process.wait() == 0
    seconds = time.monotonic() - begin
    files = taken(inputs / "whole")
    shutil.rmtree(inputs / "whole")
    return files, first, seconds


def one(
    inputs: Path,
    name: str,
    number: signal.Signals,
    whole: dict[str, bytes],
    span: tuple[float, float],
    rng: random.Random,
) -> str:
    """Run, kill, and go on until the command has ended well; in words, what came of it."""
    output = inputs / "out"
    command = (*COMMANDS[name], "-o", "out")
    process = start(inputs, command)
    try:
        process.wait(rng.uniform(*span))
        killed = False
    except subprocess.TimeoutExpired:
        process.send_signal(number)
        killed = process.wait() != 0
    if killed and number == signal.SIGTERM and process.returncode not in (143, -signal.SIGTERM):
        return f"ended with {process.returncode} WRONG"
    begun = (output / CHECKPOINT).exists()
    for _ in range(MAX_RUNS if killed else 0):
        resume = ("--resume",) if (output / CHECKPOINT).exists() else ()
        if start(inputs, (*command, *resume)).wait() == 0:
            break
    else:
        if killed:
            return "never ended well WRONG"
    found = taken(output)
    stays = sum(path.name.startswith(".") for path in output.iterdir())
    shutil.rmtree(output)
    strange = sorted(n for n in found.keys() | whole.keys() if found.get(n) != whole.get(n))
    if strange:
        return f"other bytes in {', '.join(strange)} WRONG"
    if not killed:
        return TOO_LATE
    told = "resumed to the same bytes" if begun else "begun anew, to the same bytes"
    return told + (", but a temporary file stays" if stays else "")


def start(folder: Path, command: tuple[str, ...]) -> subprocess.Popen[bytes]:
    """The command, quiet, in `folder`."""
    line = [sys.executable, "-m", "text2live_cli", *command, "--quiet"]
    alone = {**os.environ, "OMP_NUM_THREADS": "1"}  # else measured, and not always as many
    return subprocess.Popen(line, cwd=folder, stderr=subprocess.DEVNULL, env=alone)


def taken(folder: Path) -> dict[str, bytes]:
    """The files of a result; of those that tell seconds, what the training was."""
    paths = [p for p in folder.rglob("*") if p.is_file() and not p.name.startswith(".")]
    files = {p.relative_to(folder).as_posix(): p.read_bytes() for p in paths}
    for name in [name for name in files if name.endswith(".mp4")]:  # H.264 bytes are not promised
        frames = b"".join(frame.tobytes() for frame in open_clip(folder / name).frames())
        files[name] = hashlib.sha256(frames).digest()
    record = json.loads(files[RECORD])
    kept = {name: record.get(name) for name in ("steps_done", "interrupted", "quality")}
    for name in SECONDS_INSIDE:
        files.pop(name, None)
    return {**files, RECORD: json.dumps(kept).encode()}


if __name__ == "__main__":
    main()
