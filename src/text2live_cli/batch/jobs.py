"""The edits of a batch: read from a file or made of pictures and prompts, named, and checked.

Nothing is computed here and nothing written: whatever is wrong with any of them is said before the
first one begins.
"""

from __future__ import annotations

import glob
import hashlib
import itertools
import json
import re
import string
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from natsort import natsorted

from ..atlas import ATLAS
from ..errors import Text2LiveError, UsageError
from ..media.clip_kinds import CLIP_ENDINGS
from ..pipelines.checks import check_values
from ..pipelines.folders import FILE_ENDINGS
from ..pipelines.options import ImageOptions, VideoOptions
from ..pipelines.requests import NO_MATTER, located
from ..runs.atlas_folder import find_atlas
from ..runs.folder import CHECKPOINT
from ..texts import is_url, slug
from .columns import COMMAND, EDITS, NAME, field_of, files_of, has, is_of_clips, value_of
from .options import BatchOptions
from .remote import fetched, mark_of, matches
from .table import Row, read_lines, read_rows

_PICTURE_NAME, _CLIP_NAME = "{stem}.{prompt}.{seed}", "{stem}.{atlas}.{prompt}.{seed}"
_LONGEST = 200  # bytes of a name
_UNFIT = re.compile(r'[<>:"|?*\\/\x00-\x1f]')  # in names on some systems
_TOLD = 8  # of files that are missing, or results of one name, in one line


@dataclass(frozen=True)
class Job:
    """One edit: what JSON holds of it."""

    name: str
    """Of its result, in the folder of all; with "/" for folders in it."""
    command: str
    values: Mapping[str, Any]
    """Fields of the command's options."""
    where: str
    """In which line it was asked for."""

    def options(self, **others: Any) -> ImageOptions | VideoOptions:
        """As the command takes them. Raises UsageError for values that it refuses."""
        return EDITS[self.command](**self.values, **others)

    @property
    def alone(self) -> str | None:
        """What no two jobs should work on at once: a clip whose atlas is still to be fitted."""
        if self.command != "edit-video" or self.values.get("baseline") == "frames":
            return None
        source, place = Path(self.values["source"]), self.values.get("atlas_dir")
        folder = Path(place) if place else find_atlas(source)
        if folder is None or (folder / CHECKPOINT).exists() or not (folder / ATLAS).exists():
            return str(source)
        return None

    def brought(self) -> Job:
        """The same with paths of this machine for URLs."""
        files = files_of(self.command, self.values)
        paths = {name: str(fetched(file)) for name, file in files.items() if is_url(file)}
        return replace(self, values={**self.values, **paths})

    def missing(self) -> list[str]:
        """Its files that are not there."""
        files = files_of(self.command, self.values).values()
        return [file for file in files if not _is_there(file)]

    def key(self) -> str:
        """The same for the same edit of the same files, as far as can be told without reading."""
        marks: list[list[Any]] = []
        for file in files_of(self.command, self.values).values():
            if is_url(file):
                marks.append([file, mark_of(file)])
                continue
            path = Path(located(file, (Path(),)) or file)
            stat = path.stat() if path.exists() else None
            marks.append([file, stat and stat.st_size, stat and stat.st_mtime_ns])
        values = {name: v for name, v in self.values.items() if name not in NO_MATTER}
        text = json.dumps([self.command, values, marks], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()


class Asked(NamedTuple):
    """The edits of a batch."""

    jobs: list[Job]
    left_out: list[Job]
    """Whose files are not there."""


def read_jobs(options: BatchOptions) -> Asked:
    """All edits of a batch, checked; of a shard, its part.

    Raises UsageError for a file that cannot be read, values that an edit refuses, results that
    would share a folder or leave it, and files that are not there (unless `skip_missing`).
    """
    rows = list(_product(options) if options.images else read_rows(Path(str(options.jobs))))
    if not rows:
        raise UsageError(f"{options.jobs or '--images'}: holds no jobs")
    jobs = [_job(number, row, options) for number, row in enumerate(rows, 1)]
    _require_own_folders(jobs)
    missing = {job.name: job.missing() for job in jobs}
    left_out = [job for job in jobs if missing[job.name]]
    if left_out and not options.skip_missing:
        lines = [f"{', '.join(missing[job.name])} ({job.where})" for job in left_out]
        raise UsageError(f"not there: {_some(lines)}; --skip-missing leaves those jobs out")
    for job in jobs:
        _check(job)
    part, parts = options.part()
    mine = [job for job in jobs if not missing[job.name]][part - 1 :: parts]
    return Asked(mine, left_out)


def _product(options: BatchOptions) -> Iterator[Row]:
    """Every picture with every prompt."""
    pictures = [path for pattern in options.images for path in _matches(pattern)]
    prompts = [*options.prompt]
    if options.prompts is not None:
        lines = read_lines(Path(options.prompts))
        prompts += [text for _, text in lines if text and not text.startswith("#")]
    if not prompts:
        raise UsageError(f"--prompts {options.prompts}: holds no prompts")
    masks = _masks(Path(options.masks_dir)) if options.masks_dir else None
    for path, prompt in itertools.product(dict.fromkeys(pictures), dict.fromkeys(prompts)):
        cells: dict[str, Any] = {"source": path, "prompt": prompt}
        if masks is not None:
            stem = Path(path).stem
            cells["mask"] = masks.get(stem, str(Path(str(options.masks_dir)) / f"{stem}.png"))
        yield Row(f"{path}, “{prompt}”", cells)


def _is_there(file: str) -> bool:
    return (mark_of(file) if is_url(file) else located(file, (Path(),))) is not None


def _matches(pattern: str) -> list[str]:
    if is_url(pattern):
        urls = natsorted(matches(pattern))
        if not urls:
            raise UsageError(f"--images {pattern}: nothing is called so")
        return urls
    paths = natsorted(glob.glob(pattern, recursive=True))  # noqa: PTH207 (absolute ones too)
    if not paths:
        raise UsageError(f"--images {pattern}: nothing is called so")
    return [path for path in paths if Path(path).is_file()] or paths


def _masks(folder: Path) -> dict[str, str]:
    try:
        return {path.stem: str(path) for path in natsorted(folder.iterdir()) if path.is_file()}
    except OSError as error:
        raise UsageError(f"--masks-dir {folder}: cannot be read ({error.strerror})") from error


def _job(number: int, row: Row, options: BatchOptions) -> Job:
    """The edit that a row asks for, with the defaults of its file and of the batch."""
    cells, defaults = _fields(row.where, row.cells), _fields(row.where, row.defaults)
    for name in ("source", "prompt"):
        if not isinstance(cells.get(name), str):
            raise UsageError(f"{row.where}: {name} is missing")
    command = _command(row.where, cells)
    shared = {n: v for n, v in {**options.defaults, **defaults}.items() if has(command, n)}
    values = {n: v for n, v in {**shared, **cells}.items() if n not in (COMMAND, NAME)}
    values = {name: value_of(row.where, command, name, v) for name, v in values.items()}
    for name, file in files_of(command, values).items():
        if row.folder is not None:  # as it stands there, or beside the file of jobs
            values[name] = located(file, (Path(), row.folder)) or file
    name = cells.get(NAME) or _name(number, command, values, options)
    return Job(_safe_name(row.where, str(name)), command, values, row.where)


def _fields(where: str, cells: Mapping[str, Any]) -> dict[str, Any]:
    """Cells that are not empty, by their fields."""
    return {field_of(where, n): value for n, value in cells.items() if value not in (None, "")}


def _command(where: str, cells: Mapping[str, Any]) -> str:
    """As the row says, or by the kind of its source."""
    if COMMAND in cells:
        if cells[COMMAND] not in EDITS:
            raise UsageError(f"{where}: command {cells[COMMAND]}: must be edit-image or edit-video")
        return str(cells[COMMAND])
    source = Path(cells["source"])
    is_clip = (
        source.suffix.lower() in CLIP_ENDINGS or source.is_dir() or any(map(is_of_clips, cells))
    )
    return "edit-video" if is_clip else "edit-image"


def _name(number: int, command: str, values: Mapping[str, Any], options: BatchOptions) -> str:
    """By the template."""
    template = options.name or (_CLIP_NAME if command == "edit-video" else _PICTURE_NAME)
    parts: dict[str, Any] = {
        "stem": _UNFIT.sub("-", Path(values["source"]).stem).lstrip("."),
        "prompt": slug(values["prompt"]),
        "seed": values.get("seed", 0),
        "atlas": values.get("atlas", "fg") if command == "edit-video" else "",
        "number": number,
    }
    try:
        names = [name for _, name, _, _ in string.Formatter().parse(template) if name is not None]
        strange = [name for name in names if name not in parts]
        if not names or strange:
            raise KeyError(*strange)
        return template.format(**parts)
    except (ValueError, LookupError, AttributeError) as error:
        allowed = ", ".join(f"{{{name}}}" for name in parts)
        raise UsageError(f"--name {template[:80]}: must be made of {allowed}") from error


def _safe_name(where: str, name: str) -> str:
    """A name that stays in the folder of all results. Raises UsageError for another."""
    path = PurePosixPath(name.replace("\\", "/"))
    parts = [part.strip(" ") for part in path.parts]
    unfit = not parts or path.is_absolute() or any(p.startswith(".") or ":" in p for p in parts)
    if unfit or any(len(part.encode()) > _LONGEST or not part.isprintable() for part in parts):
        raise UsageError(f"{where}: {name[:80]!r} is no name for a folder within --out")
    if PurePosixPath(parts[-1]).suffix.lower() in FILE_ENDINGS:
        raise UsageError(f"{where}: {name[:80]!r} is the name of a file; results are folders")
    return "/".join(parts)


def _require_own_folders(jobs: Sequence[Job]) -> None:
    """Raise UsageError where two results would be one folder, or one lie in another."""
    by_name: dict[str, list[str]] = defaultdict(list)
    for job in jobs:
        by_name[job.name.casefold()].append(job.where)
    twice = [f"{name} ({' and '.join(w)})" for name, w in by_name.items() if len(w) > 1]
    inner = [
        f"{name} in {above}"
        for name in by_name
        for above in (str(parent) for parent in PurePosixPath(name).parents)
        if above in by_name
    ]
    if twice or inner:
        raise UsageError(
            f"results of the same name: {_some(twice or inner)}; give --name, such as"
            " {number}.{stem}.{prompt}, or a column `name`"
        )


def _check(job: Job) -> None:
    """Raise UsageError, with the place, for values that the edit would refuse."""
    try:
        check_values(job.options())
    except Text2LiveError as error:
        raise UsageError(f"{job.where}: {error}") from error


def _some(lines: Sequence[str]) -> str:
    more = f" and {len(lines) - _TOLD} more" if len(lines) > _TOLD else ""
    return ", ".join(lines[:_TOLD]) + more
