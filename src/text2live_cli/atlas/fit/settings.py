"""What a user can ask of a fit, checked before any work is done."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from ...config import (
    DEVICES,
    MAX_SEED,
    MAX_SIZE,
    MAX_STEPS,
    NLA_RESOLUTION,
    NLA_WIDTH,
    Help,
    require_one_of,
    require_whole,
)
from ...errors import UsageError
from ...guide.hints import Hints, parse_hints
from ...guide.weights import DEFAULT_CLIP
from ...texts import require_text

if TYPE_CHECKING:
    from ...media.clips import Clip

MODELS = ("grid", "nla")
FLOWS = ("dis", "raft")
FILE_OPTIONS = ("masks", "clip_weights", "flow_dir", "import_nla", "export_nla")
"""The options that name a file or folder."""
MIN_SIZE = 64
"""Short side of the smallest fit, pixels."""
_CPU_SIZE, _GPU_SIZE = 240, 432  # working short side by default
_NUMBER = r"(?:[0-9]{1,9})"  # no frame and no pixel has a longer one


@dataclass(frozen=True, kw_only=True)
class FitSettings:
    """The options of `fit-atlas`, as given; None is "by default"."""

    frames: Annotated[str | None, Help("Frames to fit, from 0, B not included.", metavar="A:B")] = (
        None
    )
    every: Annotated[int, Help("Fit only every n-th frame; those between are interpolated.")] = 1
    size: Annotated[int | None, Help("Short side of the fit, pixels. Default: 240, GPU 432.")] = (
        None
    )
    masks: Annotated[
        Path | str | None,
        Help("Rough masks of the foreground, white: a folder of pictures or a video."),
    ] = None
    box: Annotated[
        str | None,
        Help("A box around the foreground in one frame, pixels or %.", metavar="X,Y,W,H[@FRAME]"),
    ] = None
    points: Annotated[
        Sequence[str],
        Help("A place on the foreground, pixels or %; repeatable.", "--point", "X,Y[@FRAME]"),
    ] = ()
    not_points: Annotated[
        Sequence[str], Help("A place beside it; repeatable.", "--not", "X,Y[@FRAME]")
    ] = ()
    foreground: Annotated[
        str | None, Help('What the foreground is: "car". Default: what moves.')
    ] = None
    foreground_hint: str | None = None  # the same, but all that moves where nothing fits it
    clip: Annotated[
        str, Help("Text-image encoder, for --foreground: open_clip's MODEL/TAG, or swatch.")
    ] = DEFAULT_CLIP
    clip_weights: Annotated[
        Path | str | None, Help("CLIP weights from a file: .safetensors or .pt.")
    ] = None
    flow: Annotated[str, Help("dis (built in) or raft (torchvision's weights).")] = "dis"
    flow_dir: Annotated[Path | str | None, Help("Folder of .flo or .npy flow to use instead.")] = (
        None
    )
    model: Annotated[str, Help("grid (fast) or nla (the published networks: hours).")] = "grid"
    import_nla: Annotated[
        Path | str | None, Help("Read a published checkpoint; no fit.", "--import")
    ] = None
    export_nla: Annotated[
        Path | str | None, Help("Also write a published checkpoint (--model nla).")
    ] = None
    steps: Annotated[int | None, Help("Steps of the fit.")] = None
    seed: Annotated[int, Help("Same seed, same result.")] = 0
    device: Annotated[str, Help("auto, cuda, mps or cpu.")] = "auto"

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
        pointer = "--box" if self.box else "--point"
        hints = {
            "--masks": self.masks,
            pointer: self.box or self.points,
            "--foreground": self.foreground,
        }
        flags = [flag for flag, value in hints.items() if value]
        if len(flags) > 1:
            raise UsageError(f"{' and '.join(flags)}: choose one")
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
    """The frames of the source that are fitted: `first`, `first` + `every`, … and `end` − 1."""

    first: int
    end: int
    every: int

    @property
    def numbers(self) -> list[int]:
        """Their numbers in the source, from 0."""
        numbers = list(range(self.first, self.end, self.every))
        return numbers if numbers[-1] == self.end - 1 else [*numbers, self.end - 1]


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


@dataclass(frozen=True)
class GridStart:
    """How finely a model is made; lengths in pixels of the working size."""

    background_spacing: float = 32.0  # pixels between the knots of a mapping
    background_period: float = 3.0  # frames between them
    foreground_spacing: float = 8.0
    foreground_period: float = 1.0
    levels: int = 3  # of a texture's pyramid


@dataclass(frozen=True)
class GridSettings:
    """All that decides a fit of the explicit model, lengths in pixels of the working size.

    Chosen on tennis and car-turn (docs/performance.md). A term's weight has the term's name.
    """

    steps: int = 650
    samples: int = 50_000  # a step: over all frames, and again over the foreground's boxes
    max_frames: int = 96  # that a step looks at
    start: GridStart = field(default_factory=GridStart)
    texture_rate: float = 0.015  # learning rates of Adam
    texture_eps: float = 3e-5  # texels that few samples see shall move little
    texture_hold: float = 1e-5  # weight decay: those that none sees stay at the start
    field_rate: float = 1.6
    affine_rate: float = 0.02
    opacity_rate: float = 0.25
    last_rate: float = 0.05  # share of the rates at the last step
    inside: float = 0.2  # share of the samples in the boxes in each term
    colour: float = 100.0
    flow: float = 0.3  # of each mapping
    opacity_flow: float = 0.2
    rigidity_foreground: float = 0.005
    rigidity_background: float = 0.5  # or it drifts where walls are bare
    fold: float = 125.0  # of each mapping
    bootstrap: float = 2.0
    bootstrap_left: float = 0.4  # share of it from the middle of the fit on
    halves: float = 0.5  # against opacities between 0 and 1; growing from nothing


@dataclass(frozen=True)
class NlaSettings:
    """The published numbers (for 70 frames of 768×432); a term's weight has the term's name."""

    steps: int = 400_000
    samples: int = 10_000  # pixels per step
    learning_rate: float = 1e-4
    width: int = NLA_WIDTH  # of the four networks
    resolution: int = NLA_RESOLUTION  # of either discretised atlas
    scale: float = 0.8  # of the identity that the mappings start from
    pretraining_rounds: int = 100  # over all frames
    colour: float = 5000.0
    gradient: float = 1000.0
    flow: float = 5.0  # of each mapping
    opacity_flow: float = 49.0
    rigidity: float = 1.0  # of each mapping
    global_rigidity_foreground: float = 5.0
    global_rigidity_background: float = 50.0
    global_rigidity_reach: int = 100  # pixels
    global_rigidity_until: int = 5_000  # steps
    sparsity: float = 1000.0
    bootstrap: float = 2000.0
    bootstrap_until: int = 10_000  # steps


def working_size(clip: Clip, settings: FitSettings, device: str) -> tuple[int, int]:
    """Height and width of a fit on a `device` of that type; never larger than the source."""
    short = settings.size or (_CPU_SIZE if device == "cpu" else _GPU_SIZE)
    scale = min(1.0, short / min(clip.height, clip.width))
    return round(clip.height * scale), round(clip.width * scale)
