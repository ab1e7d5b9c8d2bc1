"""Odd pictures for tests, built byte by byte where no library writes them."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageCms

_PNG_COLOR_TYPES = {1: 0, 2: 4, 3: 2, 4: 6}


def pattern(
    channels: int = 3, dtype: type = np.uint8, height: int = 20, width: int = 28
) -> np.ndarray:
    """Repeatable noise over the whole range of `dtype`, without any symmetry: (H, W, channels)."""
    random = np.random.default_rng(channels)
    high = int(np.iinfo(dtype).max)
    return random.integers(0, high, (height, width, channels), dtype=dtype, endpoint=True)


def png_chunk(kind: bytes, body: bytes) -> bytes:
    """One PNG chunk with its length and checksum."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png_bytes(samples: np.ndarray, *side_chunks: bytes) -> bytes:
    """A PNG of (H, W, 1–4) uint8 or uint16 samples, with other chunks ahead of the pixels."""
    height, width, channels = samples.shape
    big_endian = samples.astype(samples.dtype.newbyteorder(">"))
    rows = b"".join(b"\0" + row.tobytes() for row in big_endian)
    return b"".join(
        (
            png_header(width, height, 8 * samples.itemsize, _PNG_COLOR_TYPES[channels]),
            *side_chunks,
            png_chunk(b"IDAT", zlib.compress(rows)),
            png_chunk(b"IEND", b""),
        )
    )


def png_header(width: int, height: int, depth: int = 8, color_type: int = 2) -> bytes:
    """The signature and header of a PNG of any claimed size, without pixels."""
    header = struct.pack(">IIBBBBB", width, height, depth, color_type, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header)


def bomb_png(width: int, height: int, depth: int = 8) -> bytes:
    """A PNG of some 100 bytes that claims to be width × height."""
    pixels = png_chunk(b"IDAT", zlib.compress(bytes(1000)))
    return png_header(width, height, depth) + pixels + png_chunk(b"IEND", b"")


def bomb_bmp(width: int, height: int) -> bytes:
    """A BMP that claims to be width × height and holds no pixels."""
    info = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 24, 0, 0, 0, 0, 0, 0)
    return struct.pack("<2sIHHI", b"BM", 54, 0, 0, 54) + info + bytes(64)


def bomb_tiff(width: int, height: int, depth: int = 8, tile: Sequence[int] = ()) -> bytes:
    """A grey TIFF that claims to be width × height (in tiles of the given sides)."""
    tags = [(256, width), (257, height), (258, depth), (259, 1), (262, 1), (277, 1)]
    tags += zip((322, 323, 324, 325), (*tile, 8, 64), strict=True) if tile else ()
    tags += [] if tile else [(273, 8), (278, height), (279, 64)]
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in sorted(tags))
    directory = struct.pack("<H", len(tags)) + entries + bytes(4)
    return b"II*\0" + struct.pack("<I", 72) + bytes(64) + directory


def orientation_exif(orientation: int) -> bytes:
    """EXIF data that says how the camera was held (1–8)."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif.tobytes()


def rgb_profile() -> bytes:
    """A valid RGB profile (sRGB)."""
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def grey_profile() -> bytes:
    """A valid grey profile with a gamma of 2."""
    gamma = b"curv" + bytes(4) + struct.pack(">IH", 1, 0x0200)
    return _icc_profile(b"mntr", b"GRAY", {b"kTRC": gamma, b"wtpt": b"XYZ " + bytes(4) + _D50})


def cmyk_profile() -> bytes:
    """A CMYK profile that no formula would guess: paper is white, cyan ink prints sRGB red,
    every other full ink or mixture is black."""
    black, red, white = bytes((0, 128, 128)), bytes((138, 209, 198)), bytes((255, 128, 128))
    inks = {0b0000: white, 0b1000: red}  # cyan varies slowest
    table = b"".join(inks.get(mixture, black) for mixture in range(16))
    identity = struct.pack(">9i", *(65536 * (i % 4 == 0) for i in range(9)))
    ramp = bytes(range(256))
    lut = b"mft1" + bytes(4) + bytes((4, 3, 2, 0)) + identity + 4 * ramp + table + 3 * ramp
    return _icc_profile(b"prtr", b"CMYK", {b"A2B0": lut})


_D50 = struct.pack(">3i", 63190, 65536, 54061)


def _icc_profile(device: bytes, space: bytes, tags: dict[bytes, bytes]) -> bytes:
    start = 128 + 4 + 12 * len(tags)
    directory, body = struct.pack(">I", len(tags)), b""
    for name, data in tags.items():
        directory += name + struct.pack(">II", start + len(body), len(data))
        body += data + bytes(-len(data) % 4)
    connection = b"Lab " if space == b"CMYK" else b"XYZ "
    header = struct.pack(
        ">I4sI4s4s4s12s4s28s12s48s",
        start + len(body),
        bytes(4),
        0x02400000,
        device,
        space,
        connection,
        struct.pack(">6H", 2020, 1, 1, 0, 0, 0),
        b"acsp",
        bytes(28),
        _D50,
        bytes(48),
    )
    return header + directory + body
