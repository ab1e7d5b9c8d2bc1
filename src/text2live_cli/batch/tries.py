"""`--tries`: one edit with several seeds and wordings; the best by figures is delivered in full.

Each try is a run of its own in `OUT/tries/`, so that what is killed goes on where it was. They are
ranked by figures that no training saw (`engine.figures`); the rest is kept small.
"""

from __future__ import annotations

import dataclasses
import itertools
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from PIL import Image

from ..config import require_whole
from ..errors import Text2LiveError, UsageError
from ..media.files import write_json_atomic
from ..media.outside import RECORD_ERRORS, read_record
from ..media.picture_writing import write_picture
from ..media.pictures import read_picture
from ..pipelines.done import lacks_copy, tell_done
from ..pipelines.image import EditResult, run_edit_image, write_copy
from ..pipelines.options import EditOptions, ImageOptions, VideoOptions
from ..pipelines.plans import ImagePlan, VideoPlan, plan_image, plan_video
from ..pipelines.requests import request
from ..pipelines.session import Session
from ..pipelines.standing import names_copy
from ..pipelines.video import VideoResult, run_edit_video, write_film
from ..progress import Progress, Silent
from ..report.tries import contact_sheet
from ..runs.folder import (
    RECORD,
    Outputs,
    can_be_resumed,
    check_output,
    claim_folder,
    is_whole,
)
from ..texts import require_text, shown_path
from .side_by_side import fits, run_side_by_side

FOLDER, SHEET, SMALL = "tries", "sheet.jpg", "composite.jpg"
MAX_TRIES = 100
_SMALL_SIDE = 512  # pixels, of what is kept of a try

Options = TypeVar("Options", bound=EditOptions)


@dataclass(frozen=True)
class Tries:
    """How many seeds, and which other wordings. Raises UsageError where that cannot be."""

    count: int
    texts: Sequence[str] = ()

    def __post_init__(self) -> None:
        """Raise UsageError, naming the option."""
        require_whole("--tries", self.count, 1, MAX_TRIES)
        for text in self.texts:
            require_text("--also-try", text)
            if not text.strip():
                raise UsageError("--also-try is empty: say in words what to make")

    def of(self, options: Options) -> list[Options]:
        """Every seed with every wording."""
        first = options.seed or 0
        seeds = range(first, first + self.count)
        wordings = dict.fromkeys((options.prompt, *self.texts))
        return [
            dataclasses.replace(options, seed=seed, prompt=text)
            for text, seed in itertools.product(wordings, seeds)
        ]


def try_edits(options: ImageOptions | VideoOptions, tries: Tries) -> EditResult | VideoResult:
    """The best of several edits, in the folder of the one; a contact sheet of all in its `tries/`.

    Raises what `edit_image` and `edit_video` raise. An interrupted one is returned as it is; the
    same call goes on.
    """
    session = Session.of(options)
    plan = _plan(options, session)
    if isinstance(plan, VideoPlan) and plan.copy is not None and plan.atlas_folder is None:
        raise UsageError(
            f"-o {plan.copy}: tries without an atlas leave no layer for a film; name a folder"
        )
    asked = {"count": tries.count, "texts": list(tries.texts), "request": request(options)}
    former = None if options.overwrite else _finished(plan, asked)
    if plan.copy is not None:
        ours = options.overwrite or names_copy(former, plan.copy)
        check_output(plan.copy, plan.inputs, ours)
    if former is not None:
        session.progress.message(tell_done(plan.folder))
        if lacks_copy(plan):
            _write_copy(plan, former, session.progress)
        return _result(plan, former)
    with claim_folder(plan.folder, plan.outputs, plan.inputs) as run:
        run.open(options.overwrite, False)
    results = _all(tries.of(options), plan, session)
    if results[-1].interrupted:
        return results[-1]
    return _deliver(options, plan, results, asked, session.progress)


def _plan(options: ImageOptions | VideoOptions, session: Session) -> ImagePlan | VideoPlan:
    # What stands there may be the same tries: that is seen after the plan.
    options = dataclasses.replace(options, overwrite=True, resume=False)
    if isinstance(options, ImageOptions):
        return plan_image(options, session.device.type, Silent())
    return plan_video(options, session.device.type, Silent())


def _all(
    every: Sequence[ImageOptions | VideoOptions], plan: ImagePlan | VideoPlan, session: Session
) -> list[EditResult | VideoResult]:
    """What came of all, or of those up to one that was interrupted."""
    place, overwrite = plan.folder / FOLDER, every[0].overwrite
    pictures = [one for one in every if isinstance(one, ImageOptions)]
    if len(pictures) > 1 and fits(plan):
        place.mkdir(parents=True, exist_ok=True)
        steps = plan.settings.steps
        records = run_side_by_side(pictures, place, overwrite, steps, session.progress)
        return [EditResult(place / name, r["interrupted"], r) for name, r in records.items()]
    results = list[EditResult | VideoResult]()
    for number, one in enumerate(every, 1):
        session.progress.message(f"try {number} of {len(every)}: “{one.prompt}”, seed {one.seed}")
        results.append(_run(one, place / f"{number:02d}", session, overwrite))
        if results[-1].interrupted:
            break
    return results


def _run(
    options: ImageOptions | VideoOptions, folder: Path, session: Session, overwrite: bool
) -> EditResult | VideoResult:
    """One try; one that was stopped goes on."""
    resume = can_be_resumed(folder) and not is_whole(folder) and not overwrite
    options = dataclasses.replace(options, output=folder, resume=resume)
    if isinstance(options, ImageOptions):
        return run_edit_image(options, session)
    return run_edit_video(dataclasses.replace(options, codec=None, crf=None), session)


def _finished(plan: ImagePlan | VideoPlan, asked: dict[str, Any]) -> dict[str, Any] | None:
    """The record of the same tries on the same input, if they were delivered before."""
    try:
        record = read_record(plan.folder / RECORD)
        same = record["tries"]["asked"] == asked and record["interrupted"] is False
        source = record["input"]["sha256"]
    except RECORD_ERRORS:
        return None
    own = plan.picture.sha256 if isinstance(plan, ImagePlan) else plan.clip.sha256
    return record if same and source == own else None


def _result(plan: ImagePlan | VideoPlan, record: dict[str, Any]) -> EditResult | VideoResult:
    kind = EditResult if isinstance(plan, ImagePlan) else VideoResult
    return kind(plan.folder, False, record, copy=plan.copy)


def _write_copy(plan: ImagePlan | VideoPlan, record: dict[str, Any], progress: Progress) -> None:
    """What -o names beside the folder."""
    if isinstance(plan, ImagePlan):
        write_copy(plan, EditResult(plan.folder, False, record))
    elif plan.copy is not None:
        write_film(plan, progress)


def _deliver(
    options: ImageOptions | VideoOptions,
    plan: ImagePlan | VideoPlan,
    results: list[EditResult | VideoResult],
    asked: dict[str, Any],
    progress: Progress,
) -> EditResult | VideoResult:
    """The best into the folder of the result, the rest small."""
    ranked = sorted(results, key=lambda one: -float(one.record["figures"]["score"]))
    rows = [_row(one) for one in ranked]
    best = ranked[0]
    record = {**best.record, "output": plan.folder.name, "tries": {"asked": asked, "ranked": rows}}
    record["copy"] = None if plan.copy is None else shown_path(plan.copy)
    if isinstance(options, VideoOptions):  # of the film, which no try has
        film = {"codec": options.codec, "crf": options.crf}
        film = {name: value for name, value in film.items() if value is not None}
        record["request"], record["options"] = record["request"] | film, record["options"] | film
    if record.get("onto"):
        onto = (best.folder / record["onto"]).resolve()
        record["onto"] = os.path.relpath(onto, plan.folder.resolve())
    sheet = contact_sheet([_seen(one.folder) for one in ranked], [_caption(row) for row in rows])
    write_picture(plan.folder / FOLDER / SHEET, sheet)
    with claim_folder(plan.folder, plan.outputs, plan.inputs) as run:
        run.open(options.overwrite, False)
        run.begin(progress)
        for path in plan.outputs.paths(best.folder):
            _copy(path, run.work / path.relative_to(best.folder))
        write_json_atomic(run.work / RECORD, record)
        run.deliver(True, progress, plan.copy)
    for one in results:
        _shrink(one.folder, plan.outputs)
    _write_copy(plan, record, progress)
    for row in rows:
        progress.message(_caption(row))
    return _result(plan, record)


def _row(result: EditResult | VideoResult) -> dict[str, Any]:
    """What stands in run.json of one try."""
    return {
        "folder": f"{FOLDER}/{result.folder.name}",
        "prompt": result.record["prompts"]["target"],
        "seed": result.record["seed"],
        "figures": result.record["figures"],
    }


def _caption(row: dict[str, Any]) -> str:
    figures = row["figures"]
    return (
        f"{row['folder']}: “{row['prompt']}”, seed {row['seed']}, {figures['verdict']}, score"
        f" {figures['score']:.3f} ({figures['text_before']:.2f} → {figures['text_after']:.2f},"
        f" {figures['untouched_share']:.0%} untouched)"
    )


def _seen(folder: Path) -> np.ndarray:
    """The composite of a try, small: of a clip its middle frame, (h, w, 3) uint8."""
    if (folder / "composite.png").exists():
        color = read_picture(folder / "composite.png").in_eight_bits().color
    else:
        from ..media.clips import open_clip

        clip = open_clip(folder / "composite.mp4")
        color = next(clip.frames(clip.count // 2))
    image = Image.fromarray(color)
    image.thumbnail((_SMALL_SIDE, _SMALL_SIDE))
    return np.array(image)


def _copy(source: Path, target: Path) -> None:
    if source.is_file() and source.name != RECORD:
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)


def _shrink(folder: Path, outputs: Outputs) -> None:
    """Keep the record and a small picture of a try."""
    try:
        write_picture(folder / SMALL, _seen(folder))
        for path in outputs.standing(folder):
            if path.name != RECORD:
                path.unlink()
        for name in outputs.numbered:
            if (folder / name).is_dir() and not any((folder / name).iterdir()):
                (folder / name).rmdir()
    except OSError as error:
        raise Text2LiveError(f"{folder}: cannot be made small ({error.strerror})") from error
