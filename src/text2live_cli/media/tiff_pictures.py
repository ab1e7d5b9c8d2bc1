"""TIFFs that are read as they are: 8 and 16 bits, RGB and grey, with alpha."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import tifffile

from .samples import RefusedError, check_size, to_uint, unmultiplied


class _Decoded(NamedTuple):
    """What the decoders agree on; `samples` (H, W, 1–4) is grey, grey + alpha, RGB or RGBA."""

    samples: np.ndarray
    format: str
    orientation: int
    icc_profile: bytes | None
    notes: tuple[str, ...]
    exif: bytes | None = None


def _is_plain_tiff(page: tifffile.TiffPage) -> bool:
    """Whether these are grey or RGB pixels for tifffile; False leaves them to Pillow.

    Refuses from the header what neither can or should decode.
    """
    check_size(page.imagewidth, page.imagelength)
    # The memory that is taken follows the tile, which a hostile header can make huge.
    check_size(page.tilewidth, page.tilelength)
    bits = page.bitspersample
    if isinstance(bits, tuple) or bits > 16 or page.sampleformat != tifffile.SAMPLEFORMAT.UINT:
        raise RefusedError(
            "only unsigned integers of up to 16 bits are read (no float, no 32 bit); "
            "save it as 8- or 16-bit RGB"
        )
    color_channels = _TIFF_COLOR_CHANNELS.get(page.photometric)
    is_plain = (
        bits >= 8
        and color_channels is not None
        and color_channels <= page.samplesperpixel <= 4
        and page.imagedepth * page.tiledepth == 1
    )
    if bits > 8 and not is_plain:
        raise RefusedError(
            "more than 8 bits are read only as grey or RGB, with or without alpha; "
            "save it as 16-bit RGB"
        )
    return is_plain


def _decode_plain_tiff(page: tifffile.TiffPage, pages: int, file_size: int) -> _Decoded:
    return _Decoded(
        samples=_tiff_samples(page, file_size),
        format="TIFF",
        orientation=int(page.tags.valueof("Orientation", default=1)),
        icc_profile=page.iccprofile,
        notes=_frame_notes("TIFF", pages),
    )


def _tiff_samples(page: tifffile.TiffPage, file_size: int) -> np.ndarray:
    segments = list(zip(page.dataoffsets, page.databytecounts, strict=True))
    is_whole = all(count > 0 and offset + count <= file_size for offset, count in segments)
    if not is_whole or len(segments) != math.prod(page.chunked):
        raise EOFError("tifffile would fill what is missing with black")
    planes = page.asarray(squeeze=False)[:, 0]  # one plane per channel, or one with all channels
    samples = np.moveaxis(planes, 0, -1).reshape(page.imagelength, page.imagewidth, -1)
    if 8 < page.bitspersample < 16:
        scale = to_uint(np.linspace(0, 1, 2**page.bitspersample), 65535)
        samples = scale[samples]
    samples = samples.astype(samples.dtype.newbyteorder("="), copy=False)
    channels = _TIFF_COLOR_CHANNELS[page.photometric]
    color, extra = samples[..., :channels], samples[..., channels : channels + 1]
    if page.photometric == tifffile.PHOTOMETRIC.MINISWHITE:
        color = ~color
    meaning = page.extrasamples[0] if page.extrasamples else tifffile.EXTRASAMPLE.UNASSALPHA
    if meaning == tifffile.EXTRASAMPLE.UNSPECIFIED:
        return color
    if meaning == tifffile.EXTRASAMPLE.ASSOCALPHA:
        color = unmultiplied(color, extra)
    return np.concatenate([color, extra], axis=2)


_TIFF_COLOR_CHANNELS: dict[int, int] = {
    tifffile.PHOTOMETRIC.MINISWHITE: 1,
    tifffile.PHOTOMETRIC.MINISBLACK: 1,
    tifffile.PHOTOMETRIC.RGB: 3,
}


def _frame_notes(kind: str, count: int) -> tuple[str, ...]:
    return (f"{kind}: the first of {count} frames is used",) if count > 1 else ()
