"""What can be asked of each command, once: from these the command line, the Python signatures, the
checks and run.json are made. A field with a `Help` is an option or an argument of the command line.
"""

from __future__ import annotations

import functools
import inspect
import shlex
from collections.abc import Callable, Sequence
from dataclasses import KW_ONLY, Field, dataclass, fields
from pathlib import Path
from typing import Annotated, Any, ParamSpec, TypeVar, get_args, get_type_hints

from ..atlas.fit.settings import FitSettings
from ..config import CLIP, LAMBDA, PICTURE, Help, LossWeights, presets_in_words, require_one_of
from ..errors import UsageError
from ..guide.swatch.vocabulary import CONCEPTS
from ..guide.weights import DEFAULT_CLIP
from ..media.files import sha256_of
from ..progress import Progress
from ..texts import check_texts, require_text, shown_path

_LAYER_NAMES = {"foreground": "fg", "background": "bg"}
METHOD = "Method"
"""Heading of the options that only those need who know the paper."""
ENCODER = (
    "Text-image encoder: open_clip's MODEL/TAG, or `swatch`, the small one in the package, which"
    f" works offline: {sum(map(len, CONCEPTS.values()))} concepts (objects, materials, colours,"
    " effects), learned from painted scenes. For photos and free text use a ViT-B/32."
)
_WEIGHTS = Help("CLIP weights from a file: .safetensors or .pt.")
_OVERWRITE = Help("Replace an existing result.")
_CHECKPOINTS = Help(
    "Write a checkpoint this often. Default: every minute or 5 % of the run.", metavar="SECONDS"
)
_PAPER = "Default: paper on a GPU, else draft."
_BOX = Help("A box around what is edited, in pixels or per cent.", metavar="X,Y,W,H")
_POINT = Help("A place on it, in pixels or per cent (40%,25%); repeatable.", "--point", "X,Y")
_NOT = Help("A place beside it, not to be edited; repeatable.", "--not", "X,Y")
_MASK = Help("A picture of the same shape: white may be edited, grey partly.")


def _weight(what: str) -> Help:
    return Help(f"Weight of {what}; 0: without.", metavar="λ", panel=METHOD)


def _without(what: str) -> Help:
    return Help(f"Ablation: without {what}.", panel=METHOD)


Parameters = ParamSpec("Parameters")
Options = TypeVar("Options")
Result = TypeVar("Result")


@dataclass(frozen=True)
class EditOptions:
    """What edits of pictures and of clips have in common.

    Raises UsageError, naming the option, for texts that no encoder should see.
    """

    source: Annotated[Path | str, Help("The picture or clip.")]
    prompt: Annotated[str, Help('What to make of it: "oreo cake".')]
    _: KW_ONLY
    roi: Annotated[
        str | None, Help('What is in the picture now: "cake". Default: taken from PROMPT.')
    ] = None
    screen: Annotated[
        str | None, Help('The edit by itself, for effects: "fire". Default: PROMPT.')
    ] = None
    also: Annotated[Sequence[str], Help("Another PROMPT for the same edit; repeatable.")] = ()
    keep: Annotated[Sequence[str], Help("What must stay as it is; repeatable.")] = ()
    region: Annotated[
        str | None,
        Help(
            "auto (found once from the text, cut out along edges) or paper (looked for in every"
            " training example). Default: auto, but with the preset paper: paper."
        ),
    ] = None
    output: Annotated[Path | str | None, Help("Folder of the result.", flag="-o/--output")] = None
    overwrite: Annotated[bool, _OVERWRITE] = False
    resume: Annotated[bool, Help("Go on with a stopped run.")] = False
    clip: Annotated[str, Help(ENCODER)] = DEFAULT_CLIP
    clip_weights: Annotated[Path | str | None, _WEIGHTS] = None
    size: Annotated[int | None, Help("Short side of the training, pixels.")] = None
    steps: Annotated[int | None, Help("Steps of the training.")] = None
    minutes: Annotated[
        float | None, Help("As many steps as fit into this time, instead of --steps.")
    ] = None
    views: Annotated[int | None, Help("Views that CLIP sees of each picture.")] = None
    seed: Annotated[int | None, Help("Same seed, same result. Default: 0.")] = None
    device: Annotated[str | None, Help("auto, cuda, mps or cpu.")] = None
    precision: Annotated[str | None, Help("auto, fp32, bf16 or fp16.")] = None
    save_every: Annotated[int | None, Help("Keep a preview of every so many steps.")] = None
    checkpoint_every: Annotated[float | None, _CHECKPOINTS] = None
    channels: Annotated[
        int | None, Help("Width of the generator. Default: 128, in a draft 32.", panel=METHOD)
    ] = None
    layout: Annotated[
        str | None,
        Help(
            "Of the generator in memory: plain, channels-last, or auto, the faster one here.",
            panel=METHOD,
        ),
    ] = None
    text_distance: Annotated[
        str | None, Help("spherical (default) or cosine, as printed.", panel=METHOD)
    ] = None
    lambda_composition: Annotated[float | None, _weight("the text in the composite")] = None
    lambda_screen: Annotated[float | None, _weight("the text in the layer over green")] = None
    lambda_structure: Annotated[float | None, _weight("the source's structure")] = None
    lambda_form: Annotated[float | None, _weight("the source's shading")] = None
    lambda_sparsity: Annotated[float | None, _weight("a small layer")] = None
    lambda_sparsity_l1: Annotated[
        float | None, Help("γ, of mean |α| inside the sparsity.", metavar="γ", panel=METHOD)
    ] = None
    lambda_bootstrap: Annotated[float | None, _weight("the pull to the region")] = None
    lambda_direction: Annotated[float | None, _weight("the way from ROI to PROMPT")] = None
    lambda_keep: Annotated[float | None, _weight("leaving what --keep names")] = None
    no_structure: Annotated[bool, _without("the structure term")] = False
    no_sparsity: Annotated[bool, _without("the sparsity")] = False
    no_screen: Annotated[bool, _without("the term of the layer over green")] = False
    no_bootstrap: Annotated[bool, _without("the pull to the region")] = False
    no_internal_dataset: Annotated[bool, _without("crops and disturbances")] = False
    progress: Progress | None = None

    def __post_init__(self) -> None:
        """Raise UsageError where a text cannot be used."""
        check_texts(self.prompt, self.roi, self.screen, self.also, self.keep)
        for one in fields(self):
            if isinstance(getattr(self, one.name), list):
                object.__setattr__(self, one.name, tuple(getattr(self, one.name)))

    def overrides(self) -> dict[str, Any]:
        """What replaces the preset's values, as `config.resolve_settings` takes it."""
        names = ("region", "size", "steps", "views", "seed", "device", "precision", "channels")
        values = {name: getattr(self, name) for name in (*names, "layout", "text_distance")}
        for term in fields(LossWeights):
            name = LAMBDA + term.name
            values[name] = 0.0 if getattr(self, f"no_{term.name}", False) else getattr(self, name)
        values["internal_dataset"] = False if self.no_internal_dataset else None
        return values


@dataclass(frozen=True)
class ImageOptions(EditOptions):
    """Of `edit-image`."""

    source: Annotated[Path | str, Help("The picture: JPEG, PNG, WebP, TIFF, GIF, BMP.")]
    _: KW_ONLY
    preset: Annotated[str | None, Help(f"{presets_in_words(PICTURE)}. {_PAPER}")] = None
    box: Annotated[str | None, _BOX] = None
    points: Annotated[Sequence[str], _POINT] = ()
    not_points: Annotated[Sequence[str], _NOT] = ()
    mask: Annotated[Path | str | None, _MASK] = None


@dataclass(frozen=True)
class VideoOptions(EditOptions):
    """Of `edit-video`."""

    source: Annotated[Path | str, Help("A video, an animated GIF, a folder of frames.")]
    _: KW_ONLY
    preset: Annotated[str | None, Help(f"{presets_in_words(CLIP)}. {_PAPER}")] = None
    atlas: Annotated[str, Help("The layer to edit: fg (foreground) or bg (background).")] = "fg"
    atlas_dir: Annotated[
        Path | str | None, Help("Result of fit-atlas. Default: CLIP.atlas, or fitted now.")
    ] = None
    masks: Annotated[
        Path | str | None,
        Help("Rough masks of the foreground, white: a folder of pictures or a video."),
    ] = None
    foreground: Annotated[
        str | None,
        Help('For the fit: what the foreground is, "car". Default with fg: the ROI.'),
    ] = None
    box: Annotated[
        str | None,
        Help(
            "A box around what is edited in one frame, pixels or %.",
            metavar="X,Y,W,H[@FRAME]",
        ),
    ] = None
    points: Annotated[
        Sequence[str],
        Help("A place on what is edited, pixels or %; repeatable.", "--point", "X,Y[@FRAME]"),
    ] = ()
    not_points: Annotated[
        Sequence[str], Help("A place beside it; repeatable.", "--not", "X,Y[@FRAME]")
    ] = ()
    mask: Annotated[
        Path | str | None,
        Help("A picture of the frame's size: white may be edited.", metavar="FILE[@FRAME]"),
    ] = None
    any_atlas: Annotated[bool, Help("Edit also on an atlas that its fit called poor.")] = False
    onto: Annotated[
        Path | str | None, Help("Earlier result on the same clip, to be rendered below.")
    ] = None
    layer_formats: Annotated[
        Sequence[str],
        Help("Edit layer as mov (ProRes 4444, default), webm, png, or none.", "--layer-format"),
    ] = ("mov",)
    baseline: Annotated[str | None, Help("The paper's: atlas or frames.", panel=METHOD)] = None

    def __post_init__(self) -> None:
        """Raise UsageError where a text cannot be used."""
        super().__post_init__()
        require_text("--foreground", self.foreground)
        object.__setattr__(self, "atlas", _LAYER_NAMES.get(self.atlas, self.atlas))


@dataclass(frozen=True)
class FitOptions(FitSettings):
    """Of `fit-atlas`: those of the fit, and where its result goes."""

    source: Annotated[Path | str, Help("A video, an animated GIF, a folder of frames.")]
    _: KW_ONLY
    output: Annotated[
        Path | str | None, Help("Folder of the result; default CLIP.atlas.", flag="-o/--output")
    ] = None
    overwrite: Annotated[bool, _OVERWRITE] = False
    resume: Annotated[bool, Help("Go on with a stopped fit.")] = False
    checkpoint_every: Annotated[float | None, _CHECKPOINTS] = None
    progress: Progress | None = None

    def __post_init__(self) -> None:
        """Raise UsageError, naming the option, where a value cannot work."""
        super().__post_init__()
        if self.overwrite and self.resume:
            raise UsageError("--overwrite and --resume: choose one")

    def settings(self) -> FitSettings:
        """What decides how the clip is fitted."""
        return FitSettings(**{f.name: getattr(self, f.name) for f in fields(FitSettings)})


@dataclass(frozen=True)
class RegionOptions:
    """Of `region`, but for where its pictures go."""

    source: Annotated[Path | str, Help("The picture.")]
    text: Annotated[str | None, Help('What is looked for: "cake". Not needed with --box.')] = None
    _: KW_ONLY
    box: Annotated[str | None, _BOX] = None
    points: Annotated[Sequence[str], _POINT] = ()
    not_points: Annotated[Sequence[str], _NOT] = ()
    mask: Annotated[Path | str | None, _MASK] = None
    clip: Annotated[str, Help(ENCODER)] = DEFAULT_CLIP
    clip_weights: Annotated[Path | str | None, _WEIGHTS] = None
    device: Annotated[str, Help("auto, cuda, mps or cpu.")] = "auto"
    progress: Progress | None = None

    def __post_init__(self) -> None:
        """Raise UsageError where the text cannot be used."""
        require_text("TEXT", self.text)


@dataclass(frozen=True)
class CompositeOptions:
    """Of `composite`: over a picture, or over a clip through its atlas."""

    source: Annotated[Path | str, Help("The picture or clip below.")]
    layers: Annotated[
        Sequence[Path | str], Help("Layers or result folders to lay over it, lowest first.")
    ] = ()
    _: KW_ONLY
    output: Annotated[
        Path | str | None, Help("The picture or video to write.", flag="-o/--output")
    ] = None
    fg_layer: Annotated[
        Path | str | None,
        Help("Painted foreground.png of the clip's atlas, or a layer of its size."),
    ] = None
    bg_layer: Annotated[
        Path | str | None,
        Help("Painted background.png of the clip's atlas, or a layer of its size."),
    ] = None
    frame_edits: Annotated[
        Sequence[str],
        Help("A layer painted on frame N, for all frames.", "--frame-edit", "N:PICTURE"),
    ] = ()
    atlas_dir: Annotated[Path | str | None, Help("Result of fit-atlas. Default: CLIP.atlas.")] = (
        None
    )
    opacity: Annotated[float, Help("Of every layer, from 0 to 1.")] = 1.0
    overwrite: Annotated[bool, _OVERWRITE] = False
    progress: Progress | None = None


def taking(
    options: Callable[Parameters, Options],
) -> Callable[[Callable[[Options], Result]], Callable[Parameters, Result]]:
    """Decorates a function of `options`, a dataclass: it then takes their fields one by one.

    Raises UsageError, with the nearest name, for a keyword that is none of theirs.
    """

    signature = inspect.signature(options)

    def decorate(run: Callable[[Options], Result]) -> Callable[Parameters, Result]:
        @functools.wraps(run)
        def call(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Result:
            for name in kwargs:
                require_one_of("option", name, tuple(signature.parameters))
            return run(options(*args, **kwargs))

        call.__signature__ = signature  # type: ignore[attr-defined]
        return call

    return decorate


_NO_MATTER = (
    *("source", "output", "overwrite", "resume", "save_every", "checkpoint_every", "any_atlas"),
)
"""Options that do not change a result."""


def request(options: object) -> dict[str, Any]:
    """What was asked for, as a record keeps it: the options that matter and are not the default.

    Files stand by the SHA-256 of what is in them, so that two requests for the same are equal.
    """
    return {
        option.name: _in_a_record(getattr(options, option.name), _names_a_file(options, option))
        for option in _asked(options)
        if option.name not in _NO_MATTER
    }


def _in_a_record(value: Any, is_path: bool) -> Any:
    if is_path:
        path = Path(value)
        return sha256_of(path) if path.is_file() else shown_path(path)
    return list(value) if isinstance(value, tuple) else value


def _names_a_file(options: object, option: Field[Any]) -> bool:
    return Path in get_args(get_type_hints(type(options))[option.name])


def command_line(command: str, options: object) -> str:
    """The command that asks for the same, for a shell; paths as they were given, or their names."""
    words, places = ["text2live", command], []
    for option in _asked(options):
        value, about = getattr(options, option.name), help_of(type(options), option.name)
        if option.name in ("overwrite", "resume") or about is None:
            continue
        values = value if isinstance(value, (tuple, list)) else [value]
        is_path = _names_a_file(options, option)
        texts = [shown_path(Path(one)) if is_path else str(one) for one in values]
        if not option.kw_only:
            places += texts
        elif value is True:
            words.append(flag_of(option.name, about))
        else:
            words += [part for text in texts for part in (flag_of(option.name, about), text)]
    dash = ["--"] if any(text.startswith("-") for text in places) else []
    return shlex.join([*words, *dash, *places])


def help_of(options: type, name: str) -> Help | None:
    """The `Help` of a field; None where it is not for the command line."""
    hint = get_type_hints(options, include_extras=True)[name]
    return next((one for one in get_args(hint)[1:] if isinstance(one, Help)), None)


def flag_of(name: str, about: Help) -> str:
    """The long name of an option on the command line."""
    return about.flag.split("/")[-1] if about.flag else "--" + name.replace("_", "-")


def _asked(options: Any) -> list[Field[Any]]:
    """The fields for the command line that are not at their default."""
    return [
        one
        for one in fields(options)
        if help_of(type(options), one.name) and getattr(options, one.name) != one.default
    ]
