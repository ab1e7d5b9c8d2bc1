"""CLIP weights: their names, the cache folder, fetching them from the hub, verifying them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import Text2LiveError, UsageError
from ..media.files import sha256_of
from ..media.outside import require_regular
from ..progress import Progress, Silent
from . import hub, weight_files
from .encoder_names import (
    CURATED,
    QUICK_GELU,
    SWATCH,
    architecture_of,
    known_architecture,
    resolve_name,
)
from .encoder_names import DEFAULT_CLIP as DEFAULT_CLIP
from .hub import cache_folder
from .weight_files import OPENAI_FILES, OPENAI_MARKS
from .weight_records import (
    HUB,
    WeightsRecord,
    all_records,
    discard,
    read_record,
    restamp,
    slug,
    write_record,
)

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class WeightsFile:
    """A weights file on this machine; `name` is "file" where the user gave it."""

    name: str
    architecture: str
    path: Path
    sha256: str
    source: str


@dataclass(frozen=True)
class Verification:
    """The SHA-256 recorded for a cached file (the hub's, or its import's), and its present one."""

    name: str
    path: Path
    published: str
    actual: str

    @property
    def ok(self) -> bool:
        """Whether the file is the recorded one."""
        return self.actual == self.published


@dataclass(frozen=True)
class ListRow:
    """One line of `text2live weights list`; `size` in bytes, None while not cached."""

    name: str
    cached: bool
    size: int | None
    where: str


_EMBEDDED_FILE = Path(__file__).parent / SWATCH / f"{SWATCH}.safetensors"
_EMBEDDED = WeightsFile(SWATCH, SWATCH, _EMBEDDED_FILE, "", "part of text2live")


def locate(name: str, file: Path | None, progress: Progress) -> WeightsFile:
    """The weights to use: `file` where given, else those of `name`, fetched if not cached.

    With a `file`, `name` says its architecture (`MODEL` or `MODEL/TAG`), except that a file
    known as OpenAI's has the architecture it was trained with.

    Raises UsageError for an unknown name, Text2LiveError if the file cannot be had.
    """
    if file is not None:
        return _given(name, file, progress)
    name = resolve_name(name, progress)
    return cached(name) or fetch(name, progress)


def read_state_dict(weights: WeightsFile) -> dict[str, Tensor]:
    """The tensors of `weights` on the CPU, in open_clip's layout.

    Raises UsageError for OpenAI's weights under an architecture without QuickGELU, and what
    `weight_files.read_state_dict` raises.
    """
    tensors = weight_files.read_state_dict(weights.path, weights.sha256)
    marks = OPENAI_MARKS & tensors.keys()
    if marks and not weights.architecture.endswith(QUICK_GELU):
        raise UsageError(
            f"{weights.path} holds OpenAI's weights, which are wrong without QuickGELU: use "
            f"--clip {weights.architecture}{QUICK_GELU}"
        )
    return {name: tensor for name, tensor in tensors.items() if name not in marks}


def fetch(name: str, progress: Progress, force: bool = False) -> WeightsFile:
    """Gets the weights of `name` from the hub unless the cache has them (or with `force`, anyway).

    A second process that asks for the same name waits for the first and uses its file. Raises
    UsageError for an unknown name, Text2LiveError if the file cannot be had or is not the one
    whose SHA-256 the hub publishes (it is then not kept).
    """
    name = resolve_name(name, progress)
    if name == SWATCH:
        return _EMBEDDED
    repo, filenames = _hub_files(name)
    lock = cache_folder() / "locks" / f"{slug(name)}.lock"
    with _explained(name, repo, filenames[0]), hub.locked(lock):
        weights = None if force else cached(name)
        return weights or _fetch(name, repo, filenames, force, progress)


def cached(name: str) -> WeightsFile | None:
    """The weights of `name` if the cache has them intact; needs no network.

    The file is hashed only where its size or time is not the recorded one. Raises UsageError for
    an unknown name.
    """
    name = resolve_name(name, Silent())
    if name == SWATCH:
        return _EMBEDDED
    record = read_record(name)
    if record is None or not record.path.is_file():
        return None
    if not record.stamp_holds():
        if record.path.stat().st_size != record.size or sha256_of(record.path) != record.sha256:
            return None
        restamp(record.stamped())
    return _file_of(record)


def _file_of(record: WeightsRecord) -> WeightsFile:
    architecture = architecture_of(record.name)
    return WeightsFile(record.name, architecture, record.path, record.sha256, record.source)


def verify(name: str) -> Verification:
    """Hashes the cached file of `name`; one that fails is fetched again when next used.

    Raises UsageError for an unknown name, Text2LiveError if the cache does not have it.
    """
    name = resolve_name(name, Silent())
    if name == SWATCH:
        raise UsageError(f"{SWATCH} is part of text2live: there is nothing to verify")
    record = read_record(name)
    if record is None or not record.path.is_file():
        raise Text2LiveError(
            f"{name} is not in the cache ({cache_folder()}): run `text2live weights fetch {name}`"
        )
    report = Verification(name, record.path, record.sha256, sha256_of(record.path))
    if not report.ok:
        restamp(replace(record, mtime_ns=0))  # so that the next start looks closely
    return report


def listing() -> list[ListRow]:
    """The embedded encoder, the curated models, and whatever else the cache holds."""
    records = {record.name: record for record in all_records()}
    rows = [ListRow(SWATCH, True, None, _EMBEDDED.source)]
    for name in [*CURATED, *(name for name in records if name not in CURATED)]:
        record = records.get(name)
        if record is not None and record.stamp_holds():
            rows.append(ListRow(name, True, record.size, str(record.path)))
        else:
            source = CURATED[name] if record is None else record.source
            rows.append(ListRow(name, False, None, source))
    return rows


def check_given(name: str, file: Path, progress: Progress) -> str:
    """The architecture that `name` says for a file of the user's, which is not read yet.

    Raises UsageError for a name that cannot serve, Text2LiveError where there is no such file.
    """
    if name == SWATCH:
        raise UsageError(f"--clip-weights does not go with --clip {SWATCH}, which has its own")
    require_regular(file, "--clip-weights")
    if not file.is_file():
        raise Text2LiveError(f"cannot read --clip-weights {file}: there is no such file")
    return known_architecture(name, progress)


def _given(name: str, file: Path, progress: Progress) -> WeightsFile:
    """The weights in a file of the user's."""
    asked = check_given(name, file, progress)
    try:
        sha256 = sha256_of(file)
    except OSError as error:
        raise Text2LiveError(f"cannot read --clip-weights {file}: {error.strerror}") from error
    architecture = OPENAI_FILES.get(sha256, asked)
    if architecture != asked:
        progress.message(f"{file} is OpenAI's {architecture}: using that instead of {asked}")
    return WeightsFile("file", architecture, file, sha256, str(file))


def _hub_files(name: str) -> tuple[str, tuple[str, str]]:
    """The hub repository of `name` and the files to look for there, the safer one first."""
    location = f"{CURATED[name]}/" if name in CURATED else _open_clip_location(name)
    repo, _, filename = location.rpartition("/")
    if filename:
        return repo, (str(Path(filename).with_suffix(".safetensors")), filename)
    return repo, ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")


def _open_clip_location(name: str) -> str:
    import open_clip

    location = open_clip.get_pretrained_cfg(*name.split("/")).get("hf_hub", "")
    if not location:
        raise Text2LiveError(
            f"{name} is not on the hub: download it yourself and give it as --clip-weights FILE"
        )
    return location


def _fetch(
    name: str, repo: str, filenames: tuple[str, str], force: bool, progress: Progress
) -> WeightsFile:
    """Downloads `name`, checks it, records it. The caller holds the lock."""
    former = read_record(name)
    if former is not None and not force:
        progress.warning(f"{former.path} is missing, cut short or altered: fetching it again")
    published = hub.look_up(repo, filenames)
    if former is not None:
        discard(former.path)
    folder = cache_folder() / HUB
    for _ in range(2):  # the first may be what an earlier run left there, altered
        path = hub.download(published, folder, name, progress)
        if sha256_of(path) == published.sha256:
            break
        discard(path)
    else:
        raise Text2LiveError(
            f"{published.url} arrived altered (its SHA-256 is not the published "
            f"{published.sha256}) and was deleted: try again, or another mirror by HF_ENDPOINT"
        )
    file = path.relative_to(cache_folder()).as_posix()
    record = WeightsRecord(name, file, published.url, published.sha256, 0, 0).stamped()
    write_record(record)
    return _file_of(record)


@contextmanager
def _explained(name: str, repo: str, filename: str) -> Iterator[None]:
    """Turns whatever stops a download into one line with the ways out."""
    try:
        yield
    except hub.failures() as error:
        reason = hub.reason(error)
        source = hub.url(repo, filename)
        raise Text2LiveError(
            f"cannot fetch {name}: {reason} (file {filename} from {source} into "
            f"{cache_folder()}). Ways out: --clip-weights FILE; `text2live weights fetch {name}` "
            "on another machine, then copy its cache folder here; "
            f"--clip {SWATCH}, which needs no file"
        ) from error
