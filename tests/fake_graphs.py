"""CUDA's graphs on a CPU: every operation is noted with its operands, and done again on them.

As on a GPU nothing of the Python code runs again, and each result goes where it was at first: a
number that the code worked out, or a tensor that it made anew, is that of the recording.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from text2live_cli.engine.graphs import Values


class FakeRecorder:
    """A `graphs.Recorder`, and how often each of its graphs was repeated."""

    def __init__(self) -> None:
        self.repeats: list[int] = []

    def __call__(self, work: Callable[[], Values]) -> tuple[Callable[[], None], Values]:
        tape = _Tape()
        with tape:
            outputs = work()
        number = len(self.repeats)
        self.repeats.append(0)

        def repeat() -> None:
            self.repeats[number] += 1
            tape.repeat()

        return repeat, outputs


class _Tape(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self._operations: list[tuple[Any, Sequence[Any], dict[str, Any], list[Tensor]]] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func.overloadpacket.__name__ == "_local_scalar_dense":
            raise RuntimeError("operation not permitted when stream is capturing")
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        made = [leaf for leaf in tree_leaves(result) if isinstance(leaf, Tensor)]
        self._operations.append((func, args, kwargs, made))
        return result

    @torch.no_grad()
    def repeat(self) -> None:
        for func, args, kwargs, former in self._operations:
            made = [leaf for leaf in tree_leaves(func(*args, **kwargs)) if isinstance(leaf, Tensor)]
            for own, new in zip(former, made, strict=True):
                if own.data_ptr() != new.data_ptr():  # a view, or done in place, is there already
                    own.copy_(new)
