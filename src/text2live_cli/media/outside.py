"""Files and texts of other hands: opened without waiting, told apart, bounded, checked.

Whatever lies on the disk may be a pipe, a device, another name of the same file, or a record that
somebody altered; nothing here blocks on it, and nothing is believed before it is checked.
"""

from __future__ import annotations

import contextlib
import json
import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from ..errors import UsageError

MAX_RECORD_BYTES = 2**28
"""A run.json of 100,000 steps, with all of their terms, has some 60 MB."""

RECORD_ERRORS = (OSError, ValueError, LookupError, TypeError, RecursionError, MemoryError)
"""What reading a record, and using what is in it, may raise."""

Identity = tuple[int, int]
"""Device and inode of a file, whatever it is called."""


class NotRegularError(OSError):
    """A pipe, a socket, a device or a folder where a file was expected."""


def open_regular(path: Path) -> BinaryIO:
    """Open a regular file to read; OSError (`NotRegularError`) for anything else, without waiting.

    A pipe would keep a plain `open` waiting until somebody writes into it.
    """
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | _BINARY)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise NotRegularError(f"no regular file: {path}")
    return os.fdopen(descriptor, "rb")


_BINARY = getattr(os, "O_BINARY", 0)  # on Windows, the bytes as they are


def require_regular(path: Path, option: str = "") -> None:
    """Raise UsageError where `path` is there and is neither a regular file nor a folder."""
    if is_special(path):
        raise UsageError(f"{f'{option} {path}'.strip()}: is no regular file; save it to disk first")


def is_special(path: Path) -> bool:
    """Whether `path` is a pipe, a socket or a device; looking at it does not open it."""
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):
        return False
    return not stat.S_ISREG(mode) and not stat.S_ISDIR(mode)


def read_record(path: Path) -> dict[str, Any]:
    """The JSON object in a file: bounded, finite. Raises one of `RECORD_ERRORS` for anything else.

    Its members may be of any type.
    """
    with open_regular(path) as file:
        data = file.read(MAX_RECORD_BYTES + 1)
    if len(data) > MAX_RECORD_BYTES:
        raise ValueError("too large for a record")
    record = json.loads(data.decode("utf-8"))
    if not isinstance(record, dict):
        raise ValueError("no JSON object")
    return record


def whole_number(value: object, low: int, high: int) -> int:
    """`value`, a whole number (no bool) from `low` to `high`; ValueError for anything else."""
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise ValueError(f"no whole number from {low} to {high}")
    return value


def plain_text(value: object, most: int) -> str:
    """`value`, a text of at most `most` characters; ValueError for anything else."""
    if not isinstance(value, str) or len(value) > most:
        raise ValueError(f"no text of up to {most} characters")
    return value


def refuse_own_inputs(outputs: Iterable[Path], inputs: Iterable[Path | str | None]) -> None:
    """Raise UsageError where one of the `outputs` is one of the `inputs`, by whatever name.

    Links are followed; of an input that is a folder, its files are inputs as well.
    """
    own = {identity for path in inputs if path for identity in _identities(Path(path))}
    for output in outputs:
        if _identity(output) in own:
            raise UsageError(f"{output} would be overwritten by the result: choose another -o")


def _identities(path: Path) -> Iterator[Identity]:
    with contextlib.suppress(OSError, ValueError):  # what is not there is not written over
        inner = [entry for entry in path.iterdir() if entry.is_file()] if path.is_dir() else []
        for identity in map(_identity, [path, *inner]):
            if identity is not None:
                yield identity


def _identity(path: Path) -> Identity | None:
    try:
        status = path.stat()
    except (OSError, ValueError):
        return None
    return status.st_dev, status.st_ino
