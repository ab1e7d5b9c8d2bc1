"""What a fit leaves for people to look at: pictures, videos and the report."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from pathlib import Path

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
from ..media.pictures import write_picture
from ..progress import Progress
from .atlas import Report, report_html

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
    progress.stage("writing videos", len(frames), "frame")
    textures, squares = textures_of(model), _square_sides(model)
    opacity = np.empty((len(frames), *model.size, 3), np.uint8)
    composites, checks = np.empty_like(opacity), np.empty_like(opacity)
    for t in range(len(frames)):
        maps = model.locate(t)
        composites[t] = reconstruct(textures, maps)
        maps = Maps(*(values.cpu() for values in maps))
        opacity[t] = (maps.share[FOREGROUND][..., None] * 255).round().numpy()
        checks[t] = _checkerboard(maps, composites[t], squares)
        progress.advance(t + 1)
    write_video(folder / OPACITY, opacity, rate)
    write_video(folder / RECONSTRUCTION, composites, rate)
    errors = (
        _ERROR_GAIN * np.abs(composites[t].astype(np.int16) - f) for t, f in enumerate(frames)
    )
    clips = (
        ("original", webm_bytes(_small(frames), rate)),
        ("reconstruction", webm_bytes(_small(composites), rate)),
        (f"error × {_ERROR_GAIN}", webm_bytes(_small(e.clip(0, 255) for e in errors), rate)),
    )
    return clips, webm_bytes(_small(checks), rate)


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


def _small(frames: Iterator[NDArray[np.uint8]] | NDArray[np.uint8]) -> Iterator[NDArray[np.uint8]]:
    for frame in frames:
        height, width = frame.shape[:2]
        scale = min(1.0, _REPORT_SIDE / max(height, width))
        size = (max(2, round(width * scale)), max(2, round(height * scale)))
        yield np.asarray(
            cv2.resize(frame.astype(np.uint8), size, interpolation=cv2.INTER_AREA), np.uint8
        )


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
