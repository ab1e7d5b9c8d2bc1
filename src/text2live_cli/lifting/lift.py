"""`lift`: register → tone → change → layer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..errors import Text2LiveError
from .change import Change, find_change
from .filters import Image, Mask, enlarged, shrunk
from .register import Registration, register
from .solve import matte, solve_layer
from .tone import Tone, match_tone, sharpening, soften

_ALIKE = 0.35  # correlation of detail under which two pictures show two scenes
_LEAST_COVERED = 0.2  # share of the source that the other has to show
_PIXELS = 4_000_000  # where larger, changes are looked for on smaller copies
_ALL = 0.9  # share of the picture from which everything was changed


@dataclass(frozen=True)
class LiftSettings:
    """What can be chosen."""

    strength: float = 1.0
    """Factor on the layer's opacity, 0 to 1."""
    feather: float = 1.0
    """How far outside the change the layer's rim may reach, pixels."""
    min_area: float = 0.0002
    """The smallest change that counts, a share of the picture."""
    keep_colour: bool = False
    """Do not undo what changed all colours alike."""


class Edit(NamedTuple):
    """What each step found; the pictures are on the grid of the source."""

    source: Image
    color: Image
    """The edited picture, sharpening taken back."""
    matched: Image
    """The same in the colours of the source."""
    registration: Registration
    tone: Tone
    sharpening: float
    change: Change
    scale: float
    """How many pixels of the source those are wide that changes were looked for in."""


class Lifted(NamedTuple):
    """The layer (H, W, 4) uint8, straight alpha, and what it was made of."""

    layer: NDArray[np.uint8]
    edit: Edit


def lift(source: Image, other: Image, settings: LiftSettings) -> Lifted:
    """The edit layer between `source` (H, W, 3) and an edited version of any size.

    Raises Text2LiveError where the two are not the same scene, or where all of it was changed.
    """
    edit = find_edit(source, other, settings)
    return cut_layer(edit, edit.change.mask, settings)


def find_edit(source: Image, other: Image, settings: LiftSettings) -> Edit:
    """Register, match, compare; raises as `lift` does."""
    placed = register(source, other)
    if placed.alike < _ALIKE or placed.valid.mean() < _LEAST_COVERED:
        raise Text2LiveError(
            f"the two pictures do not show the same scene (likeness {placed.alike:.2f} of 1):"
            " give an edited version of the first"
        )
    tone = match_tone(source, placed.color, placed.valid)
    sharp = sharpening(source, tone.apply(placed.color), placed.valid)
    color = soften(placed.color, sharp)
    placed = placed._replace(color=color)
    # Compared in the colours of the other: what those have clipped is not a change.
    alike = match_tone(color, source, placed.valid).apply(source)
    scale = min(1.0, (_PIXELS / placed.valid.size) ** 0.5)
    alike, near = shrunk(alike, scale), shrunk(color, scale)
    valid = shrunk(placed.valid.astype(np.float32), scale) > 0.99
    change = find_change(alike, near, valid, settings.min_area, tone.matrix is not None)
    mask = change.mask
    if scale < 1:
        mask = enlarged(mask.astype(np.float32), placed.valid.shape) > 0.5
    share = float(mask.mean())
    if share > _ALL:
        raise Text2LiveError(
            f"{share:.0%} of the picture was changed: there is nothing that could stay as it was"
        )
    change = change._replace(mask=mask)
    return Edit(source, color, tone.apply(color), placed, tone, sharp, change, 1 / scale)


def cut_layer(edit: Edit, mask: Mask, settings: LiftSettings, limit: Mask | None = None) -> Lifted:
    """The layer of what lies in `mask` (H, W), which its rim may pass, and `limit`, which not."""
    alpha = matte(edit.source, edit.matched, mask, settings.feather, edit.scale)
    alpha *= edit.registration.valid if limit is None else edit.registration.valid & limit
    other = edit.color if settings.keep_colour else edit.matched
    layer = solve_layer(edit.source, other, alpha)
    if settings.strength < 1:
        layer[..., 3] = np.rint(layer[..., 3] * settings.strength)
    return Lifted(layer, edit)
