"""The encoder's residual attention blocks, by their weights: only what a loss needs is computed.

The same numbers as open_clip's own blocks up to rounding, in about four fifths of the time
(docs/performance.md): nothing is copied for nn.MultiheadAttention, and where the class token alone
is used, the last block computes no other.
"""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from torch import Tensor


def run_block(block: Any, x: Tensor) -> Tensor:
    """Tokens (B, T, width) through one block."""
    q, k, v = _heads(block, block.ln_1(x))
    return _residual(block, x, F.scaled_dot_product_attention(q, k, v))


def run_block_for_class(block: Any, x: Tensor) -> Tensor:
    """The class token (B, 1, width) that leaves a block which (B, T, width) enter."""
    attn, y = block.attn, block.ln_1(x)
    weight, bias, width = attn.in_proj_weight, attn.in_proj_bias, attn.embed_dim
    q = _split(attn, F.linear(y[:, :1], weight[:width], bias[:width]))
    k, v = (_split(attn, part) for part in F.linear(y, weight[width:], bias[width:]).chunk(2, 2))
    return _residual(block, x[:, :1], F.scaled_dot_product_attention(q, k, v))


def run_block_with_attention(block: Any, x: Tensor) -> tuple[Tensor, Tensor]:
    """Tokens through one block, and its attention (B, heads, T, T) as a node of the graph."""
    q, k, v = _heads(block, block.ln_1(x))
    attention = ((q @ k.transpose(2, 3)) * block.attn.head_dim**-0.5).softmax(-1)
    if not attention.requires_grad:  # the encoder is frozen: the graph begins at this attention
        attention.requires_grad_()
    return _residual(block, x, attention @ v), attention


def _heads(block: Any, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Queries, keys and values (B, heads, T, width / heads) of normalised tokens (B, T, width)."""
    attn = block.attn
    q, k, v = F.linear(y, attn.in_proj_weight, attn.in_proj_bias).chunk(3, dim=2)
    return _split(attn, q), _split(attn, k), _split(attn, v)


def _split(attn: Any, x: Tensor) -> Tensor:
    return x.unflatten(2, (attn.num_heads, -1)).transpose(1, 2)


def _residual(block: Any, x: Tensor, mixed: Tensor) -> Tensor:
    """What follows the attention, whose result `mixed` (B, heads, T, width / heads) is."""
    x = x + block.ls_1(block.attn.out_proj(mixed.transpose(1, 2).flatten(2)))
    return x + block.ls_2(block.mlp(block.ln_2(x)))
