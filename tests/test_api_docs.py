"""docs/api.md: its examples run as they stand, one after the other, in one folder."""

from __future__ import annotations

import re
from fractions import Fraction
from itertools import islice
from pathlib import Path

import pytest
from PIL import Image

from text2live_cli.media.clip_writing import write_video
from text2live_cli.media.clips import open_clip

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "api.md"
if not PAGE.is_file():
    pytest.skip("no docs beside the tests", allow_module_level=True)


@pytest.mark.slow
def test_the_examples_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Image.open(ROOT / "examples" / "cup.png").resize((128, 96)).save("cup.png")  # as it takes long
    first = islice(open_clip(ROOT / "examples" / "boat.mp4").frames(size=(90, 160)), 8)
    write_video(Path("boat.mp4"), first, Fraction(12))
    examples = re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), flags=re.DOTALL)
    assert len(examples) == 8
    for example in examples:
        exec(compile(example, str(PAGE), "exec"), {})
    written = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.*")}
    assert written >= {
        "cup.golden-cup/layer.png",
        "boat.fg.golden-boat/composite.mp4",
        "half.png",
        "half.mp4",
        "many/blue cup/composite.png",
    }
