"""Inputs and results by URL: s3://, gs://, https://, sftp:// and what else fsspec knows.

Files are brought to this machine before an edit and sent after it; the edit itself knows paths.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

from ..errors import Text2LiveError, UsageError
from ..guide.hub import cache_folder
from ..runs.folder import RECORD

_MARKS = ("size", "etag", "last-modified", "lastmodified", "mtime", "content-md5", "md5hash")
"""What keepers tell of a file, each in its own words, that another content changes."""
_FOLDER = "inputs"  # in the cache: inputs that came by URL


def mark_of(url: str) -> str | None:
    """Another for another content, as far as its keeper tells; None where no file is there.

    Raises Text2LiveError where that cannot be told, UsageError where a package is missing.
    """
    with _told(url):
        system, place = _system(url)
        if not system.isfile(place):
            return None
        facts = system.info(place)
        return "; ".join(f"{n} {facts[n]}" for n in sorted(facts) if n.lower() in _MARKS)


def matches(pattern: str) -> list[str]:
    """The URLs of a pattern such as s3://photos/*.jpg."""
    with _told(pattern):
        system, place = _system(pattern)
        return [str(system.unstrip_protocol(path)) for path in system.glob(place)]


def names_below(url: str) -> set[str]:
    """The files below a folder, by their paths in it."""
    with _told(url):
        system, place = _system(url)
        top = PurePosixPath(place)
        return {str(PurePosixPath(path).relative_to(top)) for path in system.find(place)}


def fetched(url: str) -> Path:
    """The file, here; fetched once. Raises Text2LiveError where it cannot be had."""
    mark = hashlib.sha256(f"{url} {mark_of(url)}".encode()).hexdigest()[:32]
    name = PurePosixPath(url.partition("?")[0]).name
    path = cache_folder() / _FOLDER / mark / (name if name.strip(".") else "input")
    if not path.exists():
        _get(url, path)
    return path


def bring(url: str, folder: Path) -> None:
    """All files below a URL, if there are any; raises Text2LiveError for a name that leaves it."""
    for name in sorted(names_below(url)):
        if ".." in PurePosixPath(name).parts or "\\" in name:
            raise Text2LiveError(f"{url}/{name}: is no file of a result")
        _get(f"{url}/{name}", folder / name)


def send(folder: Path, url: str) -> None:
    """All files of a result, in place of those that are there; run.json at the end, which says that
    it is whole.
    """
    paths = [path for path in folder.rglob("*") if path.is_file()]
    names = sorted(path.relative_to(folder).as_posix() for path in paths)
    former = names_below(url)
    with _told(url):
        system, place = _system(url)
        for name in sorted(names, key=lambda name: name == RECORD):
            target = f"{place}/{name}"
            system.makedirs(target.rpartition("/")[0], exist_ok=True)
            system.put_file(str(folder / name), target)
        for name in former - {*names}:
            system.rm_file(f"{place}/{name}")


def _get(url: str, path: Path) -> None:
    """Fetch a file beside its place, then put it there."""
    part = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _told(url):
            system, place = _system(url)
            system.get_file(place, str(part))
        part.replace(path)
    except OSError as error:
        raise Text2LiveError(f"{path}: cannot be written ({error.strerror})") from error
    finally:
        part.unlink(missing_ok=True)


def _system(url: str) -> Any:
    """The file system of a URL, and the place in it."""
    try:
        import fsspec
    except ImportError as error:
        raise UsageError(f"{url}: needs fsspec: pip install 'text2live[remote]'") from error
    return fsspec.core.url_to_fs(url)


@contextmanager
def _told(url: str) -> Iterator[None]:
    """Whatever a keeper's own library raises is told of its URL."""
    try:
        yield
    except (Text2LiveError, UsageError):
        raise
    except ImportError as error:
        raise UsageError(f"{url}: {error}; or pip install 'text2live[remote]'") from error
    except Exception as error:
        words = " ".join(str(error).split())[:300] or type(error).__name__
        raise Text2LiveError(f"{url}: cannot be reached ({words})") from error
