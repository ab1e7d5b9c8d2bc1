"""The same jobs as tasks of a Ray cluster: scheduling, retries and transport are Ray's.

text2live is installed there; inputs and results lie under the same paths (a shared folder).
"""

from __future__ import annotations

import contextlib
import functools
import os
import re
import socket
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..endings import Stop
from ..errors import Text2LiveError, UsageError
from .journal import FAILED, INTERRUPTED, Entry
from .options import BatchOptions
from .watch import Watch
from .work import Bench, Order, Telling, take_free

_RETRIES = 3  # of a task whose process or machine was lost
_CONNECT_SECONDS = 10
_WAIT = 0.2  # seconds between two looks at what there is to tell
_EACH = 1.0  # seconds between two tellings of a step
_AHEAD = 1.5  # tasks that are handed over, for each that the cluster can run: Ray never waits


def run_on_ray(orders: Sequence[Order], options: BatchOptions, watch: Watch, stop: Stop) -> None:
    """Run all orders on the cluster; after a signal those at work end with a checkpoint.

    Raises UsageError without Ray, Text2LiveError where the cluster cannot be reached.
    """
    with contextlib.redirect_stdout(sys.stderr):  # what Ray prints is no result
        ray = _ray()
        _connect(ray, options)
        try:
            _Tasks(ray, orders, options, watch).run(stop)
        finally:
            ray.shutdown()


def _ray() -> Any:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing goes out unasked
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    try:
        import ray
    except ImportError as error:
        raise UsageError("--engine ray: needs Ray: pip install 'text2live[ray]'") from error
    return ray


def _connect(ray: Any, options: BatchOptions) -> None:
    address = options.address
    about: dict[str, Any] = {"log_to_driver": False, "configure_logging": False}
    if address is None:
        about.update(num_cpus=options.workers, include_dashboard=False)
    else:
        _require_reachable(address)
        about["address"] = address
    try:
        ray.init(**about)
    except (OSError, RuntimeError, ValueError, TimeoutError) as error:
        raise Text2LiveError(f"--address {address}: {_line(error)}") from error


def _require_reachable(address: str) -> None:
    """Raise Text2LiveError where nobody answers there: Ray itself would wait for minutes."""
    place = re.fullmatch(r"(?:ray://)?([^:/]+|\[[^\]]+\]):(\d+)", address)
    if place is None:
        return  # a name of Ray's own, such as "auto"
    try:
        with socket.create_connection((place[1].strip("[]"), int(place[2])), _CONNECT_SECONDS):
            return
    except (OSError, OverflowError) as error:
        raise Text2LiveError(
            f"--address {address}: no Ray cluster answers there ({error})"
        ) from error


class _Tasks:
    """What was handed over to Ray, and what comes back."""

    def __init__(
        self, ray: Any, orders: Sequence[Order], options: BatchOptions, watch: Watch
    ) -> None:
        """Nothing is handed over yet."""
        from ray.util.queue import Queue

        self._ray, self._orders, self._watch = ray, list(orders), watch
        resources = ray.cluster_resources()
        gpus = options.gpus if options.gpus is not None else float(resources.get("GPU", 0) > 0)
        most = resources.get("GPU", 0) / gpus if gpus else resources.get("CPU", 1)
        self._most = options.workers or max(1, int(_AHEAD * most))
        self._events = Queue(actor_options={"num_cpus": 0})
        task = ray.remote(_run_task)
        self._task = task.options(num_cpus=1, num_gpus=gpus, max_retries=_RETRIES)
        self._running: dict[Any, tuple[int, Order]] = {}
        self._begun: set[int] = set()

    def run(self, stop: Stop) -> None:
        """To the end."""
        times = 0
        self._hand_over()
        while self._running:
            if stop.times > times:
                times = stop.times
                self._orders.clear()
                for task in self._running:
                    self._ray.cancel(task)
            ready, _ = self._ray.wait(list(self._running), timeout=_WAIT)
            self._tell()
            for task in ready:
                self._finish(task, stop)
            self._hand_over()

    def _hand_over(self) -> None:
        """As many as the cluster can run, and some ahead."""
        while len(self._running) < self._most:
            order = take_free(self._orders, [order for _, order in self._running.values()])
            if order is None:
                return
            taken = {number for number, _ in self._running.values()}
            number = next(n for n in range(1, self._most + 1) if n not in taken)
            task = self._task.remote(order.in_json(), number, str(Path.cwd()), self._events)
            self._running[task] = number, order

    def _tell(self) -> None:
        """What the tasks told since the last look."""
        orders = dict(self._running.values())
        for number, name, event, facts in self._events.get_nowait_batch(self._events.qsize()):
            order = orders.get(number)
            if order is None or order.job.name != name:
                continue
            if number not in self._begun:
                self._begun.add(number)
                self._watch.began(number, order.job)
            if event:
                self._watch.told(number, order.job, event, facts)

    def _finish(self, task: Any, stop: Stop) -> None:
        self._tell()
        number, order = self._running.pop(task)
        self._begun.discard(number)
        try:
            facts = self._ray.get(task)
        except self._ray.exceptions.RayError as error:
            facts = {"state": INTERRUPTED} if stop() else {"state": FAILED, "error": _line(error)}
        self._watch.ended(number, order.job, Entry.of(order.job, **facts))


def _run_task(order: dict[str, Any], number: int, folder: str, events: Any) -> dict[str, Any]:
    """On a machine of the cluster. The process lives on, and its encoder with it."""
    if order["store"] and not Path(folder).is_dir():  # nothing is shared but by URLs
        folder = tempfile.gettempdir()
    os.chdir(folder)  # the shared folder: paths are as they were given

    def tell(event: str, facts: dict[str, Any]) -> None:
        with contextlib.suppress(Exception):  # a queue that is gone is no reason to fail
            events.put_nowait((number, order["job"]["name"], event, facts))

    tell("", {})  # it has begun
    return _bench().run(Order.from_json(order), Telling(tell, _EACH))


@functools.cache
def _bench() -> Bench:
    return Bench()


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__
