"""`report.html`: one page that shows what a fit did, in any browser, from the file alone.

The page is what `html_page` gives, around `report.html` (a `string.Template`), with `report.css`
and `report.js`, which lie beside this module.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from string import Template

import numpy as np

from .page import (
    as_text,
    film,
    film_controls,
    html_page,
    in_words,
    notes,
    opening,
    page_part,
    picture,
    table,
)

_MAX_TICKS = 6  # a telephone has room for this many frame numbers
_MAX_DOTS = 150  # of more frames, only the curve and the worst are drawn
_NO_ERROR = 100.0  # dB: the scale of a curve without a single finite value


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
    content = Template(page_part(__package__, "atlas.html")).substitute(
        verdict=opening("Verdict", report.verdict),
        advice=notes("What to do", report.advice),
        clips="\n".join(film(caption, data) for caption, data in report.clips),
        controls=film_controls(len(report.psnr)),
        chart=_chart(report.frame_numbers, report.psnr),
        chart_caption=as_text(_chart_caption(report.frame_numbers, report.psnr)),
        checkerboard=film("Checkerboard", report.checkerboard),
        atlases="\n".join(picture(caption, rgba) for caption, rgba in report.atlases),
        figures=table(report.figures),
        settings=table((name, in_words(value)) for name, value in report.settings.items()),
    )
    return html_page(
        "text2live fit-atlas",
        report.title,
        content,
        style=page_part(__package__, "atlas.css"),
        script=page_part(__package__, "atlas.js"),
    )


# The curve. Positions are percentages of the plot, so that it fills any window while its text keeps
# its size; only the line needs a scaled drawing of its own.


def _chart(numbers: Sequence[int], psnr: Sequence[float]) -> str:
    finite = [value for value in psnr if math.isfinite(value)] or [_NO_ERROR]
    levels = _ticks(min(finite), max(finite))
    low, high = levels[0], levels[-1]
    across = _Scale(numbers[0], numbers[-1], 0, 100)
    down = _Scale(low, high, 100, 0)
    points = [
        (across(number), down(min(max(value, low), high)))
        for number, value in zip(numbers, psnr, strict=True)
    ]
    return "\n".join(
        (
            f'<svg class="plot" role="img" aria-label="{as_text(_chart_caption(numbers, psnr))}">',
            *(_level(value, down(value), levels[1] - levels[0]) for value in levels),
            *(_frame_tick(number, across(number)) for number in _frame_ticks(numbers)),
            '<text class="unit" x="-44" y="-14">PSNR in dB</text>',
            '<text class="unit end" x="100%" y="100%" dy="42">frame of the clip</text>',
            _line(points),
            '<line class="now" y2="100%"/>',
            *_points(numbers, psnr, points),
            "</svg>",
        )
    )


@dataclass(frozen=True)
class _Scale:
    """A linear scale; where it has no extent, all is in the middle."""

    start: float
    stop: float
    at_start: float
    at_stop: float

    def __call__(self, value: float) -> float:
        share = (value - self.start) / (self.stop - self.start) if self.stop > self.start else 0.5
        return self.at_start + share * (self.at_stop - self.at_start)


def _ticks(low: float, high: float, whole: bool = False) -> list[float]:
    """Round numbers from at or below `low` to at or above `high`, at least two."""
    span = max(high - low, 1.0)
    rough = span / (_MAX_TICKS - 2)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(step for factor in (1, 2, 5, 10) if (step := factor * power) >= rough * 0.999)
    if whole:
        step = max(step, 1.0)
    first, last = math.floor(low / step), math.ceil(high / step)
    return [step * k for k in range(first, max(last, first + 1) + 1)]


def _frame_ticks(numbers: Sequence[int]) -> list[int]:
    first, last = numbers[0], numbers[-1]
    inside = [round(tick) for tick in _ticks(first, last, whole=True) if first <= tick <= last]
    return inside or [first]


def _level(value: float, y: float, step: float) -> str:
    digits = max(0, -math.floor(math.log10(step)))
    return (
        f'<line class="grid" x2="100%" y1="{y:.3f}%" y2="{y:.3f}%"/>'
        f'<text class="end" x="-8" y="{y:.3f}%" dy="0.35em">{value:.{digits}f}</text>'
    )


def _frame_tick(number: int, x: float) -> str:
    return (
        f'<line class="grid" x1="{x:.3f}%" x2="{x:.3f}%" y2="100%"/>'
        f'<text class="middle" x="{x:.3f}%" y="100%" dy="20">{number}</text>'
    )


def _line(points: Sequence[tuple[float, float]]) -> str:
    path = " ".join(f"{x:.3f},{y:.3f}" for x, y in points)
    return (
        '<svg class="curve" viewBox="0 0 100 100" preserveAspectRatio="none" '
        f'width="100%" height="100%"><polyline points="{path}"/></svg>'
    )


def _points(
    numbers: Sequence[int], psnr: Sequence[float], points: Sequence[tuple[float, float]]
) -> list[str]:
    """A dot for each frame, and around it the strip of the plot that belongs to it."""
    xs = [x for x, _ in points]
    edges = [0.0, *((a + b) / 2 for a, b in pairwise(xs)), 100.0]
    worst = min(psnr)
    marks = []
    plain = "dense" if len(points) > _MAX_DOTS else "frame"
    for index, (x, y) in enumerate(points):
        kind = "worst" if psnr[index] == worst else plain
        left, right = edges[index], edges[index + 1]
        marks.append(
            f'<g class="{kind}" data-index="{index}">'
            f"<title>frame {numbers[index]}: {_decibels(psnr[index])}</title>"
            f'<rect x="{left:.3f}%" width="{right - left:.3f}%" height="100%"/>'
            f'<circle cx="{x:.3f}%" cy="{y:.3f}%" r="2.5"/></g>'
        )
    return marks


def _decibels(value: float) -> str:
    return f"{value:.2f} dB" if not math.isinf(value) else "exact"


def _chart_caption(numbers: Sequence[int], psnr: Sequence[float]) -> str:
    worst = min(range(len(psnr)), key=psnr.__getitem__)
    mean = sum(psnr) / len(psnr)
    return (
        f"PSNR of the reconstruction, frame by frame: mean {_decibels(mean)}, "
        f"worst {_decibels(psnr[worst])} at frame {numbers[worst]}."
    )
