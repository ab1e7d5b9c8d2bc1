"""What typer refuses by itself, with what was probably meant."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typer
from typer.core import TyperCommand

# click's ClickException, wherever this version of typer has it: some bring a click of their own.
RefusedByTyper: Any = next(
    kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException"
)
_UNQUOTED = 'put the sentence in quotes: "oreo cake"'
_SEVERAL = "one file at a time; of several: text2live batch --images 'photos/*.jpg' --prompt TEXT"
_PATTERN = "put the pattern in quotes: --images 'photos/*.jpg'"


class _Hinting(TyperCommand):
    """A command that says more where there are too many arguments."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """As typer does."""
        words = [word for word in args if not word.startswith("-")]
        try:
            return super().parse_args(ctx, args)
        except RefusedByTyper as error:
            if "extra argument" in error.message:
                error.message += f" ({self.hint(words)})"
            raise

    def hint(self, words: list[str]) -> str:
        """What was probably meant, by the words that are no options."""
        raise NotImplementedError


class TakesASentence(_Hinting):
    """A command whose last argument is a sentence: one without quotes is told of them, and several
    files of `batch`.
    """

    def hint(self, words: list[str]) -> str:
        """By how many of them are files."""
        return _SEVERAL if sum(Path(word).exists() for word in words) > 1 else _UNQUOTED


class TakesAPattern(_Hinting):
    """A command with a pattern, which the shell replaced by files where it had no quotes."""

    def hint(self, words: list[str]) -> str:
        """Always the same."""
        return _PATTERN
