"""`-` for a picture: read from stdin, written to stdout, and nothing else there."""

from __future__ import annotations

import dataclasses
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from ..errors import UsageError

Options = TypeVar("Options", bound=Any)
_PIPE = "-"
_MAX_BYTES = 2**31


@contextmanager
def piped(options: Options, others: Mapping[str, bool]) -> Iterator[tuple[Options, bool]]:
    """`options` with files in the place of pipes, and whether the picture that comes out is sent to
    stdout at the end.

    Raises UsageError where a pipe cannot be: it is a terminal, or one of `others` is on, which
    print, or leave more than a picture.
    """
    reads, writes = str(options.source) == _PIPE, str(options.output) == _PIPE
    if not reads and not writes:
        yield options, False
        return
    if reads and (sys.stdin is None or sys.stdin.isatty()):
        raise UsageError("-: nothing is piped in; name a picture, or: cat a.jpg | text2live …")
    flag = next((flag for flag, is_on in others.items() if is_on), None)
    if writes and flag is not None:
        raise UsageError(f"-o - and {flag}: stdout takes one picture alone; name a folder with -o")
    if writes and (sys.stdout is None or sys.stdout.isatty()):
        raise UsageError("-o -: is for a pipe or a file: … -o - > b.png")
    with tempfile.TemporaryDirectory(prefix="text2live-") as folder:
        source = Path(folder) / "stdin"
        if reads:
            options = dataclasses.replace(options, source=_saved(source))
        if not writes:
            yield options, False
            return
        sent = Path(folder) / "stdout.png"
        yield dataclasses.replace(options, output=sent), True
        sys.stdout.flush()
        with sent.open("rb") as file:
            shutil.copyfileobj(file, sys.stdout.buffer)
        sys.stdout.buffer.flush()


def require_files(*places: Path | str | None) -> None:
    """Raise UsageError where one of them is a pipe, of a command that takes none."""
    if any(str(place) == _PIPE for place in places):
        raise UsageError(
            "-: only pictures of edit-image and composite go through pipes; name a file or folder"
        )


def _saved(path: Path) -> Path:
    """What comes from stdin, as a file."""
    data = sys.stdin.buffer.read(_MAX_BYTES + 1)
    if not data:
        raise UsageError("-: nothing came from stdin")
    if len(data) > _MAX_BYTES:
        raise UsageError("-: more than 2 GiB came from stdin; save it as a file")
    path.write_bytes(data)
    return path
