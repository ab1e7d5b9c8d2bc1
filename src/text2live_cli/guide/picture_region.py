"""The region of an edit in a picture, by all that is known of it, and pictures of it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from ..errors import Text2LiveError
from ..media.picture_writing import write_picture
from ..media.pictures import Picture
from ..media.resampling import strips
from ..media.samples import to_uint, to_unit
from ..progress import Progress
from .clip import ClipGuide
from .grabcut import outline
from .hints import Hints
from .matting import Map
from .region import (
    ADVICE,
    Region,
    TextMap,
    TextScore,
    region_from_hints,
    region_from_mask,
    region_from_text,
    scored,
    small_copy,
)
from .relevancy import averaged_relevancy, make_query

_DIM = 0.3  # of the brightness that is left outside of the region
_OUTLINE = (255, 220, 0)


def describe_region(*regions: Region) -> dict[str, Any]:
    """What a record says of a region, or of the same in several frames: means of its figures."""
    first = regions[0]
    scores = [region.score for region in regions if region.score is not None]
    return {
        "origin": first.origin,
        "text": scores[0].text if scores else None,
        "score": _mean([score.inside for score in scores]),
        "score_beside": _mean([score.beside for score in scores]),
        "probability": _mean([score.probability for score in scores]),
        "certainty": _mean([region.certainty for region in regions]),
        "share": _mean([region.share for region in regions]),
        "limited": first.limit is not None,
        "notes": list(dict.fromkeys(note for region in regions for note in region.notes)),
    }


def _mean(values: Sequence[float | None]) -> float | None:
    """Of those that are known, to four digits; None where none is."""
    numbers = [value for value in values if value is not None]
    return round(float(np.mean(numbers)), 4) if numbers else None


def resolve_region(
    picture: NDArray[np.uint8],
    where: TextMap | None,
    hints: Hints,
    mask: Map | None,
    progress: Progress,
) -> Region:
    """The region in `picture` (H, W, 3), by all that is known of it; tells where it is.

    `where` the text is found is known from its map; `mask` (H, W) is what the user drew.
    """
    relevancy = None if where is None else where.values
    region = None
    if hints.given:
        located = where is not None and where.probability is not None
        region = region_from_hints(picture, hints, relevancy, located)
    elif mask is None and relevancy is not None:
        region = region_from_text(picture, relevancy)
    if mask is not None:
        region = region_from_mask(mask, region)
    assert region is not None
    if region.target.max() < 0.5 / 255:
        change = "--mask is black there" if mask is not None else "say where, with --box or --point"
        raise Text2LiveError(f"the region of the edit is empty: {change}")
    if where is not None:
        region = scored(region, where)
    for note in region.notes:
        progress.message(f"{note}; {ADVICE}")
    progress.message(
        f"region from {region.origin}: {region.share:.0%} of the picture,"
        f" certainty {region.certainty:.2f}{_score_words(region.score)}"
    )
    return region


def _score_words(score: TextScore | None) -> str:
    """How much more relevant to the text the region is than what is beside it, in words."""
    if score is None or score.inside is None or score.beside is None:
        return ""
    return f'; the map of "{score.text}" is {score.inside:.2f} in it, {score.beside:.2f} beside it'


def text_map(guide: ClipGuide, picture: NDArray[np.uint8], text: str) -> TextMap:
    """The averaged relevancy of a small copy of `picture` (H, W, 3) to `text`."""
    small = torch.from_numpy(small_copy(picture)).to(guide.device)
    batch = small.permute(2, 0, 1)[None].float() / 255
    query = make_query(guide, text)
    (values,), likely = averaged_relevancy(guide, batch, [query])
    probability = None if likely is None else likely[0].cpu().numpy()
    return TextMap(text, values.float().cpu().numpy(), probability)


def text_region(guide: ClipGuide, picture: NDArray[np.uint8], text: str) -> Region:
    """The region in `picture` (H, W, 3) of what `text` names, with its score."""
    where = text_map(guide, picture, text)
    region = region_from_text(picture, where.values)
    return scored(region, where)


class Keep(NamedTuple):
    """The things that must stay, in a picture or in frames of a clip."""

    maps: list[list[Map]]
    """Where they are: for each frame a map (H, W) in [0, 1] for each text."""
    record: dict[str, Any]
    """What a record says of them, by their texts."""


def find_keep(
    guide: ClipGuide,
    frames: Sequence[NDArray[np.uint8]],
    texts: Sequence[str],
    progress: Progress,
) -> Keep:
    """Where in the frames (H, W, 3) the things are that must stay; says which are not sure."""
    regions = [[text_region(guide, frame, text) for text in texts] for frame in frames]
    records = [describe_region(*of_text) for of_text in zip(*regions, strict=True)]
    for text, record in zip(texts, records, strict=True):
        for note in record["notes"]:
            progress.message(f'--keep "{text}": {note}')
    maps = [[region.target for region in of_frame] for of_frame in regions]
    return Keep(maps, dict(zip(texts, records, strict=True)))


def seen_colors(picture: Picture) -> NDArray[np.uint8]:
    """The picture in 8 bits as the encoder sees it: what is transparent is white, (H, W, 3)."""
    color = picture.color
    if color.dtype != np.uint8:
        color = (color >> 8).astype(np.uint8)
    if picture.alpha is None:
        return color
    result = np.empty(color.shape, np.uint8)
    for rows in strips(picture.alpha.shape):
        opacity = to_unit(picture.alpha[rows])[..., None]
        result[rows] = to_uint(1 + (to_unit(color[rows]) - 1) * opacity, 255)
    return result


def write_region(view: Path, mask: Path, picture: NDArray[np.uint8], region: Region) -> None:
    """Write `view`, `picture` (H, W, 3) dimmed outside of the region, and `mask`, what is edited.

    That is the matte of a region with a limit, and else its target.
    """
    extent = region.target if region.limit is None else region.matte
    assert extent is not None, "a limit has a matte"
    write_picture(view, dimmed(picture, extent))
    write_picture(mask, to_uint(extent, 255))


def dimmed(picture: NDArray[np.uint8], target: Map) -> NDArray[np.uint8]:
    """`picture` (H, W, 3), dark outside of a region's target (H, W), with its outline."""
    result = np.empty_like(picture)
    for rows in strips(target.shape):
        light = _DIM + (1 - _DIM) * target[rows, :, None]
        result[rows] = np.rint(picture[rows] * light)
    width = max(1, round(min(target.shape) / 300))
    result[outline(target > 0.5, width)] = _OUTLINE
    return result
