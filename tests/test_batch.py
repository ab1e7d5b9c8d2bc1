"""`batch`: jobs files, what is refused before any work, and that every job is done once."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from swatch_training.painter import paint_scene

from tests.commands import Terminal, one_line, passed, run
from text2live_cli import UsageError, edit_image
from text2live_cli.batch.jobs import Job, read_jobs
from text2live_cli.batch.journal import Entry, Journal
from text2live_cli.batch.local import Pool, environment_of
from text2live_cli.batch.options import BatchOptions
from text2live_cli.batch.work import Order
from text2live_cli.endings import Stop
from text2live_cli.media.picture_writing import write_picture
from text2live_cli.runs.lock import held

SETTINGS: dict[str, Any] = {"clip": "swatch", "preset": "draft", "views": 1, "layout": "plain"}
QUICK = [text for name, value in SETTINGS.items() for text in (f"--{name}", str(value))]
posix = pytest.mark.skipif(os.name != "posix", reason="signals as POSIX has them")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with three painted cups; every worker computes with one thread."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    for number, color in enumerate(("red", "green", "blue")):
        rgb, _ = paint_scene([("cup", color)], "wooden table", number, (96, 128))
        write_picture(tmp_path / f"cup{number}.png", rgb)
    return tmp_path


def batch(*arguments: object) -> Any:
    return run("batch", *arguments)


def product(*arguments: object) -> Any:
    return batch("--images", "cup*.png", "--prompt", "golden cup", *QUICK, *arguments)


def refused(result: Any, *words: str) -> None:
    assert result.exit_code == 2, result.output
    assert all(word in one_line(result) for word in words), one_line(result)
    assert not Path("batch").exists()


def states(folder: str = "batch") -> dict[str, str]:
    return {name: entry.state for name, entry in Journal(Path(folder)).entries.items()}


def lines_of(state: str, folder: str = "batch") -> list[str]:
    lines = Path(folder, "batch.jsonl").read_text("utf-8").splitlines()
    return sorted(row["job"] for row in map(json.loads, lines) if row["state"] == state)


# Jobs


FILES = {
    "bom.csv": "\ufeffsource,prompt,Steps,point,not\n"
    'cup0.png,golden cup,7,"10,20; 30%,40%",\ncup1.png,"golden, shiny cup",,,"1,2"\n',
    "jobs.jsonl": '{"source": "cup0.png", "prompt": "golden cup", "steps": 7,'
    ' "points": ["10,20", "30%,40%"]}\n\n'
    '{"source": "cup1.png", "prompt": "golden, shiny cup", "not": ["1,2"]}\n',
    "jobs.toml": 'clip = "swatch"\natlas = "bg"\n[[jobs]]\nsource = "cup0.png"\n'
    'prompt = "golden cup"\nsteps = 7\npoint = ["10,20", "30%,40%"]\n'
    '[[jobs]]\nsource = "cup1.png"\nprompt = "golden, shiny cup"\nnot = ["1,2"]\n',
}


@pytest.mark.parametrize("name", ["bom.csv", "jobs.jsonl", "jobs.toml"])
def test_a_file_of_jobs_is_read_as_the_options_are(name: str, here: Path) -> None:
    Path(name).write_text(FILES[name], "utf-8")
    jobs = read_jobs(BatchOptions(name, defaults={"seed": 4, "clip": "swatch"})).jobs
    assert [job.name for job in jobs] == ["cup0.golden-cup.4", "cup1.golden-shiny-cup.4"]
    first, second = (job.options() for job in jobs)
    assert (first.steps, first.points) == (7, ("10,20", "30%,40%"))
    assert (second.steps, second.not_points, second.prompt) == (None, ("1,2",), "golden, shiny cup")
    assert first.clip == second.clip == "swatch" and first.seed == 4


def test_files_lie_where_the_command_is_or_beside_the_jobs(here: Path) -> None:
    Path("sub").mkdir()
    Path("cup2.png").rename("sub/cup2.png")
    rows = "source,prompt\ncup0.png,golden cup\ncup2.png,golden cup\n"
    Path("sub/jobs.csv").write_text(rows)
    jobs = read_jobs(BatchOptions("sub/jobs.csv", defaults={"clip": "swatch"})).jobs
    assert [Path(job.values["source"]) for job in jobs] == [Path("cup0.png"), Path("sub/cup2.png")]


def test_clips_are_told_by_their_names_or_by_what_is_asked(here: Path) -> None:
    Path("clip").mkdir()
    rows = "source,prompt,atlas\nclip,rusty car,bg\ncup0.png,golden cup,\nclip,rusty car,\n"
    Path("jobs.csv").write_text(rows)
    jobs = read_jobs(BatchOptions("jobs.csv", defaults={"clip": "swatch", "masks": None})).jobs
    assert [job.command for job in jobs] == ["edit-video", "edit-image", "edit-video"]
    assert jobs[0].name == "clip.bg.rusty-car.0" and jobs[2].name == "clip.fg.rusty-car.0"
    assert jobs[0].alone == jobs[2].alone == "clip" and jobs[1].alone is None


def test_every_picture_meets_every_prompt_and_its_mask(here: Path) -> None:
    Path("prompts.txt").write_text("# ideas\ngolden cup\n\nwooden cup\ngolden cup\n")
    Path("masks").mkdir()
    for number in range(3):
        Path(f"masks/cup{number}.jpg").touch()
    options = BatchOptions(
        images=("cup[01].png", "cup*.png"),
        prompts="prompts.txt",
        masks_dir="masks",
        defaults={"clip": "swatch"},
    )
    jobs = read_jobs(options).jobs
    assert len(jobs) == 6
    assert {Path(job.values["mask"]).stem for job in jobs} == {"cup0", "cup1", "cup2"}
    Path("masks/cup1.jpg").unlink()
    with pytest.raises(UsageError, match=r"not there: .*cup1\.png .*and .*--skip-missing|cup1"):
        read_jobs(options)


@pytest.mark.skipif(os.name == "nt", reason="such names are refused there")
def test_names_fit_every_system(here: Path) -> None:
    Path("cup0.png").replace("a:b?.png")
    common: dict[str, Any] = {"prompt": ("golden cup",), "defaults": {"clip": "swatch"}}
    (job,) = read_jobs(BatchOptions(images=("a*.png",), **common)).jobs
    assert job.name == "a-b-.golden-cup.0"


def test_a_pattern_without_quotes_is_told_of_them(here: Path) -> None:
    result = batch("--images", "cup0.png", "cup1.png", "cup2.png", "--prompt", "golden cup")
    assert result.exit_code == 2
    assert "put the pattern in quotes" in " ".join(result.output.replace("│", " ").split())


def test_parts_for_a_cluster_are_all_of_it(here: Path) -> None:
    common: dict[str, Any] = {"images": ("cup*.png",), "prompt": ("golden cup", "wooden cup")}
    common["defaults"] = {"clip": "swatch"}
    names = [job.name for job in read_jobs(BatchOptions(**common)).jobs]
    parts = [read_jobs(BatchOptions(**common, shard=f"{k}/4")).jobs for k in (1, 2, 3, 4)]
    assert sorted(job.name for part in parts for job in part) == sorted(names)
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


WRONG = {
    "a column that there is not": ("source,promt\na.png,x\n", "jobs.csv:2: column promt", "prompt"),
    "of a film": ("source,prompt,codec\na.mp4,x,prores\n", "column codec", "--out"),
    "of a batch": ("source,prompt,output\na.png,x,o\n", "column output", "--name"),
    "no prompt": ("source,prompt\ncup0.png,\n", "jobs.csv:2: prompt is missing"),
    "no number": ("source,prompt,steps\ncup0.png,gold cup,ten\n", "jobs.csv:2: steps cannot be"),
    "too many": ("source,prompt,steps\ncup0.png,gold cup,0\n", "jobs.csv:2: ", "--steps 0"),
    "cells": ("source,prompt\ncup0.png,golden cup,7\n", "jobs.csv:2: more cells than columns"),
    "nothing": ("source,prompt\n", "holds no jobs"),
    "empty": ("", "holds no jobs"),
    "a word": ("source,prompt\ncup0.png,astronaut\n", "jobs.csv:2: ", "astronaut"),
    "not there": ("source,prompt\na.png,gold cup\nb.png,gold cup\n", "a.png", "b.png", "csv:3"),
    "twice": ("source,prompt\ncup0.png,gold cup\ncup0.png,gold cup\n", "csv:2 and", "csv:3"),
    "outside": ("source,prompt,name\ncup0.png,gold cup,../x\n", "jobs.csv:2: '../x' is no name"),
    "a file's": ("source,prompt,name\ncup0.png,gold cup,x.PNG\n", "'x.PNG' is the name of a file"),
    "absolute": ("source,prompt,name\ncup0.png,gold cup,/x\n", "jobs.csv:2: '/x' is no name"),
    "inner": ("source,prompt,name\ncup0.png,gold cup,a\ncup1.png,gold cup,a/b\n", "a/b in a"),
    "a clip's": ("source,prompt,command,atlas\ncup0.png,gold cup,edit-image,fg\n", "no option of"),
    "a command": ("source,prompt,command\ncup0.png,gold cup,fit\n", "must be edit-image or"),
    "a quote": ('source,prompt\ncup0.png,"gold cup\n', "jobs.csv:", "unexpected end"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_said_with_its_line_before_any_work(name: str, here: Path) -> None:
    text, *words = WRONG[name]
    Path("jobs.csv").write_text(text)
    refused(batch("jobs.csv", *QUICK), *words)


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ((), "name a file of jobs"),
        (("cup0.png",), "is no file of jobs"),
        (("none.csv",), "cannot be read"),
        (("--images", "x*.png", "--prompt", "gold cup"), "nothing is called so"),
        (("--images", "cup*.png"), "--prompts FILE or --prompt TEXT"),
        (("--images", "cup*.png", "--prompt", "gold cup", "--name", "x"), "made of {stem}"),
        (("--images", "cup*.png", "--prompt", "gold cup", "--name", "{steps}"), "must be made of"),
        (
            ("--images", "cup*.png", "--prompt", "gold cup", "--name", "{prompt}"),
            "of the same name",
        ),
        (("--images", "cup*.png", "--prompt", "gold cup", "--name", "../{stem}"), "is no name for"),
        (("--images", "cup*.png", "--prompt", "gold cup", "--shard", "3/2"), "must be K/N"),
        (("--images", "cup*.png", "--prompt", "gold cup", "--jobs", "0"), "--jobs 0"),
        (("--images", "cup*.png", "--prompt", "gold cup", "--engine", "x"), "--engine x"),
        (("--images", "cup*.png", "--prompt", "gold cup", "--address", "a:1"), "--engine ray"),
    ],
)
def test_wrong_options_are_refused(arguments: tuple[str, ...], word: str, here: Path) -> None:
    refused(batch(*arguments, *QUICK), word)


@pytest.mark.parametrize("text", ["[1]", "{", "7", "\x00", "[" * 9999])
def test_lines_that_are_no_jobs(text: str, here: Path) -> None:
    Path("jobs.jsonl").write_text(text + "\n")
    refused(batch("jobs.jsonl", *QUICK), "jobs.jsonl:1")
    Path("jobs.toml").write_text(text)
    refused(batch("jobs.toml", *QUICK), "jobs.toml")


# Running


def test_a_batch_gives_what_single_commands_give_and_is_done_once(here: Path) -> None:
    result = passed(product("--steps", 2, "--jobs", 1))
    assert "[3/3] done: cup2.golden-cup.0" in result.stderr and "3 done" in result.stderr
    one = edit_image("cup1.png", "golden cup", output="one", steps=2, threads=1, **SETTINGS)
    names = ("layer.png", "composite.png", "region.png")
    for name in names:
        assert (
            Path("batch/cup1.golden-cup.0", name).read_bytes() == (one.folder / name).read_bytes()
        )
    before = Path("batch/batch.jsonl").read_bytes()
    again = passed(product("--steps", 2, "--jobs", 1))
    assert "0 to run, 3 done already" in again.stderr
    assert Path("batch/batch.jsonl").read_bytes() == before
    Path("batch/batch.jsonl").unlink()  # the results themselves tell it as well
    told = passed(product("--steps", 2, "--jobs", 1, "--json"))
    record = json.loads(told.stdout)
    assert record["counts"]["done"] == 3 and len(record["jobs"]) == 3


def test_a_failure_stops_no_other_and_is_tried_again_when_asked(here: Path) -> None:
    Path("cup1.png").rename("kept.png")
    Path("cup1.png").write_bytes(b"no picture")
    result = product("--steps", 1)
    assert result.exit_code == 1
    assert states() == {"cup0.golden-cup.0": "done", "cup2.golden-cup.0": "done"} | {
        "cup1.golden-cup.0": "failed"
    }
    assert "cup1.png" in Journal(Path("batch")).entries["cup1.golden-cup.0"].error
    again = product("--steps", 1)
    assert again.exit_code == 1 and "1 failed before (--retry-failed" in again.stderr
    assert len(lines_of("failed")) == 1
    Path("kept.png").replace("cup1.png")
    passed(product("--steps", 1, "--retry-failed"))
    other = product("--steps", 2)  # results of other settings stay
    assert other.exit_code == 1 and "holds a result already" in other.stderr
    passed(product("--steps", 2, "--overwrite"))
    assert set(states().values()) == {"done"}


def test_missing_files_may_be_left_out(here: Path) -> None:
    Path("jobs.csv").write_text("source,prompt\na.png,gold cup\ncup0.png,gold cup\n")
    result = passed(batch("jobs.csv", *QUICK, "--steps", 1, "--skip-missing"))
    assert "1 done, 1 left out" in result.stderr


def test_what_would_be_done_is_told_and_not_done(here: Path) -> None:
    result = passed(product("--dry-run"))
    assert result.stdout.count("to be run") == 3 and not Path("batch").exists()


def test_a_journal_that_was_torn_is_read(here: Path) -> None:
    journal = Journal(here)
    journal.add(Entry("a", "done", "k"))
    with journal.path.open("ab") as file:
        file.write(b'{"job": "b", "sta')
    other = Journal(here)
    assert other.entries.keys() == {"a"}
    other.add(Entry("c", "failed", "k", error="torn\n“\udc80”"))
    entries = Journal(here).entries
    assert entries.keys() == {"a", "c"} and entries["a"] == Entry("a", "done", "k")
    journal.path.write_text('[1]\n{"state": "x"}\n{"job": 7, "state": "x"}\n"a"\n' + "[" * 9999)
    assert Journal(here).entries == {}


def test_workers_share_the_processors_or_have_a_gpu_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")
    assert environment_of(4, 4)["CUDA_VISIBLE_DEVICES"] == "5"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr("text2live_cli.batch.local.processors", lambda: 8)
    assert environment_of(1, 3)["OMP_NUM_THREADS"] == "2"


class Looker:
    """A `Watch` that remembers, and does something when a job tells of a stage."""

    def __init__(self, at: Callable[[Job, str], None] = lambda job, stage: None) -> None:
        self.at, self.now, self.most = at, set[str](), 0
        self.entries: dict[str, Entry] = {}

    def opened(self, todo: int, done: int, failed: int) -> None:
        pass

    def began(self, worker: int, job: Job) -> None:
        self.now.add(job.name)
        self.most = max(self.most, len(self.now))

    def told(self, worker: int, job: Job, event: str, facts: dict[str, Any]) -> None:
        if event == "stage":
            self.at(job, facts["name"])

    def ended(self, worker: int, job: Job, entry: Entry) -> None:
        self.now.discard(job.name)
        assert job.name not in self.entries
        self.entries[job.name] = entry

    def message(self, text: str) -> None:
        pass


def jobs_here(**values: Any) -> list[Job]:
    defaults = {**SETTINGS, **values}
    options = BatchOptions(images=("cup*.png",), prompt=("golden cup",), defaults=defaults)
    return read_jobs(options).jobs


def pool(watch: Looker, workers: int, lock: Path, **values: Any) -> None:
    orders = [Order(job, "out") for job in jobs_here(**values)]
    with held(lock) as descriptor:
        Pool(orders, workers, descriptor, watch).run(Stop())


@posix
def test_a_killed_worker_fails_its_job_alone(here: Path) -> None:
    def kill(job: Job, stage: str) -> None:
        if job.name.startswith("cup0") and stage == "training":
            children = subprocess.run(
                ["pgrep", "-P", str(os.getpid()), "-f", "batch.worker"], stdout=subprocess.PIPE
            )
            os.kill(int(children.stdout.split()[0]), signal.SIGKILL)

    watch = Looker(kill)
    pool(watch, 1, here / "lock", steps=2)
    assert {name[:4]: entry.state for name, entry in watch.entries.items()} == {
        "cup0": "failed",
        "cup1": "done",
        "cup2": "done",
    }
    assert "memory" in watch.entries["cup0.golden-cup.0"].error and watch.most == 1


def test_no_two_work_on_one_clip(here: Path) -> None:
    watch = Looker()
    jobs = [Job(f"j{n}", "edit-video", {"source": "none", "prompt": "x"}, "") for n in range(3)]
    with held(here / "lock") as lock:
        Pool([Order(job, "out") for job in jobs], 3, lock, watch).run(Stop())
    assert watch.most == 1 and len(watch.entries) == 3
    assert {entry.state for entry in watch.entries.values()} == {"failed"}


def test_one_clip_may_be_edited_by_several_once_it_has_its_atlas(here: Path) -> None:
    job = Job("j", "edit-video", {"source": "clip.mp4", "prompt": "x"}, "")
    assert job.alone == "clip.mp4"
    Path("clip.atlas").mkdir()
    Path("clip.atlas/atlas.safetensors").touch()
    assert job.alone is None
    Path("clip.atlas/checkpoint.safetensors").touch()  # its fit was stopped
    assert job.alone == "clip.mp4"


def started(*arguments: object) -> subprocess.Popen[str]:
    words = ["batch", "--images", "cup*.png", "--prompt", "golden cup", *QUICK, *arguments]
    command = [sys.executable, "-m", "text2live_cli", *map(str, words)]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True)


def wait_for(sign: Callable[[], bool]) -> None:
    end = time.monotonic() + 240  # Ray takes a minute to begin on a busy machine
    while not sign():
        assert time.monotonic() < end, "it does not come"
        time.sleep(0.05)


@posix
@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_batch_that_was_ended_goes_on_in_the_middle_of_an_edit(
    number: signal.Signals, here: Path
) -> None:
    how = ("--steps", 9, "--checkpoint-every", 0.1, "--jobs", 1)
    Path("cup2.png").unlink()
    first = started(*how)
    checkpoint = Path("batch/cup0.golden-cup.0/checkpoint.safetensors")
    wait_for(checkpoint.exists)
    first.send_signal(number)
    _, told = first.communicate(timeout=60)
    assert first.returncode == (143 if number == signal.SIGTERM else -9), told
    result = passed(product(*how, "--verbose"))
    assert "going on after step" in result.stderr
    whole = edit_image("cup0.png", "golden cup", output="one", steps=9, threads=1, **SETTINGS)
    resumed = Path("batch/cup0.golden-cup.0/layer.png")
    assert resumed.read_bytes() == whole.layer.read_bytes()
    assert lines_of("done") == [f"cup{n}.golden-cup.0" for n in range(2)]


@posix
@pytest.mark.slow
def test_a_second_batch_waits_for_the_first(here: Path) -> None:
    for name in ("cup1.png", "cup2.png"):
        Path(name).unlink()
    first = started("--steps", 3, "--jobs", 1)
    wait_for(Path("batch/.batch.lock").exists)
    second = passed(product("--steps", 3, "--jobs", 1))
    assert "another batch is at work there" in second.stderr
    assert "1 done already" in second.stderr
    first.communicate(timeout=60)
    assert first.returncode == 0 and len(lines_of("done")) == 1


@posix
@pytest.mark.slow
def test_on_a_terminal_there_is_a_line_for_all_and_one_for_each_worker(here: Path) -> None:
    terminal = Terminal(b"")
    words = ["batch", "--images", "cup*.png", "--prompt", "golden cup", *QUICK, "--steps", 3]
    assert terminal.run(*words, "--jobs", 2) == 0
    shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", terminal.shown.decode())
    lines = [line.rstrip() for line in re.split(r"[\r\n]+", shown)]
    assert [line for line in lines if re.match(r"all .*[12]/3", line)]
    assert [line for line in lines if re.match(r"cup\d\.golden-cup\.0: training .*[123]/3", line)]
    assert max(map(len, lines)) <= 80
    assert "batch: 3 done" in lines
