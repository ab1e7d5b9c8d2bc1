"""The input of a run, as a record keeps it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..media.pictures import Picture
from ..texts import shown_path

if TYPE_CHECKING:
    from ..media.clips import Clip


def describe_picture(picture: Picture) -> dict[str, Any]:
    """A picture as the input of a run."""
    return {
        "path": shown_path(picture.path),
        "sha256": picture.sha256,
        "width": picture.width,
        "height": picture.height,
        "bits": picture.color.dtype.itemsize * 8,
        "notes": list(picture.notes),
    }


def describe_clip(clip: Clip) -> dict[str, Any]:
    """A clip as the input of a run."""
    return {
        "path": shown_path(clip.path),
        "sha256": clip.sha256,
        "width": clip.width,
        "height": clip.height,
        "frames": clip.count,
        "rate": str(clip.rate),
        "notes": list(clip.notes),
    }
