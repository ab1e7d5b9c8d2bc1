"""What a file is, by its first bytes, and what to do with one that is not read here."""

from __future__ import annotations

from typing import NamedTuple

FIRST_BYTES = 4096
"""So much of a file's beginning is looked at."""

HEIF_EXTRA = "pip install text2live[heif]"


class FileKind(NamedTuple):
    """A kind of file, in words: "is a PDF document; export the page as PNG"."""

    name: str
    advice: str


_CONVERT = "convert it to JPEG or PNG"
_HEIF = f"{_CONVERT}, or {HEIF_EXTRA}"
_DEVELOP = "develop it to TIFF or JPEG"
_EXPORT = "export it as PNG or TIFF"
_CLIP = "use edit-video for it"
_UNPACK = "unpack it, and name the picture in it"

# Brands of ISO base media files, after "ftyp".
_BRANDS = {
    **dict.fromkeys((b"heic", b"heix", b"heim", b"heis"), FileKind("a HEIC picture", _HEIF)),
    **dict.fromkeys((b"mif1", b"msf1", b"hevc", b"hevx"), FileKind("a HEIF picture", _HEIF)),
    **dict.fromkeys((b"avif", b"avis"), FileKind("an AVIF picture", _HEIF)),
    b"crx ": FileKind("a camera's RAW file", _DEVELOP),
    b"jxl ": FileKind("a JPEG XL picture", _CONVERT),
    b"jp2 ": FileKind("a JPEG 2000 picture", _CONVERT),
    b"qt  ": FileKind("a QuickTime video", _CLIP),
}
_ISO_VIDEO = FileKind("an MP4 video", _CLIP)

# Where the marks are, the marks, and the kind. The first that fits is it.
_MARKS: tuple[tuple[int, bytes, FileKind], ...] = (
    (0, b"%PDF", FileKind("a PDF document", "export the page as PNG")),
    (0, b"%!PS", FileKind("a PostScript file", _EXPORT)),
    (0, b"8BPS", FileKind("a Photoshop file (PSD)", _EXPORT)),
    (0, b"gimp xcf", FileKind("a GIMP file (XCF)", _EXPORT)),
    (0, b"PK\3\4", FileKind("a ZIP archive, or a document that is one", _UNPACK)),
    (0, b"Rar!", FileKind("a RAR archive", _UNPACK)),
    (0, b"7z\xbc\xaf\x27\x1c", FileKind("a 7z archive", _UNPACK)),
    (0, b"\x1f\x8b", FileKind("a gzip file", _UNPACK)),
    (8, b"CR\2\0", FileKind("a camera's RAW file (CR2)", _DEVELOP)),
    (0, b"FUJIFILMCCD-RAW", FileKind("a camera's RAW file (RAF)", _DEVELOP)),
    (0, b"IIRO", FileKind("a camera's RAW file (ORF)", _DEVELOP)),
    (0, b"IIRS", FileKind("a camera's RAW file (ORF)", _DEVELOP)),
    (0, b"IIU\0", FileKind("a camera's RAW file (RW2)", _DEVELOP)),
    (0, b"\xff\x0a", FileKind("a JPEG XL picture", _CONVERT)),
    (4, b"JXL ", FileKind("a JPEG XL picture", _CONVERT)),
    (4, b"jP  ", FileKind("a JPEG 2000 picture", _CONVERT)),
    (0, b"\xff\x4f\xff\x51", FileKind("a JPEG 2000 picture", _CONVERT)),
    (0, b"v/1\1", FileKind("an OpenEXR picture", _EXPORT)),
    (0, b"#?RADIANCE", FileKind("a Radiance HDR picture", _EXPORT)),
    (0, b"qoif", FileKind("a QOI picture", _CONVERT)),
    (0, b"DDS ", FileKind("a DDS texture", _CONVERT)),
    (0, b"\0\0\1\0", FileKind("an icon (ICO)", _CONVERT)),
    (0, b"\x1a\x45\xdf\xa3", FileKind("a Matroska or WebM video", _CLIP)),
    (8, b"AVI ", FileKind("an AVI video", _CLIP)),
    (8, b"WAVE", FileKind("a sound file", "name a picture")),
    (0, b"ID3", FileKind("a sound file", "name a picture")),
    (0, b"fLaC", FileKind("a sound file", "name a picture")),
    (0, b"OggS", FileKind("an Ogg file", "name a picture")),
    (0, b"\0\0\1\xba", FileKind("an MPEG video", _CLIP)),
    (0, b"version https://git-lfs", FileKind("a Git LFS pointer", "fetch it by `git lfs pull`")),
)
_TEXT_STARTS = (
    ("<svg", FileKind("an SVG drawing", "export it as PNG")),
    ("<!doctype html", FileKind("a web page", "download the picture itself")),
    ("<html", FileKind("a web page", "download the picture itself")),
)


def kind_of(data: bytes) -> FileKind | None:
    """What a file with the first bytes `data` is; None for what is read here, or unknown.

    What a file is called says nothing: phones send HEIC files that are named .jpg.
    """
    data = data[:FIRST_BYTES]
    if data[4:8] == b"ftyp":
        brands = [data[8:12], *(data[i : i + 4] for i in range(16, 64, 4))]
        return next((_BRANDS[brand] for brand in brands if brand in _BRANDS), _ISO_VIDEO)
    for start, mark, kind in _MARKS:
        if data[start : start + len(mark)] == mark:
            return kind
    text = data.decode("utf-8", "ignore").lstrip("\ufeff \t\r\n").lower()
    if text.startswith(("<?xml", "<!--", "<!doctype svg")):
        return _TEXT_STARTS[0][1] if "<svg" in text else None
    return next((kind for start, kind in _TEXT_STARTS if text.startswith(start)), None)
