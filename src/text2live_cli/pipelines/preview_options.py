"""What can be asked of `preview`: all of an edit, and where the picture of it goes."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass, fields
from pathlib import Path
from typing import Annotated

from ..config import Help
from .options import ImageOptions


@dataclass(frozen=True)
class PreviewOptions(ImageOptions):
    """Of `preview`."""

    _: KW_ONLY
    output: Annotated[
        Path | str | None,
        Help("The picture of it. Default: NAME.preview.png.", flag="-o/--output"),
    ] = None

    def edit(self) -> ImageOptions:
        """The edit that is meant."""
        names = [
            one.name for one in fields(ImageOptions) if one.name not in ("output", "overwrite")
        ]
        return ImageOptions(**{name: getattr(self, name) for name in names})
