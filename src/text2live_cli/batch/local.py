"""Workers on this machine: one process each, so that one that dies takes nobody along.

No process pool of the standard library goes on when one of its workers is killed, and all of them
hand over pickles; here it is JSON over pipes.
"""

from __future__ import annotations

import collections
import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from typing import Any

from ..endings import Stop
from .journal import DONE, FAILED, INTERRUPTED, Entry
from .watch import Watch
from .work import Order, take_free

_WAIT = 0.2  # seconds between two looks at whether a signal came
Event = dict[str, Any]


class Worker:
    """One process and the order that it runs."""

    def __init__(
        self, number: int, environment: dict[str, str], lock: int, inbox: queue.Queue[Any]
    ):
        """Begin it. What it tells goes to `inbox`; it holds `lock` too, as long as it is there."""
        self.number = number
        self.order: Order | None = None
        self._is_closed = False
        self._errors: collections.deque[str] = collections.deque(maxlen=5)
        posix: dict[str, Any] = {"start_new_session": True, "pass_fds": (lock,)}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "text2live_cli.batch.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            errors="replace",
            env=environment,
            **(posix if os.name == "posix" else {}),
        )
        self._threads = [
            threading.Thread(target=self._read_events, args=(inbox,), daemon=True),
            threading.Thread(target=self._read_errors, daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    def give(self, order: Order) -> None:
        """Let it run this; it is idle."""
        self.order = order
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):  # it is dead: that is told by the end of what it says
            self._process.stdin.write(json.dumps(order.in_json()) + "\n")
            self._process.stdin.flush()

    @property
    def is_idle(self) -> bool:
        """Whether it waits for an order."""
        return self.order is None and not self._is_closed

    def close(self) -> None:
        """No more orders; it ends."""
        self._is_closed = True
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):
            self._process.stdin.close()

    def signal(self) -> None:
        """Ask it to end after its step."""
        with contextlib.suppress(OSError):
            self._process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it at once."""
        self._process.kill()
        self._process.wait()

    def why(self) -> str:
        """Why it ended, in words."""
        code = self._process.wait()
        self._threads[1].join(timeout=1)
        if os.name == "posix" and code == -signal.SIGKILL:
            return "its process was killed, as the system does where memory runs out; lower --jobs"
        last = self._errors[-1] if self._errors else "without a word"
        return f"its process ended with {code}: {last}"

    def _read_events(self, inbox: queue.Queue[Any]) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            with contextlib.suppress(ValueError):
                inbox.put((self, json.loads(line)))
        inbox.put((self, None))

    def _read_errors(self) -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            if line.strip():
                self._errors.append(line.strip()[:300])


class Pool:
    """Runs orders by so many workers."""

    def __init__(self, orders: Sequence[Order], workers: int, lock: int, watch: Watch) -> None:
        """Nothing is begun yet."""
        self._orders = list(orders)
        self._count, self._lock, self._watch = min(workers, len(orders)), lock, watch
        self._workers: list[Worker] = []
        self._inbox: queue.Queue[tuple[Worker, Event | None]] = queue.Queue()

    def run(self, stop: Stop) -> None:
        """Run all; after a signal, those at work end as a single edit does, and no other begins."""
        times = 0
        try:
            self._fill(self._count)
            while self._workers:
                if stop.times > times:
                    times = stop.times
                    self._end()
                with contextlib.suppress(queue.Empty):
                    self._take(*self._inbox.get(timeout=_WAIT), stop)
                if not stop():
                    for worker in [one for one in self._workers if one.is_idle]:
                        self._next(worker)
        finally:
            for worker in self._workers:
                worker.kill()

    def _fill(self, count: int) -> None:
        for number in range(1, count + 1):
            environment = environment_of(number, self._count)
            worker = Worker(number, environment, self._lock, self._inbox)
            self._workers.append(worker)
            self._next(worker)

    def _next(self, worker: Worker) -> None:
        """Give it the next order that nobody is in the way of; or let it wait, or end."""
        at_work = [one.order for one in self._workers if one.order is not None]
        order = take_free(self._orders, at_work)
        if order is None:
            if not self._orders:
                worker.close()
            return
        worker.give(order)
        self._watch.began(worker.number, order.job)

    def _take(self, worker: Worker, event: Event | None, stop: Stop) -> None:
        if event is None:
            self._workers.remove(worker)
            if worker.order is not None:  # it died over it
                state = INTERRUPTED if stop() else FAILED
                error = "" if stop() else worker.why()
                self._finish(worker, {"state": state, "error": error})
            if self._orders and not self._workers and not stop():
                self._fill(1)
            return
        kind = event.pop("event", "")
        if kind == "end":
            self._finish(worker, event)
            if stop() or event.get("state") not in (DONE, FAILED):
                worker.close()
        elif worker.order is not None:
            self._watch.told(worker.number, worker.order.job, kind, event)

    def _finish(self, worker: Worker, facts: Event) -> None:
        assert worker.order is not None
        order, worker.order = worker.order, None
        self._watch.ended(worker.number, order.job, Entry.of(order.job, **facts))

    def _end(self) -> None:
        self._orders.clear()
        for worker in self._workers:
            if worker.order is None:
                worker.close()
            else:
                worker.signal()


def environment_of(number: int, workers: int) -> dict[str, str]:
    """For the worker `number` of so many: its GPU, or its share of the processors."""
    environment = dict(os.environ)
    devices = gpus()
    if devices:
        environment["CUDA_VISIBLE_DEVICES"] = devices[(number - 1) % len(devices)]
    else:
        environment.setdefault("OMP_NUM_THREADS", str(max(1, processors() // workers)))
    return environment


def default_workers() -> int:
    """One for each GPU, else one for two processors."""
    return len(gpus()) or max(1, processors() // 2)


def processors() -> int:
    """Those that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def gpus() -> list[str]:
    """The NVIDIA GPUs that may be used, as CUDA_VISIBLE_DEVICES names them; torch is not asked."""
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    if given is not None:
        return [name for name in given.split(",") if name.strip() not in ("", "-1")]
    try:
        listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.SubprocessError):
        return []
    count = sum(line.startswith("GPU ") for line in listed.stdout.splitlines())
    return [str(number) for number in range(count)]
