"""How a run is watched, limited, gone on with and repeated."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image, ImageOps
from swatch_training.painter import paint_scene

from tests.commands import StopAt, history_of, one_line, passed, run
from text2live_cli import UsageError, edit_image
from text2live_cli.cli import commands
from text2live_cli.cli.options import EditFlags
from text2live_cli.config import MAX_THREADS, Schedule, resolve_settings
from text2live_cli.engine import threads
from text2live_cli.engine.training import FORMAT
from text2live_cli.errors import PoorAtlasError, Text2LiveError
from text2live_cli.media.picture_writing import write_picture
from text2live_cli.pipelines import plans, previews, thread_choice
from text2live_cli.pipelines import video as video_pipeline
from text2live_cli.pipelines.options import FitOptions, ImageOptions, VideoOptions
from text2live_cli.pipelines.previews import is_due
from text2live_cli.pipelines.requests import given_options, recorded_options
from text2live_cli.progress import Silent
from text2live_cli.runs.checkpoint import Checkpoint
from text2live_cli.runs.folder import CHECKPOINT, LATEST

QUICK: dict[str, Any] = {"clip": "swatch", "preset": "draft", "views": 1}
FLAGS = ("--clip", "swatch", "--preset", "draft", "--views", 1)


@pytest.fixture
def cup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A painted cup in the current folder."""
    monkeypatch.chdir(tmp_path)
    rgb, _ = paint_scene([("cup", "red")], "wooden table", 3, (96, 128))
    write_picture(tmp_path / "cup.png", rgb)
    return Path("cup.png")


def edit(cup: Path, *arguments: object) -> Any:
    return run("edit-image", cup, "golden cup", *FLAGS, "-o", "out", *arguments)


def record_of(folder: str) -> dict[str, Any]:
    record: dict[str, Any] = json.loads(Path(folder, "run.json").read_text("utf-8"))
    return record


# Previews and curves


@pytest.mark.parametrize(
    ("steps", "due"), [(120, [12, 30, 60, 90, 120]), (7, [1, 2, 4, 6, 7]), (1, [1])]
)
def test_a_preview_after_a_tenth_and_each_quarter(steps: int, due: list[int]) -> None:
    assert [done for done in range(1, steps + 1) if is_due(done, steps)] == due


def test_previews_are_told_as_events(cup: Path) -> None:
    result = passed(edit(cup, "--steps", 2, "--save-every", 2, "--progress", "json"))
    events = [json.loads(line) for line in result.stderr.splitlines()]
    told = [event["path"] for event in events if event["event"] == "preview"]
    assert told == [f"out/{LATEST}", "out/previews/00002.png", f"out/{LATEST}"]
    assert Path("out", LATEST).read_bytes() == Path("out/previews/00002.png").read_bytes()


def test_a_preview_that_has_no_room_ends_no_run(cup: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, *given: object) -> None:
        raise Text2LiveError(f"{path}: no room")

    monkeypatch.setattr(previews, "write_picture", full)
    result = passed(edit(cup, "--steps", 2))
    assert result.stderr.count("no preview for now") == 1
    assert not Path("out/previews/latest.png").exists()


def test_curves_for_tensorboard(cup: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    passed(edit(cup, "--steps", 2, "--log-dir", "logs"))
    passed(edit(cup, "--steps", 3, "--log-dir", "logs", "--resume"))
    log = events.EventAccumulator("logs").Reload()
    terms = history_of("out")["terms"]
    told = log.Scalars("term/composition")
    assert [one.step for one in told] == [1, 2, 3]
    assert [one.value for one in told] == pytest.approx([row["composition"] for row in terms])
    assert log.Images("preview")
    monkeypatch.setattr(previews, "find_spec", lambda name: None)
    result = edit(cup, "--steps", 1, "--log-dir", "logs", "--overwrite")
    assert result.exit_code == 2 and "text2live[tensorboard]" in one_line(result)


# More steps, the same again


def test_a_finished_run_trains_on_where_its_schedule_stood(cup: Path) -> None:
    edit_image(cup, "golden cup", output="one", steps=2, **QUICK)
    stopped = StopAt("training", 3)
    edit_image(cup, "golden cup", output="parts", steps=2, **QUICK)
    edit_image(cup, "golden cup", output="parts", steps=4, resume=True, progress=stopped, **QUICK)
    result = passed(edit(cup, "--steps", 4, "--resume", "-o", "one"))
    rate = resolve_settings("draft", "swatch").schedule.learning_rate_at(2, 2)
    assert (
        f"from 2 to 4 steps: the schedule goes on where it stood, with a learning rate of "
        f"{rate:.2g}" in result.stderr.replace("\n", "")
    )
    resumed = edit_image(cup, "golden cup", output="parts", resume=True, **QUICK)  # with its own
    assert resumed.record["steps_done"] == resumed.record["settings"]["steps"] == 4
    assert Path("parts/layer.png").read_bytes() == Path("one/layer.png").read_bytes()
    assert history_of("one") == history_of("parts")
    record = record_of("one")
    assert (record["steps_done"], record["job"]["steps"], record["schedule_steps"]) == (4, 4, 2)
    assert record["command_line"].count("text2live edit-image") == 2
    fewer = edit(cup, "--steps", 3, "--resume", "-o", "one")
    assert fewer.exit_code == 2 and "steps was 4 and is now 3" in one_line(fewer)
    other = edit(cup, "--steps", 4, "-o", "one")  # no such result in one go
    assert other.exit_code == 2 and "holds a result already" in one_line(other)


def test_a_schedule_goes_on_beyond_its_end() -> None:
    schedule = Schedule(decay=0.999)
    rates = [schedule.learning_rate_at(step, 100) for step in (99, 100, 101)]
    assert rates[0] > rates[1] >= rates[2] >= schedule.floor
    assert [schedule.bootstrap_share_at(step, 100) for step in (98, 99, 150)] == [
        pytest.approx(0.01),
        *(0.0, 0.0),
    ]


def test_done_already_needs_no_torch_and_another_result_no_picture(
    cup: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    passed(edit(cup, "--steps", 1))
    code = (
        "import sys; from text2live_cli.cli.commands import app;"
        "app(sys.argv[1:], standalone_mode=False); sys.exit('torch' in sys.modules)"
    )
    words = ["edit-image", str(cup), "golden cup", *map(str, FLAGS), "-o", "out", "--steps", "1"]
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True)
    assert done.returncode == 0 and "out: done already" in done.stderr

    def read(path: Path) -> None:
        raise AssertionError("the picture was read")

    monkeypatch.setattr(plans, "read_picture", read)
    other = edit(cup, "--steps", 2)
    assert other.exit_code == 2 and "holds a result already" in one_line(other)


def test_the_result_of_another_input_is_named_with_a_name_that_is_free(cup: Path) -> None:
    for folder in ("a", "b"):
        Path(folder).mkdir()
        shutil.copyfile(cup, Path(folder) / "1.png")
    Path("1.golden-cup.2").mkdir()
    quick = [*map(str, FLAGS), "--steps", "1"]
    passed(run("edit-image", "a/1.png", "golden cup", *quick))
    with Image.open("b/1.png") as image:
        ImageOps.mirror(image).save("b/1.png")
    other = run("edit-image", "b/1.png", "golden cup", *quick)
    assert other.exit_code == 2
    assert "1.golden-cup holds a result already (of a/1.png)" in one_line(other)
    assert "another name: -o 1.golden-cup.3" in one_line(other)
    passed(run("edit-image", "b/1.png", "golden cup", *quick, "-o", "1.golden-cup.3"))


def test_the_time_runs_on_over_a_question_but_for_the_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    begun: list[tuple[float, bool]] = []

    def poor(options: VideoOptions, begin: float) -> None:
        begun.append((begin, options.any_atlas))
        time.sleep(0.2)
        if not options.any_atlas:
            raise PoorAtlasError("poor")

    def agreed(*given: object) -> bool:
        time.sleep(0.3)
        return True

    monkeypatch.setattr(video_pipeline, "run_edit_video", poor)
    monkeypatch.setattr(commands, "_agreed", agreed)
    commands._edited_clip(VideoOptions("clip", "golden cup", minutes=5), EditFlags())
    (first, _), (second, agrees) = begun
    assert agrees and 0.3 <= second - first < 0.45


def test_a_run_is_repeated_from_its_record(cup: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    passed(edit(cup, "--steps", 2, "--seed", 3, "--without", "screen", "--mask", cup))
    config = ("edit-image", "--config", "out/run.json")
    again = passed(run(*config, "-o", "out"))
    assert "out: done already" in again.stderr
    monkeypatch.chdir("out")  # the picture is beside the folder of the record
    passed(run("edit-image", "--config", "run.json", "-o", "../again"))
    monkeypatch.chdir("..")
    assert Path("again/layer.png").read_bytes() == Path("out/layer.png").read_bytes()
    passed(run(*config, "-o", "other", "--seed", 4, "--without", "sparsity"))
    assert record_of("other")["seed"] == 4
    assert record_of("other")["options"]["without"] == ["sparsity"]
    assert "screen" in history_of("other")["terms"][0]
    cup.unlink()
    gone = run(*config, "-o", "third")
    assert gone.exit_code == 2 and "cup.png is not here: name it anew" in one_line(gone)


def test_options_go_into_a_record_and_come_back(cup: Path) -> None:
    files: dict[str, Any] = {"mask": "cup.png@3", "masks": cup, "layer_formats": ["png"]}
    for options in (
        VideoOptions(cup, "a cup", minutes=2, lambda_screen=1, also=("x", "y"), **files),
        FitOptions(cup, steps=3, points=("1,1",), every=2),
    ):
        command = "fit-atlas" if isinstance(options, FitOptions) else "edit-video"
        record = {"command": command, "options": given_options(options)}
        Path("run.json").write_text(json.dumps(record))
        values = recorded_options(Path("run.json"), type(options), ())
        assert type(options)(**values) == type(options)(
            **{**vars(options), "source": str(cup), "masks": values.get("masks")}
        )


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"command": "edit-video"}, "of another command, not of edit-image"),
        ({"options": None}, "no run.json with the options"),
        ({"options": {"source": "/etc/passwd", "prompt": "x"}}, "is not here"),
        ({"options": {"prompt": 3}}, "prompt cannot be '3'"),
        ({"options": {"also": [1]}}, "also cannot be"),
        ({"options": {"overwrite": True}}, "is no option"),
        ({"options": {"output": "elsewhere"}}, "is no option"),
        ({"options": {"progress": "x"}}, "is no option"),
        ({"options": {"steps": True}}, "steps cannot be 'True'"),
        ({"options": {"prompt": "a cup"}}, "SOURCE is missing"),
    ],
)
def test_a_record_from_elsewhere_is_not_trusted(
    cup: Path, change: dict[str, Any], text: str
) -> None:
    record = {"command": "edit-image", "options": {"source": "cup.png", "prompt": "a cup"}}
    Path("run.json").write_text(json.dumps({**record, **change}))
    result = run("edit-image", "--config", "run.json", *FLAGS)
    assert result.exit_code == 2 and text in one_line(result)


# Threads


def loaded(seconds: dict[int, float]) -> Any:
    return lambda step, numbers: {number: seconds[number] for number in numbers}


@pytest.mark.parametrize(
    ("given", "seconds", "chosen"),
    [
        (2, {2: 1.0, 1: 0.9}, 2),  # hardly quicker: a quiet machine keeps its number
        (2, {2: 4.0, 1: 1.0}, 1),
        (8, {8: 9.0, 4: 2.0, 2: 1.8, 1: 0.1}, 4),
        (1, {}, 1),
    ],
)
def test_as_many_threads_as_the_machine_gives(
    given: int, seconds: dict[int, float], chosen: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in threads.ASKED_BY:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(threads, "_given", lambda: given)
    monkeypatch.setattr(threads, "_measured", loaded(seconds))
    assert threads.choose_threads(4, Silent()) == chosen
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert threads.choose_threads(4, Silent()) == given


def test_threads_are_measured_by_real_steps_and_put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "_SECONDS", 0.0)
    before = torch.get_num_threads()
    step = threads._small_step(4)
    seconds = threads._measured(step, (2, 1))
    assert seconds.keys() == {1, 2} and min(seconds.values()) > 0
    assert torch.get_num_threads() == before


@pytest.mark.parametrize(("quota", "most"), [("150000 100000", 2), ("max 100000", 8), ("x", 8)])
def test_a_container_gives_what_it_may(
    quota: str, most: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cpu.max").write_text(quota)
    monkeypatch.setattr(threads, "_CGROUP", tmp_path / "cpu.max")
    monkeypatch.setattr(torch, "get_num_threads", lambda: 8)
    assert threads._given() == most


def test_a_resumed_run_takes_the_threads_of_its_run(
    cup: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = torch.get_num_threads()
    edit_image(cup, "golden cup", output="whole", steps=2, threads=2, **QUICK)
    stop = StopAt("training", 1)
    edit_image(cup, "golden cup", output="out", steps=2, threads=2, progress=stop, **QUICK)
    assert torch.get_num_threads() == before
    monkeypatch.setattr(thread_choice, "choose_threads", lambda *given: 1)
    result = passed(edit(cup, "--resume"))
    assert record_of("out")["job"]["threads"] == 2
    assert record_of("out")["options"]["threads"] == 2
    assert Path("out/layer.png").read_bytes() == Path("whole/layer.png").read_bytes()
    assert "threads" not in result.stderr
    told = passed(edit(cup, "--resume", "--threads", 1)).stderr
    assert "--threads 1: begun with 2" in told
    assert Checkpoint.read(Path("out", CHECKPOINT), FORMAT).job["threads"] == 1
    wrong = edit(cup, "--threads", 0, "--overwrite")
    assert f"--threads 0: must be a whole number from 1 to {MAX_THREADS}" in one_line(wrong)


# Words on the command line


def test_ablations_by_name_and_by_their_former_flags() -> None:
    named = ImageOptions("a.png", "cup", without="structure, internal-dataset")
    former = ImageOptions("a.png", "cup", no_structure=True, no_internal_dataset=True)
    assert named == former
    assert named.overrides()["lambda_structure"] == 0.0
    assert named.overrides()["internal_dataset"] is False
    with pytest.raises(UsageError, match=r"--without scren: .*did you mean screen"):
        ImageOptions("a.png", "cup", without=("scren",))


def test_the_help_tells_defaults_limits_and_what_words_mean() -> None:
    told = {
        name: " ".join(run(name, "--help").stdout.replace("│", " ").split())
        for name in ("edit-image", "edit-video")
    }
    for text in told.values():
        assert "Default: 2, on clips 3, with swatch 1." in text
        assert "192 to 4096 pixels" in text and "region of interest" in text
        assert "--no-structure" not in text and "--without" in text
    assert "unwrapped into one picture" in told["edit-video"]


@pytest.mark.parametrize("command", ["edit-image", "edit-video", "region"])
def test_a_sentence_without_quotes_is_told_of_them(command: str) -> None:
    result = run(command, "a.jpg", "oreo", "cake")
    assert result.exit_code == 2
    assert "put the sentence in quotes" in " ".join(result.output.replace("│", " ").split())


def test_several_pictures_are_sent_to_batch(cup: Path) -> None:
    shutil.copyfile(cup, "b.png")
    result = run("edit-image", cup, "b.png", "golden cup")
    assert result.exit_code == 2
    assert "text2live batch --images" in " ".join(result.output.replace("│", " ").split())
