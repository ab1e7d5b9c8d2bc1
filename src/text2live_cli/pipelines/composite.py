"""Saved layers over a source, in whole numbers: what anyone can repeat from the files.

This is the delivery form of Eq. 1; `edit_layer.py` has the one that is trained.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..atlas.footage import composited, stacked, tell_uncovered
from ..atlas.layers import Side
from ..atlas.painting import painted_layer, read_frame_edit
from ..atlas.render import Layer
from ..atlas.store import read_atlas
from ..engine.delivery import lay_over
from ..errors import Text2LiveError, UsageError
from ..media.clip_frames import transparency_note
from ..media.clip_writing import keeps_alpha, require_writable, write_layer_frames, write_video
from ..media.clips import open_clip
from ..media.pictures import (
    Picture,
    read_picture,
    writable_kind,
    write_picture,
)
from ..progress import Progress, Silent
from ..runs.atlas_folder import find_atlas
from ..runs.folder import check_output
from ..runs.preflight import require_file_place
from ..video.result import result_layers

_ASPECT_TOLERANCE = 0.01


def composite(
    source: Path | str,
    layers: Sequence[Path | str],
    output: Path | str,
    *,
    opacity: float = 1.0,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Path:
    """Stack saved layers over a picture, the first lowest, and write `output`.

    A layer is an RGBA picture, or a result folder of `edit_image`. The source may be a larger or
    re-graded version of the one that the layers were made on: they are resized to it.
    Raises UsageError and Text2LiveError.
    """
    progress = progress or Silent()
    source, output = Path(source), Path(output)
    if not 0 <= opacity <= 1:
        raise UsageError(f"--opacity {opacity}: must be from 0 to 1")
    if not layers:
        raise UsageError("name at least one layer to lay over the source")
    writable_kind(output)
    require_file_place("-o", output)
    check_output(output, [source, *map(_layer_file, map(Path, layers))], overwrite)
    picture = read_picture(source)
    _tell(picture, progress)
    color = picture.color
    for path in layers:
        color = lay_over(color, _read_layer(Path(path), picture, progress), opacity)
    for note in write_picture(output, color, picture.alpha, picture.icc_profile):
        progress.message(note)
    return output


def _read_layer(path: Path, source: Picture, progress: Progress) -> np.ndarray:
    """A layer (H, W, 4) uint8 at the size of the source."""
    layer = read_picture(_layer_file(path))
    if layer.alpha is None:
        raise UsageError(f"{layer.path}: has no alpha, so it is no layer; give a layer.png")
    rgba = np.dstack([layer.color, layer.alpha])
    if rgba.dtype != np.uint8:
        rgba = np.rint(rgba / 257).astype(np.uint8)
    if (layer.height, layer.width) == (source.height, source.width):
        return rgba
    if abs(layer.width * source.height / (layer.height * source.width) - 1) > _ASPECT_TOLERANCE:
        raise Text2LiveError(
            f"{layer.path}: {layer.width}×{layer.height} has not the shape of the source,"
            f" {source.width}×{source.height}"
        )
    progress.message(f"{layer.path}: resized to {source.width}×{source.height}")
    return _resized(rgba, source.width, source.height)


def _layer_file(path: Path) -> Path:
    return path / "layer.png" if path.is_dir() else path


def _resized(rgba: np.ndarray, width: int, height: int) -> np.ndarray:
    """Resize with colours weighted by alpha, so that hidden colours do not bleed in."""
    image = Image.fromarray(rgba, "RGBA").convert("RGBa")
    resized = image.resize((width, height), Image.Resampling.BICUBIC)
    return np.array(resized.convert("RGBA"))


def _tell(picture: Picture, progress: Progress) -> None:
    for note in picture.notes:
        progress.message(f"{picture.path.name}: {note}")


def composite_clip(
    source: Path | str,
    output: Path | str,
    *,
    atlas_dir: Path | str | None = None,
    fg_layer: Path | str | None = None,
    bg_layer: Path | str | None = None,
    frame_edits: Sequence[str] = (),
    results: Sequence[Path | str] = (),
    opacity: float = 1.0,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Path:
    """Composite hand-painted layers over all frames of a clip, through its atlas, into `output`.

    `fg_layer` and `bg_layer` are pictures of the size of the atlas's foreground.png and
    background.png or a whole multiple of it: either RGBA layers or painted-over copies. A frame
    edit "N:PICTURE" is an RGBA layer of the clip's size, painted on frame N (from 0); these lie
    above, in their order. `results` are folders of `edit_video`; their layers lie lowest.
    `opacity`, 0 to 1, is a factor on every alpha. `output` is a video with the source's rate,
    timing, colour tags and sound, or without an ending a folder of PNG frames; transparency of the
    source is kept by .mov, .webm and PNG, and shown on white by others. Frames that were not fitted
    are copied, and so is, bit for bit before encoding, every pixel that no paint reaches.
    `atlas_dir` is by default what `fit_atlas` made beside the clip or here.

    Raises UsageError for what cannot be asked for, Text2LiveError for what goes wrong.
    """
    progress = progress or Silent()
    source, is_folder = Path(source), str(output).endswith(("/", os.sep))
    output = Path(output)
    is_folder = is_folder or not output.suffix
    if fg_layer is None and bg_layer is None and not frame_edits and not results:
        raise UsageError(
            "nothing to lay over the clip: give --fg-layer, --bg-layer, --frame-edit or results"
        )
    if not 0 <= opacity <= 1:
        raise UsageError(f"--opacity {opacity}: must be from 0 to 1")
    if not is_folder:
        require_writable(output)
        require_file_place("-o", output)
    atlas_folder = Path(atlas_dir) if atlas_dir is not None else find_atlas(source)
    painted_frames = [text.partition(":")[2] for text in frame_edits]
    inputs = [source, atlas_folder, fg_layer, bg_layer, *painted_frames, *results]
    if output.exists() and source.exists() and output.samefile(source):
        raise UsageError(f"{output} is the clip itself: choose another -o OUT")
    check_output(output, inputs, overwrite, "folder" if is_folder else "file")
    clip = open_clip(source)
    if atlas_folder is None:
        raise UsageError(f"{source}: no atlas of it; run text2live fit-atlas, or give --atlas-dir")
    folder = atlas_folder
    atlas = read_atlas(folder)
    atlas.require_clip(clip, folder)
    alpha = clip.transparent and (is_folder or keeps_alpha(output))
    if alpha and not is_folder:
        require_writable(output, alpha)
    for note in clip.notes + tell_uncovered(clip, atlas):
        if not (alpha and note == transparency_note(clip.path)):
            progress.message(note)
    files: dict[Side, Path | str | None] = {"foreground": fg_layer, "background": bg_layer}
    layers = {s: painted_layer(Path(p), s, atlas, folder, progress) for s, p in files.items() if p}
    edited = result_layers([Path(result) for result in results], clip, atlas.digest)
    stack = list(stacked(edited))
    stack.append({side: layer for side, layer in layers.items() if layer is not None})
    stack += [read_frame_edit(text, clip, atlas, progress) for text in frame_edits]
    faded = [{side: _faded(layer, opacity) for side, layer in on.items()} for on in stack if on]
    frames = composited(clip, atlas, faded, progress, alpha)
    if is_folder:
        _write_frames(output, frames)
        return output
    notes = write_video(
        output, frames, clip.rate, times=clip.times, end=clip.end, like=clip, audio_from=clip
    )
    for note in notes:
        progress.message(note)
    return output


def _faded(layer: Layer, opacity: float) -> Layer:
    return layer._replace(premultiplied=layer.premultiplied * opacity)


def _write_frames(folder: Path, frames: Iterator[NDArray[np.uint8]]) -> None:
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Text2LiveError(f"{folder}: cannot be made a folder ({error.strerror})") from error
    write_layer_frames(folder, frames)
