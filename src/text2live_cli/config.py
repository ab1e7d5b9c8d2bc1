"""Every hyper-parameter, once: frozen dataclasses, the presets, and their validation.

A comment names the paper's value where ours differs from it (the paper's text, not its code).
"""

from __future__ import annotations

import dataclasses
import difflib
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from .errors import UsageError

DEVICES = ("auto", "cuda", "mps", "cpu")
PRECISIONS = ("auto", "fp32", "bf16", "fp16")
PLAIN, CHANNELS_LAST = "plain", "channels-last"
LAYOUTS = ("auto", PLAIN, CHANNELS_LAST)
TEXT_DISTANCES = ("spherical", "cosine")
REGIONS = ("auto", "paper")
LAMBDA = "lambda_"
"""Before the name of a term: the name of its weight."""
MIN_SIZE, MAX_SIZE = 192, 4096
"""Smallest working size: crops of 85 % at 0.8 of the scale must keep the generator's 129 px."""
MAX_LONG_SIDE = 8192
"""Of a long strip, at the smallest short side that can be trained on."""


LEVELS = 7
"""Of the generator: each halves the picture."""
MIN_SIDE = 2**LEVELS + 1
"""Pixels of the smallest side that the generator takes."""
NLA_WIDTH, NLA_RESOLUTION = 256, 2000
"""Of the published layered neural atlases: channels of a network, pixels a side of an atlas."""
MAX_STEPS = 1_000_000
"""Of a training; the longest published one, of layered neural atlases, takes 400,000."""
MAX_VIEWS = 4096
"""Memory ends long before; this is against a slip of the finger."""
MAX_SEED = 2**63 - 1
"""What torch's generators take."""
MAX_MINUTES = 7 * 24 * 60.0
MAX_THREADS = 1024
MAX_LAMBDA = 1e6  # beyond, fp32 gradients of the other terms are lost beside it
_TOLD_DIGITS = 40  # of a number that is refused


def _require(holds: bool, complaint: str) -> None:
    if not holds:
        raise UsageError(complaint)


def require_whole(flag: str, value: object, low: int, high: int) -> None:
    """Raise UsageError, naming the flag, where `value` is no whole number from `low` to `high`."""
    fits = isinstance(value, int) and low <= value <= high
    digits = f"{value}"[:_TOLD_DIGITS] if isinstance(value, int) else f"{value}"
    _require(fits, f"{flag} {digits}: must be a whole number from {low} to {high}")


BLEND_MODES = ("normal", "multiply", "screen", "overlay", "soft-light", "color", "luminosity")
"""How a layer's colour may meet the picture below (`media.blending`)."""

LAYERED_FORMATS = ("psd", "ora", "exr")
"""Files that hold the source and its layers apart (`media.layered_files`)."""


def require_one_of(flag: str, value: str, allowed: tuple[str, ...]) -> None:
    """Raise UsageError, naming the flag and the nearest value, where `value` is not allowed."""
    if value not in allowed:
        near = difflib.get_close_matches(value, allowed, n=1)
        hint = f" (did you mean {near[0]}?)" if near else ""
        raise UsageError(f"{flag} {value}: must be one of {', '.join(allowed)}{hint}")


class Help(NamedTuple):
    """What the command line says of an option: a part of its field's type, by `Annotated`."""

    text: str
    flag: str | None = None
    """Its name there, "-x/--long" for two; None: that of the field."""
    metavar: str | None = None
    panel: str | None = None
    hidden: bool = False
    """An alias of former versions: taken, but not told."""


@dataclass(frozen=True)
class LossWeights:
    """λ of each term of the objective; 0 leaves the term out (the paper's ablations)."""

    composition: float = 1.0
    direction: float = 1.0  # inside L_comp, weight 1 in the paper
    screen: float = 1.0
    structure: float = 2.0
    form: float = 0.0  # not in the paper: brightness keeps the source's shading
    sparsity: float = 0.06  # paper: 0.05
    sparsity_l1: float = 1.0  # γ, weight of mean |α| against Ψ₀ inside the sparsity; paper: 2
    bootstrap: float = 10.0
    keep: float = 10.0  # negative relevancy; not annealed


@dataclass(frozen=True)
class DatasetSettings:
    """The internal dataset: how a training example is drawn from the picture (appendix A.2)."""

    jitter_p: float = 0.1
    jitter: float = 0.1
    flip_p: float = 0.5
    min_scale: float = 0.8
    max_scale: float = 1.2
    min_crop: float = 0.85
    whole_every: int = 75  # steps between examples that hold the whole, undisturbed picture


VIDEO_DATASET = DatasetSettings(min_scale=1.0, max_scale=1.0, min_crop=0.95)
"""For crops of frames, which are not rescaled (docs/method.md; the paper's A.2 says 0.95)."""


@dataclass(frozen=True)
class Schedule:
    """MADGRAD and its learning rate, as functions of the share of the run that is done."""

    learning_rate: float = 2.5e-3
    decay: float = 0.99  # per step of a run of `decay_steps`
    decay_steps: int = 1000
    floor: float = 1e-5
    momentum: float = 0.9
    weight_decay: float = 0.01
    bootstrap_fades: bool = True  # linearly, to nothing at the last step

    def learning_rate_at(self, step: int, steps: int) -> float:
        """The rate of step `step` (from 0) of `steps`: shorter runs keep the long run's shape."""
        done = step * self.decay_steps / steps
        return max(self.floor, self.learning_rate * self.decay**done)

    def bootstrap_share_at(self, step: int, steps: int) -> float:
        """What is left of the bootstrapping at step `step` (from 0); nothing beyond `steps`."""
        return max(0.0, 1 - (step + 1) / steps) if self.bootstrap_fades else 1.0


@dataclass(frozen=True)
class EditSettings:
    """All that decides how a picture is edited, apart from the picture and the prompts."""

    preset: str = "paper"
    size: int = 512  # short side of the working picture, pixels
    channels: int = 128  # of the generator
    views: int = 16  # per picture and CLIP loss
    steps: int = 1000
    until_settled: bool = False  # end where the likeness to the text has stopped rising
    seed: int = 0
    alpha_cut: float = 2 / 255  # a delivered alpha under this is 0, over 1 − this it is 1
    outside_cut: float = 0.4  # the former, where it is sure that a text's region is not
    weights: LossWeights = LossWeights()
    text_distance: str = "spherical"  # paper: cosine
    internal_dataset: bool = True
    region: str = "paper"  # or "auto": found once, cut out along edges, in place of per example
    dataset: DatasetSettings = DatasetSettings()
    schedule: Schedule = Schedule()
    clip: str = "ViT-B-32-quickgelu/openai"
    precision: str = "auto"
    device: str = "auto"
    layout: str = "auto"  # of the generator in memory; measured by `layout.choose_layout`
    graphs: bool = True  # on CUDA, record steps and launch them whole (`engine.graphs`)

    def __post_init__(self) -> None:
        """Raise UsageError, naming the flag, where a value cannot work."""
        require_whole("--size", self.size, MIN_SIZE, MAX_SIZE)
        require_whole("--steps", self.steps, 1, MAX_STEPS)
        require_whole("--views", self.views, 1, MAX_VIEWS)
        require_whole("--seed", self.seed, 0, MAX_SEED)
        require_whole("--channels", self.channels, 1, MAX_SIZE)
        for name in ("alpha_cut", "outside_cut"):
            value = getattr(self, name)
            _require(0 <= value < 0.5, f"{name} {value}: must be from 0 to 0.5")
        for field in dataclasses.fields(self.weights):
            value = getattr(self.weights, field.name)
            flag = "--lambda-" + field.name.replace("_", "-")
            _require(
                0 <= value <= MAX_LAMBDA, f"{flag} {value}: must be from 0 to {MAX_LAMBDA:,.0f}"
            )
        require_one_of("--text-distance", self.text_distance, TEXT_DISTANCES)
        require_one_of("--region", self.region, REGIONS)
        require_one_of("--precision", self.precision, PRECISIONS)
        require_one_of("--device", self.device, DEVICES)
        require_one_of("--layout", self.layout, LAYOUTS)

    def uses_graphs(self, device: str) -> bool:
        """Whether steps on a device of this type are recorded."""
        return self.graphs and device == "cuda"


# The paper's numbers for videos.
VIDEO_WEIGHTS = LossWeights(structure=3.0, sparsity=5e-4, sparsity_l1=2.0)
VIDEO_SCHEDULE = Schedule(decay=0.999, decay_steps=3000, bootstrap_fades=False)

# For the embedded encoder, pictures and clips alike; chosen on photos (docs/region.md). The target
# is a region with edges, so it pulls to the end, and sparsity has little left to do. MADGRAD's
# steps shrink with all gradients so far: at the paper's learning rate, the colours hardly moved.
SWATCH_WEIGHTS = LossWeights(screen=1.5, structure=1.0, form=3.0, sparsity=0.05, bootstrap=10.0)
SWATCH_SCHEDULE = Schedule(learning_rate=0.03, decay_steps=150, bootstrap_fades=False)

SWATCH, VIT = "swatch", "ViT"
"""The kinds of encoder: the embedded one, and those of open_clip, whose steps cost much more."""
PICTURE, CLIP = "picture", "clip"
PRESET_NAMES = ("paper", "standard", "draft")
_VIDEO = EditSettings(weights=VIDEO_WEIGHTS, schedule=VIDEO_SCHEDULE, dataset=VIDEO_DATASET)
_STANDARD: dict[str, Any] = {"preset": "standard", "size": 320, "region": "auto"}
# So few steps do not bring a sigmoid nearer to its ends than this alpha_cut.
_DRAFT: dict[str, Any] = {
    "preset": "draft",
    "size": 192,
    "channels": 32,
    "alpha_cut": 0.06,
    "region": "auto",
}
_DRAFT_SCHEDULE = Schedule(decay_steps=400)  # so few steps need their learning rate to the end
_SWATCH: dict[str, Any] = {"weights": SWATCH_WEIGHTS, "schedule": SWATCH_SCHEDULE}
# Fewer steps, which end at a twentieth of their learning rate: 85 of a picture for 120, 120 of a
# clip for 240. With 80, a few pictures stayed short of their look (docs/performance.md).
_SHORT: dict[str, Any] = {**_SWATCH, "schedule": replace(SWATCH_SCHEDULE, decay_steps=300)}

PRESETS: dict[tuple[str, str, str], EditSettings] = {
    (PICTURE, "paper", VIT): EditSettings(),
    (PICTURE, "paper", SWATCH): replace(EditSettings(), **_SWATCH),
    (PICTURE, "standard", VIT): replace(EditSettings(), **_STANDARD, views=8, steps=400),
    (PICTURE, "standard", SWATCH): replace(
        EditSettings(), **_STANDARD, views=8, steps=400, **_SWATCH
    ),
    (PICTURE, "draft", VIT): replace(
        EditSettings(), **_DRAFT, views=4, steps=60, schedule=_DRAFT_SCHEDULE
    ),
    (PICTURE, "draft", SWATCH): replace(EditSettings(), **_DRAFT, views=6, steps=85, **_SHORT),
    (CLIP, "paper", VIT): replace(_VIDEO, size=432, views=6, steps=3000),
    (CLIP, "paper", SWATCH): replace(_VIDEO, size=432, views=6, steps=3000, **_SWATCH),
    (CLIP, "standard", VIT): replace(_VIDEO, **_STANDARD, views=4, steps=600),
    (CLIP, "standard", SWATCH): replace(_VIDEO, **_STANDARD, views=4, steps=600, **_SWATCH),
    (CLIP, "draft", VIT): replace(_VIDEO, **_DRAFT, views=3, steps=120),
    (CLIP, "draft", SWATCH): replace(_VIDEO, **_DRAFT, views=3, steps=120, **_SHORT),
}
"""What is edited, the preset's name and the kind of encoder → the values of the preset."""


def presets_in_words(medium: str) -> str:
    """The presets of a medium with their sizes and steps, for a help text."""
    words = []
    for name in PRESET_NAMES:
        settings, embedded = PRESETS[medium, name, VIT], PRESETS[medium, name, SWATCH]
        steps = f"{settings.steps} steps"
        if embedded.steps != settings.steps:
            steps += f", with swatch {embedded.steps}"
        words.append(f"{name} ({settings.size} px, {steps})")
    return f"{', '.join(words[:-1])} or {words[-1]}"


def weight_in_words(name: str) -> str:
    """The default λ of a term, for a help text: for pictures, clips, and with swatch."""
    picture, clip, swatch = (
        f"{getattr(weights, name):g}" for weights in (LossWeights(), VIDEO_WEIGHTS, SWATCH_WEIGHTS)
    )
    words = picture if clip == picture else f"{picture}, on clips {clip}"
    return words if swatch == picture == clip else f"{words}, with swatch {swatch}"


def resolve_settings(preset: str, clip: str, **overrides: Any) -> EditSettings:
    """The preset's values for a picture and the encoder `clip`, with every override not None.

    Overrides are named as in `EditSettings`, and λ's as in `LossWeights` after "lambda_". Raises
    UsageError for a name that is neither.
    """
    return _overridden(_preset(PICTURE, preset, clip), overrides)


def resolve_video_settings(
    preset: str, clip: str, foreground: bool, **overrides: Any
) -> EditSettings:
    """The same for a layer of a clip.

    The authors' code does not bootstrap the background (docs/method.md); with the embedded
    encoder it is.
    """
    settings = _preset(CLIP, preset, clip)
    if clip != SWATCH and not foreground:
        settings = replace(settings, weights=replace(settings.weights, bootstrap=0.0))
    return _overridden(settings, overrides)


def _preset(medium: str, preset: str, clip: str) -> EditSettings:
    require_one_of("--preset", preset, PRESET_NAMES)
    kind = SWATCH if clip == SWATCH else VIT
    return replace(PRESETS[medium, preset, kind], clip=clip)


def _overridden(settings: EditSettings, overrides: dict[str, Any]) -> EditSettings:
    changes = {name: value for name, value in overrides.items() if value is not None}
    names = [field.name for field in dataclasses.fields(EditSettings)]
    lambdas = {LAMBDA + field.name: field.name for field in dataclasses.fields(LossWeights)}
    for name in changes:
        require_one_of("setting", name, (*names, *lambdas))
    changed = {lambdas[name]: value for name, value in changes.items() if name in lambdas}
    weights = replace(settings.weights, **changed)
    rest = {name: value for name, value in changes.items() if name not in lambdas}
    return replace(settings, weights=weights, **rest)
