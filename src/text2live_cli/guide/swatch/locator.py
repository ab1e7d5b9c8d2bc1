"""The locator of `swatch`: what each spot of a picture shows, far finer than its patches.

A tower like the encoder's, whose tokens are brought together with its stem's features at 1/8 and
1/4 of the picture, as in a feature pyramid. What it gives is compared with texts as `swatch` embeds
them. It only says where an edit is to be; it guides none.
"""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn

from .model import folded, normalise, positions
from .towers import ModelSettings, VisionTower

LOCATOR = Path(__file__).with_name("locator.safetensors")
CELL = 4
"""Pixels of a side of what one embedding stands for."""
_WIDTHS = (96, 64, 48)  # at 1/16, 1/8 and 1/4 of the picture


class Locator(nn.Module):
    """(B, 3, H, W) in 0..1 → (B, H/4, W/4, E): logits, once multiplied with normalised texts.

    Height and width are multiples of 16.
    """

    def __init__(self, settings: ModelSettings | None = None) -> None:
        super().__init__()
        settings = settings or ModelSettings()
        width, embedding = settings.vision_width, settings.embedding
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

    def forward(self, pictures: Tensor) -> Tensor:
        """See the class."""
        quarter, eighth, tokens = self._tower(pictures)
        x = self.coarse(self.from_tokens(tokens))
        x = self.middle(_grown(self.to_middle(x), eighth) + self.from_eighth(eighth))
        x = _grown(self.to_fine(x), quarter) + self.from_quarter(quarter)
        x = self.project(F.gelu(x + self.fine(F.gelu(x))))
        patches = torch.einsum("bchw,ce->behw", tokens, self.tower.proj)
        return self.scale * F.normalize(x + _grown(patches, x), dim=1).permute(0, 2, 3, 1)

    def _tower(self, pictures: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Features (B, C, h, w) at 1/4 and 1/8, and the tokens at 1/16."""
        tower = self.tower
        quarter = tower.conv1[:4](normalise(pictures))
        eighth = tower.conv1[4:6](quarter)
        grid = tower.conv1[6:](eighth)
        x = grid.flatten(2).transpose(1, 2)
        x = torch.cat([tower.class_embedding.expand(len(x), 1, -1), x], dim=1)
        table = positions(tower.positional_embedding, tower.grid_size, grid.shape[2:])
        x = tower.ln_post(tower.transformer(tower.ln_pre(x + table)))
        return quarter, eighth, x[:, 1:].transpose(1, 2).unflatten(2, grid.shape[2:])


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
    """The trained locator: fp32, eval mode, frozen."""
    locator = Locator()
    locator.load_state_dict({name: value.float() for name, value in load_file(path).items()})
    locator = locator.to(memory_format=torch.channels_last)
    return locator.eval().requires_grad_(False)
