"""Session, plans and options: what every command is made of."""

from __future__ import annotations

import dataclasses
import inspect
import json
import subprocess
import sys
from pathlib import Path

import pytest
from swatch_training.painter import paint_scene

from tests.commands import one_line, passed, run
from text2live_cli import UsageError, edit_image, edit_video, find_region, fit_atlas
from text2live_cli.config import LossWeights
from text2live_cli.media.picture_writing import write_picture
from text2live_cli.pipelines import image as image_module
from text2live_cli.pipelines import session as session_module
from text2live_cli.pipelines.image import (
    EditResult,
    deliver_image,
    prepare_image,
    run_edit_image,
)
from text2live_cli.pipelines.options import ImageOptions, VideoOptions
from text2live_cli.pipelines.plans import plan_image
from text2live_cli.pipelines.requests import command_line, request
from text2live_cli.pipelines.session import Session, claimed
from text2live_cli.progress import Silent

QUICK = {"clip": "swatch", "steps": 2, "views": 2, "device": "cpu"}


@pytest.fixture
def cup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A painted cup, and a folder of frames called clip, in the current folder."""
    monkeypatch.chdir(tmp_path)
    rgb, _ = paint_scene([("cup", "red")], "wooden table", 3, (200, 260))
    write_picture(tmp_path / "cup.png", rgb)
    Path("clip").mkdir()
    for number in range(3):
        write_picture(Path("clip", f"{number}.png"), rgb)
    return Path("cup.png")


def test_two_edits_in_one_session_load_the_encoder_once(
    cup: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loads = []
    load = session_module.load_guide

    def counted(*given: object) -> object:
        loads.append(given)
        return load(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(session_module, "load_guide", counted)
    session = Session("swatch", device="cpu")
    layers = []
    for prompt in ("golden cup", "blue cup"):
        plan = plan_image(ImageOptions(cup, prompt, **QUICK), "cpu", Silent())
        with claimed(plan) as folder:
            trained = session.train(plan, prepare_image, folder, 0.0)
            layers.append(deliver_image(trained, plan, folder, Silent()).layer.read_bytes())
    assert len(loads) == 1
    alone = edit_image(cup, "blue cup", output="alone", **QUICK)
    assert layers[1] == alone.layer.read_bytes() != layers[0]


def test_the_region_is_looked_for_once_while_picture_and_place_stay(
    cup: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = []
    find = image_module.with_region

    def counted(*given: object) -> object:
        looks.append(given)
        return find(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(image_module, "with_region", counted)
    copy = Path("sub/copy.png")
    copy.parent.mkdir()
    copy.write_bytes(cup.read_bytes())
    session = Session("swatch", device="cpu")

    def edited(name: str, source: Path = cup, **others: object) -> EditResult:
        options = ImageOptions(source, "golden cup", output=name, **{**QUICK, **others})
        return run_edit_image(options, session)

    edited("one")
    second = edited("two", copy, seed=3)
    assert len(looks) == 1 and second.record["input"]["path"] == "sub/copy.png"
    alone = edit_image(cup, "golden cup", output="alone", seed=3, **QUICK)
    assert second.layer.read_bytes() == alone.layer.read_bytes()
    assert (Path("two/region.png")).read_bytes() == Path("one/region.png").read_bytes()
    looks.clear()
    for name, others in (
        ("a", {"region": "paper"}),
        ("b", {"size": 200}),
        ("c", {"keep": "table"}),
    ):
        edited(name, **others)
    assert len(looks) == 3


def test_a_session_refuses_an_edit_with_another_encoder(cup: Path) -> None:
    plan = plan_image(ImageOptions(cup, "golden cup"), "cpu", Silent())
    with claimed(plan) as folder, pytest.raises(UsageError, match="--clip ViT-B-32"):
        Session("swatch", device="cpu").train(plan, prepare_image, folder, 0.0)


@pytest.mark.parametrize(
    ("function", "options"), [(edit_image, ImageOptions), (edit_video, VideoOptions)]
)
def test_the_signature_is_that_of_the_options(function: object, options: type) -> None:
    parameters = inspect.signature(function).parameters  # type: ignore[arg-type]
    assert list(parameters) == [field.name for field in dataclasses.fields(options)]
    assert [n for n, p in parameters.items() if p.kind is not p.KEYWORD_ONLY] == [
        "source",
        "prompt",
    ]


@pytest.mark.parametrize("function", [edit_image, edit_video, fit_atlas, find_region])
def test_a_slip_in_a_keyword_is_an_error(function: object) -> None:
    with pytest.raises(UsageError, match="option stepz: must be one of"):
        function("a.png", stepz=3)  # type: ignore[operator]


def test_every_weight_has_an_option() -> None:
    names = {field.name for field in dataclasses.fields(ImageOptions)}
    assert {"lambda_" + term.name for term in dataclasses.fields(LossWeights)} <= names
    options = ImageOptions("a.png", "cup", lambda_sparsity_l1=0.5, no_screen=True)
    assert options.overrides()["lambda_sparsity_l1"] == 0.5
    assert options.overrides()["lambda_screen"] == 0.0 and options.without == ("screen",)


def test_the_record_tells_the_weights_that_were_used(cup: Path) -> None:
    result = edit_image(cup, "cup", roi="cup", output="same", **QUICK)
    assert result.record["settings"]["weights"]["direction"] == 0.0  # there is no direction
    assert result.record["job"]["lambda-direction"] == 1.0  # what was asked for


@pytest.mark.parametrize(
    "arguments",
    [
        ("edit-image", "cup.png", "golden cup"),
        ("edit-video", "clip", "golden cup", "--layer-format", "png"),
        ("fit-atlas", "clip"),
    ],
)
def test_a_dry_run_tells_all_and_does_nothing(
    cup: Path, tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    before = sorted(tmp_path.rglob("*"))
    facts = json.loads(passed(run(*arguments, "--dry-run", "--json")).output)["plan"]
    assert {"input", "result", "memory", "disk"} <= facts.keys()
    assert "run.json" in facts["result"] and "GiB" in facts["memory"]
    if arguments[0] != "fit-atlas":
        assert "to be fetched" in facts["encoder"] and "no GPU here" in facts["preset"]
    assert sorted(tmp_path.rglob("*")) == before


def test_a_dry_run_imports_no_torch(cup: Path) -> None:
    code = (
        "import sys; from text2live_cli.cli.commands import app;"
        f"app(['edit-image', {str(cup)!r}, 'golden cup', '--dry-run'], standalone_mode=False);"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 0


def test_a_dry_run_refuses_what_the_run_would(cup: Path) -> None:
    Path("out").mkdir()
    Path("out", "run.json").write_text("{}")
    result = run("edit-image", cup, "golden cup", "-o", "out", "--dry-run")
    assert result.exit_code == 2 and "holds a result already" in one_line(result)
    result = run("edit-image", cup, "golden cup", "--steps", 0, "--dry-run")
    assert result.exit_code == 2 and "--steps 0" in one_line(result)


def test_the_same_request_again_is_done_already_and_another_is_refused(cup: Path) -> None:
    again = ("edit-image", cup, "golden cup", "--clip", "swatch", "--steps", 2, "--views", 2)
    passed(run(*again, "--mask", cup, "-o", "out"))
    files = {p: p.read_bytes() for p in Path("out").rglob("*.*")}
    result = passed(run(*again, "--mask", cup, "-o", "out"))
    assert "out: done already" in result.stderr and "bit for bit" in result.stderr
    assert {p: p.read_bytes() for p in Path("out").rglob("*.*")} == files
    for change in (("--seed", 1), ("--mask", "clip/0.png"), ()):
        Path("clip/0.png").write_bytes(Path("clip/0.png").read_bytes())
        result = run(*again, *change, "-o", "out")
        if change == ("--mask", "clip/0.png"):  # the same picture by another name
            assert result.exit_code == 0
        else:
            assert result.exit_code == 2 and "holds a result already" in one_line(result)


def test_a_record_tells_the_command_that_repeats_it(cup: Path) -> None:
    options = {**QUICK, "keep": ["a table"], "not_points": ("1,1", "9%,9%"), "no_screen": True}
    result = edit_image(cup, "golden cup", box="10,10,90%,90%", **options)
    assert result.record["command_line"] == (
        "text2live edit-image --keep 'a table' --clip swatch --steps 2 --views 2 --device cpu"
        " --threads 1 --without screen --preset draft --box 10,10,90%,90% --not 1,1 --not 9%,9%"
        " cup.png 'golden cup'"
    )


def test_a_prompt_with_a_dash_is_no_option(cup: Path) -> None:
    options = ImageOptions("cup.png", "-golden cup", steps=2)
    words = command_line("edit-image", options)
    assert words == "text2live edit-image --steps 2 -- cup.png '-golden cup'"


def test_what_makes_another_result_is_another_request(cup: Path) -> None:
    plain = request(ImageOptions(cup, "golden cup", also=["gold"]))
    assert request(ImageOptions(cup, "golden cup", also=("gold",), output="x")) == plain
    assert request(VideoOptions("clip", "golden cup", any_atlas=True)) == {"prompt": "golden cup"}
    mask = Path("mask.png")
    mask.write_bytes(b"one")
    first = request(ImageOptions(cup, "golden cup", mask=mask))
    mask.write_bytes(b"two")
    assert request(ImageOptions(cup, "golden cup", mask=str(mask))) != first


def test_a_result_that_lost_a_file_is_not_done(cup: Path) -> None:
    again = ("edit-image", cup, "golden cup", "--clip", "swatch", "--steps", 1, "--views", 2)
    passed(run(*again, "-o", "out"))
    Path("out/layer.png").unlink()
    assert "holds a result already" in one_line(run(*again, "-o", "out"))
    record = json.loads(Path("out/run.json").read_text())
    Path("out/layer.png").touch()
    Path("out/run.json").write_text(json.dumps({**record, "unchanged_share": "x"}))
    assert "holds a result already" in one_line(run(*again, "-o", "out"))


def test_a_session_gives_every_edit_what_it_would_be_alone(cup: Path) -> None:
    session = Session("swatch", device="cpu", precision="bf16")
    layers = []
    for name in ("one", "two"):
        options = ImageOptions(cup, "golden cup", output=name, precision="bf16", **QUICK)
        plan = plan_image(options, "cpu", Silent())
        with claimed(plan) as folder:
            trained = session.train(plan, prepare_image, folder)
            layers.append(deliver_image(trained, plan, folder, Silent()).layer.read_bytes())
    assert layers[0] == layers[1]
