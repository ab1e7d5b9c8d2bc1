"""The chunks of a PNG file: what belongs to its pixels, without what lies beside them."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

SIGNATURE = b"\x89PNG\r\n\x1a\n"

_PIXELS = frozenset({b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"})
_ANIMATION = frozenset({b"acTL", b"fcTL", b"fdAT"})
_COLOR_AND_POSE = frozenset({b"iCCP", b"eXIf"})
_MAX_PROFILE = 2**24
"""Bytes of a colour profile when unpacked: the largest that are sold have some 4 MB."""


def essential(data: bytes) -> bytes:
    """A PNG file without side information: texts, histograms, times, and whatever is unknown.

    Decoders refuse a file over a large text or a wrong checksum there, though its pixels are sound.
    Of colour profile, EXIF and animation, chunks with a wrong checksum are left out; those of the
    pixels stay as they are, for the decoder to judge.
    """
    chunks = [data[:8]]
    for kind, chunk in _chunks(data):
        beside = kind in _ANIMATION or kind in _COLOR_AND_POSE
        if kind in _PIXELS or (beside and _is_sound(chunk)):
            chunks.append(chunk)
    return b"".join(chunks)


def pixels_only(data: bytes) -> bytes:
    """A PNG file without anything over which libpng would write to stderr."""
    needed = _PIXELS - {b"PLTE"}
    return data[:8] + b"".join(chunk for kind, chunk in _chunks(data) if kind in needed)


def split_profile(data: bytes) -> tuple[bytes, bytes | None]:
    """A PNG file without its colour profile, and that profile, unpacked.

    Decoders that unpack it themselves have too small a limit. None where there is none, or one
    that cannot be unpacked.
    """
    profile, chunks = None, [data[:8]]
    for kind, chunk in _chunks(data):
        if kind == b"iCCP":
            profile = profile or _unpacked(chunk[8:-4])
        else:
            chunks.append(chunk)
    return b"".join(chunks), profile


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Type and bytes of every chunk up to IEND; the last one may be cut short."""
    start = 8
    while start + 8 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, start)
        end = start + length + 12
        yield kind, data[start:end]
        if kind == b"IEND":
            return
        start = end


def _is_sound(chunk: bytes) -> bool:
    return len(chunk) >= 12 and zlib.crc32(chunk[4:-4]) == int.from_bytes(chunk[-4:], "big")


def _unpacked(body: bytes) -> bytes | None:
    name, _, packed = body.partition(b"\0")
    if not name or not packed or packed[0] != 0:
        return None
    try:
        unpacker = zlib.decompressobj()
        profile = unpacker.decompress(packed[1:], _MAX_PROFILE)
    except zlib.error:
        return None
    return profile if unpacker.eof else None
