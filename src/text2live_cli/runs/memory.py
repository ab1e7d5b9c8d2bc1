"""How much memory a run will need, from what was measured, so that it is refused before the work.

On a CPU, where memory that is lacking makes the machine swap or ends the process; a GPU says at the
first step that it has too little, and `device.explain_out_of_memory` what to lower.
"""

from __future__ import annotations

import os
from pathlib import Path

from ..config import EditSettings
from ..errors import UsageError
from ..guide.shape import EncoderShape

# Fitted to the peaks of single steps at 192 to 768 px, with 32 and 128 channels, 1 to 128 views,
# swatch and a ViT-B/32, in fp32 (docs/reliability.md); steps hold the whole picture and a crop.
_BASE = 1.1e9  # bytes: Python, torch and a small encoder
_PIXEL = (380.0, 105.0)  # bytes a working pixel: alone, and for each of the generator's channels
_VIEW_PIXEL = 1960.0  # bytes a pixel of a view
_VIEW_TOKEN = 216.0  # bytes a token, block and channel of the encoder
_WEIGHT = 4.0  # bytes a weight of the encoder
_SOURCE_PIXEL = 18.0  # bytes a pixel of the source: as read, matte, layer, composite, encoding
_CROPS = (
    60.0  # bytes a pixel of a frame and channel: the atlas crop of a clip is larger than a frame
)
_FRAME_PIXEL = 20.0  # bytes a pixel of all frames: colours, opacity, places in the atlases
_FIT_PIXEL = 45.0  # bytes a pixel of all frames: frames, flow, masks and what finds them


def training_need(
    shape: EncoderShape, settings: EditSettings, working: tuple[int, int], source_pixels: int
) -> int:
    """Bytes that the training of a picture, and its delivery, take at the most."""
    height, width = shape.view_size(*working)
    tokens = (height // shape.patch) * (width // shape.patch) + 1
    view = _VIEW_PIXEL * height * width + _VIEW_TOKEN * tokens * shape.blocks * shape.width
    pixel = _PIXEL[0] + _PIXEL[1] * settings.channels
    encoder = _WEIGHT * shape.parameters
    training = pixel * working[0] * working[1] + view * settings.views
    return int(_BASE + encoder + training + _SOURCE_PIXEL * source_pixels)


def clip_need(
    shape: EncoderShape, settings: EditSettings, size: tuple[int, int], frames: int
) -> int:
    """Bytes that the training of an edit of `frames` frames of `size` takes at the most."""
    pixels = size[0] * size[1]
    step = training_need(shape, settings, size, 0) + int(_CROPS * settings.channels * pixels)
    return step + int(_FRAME_PIXEL * frames * pixels)


def fit_need(frames: int, size: tuple[int, int]) -> int:
    """Bytes that a fit of `frames` frames of `size` takes at the most."""
    return int(_BASE + _FIT_PIXEL * frames * size[0] * size[1])


def require_memory(need: int, instead: str) -> None:
    """Raise UsageError where the machine has less than `need` bytes; `instead` says what helps."""
    free = available()
    if free is not None and need > free:
        raise UsageError(
            f"this needs about {need / 2**30:.1f} GiB of memory, and {free / 2**30:.1f} are free:"
            f" {instead}"
        )


def available() -> int | None:
    """Bytes that the process can still take; None where the system does not say."""
    free = [_free(), _left_of_limit()]
    amounts = [value for value in free if value is not None]
    return min(amounts) if amounts else None


def _free() -> int | None:
    """What the system has, with what it would give back from its caches."""
    try:
        lines = Path("/proc/meminfo").read_text("ascii").splitlines()
        row = next(line for line in lines if line.startswith("MemAvailable:"))
        return int(row.split()[1]) * 1024
    except (OSError, StopIteration, ValueError, IndexError):
        pass
    try:  # a Mac: all there is, as what is free changes with what is asked for
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return None


def _left_of_limit() -> int | None:
    """What a container's limit leaves."""
    try:
        limit = Path("/sys/fs/cgroup/memory.max").read_text("ascii").strip()
        used = Path("/sys/fs/cgroup/memory.current").read_text("ascii")
        cached = Path("/sys/fs/cgroup/memory.stat").read_text("ascii").splitlines()
        file = next((int(line.split()[1]) for line in cached if line.startswith("file ")), 0)
        return None if limit == "max" else int(limit) - int(used) + file
    except (OSError, ValueError, IndexError):
        return None
