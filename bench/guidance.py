"""Does a draft edit do the right thing in the right place? Painted scenes, whose truth is known.

    python bench/guidance.py [--jobs 2] [--sheets FOLDER] [--parts fresh swaps ten]

Every scene is painted, edited by `edit_image` with the embedded encoder, and compared with the same
scene truly repainted in the look that was asked for. A second encoder, trained apart
(`judge.safetensors`), says whether truth, result and source look like the text in this order.
Three parts: fresh random scenes, prompts swapped on one scene, ten listed pairs to look at.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image, ImageCms
from swatch_training.painter import paint_scene
from torch.nn import functional

from text2live_cli import edit_image
from text2live_cli.guide.swatch import model
from text2live_cli.guide.swatch.towers import NATIVE_SIZE
from text2live_cli.guide.swatch.vocabulary import COLOURS, LOOKS, OBJECTS
from text2live_cli.media.picture_writing import write_picture
from text2live_cli.media.pictures import read_picture

JUDGE = Path(__file__).with_name("judge.safetensors")
SIZE = (240, 320)
SWAPS = ("golden", "chocolate", "snowy")
_THINGS = OBJECTS[:26]
"""Those of the first training: with more, all random scenes would be others."""
_PLACES = ("wooden table", "grass", "sandy beach", "blue sky", "brick wall", "grey background",
           "white background", "sea")  # fmt: skip


class Edit(NamedTuple):
    """An object, its look, its place, the look asked for, and the seed of the scene."""

    thing: str
    look: str
    place: str
    wanted: str
    seed: int

    @property
    def prompt(self) -> str:
        return f"{self.wanted} {self.thing}"

    def paint(self, look: str) -> tuple[np.ndarray, np.ndarray]:
        """The scene with the object in some look, and the object's mask."""
        rgb, masks = paint_scene([(self.thing, look)], self.place, self.seed, SIZE)
        return rgb, masks[0]


TEN = (
    Edit("cup", "red", "wooden table", "golden", 3),
    Edit("car", "blue", "grass", "rusty", 11),
    Edit("house", "white", "grass", "brick", 5),
    Edit("cake", "pink", "white background", "chocolate", 8),
    Edit("tree", "green", "blue sky", "snowy", 9),
    Edit("vase", "blue", "brick wall", "marble", 31),
    Edit("boat", "red", "sea", "wooden", 12),
    Edit("hat", "purple", "grey background", "knitted", 6),
    Edit("cat", "grey", "grass", "leopard", 14),
    Edit("mushroom", "red", "sandy beach", "mossy", 4),
)


@dataclass(frozen=True)
class Outcome:
    """One edit with its source, result and truth (H, W, 3), mask and alpha (H, W), all uint8."""

    edit: Edit
    source: np.ndarray
    made: np.ndarray
    truth: np.ndarray
    inside: np.ndarray
    alpha: np.ndarray
    seconds: float

    @property
    def overlap(self) -> float:
        """IoU of the alpha with the object."""
        edited = self.alpha > 127
        return float((edited & self.inside).sum() / (edited | self.inside).sum())

    def distance(self, picture: np.ndarray, truth: np.ndarray) -> float:
        """Lab distance of the object's mean colours in two pictures."""
        means = [to_lab(rgb)[self.inside].mean(0) for rgb in (picture, truth)]
        return float(np.linalg.norm(means[0] - means[1]))

    @property
    def outside(self) -> float:
        """Mean ΔE of the pixels that are not the object's."""
        change = np.linalg.norm(to_lab(self.made) - to_lab(self.source), axis=-1)
        return float(change[~self.inside].mean())

    @property
    def untouched(self) -> float:
        """Share of the pixels outside that are within 2 levels of the source."""
        change = np.abs(self.made.astype(int) - self.source).max(-1)
        return float((change[~self.inside] <= 2).mean())

    def tile(self) -> np.ndarray:
        """Source, alpha, result and truth, one below the other."""
        shown = np.repeat(self.alpha[..., None], 3, axis=2)
        return np.concatenate([self.source, shown, self.made, self.truth])


def fresh_edits(
    count: int, seed: int, things: Sequence[str] = _THINGS, places: Sequence[str] = _PLACES
) -> list[Edit]:
    """Random objects in a plain colour, random places, random looks asked for."""
    rng = np.random.default_rng(seed)
    edits: list[Edit] = []
    while len(edits) < count:
        thing, wanted = str(rng.choice(things)), str(rng.choice(LOOKS))
        look, place = str(rng.choice(COLOURS)), str(rng.choice(places))
        if wanted not in place and look not in place:
            edits.append(Edit(thing, look, place, wanted, int(rng.integers(2**31))))
    return edits


def swapped_edits(count: int, seed: int) -> list[Edit]:
    """The same three looks asked for on each of `count` scenes."""
    scenes = fresh_edits(count, seed)
    return [scene._replace(wanted=wanted) for scene in scenes for wanted in SWAPS]


def run(edit: Edit, precision: str = "fp32") -> Outcome:
    """Paint, edit, paint the truth."""
    source, inside = edit.paint(edit.look)
    truth, _ = edit.paint(edit.wanted)
    with tempfile.TemporaryDirectory() as folder:
        picture = Path(folder, "source.png")
        write_picture(picture, source)
        begin = time.perf_counter()
        result = edit_image(
            picture,
            edit.prompt,
            clip="swatch",
            preset="draft",
            precision=precision,
            output=Path(folder, "out"),
        )
        seconds = time.perf_counter() - begin
        made = read_picture(result.composite).color
        alpha = read_picture(result.layer).alpha
    assert alpha is not None
    return Outcome(edit, source, made, truth, inside, alpha, seconds)


def to_lab(rgb: np.ndarray) -> np.ndarray:
    """(H, W, 3) uint8 sRGB → CIE Lab, in 8-bit steps of L and whole a and b."""
    transform = ImageCms.buildTransform(
        ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), "RGB", "LAB"
    )
    lab = ImageCms.applyTransform(Image.fromarray(rgb), transform)
    assert lab is not None
    light, a, b = (np.asarray(band) for band in lab.split())
    return np.dstack([light * (100 / 255), a - 128.0, b - 128.0])


class Judge:
    """The second encoder: how much a picture looks like a text."""

    def __init__(self) -> None:
        self.model, self.tokenizer, _ = model.load_swatch(JUDGE)

    def score(self, rgb: np.ndarray, prompt: str) -> float:
        """Cosine of the picture's middle square with the text."""
        h, w = rgb.shape[:2]
        left = (w - h) // 2
        square = Image.fromarray(rgb).crop((left, 0, left + h, h))
        small = np.asarray(square.resize((NATIVE_SIZE,) * 2, Image.Resampling.BICUBIC))
        picture = torch.from_numpy(small.copy()).permute(2, 0, 1)[None].float() / 255
        with torch.no_grad():
            seen = model.encode_tokens(self.model, picture)[:, 0]
            text = self.model.encode_text(self.tokenizer([prompt]))
        return float(functional.cosine_similarity(seen, text))

    def in_order(self, outcome: Outcome) -> tuple[bool, bool]:
        """Whether the truth outscores the result, and the result the source."""
        source, made, truth = (
            self.score(rgb, outcome.edit.prompt)
            for rgb in (outcome.source, outcome.made, outcome.truth)
        )
        return truth > made, made > source


def report_fresh(outcomes: Sequence[Outcome]) -> None:
    """One row for each scene, and the figures that the bars speak of."""
    judge, rows = Judge(), []
    columns = ("IoU", "before", "after", "outside ΔE", "untouched", "truth > result > source", "s")
    print("| scene | asked for | " + " | ".join(columns) + " |")
    print("| --- | --- |" + " ---: |" * len(columns))
    for o in outcomes:
        before, after = o.distance(o.source, o.truth), o.distance(o.made, o.truth)
        better, good = judge.in_order(o)
        rows.append((o.overlap, before, after, o.outside, o.untouched, better, good, o.seconds))
        judged = f"{'yes' if better else 'no'}, {'yes' if good else 'no'}"
        print(
            f"| {o.edit.look} {o.edit.thing}, {o.edit.place} | {o.edit.wanted} | {o.overlap:.2f} "
            f"| {before:.0f} | {after:.0f} | {o.outside:.1f} | {o.untouched:.0%} | {judged} "
            f"| {o.seconds:.0f} |"
        )
    overlap, before, after, outside, untouched, better, good, seconds = np.array(rows, float).T
    print(f"\nmedian alpha IoU            {np.median(overlap):.2f}")
    print(f"median change outside (ΔE)  {np.median(outside):.1f}")
    print(f"median untouched outside    {np.median(untouched):.0%}")
    print(f"closer to the truth         {np.mean(after < before):.0%}")
    print(f"median reduction            {np.median(1 - after / before):.0%}")
    print(f"judge: truth above result   {np.mean(better):.0%}")
    print(f"judge: result above source  {np.mean(good):.0%}")
    print(f"judge: both                 {np.mean(better * good):.0%}")
    print(f"median seconds              {np.median(seconds):.0f}")


class Swapped(NamedTuple):
    """Which of the `SWAPS` a result is nearest to, and whether it came nearer to its own."""

    nearest: str
    moved: bool
    right: bool


def judge_swap(outcome: Outcome) -> Swapped:
    """A result among the three that its scene is asked for."""
    truths = {wanted: outcome.edit.paint(wanted)[0] for wanted in SWAPS}
    distances = {wanted: outcome.distance(outcome.made, truth) for wanted, truth in truths.items()}
    moved = distances[outcome.edit.wanted] < outcome.distance(outcome.source, outcome.truth)
    nearest = min(distances, key=lambda wanted: distances[wanted])
    return Swapped(nearest, moved, moved and nearest == outcome.edit.wanted)


def report_swaps(outcomes: Sequence[Outcome]) -> None:
    """How often a result is nearest to its own truth of three, and nearer than its source was."""
    judged = [judge_swap(outcome) for outcome in outcomes]
    for outcome, (nearest, moved, right) in zip(outcomes, judged, strict=True):
        if not right:
            how = "moved" if moved else "not moved"
            print(f"{outcome.edit}: nearest to {nearest}, {how} towards it")
    hits = [one.right for one in judged]
    print(f"towards its own truth of {len(SWAPS)}  {np.mean(hits):.0%} of {len(hits)}")


def save_sheet(outcomes: Sequence[Outcome], path: Path) -> None:
    """The tiles side by side, at half their size."""
    per_row = 5 if len(outcomes) <= 10 else 8
    tiles = [o.tile() for o in outcomes]
    blank = np.full_like(tiles[0], 255)
    tiles += [blank] * (-len(tiles) % per_row)
    rows = [np.concatenate(tiles[i : i + per_row], 1) for i in range(0, len(tiles), per_row)]
    sheet = Image.fromarray(np.concatenate(rows))
    sheet.reduce(2).save(path, quality=85)


PARTS: dict[str, tuple[Callable[[], Sequence[Edit]], Callable[[Sequence[Outcome]], None]]] = {
    "fresh": (lambda: fresh_edits(24, seed=2_000), report_fresh),
    "swaps": (lambda: swapped_edits(5, seed=3_000), report_swaps),
    "ten": (lambda: TEN, report_fresh),
}


def report(
    jobs: int = 2,
    precision: str = "fp32",
    sheets: Path | None = None,
    parts: Sequence[str] = tuple(PARTS),
) -> None:
    """Run the parts and print their figures; `sheets` is a folder for their contact sheets."""
    os.environ["OMP_NUM_THREADS"] = "1"
    with ProcessPoolExecutor(jobs, get_context("spawn")) as pool:
        for part in parts:
            make, show = PARTS[part]
            outcomes = list(pool.map(partial(run, precision=precision), make()))
            print(f"\n## {part}\n", flush=True)
            show(outcomes)
            if sheets:
                sheets.mkdir(parents=True, exist_ok=True)
                save_sheet(outcomes, sheets / f"{part}.jpg")


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=2, help="edits at once, on one core each")
    parser.add_argument("--precision", default="fp32")
    parser.add_argument("--sheets", type=Path, help="folder for a contact sheet of each part")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    report(**vars(parser.parse_args()))


if __name__ == "__main__":
    main()
