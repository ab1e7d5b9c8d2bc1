"""What can be looked at while a training runs: the edit as it is, and curves for TensorBoard."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

import numpy as np

from ..engine.training import Trainer
from ..errors import Text2LiveError, UsageError
from ..media.picture_writing import write_picture
from ..progress import Progress
from ..runs.folder import LATEST, PREVIEWS

if TYPE_CHECKING:
    from torch.utils.tensorboard.writer import SummaryWriter

_PARTS = (10, 4)  # of a run: after the first tenth, and after each quarter


def is_due(done: int, steps: int) -> bool:
    """Whether to look at the edit after `done` of `steps` steps."""
    tenth, quarter = _PARTS
    return done == -(-steps // tenth) or done * quarter // steps > (done - 1) * quarter // steps


class Previews:
    """Called after every step: writes the edit, (H, W, 3) uint8, as `picture` shows it.

    To latest.png when that is due, and to a file of its own after `every` so many steps. Both go
    to `log`, too.
    """

    def __init__(
        self,
        folder: Path,
        picture: Callable[[], np.ndarray],
        trainer: Trainer,
        every: int | None,
        log: Log,
        progress: Progress,
    ) -> None:
        self._folder, self._picture, self._trainer = folder, picture, trainer
        self._every, self._log, self._progress = every, log, progress
        self._warned = False

    def __call__(self, done: int) -> None:
        numbered = bool(self._every) and done % (self._every or 1) == 0
        latest = is_due(done, self._trainer.steps) or self._trainer.ended
        names = [f"{PREVIEWS}/{done:05d}.png"] * numbered + [LATEST] * latest
        if names:
            edit = self._picture()
            self._log.picture(edit, done)
            for name in names:
                self._write(self._folder / name, edit)
        self._log.terms(self._trainer)

    def _write(self, path: Path, edit: np.ndarray) -> None:
        """A picture that cannot be written is no reason to lose the work."""
        try:
            path.parent.mkdir(exist_ok=True)
            write_picture(path, edit)
        except (OSError, Text2LiveError) as error:
            if not self._warned:
                self._progress.warning(f"no preview for now: {error}")
            self._warned = True
        else:
            self._progress.preview(path)


class Log:
    """Writes every step's terms, and previews, for TensorBoard; without a folder, nothing."""

    def __init__(self, folder: Path | str | None) -> None:
        self._folder = folder
        self._writer: SummaryWriter | None = None
        self._logged = 0

    def begin(self, trainer: Trainer) -> None:
        """From the steps on that `trainer` has done; those of an earlier run after them are void.

        Raises Text2LiveError where the folder cannot be made.
        """
        if self._folder is None:
            return
        from torch.utils.tensorboard.writer import SummaryWriter

        self._logged = trainer.done
        try:
            self._writer = SummaryWriter(str(self._folder), purge_step=trainer.done + 1)
        except OSError as error:
            raise Text2LiveError(f"--log-dir {self._folder}: {error.strerror}") from error

    def terms(self, trainer: Trainer) -> None:
        """The terms that have been read since the last call, by the number of their step."""
        history = trainer.history
        while self._writer is not None and self._logged < len(history.weighted):
            row, weighted = history.terms[self._logged], history.weighted[self._logged]
            self._logged += 1
            for name, value in row.items():
                self._writer.add_scalar(f"term/{name}", value, self._logged)
                self._writer.add_scalar(f"weighted/{name}", weighted[name], self._logged)
            self._writer.add_scalar("objective", sum(weighted.values()), self._logged)

    def picture(self, edit: np.ndarray, done: int) -> None:
        """A preview, (H, W, 3) uint8, after `done` steps."""
        if self._writer is not None:
            self._writer.add_image("preview", edit, done, dataformats="HWC")

    def __enter__(self) -> Log:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._writer is not None:
            self._writer.close()


def require_log(folder: Path | str | None) -> None:
    """Raise UsageError where `--log-dir` is given and cannot be served."""
    if folder is None:
        return
    if find_spec("tensorboard") is None:
        raise UsageError("--log-dir: TensorBoard is missing: pip install 'text2live[tensorboard]'")
    if Path(folder).exists() and not Path(folder).is_dir():
        raise UsageError(f"--log-dir {folder}: is a file; name a folder")
