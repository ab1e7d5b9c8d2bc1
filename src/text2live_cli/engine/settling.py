"""When a training may end before its last step (`--until-settled`).

Each tenth of the run, the edit is looked at through views that no step draws. Where three such
looks in a row bring it no nearer to the text, the rest would hardly either (docs/performance.md).
"""

from __future__ import annotations

from collections.abc import Sequence

LOOKS = 10
"""Of a run."""
PATIENCE = 3
"""Looks without a rise."""
SEED = 0x5E771E
"""Of the example that is looked at."""
_RISE = 0.005  # of the likeness, a cosine: less is none
_LEAST = 5  # looks, before which nothing is settled


def is_settled(likenesses: Sequence[float]) -> bool:
    """Whether those of the looks so far, cosines with the text, have stopped rising."""
    former, last = likenesses[:-PATIENCE], likenesses[-PATIENCE:]
    return len(likenesses) >= _LEAST and max(last) < max(former) + _RISE
