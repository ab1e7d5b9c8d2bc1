"""Names, cache and download of the CLIP weights, and reading them without running code."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path

import huggingface_hub.constants as hub_constants
import open_clip
import pytest
import torch
from safetensors.torch import save, save_file

from tests.commands import one_line, passed, run
from tests.hub_server import HubServer
from tests.pictures import pattern, png_bytes
from text2live_cli.errors import Text2LiveError, UsageError
from text2live_cli.guide import encoder_names, weight_files, weights
from text2live_cli.guide import hub as hub_module
from text2live_cli.guide.clip import build_model
from text2live_cli.guide.weight_import import import_weights
from text2live_cli.media.files import sha256_of
from text2live_cli.progress import Silent

KEY = f"{weights.CURATED[weights.DEFAULT_CLIP]}/open_clip_model.safetensors"
SOURCE = str(Path(weights.__file__).parents[2])


class Recorder:
    """Keeps what a `Progress` is told."""

    def __init__(self) -> None:
        self.stages: list[tuple[str, int | None, str]] = []
        self.done: list[int] = []
        self.messages: list[str] = []
        self.warnings: list[str] = []

    def stage(self, name: str, total: int | None = None, unit: str = "step") -> None:
        self.stages.append((name, total, unit))

    def advance(self, done: int, values: Mapping[str, float] | None = None) -> None:
        self.done.append(done)

    def message(self, text: str) -> None:
        self.messages.append(text)

    def warning(self, text: str) -> None:
        self.warnings.append(text)


def tiny_state(width: int = 16) -> dict[str, torch.Tensor]:
    """A state dict named as OpenAI's and open_clip's, of no use but small."""
    generator = torch.Generator().manual_seed(1)
    shapes = {
        "visual.conv1.weight": (width, 3, 32, 32),
        "visual.class_embedding": (width,),
        "visual.transformer.resblocks.0.attn.in_proj_weight": (3 * width, width),
        "transformer.resblocks.0.attn.in_proj_weight": (3 * width, width),
        "token_embedding.weight": (400, width),
        "logit_scale": (),
    }
    return {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}


def assert_same(found: Mapping[str, torch.Tensor], expected: Mapping[str, torch.Tensor]) -> None:
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache folder for each test."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("TEXT2LIVE_CACHE", str(folder))
    monkeypatch.delenv("HF_HUB_ETAG_TIMEOUT", raising=False)
    return folder


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    """A hub on this machine that has the default weights, set as HF_ENDPOINT."""
    with HubServer() as server:
        server.files[KEY] = save(tiny_state())
        use_endpoint(monkeypatch, server.endpoint)
        yield server


def use_endpoint(monkeypatch: pytest.MonkeyPatch, endpoint: str) -> None:
    # huggingface_hub reads the environment once, when first imported.
    template = endpoint + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(hub_constants, "ENDPOINT", endpoint)
    monkeypatch.setattr(hub_constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(hub_constants, "HF_HUB_OFFLINE", False)


def start(code: str, **environment: str) -> subprocess.Popen[str]:
    """A Python process of its own, with `w` for the weights module."""
    return subprocess.Popen(
        [
            sys.executable,
            "-c",
            f"import text2live_cli.guide.weights as w, text2live_cli.progress as p\n{code}",
        ],
        env={**os.environ, "PYTHONPATH": SOURCE, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


LOCATE = "print(w.locate(w.DEFAULT_CLIP, None, p.Silent()).path)"


# Fetching


def test_fresh_fetch_is_checked_recorded_and_read(hub: HubServer, cache: Path) -> None:
    told = Recorder()
    found = weights.locate(weights.DEFAULT_CLIP, None, told)
    size = len(hub.files[KEY])
    assert found.architecture == "ViT-B-32-quickgelu"
    assert found.source == f"{hub.endpoint}/{KEY.replace('/open', '/resolve/main/open')}"
    assert_same(weights.read_state_dict(found), tiny_state())
    assert told.stages == [(f"fetching {weights.DEFAULT_CLIP}", size, "byte")]
    assert told.done[-1] == size and not told.warnings
    record = json.loads(next((cache / "records").glob("*.json")).read_text())
    assert record["sha256"] == found.sha256 == sha256_of(found.path)


def test_warm_cache_asks_nobody_and_hashes_nothing(
    hub: HubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetched = weights.locate(weights.DEFAULT_CLIP, None, Silent())
    asked = len(hub.requests)
    monkeypatch.setattr(weights, "sha256_of", lambda path: pytest.fail("hashed again"))
    assert weights.locate(weights.DEFAULT_CLIP, None, Silent()) == fetched
    assert len(hub.requests) == asked


def test_pickle_is_taken_where_the_hub_has_no_safetensors(hub: HubServer, tmp_path: Path) -> None:
    torch.save(tiny_state(), tmp_path / "weights.bin")
    del hub.files[KEY]
    bin_key = KEY.replace("open_clip_model.safetensors", "open_clip_pytorch_model.bin")
    hub.files[bin_key] = (tmp_path / "weights.bin").read_bytes()
    found = weights.fetch(weights.DEFAULT_CLIP, Silent())
    assert found.path.name == "open_clip_pytorch_model.bin"
    assert_same(weights.read_state_dict(found), tiny_state())


def test_cut_connection_is_resumed(hub: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_constants, "DOWNLOAD_CHUNK_SIZE", 4096)  # what is kept at a time
    hub.cut_after = 20_480
    told = Recorder()
    found = weights.fetch(weights.DEFAULT_CLIP, told)
    assert hub.downloads == [None, "bytes=20480-"]
    assert found.path.read_bytes() == hub.files[KEY]
    assert len(told.stages) == 1 and told.done[-1] == len(hub.files[KEY])


def test_corruption_on_the_wire_is_detected_and_not_kept(hub: HubServer, cache: Path) -> None:
    hub.corrupt = True
    with pytest.raises(Text2LiveError, match="arrived altered") as caught:
        weights.fetch(weights.DEFAULT_CLIP, Silent())
    assert "\n" not in str(caught.value)
    assert weights.cached(weights.DEFAULT_CLIP) is None
    assert not [path for path in cache.rglob("*") if path.is_file() and path.stat().st_size > 1000]
    hub.corrupt = False
    assert weights.fetch(weights.DEFAULT_CLIP, Silent()).path.read_bytes() == hub.files[KEY]


@pytest.mark.parametrize("keep", [5000, 0])
def test_truncated_in_the_cache_is_said_and_fetched_again(hub: HubServer, keep: int) -> None:
    path = weights.fetch(weights.DEFAULT_CLIP, Silent()).path
    os.truncate(path, keep)
    told = Recorder()
    again = weights.locate(weights.DEFAULT_CLIP, None, told)
    assert again.path.read_bytes() == hub.files[KEY]
    assert len(hub.downloads) == 2
    assert [str(path) in text and "fetching it again" in text for text in told.warnings] == [True]


def altered(path: Path) -> None:
    """Changes a byte and leaves the size and time as they were."""
    before = path.stat()
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_verify_finds_what_the_stamp_cannot_and_the_next_start_mends_it(hub: HubServer) -> None:
    path = weights.fetch(weights.DEFAULT_CLIP, Silent()).path
    assert weights.verify(weights.DEFAULT_CLIP).ok
    altered(path)
    assert weights.cached(weights.DEFAULT_CLIP) is not None
    report = weights.verify(weights.DEFAULT_CLIP)
    assert not report.ok and report.actual != report.published
    told = Recorder()
    weights.locate(weights.DEFAULT_CLIP, None, told)
    assert len(told.warnings) == 1 and weights.verify(weights.DEFAULT_CLIP).ok


def test_file_left_without_a_record_is_used_if_right_and_replaced_if_wrong(
    hub: HubServer, cache: Path
) -> None:
    path = weights.fetch(weights.DEFAULT_CLIP, Silent()).path
    shutil.rmtree(cache / "records")
    weights.fetch(weights.DEFAULT_CLIP, Silent())
    assert len(hub.downloads) == 1
    shutil.rmtree(cache / "records")
    altered(path)
    assert weights.fetch(weights.DEFAULT_CLIP, Silent()).path.read_bytes() == hub.files[KEY]
    assert len(hub.downloads) == 2


def test_force_fetches_again(hub: HubServer) -> None:
    weights.fetch(weights.DEFAULT_CLIP, Silent())
    told = Recorder()
    weights.fetch(weights.DEFAULT_CLIP, told, force=True)
    assert len(hub.downloads) == 2 and not told.warnings


def test_copied_cache_folder_works_without_a_network(
    hub: HubServer, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights.fetch(weights.DEFAULT_CLIP, Silent())
    shutil.copytree(cache, tmp_path / "copy", symlinks=False, copy_function=shutil.copy)
    asked = len(hub.requests)
    monkeypatch.setenv("TEXT2LIVE_CACHE", str(tmp_path / "copy"))
    found = weights.locate(weights.DEFAULT_CLIP, None, Silent())
    assert found.path.is_relative_to(tmp_path / "copy")
    assert len(hub.requests) == asked
    os.truncate(found.path, 10)
    assert weights.locate(weights.DEFAULT_CLIP, None, Silent()).path.stat().st_size > 10


def test_two_processes_download_once(hub: HubServer) -> None:
    hub.pause = 0.5
    both = [start(LOCATE, HF_ENDPOINT=hub.endpoint) for _ in range(2)]
    answers = [process.communicate(timeout=60)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0], answers
    assert answers[0] == answers[1]
    assert len(hub.downloads) == 1


# Without a network


def assert_names_the_ways_out(error: str, cache: Path) -> None:
    for part in (
        weights.DEFAULT_CLIP,
        KEY.split("/")[-1],
        weights.CURATED[weights.DEFAULT_CLIP],
        str(cache),
        "--clip-weights",
        "text2live weights fetch",
        "--clip swatch",
    ):
        assert part in error
    assert "\n" not in error


def test_refused_connection_says_the_ways_out(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use_endpoint(monkeypatch, "http://127.0.0.1:9")
    began = time.monotonic()
    with pytest.raises(Text2LiveError) as caught:
        weights.locate(weights.DEFAULT_CLIP, None, Silent())
    assert time.monotonic() - began < 10
    assert_names_the_ways_out(str(caught.value), cache)


def test_server_that_does_not_answer_is_not_waited_for(
    hub: HubServer, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert hub_module._ANSWER_SECONDS < 8
    monkeypatch.setattr(hub_module, "_ANSWER_SECONDS", 0.5)
    hub.silent = True
    began = time.monotonic()
    with pytest.raises(Text2LiveError, match=r"no answer within 0\.5 s") as caught:
        weights.locate(weights.DEFAULT_CLIP, None, Silent())
    assert time.monotonic() - began < 3
    assert_names_the_ways_out(str(caught.value), cache)


def test_offline_switch_with_a_cold_and_a_warm_cache(hub: HubServer, cache: Path) -> None:
    began = time.monotonic()
    cold = start(LOCATE, HF_HUB_OFFLINE="1", HF_ENDPOINT=hub.endpoint)
    said = cold.communicate(timeout=60)[0]
    assert time.monotonic() - began < 10
    assert cold.returncode == 1
    assert "HF_HUB_OFFLINE is set" in said and not hub.requests
    assert_names_the_ways_out(said.strip().splitlines()[-1], cache)
    found = weights.fetch(weights.DEFAULT_CLIP, Silent())
    warm = start(LOCATE, HF_HUB_OFFLINE="1", HF_ENDPOINT="http://127.0.0.1:9")
    assert warm.communicate(timeout=60)[0].strip() == str(found.path)


def test_damaged_file_is_kept_for_later_where_the_hub_is_out_of_reach(
    hub: HubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = weights.fetch(weights.DEFAULT_CLIP, Silent()).path
    os.truncate(path, 5000)
    use_endpoint(monkeypatch, "http://127.0.0.1:9")
    told = Recorder()
    with pytest.raises(Text2LiveError, match="cannot fetch"):
        weights.locate(weights.DEFAULT_CLIP, None, told)
    assert len(told.warnings) == 1


def test_hub_without_the_file_or_its_hash_is_an_error(hub: HubServer) -> None:
    hub.hashes = False
    with pytest.raises(Text2LiveError, match="no SHA-256 to check it by"):
        weights.fetch(weights.DEFAULT_CLIP, Silent())
    hub.files.clear()
    with pytest.raises(Text2LiveError, match="cannot fetch"):
        weights.fetch(weights.DEFAULT_CLIP, Silent())


def test_cache_that_cannot_be_made_is_an_error(
    hub: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("TEXT2LIVE_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(Text2LiveError, match="cannot fetch"):
        weights.fetch(weights.DEFAULT_CLIP, Silent())


# Names, listing, cache folder


def test_curated_names_are_those_of_open_clip() -> None:
    import open_clip

    for name, repo in weights.CURATED.items():
        config = open_clip.get_pretrained_cfg(*name.split("/"))
        assert config["hf_hub"] == f"{repo}/"
        assert config.get("quick_gelu", False) == name.split("/")[0].endswith("-quickgelu")


@pytest.mark.parametrize(
    ("asked", "name"),
    [
        ("ViT-B-32/openai", "ViT-B-32-quickgelu/openai"),
        ("ViT-L-14-336/openai", "ViT-L-14-336-quickgelu/openai"),
        ("ViT-B-16/dfn2b", "ViT-B-16-quickgelu/dfn2b"),
    ],
)
def test_quick_gelu_is_put_right_and_said(asked: str, name: str) -> None:
    told = Recorder()
    assert weights.resolve_name(asked, told) == name
    assert len(told.messages) == 1 and name in told.messages[0]


def test_other_names_of_open_clip_stay(hub: HubServer) -> None:
    told = Recorder()
    name = "ViT-B-32/datacomp_m_s128m_b4k"
    hub.files["laion/CLIP-ViT-B-32-DataComp.M-s128M-b4K/open_clip_model.safetensors"] = hub.files[
        KEY
    ]
    assert weights.locate(name, None, told).name == name
    assert not told.messages
    assert name in [row.name for row in weights.listing() if row.cached]


@pytest.mark.parametrize(
    ("asked", "near"),
    [
        ("ViT-B-32-quickgelu/openia", "ViT-B-32-quickgelu/openai"),
        ("vit-b-32", "ViT-B-32/openai"),
        ("swotch", "swatch"),
        ("../../etc/passwd", "no CLIP model"),
    ],
)
def test_unknown_name_gets_the_nearest(asked: str, near: str) -> None:
    with pytest.raises(UsageError, match=near):
        weights.locate(asked, None, Silent())


def test_swatch_needs_no_file(cache: Path) -> None:
    assert weights.locate("swatch", None, Silent()).name == weights.SWATCH
    with pytest.raises(UsageError, match="nothing to verify"):
        weights.verify("swatch")
    with pytest.raises(UsageError, match="does not go with"):
        weights.locate("swatch", cache, Silent())


def test_looking_creates_nothing(cache: Path) -> None:
    assert weights.cache_folder() == cache
    rows = weights.listing()
    assert [row.name for row in rows] == ["swatch", *weights.CURATED]
    assert [row.cached for row in rows] == [True] + [False] * len(weights.CURATED)
    assert weights.cached(weights.DEFAULT_CLIP) is None
    with pytest.raises(Text2LiveError, match="weights fetch"):
        weights.verify(weights.DEFAULT_CLIP)
    assert not cache.exists()


def test_listing_shows_a_cached_file(hub: HubServer) -> None:
    found = weights.fetch(weights.DEFAULT_CLIP, Silent())
    row = next(row for row in weights.listing() if row.name == weights.DEFAULT_CLIP)
    assert row == weights.ListRow(found.name, True, len(hub.files[KEY]), str(found.path))


def test_import_and_listing_leave_torch_alone() -> None:
    process = start(
        "import sys; w.listing(); w.cached(w.DEFAULT_CLIP); print('torch' in sys.modules)"
    )
    assert process.communicate(timeout=60)[0].strip() == "False"


# --clip-weights FILE


def given(path: Path, clip: str = weights.DEFAULT_CLIP) -> dict[str, torch.Tensor]:
    return weights.read_state_dict(weights.locate(clip, path, Silent()))


def test_plain_state_dicts_are_read(tmp_path: Path) -> None:
    state = tiny_state()
    save_file(state, tmp_path / "a.safetensors")
    torch.save(state, tmp_path / "b.pt")
    torch.save(state, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    checkpoint = {"epoch": 3, "state_dict": {f"module.{name}": state[name] for name in state}}
    torch.save(checkpoint, tmp_path / "c.bin")
    for path in tmp_path.iterdir():
        assert_same(given(path), state)
        assert given(path, "ViT-B-32").keys() == state.keys()


def test_the_hash_and_architecture_of_a_file_are_told(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    save_file(tiny_state(), path)
    found = weights.locate("ViT-B-32/openai", path, Silent())
    assert found == weights.WeightsFile(
        "file", "ViT-B-32-quickgelu", path, sha256_of(path), str(path)
    )
    assert weights.locate("ViT-B-16", path, Silent()).architecture == "ViT-B-16"
    with pytest.raises(UsageError, match="ViT-B-32"):
        weights.locate("ViT-B-23", path, Silent())


def test_marks_of_openai_need_quick_gelu(tmp_path: Path) -> None:
    path = tmp_path / "openai.pt"
    torch.save({**tiny_state(), "input_resolution": torch.tensor(224)}, path)
    assert_same(given(path), tiny_state())
    with pytest.raises(UsageError, match="--clip ViT-B-32-quickgelu"):
        given(path, "ViT-B-32/laion2b_s34b_b79k")


class Archive(torch.nn.Module):
    """Has a weight and a mark where OpenAI's archives have theirs."""

    def __init__(self) -> None:
        super().__init__()
        self.visual = torch.nn.Linear(2, 2)
        self.register_buffer("input_resolution", torch.tensor(224))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.visual(image)


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """A TorchScript archive."""
    path = tmp_path / "ViT-B-32.pt"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.script(Archive()), str(path))
    return path


def test_torchscript_is_refused(archive: Path) -> None:
    with pytest.raises(
        Text2LiveError, match="TorchScript archive but not one that OpenAI"
    ) as caught:
        given(archive)
    assert "\n" not in str(caught.value)


def test_openais_own_archive_is_read_with_its_architecture(
    archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    published = {sha256_of(archive): "ViT-L-14-quickgelu"}
    monkeypatch.setattr(weight_files, "OPENAI_ARCHIVES", published)
    monkeypatch.setattr(weights, "OPENAI_FILES", published)
    told = Recorder()
    found = weights.locate("ViT-B-32/laion2b_s34b_b79k", archive, told)
    assert found.architecture == "ViT-L-14-quickgelu"
    assert len(told.messages) == 1
    assert weights.read_state_dict(found).keys() == {"visual.weight", "visual.bias"}


class Touches:
    """A pickle that makes a file when it is loaded carelessly."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("suffix", [".pt", ".bin"])
@pytest.mark.parametrize("zipped", [True, False])
def test_pickle_with_code_is_refused_and_not_run(tmp_path: Path, suffix: str, zipped: bool) -> None:
    trap, path = tmp_path / "trap", tmp_path / f"weights{suffix}"
    torch.save({**tiny_state(), "x": Touches(trap)}, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(Text2LiveError, match="runs no code") as caught:
        given(path)
    assert "\n" not in str(caught.value)
    assert not trap.exists()
    torch.load(path, weights_only=False)
    assert trap.exists()  # the trap works


def test_files_that_are_no_weights_get_one_line(tmp_path: Path) -> None:
    save_file(tiny_state(), tmp_path / "whole.safetensors")
    torch.save(tiny_state(), tmp_path / "whole.pt")
    for whole in (tmp_path / "whole.safetensors", tmp_path / "whole.pt"):
        cut = tmp_path / f"cut{whole.suffix}"
        cut.write_bytes(whole.read_bytes()[:5000])
        (tmp_path / f"empty{whole.suffix}").touch()
        (tmp_path / f"text{whole.suffix}").write_text("hello, these are no weights\n")
        whole.unlink()
    torch.save([1, 2], tmp_path / "list.pt")
    torch.save({"visual.a": 3}, tmp_path / "numbers.pt")
    torch.save({"vision_model.a": torch.zeros(2)}, tmp_path / "transformers.pt")
    (tmp_path / "legacy.pt").write_bytes(pickle.dumps({"visual.a": 3}))
    (tmp_path / "picture.png").write_bytes(b"\x89PNG")
    (tmp_path / "folder.pt").mkdir()
    for path in [*tmp_path.iterdir(), tmp_path / "missing.pt"]:
        with pytest.raises(Text2LiveError) as caught:
            given(path)
        assert str(path) in str(caught.value) and "\n" not in str(caught.value)


# A cache that somebody else made


@pytest.mark.parametrize(
    "change",
    [
        {"file": "../mine.txt"},
        {"file": "hub/../../mine.txt"},
        {"file": "ABSOLUTE"},
        {"file": "records/other.json"},
        {"file": 7},
        {"name": "ViT-L-14-quickgelu/openai"},
        {"sha256": "0" * 63},
        {"size": -1},
        {"size": "12"},
        {"mtime_ns": True},
        {"source": "https://example.org/\x1b[2J"},
        {"more": 1},
    ],
)
def test_a_forged_record_deletes_reads_and_shows_nothing(
    hub: HubServer, cache: Path, tmp_path: Path, change: dict[str, object]
) -> None:
    weights.fetch(weights.DEFAULT_CLIP, Silent())
    mine = tmp_path / "mine.txt"
    mine.write_text("mine")
    (path,) = (cache / "records").glob("*.json")
    told = json.loads(path.read_text())
    told.update({k: str(mine) if v == "ABSOLUTE" else v for k, v in change.items()})
    path.write_text(json.dumps(told))
    assert weights.cached(weights.DEFAULT_CLIP) is None
    rows = {row.name: row for row in weights.listing()}
    assert not rows[weights.DEFAULT_CLIP].cached
    assert not [row for row in rows.values() if "\x1b" in row.where]
    weights.fetch(weights.DEFAULT_CLIP, Silent(), force=True)
    assert mine.read_text() == "mine"
    assert weights.cached(weights.DEFAULT_CLIP) is not None


def test_a_link_out_of_the_cache_is_not_followed_to_delete(
    hub: HubServer, cache: Path, tmp_path: Path
) -> None:
    found = weights.fetch(weights.DEFAULT_CLIP, Silent())
    mine = tmp_path / "mine.txt"
    mine.write_text("mine")
    found.path.unlink()
    found.path.symlink_to(mine)
    weights.fetch(weights.DEFAULT_CLIP, Silent(), force=True)
    assert mine.read_text() == "mine"


def test_the_users_token_is_never_sent(
    hub: HubServer, monkeypatch: pytest.MonkeyPatch, cache: Path
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    monkeypatch.setenv("HUGGING_FACE_HUB_TOKEN", "hf_secret")
    weights.fetch(weights.DEFAULT_CLIP, Silent())
    assert hub.downloads
    assert hub.authorizations == {None}


# Encoders that cannot guide


@pytest.mark.parametrize("name", ["RN50/openai", "coca_ViT-B-32/laion2b_s13b_b90k"])
def test_an_encoder_that_cannot_guide_is_refused_before_the_hub_is_asked(
    hub: HubServer, name: str
) -> None:
    for use in (weights.fetch, lambda name, told: weights.locate(name, None, told)):
        with pytest.raises(UsageError, match="cannot guide an edit"):
            use(name, Silent())
    with pytest.raises(UsageError, match="cannot guide an edit"):
        weights.cached(name)
    assert not hub.requests


@pytest.mark.parametrize("asked", ["RN50", "RN50/openia", "coca_ViT-B-32"])
def test_encoders_that_cannot_guide_are_not_named_as_nearest(asked: str) -> None:
    with pytest.raises(UsageError, match="no CLIP model is called") as caught:
        weights.resolve_name(asked, Silent())
    nearest = str(caught.value).partition("nearest: ")[2]
    assert nearest and "RN50" not in nearest and "coca" not in nearest


def test_can_guide_says_what_the_model_itself_shows() -> None:
    from text2live_cli.guide.clip import _require_class_token

    for name in ("ViT-B-32", "ViT-H-14", "ViTamin-B", "RN50", "coca_ViT-L-14", "EVA01-g-14"):
        config = open_clip.get_model_config(name)
        try:
            with torch.device("meta"):
                _require_class_token(open_clip.factory.CLIP(**config), name)
            fits = True
        except (UsageError, TypeError):
            fits = False
        assert encoder_names.can_guide(config) is fits, name


# weights import


def whole_state(architecture: str = "ViT-B-32-quickgelu") -> dict[str, torch.Tensor]:
    """A state dict with the names and shapes of an architecture, every tensor one number."""
    with torch.device("meta"):
        model = build_model(architecture)
    return {name: torch.zeros(()).expand(x.shape) for name, x in model.state_dict().items()}


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> dict[str, torch.Tensor]:
    """What any file of weights is read as: 600 MB need not be written for a test."""
    state = whole_state()
    monkeypatch.setattr(weights, "read_state_dict", lambda source: state)
    return state


def test_an_imported_file_serves_by_its_name_without_a_network(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, read: object
) -> None:
    use_endpoint(monkeypatch, "http://127.0.0.1:9")
    path = tmp_path / "ViT-B-32.pt"
    path.write_bytes(b"weights")
    monkeypatch.setitem(weight_files.OPENAI_FILES, sha256_of(path), "ViT-B-32-quickgelu")  # type: ignore[arg-type]
    told = Recorder()
    copy = import_weights(path, None, told)
    assert not told.warnings
    assert copy.name == weights.DEFAULT_CLIP and copy.path.is_relative_to(cache)
    assert copy.path.read_bytes() == path.read_bytes()
    path.unlink()
    assert weights.locate(weights.DEFAULT_CLIP, None, Silent()) == copy
    assert weights.verify(weights.DEFAULT_CLIP).ok
    assert str(tmp_path) not in next((cache / "records").glob("*.json")).read_text()


def test_a_file_that_nobody_published_needs_a_name_and_is_warned_of(
    tmp_path: Path, cache: Path, read: dict[str, torch.Tensor]
) -> None:
    path = tmp_path / "mine.safetensors"
    path.write_bytes(b"weights")
    with pytest.raises(UsageError, match="--as"):
        import_weights(path, None, Silent())
    with pytest.raises(UsageError, match="swatch"):
        import_weights(path, "swatch", Silent())
    told = Recorder()
    copy = import_weights(path, "ViT-B-32/openai", told)
    assert copy.name == weights.DEFAULT_CLIP and len(told.warnings) == 1
    path.write_bytes(b"other weights")
    assert (
        import_weights(path, weights.DEFAULT_CLIP, Silent()).path.read_bytes() == b"other weights"
    )
    del read["visual.proj"]
    with pytest.raises(Text2LiveError, match="do not fit"):
        import_weights(path, weights.DEFAULT_CLIP, Silent())
    assert weights.verify(weights.DEFAULT_CLIP).ok
    assert [p.name for p in (cache / "imported").iterdir()] == [copy.path.name]


def test_an_import_is_compared_with_what_is_known(
    hub: HubServer, tmp_path: Path, read: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = weights.fetch(weights.DEFAULT_CLIP, Silent())
    right, wrong = tmp_path / "right.safetensors", tmp_path / "wrong.pt"
    right.write_bytes(hub.files[KEY])
    wrong.write_bytes(b"weights")
    with pytest.raises(Text2LiveError, match="published was"):
        import_weights(wrong, weights.DEFAULT_CLIP, Silent())
    assert weights.cached(weights.DEFAULT_CLIP) == first
    monkeypatch.setitem(weight_files.OPENAI_FILES, sha256_of(wrong), "ViT-L-14-quickgelu")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="is ViT-L-14-quickgelu/openai"):
        import_weights(wrong, weights.DEFAULT_CLIP, Silent())
    os.truncate(first.path, 10)
    told = Recorder()
    assert import_weights(right, weights.DEFAULT_CLIP, told).sha256 == first.sha256
    assert not told.warnings and not first.path.exists()


def test_import_refuses_what_is_no_weights(tmp_path: Path, cache: Path) -> None:
    (tmp_path / "cup.png").write_bytes(b"no weights")
    for name in ("missing.pt", "cup.png"):
        error = one_line(run("weights", "import", tmp_path / name, "--as", weights.DEFAULT_CLIP))
        assert name in error
    assert not (cache / "imported").exists()


def test_a_dry_run_refuses_names_that_the_run_would(tmp_path: Path) -> None:
    save_file(tiny_state(), tmp_path / "tiny.safetensors")
    (tmp_path / "cup.png").write_bytes(png_bytes(pattern(height=64, width=80)))
    edit = ("edit-image", tmp_path / "cup.png", "golden cup", "--dry-run", "--clip-weights")
    passed(run(*edit, tmp_path / "tiny.safetensors", "--clip", "ViT-B-32"))
    for name in ("ViT-B-23", "RN50", "swatch", "a/b"):
        one_line(run(*edit, tmp_path / "tiny.safetensors", "--clip", name))
    one_line(run(*edit, tmp_path / "missing.pt"))


def test_every_weights_command_answers_programs_too(cache: Path) -> None:
    told = json.loads(passed(run("weights", "path", "swatch", "--json")).stdout)
    assert told["command"] == "weights path" and told["path"].endswith("swatch.safetensors")
    assert json.loads(passed(run("weights", "path", "--json")).stdout)["path"] == str(cache)
    for command in ("fetch", "verify", "path"):
        refused = run("weights", command, "none/such", "--json")
        assert refused.exit_code == 2
        assert json.loads(refused.stdout)["kind"] == "UsageError"
