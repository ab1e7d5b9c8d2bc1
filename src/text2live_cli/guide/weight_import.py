"""Copies a file of weights into the cache, so that it serves by its name without a network."""

from __future__ import annotations

import shutil
from pathlib import Path

import torch

from ..errors import Text2LiveError, UsageError
from ..media.files import atomic_path, sha256_of, sweep
from ..media.outside import require_regular
from ..progress import Progress
from . import hub, weights
from .clip import build_model, load_state
from .encoder_names import SWATCH, architecture_of, resolve_name
from .hub import cache_folder
from .weight_files import OPENAI_FILES
from .weight_records import (
    IMPORTED,
    WeightsRecord,
    discard,
    read_record,
    slug,
    write_record,
)


def import_weights(file: Path, name: str | None, progress: Progress) -> weights.WeightsFile:
    """Copy `file` into the cache as the weights of `name`, in place of those that it has of it.

    The name of a file of OpenAI's is known by its SHA-256; that of another has to be given, and
    its SHA-256 is compared with the one that the hub published, where that was learned before.
    Raises UsageError for a name that cannot serve, Text2LiveError for a file that is not of that
    name, or cannot be copied.
    """
    require_regular(file, "FILE")
    try:
        sha256 = sha256_of(file)
    except OSError as error:
        raise Text2LiveError(f"cannot read {file}: {error.strerror}") from error
    name = _name_of(file, sha256, name, progress)
    is_sure = sha256 in OPENAI_FILES or _is_published(file, sha256, name)
    source = weights.WeightsFile(name, architecture_of(name), file, sha256, str(file))
    with torch.device("meta"):
        model = build_model(source.architecture)
    load_state(model, weights.read_state_dict(source), source, assign=True)
    if not is_sure:
        progress.warning(
            f"no SHA-256 of {name} is known without the hub: only layout and sizes were checked"
        )
    try:
        with hub.locked(cache_folder() / "locks" / f"{slug(name)}.lock"):
            return _copy(source, progress)
    except OSError as error:
        reason = error.strerror or error
        raise Text2LiveError(f"cannot write into {cache_folder()}: {reason}") from error


def _name_of(file: Path, sha256: str, asked: str | None, progress: Progress) -> str:
    """The name of a file, as far as its SHA-256 is known, or as it was asked for."""
    published = OPENAI_FILES.get(sha256)
    own = None if published is None else f"{published}/openai"
    if asked is None and own is None:
        raise UsageError(
            f"{file}: its SHA-256 is none that text2live knows; say what it is, with --as MODEL/TAG"
        )
    name = resolve_name(asked or str(own), progress)
    if name == SWATCH or "/" not in name:
        raise UsageError(f"--as {name}: it is part of text2live, and needs no file")
    if own not in (None, name):
        raise UsageError(f"--as {asked}: {file} is {own}, by its SHA-256; leave --as out")
    return name


def _is_published(file: Path, sha256: str, name: str) -> bool:
    """Whether a file is what the hub published, as far as that is known; refuses another."""
    former = read_record(name)
    if former is None or former.is_imported:
        return False
    if former.sha256 != sha256:
        raise Text2LiveError(
            f"{file} is not {name}: its SHA-256 is {sha256}, published was {former.sha256}"
        )
    return True


def _copy(source: weights.WeightsFile, progress: Progress) -> weights.WeightsFile:
    """Copy, check and record a file. The caller holds the lock."""
    name, former = source.name, read_record(source.name)
    path = cache_folder() / IMPORTED / (slug(name) + source.path.suffix.lower())
    path.parent.mkdir(parents=True, exist_ok=True)
    sweep(path.parent)
    progress.stage(f"copying {source.path.name}")
    with atomic_path(path) as temporary:
        shutil.copyfile(source.path, temporary)
        if sha256_of(temporary) != source.sha256:
            raise Text2LiveError(f"{source.path} changed while it was copied: try again")
    file = path.relative_to(cache_folder()).as_posix()
    origin = f"imported from {source.path.name}"
    write_record(WeightsRecord(name, file, origin, source.sha256, 0, 0).stamped())
    if former is not None and former.path != path:
        discard(former.path)
    copy = weights.cached(name)
    assert copy is not None, "it was just recorded"
    return copy
