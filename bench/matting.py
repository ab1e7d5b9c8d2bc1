"""Which matting of a region's rim is nearest to the truth? Hair, petals and spokes of known alpha.

    pip install pymatting; python bench/matting.py [--media FOLDER] [--sheet matting.png]

Each thing is drawn with a known alpha, in the colours of one photo, over another. It is cut out as
a box would have it (`cut_out.cut_out_hints`), and the rim of the cut-out matted: by the guided
filter of `guide/matting.py`, and by pymatting's methods, for which everything near the rim is
unknown. Printed: mean absolute error of the alpha there, in per cent, and seconds.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from itertools import permutations
from pathlib import Path

import cv2
import numpy as np
import pymatting
from photos import MEDIA
from PIL import Image

from text2live_cli.guide.cut_out import cut_out_hints
from text2live_cli.guide.hints import parse_hints
from text2live_cli.guide.matting import matted
from text2live_cli.media.pictures import read_picture

SIZE = (320, 480)
PHOTOS = ("coffee.png", "flower.jpg", "china.jpg")
_NEAR = 12  # pixels from the rim that are looked at, and unknown to pymatting
_LARGE = 4  # drawn so many times as large, for its soft edges
Alpha = np.ndarray


def hair(rng: np.random.Generator) -> Alpha:
    """A ball with thin, bent strands all around."""
    canvas, centre = _canvas()
    cv2.circle(canvas, centre, 90 * _LARGE, 1, -1)
    for angle in rng.uniform(0, 2 * np.pi, 500):
        reach = rng.uniform(92, 118) * _LARGE
        bend = angle + rng.normal(0, 0.12)
        points = [(80 * _LARGE, angle), (100 * _LARGE, (angle + bend) / 2), (reach, bend)]
        line = [[centre[0] + r * np.cos(a), centre[1] + r * np.sin(a)] for r, a in points]
        cv2.polylines(canvas, [np.array(line, np.int32)], False, 1, int(rng.integers(2, 7)))
    return _reduced(canvas)


def petals(rng: np.random.Generator) -> Alpha:
    """Ellipses around a middle, a little out of focus."""
    canvas, centre = _canvas()
    for angle in np.arange(0, 360, 30):
        turn = np.deg2rad(angle + rng.normal(0, 4))
        place = [
            round(c + 75 * _LARGE * f(turn)) for c, f in zip(centre, (np.cos, np.sin), strict=True)
        ]
        cv2.ellipse(canvas, place, (45 * _LARGE, 17 * _LARGE), np.rad2deg(turn), 0, 360, 1, -1)
    cv2.circle(canvas, centre, 40 * _LARGE, 1, -1)
    return cv2.GaussianBlur(_reduced(canvas), (0, 0), 1.5)


def spokes(rng: np.random.Generator) -> Alpha:
    """A wheel: one sees through between its spokes."""
    canvas, centre = _canvas()
    cv2.circle(canvas, centre, 110 * _LARGE, 1, 14 * _LARGE)
    cv2.circle(canvas, centre, 20 * _LARGE, 1, -1)
    for angle in np.arange(0, np.pi, np.pi / 8) + rng.uniform(0, 0.3):
        way = np.array([np.cos(angle), np.sin(angle)]) * 108 * _LARGE
        ends = np.array([centre - way, centre + way]).astype(np.int32)
        cv2.polylines(canvas, [ends], False, 1, 5 * _LARGE)
    return _reduced(canvas)


def _canvas() -> tuple[np.ndarray, tuple[int, int]]:
    height, width = (side * _LARGE for side in SIZE)
    return np.zeros((height, width), np.float32), (width // 2, height // 2)


def _reduced(canvas: np.ndarray) -> Alpha:
    return cv2.resize(canvas, SIZE[::-1], interpolation=cv2.INTER_AREA)


def by_pymatting(estimate: Callable[..., np.ndarray]) -> Callable[..., np.ndarray]:
    """The same with the picture and a trimap."""

    def work(mask: np.ndarray, picture: np.ndarray, unknown: np.ndarray) -> np.ndarray:
        trimap = np.where(unknown, 0.5, mask > 0.5)
        return estimate(picture / 255.0, trimap.astype(np.float64))

    return work


METHODS: dict[str, Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]] = {
    "the cut-out": lambda mask, picture, unknown: mask,
    "guided filter": lambda mask, picture, unknown: matted(mask, picture),
    "closed form": by_pymatting(pymatting.estimate_alpha_cf),
    "KNN": by_pymatting(pymatting.estimate_alpha_knn),
    "learning based": by_pymatting(pymatting.estimate_alpha_lbdm),
}


def rim_of(mask: np.ndarray) -> np.ndarray:
    """What lies near a cut-out's rim."""
    kernel = np.ones((2 * _NEAR + 1,) * 2, np.uint8)
    return (cv2.dilate(mask, kernel) > 0.5) & (cv2.erode(mask, kernel) < 0.5)


def main() -> None:
    """Print one row for each thing and method."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--media", type=Path, default=MEDIA)
    parser.add_argument("--sheet", type=Path, help="truth, cut-out and mattes of one scene each")
    asked = parser.parse_args()
    photos = [cv2.resize(read_picture(asked.media / name).color, SIZE[::-1]) for name in PHOTOS]
    print("| | " + " | ".join(METHODS) + " |\n| --- |" + " ---: |" * len(METHODS), flush=True)
    rows, seconds = [], dict.fromkeys(METHODS, 0.0)
    for draw in (hair, petals, spokes):
        errors: dict[str, list[float]] = {name: [] for name in METHODS}
        for number, (front, behind) in enumerate(permutations(photos, 2)):
            truth = draw(np.random.default_rng(number))[..., None]
            picture = (behind + (front[::-1] - behind.astype(float)) * truth + 0.5).astype(np.uint8)
            hints = parse_hints(SIZE, "115,35,250,250", ["240,160"])
            mask = cut_out_hints(picture, hints, None).mask.astype(np.float32)
            unknown = rim_of(mask)
            shown = [truth[..., 0]]
            for name, matte in METHODS.items():
                begin = time.perf_counter()
                alpha = np.asarray(matte(mask, picture, unknown))
                seconds[name] += time.perf_counter() - begin
                errors[name].append(100 * float(np.abs(alpha - truth[..., 0])[unknown].mean()))
                shown.append(alpha)
            if number == 0:
                rows.append(np.hstack(shown))
        cells = " | ".join(f"{np.mean(values):.1f}" for values in errors.values())
        print(f"| {draw.__name__} | {cells} |", flush=True)
    scenes = 3 * len(PHOTOS) * (len(PHOTOS) - 1)
    print("| s | " + " | ".join(f"{spent / scenes:.2f}" for spent in seconds.values()) + " |")
    if asked.sheet:
        Image.fromarray((255 * np.vstack(rows)).clip(0, 255).astype(np.uint8)).save(asked.sheet)


if __name__ == "__main__":
    main()
