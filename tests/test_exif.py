"""What a camera told of a picture stands in the edited one, but for what no longer holds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import ExifTags, Image, ImageCms

from tests.commands import passed, run
from text2live_cli.media.picture_writing import write_picture
from text2live_cli.media.pictures import read_picture

MAKE, ORIENTATION = ExifTags.Base.Make, ExifTags.Base.Orientation
DATE, NOTE = ExifTags.Base.DateTimeOriginal, ExifTags.Base.MakerNote
WIDTH = ExifTags.Base.ExifImageWidth


def save_photo(path: Path, note: bytes = b"short") -> None:
    """A photo of 60×40 that lies on its side, with a profile, a place and a thumbnail."""
    rng = np.random.default_rng(0)
    image = Image.fromarray(rng.integers(0, 255, (40, 60, 3), np.uint8))
    exif = Image.Exif()
    exif[MAKE], exif[ORIENTATION] = "Camera & Sons", 6
    exif.get_ifd(ExifTags.IFD.Exif).update({DATE: "2026:01:02 03:04:05", WIDTH: 60, NOTE: note})
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.IFD.Interop] = {1: "R98"}
    exif.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSLatitudeRef] = "N"
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    image.save(path, exif=exif, icc_profile=profile)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    save_photo(tmp_path / "photo.jpg")
    write_picture(
        tmp_path / "layer.png", np.zeros((60, 40, 3), np.uint8), np.eye(60, 40, dtype="u1")
    )
    return tmp_path


@pytest.mark.parametrize("ending", ["png", "jpg", "tif", "webp", "avif"])
def test_the_edited_picture_has_it(here: Path, ending: str) -> None:
    passed(run("composite", "photo.jpg", "layer.png", "-o", f"out.{ending}"))
    image = Image.open(f"out.{ending}")
    exif = image.getexif()
    details = exif.get_ifd(ExifTags.IFD.Exif)
    assert image.size == (40, 60) and image.info["icc_profile"]
    assert exif[MAKE] == "Camera & Sons" and details[DATE] == "2026:01:02 03:04:05"
    assert exif.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSLatitudeRef] == "N"
    assert ORIENTATION not in exif and WIDTH not in details
    again = None if ending in ("avif", "tif") else read_picture(Path(f"out.{ending}"))
    assert again is None or again.exif == read_picture(here / "photo.jpg").exif


@pytest.mark.parametrize("depth", ["u1", "u2"])
def test_a_tiff_hands_it_on(here: Path, depth: str) -> None:
    samples = np.random.default_rng(1).integers(0, 255, (60, 40, 3)).astype(depth) * 200
    exif = read_picture(here / "photo.jpg").exif
    write_picture(here / "a.tif", samples, exif=exif)
    assert (tifffile.imread("a.tif") == samples).all()
    first = read_picture(here / "a.tif")
    assert (first.color == samples).all() and first.exif is not None
    write_picture(here / "b.png", samples, exif=first.exif)
    write_picture(here / "b.tif", samples, exif=first.exif)
    for name in ("b.png", "b.tif"):
        again = Image.Exif()
        again.load(b"Exif\0\0" + (read_picture(here / name).exif or b""))
        assert again[MAKE] == "Camera & Sons"
        assert again.get_ifd(ExifTags.IFD.Exif)[DATE] == "2026:01:02 03:04:05"
        assert again.get_ifd(ExifTags.IFD.Interop)[1] == "R98"
        assert ExifTags.Base.ImageWidth not in again


def test_what_is_too_large_or_broken_is_left_out(here: Path) -> None:
    save_photo(here / "photo.png", b"\1" * 70_000)  # more than a JPEG may hold
    exif = Image.Exif()
    kept = read_picture(here / "photo.png").exif
    assert kept is not None and len(kept) < 1000
    exif.load(b"Exif\0\0" + kept)
    assert exif[MAKE] == "Camera & Sons" and NOTE not in exif.get_ifd(ExifTags.IFD.Exif)
    data = (here / "photo.jpg").read_bytes()
    start = data.index(b"Exif\0\0") + 6
    (here / "broken.jpg").write_bytes(data[:start] + b"II*\0\xff\xff\xff\xff" + data[start + 8 :])
    assert read_picture(here / "broken.jpg").exif is None
    passed(run("composite", "photo.png", "layer.png", "-o", "out.jpg"))


def test_a_picture_without_it_has_none(here: Path) -> None:
    Image.open("photo.jpg").convert("RGB").save("plain.png")
    assert read_picture(here / "plain.png").exif is None
