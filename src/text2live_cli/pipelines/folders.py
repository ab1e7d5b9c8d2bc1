"""Where the result of an edit goes, by its options alone."""

from __future__ import annotations

from pathlib import Path

from ..errors import UsageError
from ..media.animation_writing import ANIMATION_ENDINGS
from ..media.clip_kinds import KINDS, Kind, encoded_as
from ..media.layered_files import LAYERED_ENDINGS
from ..media.picture_writing import PICTURE_ENDINGS
from ..texts import slug
from .options import ImageOptions, VideoOptions

FILE_ENDINGS = frozenset((*PICTURE_ENDINGS, *LAYERED_ENDINGS, *KINDS, *ANIMATION_ENDINGS))
"""With which -o names a file beside the folder, of a picture or a clip."""


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
    return _file(options.output, (*PICTURE_ENDINGS, *LAYERED_ENDINGS))


def video_copy(options: VideoOptions) -> Path | None:
    """The video or animation that -o names, if it does."""
    return _file(options.output, (*KINDS, *ANIMATION_ENDINGS))


def film_kind(options: VideoOptions) -> Kind | None:
    """How the film that -o names is encoded; None where it names none.

    Raises UsageError where --codec or --crf are for nothing, or do not fit it.
    """
    copy = video_copy(options)
    if copy is not None and copy.suffix.lower() in KINDS:
        return encoded_as(copy, options.codec, options.crf)
    if options.codec is not None or options.crf is not None:
        raise UsageError("--codec, --crf: are for films; name one: -o name.mov")
    return None


def _file(output: Path | str | None, endings: tuple[str, ...]) -> Path | None:
    path = Path(output or "")
    return path if path.suffix.lower() in endings and not path.is_dir() else None
