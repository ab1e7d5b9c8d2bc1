"""CLIP weights: their names, the cache folder, fetching them from the hub, verifying them."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import Text2LiveError, UsageError
from ..media.files import sha256_of, sweep, write_json_atomic
from ..media.outside import (
    RECORD_ERRORS,
    plain_text,
    read_record,
    require_regular,
    whole_number,
)
from ..progress import Progress, Silent
from ..texts import MAX_TEXT, require_text
from . import hub, weight_files
from .hub import cache_folder
from .weight_files import OPENAI_FILES, OPENAI_MARKS

if TYPE_CHECKING:
    from torch import Tensor

DEFAULT_CLIP = "ViT-B-32-quickgelu/openai"
SWATCH = "swatch"

# The models to choose from first, with the hub repository that open_clip names for each: kept
# here so that the usual commands need not import open_clip (and torch) to find a file.
CURATED: Mapping[str, str] = {
    DEFAULT_CLIP: "timm/vit_base_patch32_clip_224.openai",
    "ViT-B-16-quickgelu/openai": "timm/vit_base_patch16_clip_224.openai",
    "ViT-L-14-quickgelu/openai": "timm/vit_large_patch14_clip_224.openai",
    "ViT-L-14-336-quickgelu/openai": "timm/vit_large_patch14_clip_336.openai",
    "ViT-B-32/laion2b_s34b_b79k": "laion/CLIP-ViT-B-32-laion2B-s34B-b79K",
    "ViT-B-16/laion2b_s34b_b88k": "laion/CLIP-ViT-B-16-laion2B-s34B-b88K",
    "ViT-L-14/laion2b_s32b_b82k": "laion/CLIP-ViT-L-14-laion2B-s32B-b82K",
    "ViT-B-32/datacomp_xl_s13b_b90k": "laion/CLIP-ViT-B-32-DataComp.XL-s13B-b90K",
    "ViT-B-16/datacomp_xl_s13b_b90k": "laion/CLIP-ViT-B-16-DataComp.XL-s13B-b90K",
    "ViT-L-14/datacomp_xl_s13b_b90k": "laion/CLIP-ViT-L-14-DataComp.XL-s13B-b90K",
}

_QUICK_GELU = "-quickgelu"


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
    """The SHA-256 that the hub published for a cached file, and the one it has now."""

    name: str
    path: Path
    published: str
    actual: str

    @property
    def ok(self) -> bool:
        """Whether the file is the published one."""
        return self.actual == self.published


@dataclass(frozen=True)
class ListRow:
    """One line of `text2live weights list`; `size` in bytes, None while not cached."""

    name: str
    cached: bool
    size: int | None
    where: str


@dataclass(frozen=True)
class _Record:
    """What is known of a cached file; `file` is relative, so that the cache can be copied."""

    name: str
    file: str
    source: str
    sha256: str
    size: int
    mtime_ns: int

    @property
    def path(self) -> Path:
        return cache_folder() / self.file

    def stamped(self) -> _Record:
        """This record with the file's present size and time."""
        status = self.path.stat()
        return replace(self, size=status.st_size, mtime_ns=status.st_mtime_ns)

    def stamp_holds(self) -> bool:
        """Whether the file is there and was not touched since it was recorded."""
        return self.path.is_file() and self == self.stamped()

    def weights(self) -> WeightsFile:
        return WeightsFile(self.name, _architecture(self.name), self.path, self.sha256, self.source)


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
    if marks and not weights.architecture.endswith(_QUICK_GELU):
        raise UsageError(
            f"{weights.path} holds OpenAI's weights, which are wrong without QuickGELU: use "
            f"--clip {weights.architecture}{_QUICK_GELU}"
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
    lock = cache_folder() / "locks" / f"{_slug(name)}.lock"
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
    record = _read_record(_record_path(name))
    if record is None or not record.path.is_file():
        return None
    if not record.stamp_holds():
        if record.path.stat().st_size != record.size or sha256_of(record.path) != record.sha256:
            return None
        _restamp(record.stamped())
    return record.weights()


def verify(name: str) -> Verification:
    """Hashes the cached file of `name`; one that fails is fetched again when next used.

    Raises UsageError for an unknown name, Text2LiveError if the cache does not have it.
    """
    name = resolve_name(name, Silent())
    if name == SWATCH:
        raise UsageError(f"{SWATCH} is part of text2live: there is nothing to verify")
    record = _read_record(_record_path(name))
    if record is None or not record.path.is_file():
        raise Text2LiveError(
            f"{name} is not in the cache ({cache_folder()}): run `text2live weights fetch {name}`"
        )
    report = Verification(name, record.path, record.sha256, sha256_of(record.path))
    if not report.ok:
        _restamp(replace(record, mtime_ns=0))  # so that the next start looks closely
    return report


def listing() -> list[ListRow]:
    """The embedded encoder, the curated models, and whatever else the cache holds."""
    files = map(_read_record, sorted((cache_folder() / "records").glob("*.json")))
    records = {record.name: record for record in files if record is not None}
    rows = [ListRow(SWATCH, True, None, _EMBEDDED.source)]
    for name in [*CURATED, *(name for name in records if name not in CURATED)]:
        record = records.get(name)
        if record is not None and record.stamp_holds():
            rows.append(ListRow(name, True, record.size, str(record.path)))
        else:
            source = CURATED[name] if record is None else record.source
            rows.append(ListRow(name, False, None, source))
    return rows


def resolve_name(asked: str, progress: Progress) -> str:
    """The name as open_clip has it, with QuickGELU where the weights were trained with it.

    Raises UsageError, with the nearest names, for one that open_clip does not have.
    """
    if asked == SWATCH or asked in CURATED:
        return asked
    model, _, tag = asked.partition("/")
    twin = f"{model}{_QUICK_GELU}/{tag}"
    if twin not in CURATED:
        import open_clip

        if (model, tag) not in open_clip.list_pretrained():
            raise _unknown(asked, ["/".join(pair) for pair in open_clip.list_pretrained()])
        quick_gelu = open_clip.get_pretrained_cfg(model, tag).get("quick_gelu", False)
        if not quick_gelu or model.endswith(_QUICK_GELU):
            return asked
    progress.message(f"{asked} was trained with QuickGELU: using {twin}")
    return twin


def _unknown(asked: str, names: list[str]) -> UsageError:
    by_lower = {name.lower(): name for name in [SWATCH, *names]}
    lower = asked.lower()
    near = [name for name in by_lower if name.startswith(f"{lower}/")][:4]
    near = near or difflib.get_close_matches(lower, by_lower, n=4, cutoff=0.4)
    hint = ", ".join(by_lower[name] for name in near) or "see `text2live weights list`"
    return UsageError(f"no CLIP model is called {asked!r}; nearest: {hint}")


def _architecture(name: str) -> str:
    return name.partition("/")[0]


def _given(name: str, file: Path, progress: Progress) -> WeightsFile:
    """The weights in a file of the user's."""
    if name == SWATCH:
        raise UsageError(f"--clip-weights does not go with --clip {SWATCH}, which has its own")
    require_regular(file, "--clip-weights")
    try:
        sha256 = sha256_of(file)
    except OSError as error:
        raise Text2LiveError(f"cannot read --clip-weights {file}: {error.strerror}") from error
    asked = _known_architecture(name, progress)
    architecture = OPENAI_FILES.get(sha256, asked)
    if architecture != asked:
        progress.message(f"{file} is OpenAI's {architecture}: using that instead of {asked}")
    return WeightsFile("file", architecture, file, sha256, str(file))


def _known_architecture(name: str, progress: Progress) -> str:
    """The architecture that `MODEL` or `MODEL/TAG` names."""
    if "/" in name:
        return _architecture(resolve_name(name, progress))
    if name in map(_architecture, CURATED):
        return name
    import open_clip

    if name not in open_clip.list_models():
        raise _unknown(name, open_clip.list_models())
    return name


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
    former = _read_record(_record_path(name))
    if former is not None and not force:
        progress.warning(f"{former.path} is missing, cut short or altered: fetching it again")
    published = hub.look_up(repo, filenames)
    if former is not None:
        _discard(former.path)
    folder = cache_folder() / "hub"
    for _ in range(2):  # the first may be what an earlier run left there, altered
        path = hub.download(published, folder, name, progress)
        if sha256_of(path) == published.sha256:
            break
        _discard(path)
    else:
        raise Text2LiveError(
            f"{published.url} arrived altered (its SHA-256 is not the published "
            f"{published.sha256}) and was deleted: try again, or another mirror by HF_ENDPOINT"
        )
    file = path.relative_to(cache_folder()).as_posix()
    record = _Record(name, file, published.url, published.sha256, 0, 0).stamped()
    _write_record(record)
    return record.weights()


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


def _discard(path: Path) -> None:
    """Deletes a file of the hub's cache, which is mostly a link to the bytes elsewhere in it."""
    if not _is_of_the_hub(path):  # a link that somebody laid to another place: only the link goes
        path.unlink(missing_ok=True)
        return
    path.resolve().unlink(missing_ok=True)
    path.unlink(missing_ok=True)


def _slug(name: str) -> str:
    return name.replace("/", "--")


def _record_path(name: str) -> Path:
    return cache_folder() / "records" / f"{_slug(name)}.json"


def _read_record(path: Path) -> _Record | None:
    """The record at `path`; None where there is none, or what is there is none of ours.

    A cache may be a copy of anybody's: its records name files of the cache and nothing else.
    """
    try:
        record = _Record(**read_record(path))
        for text in (record.name, record.file, record.source):
            require_text("record", plain_text(text, MAX_TEXT))
        whole_number(record.size, 0, 2**63)
        whole_number(record.mtime_ns, 0, 2**63)
        inside = path.stem == _slug(record.name) and _is_of_the_hub(record.path)
        published = re.fullmatch("[0-9a-f]{64}", record.sha256)
        return record if inside and published else None
    except (*RECORD_ERRORS, UsageError):
        return None


def _is_of_the_hub(path: Path) -> bool:
    """Whether a file, and what it may be a link to, lies in the hub's part of the cache."""
    folder = cache_folder() / "hub"
    return path.is_relative_to(folder) and path.resolve().is_relative_to(folder.resolve())


def _write_record(record: _Record) -> None:
    path = _record_path(record.name)
    path.parent.mkdir(parents=True, exist_ok=True)
    sweep(path.parent)
    write_json_atomic(path, asdict(record))


def _restamp(record: _Record) -> None:
    """Writes an existing record anew, or leaves it where the cache is read-only."""
    with suppress(Text2LiveError):
        _write_record(record)
