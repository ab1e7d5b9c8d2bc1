"""Optical flow between neighbouring frames, both ways, and where the two agree."""

from __future__ import annotations

import contextlib
import itertools
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from ...errors import Text2LiveError, UsageError
from ...media.files import atomic_path, usual_mode
from ...progress import Progress
from . import raft

AGREEMENT = 1.0
"""Pixels: forward and backward flow must cancel to within this (Kasten et al.'s code)."""
_MOST = 60_000.0
"""Pixels: what is further off is outside of every frame, and too large for a half."""
_BothWays = tuple[NDArray[np.float32], NDArray[np.float32]]
_PRESETS = {
    "ultrafast": cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST,
    "fast": cv2.DISOPTICAL_FLOW_PRESET_FAST,
    "medium": cv2.DISOPTICAL_FLOW_PRESET_MEDIUM,
}


class Flow(NamedTuple):
    """Flow over a clip of T frames; x then y, in pixels of the working size.

    In halves (steps of 1/64 px at 32 px), as it is the largest thing that a fit looks at.
    """

    forward: NDArray[np.float16]
    """(T−gap, h, w, 2): from frame t to t + gap."""
    backward: NDArray[np.float16]
    """(T−gap, h, w, 2): from frame t + gap to t."""
    forward_ok: NDArray[np.bool_]
    """(T−gap, h, w): the pixels of frame t where both agree."""
    backward_ok: NDArray[np.bool_]
    """(T−gap, h, w): the pixels of frame t + gap where both agree."""


def dis_flow(
    frames: NDArray[np.uint8],
    progress: Progress,
    preset: str = "medium",
    gap: int = 1,
) -> Flow:
    """OpenCV's DIS flow (Kroeger et al. 2016) of frames (T, h, w, 3), RGB, `gap` frames apart.

    `preset` is "ultrafast", "fast" or "medium".
    """
    search = cv2.DISOpticalFlow.create(_PRESETS[preset])
    pairs = max(len(frames) - gap, 0)

    def both_ways() -> Iterator[_BothWays]:
        for t in range(pairs):
            here, there = (cv2.cvtColor(frames[i], cv2.COLOR_RGB2GRAY) for i in (t, t + gap))
            # Zeros in place of None are another search; the stubs know only arrays.
            forward = search.calc(here, there, None)  # type: ignore[call-overload]
            backward = search.calc(there, here, None)  # type: ignore[call-overload]
            yield forward, backward
            progress.advance(t + 1)

    return with_agreement(both_ways(), pairs, frames.shape[1:3])


def with_agreement(pairs: Iterable[_BothWays], count: int, size: tuple[int, ...]) -> Flow:
    """The flows of `count` pairs of frames of `size` (height, width), each (h, w, 2) forward and
    backward, and where they cancel to within `AGREEMENT`.
    """
    forward, backward = (np.empty((count, *size, 2), np.float16) for _ in range(2))
    flow = Flow(forward, backward, *(np.empty((count, *size), bool) for _ in range(2)))
    for t, (there, back) in zip(range(count), pairs, strict=True):
        forward[t], backward[t] = _in_halves(there), _in_halves(back)
        flow.forward_ok[t], flow.backward_ok[t] = agree(there, back), agree(back, there)
    return flow


def _in_halves(values: NDArray[np.floating]) -> NDArray[np.float16]:
    return values.clip(-_MOST, _MOST).astype(np.float16)


def agree(forward: NDArray[np.float32], backward: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Where (h, w) going `forward` (h, w, 2) and `backward` again ends within `AGREEMENT` of the
    start.
    """
    height, width = forward.shape[:2]
    y, x = np.mgrid[:height, :width].astype(np.float32)
    x, y = x + forward[..., 0], y + forward[..., 1]
    inside = (x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1)
    way_back = cv2.remap(backward, x, y, cv2.INTER_LINEAR)
    distance = np.linalg.norm(forward + way_back, axis=-1)
    return inside & (distance < AGREEMENT)


def raft_flow(
    frames: NDArray[np.uint8],
    device: torch.device,
    progress: Progress,
    weights: Path | None = None,
) -> Flow:
    """RAFT (Teed and Deng 2020) of torchvision, of frames (T, h, w, 3).

    `weights` is a file of torchvision's; without one they are those that torchvision publishes, as
    `raft.published_state` has them. Raises Text2LiveError where they cannot be had or used.
    """
    estimate = raft.load(weights, device) if weights else raft.load_published(device, progress)
    pairs = max(len(frames) - 1, 0)

    def both_ways() -> Iterator[_BothWays]:
        for t in range(pairs):
            yield estimate(frames[t], frames[t + 1])
            progress.advance(t + 1)

    return with_agreement(both_ways(), pairs, frames.shape[1:3])


# Flow from files

_FLO_TAG = 202021.25
_UNKNOWN = 1e8
"""Middlebury files mark what they do not know by larger values."""
_PAIR = re.compile(r"(.*?)(\d+)(\.[A-Za-z]+)?_(.*?)(\d+)(\.[A-Za-z]+)?")
_FILE_ERRORS = (OSError, ValueError, EOFError, MemoryError, OverflowError)


def read_flow_dir(folder: Path, numbers: Sequence[int], size: tuple[int, int]) -> Flow:
    """Flow between the frames called `numbers`, in working pixels, from .npy and .flo files.

    A file is called `A_B` after the two frames that it leads from and to, each a number with
    anything before it (`00000_00001.npy`, or with endings as the published tool of layered neural
    atlases does: `00000.jpg_00001.jpg.npy`). `numbers` count from 0, files may from 1; files that
    begin elsewhere are taken in order if they are of as many frames. Flow of another size is
    rescaled.

    Raises UsageError where files are missing, Text2LiveError where one is damaged.
    """
    files = _pair_files(folder)
    numbers = _names_in_use(files, numbers)
    pairs = list(itertools.pairwise(numbers))
    missing = [pair for a, b in pairs for pair in ((a, b), (b, a)) if pair not in files]
    if missing:
        names = ", ".join(f"{a:05d}_{b:05d}" for a, b in missing[:4])
        more = ", …" if len(missing) > 4 else ""
        raise UsageError(
            f"{folder}: no flow for {len(missing)} of {2 * len(pairs)} pairs of frames:"
            f" {names}{more} (.npy or .flo); add them, or leave out --flow-dir"
        )
    known = [np.empty((len(pairs), *size), bool) for _ in range(2)]

    def both_ways() -> Iterator[_BothWays]:
        for t, (a, b) in enumerate(pairs):
            forward, known[0][t] = _read_flow(files[a, b], size)
            backward, known[1][t] = _read_flow(files[b, a], size)
            yield forward, backward

    flow = with_agreement(both_ways(), len(pairs), size)
    return flow._replace(
        forward_ok=flow.forward_ok & known[0], backward_ok=flow.backward_ok & known[1]
    )


def _pair_files(folder: Path) -> dict[tuple[int, int], Path]:
    try:
        paths = sorted(folder.iterdir())
    except OSError as error:
        raise UsageError(f"--flow-dir {folder}: {error.strerror}; name a folder") from error
    files = {}
    for path in paths:
        match = _PAIR.fullmatch(path.stem)
        if match and path.suffix.lower() in (".npy", ".flo"):
            files[int(match[2]), int(match[5])] = path
    if not files:
        raise UsageError(f"--flow-dir {folder}: holds no A_B.npy or A_B.flo, A and B frame numbers")
    return files


def _names_in_use(files: dict[tuple[int, int], Path], numbers: Sequence[int]) -> Sequence[int]:
    """The numbers that the files have for the frames, which count from 0."""
    own = sorted({number for pair in files for number in pair})
    if own[0] == 1:
        return [number + 1 for number in numbers]
    return own if own[0] > 1 and len(own) == len(numbers) else numbers


def _read_flow(path: Path, size: tuple[int, int]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """The flow in a file, (h, w, 2), and where it is known."""
    try:
        values = _read_flo(path) if path.suffix.lower() == ".flo" else _read_npy(path)
    except _FILE_ERRORS as error:
        raise Text2LiveError(
            f"{path}: no flow of numbers (h, w, 2), or cut short; write it again"
        ) from error
    valid = (np.abs(values) < _UNKNOWN).all(axis=-1)  # False for NaN too
    values = np.where(valid[..., None], values, 0).astype(np.float32)
    height, width = size
    if values.shape[:2] != size:
        stretch = np.array([width / values.shape[1], height / values.shape[0]], np.float32)
        values = cv2.resize(values, (width, height), interpolation=cv2.INTER_LINEAR) * stretch
        nearest = cv2.resize(valid.astype(np.uint8), (width, height), interpolation=0)
        valid = nearest.astype(bool)
    return values, valid


def _read_npy(path: Path) -> NDArray[np.floating]:
    values = np.load(path, mmap_mode="r", allow_pickle=False)
    if values.ndim == 4 and values.shape[0] == 1:
        values = values[0]
    if values.ndim == 3 and values.shape[2] != 2 and values.shape[0] == 2:
        values = values.transpose(1, 2, 0)
    if values.ndim != 3 or values.shape[2] != 2 or values.dtype.kind != "f" or not values.size:
        raise ValueError("not a flow")
    return np.array(values)


def _read_flo(path: Path) -> NDArray[np.floating]:
    """A .flo file. `cv2.readOpticalFlow` ends the process over a header or a name that is amiss."""
    data = path.read_bytes()
    tag = np.frombuffer(data, "<f4", 1)[0]
    width, height = (int(side) for side in np.frombuffer(data, "<i4", 2, 4))
    if tag != _FLO_TAG or min(width, height) < 1 or len(data) < 12 + 8 * width * height:
        raise ValueError("not a .flo file")
    return np.frombuffer(data, "<f4", 2 * width * height, 12).reshape(height, width, 2)


# Flow of an earlier run


def save_flow(path: Path, flow: Flow, of: str = "") -> None:
    """Write flow as safetensors; `of` says of what.

    Raises Text2LiveError where it cannot be written.
    """
    tensors = {name: torch.from_numpy(part) for name, part in flow._asdict().items()}
    with atomic_path(path) as temporary:
        try:
            with usual_mode(temporary):
                save_file(tensors, temporary, {"of": of})
        except SafetensorError as error:  # its way to report a full disk
            raise OSError(str(error)) from error


def load_flow(path: Path, of: str = "") -> Flow | None:
    """Flow as `save_flow` wrote it, read from the disk where it is looked at: no more of a long
    clip's is in memory than fits. What is changed in it does not change the file.

    On Windows, which lets no file be replaced that is being looked at, it is read into memory.
    None where the file is missing, damaged or of something else: flow is soon computed anew.
    """
    # As torch's tensors the file is mapped, as NumPy's read; names that are no UTF-8 only so.
    for framework in ("numpy",) if os.name == "nt" else ("pt", "numpy"):
        with contextlib.suppress(SafetensorError, OSError, TypeError, ValueError):
            with safe_open(path, framework=framework) as file:
                if (file.metadata() or {}).get("of") != of:
                    return None
                flow = Flow(*(np.asarray(file.get_tensor(name)) for name in Flow._fields))
            return flow if _is_sound(flow) else None
    return None


def _is_sound(flow: Flow) -> bool:
    """Whether all parts are of the shapes and kinds of numbers that they should be."""
    shape = flow.forward.shape
    ways, trusts = (flow.forward, flow.backward), (flow.forward_ok, flow.backward_ok)
    return (
        len(shape) == 4
        and shape[3] == 2
        and all(way.shape == shape and way.dtype == np.float16 for way in ways)
        and all(ok.shape == shape[:3] and ok.dtype == np.bool_ for ok in trusts)
    )
