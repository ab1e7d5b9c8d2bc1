"""Timestamps of a clip: single wrong ones are mended."""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Sequence
from fractions import Fraction


def mend_stamps(stamps: Sequence[int | None]) -> tuple[list[Fraction], int] | None:
    """Increasing stamps, and how many of them are not as given; None where most are no use.

    Kept are the most that increase; the others are put at even distances between those.
    """
    stamp_at = _longest_increase(stamps)
    if 2 * len(stamp_at) <= len(stamps) and len(stamp_at) < len(stamps):
        return None
    places = list(stamp_at)
    steps = sorted((stamp_at[b] - stamp_at[a]) / (b - a) for a, b in itertools.pairwise(places))
    usual = steps[len(steps) // 2] if steps else Fraction(1)
    mended = [stamp_at[places[0]] + (index - places[0]) * usual for index in range(places[0])]
    for a, b in itertools.pairwise(places):
        step = (stamp_at[b] - stamp_at[a]) / (b - a)
        mended += [stamp_at[a] + index * step for index in range(b - a)]
    mended += [stamp_at[places[-1]] + index * usual for index in range(len(stamps) - places[-1])]
    return mended, len(stamps) - len(places)


def _longest_increase(stamps: Sequence[int | None]) -> dict[int, Fraction]:
    """The longest increasing selection, by index; where there are several, what comes first."""
    tails: list[int] = []  # the lowest stamp that ends a selection of each length
    levels: list[list[tuple[int, int]]] = []  # (index, stamp) of all that do
    for index, stamp in enumerate(stamps):
        if stamp is not None:
            length = bisect.bisect_left(tails, stamp)
            if length == len(tails):
                levels.append([])
            tails[length : length + 1] = [stamp]
            levels[length].append((index, stamp))
    picks: list[tuple[int, int]] = []
    for level in reversed(levels):
        after = picks[-1] if picks else (len(stamps), tails[-1] + 1)
        fitting = (one for one in level if one[0] < after[0] and one[1] < after[1])
        picks.append(next(fitting) if picks else level[0])
    return {index: Fraction(stamp) for index, stamp in reversed(picks)}
