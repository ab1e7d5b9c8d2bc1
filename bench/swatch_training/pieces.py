"""Write pieces.json: CLIP's byte-pair tokens of every word that `swatch` can read.

PYTHONPATH=bench python -m swatch_training.pieces
"""

from __future__ import annotations

import json

from open_clip.tokenizer import SimpleTokenizer

from text2live_cli.guide.swatch.tokenizer import PIECES, WORDS


def pieces() -> dict[str, list[int]]:
    """By word."""
    tokenizer = SimpleTokenizer()
    return {word: tokenizer.encode(word) for word in WORDS}


def main() -> None:
    """Write the file beside the tokenizer."""
    rows = (f"{json.dumps(word)}: {json.dumps(tokens)}" for word, tokens in pieces().items())
    PIECES.write_text("{\n" + ",\n".join(rows) + "\n}\n", "utf-8")


if __name__ == "__main__":
    main()
