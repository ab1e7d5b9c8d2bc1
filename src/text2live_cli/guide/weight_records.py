"""What is known of the weights in the cache, one record for each name."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from ..errors import Text2LiveError, UsageError
from ..media.files import sweep, write_json_atomic
from ..media.outside import RECORD_ERRORS, plain_text, whole_number
from ..media.outside import read_record as read_json
from ..texts import MAX_TEXT, require_text
from .hub import cache_folder

HUB, IMPORTED = "hub", "imported"
"""The folders of the cache that hold weights: in the hub's own layout, and as they were given."""


@dataclass(frozen=True)
class WeightsRecord:
    """What is known of a cached file; `file` is relative, so that the cache can be copied."""

    name: str
    file: str
    source: str
    sha256: str
    size: int
    mtime_ns: int

    @property
    def path(self) -> Path:
        """Of the weights."""
        return cache_folder() / self.file

    @property
    def is_imported(self) -> bool:
        """Whether it was a file of the user's: its SHA-256 is then nobody's but its own."""
        return self.file.startswith(f"{IMPORTED}/")

    def stamped(self) -> WeightsRecord:
        """This record with the file's present size and time."""
        status = self.path.stat()
        return replace(self, size=status.st_size, mtime_ns=status.st_mtime_ns)

    def stamp_holds(self) -> bool:
        """Whether the file is there and was not touched since it was recorded."""
        return self.path.is_file() and self == self.stamped()


def slug(name: str) -> str:
    """A name as a file's."""
    return name.replace("/", "--")


def all_records() -> Iterator[WeightsRecord]:
    """Those of the cache that are ours."""
    records = map(_read, sorted((cache_folder() / "records").glob("*.json")))
    return (record for record in records if record is not None)


def read_record(name: str) -> WeightsRecord | None:
    """The record of `name`; None where there is none, or what is there is none of ours."""
    return _read(_record_path(name))


def _read(path: Path) -> WeightsRecord | None:
    """A cache may be a copy of anybody's: its records name files of the cache and nothing else."""
    try:
        record = WeightsRecord(**read_json(path))
        for text in (record.name, record.file, record.source):
            require_text("record", plain_text(text, MAX_TEXT))
        whole_number(record.size, 0, 2**63)
        whole_number(record.mtime_ns, 0, 2**63)
        inside = path.stem == slug(record.name) and _is_in_the_cache(record.path)
        published = re.fullmatch("[0-9a-f]{64}", record.sha256)
        return record if inside and published else None
    except (*RECORD_ERRORS, UsageError):
        return None


def write_record(record: WeightsRecord) -> None:
    """Write a record, whole or not at all."""
    path = _record_path(record.name)
    path.parent.mkdir(parents=True, exist_ok=True)
    sweep(path.parent)
    write_json_atomic(path, asdict(record))


def restamp(record: WeightsRecord) -> None:
    """Write an existing record anew, or leave it where the cache is read-only."""
    with suppress(Text2LiveError):
        write_record(record)


def discard(path: Path) -> None:
    """Delete weights of the cache; those of the hub are mostly a link to the bytes elsewhere in it.

    Of a link that somebody laid to another place, only the link goes.
    """
    if _is_in_the_cache(path):
        path.resolve().unlink(missing_ok=True)
    path.unlink(missing_ok=True)


def _is_in_the_cache(path: Path) -> bool:
    """Whether a file, and what it may be a link to, lies in one of the folders for weights."""
    folders = (cache_folder() / HUB, cache_folder() / IMPORTED)
    return any(
        path.is_relative_to(folder) and path.resolve().is_relative_to(folder.resolve())
        for folder in folders
    )


def _record_path(name: str) -> Path:
    return cache_folder() / "records" / f"{slug(name)}.json"
