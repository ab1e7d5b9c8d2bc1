"""The contact sheet of `photos.py`: a row for each line, the ways one below the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from outline import Outline
from photo_lines import Line
from PIL import Image, ImageDraw, ImageFont

_TILE = (256, 192)  # what a picture is fitted into
_CAPTION = 16
_RIM, _HINT, _NOT = (0, 255, 0), (255, 0, 255), (255, 40, 0)


class Shown(Protocol):
    """What the sheet shows of an outcome."""

    @property
    def line(self) -> Line: ...
    @property
    def way(self) -> str: ...
    @property
    def source(self) -> np.ndarray: ...
    @property
    def region(self) -> np.ndarray | None: ...
    @property
    def alpha(self) -> np.ndarray | None: ...
    @property
    def made(self) -> np.ndarray | None: ...
    @property
    def failure(self) -> str: ...


def save_sheet(
    outcomes: Sequence[Shown], outlines: Mapping[tuple[Line, str], Outline], path: Path
) -> None:
    """Source with outline and hints, region, alpha and composite of every outcome."""
    width, height = _TILE
    columns = 2 if len({outcome.way for outcome in outcomes}) > 1 else 1
    rows = -(-len(outcomes) // columns)
    sheet = Image.new("RGB", (columns * 4 * width, rows * (height + _CAPTION)), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(12)
    for number, outcome in enumerate(outcomes):
        x, y = number % columns * 4 * width, number // columns * (height + _CAPTION)
        caption = f"{outcome.line.title}, {outcome.way} {outcome.failure}"
        draw.text((x + 2, y + 1), caption, fill="black", font=font)
        pictures = (_source(outcome, outlines[outcome.line, outcome.way]), *_made(outcome))
        for place, picture in enumerate(pictures):
            if picture is not None:
                picture.thumbnail(_TILE)
                sheet.paste(picture, (x + place * width, y + _CAPTION))
    sheet.save(path, quality=85)


def _made(outcome: Shown) -> list[Image.Image | None]:
    arrays = (outcome.region, outcome.alpha, outcome.made)
    return [None if array is None else Image.fromarray(array) for array in arrays]


def _source(outcome: Shown, outline: Outline) -> Image.Image:
    """The source with the object's outline, and the box and points where they were given."""
    rim = outline.rim()
    rim[1:] |= rim[:-1]
    rim[:, 1:] |= rim[:, :-1]
    picture = Image.fromarray(np.where(rim[..., None], np.array(_RIM, np.uint8), outcome.source))
    draw, line = ImageDraw.Draw(picture), outcome.line
    if outcome.way != "box":
        return picture
    if line.box:
        left, top, width, height = map(int, line.box.split(","))
        draw.rectangle((left, top, left + width - 1, top + height - 1), outline=_HINT, width=3)
    for points, colour in ((line.points, _HINT), (line.not_points, _NOT)):
        for point in points:
            x, y = map(int, point.split(","))
            draw.ellipse((x - 6, y - 6, x + 6, y + 6), fill=colour)
    return picture
