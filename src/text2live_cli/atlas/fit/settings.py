"""What a user can ask of a fit, checked before any work is done."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ...config import (
    DEVICES,
    MAX_SEED,
    MAX_SIZE,
    MAX_STEPS,
    require_one_of,
    require_whole,
)
from ...errors import UsageError
from ...guide.hints import Hints, parse_hints
from ...media.clips import Clip
from ...texts import require_text
from .grid_fit import GridSettings
from .nla_losses import NlaSettings

MODELS = ("grid", "nla")
FLOWS = ("dis", "raft")
FILE_OPTIONS = ("masks", "clip_weights", "flow_dir", "import_nla", "export_nla")
"""The options that name a file or folder."""
MIN_SIZE = 64
"""Short side of the smallest fit, pixels."""
_NUMBER = r"(?:[0-9]{1,9})"  # no frame and no pixel has a longer one


@dataclass(frozen=True)
class FitSettings:
    """The options of `fit-atlas`, as given; None is "by default"."""

    frames: str | None = None  # "A:B", 0-based, B excluded
    every: int = 1
    size: int | None = None  # short side of the fit, pixels
    masks: Path | None = None
    box: str | None = None  # "X,Y,W,H" or "X,Y,W,H@FRAME", pixels or per cent of the source
    points: Sequence[str] = ()  # "X,Y" or "X,Y@FRAME", on the foreground
    not_points: Sequence[str] = ()  # and beside it
    foreground: str | None = None  # a text
    foreground_hint: str | None = None  # the same, but all that moves where nothing fits it
    clip: str = "ViT-B-32-quickgelu/openai"  # the encoder that finds it
    clip_weights: Path | None = None
    flow: str = "dis"
    flow_dir: Path | None = None
    model: str = "grid"
    import_nla: Path | None = None
    export_nla: Path | None = None
    steps: int | None = None
    seed: int = 0
    device: str = "auto"

    def __post_init__(self) -> None:
        """Raise UsageError, naming the option, where a value cannot work."""
        require_text("--foreground", self.foreground)
        for name in FILE_OPTIONS:
            if (value := getattr(self, name)) is not None:
                object.__setattr__(self, name, Path(value))
        for name in ("points", "not_points"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        if self.import_nla:
            object.__setattr__(self, "model", "nla")  # it holds nothing else
        require_one_of("--model", self.model, MODELS)
        require_one_of("--flow", self.flow, FLOWS)
        require_one_of("--device", self.device, DEVICES)
        for flag, value in (("--every", self.every), ("--steps", self.steps)):
            if value is not None:
                require_whole(flag, value, 1, MAX_STEPS)
        require_whole("--seed", self.seed, 0, MAX_SEED)
        if self.size is not None:
            require_whole("--size", self.size, MIN_SIZE, MAX_SIZE)
        pointed = "--box" if self.box else "--point"
        given = {
            "--masks": self.masks,
            pointed: self.box or self.points,
            "--foreground": self.foreground,
        }
        named = [flag for flag, value in given.items() if value]
        if len(named) > 1:
            raise UsageError(f"{' and '.join(named)}: choose one")
        if self.export_nla and self.model != "nla":
            raise UsageError("--export-nla: the published format holds --model nla only")
        if self.import_nla and self.export_nla:
            raise UsageError("--export-nla: what --import names is such a checkpoint already")
        if self.import_nla and self.steps is not None:
            raise UsageError("--import is a finished fit: it takes no --steps")

    def resolved(self) -> GridSettings | NlaSettings:
        """The settings of the model, with the number of steps that was asked for."""
        if self.model == "nla":
            return NlaSettings(steps=self.steps or NlaSettings.steps)
        return GridSettings(steps=self.steps or GridSettings.steps)


@dataclass(frozen=True)
class Span:
    """The source's frames that are fitted: `first`, `first` + `every`, … before `end`."""

    first: int
    end: int
    every: int

    @property
    def numbers(self) -> list[int]:
        """Their numbers in the source, from 0."""
        return list(range(self.first, self.end, self.every))


def choose_span(settings: FitSettings, clip: Clip) -> Span:
    """The frames to fit. Raises UsageError where the clip has not two of them."""
    first, end = 0, clip.count
    if settings.frames is not None:
        match = re.fullmatch(rf"({_NUMBER}?):({_NUMBER}?)", settings.frames.strip())
        if match is None:
            raise UsageError(f"--frames {settings.frames[:60]}: must be A:B, such as 0:40")
        first = int(match[1] or 0)
        end = int(match[2] or clip.count)
        if not first < end <= clip.count:
            raise UsageError(
                f"--frames {settings.frames}: {clip.path} has the frames 0:{clip.count}"
            )
    span = Span(first, end, settings.every)
    if len(span.numbers) < 2:
        raise UsageError(
            f"{clip.path}: {len(span.numbers)} frame to fit; it takes at least two"
            " (a single picture: text2live edit-image)"
        )
    return span


def fit_hints(settings: FitSettings, span: Span, clip: Clip) -> Hints:
    """What the user points at, all on one fitted frame. Raises UsageError, naming the option."""
    return parse_hints(
        (clip.height, clip.width),
        settings.box,
        settings.points,
        settings.not_points,
        range(span.first, span.end),
    )
