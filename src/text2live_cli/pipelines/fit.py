"""`fit_atlas`: a clip → a foreground and a background atlas (paper §3.2 and appendix A.4)."""

from __future__ import annotations

import dataclasses
import hashlib
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch

from ..atlas import ATLAS
from ..atlas.discretise import discretise
from ..atlas.fit.fitting import (
    Fitter,
    Problem,
    require_checkpoint,
    require_job,
)
from ..atlas.fit.grid_fit import GridProblem
from ..atlas.fit.inputs import FLOW, Material, read_material, read_words, require_flow
from ..atlas.fit.measure import Quality, measure, verdict
from ..atlas.fit.nla_files import (
    MIN_PSNR,
    check_import,
    read_published,
    write_published,
)
from ..atlas.fit.nla_losses import NlaProblem
from ..atlas.fit.settings import (
    FILE_OPTIONS,
    FitSettings,
    GridSettings,
    Span,
    choose_span,
    fit_hints,
    working_size,
)
from ..atlas.layers import SIDES, AtlasModel
from ..atlas.nla import NlaModel
from ..atlas.store import AtlasFacts, read_atlas, write_atlas
from ..device import (
    IN_FIT,
    choose_device,
    explain_out_of_memory,
    prepare,
)
from ..endings import catch_signals
from ..errors import Text2LiveError, UsageError
from ..media.clip_writing import require_encoders
from ..media.clips import Clip, open_clip
from ..media.files import sha256_of, sweep
from ..media.outside import (
    RECORD_ERRORS,
    read_record,
    refuse_own_inputs,
    require_regular,
    whole_number,
)
from ..progress import Progress, Silent
from ..report.atlas_films import (
    REPORT,
    write_pictures,
    write_report,
    write_videos,
)
from ..runs import record
from ..runs.atlas_folder import default_folder
from ..runs.clock import CheckpointClock
from ..runs.folder import (
    CHECKPOINT,
    FIT_ATLAS,
    RECORD,
    claim_folder,
)
from ..runs.keeping import keeping
from ..runs.memory import fit_need, require_memory
from ..runs.preflight import fit_bytes, require_file_place, require_room
from ..texts import shown_path
from .self_test import fit_step


@dataclass(frozen=True)
class AtlasResult:
    """What a fit left behind; `record` is what stands in run.json."""

    folder: Path
    interrupted: bool
    already_done: bool
    record: dict[str, Any]


@explain_out_of_memory(IN_FIT)
def fit_atlas(
    source: Path | str,
    *,
    output: Path | str | None = None,
    overwrite: bool = False,
    resume: bool = False,
    checkpoint_every: float | None = None,
    progress: Progress | None = None,
    **options: Any,
) -> AtlasResult:
    """Unwrap the clip `source` into two atlases; results go to `<clip>.atlas/` or `output`.

    `options` are the fields of `FitSettings`. A finished fit with the same options is left as it
    is. Ctrl-C, SIGTERM and SIGHUP end the fit after the step at hand; its result is written, and
    `resume=True` goes on. `checkpoint_every` is as in `edit_image`.

    Raises UsageError for what cannot be asked for, Text2LiveError for what goes wrong.
    """
    begin = time.monotonic()
    progress = progress or Silent()
    settings = FitSettings(**options)
    clock = CheckpointClock(checkpoint_every)
    if overwrite and resume:
        raise UsageError("--overwrite and --resume: choose one")
    clip = open_clip(Path(source))
    for note in clip.notes:
        progress.message(note)
    span = choose_span(settings, clip)
    device = choose_device(settings.device, fit_step, progress)
    size = working_size(clip, settings, device)
    folder = Path(output) if output else default_folder(clip.path, progress)
    if folder.resolve() == clip.path.resolve():
        raise UsageError(f"{folder} is the clip itself: choose another -o DIR")
    _check_first(clip, span, settings, size, device, folder, progress)
    job = _describe_job(clip, span, size, settings, device)
    used = [clip.path, settings.masks, settings.flow_dir, settings.import_nla]
    used.append(settings.clip_weights)
    _check_export(settings.export_nla, folder, used, overwrite or resume)
    with (
        claim_folder(folder, FIT_ATLAS, used) as run,
        keeping(run),
        explain_out_of_memory(IN_FIT),
    ):
        former = None if overwrite or resume else _former(folder, job)
        if former is not None:
            progress.message(f"{folder}: already done")
            if settings.export_nla is not None:
                _export_again(settings.export_nla, folder, former)
            return AtlasResult(folder, False, True, former)
        run.open(overwrite, resume)
        if resume:
            require_checkpoint(run.work / CHECKPOINT, job)
        else:
            run.begin(progress, keep=(FLOW,))
        prepare(device)
        shown = f"{len(span.numbers)} frames of {size[1]}×{size[0]}"
        progress.message(f"{shown}, model {settings.model}, on {device.type}")
        material = read_material(clip, span, settings, size, run.work, device, progress)
        ready = time.monotonic()
        fit = _fit(material, settings, device, run.work, job, resume, clock, progress)
        model, interrupted = fit.model, fit.interrupted
        fitted = time.monotonic()
        quality = measure(model, material.frames, material.foreground.masks, progress)
        words = verdict(quality, span.numbers, settings.masks is not None)
        seconds = {"preparation": ready - begin, **material.seconds, "fit": fitted - ready}
        made = _record(clip, span, size, settings, device, job, material, quality, words, fit.steps)
        made.update(interrupted=interrupted, stopped_by=fit.stopped_by)
        _write_result(
            run.work, model, clip, span, settings, material, quality, words, seconds, progress
        )
        made["seconds"] = {**seconds, "result": time.monotonic() - fitted}
        made["output"] = shown_path(folder)
        record.write_record(run.work, made)
        if not interrupted:
            (run.work / CHECKPOINT).unlink(missing_ok=True)
        delivered = run.deliver(not interrupted, progress)
    if interrupted and fit.unsaved is not None:
        fit.unsaved.kept = f"the result in {delivered} is written, and cannot be resumed"
        raise fit.unsaved
    for line in (*words[0], *words[1]):
        progress.message(line)
    return AtlasResult(delivered, interrupted, False, made)


def _check_export(
    path: Path | None, folder: Path, inputs: Sequence[Path | None], replace: bool
) -> None:
    """Raise UsageError where `--export-nla` names an input, a part of the result, or any file."""
    if path is None:
        return
    require_regular(path, "--export-nla")
    sweep(path.parent)
    refuse_own_inputs([path], inputs)
    if path.is_dir() or (FIT_ATLAS.holds(path.name) and path.parent.resolve() == folder.resolve()):
        raise UsageError(f"--export-nla {path}: choose another name for the checkpoint")
    if path.exists() and not replace:
        raise UsageError(f"--export-nla {path} exists: add --overwrite, or choose another name")


def _check_first(
    clip: Clip,
    span: Span,
    settings: FitSettings,
    size: tuple[int, int],
    device: torch.device,
    folder: Path,
    progress: Progress,
) -> None:
    """Refuse before the work what would fail after it."""
    fit_hints(settings, span, clip)
    if settings.export_nla is not None:
        require_file_place("--export-nla", settings.export_nla)
    require_encoders(())
    count = len(span.numbers)
    require_room(folder, fit_bytes(count * size[0] * size[1]))
    if device.type == "cpu":
        instead = "choose fewer with --frames A:B or --every N, or lower --size"
        require_memory(fit_need(count, size), instead)
    require_flow(settings, folder, progress)
    if settings.foreground is not None:
        read_words(settings, device, Silent())  # told when it is read for the work


def begun_with(folder: Path) -> dict[str, Any] | None:
    """The options that a stopped fit was begun with, but for files, which are to be named again.

    None where its record was not written yet.
    """
    try:
        told = read_record(folder / RECORD)["settings"]
        names = [field.name for field in dataclasses.fields(FitSettings)]
        # Paths are not taken from a record, which may have come from elsewhere.
        values: dict[str, Any] = {n: None if n in FILE_OPTIONS else told[n] for n in names}
        FitSettings(**values)
    except (*RECORD_ERRORS, Text2LiveError):
        return None
    return values


def _describe_job(
    clip: Clip, span: Span, size: tuple[int, int], settings: FitSettings, device: torch.device
) -> dict[str, Any]:
    """What two fits must share for one to be the other, with the names users know."""
    job: dict[str, Any] = {"input": clip.sha256, "frames": f"{span.first}:{span.end}"}
    for field in dataclasses.fields(settings):
        value = getattr(settings, field.name)
        if field.name not in ("frames", "export_nla"):
            value = list(value) or None if isinstance(value, tuple) else value
            job[field.name.replace("_", "-")] = str(value) if isinstance(value, Path) else value
    job.update(size=f"{size[1]}×{size[0]}", device=device.type, steps=settings.resolved().steps)
    for name in ("masks", "flow-dir", "import-nla", "clip-weights"):
        if job[name] is not None:  # the same files under another name are the same
            job[name] = _digest(Path(job[name]))
    return job


def _digest(path: Path) -> str:
    """SHA-256 over the names and bytes of a file or of the files in a folder."""
    digest = hashlib.sha256()
    if path.exists() and not (path.is_dir() or path.is_file()):  # a pipe is waited for
        raise UsageError(f"{path}: is no regular file; save it to disk first")
    try:
        files = sorted(p for p in path.iterdir() if p.is_file()) if path.is_dir() else [path]
        for file in files:
            digest.update(f"{file.name} {sha256_of(file)}\n".encode())
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror})") from error
    return digest.hexdigest()


def _former(folder: Path, job: dict[str, Any]) -> dict[str, Any] | None:
    """The record of a finished fit of the same job; None where no fit stands there."""
    if not any((folder / name).exists() for name in (ATLAS, RECORD, CHECKPOINT)):
        return None
    try:
        former = read_record(folder / RECORD)
        finished = (folder / ATLAS).exists() and former["interrupted"] is False
        whole_number(former["steps_done"], 0, 2**40)
        known = dict(former["job"])
    except RECORD_ERRORS as error:
        raise UsageError(
            f"{folder} holds an unfinished fit: add --resume to go on, or --overwrite"
        ) from error
    require_job(known, job, f"{folder} holds another fit")
    if not finished:
        raise UsageError(f"{folder} holds an unfinished fit: add --resume to go on, or --overwrite")
    return former


def _export_again(path: Path, folder: Path, former: dict[str, Any]) -> None:
    """Write the networks of a finished fit as a published checkpoint."""
    model = read_atlas(folder).model
    assert isinstance(model, NlaModel), "of the same job, so of the same model"
    write_published(path, model, int(former.get("steps_done", 0)))


class Fit(NamedTuple):
    """What a fit came to."""

    model: AtlasModel
    steps: int
    interrupted: bool = False
    stopped_by: str | None = None
    """The signal that ended it early."""
    unsaved: Text2LiveError | None = None
    """Why its checkpoint could not be written."""


def _fit(
    material: Material,
    settings: FitSettings,
    device: torch.device,
    folder: Path,
    job: dict[str, Any],
    resume: bool,
    clock: CheckpointClock,
    progress: Progress,
) -> Fit:
    if settings.import_nla is not None:
        return Fit(_imported(settings.import_nla, material), 0)
    problem = _problem(material, settings, device)
    fitter = Fitter(problem, settings.resolved().steps, settings.seed, device)
    path = folder / CHECKPOINT
    with catch_signals() as stopped:
        if resume:
            fitter.restore(path, job)
            progress.message(f"going on after step {fitter.done}")
        else:
            problem.prepare(progress, stopped)
        unsaved = fitter.run(path, job, clock, progress, stopped)
        if stopped.hurried:
            stopped.end()
    if settings.export_nla is not None and isinstance(problem.model, NlaModel):
        write_published(settings.export_nla, problem.model, fitter.done)
    interrupted = fitter.done < fitter.steps
    by = stopped.name if interrupted else None
    return Fit(problem.model, fitter.done, interrupted, by, unsaved)


def _problem(material: Material, settings: FitSettings, device: torch.device) -> Problem:
    frames, masks, flow = material.frames, material.foreground.masks, material.flow
    chosen = settings.resolved()
    if isinstance(chosen, GridSettings):
        return GridProblem(frames, masks, flow, chosen, device)
    return NlaProblem(frames, masks, flow, chosen, settings.seed, device)


def _imported(path: Path, material: Material) -> AtlasModel:
    """A published checkpoint, checked against the clip."""
    count, height, width, _ = material.frames.shape
    model = read_published(path, (height, width), count)
    psnr = check_import(model, material.frames)
    if psnr < MIN_PSNR:
        raise UsageError(
            f"{path}: gives this clip back at {psnr:.1f} dB only, so it was fitted to another clip"
            f" or to other frames: name those with --frames A:B (now {count} frames)"
        )
    return model


def _write_result(
    folder: Path,
    model: AtlasModel,
    clip: Clip,
    span: Span,
    settings: FitSettings,
    material: Material,
    quality: Quality,
    words: tuple[list[str], list[str]],
    seconds: dict[str, float],
    progress: Progress,
) -> None:
    sides = SIDES if material.foreground.masks.any() else SIDES[1:]
    pictures = {}
    for side in sides:
        picture = discretise(model, side)
        if picture is not None:
            pictures[side] = picture
    write_pictures(folder, pictures)
    rate = clip.rate / span.every
    clips, checkerboard = write_videos(folder, model, material.frames, rate, progress)
    facts = AtlasFacts(
        model=settings.model,
        size=model.size,
        frames=model.frames,
        first=span.first,
        every=span.every,
        rate=str(clip.rate),
        source=clip.sha256,
        source_size=(clip.height, clip.width),
        canvases={side: model.canvas(side) for side in SIDES},
        corners={side: (picture.left, picture.top) for side, picture in pictures.items()},
        settings=_settings_json(settings),
    )
    figures = {
        "frames": f"{span.first}:{span.end}, every {span.every}",
        "size": f"{model.size[1]}×{model.size[0]} of {clip.width}×{clip.height}",
        "foreground from": material.foreground.source,
        **{f"seconds, {name}": f"{value:.0f}" for name, value in seconds.items()},
    }
    write_report(
        folder, f"{clip.path.name}: atlases", quality, words, span.numbers, pictures,
        clips, checkerboard, figures, _settings_json(settings),
    )  # fmt: skip
    write_atlas(folder, model, facts)


def _settings_json(settings: FitSettings) -> dict[str, Any]:
    values = {n: shown_path(v) if isinstance(v, Path) else v for n, v in vars(settings).items()}
    return {**values, settings.model: dataclasses.asdict(settings.resolved())}


def _record(
    clip: Clip,
    span: Span,
    size: tuple[int, int],
    settings: FitSettings,
    device: torch.device,
    job: dict[str, Any],
    material: Material,
    quality: Quality,
    words: tuple[list[str], list[str]],
    done: int,
) -> dict[str, Any]:
    return {
        "command": "fit-atlas",
        "input": record.describe_clip(clip),
        "frames": span.numbers,
        "size": list(size),
        "settings": _settings_json(settings),
        "steps_done": done,
        "foreground": {"source": material.foreground.source, "notes": material.foreground.notes},
        "quality": {
            "psnr_mean": quality.mean,
            "psnr_worst": quality.worst,
            **dataclasses.asdict(quality),
        },
        "verdict": words[0],
        "advice": words[1],
        "report": REPORT,
        **record.describe_machine(device),
        "job": job,
    }
