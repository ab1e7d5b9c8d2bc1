"""The trained encoder: its weights on disk, and what it gives for pictures and texts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from ...errors import Text2LiveError
from .tokenizer import PADDING, SwatchTokenizer
from .towers import MEAN, STD, Encoder, ModelSettings

WEIGHTS = Path(__file__).with_name("swatch.safetensors")


def load_swatch(path: Path = WEIGHTS) -> tuple[Encoder, SwatchTokenizer, dict[str, str]]:
    """The trained encoder (fp32, eval mode, frozen), its tokenizer and the weights' metadata."""
    with safe_open(path, framework="pt") as file:
        metadata = dict(file.metadata() or {})
        state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    if "words" not in metadata:
        raise Text2LiveError(f"{path}: its metadata do not say which words it can read")
    tokenizer = SwatchTokenizer(json.loads(metadata["words"]))
    width, embedding = state["visual.proj"].shape
    settings = ModelSettings(width, state["token_embedding.weight"].shape[1], embedding)
    model = Encoder(tokenizer.vocab_size, tokenizer.context_length, settings)
    model.load_state_dict({k: v.float() if v.is_floating_point() else v for k, v in state.items()})
    return model.eval().requires_grad_(False), tokenizer, metadata


def load_folded() -> tuple[Encoder, SwatchTokenizer, dict[str, str]]:
    """`load_swatch` for use alone: its stem without norms, in the memory order that is faster.

    A norm in eval mode is linear, and goes into the convolution before it; only rounding differs.
    """
    model, tokenizer, metadata = load_swatch()
    model.visual.conv1 = folded(model.visual.conv1).to(memory_format=torch.channels_last)
    return model, tokenizer, metadata


def folded(stem: nn.Sequential) -> nn.Sequential:
    """A stem in eval mode without its norms, frozen."""
    layers: list[Any] = list(stem)
    for norm in [layer for layer in layers if isinstance(layer, nn.BatchNorm2d)]:
        at = layers.index(norm)
        layers[at - 1 : at + 1] = [fuse_conv_bn_eval(layers[at - 1], norm)]
    return nn.Sequential(*layers).requires_grad_(False)


def normalise(pictures: torch.Tensor) -> torch.Tensor:
    """Pictures (B, 3, H, W) in 0..1 to the encoder's input range."""
    mean = pictures.new_tensor(MEAN).view(1, 3, 1, 1)
    std = pictures.new_tensor(STD).view(1, 3, 1, 1)
    return (pictures - mean) / std


def encode_tokens(model: Any, pictures: torch.Tensor) -> torch.Tensor:
    """Projected tokens (B, 1 + gh·gw, E) of pictures (B, 3, H, W) in 0..1; the first is the class.

    Any size from two patches up: the positions are interpolated to the token grid, bicubic.
    """
    visual = model.visual
    return tower_tokens(visual, visual.conv1(normalise(pictures))) @ visual.proj


def tower_tokens(visual: Any, grid: torch.Tensor) -> torch.Tensor:
    """A tower's tokens (B, 1 + gh·gw, width) after its last norm, from what its stem gives,
    (B, width, gh, gw).
    """
    x = grid.flatten(2).transpose(1, 2)
    x = torch.cat([visual.class_embedding.expand(len(x), 1, -1), x], dim=1)
    x = visual.ln_pre(x + _positions(visual.positional_embedding, visual.grid_size, grid.shape[2:]))
    return visual.ln_post(visual.transformer(x))


def encode_rows(model: Any, rows: torch.Tensor) -> torch.Tensor:
    """What the model's own `encode_text` gives, (B, E), without computing the common padding."""
    length = int((rows != PADDING).any(0).sum())
    x = model.token_embedding(rows[:, :length]) + model.positional_embedding[:length]
    x = model.ln_final(model.transformer(x, attn_mask=model.attn_mask[:length, :length]))
    ends = x[torch.arange(len(x), device=x.device), rows.argmax(1)]
    return ends @ model.text_projection


def dense_map(tokens: torch.Tensor, text: torch.Tensor) -> torch.Tensor:
    """Cosine of each patch token (B, 1 + N, E) with one text (B, E): (B, N) in -1..1."""
    return torch.cosine_similarity(tokens[:, 1:], text[:, None], dim=-1)


def _positions(table: torch.Tensor, native: tuple[int, int], grid: torch.Size) -> torch.Tensor:
    """The positional embedding (1 + n·n, width) of a `native` grid for another, bicubic."""
    if tuple(grid) == tuple(native):
        return table
    square = table[1:].T.reshape(1, -1, *native)
    square = nn.functional.interpolate(square, tuple(grid), mode="bicubic", align_corners=False)
    return torch.cat([table[:1], square.flatten(2)[0].T])
