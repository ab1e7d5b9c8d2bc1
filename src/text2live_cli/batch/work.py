"""One job of a batch, by whoever runs it: a worker here, or a task of Ray."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..endings import Stopped, signals_raise
from ..pipelines.options import ImageOptions, VideoOptions
from ..progress import Progress
from ..runs.folder import can_be_resumed, is_whole
from ..runs.keeping import as_known
from .jobs import Job
from .journal import DONE, FAILED, INTERRUPTED
from .remote import bring, send


@dataclass(frozen=True)
class Order:
    """A job, and how it is to be run."""

    job: Job
    out: str
    """Folder of all results."""
    overwrite: bool = False
    begun: bool = False
    """Whether what stands in its folder is of the same job, so that it goes on."""
    store: str | None = None
    """URL below which the result is kept in the end, in place of `out`."""

    def in_json(self) -> dict[str, Any]:
        """For another process."""
        return {**vars(self), "job": {**vars(self.job), "values": dict(self.job.values)}}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Order:
        """The same there."""
        return cls(**{**values, "job": Job(**values["job"])})


def take_free(orders: list[Order], at_work: Iterable[Order]) -> Order | None:
    """The next order that nobody is in the way of, taken out of the `orders`; or None."""
    busy = {order.job.alone for order in at_work}
    free = (o for o in orders if o.job.alone is None or o.job.alone not in busy)
    order = next(free, None)
    if order is not None:
        orders.remove(order)
    return order


class Telling:
    """A `Progress` that hands on "stage", "step", "message" and "warning", with their facts."""

    def __init__(self, tell: Callable[[str, dict[str, Any]], None], every: float) -> None:
        """To `tell`; steps at the least `every` so many seconds."""
        self._tell, self._every, self._last = tell, every, 0.0

    def stage(self, name: str, total: int | None = None, unit: str = "step") -> None:
        """A stage begins."""
        self._last = 0.0
        self._tell("stage", {"name": name, "total": total})

    def advance(self, done: int, values: Mapping[str, float] | None = None) -> None:
        """Now and then."""
        now = time.monotonic()
        if now - self._last >= self._every:
            self._last = now
            self._tell("step", {"done": done})

    def preview(self, path: Path) -> None:
        """Not told: there may be many."""

    def message(self, text: str) -> None:
        """Told."""
        self._tell("message", {"text": text})

    def warning(self, text: str) -> None:
        """Told."""
        self._tell("warning", {"text": text})


class Bench:
    """Runs one order after the other, and keeps what they share: the encoder above all."""

    def __init__(self) -> None:
        """Nothing is loaded yet."""
        self._session: Any = None
        self._key: tuple[Any, ...] = ()

    def run(self, order: Order, progress: Progress) -> dict[str, Any]:
        """What became of it, as an `Entry` has it; whatever goes wrong is told there."""
        begin = time.monotonic()
        try:
            with signals_raise():
                facts = self._run(order, progress)
        except KeyboardInterrupt as interrupt:
            stop = interrupt if isinstance(interrupt, Stopped) else Stopped()
            facts = {"state": INTERRUPTED, "error": stop.kept}
        except Exception as error:  # noqa: BLE001 (no job stops the others)
            facts = {"state": FAILED, "error": " ".join(str(as_known(error)).split())}
        return {**facts, "seconds": round(time.monotonic() - begin, 3)}

    def _run(self, order: Order, progress: Progress) -> dict[str, Any]:
        folder = Path(order.out) / order.job.name
        kept = f"{order.store}/{order.job.name}" if order.store else None
        if kept and not folder.exists() and (order.begun or not order.overwrite):
            bring(kept, folder)
        stopped = can_be_resumed(folder) and not is_whole(folder)
        resume = stopped and (order.begun or not order.overwrite)
        how = {"output": folder, "resume": resume, "overwrite": order.overwrite and not resume}
        record = self._edit(order.job.brought().options(progress=progress, **how))
        if kept:
            send(folder, kept)
            if not record["interrupted"]:
                shutil.rmtree(folder)
        figures = record.get("figures") or {}
        return {
            "state": INTERRUPTED if record["interrupted"] else DONE,
            "verdict": figures.get("verdict", ""),
            "score": figures.get("score"),
            "steps": record["steps_done"],
        }

    def _edit(self, options: ImageOptions | VideoOptions) -> dict[str, Any]:
        """The record of an edit with the session of the last one, where that can be."""
        from ..pipelines.session import Session

        key = (options.clip, options.clip_weights, options.device, options.precision)
        if self._session is None or key != self._key:
            self._session, self._key = None, key  # the former encoder goes before the next comes
            self._session = Session.of(options)
        self._session.progress = options.progress
        if isinstance(options, ImageOptions):
            from ..pipelines.image import run_edit_image

            return run_edit_image(options, self._session).record
        from ..pipelines.video import run_edit_video

        return run_edit_video(options, self._session).record
