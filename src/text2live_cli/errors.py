"""The errors that a user can cause or meet, each one line that says what to do next."""

from __future__ import annotations


class Text2LiveError(Exception):
    """Something outside the program went wrong (a file, a download, memory): exit code 1."""

    exit_code = 1


class UsageError(Text2LiveError):
    """The command was asked for something it cannot do (an option, a prompt): exit code 2."""

    exit_code = 2
