"""Layers of the atlases over all frames of a clip, streamed (paper, A.4, inference)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

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
from .render import Layer, Shown, lay_over_frame, lay_over_shown
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
    stack = _on_device(stack, atlas)
    for number, pixels in enumerate(clip.frames(alpha=alpha)):
        frame = pixels[..., :3]
        if stack and atlas.covers(number):
            maps = atlas.locate(number, (clip.height, clip.width))
            for layers in stack:
                frame = lay_over_frame(frame, maps, layers, opacity(number), mode)
        yield np.dstack([frame, pixels[..., 3]]) if alpha else frame
        progress.advance(number + 1)


class EditedFrame(NamedTuple):
    """A frame, and an edit layer in it by itself."""

    composite: NDArray[np.uint8]
    """(h, w, 3): the frame under the edit, and what that lies on."""
    screen: NDArray[np.uint8]
    """(h, w, 3): the layer over plain green."""
    layer: NDArray[np.uint8]
    """(h, w, 4), straight: its alpha times its share."""


def edited(
    clip: Clip, atlas: Atlas, below: Sequence[tuple[Side, Layer]], side: Side, layer: Layer
) -> Iterator[EditedFrame]:
    """Every frame of a clip under a layer of `side`, over those `below`; located once.

    Raises Text2LiveError where the clip cannot be read to its end.
    """
    stack = _on_device(stacked([*below, (side, layer)]), atlas)
    *under, top = stack
    size = clip.height, clip.width
    green = np.empty((*size, 3), np.uint8)
    green[:] = to_uint(np.array(GREEN_SCREEN), 255)
    nothing = np.zeros((*size, 4), np.uint8)
    for number, frame in enumerate(clip.frames()):
        if not atlas.covers(number):
            yield EditedFrame(frame, green, nothing)
            continue
        maps = atlas.locate(number, size)
        for layers in under:
            frame = lay_over_frame(frame, maps, layers)
        shown = {which: its.shown_in(maps, which) for which, its in top.items()}
        composite = lay_over_shown(frame, [*shown.values()])
        screen = lay_over_shown(green, [shown[side]])
        yield EditedFrame(composite, screen, _by_itself(shown[side], size))


def _by_itself(shown: Shown, size: tuple[int, int]) -> NDArray[np.uint8]:
    """A layer in a frame of `size` as straight RGBA (h, w, 4): its alpha times its share."""
    color = shown.rgba[..., :3] / shown.rgba[..., 3:].clamp(min=1e-6)
    alpha = shown.rgba[..., 3] * shown.share
    frame = np.zeros((*size, 4), np.uint8)
    frame[shown.part] = to_uint(torch.cat([color, alpha[..., None]], dim=-1).cpu().numpy(), 255)
    return frame


def _on_device(stack: Stack, atlas: Atlas) -> Stack:
    return [{side: layer.on(atlas.device) for side, layer in part.items()} for part in stack]


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
