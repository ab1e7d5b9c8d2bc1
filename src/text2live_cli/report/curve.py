"""The PSNR of a reconstruction over the frames of its clip, drawn by matplotlib for a web page."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from io import StringIO
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_SIZE = (576, 198)  # of the drawing, points
_PLOT = (44, 24, 524, 132)  # of what lies between its axes: left, top, width, height
_MAX_TICKS = 5  # a telephone has room for this many frame numbers
_MAX_DOTS = 150  # of more frames, only the curve and the worst are drawn
_NO_ERROR = 100.0  # dB: the scale of a curve without a single finite value
_RULE, _ACCENT = "#d9d9d3", "#1f5fa8"  # by which atlas.css knows grid and curve


class Mark(NamedTuple):
    """What stands for a frame: a dot, and around it a strip of the plot to click at."""

    kind: str
    """"frame", "dense" (its dot is not drawn) or "worst"."""
    words: str
    x: float
    """Per cent of the plot's width; so is `strip`, its left edge and width."""
    y: float
    """Per cent of the plot's height, from the top."""
    strip: tuple[float, float]


@dataclass(frozen=True)
class Curve:
    """A drawing, and what belongs upon it; lengths in points of the drawing."""

    drawing: str
    """Markup within an SVG element: axes, grid and curve."""
    marks: tuple[Mark, ...]
    width: int = _SIZE[0]
    height: int = _SIZE[1]
    left: int = _PLOT[0]
    """Where the plot lies, between its axes."""
    top: int = _PLOT[1]
    across: int = _PLOT[2]
    down: int = _PLOT[3]


def psnr_curve(numbers: Sequence[int], psnr: Sequence[float]) -> Curve:
    """The curve of `psnr` (dB, may be infinite) at the frames called `numbers` (ascending).

    The same values give the same drawing, byte for byte.
    """
    from markupsafe import Markup
    from matplotlib import rc_context  # slow to import, and needed once
    from matplotlib.figure import Figure

    with rc_context({"svg.hashsalt": "text2live", "svg.fonttype": "none", "path.simplify": False}):
        figure = Figure(figsize=(_SIZE[0] / 72, _SIZE[1] / 72))
        axes = _plot(figure, numbers, psnr)
        data = StringIO()
        figure.savefig(data, format="svg", metadata=dict.fromkeys(("Date", "Creator"), None))
    return Curve(Markup(_for_a_page(data.getvalue())), tuple(_marks(axes, numbers, psnr)))


def decibels(value: float) -> str:
    """A PSNR in words."""
    return f"{value:.2f} dB" if not math.isinf(value) else "exact"


def _plot(figure: Figure, numbers: Sequence[int], psnr: Sequence[float]) -> Axes:
    from matplotlib.ticker import MaxNLocator

    left, top, width, height = _PLOT
    bottom = _SIZE[1] - top - height
    axes = figure.add_axes(
        (left / _SIZE[0], bottom / _SIZE[1], width / _SIZE[0], height / _SIZE[1]), frameon=False
    )
    figure.patch.set_visible(False)
    finite = [value for value in psnr if math.isfinite(value)] or [_NO_ERROR]
    levels = MaxNLocator(_MAX_TICKS - 1)
    low, *_, high = levels.tick_values(min(finite), max(max(finite), min(finite) + 1))
    alone = 0.5 if numbers[0] == numbers[-1] else 0.0
    axes.set_xlim(numbers[0] - alone, numbers[-1] + alone)
    axes.set_ylim(low, high)
    axes.xaxis.set_major_locator(MaxNLocator(_MAX_TICKS, integer=True))
    axes.yaxis.set_major_locator(levels)
    axes.ticklabel_format(useOffset=False, style="plain")
    axes.tick_params(length=0)
    axes.grid(color=_RULE)
    axes.set_title("PSNR in dB", loc="left", fontsize=10)
    axes.set_xlabel("frame of the clip", loc="right")
    axes.plot(numbers, [min(value, high) for value in psnr], color=_ACCENT, lw=1.5, clip_on=False)
    return axes


def _for_a_page(drawing: str) -> str:
    """What is inside an SVG file, without styles: a page's policy allows only the page's own.

    Styles become attributes, which atlas.css overrules; the type is the page's.
    """
    inside = drawing[drawing.index(">", drawing.index("<svg")) + 1 : drawing.rindex("</svg>")]
    inside = re.sub(r"<defs>\s*<style.*?</style>\s*</defs>", "", inside, flags=re.DOTALL)
    inside = re.sub(r"<metadata>.*?</metadata>", "", inside, flags=re.DOTALL)
    return re.sub(r' style="([^"]*)"', lambda match: _attributes(match[1]), inside)


def _attributes(style: str) -> str:
    pairs = (part.partition(":")[::2] for part in style.split(";") if part.strip())
    return "".join(
        f' {name.strip()}="{value.strip()}"' for name, value in pairs if "font" not in name
    )


def _marks(axes: Axes, numbers: Sequence[int], psnr: Sequence[float]) -> list[Mark]:
    (first, last), (low, high) = axes.get_xlim(), axes.get_ylim()
    xs = [100 * (number - first) / (last - first) for number in numbers]
    edges = [0.0, *((a + b) / 2 for a, b in pairwise(xs)), 100.0]
    worst = min(psnr)
    plain = "dense" if len(xs) > _MAX_DOTS else "frame"
    return [
        Mark(
            kind="worst" if value == worst else plain,
            words=f"frame {numbers[index]}: {decibels(value)}",
            x=round(xs[index], 3),
            y=round(100 * (high - min(value, high)) / (high - low), 3),
            strip=(round(edges[index], 3), round(edges[index + 1] - edges[index], 3)),
        )
        for index, value in enumerate(psnr)
    ]
