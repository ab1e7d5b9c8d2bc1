"""When a training may end before its last step (`--until-settled`).

Each tenth of the run, the edit is looked at through views that no step draws. Where three such
looks in a row bring it no nearer to the text, the rest mostly does not either; a few edits would
have gained by it, so no preset has it (docs/performance.md).
"""

from __future__ import annotations

from collections.abc import Sequence

LOOKS = 10
"""Of a run, at the most."""
SEED = 0x5E771E
"""Of the example that is looked at."""
_PATIENCE = 3  # looks without a rise
_RISE = 0.005  # of the likeness, a cosine: less is none
_LEAST = 5  # looks, before which nothing is settled: half of the run


def look_every(steps: int) -> int:
    """Steps between the looks of a run of so many `steps`."""
    return -(-steps // LOOKS)


def is_settled(likenesses: Sequence[float]) -> bool:
    """Whether those of the looks so far, cosines with the text, have stopped rising."""
    former, last = likenesses[:-_PATIENCE], likenesses[-_PATIENCE:]
    return len(likenesses) >= _LEAST and max(last) < max(former) + _RISE
