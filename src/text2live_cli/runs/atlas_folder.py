"""Where the atlas of a clip is, or goes."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from ..atlas import ATLAS, POOR
from ..errors import PoorAtlasError
from ..media.outside import RECORD_ERRORS, plain_text, read_record
from ..progress import Progress
from .folder import RECORD

_LONGEST_LINE = 1000  # characters of a verdict


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


def verdict_of(folder: Path) -> tuple[str, ...]:
    """What a fit said of itself, and its advice; nothing where its record cannot be read."""
    try:
        facts = read_record(folder / RECORD)
        verdict, *_ = (plain_text(line, _LONGEST_LINE) for line in facts["verdict"])
        advice = [plain_text(line, _LONGEST_LINE) for line in facts["advice"]]
    except RECORD_ERRORS:
        return ()
    return (f"atlas {verdict}", *advice)


def require_fair(folder: Path, lines: Sequence[str]) -> None:
    """Raise PoorAtlasError where a verdict says that edits will not sit well."""
    if lines and lines[0].startswith(f"atlas {POOR}"):
        raise PoorAtlasError(
            f"{folder}: {'; '.join(lines)}; --any-atlas goes on with it all the same"
        )
