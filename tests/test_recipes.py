"""docs/recipes.md: its files are written and its lines run, in small."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import pytest
from swatch_training.painter import paint_scene

from tests.commands import run
from text2live_cli.media.picture_writing import write_picture

ROOT = Path(__file__).parents[1]
RECIPES = (ROOT / "docs" / "recipes.md").read_text("utf-8")
SMALL = {
    "edit-image": "--steps 2 --views 1 --layout plain",
    "batch": "--steps 2 --views 1 --layout plain",
    "edit-video": "--steps 2 --views 1 --layout plain --any-atlas",
    "fit-atlas": "--steps 20 --size 64",
}


def blocks(kind: str) -> list[str]:
    return re.findall(rf"^```{kind}\n(.*?)^```", RECIPES, re.DOTALL | re.MULTILINE)


def lines_of(heading: str) -> list[list[str]]:
    """The commands under a heading."""
    section = RECIPES.split(f"## {heading}\n")[1].split("\n## ")[0]
    texts = re.findall(r"^```sh\n(.*?)^```", section, re.DOTALL | re.MULTILINE)
    return [shlex.split(line, comments=True) for text in texts for line in text.splitlines()]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    Path("photos").mkdir()
    for number in (1, 2):
        rgb, _ = paint_scene([("cup", "red")], "wooden table", number, (96, 128))
        write_picture(Path(f"photos/{number}.png"), rgb)
    shutil.copyfile(ROOT / "examples" / "boat.mp4", "clip.mp4")
    Path("prompts.txt").write_text("# ideas\ngolden cup\nicy cup\n")
    (csv,) = blocks("csv")
    Path("golden.csv").write_text(csv)
    (toml,) = blocks("toml")
    Path("night.toml").write_text(toml)
    return tmp_path


HEADINGS = re.findall(r"^## (.+)$", RECIPES, re.MULTILINE)


@pytest.mark.slow
@pytest.mark.parametrize("heading", HEADINGS)
def test_a_recipe(heading: str, here: Path) -> None:
    commands = lines_of(heading)
    assert commands
    for program, command, *words in commands:
        assert program == "text2live"
        result = run(command, *words, *SMALL.get(command, "").split())
        assert result.exit_code == 0, result.output
    for name in re.findall(r"(?:--out|-o) (\S+)", " ".join(" ".join(words) for words in commands)):
        assert Path(name).exists()
