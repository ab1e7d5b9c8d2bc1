"""The commands: they parse, call one pipeline, and print. Nothing else."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from ..endings import Stopped, signals_raise
from ..errors import PoorAtlasError, Text2LiveError, UnexpectedError, UsageError
from ..pipelines.options import (
    FitOptions,
    ImageOptions,
    RegionOptions,
    VideoOptions,
)
from ..progress import Progress
from ..runs.keeping import as_known
from ..texts import visible
from .console import ConsoleProgress, print_result
from .options import Debug, Flags, Json, Overwrite, Quiet, RunFlags, taking_options

app = typer.Typer(
    name="text2live",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    rich_markup_mode="rich",
    help="Edit real photos and clips from a sentence (Text2LIVE): a small generator is trained on"
    " your one input, guided by CLIP, and delivers an RGBA edit layer over the untouched original.",
)
weights_app = typer.Typer(no_args_is_help=True, help="The CLIP weights on this machine.")
app.add_typer(weights_app, name="weights")


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
@taking_options(ImageOptions, RunFlags)
def edit_image_command(make_options: Callable[[Progress], ImageOptions], flags: RunFlags) -> None:
    """Edit one picture so that it fits PROMPT.

    Example: text2live edit-image cake.jpg "oreo cake"
    """
    with _reporting(flags) as progress:
        options = make_options(progress)
        if flags.dry_run:
            from ..pipelines.plans import likely_device, plan_image, require_free

            plan = plan_image(options, likely_device(options.device), progress)
            require_free(plan)
            _print_plan(plan.facts(), flags.as_json)
            return
        from ..pipelines.image import run_edit_image

        result = run_edit_image(options)
        if flags.as_json:
            _print_json(result.record)
        share = result.record["unchanged_share"]
        same = f"{share:.0%} of the pixels are the source's, bit for bit"
        progress.message(f"{result.composite}: {same}")
        progress.message(f"{result.layer}: the edit layer, RGBA")
        _tell_interrupted(result, progress)


@app.command("region")
@taking_options(RegionOptions, Flags)
def region_command(
    make_options: Callable[[Progress], RegionOptions],
    flags: Flags,
    output: Annotated[
        Path, typer.Option("-o", "--output", help="The picture of it; mask.png goes beside it.")
    ] = Path("region.png"),
    overwrite: Overwrite = False,
) -> None:
    """Show where an edit would be, before it costs anything.

    Example: text2live region cake.jpg "cake" --point 50%,60%
    """
    with _reporting(flags) as progress:
        options = make_options(progress)
        from ..pipelines.region import show_region

        files = show_region(options, output, overwrite)
        if flags.as_json:
            _print_json(files.record)
        progress.message(f"{output}: the region; {files.mask}: to be painted over, for --mask")


@app.command("edit-video")
@taking_options(VideoOptions, RunFlags)
def edit_video_command(make_options: Callable[[Progress], VideoOptions], flags: RunFlags) -> None:
    """Edit one layer of a clip so that it fits PROMPT, in all frames alike.

    Example: text2live edit-video clip.mp4 --atlas fg "rusty car"
    """
    with _reporting(flags) as progress:
        options = make_options(progress)
        if flags.dry_run:
            from ..pipelines.plans import likely_device, plan_video, require_free

            plan = plan_video(options, likely_device(options.device), progress)
            require_free(plan)
            _print_plan(plan.facts(), flags.as_json)
            return
        from ..pipelines.video import run_edit_video

        try:
            result = run_edit_video(options)
        except PoorAtlasError as error:
            if not _agreed(error, flags):
                raise
            result = run_edit_video(replace(options, any_atlas=True))
        if flags.as_json:
            _print_json(result.record)
        progress.message(f"{result.composite}: the edited clip; report.html beside it")
        _tell_interrupted(result, progress)


def _agreed(error: PoorAtlasError, flags: Flags) -> bool:
    """Whether whoever sits at the terminal, if anybody, wants to go on."""
    asks = sys.stdin is not None and sys.stdin.isatty() and sys.stderr is not None
    if not asks or not sys.stderr.isatty() or flags.quiet or flags.as_json:
        return False
    return typer.confirm(f"{visible(str(error))}\nGo on?", err=True)


def _tell_interrupted(result: Any, progress: ConsoleProgress) -> None:
    if result.interrupted:
        done = result.record["steps_done"]
        progress.warning(
            f"stopped after {done} of {result.record['settings']['steps']} steps;"
            " the same command with --resume goes on"
        )
        raise typer.Exit(Stopped.by(result.record["stopped_by"]).exit_code)


@app.command("fit-atlas")
@taking_options(FitOptions, RunFlags)
def fit_atlas_command(make_options: Callable[[Progress], FitOptions], flags: RunFlags) -> None:
    """Unwrap a clip into one foreground and one background picture.

    Example: text2live fit-atlas clip.mp4
    """
    with _reporting(flags) as progress:
        options = make_options(progress)
        if flags.dry_run:
            from ..pipelines.plans import likely_device, plan_fit

            plan = plan_fit(options, likely_device(options.device), progress)
            _print_plan(plan.facts(), flags.as_json)
            return
        from ..pipelines.fit import run_fit_atlas

        result = run_fit_atlas(options)
        if flags.as_json:
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
    with _reporting(Flags(quiet=quiet, debug=debug)) as progress:
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
    with _reporting(Flags(as_json=as_json, debug=debug)):
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
    with _reporting(Flags(quiet=quiet, debug=debug)) as progress:
        from ..guide.weights import fetch

        weights = fetch(name, progress, force)
        progress.message(f"{weights.path} (sha256 {weights.sha256})")


@weights_app.command("path")
def weights_path(
    name: Annotated[str | None, typer.Argument(help="open_clip's MODEL/TAG.")] = None,
    debug: Debug = False,
) -> None:
    """Print where the weights of NAME are, or the cache folder."""
    with _reporting(Flags(debug=debug)):
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
    with _reporting(Flags(quiet=quiet, debug=debug)) as progress:
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


def _print_plan(facts: dict[str, str], as_json: bool) -> None:
    if as_json:
        _print_json({"plan": facts})
        return
    for name, text in facts.items():
        print_result(visible(f"{name + ':':10} {text}"))


@contextmanager
def _reporting(flags: Flags) -> Iterator[ConsoleProgress]:
    """Errors become one line and an exit code; this is the only place where they do."""
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)
    quiet = flags.quiet or (flags.as_json and flags.style == "auto")
    with _console(flags, quiet) as progress, signals_raise():
        try:
            yield progress
        except typer.Exit:
            raise
        except KeyboardInterrupt as interrupt:
            end = interrupt if isinstance(interrupt, Stopped) else Stopped()
            progress.error("; ".join(text for text in ("stopped", end.kept) if text))
            raise typer.Exit(end.exit_code) from None
        except Exception as error:
            if flags.debug:
                raise
            failure = as_known(error)
            line = " ".join(str(failure).split())
            if isinstance(failure, UnexpectedError):
                at = f" in “{progress.stage_name}”" if progress.stage_name else ""
                line = f"a fault of text2live{at}: {line} (--debug shows where)"
            progress.error(line)
            if flags.as_json:
                cause = error.__cause__ if isinstance(error, UnexpectedError) else error
                _print_error(line, type(cause).__name__)
            raise typer.Exit(failure.exit_code) from error


def _console(flags: Flags, quiet: bool) -> ConsoleProgress:
    """The progress that was asked for; one that there is not is refused as every option is."""
    try:
        return ConsoleProgress(quiet, flags.style, flags.verbose)
    except UsageError as error:
        ConsoleProgress().error(str(error))
        raise typer.Exit(error.exit_code) from error


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
