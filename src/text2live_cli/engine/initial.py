"""Weights to begin with, from a generator of one's own.

PyTorch draws those of a fresh layer from the random numbers of the process, which two edits at once
would take from each other.
"""

from __future__ import annotations

import math

import torch
from torch import nn


@torch.no_grad()
def draw_weights(module: nn.Module, rng: torch.Generator | None) -> None:
    """Draw all convolutions and linear layers of `module` as PyTorch itself does, in its order.

    None takes the random numbers of the process.
    """
    for layer in module.modules():
        if isinstance(layer, (nn.Conv2d, nn.Linear)):
            nn.init.kaiming_uniform_(layer.weight, a=math.sqrt(5), generator=rng)
            if layer.bias is not None:
                bound = 1 / math.sqrt(layer.weight[0].numel())
                nn.init.uniform_(layer.bias, -bound, bound, generator=rng)
