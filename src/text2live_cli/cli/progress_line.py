"""One line of progress, as wide as there is room for: pure functions of figures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ..texts import clock

_BAR = (8, 32)  # characters of a bar, at the least and at the most
_FULL, _EMPTY = "━", "─"


@dataclass(frozen=True)
class Progress:
    """How far a stage is."""

    name: str
    done: int
    total: int | None
    unit: str = "step"
    pace: float | None = None
    """Seconds a unit; None where nothing is known yet."""
    figures: Mapping[str, float] | None = None
    """Terms that are shown; their sum is the objective."""

    @property
    def count(self) -> str:
        """ "37/120", bytes in megabytes."""
        if self.unit == "byte":
            whole = "?" if self.total is None else f"{self.total / 1e6:.1f}"
            return f"{self.done / 1e6:.1f}/{whole} MB"
        if self.total is None:
            return str(self.done) if self.done else ""
        return f"{self.done}/{self.total}"

    @property
    def speed(self) -> str:
        """ "0.80 s a step"; nothing for stages without figures, which are short."""
        if self.pace is None or self.figures is None:
            return ""
        return f"{self.pace:.2f} s a {self.unit}"

    @property
    def remaining(self) -> str:
        """ "1:05 left"."""
        if self.pace is None or self.total is None:
            return ""
        return f"{clock(self.pace * (self.total - self.done))} left"

    @property
    def objective(self) -> str:
        """The sum of the terms."""
        return f"objective {sum(self.figures.values()):.3g}" if self.figures else ""

    @property
    def terms(self) -> str:
        """All terms by name."""
        return "  ".join(f"{name} {value:.3g}" for name, value in (self.figures or {}).items())

    def line(self, width: int, verbose: bool = False) -> str:
        """For a terminal of `width` columns: what is left out first is last in importance."""
        parts = [self.name, self.count] if self.count else [f"{self.name}…"]
        for more in (self.remaining, self.speed):
            if more and len(", ".join([*parts, more])) + _BAR[0] + 3 <= width:
                parts.append(more)
        figures = self.terms if verbose else self.objective
        if figures and len(", ".join([*parts, figures])) + _BAR[0] + 3 <= width:
            parts.append(figures)
        room = width - len(", ".join(parts)) - 3
        if self.total and room >= _BAR[0]:
            parts[0] += " " + _bar(self.done / self.total, min(room, _BAR[1]))
            return " ".join([parts[0], ", ".join(parts[1:])])[:width]
        return ", ".join(parts)[:width]

    def plain(self, verbose: bool = False) -> str:
        """For a log: without a bar, and under 100 characters unless `verbose`."""
        figures = self.terms if verbose else self.objective
        parts = (f"{self.name} {self.count}".rstrip(), self.speed, self.remaining, figures)
        text = ", ".join(part for part in parts if part)
        return text if verbose else text[:99]


def _bar(share: float, width: int) -> str:
    full = round(min(max(share, 0.0), 1.0) * width)
    return _FULL * full + _EMPTY * (width - full)
