"""Texts of other hands: what a prompt may be, and how any text is shown on one plain line."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path

from .errors import UsageError

MAX_TEXT = 1000
"""Characters of a prompt: the encoders read some 77 tokens of it."""

MAX_TEXTS = 64
"""Texts of one edit: each is encoded in 14 templates."""

_TURNING = frozenset({"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"})


def is_unfit(char: str) -> bool:
    """Whether a character is not to be shown as it is: it commands the terminal, turns the writing
    direction, or stands for a byte that is no text.
    """
    return unicodedata.category(char) in ("Cc", "Cs") or unicodedata.bidirectional(char) in _TURNING


def visible(text: str) -> str:
    r"""`text` with every unfit character as an escape: "\x1b", "\u202e", "\xe9" for a lone byte."""
    return "".join(_escaped(char) if is_unfit(char) else char for char in text)


def shown_path(path: Path) -> str:
    """A path for a record that others may see: as it was given, or its name where it is absolute.

    Bytes that are no text are escaped.
    """
    return visible((path.name or "/") if path.is_absolute() else str(path))


def require_text(option: str, text: str | None) -> None:
    """Raise UsageError for a text that is too long, or that is not plain text throughout."""
    if text is None:
        return
    if len(text) > MAX_TEXT:
        raise UsageError(f"{option}: {len(text)} characters are too many (limit {MAX_TEXT})")
    for char in " ".join(text.split()):
        if is_unfit(char):
            kind = "no UTF-8" if unicodedata.category(char) == "Cs" else "a control character"
            raise UsageError(f"{option} holds {_escaped(char)}, {kind}: write it as plain text")


def check_texts(
    prompt: str,
    roi: str | None,
    screen: str | None,
    also: Sequence[str],
    keep: Sequence[str],
) -> None:
    """Raise UsageError for texts of an edit that no encoder should see, naming the option.

    Before anything else is done, torch imported included.
    """
    texts = [("PROMPT", prompt), ("--roi", roi), ("--screen", screen)]
    texts += [("--also", text) for text in also] + [("--keep", text) for text in keep]
    for option, text in texts:
        if text is not None and not text.strip():
            raise UsageError(f"{option} is empty: say in words what to make")
        require_text(option, text)
    if len(texts) > MAX_TEXTS:
        raise UsageError(f"--also and --keep: {len(texts)} texts are too many (limit {MAX_TEXTS})")


def _escaped(char: str) -> str:
    code = ord(char)
    if 0xDC80 <= code <= 0xDCFF:  # how Python keeps a byte that is no UTF-8
        code -= 0xDC00
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def slug(prompt: str, limit: int = 40) -> str:
    """A name for files: letters, digits and dashes of `prompt`, in at most `limit` bytes."""
    name = re.sub(r"[^\w]+", "-", prompt.lower()).strip("-_").encode()[:limit]
    return name.decode(errors="ignore").rstrip("-") or "edit"


def clock(seconds: float) -> str:
    """ "1:05", "2:03:10"."""
    minutes, rest = divmod(max(round(seconds), 0), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def is_url(text: str) -> bool:
    """Whether it is no path."""
    scheme, mark, _ = text.partition("://")
    return bool(mark) and scheme.isascii() and scheme.replace("+", "").isalnum()
