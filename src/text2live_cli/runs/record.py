"""run.json: everything a run was, so that it can be judged and repeated; and its curves."""

from __future__ import annotations

import csv
import dataclasses
import hashlib
import io
import platform
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch

from ..device import peak_memory_mib, tf32_is_on
from ..engine.training import History, Trainer
from ..guide.clip import ClipGuide
from ..guide.prompts import Prompts
from ..media.files import write_json_atomic, write_text_atomic
from ..texts import shown_path
from .folder import HISTORY, RECORD

if TYPE_CHECKING:
    pass

_PACKAGES = ("text2live", "torch", "torchvision", "open_clip_torch", "madgrad", "numpy", "pillow")
_SWATCH_NOTE = (
    "swatch is a small encoder of a closed vocabulary, learned from painted scenes, for drafts and"
    " tests; for photos and free text use a CLIP such as ViT-B-32-quickgelu/openai"
)


class Trained(Protocol):
    """An edit after its training, as a record tells of it (`pipelines.session.Trained`)."""

    @property
    def trainer(self) -> Trainer:
        """The generator, its settings and its history."""

    @property
    def prompts(self) -> Prompts:
        """The texts, as they were used."""

    @property
    def guide(self) -> ClipGuide:
        """The encoder."""

    @property
    def job(self) -> dict[str, Any]:
        """What a run must share with the one that it resumes."""

    @property
    def interrupted(self) -> bool:
        """Whether steps are left."""


def make_record(
    command: str,
    source: dict[str, Any],
    edit: Trained,
    folder: Path,
    seconds: dict[str, float],
    unchanged: float | None,
) -> dict[str, Any]:
    """The record of a run: settings as resolved, versions, hashes, losses, seconds and MiB."""
    trainer, guide = edit.trainer, edit.guide
    settings = dataclasses.asdict(trainer.settings)
    settings["weights"] = dataclasses.asdict(trainer.objective.weights)  # as they were used
    return {
        "command": command,
        "output": shown_path(folder),
        "interrupted": edit.interrupted,
        "stopped_by": trainer.stopped_by,
        "input": source,
        "prompts": dataclasses.asdict(edit.prompts),
        "settings": settings,
        "seed": trainer.settings.seed,
        "steps_done": trainer.done,
        "looks": [round(value, 4) for value in trainer.history.likeness],  # of --until-settled
        "schedule_steps": trainer.schedule_steps,
        "skipped_steps": trainer.history.skipped,
        "encoder": {
            "name": guide.name,
            "sha256": guide.sha256,
            "relevancy": guide.relevancy_rule,
            **({"locator_sha256": guide.locator.sha256} if guide.locator else {}),
            **({"note": _SWATCH_NOTE} if guide.name == "swatch" else {}),
        },
        "precision": trainer.precision.name,
        "graphs": trainer.recorded,
        "unchanged_share": unchanged,
        "seconds": {name: round(value, 4) for name, value in seconds.items()},
        **describe_machine(trainer.device),
        "job": edit.job,
    }


def describe_machine(device: torch.device) -> dict[str, Any]:
    """What a run was made with: the device, versions, and the most memory used, MiB."""
    return {
        "device": _describe_device(device),
        "tf32": tf32_is_on() if device.type == "cuda" else None,
        "versions": {name: metadata.version(name) for name in _PACKAGES},
        "python": platform.python_version(),
        "peak_memory_mib": peak_memory_mib(device),
    }


def write_record(folder: Path, record: dict[str, Any]) -> None:
    """Write run.json into `folder`."""
    write_json_atomic(folder / RECORD, record)


def hash_array(values: np.ndarray) -> str:
    """SHA-256 of an array's bytes."""
    return hashlib.sha256(np.ascontiguousarray(values).data).hexdigest()


def _describe_device(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{device.type}, {torch.get_num_threads()} threads"


def write_history(folder: Path, history: History) -> None:
    """Write history.csv into `folder`: a row a step, each term as it is and times its weight."""
    names = list(dict.fromkeys(name for row in history.terms for name in row))
    columns = ["step", *names, *(f"weighted {name}" for name in names)]
    table = io.StringIO()
    rows = csv.writer(table, lineterminator="\n")
    rows.writerow(columns)
    for step, (terms, weighted) in enumerate(zip(history.terms, history.weighted, strict=True), 1):
        figures = [row.get(name, "") for row in (terms, weighted) for name in names]
        rows.writerow([step, *figures])
    write_text_atomic(folder / HISTORY, table.getvalue())
