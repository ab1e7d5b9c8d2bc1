"""Does `lift` find a known edit again, whatever was done to the picture besides?

    python bench/lift.py [--media FOLDER] [--painted 4] [--only crop] [--sheet lift.jpg] [--large]

Photos and painted scenes get a layer that is known (an object of a painted scene, with a soft rim),
and are then disturbed as editors and phones do. Figures, medians for each disturbance: IoU of the
alpha, share of the pixels outside the layer that come out bit-equal, PSNR of the composite inside
against the undisturbed edit, seconds. --large: one picture of 12 megapixels, time and memory.
"""

from __future__ import annotations

import argparse
import io
import resource
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow
from swatch_training.painter import paint_scene

from text2live_cli.errors import Text2LiveError
from text2live_cli.lifting.lift import LiftSettings, lift
from text2live_cli.media.compositing import lay_over
from text2live_cli.media.pictures import read_picture
from text2live_cli.media.samples import to_unit

MEDIA = Path(__file__).parents[2] / "shared" / "media"
PHOTOS = ("coffee.png", "chelsea.png", "kodim03.png", "flower.jpg", "china.jpg", "rocket.jpg")
Rgb = NDArray[np.uint8]
VISIBLE = 3
"""Levels: less of a change is none."""


class Case(NamedTuple):
    """A picture (H, W, 3) uint8, the known layer (H, W, 4) uint8, and what they give."""

    name: str
    source: Rgb
    layer: Rgb

    @property
    def edited(self) -> Rgb:
        """The undisturbed edit."""
        return lay_over(self.source, self.layer)

    @property
    def inside(self) -> NDArray[np.bool_]:
        """Where the layer is, as far as it changes anything: a white sail may stay white."""
        seen = np.abs(self.edited.astype(int) - self.source).max(-1) > VISIBLE
        return (self.layer[..., 3] > 127) & seen


def cases(media: Path, painted: int) -> Iterator[Case]:
    """Photos with a painted object on them, and painted scenes in which one was repainted."""
    looks = ("golden", "snowy", "mosaic", "denim", "lava", "striped")
    things = ("cat", "boat", "house", "flower", "hat", "fish")
    for number, name in enumerate(PHOTOS):
        if not (media / name).exists():
            continue
        source = read_picture(media / name).color
        pair = [(things[number], looks[number])]
        size = (source.shape[0], source.shape[1])
        rgb, (mask, *_) = paint_scene(pair, "grey background", 40 + number, size)
        yield Case(name, source, _layer(rgb, mask))
    for number in range(painted):
        thing, look = things[number % 6], looks[(number + 2) % 6]
        place = ("grass", "wooden table", "brick wall", "sea")[number % 4]
        source, _ = paint_scene([(thing, "red")], place, 70 + number, (420, 560))
        truth, (mask, *_) = paint_scene([(thing, look)], place, 70 + number, (420, 560))
        yield Case(f"{look} {thing}", source, _layer(truth, mask))


def _layer(rgb: Rgb, mask: NDArray[np.bool_]) -> Rgb:
    alpha = cv2.GaussianBlur(mask.astype(np.float32), (0, 0), 0.8)
    alpha[alpha < 0.02] = 0
    return np.dstack([rgb, np.rint(255 * alpha).astype(np.uint8)])


# Disturbances: an edited picture to what an editor hands back.


def shifted(rgb: Rgb, by: float) -> Rgb:
    """Moved by so many pixels, by interpolation."""
    return _warped(rgb, np.array([[1, 0, by], [0, 1, -0.6 * by]]))


def zoomed(rgb: Rgb, by: float) -> Rgb:
    """About the middle."""
    height, width = rgb.shape[:2]
    return _warped(rgb, np.array([[by, 0, (1 - by) * width / 2], [0, by, (1 - by) * height / 2]]))


def _warped(rgb: Rgb, matrix: NDArray[np.float64]) -> Rgb:
    size = rgb.shape[1], rgb.shape[0]
    way, border = cv2.INTER_CUBIC, cv2.BORDER_REFLECT
    return np.asarray(cv2.warpAffine(rgb, matrix, size, flags=way, borderMode=border), np.uint8)


def cropped(rgb: Rgb) -> Rgb:
    """Without a rim of some per cent, unlike on each side."""
    height, width = rgb.shape[:2]
    return rgb[
        round(0.04 * height) : round(0.97 * height), round(0.02 * width) : round(0.95 * width)
    ]


def resized(rgb: Rgb, by: float) -> Rgb:
    """By Pillow's Lanczos."""
    size = round(rgb.shape[1] * by), round(rgb.shape[0] * by)
    return np.array(Pillow.fromarray(rgb).resize(size, Pillow.Resampling.LANCZOS))


def encoded(rgb: Rgb, kind: str, quality: int) -> Rgb:
    """Written with losses, and read again."""
    buffer = io.BytesIO()
    Pillow.fromarray(rgb).save(buffer, kind, quality=quality)
    return np.array(Pillow.open(buffer).convert("RGB"))


def toned(
    rgb: Rgb, gamma: float = 1, gains: tuple[float, ...] = (1, 1, 1), contrast: float = 1
) -> Rgb:
    """Gamma, white balance and contrast of the whole."""
    unit = (rgb / 255.0) ** gamma * np.array(gains)
    return np.rint(255 * ((unit - 0.5) * contrast + 0.5).clip(0, 1)).astype(np.uint8)


def noisy(rgb: Rgb) -> Rgb:
    """Gaussian noise of three levels."""
    noise = np.random.default_rng(1).normal(0, 3, rgb.shape)
    return np.rint(rgb + noise).clip(0, 255).astype(np.uint8)


def sharpened(rgb: Rgb) -> Rgb:
    """An unsharp mask."""
    soft = cv2.GaussianBlur(rgb.astype(np.float32), (0, 0), 1.5)
    return np.rint(rgb + 0.6 * (rgb - soft)).clip(0, 255).astype(np.uint8)


def everything(rgb: Rgb) -> Rgb:
    """A phone's app: zoomed, toned, sharpened, and a JPEG."""
    return encoded(sharpened(toned(zoomed(rgb, 1.01), 0.9, (1.03, 1, 0.96), 1.08)), "JPEG", 80)


DISTURBANCES: dict[str, Callable[[Rgb], Rgb]] = {
    "none (PNG)": lambda rgb: rgb,
    "shift 0.5": lambda rgb: shifted(rgb, 0.5),
    "shift 8": lambda rgb: shifted(rgb, 8),
    "zoom 0.97": lambda rgb: zoomed(rgb, 0.97),
    "zoom 1.03": lambda rgb: zoomed(rgb, 1.03),
    "crop": cropped,
    "resize ×0.5": lambda rgb: resized(rgb, 0.5),
    "resize ×2": lambda rgb: resized(rgb, 2),
    "JPEG 70": lambda rgb: encoded(rgb, "JPEG", 70),
    "WebP 80": lambda rgb: encoded(rgb, "WEBP", 80),
    "gamma": lambda rgb: toned(rgb, gamma=0.85),
    "white balance": lambda rgb: toned(rgb, gains=(1.06, 1, 0.92)),
    "contrast": lambda rgb: toned(rgb, contrast=1.15),
    "noise": noisy,
    "sharpening": sharpened,
    "all together": everything,
}


class Figures(NamedTuple):
    """Of one case, disturbed one way."""

    overlap: float
    equal: float
    psnr: float
    seconds: float


def measure(case: Case, disturb: Callable[[Rgb], Rgb]) -> tuple[Figures, Rgb]:
    """The figures, and the layer that was found (all transparent where it was refused)."""
    after = disturb(case.edited)
    begin = time.perf_counter()
    try:
        layer = lift(to_unit(case.source), to_unit(after), LiftSettings()).layer
    except Text2LiveError as error:
        print(f"{case.name}: {error}")
        layer = np.zeros_like(case.layer)
    seconds = time.perf_counter() - begin
    made = lay_over(case.source, layer)
    inside, ours = case.inside, layer[..., 3] > 127
    outside = case.layer[..., 3] == 0
    square = np.square(made[inside].astype(float) - case.edited[inside]).mean()
    return Figures(
        float((inside & ours).sum() / max((inside | ours).sum(), 1)),
        float((made == case.source).all(-1)[outside].mean()),
        float(10 * np.log10(255**2 / max(square, 1e-3))),
        seconds,
    ), layer


def report(media: Path, painted: int, only: str, sheet: Path | None) -> None:
    """A row of medians for each disturbance."""
    every = list(cases(media, painted))
    rows = []
    print("| disturbed by | n | alpha IoU | bit-equal outside | PSNR inside, dB | worst IoU | s |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: |")
    for name, disturb in DISTURBANCES.items():
        if only not in name:
            continue
        figures = []
        for case in every:
            one, layer = measure(case, disturb)
            figures.append(one)
            if sheet and name in ("JPEG 70", "all together"):
                rows.append(_row(case, disturb(case.edited), layer))
        overlap, equal, psnr, seconds = np.median(np.array(figures), axis=0)
        worst = min(figures, key=lambda one: one.overlap)
        where = every[figures.index(worst)].name
        print(
            f"| {name} | {len(figures)} | {overlap:.2f} | {equal:.1%} | {psnr:.1f} |"
            f" {worst.overlap:.2f} ({where}) | {seconds:.1f} |",
            flush=True,
        )
    if sheet:
        _save_sheet(rows, sheet)


def _row(case: Case, after: Rgb, layer: Rgb) -> list[Pillow.Image]:
    """Source, what was handed back, the layer on grey, the composite."""
    grey = np.full_like(case.source, 128)
    pictures = (case.source, after, lay_over(grey, layer), lay_over(case.source, layer))
    return [Pillow.fromarray(picture) for picture in pictures]


def _save_sheet(rows: list[list[Pillow.Image]], path: Path) -> None:
    width, height = 256, 192
    sheet = Pillow.new("RGB", (4 * width, len(rows) * height), "white")
    for y, row in enumerate(rows):
        for x, picture in enumerate(row):
            picture.thumbnail((width, height))
            sheet.paste(picture, (x * width, y * height))
    sheet.save(path, quality=85)


def report_large() -> None:
    """Seconds and memory for 12 megapixels."""
    source, _ = paint_scene([("house", "red")], "grass", 5, (600, 800))
    truth, (mask, *_) = paint_scene([("house", "brick")], "grass", 5, (600, 800))
    large = [np.asarray(cv2.resize(x, (4000, 3000)), np.uint8) for x in (source, truth)]
    alpha = cv2.resize(mask.astype(np.uint8), (4000, 3000))
    case = Case("large", large[0], np.dstack([large[1], 255 * alpha]))
    for name in ("none (PNG)", "JPEG 70", "all together"):
        figures, _ = measure(case, DISTURBANCES[name])
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        print(f"12 megapixels, {name}: {figures.seconds:.1f} s, peak so far {peak:.2f} GiB")


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--media", type=Path, default=MEDIA)
    parser.add_argument("--painted", type=int, default=4)
    parser.add_argument("--only", default="", help="disturbances whose name contains this")
    parser.add_argument("--sheet", type=Path, help="contact sheet, a .jpg")
    parser.add_argument("--large", action="store_true")
    asked = parser.parse_args()
    if asked.large:
        report_large()
    else:
        report(asked.media, asked.painted, asked.only, asked.sheet)


if __name__ == "__main__":
    main()
