"""In which order the generator's tensors lie in memory: chosen by measuring, once per machine.

Which is faster depends on the processor: with AVX-512 channels-last convolutions are, with AVX2
their weight gradients take several times as long as in the plain order. The choice is kept, since
the two round differently: the same seed shall give the same result.
"""

from __future__ import annotations

import functools
import platform
import threading
import time
from pathlib import Path

import torch

from ..config import CHANNELS_LAST, PLAIN
from ..device import Precision
from ..errors import Text2LiveError
from ..guide.weights import cache_folder
from ..media.files import write_json_atomic
from ..media.outside import RECORD_ERRORS, read_record
from ..progress import Progress
from .generator import Generator

# Of the pictures that are measured with, the first to warm up. Each is new, as the crops of a
# training are: for a new size kernels are made anew, which costs one order more than the other.
_SIZES = ((136, 200), (152, 179), (168, 162))
_CLEARLY = 0.9  # share of the time of channels-last that the plain order must stay under
_measuring = threading.Lock()


def choose_layout(
    device: torch.device, channels: int, precision: Precision, progress: Progress
) -> str:
    """The faster order of a generator of `channels`, as measured here, now or earlier.

    Where the choice cannot be kept, nothing is measured: it might be another one next time.
    """
    if device.type == "mps":
        return PLAIN  # few of its kernels know another
    path = cache_folder() / "layout.json"
    key = f"{machine(device)}, torch {torch.__version__}, {channels} channels, {precision.name}"
    with _measuring:
        former = _read(path).get(key)
        if former in (PLAIN, CHANNELS_LAST):
            return str(former)
        if not _can_keep(path):
            progress.warning(f"{path.parent} cannot be written: memory layout {CHANNELS_LAST}")
            return CHANNELS_LAST
        progress.stage("measuring the memory layout, once on this machine")
        seconds = {
            name: seconds_per_step(name, device, channels, precision)
            for name in (CHANNELS_LAST, PLAIN)
        }
        faster = seconds[PLAIN] < _CLEARLY * seconds[CHANNELS_LAST]
        layout = _read(path).get(key)  # of another process that was quicker
        if layout not in (PLAIN, CHANNELS_LAST):
            layout = PLAIN if faster else CHANNELS_LAST
            write_json_atomic(path, {**_read(path), key: layout})
    times = ", ".join(f"{name} {1000 * value:.0f} ms" for name, value in seconds.items())
    progress.message(f"memory layout {layout} (a small step: {times}; kept in {path.name})")
    return str(layout)


def seconds_per_step(name: str, device: torch.device, channels: int, precision: Precision) -> float:
    """The least time of a generator's small step, forward and backward."""
    generator = Generator(channels, name == CHANNELS_LAST, torch.Generator().manual_seed(0))
    generator = generator.to(memory_format=generator.memory_format).to(device)
    times = []
    for size in _SIZES:
        picture = torch.full((1, 3, *size), 0.5, device=device)
        begin = _now(device)
        with precision.autocast(device):
            layer = generator(picture)
        layer.float().mean().backward()
        times.append(_now(device) - begin)
    return min(times[1:])


@functools.lru_cache
def machine(device: torch.device) -> str:
    """What computes: the name of the GPU, or the processor's with what PyTorch uses of it."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    name = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8", errors="replace").splitlines()
        name = next(line.partition(":")[2].strip() for line in lines if line.startswith("model na"))
    except (OSError, StopIteration):
        pass  # not Linux, or not told
    return f"{name} {torch.backends.cpu.get_cpu_capability()}"


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def _read(path: Path) -> dict[str, object]:
    try:
        return read_record(path)
    except RECORD_ERRORS:
        return {}


def _can_keep(path: Path) -> bool:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json_atomic(path, _read(path))
    except (OSError, Text2LiveError):
        return False
    return True
