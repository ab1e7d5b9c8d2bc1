"""The commands: they parse, call one pipeline, and print. Nothing else."""

from __future__ import annotations

import atexit
import gc
import shlex
import sys
import time
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from ..endings import Stopped
from ..errors import PoorAtlasError
from ..pipelines.options import (
    CompositeOptions,
    FitOptions,
    ImageOptions,
    RegionOptions,
    VideoOptions,
)
from ..progress import Progress
from ..texts import shown_path, visible
from .console import ConsoleProgress, print_result
from .handoff import export_maps_command, lift_command
from .hints import RefusedByTyper, TakesAPattern, TakesASentence
from .many import apply_command, batch_command, preview_command, report_command
from .options import (
    Debug,
    EditFlags,
    Flags,
    Json,
    Overwrite,
    RunFlags,
    taking_options,
)
from .pipes import piped, require_files
from .reporting import print_error, print_json, print_plan, reporting
from .terminal_picture import show_pictures
from .weights import weights_app

_BEGIN: ContextVar[float | None] = ContextVar("begin", default=None)
"""When the process began, by `time.monotonic`: what it loads counts for `--minutes`. None where it
is not the command's own."""

app = typer.Typer(
    name="text2live",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    rich_markup_mode="rich",
    help="Edit real photos and clips from a sentence (Text2LIVE): a small generator is trained on"
    " your one input, guided by CLIP, and delivers an RGBA edit layer over the untouched original.",
)
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


@app.command("edit-image", cls=TakesASentence)
@taking_options(ImageOptions, EditFlags)
def edit_image_command(make_options: Callable[[Progress], ImageOptions], flags: EditFlags) -> None:
    """Edit one picture so that it fits PROMPT.

    Example: text2live edit-image cake.jpg "oreo cake"
    """
    alone = {"--json": flags.as_json, "--dry-run": flags.dry_run, "--tries": flags.several}
    with reporting(flags) as progress, piped(make_options(progress), alone) as pipe:
        options, sends = pipe
        progress.shows_previews = not sends
        if flags.dry_run:
            from ..pipelines.done import finished
            from ..pipelines.dry_run import DONE, image_facts, likely_device
            from ..pipelines.plans import plan_image

            plan = plan_image(options, likely_device(options.device), progress)
            done = finished(plan) is not None
            print_plan(DONE if done else image_facts(plan), flags.as_json)
            return
        from ..pipelines.done import done_image, tell_done

        result = None if flags.several else done_image(options)
        if result is not None:
            progress.message(tell_done(result.folder))
        else:
            result = _edited(options, flags)
        if flags.as_json:
            print_json(result.record)
        if not sends:
            _tell_files(result, progress)
        if not result.interrupted:
            _tell_figures(result.record, progress)
        _tell_interrupted(result, progress, is_kept=not sends)
        if not sends and not flags.no_picture:
            show_pictures([Path(options.source), result.composite], progress)
        if not sends:
            _tell_next(options, result, progress)


def _tell_files(result: Any, progress: ConsoleProgress) -> None:
    share = result.record["unchanged_share"]
    same = f"{share:.0%} of the pixels are the source's, bit for bit"
    if result.copy is not None:  # which may be lossy
        progress.message(f"{result.copy}: the edited picture")
    progress.message(f"{result.composite}: {same}")
    progress.message(f"{result.layer}: the edit layer, RGBA; report.html beside it")


def _tell_next(options: ImageOptions, result: Any, progress: ConsoleProgress) -> None:
    seed = result.record["seed"] + 1
    other = f"--seed {seed} -o {shlex.quote(f'{result.folder}.{seed}')}"
    weaker = ["text2live", "composite", str(options.source), str(result.folder)]
    weaker += ["-o", "weaker.png", "--opacity", "0.7"]
    progress.message(f"next: {other} for another variation; {shlex.join(weaker)}")


@app.command("region", cls=TakesASentence)
@taking_options(RegionOptions, Flags)
def region_command(
    make_options: Callable[[Progress], RegionOptions],
    flags: Flags,
    output: Annotated[
        Path,
        typer.Option(
            "-o",
            "--output",
            help="The picture of it; mask.png (else NAME.mask.png) goes beside it.",
        ),
    ] = Path("region.png"),
    overwrite: Overwrite = False,
) -> None:
    """Show where an edit would be, before it costs anything.

    Example: text2live region cake.jpg "cake" --point 50%,60%
    """
    with reporting(flags) as progress:
        options = make_options(progress)
        from ..pipelines.region import show_region

        files = show_region(options, output, overwrite)
        if flags.as_json:
            print_json(files.record)
        progress.message(f"{output}: the region; {files.mask}: to be painted over, for --mask")


@app.command("edit-video", cls=TakesASentence)
@taking_options(VideoOptions, EditFlags)
def edit_video_command(make_options: Callable[[Progress], VideoOptions], flags: EditFlags) -> None:
    """Edit one layer of a clip so that it fits PROMPT, in all frames alike.

    Example: text2live edit-video clip.mp4 --atlas fg "rusty car"
    """
    with reporting(flags) as progress:
        options = make_options(progress)
        require_files(options.source, options.output)
        if flags.dry_run:
            from ..pipelines.done import finished
            from ..pipelines.dry_run import DONE, likely_device, video_facts
            from ..pipelines.plans import plan_video

            plan = plan_video(options, likely_device(options.device), progress)
            done = finished(plan) is not None
            print_plan(DONE if done else video_facts(plan), flags.as_json)
            return
        from ..pipelines.done import done_video, tell_done

        result = None if flags.several else done_video(options)
        if result is not None:
            progress.message(tell_done(result.folder))
        else:
            result = _edited_clip(options, flags)
        if flags.as_json:
            print_json(result.record)
        _tell_films(result, progress)
        if not result.interrupted:
            _tell_figures(result.record, progress)
        _tell_interrupted(result, progress)


def _tell_films(result: Any, progress: ConsoleProgress) -> None:
    place = "beside it" if result.copy is None else f"in {result.folder}"
    clip = result.copy or result.composite
    progress.message(f"{clip}: the edited clip; report.html {place}")


def _edited(options: Any, flags: EditFlags, begin: float | None = None) -> Any:
    """The result of one edit, which began at `begin`, or with the process, or of several."""
    begin = _BEGIN.get() if begin is None else begin
    if flags.several:
        from ..batch.tries import Tries, try_edits

        return try_edits(options, Tries(flags.tries, flags.also_try))
    if isinstance(options, ImageOptions):
        from ..pipelines.image import run_edit_image

        return run_edit_image(options, begin=begin)
    from ..pipelines.video import run_edit_video

    return run_edit_video(options, begin=begin)


def _edited_clip(options: VideoOptions, flags: EditFlags) -> Any:
    """The edit, also on a poor atlas where the user agrees; the time for the answer is free."""
    begin = _BEGIN.get() or time.monotonic()
    try:
        return _edited(options, flags, begin)
    except PoorAtlasError as error:
        asked = time.monotonic()
        if not _agreed(error, flags):
            raise
        waited = time.monotonic() - asked
        return _edited(replace(options, any_atlas=True), flags, begin + waited)


def _agreed(error: PoorAtlasError, flags: Flags) -> bool:
    """Whether whoever sits at the terminal, if anybody, wants to go on."""
    asks = sys.stdin is not None and sys.stdin.isatty() and sys.stderr is not None
    if not asks or not sys.stderr.isatty() or flags.quiet or flags.as_json:
        return False
    try:
        return typer.confirm(f"{visible(str(error))}\nGo on?", err=True)
    except typer.Abort:
        return False


def _tell_figures(record: dict[str, Any], progress: ConsoleProgress) -> None:
    """How good the edit is, in one line, and what to do where it is not."""
    figures = record.get("figures")
    if figures is None:  # of a result from before there were any
        return
    progress.message(
        f"{figures['verdict']}: likeness to the text {figures['text_before']:.2f} →"
        f" {figures['text_after']:.2f}, {figures['untouched_share']:.0%} outside of the region"
        " untouched"
    )
    for sentence in figures["advice"]:
        progress.message(sentence)


def _tell_interrupted(result: Any, progress: ConsoleProgress, is_kept: bool = True) -> None:
    if result.interrupted:
        done, steps = result.record["steps_done"], result.record["settings"]["steps"]
        how = "the same command with --resume goes on"
        how = how if is_kept else "nothing was sent or kept; -o FOLDER keeps what --resume needs"
        progress.warning(f"stopped after {done} of {steps} steps; {how}")
        raise typer.Exit(Stopped.by(result.record["stopped_by"]).exit_code)


@app.command("fit-atlas")
@taking_options(FitOptions, RunFlags)
def fit_atlas_command(make_options: Callable[[Progress], FitOptions], flags: RunFlags) -> None:
    """Unwrap a clip into one foreground and one background picture.

    Example: text2live fit-atlas clip.mp4
    """
    with reporting(flags) as progress:
        options = make_options(progress)
        require_files(options.source, options.output)
        if flags.dry_run:
            from ..pipelines.dry_run import fit_facts, likely_device
            from ..pipelines.plans import plan_fit

            plan = plan_fit(options, likely_device(options.device), progress)
            print_plan(fit_facts(plan), flags.as_json)
            return
        from ..pipelines.fit import run_fit_atlas

        result = run_fit_atlas(options)
        if flags.as_json:
            print_json(result.record)
        progress.message(f"{result.folder}: look at report.html")
        if result.interrupted:
            done = result.record["steps_done"]
            progress.warning(f"stopped after {done} steps; the same command with --resume goes on")
            raise typer.Exit(Stopped.by(result.record["stopped_by"]).exit_code)


@app.command("composite")
@taking_options(CompositeOptions, Flags)
def composite_command(make_options: Callable[[Progress], CompositeOptions], flags: Flags) -> None:
    """Stack saved layers over a picture, or painted layers over a clip through its atlas.

    A picture may also be a larger or re-graded version of the one that was edited.

    Example: text2live composite cake.jpg cake.oreo-cake -o weaker.png --opacity 0.7
    """
    alone = {"--json": flags.as_json}
    with reporting(flags) as progress, piped(make_options(progress), alone) as pipe:
        options, sends = pipe
        from ..pipelines.composite import run_composite

        path = run_composite(options)
        if flags.as_json:
            print_json({"command": "composite", "output": shown_path(path)})
        if not sends:
            progress.message(f"{path} written")


app.command("lift")(lift_command)
app.command("export-maps")(export_maps_command)
app.command("preview", cls=TakesASentence)(preview_command)
app.command("apply")(apply_command)
app.command("batch", cls=TakesAPattern)(batch_command)
app.command("report")(report_command)


@app.command()
def doctor(as_json: Json = False, debug: Debug = False) -> None:
    """Look at what of this machine an edit needs; one line each, with what to do.

    Example: text2live doctor
    """
    with reporting(Flags(as_json=as_json, debug=debug)):
        from ..pipelines.doctor import examine

        findings = []
        for finding in examine():
            findings.append(vars(finding))
            if not as_json:
                sign = "ok" if finding.good else "!!"
                print_result(visible(f"{sign}  {finding.name + ':':12} {finding.text}"))
        if as_json:
            print_json({"findings": findings})
        if not all(finding["good"] for finding in findings):
            raise typer.Exit(1)


def main() -> None:
    """The console script."""
    _BEGIN.set(time.monotonic())
    atexit.register(gc.freeze)  # a process that ends need not look for garbage: .3 s with torch
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="replace")
    if "--json" not in sys.argv:
        app(prog_name="text2live")
    try:  # what typer refuses by itself is told as JSON too
        sys.exit(app(prog_name="text2live", standalone_mode=False))
    except RefusedByTyper as error:
        error.show()
        print_error(error.format_message(), type(error).__name__)
        sys.exit(error.exit_code)
