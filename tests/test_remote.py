"""`batch` with inputs and results by URL: over HTTP, and in a store of files."""

from __future__ import annotations

import functools
import json
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.commands import one_line, passed, run
from tests.test_batch import QUICK, here, states  # noqa: F401
from text2live_cli import Text2LiveError
from text2live_cli.batch import remote
from text2live_cli.batch.jobs import Job
from text2live_cli.batch.ray_engine import _run_task

pytest.importorskip("aiohttp", reason="the extra `remote` is not installed")
RESULT = {"composite.png", "layer.png", "alpha.png", "run.json", "report.html"}


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def site(here: Path) -> Iterator[str]:  # noqa: F811
    """The URL at which the files of the current folder are."""
    handler = functools.partial(Quiet, directory=str(here))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


@pytest.fixture
def store(here: Path, monkeypatch: pytest.MonkeyPatch) -> str:  # noqa: F811
    monkeypatch.setenv("TEXT2LIVE_CACHE", str(here / "cache"))
    return (here / "store").as_uri()


@pytest.mark.slow
def test_inputs_come_from_and_results_go_to_urls(here: Path, site: str, store: str) -> None:  # noqa: F811
    lines = [f"{site}/cup{n}.png,golden cup,{n + 1}" for n in range(2)]
    Path("jobs.csv").write_text("\n".join(["source,prompt,steps", *lines]))
    asked = ("batch", "jobs.csv", "--store", store, "--jobs", "1", *QUICK)
    record = json.loads(passed(run(*asked, "--json")).stdout)
    assert record["output"] == store and record["counts"]["done"] == 2
    names = ["cup0.golden-cup.0", "cup1.golden-cup.0"]
    for name in names:
        assert {path.name for path in (here / "store" / name).iterdir()} >= RESULT
        assert not (here / "batch" / name).exists()
    kept = json.loads((here / "store" / names[1] / "run.json").read_text("utf-8"))
    assert kept["input"]["path"] == "cup1.png" and "127.0.0.1" not in json.dumps(kept)
    assert "2 done already" in passed(run(*asked)).stderr
    (here / "store" / names[0] / "layer.png").unlink()
    again = passed(run(*asked))
    assert "1 to run, 1 done already" in again.stderr
    assert (here / "store" / names[0] / "layer.png").is_file()
    Path("cup1.png").write_bytes(Path("cup2.png").read_bytes() + b"\0")  # another picture there
    assert run(*asked, "--dry-run").stdout.count("to be run") == 1


@pytest.mark.slow
def test_a_job_goes_on_elsewhere_from_what_the_store_has(
    here: Path,  # noqa: F811
    store: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    values = {"source": (here / "cup0.png").as_uri(), "prompt": "golden cup", "clip": "swatch"}
    values |= {"preset": "draft", "views": 1, "layout": "plain", "steps": 3}
    job = Job("night/one", "edit-image", values, "here").__dict__
    order = {"job": job, "out": "out", "overwrite": False, "begun": True, "store": store}

    class Events:
        def put_nowait(self, event: object) -> None:
            pass

    monkeypatch.setattr("tempfile.tempdir", str(here / "other machine"))
    (here / "other machine").mkdir()
    facts = _run_task(order, 1, "/no such folder", Events())
    assert facts["state"] == "done", facts
    assert {path.name for path in (here / "store/night/one").iterdir()} >= RESULT
    record = (here / "store/night/one/run.json").read_bytes()
    assert _run_task(order, 1, "/no such folder", Events())["state"] == "done"
    assert (here / "store/night/one/run.json").read_bytes() == record  # brought, and found done


def test_files_are_fetched_once_and_again_when_they_changed(here: Path, store: str) -> None:  # noqa: F811
    source = here / "cup0.png"
    first = remote.fetched(source.as_uri())
    assert first.read_bytes() == source.read_bytes() and first.name == "cup0.png"
    time = first.stat().st_mtime_ns
    assert remote.fetched(source.as_uri()) == first and first.stat().st_mtime_ns == time
    source.write_bytes(b"another, of another length")
    assert remote.fetched(source.as_uri()).read_bytes() == source.read_bytes()
    assert not [path for path in (here / "cache").rglob("*") if path.name.startswith(".")]


def test_a_result_takes_the_place_of_the_former(here: Path) -> None:  # noqa: F811
    url = (here / "store/a b").as_uri()
    for number in (1, 2):
        folder = here / f"result{number}"
        (folder / "inner").mkdir(parents=True)
        for name in ("run.json", f"only{number}.png", "inner/x.png"):
            (folder / name).write_text(name * number)
        remote.send(folder, url)
        assert remote.names_below(url) == {"run.json", f"only{number}.png", "inner/x.png"}
    remote.bring(url, here / "back")
    assert (here / "back/inner/x.png").read_text() == "inner/x.png" * 2


@pytest.mark.parametrize("name", ["../stolen", "a/../../b", "..\\b"])
def test_a_store_writes_nothing_outside(
    here: Path,  # noqa: F811
    name: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(remote, "names_below", lambda url: {name, "run.json"})
    with pytest.raises(Text2LiveError, match="is no file of a result"):
        remote.bring(here.as_uri(), here / "inner" / "result")
    assert not (here / "inner").exists()


def test_what_cannot_be_had_is_told_before_any_work(here: Path, site: str, store: str) -> None:  # noqa: F811
    def told(*arguments: str, code: int = 2) -> str:
        result = run("batch", *arguments, "--prompt", "golden cup", *QUICK)
        assert result.exit_code == code, result.output
        return one_line(result)

    assert "cup9.png" in told("--images", f"{store}/cup9.png")
    Path("jobs.csv").write_text(f"source,prompt\n{site}/cup9.png,golden cup\n")
    missing = run("batch", "jobs.csv", *QUICK)
    assert missing.exit_code == 2 and f"not there: {site}/cup9.png" in one_line(missing)
    assert "is no URL" in told("--images", "cup*.png", "--store", "results")
    assert "no://where" in told("--images", "cup*.png", "--store", "no://where", code=1)
    images = (f"{here.as_uri()}/cup*.png", "--dry-run")
    assert run("batch", "--images", *images, "--prompt", "x").stdout.count("to be run") == 3
    assert states() == {}
