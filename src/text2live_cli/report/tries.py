"""One picture of several edits, side by side, each with a line below it."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from ..texts import visible

_TILE, _LINE, _LINES, _LETTERS = 320, 16, 3, 48  # pixels; letters in a line


def contact_sheet(
    pictures: Sequence[NDArray[np.uint8]], captions: Sequence[str]
) -> NDArray[np.uint8]:
    """(H, W, 3) of pictures (h, w, 3) uint8 of any sizes, best first, with their captions."""
    columns = min(len(pictures), max(2, math.ceil(math.sqrt(len(pictures)))))
    rows = math.ceil(len(pictures) / columns)
    height = _TILE + _LINE * _LINES
    sheet = Image.new("RGB", (columns * _TILE, rows * height), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(12)
    for number, (picture, caption) in enumerate(zip(pictures, captions, strict=True)):
        x, y = number % columns * _TILE, number // columns * height
        image = Image.fromarray(picture)
        image.thumbnail((_TILE - 4, _TILE - 4))
        sheet.paste(image, (x + (_TILE - image.width) // 2, y + (_TILE - image.height) // 2))
        lines = textwrap.wrap(visible(caption), _LETTERS)[:_LINES]
        for i, line in enumerate(lines):
            draw.text((x + 4, y + _TILE + i * _LINE), line, fill="black", font=font)
    return np.array(sheet)
