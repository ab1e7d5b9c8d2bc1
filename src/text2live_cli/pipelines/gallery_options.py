"""What can be asked of `report`, once, as `options` says it of the other commands."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import Annotated

from ..config import Help
from ..progress import Progress


@dataclass(frozen=True)
class GalleryOptions:
    """Of `report`."""

    folders: Annotated[
        Sequence[Path | str], Help("Folders of results, or that hold such.", metavar="DIR...")
    ]
    _: KW_ONLY
    output: Annotated[
        Path | str | None,
        Help("The page. Default: gallery.html in the first folder.", flag="-o/--output"),
    ] = None
    overwrite: Annotated[bool, Help("Replace a file that is no gallery, too.")] = False
    progress: Progress | None = None
