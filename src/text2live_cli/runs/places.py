"""A folder on the disk: made, held alone, its companions, and what goes wrong there in one line."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from ..errors import Text2LiveError, UsageError
from ..media.files import temporary_beside
from .lock import LockedError, held

_LONGEST_NAME = 200  # bytes of a file name, which end at 255: room for what is added


def beside(folder: Path, kind: str) -> Path:
    """The hidden companion of `folder`: beside it, or in it where that cannot be.

    It is on the same file system, so that what is made there can be renamed into `folder`.
    """
    place = folder.resolve()
    name = place.name
    if len(os.fsencode(name)) > _LONGEST_NAME:
        name = hashlib.sha256(os.fsencode(name)).hexdigest()[:32]
    if not name or os.path.ismount(place) or not os.access(place.parent, os.W_OK):
        return folder / f".text2live.{kind}"
    place_name = folder if folder.name and folder.absolute() == place else place
    return place_name.with_name(f".{name}.{kind}")


def free_name(folder: Path) -> Path:
    """The next name where nothing stands."""
    place = folder if folder.name not in ("", "..") else folder.resolve()
    names = (place.parent / f"{place.name}.{number}" for number in itertools.count(2))
    return next(name for name in names if not os.path.lexists(name))


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Held by this run; UsageError where another one is at work there."""
    with contextlib.ExitStack() as stack:
        try:
            with explained(folder):
                stack.enter_context(held(beside(folder, "lock")))
        except LockedError as error:
            raise UsageError(
                f"{folder}: another run is at work there; wait for its end, or choose another -o"
            ) from error
        yield


@contextlib.contextmanager
def made(folder: Path) -> Iterator[None]:
    """Create `folder`; those that did not exist are removed again if nothing was written."""
    with explained(folder):
        missing = [path for path in (folder, *folder.parents) if not path.exists()]
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError:
            remove_empty(missing)
            raise
    try:
        yield
    finally:
        remove_empty(missing)


def require_writable(folder: Path) -> None:
    """Raise Text2LiveError where no file can be made in it."""
    with explained(folder):
        probe = temporary_beside(folder / "probe")
        probe.touch()
        probe.unlink()


def remove_empty(folders: Iterable[Path]) -> None:
    """Remove those in which nothing is left."""
    for folder in folders:
        with contextlib.suppress(OSError):
            folder.rmdir()  # only succeeds where nothing is in it


@contextlib.contextmanager
def explained(folder: Path) -> Iterator[None]:
    """An OSError within is a folder that cannot be used: one line (`Text2LiveError`)."""
    try:
        yield
    except OSError as error:
        raise Text2LiveError(
            f"cannot write into {str(folder)[:200]}: {error.strerror}; choose another place with -o"
        ) from error
