"""Steps as CUDA graphs: recorded once for every shape of what they are given, then one launch each.

A step of some 2,500 small kernels keeps a GPU waiting for the processor that launches them. What is
recorded reads and writes the same memory each time, so all that differs from step to step comes in
as tensors that are copied there: crops, views, shares of texts, the weight of the bootstrapping.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

MOST = 32
"""Graphs of a run: what has yet another shape is launched kernel by kernel."""
_WARM_UP = 2  # rounds before the recording: kernels are chosen, and constants sent
# What a graph computes may differ from the same step without it, as sums come in no fixed order.
_TOLERANCE = 0.05  # of the gradient's length
_RTOL, _ATOL = 0.02, 1e-4  # of the terms

Values = dict[str, Tensor]
Work = Callable[[Any], Values]
"""A step: it takes what is given, nested tuples and lists of tensors and fixed values, and returns
scalars by name; its gradients are summed up in place.
"""
Recorder = Callable[[Callable[[], Values]], tuple[Callable[[], None], Values]]
"""Runs some work for the record: how to repeat it, and where its results then are."""


@dataclass(frozen=True)
class _Recorded:
    inputs: list[Tensor]
    outputs: Values
    repeat: Callable[[], None]

    def run(self, inputs: Sequence[Tensor]) -> Values:
        for own, new in zip(self.inputs, inputs, strict=True):
            own.copy_(new)
        self.repeat()
        return self.outputs


class Graphs:
    """Does a step like the step itself, from the third time with the same shapes on as a graph.

    The second time the graph is recorded, and compared with the step as it is. Where recording
    fails, or the two differ, no graph is used any more, and `refused` says why. The scalars that
    are returned hold until the next call.
    """

    def __init__(self, gradient: Tensor, record: Recorder | None = None) -> None:
        """`gradient` (n,) is what the steps fill; `record` is CUDA's where it is not given."""
        self.refused: str | None = None
        self._gradient = gradient
        self._record = record or CudaRecorder()
        self._seen: set[Hashable] = set()
        self._recorded: dict[Hashable, _Recorded] = {}

    def __call__(self, work: Work, given: Any) -> Values:
        """The scalars of `work(given)`, its gradients in place; it is the same work each time."""
        shapes, inputs = _shapes(given), list(_tensors(given))
        if shapes in self._recorded:
            return self._recorded[shapes].run(inputs)
        values = work(given)
        if shapes in self._seen and len(self._recorded) < MOST and self.refused is None:
            own = _cloned(given)
            recorded = self._try(lambda: work(own), list(_tensors(own)), inputs, values)
            if recorded is not None:
                self._recorded[shapes] = recorded
        self._seen.add(shapes)
        return values

    @property
    def count(self) -> int:
        """Graphs that were recorded."""
        return len(self._recorded)

    def _try(
        self, work: Callable[[], Values], own: list[Tensor], inputs: list[Tensor], values: Values
    ) -> _Recorded | None:
        """A graph of `work`, which looks at `own`; `values` and gradient are what it shall give."""
        expected, gradient = torch.stack(list(values.values())), self._gradient.clone()
        if not bool(torch.cat([expected, gradient]).isfinite().all()):
            return None  # nothing to compare with
        recorded = None
        try:
            repeat, outputs = self._record(work)
            recorded = _Recorded(own, outputs, repeat)
            for place in (self._gradient, *outputs.values()):
                place.fill_(torch.nan)  # so that a graph which does nothing is found out
            found = torch.stack(list(recorded.run(inputs).values()))
            _require_alike(found, expected, self._gradient, gradient)
        except RuntimeError as error:
            self._recorded.clear()
            recorded, self.refused = None, _reason(error)
        self._gradient.copy_(gradient)
        return recorded


class CudaRecorder:
    """CUDA's own graphs, which share their memory, since they never run at the same time."""

    def __init__(self) -> None:
        self._pool: Any = None
        self._stream: Any = None

    def __call__(self, work: Callable[[], Values]) -> tuple[Callable[[], None], Values]:
        """Record `work`; a RuntimeError where it does what a graph cannot hold."""
        self._stream = self._stream or torch.cuda.Stream()
        own, graph = torch.cuda.current_stream(), torch.cuda.CUDAGraph()
        self._stream.wait_stream(own)
        # Of this thread alone: the autograd engine's launches are recorded, but not judged.
        how = {"pool": self._pool, "stream": self._stream, "capture_error_mode": "thread_local"}
        try:
            with torch.cuda.stream(self._stream):
                for _ in range(_WARM_UP):
                    work()
            with torch.cuda.graph(graph, **how):
                outputs = work()
        finally:
            torch.cuda.set_stream(own)  # a recording that fails leaves its own behind
            own.wait_stream(self._stream)
        self._pool = graph.pool()
        return graph.replay, outputs


def _tensors(given: Any) -> Iterator[Tensor]:
    """All tensors in nested tuples and lists, in order."""
    if isinstance(given, Tensor):
        yield given
    elif isinstance(given, (tuple, list)):
        for part in given:
            yield from _tensors(part)


def _cloned(given: Any) -> Any:
    """The same with tensors of its own."""
    if isinstance(given, Tensor):
        return given.clone()
    if isinstance(given, tuple) and hasattr(given, "_fields"):
        return type(given)(*map(_cloned, given))
    return type(given)(map(_cloned, given)) if isinstance(given, (tuple, list)) else given


def _shapes(given: Any) -> Hashable:
    """What must be the same for a graph to serve again: a tensor's form, all else itself."""
    if isinstance(given, Tensor):
        return given.shape, given.dtype, given.device
    if isinstance(given, (tuple, list)):
        return type(given), tuple(map(_shapes, given))
    assert isinstance(given, Hashable)
    return given


def _require_alike(found: Tensor, expected: Tensor, gradient: Tensor, wanted: Tensor) -> None:
    """RuntimeError where scalars (k,) or gradient (n,) are not what they should be."""
    off = float((gradient - wanted).norm() / wanted.norm().clamp_min(1e-30))
    if not (off <= _TOLERANCE and torch.allclose(found, expected, _RTOL, _ATOL)):
        raise RuntimeError(
            f"a recorded step is not the step itself (gradient off by {off:.1%}, terms by"
            f" {float((found - expected).abs().max()):.2g})"
        )


def _reason(error: BaseException) -> str:
    """The first line of what went wrong first: ending a recording that failed is an error too."""
    while error.__context__ is not None:
        error = error.__context__
    return next(iter(str(error).splitlines()), type(error).__name__)[:150]
