"""The commands about many edits: run them, and look at what came of them."""

from __future__ import annotations

from collections.abc import Callable

import typer

from ..batch.options import BatchOptions
from ..endings import Stopped
from ..pipelines.apply_options import ApplyOptions
from ..pipelines.gallery_options import GalleryOptions
from ..pipelines.options import ImageOptions, VideoOptions
from ..pipelines.preview_options import PreviewOptions
from ..progress import Progress
from .options import BatchFlags, Flags, taking_options
from .pipes import require_files
from .reporting import print_json, print_plan, reporting


@taking_options(BatchOptions, BatchFlags, shared=(VideoOptions, ImageOptions))
def batch_command(make_options: Callable[[Progress], BatchOptions], flags: BatchFlags) -> None:
    """Run many edits, of a file or of pictures × prompts; the same command goes on after any end.

    Example: text2live batch --images 'photos/*.jpg' --prompt "oreo cake" --clip swatch
    """
    with reporting(flags) as progress:
        options = make_options(progress)
        from ..batch.run import planned, run_batch
        from .batch_view import BatchView, print_table

        if flags.dry_run:
            rows = {job.name: state or "to be run" for job, state in planned(options)}
            print_plan(rows, flags.as_json)
            return
        with BatchView(progress) as view:
            result = run_batch(options, view)
        if flags.as_json:
            print_json(result.record())
        print_table(result, progress)
        if result.stopped_by is not None:
            raise typer.Exit(Stopped.by(result.stopped_by).exit_code)
        if not result.good:
            raise typer.Exit(1)


@taking_options(ApplyOptions, Flags)
def apply_command(make_options: Callable[[Progress], ApplyOptions], flags: Flags) -> None:
    """Apply the generator of a finished edit to other pictures, in one pass each.

    Where the edit is, is found anew in each.

    Example: text2live apply cake.oreo-cake another-cake.jpg
    """
    with reporting(flags) as progress:
        options = make_options(progress)
        require_files(options.result, *options.pictures, options.output)
        from ..pipelines.apply import run_apply

        result = run_apply(options)
        if flags.as_json:
            print_json(result.record())
        for one in result.results:
            progress.message(f"{one.composite}: {one.record['figures']['verdict']}; layer.png, too")
        if result.failures:
            progress.warning(f"{len(result.failures)} of {len(options.pictures)} failed")
            raise typer.Exit(1)


@taking_options(PreviewOptions, Flags)
def preview_command(make_options: Callable[[Progress], PreviewOptions], flags: Flags) -> None:
    """Show in seconds where an edit would be, how it begins, and what all of it would cost.

    Example: text2live preview cake.jpg "oreo cake"
    """
    with reporting(flags) as progress:
        options = make_options(progress)
        require_files(options.source, options.output)
        progress.shows_previews = False  # its folder goes with it
        from ..pipelines.preview import run_preview

        result = run_preview(options)
        if flags.as_json:
            print_json(result.record)
        else:
            print_plan(result.facts(), False)
        progress.message(f"{result.picture}: source, region and draft side by side")


@taking_options(GalleryOptions, Flags)
def report_command(make_options: Callable[[Progress], GalleryOptions], flags: Flags) -> None:
    """Make one page of many results, to look at in a browser: filtered and sorted there.

    Example: text2live report batch
    """
    with reporting(flags) as progress:
        options = make_options(progress)
        from ..pipelines.gallery import run_gallery

        result = run_gallery(options)
        if flags.as_json:
            print_json(result.record())
        counts = ", ".join(f"{number} {state}" for state, number in result.counts.items())
        progress.message(f"{result.page}: {counts}")
