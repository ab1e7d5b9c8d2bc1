"""One stream of frames for several films, which are encoded side by side, each in a thread."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from queue import Full, Queue
from typing import Generic, TypeVar

T = TypeVar("T")
R = TypeVar("R")

_AHEAD = 3  # items that may wait for one taker
_PATIENCE = 0.1  # seconds after which it is asked whether the taker is still there


def share_out(items: Iterable[T], takers: Sequence[Callable[[Iterator[T]], R]]) -> list[R]:
    """What the takers return, in their order; each is given all items, as they are made here.

    What `items` raises is raised to every taker, so that none takes its stream for whole, and
    here. A taker that fails does not stop the others; the exception of the first is raised here,
    once all have ended.
    """
    strands: list[_Strand[T]] = [_Strand() for _ in takers]
    with ThreadPoolExecutor(max(1, len(takers))) as pool:
        work = zip(strands, takers, strict=True)
        results = [pool.submit(strand.hand_to, taker) for strand, taker in work]
        ending = None
        try:
            for item in items:
                for strand in strands:
                    strand.put(item)
                if all(strand.over for strand in strands):
                    break
        except BaseException as error:
            ending = error
            raise
        finally:
            for strand in strands:
                strand.put(ending)
    return [result.result() for result in results]


class _Strand(Generic[T]):
    """The items on their way to one taker."""

    def __init__(self) -> None:
        self.over = False
        self._waiting: Queue[T | BaseException | None] = Queue(_AHEAD)

    def hand_to(self, taker: Callable[[Iterator[T]], R]) -> R:
        """In the taker's thread."""
        try:
            return taker(self._items())
        finally:
            self.over = True

    def put(self, item: T | BaseException | None) -> None:
        """Wait for a place; dropped where the taker is gone. None, or an exception, is the end."""
        while not self.over:
            try:
                self._waiting.put(item, timeout=_PATIENCE)
                return
            except Full:
                continue

    def _items(self) -> Iterator[T]:
        while (item := self._waiting.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item
