"""The encoder `swatch` as a module: open_clip's CLIP with a convolutional stem, for use alone.

Parts, weights and numbers are those of open_clip's own modules (a test compares them), without
importing open_clip, which takes longer than all that a short command does.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

NATIVE_SIZE = 112
PATCH_SIZE = 16
MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
"""Of CLIP's pictures, by which they are normalised."""
VISION_LAYERS, TEXT_LAYERS, TEXT_HEADS = 4, 2, 4
HEAD_WIDTH = 32
"""Of the vision tower."""


@dataclass(frozen=True)
class ModelSettings:
    """The widths of an encoder; the defaults are those of `swatch`."""

    vision_width: int = 128
    text_width: int = 96
    embedding: int = 128


def stem(width: int) -> nn.Sequential:
    """Four stride-2 convolutions, (B, 3, H, W) to (B, width, H/16, W/16).

    They learn textures several times faster than one 16-pixel patch convolution.
    """
    channels = (3, width // 4, width // 2, 3 * width // 4, width)
    layers: list[nn.Module] = []
    for a, b in pairwise(channels[:-1]):
        layers += [nn.Conv2d(a, b, 3, 2, 1, bias=False), nn.BatchNorm2d(b), nn.GELU()]
    return nn.Sequential(*layers, nn.Conv2d(channels[-2], width, 3, 2, 1))


class Encoder(nn.Module):
    """Both towers; the weights are whatever memory held before `load_state_dict`."""

    attn_mask: Tensor

    def __init__(self, vocabulary: int, context: int, settings: ModelSettings) -> None:
        super().__init__()
        width, embedding = settings.text_width, settings.embedding
        self.context_length = context
        self.visual = VisionTower(settings.vision_width, embedding)
        self.transformer = Transformer(width, TEXT_LAYERS, TEXT_HEADS)
        self.token_embedding = nn.Embedding(vocabulary, width)
        self.positional_embedding = nn.Parameter(torch.empty(context, width))
        self.ln_final = nn.LayerNorm(width)
        self.text_projection = nn.Parameter(torch.empty(width, embedding))
        self.logit_scale = nn.Parameter(torch.empty([]))
        mask = torch.full((context, context), float("-inf")).triu_(1)  # of what comes later
        self.register_buffer("attn_mask", mask, persistent=False)

    def encode_text(self, rows: Tensor) -> Tensor:
        """Un-normalised embeddings (B, E) of token rows (B, context): where the row is highest."""
        x = self.token_embedding(rows) + self.positional_embedding
        x = self.ln_final(self.transformer(x, attn_mask=self.attn_mask))
        return x[torch.arange(len(x), device=x.device), rows.argmax(1)] @ self.text_projection


class VisionTower(nn.Module):
    """Stem, class token, transformer; `ClipGuide` runs its parts."""

    def __init__(self, width: int, embedding: int) -> None:
        super().__init__()
        side = NATIVE_SIZE // PATCH_SIZE
        self.image_size, self.patch_size = (NATIVE_SIZE,) * 2, (PATCH_SIZE,) * 2
        self.grid_size = side, side
        self.image_mean, self.image_std = MEAN, STD
        self.conv1 = stem(width)
        self.class_embedding = nn.Parameter(torch.empty(width))
        self.positional_embedding = nn.Parameter(torch.empty(side * side + 1, width))
        self.ln_pre = nn.LayerNorm(width)
        self.transformer = Transformer(width, VISION_LAYERS, width // HEAD_WIDTH)
        self.ln_post = nn.LayerNorm(width)
        self.proj = nn.Parameter(torch.empty(width, embedding))


class Transformer(nn.Module):
    """Residual attention blocks, one after the other."""

    def __init__(self, width: int, layers: int, heads: int) -> None:
        super().__init__()
        self.resblocks = nn.ModuleList(Block(width, heads) for _ in range(layers))

    def forward(self, x: Tensor, attn_mask: Tensor | None = None) -> Tensor:
        """Tokens (B, T, width) through all blocks; the mask (T, T) is added to the logits."""
        for block in self.resblocks:
            x = block(x, attn_mask)
        return x


class Block(nn.Module):
    """Attention and perceptron, each on normalised tokens and added to them."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.ln_1 = nn.LayerNorm(width)
        self.attn = nn.MultiheadAttention(width, heads, batch_first=True)
        self.ls_1 = nn.Identity()
        self.ln_2 = nn.LayerNorm(width)
        self.mlp = nn.Sequential()
        self.mlp.add_module("c_fc", nn.Linear(width, 4 * width))
        self.mlp.add_module("gelu", nn.GELU())
        self.mlp.add_module("c_proj", nn.Linear(4 * width, width))
        self.ls_2 = nn.Identity()

    def forward(self, x: Tensor, attn_mask: Tensor | None = None) -> Tensor:
        """(B, T, width) → the same."""
        y = self.ln_1(x)
        x = x + self.ls_1(self.attn(y, y, y, need_weights=False, attn_mask=attn_mask)[0])
        return x + self.ls_2(self.mlp(self.ln_2(x)))
