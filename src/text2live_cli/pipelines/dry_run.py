"""`--dry-run`: a plan in words, and whether its folder would take the result. Without torch."""

from __future__ import annotations

import platform
import shutil
from pathlib import Path

from ..atlas import ATLAS
from ..atlas.fit.settings import FitSettings, working_size
from ..guide import weights
from ..guide.shape import shape_of
from ..progress import Silent
from ..runs.atlas_folder import require_fair, verdict_of
from ..runs.folder import CHECKPOINT, RunFolder, require_takes
from ..runs.memory import clip_need, require_memory, training_need
from ..runs.preflight import fit_bytes, picture_bytes, require_room, video_bytes
from .checks import SIDES
from .plans import FitPlan, ImagePlan, VideoPlan

_GB = 1e9
DONE = {"state": "done already, with these settings"}
"""Said of a run that would leave all as it is."""


def likely_device(name: str | None) -> str:
    """The type of device that a run will take, as far as it can be told without torch."""
    if name not in (None, "auto"):
        return str(name)
    if Path("/dev/nvidiactl").exists() or shutil.which("nvidia-smi"):
        return "cuda"
    mac = platform.system() == "Darwin" and platform.machine() == "arm64"
    return "mps" if mac else "cpu"


def image_facts(plan: ImagePlan) -> dict[str, str]:
    """What is known of an edit of a picture before it begins.

    Raises what the run would, as far as that is known.
    """
    require_free(plan)
    picture = plan.picture
    files = list(plan.outputs.files)
    copy = {} if plan.copy is None else {"picture": f"{plan.copy}, the composite"}
    return {
        "input": f"{picture.path}, {picture.width}×{picture.height}",
        **_training_facts(plan, plan.working),
        **copy,
        **_cost_facts(plan, files),
    }


def video_facts(plan: VideoPlan) -> dict[str, str]:
    """What is known of an edit of a clip before it begins.

    Raises what the run would, as far as that is known.
    """
    require_free(plan)
    clip, formats = plan.clip, plan.options.layer_formats
    atlas = "none (baseline frames)"
    if plan.atlas_folder is not None:
        atlas = f"{plan.atlas_folder}, {'ready' if _is_ready(plan) else 'fitted first'}"
    layers = {"mov": "layer.mov", "webm": "layer.webm", "png": "layer/", "matte": "matte.mp4"}
    files = [name for name in plan.outputs.files if name not in layers.values()]
    files += [layers[name] for name in formats if name in layers]
    return {
        "input": f"{clip.path}, {clip.count} frames of {clip.width}×{clip.height}",
        "atlas": f"{SIDES[plan.options.atlas]} of {atlas}",
        **_training_facts(plan, plan.size),
        **_cost_facts(plan, files),
    }


def fit_facts(plan: FitPlan) -> dict[str, str]:
    """What is known of a fit before it begins.

    Raises what the run would, as far as that is known.
    """
    require_free(plan)
    clip, settings = plan.clip, plan.settings
    facts = {
        "input": f"{clip.path}, {clip.count} frames of {clip.width}×{clip.height}",
        "fitted": f"{len(plan.span.numbers)} frames of {plan.size[1]}×{plan.size[0]}",
        "model": f"{settings.model}, {settings.resolved().steps} steps, seed {settings.seed}",
    }
    if settings.foreground is not None:
        facts["encoder"] = _encoder_words(settings.clip, settings.clip_weights)
    files = [name for name in plan.outputs.files if name != CHECKPOINT]
    return {**facts, **_cost_facts(plan, files)}


def require_free(plan: ImagePlan | VideoPlan | FitPlan) -> None:
    """Raise what the run would for its folder, room and memory, as far as that is known before."""
    require_takes(plan.folder, plan.outputs, plan.inputs)
    options = plan.options
    run = RunFolder(plan.folder, plan.folder, plan.outputs)
    if not isinstance(plan, FitPlan):
        run.open(options.overwrite, plan.resumes)
    elif options.overwrite or options.resume:
        run.open(options.overwrite, options.resume)
    if isinstance(plan, VideoPlan):
        _require_fair_atlas(plan)
    require_room(plan.folder, room_of(plan))
    need = need_of(plan)
    if need is not None and getattr(plan, "device", options.device) == "cpu":
        require_memory(need, "lower --size or --views")


def _require_fair_atlas(plan: VideoPlan) -> None:
    folder = plan.atlas_folder
    asked_for = plan.options.any_atlas or plan.resumes
    if folder is not None and _is_ready(plan) and not asked_for:
        require_fair(folder, verdict_of(folder))


def need_of(plan: ImagePlan | VideoPlan | FitPlan) -> int | None:
    """Bytes of memory at the most; None for an encoder whose shape is not known."""
    if isinstance(plan, FitPlan):
        return plan.need
    shape = shape_of(plan.options.clip)
    if shape is None:
        return None
    if isinstance(plan, VideoPlan):
        return clip_need(shape, plan.settings, plan.size, plan.clip.count)
    return training_need(shape, plan.settings, plan.working, plan.pixels)


def room_of(plan: ImagePlan | VideoPlan | FitPlan) -> int:
    """Bytes of the result at the most, with those of an atlas that is fitted first."""
    if isinstance(plan, FitPlan):
        return plan.room
    if isinstance(plan, ImagePlan):
        return picture_bytes(plan.pixels, plan.picture.color.dtype.itemsize)
    clip = plan.clip
    room = video_bytes(clip.count * clip.height * clip.width, plan.options.layer_formats)
    if plan.atlas_folder is None or _is_ready(plan):
        return room
    height, width = working_size(clip, FitSettings(), plan.device)
    return room + fit_bytes(clip.count * height * width)


def _is_ready(plan: VideoPlan) -> bool:
    """Whether the clip's atlas is there, and no fit of it is to go on."""
    folder = plan.atlas_folder
    return folder is not None and (folder / ATLAS).exists() and not plan.resumes_fit


def _training_facts(plan: ImagePlan | VideoPlan, size: tuple[int, int]) -> dict[str, str]:
    options, settings = plan.options, plan.settings
    steps = f"{settings.steps} steps"
    if options.minutes is not None:
        steps = f"as many steps as fit into {options.minutes:g} minutes"
    elif plan.resumes and options.steps is None:
        steps = "the steps of the stopped run"
    return {
        "preset": f"{settings.preset} ({plan.reason or 'asked for'}), on {plan.device}",
        "training": f"{steps} at {size[1]}×{size[0]}, {settings.views} views, seed {settings.seed}",
        "encoder": _encoder_words(options.clip, options.clip_weights),
    }


def _encoder_words(name: str, file: Path | str | None) -> str:
    """Which encoder, and where from; refuses what the run would."""
    if file is not None:
        weights.check_given(name, Path(file), Silent())
        return f"{name}, from {file}"
    if name == weights.SWATCH:
        return f"{name}, in the package"
    return f"{name}, {'here' if weights.cached(name) else 'to be fetched'}"


def _cost_facts(plan: ImagePlan | VideoPlan | FitPlan, files: list[str]) -> dict[str, str]:
    need, room = need_of(plan), room_of(plan)
    memory = "not known for this encoder" if need is None else f"{need / 2**30:.1f} GiB at the most"
    return {
        "result": f"{plan.folder}/: {', '.join(files)}",
        "memory": memory,
        "disk": f"{room / _GB:.2f} GB at the most",
    }
