"""`report.html` of an edit of a picture: before and after under a slider, and how it was made."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from ..media.pictures import opened
from .page import Shown, html_page, photo

VIEW_SIDE = 1200
"""Long side, pixels, of the pictures that the page is made of."""
_PREVIEW_SIDE, _PREVIEWS = 320, 12
_CURVES = (1000, 240)  # of the drawing, units
_POINTS = 500  # of a line at the most
_LINES = 10  # as many as image.css has colours for


@dataclass(frozen=True)
class Views:
    """A result as the page shows it, uint8; made by `view` from what is as large as the source."""

    source: NDArray[np.uint8]
    """(h, w, 3)"""
    composite: NDArray[np.uint8]
    """(h, w, 3)"""
    layer: NDArray[np.uint8]
    """(h, w, 4), straight alpha"""


class Line(NamedTuple):
    """One curve: its points as SVG has them, and the value that it ends with, in words."""

    name: str
    points: str
    last: str


class Curves(NamedTuple):
    """Curves over the steps, in a frame from 0 to `top`."""

    lines: list[Line]
    steps: int
    top: str
    width: int = _CURVES[0]
    height: int = _CURVES[1]


def view(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(H, W) or (H, W, C), shrunk to `VIEW_SIDE` where it is larger."""
    scale = VIEW_SIDE / max(pixels.shape[:2])
    if scale >= 1:
        return pixels
    height, width = (max(1, round(side * scale)) for side in pixels.shape[:2])
    return np.asarray(cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA), np.uint8)


def image_report_html(
    views: Views,
    folder: Path,
    losses: Sequence[Mapping[str, float]],
    record: Mapping[str, Any],
) -> str:
    """The page, to be saved as UTF-8. Of `folder`, the pictures of region and previews are read.

    `losses` are the weighted terms of every step, `record` is what stands in run.json.
    """
    figures = record["figures"]
    layer, alpha = views.layer, np.repeat(views.layer[..., 3:], 3, axis=2)
    pictures = [photo("Edit layer", layer), photo("Its alpha", alpha)]
    named = (("Region", "region.png"), ("Where the encoder saw it", "relevancy.png"))
    pictures += [_read(title, folder / name) for title, name in named if (folder / name).is_file()]
    return html_page(
        "image",
        f"text2live {record['command']}",
        f"{record['input']['path']}: {record['prompts']['target']}",
        ("wipe",),
        summary=_summary(record),
        advice=figures["advice"],
        before=photo("Original", views.source),
        after=photo("Composite", views.composite),
        pictures=pictures,
        previews=_previews(folder / "previews"),
        curves=_curves(losses),
        tables=_tables(record),
        command_line=record["command_line"],
    )


def _summary(record: Mapping[str, Any]) -> list[str]:
    figures, sentences = record["figures"], []
    if record["interrupted"]:
        sentences.append(
            f"Stopped after {record['steps_done']} of {record['settings']['steps']} steps: the same"
            " command with --resume goes on."
        )
    sentences.append(
        f"{figures['verdict'].capitalize()}: the picture is like “{record['prompts']['target']}” by"
        f" {figures['text_after']:.2f}, before by {figures['text_before']:.2f}."
    )
    sentences.append(
        f"{record['unchanged_share']:.1%} of the pixels are the source's, bit for bit; the layer is"
        " 0 there. The pictures of this page are small copies."
    )
    return sentences


def _tables(record: Mapping[str, Any]) -> list[tuple[str, list[tuple[str, Any]]]]:
    figures = {name.replace("_", " "): value for name, value in record["figures"].items()}
    figures.pop("advice")
    seconds = {f"seconds, {name}": value for name, value in record["seconds"].items()}
    prompts = [(name, value) for name, value in record["prompts"].items() if value]
    settings = {**record["settings"], "encoder": record["encoder"]["name"]}
    run = {"device": record["device"], "precision": record["precision"], **seconds}
    return [
        ("Prompts", prompts),
        ("Figures", [(name, value) for name, value in figures.items() if value is not None]),
        ("Settings", list(settings.items())),
        ("Run", list(run.items())),
    ]


def _previews(folder: Path) -> list[Shown]:
    """Those that were kept, by their steps; of many, some all along."""
    numbered = (path for path in folder.glob("*.png") if path.stem.isdigit())
    paths = sorted(numbered, key=lambda path: int(path.stem))
    keep = np.unique(np.linspace(0, len(paths) - 1, min(len(paths), _PREVIEWS)).round().astype(int))
    return [_read(f"Step {int(paths[i].stem)}", paths[i], _PREVIEW_SIDE) for i in keep]


def _read(caption: str, path: Path, side: int = VIEW_SIDE) -> Shown:
    with opened(path) as image:
        image.thumbnail((side, side))
        return photo(caption, np.array(image.convert("RGB")))


def _curves(losses: Sequence[Mapping[str, float]]) -> Curves | None:
    """The objective and its terms, or nothing where there were no steps."""
    names = list(dict.fromkeys(name for row in losses for name in row))[: _LINES - 1]
    values = {"objective": [sum(row.values()) for row in losses]}
    values |= {name: [row.get(name, math.nan) for row in losses] for name in names}
    top = max((v for line in values.values() for v in line if math.isfinite(v)), default=0.0)
    if top <= 0:
        return None
    lines = [Line(name, _points(line, top), f"{line[-1]:.3g}") for name, line in values.items()]
    return Curves(lines, len(losses), f"{top:.3g}")


def _points(values: Sequence[float], top: float) -> str:
    """The line through them; of many steps each point is the mean of some."""
    width, height = _CURVES
    parts = np.array_split(np.asarray(values, np.float64), min(len(values), _POINTS))
    means = [float(part.mean()) for part in parts]
    across = width / max(len(means) - 1, 1)
    return " ".join(
        f"{i * across:.1f},{height * (1 - max(mean, 0.0) / top):.1f}"
        for i, mean in enumerate(means)
        if math.isfinite(mean)
    )
