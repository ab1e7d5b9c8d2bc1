"""Tiny random CLIPs in OpenAI's layout, rebuilt from a seed: the encoders of the parity arrays.

All values are exact in fp16, drawn from NumPy's frozen legacy stream, in a fixed order.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import open_clip
import torch
from open_clip.model import CLIP, CLIPTextCfg, CLIPVisionCfg
from torch import Tensor

from text2live_cli.guide.clip import ClipGuide

CONTEXT, VOCABULARY, EMBEDDING, NATIVE, PATCH = 77, 49408, 32, 224, 32


@dataclass(frozen=True)
class Tower:
    """Sizes of a transformer; heads are 64 wide."""

    width: int
    layers: int


@dataclass(frozen=True)
class TinySpec:
    """A tiny CLIP: the seed of its weights and the sizes of its towers."""

    seed: int
    vision: Tower
    text: Tower


TINY = TinySpec(101, Tower(64, 4), Tower(64, 3))
TINY12 = TinySpec(112, Tower(128, 12), Tower(128, 2))


class _Weights:
    """Draws a state dict, tensor by tensor."""

    def __init__(self, seed: int) -> None:
        self.random = np.random.RandomState(seed)
        self.state: dict[str, Tensor] = {}

    def normal(self, name: str, shape: tuple[int, ...], std: float, mean: float = 0.0) -> None:
        values = (mean + self.random.standard_normal(shape) * std).astype(np.float16)
        self.state[name] = torch.from_numpy(values.astype(np.float32))

    def norm(self, name: str, width: int) -> None:
        self.normal(f"{name}.weight", (width,), 0.1, mean=1.0)
        self.normal(f"{name}.bias", (width,), 0.05)

    def tower(self, prefix: str, tower: Tower) -> None:
        width = tower.width
        projection = width**-0.5 * (2 * tower.layers) ** -0.5
        for i in range(tower.layers):
            block = f"{prefix}transformer.resblocks.{i}."
            self.normal(block + "attn.in_proj_weight", (3 * width, width), width**-0.5)
            self.normal(block + "attn.in_proj_bias", (3 * width,), 0.05)
            self.normal(block + "attn.out_proj.weight", (width, width), projection)
            self.normal(block + "attn.out_proj.bias", (width,), 0.02)
            self.norm(block + "ln_1", width)
            self.normal(block + "mlp.c_fc.weight", (4 * width, width), (2 * width) ** -0.5)
            self.normal(block + "mlp.c_fc.bias", (4 * width,), 0.05)
            self.normal(block + "mlp.c_proj.weight", (width, 4 * width), projection)
            self.normal(block + "mlp.c_proj.bias", (width,), 0.02)
            self.norm(block + "ln_2", width)


def state_dict(spec: TinySpec) -> dict[str, Tensor]:
    """The weights of `spec`, in OpenAI's names (which are open_clip's)."""
    vision, text = spec.vision, spec.text
    w = _Weights(spec.seed)
    w.normal("positional_embedding", (CONTEXT, text.width), 0.05)
    w.normal("text_projection", (text.width, EMBEDDING), text.width**-0.5)
    w.state["logit_scale"] = torch.tensor(float(np.log(1 / 0.07)))
    scale = vision.width**-0.5
    w.normal("visual.class_embedding", (vision.width,), scale)
    w.normal("visual.positional_embedding", ((NATIVE // PATCH) ** 2 + 1, vision.width), 2 * scale)
    w.normal("visual.proj", (vision.width, EMBEDDING), scale)
    patch_std = (3 * PATCH * PATCH) ** -0.5
    w.normal("visual.conv1.weight", (vision.width, 3, PATCH, PATCH), patch_std)
    w.norm("visual.ln_pre", vision.width)
    w.tower("visual.", vision)
    w.norm("visual.ln_post", vision.width)
    w.tower("", text)
    w.normal("token_embedding.weight", (VOCABULARY, text.width), 0.1)
    w.norm("ln_final", text.width)
    return w.state


def model(spec: TinySpec) -> CLIP:
    """An open_clip model with the weights of `spec`, with QuickGELU."""
    vision = CLIPVisionCfg(
        layers=spec.vision.layers, width=spec.vision.width, patch_size=PATCH, image_size=NATIVE
    )
    text = CLIPTextCfg(
        context_length=CONTEXT,
        vocab_size=VOCABULARY,
        width=spec.text.width,
        heads=spec.text.width // 64,
        layers=spec.text.layers,
    )
    clip = CLIP(EMBEDDING, vision, text, quick_gelu=True)
    clip.load_state_dict(state_dict(spec))
    clip.visual.image_mean = open_clip.OPENAI_DATASET_MEAN
    clip.visual.image_std = open_clip.OPENAI_DATASET_STD
    return clip


def guide(spec: TinySpec) -> ClipGuide:
    """A guide over the tiny CLIP of `spec`."""
    return ClipGuide(model(spec), open_clip.get_tokenizer("ViT-B-32-quickgelu"), "tiny")
