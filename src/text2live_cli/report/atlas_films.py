"""What a fit leaves for people to look at: pictures, videos and the report."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from ..atlas.discretise import AtlasPicture
from ..atlas.fit.measure import Quality
from ..atlas.layers import (
    FOREGROUND,
    FRONT_FIRST,
    LAYERS,
    AtlasModel,
    Maps,
    Side,
    pixel_ratio,
)
from ..atlas.render import reconstruct, textures_of
from ..atlas.store import PICTURES
from ..media.clip_writing import webm_bytes, write_video
from ..media.files import write_text_atomic
from ..media.picture_writing import write_picture
from ..media.shared_frames import share_out
from ..progress import Progress
from .atlas import Report, report_html

Frame = NDArray[np.uint8]

OPACITY, RECONSTRUCTION, REPORT = "opacity.mp4", "reconstruction.mp4", "report.html"
_REPORT_SIDE = 320  # longest side of the report's small videos, pixels
_ERROR_GAIN = 8
_SQUARES = (24, 12)  # of the checkerboards, background and foreground, working pixels
_TINT = (1.0, 0.75, 0.55)  # of the foreground's squares


def write_pictures(folder: Path, pictures: Mapping[Side, AtlasPicture]) -> None:
    """Write the atlases; what an earlier fit had and this one has not is removed."""
    for side, name in enumerate(PICTURES):
        if side in pictures:
            rgba = pictures[side].rgba
            write_picture(folder / name, rgba[..., :3], rgba[..., 3])
        else:
            (folder / name).unlink(missing_ok=True)


def write_videos(
    folder: Path,
    model: AtlasModel,
    frames: NDArray[np.uint8],
    rate: Fraction,
    progress: Progress,
) -> tuple[tuple[tuple[str, bytes], ...], bytes]:
    """Write opacity.mp4 and reconstruction.mp4; return the report's clips and its checkerboard.

    `frames` (T, h, w, 3) are those of the fit.
    """

    def film(name: str, part: Callable[[_Shown], Frame]) -> Callable[[Iterator[_Shown]], bytes]:
        def write(frames: Iterator[_Shown]) -> bytes:
            write_video(folder / name, map(part, frames), rate)
            return b""

        return write

    def small(part: Callable[[_Shown], Frame]) -> Callable[[Iterator[_Shown]], bytes]:
        return lambda frames: webm_bytes((_small(part(frame)) for frame in frames), rate)

    takers = (
        film(OPACITY, lambda frame: frame.opacity),
        film(RECONSTRUCTION, lambda frame: frame.composite),
        small(lambda frame: frame.source),
        small(lambda frame: frame.composite),
        small(_error),
        small(lambda frame: frame.checkerboard),
    )
    _, _, source, composite, error, checkerboard = share_out(
        _shown(model, frames, progress), takers
    )
    clips = (
        ("original", source),
        ("reconstruction", composite),
        (f"error × {_ERROR_GAIN}", error),
    )
    return clips, checkerboard


class _Shown(NamedTuple):
    """A frame of the clip and what the atlas makes of it, each (h, w, 3)."""

    source: Frame
    opacity: Frame
    composite: Frame
    checkerboard: Frame


def _shown(model: AtlasModel, frames: NDArray[np.uint8], progress: Progress) -> Iterator[_Shown]:
    progress.stage("writing videos", len(frames), "frame")
    textures, squares = textures_of(model), _square_sides(model)
    for t, frame in enumerate(frames):
        maps = model.locate(t)
        composite = reconstruct(textures, maps)
        maps = Maps(*(values.cpu() for values in maps))
        grey = (maps.share[FOREGROUND] * 255).round().numpy().astype(np.uint8)
        opacity = np.repeat(grey[..., None], 3, axis=2)
        yield _Shown(frame, opacity, composite, _checkerboard(maps, composite, squares))
        progress.advance(t + 1)


def _error(frame: _Shown) -> Frame:
    error = _ERROR_GAIN * np.abs(frame.composite.astype(np.int16) - frame.source)
    return error.clip(0, 255).astype(np.uint8)


def _square_sides(model: AtlasModel) -> list[float]:
    """Sides of the checkerboards' squares, atlas pixels, as large in the middle of the clip."""
    maps = Maps(*(values.cpu() for values in model.locate(model.frames // 2)))
    return [pixels * (pixel_ratio(maps, side) or 1.0) for side, pixels in enumerate(_SQUARES)]


def _checkerboard(
    maps: Maps, frame: NDArray[np.uint8], squares: Sequence[float]
) -> NDArray[np.uint8]:
    """Squares that lie on the atlases, seen in a frame: they shall stick, and stay square."""
    boards = [
        ((uv / length).floor().sum(-1, keepdim=True) % 2).float()
        for uv, length in zip(maps.uv, squares, strict=True)
    ]
    board = maps.mixed(boards).numpy()
    opacity = maps.share[FOREGROUND][..., None].numpy()
    tint = 1 - opacity * (1 - np.array(_TINT))
    return np.asarray((0.35 * frame + 0.65 * 255 * board * tint).round(), np.uint8)


def _small(frame: Frame) -> Frame:
    height, width = frame.shape[:2]
    scale = min(1.0, _REPORT_SIDE / max(height, width))
    size = (max(2, round(width * scale)), max(2, round(height * scale)))
    return np.asarray(cv2.resize(frame, size, interpolation=cv2.INTER_AREA), np.uint8)


def write_report(
    folder: Path,
    title: str,
    quality: Quality,
    words: tuple[list[str], list[str]],
    numbers: list[int],
    pictures: Mapping[Side, AtlasPicture],
    clips: tuple[tuple[str, bytes], ...],
    checkerboard: bytes,
    figures: Mapping[str, str],
    settings: Mapping[str, object],
) -> None:
    """Write report.html."""
    report = Report(
        title=title,
        verdict=tuple(words[0]),
        advice=tuple(words[1]),
        figures=tuple(figures.items()),
        psnr=quality.psnr,
        frame_numbers=tuple(numbers),
        atlases=tuple(
            (f"{LAYERS[s]} atlas", pictures[s].rgba) for s in FRONT_FIRST if s in pictures
        ),
        clips=clips,
        checkerboard=checkerboard,
        settings=settings,
    )
    write_text_atomic(folder / REPORT, report_html(report))
