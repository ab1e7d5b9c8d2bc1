"""docs/notebook.ipynb runs, and pictures go in and out as PIL's and arrays."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pytest
from nbclient import NotebookClient
from PIL import Image

from text2live_cli import EditResult, UsageError, edit_image
from text2live_cli.media.given_pictures import as_path
from text2live_cli.media.pictures import read_picture

ROOT = Path(__file__).parents[1]
QUICK: dict[str, Any] = {"clip": "swatch", "steps": 1, "views": 1, "layout": "plain"}


@pytest.mark.slow
def test_the_notebook_runs_and_shows_its_results(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEXT2LIVE_CACHE", str(tmp_path / "cache"))
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    notebook = nbformat.read(ROOT / "docs" / "notebook.ipynb", as_version=4)
    client = NotebookClient(notebook, timeout=300, resources={"metadata": {"path": tmp_path}})
    client.execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    shown = [output["data"] for output in outputs if "data" in output]
    assert sum(data.get("text/html", "").count("<img") for data in shown) >= 6
    assert any("image/png" in data for data in shown)  # a preview
    assert not any(output["output_type"] == "error" for output in outputs)


@pytest.fixture
def rgb() -> np.ndarray:
    return np.array(Image.open(ROOT / "examples" / "cup.png").convert("RGB").resize((200, 200)))


def test_arrays_and_pictures_are_edited_as_files_are(
    rgb: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TEXT2LIVE_CACHE", str(tmp_path / "cache"))
    Image.fromarray(rgb).save("cup.png")
    results = [
        edit_image(given, "golden cup", output=f"out{i}", **QUICK)
        for i, given in enumerate(("cup.png", rgb, Image.fromarray(rgb)))
    ]
    layers = [read_picture(result.layer).color for result in results]
    assert np.array_equal(layers[0], layers[1]) and np.array_equal(layers[1], layers[2])
    again = edit_image(rgb, "golden cup", output="out1", **QUICK)
    assert again.record["figures"] == results[1].record["figures"]
    assert results[0].picture().size == (200, 200)
    assert results[0].layer_picture().mode == "RGBA"


def test_a_result_shows_itself_without_markup_of_others(tmp_path: Path) -> None:
    for name in ("composite.png", "layer.png"):
        Image.new("RGBA", (900, 30), (255, 0, 0, 100)).save(tmp_path / name)
    prompt = "<script>alert(1)</script>"
    record = {"prompts": {"target": prompt}, "figures": {"verdict": "good", "advice": []}}
    html = EditResult(tmp_path, False, record)._repr_html_()
    assert html.count("<img") == 2
    assert "<script>" not in html
    assert len(html) < 10_000


@pytest.mark.parametrize("shape", [(8, 9), (8, 9, 3), (8, 9, 4)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_what_is_given_is_kept_to_the_bit(
    tmp_path: Path, shape: tuple[int, ...], dtype: type
) -> None:
    samples = np.random.default_rng(0).integers(0, np.iinfo(dtype).max, (16, 20, *shape[2:]), dtype)
    path = as_path(samples, tmp_path)
    picture = read_picture(Path(path))
    color = samples[..., :3] if samples.ndim == 3 else np.repeat(samples[..., None], 3, axis=2)
    assert np.array_equal(picture.color, color)
    assert as_path(samples, tmp_path) == path


@pytest.mark.parametrize("given", [np.zeros((4, 4), float), np.zeros((4, 4, 2), np.uint8), 7])
def test_what_is_no_picture_is_refused(tmp_path: Path, given: Any) -> None:
    with pytest.raises(UsageError, match="array"):
        as_path(given, tmp_path)
