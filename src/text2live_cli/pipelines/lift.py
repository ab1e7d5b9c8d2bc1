"""`lift`: from a picture and anybody's edited version of it to a clean edit layer."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import Text2LiveError, UsageError
from ..guide.hints import Hints, Point, parse_hints
from ..lifting.filters import pieces
from ..lifting.lift import Lifted, LiftSettings, cut_layer, find_edit
from ..lifting.lift import lift as lift_layer
from ..media.compositing import lay_over
from ..media.files import write_json_atomic
from ..media.layered_files import NamedLayer, layered_beside, write_layered
from ..media.picture_writing import write_picture
from ..media.pictures import Picture, read_mask, read_picture
from ..media.samples import to_unit
from ..progress import Progress, Silent
from ..report.lift import lift_report_html
from ..runs.folder import LAYER_PICTURE, LIFT, RECORD, claim_folder
from ..runs.inputs import describe_picture
from ..runs.keeping import keeping
from ..runs.preflight import picture_bytes, require_room
from ..texts import shown_path
from .lift_options import LiftOptions
from .option_fields import taking
from .requests import command_line, request
from .results import PictureResult

_LEAST_SIDE = 64
_ASPECT = 1.5  # by how much the shape of an edited version may differ
_DIM = 0.3  # of the brightness that is left outside of the region


@dataclass(frozen=True)
class LiftResult(PictureResult):
    """What a lift left behind; `record` is what stands in run.json."""

    folder: Path
    record: dict[str, Any]


def run_lift(options: LiftOptions) -> LiftResult:
    """Make of BEFORE and AFTER an edit layer over BEFORE; what was not edited stays bit-equal.

    The options are the fields of `LiftOptions`, which says what each means. Raises UsageError for
    what cannot be asked for, Text2LiveError where the two are not the same scene, where nothing or
    all of it was edited, or where a file cannot be read or written.
    """
    begin, progress = time.monotonic(), options.progress or Silent()
    source, edited = (_read(Path(p), progress) for p in (options.source, options.edited))
    _require_alike(source, edited)
    size = source.height, source.width
    hints = parse_hints(size, options.box, options.points, options.not_points)
    limit = _limit(options, hints, size, progress)
    folder = Path(options.output or f"{Path(options.source).stem}.lift")
    layered_beside(folder / LAYER_PICTURE, options.layer_formats)
    require_room(folder, picture_bytes(size[0] * size[1], source.color.dtype.itemsize))
    inputs = [options.source, options.edited, options.mask]
    with claim_folder(folder, LIFT, inputs) as run, keeping(run):
        run.open(options.overwrite, False)
        lifted = _lifted(options, source, edited, limit, hints, progress)
        run.begin(progress)
        record = _record(options, source, edited, lifted, folder)
        _write(run.work, source, edited, lifted, record)
        for path in layered_beside(run.work / LAYER_PICTURE, options.layer_formats):
            write_layered(path, source, [NamedLayer(Path(options.edited).stem, lifted.layer)])
        record["seconds"] = round(time.monotonic() - begin, 2)
        write_json_atomic(run.work / RECORD, record)
        return LiftResult(run.deliver(True, progress), record)


lift = taking(LiftOptions)(run_lift)


def lift_frame(frame: NDArray[np.uint8], edited: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The edit layer (h, w, 4) between a frame (h, w, 3) and its painted-over version of any size.

    Raises Text2LiveError where they are not the same scene, or nothing was painted.
    """
    lifted = lift_layer(to_unit(frame), to_unit(edited), LiftSettings())
    return lifted.layer


def _read(path: Path, progress: Progress) -> Picture:
    picture = read_picture(path)
    for note in picture.notes:
        progress.message(f"{path.name}: {note}")
    if min(picture.height, picture.width) < _LEAST_SIDE:
        raise UsageError(
            f"{path}: {picture.width}×{picture.height} pixels are too few to compare;"
            f" use at least {_LEAST_SIDE}×{_LEAST_SIDE}"
        )
    return picture


def _require_alike(source: Picture, edited: Picture) -> None:
    """Raise UsageError for the same file, or one of quite another shape."""
    if source.sha256 == edited.sha256:
        raise UsageError(f"{edited.path}: is the same file as {source.path}; give the edited one")
    shape = (source.width * edited.height) / (source.height * edited.width)
    if not 1 / _ASPECT <= shape <= _ASPECT:
        raise UsageError(
            f"{edited.path}: {edited.width}×{edited.height} has not the shape of {source.path},"
            f" {source.width}×{source.height}; give the whole edited picture, upright"
        )


def _limit(
    options: LiftOptions, hints: Hints, size: tuple[int, int], progress: Progress
) -> NDArray[np.bool_] | None:
    """Where the edit may be taken, (H, W), by the mask and the box; None: everywhere."""
    limit = None
    if options.mask is not None:
        limit = read_mask(Path(options.mask), size, progress) > 0.5
    if hints.box is not None:
        (height, width), box = size, hints.box
        inside = np.zeros(size, bool)
        rows = slice(round(box.y * height), round((box.y + box.height) * height))
        inside[rows, round(box.x * width) : round((box.x + box.width) * width)] = True
        limit = inside if limit is None else limit & inside
    return limit


def _lifted(
    options: LiftOptions,
    source: Picture,
    edited: Picture,
    limit: NDArray[np.bool_] | None,
    hints: Hints,
    progress: Progress,
) -> Lifted:
    """The layer, each step told with its figure."""
    settings = LiftSettings(
        options.strength, options.feather, options.min_area / 100, options.keep_colour
    )
    progress.stage("comparing the pictures")
    edit = find_edit(_seen(source), _seen(edited), settings)
    placed, tone = edit.registration.describe(), edit.tone
    progress.message(
        f"registered: zoom {placed['zoom']}, shift {placed['shift']}, turned {placed['turn']}°,"
        f" bent by {placed['bend']} pixels; likeness {placed['alike']} of 1"
    )
    progress.message(
        f"tones of what was not edited differ by {tone.change:.1f} levels"
        + (", matched" if tone.matrix is not None else "")
        + (f"; sharpened by {edit.sharpening:.2f}, taken back" if edit.sharpening else "")
    )
    mask = _pointed(edit.change.mask, hints)
    if limit is not None:
        mask = mask & limit
    if not mask.any():
        raise Text2LiveError(
            "nothing was edited there: the pictures differ by noise and tone alone; change --box,"
            " --point, --not or --mask, or lower --min-area"
        )
    progress.message(f"edited: {mask.mean():.1%} of the picture (noise {edit.change.noise:.1f} ΔE)")
    return cut_layer(edit, mask, settings, limit)


def _seen(picture: Picture) -> NDArray[np.float32]:
    return to_unit(picture.color)


def _pointed(mask: NDArray[np.bool_], hints: Hints) -> NDArray[np.bool_]:
    """The pieces of the change that the points name, without those that they exclude."""
    if not (hints.points or hints.not_points):
        return mask
    labels = pieces(mask)

    def at(points: tuple[Point, ...]) -> list[int]:
        return [_nearest(labels, point) for point in points]

    kept = np.isin(labels, at(hints.points)) if hints.points else mask
    return kept & ~np.isin(labels, at(hints.not_points))


def _nearest(labels: NDArray[np.int32], point: Point) -> int:
    """The label of the piece that is nearest to a point."""
    rows, columns = np.nonzero(labels)
    if not len(rows):
        return 0
    y, x = point.y * labels.shape[0], point.x * labels.shape[1]
    at = int(np.argmin(np.square(rows - y) + np.square(columns - x)))
    return int(labels[rows[at], columns[at]])


def _record(
    options: LiftOptions, source: Picture, edited: Picture, lifted: Lifted, folder: Path
) -> dict[str, Any]:
    alpha = lifted.layer[..., 3]
    return {
        "command": "lift",
        "output": shown_path(folder),
        "input": describe_picture(source),
        "edited": describe_picture(edited),
        "registration": lifted.edit.registration.describe(),
        "tone": {
            "change": round(lifted.edit.tone.change, 2),
            "matched": lifted.edit.tone.matrix is not None,
            "sharpening": round(lifted.edit.sharpening, 3),
        },
        "noise": round(lifted.edit.change.noise, 2),
        "blur": lifted.edit.change.blur,
        "edited_share": round(float((alpha > 127).mean()), 5),
        "unchanged_share": float((alpha == 0).mean()),
        "request": request(options),
        "command_line": command_line("lift", options),
    }


def _write(
    folder: Path, source: Picture, edited: Picture, lifted: Lifted, record: dict[str, Any]
) -> None:
    """Write all pictures of the result, and its page."""
    layer, profile = lifted.layer, source.icc_profile
    composite = lay_over(source.color, layer)
    small, given = source.in_eight_bits().color, edited.in_eight_bits().color
    light = _DIM + (1 - _DIM) * (layer[..., 3:] / np.float32(255))
    write_picture(folder / LAYER_PICTURE, layer[..., :3], layer[..., 3], profile)
    write_picture(folder / "composite.png", composite, source.alpha, profile, source.exif)
    write_picture(folder / "alpha.png", layer[..., 3])
    write_picture(folder / "region.png", np.rint(small * light).astype(np.uint8))
    page = lift_report_html(small, given, layer, record)
    (folder / "report.html").write_text(page, "utf-8")
