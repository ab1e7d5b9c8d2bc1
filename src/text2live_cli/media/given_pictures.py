"""Pictures that are given as such, in a notebook: PIL's, and arrays. They become files."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from ..errors import UsageError

if TYPE_CHECKING:
    GivenPicture: TypeAlias = Path | str | Any
    """A path, a PIL picture, or an array (H, W), (H, W, 3) or (H, W, 4)."""
else:
    GivenPicture = Path | str  # what the command line can give


def as_path(given: GivenPicture, folder: Path) -> Path | str:
    """A path as it is; a PIL picture, or an array (H, W), (H, W, 3) or (H, W, 4) of uint8 or
    uint16, as a PNG file in `folder`, named by what is in it.

    Raises UsageError for what is no picture.
    """
    if isinstance(given, (str, Path)):
        return given
    import numpy as np

    from .picture_writing import write_picture

    samples = np.asarray(given)
    if getattr(given, "mode", "") not in ("", "L", "RGB", "RGBA"):
        samples = np.asarray(given.convert("RGBA"))
    fits = samples.dtype in (np.uint8, np.uint16) and (
        samples.ndim == 2 or (samples.ndim == 3 and samples.shape[2] in (3, 4))
    )
    if not fits:
        raise UsageError(
            f"the picture given is {type(given).__name__} of {samples.dtype} {samples.shape}: give"
            " a path, a PIL picture, or an array (height, width, 3) of uint8"
        )
    if samples.ndim == 2:
        samples = np.repeat(samples[..., None], 3, axis=2)
    name = hashlib.sha256(repr(samples.shape).encode() + samples.tobytes()).hexdigest()[:12]
    path = folder / f"picture-{name}.png"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        alpha = samples[..., 3] if samples.shape[2] == 4 else None
        write_picture(path, np.ascontiguousarray(samples[..., :3]), alpha)
    return path
