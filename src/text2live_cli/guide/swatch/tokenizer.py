"""open_clip's byte-pair tokenizer, reduced to the rows that the closed vocabulary uses."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from open_clip.tokenizer import SimpleTokenizer

from .vocabulary import (
    APPEARANCES,
    FUNCTION_WORDS,
    THINGS,
    canonical,
)

WORDS = (*THINGS, *APPEARANCES, *sorted(FUNCTION_WORDS), ".", "!", "...", ",")
"""What an encoder that is trained today can read."""
CONTEXT_LENGTH = 20
PADDING, _UNKNOWN, _START = 0, 1, 2
_FIRST_PIECE = 3


class SwatchTokenizer:
    """Maps text to compact rows: padding, unknown, start, the pieces in use, and last the end.

    The end must be the highest row: open_clip reads the text's embedding where the id is highest.
    Which words there are belongs to the weights, and stands in their metadata.
    """

    def __init__(self, words: Sequence[str] = WORDS, context_length: int = CONTEXT_LENGTH) -> None:
        self.words, self.context_length = tuple(words), context_length
        self._bpe = SimpleTokenizer()
        pieces = sorted({piece for word in words for piece in self._bpe.encode(word)})
        self._rows = {piece: row for row, piece in enumerate(pieces, start=_FIRST_PIECE)}
        self.end_row = _FIRST_PIECE + len(pieces)
        self.vocab_size = self.end_row + 1

    def __call__(self, texts: str | Sequence[str]) -> torch.Tensor:
        """Rows of each text, cut to the context with the end kept: LongTensor (B, context)."""
        texts = [texts] if isinstance(texts, str) else texts
        tokens = torch.full((len(texts), self.context_length), PADDING, dtype=torch.long)
        for row, text in zip(tokens, texts, strict=True):
            ids = [self._rows.get(i, _UNKNOWN) for i in self._bpe.encode(canonical(text))]
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
