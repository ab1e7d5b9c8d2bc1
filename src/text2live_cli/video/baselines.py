"""The paper's baseline "frames": trained on the frames of a clip, without an atlas (§5)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from ..atlas.footage import EditedFrame
from ..config import DatasetSettings, EditSettings
from ..device import wants_few_sizes
from ..engine.delivery import render_at, snap_alpha
from ..engine.edit_layer import GREEN_SCREEN
from ..engine.generator import Generator
from ..engine.internal_dataset import Example, InternalDataset, PictureExamples
from ..engine.steps import Dataset
from ..engine.training import Trainer
from ..media.clips import Clip
from ..media.compositing import lay_over
from ..media.samples import to_uint
from ..progress import Progress
from .footage import read_frames
from .frames import training_size


class FramesDataset:
    """The paper's baseline "frames": all frames are pictures of one internal dataset."""

    def __init__(
        self,
        frames: NDArray[np.uint8],
        settings: DatasetSettings,
        augment: bool,
        device: torch.device | str = "cpu",
        few_sizes: bool = False,
    ) -> None:
        """`frames` (T, h, w, 3), RGB, go to `device`; without `augment` all steps are alike.

        `few_sizes` is for the crops, as in `InternalDataset`.
        """
        self.frames = torch.from_numpy(frames).permute(0, 3, 1, 2).contiguous().to(device)
        self.settings = settings
        self.augment = augment
        self.few_sizes = few_sizes

    def examples(self, step: int, rng: torch.Generator) -> PictureExamples:
        """As for a picture, of a frame drawn by chance (without augmentation the middle one)."""
        t = len(self.frames) // 2
        if self.augment:
            t = int(torch.randint(len(self.frames), (1,), generator=rng))
        whole = Example(self.frames[t : t + 1].float() / 255, None)
        dataset = InternalDataset(whole, self.settings, self.augment, self.few_sizes)
        return dataset.examples(step, rng)


@torch.no_grad()
def frame_layer(
    generator: Generator,
    frame: NDArray[np.uint8],
    size: tuple[int, int],
    device: torch.device,
    alpha_cut: float,
) -> NDArray[np.uint8]:
    """The edit of one frame (H, W, 3) by itself, trained at `size`: straight RGBA (H, W, 4).

    What the baseline "frames" delivers. To be called in the training's autocast.
    """
    source = torch.from_numpy(frame).to(device).permute(2, 0, 1)[None].float() / 255
    working = F.interpolate(source, size, mode="bilinear", antialias=True)
    layer = render_at(generator, source, working)
    rgba = torch.cat([layer.color, snap_alpha(layer.alpha, alpha_cut)], dim=1)
    return to_uint(rgba[0].permute(1, 2, 0).float().cpu().numpy(), 255)


@dataclass(frozen=True)
class FramesScene:
    """A clip without an atlas: the paper's baseline "frames"."""

    clip: Clip
    frames: NDArray[np.uint8]
    """All frames at the size of the training, (T, h, w, 3)."""
    device: torch.device

    def dataset(self, settings: EditSettings) -> Dataset:
        """All frames as one internal dataset."""
        few_sizes, augment = wants_few_sizes(self.device), settings.internal_dataset
        return FramesDataset(self.frames, DatasetSettings(), augment, self.device, few_sizes)

    def edit(self, trainer: Trainer, progress: Progress | None = None) -> FramesEdit:
        """The generator, run frame by frame."""
        return FramesEdit(self.clip, trainer, (self.frames.shape[1], self.frames.shape[2]))

    def preview(self, trainer: Trainer) -> NDArray[np.uint8]:
        """The edited middle frame (h, w, 3), at the size of the training."""
        frame = self.frames[len(self.frames) // 2]
        return lay_over(frame, self.edit(trainer).layer_of(frame))


def prepare_frames_scene(
    clip: Clip, settings: EditSettings, device: torch.device, progress: Progress
) -> FramesScene:
    """Read all frames at the size of the training. Raises UsageError and Text2LiveError where that
    cannot be done.
    """
    size = training_size(clip, settings)
    return FramesScene(clip, read_frames(clip, range(clip.count), size, progress), device)


@dataclass(frozen=True)
class FramesEdit:
    """The paper's baseline "frames": the generator is run on every frame by itself."""

    clip: Clip
    trainer: Trainer
    size: tuple[int, int]
    """Height and width that were trained on."""

    def frames(self) -> Iterator[EditedFrame]:
        """Every frame under the generator's layer of it, and that layer by itself."""
        green = to_uint(np.array(GREEN_SCREEN), 255)
        for frame in self.clip.frames():
            layer = self.layer_of(frame)
            plain = np.broadcast_to(green, frame.shape)
            yield EditedFrame(lay_over(frame, layer), lay_over(plain, layer), layer)

    def layer_of(self, frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The generator's layer of one frame (h, w, 3), straight RGBA (h, w, 4)."""
        trainer = self.trainer
        with torch.no_grad(), trainer.precision.autocast(trainer.device):
            return frame_layer(
                trainer.generator, frame, self.size, trainer.device, trainer.settings.alpha_cut
            )
