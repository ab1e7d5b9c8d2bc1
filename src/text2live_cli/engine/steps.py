"""Random numbers of a step."""

from __future__ import annotations

import torch


def step_rng(seed: int, step: int) -> torch.Generator:
    """The random numbers of one step, on the CPU so that every device draws the same."""
    mixed = (seed * 0x9E3779B97F4A7C15 + step * 0xBF58476D1CE4E5B9 + 1) % 2**63
    return torch.Generator().manual_seed(mixed)
