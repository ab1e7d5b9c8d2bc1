"""The generator Gθ: a U-Net that turns a picture into an RGBA edit layer (paper, appendix A.1)."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..config import LEVELS
from .initial import draw_weights

SKIP_CHANNELS = 4

# Rows: three decorrelated colour axes in RGB, a fixed matrix of the authors' code.
COLOR_DECORRELATION = (
    (0.562828540802002, 0.5844758152961731, 0.5844758152961731),
    (0.31172043085098267, 0.0, -0.31172043085098267),
    (0.06927120685577393, -0.17317801713943481, 0.10390681028366089),
)


class Generator(nn.Module):
    """RGB (B, 3, H, W) in [0, 1] → edit layer (B, 4, H, W) in [0, 1], H and W at least `MIN_SIDE`.

    BatchNorm goes by the statistics of the picture at hand, in training and when rendering alike
    (docs/method.md), so that train and eval mode are one.
    """

    def __init__(
        self,
        channels: int = 128,
        channels_last: bool = True,
        rng: torch.Generator | None = None,
    ) -> None:
        """`channels_last` is the order in memory, which changes no more than speed and rounding.

        `rng` draws the weights (None: the random numbers of the process).
        """
        super().__init__()
        self.memory_format = torch.channels_last if channels_last else torch.contiguous_format
        widths = [3, *[channels] * LEVELS]
        self.skips = nn.ModuleList(Skip(width) for width in widths[:-1])
        self.downs = nn.ModuleList(Down(width, channels) for width in widths[:-1])
        self.ups = nn.ModuleList(Up(channels, last=level == 0) for level in range(LEVELS))
        self.head = Head(channels)
        draw_weights(self, rng)

    def forward(self, picture: Tensor) -> Tensor:
        """The edit layer of `picture`; sizes are equal."""
        skipped, x = [], picture.contiguous(memory_format=self.memory_format)
        for skip, down in zip(self.skips, self.downs, strict=True):
            skipped.append(skip(x))
            x = down(x)
        for up in reversed(self.ups):
            x = up(skipped.pop(), x)
        return self.head(x)


class Down(nn.Module):
    """Halve the size (rounding up): two 3×3 convolutions, the first with stride 2."""

    def __init__(self, inputs: int, channels: int) -> None:
        super().__init__()
        self.halve = conv3(inputs, channels, stride=2)
        self.halve_norm = norm(channels)
        self.refine = conv3(channels, channels)
        self.refine_norm = norm(channels)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) → (B, channels, ⌈H/2⌉, ⌈W/2⌉)."""
        x = activate(self.halve_norm(self.halve(x)))
        return activate(self.refine_norm(self.refine(x)))


class Skip(nn.Module):
    """What a level hands across: its input squeezed to four channels."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.squeeze = conv(inputs, SKIP_CHANNELS)
        self.norm = norm(SKIP_CHANNELS)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) → (B, 4, H, W)."""
        return activate(self.norm(self.squeeze(x)))


class Up(nn.Module):
    """Double the level below and merge it with the skip; the top level ends without a norm."""

    def __init__(self, channels: int, last: bool) -> None:
        super().__init__()
        self.merged_norm = norm(SKIP_CHANNELS + channels)
        self.merge = conv3(SKIP_CHANNELS + channels, channels)
        self.merge_norm = norm(channels)
        self.mix = conv(channels, channels)
        self.mix_norm = nn.Identity() if last else norm(channels)

    def forward(self, skip: Tensor, below: Tensor) -> Tensor:
        """(B, 4, H, W) and (B, channels, ⌈H/2⌉, ⌈W/2⌉) → (B, channels, H, W)."""
        doubled = F.interpolate(below, scale_factor=2, mode="bilinear", align_corners=False)
        x = self.merged_norm(concat_center_cropped(skip, doubled))
        x = activate(self.merge_norm(self.merge(x)))
        return activate(self.mix_norm(self.mix(x)))


class Head(nn.Module):
    """Four channels → RGBA in [0, 1], the colours through the fixed decorrelation matrix."""

    color_decorrelation: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.project = conv(channels, 4)
        self.register_buffer("color_decorrelation", torch.tensor(COLOR_DECORRELATION))

    def forward(self, x: Tensor) -> Tensor:
        """(B, channels, H, W) → (B, 4, H, W) float32."""
        color, alpha = self.project(x).float().split([3, 1], dim=1)
        mixing = self.color_decorrelation[None, :, :, None, None]
        color = (color[:, :, None] * mixing).sum(1)  # no matrix product, which autocast would round
        return torch.cat([color, alpha], dim=1).sigmoid()


def conv3(inputs: int, outputs: int, stride: int = 1) -> nn.Conv2d:
    """A 3×3 convolution with reflection padding."""
    return conv(inputs, outputs, 3, stride=stride, padding=1, padding_mode="reflect")


def conv(inputs: int, outputs: int, side: int = 1, **options: Any) -> nn.Conv2d:
    """A convolution whose weights the generator is to draw."""
    convolution: nn.Conv2d = nn.utils.skip_init(nn.Conv2d, inputs, outputs, side, **options)
    return convolution


def norm(channels: int) -> nn.BatchNorm2d:
    """BatchNorm over (B, channels, H, W) by the batch itself: running means are never kept."""
    return nn.BatchNorm2d(channels, track_running_stats=False)


def activate(x: Tensor) -> Tensor:
    """LeakyReLU(0.2) of any shape, in place: its argument is always fresh, which saves memory."""
    return F.leaky_relu(x, 0.2, inplace=True)


def concat_center_cropped(*branches: Tensor) -> Tensor:
    """Join (B, Cᵢ, Hᵢ, Wᵢ) over channels, each cropped at its centre to the smallest size."""
    height = min(branch.shape[2] for branch in branches)
    width = min(branch.shape[3] for branch in branches)
    return torch.cat([_center_crop(branch, height, width) for branch in branches], dim=1)


def _center_crop(x: Tensor, height: int, width: int) -> Tensor:
    top, left = (x.shape[2] - height) // 2, (x.shape[3] - width) // 2
    return x[:, :, top : top + height, left : left + width]
