"""How a command ends: errors in one line with an exit code, results as JSON on stdout."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager

import typer

from ..endings import Stopped, signals_raise
from ..errors import UnexpectedError, UsageError
from ..runs.keeping import as_known
from ..texts import visible
from .console import ConsoleProgress, print_result
from .options import Flags


def print_json(value: object) -> None:
    """One value on stdout."""
    print_result(json.dumps(value, indent=2))


def print_plan(facts: dict[str, str], as_json: bool) -> None:
    """What `--dry-run` says, on stdout."""
    if as_json:
        print_json({"plan": facts})
        return
    for name, text in facts.items():
        print_result(visible(f"{name + ':':10} {text}"))


@contextmanager
def reporting(flags: Flags) -> Iterator[ConsoleProgress]:
    """Errors become one line and an exit code; this is the only place where they do."""
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)
    quiet = flags.quiet or (flags.as_json and flags.style == "auto")
    with _console(flags, quiet) as progress, signals_raise():
        try:
            yield progress
        except typer.Exit:
            raise
        except KeyboardInterrupt as interrupt:
            end = interrupt if isinstance(interrupt, Stopped) else Stopped()
            progress.error("; ".join(text for text in ("stopped", end.kept) if text))
            raise typer.Exit(end.exit_code) from None
        except Exception as error:
            if flags.debug:
                raise
            failure = as_known(error)
            line = " ".join(str(failure).split())
            if isinstance(failure, UnexpectedError):
                at = f" in “{progress.stage_name}”" if progress.stage_name else ""
                line = f"a fault of text2live{at}: {line} (--debug shows where)"
            progress.error(line)
            if flags.as_json:
                cause = error.__cause__ if isinstance(error, UnexpectedError) else error
                print_error(line, type(cause).__name__)
            raise typer.Exit(failure.exit_code) from error


def _console(flags: Flags, quiet: bool) -> ConsoleProgress:
    """The progress that was asked for; one that there is not is refused as every option is."""
    try:
        return ConsoleProgress(quiet, flags.style, flags.verbose)
    except UsageError as error:
        ConsoleProgress().error(str(error))
        raise typer.Exit(error.exit_code) from error


def print_error(line: str, kind: str) -> None:
    """An error as JSON, on stdout."""
    print_json({"error": line, "kind": kind})
