"""A worker: a process that runs the orders on its stdin and tells of them on its stdout, in JSON.

When its stdin ends, so does it: in the middle of an edit as after a SIGTERM, with a checkpoint.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

from ..endings import signals_raise
from .journal import INTERRUPTED
from .work import Bench, Order

_EACH = 0.2  # seconds between two tellings of a step


class Telling:
    """A `Progress` that writes events."""

    def __init__(self, stream: IO[str]) -> None:
        """To `stream`, a line each."""
        self._stream = stream
        self._last = 0.0

    def tell(self, event: str, **facts: Any) -> None:
        """One event; where nobody reads any more, none."""
        with contextlib.suppress(OSError, ValueError):
            self._stream.write(json.dumps({"event": event, **facts}) + "\n")
            self._stream.flush()

    def stage(self, name: str, total: int | None = None, unit: str = "step") -> None:
        """A stage begins."""
        self._last = 0.0
        self.tell("stage", name=name, total=total)

    def advance(self, done: int, values: Mapping[str, float] | None = None) -> None:
        """Now and then."""
        now = time.monotonic()
        if now - self._last >= _EACH:
            self._last = now
            self.tell("step", done=done)

    def preview(self, path: Path) -> None:
        """Not told: there may be many."""

    def message(self, text: str) -> None:
        """Told."""
        self.tell("message", text=text)

    def warning(self, text: str) -> None:
        """Told."""
        self.tell("warning", text=text)


def main() -> None:
    """Run orders until there are no more, or one was interrupted."""
    telling = Telling(os.fdopen(os.dup(1), "w", encoding="utf-8"))
    os.dup2(2, 1)  # what libraries print is no event
    orders: queue.Queue[str | None] = queue.Queue()
    at_work = threading.Event()
    threading.Thread(target=_listen, args=(orders, at_work), daemon=True).start()
    bench = Bench()
    with contextlib.suppress(KeyboardInterrupt), signals_raise():
        while (line := orders.get()) is not None:
            at_work.set()
            facts = bench.run(Order.from_json(json.loads(line)), telling)
            at_work.clear()
            telling.tell("end", **facts)
            if facts["state"] == INTERRUPTED:
                break


def _listen(orders: queue.Queue[str | None], at_work: threading.Event) -> None:
    for line in sys.stdin:
        orders.put(line)
    orders.put(None)
    if at_work.is_set():  # who ordered it is gone
        os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    main()
