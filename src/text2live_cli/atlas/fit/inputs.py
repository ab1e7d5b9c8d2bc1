"""What a fit looks at: the frames at working size, their flow, and the rough foreground."""

from __future__ import annotations

import time
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from ...errors import Text2LiveError
from ...media.clip_reading import frames_at
from ...media.clips import Clip
from ...progress import Progress
from .flow import (
    Flow,
    dis_flow,
    load_flow,
    raft_flow,
    read_flow_dir,
    save_flow,
)
from .foreground import (
    Foreground,
    masks_from_hints,
    masks_from_motion,
    masks_from_text,
)
from .mask_files import masks_from_files
from .raft import published_state
from .settings import FitSettings, Span, fit_hints

if TYPE_CHECKING:
    from ...guide.clip import ClipGuide

FLOW = "flow.safetensors"
_KEY_FRAMES = 5  # on which the encoder is asked for the foreground


class Material(NamedTuple):
    """All that a model is fitted to."""

    frames: NDArray[np.uint8]
    """(T, h, w, 3)."""
    flow: Flow
    foreground: Foreground
    seconds: dict[str, float]
    """That each of the three took."""


def read_material(
    clip: Clip,
    span: Span,
    settings: FitSettings,
    size: tuple[int, int],
    folder: Path,
    device: torch.device,
    progress: Progress,
) -> Material:
    """Read the frames at `size` (height, width), and find flow and foreground.

    The flow is kept in `folder`. Raises UsageError and Text2LiveError for masks, flow or a text
    that do not fit the clip.
    """
    times = [time.monotonic()]
    frames = _read_frames(clip, span, size, progress)
    times.append(time.monotonic())
    masks = _given_masks(clip, span, settings, size)  # first, since they may be refused
    flow = _find_flow(frames, clip, span, settings, folder, device, progress)
    times.append(time.monotonic())
    progress.stage("finding the foreground", len(frames), "frame")
    foreground = masks or _find_foreground(frames, flow, clip, span, settings, device, progress)
    for note in foreground.notes:
        progress.message(note)
    times.append(time.monotonic())
    parts = zip(("frames", "flow", "foreground"), pairwise(times), strict=True)
    return Material(frames, flow, foreground, {part: end - begin for part, (begin, end) in parts})


def _read_frames(
    clip: Clip, span: Span, size: tuple[int, int], progress: Progress
) -> NDArray[np.uint8]:
    progress.stage("reading frames", len(span.numbers), "frame")
    frames = np.empty((len(span.numbers), *size, 3), np.uint8)
    for i, frame in enumerate(frames_at(clip, span.numbers, size)):
        frames[i] = frame
        progress.advance(i + 1)
    return frames


def _find_flow(
    frames: NDArray[np.uint8],
    clip: Clip,
    span: Span,
    settings: FitSettings,
    folder: Path,
    device: torch.device,
    progress: Progress,
) -> Flow:
    size = (frames.shape[1], frames.shape[2])
    if settings.flow_dir is not None:
        return read_flow_dir(Path(settings.flow_dir), span.numbers, size)
    of = f"{clip.sha256} {span} {size} {settings.flow}"
    path = folder / FLOW
    former = load_flow(path, of)
    if former is not None:
        progress.message(f"flow taken from {path}")
        return former
    progress.stage("optical flow", len(frames) - 1, "frame")
    if settings.flow == "raft":
        flow = raft_flow(frames, device, progress)
    else:
        flow = dis_flow(frames, progress)
    save_flow(path, flow, of)
    # as it was written, so that a resumed fit sees the very same numbers
    return load_flow(path, of) or flow


def _given_masks(
    clip: Clip, span: Span, settings: FitSettings, size: tuple[int, int]
) -> Foreground | None:
    if settings.masks is None:
        return None
    names = [clip.pictures[i].stem for i in span.numbers] if clip.pictures else None
    return masks_from_files(Path(settings.masks), names, len(span.numbers), size, span.numbers)


def _find_foreground(
    frames: NDArray[np.uint8],
    flow: Flow,
    clip: Clip,
    span: Span,
    settings: FitSettings,
    device: torch.device,
    progress: Progress,
) -> Foreground:
    hints = fit_hints(settings, span, clip)
    if hints.given:
        wanted = min(hints.frames, default=span.first)
        frame = min(range(len(span.numbers)), key=lambda t: abs(span.numbers[t] - wanted))
        return masks_from_hints(frames, flow, hints, frame)
    if settings.foreground is not None or settings.foreground_hint is not None:
        keys = sorted({round(i) for i in np.linspace(0, len(frames) - 1, _KEY_FRAMES)})
        relevancy = _relevancy(frames[keys], settings, device, progress)
        text = settings.foreground or settings.foreground_hint or ""
        return masks_from_text(
            relevancy, keys, frames, flow, text, progress, settings.foreground is None
        )
    return masks_from_motion(frames, flow, progress)


def require_flow(settings: FitSettings, folder: Path, progress: Progress) -> None:
    """Fetch RAFT's weights where they are needed: no flow is given, or kept in `folder`.

    Raises Text2LiveError where they cannot be had.
    """
    if settings.flow == "raft" and settings.flow_dir is None and not (folder / FLOW).exists():
        published_state(progress)


def read_words(
    settings: FitSettings, device: torch.device, progress: Progress
) -> tuple[ClipGuide, str]:
    """The encoder that finds the foreground, and the text for it, checked.

    Raises UsageError for a text that it does not know, Text2LiveError where it cannot be had.
    """
    from ...guide.clip import load_guide
    from ...guide.prompts import check_text

    weights = None if settings.clip_weights is None else Path(settings.clip_weights)
    guide = load_guide(settings.clip, weights, progress)
    guide.to(device)
    text = settings.foreground or settings.foreground_hint or ""
    return guide, check_text("--foreground", text, guide, progress, seen=True)


def _relevancy(
    frames: NDArray[np.uint8], settings: FitSettings, device: torch.device, progress: Progress
) -> NDArray[np.float32]:
    """Where the encoder sees the foreground's text, (K, h, w) in [0, 1]."""
    from ...guide.relevancy import make_query, relevancy_map

    guide, text = read_words(settings, device, progress)
    pictures = torch.from_numpy(frames).to(device).permute(0, 3, 1, 2).float() / 255
    with torch.no_grad():
        maps = relevancy_map(guide, pictures, [make_query(guide, text)])
    size = (frames.shape[1], frames.shape[2])
    fine = torch.nn.functional.interpolate(maps, size, mode="bilinear", align_corners=False)
    if not bool(fine.isfinite().all()):
        raise Text2LiveError(f"--foreground {text}: the encoder finds nothing; give --box")
    return fine[:, 0].cpu().numpy()
