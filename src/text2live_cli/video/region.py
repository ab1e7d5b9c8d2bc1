"""The region of a clip's edit: found in single frames, and carried to the atlas (paper §3.2)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..atlas.layers import Side
from ..atlas.painting import splat
from ..atlas.store import Atlas
from ..engine.internal_dataset import Example
from ..errors import Text2LiveError, UsageError
from ..guide.clip import ClipGuide
from ..guide.hints import Hints, parse_hints
from ..guide.picture_region import keep_maps, resolve_region, text_map
from ..guide.prompts import Prompts, knows
from ..guide.region import Region, region_from_text
from ..media.clips import Clip
from ..media.pictures import read_mask
from ..progress import Progress
from .footage import WorkingAtlas
from .scene import AtlasScene

_FRAMES = 5  # that a text is looked for in
_SEEN = 0.5  # of a pixel: a layer's share from which the pixel tells of that layer


@dataclass(frozen=True)
class Pointed:
    """What a user said of where the edit is to be, on one frame of the clip."""

    hints: Hints
    mask: NDArray[np.float32] | None
    """(H, W) of the clip's size, white where it may be edited."""
    frame: int | None
    """Counted from 0; None for the first that was fitted."""
    path: Path | None = None
    """The file of the mask."""

    @property
    def given(self) -> bool:
        """Whether anything was said."""
        return self.hints.given or self.mask is not None


def read_pointed(
    clip: Clip,
    mask: Path | str | None,
    box: str | None,
    points: Sequence[str],
    not_points: Sequence[str],
) -> Pointed:
    """Read box, points and a mask, "FILE" or "FILE@FRAME"; raises UsageError, naming the option."""
    size = clip.height, clip.width
    hints = parse_hints(size, box, points, not_points, range(clip.count))
    frames = set(hints.frames)
    drawn = path = None
    if mask is not None:
        path, number = _named_frame(Path(mask), clip)
        drawn = read_mask(path, size)
        frames |= {number} if number is not None else set()
    if len(frames) > 1:
        numbers = " and ".join(map(str, sorted(frames)))
        raise UsageError(f"--mask and --box, --point are on the frames {numbers}; choose one")
    return Pointed(hints, drawn, min(frames, default=None), path)


def _named_frame(mask: Path, clip: Clip) -> tuple[Path, int | None]:
    name, at, number = mask.name.rpartition("@")
    if not at or mask.exists() or not re.fullmatch(r"[0-9]{1,9}", number):
        return mask, None
    if int(number) >= clip.count:
        raise UsageError(f"--mask {mask}: the clip has the frames 0:{clip.count}")
    return mask.with_name(name), int(number)


@dataclass(frozen=True)
class Shown:
    """A region in one frame of the clip, to be looked at; `frame` (H, W, 3)."""

    frame: NDArray[np.uint8]
    region: Region


def find_atlas_region(
    scene: AtlasScene,
    guide: ClipGuide,
    prompts: Prompts,
    pointed: Pointed,
    rule: str,
    progress: Progress,
) -> tuple[AtlasScene, Shown | None]:
    """The scene with the region of its edit on the atlas, and that region in a frame.

    `rule` is that of `EditSettings.region`: where it is "paper" and nothing is pointed at, the
    region is looked for in every example. Raises Text2LiveError where there is nothing to edit.
    """
    if rule == "paper" and not pointed.given:
        return scene, None
    if pointed.given:
        number = fitted_frame(scene.atlas, pointed)
        shown = _frame_region(scene, number, guide, prompts, pointed, progress)
        numbers, frames, regions = [number], [shown.frame], [shown.region]
    else:
        fitted = scene.atlas.frames
        picks = sorted({round(i) for i in np.linspace(0, len(fitted) - 1, _FRAMES)})
        numbers = [fitted[i] for i in picks]
        frames = [_read_frame(scene.clip, number) for number in numbers]
        regions = [region_from_text(f, text_map(guide, f, prompts.roi)) for f in frames]
        shown = Shown(frames[len(frames) // 2], regions[len(regions) // 2])
        _tell(regions, progress)
    kept = prompts.keep if rule == "auto" else ()
    values = {
        number: _maps_of(region, keep_maps(guide, frame, kept), scene.size)
        for number, frame, region in zip(numbers, frames, regions, strict=True)
    }
    maps = carried(scene.atlas, scene.side, scene.working, values)
    target, limit, keep = maps[:1], maps[1:2], maps[2:]
    if float(target.max()) < 0.5 / 255:
        raise Text2LiveError(
            f"the region of the edit is empty on the {scene.side}:"
            " point at it in another frame (@FRAME), or edit the other --atlas"
        )
    color = scene.working.color
    example = Example(
        color,
        limit=limit[None].to(color.device) if regions[0].limit is not None else None,
        target=target[None].to(color.device),
        keep=keep[None].to(color.device) if kept else None,
    )
    return replace(scene, region=example), shown


def fitted_frame(atlas: Atlas, pointed: Pointed) -> int:
    """The number of the frame that was pointed at; raises UsageError where it was not fitted."""
    number = atlas.frames[0] if pointed.frame is None else pointed.frame
    if number not in atlas.frames:
        raise UsageError(
            f"--box, --point, --mask: frame {number} was not fitted;"
            f" choose one of {atlas.frames[0]} to {atlas.frames[-1]}"
        )
    return number


def _frame_region(
    scene: AtlasScene,
    number: int,
    guide: ClipGuide,
    prompts: Prompts,
    pointed: Pointed,
    progress: Progress,
) -> Shown:
    frame = _read_frame(scene.clip, number)
    relevancy = text_map(guide, frame, prompts.roi) if knows(guide, prompts.roi) else None
    progress.message(f"frame {number}:")
    return Shown(frame, resolve_region(frame, relevancy, pointed.hints, pointed.mask, progress))


def _tell(regions: Sequence[Region], progress: Progress) -> None:
    share = np.mean([region.share for region in regions])
    certainty = np.mean([region.certainty for region in regions])
    progress.message(
        f"region from text in {len(regions)} frames: {share:.0%} of them on average,"
        f" certainty {certainty:.2f}"
    )


def _read_frame(clip: Clip, number: int) -> NDArray[np.uint8]:
    return next(clip.frames(number, number + 1))


def _maps_of(
    region: Region, keep: Sequence[NDArray[np.float32]], size: tuple[int, int]
) -> NDArray[np.float32]:
    """Target, limit (1 where there is none) and what is to stay at `size`, (h, w, 2 + K).

    The limit is the matte, with the edges of the frame: there is no other chance for it.
    """
    limit = np.ones_like(region.target) if region.matte is None else region.matte
    maps = (region.target, limit, *keep)
    shrunk = [cv2.resize(one, size[::-1], interpolation=cv2.INTER_AREA) for one in maps]
    return np.dstack(shrunk).astype(np.float32)


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
    for number, shown in values.items():
        maps = atlas.locate(number, (shown.shape[0], shown.shape[1]))
        opacity, uv = maps.opacity.cpu(), getattr(maps, side).cpu()
        share = opacity if side == "foreground" else 1 - opacity
        take = (share > _SEEN) & uv.isfinite().all(-1)
        if take.any():
            told = torch.from_numpy(np.dstack([shown, np.ones(shown.shape[:2], np.float32)]))
            total = total + splat(told, take, share, uv).at(places)
    if isinstance(total, float):
        return torch.zeros(next(iter(values.values())).shape[2], height, width)
    mean = total[..., :-1] / total[..., -1:].clamp_min(1e-6)
    return mean.permute(2, 0, 1).contiguous()
