"""`fit_atlas`: a clip → a foreground and a background atlas (paper §3.2 and appendix A.4)."""

from __future__ import annotations

import dataclasses
import hashlib
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ..atlas import ATLAS
from ..atlas.fit.fitting import FORMAT, Fitter, Problem
from ..atlas.fit.grid_fit import GridProblem
from ..atlas.fit.inputs import FLOW, Material, read_material, read_words, require_flow
from ..atlas.fit.nla_files import MIN_PSNR, check_import, read_published, write_published
from ..atlas.fit.nla_losses import NlaProblem
from ..atlas.fit.settings import FILE_OPTIONS, FitSettings, GridSettings
from ..atlas.layers import AtlasModel
from ..atlas.nla import NlaModel
from ..atlas.store import read_atlas
from ..device import IN_FIT, choose_device, explain_out_of_memory, prepare
from ..endings import Stop, catch_signals
from ..errors import Text2LiveError, UsageError
from ..media.files import sha256_of, sweep
from ..media.outside import (
    RECORD_ERRORS,
    read_record,
    refuse_own_inputs,
    require_regular,
    whole_number,
)
from ..progress import Progress, Silent
from ..runs.checkpoint import Checkpoint, Saver, require_job
from ..runs.clock import CheckpointClock
from ..runs.folder import CHECKPOINT, FIT_ATLAS, RECORD, RunFolder, claim_folder
from ..runs.keeping import keeping
from ..runs.memory import require_memory
from .fit_result import Fit, deliver_fit
from .option_fields import taking
from .options import FitOptions
from .plans import FitPlan, plan_fit
from .self_test import fit_step
from .thread_choice import set_threads, threads_kept

_MEASURED_CHANNELS = 32  # of the generator that threads are measured with: that of a draft


@dataclass(frozen=True)
class AtlasResult:
    """What a fit left behind; `record` is what stands in run.json."""

    folder: Path
    interrupted: bool
    already_done: bool
    record: dict[str, Any]


@explain_out_of_memory(IN_FIT)
def run_fit_atlas(options: FitOptions) -> AtlasResult:
    """Unwrap the clip `source` into two atlases; results go to `<clip>.atlas/` or `output`.

    The options are the fields of `FitOptions`, which says what each means. A finished fit with the
    same options is left as it is. Ctrl-C, SIGTERM and SIGHUP end the fit after the step at hand;
    its result is written, and `resume=True` goes on.

    Raises UsageError for what cannot be asked for, Text2LiveError for what goes wrong.
    """
    begin = time.monotonic()
    progress = options.progress or Silent()
    device = choose_device(options.device, fit_step, progress)
    plan = plan_fit(options, device.type, progress)
    _check_first(plan, device, progress)
    job = _describe_job(plan, device)
    with (
        threads_kept(),
        claim_folder(plan.folder, FIT_ATLAS, plan.inputs) as run,
        keeping(run),
        explain_out_of_memory(IN_FIT),
    ):
        former = None if options.overwrite or options.resume else _former(plan.folder, job)
        if former is not None:
            return _already_done(plan, former, progress)
        fit = _fit_in(run, plan, job, device, begin, progress)
        facts = deliver_fit(fit, plan, job, device, run, progress)
        folder = run.deliver(not fit.interrupted, progress)
    if fit.interrupted and fit.saver is not None:
        fit.saver.require_saved(folder)
    for line in (*facts["verdict"], *facts["advice"]):
        progress.message(line)
    return AtlasResult(folder, fit.interrupted, False, facts)


fit_atlas = taking(FitOptions)(run_fit_atlas)


def _fit_in(
    run: RunFolder,
    plan: FitPlan,
    job: dict[str, Any],
    device: torch.device,
    begin: float,
    progress: Progress,
) -> Fit:
    """Fit in a claimed folder, from its checkpoint on if the plan says so."""
    options, settings = plan.options, plan.settings
    run.open(options.overwrite, options.resume)
    checkpoint = None
    if options.resume:
        checkpoint = Checkpoint.read(run.work / CHECKPOINT, FORMAT)
        checkpoint.require_job(job)
    else:
        run.begin(progress, keep=(FLOW,))
    prepare(device)
    if device.type == "cpu":
        set_threads(options.threads, checkpoint, _MEASURED_CHANNELS, progress)
        job["threads"] = torch.get_num_threads()
    height, width = plan.size
    frames = f"{len(plan.span.numbers)} frames of {width}×{height}"
    progress.message(f"{frames}, model {settings.model}, on {device.type}")
    clip, span, size = plan.clip, plan.span, plan.size
    material = read_material(clip, span, settings, size, run.work, device, progress)
    ready = time.monotonic()
    if settings.import_nla is not None:
        fit = Fit(_imported(Path(settings.import_nla), material), material, 0)
    else:
        problem = _problem(material, settings, device)
        fitter = Fitter(problem, settings.resolved().steps, settings.seed, device)
        clock = CheckpointClock(options.checkpoint_every)
        saver = Saver(run.work / CHECKPOINT, fitter, job, clock, progress)
        stop = _run(fitter, checkpoint, saver, progress)
        if settings.export_nla is not None and isinstance(problem.model, NlaModel):
            write_published(Path(settings.export_nla), problem.model, fitter.done)
        interrupted = fitter.done < fitter.steps
        by = stop.name if interrupted else None
        fit = Fit(problem.model, material, fitter.done, interrupted, by, saver)
    seconds = {"preparation": ready - begin, **material.seconds, "fit": time.monotonic() - ready}
    return dataclasses.replace(fit, seconds=seconds)


def _run(fitter: Fitter, checkpoint: Checkpoint | None, saver: Saver, progress: Progress) -> Stop:
    """Fit to the end or to a signal, whatever of it came."""
    with catch_signals() as stopped:
        if checkpoint is not None:
            checkpoint.restore(fitter)
            progress.message(f"going on after step {fitter.done}")
        else:
            fitter.problem.prepare(progress, stopped)
        saver.begin()
        fitter.run(progress, stopped, saver)
        saver.save()
        if stopped.hurried:
            stopped.end()
    return stopped


def _check_first(plan: FitPlan, device: torch.device, progress: Progress) -> None:
    """Refuse before the work what would fail after it."""
    options, settings = plan.options, plan.settings
    if settings.export_nla is not None:
        replace = options.overwrite or options.resume
        _check_export(Path(settings.export_nla), plan.folder, plan.inputs, replace)
    if device.type == "cpu":
        instead = "choose fewer with --frames A:B or --every N, or lower --size"
        require_memory(plan.need, instead)
    require_flow(settings, plan.folder, progress)
    if settings.foreground is not None:
        read_words(settings, device, Silent())  # told when it is read for the work


def _check_export(
    path: Path, folder: Path, inputs: Sequence[Path | str | None], replace: bool
) -> None:
    """Raise UsageError where `--export-nla` names an input, a part of the result, or any file."""
    require_regular(path, "--export-nla")
    sweep(path.parent)
    refuse_own_inputs([path], inputs)
    if path.is_dir() or (FIT_ATLAS.holds(path.name) and path.parent.resolve() == folder.resolve()):
        raise UsageError(f"--export-nla {path}: choose another name for the checkpoint")
    if path.exists() and not replace:
        raise UsageError(f"--export-nla {path} exists: add --overwrite, or choose another name")


def begun_with(folder: Path) -> dict[str, Any] | None:
    """The options that a stopped fit was begun with, but for files, which are to be named again.

    None where its record was not written yet.
    """
    try:
        settings = read_record(folder / RECORD)["settings"]
        names = [field.name for field in dataclasses.fields(FitSettings)]
        # Paths are not taken from a record, which may have come from elsewhere.
        values: dict[str, Any] = {n: None if n in FILE_OPTIONS else settings[n] for n in names}
        FitSettings(**values)
    except (*RECORD_ERRORS, Text2LiveError):
        return None
    return values


def _describe_job(plan: FitPlan, device: torch.device) -> dict[str, Any]:
    """What two fits must share for one to be the other, with the names users know."""
    span, size, settings = plan.span, plan.size, plan.settings
    job: dict[str, Any] = {"input": plan.clip.sha256, "frames": f"{span.first}:{span.end}"}
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
        former_job = dict(former["job"])
    except RECORD_ERRORS as error:
        raise UsageError(
            f"{folder} holds an unfinished fit: add --resume to go on, or --overwrite"
        ) from error
    require_job(former_job, job, f"{folder} holds another fit")
    if not finished:
        raise UsageError(f"{folder} holds an unfinished fit: add --resume to go on, or --overwrite")
    return former


def _already_done(plan: FitPlan, former: dict[str, Any], progress: Progress) -> AtlasResult:
    """A finished fit of the same job, its networks exported again where that is asked for."""
    progress.message(f"{plan.folder}: already done")
    if plan.settings.export_nla is not None:
        _export_again(Path(plan.settings.export_nla), plan.folder, former)
    return AtlasResult(plan.folder, False, True, former)


def _export_again(path: Path, folder: Path, former: dict[str, Any]) -> None:
    """Write the networks of a finished fit as a published checkpoint."""
    model = read_atlas(folder).model
    assert isinstance(model, NlaModel), "of the same job, so of the same model"
    write_published(path, model, int(former.get("steps_done", 0)))


def _problem(material: Material, settings: FitSettings, device: torch.device) -> Problem:
    frames, masks, flow = material.frames, material.foreground.masks, material.flow
    model_settings = settings.resolved()
    if isinstance(model_settings, GridSettings):
        return GridProblem(frames, masks, flow, model_settings, device)
    return NlaProblem(frames, masks, flow, model_settings, settings.seed, device)


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
