"""The report of a video edit: its structure, and that a real browser wipes and plays it."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from swatch_training.moving import paint_clip

from tests.browser import (
    HOSTILE,
    SEEKED,
    TIMES,
    Browser,
    Outline,
    assert_self_contained,
    open_browser,
    png,
)
from text2live_cli.media.clip_writing import webm_bytes
from text2live_cli.report.video import VideoReport, video_report_html

FRAMES = 12
FIRST = 40
RATE = Fraction(24)
GREEN = np.array((0, 177, 64), np.uint8)
RED, BLUE = (200, 20, 20), (20, 20, 200)


@pytest.fixture(scope="module")
def report() -> VideoReport:
    frames, masks = paint_clip("ball", "red", frames=FRAMES, size=(96, 160))
    inside = masks[..., np.newaxis] > 0.5
    edited = np.where(inside, frames[..., ::-1], frames).astype(np.uint8)
    atlas = np.dstack([frames[0], masks[0] * np.uint8(255)])
    return VideoReport(
        title="ball.mp4: blue ball",
        summary=("The foreground atlas was edited in 300 steps.", "The sound is kept."),
        original=webm_bytes(frames, RATE),
        composite=webm_bytes(edited, RATE),
        screen=webm_bytes(np.where(inside, edited, GREEN).astype(np.uint8), RATE),
        atlas=(atlas, atlas[..., [2, 1, 0, 3]]),
        figures=(("similarity to the text", "0.31"), ("unchanged", "93.1 %")),
        settings={"steps": 300, "preset": "draft", "onto": None},
        prompts=(("target", "blue ball"), ("in the picture now", "ball")),
        warnings=("Frames 52–80 are outside the atlas: see --frames.",),
        first_frame=FIRST,
    )


def flat(report: VideoReport) -> VideoReport:
    """The report of an original that is red all over, and a composite that is blue."""
    original, composite = (
        webm_bytes(np.full((FRAMES, 96, 160, 3), color, np.uint8), RATE) for color in (RED, BLUE)
    )
    return replace(report, original=original, composite=composite)


# Structure


def test_the_page_holds_all_that_the_report_says(report: VideoReport) -> None:
    page = video_report_html(report)
    outline = Outline(page)
    assert outline.text("title")[0] == outline.text("h1")[0] == "ball.mp4: blue ball"
    films = outline.all("video")
    assert [film["aria-label"] for film in films] == [
        "Original",
        "Composite",
        "Edit layer over green",
    ]
    for film, data in zip(films, (report.original, report.composite, report.screen), strict=True):
        assert film["src"] == "data:video/webm;base64," + base64.b64encode(data).decode()
        assert "muted" in film and "playsinline" in film
    before, after = outline.all("img")
    assert (before["alt"], after["alt"]) == ("Atlas before", "Atlas after")
    assert report.atlas is not None
    np.testing.assert_array_equal(png(before["src"]), report.atlas[0])
    np.testing.assert_array_equal(png(after["src"]), report.atlas[1])
    cells = list(zip(outline.text("th"), outline.text("td"), strict=True))
    settings = [("steps", "300"), ("preset", "draft"), ("onto", "–")]
    assert cells == [*report.prompts, *report.figures, *settings]
    assert page.index("in 300 steps.") < page.index("Warnings") < page.index("<video")
    assert "see <code>--frames</code>." in page
    slider, scrubber = outline.all("input")
    assert slider["type"] == scrubber["type"] == "range"
    assert slider["aria-label"] and scrubber["aria-label"]
    assert scrubber["max"] == str(FRAMES - 1)


def test_what_there_is_not_has_no_heading(report: VideoReport) -> None:
    page = video_report_html(replace(report, warnings=(), prompts=()))
    assert Outline(page).text("h2") == [
        "Frame by frame",
        "Edit layer",
        "Atlas",
        "Figures",
        "Settings",
    ]


def test_the_page_is_self_contained(report: VideoReport) -> None:
    assert_self_contained(video_report_html(report))


def test_hostile_texts_stay_texts(report: VideoReport) -> None:
    hostile = replace(
        report,
        title=HOSTILE,
        summary=(HOSTILE, HOSTILE),
        figures=((HOSTILE, HOSTILE),),
        prompts=((HOSTILE, HOSTILE),),
        warnings=(HOSTILE,),
        settings={HOSTILE: [Path(HOSTILE), {HOSTILE: HOSTILE}]},
    )
    plain, outline = Outline(video_report_html(report)), Outline(video_report_html(hostile))
    assert {tag for tag, _ in outline.tags} <= {tag for tag, _ in plain.tags}
    assert len(outline.all("script")) == 1 and len(outline.all("img")) == 2
    assert outline.text("h1") == outline.text("title")[:1] == [HOSTILE]
    assert_self_contained(video_report_html(hostile))


def test_films_of_different_lengths_are_refused(report: VideoReport) -> None:
    frames, _ = paint_clip("ball", "red", frames=FRAMES - 1, size=(96, 160))
    with pytest.raises(ValueError, match="films of 12, 12 and 11 frames"):
        video_report_html(replace(report, screen=webm_bytes(frames, RATE)))


# In a browser


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with open_browser() as browser:
        yield browser


def show(browser: Browser, report: VideoReport, folder: Path) -> None:
    """Open a report and wait until its films are there."""
    path = folder / "report #1 50%.html"
    path.write_text(video_report_html(report), "utf-8")
    browser.open(path)
    assert browser.run("document.documentElement.dataset.shown") == "ready"


def stage(browser: Browser) -> tuple[float, float, float, float]:
    """Where the films under the slider are in the window: left, top, width, height."""
    browser.run("document.querySelector('.stage').scrollIntoView({block: 'center'})")
    return tuple(
        browser.run(
            "(({left, top, width, height}) => [left, top, width, height])"
            "(document.querySelector('.stage').getBoundingClientRect())"
        )
    )


def clipped(browser: Browser) -> float:
    """Percentage of the composite that is cut off, from the left."""
    path = browser.run("getComputedStyle(document.querySelectorAll('.stage .film')[1]).clipPath")
    assert path.startswith("inset(0px 0px 0px ") and path.endswith("%)"), path
    return float(path.split()[-1][:-2])


def seen(browser: Browser) -> float:
    """Percentage of the stage that shows red, the original, along a line at two thirds of its
    height; right of it there must be blue only."""
    left, top, width, height = stage(browser)
    y = round(top + 0.67 * height)
    pixels = browser.screenshot()[y, round(left) : round(left + width)].astype(int)
    red = pixels[:, 0] > pixels[:, 2] + 90
    blue = pixels[:, 2] > pixels[:, 0] + 90
    share = red.sum() / len(pixels)
    assert red[: red.sum()].all() and blue[red.sum() + 6 :].all()
    return 100 * share


def test_a_browser_plays_all_films_in_step_and_has_nothing_to_complain_about(
    report: VideoReport, browser: Browser, tmp_path: Path
) -> None:
    show(browser, replace(report, title=HOSTILE), tmp_path)
    sizes = browser.run(
        "[...document.querySelectorAll('video, img')]"
        ".map((shown) => [shown.videoWidth || shown.naturalWidth, shown.clientWidth > 0])"
    )
    assert sizes == [[160, True]] * 5
    assert browser.run("[...document.querySelectorAll('video')].every((film) => film.muted)")
    browser.wait_for("document.querySelector('.scrubber').value > 3")  # it plays by itself
    browser.wait_for("document.querySelector('.scrubber').value < 3")  # and begins again
    browser.wait_for(
        "document.querySelector('.scrubber').value > 6 && "
        f"Math.max(...{TIMES}) - Math.min(...{TIMES}) < {1 / float(RATE)}"
    )
    assert all(not url.startswith(("http", "ws")) for url in browser.requests)
    assert browser.complaints == []


def test_the_original_and_the_composite_lie_upon_each_other(
    report: VideoReport, browser: Browser, tmp_path: Path
) -> None:
    show(browser, report, tmp_path)
    place = stage(browser)
    boxes = browser.run(
        "[...document.querySelectorAll('.stage video')].map((film) => film.getBoundingClientRect())"
        ".map(({left, top, width, height}) => [left, top, width, height])"
    )
    assert boxes[0] == boxes[1] == pytest.approx(place)
    assert boxes[0][2] / boxes[0][3] == pytest.approx(160 / 96, rel=0.01)


def test_the_slider_wipes_between_them_by_mouse_and_by_keys(
    report: VideoReport, browser: Browser, tmp_path: Path
) -> None:
    browser.show_as(900, 800, "light")
    show(browser, flat(report), tmp_path)
    assert clipped(browser) == 50
    assert seen(browser) == pytest.approx(50, abs=1)

    left, top, width, height = stage(browser)
    browser.drag((left + 0.5 * width, top + 0.3 * height), (left + 0.2 * width, top + 0.5 * height))
    assert clipped(browser) == pytest.approx(20, abs=0.5)
    assert seen(browser) == pytest.approx(20, abs=1)

    assert browser.run("document.activeElement.className") == "wipe"
    browser.press("ArrowRight", "ArrowRight", "ArrowRight")
    assert clipped(browser) == pytest.approx(23, abs=0.5)
    text = browser.run("document.querySelector('.wipe').getAttribute('aria-valuetext')")
    assert text == "23 % original"
    browser.press("End")
    assert clipped(browser) == 100 and seen(browser) == pytest.approx(100, abs=1)
    browser.press("Home")
    assert clipped(browser) == 0 and seen(browser) == pytest.approx(0, abs=1)
    assert browser.complaints == []


def test_the_scrubber_moves_all_films_to_a_frame(
    report: VideoReport, browser: Browser, tmp_path: Path
) -> None:
    show(browser, report, tmp_path)
    browser.run("document.querySelector('.play').click()")
    assert browser.run("document.querySelector('.play').textContent") == "Play"
    browser.run("document.querySelector('.scrubber').focus()")
    browser.press("Home", "ArrowRight", "ArrowRight")
    browser.wait_for(SEEKED)
    np.testing.assert_allclose(browser.run(TIMES), 2.5 / float(RATE), atol=2e-3)
    assert browser.run("document.querySelector('.readout').textContent") == f"frame {FIRST + 2}"
    browser.run("document.querySelector('.play').click()")
    browser.wait_for("document.querySelector('.scrubber').value > 4")
    browser.wait_for("document.querySelector('.scrubber').value < 4")  # over the end, and on
    assert browser.run("document.querySelector('.play').textContent") == "Pause"
    assert browser.complaints == []


def test_films_that_cannot_be_shown_are_said_to_be_so_and_stay_side_by_side(
    report: VideoReport, browser: Browser, tmp_path: Path
) -> None:
    path = tmp_path / "report.html"
    page = video_report_html(report)
    screen = base64.b64encode(report.screen).decode()
    path.write_text(page.replace(screen, base64.b64encode(b"no film").decode()), "utf-8")
    browser.open(path)
    assert browser.run("document.documentElement.dataset.shown") == "failed"
    assert browser.run("document.querySelector('.failed').checkVisibility()")
    assert not browser.run("document.querySelector('.wipe').checkVisibility()")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [320, 1280])
def test_the_page_fits_the_window(
    report: VideoReport, browser: Browser, tmp_path: Path, width: int, scheme: str
) -> None:
    browser.show_as(width, 800, scheme)
    upright, _ = paint_clip("ball", "red", frames=FRAMES, size=(160, 96))
    film = webm_bytes(upright, RATE)
    long = replace(report, title="x" * 300, original=film, composite=film, screen=film)
    show(browser, long, tmp_path)
    assert browser.run("document.documentElement.scrollWidth") <= width
    _, _, across, down = stage(browser)
    assert down < 800 and across / down == pytest.approx(96 / 160, rel=0.02)
