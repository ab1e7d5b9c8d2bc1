"""Stills and clips with alpha laid over every frame of a clip: `composite` without an atlas."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..config import BLEND_MODES, require_one_of
from ..errors import UsageError
from ..media.animation_writing import ANIMATION_ENDINGS
from ..media.blending import NORMAL
from ..media.clip_animations import is_animated
from ..media.clip_kinds import CLIP_ENDINGS, KINDS
from ..media.clips import Clip, open_clip
from ..media.compositing import lay_over
from ..media.layered_files import LAYERED_ENDINGS, NamedLayer, read_layered, stacked_layer
from ..media.outside import RECORD_ERRORS, read_record
from ..media.pictures import read_picture
from ..media.samples import unmultiplied
from ..progress import Progress
from ..runs.folder import LAYER, LAYER_PICTURE, RECORD
from .fading import Fade

_STILLS = (".png", ".webp", ".tif", ".tiff", *LAYERED_ENDINGS)


class Overlay(NamedTuple):
    """One picture for all frames, (h, w, 4) uint8 with straight alpha, or a clip of such."""

    still: NDArray[np.uint8] | None
    clip: Clip | None
    is_premultiplied: bool = False
    """Whether the colours of the clip are multiplied by its alpha."""

    def frames(self, count: int) -> Iterator[NDArray[np.uint8]]:
        """Its picture for each of the frames."""
        if self.clip is not None:
            frames = self.clip.frames(stop=count, alpha=True)
            yield from map(_straight, frames) if self.is_premultiplied else frames
        else:
            assert self.still is not None
            for _ in range(count):
                yield self.still


def _straight(frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A premultiplied frame (h, w, 4) with straight colours."""
    color, alpha = frame[..., :3], frame[..., 3:]
    return np.dstack([unmultiplied(color, alpha), alpha])


def is_for_a_clip(source: Path, output: Path) -> bool:
    """Whether `composite` of these is about a clip: by what is to be written, and what is there."""
    if source.is_dir() or source.suffix.lower() in CLIP_ENDINGS:
        return True
    if not output.suffix:  # a folder of frames
        return source.suffix.lower() in ANIMATION_ENDINGS
    if output.suffix.lower() == ".webp":  # a picture, or an animation
        return is_animated(source)
    return output.suffix.lower() in (*KINDS, ".gif", ".apng")


def read_overlay(path: Path, clip: Clip, progress: Progress) -> Overlay:
    """A layer of the size of the clip's frames.

    Raises UsageError for another size, for one without alpha, and for a clip that is shorter.
    """
    file = path / "layer.png" if (path / "layer.png").is_file() else path
    if file.suffix.lower() in _STILLS and file.is_file():
        rgba = read_layer(file)
        _require_fit(file, (rgba.shape[1], rgba.shape[0]), clip)
        return Overlay(rgba, None)
    over = open_clip(path)
    if not over.transparent:
        raise _no_layer(path)
    _require_fit(path, (over.width, over.height), clip)
    if over.count < clip.count:
        raise UsageError(
            f"{path}: has {over.count} frames and {clip.path} {clip.count}; give as many"
        )
    if over.count > clip.count:
        progress.message(f"{path}: its frames after {clip.count} are left out")
    is_premultiplied = _says_premultiplied(path)
    if is_premultiplied:
        progress.message(f"{path}: its colours are multiplied by alpha, says its {RECORD}")
    return Overlay(None, over, is_premultiplied)


def _says_premultiplied(path: Path) -> bool:
    """Whether it is a layer of a result that was made with `--premultiplied`."""
    place = path.resolve()
    if place.name not in (LAYER, "layer.mov"):
        return False
    with contextlib.suppress(*RECORD_ERRORS):
        record = read_record(place.parent / RECORD)
        return record["request"]["premultiplied"] is True
    return False


def overlaid(
    clip: Clip,
    overlays: Sequence[tuple[Overlay, str]],
    fade: Fade,
    alpha: bool,
    progress: Progress,
) -> Iterator[NDArray[np.uint8]]:
    """The clip's frames (h, w, 3), with `alpha` (h, w, 4), under the overlays, the first lowest.

    Each has its blend mode; `fade` is the opacity of all, by frame.
    """
    progress.stage("compositing", clip.count, "frame")
    streams = [(overlay.frames(clip.count), mode) for overlay, mode in overlays]
    for number, frame in enumerate(clip.frames(alpha=alpha), 1):
        color = np.ascontiguousarray(frame[..., :3])
        for stream, mode in streams:
            color = lay_over(color, next(stream), fade(number - 1), mode)
        yield np.dstack([color, frame[..., 3]]) if alpha else color
        progress.advance(number)


def layer_modes(blend: Sequence[str], count: int) -> list[str]:
    """A blend mode for each of so many layers. Raises UsageError for what there is not."""
    for mode in blend:
        require_one_of("--blend", mode, BLEND_MODES)
    if len(blend) not in (0, 1, count):
        raise UsageError(f"--blend: {len(blend)} modes for {count} layers; give one, or one each")
    return list(blend) if len(blend) == count else list(blend or (NORMAL,)) * count


def read_layer(path: Path) -> NDArray[np.uint8]:
    """A saved layer, (h, w, 4) with straight alpha; those of a layered file as one.

    Raises UsageError for one without alpha.
    """
    if path.suffix.lower() in LAYERED_ENDINGS:
        return stacked_layer(read_layered(path))
    picture = read_picture(path).in_eight_bits()
    if picture.alpha is None:
        raise _no_layer(path)
    return np.dstack([picture.color, picture.alpha])


def region_of(result: Path, layer: NDArray[np.uint8]) -> NDArray[np.uint8] | None:
    """The region (h, w) of an edit in its folder, where it has one of the size of its `layer`."""
    path = result / "mask.png"
    if not path.is_file():
        return None
    region = read_picture(path).in_eight_bits().color[..., 0]
    return np.ascontiguousarray(region) if region.shape == layer.shape[:2] else None


def named_layer(result: Path, name: str) -> NamedLayer:
    """The layer of a result, with its region where it has one."""
    rgba = read_layer(result / LAYER_PICTURE)
    return NamedLayer(name, rgba, region=region_of(result, rgba))


def _no_layer(path: Path) -> UsageError:
    return UsageError(f"{path}: has no alpha, so it is no layer; give a layer.png or layer.mov")


def _require_fit(path: Path, size: tuple[int, int], clip: Clip) -> None:
    if size != (clip.width, clip.height):
        raise UsageError(
            f"{path}: is {size[0]}×{size[1]}, the clip {clip.width}×{clip.height}; give a layer of"
            " its size (a layer of an atlas: --fg-layer, --bg-layer)"
        )
