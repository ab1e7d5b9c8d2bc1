"""One stream for several takers: all of it for each, and no film that looks whole and is not."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Iterator

import pytest

from text2live_cli.media.shared_frames import share_out


def numbers(count: int, broken: BaseException | None = None) -> Iterator[int]:
    yield from range(count)
    if broken is not None:
        raise broken


def slowly(items: Iterator[int]) -> list[int]:
    taken = []
    for item in items:
        time.sleep(0.002)
        taken.append(item)
    return taken


def test_everyone_gets_all_in_order() -> None:
    assert share_out(numbers(50), [list, sum, slowly]) == [
        list(range(50)),
        sum(range(50)),
        list(range(50)),
    ]
    assert share_out(numbers(3), []) == []


def test_few_wait_for_the_slowest() -> None:
    made = []

    def counted() -> Iterator[int]:
        for item in range(40):
            made.append(item)
            yield item

    lead = []

    def taker(items: Iterator[int]) -> None:
        for item in items:
            time.sleep(0.002)
            lead.append(len(made) - item)

    share_out(counted(), [taker, list])
    assert max(lead) <= 6


@pytest.mark.parametrize("broken", [ValueError("cut short"), KeyboardInterrupt()])
def test_what_the_stream_raises_reaches_all(broken: BaseException) -> None:
    seen = []

    def taker(items: Iterator[int]) -> None:
        try:
            list(items)
        except BaseException as error:
            seen.append(error)
            raise

    with pytest.raises(type(broken)) as caught:
        share_out(numbers(20, broken), [taker, taker])
    assert seen == [broken, broken] and caught.value is broken


def test_a_taker_that_fails_does_not_stop_the_others() -> None:
    seen = []

    def fails(items: Iterator[int]) -> None:
        for item in items:
            if item == 5:
                raise OSError("no room")

    before = threading.active_count()
    with pytest.raises(OSError, match="no room"):
        share_out(numbers(40), [lambda items: seen.extend(items), fails, fails])
    assert seen == list(range(40))
    with pytest.raises(OSError, match="no room"):
        share_out(itertools.count(), [fails, fails])
    assert threading.active_count() == before
