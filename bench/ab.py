"""Do settings differ? The same pictures and seeds edited each way, compared pair by pair.

    python bench/ab.py --b steps=80 [--b steps=80,views=4] [--a steps=120] [--scenes 12] [--swaps 4]
        [--photos]
    python bench/ab.py --b src=../candidate/src
    python bench/ab.py --b steps=120 --scenes 0 --clips 6

Painted scenes (`guidance.py`, other ones than it reports on), with --swaps further ones, each asked
for three looks, of which the result should be nearest to its own, with --photos the lines of
`photos.py` to choose settings by, with their boxes and points (or from the text: --photos text),
and --clips painted clips, whose atlases are fitted first with the true masks, are edited by A (the
defaults, unless --a says otherwise) and by every B, in turn, with the embedded encoder: by the
command, in a process of its own, from this checkout or the sources `src` of another. For each
figure: A's median, median and mean of the differences, better being up, and their 95 % intervals by
bootstrap; a median hides the few edits that fail, a mean does not, and these are counted as well:
edits that the judge finds no more like the text than their source is. "keep" says what a default
needs: no figure of quality of which an interval lies wholly below −2 % of A's median, and 8 % less
time. Seconds are of the processor, of the whole command, on one thread.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from guidance import (
    SWAPS,
    Edit,
    Judge,
    Outcome,
    fresh_edits,
    judge_swap,
    swapped_edits,
    to_lab,
)
from outline import read_outline
from photo_lines import CHOOSE, LINES, Line
from photos import MEDIA, WAYS, closeup, extract_pictures, parse_override
from swatch_training.moving import paint_clip

from text2live_cli import fit_atlas
from text2live_cli.media.picture_writing import write_picture
from text2live_cli.media.pictures import read_picture

HARM, GAIN = 0.02, 0.08
"""Of A's median: what a figure of quality may lose, and what the time must fall by."""
BETTER = {
    "alpha IoU": 1,
    "ΔE outside": -1,
    "bit-equal outside": 1,
    "judge": 1,
    "ΔE to the truth": -1,
    "nearest to its own of three": 1,
    "CPU seconds": -1,
}
"""Every figure, and whether more of it is better."""
_TIME, _OWN = "CPU seconds", "nearest to its own of three"
_RAISED = "judge, over the source"
SOURCES = Path(__file__).parents[1] / "src"
FLAGS = {"points": "point", "not_points": "not"}
"""Options whose flag is not their name."""
_SEED = 5_000  # of the scenes: none that another bench reports on
_FIT_STEPS = 400
_JUDGED_EVERY = 6  # frames of a clip
_MOVING = ("car", "boat", "fish", "apple", "cup", "mushroom", "bottle", "hat")
_PLACES = ("grass", "sea", "sandy beach", "wooden table", "brick wall")
_DRAWS = 2_000
Figures = dict[str, float]
"""Of one edit; what cannot be had is absent."""


@dataclass(frozen=True)
class Film:
    """A painted clip, which lies in `folder` with its atlas."""

    edit: Edit
    folder: Path

    def paint(self, look: str) -> tuple[np.ndarray, np.ndarray]:
        """Its frames (T, h, w, 3) with the object in some look, and the object's masks."""
        return paint_clip(self.edit.thing, look, self.edit.place, self.edit.seed)


@dataclass(frozen=True)
class Swaps:
    """A painted scene, asked for each of `guidance.SWAPS`."""

    edits: tuple[Edit, ...]


@dataclass(frozen=True)
class Task:
    """One picture or clip, one prompt, one seed."""

    subject: Edit | Swaps | Line | Film
    seed: int
    way: str
    """How the object of a photo is told, one of `WAYS`."""


def parse_way(text: str) -> dict[str, Any]:
    """ "steps=80,views=4" → those two settings."""
    return dict(parse_override(part) for part in text.split(",") if part)


def run(task: Task, ways: Sequence[dict[str, Any]], pictures: Path) -> list[Figures]:
    """The task edited all ways, one after the other."""
    ways = [{**way, "seed": task.seed} for way in ways]
    if isinstance(task.subject, Film):
        return [_clip(task.subject, way) for way in ways]
    if isinstance(task.subject, Edit):
        return [_painted_figures(_paint(task.subject, way, pictures)) for way in ways]
    if isinstance(task.subject, Swaps):
        return [_swapped(task.subject, way, pictures) for way in ways]
    return [_photo(task.subject, task.way, way, pictures) for way in ways]


def _edited(
    picture: Path, prompt: str, way: dict[str, Any]
) -> tuple[np.ndarray, np.ndarray, float]:
    """The composite, the alpha, and the seconds."""
    with tempfile.TemporaryDirectory() as folder:
        seconds = _command("edit-image", picture, prompt, way, folder)
        layer = read_picture(Path(folder, "out/layer.png"))
        assert layer.alpha is not None
        made = read_picture(Path(folder, "out/composite.png")).color
    return made, layer.alpha, seconds


def _command(name: str, source: Path, prompt: str, way: dict[str, Any], folder: str) -> float:
    """Run it to the result "out" in `folder`; the processor's seconds."""
    wanted = {"clip": "swatch", "preset": "draft", "threads": 1, **way}
    sources = str(wanted.pop("src", SOURCES))
    before = _child_seconds()
    command = [sys.executable, "-m", "text2live_cli", name, str(source), prompt]
    command += [word for name, value in wanted.items() for word in _flags(name, value)]
    subprocess.run(
        [*command, "--output", folder + "/out"],
        check=True,
        capture_output=True,
        env={**os.environ, "PYTHONPATH": sources, "OMP_NUM_THREADS": "1"},
    )
    return _child_seconds() - before


def _flags(name: str, value: object) -> list[str]:
    """An option as words of the command line; of several values, each with its flag."""
    if isinstance(value, bool):
        return ["--" + name.replace("_", "-")] if value else []
    values = value if isinstance(value, tuple) else () if value is None else (value,)
    flag = "--" + FLAGS.get(name, name).replace("_", "-")
    return [word for one in values for word in (flag, str(one))]


def _child_seconds() -> float:
    """Of the processor, in processes that this one has waited for."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _paint(edit: Edit, way: dict[str, Any], pictures: Path) -> Outcome:
    """Of a painted scene, whose truth is known."""
    source, inside = edit.paint(edit.look)
    truth, _ = edit.paint(edit.wanted)
    with tempfile.TemporaryDirectory(dir=pictures) as folder:
        picture = Path(folder, "source.png")
        write_picture(picture, source)
        made, alpha, seconds = _edited(picture, edit.prompt, way)
    return Outcome(edit, source, made, truth, inside, alpha, seconds)


def _photo(line: Line, told: str, way: dict[str, Any], pictures: Path) -> Figures:
    """Of a photo, whose object has an outline."""
    hints: dict[str, Any] = {}
    if told == "box":
        hints = {"box": line.box, "points": line.points, "not_points": line.not_points}
    picture = pictures / f"{line.picture}.png"
    source, outline = read_picture(picture).color, read_outline(line.picture, line.meant(told))
    made, alpha, seconds = _edited(picture, line.prompt, {**hints, **way})
    change = np.linalg.norm(to_lab(made) - to_lab(source), axis=-1)
    return {
        "alpha IoU": outline.overlap(alpha > 127),
        "ΔE outside": float(change[outline.outside].mean()),
        "bit-equal outside": float((made == source).all(-1)[outline.outside].mean()),
        **_judged(closeup(source, outline), closeup(made, outline), line.prompt),
        _TIME: seconds,
    }


def fit_clip(film: Film) -> None:
    """Paint its frames and masks into its folder, and fit its atlas."""
    frames, masks = film.paint(film.edit.look)
    for name, pictures in ("clip", frames), ("masks", np.repeat(255 * masks[..., None], 3, 3)):
        (film.folder / name).mkdir(parents=True)
        for number, picture in enumerate(pictures.astype(np.uint8)):
            write_picture(film.folder / name / f"{number:05d}.png", picture)
    fit_atlas(
        film.folder / "clip",
        output=film.folder / "atlas",
        masks=film.folder / "masks",
        steps=_FIT_STEPS,
    )


def _clip(film: Film, way: dict[str, Any]) -> Figures:
    """Of a painted clip: means over some of its frames."""
    frames, masks = film.paint(film.edit.look)
    truth, _ = film.paint(film.edit.wanted)
    how = {"atlas_dir": film.folder / "atlas", "layer_format": "png", "any_atlas": True, **way}
    rows: list[Figures] = []
    with tempfile.TemporaryDirectory() as folder:
        seconds = _command("edit-video", film.folder / "clip", film.edit.prompt, how, folder)
        for t in range(0, len(frames), _JUDGED_EVERY):
            made = read_picture(Path(folder, f"out/composite/{t:05d}.png")).color
            alpha = read_picture(Path(folder, f"out/layer/{t:05d}.png")).alpha
            assert alpha is not None
            shown = Outcome(film.edit, frames[t], made, truth[t], masks[t], alpha, seconds)
            rows.append(_painted_figures(shown))
    return _means(rows)


def _painted_figures(shown: Outcome) -> Figures:
    return {
        "alpha IoU": shown.overlap,
        "ΔE outside": shown.outside,
        "bit-equal outside": float((shown.made == shown.source).all(-1)[~shown.inside].mean()),
        **_judged(shown.source, shown.made, shown.edit.prompt),
        "ΔE to the truth": shown.distance(shown.made, shown.truth),
        _TIME: shown.seconds,
    }


def _swapped(swaps: Swaps, way: dict[str, Any], pictures: Path) -> Figures:
    """Of a scene's swapped prompts: means."""
    shown = [_paint(edit, way, pictures) for edit in swaps.edits]
    rows = [{**_painted_figures(one), _OWN: float(judge_swap(one).right)} for one in shown]
    return _means(rows)


def _means(rows: Sequence[Figures]) -> Figures:
    return {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}


def _judged(source: np.ndarray, made: np.ndarray, prompt: str) -> Figures:
    """How much the edit looks like its text, and how much more than its source."""
    judge = Judge()
    before, after = (judge.score(rgb, prompt) for rgb in (source, made))
    return {"judge": after, _RAISED: after - before}


def intervals(differences: np.ndarray) -> dict[str, tuple[float, float, float]]:
    """Median and mean, each with the middle 95 % of those of resampled differences."""
    draws = np.random.default_rng(0).choice(differences, (_DRAWS, len(differences)))
    found = {}
    for name, middle in ("median", np.median), ("mean", np.mean):
        low, high = np.percentile(middle(draws, axis=1), (2.5, 97.5))
        found[name] = float(middle(differences)), float(low), float(high)
    return found


def report(pairs: Sequence[tuple[Figures, Figures]]) -> None:
    """One row for each figure, and the verdict."""
    print("\n| figure | A | B − A, up is better | 95 % | in the mean | 95 % |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    keep = True
    for name, sign in BETTER.items():
        both = [(a[name], b[name]) for a, b in pairs if name in a]
        if not both:
            continue
        before, after = np.array(both).T
        typical, found = float(np.median(before)), intervals(sign * (after - before))
        cells = [f"{at:+.3f} | {low:+.3f} {high:+.3f}" for at, low, high in found.values()]
        print(f"| {name} | {typical:.3f} | {' | '.join(cells)} |")
        if name == _TIME:
            ratio = float(np.median(after / before))
            keep &= ratio <= 1 - GAIN
        else:
            keep &= all(high >= -HARM * abs(typical) for _, _, high in found.values())
    failed = [sum(row[_RAISED] <= 0 for row in rows) for rows in zip(*pairs, strict=True)]
    print(f"\n{_TIME}: {ratio:.2f} of A (median of the pairs)")
    print(f"no more like the text than the source: A {failed[0]}, B {failed[1]} of {len(pairs)}")
    print("keep" if keep else "do not keep", flush=True)


def _ways(asked: list[str] | None) -> list[str]:
    return [] if asked is None else asked or ["box"]


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--a", type=parse_way, default={}, help="NAME=VALUE,…")
    parser.add_argument("--b", type=parse_way, action="append", required=True, help="the same")
    parser.add_argument("--scenes", type=int, default=12, help="painted ones")
    parser.add_argument("--swaps", type=int, default=0, help="painted ones, three edits each")
    parser.add_argument("--clips", type=int, default=0, help="painted ones")
    parser.add_argument(
        "--photos", nargs="*", choices=WAYS, help="the lines to choose by, told so (default: box)"
    )
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--media", type=Path, default=MEDIA)
    parser.add_argument("--jobs", type=int, default=2)
    asked = parser.parse_args()
    lines = [line for line in LINES if line.half == CHOOSE and line.known]
    photos = [(line, way) for way in _ways(asked.photos) for line in lines]
    scenes = fresh_edits(asked.scenes, _SEED)
    swaps, n = swapped_edits(asked.swaps, _SEED + 1), len(SWAPS)
    moving = fresh_edits(asked.clips, _SEED, _MOVING, _PLACES)
    with tempfile.TemporaryDirectory() as folder:
        films = [Film(edit, Path(folder, f"film{i}")) for i, edit in enumerate(moving)]
        subjects: list[tuple[Edit | Swaps | Line | Film, str]] = [
            *((scene, "") for scene in scenes),
            *((Swaps(tuple(swaps[i : i + n])), "") for i in range(0, len(swaps), n)),
            *photos,
            *((film, "") for film in films),
        ]
        if not subjects:
            parser.error("nothing to edit: --scenes, --swaps, --clips or --photos")
        tasks = [Task(one, seed, way) for one, way in subjects for seed in range(asked.seeds)]
        extract_pictures(asked.media, Path(folder), [line.picture for line, _ in photos])
        work = partial(run, ways=(asked.a, *asked.b), pictures=Path(folder))
        os.environ["OMP_NUM_THREADS"] = "1"
        with ProcessPoolExecutor(asked.jobs, get_context("spawn")) as pool:
            list(pool.map(fit_clip, films))
            results = list(pool.map(work, tasks))
    print(f"{len(tasks)} edits; A: {asked.a or 'as it is'}")
    for place, way in enumerate(asked.b, 1):
        print(f"\nB: {way}")
        report([(figures[0], figures[place]) for figures in results])


if __name__ == "__main__":
    main()
