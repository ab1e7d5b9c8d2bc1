"""Files that are either written whole or not at all."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

from .errors import Text2LiveError


@contextlib.contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Give a temporary path in the folder of `path`, with the same ending, to write to.

    When the block ends well, the temporary file replaces `path`; when it does not, the temporary
    file is removed and an older `path` stays as it was. An `OSError` in the block counts as a
    failed write and becomes a one-line `Text2LiveError`.
    """
    temporary = path.with_name(f".{secrets.token_hex(6)}{path.suffix}")
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


def _flush(path: Path) -> None:
    """Bring the file to the disk, so that a power cut cannot leave an empty one."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def write_bytes_atomic(path: Path, data: bytes) -> None:
    """Write `data` to `path`, whole or not at all (`Text2LiveError`)."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


def write_text_atomic(path: Path, text: str) -> None:
    """Write `text` to `path` as UTF-8, line ends as given, whole or not at all."""
    write_bytes_atomic(path, text.encode("utf-8"))


def write_json_atomic(path: Path, value: object) -> None:
    """Write `value` to `path` as indented JSON, whole or not at all.

    NaN and infinity are no JSON: they raise `ValueError` before anything is written.
    """
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)
    write_text_atomic(path, text + "\n")
