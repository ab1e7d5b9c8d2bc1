"""The folder of a result: what may be overwritten, and that a failed run leaves nothing behind."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from .errors import Text2LiveError, UsageError

CHECKPOINT = "checkpoint.safetensors"
RECORD = "run.json"
PREVIEWS = "previews"
PICTURES = (
    *("layer.png", "composite.png", "alpha.png", "screen.png", "loss.png"),
    *("relevancy.png", "region.png", "mask.png"),
)
LAYER = "layer"
_VIDEO_LAYERS = ("layer.mov", "layer.webm", "atlas-layer.png")
VIDEOS = ("composite.mp4", "screen.mp4", LAYER, *_VIDEO_LAYERS)


def open_run_folder(folder: Path, overwrite: bool, resume: bool, inputs: list[Path]) -> None:
    """Check that a run may write into `folder`, before any work is done.

    Raises UsageError where a result stands there and neither flag is given, where there is
    nothing to resume, or where one of the `inputs` would be overwritten.
    """
    if overwrite and resume:
        raise UsageError("--overwrite and --resume: choose one")
    with explained(folder):
        if folder.exists() and not folder.is_dir():
            raise UsageError(f"{folder} is a file: name a folder with -o")
        standing = [path for path in _results(folder) if path.exists()]
        resumable = (folder / CHECKPOINT).exists()
    if resume and not resumable:
        raise UsageError(f"{folder}: no checkpoint to resume; run without --resume")
    for path in inputs:
        if path.resolve() in [result.resolve() for result in standing]:
            raise UsageError(f"{path} would be overwritten by the result: choose another -o DIR")
    if standing and not (overwrite or resume):
        raise UsageError(
            f"{folder} holds a result already ({standing[0].name}): add --overwrite, --resume,"
            " or another -o DIR"
        )


def preview_path(folder: Path, step: int) -> Path:
    """Where the preview after `step` steps goes."""
    return folder / PREVIEWS / f"{step:05d}.png"


def discard_former_run(folder: Path) -> None:
    """Remove what a new run may not replace by itself: checkpoint, previews, layers of a clip.

    Only our own names are touched, and only in a folder with a record of ours.
    """
    if not (folder / RECORD).exists() and not (folder / CHECKPOINT).exists():
        return
    with explained(folder):
        for name in (CHECKPOINT, *_VIDEO_LAYERS):
            (folder / name).unlink(missing_ok=True)
        for path in (*(folder / PREVIEWS).glob("*.png"), *(folder / LAYER).glob("*.png")):
            if path.stem.isdigit():
                path.unlink()
    with contextlib.suppress(OSError):
        (folder / LAYER).rmdir()  # only succeeds where nothing else is in it


@contextlib.contextmanager
def run_folder(folder: Path) -> Iterator[None]:
    """`folder` exists within; if the run fails before it wrote anything, it is removed again."""
    made = _make(folder)
    try:
        yield
    finally:
        for path in reversed(made):
            with contextlib.suppress(OSError):
                path.rmdir()  # only succeeds where nothing was written


def _results(folder: Path) -> list[Path]:
    return [folder / name for name in (RECORD, CHECKPOINT, *PICTURES, *VIDEOS)]


def _make(folder: Path) -> list[Path]:
    """Create `folder`; the folders that did not exist, outermost first."""
    with explained(folder):
        missing = [path for path in (folder, *folder.parents) if not path.exists()][::-1]
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / ".writable"
        probe.touch()
        probe.unlink()
    return missing


@contextlib.contextmanager
def explained(folder: Path) -> Iterator[None]:
    """An OSError within is a folder that cannot be used: one line (`Text2LiveError`)."""
    try:
        yield
    except OSError as error:
        raise Text2LiveError(
            f"cannot write into {str(folder)[:200]}: {error.strerror}; choose another place with -o"
        ) from error
