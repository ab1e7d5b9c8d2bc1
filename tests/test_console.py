"""The progress that the user sees, at any width and without a terminal."""

from __future__ import annotations

import io
import json

import pytest
from rich.console import Console

from tests.commands import one_line, run
from text2live_cli.cli.console import ConsoleProgress
from text2live_cli.cli.progress_line import Progress

TERMS = {"composition": 1.25, "screen": 0.5, "structure": 0.25, "sparsity": 0.01}
HALF = Progress("training", 60, 120, pace=0.8, figures=TERMS)


@pytest.mark.parametrize("width", [20, 40, 80, 120, 200])
def test_the_line_fits_and_tells_the_most_first(width: int) -> None:
    line = HALF.line(width)
    assert len(line) <= width
    assert line.startswith("training") and "60/120" in line
    assert ("0:48 left" in line) == (width >= 40)
    assert ("0.80 s a step" in line) == (width >= 80)
    assert ("objective 2.01" in line) == (width >= 80)
    assert ("━" in line) == (width >= 40)
    assert abs(line.count("━") - line.count("─")) <= 1  # half of the way


def test_all_terms_are_told_where_that_is_asked_for() -> None:
    line = HALF.line(120, verbose=True)
    assert "composition 1.25  screen 0.5  structure 0.25  sparsity 0.01" in line
    assert len(line) <= 120 and "objective" not in line
    assert "composition 1.25" in HALF.plain(verbose=True)


def test_a_plain_line_is_short() -> None:
    assert HALF.plain() == "training 60/120, 0.80 s a step, 0:48 left, objective 2.01"
    name = (
        "a stage with a name that is much longer than any that there is in the whole of the program"
    )
    assert len(Progress(name, 60, 120, pace=0.8, figures=TERMS).plain()) < 100


def test_bytes_and_stages_without_an_end() -> None:
    assert Progress("fetching", 12_300_000, 340_000_000, "byte").count == "12.3/340.0 MB"
    assert Progress("reading", 3, None).line(80) == "reading, 3"
    assert Progress("writing", 0, None).line(80) == "writing…"
    assert Progress("training", 0, 10, pace=400.0).remaining == "1:06:40 left"


def shown(progress: ConsoleProgress, terminal: bool, width: int = 80) -> io.StringIO:
    stream = io.StringIO()
    progress.console = Console(
        file=stream, force_terminal=terminal, color_system=None, width=width, highlight=False
    )
    return stream


@pytest.mark.parametrize("width", [40, 80, 120, 200])
def test_on_a_terminal_the_line_is_never_wrapped(width: int) -> None:
    with ConsoleProgress(style="bar") as progress:
        stream = shown(progress, True, width)
        progress.stage("training", 120)
        for step in (1, 2, 60):
            progress.advance(step, TERMS)
    drawn = stream.getvalue()
    assert "60/120" in drawn
    assert drawn.count("\x1b[1A") == 1  # of the end, where it is wiped out: a second line would add


def test_in_a_log_a_line_is_written_for_what_is_new() -> None:
    with ConsoleProgress(style="plain") as progress:
        stream = shown(progress, False)
        progress.stage("training", 100)
        for step in range(1, 101):  # all within a second
            progress.advance(step, TERMS)
    lines = stream.getvalue().splitlines()
    assert lines[0] == "training (100 steps)"
    assert len(lines) == 2 and lines[1].startswith("training 100/100, 0.00 s a step")


def test_programs_read_events() -> None:
    with ConsoleProgress(quiet=True, style="json") as progress:
        stream = shown(progress, False)
        progress.stage("training", 2)
        progress.advance(1, TERMS)
        progress.message("a word")
        progress.error("the end")
    events = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [event["event"] for event in events] == ["stage", "step", "message", "error"]
    assert events[0] == {"event": "stage", "stage": "training", "of": 2, "unit": "step"}
    assert events[1]["step"] == 1 and events[1]["of"] == 2
    assert events[1]["loss"] == pytest.approx(2.01) and events[1]["seconds"] >= 0


def test_no_other_style() -> None:
    result = run("edit-image", "cup.png", "golden cup", "--progress", "fast")
    assert result.exit_code == 2 and "must be one of auto, bar" in one_line(result)
