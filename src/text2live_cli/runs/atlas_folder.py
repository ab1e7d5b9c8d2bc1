"""Where the atlas of a clip is, or goes."""

from __future__ import annotations

import os
from pathlib import Path

from ..atlas import ATLAS
from ..progress import Progress


def default_folder(source: Path, progress: Progress) -> Path:
    """`<clip>.atlas` beside the clip, or in the current folder where that cannot be written."""
    source = source if source.name not in ("", "..") else source.resolve()
    beside = source.with_name(f"{source.stem}.atlas")
    if beside.exists() or os.access(source.absolute().parent, os.W_OK):
        return beside
    progress.message(
        f"{source.absolute().parent} is not writable: the result goes to {beside.name}"
    )
    return Path(beside.name)


def find_atlas(source: Path) -> Path | None:
    """Where `fit_atlas` put its result: beside the clip, or else in the current folder."""
    place = source.resolve() if source.name in ("", "..") else source
    beside = place.with_name(f"{place.stem}.atlas")
    return next((f for f in (beside, Path(beside.name)) if (f / ATLAS).is_file()), None)
