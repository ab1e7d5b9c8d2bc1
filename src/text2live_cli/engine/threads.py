"""How many threads a run computes with on a CPU: as many as the machine really gives.

Threads wait for each other many times a step: where another program holds one of their cores, two
may be several times slower than one. Sums come in another order with another number, and so other
last bits: a run keeps the number that it began with, in its checkpoint and its record.
"""

from __future__ import annotations

import math
import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import torch

from ..progress import Progress
from .generator import Generator

ASKED_BY = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
"""Variables of the environment by which a number is asked for."""
_CLEARLY = 0.75  # share of the time that half as many must stay under: a quiet machine keeps all
_SIZES = ((136, 200), (152, 179), (168, 162))  # of the pictures that are measured with
_SECONDS, _ROUNDS = 0.1, 2  # of measuring each number, at the least; by turns
_CGROUP = Path("/sys/fs/cgroup/cpu.max")  # what a container may use


def choose_threads(channels: int, progress: Progress) -> int:
    """The number for a generator of so many `channels` on the CPU, measured now.

    Not where the environment asks for a number, nor beside other runs of the process, which would
    be measured along.
    """
    most = _given()
    asked = next((name for name in ASKED_BY if os.environ.get(name)), None)
    if most < 2 or asked or threading.current_thread() is not threading.main_thread():
        return most
    progress.stage("measuring how many threads the machine gives")
    step = _small_step(channels)
    number, seconds = most, {}
    while number > 1:
        half = number // 2
        seconds.update(_measured(step, (number, half)))
        if seconds[half] >= _CLEARLY * seconds[number]:
            break
        number = half
    times = ", ".join(f"{n}: {1000 * value:.0f} ms" for n, value in seconds.items())
    words = "1 thread" if number == 1 else f"{number} threads"
    progress.message(f"{words} (a small step with {times}; --threads N changes it)")
    return number


def _given() -> int:
    """Threads that torch would take, but no more than a container may use."""
    most = torch.get_num_threads()
    with suppress(OSError, ValueError):
        quota, period = _CGROUP.read_text("ascii").split()
        most = min(most, max(1, math.ceil(int(quota) / int(period))))
    return most


def _measured(step: Callable[[], None], numbers: tuple[int, ...]) -> dict[int, float]:
    """Mean seconds of a step with each number of threads, by turns, since the load may change."""
    before, seconds = torch.get_num_threads(), dict.fromkeys(numbers, 0.0)
    try:
        for _ in range(_ROUNDS):
            for number in numbers:
                torch.set_num_threads(number)
                seconds[number] += _mean_of(step) / _ROUNDS
    finally:
        torch.set_num_threads(before)
    return seconds


def _mean_of(step: Callable[[], None]) -> float:
    step()  # the first with another number makes its kernels anew
    begin, done = time.perf_counter(), 0
    while done == 0 or time.perf_counter() - begin < _SECONDS:
        step()
        done += 1
    return (time.perf_counter() - begin) / done


def _small_step(channels: int) -> Callable[[], None]:
    """A generator's step, forward and backward, on a picture of another size each time."""
    generator = Generator(channels, True, torch.Generator().manual_seed(0))
    generator = generator.to(memory_format=generator.memory_format)
    pictures = [torch.full((1, 3, *size), 0.5) for size in _SIZES]

    def step() -> None:
        pictures.append(pictures.pop(0))
        generator(pictures[0]).float().mean().backward()

    return step
