"""`report.html`: one page that shows what a fit did, in any browser, from the file alone.

The page is what `html_page` makes of `atlas.html`, `atlas.css` and `atlas.js` beside this module.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from .curve import decibels, psnr_curve
from .page import film, html_page, picture


@dataclass(frozen=True)
class Report:
    """What the page shows. All texts are plain: any characters, no markup."""

    title: str
    verdict: tuple[str, ...]
    """Sentences; the first is the overall judgement."""
    advice: tuple[str, ...]
    """What to do, a sentence each; may be empty."""
    figures: tuple[tuple[str, str], ...]
    """Name and value with its unit."""
    psnr: tuple[float, ...]
    """Of every shown frame, in dB; infinite where a frame is reconstructed exactly."""
    frame_numbers: tuple[int, ...]
    """Their numbers in the source clip, ascending."""
    atlases: tuple[tuple[str, np.ndarray], ...]
    """Caption and picture: (H, W, 4) uint8 RGBA, alpha straight."""
    clips: tuple[tuple[str, bytes], ...]
    """Caption and WebM: original, reconstruction, error; each of the shown frames, in order."""
    checkerboard: bytes
    """WebM of the shown frames: a checkerboard mapped through the layers."""
    settings: Mapping[str, object]

    def __post_init__(self) -> None:
        if not self.psnr or len(self.psnr) != len(self.frame_numbers):
            raise ValueError(f"{len(self.psnr)} values for {len(self.frame_numbers)} frames")


def report_html(report: Report) -> str:
    """The page, to be saved as UTF-8; it needs no other file and no network."""
    return html_page(
        "atlas",
        "text2live fit-atlas",
        report.title,
        ("films",),
        report=report,
        films=[film(caption, data) for caption, data in report.clips],
        curve=psnr_curve(report.frame_numbers, report.psnr),
        caption=_caption(report.frame_numbers, report.psnr),
        checkerboard=film("Checkerboard", report.checkerboard),
        atlases=[picture(caption, rgba) for caption, rgba in report.atlases],
    )


def _caption(numbers: Sequence[int], psnr: Sequence[float]) -> str:
    worst = min(range(len(psnr)), key=psnr.__getitem__)
    mean = sum(psnr) / len(psnr)
    return (
        f"PSNR of the reconstruction, frame by frame: mean {decibels(mean)}, "
        f"worst {decibels(psnr[worst])} at frame {numbers[worst]}."
    )
