"""The loop that fits either model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import Tensor

from ...engine.steps import step_rng
from ...errors import Text2LiveError
from ...media.outside import whole_number
from ...media.tensor_files import (
    require_finite,
    require_like,
)
from ...progress import Progress
from ..layers import AtlasModel

FORMAT = "text2live-fit/3"
"""Of its checkpoints."""
_MAX_LOST = 25  # steps in a row that are not finite
_READ_EVERY = 25  # steps between looks at the device, where looking makes it wait


class Problem(Protocol):
    """A clip to be fitted: `GridProblem` or `NlaProblem`."""

    @property
    def model(self) -> AtlasModel:
        """What is fitted; changes with every step."""

    def prepare(self, progress: Progress, stopped: Callable[[], bool]) -> None:
        """What comes before the first step; KeyboardInterrupt where `stopped` says so."""

    def parameter_groups(self) -> list[dict[str, Any]]:
        """For Adam, with their learning rates."""

    def rate(self, step: int) -> float:
        """Share of the learning rates at `step`."""

    def loss(self, step: int, rng: torch.Generator) -> dict[str, Tensor]:
        """The weighted terms of a step."""


class Fitter:
    """A problem in training. Every step draws its random numbers from (seed, step) alone.

    It computes in fp32: differences over one pixel have no meaning in 8 bits of mantissa.
    """

    def __init__(self, problem: Problem, steps: int, seed: int, device: torch.device) -> None:
        self.problem, self.steps, self.seed, self.device = problem, steps, seed, device
        groups = problem.parameter_groups()
        self.optimizer = torch.optim.Adam(groups, fused=device.type != "mps")
        self.rates = [group["lr"] for group in self.optimizer.param_groups]
        self.done = 0
        self._lost = 0
        self._unread: list[tuple[Tensor, Tensor, list[str]]] = []

    def run(
        self, progress: Progress, stopped: Callable[[], bool], save: Callable[[], None]
    ) -> None:
        """Fit to the end, or until `stopped` says so; both are asked after every step."""
        progress.stage("fitting", self.steps)
        every = 1 if self.device.type == "cpu" else _READ_EVERY
        while self.done < self.steps and not stopped():
            self.step()
            if self.done % every == 0 or self.done == self.steps:
                progress.advance(self.done, self.read())
            save()

    def step(self) -> None:
        """One step of Adam, without waiting for the device; left out where it is not finite."""
        share = self.problem.rate(self.done)
        for group, rate in zip(self.optimizer.param_groups, self.rates, strict=True):
            group["lr"] = rate * share
        self.optimizer.zero_grad()
        with torch.autocast(self.device.type, enabled=False):
            terms = self.problem.loss(self.done, step_rng(self.seed, self.done))
        values = torch.stack([*terms.values()])
        total = values.sum()
        finite = total.detach().isfinite()
        total.backward()
        self._adam_step(finite)
        self._unread.append((values.detach(), finite, list(terms)))
        self.done += 1

    def _adam_step(self, finite: Tensor) -> None:
        """Nothing changes where the step was not finite; the fused Adam looks at that itself."""
        if self.optimizer.defaults["fused"]:
            self.optimizer.found_inf = (~finite).float()  # type: ignore[attr-defined]
            self.optimizer.step()
        elif bool(finite):
            self.optimizer.step()

    def read(self) -> dict[str, float]:
        """The weighted terms of the last step, fetched with those since the last look.

        Raises Text2LiveError where too many steps in a row were not finite.
        """
        rows = [torch.cat([values, finite[None]]) for values, finite, _ in self._unread]
        flat = torch.cat(rows).tolist() if rows else []
        terms: dict[str, float] = {}
        for _, _, names in self._unread:
            *row, finite = flat[: len(names) + 1]
            del flat[: len(names) + 1]
            terms = dict(zip(names, row, strict=True))
            self._lost = 0 if finite else self._lost + 1
            if self._lost > _MAX_LOST:
                raise Text2LiveError(
                    f"{self._lost} steps in a row were not finite: try another --seed"
                )
        self._unread.clear()
        return terms

    @property
    def format(self) -> str:
        """Name of what `state` gives."""
        return FORMAT

    def state(self) -> tuple[dict[str, Tensor], dict[str, str]]:
        """All that the rest of the fit depends on, as tensors and as texts."""
        tensors = {f"{i}.value": p for i, p in enumerate(self._parameters())}
        for i, p in enumerate(self._parameters()):
            for name, value in self.optimizer.state[p].items():
                tensors[f"{i}.{name}"] = value
        return tensors, {"done": str(self.done)}

    def load(self, tensors: dict[str, Tensor], texts: dict[str, str]) -> None:
        """Go on where `state` was called.

        Nothing of it is trusted: raises ValueError, LookupError or TypeError for what that never
        gives.
        """
        require_finite(tensors)
        done = whole_number(int(texts["done"]), 0, self.steps)
        self._load(tensors, done)
        self.done = done

    def _load(self, tensors: dict[str, Tensor], done: int) -> None:
        like = {f"{i}.value": p for i, p in enumerate(self._parameters())}
        for i, p in enumerate(self._parameters()):
            if f"{i}.step" in tensors:  # Adam has seen a gradient of it
                like.update({f"{i}.exp_avg": p, f"{i}.exp_avg_sq": p})
                like[f"{i}.step"] = torch.zeros((), dtype=torch.float32)
                if not 0 <= float(tensors[f"{i}.step"]) <= done:
                    raise ValueError("impossible steps")
        require_like(tensors, like)
        for i, p in enumerate(self._parameters()):
            with torch.no_grad():
                p.copy_(tensors[f"{i}.value"])
            start = f"{i}."
            self.optimizer.state[p] = {
                name[len(start) :]: value if name.endswith(".step") else value.to(self.device)
                for name, value in tensors.items()
                if name.startswith(start) and not name.endswith(".value")
            }

    def _parameters(self) -> list[Tensor]:
        return [p for group in self.optimizer.param_groups for p in group["params"]]
