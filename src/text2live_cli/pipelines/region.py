"""`find_region`: where in a picture an edit is to be, before anything is trained."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch

from ..device import choose_device
from ..errors import UsageError
from ..guide import weights
from ..guide.clip import load_guide
from ..guide.hints import parse_hints
from ..guide.picture_region import (
    describe_region,
    resolve_region,
    seen_colors,
    text_map,
    write_region,
)
from ..guide.prompts import check_text, choose_roi, knows
from ..guide.region import Region, small_copy
from ..media.pictures import read_mask, read_picture
from ..progress import Progress, Silent
from ..runs.folder import check_output
from ..runs.preflight import require_file_place
from ..texts import require_text


def find_region(
    source: Path | str,
    text: str | None = None,
    *,
    box: str | None = None,
    points: Sequence[str] = (),
    not_points: Sequence[str] = (),
    mask: Path | str | None = None,
    clip: str = weights.DEFAULT_CLIP,
    clip_weights: Path | str | None = None,
    device: str = "auto",
    progress: Progress | None = None,
) -> Region:
    """The region in the picture `source` of what `text` names, or of what is pointed at.

    `box` is "X,Y,W,H", `points` and `not_points` are "X,Y" on the object and beside it, in pixels
    or per cent; `mask` is a picture of the source's size, white where an edit may be. An encoder is
    loaded where there is a text. Raises UsageError for what cannot be asked for, Text2LiveError
    where nothing stands out.
    """
    progress = progress or Silent()
    picture = read_picture(Path(source))
    hints = parse_hints((picture.height, picture.width), box, points, not_points)
    limit = read_mask(Path(mask), (picture.height, picture.width)) if mask else None
    if text is None and not hints.given and limit is None:
        raise UsageError("say where: a TEXT, --box, --point or --mask")
    rgb = seen_colors(picture)
    where = None
    if text is not None:
        guide = load_guide(clip, Path(clip_weights) if clip_weights else None, progress)
        guide.to(choose_device(device))
        small = torch.from_numpy(small_copy(rgb)).to(guide.device).permute(2, 0, 1)[None] / 255
        if knows(guide, text) or not (hints.given or mask):
            text = choose_roi(guide, small, check_text("TEXT", text, guide, progress))
            progress.message(f'looked for: "{text}"')
            where = text_map(guide, rgb, text)
        else:
            progress.message(f'{guide.name} has no word for "{text}": found without it')
    return resolve_region(rgb, where, hints, limit, progress)


class RegionFiles(NamedTuple):
    """The files that `show_region` wrote, and what it says of the region."""

    picture: Path
    mask: Path
    record: dict[str, Any]


def show_region(
    source: Path | str,
    text: str | None,
    output: Path | str,
    *,
    overwrite: bool = False,
    progress: Progress | None = None,
    **options: Any,
) -> RegionFiles:
    """`find_region`, and two pictures of it: `output`, and mask.png beside it.

    Raises UsageError where one of them is there already, or is one of the inputs.
    """
    output = Path(output)
    mask = output.with_name("mask.png")
    require_text("TEXT", text)
    if output.name.lower() == mask.name or output.suffix.lower() != ".png":
        raise UsageError(f"-o {output}: name a PNG file, and not mask.png, which goes beside it")
    require_file_place("-o", output)
    for path in (output, mask):
        check_output(path, [source, options.get("mask"), options.get("clip_weights")], overwrite)
    region = find_region(source, text, progress=progress, **options)
    write_region(output, mask, seen_colors(read_picture(Path(source))), region)
    return RegionFiles(output, mask, describe_region(region))
