"""Hundreds of bad invocations of all commands, from lists and a seed, and what must hold for each.

    python -m tests.bad_invocations [--count 400] [--seed 0]

makes them, each in a process of its own (forked, since importing torch takes seconds), and counts
what came of them. A test runs forty. Not for Windows, which has no fork.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple, NoReturn

import huggingface_hub
import numpy as np
import open_clip

from text2live_cli.cli import commands
from text2live_cli.guide import weights
from text2live_cli.guide.swatch import model
from text2live_cli.media.clip_writing import write_video
from text2live_cli.media.picture_writing import write_picture
from text2live_cli.pipelines import fit, image, video

IMPORTED_BEFORE = (fit, image, video, weights, model, open_clip, huggingface_hub)
"""What the commands import when they need it: once here, not in every fork."""
EXIT_CODES = {1, 2}
"""Of a command that is refused; 70 would be a fault, and 0 would be none."""
MOST_SECONDS = 60
MOST_BYTES = 4 * 2**30
COUNT = 400

NUMBERS = ("-1", "0", "nan", "inf", "1e999", "x", "", "9" * 30, "9" * 5000, "1.5.2", "0x10", "½")
WHOLE = ("--size", "--steps", "--views", "--save-every", "--seed")
FILES = ("empty.png", "cut.png", "text.png", "folder", "missing.png", "fifo.png", "tiny.png")
CLIPS = ("empty.mp4", "cut.mp4", "text.mp4", "missing.mp4", "fifo.mp4", "list.m3u8", "folder")
TENSORS = ("empty.safetensors", "text.safetensors", "folder", "missing.safetensors", "cup.png")
WORDS = ("", "   ", "quantum bagpipe", "\x1b[31m", "\n\n")
BOXES = ("1,2", "0,0,9999,9999", "-1,0,5,5", "a,b,c,d", "1,1,8,8@99", "9" * 5000 + ",1,1,1", "")
SPANS = ("x", "5:2", "0:1", "9:99", "-1:3", "9" * 5000 + ":", ":" * 9)
NAMES = ("ViT-B-23/openai", "", "../../etc/passwd", "swatchh", "RN50/openai", "a/b/c")
CHOICES = {
    "--preset": ("drafty", "", "PAPER"),
    "--device": ("gpu", "cuda:99", ""),
    "--precision": ("fp8", "fp16"),
    "--text-distance": ("euclid", ""),
}
QUICK = ("--clip", "swatch", "--preset", "draft", "--views", "1", "--steps", "1")
EDIT = ("edit-image", "cup.png", "golden cup")
FILM = ("edit-video", "clip", "golden cup")
FIT = ("fit-atlas", "clip", "--steps", "1")


class Outcome(NamedTuple):
    """What came of one invocation."""

    arguments: tuple[str, ...]
    code: int
    seconds: float
    peak: int
    """Bytes."""
    faults: tuple[str, ...]


def single() -> Iterator[tuple[str, ...]]:
    """One thing that is wrong in each."""
    for base in (EDIT, FILM):
        for flag, value in itertools.product(WHOLE, NUMBERS):
            if not (flag == "--seed" and value == "0"):
                yield (*base, *QUICK, flag, value)
        for flag, value in itertools.product(("--minutes", "--lambda-screen"), NUMBERS):
            if not (flag == "--lambda-screen" and value == "0"):
                yield (*base, *QUICK[:-2], flag, value)
        yield (*base, *QUICK, "--views", "4096", "--size", "4096", "--preset", "paper")
        for flag, values in CHOICES.items():
            yield from ((*base, *QUICK, flag, value) for value in values)
        yield from ((*base, *QUICK[2:], "--clip", name) for name in NAMES)
        for file in TENSORS:
            yield (*base, *QUICK[2:], "--clip", "ViT-B-32-quickgelu", "--clip-weights", file)
        for flag, text in itertools.product(("--roi", "--screen", "--also", "--keep"), WORDS):
            yield (*base, *QUICK, flag, text)
        yield from ((*base[:2], text, *QUICK) for text in WORDS)
        yield (*base, *QUICK, "--overwrite", "--resume")
        yield (*base, *QUICK, "--resume")
        yield (*base, *QUICK, "--minutes", "1")
        yield from ((*base, *QUICK, "-o", name) for name in ("text.png", "o" * 300, "/proc/no"))
        yield (*base, *QUICK, "--no-such-option")
    yield from (("edit-image", file, "golden cup", *QUICK) for file in FILES)
    yield from ((*EDIT, *QUICK, "--mask", file) for file in FILES)
    yield from (("edit-video", file, "golden cup", *QUICK) for file in CLIPS)
    yield from of_fits()
    yield from of_layers()
    yield from of_lifts()
    yield from of_looks()
    yield from of_many()
    yield from of_weights()


def of_fits() -> Iterator[tuple[str, ...]]:
    """fit-atlas, and what edit-video hands to it."""
    yield from (("fit-atlas", file) for file in CLIPS)
    for flag, value in itertools.product(("--size", "--steps", "--every", "--seed"), NUMBERS):
        if not (flag == "--seed" and value == "0"):
            yield ("fit-atlas", "clip", flag, value)
    yield from ((*FIT, "--box", box) for box in BOXES if box)
    yield from ((*FIT, "--frames", span) for span in SPANS)
    yield from ((*FIT, "--masks", file) for file in (*FILES, *CLIPS))
    yield from ((*FIT, "--foreground", text, "--clip", "swatch") for text in WORDS if text)
    yield from ((*FIT, "--import", file) for file in TENSORS)
    yield from ((*FIT, "--model", "nla", "--export-nla", name) for name in ("folder", "no/x.pt"))
    yield (*FIT, "--export-nla", "x.pt")
    yield from ((*FIT, "--flow-dir", file) for file in ("folder", "missing", "cup.png"))
    yield from ((*FIT, "--flow", "farneback"), (*FIT, "--model", "voxels"), (*FIT, "--resume"))
    yield (*FIT, "--box", "1,1,9,9", "--masks", "folder")
    yield (*FIT, "-o", "clip")
    yield (*FILM, *QUICK, "--atlas", "middle")
    yield (*FILM, *QUICK, "--layer-format", "gif")
    yield (*FILM, *QUICK, "--baseline", "none")
    yield from ((*FILM, *QUICK, "--atlas-dir", name) for name in ("folder", "missing", "cup.png"))
    yield from ((*FILM, *QUICK, "--onto", name) for name in ("folder", "missing"))


def of_layers() -> Iterator[tuple[str, ...]]:
    """composite, of pictures and of clips."""
    layer = ("composite", "cup.png", "layer.png")
    yield from ((*layer, "-o", "new.png", "--opacity", n) for n in NUMBERS if n != "0")
    outputs = ("new.gif", "new", "no/new.png", "folder", "cup.png", "n" * 300 + ".png", "")
    yield from ((*layer, "-o", name) for name in outputs)
    yield from (("composite", file, "layer.png", "-o", "new.png") for file in FILES)
    yield from (("composite", "cup.png", file, "-o", "new.png") for file in FILES)
    yield from (layer, ("composite", "cup.png", "-o", "new.png"))
    yield ("composite", "cup.png", "cup.png", "-o", "new.png")
    yield from (("composite", "clip", "--bg-layer", f, "-o", "new.mp4") for f in FILES)
    edits = ("0:missing.png", "x:layer.png", "99:layer.png", "9" * 5000 + ":layer.png", "0:", "")
    yield from (("composite", "clip", "--frame-edit", e, "-o", "new.mp4") for e in edits if e)
    yield ("composite", "clip", "--bg-layer", "layer.png", "-o", "new.avi")
    yield ("composite", "clip", "--bg-layer", "layer.png", "-o", "clip", "--overwrite")


def of_lifts() -> Iterator[tuple[str, ...]]:
    """lift, with everything that is no pair of pictures."""
    yield from (("lift", "cup.png", file, "-o", "new") for file in FILES)
    yield from (("lift", file, "cup.png", "-o", "new") for file in FILES)
    pair = ("lift", "cup.png", "layer.png", "-o", "new")
    for flag in ("--strength", "--feather", "--min-area"):
        yield from ((*pair, flag, number) for number in NUMBERS if number.startswith("-"))
    yield from (("lift", "cup.png"), (*pair, "--box", "x"), (*pair, "--point", "9999,9999"))


def of_looks() -> Iterator[tuple[str, ...]]:
    """region, preview, apply and export-maps."""
    for command in (("region",), ("preview",)):
        yield from ((*command, file, "golden cup", "--clip", "swatch") for file in FILES)
        yield from ((*command, "cup.png", text, "--clip", "swatch") for text in WORDS[1:])
        look = (*command, "cup.png", "golden cup", "--clip", "swatch")
        yield from ((*look, "--box", box) for box in BOXES)
        yield from ((*look, flag, "9%,101%") for flag in ("--point", "--not"))
        yield (*look, "--not", "1,1")
        yield from ((*look, "--mask", file) for file in FILES)
    yield from (("apply", folder, "cup.png") for folder in ("folder", "missing", "cup.png", ""))
    yield from (("apply", "folder"), ("apply", "folder", "cup.png", "--region", "best"))
    yield from (("export-maps", name) for name in ("folder", "missing", "cup.png", *CLIPS))


def of_many() -> Iterator[tuple[str, ...]]:
    """batch and report."""
    jobs = ("jobs.csv", "empty.csv", "text.csv", "missing.csv", "cup.png", "folder", "fifo.mp4")
    yield from (("batch", file, "--clip", "swatch") for file in jobs)
    product = ("batch", "--images", "cup.png", "--prompt", "golden cup", "--clip", "swatch")
    yield from ((*product, "--jobs", number) for number in NUMBERS)
    yield from ((*product, "--shard", part) for part in ("", "0/2", "3/2", "x", "1/0", "-1/2"))
    yield from ((*product, "--name", name) for name in ("x", "../{stem}", "{", "{steps}"))
    yield from ((*product, "--store", place) for place in ("", "folder", "no://where"))
    yield from ((*product, "--out", place) for place in ("cup.png", "o" * 300))
    yield (*product, "--engine", "slurm")
    yield from (("batch", "--images", name, "--prompt", "x") for name in ("no*.png", "", "["))
    yield from (("report", name) for name in ("folder", "missing", "cup.png", "fifo.png"))
    yield ("report", "folder", "-o", "cup.png")


def of_weights() -> Iterator[tuple[str, ...]]:
    """weights, and no command at all."""
    for command, name in itertools.product(("path", "verify", "fetch"), NAMES):
        yield ("weights", command, name)
    yield from (("weights", "verify", "swatch"), ("weights", "lst"), ("weights", "fetch"))
    yield from (("edit-picture", "cup.png", "golden cup"), ("--no-such-option",), ("edit-image",))


def invocations(seed: int, count: int) -> list[tuple[str, ...]]:
    """`count` of them, drawn by `seed`; some have two things wrong, or are asked for JSON."""
    rng = random.Random(seed)
    all_of_them = list(dict.fromkeys(single()))
    rng.shuffle(all_of_them)
    edits = [line for line in all_of_them if line[:3] == EDIT]
    mixed = [(*a, *b[3:]) for a, b in zip(edits, edits[7:], strict=False)][: count // 8]
    chosen = (all_of_them + mixed)[:count] if count > len(all_of_them) else all_of_them[:count]
    return [
        (*line, "--json") if line[0] == "edit-image" and rng.random() < 0.2 else line
        for line in chosen
    ]


def paint_folder(folder: Path) -> Path:
    """Good files, and one of each kind of bad ones."""
    rng = np.random.default_rng(0)
    picture = rng.integers(0, 255, (64, 80, 3), dtype=np.uint8)
    write_picture(folder / "cup.png", picture)
    write_picture(folder / "layer.png", picture, picture[..., 0])
    write_picture(folder / "tiny.png", picture[:1, :1])
    (folder / "clip").mkdir()
    (folder / "folder").mkdir()
    for i in range(3):
        write_picture(folder / "clip" / f"{i}.png", np.roll(picture, i, axis=1))
    write_video(folder / "film.mp4", [picture] * 3, Fraction(25))
    for ending, whole in ((".png", "cup.png"), (".mp4", "film.mp4"), (".safetensors", "cup.png")):
        data = (folder / whole).read_bytes()
        (folder / f"empty{ending}").touch()
        (folder / f"cut{ending}").write_bytes(data[: len(data) // 2])
        (folder / f"text{ending}").write_text("nothing of the kind")
        if ending != ".safetensors":
            os.mkfifo(folder / f"fifo{ending}")
    (folder / "empty.csv").touch()
    (folder / "text.csv").write_text("nothing of the kind")
    (folder / "jobs.csv").write_text("source,prompt\nmissing.png,golden cup\n")
    (folder / "list.m3u8").write_text("#EXTM3U\n#EXTINF:1,\nfilm.mp4\n")
    return folder


def tree(folder: Path) -> dict[str, str]:
    """Every path with the digest of what is there."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        if path.is_file()
        else "no file"
        for path in folder.rglob("*")
    }


def invoke(folder: Path, cache: Path, arguments: tuple[str, ...]) -> Outcome:
    """Run one in a process of its own, and see what must hold."""
    before = tree(folder)
    log = cache / "log"
    begin = time.monotonic()
    pid = os.fork()
    if not pid:
        _become(arguments, folder, log)
    ended, status, usage = _wait(pid, MOST_SECONDS)
    code = os.waitstatus_to_exitcode(status)
    output = log.read_text("utf-8", "replace")
    after = tree(folder)
    seconds, peak = time.monotonic() - begin, usage.ru_maxrss * 1024
    checks = {
        f"took over {MOST_SECONDS} s": not ended,
        f"exit code {code}": ended and code not in EXIT_CODES,
        "traceback": "Traceback" in output,
        "says nothing": not output.strip(),
        f"left {sorted(after.keys() - before.keys())[:3]}": bool(after.keys() - before.keys()),
        "changed a file": any(after.get(name) != digest for name, digest in before.items()),
        f"took {peak / 2**30:.1f} GiB": peak > MOST_BYTES,
    }
    faults = tuple(what for what, holds in checks.items() if holds)
    return Outcome(arguments, code, seconds, peak, faults)


def _become(arguments: tuple[str, ...], folder: Path, log: Path) -> NoReturn:
    """Be the command, in a process that is only there for it."""
    told = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for number, source in enumerate((nothing, told, told)):
        os.dup2(source, number)
    os.chdir(folder)
    sys.argv = ["text2live", *arguments]
    code = 1
    try:
        commands.main()
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:  # noqa: BLE001  # as the interpreter would: a traceback, and 1
        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os._exit(code)


def _wait(pid: int, seconds: float) -> tuple[bool, int, resource.struct_rusage]:
    """Whether it ended in time, how, and what it used."""
    end, ended = time.monotonic() + seconds, True
    while True:
        found, status, usage = os.wait4(pid, os.WNOHANG)
        if found:
            return ended, status, usage
        if ended and time.monotonic() > end:
            ended = False
            os.kill(pid, signal.SIGKILL)
        time.sleep(0.02)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=COUNT)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--verbose", action="store_true")
    asked = parser.parse_args()
    codes: Counter[int] = Counter()
    faulty = longest = most = 0.0
    lines = invocations(asked.seed, asked.count)
    with tempfile.TemporaryDirectory() as name:
        cache = Path(name, "cache")
        cache.mkdir()
        os.environ.update(TEXT2LIVE_CACHE=str(cache), HF_HUB_OFFLINE="1", OMP_NUM_THREADS="1")
        folder = Path(name, "here")
        for line in lines:
            if not folder.exists():
                folder.mkdir()
                paint_folder(folder)
            outcome = invoke(folder, cache, line)
            if outcome.faults:  # whatever was changed: the next finds all as it was
                shutil.rmtree(folder)
            codes[outcome.code] += 1
            faulty += bool(outcome.faults)
            if asked.verbose:
                sys.stdout.write(f"{outcome.code} {outcome.seconds:.1f} {line[:8]}"[:150] + "\n")
                sys.stdout.flush()
            longest, most = max(longest, outcome.seconds), max(most, outcome.peak)
            if outcome.faults:
                shown = " ".join(repr(text[:60]) for text in line)
                sys.stdout.write(f"{', '.join(outcome.faults)}: {shown}\n")
                sys.stdout.flush()
    sys.stdout.write(
        f"{len(lines)} invocations, {faulty:.0f} with faults; exit codes {dict(codes)};"
        f" longest {longest:.1f} s; most memory {most / 2**30:.2f} GiB\n"
    )


if __name__ == "__main__":
    main()
