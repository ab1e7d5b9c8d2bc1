"""What an edit of a clip is trained on: its atlas, or, as a baseline of the paper, its frames."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..atlas.discretise import AtlasPicture, discretise
from ..atlas.footage import stacked
from ..atlas.layers import LAYERS, OPAQUE, Side, pixel_ratio
from ..atlas.render import Layer, lay_over_frame
from ..atlas.store import Atlas
from ..config import MIN_SIDE, DatasetSettings, EditSettings
from ..device import here_or_on_cpu, wants_few_sizes
from ..engine.internal_dataset import Example, InternalDataset
from ..engine.steps import Dataset
from ..engine.training import Trainer
from ..errors import UsageError
from ..media.clips import Clip
from ..media.samples import to_uint
from ..progress import Progress, Silent
from .dataset import AtlasDataset, atlas_layer
from .footage import WorkingAtlas, gather_footage, mask_box, read_frames, seen_whole
from .frames import training_size
from .result import AtlasEdit

_PAPER_ATLAS = 2000  # pixels of its longer side, at least as fine as the frames
_ATLAS_CROP = 1.5  # plain frames' worth of pixels that an atlas crop may have, but in `paper`
_SAMPLES = 8  # frames whose maps stand for all
_MOST_ENLARGED = 3.0  # times the size asked for, since all frames are held in memory


@dataclass(frozen=True)
class AtlasScene:
    """A clip with its atlas, and the layer of it that is edited (§3.2)."""

    clip: Clip
    atlas: Atlas
    side: Side
    picture: AtlasPicture
    """The layer's atlas."""
    frames: NDArray[np.uint8]
    """The fitted frames at the size of the training, (T, h, w, 3)."""
    working: WorkingAtlas
    """The layer's atlas at the size of the training."""
    below: Sequence[tuple[Side, Layer]] = ()
    """Layers of earlier results, to be rendered with the edit."""
    as_picture: bool = False
    """The paper's baseline "atlas": it is trained on as if it were a photo (§5)."""
    region: Example | None = None
    """The working atlas with the region of the edit, unless that is looked for in every example."""
    matte: Tensor | None = None
    """(1, 1, H, W) in [0, 1] of the working atlas: what the delivered alpha is multiplied by."""
    outside: Tensor | None = None
    """(1, 1, H, W) in [0, 1] of the working atlas: where faint alpha is not delivered."""

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the frames that are trained on."""
        return self.frames.shape[1], self.frames.shape[2]

    def dataset(self, settings: EditSettings) -> Dataset:
        """Crops of the atlas seen in three frames; in the baseline, crops of the atlas alone."""
        augment = settings.internal_dataset
        few_sizes = wants_few_sizes(self.working.color.device)
        if self.as_picture:
            whole = self.region or Example(self.working.color)
            return InternalDataset(whole, DatasetSettings(), augment, few_sizes)
        numbers = self.atlas.frames
        footage = gather_footage(
            self.side, self.working, self.frames, lambda t: self.atlas.locate(numbers[t], self.size)
        )
        height, width = training_size(self.clip, settings)
        limit = None if settings.preset == "paper" else round(_ATLAS_CROP * height * width)
        return AtlasDataset(footage, settings.dataset, augment, limit, self.region, few_sizes)

    def edit(self, trainer: Trainer, progress: Progress | None = None) -> AtlasEdit:
        """The layer on the whole atlas, as it is saved."""

        def paint_on(device: torch.device) -> tuple[WorkingAtlas, AtlasPicture]:
            """The atlas as fine as its picture, and the edit on it, computed on `device`."""
            generator, precision = trainer.generator_on(device)
            working = self.working.on(device)
            source = working.finer(self.picture)
            maps = (None if x is None else x.to(device) for x in (self.matte, self.outside))
            cuts = trainer.settings.alpha_cut, trainer.settings.outside_cut
            with precision.autocast(device):
                return source, atlas_layer(generator, working, source, *cuts, *maps)

        source, layer = here_or_on_cpu(paint_on, trainer.device, progress or Silent())
        height, width = layer.rgba.shape[:2]
        cover = cv2.resize(
            self.picture.rgba[..., 3], (width, height), interpolation=cv2.INTER_NEAREST
        )
        before = np.dstack([_colors(source), cover])
        return AtlasEdit(self.clip, self.atlas, self.side, layer, source.scale, before, self.below)

    def preview(self, trainer: Trainer) -> NDArray[np.uint8]:
        """One frame under the edit, (h, w, 3), at the size of the training: it shows the layer."""
        numbers = self.atlas.frames
        tried = {t: self.atlas.locate(numbers[t], self.size) for t in _samples(len(numbers))}
        best = max(tried, key=lambda t: float(tried[t].share[self.side].mean()))
        frame, edit = self.frames[best], self.edit(trainer)
        for layers in stacked([*self.below, (self.side, edit.layer)]):
            moved = {side: layer.on(self.atlas.device) for side, layer in layers.items()}
            frame = lay_over_frame(frame, tried[best], moved)
        return frame


def prepare_atlas_scene(
    clip: Clip,
    atlas: Atlas,
    side: Side,
    settings: EditSettings,
    device: torch.device,
    progress: Progress,
    below: Sequence[tuple[Side, Layer]] = (),
    as_picture: bool = False,
) -> AtlasScene:
    """Read the fitted frames, and the layer's atlas, at the size of the training.

    Raises UsageError where the clip has no such layer.
    """
    picture = discretise(atlas.model, side) if side in atlas.facts.corners else None
    if picture is None:
        raise UsageError(
            f"--atlas: {clip.path} has no {LAYERS[side]}: nothing moves in it; edit the other"
        )
    size = training_size(clip, settings)
    samples = [atlas.frames[t] for t in _samples(len(atlas.frames))]
    if not seen_whole(side):
        plain = size
        size = _enlarged(size, clip, [atlas.locate(number, size).share[side] for number in samples])
        if size != plain:
            progress.message(f"the {LAYERS[side]} is small: trained at {size[1]}×{size[0]}")
    frames = read_frames(clip, atlas.frames, size, progress)
    ratios = [pixel_ratio(atlas.locate(number, size), side) for number in samples]
    sizes = [ratio for ratio in ratios if ratio > 0]
    finest = 1 / float(np.median(sizes)) if sizes else 1.0
    if settings.preset == "paper":
        finest = max(finest, _PAPER_ATLAS / max(atlas.model.canvas(side)))
    working = WorkingAtlas.of(picture, finest, device)
    return AtlasScene(clip, atlas, side, picture, frames, working, below, as_picture)


def _samples(count: int) -> range:
    """Of `count` frames those whose maps stand for all."""
    return range(0, count, max(1, count // _SAMPLES))


def _enlarged(size: tuple[int, int], clip: Clip, shares: list[Tensor]) -> tuple[int, int]:
    """So much larger, as far as the source goes, that half of a layer's boxes fill a crop.

    `shares` (h, w) are the layer's in some frames. A crop has `MIN_SIDE` px at least; around less,
    most of it would be black.
    """
    boxes = [mask_box(share.cpu().numpy() > OPAQUE, least=1) for share in shares]
    sides = [min(box.height, box.width) for box in boxes if box is not None]
    if not sides:
        return size
    times = min(MIN_SIDE / float(np.median(sides)), clip.height / size[0], _MOST_ENLARGED)
    if times <= 1:
        return size
    scale = times * size[0] / clip.height
    return min(clip.height, round(clip.height * scale)), min(clip.width, round(clip.width * scale))


def _colors(atlas: WorkingAtlas) -> NDArray[np.uint8]:
    return to_uint(atlas.color[0].permute(1, 2, 0).cpu().numpy(), 255)
