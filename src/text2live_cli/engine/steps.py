"""What a step is given: its pictures, its chances, and the random numbers that draw both."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from .generator import Generator
from .objective import Chances, Rendered


class Examples(Protocol):
    """What a step shows, nested tuples of tensors and fixed values (`graphs.Work`)."""

    @property
    def sizes(self) -> list[tuple[int, int]]:
        """Height and width of every picture that is rendered."""

    def render(self, generator: Generator) -> list[Rendered]:
        """The generator's edits of them."""


class Dataset(Protocol):
    """Where the pictures of a step come from: `InternalDataset`, or the frames of a video."""

    def examples(self, step: int, rng: torch.Generator) -> Examples:
        """Those of step `step`, drawn by `rng`."""


class Given(NamedTuple):
    """All that a step does not share with the others."""

    examples: Examples
    chances: Chances
    bootstrap_weight: Tensor | float
    """As a tensor, or 0 without a bootstrapping."""


def step_rng(seed: int, step: int) -> torch.Generator:
    """The random numbers of one step, on the CPU so that every device draws the same."""
    mixed = (seed * 0x9E3779B97F4A7C15 + step * 0xBF58476D1CE4E5B9 + 1) % 2**63
    return torch.Generator().manual_seed(mixed)
