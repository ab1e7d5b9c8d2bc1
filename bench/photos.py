"""Does a draft edit of a real photo happen on its object, and nowhere else? Outlines drawn by hand.

    python bench/photos.py [--media FOLDER] [--half choose] [--only coffee] [--sheet photos.jpg]

Every line of `photo_lines.py` is edited two ways by `edit_image` with the embedded encoder: from
the text alone, and with a box or points. Regions and alphas are compared with the object's outline
(`outlines/`), and a second encoder, trained apart, says what the edit did for the likeness to the
prompt. `--regions-only` finds the regions, in seconds, and edits nothing.
"""

from __future__ import annotations

import argparse
import ast
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from guidance import Judge, to_lab
from outline import Outline, read_outline
from photo_lines import LINES, Line
from photo_sheet import save_sheet

import text2live_cli
from text2live_cli import Text2LiveError
from text2live_cli.media.clips import open_clip
from text2live_cli.media.picture_writing import write_picture
from text2live_cli.media.pictures import read_picture

MEDIA = Path(__file__).parents[2] / "shared" / "media"
WAYS = ("text", "box")
VISIBLE = 10.0  # mean ΔE inside from which an edit is plain to see
GROWN = 1.2  # the judge sees a square of this many times the object's longer side
_NOTHING = float("nan")
COLUMNS = {
    "region": "region IoU",
    "alpha": "alpha IoU",
    "equal": "bit-equal outside",
    "outside": "ΔE outside",
    "inside": "ΔE inside",
    "judge_before": "judge before",
    "judge_after": "judge after",
    "seconds": "s",
}


_SHARES = ("refused", "visible", "judge rises")


@dataclass(frozen=True)
class Outcome:
    """One line, one way: source and result (H, W, 3) uint8, region and alpha (H, W) uint8.

    What was not made is None; `failure` is why the edit was refused.
    """

    line: Line
    way: str
    source: np.ndarray
    region: np.ndarray | None = None
    alpha: np.ndarray | None = None
    made: np.ndarray | None = None
    seconds: float = _NOTHING
    failure: str = ""


def run(task: tuple[Line, str], pictures: Path, regions_only: bool, overrides: dict) -> Outcome:
    """Find the region of one line, or edit it."""
    line, way = task
    picture = pictures / f"{line.picture}.png"
    start = Outcome(line, way, read_picture(picture).color)
    hints: dict[str, Any] = {}
    if way == "box":
        hints = {"box": line.box, "points": line.points, "not_points": line.not_points}
    try:
        if regions_only:
            return _find(start, picture, hints)
        return _edit(start, picture, hints, overrides)
    except Text2LiveError as error:
        return replace(start, failure=str(error))


def _find(start: Outcome, picture: Path, hints: dict[str, Any]) -> Outcome:
    begin = time.perf_counter()
    region = text2live_cli.find_region(picture, start.line.word, clip="swatch", **hints)
    seconds = time.perf_counter() - begin
    return replace(start, region=np.round(255 * region.target).astype(np.uint8), seconds=seconds)


def _edit(start: Outcome, picture: Path, hints: dict[str, Any], overrides: dict) -> Outcome:
    with tempfile.TemporaryDirectory() as folder:
        begin = time.perf_counter()
        result = text2live_cli.edit_image(
            picture,
            start.line.prompt,
            clip="swatch",
            output=Path(folder, "out"),
            **{"preset": "draft", **hints, **overrides},
        )
        seconds = time.perf_counter() - begin
        mask = result.folder / "mask.png"
        return replace(
            start,
            region=read_picture(mask).color[..., 0] if mask.exists() else None,
            alpha=read_picture(result.layer).alpha,
            made=read_picture(result.composite).color,
            seconds=seconds,
        )


def measure(outcome: Outcome, outline: Outline, judge: Judge | None) -> dict[str, Any]:
    """The figures of one outcome; NaN where there is nothing to measure."""
    line, source = outcome.line, outcome.source
    made = source if outcome.failure else outcome.made
    figures: dict[str, Any] = {
        "line": line.title,
        "half": line.half,
        "known": line.known,
        "way": outcome.way,
        "failure": outcome.failure,
        **dict.fromkeys(COLUMNS, _NOTHING),
        "region": _overlap(outcome, outline, outcome.region),
        "alpha": _overlap(outcome, outline, outcome.alpha),
        "seconds": outcome.seconds,
    }
    if made is None or judge is None:
        return figures
    change = np.linalg.norm(to_lab(made) - to_lab(source), axis=-1)
    untouched = (made == source).all(-1)
    before, after = (judge.score(closeup(rgb, outline), line.prompt) for rgb in (source, made))
    return {
        **figures,
        "equal": float(untouched[outline.outside].mean()),
        "outside": float(change[outline.outside].mean()),
        "inside": float(change[outline.inside].mean()),
        "judge_before": before,
        "judge_after": after,
    }


def _overlap(outcome: Outcome, outline: Outline, mask: np.ndarray | None) -> float:
    """IoU of a mask at 1/2 with the outline; an edit that was refused met nothing of it."""
    if outcome.failure:
        return 0.0
    return _NOTHING if mask is None else outline.overlap(mask > 127)


def closeup(rgb: np.ndarray, outline: Outline) -> np.ndarray:
    """The square about the object, a little grown, that lies in the picture."""
    left, top, right, bottom = outline.bounds()
    side = min(round(GROWN * max(right - left, bottom - top)), *rgb.shape[:2])
    x, y = (
        min(max((low + high - side) // 2, 0), size - side)
        for low, high, size in ((left, right, rgb.shape[1]), (top, bottom, rgb.shape[0]))
    )
    return rgb[y : y + side, x : x + side]


def extract_pictures(media: Path, folder: Path, names: Sequence[str]) -> None:
    """Write every picture as NAME.png; "tennis-05" is frame 5 of the clip `tennis`."""
    for name in dict.fromkeys(names):
        stem, _, number = name.rpartition("-")
        if stem:
            frames = open_clip(_media_file(media, stem)).frames()
            frame = next(islice(frames, int(number), None))
        else:
            frame = read_picture(_media_file(media, name)).color
        write_picture(folder / f"{name}.png", frame)


def _media_file(media: Path, stem: str) -> Path:
    candidates = [media / f"{stem}{suffix}" for suffix in (".png", ".jpg", ".mp4", "")]
    for path in candidates:
        if path.exists():
            return path
    raise SystemExit(f"{media}: no {stem}; say with --media where the pictures are")


def print_rows(rows: Sequence[dict[str, Any]]) -> None:
    """One row for each line and way."""
    print("| line | half | way | " + " | ".join(COLUMNS.values()) + " |")
    print("| --- | --- | --- |" + " ---: |" * len(COLUMNS))
    for row in rows:
        mark = "" if row["known"] else " *"
        cells = " | ".join(_shown(name, row[name]) for name in COLUMNS)
        print(f"| {row['line']}{mark} | {row['half']} | {row['way']} | {cells} |")
        if row["failure"]:
            print(f"|   refused: {row['failure']} |")
    print("\n* the embedded encoder has no word for the object")


def _shown(name: str, value: float) -> str:
    if np.isnan(value):
        return "–"
    if name == "equal":
        return f"{value:.1%}"
    return f"{value:.1f}" if name in ("outside", "inside", "seconds") else f"{value:.2f}"


def print_medians(rows: Sequence[dict[str, Any]]) -> None:
    """The medians for each way: all lines, each half, known words; and the shares and counts.

    A refused edit counts as one that changed nothing: look at their number first.
    """
    groups: dict[str, Callable[[dict[str, Any]], bool]] = {
        "all": lambda row: True,
        "choose": lambda row: row["half"] == "choose",
        "report": lambda row: row["half"] == "report",
        "known words": lambda row: row["known"],
        "report, known words": lambda row: row["half"] == "report" and row["known"],
    }
    print(
        "\n| way | lines | n | " + " | ".join(COLUMNS.values()) + " | " + " | ".join(_SHARES) + " |"
    )
    print("| --- | --- | ---: |" + " ---: |" * (len(COLUMNS) + len(_SHARES)))
    for way in WAYS:
        for title, belongs in groups.items():
            group = [row for row in rows if row["way"] == way and belongs(row)]
            if group:
                print(f"| {way} | {title} | {len(group)} | {' | '.join(_medians(group))} |")


def _medians(group: Sequence[dict[str, Any]]) -> Iterator[str]:
    for name in COLUMNS:
        values = [row[name] for row in group if not np.isnan(row[name])]
        yield _shown(name, float(np.median(values)) if values else _NOTHING)
    yield str(sum(bool(row["failure"]) for row in group))
    edited = [row for row in group if not np.isnan(row["inside"])]
    if not edited:
        yield from ("–", "–")
        return
    yield f"{np.mean([row['inside'] >= VISIBLE for row in edited]):.0%}"
    yield f"{np.mean([row['judge_after'] > row['judge_before'] for row in edited]):.0%}"


def parse_override(text: str) -> tuple[str, Any]:
    """ "steps=80" → ("steps", 80); what is no number or literal stays text."""
    name, sign, value = text.partition("=")
    if not sign or not name:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE")
    try:
        return name, ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return name, value


def chosen_lines(half: str, only: str) -> list[Line]:
    """The lines of one half (or "all") whose title contains `only`."""
    return [line for line in LINES if half in ("all", line.half) and only in line.title]


def report(options: argparse.Namespace) -> None:
    """Run the lines and print their figures."""
    os.environ["OMP_NUM_THREADS"] = "1"
    lines = chosen_lines(options.half, options.only)
    if not lines:
        raise SystemExit(f"no line of {options.half} contains {options.only!r}")
    tasks = [(line, way) for line in lines for way in options.ways]
    outlines = {(line, way): read_outline(line.picture, line.meant(way)) for line, way in tasks}
    with tempfile.TemporaryDirectory() as folder:
        extract_pictures(options.media, Path(folder), [line.picture for line in lines])
        work = partial(
            run,
            pictures=Path(folder),
            regions_only=options.regions_only,
            overrides=dict(options.set),
        )
        with ProcessPoolExecutor(options.jobs, get_context("spawn")) as pool:
            outcomes = list(pool.map(work, tasks))
    judge = None if options.regions_only else Judge()
    rows = [measure(outcome, outlines[outcome.line, outcome.way], judge) for outcome in outcomes]
    if options.json:
        clean = [{k: None if v != v else v for k, v in row.items()} for row in rows]  # NaN != NaN
        options.json.write_text(json.dumps(clean, indent=1, ensure_ascii=False) + "\n")
    if options.sheet:
        save_sheet(outcomes, outlines, options.sheet)
    print_rows(rows)
    print_medians(rows)


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--media", type=Path, default=MEDIA, help="folder of the pictures")
    parser.add_argument("--jobs", type=int, default=2, help="edits at once, on one core each")
    parser.add_argument("--half", choices=("choose", "report", "all"), default="all")
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    parser.add_argument("--only", default="", help="lines whose title contains this")
    parser.add_argument("--regions-only", action="store_true", help="find regions, edit nothing")
    parser.add_argument("--sheet", type=Path, help="contact sheet, a .jpg")
    parser.add_argument("--json", type=Path, help="file for all figures")
    parser.add_argument(
        "--set",
        type=parse_override,
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="keyword of edit_image, such as steps=80 or region=paper; repeatable",
    )
    report(parser.parse_args())


if __name__ == "__main__":
    main()
