"""`batch --engine ray`, with a real Ray that is started here."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from tests.commands import one_line, passed
from tests.test_batch import here, lines_of, product, started, states, wait_for  # noqa: F401

ray = pytest.importorskip("ray", reason="the extra `ray` is not installed")


def tasks() -> list[int]:
    """The processes of Ray that are at an edit."""
    listed = subprocess.run(["pgrep", "-f", "^ray::_run_task"], stdout=subprocess.PIPE)
    return [int(word) for word in listed.stdout.split()]


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="signals as POSIX has them")
def test_every_job_is_done_once_though_a_worker_is_killed(here: Path) -> None:  # noqa: F811
    batch = started("--steps", 12, "--jobs", 2, "--engine", "ray", "--checkpoint-every", 0.1)
    checkpoint = Path("batch/cup0.golden-cup.0/checkpoint.safetensors")
    wait_for(checkpoint.exists)
    at_work = tasks()
    assert len(at_work) == 2
    os.kill(at_work[0], signal.SIGKILL)
    _, told = batch.communicate(timeout=240)
    assert batch.returncode == 0, told
    names = [f"cup{n}.golden-cup.0" for n in range(3)]
    assert lines_of("done") == names and lines_of("failed") == []
    assert all(Path("batch", name, "layer.png").is_file() for name in names)
    again = passed(product("--steps", 12, "--engine", "ray"))
    assert "0 to run, 3 done already" in again.stderr
    assert set(states().values()) == {"done"}


def test_a_cluster_that_does_not_answer_is_told_soon(here: Path) -> None:  # noqa: F811
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # nobody listens
        begin = time.monotonic()
        address = f"ray://127.0.0.1:{taken.getsockname()[1]}"
        result: Any = product("--engine", "ray", "--address", address)
    assert result.exit_code == 1 and "no Ray cluster answers there" in one_line(result)
    assert time.monotonic() - begin < 10
