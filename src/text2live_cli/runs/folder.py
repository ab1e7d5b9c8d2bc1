"""The folder of a result: what a command writes there, and that nothing else is ever lost.

One list of outputs per command says what it writes, and so what it protects. A run into a folder
that holds a result works in another one beside it (`.NAME.partial`), and its files take their
places by renames when all are there. A lock keeps a second run out. What a first run leaves that is
killed before there is anything to go on with counts as nothing.
"""

from __future__ import annotations

import contextlib
import os
import shlex
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..config import LAYERED_FORMATS
from ..errors import UsageError
from ..media.files import sweep, write_bytes_atomic, write_json_atomic
from ..media.outside import RECORD_ERRORS, read_record, refuse_own_inputs
from ..progress import Progress
from .places import alone, beside, explained, free_name, made, remove_empty, require_writable

CHECKPOINT = "checkpoint.safetensors"
RECORD = "run.json"
PREVIEWS, LAYER, COMPOSITE = "previews", "layer", "composite"
LATEST = f"{PREVIEWS}/latest.png"
LAYER_PICTURE = "layer.png"
HISTORY = "history.csv"
_DELIVERY = "delivery.json"
"""In a folder of work: all of the result is there, and how it goes to its place."""
_BEGUN = ".text2live.begun"
"""In a folder that held no result: a run writes into it, or was killed there."""
_COMMANDS = (
    "edit-image",
    "edit-video",
    "fit-atlas",
    "lift",
    "apply",
    "export-maps",
)  # as records name them


_LAYERED = tuple(f"layer.{name}" for name in LAYERED_FORMATS)
_SIDES = ("background", "foreground")  # `atlas.layers.LAYERS`, without torch


@dataclass(frozen=True)
class Outputs:
    """What a command writes into the folder of its result."""

    files: tuple[str, ...]
    numbered: tuple[str, ...] = ()
    """Subfolders, in which the PNG and EXR files with numbers for names are the command's."""
    spare: tuple[str, ...] = ()
    """Those of the files that may be there without being a result."""

    def paths(self, folder: Path) -> list[Path]:
        """Where they go; of the numbered ones, those that are there."""
        inner = (path for name in self.numbered for path in sorted((folder / name).glob("*.*")))
        return [*(folder / name for name in self.files), *filter(_is_numbered, inner)]

    def standing(self, folder: Path) -> list[Path]:
        """Those that are there."""
        return [path for path in self.paths(folder) if os.path.lexists(path)]

    def holds(self, name: str) -> bool:
        """Whether a name, relative to the folder and with "/", is one of these."""
        inner, _, last = name.rpartition("/")
        return name in self.files or (inner in self.numbered and _is_numbered(Path(last)))


EDIT_IMAGE = Outputs(
    (
        *(RECORD, CHECKPOINT, LAYER_PICTURE, "composite.png", "alpha.png", "screen.png"),
        *_LAYERED,
        *("relevancy.png", "region.png", "mask.png", "loss.png", "report.html", HISTORY, LATEST),
    ),
    (PREVIEWS,),
)
EDIT_VIDEO = Outputs(
    (
        *(RECORD, CHECKPOINT, "composite.mp4", "screen.mp4"),
        *("layer.mov", "layer.webm", "matte.mp4"),
        *("composite.gif", "composite.webp", "composite.apng"),
        *("atlas-layer.png", "region.png", "mask.png", "loss.png", "report.html"),
        *(HISTORY, LATEST),
    ),
    (PREVIEWS, LAYER, COMPOSITE),
)
FIT_ATLAS = Outputs(
    (
        *(RECORD, CHECKPOINT, "atlas.safetensors", "flow.safetensors", "foreground.png"),
        *("background.png", "opacity.mp4", "reconstruction.mp4", "report.html"),
    ),
    spare=("flow.safetensors",),
)
MAPS = Outputs(
    (RECORD, "composite.nk", *(f"{side}.png" for side in _SIDES)),
    tuple(f"{side}-{kind}" for side in _SIDES for kind in ("map", "back", "matte")),
)
LIFT = Outputs(
    (
        *(RECORD, LAYER_PICTURE, "composite.png", "alpha.png", "region.png", "report.html"),
        *_LAYERED,
    )
)


@dataclass
class RunFolder:
    """A folder that is this run's alone; the run writes into `work`.

    That is the folder itself, or one beside it while a former result stays in its place.
    """

    folder: Path
    work: Path
    outputs: Outputs
    fresh: bool = False
    """Whether what stands in `folder` was all written by this run, but for spare files."""

    @property
    def beside(self) -> bool:
        """Whether the run works in another folder than that of the result."""
        return self.work != self.folder

    def open(self, overwrite: bool, resume: bool) -> None:
        """Choose where to work, by what stands there already.

        Raises UsageError where a result stands there and neither flag is given, or where there is
        nothing to resume.
        """
        if overwrite and resume:
            raise UsageError("--overwrite and --resume: choose one")
        work = beside(self.folder, "partial")
        stopped = (work / CHECKPOINT).is_file()  # a run that was to replace the result
        if resume and not stopped and not (self.folder / CHECKPOINT).exists():
            raise UsageError(f"{self.folder}: no checkpoint to resume; run without --resume")
        standing = [] if self._broken_off() else self._names(self.folder)
        standing = [name for name in standing if name not in self.outputs.spare]
        standing += [CHECKPOINT] * stopped
        if standing and not (overwrite or resume):
            resumable = CHECKPOINT in standing and not is_whole(self.folder)
            advice = "--resume to go on, --overwrite" if resumable else "--overwrite"
            raise UsageError(
                f"{self.folder} holds a result already ({self._whose() or standing[0]}): add"
                f" {advice}, or another name: -o {shlex.quote(str(free_name(self.folder)))}"
            )
        if stopped if resume else standing:
            self.work = work
        self.fresh = not (resume or standing)

    def begin(self, progress: Progress, keep: Sequence[str] = ()) -> None:
        """From here on `work` holds nothing of an earlier run, except the files in `keep`.

        Only for a run that does not resume.
        """
        if not self.beside:
            if self._broken_off():
                with explained(self.folder):
                    self._remove_own()
            write_bytes_atomic(self.folder / _BEGUN, b"")
            return
        with explained(self.folder):
            _clear(self.work, self.outputs)
            self.work.mkdir(exist_ok=True)
            for name in keep:
                if (self.folder / name).is_file():
                    _link(self.folder / name, self.work / name)
        progress.message(f"{self.folder} stays as it is until the new result is whole")

    def deliver(self, whole: bool, progress: Progress, copy: Path | None = None) -> Path:
        """Put a `whole` result into its place; returns the folder where the result is now.

        One that was interrupted stays in `work`, if that is beside a former result. Of the file
        `copy`, which will be written beside the folder, a former one goes: it is of another result.
        """
        if whole and copy is not None:
            with explained(copy):
                copy.unlink(missing_ok=True)
        if not self.beside:
            return self.folder
        if not whole:
            progress.warning(f"{self.folder} is as it was; what there is so far is in {self.work}")
            return self.work
        with explained(self.folder):
            new, former = self._names(self.work), self._names(self.folder)
            stale = [name for name in former if name not in new] if _is_ours(self.folder) else []
            write_json_atomic(self.work / _DELIVERY, {"files": new, "stale": stale})
        self.finish_delivery()
        return self.folder

    def finish_delivery(self) -> None:
        """Do what delivery.json says, if there is one: also after a run that was killed there."""
        try:
            delivery = read_record(self.work / _DELIVERY)
            files, stale = ([str(name) for name in delivery[part]] for part in ("files", "stale"))
        except RECORD_ERRORS:
            return
        with explained(self.folder):
            for name in filter(self.outputs.holds, files):
                if (self.work / name).exists():  # else it was moved before
                    (self.folder / name).parent.mkdir(exist_ok=True)
                    (self.work / name).replace(self.folder / name)
            for name in filter(self.outputs.holds, stale):
                (self.folder / name).unlink(missing_ok=True)
            remove_empty(self.folder / name for name in self.outputs.numbered)
            _clear(self.work, self.outputs)

    def discard(self) -> None:
        """Remove what a run that failed wrote, if it is no result and cannot be gone on with."""
        with contextlib.suppress(OSError):
            if self._can_go_on():
                self.end()
            elif self.fresh:
                self._remove_own()

    def end(self) -> None:
        """What stands in the folder stays there."""
        (self.folder / _BEGUN).unlink(missing_ok=True)

    def _broken_off(self) -> bool:
        """Whether all that stands in the folder is of a run that was killed early."""
        return (self.folder / _BEGUN).is_file() and not self._can_go_on()

    def _can_go_on(self) -> bool:
        return any((self.folder / name).exists() for name in (CHECKPOINT, RECORD))

    def _remove_own(self) -> None:
        """Remove all outputs but spare files, and the sign that a run began."""
        for path in self.outputs.standing(self.folder):
            if path.name not in self.outputs.spare:
                path.unlink()
        remove_empty(self.folder / name for name in self.outputs.numbered)
        self.end()

    def _whose(self) -> str:
        """Of which input the result is; nothing where its record does not say."""
        try:
            return f"of {str(read_record(self.folder / RECORD)['input']['path'])[:200]}"
        except RECORD_ERRORS:
            return ""

    def _names(self, folder: Path) -> list[str]:
        return [path.relative_to(folder).as_posix() for path in self.outputs.standing(folder)]


@contextlib.contextmanager
def claim_folder(
    folder: Path, outputs: Outputs, inputs: Iterable[Path | str | None]
) -> Iterator[RunFolder]:
    """Claim `folder` for one run, before any work is done; it exists within.

    A run that fails before there is a checkpoint leaves nothing of its own there, and a folder in
    which nothing is left is removed again if the run made it. Raises UsageError where another run
    is at work there, or one of the `inputs` (folders too) would be overwritten, and Text2LiveError
    where it cannot be written into.
    """
    with explained(folder):
        if folder.exists() and not folder.is_dir():
            raise UsageError(f"{folder} is a file: name a folder with -o")
    with made(folder.absolute().parent), alone(folder), made(folder):
        require_writable(folder)
        work = beside(folder, "partial")
        for place in (folder, work, *(folder / name for name in outputs.numbered)):
            sweep(place)
        with explained(folder):
            _refuse_special(outputs, folder)
            refuse_own_inputs([folder, *outputs.standing(folder)], inputs)
            RunFolder(folder, work, outputs).finish_delivery()
        run = RunFolder(folder, folder, outputs)
        try:
            yield run
            with explained(folder):
                run.end()
        except BaseException:
            run.discard()
            raise
        finally:
            if not any((work / name).is_file() for name in (CHECKPOINT, RECORD, _DELIVERY)):
                with contextlib.suppress(OSError):
                    _clear(work, outputs)


def check_output(
    output: Path, inputs: Iterable[Path | str | None], overwrite: bool, kind: str = "file"
) -> None:
    """Raise UsageError where one file (or a `kind` "folder") that is the result cannot go there.

    It is there and `overwrite` is not given, it is one of the `inputs`, or is no such thing.
    """
    with explained(output):
        exists = os.path.lexists(output)
        if exists and not (output.is_dir() if kind == "folder" else output.is_file()):
            raise UsageError(f"{output} cannot be made a {kind}: choose another -o OUT")
        inner = list(output.iterdir()) if exists and kind == "folder" else []
        refuse_own_inputs([output, *inner], inputs)
        if exists and not overwrite and (kind == "file" or inner):
            raise UsageError(f"{output} exists: add --overwrite, or another -o OUT")
        sweep(output.parent)


def can_be_resumed(folder: Path) -> bool:
    """Whether a run was stopped there that has something to go on with."""
    places = (folder, beside(folder, "partial"))
    return any((place / CHECKPOINT).is_file() for place in places)


def require_takes(folder: Path, outputs: Outputs, inputs: Iterable[Path | str | None]) -> None:
    """Raise UsageError where `claim_folder` would; nothing is made, and no lock is held."""
    with explained(folder):
        if folder.exists() and not folder.is_dir():
            raise UsageError(f"{folder} is a file: name a folder with -o")
        _refuse_special(outputs, folder)
        refuse_own_inputs([folder, *outputs.standing(folder)], inputs)


def is_whole(folder: Path) -> bool:
    """Whether the run that stands there went to its end."""
    try:
        return read_record(folder / RECORD)["interrupted"] is False
    except RECORD_ERRORS:
        return False


def _is_ours(folder: Path) -> bool:
    """Whether a result of this program stands there, so that all of its files are ours."""
    try:
        ours = read_record(folder / RECORD).get("command") in _COMMANDS
    except RECORD_ERRORS:
        ours = False
    return ours or (folder / CHECKPOINT).is_file()


def _refuse_special(outputs: Outputs, folder: Path) -> None:
    """Refuse what is no file in the place of a file, and a link in that of a folder."""
    for path in outputs.standing(folder):
        if not path.is_file():
            raise UsageError(f"{path} is no regular file: move it, or choose another -o DIR")
    for path in (folder / name for name in outputs.numbered):
        if os.path.lexists(path) and (path.is_symlink() or not path.is_dir()):
            raise UsageError(f"{path} is no plain folder: move it, or choose another -o DIR")


def _clear(work: Path, outputs: Outputs) -> None:
    """Remove a folder of work with all that is ours in it."""
    if work.is_symlink() or not work.is_dir():
        return
    for path in (*outputs.standing(work), work / _DELIVERY):
        path.unlink(missing_ok=True)
    remove_empty([*(work / name for name in outputs.numbered), work])


def _link(source: Path, target: Path) -> None:
    """The same file under a second name: it is only ever replaced, never changed."""
    try:
        target.hardlink_to(source)
    except OSError:
        target.write_bytes(source.read_bytes())


def _is_numbered(path: Path) -> bool:
    return path.suffix in (".png", ".exr") and path.stem.isdigit()
