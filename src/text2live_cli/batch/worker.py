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
from typing import Any

from ..endings import signals_raise
from .journal import INTERRUPTED
from .work import Bench, Order, Telling

_EACH = 0.2  # seconds between two tellings of a step


def main() -> None:
    """Run orders until there are no more, or one was interrupted."""
    stream = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what libraries print is no event

    def tell(event: str, facts: dict[str, Any]) -> None:
        with contextlib.suppress(OSError, ValueError):  # nobody reads any more
            stream.write(json.dumps({"event": event, **facts}) + "\n")
            stream.flush()

    telling = Telling(tell, _EACH)
    orders: queue.Queue[str | None] = queue.Queue()
    at_work = threading.Event()
    threading.Thread(target=_listen, args=(orders, at_work), daemon=True).start()
    bench = Bench()
    with contextlib.suppress(KeyboardInterrupt), signals_raise():
        while (line := orders.get()) is not None:
            at_work.set()
            facts = bench.run(Order.from_json(json.loads(line)), telling)
            at_work.clear()
            tell("end", facts)
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
