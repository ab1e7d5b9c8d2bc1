"""The region of an edit: where the alpha is drawn to, and what it may not pass.

From a text, its relevancy map is cut out along the picture's own edges; from a user's box and
points the object is cut out around them; a mask is taken as it is. How, and why so: docs/region.md.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from ..errors import Text2LiveError
from .cut_out import CUT_SHORT, PERHAPS, cut_out_hints, cut_out_text
from .grabcut import Mask
from .hints import Box, Hints, Point
from .matting import Map, matted

_MOST = 0.85  # of the picture: a cut-out of more has found nothing
_LEAST = 0.001
_SEEN = 0.005  # mean probability of a region, under which it hardly shows its text
_FLAT = 2.0  # levels of 255: a picture that varies less has one colour
_UNSURE = 0.6  # certainty under which a text's region is worth a look
ADVICE = "--box or --point can say where it is"
_SMALL_BOX = 20  # pixels of a box's smaller side, at the size of the cut-out
_AROUND = 0.5  # of a box's sides: what is looked at around it
_GROWTH = 0.02  # of the short side: so far may an edit pass the region that it was shown
_REACH = 0.08  # the same of a text's region, of what is delivered: it ends at 1.5 times that


class TextMap(NamedTuple):
    """Where a text is relevant in a picture."""

    text: str
    values: Map
    """(h, w) in [0, 1], of any size."""
    probability: Map | None = None
    """That each spot shows it, (h, w) in [0, 1]; None where nothing knows."""


class TextScore(NamedTuple):
    """How relevant a region is to a text: means of its map."""

    text: str
    inside: float | None
    """In [0, 1]; None where nothing of the map is inside."""
    beside: float | None
    probability: float | None = None
    """That its spots show the text, a mean; None where nothing knows."""


class Hold(NamedTuple):
    """What a delivered alpha is held by, of a region."""

    matte: NDArray[np.floating[Any]] | None = None
    outside: NDArray[np.floating[Any]] | None = None

    def at(self, index: Any) -> Hold:
        """That part of it, as NumPy indexes."""
        return Hold(*(None if values is None else values[index] for values in self))


FREE = Hold()
"""By nothing."""


class Region(NamedTuple):
    """Where an edit is to be, (H, W) at the size of its picture."""

    target: Map
    """In [0, 1]: what the alpha is drawn to."""
    limit: Map | None
    """In [0, 1]: what the alpha may not pass in the training, or None."""
    matte: Map | None
    """The same with the picture's own edges; of a text's region, how far from it an edit may be.
    The delivered alpha is multiplied by it."""
    origin: str
    """Where it comes from: "text", "box", "2 points", "mask", …"""
    certainty: float
    """In [0, 1]: how little the cut-out changes when its thresholds move."""
    notes: tuple[str, ...] = ()
    """What the user should know of it."""
    outside: Map | None = None
    """In [0, 1]: how sure it is that a place is not the region's, where there is no limit: faint
    alpha is not delivered there."""
    score: TextScore | None = None
    """What the text's map says of it, where there is one."""

    @property
    def hold(self) -> Hold:
        """What the delivered alpha is held by."""
        return Hold(self.matte, self.outside)

    @property
    def share(self) -> float:
        """Of the picture."""
        return float(self.target.mean())


def region_from_text(picture: NDArray[np.uint8], relevancy: Map) -> Region:
    """The region of what a text names in `picture` (H, W, 3), by its map (h, w) in [0, 1].

    The cut-out is blended with the map by how sure it is. There is no limit: fire may leave the
    bear's mouth.
    """
    small = small_copy(picture)
    coarse = _resized(relevancy, small.shape[:2])
    mask, certainty = cut_out_text(small, coarse)
    notes: tuple[str, ...] = ()
    if not _LEAST < mask.mean() < _MOST:
        certainty = 0.0
        everywhere = (coarse > PERHAPS).mean() > 0.5
        what = "fits nearly all of the picture" if everywhere else "stands out nowhere in it"
        notes = (f"the text {what}: its rough map serves as the region",)
    elif certainty < _UNSURE:
        notes = ("not sure of the region",)
    blend = certainty * mask + (1 - certainty) * coarse
    size = picture.shape[0], picture.shape[1]
    return Region(_resized(blend, size), None, None, "text", certainty, notes)


def with_outside(region: Region, picture: NDArray[np.uint8]) -> Region:
    """A text's region in `picture` (H, W, 3), with what is surely outside of it.

    By the rim of the cut-out, matted, and by its certainty; where that is low, it has no end, and
    where the text's plain map serves, nothing is sure. A region with a limit stays as it is.
    """
    if region.limit is not None or not region.certainty:
        return region
    mask = region.target > 0.5
    rim = matted(mask.astype(np.float32), picture)
    reach = None if region.certainty < _UNSURE else grown(mask, _REACH * min(mask.shape))
    return region._replace(matte=reach, outside=region.certainty * (1 - rim))


def region_from_hints(
    picture: NDArray[np.uint8], hints: Hints, relevancy: Map | None, located: bool = False
) -> Region:
    """The region of the object in `picture` (H, W, 3) that a user points at.

    The text's map (h, w), if there is one, helps to say where to begin; more so if it is a
    locator's (`located`). Raises Text2LiveError where nothing stands out.
    """
    size = picture.shape[0], picture.shape[1]
    window = _window(hints.box, size)
    part = picture[window]
    small = small_copy(part)
    coarse = None
    if relevancy is not None:
        coarse = _resized(_resized(relevancy, size)[window], small.shape[:2])
    seen = _seen_in(window, hints, size)
    mask, certainty = cut_out_hints(small, seen, coarse, located)
    if coarse is not None and mask.mean() <= _LEAST:  # the text's thing is more than what is shown
        mask, certainty = cut_out_hints(small, seen, None)
    flat = small.std(axis=(0, 1)).max() < _FLAT
    if flat or mask.mean() <= _LEAST or (hints.box is None and mask.mean() > _MOST):
        raise Text2LiveError(
            f"{picture.shape[1]}×{picture.shape[0]}: nothing stands out at the {hints.describe()};"
            " draw --box closer around the object, or add --point on it and --not beside it"
        )
    reach = _GROWTH * min(size) * small.shape[0] / part.shape[0]
    target, limit = np.zeros(size, np.float32), np.zeros(size, np.float32)
    target[window] = _resized(mask.astype(np.float32), part.shape)
    limit[window] = _resized(grown(mask, reach), part.shape)
    return Region(target, limit, matted(target, picture), hints.describe(), certainty)


def _window(box: Box | None, size: tuple[int, int]) -> tuple[slice, slice]:
    """Rows and columns that are looked at: all, or a box so small that it would be lost in that,
    and half its size around it.
    """
    least = _SMALL_BOX / CUT_SHORT * min(size)
    if box is None or min(box.height * size[0], box.width * size[1]) >= least:
        return slice(0, size[0]), slice(0, size[1])
    spans = []
    for start, length, count in ((box.y, box.height, size[0]), (box.x, box.width, size[1])):
        low, high = start - _AROUND * length, start + (1 + _AROUND) * length
        spans.append(slice(max(math.floor(low * count), 0), min(math.ceil(high * count), count)))
    return spans[0], spans[1]


def _seen_in(window: tuple[slice, slice], hints: Hints, size: tuple[int, int]) -> Hints:
    """Hints on a picture of `size`, as shares of a window of it; what is beside it is left out."""
    rows, columns = window
    tall, wide = (rows.stop - rows.start) / size[0], (columns.stop - columns.start) / size[1]
    top, left = rows.start / size[0], columns.start / size[1]

    def move(points: tuple[Point, ...]) -> tuple[Point, ...]:
        places = [Point((p.x - left) / wide, (p.y - top) / tall) for p in points]
        return tuple(p for p in places if 0 <= p.x <= 1 and 0 <= p.y <= 1)

    box = hints.box
    if box is not None:
        place = (box.x - left) / wide, (box.y - top) / tall
        box = Box(*place, box.width / wide, box.height / tall)
    return Hints(box, move(hints.points), move(hints.not_points))


def region_from_mask(mask: Map, other: Region | None = None) -> Region:
    """The region that a mask (H, W) in [0, 1] draws; with an `other` one, which is changed, what
    both have.
    """
    if other is None:
        return Region(mask, mask, mask, "mask", 1.0)
    assert other.limit is not None and other.matte is not None, "it comes from hints"
    for values in (other.target, other.limit, other.matte):
        values *= mask  # in place, to spare memory
    return other._replace(origin=f"mask and {other.origin}")


def scored(region: Region, text_map: TextMap) -> Region:
    """The region with how relevant it is to a text, which it may be from, and a note where it
    hardly shows it.
    """
    text, values, probability = text_map
    inside = _shrunk(region.target, values.shape) > 0.5
    means = (float(values[at].mean()) if at.any() else None for at in (inside, ~inside))
    score, notes = TextScore(text, *means), region.notes
    if probability is not None:
        weights = _shrunk(region.target, probability.shape)
        seen = float((weights * probability).sum() / max(weights.sum(), 1e-6))
        score = score._replace(probability=seen)
        if seen < _SEEN and region.origin == "text":
            notes = (*notes, f'the region hardly looks like "{text}"')
    return region._replace(score=score, notes=notes)


def _shrunk(values: Map, size: tuple[int, ...]) -> Map:
    return np.asarray(cv2.resize(values, size[::-1], interpolation=cv2.INTER_AREA))


def grown(mask: Mask, reach: float) -> Map:
    """`mask` and a soft rim around it, which is at one half `reach` pixels away from it."""
    away = cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, 5)
    return np.clip(1.5 - away / reach, 0, 1).astype(np.float32)


def small_copy(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """`picture` (H, W, 3) at the size that regions are cut out at, short side at most 320."""
    height, width = picture.shape[:2]
    scale = min(1.0, CUT_SHORT / min(height, width))
    size = max(1, round(scale * width)), max(1, round(scale * height))
    return cv2.resize(picture, size, interpolation=cv2.INTER_AREA).astype(np.uint8)


def _resized(values: Map, size: tuple[int, ...]) -> Map:
    """(h, w) → `size`, bilinear."""
    result = cv2.resize(values, (size[1], size[0]), interpolation=cv2.INTER_LINEAR)
    return result.astype(np.float32, copy=False)
