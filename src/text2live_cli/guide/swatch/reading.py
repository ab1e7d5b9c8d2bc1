"""How `swatch` reads a text: what it knows of it, what the text is about, what stands for what.

Without torch, so that a text can be refused before anything is loaded.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from ...errors import UsageError
from ...progress import Progress
from .kinds import kind_of, nearest_words
from .vocabulary import FUNCTION_WORDS, known_words, unknown_words

_PREPOSITIONS = "of|on|in|over|with|at|by|and|to|from|front|against|out|into|like|as"
_BREAK = re.compile(rf"[^\w\s'’-]|\b(?:{_PREPOSITIONS})\b")
_WORD = re.compile(r"[^\W\d_]+")
_POINT = "say where it is with --box, --point or --mask"
_WAYS = {
    "PROMPT": f"{_POINT}, or what is there with --roi (`text2live weights list --words`)",
    "--keep": "draw a --mask without it",
    "--foreground": "say where it is with --box, --point or --masks",
}
"""What to do where a text cannot be looked for."""
_CLIP = "or take a CLIP: --clip ViT-B-32-quickgelu/openai"


def knows_of(text: str) -> bool:
    """Whether any word of a text is known."""
    return not known_words().isdisjoint(_WORD.findall(text.lower()))


def things_of(text: str) -> list[str]:
    """What a text is about, in its order: the last word of each phrase, but for function words.

    "fire out of the bear's mouth" → fire, mouth.
    """
    phrases = (_WORD.findall(phrase) for phrase in _BREAK.split(text.lower()))
    contents = ([word for word in words if word not in FUNCTION_WORDS] for words in phrases)
    return [words[-1] for words in contents if words]


def unknown_thing(text: str) -> str | None:
    """What a text is about first, if `swatch` has no word for that."""
    first = next(iter(things_of(text)), None)
    return None if first in known_words() else first


def read_as(flag: str, text: str, seen: bool, placed: bool, progress: Progress) -> str:
    """A text as `swatch` reads it; what it does not know is told, with the nearest of its words.

    Where the place of the edit is given (`placed`), unknown things stand for their kind. Raises
    what `require_known` raises.
    """
    require_known(flag, text, seen, placed)
    for word in things_of(text) if placed else ():
        kind = kind_of(word) if word not in known_words() else None
        if kind is not None and kind.stand_in is not None:
            text = re.sub(rf"\b{word}\b", kind.stand_in, text, flags=re.IGNORECASE)
            progress.message(
                f'{flag}: `swatch` has no word for "{word}": read as "{kind.stand_in}", the'
                f" nearest of its kind ({kind.name})"
            )
    for word in unknown_words(text):
        progress.warning(f'{flag}: `swatch` does not know "{word}"{_nearest(word)}')
    return text


def require_known(flag: str, text: str, seen: bool, placed: bool) -> None:
    """Raise UsageError for a text of which nothing is known, and for one that is looked for in the
    picture (`seen`) where there is no word for what it is about, unless its place is given.
    """
    if seen and placed:
        return
    if seen:
        require_thing(flag, text)
    if not knows_of(text):
        nearest = next(filter(None, map(_nearest, reversed(unknown_words(text)))), "")
        raise UsageError(
            f'{flag} "{text}": the embedded encoder `swatch` knows none of these words{nearest};'
            f" see `text2live weights list --words`, {_CLIP}"
        )


def require_edit(
    prompt: str,
    roi: str | None,
    screen: str | None,
    also: Sequence[str],
    keep: Sequence[str],
    placed: bool,
) -> None:
    """Raise UsageError for the first text of an edit that cannot serve, as `require_known` does."""
    require_known("PROMPT", prompt, seen=False, placed=placed)
    if roi is not None:
        require_known("--roi", roi, seen=True, placed=placed)
    elif not placed:
        require_thing("PROMPT", prompt)
    for flag, texts in (("--screen", [screen] if screen else []), ("--also", also)):
        for text in texts:
            require_known(flag, text, seen=False, placed=placed)
    for text in keep:
        require_known("--keep", text, seen=True, placed=False)


def require_thing(flag: str, text: str) -> None:
    """Raise UsageError where `swatch` has no word for what a text is about."""
    word = unknown_thing(text)
    if word is None:
        return
    kind = kind_of(word)
    what = "" if kind is None else f", {kind.name},"
    raise UsageError(
        f'{flag} "{text}": `swatch` has no word for "{word}"{what} and cannot look for it'
        f"{_nearest(word)}: {_WAYS.get(flag, _POINT)}, {_CLIP}"
    )


def _nearest(word: str) -> str:
    words = ", ".join(nearest_words(word))
    return f" (nearest: {words})" if words else ""
