"""`apply`: the generator of a finished edit on other pictures, one forward pass each.

It is `deliver_image` on another source: what `edit_image` does, without its training.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..device import explain_out_of_memory
from ..engine.training import FORMAT
from ..errors import Text2LiveError, UsageError
from ..media.files import sha256_of
from ..media.outside import RECORD_ERRORS, read_record
from ..progress import Silent
from ..runs.checkpoint import Checkpoint
from ..runs.folder import CHECKPOINT, RECORD
from ..runs.keeping import as_known
from ..texts import shown_path
from .apply_options import ApplyOptions
from .done import MAIN_FILES, tell_done
from .folders import image_folder
from .image import deliver_image, prepare_image
from .option_fields import taking
from .options import ImageOptions
from .plans import ImagePlan, plan_image
from .requests import command_line, recorded_options, request
from .results import EditResult
from .session import Session, Trained, claimed
from .standing import same_request
from .thread_choice import set_threads

_PLACE = ("box", "points", "not_points", "mask")


@dataclass(frozen=True)
class Parent:
    """The edit whose generator is applied."""

    folder: Path
    record: dict[str, Any]
    checkpoint: str
    """SHA-256 of the file."""

    @classmethod
    def read(cls, folder: Path) -> Parent:
        """Raises UsageError where it is no result of `edit_image` with a checkpoint."""
        try:
            record = read_record(folder / RECORD)
            is_edit = record["command"] == "edit-image" and isinstance(record["prompts"], dict)
            fits = is_edit and isinstance(record["input"]["sha256"], str)
        except RECORD_ERRORS as error:
            raise UsageError(f"{folder}: is no result of edit-image") from error
        if not fits:
            raise UsageError(f"{folder}: is no result of edit-image")
        if not (folder / CHECKPOINT).is_file():
            raise UsageError(f"{folder}: has no {CHECKPOINT}, in which the generator is")
        return cls(folder, record, sha256_of(folder / CHECKPOINT))

    def describe(self) -> dict[str, Any]:
        """For the record of what was made with it."""
        return {"path": shown_path(self.folder), "checkpoint": self.checkpoint}


@dataclass(frozen=True)
class ApplyResult:
    """What came of each picture; `failures` says why of those that failed."""

    results: list[EditResult]
    failures: dict[str, str]

    def record(self) -> dict[str, Any]:
        """For `--json`."""
        return {
            "command": "apply",
            "results": [result.record for result in self.results],
            "failures": self.failures,
        }


@explain_out_of_memory()
def run_apply(options: ApplyOptions) -> ApplyResult:
    """Apply the generator of the edit `result` to `pictures`, each with a result of its own.

    Where the edit is, is found anew in each, from the texts of the edit; on its own picture it is
    where it was, so that the same layer comes out, bit for bit. Of several pictures, one that fails
    stops no other. Raises UsageError for what cannot be asked for, Text2LiveError where the
    generator or the encoder is not that of the edit.
    """
    progress = options.progress or Silent()
    parent = Parent.read(Path(options.result))
    asked = [_options_of(parent, Path(picture), options) for picture in options.pictures]
    if not asked:
        raise UsageError("name the pictures")
    _require_apart(parent, asked)
    session = Session.of(asked[0])
    results, failures = [], {}
    for one in asked:
        try:
            results.append(_done(parent, one, options) or _apply(parent, one, options, session))
        except Exception as error:
            failure = as_known(error)
            if len(asked) == 1 or failure.exit_code not in (1, 2):
                raise
            progress.warning(f"{one.source}: {failure}")
            failures[str(one.source)] = str(failure)
    return ApplyResult(results, failures)


apply_edit = taking(ApplyOptions)(run_apply)


def _options_of(parent: Parent, picture: Path, options: ApplyOptions) -> ImageOptions:
    """Those of the edit, for another picture."""
    given = {name: getattr(options, name) for name in ("region", "clip_weights", "device")}
    given = {name: value for name, value in given.items() if value is not None}
    stays = not options.places and _is_source(parent, picture)
    changed = {"source", "prompt", "roi", *given, *(() if stays else _PLACE)}
    values = recorded_options(parent.folder / RECORD, ImageOptions, changed)
    prompts = parent.record["prompts"]
    values |= {**given, **options.places, "roi": str(prompts["roi"]), "progress": options.progress}
    values |= {"overwrite": options.overwrite, "source": picture, "prompt": str(prompts["target"])}
    return ImageOptions(**values, output=_folder(values, options))


def _folder(values: dict[str, Any], options: ApplyOptions) -> Path:
    if options.output is not None and len(options.pictures) == 1:
        return Path(options.output)
    name = image_folder(ImageOptions(values["source"], values["prompt"]))
    return Path(options.output or "") / name


def _require_apart(parent: Parent, asked: list[ImageOptions]) -> None:
    """Raise UsageError where a result would go onto the edit itself, or onto that of another
    picture.
    """
    sources: dict[Path, Path | str] = {}
    for one in asked:
        folder = image_folder(one)
        if folder.exists() and folder.samefile(parent.folder):
            raise UsageError(f"{folder}: is the edit that is applied; name another folder with -o")
        other = sources.setdefault(folder.resolve(), one.source)
        if other is not one.source:
            raise UsageError(
                f"{one.source}: its result would go to {folder}, as that of {other}; apply to each"
                " alone, with -o"
            )


def _is_source(parent: Parent, picture: Path) -> bool:
    """Whether it is the picture that was edited."""
    try:
        return sha256_of(picture) == parent.record["input"]["sha256"]
    except OSError:
        return False


def _done(parent: Parent, options: ImageOptions, asked: ApplyOptions) -> EditResult | None:
    """The same generator's result on the same picture, if it is there already; it is told."""
    folder, source = image_folder(options), Path(options.source)
    try:
        facts = read_record(folder / RECORD)
        same = (
            facts["command"] == "apply"
            and facts["interrupted"] is False
            and facts["parent"]["checkpoint"] == parent.checkpoint
            and facts["input"]["sha256"] == sha256_of(source)
            and same_request(facts["request"], request(asked))
            and isinstance(facts["figures"]["verdict"], str)
        )
    except RECORD_ERRORS:
        return None
    is_whole = all((folder / name).is_file() for name in MAIN_FILES["edit-image"])
    if options.overwrite or not same or not is_whole:
        return None
    if options.progress is not None:
        options.progress.message(tell_done(folder))
    return EditResult(folder, False, facts, source)


def _apply(
    parent: Parent, options: ImageOptions, asked: ApplyOptions, session: Session
) -> EditResult:
    """One picture."""
    begin, progress = time.monotonic(), session.progress
    plan = plan_image(options, session.device.type, progress)
    plan = dataclasses.replace(plan, command="apply", request=request(asked))
    with claimed(plan) as run:
        with _as_a_generator(parent.folder / CHECKPOINT):
            checkpoint = Checkpoint.read(parent.folder / CHECKPOINT, FORMAT)
        _require_encoder(checkpoint, session)
        if session.device.type == "cpu":
            set_threads(None, checkpoint, plan.settings.channels, progress)
        run.open(options.overwrite, False)
        trained = _restored(plan, session, checkpoint, parent)
        run.begin(progress)
        assert trained.edit.write_first is not None
        trained.edit.write_first(run.work)
        seconds = {"preparation": time.monotonic() - begin, "training": 0.0, "per_step": 0.0}
        trained = dataclasses.replace(trained, seconds=seconds)
        one = dataclasses.replace(asked, pictures=(shown_path(Path(options.source)),))
        line = {"request": plan.request, "command_line": command_line("apply", one)}
        return deliver_image(trained, plan, run, progress, line)


@contextmanager
def _as_a_generator(path: Path) -> Iterator[None]:
    """What is wrong with a checkpoint within is told for who wants its generator alone."""
    try:
        yield
    except Text2LiveError as error:
        raise Text2LiveError(
            f"{path}: is damaged, or of another version of text2live; edit that picture again"
        ) from error


def _require_encoder(checkpoint: Checkpoint, session: Session) -> None:
    """Raise Text2LiveError where the edit was trained with another encoder."""
    if checkpoint.job.get("clip weights") != session.guide.sha256:
        raise Text2LiveError(
            f"{checkpoint.path}: was trained with other weights than those of {session.guide.name}"
            " here; give them with --clip-weights FILE"
        )


def _restored(
    plan: ImagePlan, session: Session, checkpoint: Checkpoint, parent: Parent
) -> Trained[Any]:
    """The edit as its training left it, with another picture."""
    edit = prepare_image(plan, session, checkpoint)
    with _as_a_generator(checkpoint.path):
        checkpoint.restore(edit.trainer)
    edit.facts["parent"] = parent.describe()
    if not edit.trainer.ended:
        session.progress.message(f"{parent.folder}: was stopped after {edit.trainer.done} steps")
    return Trained(edit, session.guide, checkpoint.job, None, {})
