"""Files that are either written whole or not at all."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import platform
import re
import secrets
import shutil
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from ..errors import Text2LiveError
from .outside import open_regular

_TEMPORARY = re.compile(r"\.text2live-([0-9a-f]{6})-([0-9]{1,10})-[0-9a-f]{12}(\.[^.]*)?")
_ABANDONED_SECONDS = 24 * 3600.0  # where nobody can say whether a process lives


@contextlib.contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Give a temporary path in the folder of `path`, with the same ending, to write to.

    When the block ends well, the temporary file replaces `path`; when it does not, the temporary
    file is removed and an older `path` stays as it was. An `OSError` in the block counts as a
    failed write and becomes a one-line `Text2LiveError`.
    """
    temporary = temporary_beside(path)
    try:
        yield temporary
        _flush(temporary)
        temporary.replace(path)
    except OSError as error:
        raise Text2LiveError(
            f"cannot write {path}: {error.strerror or error}; make room or choose another place"
        ) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


def temporary_beside(path: Path) -> Path:
    """A new hidden name in the folder of `path` that says who uses it: `sweep` knows them."""
    name = f".text2live-{_machine()}-{os.getpid()}-{secrets.token_hex(6)}"
    return path.with_name(name + path.suffix)


def sweep(folder: Path) -> None:
    """Remove the temporary files and folders that killed processes of this machine left there."""
    with contextlib.suppress(OSError):
        for entry in list(os.scandir(folder)):
            match = _TEMPORARY.fullmatch(entry.name)
            if match is None or not _abandoned(Path(entry.path), match[1], int(match[2])):
                continue
            if entry.is_dir(follow_symlinks=False):
                shutil.rmtree(entry.path, ignore_errors=True)
            else:
                Path(entry.path).unlink(missing_ok=True)


def _abandoned(path: Path, machine: str, process: int) -> bool:
    if machine != _machine() or os.name != "posix":  # `kill` would end a process on Windows
        return time.time() - path.lstat().st_mtime > _ABANDONED_SECONDS
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return True
    except (OSError, OverflowError):
        return False
    return False


def _machine() -> str:
    """Process numbers are those of one machine; folders may be shared by several."""
    return hashlib.sha256(platform.node().encode("utf-8", "replace")).hexdigest()[:6]


def _flush(path: Path) -> None:
    """Bring the file to the disk, so that a power cut cannot leave an empty one."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def write_bytes_atomic(path: Path, data: bytes) -> None:
    """Write `data` to `path`, whole or not at all (`Text2LiveError`)."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


def write_text_atomic(path: Path, text: str) -> None:
    """Write `text` to `path` as UTF-8, line ends as given, whole or not at all.

    What UTF-8 cannot hold (file names may) becomes "?".
    """
    write_bytes_atomic(path, text.encode("utf-8", "replace"))


def write_json_atomic(path: Path, value: object) -> None:
    """Write `value` to `path` as indented JSON, whole or not at all.

    NaN and infinity are no JSON: they raise `ValueError` before anything is written.
    """
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)
    write_text_atomic(path, text + "\n")


def natural_order(paths: Iterable[Path]) -> list[Path]:
    """`paths` by the numbers in their stems, 2.png before 10.png, then by their whole names.

    Capitals count as small letters.
    """
    from natsort import natsort_keygen, ns  # needed for folders only

    natural = natsort_keygen(alg=ns.IGNORECASE)
    return sorted(paths, key=lambda path: (natural(path.stem), path.name))


_BLOCK = 1 << 20


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal. Raises OSError if it cannot be read, or is a pipe."""
    digest = hashlib.sha256()
    with open_regular(path) as stream:
        while block := stream.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


@contextlib.contextmanager
def usual_mode(path: Path) -> Iterator[None]:
    """A file that is written within has the mode of the user's other files.

    safetensors makes files that only their owner can read.
    """
    path.touch()
    mode = path.stat().st_mode
    yield
    path.chmod(mode)
