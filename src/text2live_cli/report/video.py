"""`report.html` of a video edit: what the edit did, in any browser, from the file alone.

The page is what `html_page` makes of `video.html`, `video.css` and `video.js` beside this module.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO

import av
import numpy as np

from .page import film, html_page, picture


@dataclass(frozen=True)
class VideoReport:
    """What the page shows. All texts are plain: any characters, no markup."""

    title: str
    summary: tuple[str, ...]
    """Sentences; the first says what was done."""
    original: bytes
    """WebM of the shown frames, as `webm_bytes` makes it."""
    composite: bytes
    """WebM of the same frames, of the same size."""
    screen: bytes
    """WebM of the same frames: the edit layer over green."""
    atlas: tuple[np.ndarray, np.ndarray] | None
    """Before and after, (H, W, 4) uint8 RGBA, alpha straight; None for an edit without an atlas."""
    figures: tuple[tuple[str, str], ...]
    """Name and value with its unit."""
    settings: Mapping[str, object]
    prompts: tuple[tuple[str, str], ...] = ()
    """What a text is for, and the text."""
    warnings: tuple[str, ...] = ()
    """Sentences."""
    first_frame: int = 0
    """The number, in the source clip, of the first frame of the films."""


def video_report_html(report: VideoReport) -> str:
    """The page, to be saved as UTF-8; it needs no other file and no network.

    Raises ValueError where the films have not the same number of frames.
    """
    before_after = zip(("Atlas before", "Atlas after"), report.atlas or (), strict=False)
    return html_page(
        "video",
        "text2live edit-video",
        report.title,
        ("films", "wipe"),
        report=report,
        original=film("Original", report.original),
        composite=film("Composite", report.composite),
        screen=film("Edit layer over green", report.screen),
        frames=_frames(report),
        atlases=[picture(caption, rgba) for caption, rgba in before_after],
    )


def _frames(report: VideoReport) -> int:
    """How many frames each of the films has."""
    counts = [_count(webm) for webm in (report.original, report.composite, report.screen)]
    if len(set(counts)) > 1:
        raise ValueError("films of {}, {} and {} frames".format(*counts))
    return counts[0]


def _count(webm: bytes) -> int:
    with av.open(BytesIO(webm)) as container:
        return sum(packet.size > 0 for packet in container.demux(video=0))  # the last is empty
