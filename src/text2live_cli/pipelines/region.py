"""`find_region`: where in a picture an edit is to be, before anything is trained."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from ..device import choose_device
from ..errors import UsageError
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
from ..guide.region import Region, TextMap, small_copy
from ..media.pictures import read_mask, read_picture
from ..progress import Progress, Silent
from ..runs.folder import check_output
from ..runs.preflight import require_file_place
from .option_fields import taking
from .options import RegionOptions


def run_find_region(options: RegionOptions) -> Region:
    """The region in the picture `source` of what `text` names, or of what is pointed at.

    The options are the fields of `RegionOptions`, which says what each means. An encoder is loaded
    where there is a text. Raises UsageError for what cannot be asked for, Text2LiveError where
    nothing stands out.
    """
    progress = options.progress or Silent()
    picture = read_picture(Path(options.source))
    size = picture.height, picture.width
    hints = parse_hints(size, options.box, options.points, options.not_points)
    limit = read_mask(Path(options.mask), size, progress) if options.mask else None
    if options.text is None and not hints.given and limit is None:
        raise UsageError("say where: a TEXT, --box, --point or --mask")
    rgb = seen_colors(picture)
    where = None
    if options.text is not None:
        where = _where(options, options.text, rgb, hints.given or limit is not None, progress)
    return resolve_region(rgb, where, hints, limit, progress)


find_region = taking(RegionOptions)(run_find_region)


def _where(
    options: RegionOptions, text: str, rgb: NDArray[np.uint8], by_hand: bool, progress: Progress
) -> TextMap | None:
    """Where in `rgb` (H, W, 3) the text is; None where the encoder has no word for it."""
    file = Path(options.clip_weights) if options.clip_weights else None
    guide = load_guide(options.clip, file, progress).to(choose_device(options.device))
    text = check_text("TEXT", text, guide, progress, seen=True, placed=by_hand)
    if by_hand and not knows(guide, text):
        progress.message(f'{guide.name} has no word for "{text}": found without it')
        return None
    small = torch.from_numpy(small_copy(rgb)).to(guide.device).permute(2, 0, 1)[None] / 255
    text = choose_roi(guide, small, text, by_hand, "TEXT")
    progress.message(f'looked for: "{text}"')
    return text_map(guide, rgb, text)


class RegionFiles(NamedTuple):
    """The files that `show_region` wrote, and what it says of the region."""

    picture: Path
    mask: Path
    record: dict[str, Any]


def show_region(options: RegionOptions, output: Path | str, overwrite: bool = False) -> RegionFiles:
    """`find_region`, and two pictures of it: `output`, and its mask beside it.

    That is mask.png for region.png, else NAME.mask.png.

    Raises UsageError where one of them is there already, or is one of the inputs.
    """
    output = Path(output)
    mask = output.with_name(f"{output.stem}.mask.png")
    if output.name == "region.png":
        mask = output.with_name("mask.png")
    if output.name.lower() == "mask.png" or output.suffix.lower() != ".png":
        raise UsageError(f"-o {output}: name a PNG file, and not mask.png, which goes beside it")
    require_file_place("-o", output)
    for path in (output, mask):
        check_output(path, [options.source, options.mask, options.clip_weights], overwrite)
    region = run_find_region(options)
    write_region(output, mask, seen_colors(read_picture(Path(options.source))), region)
    return RegionFiles(output, mask, describe_region(region))
