"""What can be asked of `batch`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from pathlib import Path
from typing import Annotated, Any

from ..config import Help, require_one_of, require_whole
from ..errors import UsageError
from ..texts import is_url, require_text

ENGINES = ("local", "ray")
MAX_WORKERS = 256
MAX_GPUS = 8
MAX_SHARDS = 100_000


@dataclass(frozen=True)
class BatchOptions:
    """Of `batch`. Raises UsageError, naming the option, for what cannot be asked for."""

    jobs: Annotated[
        Path | str | None,
        Help(
            "The edits: .csv, .jsonl or .toml. Columns are the options below; `source` and `prompt`"
            " must be there."
        ),
    ] = None
    _: KW_ONLY
    images: Annotated[
        Sequence[str],
        Help("Instead: pictures or clips, a pattern in quotes ('photos/*.jpg'); repeatable."),
    ] = ()
    prompts: Annotated[Path | str | None, Help("For each of them, every line of this file.")] = None
    prompt: Annotated[Sequence[str], Help("For each of them, this prompt; repeatable.")] = ()
    masks_dir: Annotated[
        Path | str | None, Help("A folder with a mask for each, of the same name but the ending.")
    ] = None
    out: Annotated[Path | str, Help("Folder of all results.", flag="-o/--out")] = "batch"
    store: Annotated[
        str | None,
        Help(
            "Results go there: a URL, such as s3://bucket/night, a folder for each (the extra"
            " `remote`). --out keeps the journal, and what is not finished.",
            metavar="URL",
        ),
    ] = None
    name: Annotated[
        str | None,
        Help(
            "Of a result's folder, made of {stem}, {prompt}, {seed}, {atlas}, {number}. Default:"
            " {stem}.{prompt}.{seed}, of clips {stem}.{atlas}.{prompt}.{seed}."
        ),
    ] = None
    workers: Annotated[
        int | None,
        Help(
            "How many edits at once, each in a process of its own. Default: one for each GPU; else"
            " one for two processors.",
            flag="--jobs",
        ),
    ] = None
    shard: Annotated[
        str | None, Help("Only the K-th of N parts of the edits: for a cluster.", metavar="K/N")
    ] = None
    retry_failed: Annotated[bool, Help("Run those again that failed before.")] = False
    skip_missing: Annotated[bool, Help("Leave out edits whose files are not there.")] = False
    overwrite: Annotated[bool, Help("Replace results of other settings.")] = False
    engine: Annotated[
        str, Help("local (processes here) or ray (a Ray cluster; the extra `ray`).")
    ] = "local"
    gpus: Annotated[
        float | None, Help("GPUs of each edit on Ray, 0.5 for two on one. Default: 1, if any.")
    ] = None
    address: Annotated[
        str | None,
        Help("Of the Ray cluster, as ray.init takes it. Default: a Ray of its own here."),
    ] = None
    defaults: Mapping[str, Any] = field(default_factory=dict)
    """Options of edits for all jobs that do not say otherwise."""

    def __post_init__(self) -> None:
        """Raise UsageError where options do not go together."""
        if self.jobs is None and not self.images:
            raise UsageError("name a file of jobs, or pictures with --images and --prompts")
        if self.jobs is not None and self.images:
            raise UsageError(
                f"{self.jobs}: is beside --images; put a pattern in quotes: --images 'photos/*.jpg'"
            )
        if self.images and self.prompts is None and not self.prompt:
            raise UsageError(
                "--images: say what to make of them with --prompts FILE or --prompt TEXT"
            )
        if not self.images and (self.prompts or self.prompt or self.masks_dir):
            raise UsageError("--prompts, --prompt, --masks-dir: are for --images")
        for text in self.prompt:
            require_text("--prompt", text)
        if self.store is not None and not is_url(self.store):
            raise UsageError(f"--store {self.store}: is no URL; a folder here is named by --out")
        require_one_of("--engine", self.engine, ENGINES)
        if self.address is not None and self.engine != "ray":
            raise UsageError("--address: is for --engine ray")
        if self.gpus is not None and (self.engine != "ray" or not 0 <= self.gpus <= MAX_GPUS):
            raise UsageError(f"--gpus {self.gpus:g}: is for --engine ray, 0 to {MAX_GPUS}")
        if self.workers is not None:
            require_whole("--jobs", self.workers, 1, MAX_WORKERS)
        self.part()

    def part(self) -> tuple[int, int]:
        """K and N of the shard."""
        if self.shard is None:
            return 1, 1
        part, _, parts = self.shard.partition("/")
        if not (part.isdecimal() and parts.isdecimal() and 1 <= int(part) <= int(parts)):
            raise UsageError(f"--shard {self.shard}: must be K/N, from 1/N to N/N")
        require_whole("--shard N", int(parts), 1, MAX_SHARDS)
        return int(part), int(parts)
