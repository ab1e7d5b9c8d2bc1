"""The region of an edit in a picture, by all that is known of it, and pictures of it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from ..errors import Text2LiveError
from ..media.pictures import (
    Picture,
    to_uint,
    to_unit,
    write_picture,
)
from ..media.resampling import strips
from ..progress import Progress
from .clip import ClipGuide
from .grabcut import outline
from .hints import Hints
from .matting import Map
from .region import (
    Region,
    region_from_hints,
    region_from_mask,
    region_from_text,
    small_copy,
)
from .relevancy import averaged_relevancy, make_query

_DIM = 0.3  # of the brightness that is left outside of the region
_OUTLINE = (255, 220, 0)


def describe_region(region: Region) -> dict[str, Any]:
    """What a record says of a region."""
    return {
        "origin": region.origin,
        "certainty": round(region.certainty, 4),
        "share": round(region.share, 4),
        "limited": region.limit is not None,
        "notes": list(region.notes),
    }


def resolve_region(
    picture: NDArray[np.uint8],
    relevancy: Map | None,
    hints: Hints,
    mask: Map | None,
    progress: Progress,
) -> Region:
    """The region in `picture` (H, W, 3), by all that is known of it; tells where it is.

    `relevancy` (h, w) is the text's map, `mask` (H, W) what the user drew.
    """
    region = None
    if hints.given:
        region = region_from_hints(picture, hints, relevancy)
    elif mask is None and relevancy is not None:
        region = region_from_text(picture, relevancy)
    if mask is not None:
        region = region_from_mask(mask, region)
    assert region is not None
    if region.target.max() < 0.5 / 255:
        change = "--mask is black there" if mask is not None else "say where, with --box or --point"
        raise Text2LiveError(f"the region of the edit is empty: {change}")
    for note in region.notes:
        progress.message(note)
    progress.message(
        f"region from {region.origin}: {region.share:.0%} of the picture,"
        f" certainty {region.certainty:.2f}{_standing_out(relevancy, region)}"
    )
    return region


def _standing_out(relevancy: Map | None, region: Region) -> str:
    """How much more relevant to the text the region is than what is beside it, in words."""
    if relevancy is None:
        return ""
    size = relevancy.shape[1], relevancy.shape[0]
    inside = cv2.resize(region.target, size, interpolation=cv2.INTER_AREA) > 0.5
    if inside.all() or not inside.any():
        return ""
    there, beside = relevancy[inside].mean(), relevancy[~inside].mean()
    return f"; the text's map is {there:.2f} in it, {beside:.2f} beside it"


def text_map(guide: ClipGuide, picture: NDArray[np.uint8], text: str) -> Map:
    """The averaged relevancy of a small copy of `picture` (H, W, 3) to `text`: (h, w) in [0, 1]."""
    small = torch.from_numpy(small_copy(picture)).to(guide.device)
    shown = small.permute(2, 0, 1)[None].float() / 255
    return averaged_relevancy(guide, shown, [make_query(guide, text)])[0].float().cpu().numpy()


def keep_maps(guide: ClipGuide, picture: NDArray[np.uint8], texts: Sequence[str]) -> list[Map]:
    """Where in `picture` (H, W, 3) the things are that must stay: a map (H, W) for each text."""
    return [region_from_text(picture, text_map(guide, picture, text)).target for text in texts]


def seen_colors(picture: Picture) -> NDArray[np.uint8]:
    """The picture in 8 bits as the encoder sees it: what is transparent is white, (H, W, 3)."""
    color = picture.color
    if color.dtype != np.uint8:
        color = (color >> 8).astype(np.uint8)
    if picture.alpha is None:
        return color
    seen = np.empty(color.shape, np.uint8)
    for rows in strips(picture.alpha.shape):
        opacity = to_unit(picture.alpha[rows])[..., None]
        seen[rows] = to_uint(1 + (to_unit(color[rows]) - 1) * opacity, 255)
    return seen


def write_region(shown: Path, mask: Path, picture: NDArray[np.uint8], region: Region) -> None:
    """Write `shown`, the picture dimmed outside of the region, and `mask`, its target."""
    drawn = region.target if region.matte is None else region.matte
    write_picture(shown, dimmed(picture, drawn))
    write_picture(mask, to_uint(drawn, 255))


def dimmed(picture: NDArray[np.uint8], target: Map) -> NDArray[np.uint8]:
    """`picture` (H, W, 3), dark outside of a region's target (H, W), with its outline."""
    shown = np.empty_like(picture)
    for rows in strips(target.shape):
        light = _DIM + (1 - _DIM) * target[rows, :, None]
        shown[rows] = np.rint(picture[rows] * light)
    width = max(1, round(min(target.shape) / 300))
    shown[outline(target > 0.5, width)] = _OUTLINE
    return shown
