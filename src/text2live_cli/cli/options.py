"""Options of the engine → parameters of typer: each dataclass becomes a command's signature."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import types
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin, get_type_hints

import typer

from ..config import Help

Options = TypeVar("Options")

Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Only warnings and errors.")]
Json = Annotated[
    bool, typer.Option("--json", help="Print the result record, and only it, to stdout.")
]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace an existing result.")]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Say what would be done, at what cost, and end.")
]


def taking_options(
    options: Callable[..., Options],
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Decorates a command whose first parameter makes its `options`: it then has one parameter for
    each field with a `Help`, and after them its own others.

    The first parameter is called with the `Progress` to be told, and raises what `options` raises.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        fields = [p for f in dataclasses.fields(options) if (p := _parameter(options, f))]  # type: ignore[arg-type]
        names = [parameter.name for parameter in fields]

        @functools.wraps(command)
        def call(**given: Any) -> None:
            values = {name: given.pop(name) for name in names}
            values = {n: tuple(v) if isinstance(v, list) else v for n, v in values.items()}
            values = {n: v for n, v in values.items() if v is not None}  # the fields' defaults
            command(lambda progress: options(**values, progress=progress), **given)

        own = list(inspect.signature(command, eval_str=True).parameters.values())[1:]
        parameters = [*fields, *(p.replace(kind=p.KEYWORD_ONLY) for p in own)]
        call.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        call.__annotations__ = {p.name: p.annotation for p in parameters}
        return call

    return decorate


def _parameter(options: Any, field: dataclasses.Field[Any]) -> inspect.Parameter | None:
    """Typer's parameter for a field; None where it is not for the command line."""
    hint = get_type_hints(options, include_extras=True)[field.name]
    about = next((one for one in get_args(hint)[1:] if isinstance(one, Help)), None)
    if about is None:
        return None
    kind, default = _plain(get_args(hint)[0]), field.default
    if isinstance(default, tuple):
        default = None
    required = default is dataclasses.MISSING
    if required or not field.kw_only:
        info = typer.Argument(help=about.text)
    else:
        info = typer.Option(
            *(_flags(field.name, about)),
            help=_with_default(about.text, default),
            metavar=about.metavar,
            rich_help_panel=about.panel,
            show_default=False,
        )
    return inspect.Parameter(
        field.name,
        inspect.Parameter.KEYWORD_ONLY,
        default=inspect.Parameter.empty if required else default,
        annotation=Annotated[kind, info],
    )


def _flags(name: str, about: Help) -> list[str]:
    if about.flag is not None:
        return about.flag.split("/")
    return ["--" + name.replace("_", "-")]


def _with_default(text: str, default: object) -> str:
    """The help with its default, where that says something and the text does not."""
    if default in (None, False) or "efault" in text:
        return text
    return f"{text} Default: {default}."


def _plain(kind: Any) -> Any:
    """The type as typer wants it: one class, or a list, and None where that is allowed."""
    if get_origin(kind) in (Union, types.UnionType):
        parts = [part for part in get_args(kind) if part is not types.NoneType]
        one = Path if Path in parts else parts[0]
        return _plain(one) | None if types.NoneType in get_args(kind) else one
    if get_origin(kind) is Sequence:
        return list[str] | None
    return kind
