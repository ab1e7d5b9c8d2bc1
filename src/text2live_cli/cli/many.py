"""The commands about many edits: run them, and look at what came of them."""

from __future__ import annotations

from collections.abc import Callable

import typer

from ..batch.options import BatchOptions
from ..endings import Stopped
from ..pipelines.gallery_options import GalleryOptions
from ..pipelines.options import ImageOptions, VideoOptions
from ..progress import Progress
from .options import BatchFlags, Flags, taking_options
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
