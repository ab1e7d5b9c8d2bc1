"""The errors that a user can cause or meet, each one line that says what to do next."""

from __future__ import annotations


class Text2LiveError(Exception):
    """Something outside the program went wrong (a file, a download, memory): exit code 1."""

    exit_code = 1
    kept = ""
    """What is left of the work, and how to go on with it; empty where nothing is."""

    def __str__(self) -> str:
        text = super().__str__()
        return f"{text}; {self.kept}" if self.kept else text


class UsageError(Text2LiveError):
    """The command was asked for something it cannot do (an option, a prompt): exit code 2."""

    exit_code = 2


class PoorAtlasError(Text2LiveError):
    """An edit was asked for on an atlas that its own fit called poor."""


class UnexpectedError(Text2LiveError):
    """A fault of the program itself, as far as it can tell: exit code 70."""

    exit_code = 70
