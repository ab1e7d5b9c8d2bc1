"""Cubic B-splines as matrices: a smooth field over (t, y, x) is three small products."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def knots(length: int, spacing: float) -> int:
    """How many coefficients a spline needs over positions 0 … length − 1, with knots `spacing`
    apart.
    """
    return max(math.ceil((length - 1) / spacing), 1) + 3


def basis(positions: Tensor, spacing: float, count: int) -> Tensor:
    """The (..., n, count) matrix that turns coefficients into values at `positions` (..., n).

    Coefficient i + 1 has its knot at i · `spacing`; outside the knots the end values go on.
    """
    u = (positions / spacing).clamp(0, count - 3)
    first = u.floor().clamp(max=count - 4)
    f = u - first
    weights = torch.stack(
        [
            (1 - f) ** 3,
            3 * f**3 - 6 * f**2 + 4,
            -3 * f**3 + 3 * f**2 + 3 * f + 1,
            f**3,
        ],
        dim=-1,
    )
    columns = first.long()[..., None] + torch.arange(4, device=u.device)
    return torch.zeros(*u.shape, count, device=u.device).scatter(-1, columns, weights / 6)
