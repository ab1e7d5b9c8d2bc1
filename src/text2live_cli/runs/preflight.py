"""What can be checked before the work: that there is room, and a folder to write into."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Sequence
from pathlib import Path

from ..errors import Text2LiveError, UsageError

_SLACK = 200_000_000  # bytes: the checkpoint, a former one beside it, chart, report and record


def picture_bytes(pixels: int, sample_bytes: int) -> int:
    """Bytes of a picture's result at the most: a PNG may be as large as what it holds."""
    layer, alpha, screen, relevancy = 4, 1, 3, 1
    return _SLACK + pixels * (layer + 4 * sample_bytes + alpha + screen + relevancy)


def video_bytes(pixels: int, formats: Sequence[str]) -> int:
    """Bytes of the result of a clip of `pixels` (of all frames), by formats of its layer."""
    return _SLACK + film_bytes(pixels, formats)


def film_bytes(pixels: int, formats: Sequence[str]) -> int:
    """Bytes of its films and layers alone, at the most.

    H.264 at this quality stays under half a byte a pixel, ProRes 4444 under two.
    """
    of_layer = {"mov": 2.0, "webm": 0.5, "png": 4.0, "matte": 0.5}
    each = 2 * 0.5 + sum(of_layer.get(name, 0.0) for name in formats)
    return int(pixels * each)


def fit_bytes(pixels: int) -> int:
    """Bytes of the atlases of a clip of `pixels` (of all frames): flow, in halves, and films."""
    flow = 2 * (2 * 2 + 1)  # there and back: x, y, and where the two agree
    return video_bytes(pixels, ("webm",)) + flow * pixels


def require_room(folder: Path, need: int) -> None:
    """Raise Text2LiveError where the disk of `folder`, which may not exist yet, has less."""
    with contextlib.suppress(OSError):  # a name or a disk of which nothing is known
        place = next(path for path in (folder, *folder.absolute().parents) if path.exists())
        disk = shutil.disk_usage(place)
        if disk.total and disk.free < need:
            raise Text2LiveError(
                f"{folder}: the result may take {need / 1e9:.2f} GB, and"
                f" {disk.free / 1e9:.2f} GB are free: make room, or choose another place with -o"
            )


def require_file_place(flag: str, path: Path) -> None:
    """Raise UsageError where no file can be written to `path`, for its folder or itself."""
    if path.is_dir():
        raise UsageError(f"{flag} {path}: is a folder; name a file")
    if not path.absolute().parent.is_dir():
        raise UsageError(f"{flag} {path}: there is no folder {path.parent}; make it first")
