"""Asks the hub for a file and downloads it, through huggingface_hub (imported when first used)."""

from __future__ import annotations

import multiprocessing
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.pool import ThreadPool
from pathlib import Path
from typing import TypeVar

import platformdirs

from ..errors import Text2LiveError
from ..progress import Progress

_ANSWER_SECONDS = 5.0  # for the hub to say what it has

T = TypeVar("T")


@dataclass(frozen=True)
class Published:
    """A file as the hub describes it."""

    repo: str
    filename: str
    commit: str
    sha256: str
    url: str


def cache_folder() -> Path:
    """Where weights are kept: `TEXT2LIVE_CACHE`, else the user's cache folder. Not created."""
    override = os.environ.get("TEXT2LIVE_CACHE")
    if override:
        return Path(override).expanduser()
    return platformdirs.user_cache_path("text2live", appauthor=False)


def url(repo: str, filename: str) -> str:
    """Where the hub, or the mirror that HF_ENDPOINT names, has the newest `filename`."""
    from huggingface_hub import hf_hub_url

    return hf_hub_url(repo, filename)


def look_up(repo: str, filenames: tuple[str, str]) -> Published:
    """The first of `filenames` that the repository has.

    Raises one of `failures()` if the hub cannot be asked, has neither file or takes too long
    (HF_HUB_ETAG_TIMEOUT sets how long), Text2LiveError if it says no SHA-256.
    """
    from huggingface_hub.errors import EntryNotFoundError

    def ask() -> Published:
        preferred, other = filenames
        try:
            return _metadata(repo, preferred)
        except EntryNotFoundError:
            return _metadata(repo, other)

    return _within_answer_time(ask)


def download(published: Published, folder: Path, name: str, progress: Progress) -> Path:
    """Downloads into the hub's cache layout under `folder`, unless the file is already there.

    A connection that breaks is taken up again where it broke. The size is checked, the SHA-256 is
    not. Raises one of `failures()`.
    """
    from huggingface_hub import hf_hub_download

    path = hf_hub_download(
        published.repo,
        published.filename,
        revision=published.commit,
        cache_dir=folder,
        token=False,
        tqdm_class=_stage_class(progress, f"fetching {name}"),
    )
    return Path(path)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Holds the lock file `path`, so that one process at a time is inside."""
    from huggingface_hub.utils import WeakFileLock

    path.parent.mkdir(parents=True, exist_ok=True)
    with WeakFileLock(path):
        yield


def failures() -> tuple[type[Exception], ...]:
    """What the functions above raise when the network, the hub or the disk fails."""
    # HTTPError: the base error of whichever HTTP client this huggingface_hub is built on.
    from huggingface_hub.errors import HTTPError

    return (OSError, HTTPError, RuntimeError)  # RuntimeError: from hf_xet


def reason(error: Exception) -> str:
    """One line that says why a download failed."""
    from huggingface_hub.errors import OfflineModeIsEnabled

    if isinstance(error, OfflineModeIsEnabled):
        return "HF_HUB_OFFLINE is set and the cache does not have it"
    return next(iter(str(error).splitlines()), type(error).__name__)


def _metadata(repo: str, filename: str) -> Published:
    from huggingface_hub import get_hf_file_metadata

    source = url(repo, filename)
    facts = get_hf_file_metadata(source, token=False)  # the files are public
    if facts.commit_hash is None or not re.fullmatch("[0-9a-f]{64}", facts.etag or ""):
        raise Text2LiveError(f"{source} has no SHA-256 to check it by: use another HF_ENDPOINT")
    return Published(repo, filename, facts.commit_hash, str(facts.etag), source)


def _within_answer_time(ask: Callable[[], T]) -> T:
    """`ask()`, or TimeoutError: name look-up and each address have time limits of their own."""
    from huggingface_hub import constants

    own = "HF_HUB_ETAG_TIMEOUT" in os.environ
    seconds = constants.HF_HUB_ETAG_TIMEOUT if own else _ANSWER_SECONDS
    with ThreadPool(1) as pool:  # its threads do not keep the program from ending
        try:
            return pool.apply_async(ask).get(seconds)
        except multiprocessing.TimeoutError as error:
            raise TimeoutError(
                f"no answer within {seconds:g} s (HF_HUB_ETAG_TIMEOUT sets the time)"
            ) from error


def _stage_class(progress: Progress, stage: str) -> type:
    """What huggingface_hub takes in place of tqdm and makes itself: a stage of `progress`."""

    class Stage:
        def __init__(self, *, total: int | None = None, initial: int = 0, **_: object) -> None:
            self.done = initial
            progress.stage(stage, total, "byte")

        def __enter__(self) -> Stage:
            return self

        def __exit__(self, *_: object) -> None:
            """Nothing to close."""

        def update(self, more: float | None = 1) -> None:
            self.done += int(more or 0)
            progress.advance(self.done)

        def ignored(self, *_: object, **__: object) -> None:
            """Xet's second count (bytes on the wire) and the texts beside its bars."""

        update_transfer = set_postfix_str = set_transfer_postfix_str = close = ignored

    return Stage
