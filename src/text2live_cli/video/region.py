"""The region of a clip's edit: found in single frames, and carried to the atlas (paper §3.2)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..atlas.layers import LAYERS, Side
from ..atlas.painting import splat
from ..atlas.store import Atlas
from ..engine.internal_dataset import Example
from ..errors import Text2LiveError, UsageError
from ..guide.clip import ClipGuide
from ..guide.picture_region import describe_region, find_keep, resolve_region, text_map, text_region
from ..guide.prompts import Prompts, knows
from ..guide.region import ADVICE, Region, with_outside
from ..media.clips import Clip
from ..progress import Progress
from .footage import WorkingAtlas
from .frames import FrameHints
from .scene import AtlasScene

_FRAMES = 5  # that a text is looked for in
_SEEN = 0.5  # of a pixel: a layer's share from which the pixel tells of that layer


class FrameRegion(NamedTuple):
    """The region in one frame of the clip, to be looked at, and what is known of all frames'."""

    frame: NDArray[np.uint8]
    """(H, W, 3)."""
    region: Region
    record: dict[str, Any]
    """What a record says of the region, in all frames that it was looked for in."""
    keep: dict[str, Any]
    """The same of what must stay, by its texts."""


def find_atlas_region(
    scene: AtlasScene,
    guide: ClipGuide,
    prompts: Prompts,
    hints: FrameHints,
    rule: str,
    progress: Progress,
) -> tuple[AtlasScene, FrameRegion | None]:
    """The scene with the region of its edit on the atlas, and that region in a frame.

    `rule` is that of `EditSettings.region`: where it is "paper" and nothing is pointed at, the
    region is looked for in every example. Raises Text2LiveError where there is nothing to edit.
    """
    if rule == "paper" and not hints.given:
        return scene, None
    if hints.given:
        numbers = [fitted_frame(scene.atlas, hints)]
    else:
        all_frames = scene.atlas.frames
        picks = np.linspace(0, len(all_frames) - 1, _FRAMES)
        numbers = sorted({all_frames[round(i)] for i in picks})
    frames = [_read_frame(scene.clip, number) for number in numbers]
    if hints.given:
        progress.message(f"frame {numbers[0]}:")
        regions = [_hint_region(frames[0], guide, prompts, hints, progress)]
    else:
        regions = [with_outside(text_region(guide, f, prompts.roi), f) for f in frames]
        _tell(numbers, regions, progress)
    keep = find_keep(guide, frames, prompts.keep if rule == "auto" else (), progress)
    values = {
        number: _maps_of(region, stays, scene.size)
        for number, region, stays in zip(numbers, regions, keep.maps, strict=True)
    }
    scene = _with_maps(scene, carried(scene.atlas, scene.side, scene.working, values), regions[0])
    middle = len(frames) // 2
    record = describe_region(*regions)
    return scene, FrameRegion(frames[middle], regions[middle], record, keep.record)


def _with_maps(scene: AtlasScene, maps: Tensor, region: Region) -> AtlasScene:
    """The scene with target, matte, outside and what is to stay (3 + K, H, W) on its atlas.

    The matte of a region with a limit is the limit too: there is no other chance for the edges of
    the frame.
    """
    maps = maps[None].to(scene.working.color.device)
    target, matte, outside = maps[:, :3].split(1, dim=1)
    keep = maps[:, 3:] if maps.shape[1] > 3 else None
    if float(target.max()) < 0.5 / 255:
        raise Text2LiveError(
            f"the region of the edit is empty on the {LAYERS[scene.side]}:"
            " point at it in another frame (@FRAME), or edit the other --atlas"
        )
    limit = None if region.limit is None else matte
    example = Example(scene.working.color, limit, target, keep)
    scene = replace(scene, region=example, matte=None if region.matte is None else matte)
    return replace(scene, outside=None if region.outside is None else outside)


def fitted_frame(atlas: Atlas, hints: FrameHints) -> int:
    """The number of the frame that is pointed at; raises UsageError where it was not fitted."""
    number = atlas.frames[0] if hints.frame is None else hints.frame
    if number not in atlas.frames:
        raise UsageError(
            f"--box, --point, --mask: frame {number} was not fitted;"
            f" choose one of {atlas.frames[0]} to {atlas.frames[-1]}"
        )
    return number


def _hint_region(
    frame: NDArray[np.uint8],
    guide: ClipGuide,
    prompts: Prompts,
    hints: FrameHints,
    progress: Progress,
) -> Region:
    where = text_map(guide, frame, prompts.roi) if knows(guide, prompts.roi) else None
    return resolve_region(frame, where, hints.hints, hints.mask, progress)


def _tell(numbers: Sequence[int], regions: Sequence[Region], progress: Progress) -> None:
    """Say where the text is in the frames of these numbers, and in which that is not sure."""
    facts = describe_region(*regions)
    for note in facts["notes"]:
        places = [str(n) for n, one in zip(numbers, regions, strict=True) if note in one.notes]
        progress.message(f"frames {', '.join(places)}: {note}; {ADVICE}")
    inside = facts["score"]
    score = "" if inside is None else f'; the map of "{facts["text"]}" is {inside:.2f} in it'
    progress.message(
        f"region from text in {len(regions)} frames: {facts['share']:.0%} of them on average,"
        f" certainty {facts['certainty']:.2f}{score}"
    )


def _read_frame(clip: Clip, number: int) -> NDArray[np.uint8]:
    return next(clip.frames(number, number + 1))


def _maps_of(
    region: Region, keep: Sequence[NDArray[np.float32]], size: tuple[int, int]
) -> NDArray[np.float32]:
    """Target, matte, outside and what is to stay at `size`, (h, w, 3 + K)."""
    target, matte, outside = region.target, region.matte, region.outside
    matte = np.ones_like(target) if matte is None else matte
    outside = np.zeros_like(target) if outside is None else outside
    maps = (target, matte, outside, *keep)
    small = [cv2.resize(one, size[::-1], interpolation=cv2.INTER_AREA) for one in maps]
    return np.dstack(small).astype(np.float32)


def carried(
    atlas: Atlas, side: Side, working: WorkingAtlas, values: dict[int, NDArray[np.float32]]
) -> Tensor:
    """What frames show, on the atlas: (C, H, W) of the size of `working`.

    `values` are (h, w, C) by the frames' numbers; what several of them show is averaged, and 0 is
    what none does.
    """
    height, width = working.color.shape[2:]
    x = working.left + (torch.arange(width) + 0.5) / working.scale
    y = working.top + (torch.arange(height) + 0.5) / working.scale
    places = torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1)
    total: Tensor | float = 0.0
    for number, values_there in values.items():
        maps = atlas.locate(number, (values_there.shape[0], values_there.shape[1]))
        uv, share = maps.uv[side].cpu(), maps.share[side].cpu()
        take = (share > _SEEN) & uv.isfinite().all(-1)
        if take.any():
            ones = np.ones(values_there.shape[:2], np.float32)
            image = torch.from_numpy(np.dstack([values_there, ones]))
            total = total + splat(image, take, share, uv).at(places)
    if isinstance(total, float):
        return torch.zeros(next(iter(values.values())).shape[2], height, width)
    mean = total[..., :-1] / total[..., -1:].clamp_min(1e-6)
    return mean.permute(2, 0, 1).contiguous()
