"""docs/api.md: its examples run as they stand, one after the other, in one folder."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "api.md"
if not PAGE.is_file():
    pytest.skip("no docs beside the tests", allow_module_level=True)


@pytest.mark.slow
def test_the_examples_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("cup.png", "boat.mp4"):
        shutil.copy(ROOT / "examples" / name, tmp_path)
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
