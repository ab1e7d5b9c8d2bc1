"""The folder of a result: what may be overwritten, and that a failed run leaves nothing behind."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

from .errors import Text2LiveError, UsageError

CHECKPOINT = "checkpoint.safetensors"
RECORD = "run.json"
PREVIEWS = "previews"


def open_run_folder(folder: Path, overwrite: bool, resume: bool) -> None:
    """Check that a run may write into `folder`, before any work is done.

    Raises UsageError where a result stands there and neither flag is given, or where there is
    nothing to resume.
    """
    if overwrite and resume:
        raise UsageError("--overwrite and --resume: choose one")
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is a file: name a folder with -o")
    stands = (folder / RECORD).exists() or (folder / CHECKPOINT).exists()
    if resume and not (folder / CHECKPOINT).exists():
        raise UsageError(f"{folder}: no checkpoint to resume; run without --resume")
    if stands and not (overwrite or resume):
        raise UsageError(
            f"{folder} holds a result already: add --overwrite, --resume, or another -o DIR"
        )


@contextlib.contextmanager
def run_folder(folder: Path, overwrite: bool) -> Iterator[None]:
    """`folder` exists within; if the run fails before it wrote anything, it is removed again."""
    made = _make(folder)
    if overwrite:
        (folder / CHECKPOINT).unlink(missing_ok=True)
        shutil.rmtree(folder / PREVIEWS, ignore_errors=True)
    try:
        yield
    finally:
        for path in reversed(made):
            with contextlib.suppress(OSError):
                path.rmdir()  # only succeeds where nothing was written


def _make(folder: Path) -> list[Path]:
    """Create `folder`; the folders that did not exist, outermost first."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()][::-1]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / ".writable"
        probe.touch()
        probe.unlink()
    except OSError as error:
        for path in reversed(missing):
            with contextlib.suppress(OSError):
                path.rmdir()
        raise Text2LiveError(
            f"cannot write into {folder}: {error.strerror}; choose another place with -o"
        ) from error
    return missing
