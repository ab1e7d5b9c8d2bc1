"""The terms of the objective (paper, Eqs. 3 to 8): each returns an unweighted scalar.

Weights are applied in one place, `objective.py`. Embeddings are rows, un-normalised.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ..guide.views import luminance

_FORM_WINDOW = 1 / 12  # of the short side: shading within this is form
_FORM_NOISE = 1e-4  # variance of brightness under which a window counts as flat
KEEP_THRESHOLD = 0.6
"""Only where something to keep is at least this relevant is the alpha held down."""


def spherical_distance(x: Tensor, y: Tensor) -> Tensor:
    """2·asin(‖x̂ − ŷ‖ / 2)² of all pairs: (B, D) and (N, D) → (B, N).

    The authors' code takes this for the cosine distance in the paper's Eq. 3.
    """
    x, y = F.normalize(x, dim=-1), F.normalize(y, dim=-1)
    chord = (x[:, None] - y[None]).norm(dim=-1)
    return 2 * (chord / 2).clamp(max=1 - 1e-6).asin() ** 2


def cosine_distance(x: Tensor, y: Tensor) -> Tensor:
    """1 − cos of all pairs: (B, D) and (N, D) → (B, N). Eq. 3 of the paper, literally."""
    return 1 - F.normalize(x, dim=-1) @ F.normalize(y, dim=-1).T


def text_loss(pictures: Tensor, texts: Tensor, shares: Tensor, distance: str) -> Tensor:
    """Mean distance of picture embeddings (B, D) to texts (N, D) weighted by `shares` (N,).

    The text part of L_comp and of L_screen (Eqs. 3 and 4). `shares` sum to 1: how often each text
    was drawn.
    """
    metric = spherical_distance if distance == "spherical" else cosine_distance
    return (metric(pictures, texts) @ shares).mean()


def directional_loss(
    composite: Tensor, source: Tensor, target: Tensor, roi: Tensor, shares: Tensor
) -> Tensor:
    """1 − cos(E(I_o) − E(I_s), E(T) − E(T_ROI)), averaged: L_dir, a part of Eq. 3 of the paper.

    Pictures are (B, D) and seen through the same views, texts (N, D) pair up row by row.
    """
    return (cosine_distance(composite - source, target - roi) @ shares).mean()


def structure_loss(source: Tensor, composite: Tensor) -> Tensor:
    """L_structure: mean squared difference of two self-similarities S(I) (B, T, T), Eq. 5.

    Eq. 6 has the Frobenius norm; the authors' code and its λ go with the mean of the squares.
    """
    return F.mse_loss(composite, source)


def form_loss(source: Tensor, composite: Tensor) -> Tensor:
    """How much of the source's shading the composite has lost; both (B, 3, H, W) in [0, 1].

    In every window, the share of the source's detail of brightness that is missing in the
    composite's, by least squares; squared, and averaged by how much detail there is. What an edit
    adds costs nothing. Not in the paper; see docs/region.md.
    """
    height, width = source.shape[2:]
    side = 2 * round(_FORM_WINDOW * min(height, width) / 2) + 1
    down, across = _averaging(height, side, source), _averaging(width, side, source).T

    def mean(x: Tensor) -> Tensor:
        """Over the part of a square window that lies in the picture, (B, 1, H, W)."""
        return down @ x @ across

    before, after = (x - mean(x) for x in (luminance(source), luminance(composite)))
    energy = mean(before**2)
    gain = mean(before * after) / (energy + _FORM_NOISE)
    full = energy / (energy + _FORM_NOISE)
    return (energy * (full - gain).clamp_min(0) ** 2).sum() / energy.sum().clamp_min(1e-12)


def alpha_l1(alpha: Tensor) -> Tensor:
    """Mean |α| of (B, 1, H, W): the first part of the sparsity L_reg, Eq. 7."""
    return alpha.abs().mean()


def alpha_l0(alpha: Tensor) -> Tensor:
    """Mean Ψ₀(α) = 2·sigmoid(5α) − 1 of (B, 1, H, W), a smooth count of non-zeros: Eq. 7."""
    return (2 * torch.sigmoid(5 * alpha) - 1).mean()


def bootstrap_loss(alpha: Tensor, relevancy: Tensor) -> Tensor:
    """MSE between alpha (B, 1, H, W) and the ROI's relevancy (B, 1, N, N): L_init, Eq. 8."""
    return F.mse_loss(_at_size_of(alpha, relevancy), relevancy)


def keep_loss(alpha: Tensor, relevancy: Tensor) -> Tensor:
    """Negative relevancy: mean of ((1 − α) − r)² where r > 0.6, and of 0 elsewhere.

    `relevancy` (B, K, N, N) of what is to be kept; averaged over the K texts.
    """
    gap = (1 - _at_size_of(alpha, relevancy)) - relevancy
    return torch.where(relevancy > KEEP_THRESHOLD, gap**2, 0).mean()


def _averaging(count: int, side: int, like: Tensor) -> Tensor:
    """(count, count): the mean of the neighbours up to side // 2 away, as a matrix.

    Four times as fast on a CPU as pooling by a window.
    """
    place = torch.arange(count, device=like.device)
    near = ((place[:, None] - place[None]).abs() <= side // 2).to(like.dtype)
    return near / near.sum(1, keepdim=True)


def _at_size_of(alpha: Tensor, relevancy: Tensor) -> Tensor:
    return F.interpolate(alpha, relevancy.shape[2:], mode="bilinear", align_corners=False)
