"""Forty bad invocations, drawn by a seed; `python -m tests.bad_invocations` makes all of them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="there is no fork")
def test_bad_invocations_are_refused_in_words_and_leave_nothing() -> None:
    command = [sys.executable, "-m", "tests.bad_invocations", "--count", "40", "--seed", "13"]
    root = Path(__file__).resolve().parents[1]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=540)
    assert "40 invocations, 0 with faults" in done.stdout, done.stdout + done.stderr
