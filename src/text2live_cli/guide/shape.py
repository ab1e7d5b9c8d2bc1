"""The shape of an encoder, known before its weights (and torch) are loaded."""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from .weights import SWATCH


def view_size(height: float, width: float, short: int, max_long: int) -> tuple[int, int]:
    """(height, width) of a resized view: short side `short`, unless the long one passes `max_long`.

    Fractions of a pixel are cut off, as torchvision's resize does.
    """
    small, large = min(height, width), max(height, width)
    new_small, new_large = short, int(short * large / small)
    if new_large > max_long:
        new_small, new_large = int(max_long * new_small / new_large), max_long
    return (new_small, new_large) if height <= width else (new_large, new_small)


@dataclass(frozen=True)
class EncoderShape:
    """What an encoder's views, and the memory that it takes, depend on."""

    native: int
    """The side in pixels that it was trained at."""
    patch: int
    """The side in pixels of a patch."""
    blocks: int
    """Of the vision transformer."""
    width: int
    """Channels of its tokens."""
    parameters: int
    """Numbers that it is made of, the texts' part included."""

    def view_size(self, height: float, width: float) -> tuple[int, int]:
        """Size of a view for the losses: short side N, long side at most N·320/224."""
        return view_size(height, width, self.native, self.native * 320 // 224)

    def structure_size(self, height: float, width: float) -> tuple[int, int]:
        """Size of the view for the structure tokens: short side N, long side at most N·380/224."""
        return view_size(height, width, self.native, self.native * 380 // 224)


_EMBEDDED = EncoderShape(native=112, patch=16, blocks=4, width=128, parameters=1_252_193)


def shape_of(name: str) -> EncoderShape | None:
    """The shape of the encoder `name`, its parameters to a few per cent.

    None for names that open_clip does not know, and for those that are no vision transformer.
    """
    if name == SWATCH:
        return _EMBEDDED
    package = find_spec("open_clip")
    if package is None or package.origin is None:
        return None
    configs = Path(package.origin).parent / "model_configs"
    path = configs / f"{name.partition('/')[0]}.json"
    if not path.is_file():
        return None
    config = json.loads(path.read_text("utf-8"))
    vision, text = config["vision_cfg"], config.get("text_cfg", {})
    if not isinstance(vision.get("layers"), int) or "patch_size" not in vision:
        return None
    words = text.get("width", 512)
    parameters = (
        vision["layers"] * _block_parameters(vision["width"])
        + text.get("layers", 12) * _block_parameters(words)
        + text.get("vocab_size", 49408) * words
    )
    return EncoderShape(
        native=vision["image_size"],
        patch=vision["patch_size"],
        blocks=vision["layers"],
        width=vision["width"],
        parameters=parameters,
    )


def _block_parameters(width: int) -> int:
    """Of a residual attention block: four matrices of attention, eight of the perceptron."""
    return 12 * width**2
