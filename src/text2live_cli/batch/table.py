"""A jobs file as rows of cells: CSV, JSON Lines or TOML, of any hand."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from ..errors import UsageError
from ..media.outside import open_regular

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_MAX_BYTES = 2**28
_ENDINGS = ".csv, .tsv, .jsonl or .toml"


class Row(NamedTuple):
    """One row: where it stands, and its cells by their columns."""

    where: str
    cells: Mapping[str, Any]
    defaults: Mapping[str, Any] = MappingProxyType({})
    """For all rows of the file that do not say otherwise."""
    folder: Path | None = None
    """Of the file, beside which its files may lie."""


def read_rows(path: Path) -> Iterator[Row]:
    """All rows of a jobs file. Raises UsageError for one that is none, with the line."""
    readers = {".csv": _csv, ".tsv": _csv, ".jsonl": _json_lines, ".ndjson": _json_lines}
    reader = {**readers, ".toml": _toml}.get(path.suffix.lower())
    if reader is None:
        raise UsageError(f"{path}: is no file of jobs; give {_ENDINGS}, or --images 'photos/*.jpg'")
    for row in reader(path):
        yield row._replace(folder=path.parent)


def read_lines(path: Path) -> list[tuple[int, str]]:
    """The lines of a text file with their numbers, from 1, without space around them."""
    return [(number, line.strip()) for number, line in enumerate(_text(path).splitlines(), 1)]


def _text(path: Path) -> str:
    """UTF-8, with or without a mark at its beginning."""
    try:
        with open_regular(path) as file:
            data = file.read(_MAX_BYTES + 1)
        if len(data) > _MAX_BYTES:
            raise UsageError(f"{path}: is too large for a file of jobs")
        return data.decode("utf-8-sig")
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror or error})") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: is no UTF-8: save it as UTF-8") from error


def _csv(path: Path) -> Iterator[Row]:
    lines = _text(path).splitlines(keepends=True)
    delimiter = "\t" if path.suffix.lower() == ".tsv" else ","
    reader = csv.DictReader(lines, delimiter=delimiter, restkey="", strict=True)
    try:
        for cells in reader:
            where = f"{path}:{reader.line_num}"
            if cells.pop("", None):
                raise UsageError(f"{where}: more cells than columns; quote texts that hold a comma")
            if any(cells.values()):
                yield Row(where, dict(cells))
    except csv.Error as error:
        raise UsageError(f"{path}:{reader.line_num}: {error}") from error


def _json_lines(path: Path) -> Iterator[Row]:
    for number, line in read_lines(path):
        if line:
            try:
                cells = json.loads(line)
            except (ValueError, RecursionError) as error:
                raise UsageError(f"{path}:{number}: is no JSON") from error
            yield Row(f"{path}:{number}", _object(f"{path}:{number}", cells))


def _toml(path: Path) -> Iterator[Row]:
    try:
        whole = tomllib.loads(_text(path))
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise UsageError(f"{path}: {error}") from error
    jobs = whole.pop("jobs", [])
    if not isinstance(jobs, list):
        raise UsageError(f"{path}: jobs must be a list of tables: [[jobs]]")
    for number, cells in enumerate(jobs, 1):
        where = f"{path}, job {number}"
        yield Row(where, _object(where, cells), whole)


def _object(where: str, cells: object) -> dict[str, Any]:
    if not isinstance(cells, dict):
        raise UsageError(f"{where}: must be an object with source and prompt")
    return cells
