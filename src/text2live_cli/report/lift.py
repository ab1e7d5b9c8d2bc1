"""`report.html` of a lift: before, after, layer and composite, and what each step found."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..media.compositing import lay_over
from .page import html_page, picture


def lift_report_html(
    source: NDArray[np.uint8],
    edited: NDArray[np.uint8],
    layer: NDArray[np.uint8],
    record: Mapping[str, Any],
) -> str:
    """The page, to be saved as UTF-8; pictures (H, W, 3), the layer (H, W, 4) with straight alpha.

    `record` is what stands in run.json.
    """
    shown = (
        ("Before", _opaque(source)),
        ("After, as it was given", _opaque(edited)),
        ("Edit layer", layer),
        ("Composite", _opaque(lay_over(source, layer))),
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
        pictures=[picture(caption, rgba) for caption, rgba in shown],
        tables=[*tables, ("Settings", list(record["request"].items()))],
        command_line=record["command_line"],
    )


def _opaque(color: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.dstack([color, np.full(color.shape[:2], 255, np.uint8)])
