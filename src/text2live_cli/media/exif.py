"""EXIF: what a camera told of a picture, for the edited one."""

from __future__ import annotations

import struct

from PIL import ExifTags, Image
from PIL.TiffImagePlugin import ImageFileDirectory_v2

_MARK = b"Exif\0\0"
_MOST = 65_533 - 2 - len(_MARK)  # bytes of one that a JPEG can hold
_APPLIED = ExifTags.Base.Orientation
_PARTS = (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo)
_TOLD = (
    *(ExifTags.Base.ImageDescription, ExifTags.Base.Make, ExifTags.Base.Model),
    *(ExifTags.Base.Software, ExifTags.Base.DateTime, ExifTags.Base.Artist),
    ExifTags.Base.Copyright,
)
_TIFF_HEADER = b"II*\0"  # little-endian, offsets of 32 bits
_ENTRY = 12  # bytes of one in a directory
_OF_THE_FILE = (ExifTags.Base.ExifImageWidth, ExifTags.Base.ExifImageHeight)


def exif_of_tiff(data: bytes) -> bytes | None:
    """What `kept_exif` keeps of a TIFF file: nothing of its directory that tells of its pixels."""
    exif = Image.Exif()
    exif.load(data)
    for tag in [tag for tag in exif if tag not in (*_TOLD, *_PARTS)]:
        del exif[tag]
    return kept_exif(exif)


def kept_exif(exif: Image.Exif) -> bytes | None:
    """The EXIF of an opened picture, as TIFF bytes; None where there is none, or nothing sound.

    Without the orientation, which is applied, the thumbnail, which shows the former picture, and
    what only fits the former file. Where it is too large, without the maker's own notes.
    """
    exif.pop(_APPLIED, None)
    details = exif.get_ifd(ExifTags.IFD.Exif)
    for tag in _OF_THE_FILE:
        details.pop(tag, None)
    exif.get_ifd(ExifTags.IFD.GPSInfo)  # read now: it is written only then
    data = _bytes(exif)
    if len(data) > _MOST:
        details.pop(ExifTags.Base.MakerNote, None)
        data = _bytes(exif)
    return data if len(exif) and len(data) <= _MOST else None


def _bytes(exif: Image.Exif) -> bytes:
    return exif.tobytes().removeprefix(_MARK)


def marked(exif: bytes) -> bytes:
    """As Pillow takes it for files that it writes."""
    return _MARK + exif


def tiff_with_exif(tiff: bytes, exif: bytes) -> bytes:
    """A TIFF with EXIF beside its own tags: its directory, with more entries, at the end.

    One with 64-bit offsets, of over 4 GB, stays as it is.
    """
    if not tiff.startswith(_TIFF_HEADER):
        return tiff
    told = Image.Exif()
    told.load(exif)
    entries, directory = _entries(tiff), ImageFileDirectory_v2(_TIFF_HEADER + bytes(4))
    for tag, value in told.items():
        if tag not in entries:
            directory[tag] = _part(told, tag) if tag in _PARTS else value
    data = tiff + b"\0" * (len(tiff) % 2)
    head = 2 + _ENTRY * len(directory) + 4
    written = directory.tobytes(len(data) - head)  # so that its values lie where they are put
    data += written[head:] + b"\0" * (len(written) % 2)
    entries |= {tag: written[2 + _ENTRY * n :][:_ENTRY] for n, tag in enumerate(sorted(directory))}
    merged = b"".join(entries[tag] for tag in sorted(entries))
    whole = struct.pack("<H", len(entries)) + merged + bytes(4)
    return _TIFF_HEADER + struct.pack("<I", len(data)) + data[8:] + whole


def _part(told: Image.Exif, part: int) -> dict[int, object]:
    """A directory of its own, with the one that may lie in it."""
    values = dict(told.get_ifd(part))
    if ExifTags.IFD.Interop in values:
        values[ExifTags.IFD.Interop] = told.get_ifd(ExifTags.IFD.Interop)
    return values


def _entries(tiff: bytes) -> dict[int, bytes]:
    """The entries of its directory by their tags."""
    (start,) = struct.unpack_from("<I", tiff, 4)
    (count,) = struct.unpack_from("<H", tiff, start)
    rows = [tiff[start + 2 + _ENTRY * n :][:_ENTRY] for n in range(count)]
    return {struct.unpack_from("<H", row)[0]: row for row in rows}
