"""Options of the engine → parameters of typer: each dataclass becomes a command's signature."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import types
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

import typer

from ..batch.columns import NOT_OF_A_JOB
from ..config import Help
from ..errors import UsageError
from ..pipelines.option_fields import flag_of, help_of, types_of
from ..pipelines.requests import recorded_options
from ..progress import Progress

Options = TypeVar("Options")

SHARED = "Of every edit"
"""Heading of the options that several edits share."""

Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Only warnings and errors.")]
Json = Annotated[
    bool, typer.Option("--json", help="Print the result record, and only it, to stdout.")
]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace an existing result.")]


@dataclass(frozen=True, kw_only=True)
class Flags:
    """How a command talks; all of them have these."""

    style: Annotated[
        str,
        Help(
            "Of the progress: bar, plain (lines), json (an event a line, on stderr) or none."
            " Default: bar on a terminal, else plain.",
            "--progress",
        ),
    ] = "auto"
    verbose: Annotated[bool, Help("All terms of the objective, not their sum alone.")] = False
    quiet: Annotated[bool, Help("Only warnings and errors.", "-q/--quiet")] = False
    as_json: Annotated[bool, Help("Print the result record, and only it, to stdout.", "--json")] = (
        False
    )
    debug: Annotated[bool, Help("Show the traceback of an error.")] = False


DryRun = Annotated[bool, Help("Say what would be done, and at what cost, and end.")]


@dataclass(frozen=True, kw_only=True)
class BatchFlags(Flags):
    """Of a batch."""

    dry_run: DryRun = False


@dataclass(frozen=True, kw_only=True)
class RunFlags(Flags):
    """Of commands that work long."""

    config: Annotated[
        Path | None,
        Help("Repeat the run of this run.json; SOURCE, PROMPT and options given here change it."),
    ] = None
    dry_run: DryRun = False


@dataclass(frozen=True, kw_only=True)
class EditFlags(RunFlags):
    """Of edits."""

    tries: Annotated[
        int,
        Help("Edit with so many seeds, pictures on a CPU two at once; the best one is delivered."),
    ] = 1
    also_try: Annotated[
        Sequence[str], Help("Another wording of PROMPT to try; repeatable.", "--also-try", "TEXT")
    ] = ()

    no_picture: Annotated[
        bool,
        Help("No picture on the terminal, where it could (sixel, kitty; the extra `pictures`)."),
    ] = False

    @property
    def several(self) -> bool:
        """Whether more than one edit is asked for."""
        return self.tries != 1 or bool(self.also_try)


def taking_options(
    options: Callable[..., Options], flags: type[Flags], shared: Sequence[type] = ()
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Decorates a command of `(make_options, flags, **own)`: it then has a parameter of typer's for
    each field with a `Help`, before and after its own.

    `make_options` is called with the `Progress` to be told, and raises what `options` raises. The
    fields of the dataclasses `shared` that `options` has not become its `defaults`.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        repeats = issubclass(flags, RunFlags)
        fields, ways = _parameters(options, must=not repeats), _parameters(flags)
        others = _shared_parameters(shared, {one.name for one in (*fields, *ways)})

        @functools.wraps(command)
        def call(**given: Any) -> None:
            values, manner = _taken(given, fields), flags(**_taken(given, ways))
            if shared:
                values["defaults"] = _taken(given, others)

            def make(progress: Progress) -> Options:
                config = manner.config if isinstance(manner, RunFlags) else None
                named = {"progress": progress} if _has_progress(options) else {}
                return options(**_completed(options, values, config), **named)

            command(make, manner, **given)

        own = list(inspect.signature(command, eval_str=True).parameters.values())[2:]
        own = [parameter.replace(kind=parameter.KEYWORD_ONLY) for parameter in own]
        parameters = [*fields, *own, *ways, *others]
        call.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        call.__annotations__ = {p.name: p.annotation for p in parameters}
        return call

    return decorate


def _shared_parameters(shared: Sequence[type], taken: set[str]) -> list[inspect.Parameter]:
    """Options of several edits at once: those that no edit must have of its own."""
    parameters: dict[str, inspect.Parameter] = {}
    for options in shared:
        for field in dataclasses.fields(options):
            about = help_of(options, field.name)
            if field.name in taken or not field.kw_only or about is None or about.hidden:
                continue
            if field.name not in NOT_OF_A_JOB and (
                one := _parameter(options, field, False, SHARED)
            ):
                parameters[field.name] = one
    return list(parameters.values())


def _has_progress(options: Any) -> bool:
    return any(field.name == "progress" for field in dataclasses.fields(options))


def _completed(options: Any, values: dict[str, Any], config: Path | None) -> dict[str, Any]:
    """With what `config` says of the rest. Raises UsageError for an argument that is missing."""
    if config is not None:
        values = {**recorded_options(config, options, values), **values}
    for field in dataclasses.fields(options):
        if field.default is dataclasses.MISSING and field.name not in values:
            raise UsageError(f"{field.name.upper()} is missing: see --help")
    return values


def _parameters(options: Any, must: bool = True) -> list[inspect.Parameter]:
    """Typer's parameters; arguments may only be left out where they `must` not be there."""
    fields = (_parameter(options, field, must) for field in dataclasses.fields(options))
    return [parameter for parameter in fields if parameter is not None]


def _taken(given: dict[str, Any], parameters: Sequence[inspect.Parameter]) -> dict[str, Any]:
    """The values of these parameters, out of `given`; those not named are left to their fields."""
    values = {one.name: given.pop(one.name) for one in parameters}
    return {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in values.items()
        if value is not None and value is not False
    }


def _parameter(
    options: Any, field: dataclasses.Field[Any], must: bool, panel: str | None = None
) -> inspect.Parameter | None:
    """Typer's parameter for a field; None where it is not for the command line.

    `panel` is the heading where the field has none.

    What was not named is None there, or False, so that it is told from what was.
    """
    about = help_of(options, field.name)
    if about is None:
        return None
    hint = types_of(options, annotated=True)[field.name]
    kind, default = _plain(get_args(hint)[0]), field.default
    required = default is dataclasses.MISSING
    is_flag = default is False
    if required or not field.kw_only:
        info = typer.Argument(help=about.text, metavar=about.metavar or field.name.upper())
    else:
        info = typer.Option(
            *(_flags(field.name, about)),
            help=_with_default(about.text, None if default == () else default),
            metavar=about.metavar,
            rich_help_panel=about.panel or panel,
            hidden=about.hidden,
            show_default=False,
        )
    return inspect.Parameter(
        field.name,
        inspect.Parameter.KEYWORD_ONLY,
        default=inspect.Parameter.empty if required and must else False if is_flag else None,
        annotation=Annotated[kind if is_flag else kind | None, info],
    )


def _flags(name: str, about: Help) -> list[str]:
    return about.flag.split("/") if about.flag else [flag_of(name, about)]


def _with_default(text: str, default: object) -> str:
    """The help with its default, where that says something and the text does not."""
    if default is None or default is False or "efault" in text:
        return text
    return f"{text} Default: {default}."


def _plain(kind: Any) -> Any:
    """The type as typer wants it: one class, or a list, and None where that is allowed."""
    if get_origin(kind) in (Union, types.UnionType):
        parts = [part for part in get_args(kind) if part is not types.NoneType]
        one = Path if Path in parts else parts[0]
        return _plain(one) | None if types.NoneType in get_args(kind) else one
    if get_origin(kind) is Sequence:
        return list[_plain(get_args(kind)[0])] | None  # type: ignore[misc]
    return kind
