"""What stands in a result's folder already, seen before the input is read: the same, or another."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ..media.outside import RECORD_ERRORS, read_record
from ..runs.folder import RECORD, Outputs, RunFolder, require_takes
from ..runs.places import beside, explained
from .options import EditOptions
from .requests import request

_JUDGED_APART = ("preset", "threads")
"""Parts of a request that may be told or not; what they came to is compared."""
_NEED_THE_INPUT = ("mask", "onto")
"""Those that are read with the input, on clips."""


def same_record(
    folder: Path, command: str, options: EditOptions, preset: str, device: str
) -> dict[str, Any] | None:
    """The record in `folder` of a run that went to its end, where it may be of the same request.

    Its input, and what is read with it, are still to be compared (`same_request`).
    """
    if options.overwrite or options.resume:
        return None
    try:
        facts = read_record(folder / RECORD)
        job = facts["job"]
        same = (
            facts["command"] == command
            and facts["interrupted"] is False
            and facts["settings"]["preset"] == preset
            and job["device"] == device
            and options.threads in (None, job["threads"])
            and same_request(facts["request"], request(options), _NEED_THE_INPUT)
        )
    except RECORD_ERRORS:
        return None
    return facts if same else None


def names_copy(former: dict[str, Any] | None, copy: Path) -> bool:
    """Whether a record says that the run wrote the file `copy` beside its folder."""
    return former is not None and Path(str(former.get("copy"))).name == copy.name


def same_request(former: dict[str, Any], wishes: dict[str, Any], but: tuple[str, ...] = ()) -> bool:
    """Whether two requests are equal, but for some parts."""
    apart = {*_JUDGED_APART, *but}
    mine, theirs = (
        {name: value for name, value in wished.items() if name not in apart}
        for wished in (wishes, former)
    )
    return mine == theirs


def require_vacant(
    folder: Path,
    outputs: Outputs,
    inputs: Iterable[Path | str | None],
    options: EditOptions,
    same: bool,
) -> None:
    """Raise UsageError where a run would find another result in `folder`.

    Not while another run may be at work there, of which `claim_folder` tells.
    """
    if same or options.overwrite or options.resume or beside(folder, "lock").exists():
        return
    require_takes(folder, outputs, inputs)
    with explained(folder):
        RunFolder(folder, folder, outputs).open(False, False)
