"""batch.jsonl: what became of each job, one line as each begins and ends; the last one holds."""

from __future__ import annotations

import contextlib
import json
import os
from dataclasses import asdict, dataclass, fields
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, get_type_hints

from ..errors import Text2LiveError
from ..media.outside import RECORD_ERRORS, open_regular
from .jobs import Job

BEGUN, DONE, FAILED, INTERRUPTED = "begun", "done", "failed", "interrupted"
OPEN = "open"
"""Of a job that did not begin; never written."""
_MAX_BYTES = 2**30


@dataclass(frozen=True)
class Entry:
    """What became of a job."""

    job: str
    state: str
    key: str = ""
    """Of `Job.key`."""
    output: str = ""
    """The folder of its result, in that of the journal."""
    prompt: str = ""
    input: str = ""
    seed: int = 0
    seconds: float | None = None
    error: str = ""
    verdict: str = ""
    score: float | None = None
    steps: int | None = None
    """That were run."""
    at: str = ""
    """When it came to be so, in ISO 8601."""

    @classmethod
    def of(cls, job: Job, state: str, **others: Any) -> Entry:
        """Of a job, now in `state`."""
        values = job.values
        seed = values.get("seed", 0)
        asked = {"prompt": values["prompt"], "input": values["source"], "seed": seed}
        at = datetime.now(timezone.utc).isoformat(timespec="milliseconds")
        return cls(job.name, state, job.key(), job.name, at=at, **asked, **others)

    def told(self) -> dict[str, Any]:
        """What there is to say of it."""
        return {name: v for name, v in asdict(self).items() if v not in (None, "")}


class Journal:
    """The file, for one batch; what others wrote is read once."""

    def __init__(self, folder: Path, shard: str | None = None) -> None:
        """Raises Text2LiveError where the folder cannot be read."""
        self.path = folder / f"{shard_name(shard)}.jsonl"
        self.entries: dict[str, Entry] = {}
        for path in sorted(folder.glob("batch*.jsonl")):
            self.entries.update(_read(path))

    def entry_of(self, job: Job) -> Entry | None:
        """What became of it, if that was the same edit of the same files."""
        entry = self.entries.get(job.name)
        return entry if entry is not None and entry.key == job.key() else None

    def add(self, entry: Entry) -> None:
        """Write it, so that it is there after any end. Raises Text2LiveError where it cannot be."""
        line = json.dumps(entry.told(), ensure_ascii=False) + "\n"
        try:
            with self.path.open("ab") as file:
                # A line that a killed process left unfinished ends here.
                torn = file.tell() and not _ends_well(self.path)
                file.write(b"\n" * bool(torn) + line.encode("utf-8", "replace"))
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise Text2LiveError(f"{self.path}: cannot be written ({error.strerror})") from error
        self.entries[entry.job] = entry


def shard_name(shard: str | None) -> str:
    """ "batch", or of a part of it "batch.2-of-5"."""
    return "batch" if shard is None else f"batch.{shard.replace('/', '-of-')}"


def _read(path: Path) -> dict[str, Entry]:
    """The last entry of each job; lines that are none are left out."""
    entries: dict[str, Entry] = {}
    try:
        with open_regular(path) as file:
            lines = file.read(_MAX_BYTES).decode("utf-8", "replace").splitlines()
    except OSError as error:
        raise Text2LiveError(f"{path}: cannot be read ({error.strerror or error})") from error
    for line in lines:
        with contextlib.suppress(*RECORD_ERRORS):
            entry = _entry_of(json.loads(line))
            entries[entry.job] = entry
    return entries


def _entry_of(values: object) -> Entry:
    """Of a line, which may hold anything. Raises TypeError where it is none."""
    if not isinstance(values, dict):
        raise TypeError("no object")
    kinds = get_type_hints(Entry)
    entry = Entry(**{name: value for name, value in values.items() if name in kinds})
    if any(not isinstance(getattr(entry, one.name), kinds[one.name]) for one in fields(entry)):
        raise TypeError("of another type")
    return entry


def _ends_well(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1) == b"\n"
