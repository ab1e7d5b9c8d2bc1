"""`export-maps`: a fitted atlas for compositors: STMaps both ways, mattes, a script for Nuke."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..atlas.layers import FRONT_FIRST, LAYERS, Maps, Side
from ..atlas.st_maps import map_to_atlas, map_to_frame
from ..atlas.store import PICTURES, Atlas, read_atlas
from ..device import choose_device
from ..errors import Text2LiveError, UsageError
from ..media.clips import open_clip
from ..media.exr_files import require_exr, write_exr
from ..media.files import write_bytes_atomic, write_json_atomic, write_text_atomic
from ..media.picture_writing import write_picture
from ..media.pictures import Picture, read_picture
from ..media.samples import to_uint
from ..progress import Progress, Silent
from ..runs.folder import MAPS, RECORD, claim_folder
from ..runs.keeping import keeping
from ..runs.preflight import require_room
from ..texts import shown_path
from .maps_options import MapsOptions
from .nuke_script import NukeScene, nuke_script
from .option_fields import taking
from .requests import command_line

_SLACK = 10_000_000  # bytes: the pictures, the script and the record
_SAMPLES = 4  # of a pixel of a map, in 32 bits
_MATTE_BYTES = 2


@dataclass(frozen=True)
class MapsResult:
    """What was written; `record` is what stands in run.json."""

    folder: Path
    record: dict[str, Any]

    @property
    def script(self) -> Path:
        """For Nuke."""
        return self.folder / "composite.nk"


def run_export_maps(options: MapsOptions) -> MapsResult:
    """Write the maps of all fitted frames, at the clip's size, and what goes with them.

    Per layer and frame: LAYER-map/N.exr, frame → atlas picture; LAYER-back/N.exr, the way back;
    LAYER-matte/N.png, the share of the layer in 16 bits. docs/handoff.md has their convention.
    Raises UsageError for what cannot be asked for, Text2LiveError for what goes wrong.
    """
    begin, progress = time.monotonic(), options.progress or Silent()
    require_exr()
    place = Path(options.atlas)
    atlas = read_atlas(place).on(choose_device(options.device))
    pictures = {side: _picture(place, side) for side in atlas.facts.corners}
    clip = _clip(options, atlas)
    folder = Path(options.output or place.with_suffix(".maps"))
    need = _bytes(atlas, pictures)
    progress.message(f"{folder}: up to {need / 1e9:.2f} GB, some two thirds of it when compressed")
    require_room(folder, need)
    with claim_folder(folder, MAPS, [place, clip]) as run, keeping(run):
        run.open(options.overwrite, False)
        run.begin(progress)
        for side in pictures:
            data = (place / PICTURES[side]).read_bytes()
            write_bytes_atomic(run.work / PICTURES[side], data)
        frames = range(atlas.frames[0], atlas.frames[-1] + 1)
        _write_maps(run.work, atlas, pictures, frames, progress)
        scene = _scene(atlas, pictures, frames, clip, folder)
        write_text_atomic(run.work / "composite.nk", nuke_script(scene))
        record = {
            "command": "export-maps",
            "output": shown_path(folder),
            "interrupted": False,
            "input": {"path": shown_path(place), "sha256": atlas.digest},
            "frames": [frames[0], frames[-1]],
            "size": list(atlas.facts.source_size),
            "layers": [LAYERS[side] for side in pictures],
            "command_line": command_line("export-maps", options),
            "seconds": round(time.monotonic() - begin, 2),
        }
        write_json_atomic(run.work / RECORD, record)
        return MapsResult(run.deliver(True, progress), record)


export_maps = taking(MapsOptions)(run_export_maps)


def _picture(folder: Path, side: Side) -> Picture:
    path = folder / PICTURES[side]
    if not path.is_file():
        raise Text2LiveError(f"{path}: is missing; fit the atlas again with --overwrite")
    return read_picture(path)


def _clip(options: MapsOptions, atlas: Atlas) -> Path | None:
    """The clip of the atlas: as named, or the one of its name beside it; None: none is there."""
    place = Path(options.atlas).absolute()
    if options.clip is not None:
        atlas.require_clip(open_clip(Path(options.clip)), place)
        return Path(options.clip)
    beside = (p for p in sorted(place.parent.glob(f"{place.stem}.*")) if p != place)
    for path in [place.with_suffix(""), *beside]:
        try:
            if open_clip(path).sha256 == atlas.facts.source:
                return path
        except (Text2LiveError, UsageError):
            continue
    return None


def _bytes(atlas: Atlas, pictures: dict[Side, Picture]) -> int:
    """Of all maps and mattes at the most, before they are compressed."""
    frames = atlas.frames[-1] - atlas.frames[0] + 1
    height, width = atlas.facts.source_size
    each = sum(
        4 * _SAMPLES * (height * width + picture.height * picture.width)
        + _MATTE_BYTES * height * width
        for picture in pictures.values()
    )
    return frames * each + _SLACK


def _write_maps(
    folder: Path,
    atlas: Atlas,
    pictures: dict[Side, Picture],
    frames: Sequence[int],
    progress: Progress,
) -> None:
    for side in pictures:
        for kind in ("map", "back", "matte"):
            (folder / f"{LAYERS[side]}-{kind}").mkdir(parents=True, exist_ok=True)
    progress.stage("writing maps", len(frames), "frame")
    for done, number in enumerate(frames, 1):
        maps = atlas.locate(number, atlas.facts.source_size)
        maps = Maps(maps.uv.cpu(), maps.share.cpu())
        for name, samples in _maps_of(maps, atlas, pictures):
            if name.endswith("matte"):
                write_picture(folder / name / f"{number:05d}.png", samples)
            else:
                write_exr(folder / name / f"{number:05d}.exr", {"st": samples})
        progress.advance(done)


def _maps_of(
    maps: Maps, atlas: Atlas, pictures: dict[Side, Picture]
) -> Iterator[tuple[str, NDArray[Any]]]:
    """What is written of a frame, by its subfolder."""
    for side, picture in pictures.items():
        corner, size = atlas.facts.corners[side], (picture.height, picture.width)
        yield f"{LAYERS[side]}-map", map_to_atlas(maps, side, corner, size)
        yield f"{LAYERS[side]}-back", map_to_frame(maps, side, corner, size)
        share = maps.share[side].numpy().astype(np.float32)
        yield f"{LAYERS[side]}-matte", to_uint(share, 65535)


def _scene(
    atlas: Atlas,
    pictures: dict[Side, Picture],
    frames: Sequence[int],
    clip: Path | None,
    folder: Path,
) -> NukeScene:
    sizes = {
        LAYERS[side]: (pictures[side].width, pictures[side].height)
        for side in reversed(FRONT_FIRST)
        if side in pictures
    }
    path = "" if clip is None else _from(clip, folder)
    height, width = atlas.facts.source_size
    first, last = frames[0], frames[-1]
    return NukeScene(path, (width, height), first, last, float(Fraction(atlas.facts.rate)), sizes)


def _from(clip: Path, folder: Path) -> str:
    """The path of a clip from the folder of the script."""
    path = Path(os.path.relpath(clip.absolute(), folder.absolute()))
    return (path / "%05d.png" if clip.is_dir() else path).as_posix()
