"""What can be asked of `export-maps`, once, as `options` says it of the other commands."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import Annotated

from ..config import Help
from ..progress import Progress
from .options import OVERWRITE


@dataclass(frozen=True)
class MapsOptions:
    """Of `export-maps`."""

    atlas: Annotated[
        Path | str, Help("The folder that fit-atlas made of a clip.", metavar="CLIP.atlas")
    ]
    _: KW_ONLY
    output: Annotated[
        Path | str | None,
        Help("Folder of the maps. Default: CLIP.maps.", flag="-o/--output"),
    ] = None
    clip: Annotated[
        Path | str | None,
        Help("The clip, for the Nuke script. Default: the one beside the atlas."),
    ] = None
    overwrite: Annotated[bool, OVERWRITE] = False
    device: Annotated[str, Help("auto, cuda, mps or cpu.")] = "auto"
    progress: Progress | None = None
