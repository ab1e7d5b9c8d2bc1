"""The atlas that a clip is edited on: one that is there, or one that is fitted first, and kept."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ..atlas import ATLAS
from ..atlas.fit.settings import FILE_OPTIONS, FitSettings, working_size
from ..atlas.layers import Side
from ..atlas.render import Layer
from ..atlas.store import Atlas, read_atlas
from ..endings import Stopped
from ..errors import UsageError
from ..media.clips import Clip
from ..media.files import sha256_of
from ..progress import Progress
from ..runs.atlas_folder import require_fair, verdict_of
from ..runs.folder import CHECKPOINT
from ..runs.preflight import fit_bytes
from ..video.result import result_layers
from .fit import begun_with, fit_atlas


@dataclass
class ClipAtlas:
    """A clip's atlas in `folder`; `fitted` is None until it has been read, or fitted.

    `named` says that the user chose the folder, `resumes` that a fit was stopped there and is to
    go on.
    """

    clip: Clip
    folder: Path
    named: bool
    resumes: bool
    fitted: Atlas | None = None

    def read(self) -> None:
        """Read the atlas, if it is there and done.

        Raises UsageError where it is another clip's, or unfinished and not to be resumed.
        """
        if self.resumes:
            return
        if self.named or (self.folder / ATLAS).exists():
            self.fitted = read_atlas(self.folder)
            self.fitted.require_clip(self.clip, self.folder)
        elif (self.folder / CHECKPOINT).exists():
            raise UsageError(f"{self.folder} holds an unfinished fit: add --resume, or delete it")

    def layers_of(self, onto: Path, written: Path) -> list[tuple[Side, Layer]]:
        """The layers of an earlier result on this atlas; `written` will be laid onto them."""
        if self.resumes:
            raise UsageError(
                f"--onto {onto}: the fit goes on first, and then it is of an older fit"
            )
        if self.fitted is None:
            raise UsageError(
                f"--onto {onto}: the atlas that it was made on is not there: --atlas-dir"
            )
        return result_layers([onto], self.clip, self.fitted.digest, written)

    def changed(self) -> tuple[str, ...]:
        """What to say where the atlas was fitted anew since it was read."""
        with contextlib.suppress(OSError):
            if self.fitted and sha256_of(self.folder / ATLAS) == self.fitted.digest:
                return ()
        return (
            f"{self.folder.name} was fitted anew meanwhile: this result is of the fit that it began"
            " with, and cannot be laid over those of the new one; edit again with --overwrite",
        )

    def fit_bytes(self, device: torch.device) -> int:
        """Room that a fit on `device` may still take on the disk."""
        if self.fitted is not None:
            return 0
        height, width = working_size(self.clip, FitSettings(), device.type)
        return fit_bytes(self.clip.count * height * width)

    def complete(
        self, options: dict[str, Any], hint: str | None, encoder: dict[str, Any], progress: Progress
    ) -> Atlas:
        """The atlas, fitted now if it is not there yet.

        `options` are those of `fit_atlas` that say what the foreground is, `hint` what it looks
        like where they do not, `encoder` what finds it.
        """
        if self.fitted is None:
            guess = {} if any(options.values()) or not hint else {"foreground_hint": hint}
            self.fitted = self._fit({**options, **guess, **encoder}, progress)
        else:
            span = {name: encoder.get(name) for name in ("frames", "every")}
            self._tell_of_the_fit({**options, **span}, progress)
        return self.fitted

    def verdict(self, any_atlas: bool) -> tuple[str, ...]:
        """What the fit said of itself, and its advice; nothing where its record cannot be read.

        Raises PoorAtlasError where it says that edits will not sit well, unless `any_atlas`.
        """
        lines = verdict_of(self.folder)
        if lines and not any_atlas:
            require_fair(self.folder, lines)
        return lines

    def _fit(self, options: dict[str, Any], progress: Progress) -> Atlas:
        if self.resumes:
            progress.message(f"{self.folder}: its fit goes on where it was stopped")
            files = {name: options.get(name) for name in FILE_OPTIONS if options.get(name)}
            options = {**(begun_with(self.folder) or options), **files}
        else:
            progress.message("no atlas of this clip yet: it is fitted first, and kept")
            hint = options.get("foreground_hint")
            if hint:
                progress.message(f'its foreground: "{hint}" (or --foreground, --masks, --box)')
        result = fit_atlas(
            self.clip.path, output=self.folder, resume=self.resumes, progress=progress, **options
        )
        if result.interrupted:
            progress.message("the fit was stopped: the same command with --resume goes on")
            raise Stopped.by(result.record["stopped_by"])
        return read_atlas(self.folder)

    def _tell_of_the_fit(self, options: dict[str, Any], progress: Progress) -> None:
        flags = [f"--{name}" for name, value in options.items() if value]
        if flags:
            progress.warning(
                f"{flags[0]} is for fitting: the atlas in {self.folder} is used as it is"
            )
        if (self.folder / CHECKPOINT).exists():
            progress.warning(
                f"{self.folder}: its fit was stopped early and is used as it is;"
                " text2live fit-atlas --resume goes on, with the options of its run.json"
            )
