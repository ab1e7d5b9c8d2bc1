"""What was asked for, as a record keeps it, and back: requests, command lines, options of a run."""

from __future__ import annotations

import shlex
import types
from collections.abc import Collection, Sequence
from dataclasses import Field, fields
from pathlib import Path
from typing import Any, Union, get_args, get_origin

from ..config import Help
from ..errors import UsageError
from ..media.files import sha256_of
from ..media.outside import RECORD_ERRORS, read_record
from ..texts import shown_path
from .option_fields import flag_of, help_of, types_of
from .options import FitOptions, ImageOptions, VideoOptions

NO_MATTER = (
    *("source", "output", "overwrite", "resume", "save_every", "checkpoint_every", "any_atlas"),
    *("log_dir", "pictures"),
)
"""Options that do not change a result."""


def request(options: object) -> dict[str, Any]:
    """What was asked for, as a record keeps it: the options that matter and are not the default.

    Files stand by the SHA-256 of what is in them, so that two requests for the same are equal.
    """
    return {
        option.name: _in_a_record(getattr(options, option.name), _names_a_file(options, option))
        for option in _asked(options)
        if option.name not in NO_MATTER
    }


def _in_a_record(value: Any, is_path: bool) -> Any:
    if is_path:
        path = Path(value)
        return sha256_of(path) if path.is_file() else shown_path(path)
    return list(value) if isinstance(value, tuple) else value


def _names_a_file(options: object, option: Field[Any]) -> bool:
    return Path in get_args(types_of(type(options))[option.name])


def command_line(command: str, options: object, for_others: bool = True) -> str:
    """The command that asks for the same, for a shell; of absolute paths only the names, where it
    is `for_others`.
    """
    words, places = ["text2live", command], []
    for option in _asked(options):
        value, about = getattr(options, option.name), help_of(type(options), option.name)
        if option.name in ("overwrite", "resume") or about is None:
            continue
        values = value if isinstance(value, (tuple, list)) else [value]
        is_path = _names_a_file(options, option)
        hides = is_path and for_others
        texts = [shown_path(Path(one)) if hides else str(one) for one in values]
        if not option.kw_only:
            places += texts
        elif value is True:
            words.append(flag_of(option.name, about))
        else:
            words += [part for text in texts for part in (flag_of(option.name, about), text)]
    dash = ["--"] if any(text.startswith("-") for text in places) else []
    return shlex.join([*words, *dash, *places])


def _asked(options: Any) -> list[Field[Any]]:
    """The fields for the command line that are not at their default."""
    return [
        one
        for one in fields(options)
        if help_of(type(options), one.name) and getattr(options, one.name) != one.default
    ]


_NOT_REPEATED = ("output", "overwrite", "resume", "log_dir", "export_nla")
"""Options that say where to, not what."""
_COMMANDS: dict[type, str] = {
    ImageOptions: "edit-image",
    VideoOptions: "edit-video",
    FitOptions: "fit-atlas",
}


def given_options(options: object) -> dict[str, Any]:
    """The options that ask for the same, for `recorded_options`: paths as a record shows them."""
    return {
        one.name: _in_json(getattr(options, one.name), _names_a_file(options, one))
        for one in _asked(options)
        if one.name not in _NOT_REPEATED
    }


def recorded_options(path: Path, options: type, changed: Collection[str]) -> dict[str, Any]:
    """The options in the run.json `path`, but for those that are `changed`: for `options`.

    Files are looked for where they were, beside run.json, and beside its folder. Raises UsageError
    where it is none of that command, or a file is not there.
    """
    try:
        facts = read_record(path)
        command, values = facts["command"], dict(facts["options"])
    except RECORD_ERRORS as error:
        raise UsageError(f"--config {path}: no run.json with the options of a run") from error
    if command != _COMMANDS[options]:
        raise UsageError(f"--config {path}: of another command, not of {_COMMANDS[options]}")
    if "minutes" in changed:
        values.pop("steps", None)
    kept = {name: value for name, value in values.items() if name not in changed}
    return {name: _read_back(path, options, name, value) for name, value in kept.items()}


def _read_back(path: Path, options: type, name: str, value: object) -> Any:
    """The value of a field, of the field's type; a record may have come from elsewhere."""
    names = [one.name for one in fields(options)]
    about = help_of(options, name) if name in names else None
    if about is None or name in _NOT_REPEATED:
        raise UsageError(f"--config {path}: {str(name)[:40]!r} is no option of this command")
    kinds = kinds_of(options, name)
    if isinstance(value, list) and Sequence in kinds and all(isinstance(v, str) for v in value):
        return tuple(value)
    if isinstance(value, str) and Path in kinds:
        return _place(path, name, about, value)
    if type(value) in kinds or (type(value) is int and float in kinds):
        return value
    raise UsageError(f"--config {path}: {name} cannot be {str(value)[:40]!r}")


def _place(record: Path, name: str, about: Help, value: str) -> str:
    """Where a file or folder of a record is now; of "FILE@FRAME", with the frame."""
    folders = (Path(), record.parent, record.parent / "..")
    place = None if Path(value).is_absolute() else located(value, folders)
    if place is None:
        flag = "SOURCE" if name == "source" else flag_of(name, about)
        raise UsageError(f"--config {record}: {value[:200]} is not here: name it anew with {flag}")
    return place


def located(value: str, folders: Sequence[Path]) -> str | None:
    """The first of the `folders` in which a file or folder is, with its name; of "FILE@FRAME" with
    the frame. None where it is in none.
    """
    text, at, frame = value.rpartition("@")
    file, end = (text, at + frame) if at and frame.isdigit() else (value, "")
    places = (folder / file for folder in folders)
    return next((str(place) + end for place in places if place.exists()), None)


def kinds_of(options: type, name: str) -> set[Any]:
    """The types that a field's value may have."""
    return _kinds(types_of(options)[name])


def _kinds(hint: Any) -> set[Any]:
    if get_origin(hint) in (Union, types.UnionType):
        return set().union(*(_kinds(part) for part in get_args(hint)))
    return {get_origin(hint) or hint}


def _in_json(value: Any, is_path: bool) -> Any:
    if is_path:
        return shown_path(Path(value))
    return list(value) if isinstance(value, tuple) else value
