"""The fields of options: their types and their `Help`; functions that take them one by one."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar, get_args, get_type_hints

from ..config import Help, require_one_of

Parameters = ParamSpec("Parameters")
Options = TypeVar("Options")
Result = TypeVar("Result")


def taking(
    options: Callable[Parameters, Options],
) -> Callable[[Callable[[Options], Result]], Callable[Parameters, Result]]:
    """Decorates a function of `options`, a dataclass: it then takes their fields one by one.

    Raises UsageError, with the nearest name, for a keyword that is none of theirs.
    """

    signature = inspect.signature(options)

    def decorate(run: Callable[[Options], Result]) -> Callable[Parameters, Result]:
        @functools.wraps(run)
        def call(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Result:
            for name in kwargs:
                require_one_of("option", name, tuple(signature.parameters))
            return run(options(*args, **kwargs))

        call.__signature__ = signature  # type: ignore[attr-defined]
        return call

    return decorate


def types_of(options: type, annotated: bool = False) -> dict[str, Any]:
    """The types of all fields; `annotated` with their `Help`."""
    return _types(options, annotated)


@functools.cache
def _types(options: type, annotated: bool) -> dict[str, Any]:
    return get_type_hints(options, include_extras=annotated)


def help_of(options: type, name: str) -> Help | None:
    """The `Help` of a field; None where it is not for the command line."""
    hint = types_of(options, annotated=True)[name]
    return next((one for one in get_args(hint)[1:] if isinstance(one, Help)), None)


def flag_of(name: str, about: Help) -> str:
    """The long name of an option on the command line."""
    return about.flag.split("/")[-1] if about.flag else "--" + name.replace("_", "-")
