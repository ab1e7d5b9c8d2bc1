"""A result that is there already, found without torch where the command asks for the very same."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

from ..atlas import ATLAS
from ..errors import UsageError
from ..media.files import sha256_of
from ..media.layered_files import layered_beside
from ..media.outside import RECORD_ERRORS, read_record
from ..progress import Silent
from ..runs.folder import LAYER_PICTURE, RECORD
from .dry_run import likely_device
from .folders import image_folder, video_folder
from .options import EditOptions, ImageOptions, VideoOptions
from .plans import ImagePlan, VideoPlan, plan_image, plan_video
from .results import EditResult, VideoResult
from .standing import same_record, same_request

MAIN_FILES = {
    "edit-image": ("composite.png", "layer.png", "alpha.png", "screen.png"),
    "edit-video": ("composite.mp4", "screen.mp4", "report.html"),
}
"""Without which a result is none."""


def done_image(options: ImageOptions) -> EditResult | None:
    """The result of the very same edit of a picture, if it is there; None where a run knows more.

    Raises what the run would.
    """
    if not _may_be_done(image_folder(options), options):
        return None
    plan = plan_image(options, likely_device(options.device), options.progress or Silent())
    facts = finished(plan)
    if facts is None or lacks_copy(plan):
        return None
    return EditResult(plan.folder, False, facts, Path(options.source), plan.copy)


def done_video(options: VideoOptions) -> VideoResult | None:
    """The same of an edit of a clip."""
    if not _may_be_done(video_folder(options), options):
        return None
    plan = plan_video(options, likely_device(options.device), options.progress or Silent())
    facts = finished(plan)
    if facts is None or lacks_copy(plan):
        return None
    return VideoResult(plan.folder, False, facts, plan.copy)


def finished(plan: ImagePlan | VideoPlan) -> dict[str, Any] | None:
    """The record of a whole result of the same request on the same input, if it is in the plan's
    folder already; it is told.
    """
    options, folder = plan.options, plan.folder
    facts = same_record(folder, plan.command, options, plan.settings.preset, plan.device)
    if facts is None or not same_request(facts["request"], plan.request):
        return None
    source = plan.picture.sha256 if isinstance(plan, ImagePlan) else plan.clip.sha256
    try:
        same = facts["input"]["sha256"] == source
        share = facts["unchanged_share"]
        sound = share is None or (isinstance(share, float) and 0 <= share <= 1)
        sound = sound and isinstance(facts["seed"], int)
    except RECORD_ERRORS:
        return None
    files = [folder / name for name in MAIN_FILES[plan.command]]
    if isinstance(plan, ImagePlan):
        files += layered_beside(folder / LAYER_PICTURE, plan.options.layer_formats)
    is_whole = all(path.is_file() for path in files)
    same = same and (isinstance(plan, ImagePlan) or _is_of_the_atlas(facts, plan))
    return facts if same and sound and is_whole else None


def lacks_copy(plan: ImagePlan | VideoPlan) -> bool:
    """Whether what -o names beside the folder is not there (any more)."""
    return plan.copy is not None and not plan.copy.is_file()


def tell_done(folder: Path) -> str:
    """The line that says so."""
    return f"{folder}: done already (--overwrite does it again)"


def _may_be_done(folder: Path, options: EditOptions) -> bool:
    """Whether a result stands there, on the device that a run would take as far as one can tell."""
    if options.overwrite or options.resume:
        return False
    with contextlib.suppress(*RECORD_ERRORS):
        device = read_record(folder / RECORD)["job"]["device"]
        return bool(device == likely_device(options.device))
    return False


def _is_of_the_atlas(former: dict[str, Any], plan: VideoPlan) -> bool:
    """Whether a former result was made on the atlas that is there now."""
    if plan.atlas_folder is None:
        return True
    with contextlib.suppress(OSError, LookupError, TypeError, UsageError):
        return sha256_of(plan.atlas_folder / ATLAS) == former["job"]["fit"]
    return False
