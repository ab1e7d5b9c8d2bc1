"""What `swatch` learns: to tell the true captions of a picture, and of each patch, from false."""

from __future__ import annotations

import numpy as np
import torch
from open_clip.model import CLIP
from torch.nn import functional

from swatch_training.captions import (
    BANK,
    NOTHING,
    Caption,
    describe,
    sentence,
    truth,
)
from text2live_cli.guide.swatch.locator import CELL
from text2live_cli.guide.swatch.model import encode_rows, encode_tokens
from text2live_cli.guide.swatch.tokenizer import SwatchTokenizer
from text2live_cli.guide.swatch.towers import PATCH_SIZE
from text2live_cli.guide.swatch.vocabulary import OBJECTS

DENSE_WEIGHT = 0.5
BOUND_WEIGHT = 2.0
"""Captions that bind a look to an object count this many times as much as single words."""
OBJECT_WEIGHT = 3.0
"""So do the names of objects, which are learned much more slowly than looks."""
_VISIBLE = 0.015
_VISIBLE_TO_LOCATOR = 0.005
_PATCH_SHARE = 0.6
_CELLS, _FEW = 256, 12
"""Cells of each view that a locator learns by; a region of fewer than `_FEW` gets less of them."""


def training_losses(
    model: CLIP,
    tokenizer: SwatchTokenizer,
    views: torch.Tensor,
    labels: torch.Tensor,
    scenes: torch.Tensor,
    rng: np.random.Generator,
) -> dict[str, torch.Tensor]:
    """Loss terms and their `total` for views (B, 3, h, w), labels (B, h, w), scenes (B, R, 2).

    The views are on the model's device, labels and scenes on the CPU.
    """
    device = views.device
    described = [claim for code in scenes.numpy() for claim in describe(code, rng)]
    bank, rest = (
        encode_rows(model, tokenizer([sentence(claim, rng) for claim in claims]).to(device))
        for claims in (BANK, described)
    )
    text = functional.normalize(torch.cat([bank, rest]), dim=-1)
    tokens = functional.normalize(encode_tokens(model, views), dim=-1)
    logits = model.logit_scale.exp().clamp(max=100) * tokens @ text.T

    shares = region_shares(labels, scenes.shape[1])
    true = truth(torch.tensor([*BANK, *described]), _visible_scenes(scenes, shares)).to(device)
    shares, weights = shares.to(device), _weights(len(described)).to(device)
    picture = contrast(logits[:, 0], true.any(1), weights)
    caption = contrast(logits[:, 0].T, true.any(1).T, torch.ones(len(views), device=device))
    dense = _dense_loss(logits[:, 1:], true, shares, weights)
    total = picture + 0.5 * caption + DENSE_WEIGHT * dense
    return {"total": total, "picture": picture, "caption": caption, "dense": dense}


def _weights(described: int) -> torch.Tensor:
    """How much each caption counts: the bank's, then the scenes' own."""
    bank = [OBJECT_WEIGHT if 0 <= claim.thing < len(OBJECTS) else 1.0 for claim in BANK]
    return torch.tensor([*bank, *[BOUND_WEIGHT] * described])


def contrast(logits: torch.Tensor, true: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Cross-entropy of each true column against the false ones of its row, averaged.

    Logits and truth are (N, C), weights (C). True columns do not compete with one another, and
    rows without any are left out.
    """
    against = logits.masked_fill(true, -torch.inf).logsumexp(-1)
    of_row = (true.float() @ weights).clamp(min=1)
    rows, columns = true.nonzero(as_tuple=True)  # few: the rest of the work is theirs alone
    each = functional.softplus(against[rows] - logits[rows, columns])
    return (each * weights[columns] / of_row[rows]).sum() / true.any(-1).sum().clamp(min=1)


def locating_loss(
    found: torch.Tensor,
    texts: torch.Tensor,
    labels: torch.Tensor,
    scenes: torch.Tensor,
    described: list[Caption],
    generator: torch.Generator,
) -> torch.Tensor:
    """The contrast of captions for some cells of what a locator has `found` (B, gh, gw, E).

    `texts` (C, E), normalised, are of the bank and then of `described`; labels are (B, h, w),
    scenes (B, R, 2).
    """
    shares = region_shares(labels, scenes.shape[1], CELL)
    true = truth(
        torch.tensor([*BANK, *described]), _visible_scenes(scenes, shares, _VISIBLE_TO_LOCATOR)
    )
    cells = _draw_cells(shares.flatten(2), generator)
    chosen = torch.gather(found.flatten(1, 2), 1, cells[..., None].expand(-1, -1, found.shape[-1]))
    of_cells = torch.gather(shares.flatten(2), 2, cells[:, None].expand(-1, shares.shape[1], -1))
    return _dense_loss(chosen @ texts.T, true, of_cells, _weights(len(described)))


def _draw_cells(shares: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Indices (B, n) of cells, from shares (B, R, N): most of them from each region alike.

    Else places, which are large, would be what is learned, and small things unlikely.
    """
    clear = (shares > _PATCH_SHARE).float()
    fair = (clear / clear.sum(2, keepdim=True).clamp(min=_FEW)).sum(1) + 1e-7
    chances = 0.7 * fair / fair.sum(1, keepdim=True) + 0.3 / fair.shape[1]
    return torch.multinomial(chances, _CELLS, generator=generator)


def region_shares(labels: torch.Tensor, regions: int, cell: int = PATCH_SIZE) -> torch.Tensor:
    """How much of each cell, `cell` pixels a side, each region covers: (B, R, gh, gw) from labels
    (B, h, w).
    """
    planes = torch.stack([labels == r for r in range(regions)], 1).float()
    return functional.avg_pool2d(planes, cell)


def _visible_scenes(
    scenes: torch.Tensor, shares: torch.Tensor, least: float = _VISIBLE
) -> torch.Tensor:
    """The scenes less the regions that a view has cut off."""
    hidden = shares.mean((2, 3)) < least
    return scenes.masked_fill(hidden[..., None], NOTHING)


def _dense_loss(
    logits: torch.Tensor, true: torch.Tensor, shares: torch.Tensor, weights: torch.Tensor
) -> torch.Tensor:
    """The same contrast for patches (B, N, C) that clearly belong to one region."""
    share, region = shares.flatten(2).max(1)
    clear = share > _PATCH_SHARE
    of_patch = torch.gather(true, 1, region[..., None].expand(-1, -1, true.shape[-1]))
    return contrast(logits[clear], of_patch[clear], weights)
