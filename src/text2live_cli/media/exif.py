"""EXIF: what a camera told of a picture, for the edited one."""

from __future__ import annotations

from PIL import ExifTags, Image

_MARK = b"Exif\0\0"
_MOST = 65_533 - 2 - len(_MARK)  # bytes of one that a JPEG can hold
_APPLIED = ExifTags.Base.Orientation
_OF_THE_FILE = (ExifTags.Base.ExifImageWidth, ExifTags.Base.ExifImageHeight)


def kept_exif(image: Image.Image) -> bytes | None:
    """The EXIF of an opened picture, as TIFF bytes; None where there is none, or nothing sound.

    Without the orientation, which is applied, the thumbnail, which shows the former picture, and
    what only fits the former file. Where it is too large, without the maker's own notes.
    """
    exif = image.getexif()
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
