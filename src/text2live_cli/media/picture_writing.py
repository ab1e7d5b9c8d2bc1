"""Writing still pictures: each kind of file whole or not at all, with its colour profile."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import imagecodecs
import imageio.v3 as imageio
import numpy as np

from ..errors import Text2LiveError, UsageError
from .files import write_bytes_atomic
from .samples import to_uint, to_unit


def write_picture(
    path: Path,
    color: np.ndarray,
    alpha: np.ndarray | None = None,
    icc_profile: bytes | None = None,
) -> tuple[str, ...]:
    """Write a PNG, TIFF, WebP or JPEG file, chosen by the ending, whole or not at all.

    `color` is (H, W, 3) RGB or (H, W) grey, `alpha` (H, W) straight and only with RGB; all uint8
    or all uint16. PNG and TIFF keep every bit; WebP and JPEG round 16 bits to 8 (WebP is lossless
    after that), and JPEG drops an alpha that is opaque everywhere and refuses any other.
    Returns what the user should be told. Raises `UsageError` for an ending or an alpha that
    cannot be written and `Text2LiveError` where the file cannot.
    """
    kind = writable_kind(path)
    if max(color.shape[:2]) > kind.max_side:
        raise Text2LiveError(
            f"cannot write {path}: {kind.name} ends at {kind.max_side} pixels a side; "
            "use a name that ends in .png"
        )
    if alpha is not None and not kind.has_alpha:
        if alpha.min() < np.iinfo(alpha.dtype).max:
            raise UsageError(
                f"cannot write {path}: {kind.name} has no transparency; "
                "use a name that ends in .png"
            )
        alpha = None
    samples = color if alpha is None else np.dstack([color, alpha])
    notes: tuple[str, ...] = ()
    if samples.dtype == np.uint16 and not kind.is_deep:
        samples = to_uint(to_unit(samples), 255)
        notes = (f"{path.name}: 16 bits are rounded to the 8 that {kind.name} can hold",)
    write_bytes_atomic(path, kind.encode(np.ascontiguousarray(samples), icc_profile))
    return notes


def writable_kind(path: Path) -> _Kind:
    """The format that the ending of `path` names; UsageError where it is none that is written."""
    kind = _KINDS.get(path.suffix.lower())
    if kind is None:
        raise UsageError(f"cannot write {path}: use a name that ends in {', '.join(_KINDS)}")
    return kind


def encode_png(samples: np.ndarray, icc_profile: bytes | None) -> bytes:
    """A PNG of (H, W) or (H, W, 3 or 4), uint8 or uint16."""
    data = bytes(imagecodecs.png_encode(samples))
    if icc_profile is None:
        return data
    body = b"iCCP" + b"ICC profile\0\0" + zlib.compress(icc_profile)
    chunk = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
    header_end = 33  # the signature and IHDR, which has to come first
    return data[:header_end] + chunk + data[header_end:]


def _encode_tiff(samples: np.ndarray, icc_profile: bytes | None) -> bytes:
    return imageio.imwrite(
        "<bytes>",
        samples,
        extension=".tiff",
        plugin="tifffile",
        photometric="minisblack" if samples.ndim == 2 else "rgb",
        extrasamples=["unassalpha"] if samples.shape[2:] == (4,) else None,
        compression="zlib",
        predictor=True,
        iccprofile=icc_profile,
        metadata=None,
    )


def _encode_webp(samples: np.ndarray, icc_profile: bytes | None) -> bytes:
    return imageio.imwrite(
        "<bytes>",
        samples,
        extension=".webp",
        plugin="pillow",
        lossless=True,
        exact=True,
        icc_profile=icc_profile,
    )


def _encode_jpeg(samples: np.ndarray, icc_profile: bytes | None) -> bytes:
    return imageio.imwrite(
        "<bytes>",
        samples,
        extension=".jpg",
        plugin="pillow",
        quality=95,
        subsampling=0,
        icc_profile=icc_profile,
    )


@dataclass(frozen=True)
class _Kind:
    """What a file format can hold, and its encoder."""

    name: str
    encode: Callable[[np.ndarray, bytes | None], bytes]
    max_side: int
    has_alpha: bool
    is_deep: bool


_PNG = _Kind("PNG", encode_png, max_side=2**31 - 1, has_alpha=True, is_deep=True)


_TIFF = _Kind("TIFF", _encode_tiff, max_side=2**31 - 1, has_alpha=True, is_deep=True)


_WEBP = _Kind("WebP", _encode_webp, max_side=16_383, has_alpha=True, is_deep=False)


_JPEG = _Kind("JPEG", _encode_jpeg, max_side=65_500, has_alpha=False, is_deep=False)


_KINDS = {
    ".png": _PNG,
    ".tif": _TIFF,
    ".tiff": _TIFF,
    ".webp": _WEBP,
    ".jpg": _JPEG,
    ".jpeg": _JPEG,
}

PICTURE_ENDINGS = tuple(_KINDS)
"""Of the files that can be written, in lower case, with the point."""
