"""The report of a fit: its structure, its curve, and that a real browser shows it."""

from __future__ import annotations

import base64
import os
import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
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
from text2live_cli.report.atlas import Report, report_html
from text2live_cli.report.page import MAX_PICTURE_SIDE

FRAMES = 12
RATE = Fraction(24)


@pytest.fixture(scope="module")
def report() -> Report:
    frames, masks = paint_clip("ball", "red", frames=FRAMES, size=(96, 160))
    blurred = (frames // 2 + np.roll(frames, 1, axis=2) // 2).astype(np.uint8)
    error = np.abs(frames.astype(int) - blurred).astype(np.uint8)
    atlas = np.dstack([frames[0], masks[0] * np.uint8(255)])
    return Report(
        title="ball.mp4",
        verdict=("Good: 33.1 dB on average.", "No map is folded."),
        advice=("Frames 41–70 leave the atlas: use --frames 0:40.",),
        figures=(("PSNR, mean", "33.1 dB"), ("folded", "0.3 %")),
        psnr=tuple(33 + np.sin(np.arange(FRAMES))),
        frame_numbers=tuple(range(5, 5 + 3 * FRAMES, 3)),
        atlases=(("Foreground", atlas), ("Background", atlas)),
        clips=(
            ("Original", webm_bytes(frames, RATE)),
            ("Reconstruction", webm_bytes(blurred, RATE)),
            ("Error", webm_bytes(error, RATE)),
        ),
        checkerboard=webm_bytes(255 - frames, RATE),
        settings={"model": "grid", "steps": 1600, "rigidity": 0.005, "box": None, "coarse": True},
    )


def plot(page: str) -> ET.Element:
    return ET.fromstring(page[page.index('<svg class="plot"') : page.rindex("</svg>") + 6])


def number(value: str | None) -> float:
    assert value is not None
    return float(value.removesuffix("%"))


def marks(drawing: ET.Element) -> list[ET.Element]:
    """What stands for each frame."""
    return [group for group in drawing.iter("g") if group.get("data-index")]


# Structure


def test_the_page_holds_all_that_the_report_says(report: Report) -> None:
    outline = Outline(report_html(report))
    assert outline.text("title")[0] == outline.text("h1")[0] == "ball.mp4"
    films = outline.all("video")
    assert [film["aria-label"] for film in films] == [
        "Original",
        "Reconstruction",
        "Error",
        "Checkerboard",
    ]
    for film, data in zip(films, [clip for _, clip in report.clips], strict=False):
        assert film["src"] == "data:video/webm;base64," + base64.b64encode(data).decode()
        assert "muted" in film and "playsinline" in film
    pictures = outline.all("img")
    assert [picture["alt"] for picture in pictures] == ["Foreground", "Background"]
    np.testing.assert_array_equal(png(pictures[0]["src"]), report.atlases[0][1])
    cells = list(zip(outline.text("th"), outline.text("td"), strict=True))
    assert cells == [
        *report.figures,
        ("model", "grid"),
        ("steps", "1600"),
        ("rigidity", "0.005"),
        ("box", "–"),
        ("coarse", "yes"),
    ]
    page = report_html(report)
    assert page.index("Good: 33.1 dB") < page.index("What to do") < page.index("<video")
    assert "use <code>--frames</code> 0:40." in page
    assert "What to do" not in report_html(replace(report, advice=()))


def test_nothing_is_fetched_and_only_our_own_style_and_script_may_run(report: Report) -> None:
    assert_self_contained(report_html(report))


def test_hostile_texts_stay_texts(report: Report) -> None:
    hostile = replace(
        report,
        title=HOSTILE,
        verdict=(HOSTILE, HOSTILE),
        advice=(HOSTILE,),
        figures=((HOSTILE, HOSTILE),),
        atlases=tuple((HOSTILE, atlas) for _, atlas in report.atlases),
        clips=tuple((HOSTILE, clip) for _, clip in report.clips),
        settings={HOSTILE: [Path(HOSTILE), {HOSTILE: HOSTILE}]},
    )
    plain, outline = Outline(report_html(report)), Outline(report_html(hostile))
    assert {tag for tag, _ in outline.tags} <= {tag for tag, _ in plain.tags}
    assert len(outline.all("script")) == 1 and len(outline.all("img")) == 2
    assert outline.text("h1") == outline.text("title")[:1] == [HOSTILE]
    assert outline.all("img")[0]["alt"] == outline.all("video")[0]["aria-label"] == HOSTILE


def test_names_that_are_no_text_or_feign_another_are_shown_as_such(report: Report) -> None:
    title = os.fsdecode(b"caf\xe9") + "\x00\x1b\u202e4pm.mp4"
    page = report_html(replace(report, title=title))
    assert page.encode("utf-8")
    assert Outline(page).text("h1") == ["caf" + 4 * "\ufffd" + "4pm.mp4"]


def test_templates_in_texts_are_not_filled_in(report: Report) -> None:
    outline = Outline(report_html(replace(report, title="$script ${style} $$.mp4")))
    assert outline.text("h1") == ["$script ${style} $$.mp4"]


def test_large_atlases_are_shrunk_without_the_colours_of_uncovered_pixels(report: Report) -> None:
    atlas = np.zeros((900, 3200, 4), np.uint8)
    atlas[..., 0] = 255  # red where nothing is covered
    atlas[:, 1001:] = (0, 200, 0, 255)
    page = report_html(replace(report, atlases=(("Background", atlas),)))
    (picture,) = Outline(page).all("img")
    shown = png(picture["src"])
    assert shown.shape == (450, MAX_PICTURE_SIDE, 4)
    assert (picture["width"], picture["height"]) == ("1600", "450")
    assert "3200×900 pixels, shown at 1600×450" in page
    assert shown[shown[..., 3] > 8][:, 0].max() <= 2
    assert (shown[:, 600:] == (0, 200, 0, 255)).all()


def test_one_atlas_and_one_frame_are_a_report_too(report: Report) -> None:
    short = replace(report, psnr=(30.0,), frame_numbers=(7,), atlases=report.atlases[1:])
    page = report_html(short)
    assert len(Outline(page).all("img")) == 1
    (dot,) = plot(page).iter("circle")
    assert number(dot.get("cx")) == 50
    with pytest.raises(ValueError, match="1 values for 2 frames"):
        replace(short, frame_numbers=(1, 2))
    with pytest.raises(ValueError, match="0 values"):
        replace(short, psnr=(), frame_numbers=())


# The curve


def measured(drawing: ET.Element) -> tuple[list[float], list[float]]:
    """The frame numbers and PSNR that the dots stand for, read off with the lines of the grid."""
    place = next(svg for svg in drawing.iter("svg") if svg.get("x"))
    left, top, width, height = (number(place.get(k)) for k in ("x", "y", "width", "height"))
    dots = [(number(dot.get("cx")), number(dot.get("cy"))) for dot in drawing.iter("circle")]
    values = []
    for name, axis, start, length in (("x", 0, left, width), ("y", 1, top, height)):
        ticks = [g for g in drawing.iter("g") if (g.get("id") or "").startswith(f"{name}tick")]
        at = [float(re.findall(r"[\d.]+", tick.find(".//path").get("d"))[axis]) for tick in ticks]
        labels = [float(tick.find(".//text").text.replace("\N{MINUS SIGN}", "-")) for tick in ticks]
        scale = np.polyfit(at, labels, 1) if len(at) > 1 else None
        places = [start + length * dot[axis] / 100 for dot in dots]
        values.append([] if scale is None else list(np.polyval(scale, places)))
    return values[0], values[1]


@settings(max_examples=40, deadline=None)
@given(
    psnr=st.lists(st.floats(0, 70), min_size=2, max_size=40),
    first=st.integers(0, 5000),
    every=st.integers(1, 9),
)
def test_the_curve_read_off_its_axes_gives_the_values_back(
    psnr: list[float], first: int, every: int
) -> None:
    numbers = tuple(range(first, first + every * len(psnr), every))
    bare = Report("", (), (), (), tuple(psnr), numbers, (), (), b"", {})
    drawing = plot(report_html(bare))
    read_numbers, read_psnr = measured(drawing)
    span = max(max(psnr) - min(psnr), 1)
    np.testing.assert_allclose(read_psnr, psnr, atol=2e-3 * span)
    if read_numbers:
        np.testing.assert_allclose(read_numbers, numbers, atol=2e-3 * (numbers[-1] - first))
    assert [title.text for title in drawing.iter("title")] == [
        f"frame {number}: {value:.2f} dB" for number, value in zip(numbers, psnr, strict=True)
    ]
    strips = [mark.find("rect") for mark in marks(drawing)]
    places = [(number(strip.get("x")), number(strip.get("width"))) for strip in strips]
    assert sum(width for _, width in places) == pytest.approx(100, abs=0.1)
    for (left, width), dot in zip(places, drawing.iter("circle"), strict=True):
        assert left - 0.01 <= number(dot.get("cx")) <= left + width + 0.01
        assert 0 <= number(dot.get("cy")) <= 100


def test_the_line_goes_through_the_dots(report: Report) -> None:
    drawing = plot(report_html(report))
    (line,) = (path for path in drawing.iter("path") if path.get("stroke") == "#1f5fa8")
    corners = np.array(re.findall(r"[ML] ([\d.]+) ([\d.]+)", line.get("d") or ""), float)
    place = next(svg for svg in drawing.iter("svg") if svg.get("x"))
    left, top, width, height = (number(place.get(k)) for k in ("x", "y", "width", "height"))
    dots = [(number(dot.get("cx")), number(dot.get("cy"))) for dot in drawing.iter("circle")]
    expected = np.array(dots) / 100 * (width, height) + (left, top)
    np.testing.assert_allclose(corners, expected, atol=0.01)


def test_the_same_report_is_the_same_page(report: Report) -> None:
    page = report_html(report)
    assert report_html(replace(report)) == page
    assert "matplotlib.org" not in page and "dc:date" not in page


def test_the_worst_frame_is_marked_and_named(report: Report) -> None:
    page = report_html(replace(report, psnr=(33.0,) * 7 + (21.5,) + (33.0,) * 4))
    (worst,) = (mark for mark in marks(plot(page)) if mark.get("class") == "worst")
    assert worst.get("data-index") == "7"
    assert "mean 32.04 dB, worst 21.50 dB at frame 26." in page


def test_frames_without_error_lie_on_top(report: Report) -> None:
    values = (float("inf"), *report.psnr[1:])
    drawing = plot(report_html(replace(report, psnr=values)))
    assert number(next(drawing.iter("circle")).get("cy")) == 0
    assert next(title.text for title in drawing.iter("title")) == "frame 5: exact"
    exact = plot(report_html(replace(report, psnr=(float("inf"),) * FRAMES)))
    assert "nan" not in ET.tostring(exact, "unicode") and "inf" not in ET.tostring(exact, "unicode")


# In a browser


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with open_browser() as browser:
        yield browser


def test_a_browser_plays_all_films_in_step_and_has_nothing_to_complain_about(
    report: Report, browser: Browser, tmp_path: Path
) -> None:
    path = tmp_path / "report #1 50%.html"
    path.write_text(report_html(replace(report, title=HOSTILE)), "utf-8")
    browser.open(path)
    assert browser.run("document.documentElement.dataset.shown") == "ready"
    assert browser.run("document.title").split() == HOSTILE.split()
    sizes = browser.run(
        "[...document.querySelectorAll('video, img')]"
        ".map((shown) => [shown.videoWidth || shown.naturalWidth, shown.clientWidth > 0])"
    )
    assert sizes == [[160, True]] * 6
    assert browser.run("getComputedStyle(document.querySelector('.films')).display") == "grid"
    browser.wait_for("document.querySelector('.scrubber').value > 3")  # it plays by itself
    browser.wait_for("document.querySelector('.scrubber').value < 3")  # and begins again
    browser.wait_for(
        "document.querySelector('.scrubber').value > 6 && "
        f"Math.max(...{TIMES}) - Math.min(...{TIMES}) < {1 / float(RATE)}"
    )
    assert all(not url.startswith(("http", "ws")) for url in browser.requests)
    assert browser.complaints == []


def test_the_slider_and_the_curve_move_all_films_to_a_frame(
    report: Report, browser: Browser, tmp_path: Path
) -> None:
    path = tmp_path / "report.html"
    path.write_text(report_html(report), "utf-8")
    browser.open(path)
    browser.run("document.querySelector('.play').click()")
    browser.run("document.querySelector('.scrubber').focus()")
    browser.press("Home", "ArrowRight", "ArrowRight")
    browser.wait_for(SEEKED)
    np.testing.assert_allclose(browser.run(TIMES), 2.5 / float(RATE), atol=2e-3)
    words = f"frame 11: {report.psnr[2]:.2f} dB"
    assert browser.run("document.querySelector('.readout').textContent") == words
    assert browser.run("document.querySelector('.play').textContent") == "Play"

    click = "document.querySelector('[data-index=\"9\"]').dispatchEvent(new MouseEvent('click'))"
    browser.run(click)
    browser.wait_for(SEEKED)
    np.testing.assert_allclose(browser.run(TIMES), 9.5 / float(RATE), atol=2e-3)
    browser.run("document.querySelector('.play').click()")
    browser.wait_for("document.querySelector('.scrubber').value < 5")  # over the end, and on
    assert browser.run("document.querySelector('.play').textContent") == "Pause"
    assert browser.complaints == []


def test_a_film_that_cannot_be_shown_is_said_to_be_so(
    report: Report, browser: Browser, tmp_path: Path
) -> None:
    path = tmp_path / "report.html"
    path.write_text(report_html(replace(report, checkerboard=b"no film")), "utf-8")
    browser.open(path)
    assert browser.run("document.documentElement.dataset.shown") == "failed"
    assert browser.run("document.querySelector('.failed').checkVisibility()")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [320, 1280])
def test_the_page_fits_the_window_and_is_legible(
    report: Report, browser: Browser, tmp_path: Path, width: int, scheme: str
) -> None:
    path = tmp_path / "report.html"
    path.write_text(report_html(replace(report, title="x" * 300)), "utf-8")
    browser.show_as(width, 800, scheme)
    browser.open(path)
    assert browser.run("document.documentElement.scrollWidth") <= width
    page, text = (
        sum(map(int, re.findall(r"\d+", browser.run(f"getComputedStyle(document.body).{name}"))))
        for name in ("backgroundColor", "color")
    )
    assert (page > 600 and text < 150) if scheme == "light" else (page < 150 and text > 600)
