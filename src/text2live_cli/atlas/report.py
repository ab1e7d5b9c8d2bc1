"""`report.html`: one page that shows what a fit did, in any browser, from the file alone.

The page is `report.html` (a `string.Template`), `report.css` and `report.js` beside this module.
Films and pictures are data: URIs, and a Content-Security-Policy forbids everything else: nothing is
fetched, and no text of the report can become code.
"""

from __future__ import annotations

import math
import re
import unicodedata
from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from html import escape
from importlib.resources import files
from io import BytesIO
from itertools import pairwise
from string import Template

import numpy as np
from PIL import Image

MAX_ATLAS_SIDE = 1600
"""Larger atlases are shrunk for the report, to this long side in pixels."""

_MAX_TICKS = 6  # a telephone has room for this many frame numbers
_MAX_DOTS = 150  # of more frames, only the curve and the worst are drawn
_TURNING = frozenset({"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"})
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
    style, script = _page_file("report.css"), _page_file("report.js")
    return Template(_page_file("report.html")).substitute(
        policy=_policy(style, script),
        style=style,
        script=script,
        title=_text(report.title),
        judgement=_sentence(report.verdict[0]) if report.verdict else "",
        verdict="\n".join(f"<p>{_sentence(sentence)}</p>" for sentence in report.verdict[1:]),
        advice=_advice(report.advice),
        clips="\n".join(_film(caption, data) for caption, data in report.clips),
        last=len(report.psnr) - 1,
        chart=_chart(report.frame_numbers, report.psnr),
        chart_caption=_text(_chart_caption(report.frame_numbers, report.psnr)),
        checkerboard=_film("Checkerboard", report.checkerboard),
        atlases="\n".join(_atlas(caption, picture) for caption, picture in report.atlases),
        figures=_rows(report.figures),
        settings=_rows((name, _shown(value)) for name, value in report.settings.items()),
    )


def _page_file(name: str) -> str:
    return files(__package__).joinpath(name).read_text("utf-8")


def _policy(style: str, script: str) -> str:
    """Only what is inside the page, and of that only our own style and script."""
    return (
        "default-src 'none'; img-src data:; media-src data:; "
        f"style-src 'sha256-{_base64(sha256(style.encode()).digest())}'; "
        f"script-src 'sha256-{_base64(sha256(script.encode()).digest())}'; "
        "base-uri 'none'; form-action 'none'"
    )


def _base64(data: bytes) -> str:
    return b64encode(data).decode("ascii")


def _text(text: str) -> str:
    """Text as HTML, also within quotes, on one line and without what makes a file name look like
    another: control characters, undecodable bytes, turns of the writing direction.
    """
    return escape("".join("\N{REPLACEMENT CHARACTER}" if _is_unfit(c) else c for c in text))


def _is_unfit(char: str) -> bool:
    return unicodedata.category(char) in ("Cc", "Cs") or unicodedata.bidirectional(char) in _TURNING


def _sentence(text: str) -> str:
    """An option such as --frames is not broken over two lines."""
    return re.sub(r"--[a-z][a-z-]*", r"<code>\g<0></code>", _text(text))


def _advice(sentences: Sequence[str]) -> str:
    if not sentences:
        return ""
    items = "".join(f"<li>{_sentence(sentence)}</li>" for sentence in sentences)
    return f'<section class="advice"><h2>What to do</h2><ul>{items}</ul></section>'


def _film(caption: str, webm: bytes) -> str:
    """`controls` are for browsers without scripts: the script replaces them by one set for all."""
    caption = _text(caption)
    return (
        f'<figure class="film"><video aria-label="{caption}" muted playsinline controls '
        f'preload="auto" src="data:video/webm;base64,{_base64(webm)}"></video>'
        f"<figcaption>{caption}</figcaption></figure>"
    )


def _atlas(caption: str, picture: np.ndarray) -> str:
    height, width = picture.shape[:2]
    image = _shrunk(Image.fromarray(picture))
    data = BytesIO()
    image.save(data, "PNG")
    size = f"{width}×{height} pixels"
    if image.width < width:
        size += f", shown at {image.width}×{image.height}"
    return (
        f'<figure class="atlas"><img alt="{_text(caption)}" width="{image.width}" '
        f'height="{image.height}" src="data:image/png;base64,{_base64(data.getvalue())}">'
        f"<figcaption>{_text(caption)} <small>{size}</small></figcaption></figure>"
    )


def _shrunk(image: Image.Image) -> Image.Image:
    """Colours are weighted by alpha, so that those of uncovered pixels do not bleed in."""
    scale = MAX_ATLAS_SIDE / max(image.size)
    if scale >= 1:
        return image
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    return image.convert("RGBa").resize(size, Image.Resampling.BICUBIC).convert("RGBA")


def _rows(rows: Iterable[tuple[str, str]]) -> str:
    return "\n".join(
        f'<tr><th scope="row">{_text(name)}</th><td>{_text(value)}</td></tr>'
        for name, value in rows
    )


def _shown(value: object) -> str:
    """A setting in words."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{name}: {_shown(item)}" for name, item in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(_shown(item) for item in value)
    return str(value)


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
            f'<svg class="plot" role="img" aria-label="{_text(_chart_caption(numbers, psnr))}">',
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
