"""`apply`: the generator of an edit on other pictures."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from swatch_training.painter import paint_scene

from tests.commands import StopAt, one_line, passed, run
from text2live_cli import UsageError, apply_edit, edit_image
from text2live_cli.engine.training import FORMAT
from text2live_cli.media.picture_writing import write_picture
from text2live_cli.media.tensor_files import read_tensors, write_tensors
from text2live_cli.runs.folder import CHECKPOINT

QUICK: dict[str, Any] = {"clip": "swatch", "preset": "draft", "views": 1, "layout": "plain"}
FILES = ("layer.png", "composite.png", "alpha.png", "region.png", "mask.png")


@pytest.fixture
def edited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder: a.png, edited into `parent`, and b.png, another cup."""
    monkeypatch.chdir(tmp_path)
    for name, number in (("a", 3), ("b", 4)):
        rgb, _ = paint_scene([("cup", "red")], "wooden table", number, (120, 160))
        write_picture(tmp_path / f"{name}.png", rgb)
    edit_image("a.png", "golden cup", output="parent", steps=3, **QUICK)
    return tmp_path


def test_on_its_own_picture_the_layer_is_the_same_bit_for_bit(edited: Path) -> None:
    shutil.copyfile("a.png", "copy.png")
    passed(run("apply", "parent", "copy.png"))
    for name in FILES:
        ours, theirs = (Path(folder, name) for folder in ("copy.golden-cup", "parent"))
        assert ours.read_bytes() == theirs.read_bytes(), name


def test_so_it_is_where_a_place_was_given(edited: Path) -> None:
    how = {"box": "40,20,60,80", "not_points": ("5,5",), "roi": "cup", "steps": 2, **QUICK}
    edit_image("a.png", "icy cup", output="placed", **how)
    passed(run("apply", "placed", "a.png", "-o", "again"))
    for name in FILES:
        assert Path("again", name).read_bytes() == Path("placed", name).read_bytes(), name


def test_another_picture_is_edited_where_its_cup_is(edited: Path) -> None:
    passed(run("apply", "parent", "b.png", "--json"))
    folder = Path("b.golden-cup")
    record = json.loads((folder / "run.json").read_text())
    assert record["command"] == "apply" and record["parent"]["path"] == "parent"
    assert record["prompts"]["roi"] == "cup" and record["seconds"]["training"] == 0
    assert record["command_line"] == "text2live apply parent b.png"
    assert (folder / "report.html").is_file() and not (folder / CHECKPOINT).exists()
    source, composite = (np.array(Image.open(p)) for p in ("b.png", folder / "composite.png"))
    alpha = np.array(Image.open(folder / "alpha.png"))
    assert (source[alpha == 0] == composite[alpha == 0]).all()
    assert 0 < (alpha > 0).mean() < 0.9
    before = (folder / "run.json").read_bytes()
    again = passed(run("apply", "parent", "b.png"))
    assert "done already" in again.stderr and (folder / "run.json").read_bytes() == before
    elsewhere = ("apply", "parent", "b.png", "--box", "50%,10%,40%,80%")
    other = run(*elsewhere)
    assert other.exit_code == 2 and "-o b.golden-cup.2" in one_line(other)
    passed(run(*elsewhere, "--overwrite"))


def test_several_pictures_and_one_that_fails(edited: Path) -> None:
    Path("c.png").write_bytes(b"none")
    result = run("apply", "parent", "a.png", "c.png", "b.png", "-o", "all")
    assert result.exit_code == 1 and "c.png" in result.stderr and "1 of 3 failed" in result.stderr
    assert sorted(path.name for path in Path("all").iterdir()) == [
        "a.golden-cup",
        "b.golden-cup",
    ]
    with pytest.raises(UsageError, match="apply to each alone"):
        apply_edit("parent", ["a.png", "b.png"], box="1,1,9,9")


def test_no_result_goes_onto_another_or_onto_the_edit(edited: Path) -> None:
    shutil.copytree("parent", "a.golden-cup")
    before = {path.name: path.read_bytes() for path in Path("a.golden-cup").glob("*.*")}
    for arguments in (("a.png",), ("a.png", "b.png"), ("b.png", "-o", "a.golden-cup")):
        refused = run("apply", "a.golden-cup", *arguments, "--overwrite")
        assert refused.exit_code == 2 and "is the edit that is applied" in one_line(refused)
    assert before == {path.name: path.read_bytes() for path in Path("a.golden-cup").glob("*.*")}
    Path("more").mkdir()
    shutil.copyfile("b.png", "more/b.png")
    twins = run("apply", "parent", "b.png", "more/b.png", "-o", "all", "--overwrite")
    assert twins.exit_code == 2 and "as that of b.png" in one_line(twins)
    assert not Path("all").exists() and not Path("b.golden-cup").exists()


def test_what_cannot_be_applied(edited: Path) -> None:
    assert "is no result of edit-image" in one_line(run("apply", ".", "b.png"))
    lost = shutil.copytree("parent", "lost")
    (Path(lost) / CHECKPOINT).unlink()
    assert "has no checkpoint" in one_line(run("apply", "lost", "b.png"))
    path = Path("parent", CHECKPOINT)
    sound, form = path.read_bytes(), FORMAT
    tensors, texts = read_tensors(path, form)
    job = json.loads(texts["job"])
    write_tensors(path, tensors, {**texts, "job": json.dumps({**job, "clip weights": "0"})})
    other = run("apply", "parent", "b.png")
    assert other.exit_code == 1 and "--clip-weights FILE" in one_line(other)
    tensors, _ = read_tensors(path, form)
    tensors["weights"] = tensors["weights"][:-1]
    write_tensors(path, tensors, texts)
    damaged = run("apply", "parent", "b.png")
    assert damaged.exit_code == 1 and "damaged" in one_line(damaged)
    path.write_bytes(sound)
    for text in ('{"command": "edit-image"}', "[]", '{"command": "edit-image", "prompts": {}}'):
        Path("lost/run.json").write_text(text)
        assert "is no result of edit-image" in one_line(run("apply", "lost", "b.png"))
    assert not Path("b.golden-cup").exists()


def test_an_edit_that_was_stopped_is_told(edited: Path) -> None:
    edit_image("a.png", "icy cup", output="s", steps=4, progress=StopAt("training", 1), **QUICK)
    result = passed(run("apply", "s", "b.png", "-o", "out"))
    assert "was stopped after 1 steps" in result.stderr
