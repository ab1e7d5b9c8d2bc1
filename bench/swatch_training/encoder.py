"""An untrained `swatch`: open_clip's own CLIP, as that begins, with the convolutional stem."""

from __future__ import annotations

from open_clip.model import CLIP, CLIPTextCfg, CLIPVisionCfg

from text2live_cli.guide.swatch.tokenizer import SwatchTokenizer
from text2live_cli.guide.swatch.towers import (
    HEAD_WIDTH,
    MEAN,
    NATIVE_SIZE,
    PATCH_SIZE,
    STD,
    TEXT_HEADS,
    TEXT_LAYERS,
    VISION_LAYERS,
    ModelSettings,
    stem,
)


def build_model(tokenizer: SwatchTokenizer, settings: ModelSettings | None = None) -> CLIP:
    """About 1.3 M parameters, 7×7 patch tokens at its native 112 px."""
    settings = settings or ModelSettings()
    width = settings.vision_width
    vision = CLIPVisionCfg(
        layers=VISION_LAYERS,
        width=width,
        head_width=HEAD_WIDTH,
        patch_size=PATCH_SIZE,
        image_size=NATIVE_SIZE,
    )
    text = CLIPTextCfg(
        context_length=tokenizer.context_length,
        vocab_size=tokenizer.vocab_size,
        width=settings.text_width,
        heads=TEXT_HEADS,
        layers=TEXT_LAYERS,
    )
    model = CLIP(settings.embedding, vision, text)
    model.visual.conv1 = stem(width)
    model.visual.image_mean, model.visual.image_std = MEAN, STD
    return model
