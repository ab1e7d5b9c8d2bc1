"""Before and after, where the terminal shows pictures (sixel, kitty): the extra `pictures`."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import Any

from .console import ConsoleProgress

_HEIGHT, _GAP, _LINES = 240, 6, 12  # pixels; lines of the terminal


def show_pictures(paths: list[Path], progress: ConsoleProgress) -> None:
    """Show them side by side, or nothing: without the extra, a terminal, or one that can."""
    streams = (sys.__stdin__, sys.__stdout__, sys.__stderr__)
    if progress.style != "bar" or not all(one is not None and one.isatty() for one in streams):
        return
    with contextlib.suppress(Exception):  # a comfort: whatever it meets there, the edit is done
        from textual_image.renderable import Image, SixelImage, TGPImage  # asks the terminal

        if Image in (SixelImage, TGPImage):
            progress.console.print(Image(_side_by_side(paths), width="auto", height=_LINES))


def _side_by_side(paths: list[Path]) -> Any:
    from PIL import Image, ImageOps

    from ..media.pictures import opened

    pictures = []
    for path in paths:
        with opened(path) as image:
            upright = ImageOps.exif_transpose(image).convert("RGB")
            width = max(1, round(_HEIGHT * upright.width / upright.height))
            pictures.append(upright.resize((width, _HEIGHT)))
    whole = Image.new("RGB", (sum(one.width + _GAP for one in pictures) - _GAP, _HEIGHT))
    x = 0
    for one in pictures:
        whole.paste(one, (x, 0))
        x += one.width + _GAP
    return whole
