"""One run at a time in a folder: a lock that the system gives back when its process ends."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl


class LockedError(Exception):
    """Another run holds the lock."""


@contextlib.contextmanager
def held(path: Path) -> Iterator[int]:
    """Hold the lock file `path`, which is made, and removed again; `LockedError` at once if taken.

    Yields its descriptor: a process that inherits that holds the lock as well, until it ends.
    A killed process leaves the file and not the lock. Raises OSError where it cannot be made.
    Where the file system has no locks, nothing is held.
    """
    descriptor = _acquired(path)
    try:
        yield descriptor
    finally:
        if sys.platform == "win32":  # there, no open file can be removed
            os.close(descriptor)
        with contextlib.suppress(OSError):
            path.unlink()
        if sys.platform != "win32":
            os.close(descriptor)


def _acquired(path: Path) -> int:
    flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    while True:
        descriptor = os.open(path, flags, 0o666)
        try:
            _lock(descriptor)
            if _is_named(descriptor, path):
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)  # its holder removed it just before it let go: another is needed


def _lock(descriptor: int) -> None:
    try:
        if sys.platform == "win32":
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        else:  # flock, not lockf: two runs of one process are two as well
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError) as error:
        raise LockedError from error
    except OSError:  # no locks on this file system
        return


def _is_named(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.lstat())
    except FileNotFoundError:
        return False
