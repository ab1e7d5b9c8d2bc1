"""Where in the picture is the text? The relevancy map that bootstraps the alpha (paper §3.1).

Two rules; the encoder's weights say which suits them. "last-block" is the paper's: the method of
Chefer et al. (2021) on the last attention block. "dense" compares the text with every patch.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from .clip_guide import ClipGuide


def relevancy_map(guide: ClipGuide, pictures: Tensor, text: Tensor) -> Tensor:
    """Relevancy of every pixel to each text, in [0, 1], without gradient.

    `pictures` (B, 3, H, W) are squeezed to the encoder's native square, `text` (K, D) are
    embeddings of bare prompts; the result is (B, K, N, N) with N the native side.
    """
    native = guide.native
    views = F.interpolate(pictures.detach(), (native, native), mode="bilinear", align_corners=False)
    rule = dense_relevancy if guide.relevancy_rule == "dense" else attention_relevancy
    coarse = rule(guide, views, text)
    fine = F.interpolate(coarse, (native, native), mode="bilinear", align_corners=False)
    low, high = fine.amin((2, 3), keepdim=True), fine.amax((2, 3), keepdim=True)
    return (fine - low) / (high - low).clamp_min(1e-12)


def attention_relevancy(guide: ClipGuide, views: Tensor, text: Tensor, blocks: int = 1) -> Tensor:
    """Attention relevancy of (B, 3, N, N) to texts (K, D): (B, K, grid h, grid w), unscaled.

    R ← R + A̅·R with A̅ = mean over heads of relu(∂logit/∂attention · attention), over the last
    `blocks` blocks; the row of the class token over the spatial tokens. Equations 5–6 of Chefer
    et al., as used in §3.1 of the paper, which takes the last block alone.
    """
    depth = len(guide.blocks) - blocks
    with torch.no_grad():
        x = guide.tokens(views, depth)
    with torch.enable_grad():
        attentions = []
        for block in guide.blocks[depth:]:
            x, attention = _block_with_attention(block, x)
            attentions.append(attention)
        features = F.normalize(guide.project(x[:, 0]), dim=-1)
        logits = guide.model.logit_scale.exp() * features @ F.normalize(text, dim=-1).T
        rows = [
            _rollout(attentions, torch.autograd.grad(logit.sum(), attentions, retain_graph=True))
            for logit in logits.unbind(1)
        ]
    return torch.stack(rows, dim=1).unflatten(2, guide.grid(views))


def dense_relevancy(guide: ClipGuide, views: Tensor, text: Tensor) -> Tensor:
    """Cosine of every patch embedding with texts (K, D): (B, K, grid h, grid w), unscaled."""
    with torch.no_grad():
        patches = F.normalize(guide.patch_embeddings(views), dim=-1)
        return (patches @ F.normalize(text, dim=-1).T).permute(0, 3, 1, 2)


def _rollout(attentions: list[Tensor], gradients: tuple[Tensor, ...]) -> Tensor:
    """The class token's row of the relevancy (B, spatial tokens)."""
    relevancy = torch.eye(attentions[0].shape[-1], device=attentions[0].device)
    relevancy = relevancy.expand(len(attentions[0]), -1, -1)
    for attention, gradient in zip(attentions, gradients, strict=True):
        mean = (gradient * attention).float().clamp_min(0).mean(1)
        relevancy = relevancy + mean @ relevancy
    return relevancy[:, 0, 1:].detach()


def _block_with_attention(block: Any, x: Tensor) -> tuple[Tensor, Tensor]:
    """One residual block, and its attention (B, heads, T, T) as a node of the graph."""
    attn = block.attn
    y = block.ln_1(x)
    q, k, v = (
        part.unflatten(2, (attn.num_heads, -1)).transpose(1, 2)
        for part in F.linear(y, attn.in_proj_weight, attn.in_proj_bias).chunk(3, dim=2)
    )
    attention = ((q @ k.transpose(2, 3)) * attn.head_dim**-0.5).softmax(-1)
    if not attention.requires_grad:  # the encoder is frozen: the graph begins at this attention
        attention.requires_grad_()
    mixed = (attention @ v).transpose(1, 2).flatten(2)
    x = x + block.ls_1(attn.out_proj(mixed))
    return x + block.ls_2(block.mlp(block.ln_2(x))), attention
