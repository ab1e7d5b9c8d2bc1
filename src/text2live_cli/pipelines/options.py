"""What can be asked of each command, once: from these the command line, the Python signatures, the
checks and run.json are made. A field with a `Help` is an option or an argument of the command line.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass, fields
from pathlib import Path
from typing import Annotated, Any

from ..atlas.fit.settings import FitSettings
from ..config import (
    BLEND_MODES,
    CLIP,
    LAMBDA,
    MAX_SIZE,
    MAX_STEPS,
    MAX_VIEWS,
    MIN_SIZE,
    PICTURE,
    Help,
    LossWeights,
    presets_in_words,
    require_one_of,
)
from ..errors import UsageError
from ..guide.hub import cache_folder
from ..guide.swatch.vocabulary import CONCEPTS
from ..guide.weights import DEFAULT_CLIP
from ..media.given_pictures import GivenPicture, as_path
from ..progress import Progress
from ..texts import check_texts, require_text
from .method_help import ABLATIONS, METHOD, NO_GRAPHS, THREADS, WITHOUT, alias_help, weight_help

_LAYER_NAMES = {"foreground": "fg", "background": "bg"}
ENCODER = (
    "Text-image encoder: open_clip's MODEL/TAG, or `swatch`, the small one in the package, which"
    f" works offline: {sum(map(len, CONCEPTS.values()))} concepts (objects, materials, colours,"
    " effects), learned from painted scenes. For photos and free text use a ViT-B/32."
)
_FPS = Help("Frames a second of a folder of frames. Default: 24.")
_CODEC = Help(
    "Of the film that -o names: h264, hevc (10 bits), prores (422 HQ), dnxhr (HQX) or vp9."
    " Default: by its ending."
)
_CRF = Help("Its quality, 0 (best) to 51; of vp9 to 63. Default: 16, hevc 18, vp9 20.")
WEIGHTS = Help("CLIP weights from a file: .safetensors or .pt.")
OVERWRITE = Help("Replace an existing result.")
_CHECKPOINTS = Help(
    "Write a checkpoint this often. Default: every minute or 5 % of the run.", metavar="SECONDS"
)
_PAPER = "Default: paper on a GPU, else draft."
_SIZE = f"Short side of the picture in training, {MIN_SIZE} to {MAX_SIZE} pixels."
BOX = Help("A box around what is edited, in pixels or per cent.", metavar="X,Y,W,H")
POINT = Help("A place on it, in pixels or per cent (40%,25%); repeatable.", "--point", "X,Y")
NOT = Help("A place beside it, not to be edited; repeatable.", "--not", "X,Y")
MASK = Help("A picture of the same shape: white may be edited, grey partly.")
LAYERED = Help(
    "Source and layer in one file as well: psd (Photoshop), ora (Krita, GIMP) or exr; repeatable.",
    "--layer-format",
)


@dataclass(frozen=True)
class EditOptions:
    """What edits of pictures and of clips have in common.

    Raises UsageError, naming the option, for texts that no encoder should see.
    """

    source: Annotated[Path | str, Help("The picture or clip.")]
    prompt: Annotated[str, Help('What to make of it: "oreo cake".')]
    _: KW_ONLY
    roi: Annotated[
        str | None,
        Help(
            'What is in the picture now, where it is edited (region of interest): "cake". Default:'
            " taken from PROMPT."
        ),
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
    overwrite: Annotated[bool, OVERWRITE] = False
    resume: Annotated[
        bool, Help("Go on with a stopped run; with more --steps also with a finished one.")
    ] = False
    clip: Annotated[str, Help(ENCODER)] = DEFAULT_CLIP
    clip_weights: Annotated[Path | str | None, WEIGHTS] = None
    size: Annotated[int | None, Help(_SIZE)] = None
    steps: Annotated[int | None, Help(f"Steps of the training, 1 to {MAX_STEPS:,}.")] = None
    minutes: Annotated[
        float | None,
        Help("As many steps as fit into this time, ten at the least, instead of --steps."),
    ] = None
    until_settled: Annotated[
        bool,
        Help(
            "End before the last step, after half of them at the soonest, where the edit no longer"
            " comes nearer to the text."
        ),
    ] = False
    views: Annotated[
        int | None,
        Help(f"Views (random, turned crops) that CLIP sees of each picture, 1 to {MAX_VIEWS}."),
    ] = None
    seed: Annotated[int | None, Help("Same seed, same result. Default: 0.")] = None
    device: Annotated[str | None, Help("auto, cuda, mps or cpu.")] = None
    precision: Annotated[str | None, Help("auto, fp32, bf16 or fp16.")] = None
    threads: Annotated[int | None, THREADS] = None
    save_every: Annotated[
        int | None,
        Help(
            "Keep a preview of every so many steps. previews/latest.png is always written: after a"
            " tenth of the steps, and each quarter."
        ),
    ] = None
    checkpoint_every: Annotated[float | None, _CHECKPOINTS] = None
    log_dir: Annotated[
        Path | str | None,
        Help("A folder for TensorBoard: all terms, and previews (the extra `tensorboard`)."),
    ] = None
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
    no_graphs: Annotated[bool, NO_GRAPHS] = False
    text_distance: Annotated[
        str | None, Help("spherical (default) or cosine, as printed.", panel=METHOD)
    ] = None
    lambda_composition: Annotated[float | None, weight_help("composition")] = None
    lambda_screen: Annotated[float | None, weight_help("screen")] = None
    lambda_structure: Annotated[float | None, weight_help("structure")] = None
    lambda_form: Annotated[float | None, weight_help("form")] = None
    lambda_sparsity: Annotated[float | None, weight_help("sparsity")] = None
    lambda_sparsity_l1: Annotated[float | None, weight_help("sparsity_l1")] = None
    lambda_bootstrap: Annotated[float | None, weight_help("bootstrap")] = None
    lambda_direction: Annotated[float | None, weight_help("direction")] = None
    lambda_keep: Annotated[float | None, weight_help("keep")] = None
    without: Annotated[Sequence[str], WITHOUT] = ()
    no_structure: Annotated[bool, alias_help("structure")] = False
    no_sparsity: Annotated[bool, alias_help("sparsity")] = False
    no_screen: Annotated[bool, alias_help("screen")] = False
    no_bootstrap: Annotated[bool, alias_help("bootstrap")] = False
    no_internal_dataset: Annotated[bool, alias_help("internal-dataset")] = False
    progress: Progress | None = None

    def __post_init__(self) -> None:
        """Raise UsageError where a text cannot be used."""
        for one in fields(self):
            value = getattr(self, one.name)
            if one.default == () and isinstance(value, str):  # one, where there may be several
                value = (value,)
            object.__setattr__(self, one.name, tuple(value) if isinstance(value, list) else value)
        check_texts(self.prompt, self.roi, self.screen, self.also, self.keep)
        object.__setattr__(self, "without", self._left_out())

    def overrides(self) -> dict[str, Any]:
        """What replaces the preset's values, as `config.resolve_settings` takes it."""
        names = ("region", "size", "steps", "views", "seed", "device", "precision", "channels")
        values = {name: getattr(self, name) for name in (*names, "layout", "text_distance")}
        values |= {"until_settled": self.until_settled, "graphs": not self.no_graphs}
        for term in fields(LossWeights):
            name = LAMBDA + term.name
            values[name] = 0.0 if term.name in self.without else getattr(self, name)
        values["internal_dataset"] = False if "internal-dataset" in self.without else None
        return values

    def _left_out(self) -> tuple[str, ...]:
        """The ablations by name, in one order; the aliases `no_…` become such."""
        names = {name.strip() for part in self.without for name in part.split(",")}
        for name in sorted(names):
            require_one_of("--without", name, ABLATIONS)
        for name in ABLATIONS:
            alias = "no_" + name.replace("-", "_")
            names |= {name} if getattr(self, alias) else set()
            object.__setattr__(self, alias, False)
        return tuple(name for name in ABLATIONS if name in names)


@dataclass(frozen=True)
class ImageOptions(EditOptions):
    """Of `edit-image`."""

    source: Annotated[
        GivenPicture, Help("The picture: JPEG, PNG, WebP, TIFF, GIF, BMP; - is stdin")
    ]
    _: KW_ONLY
    preset: Annotated[str | None, Help(f"{presets_in_words(PICTURE)}. {_PAPER}")] = None
    box: Annotated[str | None, BOX] = None
    points: Annotated[Sequence[str], POINT] = ()
    not_points: Annotated[Sequence[str], NOT] = ()
    mask: Annotated[GivenPicture | None, MASK] = None
    layer_formats: Annotated[Sequence[str], LAYERED] = ()

    def __post_init__(self) -> None:
        """Raise UsageError where a text cannot be used, or what is given is no picture."""
        super().__post_init__()
        for name in ("source", "mask"):
            if (given := getattr(self, name)) is not None:
                object.__setattr__(self, name, as_path(given, cache_folder() / "given"))


@dataclass(frozen=True)
class VideoOptions(EditOptions):
    """Of `edit-video`."""

    source: Annotated[Path | str, Help("A video, an animated GIF, a folder of frames.")]
    _: KW_ONLY
    output: Annotated[
        Path | str | None,
        Help(
            "Folder of the result; or a film or animation for the composite (.mp4, .mov, .gif,"
            " .webp, .apng …), and the rest in a folder of its name.",
            flag="-o/--output",
        ),
    ] = None
    preset: Annotated[str | None, Help(f"{presets_in_words(CLIP)}. {_PAPER}")] = None
    atlas: Annotated[str, Help("The layer to edit: fg (foreground) or bg (background).")] = "fg"
    atlas_dir: Annotated[
        Path | str | None,
        Help(
            "Result of fit-atlas: the atlas, the clip unwrapped into one picture a layer. Default:"
            " CLIP.atlas, or fitted now."
        ),
    ] = None
    masks: Annotated[
        Path | str | None,
        Help("Rough masks of the foreground, white: a folder of pictures or a video."),
    ] = None
    foreground: Annotated[
        str | None,
        Help('For the fit: what the foreground is, "car". Default with fg: the ROI.'),
    ] = None
    frames: Annotated[
        str | None, Help("For the fit: of which frames, B not included.", metavar="A:B")
    ] = None
    every: Annotated[int | None, Help("For the fit: only of every n-th frame.")] = None
    fps: Annotated[float | None, _FPS] = None
    codec: Annotated[str | None, _CODEC] = None
    crf: Annotated[int | None, _CRF] = None
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
        Help(
            "Edit layer as mov (ProRes 4444, default), webm, png, matte (its alpha as a grey film),"
            " or none; repeatable.",
            "--layer-format",
        ),
    ] = ("mov",)
    premultiplied: Annotated[
        bool, Help("Colours of the layer's mov and png multiplied by alpha; else straight.")
    ] = False
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
    overwrite: Annotated[bool, OVERWRITE] = False
    resume: Annotated[bool, Help("Go on with a stopped fit.")] = False
    fps: Annotated[float | None, _FPS] = None
    threads: Annotated[int | None, THREADS] = None
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
    box: Annotated[str | None, BOX] = None
    points: Annotated[Sequence[str], POINT] = ()
    not_points: Annotated[Sequence[str], NOT] = ()
    mask: Annotated[Path | str | None, MASK] = None
    clip: Annotated[str, Help(ENCODER)] = DEFAULT_CLIP
    clip_weights: Annotated[Path | str | None, WEIGHTS] = None
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
        Help(
            "A layer painted on frame N, or that frame painted over, for all frames.",
            "--frame-edit",
            "N:PICTURE",
        ),
    ] = ()
    atlas_dir: Annotated[Path | str | None, Help("Result of fit-atlas. Default: CLIP.atlas.")] = (
        None
    )
    opacity: Annotated[
        str | float, Help("Of every layer, 0 to 1; of a clip also by frame, 0:0,24:1.")
    ] = 1.0
    blend: Annotated[
        Sequence[str],
        Help(
            f"{', '.join(BLEND_MODES)}: of all layers, or of each (through an atlas one for all)."
        ),
    ] = ()
    background: Annotated[
        str | None, Help("Of a picture: this colour in place of its transparency (white, #ff8800).")
    ] = None
    layer_formats: Annotated[Sequence[str], LAYERED] = ()
    fps: Annotated[float | None, _FPS] = None
    codec: Annotated[str | None, _CODEC] = None
    crf: Annotated[int | None, _CRF] = None
    overwrite: Annotated[bool, OVERWRITE] = False
    progress: Progress | None = None
