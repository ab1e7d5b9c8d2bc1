"""CLIP's byte-pair tokenizer, reduced to the rows that the closed vocabulary uses.

The pieces of its words stand in `pieces.json` (made by bench/swatch_training/pieces.py); for a text
with any other word open_clip's own tokenizer is asked, whose import takes seconds.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import torch

from .vocabulary import (
    APPEARANCES,
    FUNCTION_WORDS,
    THINGS,
    canonical,
)

WORDS = (*THINGS, *APPEARANCES, *sorted(FUNCTION_WORDS), ".", "!", "...", ",")
"""What an encoder that is trained today can read."""
PIECES = Path(__file__).with_name("pieces.json")
CONTEXT_LENGTH = 20
PADDING, _UNKNOWN, _START = 0, 1, 2
_FIRST_PIECE = 3
_WORD = re.compile(r"[a-z]+|[^a-z\s]+")  # of those as CLIP's tokenizer cuts them


class SwatchTokenizer:
    """Maps text to compact rows: padding, unknown, start, the pieces in use, and last the end.

    The end must be the highest row: open_clip reads the text's embedding where the id is highest.
    Which words there are belongs to the weights, and stands in their metadata.
    """

    def __init__(self, words: Sequence[str] = WORDS, context_length: int = CONTEXT_LENGTH) -> None:
        self.words, self.context_length = tuple(words), context_length
        pieces = sorted({piece for word in words for piece in encode(word)})
        self._rows = {piece: row for row, piece in enumerate(pieces, start=_FIRST_PIECE)}
        self.end_row = _FIRST_PIECE + len(pieces)
        self.vocab_size = self.end_row + 1

    def __call__(self, texts: str | Sequence[str]) -> torch.Tensor:
        """Rows of each text, cut to the context with the end kept: LongTensor (B, context)."""
        texts = [texts] if isinstance(texts, str) else texts
        tokens = torch.full((len(texts), self.context_length), PADDING, dtype=torch.long)
        for row, text in zip(tokens, texts, strict=True):
            ids = [self._rows.get(i, _UNKNOWN) for i in encode(canonical(text))]
            ids = [_START, *ids[: self.context_length - 2], self.end_row]
            row[: len(ids)] = torch.tensor(ids)
        return tokens

    def rows_shared_with(self, other: SwatchTokenizer) -> tuple[list[int], list[int]]:
        """Rows here, and the rows there, of all that both can read."""
        shared = [piece for piece in self._rows if piece in other._rows]
        common = [PADDING, _UNKNOWN, _START]
        here = [*common, *(self._rows[piece] for piece in shared), self.end_row]
        rows = [*common, *(other._rows[piece] for piece in shared), other.end_row]
        return here, rows


def encode(text: str) -> list[int]:
    """CLIP's byte-pair tokens of a text in lower case."""
    known, words = _pieces(), _WORD.findall(text)
    if all(word in known for word in words):
        return [piece for word in words for piece in known[word]]
    return _byte_pairs(text)


@cache
def _pieces() -> dict[str, list[int]]:
    pieces: dict[str, list[int]] = json.loads(PIECES.read_text("utf-8"))
    return pieces


def _byte_pairs(text: str) -> list[int]:
    from open_clip.tokenizer import SimpleTokenizer

    tokens: list[int] = SimpleTokenizer().encode(text)
    return tokens
