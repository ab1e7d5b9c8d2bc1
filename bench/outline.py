"""Outlines of objects in real pictures: polygons drawn by hand, as masks.

`outlines/NAME.json` holds the picture's size and, for each object, `polygons` in pixels of the
picture ((0, 0) is the outer corner of the first pixel), and where needed `holes`, `minus` (objects
in front of it) and `doubt` (objects whose area counts neither as inside nor as outside).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

OUTLINES = Path(__file__).with_name("outlines")
_FINER = 8  # polygons are filled at this many times the size, a pixel is inside from half of it on


@dataclass(frozen=True)
class Outline:
    """(H, W) bool: where the object is, and the pixels that count at all."""

    inside: np.ndarray
    counted: np.ndarray

    @property
    def outside(self) -> np.ndarray:
        """The pixels that are surely not the object's."""
        return self.counted & ~self.inside

    def overlap(self, mask: np.ndarray) -> float:
        """IoU of a mask (H, W) bool with the object, over the pixels that count."""
        union = (mask | self.inside) & self.counted
        return float((mask & self.inside).sum() / union.sum())

    def bounds(self) -> tuple[int, int, int, int]:
        """The object's bounding box: left, top, right, bottom, the last two exclusive."""
        rows, columns = np.nonzero(self.inside.any(1))[0], np.nonzero(self.inside.any(0))[0]
        return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1

    def rim(self) -> np.ndarray:
        """The object's pixels with a neighbour that is not the object's."""
        padded = np.pad(self.inside, 1, mode="edge")
        core = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
        return self.inside & ~core


def read_outline(picture: str, things: tuple[str, ...]) -> Outline:
    """The outline of one object, or of several as one, in the picture of that name."""
    outlines = json.loads((OUTLINES / f"{picture}.json").read_text())
    return make_outline(outlines, things)


def make_outline(outlines: dict[str, Any], things: tuple[str, ...]) -> Outline:
    """As `read_outline`, from what stands in the file."""
    inside = _union(outlines, things)
    doubts = [name for thing in things for name in outlines["objects"][thing].get("doubt", ())]
    return Outline(inside, inside | ~_union(outlines, tuple(doubts)))


def _union(outlines: dict[str, Any], things: tuple[str, ...]) -> np.ndarray:
    width, height = outlines["size"]
    union = np.zeros((height, width), bool)
    for thing in things:
        shape = outlines["objects"][thing]
        area = fill(shape["polygons"], width, height) & ~fill(shape.get("holes", ()), width, height)
        union |= area & ~_union(outlines, tuple(shape.get("minus", ())))
    return union


def fill(polygons: Any, width: int, height: int) -> np.ndarray:
    """(H, W) bool: the pixels that lie, by half at least, in one of the polygons."""
    canvas = Image.new("L", (width * _FINER, height * _FINER))
    draw = ImageDraw.Draw(canvas)
    for polygon in polygons:
        # Pillow paints the pixels of the edge too: the middle of a small pixel is its coordinate.
        draw.polygon([(x * _FINER - 0.5, y * _FINER - 0.5) for x, y in polygon], fill=255)
    return np.asarray(canvas.reduce(_FINER)) >= 128
