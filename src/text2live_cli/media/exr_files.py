"""OpenEXR files, for compositors: float samples in linear light (the extra `exr`)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import UsageError
from .files import atomic_path
from .samples import to_unit

TRANSFER = "linear, from sRGB (IEC 61966-2-1)"
"""What stands in a file of pictures as `transferFunction`."""
_REC709 = (0.64, 0.33, 0.3, 0.6, 0.15, 0.06, 0.3127, 0.329)  # chromaticities, white last
_KNEE, _SLOPE = 0.04045, 12.92  # of the sRGB curve


def require_exr() -> None:
    """Raise UsageError where OpenEXR is not installed."""
    _openexr()


def write_exr(
    path: Path,
    parts: Mapping[str, NDArray[Any]],
    facts: Mapping[str, Mapping[str, Any]] | None = None,
) -> None:
    """Write pictures (h, w, 3 or 4) of float16 or float32, whole or not at all.

    Each is a part by its name; `facts` are attributes of the parts. ZIP-compressed, without loss.
    """
    exr = _openexr()
    pieces = [
        exr.Part(
            {
                "compression": exr.ZIP_COMPRESSION,
                "type": exr.scanlineimage,
                **(facts or {}).get(n, {}),
            },
            {"RGBA" if samples.shape[2] == 4 else "RGB": np.ascontiguousarray(samples)},
            name=n,
        )
        for n, samples in parts.items()
    ]
    with atomic_path(path) as temporary:
        exr.File(pieces).write(str(temporary))


def linear_part(rgba: NDArray[Any]) -> NDArray[np.float16]:
    """Straight sRGB (h, w, 3 or 4), uint8 or uint16 → linear light, premultiplied, in halves."""
    unit = to_unit(rgba)
    coded = unit[..., :3]
    light = np.where(coded <= _KNEE, coded / _SLOPE, ((coded + 0.055) / 1.055) ** 2.4)
    if rgba.shape[2] == 4:
        light = np.dstack([light * unit[..., 3:], unit[..., 3]])
    return light.astype(np.float16)


def picture_facts(**others: Any) -> dict[str, Any]:
    """Attributes of a part that `linear_part` made."""
    return {"chromaticities": _REC709, "transferFunction": TRANSFER, **others}


def _openexr() -> Any:
    try:
        import OpenEXR
    except ImportError as error:
        raise UsageError(".exr: needs OpenEXR: pip install 'text2live[exr]'") from error
    return OpenEXR
