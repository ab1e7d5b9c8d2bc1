"""Who looks on while a batch runs."""

from __future__ import annotations

from typing import Any, Protocol

from .jobs import Job
from .journal import Entry


class Watch(Protocol):
    """Events of a batch. Calls come from one thread, in order."""

    def opened(self, todo: int, done: int, failed: int) -> None:
        """So many jobs are to be run; so many were done before, or failed before."""

    def began(self, worker: int, job: Job) -> None:
        """A worker, from 1, took a job."""

    def told(self, worker: int, job: Job, event: str, facts: dict[str, Any]) -> None:
        """A job tells "stage" (name, total), "step" (done), "message" or "warning" (text)."""

    def ended(self, worker: int, job: Job, entry: Entry) -> None:
        """What became of it."""

    def message(self, text: str) -> None:
        """One line for the user."""
