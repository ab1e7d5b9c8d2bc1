"""HEIC and AVIF pictures, where the extra `heif` is installed.

HEIC is decoded by pillow-heif, AVIF by Pillow itself: libheif comes without an AV1 decoder.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from io import BytesIO
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageOps, features

_AVIF = (b"avif", b"avis")
_HEIC = (b"heic", b"heix", b"heim", b"heis", b"mif1", b"msf1", b"hevc", b"hevx")


class HeifPicture(NamedTuple):
    """A decoded picture, upright."""

    samples: np.ndarray
    """(H, W, 1 to 4): uint8 of 8 bits, uint16 of more, from 0 to the type's largest value."""
    icc_profile: bytes | None
    pictures: int
    """How many the file holds."""
    format: str


def can_read(data: bytes) -> bool:
    """Whether a file begins as HEIC or AVIF files do, and its decoder is here."""
    if data[4:8] != b"ftyp":
        return False
    if data[8:12] in _AVIF:
        return bool(features.check("avif"))
    return data[8:12] in _HEIC and find_spec("pillow_heif") is not None


def decode(data: bytes, check_size: Callable[[int, int], None]) -> HeifPicture:
    """Decode a file's main picture; `check_size` gets width and height before a pixel is decoded.

    Raises what the decoders raise over a damaged file (ValueError, RuntimeError, OSError and such).
    """
    return (_decode_avif if data[8:12] in _AVIF else _decode_heic)(data, check_size)


def _decode_avif(data: bytes, check_size: Callable[[int, int], None]) -> HeifPicture:
    with Image.open(BytesIO(data), formats=["AVIF"]) as image:
        check_size(*image.size)
        count, profile = getattr(image, "n_frames", 1), image.info.get("icc_profile")
        upright = ImageOps.exif_transpose(image)
        mode = "RGBA" if upright.has_transparency_data else "RGB"
        return HeifPicture(np.array(upright.convert(mode)), profile, count, "AVIF")


def _decode_heic(data: bytes, check_size: Callable[[int, int], None]) -> HeifPicture:
    import pillow_heif

    file = pillow_heif.open_heif(data, convert_hdr_to_8bit=False)
    check_size(*file.size)
    samples = np.asarray(file)
    if samples.dtype == np.uint16:  # 10 or 12 bits come in the upper ones of 16
        depth = int(file.info["bit_depth"])
        scale = np.rint(np.linspace(0, 65535, 2**depth)).astype(np.uint16)
        samples = scale[samples >> (16 - depth)]
    samples = samples if samples.ndim == 3 else samples[..., np.newaxis]
    return HeifPicture(samples, file.info.get("icc_profile"), len(file), "HEIC")
