"""Where the result of an edit goes, by its options alone."""

from __future__ import annotations

from pathlib import Path

from ..media.animation_writing import ANIMATION_ENDINGS
from ..media.clip_kinds import KINDS
from ..media.picture_writing import PICTURE_ENDINGS
from ..texts import slug
from .options import ImageOptions, VideoOptions


def image_folder(options: ImageOptions) -> Path:
    """Where the result of an edit of a picture goes."""
    copy = image_copy(options)
    if copy is not None:
        return copy.with_suffix("")
    return Path(options.output or f"{Path(options.source).stem}.{slug(options.prompt)}")


def video_folder(options: VideoOptions) -> Path:
    """The same of a clip."""
    copy = video_copy(options)
    if copy is not None:
        return copy.with_suffix("")
    name = f"{Path(options.source).stem}.{options.atlas}.{slug(options.prompt)}"
    return Path(options.output or name)


def image_copy(options: ImageOptions) -> Path | None:
    """The picture that -o names, if it does."""
    return _file(options.output, PICTURE_ENDINGS)


def video_copy(options: VideoOptions) -> Path | None:
    """The video or animation that -o names, if it does."""
    return _file(options.output, (*KINDS, *ANIMATION_ENDINGS))


def _file(output: Path | str | None, endings: tuple[str, ...]) -> Path | None:
    path = Path(output or "")
    return path if path.suffix.lower() in endings and not path.is_dir() else None
