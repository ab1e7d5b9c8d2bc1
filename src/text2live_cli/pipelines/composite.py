"""Saved layers over a source, in whole numbers: what anyone can repeat from the files.

This is the delivery form of Eq. 1; `edit_layer.py` has the one that is trained.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from ..errors import Text2LiveError, UsageError
from ..media.pictures import (
    Picture,
    read_picture,
    writable_kind,
    write_picture,
)
from ..progress import Progress, Silent
from ..runs.folder import check_output
from ..runs.preflight import require_file_place

_ASPECT_TOLERANCE = 0.01
_PIXELS = 1_000_000  # at a time, so that memory does not grow with the picture


def lay_over(source: np.ndarray, layer: np.ndarray, opacity: float = 1.0) -> np.ndarray:
    """Composite a straight-alpha layer (H, W, 4) uint8 over a source (H, W, 3) uint8 or uint16.

    Where alpha is 0 the source's values come out untouched, where it is 255 the layer's colour.
    """
    result = np.empty_like(source)
    scale = np.iinfo(source.dtype).max // 255
    step = max(1, _PIXELS // source.shape[1])
    for top in range(0, len(source), step):
        rows = slice(top, top + step)
        below = source[rows].astype(np.float64)
        color = layer[rows, :, :3].astype(np.float64) * scale
        share = layer[rows, :, 3:].astype(np.float64) / 255 * opacity
        result[rows] = np.rint(below + share * (color - below)).astype(source.dtype)
    return result


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
