"""The locator of `swatch`: what each spot of a picture shows, far finer than its patches.

A tower like the encoder's, whose tokens are brought together with its stem's features at 1/8 and
1/4 of the picture, as in a feature pyramid. What it gives is compared with texts as `swatch` embeds
them. It only says where an edit is to be; it guides none.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn

from .model import folded, tower_tokens
from .towers import MEAN, STD, ModelSettings, VisionTower

LOCATOR = Path(__file__).with_name("locator.safetensors")
CELL = 4
"""Pixels of a side of what one embedding stands for."""
_WIDTHS = (96, 64, 48)  # at 1/16, 1/8 and 1/4 of the picture


class Locator(nn.Module):
    """A tower and a pyramid over it; see `forward`."""

    sha256 = ""
    """Of the file that it was loaded from."""
    mean: Tensor
    std: Tensor

    def __init__(self) -> None:
        super().__init__()
        width, embedding = ModelSettings.vision_width, ModelSettings.embedding
        coarse, middle, fine = _WIDTHS
        self.tower = VisionTower(width, embedding)
        self.tower.conv1 = folded(self.tower.conv1.eval())
        self.from_tokens = nn.Conv2d(width, coarse, 1)
        self.from_eighth = nn.Conv2d(3 * width // 4, middle, 1)
        self.from_quarter = nn.Conv2d(width // 2, fine, 1)
        self.coarse = nn.Sequential(_Residual(coarse), _Residual(coarse))
        self.middle = _Residual(middle)
        self.fine = nn.Conv2d(fine, fine, 3, padding=1)
        self.to_middle = nn.Conv2d(coarse, middle, 1)
        self.to_fine = nn.Conv2d(middle, fine, 1)
        self.project = nn.Conv2d(fine, embedding, 1)
        self.scale = nn.Parameter(torch.tensor(20.0))
        # On its device with it: sending them for each look would make a GPU wait.
        self.register_buffer("mean", torch.tensor(MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(STD).view(1, 3, 1, 1), persistent=False)

    def forward(self, pictures: Tensor) -> Tensor:
        """Pictures (B, 3, H, W) in 0..1, sides multiples of 16 → embeddings (B, H/4, W/4, E).

        Their products with normalised texts are logits.
        """
        quarter, eighth, tokens = self._tower(pictures)
        x = self.coarse(self.from_tokens(tokens))
        x = self.middle(_grown(self.to_middle(x), eighth) + self.from_eighth(eighth))
        x = _grown(self.to_fine(x), quarter) + self.from_quarter(quarter)
        x = self.project(F.gelu(x + self.fine(F.gelu(x))))
        patches = torch.einsum("bchw,ce->behw", tokens, self.tower.proj)
        return self.scale * F.normalize(x + _grown(patches, x), dim=1).permute(0, 2, 3, 1)

    def _tower(self, pictures: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Features (B, C, h, w) at 1/4 and 1/8, and the tokens at 1/16."""
        stem = self.tower.conv1
        quarter = stem[:4]((pictures - self.mean) / self.std)
        eighth = stem[4:6](quarter)
        grid = stem[6:](eighth)
        tokens = tower_tokens(self.tower, grid)[:, 1:]
        return quarter, eighth, tokens.transpose(1, 2).unflatten(2, grid.shape[2:])


class _Residual(nn.Module):
    """Two convolutions whose result is added to what came in, at first nothing."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)
        for value in self.second.parameters():
            nn.init.zeros_(value)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w) → the same."""
        return x + self.second(F.gelu(self.first(F.gelu(x))))


def _grown(x: Tensor, like: Tensor) -> Tensor:
    """(B, C, h, w) at the height and width of another."""
    return F.interpolate(x, like.shape[2:], mode="bilinear", align_corners=False)


def load_locator(path: Path = LOCATOR) -> Locator:
    """The locator in a file that its training wrote: fp32, eval mode, frozen."""
    locator = Locator()
    locator.load_state_dict({name: value.float() for name, value in load_file(path).items()})
    locator.sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    locator = locator.to(memory_format=torch.channels_last)
    return locator.eval().requires_grad_(False)
