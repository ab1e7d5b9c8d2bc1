"""What a fit leaves behind: the atlas and its pictures, films, the report and the record."""

from __future__ import annotations

import dataclasses
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from ..atlas.discretise import AtlasPicture, discretise
from ..atlas.fit.inputs import Material
from ..atlas.fit.measure import Quality, measure, verdict
from ..atlas.fit.settings import FitSettings
from ..atlas.layers import BACKGROUND, FRONT_FIRST, AtlasModel, Side
from ..atlas.store import AtlasFacts, write_atlas
from ..progress import Progress
from ..report.atlas_films import REPORT, write_pictures, write_report, write_videos
from ..runs import record
from ..runs.checkpoint import Saver
from ..runs.folder import CHECKPOINT, RunFolder
from ..runs.inputs import describe_clip
from ..texts import shown_path
from .plans import FitPlan
from .requests import given_options

Words = tuple[list[str], list[str]]
"""A verdict, and the advice that goes with it."""


@dataclass(frozen=True)
class Fit:
    """What a fit came to."""

    model: AtlasModel
    material: Material
    steps: int
    interrupted: bool = False
    stopped_by: str | None = None
    """The signal that ended it early."""
    saver: Saver | None = None
    """None: it was imported."""
    seconds: dict[str, float] = field(default_factory=dict)


def deliver_fit(
    fit: Fit,
    plan: FitPlan,
    job: dict[str, Any],
    device: torch.device,
    run: RunFolder,
    progress: Progress,
) -> dict[str, Any]:
    """Measure a fit and write all of its result; returns its record."""
    begin = time.monotonic()
    quality = measure(fit.model, fit.material.frames, fit.material.foreground.masks, progress)
    words = verdict(quality, plan.span.numbers, plan.settings.masks is not None)
    _write_result(run.work, fit, plan, quality, words, progress)
    facts = {
        **_record(fit, plan, quality, words),
        **record.describe_machine(device),
        "job": job,
        "options": given_options(plan.options),
        "interrupted": fit.interrupted,
        "stopped_by": fit.stopped_by,
        "seconds": {**fit.seconds, "result": time.monotonic() - begin},
        "output": shown_path(plan.folder),
    }
    record.write_record(run.work, facts)
    if not fit.interrupted:
        (run.work / CHECKPOINT).unlink(missing_ok=True)
    return facts


def _write_result(
    folder: Path, fit: Fit, plan: FitPlan, quality: Quality, words: Words, progress: Progress
) -> None:
    model, material, span, clip = fit.model, fit.material, plan.span, plan.clip
    sides = FRONT_FIRST if material.foreground.masks.any() else (BACKGROUND,)
    atlases = {side: discretise(model, side) for side in sides}
    pictures = {side: atlas for side, atlas in atlases.items() if atlas is not None}
    write_pictures(folder, pictures)
    rate = clip.rate / span.every
    clips, checkerboard = write_videos(folder, model, material.frames, rate, progress)
    figures = {
        "frames": f"{span.first}:{span.end}, every {span.every}",
        "size": f"{model.size[1]}×{model.size[0]} of {clip.width}×{clip.height}",
        "foreground from": material.foreground.source,
        **{f"seconds, {name}": f"{value:.0f}" for name, value in fit.seconds.items()},
    }
    write_report(
        folder, f"{clip.path.name}: atlases", quality, words, span.numbers, pictures,
        clips, checkerboard, figures, _settings_json(plan.settings),
    )  # fmt: skip
    write_atlas(folder, model, _atlas_facts(model, plan, pictures))


def _atlas_facts(
    model: AtlasModel, plan: FitPlan, pictures: dict[Side, AtlasPicture]
) -> AtlasFacts:
    clip, span = plan.clip, plan.span
    return AtlasFacts(
        model=plan.settings.model,
        size=model.size,
        frames=model.frames,
        first=span.first,
        every=span.every,
        last=span.numbers[-1],
        rate=str(clip.rate),
        source=clip.sha256,
        source_size=(clip.height, clip.width),
        canvases={side: model.canvas(side) for side in FRONT_FIRST},
        corners={side: (picture.left, picture.top) for side, picture in pictures.items()},
        settings=_settings_json(plan.settings),
    )


def _settings_json(settings: FitSettings) -> dict[str, Any]:
    values = {n: shown_path(v) if isinstance(v, Path) else v for n, v in vars(settings).items()}
    return {**values, settings.model: dataclasses.asdict(settings.resolved())}


def _record(fit: Fit, plan: FitPlan, quality: Quality, words: Words) -> dict[str, Any]:
    foreground = fit.material.foreground
    return {
        "command": "fit-atlas",
        "input": describe_clip(plan.clip),
        "frames": plan.span.numbers,
        "size": list(plan.size),
        "settings": _settings_json(plan.settings),
        "steps_done": fit.steps,
        "foreground": {"source": foreground.source, "notes": foreground.notes},
        "quality": {
            "psnr_mean": quality.mean,
            "psnr_worst": quality.worst,
            **dataclasses.asdict(quality),
        },
        "verdict": words[0],
        "advice": words[1],
        "report": REPORT,
    }
