"""Layers of the atlases over all frames of a clip, streamed (paper, A.4, inference)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from ..engine.edit_layer import GREEN_SCREEN
from ..errors import UsageError
from ..media.blending import NORMAL
from ..media.clips import Clip
from ..media.samples import to_uint
from ..progress import Progress
from .layers import Side
from .render import Layer, lay_over_frame
from .store import Atlas

Stack = Sequence[dict[Side, Layer]]
"""Layers that are composited one after the other; those of one dict at once."""


def tell_uncovered(clip: Clip, atlas: Atlas) -> tuple[str, ...]:
    """What to say of the frames that were not fitted. Raises UsageError where none was."""
    numbers = [number for number in range(clip.count) if atlas.covers(number)]
    if len(numbers) == clip.count:
        return ()
    if not numbers:
        raise UsageError(f"{clip.path}: none of its {clip.count} frames was fitted; fit it again")
    ends = (range(numbers[0]), range(numbers[-1] + 1, clip.count))
    spans = [f"{end[0]}–{end[-1]}" if len(end) > 1 else f"{end[0]}" for end in ends if end]
    return (f"frames {' and '.join(spans)} were not fitted: they are copied as they are",)


def composited(
    clip: Clip,
    atlas: Atlas,
    stack: Stack,
    progress: Progress,
    alpha: bool = False,
    opacity: Callable[[int], float] = lambda frame: 1.0,
    mode: str = NORMAL,
) -> Iterator[NDArray[np.uint8]]:
    """The clip's frames (h, w, 3), RGB, under the layers; with `alpha` (h, w, 4), the clip's own.

    `opacity` is a factor on every alpha, by frame; `mode` how colours meet what is below.
    Raises Text2LiveError where the clip cannot be read to its end.
    """
    progress.stage("compositing", clip.count, "frame")
    stack = [{side: layer.on(atlas.device) for side, layer in part.items()} for part in stack]
    for number, pixels in enumerate(clip.frames(alpha=alpha)):
        frame = pixels[..., :3]
        if stack and atlas.covers(number):
            maps = atlas.locate(number, (clip.height, clip.width))
            for layers in stack:
                frame = lay_over_frame(frame, maps, layers, opacity(number), mode)
        yield np.dstack([frame, pixels[..., 3]]) if alpha else frame
        progress.advance(number + 1)


def on_green(
    clip: Clip, atlas: Atlas, side: Side, layer: Layer, progress: Progress
) -> Iterator[NDArray[np.uint8]]:
    """One layer in every frame, over plain green: (h, w, 3)."""
    progress.stage("layer over green", clip.count, "frame")
    green = np.empty((clip.height, clip.width, 3), np.uint8)
    green[:] = to_uint(np.array(GREEN_SCREEN), 255)
    layer = layer.on(atlas.device)
    for number in range(clip.count):
        frame = green
        if atlas.covers(number):
            maps = atlas.locate(number, (clip.height, clip.width))
            frame = lay_over_frame(green, maps, {side: layer})
        yield frame
        progress.advance(number + 1)


def by_itself(
    clip: Clip, atlas: Atlas, side: Side, layer: Layer, progress: Progress
) -> Iterator[NDArray[np.uint8]]:
    """One layer in every frame as straight RGBA (h, w, 4): its alpha times its share."""
    progress.stage("edit layer", clip.count, "frame")
    nothing = np.zeros((clip.height, clip.width, 4), np.uint8)
    layer = layer.on(atlas.device)
    for number in range(clip.count):
        frame = nothing
        if atlas.covers(number):
            maps = atlas.locate(number, (clip.height, clip.width))
            rgba = layer.at(maps.uv[side])
            color = rgba[..., :3] / rgba[..., 3:].clamp(min=1e-6)
            alpha = rgba[..., 3] * maps.share[side]
            frame = to_uint(torch.cat([color, alpha[..., None]], dim=-1).cpu().numpy(), 255)
        yield frame
        progress.advance(number + 1)


def stacked(layers: Sequence[tuple[Side, Layer]]) -> Stack:
    """The layers, lowest first, as passes: all sides at once, as long as each is there once.

    The same side again lies above, in a pass of its own.
    """
    stack: list[dict[Side, Layer]] = []
    for side, layer in layers:
        if not stack or side in stack[-1]:
            stack.append({})
        stack[-1][side] = layer
    return stack
