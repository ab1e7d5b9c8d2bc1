"""`gallery`: one page of all results below some folders, of failed jobs too."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from PIL import UnidentifiedImageError

from ..errors import UsageError
from ..media.files import write_text_atomic
from ..media.outside import RECORD_ERRORS, open_regular, read_record
from ..progress import Silent
from ..report.gallery import SIGN, Card, gallery_html, thumbnail
from ..runs.folder import LATEST, RECORD
from ..runs.preflight import require_file_place
from .gallery_options import GalleryOptions
from .option_fields import taking

_MAIN = "report.html"
_PICTURES = (LATEST, "composite.jpg", "composite.png", "foreground.png", "background.png")
"""What may be shown of a result: the first that is there."""
_MAX_JOURNAL = 2**28  # bytes
_DEEPEST = 12  # folders below those that were named
_PICTURE_ERRORS = (OSError, ValueError, SyntaxError, UnidentifiedImageError)


@dataclass(frozen=True)
class GalleryResult:
    """The page that was written, and how many results it shows, by their state."""

    page: Path
    counts: dict[str, int]

    def record(self) -> dict[str, Any]:
        """For `--json`."""
        return {"command": "report", "output": str(self.page), "counts": self.counts}


def run_gallery(options: GalleryOptions) -> GalleryResult:
    """Write the page of all results below `folders`; a former gallery is replaced.

    Records that cannot be read are shown as damaged. Raises UsageError where there is nothing to
    show, or another file stands there.
    """
    progress = options.progress or Silent()
    folders = [Path(folder) for folder in options.folders]
    for folder in folders:
        if not folder.is_dir():
            raise UsageError(f"{folder}: is no folder of results")
    page = Path(options.output) if options.output else folders[0] / "gallery.html"
    require_file_place("-o", page)
    if page.exists() and not options.overwrite and not _is_gallery(page):
        raise UsageError(f"{page} exists, and is no gallery: add --overwrite, or another -o")
    progress.stage("reading the results")
    runs = {run.resolve() for folder in folders for run in _runs(folder)}
    cards = [_card(run, page) for run in sorted(runs)]
    for folder in folders:
        cards += _failures(folder, page)
    if not cards:
        raise UsageError(f"{folders[0]}: holds no results")
    title = f"{len(cards)} results in {', '.join(folder.resolve().name for folder in folders)}"
    write_text_atomic(page, gallery_html(title, cards))
    states = [card.state for card in cards]
    return GalleryResult(page, {state: states.count(state) for state in sorted(set(states))})


gallery = taking(GalleryOptions)(run_gallery)


def _runs(folder: Path) -> Iterator[Path]:
    """Folders with a run.json; what is within one of these belongs to it."""
    depth = len(folder.parts)
    for place, inner, files in os.walk(folder):
        if RECORD in files:
            inner.clear()
            yield Path(place)
        elif len(Path(place).parts) - depth >= _DEEPEST:
            inner.clear()
        inner[:] = sorted(name for name in inner if not name.startswith("."))


def _card(run: Path, page: Path) -> Card:
    """Of one result, whatever its record holds."""
    target = run / _MAIN if (run / _MAIN).is_file() else run
    common: dict[str, Any] = {"name": run.name, "link": _link(target, page)}
    try:
        common["date"] = (run / RECORD).stat().st_mtime
        record = read_record(run / RECORD)
        facts = _facts(record)
        facts["told"] = f"{run.name} · {facts['told']}"
    except RECORD_ERRORS:
        return Card(state="damaged", reason="its run.json cannot be read", **common)
    return Card(**common, **facts, thumbnail=_thumbnail(run))


def _facts(record: dict[str, Any]) -> dict[str, Any]:
    """What a card says of a record. Raises one of RECORD_ERRORS where it is none."""
    command, figures = str(record["command"]), _table(record.get("figures"))
    taken = record.get("seconds")
    stages = taken if isinstance(taken, dict) else {"all": taken or 0.0}  # a lift has one
    seconds = [float(value) for name, value in stages.items() if name != "per_step"]
    prompts, score = _table(record.get("prompts")), figures.get("score")
    parts = [command]
    if score is not None:
        parts.append(f"{figures.get('verdict')}, score {float(score):.3f}")
    if "seed" in record and prompts:
        parts.append(f"seed {int(record['seed'])}")
    if seconds:
        parts.append(f"{sum(seconds):.0f} s")
    return {
        "state": "interrupted" if record.get("interrupted") else "done",
        "prompt": str(prompts.get("target", ""))[:500],
        "input": str(record["input"]["path"])[:500],
        "told": " · ".join(parts)[:500],
        "score": "" if score is None else float(score),
        "seconds": sum(seconds) if seconds else "",
    }


def _table(value: object) -> dict[str, Any]:
    """A part of a record, where it is one."""
    return value if isinstance(value, dict) else {}


def _thumbnail(run: Path) -> Any:
    """A small picture of a result, or none."""
    for name in _PICTURES:
        if (run / name).is_file():
            try:
                return thumbnail(run / name)
            except _PICTURE_ERRORS:
                continue
    return None


def _failures(folder: Path, page: Path) -> Iterator[Card]:
    """Jobs of batches that failed, and were not done since."""
    for path in sorted(folder.glob("batch*.jsonl")):
        last: dict[str, dict[str, Any]] = {}
        for line in _lines(path):
            try:
                row = json.loads(line)
                last[str(row["job"])] = row
            except RECORD_ERRORS:
                continue
        for name, row in last.items():
            if row.get("state") == "failed" and not _done_since(folder, name, row):
                yield _failed_card(name, row, _link(path, page))


def _done_since(folder: Path, name: str, row: dict[str, Any]) -> bool:
    """Whether the folder of a failed job holds a result that is younger."""
    record = folder / str(row.get("output", name)) / RECORD
    try:
        return record.stat().st_mtime > datetime.fromisoformat(row["at"]).timestamp()
    except RECORD_ERRORS:
        return record.is_file()


def _failed_card(name: str, row: dict[str, Any], link: str) -> Card:
    prompt, source, reason = (str(row.get(key, ""))[:1000] for key in ("prompt", "input", "error"))
    return Card(name, "failed", link, prompt, source, told="batch", reason=reason)


def _lines(path: Path) -> list[str]:
    try:
        with open_regular(path) as file:
            return file.read(_MAX_JOURNAL).decode("utf-8", "replace").splitlines()
    except OSError:
        return []


def _link(target: Path, page: Path) -> str:
    """From the page to a file or folder, as a URL."""
    relative = os.path.relpath(target.resolve(), page.resolve().parent)
    return quote(Path(relative).as_posix())


def _is_gallery(page: Path) -> bool:
    try:
        with open_regular(page) as file:
            return SIGN.encode() in file.read(2**20)
    except OSError:
        return False
