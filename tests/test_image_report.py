"""Pages of pictures and of many results: what they hold, and that a real browser works them."""

from __future__ import annotations

import json
import os
import shutil
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from swatch_training.painter import paint_scene

from tests.browser import HOSTILE, Browser, Outline, assert_self_contained, open_browser
from tests.commands import StopAt, one_line, passed, run
from text2live_cli import edit_image, gallery, lift
from text2live_cli.media.picture_writing import write_picture
from text2live_cli.media.pictures import opened
from text2live_cli.report.image import VIEW_SIDE, view

QUICK: dict[str, Any] = {"clip": "swatch", "preset": "draft", "views": 1, "layout": "plain"}


@pytest.fixture(scope="module")
def edited(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with results: `good`, `stopped`, and a journal with a failed job."""
    folder = tmp_path_factory.mktemp("results")
    rgb, _ = paint_scene([("cup", "red")], "wooden table", 3, (96, 128))
    write_picture(folder / "cup.png", rgb)
    cup = folder / "cup.png"
    edit_image(cup, "golden cup", output=folder / "good", steps=4, save_every=2, **QUICK)
    stop = StopAt("training", 1)
    edit_image(cup, "icy cup", output=folder / "stopped", steps=4, progress=stop, **QUICK)
    rows = [
        {"job": "x", "state": "begun", "output": "x"},
        {"job": "x", "state": "failed", "output": "x", "prompt": HOSTILE, "error": "no cup there"},
        {"job": "good", "state": "failed", "output": "good", "error": "before it was good"},
        {"job": "g2", "state": "failed", "output": "good", "error": "once", "at": "2020-01-01"},
        {"job": "g3", "state": "failed", "output": "good", "error": "since", "at": "2100-01-01"},
    ]
    journal = "".join(json.dumps(row) + "\n" for row in rows) + '{"torn'
    (folder / "batch.jsonl").write_text(journal)
    return folder


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with open_browser() as one:
        yield one


# A picture


def test_a_large_picture_of_a_result_is_opened_without_a_word(tmp_path: Path) -> None:
    Image.new("1", (10_000, 9_000)).save(tmp_path / "large.png")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with opened(tmp_path / "large.png") as image:
            assert image.size == (10_000, 9_000)


def test_the_page_holds_before_after_layer_previews_curves_and_the_command(edited: Path) -> None:
    page = (edited / "good/report.html").read_text("utf-8")
    assert_self_contained(page)
    outline = Outline(page)
    alts = [picture["alt"] for picture in outline.all("img")]
    assert alts[:5] == ["Original", "Composite", "Edit layer", "Its alpha", "Region"]
    assert alts[-2:] == ["Step 2", "Step 4"] and None not in alts
    record = json.loads((edited / "good/run.json").read_text())
    assert record["command_line"] in outline.text("code")
    assert outline.text("h1") == ["cup.png: golden cup"]
    assert {"Prompts", "Figures", "Settings", "Run"} <= set(outline.text("h2"))
    lines = outline.all("polyline")
    assert len(lines) > 5 and len((lines[0]["points"] or "").split()) == 4
    assert len(page) < 3e6


def test_an_interrupted_edit_says_so(edited: Path) -> None:
    page = (edited / "stopped/report.html").read_text("utf-8")
    assert "Stopped after 1 of 4 steps" in page and "--resume" in page


def test_the_same_edit_has_the_same_page_but_for_times(edited: Path) -> None:
    again = edit_image(
        edited / "cup.png", "golden cup", output=edited / "again", steps=4, save_every=2, **QUICK
    )
    pages = [
        (folder / "report.html").read_text("utf-8") for folder in (edited / "good", again.folder)
    ]
    sources = [[picture["src"] for picture in Outline(page).all("img")] for page in pages]
    assert sources[0] == sources[1]
    shutil.rmtree(again.folder)


def test_large_pictures_are_shown_small() -> None:
    assert view(np.zeros((2400, 3600, 4), np.uint8)).shape == (800, VIEW_SIDE, 4)
    assert view(np.zeros((1, 9000), np.uint8)).shape == (1, VIEW_SIDE)


def fetched(browser: Browser) -> list[str]:
    """What the page asked for beside what is in it."""
    return [url for url in browser.requests if not url.startswith("data:")]


def clipped(browser: Browser) -> float:
    script = "getComputedStyle(document.querySelectorAll('.stage figure')[1]).clipPath"
    text = str(browser.run(script))
    return float(text.split()[-1].rstrip("%)"))


def test_the_slider_moves_by_mouse_and_by_key(edited: Path, browser: Browser) -> None:
    browser.show_as(1280, 900, "light")
    browser.open(edited / "good/report.html")
    assert fetched(browser) == [(edited / "good/report.html").as_uri()]
    box = "document.querySelector('.stage').getBoundingClientRect()"
    left, top, width, height = browser.run(f"((b) => [b.x, b.y, b.width, b.height])({box})")
    middle = top + height / 2
    browser.drag((left + width / 2, middle), (left + width / 4, middle))
    assert clipped(browser) == pytest.approx(25, abs=1)
    browser.press("End")
    assert clipped(browser) == 100
    browser.press("Home", "ArrowRight")
    assert 0 < clipped(browser) < 5
    assert browser.complaints == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_fits_a_phone(edited: Path, browser: Browser, scheme: str) -> None:
    browser.show_as(360, 700, scheme)
    browser.open(edited / "good/report.html")
    assert browser.run("document.documentElement.scrollWidth") <= 360
    corner = browser.screenshot()[3, 3].astype(int)
    assert (corner > 200).all() if scheme == "light" else (corner < 60).all()


# Many results


def test_the_gallery_shows_all_results_and_what_failed(edited: Path) -> None:
    damaged = edited / "damaged"
    damaged.mkdir(exist_ok=True)
    (damaged / "run.json").write_text('{"command": 7, "input": []}')
    result = passed(run("report", edited, "--json"))
    assert json.loads(result.stdout)["counts"] == {
        "damaged": 1,
        "done": 1,
        "failed": 2,
        "interrupted": 1,
    }
    page = (edited / "gallery.html").read_text("utf-8")
    outline = Outline(page)
    assert {link["href"] for link in outline.all("a")} == {
        *("good/report.html", "stopped/report.html", "damaged", "batch.jsonl")
    }
    assert "no cup there" in page and "<script>alert" not in page and "before it" not in page
    assert "once" not in page and "since" in page
    passed(run("report", edited))  # over the former one
    shutil.rmtree(damaged)


def test_the_gallery_filters_and_sorts(edited: Path, browser: Browser) -> None:
    page = gallery([edited], overwrite=True).page
    browser.show_as(1280, 900, "dark")
    browser.open(page)
    assert fetched(browser) == [page.as_uri()] and browser.complaints == []
    shown = "[...document.querySelectorAll('.card:not([hidden])')]"
    names = f"{shown}.map((card) => card.dataset.name)"

    def chosen(name: str, value: str) -> Any:
        place = f"document.querySelector('.filters .{name}')"
        browser.run(f"{place}.value = {value!r}; {place}.dispatchEvent(new Event('input'))")
        return browser.run(names)

    assert set(browser.run(names)) == {"good", "stopped", "g3", "x"}
    assert chosen("find", "ICY") == ["stopped"]
    assert browser.run("document.querySelector('.count').value") == "1 of 4"
    assert chosen("find", "") and chosen("state", "failed") == ["g3", "x"]
    assert set(chosen("state", "")) == {"good", "stopped", "g3", "x"}
    assert chosen("sort", "name") == ["g3", "good", "stopped", "x"]
    assert set(chosen("sort", "score")[-2:]) == {"g3", "x"}
    assert chosen("input", "cup.png") and not {"g3", "x"} & {*browser.run(names)}
    browser.show_as(360, 700, "light")
    assert browser.run("document.documentElement.scrollWidth") <= 360
    assert browser.complaints == []


def test_lifts_and_records_of_other_kinds_are_shown(edited: Path, tmp_path: Path) -> None:
    lift(edited / "cup.png", edited / "good/composite.png", output=tmp_path / "lifted")
    odd = {"command": "edit-image", "input": {"path": "a"}, "figures": [], "prompts": 7}
    for number, more in enumerate(({}, {"seconds": {"a": []}}, {"seconds": "x"}, {"seconds": 3})):
        (tmp_path / str(number)).mkdir()
        (tmp_path / str(number) / "run.json").write_text(json.dumps({**odd, **more}))
    assert gallery([tmp_path]).counts == {"damaged": 2, "done": 3}


def test_what_is_no_gallery_is_not_replaced(edited: Path, tmp_path: Path) -> None:
    other = tmp_path / "mine.html"
    other.write_text("mine")
    result = run("report", edited, "-o", other)
    assert result.exit_code == 2 and "is no gallery" in one_line(result)
    assert other.read_text() == "mine"
    passed(run("report", edited, "-o", other, "--overwrite"))
    link = os.path.relpath(edited / "good/report.html", tmp_path)
    assert f'href="{link}"' in other.read_text("utf-8")
    assert "holds no results" in one_line(run("report", tmp_path))
    assert "is no folder" in one_line(run("report", tmp_path / "none"))


def test_pictures_that_cannot_be_read_are_left_out(edited: Path, tmp_path: Path) -> None:
    shutil.copytree(edited / "good", tmp_path / "a")
    for name in ("previews/latest.png", "composite.png"):
        (tmp_path / "a" / name).write_bytes(b"\x89PNG\r\n\x1a\nnothing")
    page = gallery([tmp_path]).page.read_text("utf-8")
    assert Outline(page).all("img") == []
    Image.new("RGB", (4, 4)).save(tmp_path / "a/composite.png")
    assert len(Outline(gallery([tmp_path]).page.read_text("utf-8")).all("img")) == 1
