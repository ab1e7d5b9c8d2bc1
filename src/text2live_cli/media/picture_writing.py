"""Writing still pictures: each kind of file whole or not at all, with its colour profile."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import imagecodecs
import imageio.v3 as imageio
import numpy as np
from PIL import features

from ..errors import Text2LiveError, UsageError
from .exif import marked, tiff_with_exif
from .files import write_bytes_atomic
from .samples import to_uint, to_unit

_Encoder = Callable[[np.ndarray, bytes | None, bytes | None], bytes]
"""Samples, colour profile, EXIF → the bytes of a file."""


def write_picture(
    path: Path,
    color: np.ndarray,
    alpha: np.ndarray | None = None,
    icc_profile: bytes | None = None,
    exif: bytes | None = None,
) -> tuple[str, ...]:
    """Write a PNG, TIFF, WebP, AVIF or JPEG file, by its ending, whole or not at all.

    `color` is (H, W, 3) RGB or (H, W) grey, `alpha` (H, W) straight and only with RGB; all uint8
    or all uint16. PNG and TIFF keep every bit; the others round 16 bits to 8 (WebP is lossless
    after that), and JPEG drops an alpha that is opaque everywhere and refuses any other. `exif`
    is as of `Picture`.
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
    write_bytes_atomic(path, kind.encode(np.ascontiguousarray(samples), icc_profile, exif))
    return notes


def writable_kind(path: Path) -> _Kind:
    """The format that the ending of `path` names; UsageError where it is none that is written."""
    kind = _KINDS.get(path.suffix.lower())
    if kind is None or (kind is _AVIF and not features.check("avif")):
        raise UsageError(f"cannot write {path}: use a name that ends in {', '.join(_KINDS)}")
    return kind


def encode_png(samples: np.ndarray, icc_profile: bytes | None, exif: bytes | None = None) -> bytes:
    """A PNG of (H, W) or (H, W, 3 or 4), uint8 or uint16."""
    data = png_bytes(samples)
    chunks = b""
    if icc_profile is not None:
        chunks += _chunk(b"iCCP", b"ICC profile\0\0" + zlib.compress(icc_profile))
    if exif is not None:
        chunks += _chunk(b"eXIf", exif)
    header_end = 33  # the signature and IHDR, which has to come first
    return data[:header_end] + chunks + data[header_end:]


def png_bytes(samples: np.ndarray) -> bytes:
    """The same, plain: by runs alone, four times as fast as deflate's default and no larger."""
    how = imagecodecs.PNG.STRATEGY.RLE
    return bytes(imagecodecs.png_encode(np.ascontiguousarray(samples), level=1, strategy=how))


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def _encode_tiff(samples: np.ndarray, icc_profile: bytes | None, exif: bytes | None) -> bytes:
    tiff: bytes = imageio.imwrite(
        "<bytes>",
        samples,
        extension=".tiff",
        plugin="tifffile",
        photometric="minisblack" if samples.ndim == 2 else "rgb",
        extrasamples=["unassalpha"] if samples.shape[2:] == (4,) else None,
        software=False,
        compression="zlib",
        predictor=True,
        iccprofile=icc_profile,
        metadata=None,
    )
    return tiff if exif is None else tiff_with_exif(tiff, exif)


def _by_pillow(extension: str, **how: Any) -> _Encoder:
    def encode(samples: np.ndarray, icc_profile: bytes | None, exif: bytes | None) -> bytes:
        about: dict[str, Any] = {"icc_profile": icc_profile, **how}
        if exif is not None:
            about["exif"] = marked(exif)
        return imageio.imwrite("<bytes>", samples, extension=extension, plugin="pillow", **about)

    return encode


@dataclass(frozen=True)
class _Kind:
    """What a file format can hold, and its encoder."""

    name: str
    encode: _Encoder
    max_side: int
    has_alpha: bool
    is_deep: bool


_PNG = _Kind("PNG", encode_png, max_side=2**31 - 1, has_alpha=True, is_deep=True)


_TIFF = _Kind("TIFF", _encode_tiff, max_side=2**31 - 1, has_alpha=True, is_deep=True)


_WEBP = _Kind(
    "WebP",
    _by_pillow(".webp", lossless=True, exact=True),
    max_side=16_383,
    has_alpha=True,
    is_deep=False,
)


_AVIF = _Kind(
    "AVIF",
    _by_pillow(".avif", quality=95, subsampling="4:4:4"),
    max_side=65_535,
    has_alpha=True,
    is_deep=False,
)


_JPEG = _Kind(
    "JPEG",
    _by_pillow(".jpg", quality=95, subsampling=0),
    max_side=65_500,
    has_alpha=False,
    is_deep=False,
)


_KINDS = {
    ".png": _PNG,
    ".tif": _TIFF,
    ".tiff": _TIFF,
    ".webp": _WEBP,
    ".avif": _AVIF,
    ".jpg": _JPEG,
    ".jpeg": _JPEG,
}

PICTURE_ENDINGS = tuple(_KINDS)
"""Of the files that can be written, in lower case, with the point."""
