"""Still pictures: reading what users have, writing what they get.

Files are untrusted: sizes are checked in the header before any pixel is decoded, and whatever a
decoder stumbles over becomes one line that names the file. Pillow has no RGB mode of 16 bits, so
16-bit PNGs go through imagecodecs, and grey and RGB TIFFs of any depth through tifffile. TIFF, WebP
and JPEG are written by imageio, which knows those two; it opens files less carefully than is done
here.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import logging
import re
import stat
import struct
import threading
import warnings
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import cv2
import imagecodecs
import numpy as np
import tifffile
from PIL import ExifTags, Image, ImageCms

from ..errors import Text2LiveError, UsageError
from ..progress import Progress
from . import heif_pictures, png_chunks
from .exif import exif_of_tiff, kept_exif
from .file_kinds import kind_of
from .samples import RefusedError, check_size, to_uint, to_unit
from .tiff_pictures import _decode_plain_tiff, _Decoded, _frame_notes, _is_plain_tiff

_SAME_SHAPE = 0.01  # how far the aspects of a mask and its picture may differ
MIN_SIDE = 16
"""The shortest side, in pixels, that can be edited."""


MAX_FILE_BYTES = 2**30
"""Larger files are refused unread; 100 megapixels of 16-bit RGBA are 0.8e9 bytes."""

_READ_FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "GIF", "BMP")
_pillow_limit = threading.Lock()  # Pillow's limit is one for all threads
_TIFF_STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_UNSUPPORTED_MODES = frozenset({"I", "F", "I;16", "I;16B", "I;16L", "LAB", "HSV"})

# What Pillow, tifffile and imagecodecs are known to raise over damaged or hostile files.
_DECODER_ERRORS = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    EOFError,
    LookupError,
    OSError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
    struct.error,
    zlib.error,
)


# EXIF orientation: (swap the axes, then flip the rows, flip the columns).
_ORIENTATIONS = {
    2: (False, False, True),
    3: (False, True, True),
    4: (False, True, False),
    5: (True, False, False),
    6: (True, False, True),
    7: (True, True, True),
    8: (True, True, False),
}

# They log what they dislike in a file; without a handler that would reach the user's stderr.
for _library in ("tifffile", "PIL"):
    logging.getLogger(_library).addHandler(logging.NullHandler())


@dataclass(frozen=True)
class Picture:
    """A decoded, upright still picture."""

    color: np.ndarray
    """(H, W, 3) uint8 or uint16: RGB, not multiplied by alpha."""
    alpha: np.ndarray | None
    """(H, W) of the same dtype, or None where the file has no transparency."""
    icc_profile: bytes | None
    """The RGB colour profile of the file; None means sRGB."""
    path: Path
    format: str
    sha256: str
    """Hex digest of the file's bytes."""
    notes: tuple[str, ...]
    """What the user should be told about how the file was read."""
    exif: bytes | None = None
    """What the camera told, as TIFF bytes, but for what no longer holds (`kept_exif`)."""

    def in_eight_bits(self) -> Picture:
        """The same picture, its samples uint8."""
        if self.color.dtype == np.uint8:
            return self
        alpha = None if self.alpha is None else to_uint(to_unit(self.alpha), 255)
        return dataclasses.replace(self, color=to_uint(to_unit(self.color), 255), alpha=alpha)

    @property
    def height(self) -> int:
        """Height in pixels, upright."""
        return int(self.color.shape[0])

    @property
    def width(self) -> int:
        """Width in pixels, upright."""
        return int(self.color.shape[1])

    @property
    def max_value(self) -> int:
        """The value of white: 255 or 65535."""
        return int(np.iinfo(self.color.dtype).max)


def read_picture(path: Path) -> Picture:
    """Read a JPEG, PNG, WebP, TIFF, GIF or BMP file, upright, 8 bits as uint8 and more as uint16.

    Raises `UsageError` where `path` names no local file, and `Text2LiveError` where the file
    cannot be read, is no such picture, is damaged, too large or too small.
    """
    picture = _load(path)
    if min(picture.width, picture.height) < MIN_SIDE:
        raise Text2LiveError(
            f"{path}: {picture.width}×{picture.height} pixels are too few; "
            f"use a picture of at least {MIN_SIDE}×{MIN_SIDE}"
        )
    return picture


@contextlib.contextmanager
def opened(path: Path) -> Iterator[Image.Image]:
    """A picture of a result, for Pillow to make a small copy of: it warns of large ones else.

    Raises what Pillow raises.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        with Image.open(path) as image:
            yield image


def read_mask(path: Path, size: tuple[int, int], progress: Progress | None = None) -> np.ndarray:
    """Read a mask for a picture of `size` (height, width): (H, W) float32 in [0, 1].

    White (1) may be edited. Colour is averaged; the alpha channel is used only where it alone
    carries the drawing (every pixel has one colour). A mask of another size and the same shape is
    resized, and that is said. Raises as `read_picture` does, and `UsageError` for one of another
    shape.
    """
    picture = _load(path)
    height, width = size
    sizes = f"{path}: the mask is {picture.width}×{picture.height} pixels, the picture is"
    if abs(picture.width * height / (picture.height * width) - 1) > _SAME_SHAPE:
        raise UsageError(f"{sizes} {width}×{height}; save the mask at the picture's size")
    mask = _drawing(picture)
    if mask.shape != size:
        if progress is not None:
            progress.message(f"{sizes} {width}×{height}: resized to it")
        smaller = height < picture.height
        mode = cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
        mask = cv2.resize(mask, (width, height), interpolation=mode).clip(0, 1)
    return mask


def _drawing(picture: Picture) -> np.ndarray:
    """What a mask says, (H, W) float32 in [0, 1]."""
    alpha = picture.alpha
    if alpha is not None and np.ptp(alpha) > 0 and not np.ptp(picture.color, axis=(0, 1)).any():
        return to_unit(alpha)
    mask = picture.color.mean(axis=2, dtype=np.float32)
    mask /= np.iinfo(picture.color.dtype).max  # in place, to spare memory
    return mask


def _load(path: Path) -> Picture:
    return decode_picture(_read_file(path), path)


def decode_picture(data: bytes, path: Path) -> Picture:
    """As `read_picture` from the bytes of a file, which `path` names for what is told."""
    with _one_line_errors(path, data):
        decoded = _decode(data)
    samples = _upright(decoded)
    channels = samples.shape[2]
    color = samples[..., :3] if channels >= 3 else np.repeat(samples[..., :1], 3, axis=2)
    icc_profile, profile_notes = _rgb_profile(decoded.icc_profile)
    return Picture(
        color=np.ascontiguousarray(color),
        alpha=np.ascontiguousarray(samples[..., -1]) if channels in (2, 4) else None,
        icc_profile=icc_profile,
        path=path,
        format=decoded.format,
        sha256=hashlib.sha256(data).hexdigest(),
        notes=decoded.notes + profile_notes,
        exif=decoded.exif,
    )


def _read_file(path: Path) -> bytes:
    if re.match(r"[a-zA-Z][a-zA-Z0-9+.-]+:/", str(path)):
        raise UsageError(f"{path}: only local files are read; download the picture first")
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            raise UsageError(f"{path}: is a folder; name one picture in it")
        if not stat.S_ISREG(status.st_mode):
            raise UsageError(f"{path}: is no regular file; save the picture to disk first")
        if status.st_size > MAX_FILE_BYTES:
            raise Text2LiveError(
                f"{path}: {status.st_size / 2**30:.1f} GiB are too much for a picture "
                f"(limit {MAX_FILE_BYTES / 2**30:.0f} GiB); save a smaller copy"
            )
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise UsageError(f"{path}: no such file; check the name and the folder") from error
    except OSError as error:
        raise Text2LiveError(
            f"{path}: cannot be read ({error.strerror or error}); check its permissions"
        ) from error
    if not data:
        raise Text2LiveError(f"{path}: the file is empty; fetch or export it again")
    return data


@contextlib.contextmanager
def _one_line_errors(path: Path, data: bytes) -> Iterator[None]:
    """Turn all that a decoder may do over a bad file, with the bytes `data`, into one line."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except RefusedError as error:
        raise Text2LiveError(f"{path}: {error}") from error
    except Image.UnidentifiedImageError as error:
        raise Text2LiveError(f"{path}: {_what_it_is(data)}") from error
    except Image.DecompressionBombError as error:
        raise Text2LiveError(f"{path}: has too many pixels; save a smaller copy") from error
    except MemoryError as error:
        raise Text2LiveError(
            f"{path}: there is not enough memory to read this picture; close other programs, or"
            " save a smaller copy"
        ) from error
    except _DECODER_ERRORS as error:
        kind = kind_of(data)
        what = f"is {kind.name}," if kind else "the picture is"
        raise Text2LiveError(
            f"{path}: {what} damaged or cut short; fetch or export it again"
        ) from error


def _what_it_is(data: bytes) -> str:
    kind = kind_of(data)
    if kind is None:
        return "not a picture that can be read; use JPEG, PNG, WebP, TIFF, GIF or BMP"
    return f"is {kind.name}, not a picture that can be read; {kind.advice}"


def _decode(data: bytes) -> _Decoded:
    if data.startswith(_TIFF_STARTS):
        kind = kind_of(data)  # some cameras' files begin as TIFF does
        if kind is not None:
            raise RefusedError(f"is {kind.name}; {kind.advice}")
        with tifffile.TiffFile(BytesIO(data)) as tiff:
            page = tiff.pages.first
            if _is_raw(page):
                raise RefusedError("is a camera's RAW file; develop it to TIFF or JPEG")
            if _is_plain_tiff(page):
                decoded = _decode_plain_tiff(page, len(tiff.pages), len(data))
                return decoded._replace(exif=_exif(data))
    if heif_pictures.can_read(data):
        heif = heif_pictures.decode(data, check_size)
        notes = _frame_notes(heif.format, heif.pictures)
        return _Decoded(heif.samples, heif.format, 1, heif.icc_profile, notes)
    if data.startswith(png_chunks.SIGNATURE):
        sound, profile = png_chunks.split_profile(png_chunks.essential(data))
        with _open_with_pillow(sound) as image:
            return _decode_with_pillow(image, sound)._replace(icc_profile=profile)
    with _open_with_pillow(data) as image:
        return _decode_with_pillow(image, data)


def _is_raw(page: tifffile.TiffPage) -> bool:
    """Whether a TIFF is a camera's DNG, or begins with a thumbnail as NEF and ARW do."""
    tags = page.tags
    thumbnail = "SubIFDs" in tags and int(tags.valueof("NewSubfileType", default=0)) & 1
    return "DNGVersion" in tags or bool(thumbnail)


def _open_with_pillow(data: bytes) -> Image.Image:
    """Read the header only. Pillow's own limit is lifted here: it would hide the size from us."""
    with _pillow_limit:
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            image = Image.open(BytesIO(data), formats=_READ_FORMATS)
        finally:
            Image.MAX_IMAGE_PIXELS = limit
    check_size(*image.size)
    return image


def _decode_with_pillow(image: Image.Image, data: bytes) -> _Decoded:
    image.load()
    kind = image.format or ""
    icc_profile = image.info.get("icc_profile")
    notes: tuple[str, ...] = ()
    if kind == "PNG" and _png_depth(data) == 16:
        samples = _decode_deep_png(data)
    elif image.mode in _UNSUPPORTED_MODES:
        raise RefusedError(f"{image.mode} pixels are not supported; save it as RGB")
    elif image.mode == "CMYK":
        converted, note = _cmyk_to_rgb(image, icc_profile)
        samples, icc_profile, notes = np.array(converted), None, (note,)
    else:
        samples = np.array(image.convert("RGBA" if image.has_transparency_data else "RGB"))
    return _Decoded(
        samples=samples,
        format=kind,
        orientation=_exif_orientation(image),
        icc_profile=icc_profile,
        notes=notes + _frame_notes(kind, getattr(image, "n_frames", 1)),
        exif=_exif(data, None if kind == "TIFF" else image),
    )


def _exif(data: bytes, image: Image.Image | None = None) -> bytes | None:
    """Of an opened picture; without one, of the bytes of a TIFF."""
    try:
        return exif_of_tiff(data) if image is None else kept_exif(image.getexif())
    except _DECODER_ERRORS:  # broken EXIF: the pixels may be sound
        return None


def _exif_orientation(image: Image.Image) -> int:
    """The EXIF orientation; 1 (upright) where EXIF is broken, since the pixels may be sound."""
    try:
        return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except _DECODER_ERRORS:
        return 1


def _cmyk_to_rgb(image: Image.Image, icc_profile: bytes | None) -> tuple[Image.Image, str]:
    srgb = ImageCms.createProfile("sRGB")
    try:
        transform = ImageCms.buildTransform(BytesIO(icc_profile or b""), srgb, "CMYK", "RGB")
    except ImageCms.PyCMSError:
        return image.convert("RGB"), "CMYK without a usable profile: colours are approximate"
    return transform.apply(image), "CMYK is converted to sRGB through its profile"


def _rgb_profile(icc_profile: bytes | None) -> tuple[bytes | None, tuple[str, ...]]:
    """Keep a profile only where it describes RGB; grey pixels become RGB, their profile cannot."""
    if not icc_profile:
        return None, ()
    try:
        space = ImageCms.ImageCmsProfile(BytesIO(icc_profile)).profile.xcolor_space.strip()
    except (OSError, TypeError):  # a TIFF may hold something else than bytes there
        return None, ("the embedded colour profile is invalid and dropped",)
    if space != "RGB":
        return None, ("the embedded colour profile is not for RGB and is dropped",)
    return icc_profile, ()


def _upright(decoded: _Decoded) -> np.ndarray:
    samples = decoded.samples
    swap, flip_rows, flip_columns = _ORIENTATIONS.get(decoded.orientation, (False, False, False))
    if swap:
        samples = samples.swapaxes(0, 1)
    if flip_rows:
        samples = samples[::-1]
    if flip_columns:
        samples = samples[:, ::-1]
    return samples


def _png_depth(data: bytes) -> int:
    """Bits per sample, after checking the size again: Pillow may have met a second header."""
    width, height, depth = struct.unpack_from(">IIB", data, 16)
    check_size(width, height)
    return int(depth)


def _decode_deep_png(data: bytes) -> np.ndarray:
    samples = imagecodecs.png_decode(png_chunks.pixels_only(data))
    return samples if samples.ndim == 3 else samples[..., np.newaxis]
