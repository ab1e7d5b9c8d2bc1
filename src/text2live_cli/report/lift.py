"""`report.html` of a lift: before, after, layer and composite, and what each step found."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..media.compositing import lay_over
from .image import view
from .page import html_page, photo


def lift_report_html(
    source: NDArray[np.uint8],
    edited: NDArray[np.uint8],
    layer: NDArray[np.uint8],
    record: Mapping[str, Any],
) -> str:
    """The page, to be saved as UTF-8; pictures (H, W, 3), the layer (H, W, 4) with straight alpha.

    `record` is what stands in run.json.
    """
    size = f"{source.shape[1]}×{source.shape[0]} pixels"
    given = f"{edited.shape[1]}×{edited.shape[0]} pixels"
    source, edited, layer = view(source), view(edited), view(layer)
    shown = (
        ("Before", source, size),
        ("After, as it was given", edited, given),
        ("Edit layer", layer, size),
        ("Composite", lay_over(source, layer), size),
    )
    summary = (
        f"{record['edited_share']:.1%} of the picture was edited;"
        f" {record['unchanged_share']:.1%} of the pixels are the source's, bit for bit.",
        "The layer is what was edited and nothing else: what was moved, toned, sharpened or"
        " compressed as a whole is undone.",
    )
    tables = [
        (title, list(record[name].items()))
        for title, name in (("Registration", "registration"), ("Tone", "tone"))
    ]
    return html_page(
        "lift",
        "text2live lift",
        f"{record['edited']['path']} over {record['input']['path']}",
        summary=summary,
        pictures=[photo(name, pixels)._replace(size=told) for name, pixels, told in shown],
        tables=[*tables, ("Settings", list(record["request"].items()))],
        command_line=record["command_line"],
    )
