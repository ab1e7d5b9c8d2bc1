"""What `swatch` learns: to tell the true captions of a picture, and of each patch, from false."""

from __future__ import annotations

import numpy as np
import torch
from open_clip.model import CLIP
from torch.nn import functional

from text2live_cli.swatch.captions import BANK, NOTHING, describe, sentence, truth
from text2live_cli.swatch.model import PATCH_SIZE, encode_tokens
from text2live_cli.swatch.tokenizer import SwatchTokenizer

DENSE_WEIGHT = 0.5
BOUND_WEIGHT = 2.0
"""Captions that bind a look to an object count this many times as much as single words."""
_VISIBLE = 0.015
_PATCH_SHARE = 0.6


def training_losses(
    model: CLIP,
    tokenizer: SwatchTokenizer,
    views: torch.Tensor,
    labels: torch.Tensor,
    scenes: torch.Tensor,
    rng: np.random.Generator,
) -> dict[str, torch.Tensor]:
    """Loss terms and their `total` for views (B, 3, h, w), labels (B, h, w), scenes (B, R, 2)."""
    claims = [*BANK, *(c for code in scenes.numpy() for c in describe(code, rng))]
    texts = [sentence(claim, rng) for claim in claims]
    text = functional.normalize(model.encode_text(tokenizer(texts)), dim=-1)
    tokens = functional.normalize(encode_tokens(model, views), dim=-1)
    logits = model.logit_scale.exp().clamp(max=100) * tokens @ text.T

    shares = region_shares(labels, scenes.shape[1])
    true = truth(torch.tensor(claims), _visible_scenes(scenes, shares))
    weights = torch.ones(len(claims))
    weights[len(BANK) :] = BOUND_WEIGHT
    picture = contrast(logits[:, 0], true.any(1), weights)
    caption = contrast(logits[:, 0].T, true.any(1).T, torch.ones(len(views)))
    dense = _dense_loss(logits[:, 1:], true, shares, weights)
    total = picture + 0.5 * caption + DENSE_WEIGHT * dense
    return {"total": total, "picture": picture, "caption": caption, "dense": dense}


def contrast(logits: torch.Tensor, true: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Cross-entropy of each true column against the false ones of its row, averaged.

    Logits and truth are (N, C), weights (C). True columns do not compete with one another, and
    rows without any are left out.
    """
    against = logits.masked_fill(true, -torch.inf).logsumexp(-1, keepdim=True)
    share = true * weights
    share = share / share.sum(-1, keepdim=True).clamp(min=1)
    each = (functional.softplus(against - logits) * share).sum(-1)
    return each.sum() / true.any(-1).sum().clamp(min=1)


def region_shares(labels: torch.Tensor, regions: int) -> torch.Tensor:
    """How much of each patch each region covers: (B, R, gh, gw) from labels (B, h, w)."""
    planes = torch.stack([labels == r for r in range(regions)], 1).float()
    return functional.avg_pool2d(planes, PATCH_SIZE)


def _visible_scenes(scenes: torch.Tensor, shares: torch.Tensor) -> torch.Tensor:
    """The scenes less the regions that a view has cut off."""
    hidden = shares.mean((2, 3)) < _VISIBLE
    return scenes.masked_fill(hidden[..., None], NOTHING)


def _dense_loss(
    logits: torch.Tensor, true: torch.Tensor, shares: torch.Tensor, weights: torch.Tensor
) -> torch.Tensor:
    """The same contrast for patches (B, N, C) that clearly belong to one region."""
    share, region = shares.flatten(2).max(1)
    clear = share > _PATCH_SHARE
    of_patch = torch.gather(true, 1, region[..., None].expand(-1, -1, true.shape[-1]))
    return contrast(logits[clear], of_patch[clear], weights)
