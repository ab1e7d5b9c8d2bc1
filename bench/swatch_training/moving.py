"""A painted clip with exact masks: one object crosses a place, and the camera follows slowly."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from swatch_training.fields import Field
from swatch_training.painter import paint_scene

_OVERSAMPLE = 3


def paint_clip(
    thing: str,
    look: str,
    background: str = "background",
    seed: int = 0,
    frames: int = 24,
    size: tuple[int, int] = (180, 320),
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Frames (T, h, w, 3) of 0..255 and the object's masks (T, h, w).

    The object moves by a third of a width to the right while the camera moves by a fifth, both by
    whole pixels, so that every motion in the clip is exact. The same seed with another look is the
    same clip, truly repainted.
    """
    height, width = size
    travel, pan = width // 3, width // 5
    place, _ = paint_scene([], background, seed, (height, width + pan))
    colour, cover = _cut_out(thing, look, seed, height, width + travel)
    shown = np.empty((frames, height, width, 3), np.uint8)
    masks = np.empty((frames, height, width), bool)
    for i, done in enumerate(np.linspace(0, 1, frames)):
        behind = _window(place, round(done * pan), width)
        alpha = _window(cover, round((1 - done) * travel), width)
        front = _window(colour, round((1 - done) * travel), width)
        shown[i] = behind + (front - behind) * alpha[..., None] + 0.5
        masks[i] = alpha > 0.5
    return shown, masks


def _window(field: NDArray[Any], left: int, width: int) -> NDArray[Any]:
    return field[:, left : left + width]


def _cut_out(thing: str, look: str, seed: int, height: int, width: int) -> tuple[Field, Field]:
    """The object by itself: colour (h, w, 3) in 0..255 and coverage (h, w) with soft edges."""
    large = (height * _OVERSAMPLE, width * _OVERSAMPLE)
    rgb, masks = paint_scene([(thing, look)], "screen", seed, large)
    mask = masks[0].astype(np.float32)[..., None]
    cover = _reduce(mask)
    return _reduce(rgb * mask) / np.maximum(cover, 1e-6), cover[..., 0]


def _reduce(field: Field) -> Field:
    h, w, channels = field.shape
    blocks = field.reshape(h // _OVERSAMPLE, _OVERSAMPLE, w // _OVERSAMPLE, _OVERSAMPLE, channels)
    return blocks.mean((1, 3))
