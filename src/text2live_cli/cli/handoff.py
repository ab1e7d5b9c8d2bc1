"""The commands that hand over to other programs, or take over from them."""

from __future__ import annotations

from collections.abc import Callable

from ..pipelines.lift_options import LiftOptions
from ..pipelines.maps_options import MapsOptions
from ..progress import Progress
from .options import Flags, taking_options
from .pipes import require_files
from .reporting import print_json, reporting


@taking_options(LiftOptions, Flags)
def lift_command(make_options: Callable[[Progress], LiftOptions], flags: Flags) -> None:
    """Make an edit layer of BEFORE and anybody's edited version of it.

    What was not edited stays BEFORE's, bit for bit. Moved, zoomed, toned and compressed is undone.

    Example: text2live lift photo.jpg from-another-editor.png
    """
    with reporting(flags) as progress:
        options = make_options(progress)
        require_files(options.source, options.edited, options.output)
        from ..pipelines.lift import run_lift

        result = run_lift(options)
        if flags.as_json:
            print_json(result.record)
        share = result.record["unchanged_share"]
        progress.message(f"{result.composite}: {share:.0%} of the pixels are the source's")
        progress.message(f"{result.layer}: the edit layer, RGBA; report.html beside it")


@taking_options(MapsOptions, Flags)
def export_maps_command(make_options: Callable[[Progress], MapsOptions], flags: Flags) -> None:
    """Write a clip's atlas for compositors: STMaps both ways, mattes, and a script for Nuke.

    Example: text2live export-maps clip.atlas
    """
    with reporting(flags) as progress:
        options = make_options(progress)
        require_files(options.atlas, options.output)
        from ..pipelines.export_maps import run_export_maps

        result = run_export_maps(options)
        if flags.as_json:
            print_json(result.record)
        first, last = result.record["frames"]
        progress.message(f"{result.folder}: maps of frames {first} to {last}")
        progress.message(f"{result.script}: for Nuke; docs/handoff.md for others")
