"""The encoder itself: open_clip's own CLIP with a convolutional stem, and its weights on disk."""

from __future__ import annotations

import json
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from open_clip.constants import OPENAI_DATASET_MEAN, OPENAI_DATASET_STD
from open_clip.model import CLIP, CLIPTextCfg, CLIPVisionCfg
from safetensors import safe_open
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from ...errors import Text2LiveError
from .tokenizer import PADDING, SwatchTokenizer

WEIGHTS = Path(__file__).with_name("swatch.safetensors")
NATIVE_SIZE = 112
PATCH_SIZE = 16


@dataclass(frozen=True)
class ModelSettings:
    """The widths of an encoder; the defaults are those of `swatch`."""

    vision_width: int = 128
    text_width: int = 96
    embedding: int = 128


def _stem(width: int) -> nn.Sequential:
    """Four stride-2 convolutions, (B, 3, H, W) to (B, width, H/16, W/16).

    They learn textures several times faster than one 16-pixel patch convolution.
    """
    channels = (3, width // 4, width // 2, 3 * width // 4, width)
    layers: list[nn.Module] = []
    for a, b in pairwise(channels[:-1]):
        layers += [nn.Conv2d(a, b, 3, 2, 1, bias=False), nn.BatchNorm2d(b), nn.GELU()]
    return nn.Sequential(*layers, nn.Conv2d(channels[-2], width, 3, 2, 1))


def build_model(
    tokenizer: SwatchTokenizer,
    settings: ModelSettings = ModelSettings(),
) -> CLIP:
    """An untrained `swatch`: about 1.3 M parameters, 7×7 patch tokens at its native 112 px."""
    width = settings.vision_width
    vision = CLIPVisionCfg(
        layers=4, width=width, head_width=32, patch_size=PATCH_SIZE, image_size=NATIVE_SIZE
    )
    text = CLIPTextCfg(
        context_length=tokenizer.context_length,
        vocab_size=tokenizer.vocab_size,
        width=settings.text_width,
        heads=4,
        layers=2,
    )
    model = CLIP(settings.embedding, vision, text)
    model.visual.conv1 = _stem(width)
    model.visual.image_mean = OPENAI_DATASET_MEAN
    model.visual.image_std = OPENAI_DATASET_STD
    return model


def load_swatch(path: Path = WEIGHTS) -> tuple[CLIP, SwatchTokenizer, dict[str, str]]:
    """The trained encoder (fp32, eval mode, frozen), its tokenizer and the weights' metadata."""
    with safe_open(path, framework="pt") as file:
        metadata = dict(file.metadata() or {})
        state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    if "words" not in metadata:
        raise Text2LiveError(f"{path}: its metadata do not say which words it can read")
    tokenizer = SwatchTokenizer(json.loads(metadata["words"]))
    width, embedding = state["visual.proj"].shape
    settings = ModelSettings(width, state["token_embedding.weight"].shape[1], embedding)
    model = build_model(tokenizer, settings)
    model.load_state_dict({k: v.float() if v.is_floating_point() else v for k, v in state.items()})
    return model.eval().requires_grad_(False), tokenizer, metadata


def load_folded() -> tuple[CLIP, SwatchTokenizer, dict[str, str]]:
    """`load_swatch` for use alone: its stem without norms, in the memory order that is faster.

    A norm in eval mode is linear, and goes into the convolution before it; only rounding differs.
    """
    model, tokenizer, metadata = load_swatch()
    model.visual.conv1 = _folded(model.visual.conv1).to(memory_format=torch.channels_last)
    return model, tokenizer, metadata


def _folded(stem: nn.Sequential) -> nn.Sequential:
    layers: list[Any] = list(stem)
    for norm in [layer for layer in layers if isinstance(layer, nn.BatchNorm2d)]:
        at = layers.index(norm)
        layers[at - 1 : at + 1] = [fuse_conv_bn_eval(layers[at - 1], norm)]
    return nn.Sequential(*layers).requires_grad_(False)


def normalise(pictures: torch.Tensor) -> torch.Tensor:
    """Pictures (B, 3, H, W) in 0..1 to the encoder's input range."""
    mean = pictures.new_tensor(OPENAI_DATASET_MEAN).view(1, 3, 1, 1)
    std = pictures.new_tensor(OPENAI_DATASET_STD).view(1, 3, 1, 1)
    return (pictures - mean) / std


def encode_tokens(model: CLIP, pictures: torch.Tensor) -> torch.Tensor:
    """Projected tokens (B, 1 + gh·gw, E) of pictures (B, 3, H, W) in 0..1; the first is the class.

    Any size from two patches up: the positions are interpolated to the token grid, bicubic.
    """
    visual = model.visual
    grid = visual.conv1(normalise(pictures))
    x = grid.flatten(2).transpose(1, 2)
    x = torch.cat([visual.class_embedding.expand(len(x), 1, -1), x], dim=1)
    x = visual.ln_pre(x + _positions(visual.positional_embedding, visual.grid_size, grid.shape[2:]))
    return visual.ln_post(visual.transformer(x)) @ visual.proj


def encode_rows(model: CLIP, rows: torch.Tensor) -> torch.Tensor:
    """What the model's own `encode_text` gives, (B, E), without computing the common padding."""
    length = int((rows != PADDING).any(0).sum())
    x = model.token_embedding(rows[:, :length]) + model.positional_embedding[:length]
    x = model.ln_final(model.transformer(x, attn_mask=model.attn_mask[:length, :length]))
    ends = x[torch.arange(len(x), device=x.device), rows.argmax(1)]
    return ends @ model.text_projection


def dense_map(tokens: torch.Tensor, text: torch.Tensor) -> torch.Tensor:
    """Cosine of each patch token (B, 1 + N, E) with one text (B, E): (B, N) in -1..1."""
    return torch.cosine_similarity(tokens[:, 1:], text[:, None], dim=-1)


def _positions(positions: torch.Tensor, native: tuple[int, int], grid: torch.Size) -> torch.Tensor:
    if tuple(grid) == tuple(native):
        return positions
    square = positions[1:].T.reshape(1, -1, *native)
    square = nn.functional.interpolate(square, tuple(grid), mode="bicubic", align_corners=False)
    return torch.cat([positions[:1], square.flatten(2)[0].T])
