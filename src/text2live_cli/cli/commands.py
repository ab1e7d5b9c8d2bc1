"""The commands: they parse, call one function of the engine, and print. Nothing else."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from ..endings import Stopped, signals_raise
from ..errors import Text2LiveError, UnexpectedError, UsageError
from ..runs.keeping import as_known
from ..texts import check_texts, require_text, visible
from .console import ConsoleProgress, print_result

app = typer.Typer(
    name="text2live",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help="Edit real photos and clips from a sentence (Text2LIVE): a small generator is trained on"
    " your one input, guided by CLIP, and delivers an RGBA edit layer over the untouched original.",
)
weights_app = typer.Typer(no_args_is_help=True, help="The CLIP weights on this machine.")
app.add_typer(weights_app, name="weights")

_PRESETS = "paper (512 px, 1000 steps), standard (320 px, 400) or draft (192 px, 60-120)"
_VIDEO_PRESETS = "paper (432 px, 3000 steps), standard (320 px, 600) or draft (192 px, 120)"
_CLIP = (
    "Text-image encoder: open_clip's MODEL/TAG, or `swatch`, the small one in the package, which"
    " works offline: some 60-100 concepts (objects, materials, colours, effects), learned from"
    " painted scenes. For photos and free text use a ViT-B/32."
)

Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Only warnings and errors.")]
Json = Annotated[
    bool, typer.Option("--json", help="Print the result record, and only it, to stdout.")
]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace an existing result.")]
Weight = typer.Option(
    metavar="λ", rich_help_panel="Method", help="Weight of this term; 0 leaves it out."
)
Lambda = Annotated[float | None, Weight]
_ABLATION: dict[str, Any] = {"rich_help_panel": "Method", "help": "Ablation: without this."}
Prompt = Annotated[str, typer.Argument(help='What to make of it: "oreo cake".')]
Roi = Annotated[
    str | None,
    typer.Option(help='What is in the picture now: "cake". Default: taken from PROMPT.'),
]
ScreenText = Annotated[
    str | None, typer.Option(help='The edit by itself, for effects: "fire". Default: PROMPT.')
]
Also = Annotated[
    list[str] | None, typer.Option(help="Another PROMPT for the same edit; repeatable.")
]
Keep = Annotated[list[str] | None, typer.Option(help="What must stay as it is; repeatable.")]
OutputFolder = Annotated[Path | None, typer.Option("-o", "--output", help="Folder of the result.")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on with a stopped run.")]
ClipName = Annotated[str, typer.Option(help=_CLIP)]
ClipWeights = Annotated[
    Path | None, typer.Option(help="CLIP weights from a file: .safetensors or .pt.")
]
Size = Annotated[int | None, typer.Option(help="Short side of the training, pixels.")]
Steps = Annotated[int | None, typer.Option(help="Steps of the training.")]
Minutes = Annotated[
    float | None, typer.Option(help="As many steps as fit into this time, instead of --steps.")
]
ViewCount = Annotated[int | None, typer.Option(help="Views that CLIP sees of each picture.")]
Seed = Annotated[int | None, typer.Option(help="Same seed, same result. Default: 0.")]
Device = Annotated[str | None, typer.Option(help="auto, cuda, mps or cpu.")]
PrecisionName = Annotated[str | None, typer.Option(help="auto, fp32, bf16 or fp16.")]
CheckpointEvery = Annotated[
    float | None,
    typer.Option(
        metavar="SECONDS",
        help="Write a checkpoint this often. Default: every minute or 5 % of the run.",
    ),
]
Layout = Annotated[
    str | None,
    typer.Option(
        help="Of the generator in memory: plain, channels-last, or auto, the faster one here.",
        rich_help_panel="Method",
    ),
]
SaveEvery = Annotated[int | None, typer.Option(help="Keep a preview of every so many steps.")]
TextDistance = Annotated[
    str | None,
    typer.Option(help="spherical (default) or cosine, as printed.", rich_help_panel="Method"),
]
RegionRule = Annotated[
    str | None,
    typer.Option(
        help="auto (found once from the text, cut out along edges) or paper (looked for in every"
        " training example). Default: auto, in the preset paper paper."
    ),
]
Points = Annotated[
    list[str] | None,
    typer.Option(
        "--point", metavar="X,Y", help="A place on it, in pixels or per cent (40%,25%); repeatable."
    ),
]
NotPoints = Annotated[
    list[str] | None,
    typer.Option("--not", metavar="X,Y", help="A place beside it, not to be edited; repeatable."),
]
PictureBox = Annotated[
    str | None,
    typer.Option(metavar="X,Y,W,H", help="A box around what is edited, in pixels or per cent."),
]
PictureMask = Annotated[
    Path | None,
    typer.Option(help="A picture of the same size: white may be edited, grey partly."),
]
FrameBox = Annotated[
    str | None,
    typer.Option(
        metavar="X,Y,W,H[@FRAME]", help="A box around what is edited in one frame, pixels or %."
    ),
]
FramePoints = Annotated[
    list[str] | None,
    typer.Option(
        "--point", metavar="X,Y[@FRAME]", help="A place on what is edited, pixels or %; repeatable."
    ),
]
FrameNotPoints = Annotated[
    list[str] | None,
    typer.Option("--not", metavar="X,Y[@FRAME]", help="A place beside it; repeatable."),
]
FrameMask = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE[@FRAME]",
        help="A picture of the frame's size: white may be edited.",
    ),
]
Masks = Annotated[
    Path | None,
    typer.Option(help="Rough masks of the foreground, white: a folder of pictures or a video."),
]
Box = Annotated[
    str | None,
    typer.Option(
        metavar="X,Y,W,H[@FRAME]", help="A box around the foreground in one frame, pixels or %."
    ),
]
FitPoints = Annotated[
    list[str] | None,
    typer.Option(
        "--point", metavar="X,Y[@FRAME]", help="A place on the foreground, pixels or %; repeatable."
    ),
]
FitNotPoints = Annotated[
    list[str] | None,
    typer.Option("--not", metavar="X,Y[@FRAME]", help="A place beside it; repeatable."),
]


# Options that `edit-image` and `edit-video` hand on as they are.
_SHARED = (
    *("roi", "screen", "preset", "clip", "clip_weights", "output", "overwrite", "resume"),
    *("region", "size", "steps", "minutes", "views", "seed", "device", "precision", "layout"),
    *("save_every", "checkpoint_every", "text_distance"),
    *("lambda_composition", "lambda_screen", "lambda_structure", "lambda_form"),
    *("lambda_sparsity", "lambda_bootstrap", "lambda_direction", "lambda_keep"),
)


def _version(wish: bool) -> None:
    if wish:
        from .. import __version__

        print_result(f"text2live {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Options before the command."""


@app.command("edit-image")
def edit_image_command(
    source: Annotated[Path, typer.Argument(help="The picture: JPEG, PNG, WebP, TIFF, GIF, BMP.")],
    prompt: Prompt,
    roi: Roi = None,
    screen: ScreenText = None,
    also: Also = None,
    keep: Keep = None,
    box: PictureBox = None,
    point: Points = None,
    not_point: NotPoints = None,
    mask: PictureMask = None,
    region: RegionRule = None,
    output: OutputFolder = None,
    overwrite: Overwrite = False,
    resume: Resume = False,
    preset: Annotated[
        str | None, typer.Option(help=f"{_PRESETS}. Default: paper on a GPU, else draft.")
    ] = None,
    clip: ClipName = "ViT-B-32-quickgelu/openai",
    clip_weights: ClipWeights = None,
    size: Size = None,
    steps: Steps = None,
    minutes: Minutes = None,
    views: ViewCount = None,
    seed: Seed = None,
    device: Device = None,
    precision: PrecisionName = None,
    layout: Layout = None,
    save_every: SaveEvery = None,
    checkpoint_every: CheckpointEvery = None,
    text_distance: TextDistance = None,
    lambda_composition: Lambda = None,
    lambda_screen: Lambda = None,
    lambda_structure: Lambda = None,
    lambda_form: Lambda = None,
    lambda_sparsity: Lambda = None,
    lambda_bootstrap: Lambda = None,
    lambda_direction: Lambda = None,
    lambda_keep: Lambda = None,
    no_structure: Annotated[bool, typer.Option("--no-structure", **_ABLATION)] = False,
    no_sparsity: Annotated[bool, typer.Option("--no-sparsity", **_ABLATION)] = False,
    no_screen: Annotated[bool, typer.Option("--no-screen", **_ABLATION)] = False,
    no_bootstrap: Annotated[bool, typer.Option("--no-bootstrap", **_ABLATION)] = False,
    no_internal_dataset: Annotated[
        bool, typer.Option("--no-internal-dataset", **_ABLATION)
    ] = False,
    quiet: Quiet = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Edit one picture so that it fits PROMPT.

    Example: text2live edit-image cake.jpg "oreo cake"
    """
    options = _edit_options(locals())
    with _reporting(quiet or as_json, debug, as_json) as progress:
        check_texts(prompt, roi, screen, also or (), keep or ())
        from ..pipelines.image import edit_image

        result = edit_image(
            source,
            prompt,
            mask=mask,
            box=box,
            points=point or (),
            not_points=not_point or (),
            progress=progress,
            **options,
        )
        _report_edit(result, progress, as_json)


@app.command("region")
def region_command(
    source: Annotated[Path, typer.Argument(help="The picture.")],
    text: Annotated[
        str | None, typer.Argument(help='What is looked for: "cake". Not needed with --box.')
    ] = None,
    box: PictureBox = None,
    point: Points = None,
    not_point: NotPoints = None,
    mask: PictureMask = None,
    output: Annotated[
        Path, typer.Option("-o", "--output", help="The picture of it; mask.png goes beside it.")
    ] = Path("region.png"),
    overwrite: Overwrite = False,
    clip: ClipName = "ViT-B-32-quickgelu/openai",
    clip_weights: ClipWeights = None,
    device: Device = None,
    quiet: Quiet = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Show where an edit would be, before it costs anything.

    Example: text2live region cake.jpg "cake" --point 50%,60%
    """
    with _reporting(quiet or as_json, debug) as progress:
        require_text("TEXT", text)
        from ..pipelines.region import show_region

        files = show_region(
            source,
            text,
            output,
            box=box,
            points=point or (),
            not_points=not_point or (),
            mask=mask,
            overwrite=overwrite,
            clip=clip,
            clip_weights=clip_weights,
            device=device or "auto",
            progress=progress,
        )
        if as_json:
            _print_json(files.record)
        progress.message(f"{output}: the region; {files.mask}: to be painted over, for --mask")


@app.command("edit-video")
def edit_video_command(
    source: Annotated[Path, typer.Argument(help="A video, an animated GIF, a folder of frames.")],
    prompt: Prompt,
    atlas: Annotated[str, typer.Option(help="The layer to edit: fg or bg.")] = "fg",
    atlas_dir: Annotated[
        Path | None, typer.Option(help="Result of fit-atlas. Default: CLIP.atlas, or fitted now.")
    ] = None,
    masks: Masks = None,
    foreground: Annotated[
        str | None,
        typer.Option(help='For the fit: what the foreground is, "car". Default with fg: the ROI.'),
    ] = None,
    box: FrameBox = None,
    point: FramePoints = None,
    not_point: FrameNotPoints = None,
    mask: FrameMask = None,
    region: RegionRule = None,
    onto: Annotated[
        Path | None, typer.Option(help="Earlier result on the same clip, to be rendered below.")
    ] = None,
    layer_format: Annotated[
        list[str] | None,
        typer.Option(help="Edit layer as mov (ProRes 4444, default), webm, png, or none."),
    ] = None,
    baseline: Annotated[
        str | None,
        typer.Option(help="The paper's: atlas or frames.", rich_help_panel="Method"),
    ] = None,
    roi: Roi = None,
    screen: ScreenText = None,
    also: Also = None,
    keep: Keep = None,
    output: OutputFolder = None,
    overwrite: Overwrite = False,
    resume: Resume = False,
    preset: Annotated[
        str | None, typer.Option(help=f"{_VIDEO_PRESETS}. Default: paper on a GPU, else draft.")
    ] = None,
    clip: ClipName = "ViT-B-32-quickgelu/openai",
    clip_weights: ClipWeights = None,
    size: Size = None,
    steps: Steps = None,
    minutes: Minutes = None,
    views: ViewCount = None,
    seed: Seed = None,
    device: Device = None,
    precision: PrecisionName = None,
    layout: Layout = None,
    save_every: SaveEvery = None,
    checkpoint_every: CheckpointEvery = None,
    text_distance: TextDistance = None,
    lambda_composition: Lambda = None,
    lambda_screen: Lambda = None,
    lambda_structure: Lambda = None,
    lambda_form: Lambda = None,
    lambda_sparsity: Lambda = None,
    lambda_bootstrap: Lambda = None,
    lambda_direction: Lambda = None,
    lambda_keep: Lambda = None,
    no_structure: Annotated[bool, typer.Option("--no-structure", **_ABLATION)] = False,
    no_sparsity: Annotated[bool, typer.Option("--no-sparsity", **_ABLATION)] = False,
    no_screen: Annotated[bool, typer.Option("--no-screen", **_ABLATION)] = False,
    no_bootstrap: Annotated[bool, typer.Option("--no-bootstrap", **_ABLATION)] = False,
    no_internal_dataset: Annotated[
        bool, typer.Option("--no-internal-dataset", **_ABLATION)
    ] = False,
    quiet: Quiet = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Edit one layer of a clip so that it fits PROMPT, in all frames alike.

    Example: text2live edit-video clip.mp4 --atlas fg "rusty car"
    """
    options = _edit_options(locals())
    with _reporting(quiet or as_json, debug, as_json) as progress:
        check_texts(prompt, roi, screen, also or (), keep or ())
        from ..pipelines.video import edit_video

        result = edit_video(
            source,
            prompt,
            atlas=atlas,
            atlas_dir=atlas_dir,
            masks=masks,
            foreground=foreground,
            mask=mask,
            box=box,
            points=point or (),
            not_points=not_point or (),
            onto=onto,
            layer_formats=layer_format or ("mov",),
            baseline=baseline,
            progress=progress,
            **options,
        )
        if as_json:
            _print_json(result.record)
        progress.message(f"{result.composite}: the edited clip; report.html beside it")
        _tell_interrupted(result, progress)


def _edit_options(arguments: dict[str, Any]) -> dict[str, Any]:
    """The options that both edits share, as the engine calls them; `arguments` by names here."""
    options = {name: arguments[name] for name in _SHARED}
    options.update(also=arguments["also"] or (), keep=arguments["keep"] or ())
    for term in ("screen", "structure", "sparsity", "bootstrap"):
        if arguments[f"no_{term}"]:
            options[f"lambda_{term}"] = 0.0
    options["internal_dataset"] = False if arguments["no_internal_dataset"] else None
    return options


def _report_edit(result: Any, progress: ConsoleProgress, as_json: bool) -> None:
    if as_json:
        _print_json(result.record)
    share = result.record["unchanged_share"]
    progress.message(f"{result.composite}: {share:.0%} of the pixels are the source's, bit for bit")
    progress.message(f"{result.layer}: the edit layer, RGBA")
    _tell_interrupted(result, progress)


def _tell_interrupted(result: Any, progress: ConsoleProgress) -> None:
    if result.interrupted:
        done = result.record["steps_done"]
        progress.warning(
            f"stopped after {done} of {result.record['settings']['steps']} steps;"
            " the same command with --resume goes on"
        )
        raise typer.Exit(Stopped.by(result.record["stopped_by"]).exit_code)


@app.command("fit-atlas")
def fit_atlas_command(
    source: Annotated[Path, typer.Argument(help="A video, an animated GIF, a folder of frames.")],
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="Folder of the result; default CLIP.atlas."),
    ] = None,
    masks: Masks = None,
    box: Box = None,
    point: FitPoints = None,
    not_point: FitNotPoints = None,
    foreground: Annotated[
        str | None, typer.Option(help='What the foreground is: "car". Default: what moves.')
    ] = None,
    frames: Annotated[
        str | None, typer.Option(metavar="A:B", help="Frames to fit, from 0, B not included.")
    ] = None,
    every: Annotated[
        int, typer.Option(help="Fit only every n-th frame; those between are interpolated.")
    ] = 1,
    size: Annotated[
        int | None, typer.Option(help="Short side of the fit, pixels. Default: 240, GPU 432.")
    ] = None,
    model: Annotated[
        str, typer.Option(help="grid (fast) or nla (the published networks: hours).")
    ] = "grid",
    import_nla: Annotated[
        Path | None, typer.Option("--import", help="Read a published checkpoint; no fit.")
    ] = None,
    export_nla: Annotated[
        Path | None, typer.Option(help="Also write a published checkpoint (--model nla).")
    ] = None,
    flow: Annotated[
        str, typer.Option(help="dis (built in) or raft (torchvision's weights).")
    ] = "dis",
    flow_dir: Annotated[
        Path | None, typer.Option(help="Folder of .flo or .npy flow to use instead.")
    ] = None,
    clip: Annotated[
        str, typer.Option(help=f"For --foreground. {_CLIP}")
    ] = "ViT-B-32-quickgelu/openai",
    clip_weights: ClipWeights = None,
    steps: Annotated[int | None, typer.Option(help="Steps of the fit.")] = None,
    seed: Annotated[int, typer.Option(help="Same seed, same result.")] = 0,
    device: Annotated[str, typer.Option(help="auto, cuda, mps or cpu.")] = "auto",
    overwrite: Overwrite = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a stopped fit.")] = False,
    checkpoint_every: CheckpointEvery = None,
    quiet: Quiet = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Unwrap a clip into one foreground and one background picture.

    Example: text2live fit-atlas clip.mp4
    """
    with _reporting(quiet or as_json, debug, as_json) as progress:
        from ..pipelines.fit import fit_atlas

        result = fit_atlas(
            source,
            output=output,
            overwrite=overwrite,
            resume=resume,
            checkpoint_every=checkpoint_every,
            progress=progress,
            frames=frames,
            every=every,
            size=size,
            masks=masks,
            box=box,
            points=point or (),
            not_points=not_point or (),
            foreground=foreground,
            clip=clip,
            clip_weights=clip_weights,
            flow=flow,
            flow_dir=flow_dir,
            model=model,
            import_nla=import_nla,
            export_nla=export_nla,
            steps=steps,
            seed=seed,
            device=device,
        )
        if as_json:
            _print_json(result.record)
        progress.message(f"{result.folder}: look at report.html")
        if result.interrupted:
            done = result.record["steps_done"]
            progress.warning(f"stopped after {done} steps; the same command with --resume goes on")
            raise typer.Exit(Stopped.by(result.record["stopped_by"]).exit_code)


@app.command()
def composite(
    source: Annotated[Path, typer.Argument(help="The picture or clip below.")],
    layers: Annotated[
        list[Path] | None,
        typer.Argument(help="Layers or result folders to lay over a picture, lowest first."),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="The picture or video to write.")
    ] = None,
    fg_layer: Annotated[
        Path | None,
        typer.Option(help="Painted foreground.png of the clip's atlas, or a layer of its size."),
    ] = None,
    bg_layer: Annotated[
        Path | None,
        typer.Option(help="Painted background.png of the clip's atlas, or a layer of its size."),
    ] = None,
    frame_edit: Annotated[
        list[str] | None,
        typer.Option(metavar="N:PICTURE", help="A layer painted on frame N, for all frames."),
    ] = None,
    atlas_dir: Annotated[
        Path | None, typer.Option(help="Result of fit-atlas. Default: CLIP.atlas.")
    ] = None,
    opacity: Annotated[float, typer.Option(help="Of every layer, from 0 to 1.")] = 1.0,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Stack saved layers over a picture, or painted layers over a clip through its atlas.

    A picture may also be a larger or re-graded version of the one that was edited.
    """
    with _reporting(quiet, debug) as progress:
        if output is None:
            raise UsageError("-o OUT: name the file to write")
        edits = [path for path in layers or () if (path / "atlas-layer.png").exists()]
        if edits or fg_layer or bg_layer or frame_edit or atlas_dir:
            strange = next((path for path in layers or () if path not in edits), None)
            if strange is not None:
                raise UsageError(f"{strange}: no result of edit-video, as a clip takes")
            from ..pipelines.composite import composite_clip

            written = composite_clip(
                source,
                output,
                atlas_dir=atlas_dir,
                fg_layer=fg_layer,
                bg_layer=bg_layer,
                frame_edits=frame_edit or (),
                results=edits,
                opacity=opacity,
                overwrite=overwrite,
                progress=progress,
            )
        else:
            from ..pipelines.composite import composite

            written = composite(
                source,
                layers or (),
                output,
                opacity=opacity,
                overwrite=overwrite,
                progress=progress,
            )
        progress.message(f"{written} written")


WeightsName = Annotated[str, typer.Argument(metavar="NAME", help="open_clip's MODEL/TAG.")]


@weights_app.command("list")
def weights_list(as_json: Json = False, debug: Debug = False) -> None:
    """Encoders to choose from, which of them are on this machine, and the words of `swatch`."""
    with _reporting(False, debug, as_json):
        from ..guide.swatch import vocabulary
        from ..guide.weights import listing

        words = vocabulary.CONCEPTS
        if as_json:
            rows = [vars(row) for row in listing()]
            _print_json({"encoders": rows, "swatch": {k: list(v) for k, v in words.items()}})
            return
        for row in listing():
            state = (
                f"{row.size / 1e6:7.1f} MB"
                if row.size
                else "  embedded"
                if row.cached
                else "         -"
            )
            print_result(visible(f"{row.name:34} {state}  {row.where}"))
        print_result("\n`swatch` is small and knows only these words (and their synonyms):")
        for group, concepts in words.items():
            print_result(f"  {group}: {', '.join(concepts)}")


@weights_app.command("fetch")
def weights_fetch(
    name: WeightsName,
    force: Annotated[bool, typer.Option("--force", help="Also if they are here.")] = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Download the weights of NAME ahead of time."""
    with _reporting(quiet, debug) as progress:
        from ..guide.weights import fetch

        weights = fetch(name, progress, force)
        progress.message(f"{weights.path} (sha256 {weights.sha256})")


@weights_app.command("path")
def weights_path(
    name: Annotated[str | None, typer.Argument(help="open_clip's MODEL/TAG.")] = None,
    debug: Debug = False,
) -> None:
    """Print where the weights of NAME are, or the cache folder."""
    with _reporting(False, debug):
        from ..guide.weights import cache_folder, cached

        if name is None:
            print_result(visible(str(cache_folder())))
            return
        weights = cached(name)
        if weights is None:
            raise Text2LiveError(f"{name} is not here yet: text2live weights fetch {name}")
        print_result(visible(str(weights.path)))


@weights_app.command("verify")
def weights_verify(name: WeightsName, quiet: Quiet = False, debug: Debug = False) -> None:
    """Hash the file of NAME and compare it with what the hub published."""
    with _reporting(quiet, debug) as progress:
        from ..guide.weights import verify

        report = verify(name)
        if not report.ok:
            raise Text2LiveError(
                f"{report.path}: SHA-256 is {report.actual}, published was {report.published};"
                f" text2live weights fetch {name}"
            )
        progress.message(f"{report.path}: as published")


def _print_json(value: object) -> None:
    print_result(json.dumps(value, indent=2))


@contextmanager
def _reporting(quiet: bool, debug: bool, as_json: bool = False) -> Iterator[ConsoleProgress]:
    """Errors become one line and an exit code; this is the only place where they do."""
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)
    with ConsoleProgress(quiet) as progress, signals_raise():
        try:
            yield progress
        except typer.Exit:
            raise
        except KeyboardInterrupt as interrupt:
            end = interrupt if isinstance(interrupt, Stopped) else Stopped()
            progress.error("; ".join(text for text in ("stopped", end.kept) if text))
            raise typer.Exit(end.exit_code) from None
        except Exception as error:
            if debug:
                raise
            failure = as_known(error)
            line = " ".join(str(failure).split())
            if isinstance(failure, UnexpectedError):
                at = f" in “{progress.stage_name}”" if progress.stage_name else ""
                line = f"a fault of text2live{at}: {line} (--debug shows where)"
            progress.error(line)
            if as_json:
                cause = error.__cause__ if isinstance(error, UnexpectedError) else error
                _print_error(line, type(cause).__name__)
            raise typer.Exit(failure.exit_code) from error


def _print_error(line: str, kind: str) -> None:
    _print_json({"error": line, "kind": kind})


# click's ClickException, wherever this version of typer has it: some bring a click of their own.
_RefusedByTyper: Any = next(
    kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException"
)


def main() -> None:
    """The console script."""
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="replace")
    if "--json" not in sys.argv:
        app(prog_name="text2live")
    try:  # what typer refuses by itself is told as JSON too
        sys.exit(app(prog_name="text2live", standalone_mode=False))
    except _RefusedByTyper as error:
        error.show()
        _print_error(error.format_message(), type(error).__name__)
        sys.exit(error.exit_code)
