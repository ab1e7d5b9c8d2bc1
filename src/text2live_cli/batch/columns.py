"""The columns of a jobs file: every option of `edit-image` and `edit-video`, read as its type."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from functools import cache
from pathlib import Path
from typing import Any, get_args

from ..config import require_one_of
from ..errors import UsageError
from ..pipelines.option_fields import flag_of, help_of, types_of
from ..pipelines.options import ImageOptions, VideoOptions
from ..pipelines.requests import kinds_of

EDITS: dict[str, type[ImageOptions] | type[VideoOptions]] = {
    "edit-image": ImageOptions,
    "edit-video": VideoOptions,
}
COMMAND, NAME = "command", "name"
"""Columns beside the options: which edit it is (told by the file), and the name of its result."""
NOT_OF_A_JOB = ("output", "codec", "crf", "overwrite", "resume", "log_dir", "progress")
_SEPARATOR = ";"  # of several values in one cell
_TRUE, _FALSE = ("true", "yes", "1"), ("false", "no", "0")


@cache
def column_names() -> dict[str, str]:
    """Fields of the options by what a column may be called: the field, or its flag."""
    names = {COMMAND: COMMAND, NAME: NAME}
    for options in EDITS.values():
        for one in fields(options):
            about = help_of(options, one.name)
            if about is not None and one.name not in NOT_OF_A_JOB:
                names[one.name] = one.name
                if one.kw_only:
                    names[flag_of(one.name, about).lstrip("-").replace("-", "_")] = one.name
    return names


def field_of(where: str, column: str) -> str:
    """The field that a column is of. Raises UsageError, with the nearest name, for another."""
    name, names = column.strip().lower().replace("-", "_"), column_names()
    if name in NOT_OF_A_JOB:
        raise UsageError(f"{where}: column {column}: batch says that itself (--out, --name)")
    require_one_of(f"{where}: column", name, tuple(names))
    return names[name]


def has(command: str, field: str) -> bool:
    """Whether a command has an option."""
    return any(one.name == field for one in fields(EDITS[command]))


def is_of_clips(field: str) -> bool:
    """Whether only `edit-video` has it."""
    return field not in (COMMAND, NAME) and not has("edit-image", field)


def value_of(where: str, command: str, field: str, value: object) -> Any:
    """A cell as its field's type, JSON has it too. Raises UsageError where it cannot be that."""
    if not has(command, field):
        raise UsageError(f"{where}: {field} is no option of {command}")
    kinds = kinds_of(EDITS[command], field)
    if isinstance(value, str) and str not in kinds:
        value = _read(value, kinds)
    elif isinstance(value, Path):
        value = str(value)
    if isinstance(value, (list, tuple)) and Sequence in kinds:
        if all(isinstance(one, str) for one in value):
            return list(value)
    elif type(value) in kinds or (type(value) is int and float in kinds):
        return value
    raise UsageError(f"{where}: {field} cannot be {str(value)[:80]!r}")


def _read(text: str, kinds: set[Any]) -> Any:
    """A text as a number, a truth or several texts; as it is where it is none of that."""
    text = text.strip()
    if Sequence in kinds:
        return [part.strip() for part in text.split(_SEPARATOR) if part.strip()]
    if bool in kinds and text.lower() in (*_TRUE, *_FALSE):
        return text.lower() in _TRUE
    for kind in (int, float):
        if kind in kinds:
            try:
                return kind(text)
            except ValueError:
                continue
    return text


def files_of(command: str, values: Mapping[str, Any]) -> dict[str, str]:
    """The values that name files or folders, by their fields."""
    hints = types_of(EDITS[command])
    return {
        name: value
        for name, value in values.items()
        if isinstance(value, str) and Path in get_args(hints[name])
    }
