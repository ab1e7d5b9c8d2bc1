"""`clip.atlas/`: a fitted atlas as files, and read again without trust in them."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from ..errors import Text2LiveError, UsageError
from ..media.clips import Clip
from ..media.outside import whole_number
from ..media.tensor_files import (
    READ_ERRORS,
    parse_tensors,
    read_bytes,
    require_finite,
    write_tensors,
)
from . import ATLAS
from .grid import GridModel
from .layers import BACKGROUND, FRONT_FIRST, LAYERS, AtlasModel, Maps, Side
from .nla import NlaModel

PICTURES = tuple(f"{name}.png" for name in LAYERS)
"""The files of the atlas pictures, by layer."""
_FORMAT = "text2live-atlas/1"
_BY_LAYER = ("canvases", "corners")  # the facts that each layer has, in files by its name
_MAX_NUMBER = 2**31 - 1  # of a frame, or of a place on a canvas
_MAX_PIXELS = 2**30  # of a frame or canvas: memory is taken for them before tensors are compared


@dataclass(frozen=True)
class AtlasFacts:
    """What belongs to an atlas beside its tensors."""

    model: str
    size: tuple[int, int]
    """Working height and width."""
    frames: int
    """Of the fit: how many source frames, `first`, `first` + `every`, … and `last`."""
    first: int
    every: int
    rate: str
    """Of the source, as a fraction."""
    source: str
    """SHA-256 of the clip."""
    source_size: tuple[int, int]
    canvases: dict[Side, tuple[int, int]]
    """Height and width of each layer's atlas, atlas pixels."""
    corners: dict[Side, tuple[int, int]]
    """Left and top of each atlas picture on its canvas; a side without a picture is absent."""
    settings: dict[str, Any]
    last: int | None = None
    """The number of the last frame; None, in older files: as the others say."""


@dataclass(frozen=True)
class Atlas:
    """A fitted atlas."""

    model: AtlasModel
    facts: AtlasFacts
    digest: str = ""
    """SHA-256 of the file, of the very bytes that the model was read from: it tells fits apart."""

    @property
    def device(self) -> torch.device:
        """Where it is looked up and rendered."""
        return self.model.device

    def on(self, device: torch.device) -> Atlas:
        """The same, looked up and rendered on `device`."""
        return replace(self, model=self.model.on(device))

    @property
    def frames(self) -> list[int]:
        """The numbers of the fitted source frames."""
        facts = self.facts
        numbers = [facts.first + facts.every * t for t in range(facts.frames)]
        if facts.last is not None:
            numbers[-1] = facts.last
        return numbers

    def covers(self, frame: int) -> bool:
        """Whether source frame `frame` lies in the fitted range."""
        return self.frames[0] <= frame <= self.frames[-1]

    @cached_property
    def _for_edits(self) -> AtlasModel:
        return self.model.closed()

    def locate(self, frame: int, size: tuple[int, int]) -> Maps:
        """The maps of source frame `frame` as edits use them, (L, h, w, ...) at `size` (height,
        width).

        They are on the model's device; between fitted frames by interpolation.
        """
        t = (frame - self.facts.first) / self.facts.every
        before = self.facts.frames - 2
        if t > before:  # the last step may be a shorter one
            start = self.facts.first + self.facts.every * before
            t = before + (frame - start) / (self.frames[-1] - start)
        return self._for_edits.locate(t, size)

    def require_clip(self, clip: Clip, folder: Path) -> None:
        """Raise UsageError for a clip that the atlas, which `folder` holds, was not fitted to."""
        if clip.sha256 != self.facts.source:
            raise UsageError(
                f"{folder} was fitted to another clip than {clip.path} (or the clip was changed"
                " since): fit it again, or name the right --atlas-dir"
            )


def write_atlas(folder: Path, model: AtlasModel, facts: AtlasFacts) -> None:
    """Write the tensors and facts into `folder`, whole or not at all; raises Text2LiveError."""
    values = asdict(facts)
    for name in _BY_LAYER:
        values[name] = {LAYERS[s]: values[name][s] for s in FRONT_FIRST if s in values[name]}
    texts = {"format": _FORMAT, "facts": json.dumps(values)}
    write_tensors(folder / ATLAS, model.tensors(), texts)


def read_atlas(folder: Path) -> Atlas:
    """Read a fitted atlas. Raises UsageError where there is none, Text2LiveError for a bad file."""
    path = folder / ATLAS
    if not path.is_file():
        raise UsageError(f"{folder}: no atlas there (no {ATLAS}); run text2live fit-atlas first")
    try:
        data = read_bytes(path)
        tensors, texts = parse_tensors(data, _FORMAT)
        facts = _facts(json.loads(texts["facts"]))
        require_finite(tensors)
        return Atlas(_model(tensors, facts), facts, hashlib.sha256(data).hexdigest())
    except READ_ERRORS as error:
        raise Text2LiveError(
            f"{path}: no atlas of this program, or damaged; fit it again with --overwrite"
        ) from error


def _facts(values: dict[str, Any]) -> AtlasFacts:
    for name in ("size", "source_size"):
        values[name] = _pair(values[name])
    for name in _BY_LAYER:
        values[name] = {LAYERS.index(n): _pair(pair) for n, pair in values[name].items()}
    facts = AtlasFacts(**values)
    whole_number(facts.frames, 1, _MAX_NUMBER)
    whole_number(facts.first, 0, _MAX_NUMBER)
    whole_number(facts.every, 1, _MAX_NUMBER)
    if facts.last is not None:
        regular = facts.first + facts.every * (facts.frames - 1)
        whole_number(facts.last, regular - facts.every + 1, regular)
    for pair in (facts.size, facts.source_size, *facts.canvases.values()):
        if min(pair) < 1 or math.prod(pair) > _MAX_PIXELS:
            raise ValueError("an impossible size")
    return facts


def _pair(values: Any) -> tuple[int, int]:
    first, second = values
    low, high = -_MAX_NUMBER, _MAX_NUMBER
    return whole_number(first, low, high), whole_number(second, low, high)


def _model(tensors: dict[str, torch.Tensor], facts: AtlasFacts) -> AtlasModel:
    if facts.model == "nla":
        resolution = facts.canvases[BACKGROUND][0]
        return NlaModel.from_tensors(tensors, facts.size, facts.frames, resolution)
    if facts.model != "grid":
        raise ValueError(f"unknown model {facts.model}")
    return GridModel.from_tensors(tensors, facts.size, facts.frames, facts.canvases)
