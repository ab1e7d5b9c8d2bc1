"""When a checkpoint is due: so that a killed run loses little, and saving costs next to nothing."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

from ..errors import UsageError

_SECONDS = 60.0
_SHARE = 0.05  # of a run's steps
_COST = 20.0  # times as long as saving took must pass before the share makes it due again


class CheckpointClock:
    """Says after each step whether a checkpoint is due.

    Every 60 s, or every 5 % of the run if that is sooner; with `seconds`, only by these.
    """

    def __init__(self, seconds: float | None = None) -> None:
        """Raises UsageError, naming the option, where `seconds` cannot be kept."""
        if seconds is not None and not 0 <= seconds < float("inf"):
            raise UsageError(f"--checkpoint-every {seconds}: must be 0 or more seconds")
        self._seconds = seconds
        self._took = 0.0
        self.begin(0)

    def begin(self, done: int) -> None:
        """Count from now on, `done` steps of the run being done."""
        self._at, self._done = time.monotonic(), done

    def due(self, done: int, steps: int) -> bool:
        """Whether to save after `done` of `steps` steps."""
        past = time.monotonic() - self._at
        if self._seconds is not None:
            return past >= self._seconds
        share = done - self._done >= _SHARE * steps
        return past >= _SECONDS or (share and past >= _COST * self._took)

    @contextlib.contextmanager
    def saving(self, done: int) -> Iterator[None]:
        """The saving after `done` steps, timed; also one that fails is over."""
        begin = time.monotonic()
        try:
            yield
        finally:
            self._took = time.monotonic() - begin
            self.begin(done)
