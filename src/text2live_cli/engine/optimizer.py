"""MADGRAD over one flat vector of weights: few kernels a step, and steps that undo themselves."""

from __future__ import annotations

import torch
from madgrad import MADGRAD
from torch import Tensor, nn
from torch.optim import Optimizer

from ..config import Schedule

_ADD = Optimizer.add_param_group


class _Madgrad(MADGRAD):
    """Without what torch.compile wraps its methods in: importing that takes two seconds."""

    add_param_group = getattr(_ADD, "__wrapped__", _ADD)


class FlatMadgrad:
    """Moves a module's parameters into one vector (they become views of it) and trains that.

    MADGRAD works element by element, so the result is that of the usual per-tensor loop.
    """

    def __init__(self, module: nn.Module, schedule: Schedule) -> None:
        parameters = list(module.parameters())
        self.flat = nn.Parameter(torch.cat([_in_memory_order(p.detach()) for p in parameters]))
        self.flat.grad = torch.zeros_like(self.flat)
        start = 0
        for p in parameters:
            place = p.size(), p.stride(), start  # strides as they were, so channels-last stays
            p.data = self.flat.data.as_strided(*place)
            p.grad = self.flat.grad.as_strided(*place)
            start += p.numel()
        self._madgrad = _Madgrad(
            [self.flat],
            lr=schedule.learning_rate,
            momentum=schedule.momentum,
            weight_decay=schedule.weight_decay,
        )

    @property
    def gradient(self) -> Tensor:
        """Of all weights, (n,); it stays in its place in memory."""
        assert self.flat.grad is not None
        return self.flat.grad

    def zero_grad(self) -> None:
        """Forget the gradients; they are summed in place, into the flat vector."""
        self.gradient.zero_()

    def step(self, learning_rate: float, loss_scale: float = 1.0) -> Tensor:
        """One step; no weight and no moment changes where a gradient is not finite.

        Returns a bool tensor on the device (no synchronisation): whether the step was taken.
        """
        if loss_scale != 1.0:
            self.gradient.div_(loss_scale)
        finite = self.gradient.isfinite().all()
        before = {name: tensor.clone() for name, tensor in self.state().items()}
        self._madgrad.param_groups[0]["lr"] = learning_rate
        self._madgrad.step()
        for name, tensor in self.state().items():
            old = before.get(name, self._initial(name))
            tensor.copy_(torch.where(finite, tensor, old))
        return finite

    def _initial(self, name: str) -> Tensor:
        """State that did not exist before the first step."""
        return self.flat.data.clone() if name == "x0" else torch.zeros_like(self.flat.data)

    def state(self) -> dict[str, Tensor]:
        """The vectors that a checkpoint needs, by name; they are live, not copies."""
        state = self._madgrad.state[self.flat]
        return {"weights": self.flat.data, **state}

    @property
    def steps(self) -> int:
        """MADGRAD's own step count, which sets the weight of the next gradient."""
        return int(self._madgrad.state["k"]) if "k" in self._madgrad.state else 0

    def load(self, state: dict[str, Tensor], steps: int) -> None:
        """Take up the vectors of a checkpoint."""
        self.flat.data.copy_(state["weights"])
        own = self._madgrad.state
        own["k"] = torch.tensor([steps], dtype=torch.long)
        own[self.flat] = {
            name: tensor.to(self.flat.device, copy=True)
            for name, tensor in state.items()
            if name != "weights"
        }


def _in_memory_order(tensor: Tensor) -> Tensor:
    """A dense tensor as the vector that it is in memory."""
    return tensor.as_strided((tensor.numel(),), (1,), tensor.storage_offset())
