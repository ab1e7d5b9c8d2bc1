"""CUDA tensors on a machine without CUDA: they have shapes, dtypes and a device, but no values.

PyTorch's FakeTensorMode makes them and refuses operands on different devices. What of the code runs
on the CPU stays real. Whatever would make a GPU wait for the host is noted. Two things cannot be
had: the autograd engine (its gradients are zeros here), and autocast.
"""

from __future__ import annotations

import contextlib
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import text2live_cli
from text2live_cli.device import constant

CUDA = torch.device("cuda", 0)  # of a bare "cuda", PyTorch asks the driver for the number
SMALL_UPLOAD = 64 * 1024
"""Bytes: from ordinary memory, CUDA queues an upload of so many; for more, the host waits."""
_PACKAGE = Path(text2live_cli.__file__).parent
_UNKNOWN_SIZE = ("nonzero", "masked_select", "unique", "_unique2", "unique_dim", "bincount")


class FakeGpu(TorchDispatchMode):
    """Runs what touches a CUDA tensor without values, all else for real."""

    def __init__(self) -> None:
        super().__init__()
        self.waits: list[str] = []
        """What made the host wait for the device, or the device for the host, and where."""
        self.uploads: list[str] = []
        """What was sent to the device, and where: a recorded graph would send the same again."""
        self._fake = FakeTensorMode(allow_non_fake_inputs=True)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        leaves = tree_leaves((args, kwargs))
        targets = [leaf for leaf in leaves if isinstance(leaf, torch.device)]
        if not any(map(_is_fake, leaves)) and not any(d.type == "cuda" for d in targets):
            return func(*args, **kwargs)
        name = func.overloadpacket.__name__
        if name == "_local_scalar_dense":
            self._note("value read")
            return _some_value(args[0].dtype)
        if name in _UNKNOWN_SIZE:
            self._note(f"{name} reads a size")
            with self._fake:
                return torch.zeros((1, args[0].ndim), dtype=torch.int64, device=CUDA)
        if name == "_to_copy" and kwargs.get("device", CUDA).type == "cpu":
            self._note("tensor read")
            return torch.zeros(args[0].shape, dtype=kwargs.get("dtype") or args[0].dtype)
        if name in ("_to_copy", "copy_"):
            source = args[1] if name == "copy_" else args[0]
            queued = kwargs.get("non_blocking") or (name == "copy_" and args[2:] == (True,))
            self._judge_upload(source, bool(queued))
        if name in ("index", "index_put", "index_put_", "_unsafe_index"):
            self._judge_index(args[1])
        with self._fake:
            return func(*args, **kwargs)

    def _judge_upload(self, source: Tensor, queued: bool) -> None:
        size = source.numel() * source.element_size()
        if _is_fake(source):
            return
        self.uploads.append(_at("upload"))
        if source.ndim == 0 and queued:
            return
        if not queued:
            self._note("upload that waits")
        elif size > SMALL_UPLOAD and not source.is_pinned():
            self._note(f"upload of {size} bytes from ordinary memory")

    def _judge_index(self, indices: Sequence[Tensor | None]) -> None:
        for index in indices:
            if index is not None and not _is_fake(index):
                self._note("index on the CPU")
            elif index is not None and index.dtype in (torch.bool, torch.uint8):
                self._note("index by a mask reads a size")

    def _note(self, what: str) -> None:
        self.waits.append(_at(what))


@contextlib.contextmanager
def fake_gpu() -> Iterator[FakeGpu]:
    """Within it there is a CUDA device, without values and without gradients."""
    constant.cache_clear()  # what another test left there has no value, or is of another mode
    own_lift = torch._C._only_lift_cpu_tensors()
    torch._C._set_only_lift_cpu_tensors(True)
    try:
        with (
            mock.patch("torch.cuda._lazy_init", lambda: None),
            mock.patch("torch.autograd.grad", _without_engine(torch.autograd.grad, _zeros)),
            mock.patch.object(Tensor, "backward", _without_engine(Tensor.backward, _nothing)),
            FakeGpu() as gpu,
        ):
            yield gpu
    finally:
        constant.cache_clear()
        torch._C._set_only_lift_cpu_tensors(own_lift)


def _at(what: str) -> str:
    """`what`, and the line of the package that does it."""
    frames = [f for f in traceback.extract_stack() if Path(f.filename).is_relative_to(_PACKAGE)]
    at = frames[-1] if frames else traceback.extract_stack()[0]
    return f"{what}: {Path(at.filename).name}:{at.lineno} {at.name}"


def _is_fake(value: object) -> bool:
    return isinstance(value, FakeTensor)


def _without_engine(real: Callable[..., Any], instead: Callable[..., Any]) -> Callable[..., Any]:
    """`real` for what is on the CPU, `instead` of it for the rest."""

    def call(output: Tensor, *arguments: Any, **options: Any) -> Any:
        return (instead if _is_fake(output) else real)(output, *arguments, **options)

    return call


def _zeros(output: Tensor, inputs: Sequence[Tensor], **options: Any) -> tuple[Tensor, ...]:
    return tuple(torch.zeros_like(x) for x in inputs)


def _nothing(output: Tensor) -> None:
    """No gradients."""


def _some_value(dtype: torch.dtype) -> bool | int | float:
    if dtype == torch.bool:
        return True
    return 1.0 if dtype.is_floating_point else 1
