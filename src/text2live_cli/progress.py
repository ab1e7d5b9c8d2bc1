"""How a long job reports: the engine calls a `Progress`, the console (or nobody) listens."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol


class Progress(Protocol):
    """Events of a long job. Calls come from one thread, in order."""

    def stage(self, name: str, total: int | None = None, unit: str = "step") -> None:
        """A new stage begins; `total` counts `unit`s ("step", "byte"), None if unknown."""

    def advance(self, done: int, values: Mapping[str, float] | None = None) -> None:
        """`done` units of the current stage are finished; `values` are figures to show."""

    def preview(self, path: Path) -> None:
        """A picture of the edit as it is was written to `path`, perhaps over a former one."""

    def message(self, text: str) -> None:
        """One line that the user should see."""

    def warning(self, text: str) -> None:
        """One line about something that may spoil the result."""


class Silent:
    """A `Progress` that nobody watches."""

    def stage(self, name: str, total: int | None = None, unit: str = "step") -> None:
        """Ignored."""

    def advance(self, done: int, values: Mapping[str, float] | None = None) -> None:
        """Ignored."""

    def preview(self, path: Path) -> None:
        """Ignored."""

    def message(self, text: str) -> None:
        """Ignored."""

    def warning(self, text: str) -> None:
        """Ignored."""
