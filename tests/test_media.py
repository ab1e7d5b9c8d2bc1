"""Reading and writing still pictures."""

from __future__ import annotations

import hashlib
import io
import json
import os
import random
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from tests import pictures
from text2live_cli.errors import Text2LiveError, UsageError
from text2live_cli.media import files
from text2live_cli.media import pictures as pictures_module
from text2live_cli.media.picture_writing import write_picture
from text2live_cli.media.pictures import read_mask, read_picture
from text2live_cli.media.samples import to_uint, to_unit
from text2live_cli.progress import Silent


def saved(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def tiff_bytes(samples: np.ndarray, **options: object) -> bytes:
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, samples, **options)
    return buffer.getvalue()


def split(samples: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """The colour and alpha that (H, W, 1–4) samples stand for."""
    channels = samples.shape[2]
    color = samples[..., :3] if channels >= 3 else np.repeat(samples[..., :1], 3, axis=2)
    return color, samples[..., -1] if channels in (2, 4) else None


def assert_shows(picture: pictures_module.Picture, samples: np.ndarray) -> None:
    color, alpha = split(samples)
    np.testing.assert_array_equal(picture.color, color, strict=True)
    if alpha is None:
        assert picture.alpha is None
    else:
        assert picture.alpha is not None
        np.testing.assert_array_equal(picture.alpha, alpha, strict=True)


def assert_one_line(error: BaseException, path: Path) -> None:
    assert str(path) in str(error)
    assert "\n" not in str(error)


# Formats, depths, modes


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_png_of_every_depth_is_read_exactly(
    tmp_path: Path, channels: int, dtype: type, capfd: pytest.CaptureFixture[str]
) -> None:
    samples = pictures.pattern(channels, dtype)
    broken_profile = pictures.png_chunk(b"iCCP", b"x\0\0nonsense")
    data = pictures.png_bytes(samples, broken_profile if dtype is np.uint16 else b"")
    picture = read_picture(saved(tmp_path / "a.png", data))
    assert_shows(picture, samples)
    assert (picture.height, picture.width) == (20, 28)
    assert picture.max_value == np.iinfo(dtype).max
    assert picture.format == "PNG"
    assert picture.sha256 == hashlib.sha256(data).hexdigest()
    assert picture.color.flags.writeable
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 3])
def test_png_transparent_colour_becomes_alpha(tmp_path: Path, channels: int, dtype: type) -> None:
    samples = pictures.pattern(channels, dtype)
    samples[2:4, 3:6] = samples[2, 3]
    key = pictures.png_chunk(b"tRNS", samples[2, 3].astype(">u2").tobytes())
    path = saved(tmp_path / "a.png", pictures.png_bytes(samples, key))
    opaque = np.iinfo(dtype).max * (samples != samples[2, 3]).any(axis=2)
    assert_shows(read_picture(path), np.dstack([samples, opaque.astype(dtype)]))


@pytest.mark.parametrize("kind", ["WEBP", "TIFF", "BMP", "GIF"])
def test_8_bit_formats_are_read_exactly(tmp_path: Path, kind: str) -> None:
    samples = pictures.pattern(3) // 128 * 255  # 8 colours: GIF holds them
    data = encoded(Image.fromarray(samples), kind, lossless=True)
    picture = read_picture(saved(tmp_path / "a", data))
    assert_shows(picture, samples)
    assert (picture.format, picture.notes, picture.icc_profile) == (kind, (), None)


@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_jpeg_is_read_as_pillow_decodes_it(tmp_path: Path, mode: str) -> None:
    data = encoded(Image.fromarray(pictures.pattern(3)).convert(mode), "JPEG", quality=90)
    expected = np.array(Image.open(io.BytesIO(data)).convert("RGB"))
    assert_shows(read_picture(saved(tmp_path / "a.jpg", data)), expected)


@pytest.mark.parametrize("kind", ["WEBP", "TIFF"])
def test_colour_under_full_transparency_survives(tmp_path: Path, kind: str) -> None:
    samples = pictures.pattern(4)
    samples[:10, :, 3] = 0
    options = {"lossless": True, "exact": True}
    path = saved(tmp_path / "a", encoded(Image.fromarray(samples), kind, **options))
    assert_shows(read_picture(path), samples)


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "BMP"])
def test_one_bit(tmp_path: Path, kind: str) -> None:
    samples = pictures.pattern(1) // 128 * 255
    image = Image.fromarray(samples[..., 0]).convert("1")
    assert_shows(read_picture(saved(tmp_path / "a", encoded(image, kind))), split(samples)[0])


def test_palette_transparency(tmp_path: Path) -> None:
    colors = np.array([[255, 0, 0], [0, 128, 0], [7, 8, 9]], np.uint8)
    index = np.arange(20 * 28).reshape(20, 28) % 3
    image = Image.fromarray(index.astype(np.uint8)).convert("P")
    image.putpalette(colors.tobytes())
    alphas = np.array([0, 130, 255], np.uint8)
    png = saved(tmp_path / "a.png", encoded(image, "PNG", transparency=alphas.tobytes()))
    assert_shows(read_picture(png), np.dstack([colors[index], alphas[index]]))
    gif = saved(tmp_path / "a.gif", encoded(image, "GIF", transparency=1))
    picture = read_picture(gif)
    assert picture.alpha is not None
    np.testing.assert_array_equal(picture.alpha, np.where(index == 1, 0, 255))
    np.testing.assert_array_equal(picture.color[index != 1], colors[index][index != 1])


@pytest.mark.parametrize("compression", [None, "lzw", "zlib", "zstd"])
@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_tiff_of_16_bits_is_read_exactly(
    tmp_path: Path, channels: int, byteorder: str, compression: str | None
) -> None:
    samples = pictures.pattern(channels, np.uint16)
    data = tiff_bytes(
        samples if channels > 1 else samples[..., 0],
        photometric="rgb" if channels >= 3 else "minisblack",
        planarconfig="contig" if channels > 1 else None,
        extrasamples=["unassalpha"] if channels in (2, 4) else None,
        byteorder=byteorder,
        compression=compression,
        predictor=compression is not None,
        rowsperstrip=7,
    )
    picture = read_picture(saved(tmp_path / "a.tif", data))
    assert_shows(picture, samples)
    assert picture.format == "TIFF"


def test_tiff_layouts_of_16_bits(tmp_path: Path) -> None:
    samples = pictures.pattern(3, np.uint16, 40, 50)
    planes = np.ascontiguousarray(np.moveaxis(samples, -1, 0))
    path = tmp_path / "a.tif"
    saved(path, tiff_bytes(planes, photometric="rgb", planarconfig="separate"))
    assert_shows(read_picture(path), samples)
    saved(path, tiff_bytes(samples, photometric="rgb", tile=(16, 32), compression="zlib"))
    assert_shows(read_picture(path), samples)
    saved(path, tiff_bytes(65535 - samples[..., 0], photometric="miniswhite"))
    assert_shows(read_picture(path), samples[..., :1])
    four = pictures.pattern(4, np.uint16)
    saved(path, tiff_bytes(four, photometric="rgb", extrasamples=["unspecified"]))
    assert_shows(read_picture(path), four[..., :3])


def test_tiff_premultiplied_alpha_is_undone(tmp_path: Path) -> None:
    samples = np.zeros((16, 16, 4), np.uint16)
    samples[0, 0] = (10000, 20000, 0, 32768)
    samples[0, 1] = (5, 6, 7, 0)
    data = tiff_bytes(samples, photometric="rgb", extrasamples=["assocalpha"])
    picture = read_picture(saved(tmp_path / "a.tif", data))
    np.testing.assert_array_equal(picture.color[0, :2], [[20000, 39999, 0], [5, 6, 7]])


def test_tiff_of_12_bits_fills_16(tmp_path: Path) -> None:
    samples = pictures.pattern(3, np.uint16) // 16
    data = tiff_bytes(samples, photometric="rgb", bitspersample=12)
    expected = np.rint(samples / 4095 * 65535).astype(np.uint16)
    picture = read_picture(saved(tmp_path / "a.tif", data))
    np.testing.assert_array_equal(picture.color, expected)


@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.uint32, np.int16, np.int8])
def test_tiff_of_other_numbers_is_refused(tmp_path: Path, dtype: type) -> None:
    data = tiff_bytes(np.zeros((20, 20, 3), dtype), photometric="rgb")
    with pytest.raises(Text2LiveError, match="only unsigned integers"):
        read_picture(saved(tmp_path / "a.tif", data))


def test_tiff_of_16_bit_cmyk_is_refused(tmp_path: Path) -> None:
    data = tiff_bytes(pictures.pattern(4, np.uint16), photometric="separated")
    with pytest.raises(Text2LiveError, match="only as grey or RGB"):
        read_picture(saved(tmp_path / "a.tif", data))


def test_lab_is_refused(tmp_path: Path) -> None:
    data = encoded(Image.new("LAB", (20, 20)), "TIFF")
    with pytest.raises(Text2LiveError, match="LAB pixels are not supported"):
        read_picture(saved(tmp_path / "a.tif", data))


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "TIFF"])
def test_first_frame_is_used_and_said(tmp_path: Path, kind: str) -> None:
    frames = [Image.new("RGB", (20, 20), color) for color in ("#ff0000", "#00ff00", "#0000ff")]
    options = {"save_all": True, "append_images": frames[1:], "lossless": True}
    picture = read_picture(saved(tmp_path / "a", encoded(frames[0], kind, **options)))
    assert picture.notes == (f"{kind}: the first of 3 frames is used",)
    assert (picture.color == (255, 0, 0)).all()


# Orientation and colour profiles

UPRIGHT = {
    1: lambda a: a,
    2: np.fliplr,
    3: lambda a: np.rot90(a, 2),
    4: np.flipud,
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: np.rot90(a, 2).swapaxes(0, 1),
    8: np.rot90,
}


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(tmp_path: Path, orientation: int) -> None:
    exif = pictures.orientation_exif(orientation)
    samples = pictures.pattern(4)
    expected = UPRIGHT[orientation](samples)
    for kind in ("PNG", "WEBP", "TIFF"):
        options = {"exif": exif, "lossless": True, "exact": True}
        path = saved(tmp_path / "a", encoded(Image.fromarray(samples), kind, **options))
        assert_shows(read_picture(path), expected)
    bits = Image.fromarray(samples[..., 0]).convert("1", dither=Image.Dither.NONE)
    black_white = np.array(bits.convert("RGB"))
    path = saved(tmp_path / "a.tif", encoded(bits, "TIFF", exif=exif))
    assert_shows(read_picture(path), UPRIGHT[orientation](black_white))
    jpeg = encoded(Image.fromarray(samples[..., :3]), "JPEG", exif=exif, quality=100)
    stored = np.array(Image.open(io.BytesIO(jpeg)))
    assert_shows(read_picture(saved(tmp_path / "a.jpg", jpeg)), UPRIGHT[orientation](stored))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied_to_16_bits(tmp_path: Path, orientation: int) -> None:
    samples = pictures.pattern(4, np.uint16)
    expected = UPRIGHT[orientation](samples)
    exif = pictures.png_chunk(b"eXIf", pictures.orientation_exif(orientation)[6:])
    assert_shows(read_picture(saved(tmp_path / "a", pictures.png_bytes(samples, exif))), expected)
    data = tiff_bytes(
        samples,
        photometric="rgb",
        extrasamples=["unassalpha"],
        extratags=[(274, 3, 1, orientation, True)],
    )
    assert_shows(read_picture(saved(tmp_path / "a", data)), expected)


@pytest.mark.parametrize("exif", [b"Exif\0\0nonsense", b"Exif\0\0II*\0\xff\xff\xff\xff"])
def test_broken_exif_leaves_the_pixels(
    tmp_path: Path, exif: bytes, recwarn: pytest.WarningsRecorder
) -> None:
    data = encoded(Image.fromarray(pictures.pattern()), "JPEG", exif=exif)
    assert read_picture(saved(tmp_path / "a.jpg", data)).width == 28
    assert not recwarn.list


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_rgb_profile_is_kept(tmp_path: Path, kind: str) -> None:
    profile = pictures.rgb_profile()
    data = encoded(Image.fromarray(pictures.pattern()), kind, icc_profile=profile)
    picture = read_picture(saved(tmp_path / "a", data))
    assert (picture.icc_profile, picture.notes) == (profile, ())


@pytest.mark.parametrize(
    ("profile", "said"),
    [(pictures.grey_profile(), "not for RGB"), (b"nonsense" * 40, "invalid")],
)
def test_unfit_profile_is_dropped_and_said(tmp_path: Path, profile: bytes, said: str) -> None:
    data = encoded(Image.fromarray(pictures.pattern(1)[..., 0]), "PNG", icc_profile=profile)
    picture = read_picture(saved(tmp_path / "a.png", data))
    assert picture.icc_profile is None
    assert len(picture.notes) == 1
    assert said in picture.notes[0]


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
@pytest.mark.parametrize(
    ("profile", "cyan", "said"),
    [
        (pictures.cmyk_profile(), (255, 0, 0), "through its profile"),
        (b"nonsense" * 40, (0, 255, 255), "approximate"),
        (None, (0, 255, 255), "approximate"),
    ],
)
def test_cmyk(
    tmp_path: Path, kind: str, profile: bytes | None, cyan: tuple[int, ...], said: str
) -> None:
    inks = np.zeros((16, 32, 4), np.uint8)
    inks[:, 16:, 0] = 255
    image = Image.fromarray(inks, mode="CMYK")
    data = encoded(image, kind, icc_profile=profile, quality=100)
    picture = read_picture(saved(tmp_path / "a", data))
    np.testing.assert_allclose(picture.color[8, 4], (255, 255, 255), atol=3)
    np.testing.assert_allclose(picture.color[8, 28], cyan, atol=6)
    assert picture.alpha is None
    assert picture.icc_profile is None
    assert len(picture.notes) == 1
    assert said in picture.notes[0]


# Bad input


def test_paths_that_are_no_pictures(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    for path, said in (
        (tmp_path / "missing.png", "no such file"),
        (tmp_path, "is a folder"),
        (fifo, "no regular file"),
        (Path("https://example.org/cake.jpg"), "only local files"),
    ):
        with pytest.raises(UsageError, match=said) as caught:
            read_picture(path)
        assert_one_line(caught.value, path)


@pytest.mark.parametrize("data", [b"", b"hello", b"%PDF-1.7\n", b"II*\0", b"RIFF\0\0\0\0WEBP"])
def test_files_that_are_no_pictures(tmp_path: Path, data: bytes) -> None:
    path = saved(tmp_path / "a.png", data)
    with pytest.raises(Text2LiveError) as caught:
        read_picture(path)
    assert_one_line(caught.value, path)
    assert caught.value.exit_code == 1


def test_unreadable_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = saved(tmp_path / "a.png", b"x")

    def refuse(self: Path) -> bytes:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", refuse)  # a mode of 000 does not stop root
    with pytest.raises(Text2LiveError, match="Permission denied"):
        read_picture(path)


def test_huge_file_is_refused_unread(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.png", b"")
    os.truncate(path, pictures_module.MAX_FILE_BYTES + 1)
    with pytest.raises(Text2LiveError, match=r"1\.0 GiB are too much"):
        read_picture(path)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (15, 40), (40, 15)])
def test_too_small(tmp_path: Path, height: int, width: int) -> None:
    samples = pictures.pattern(height=height, width=width)
    with pytest.raises(Text2LiveError, match=f"{width}×{height} pixels are too few"):
        read_picture(saved(tmp_path / "a.png", pictures.png_bytes(samples)))


@pytest.mark.parametrize(
    "data",
    [
        pictures.bomb_png(40_000, 40_000),
        pictures.bomb_png(40_000, 40_000, depth=16),
        pictures.bomb_bmp(40_000, 40_000),
        pictures.bomb_tiff(40_000, 40_000),
        pictures.bomb_tiff(40_000, 40_000, depth=16),
        pictures.bomb_tiff(64, 64, depth=16, tile=(40_000, 40_000)),
        pictures.png_header(40_000, 40_000, 16)
        + pictures.png_bytes(pictures.pattern(3, np.uint16))[8:],
    ],
    ids=["png8", "png16", "bmp", "tiff8", "tiff16", "tile", "two-headers"],
)
def test_huge_picture_is_refused_from_its_header(
    tmp_path: Path, data: bytes, recwarn: pytest.WarningsRecorder
) -> None:
    limit = Image.MAX_IMAGE_PIXELS
    path = saved(tmp_path / "a", data)
    with pytest.raises(Text2LiveError, match=r"40000×40000 .*100 megapixels") as caught:
        read_picture(path)
    assert_one_line(caught.value, path)
    assert not recwarn.list
    assert limit == Image.MAX_IMAGE_PIXELS


def test_tiff_without_most_of_its_tiles_is_refused(tmp_path: Path) -> None:
    data = pictures.bomb_tiff(9000, 9000, depth=16, tile=(16, 16))
    with pytest.raises(Text2LiveError, match="damaged or cut short"):
        read_picture(saved(tmp_path / "a.tif", data))


def sound_files() -> dict[str, bytes]:
    rgb, rgba = pictures.pattern(3), pictures.pattern(4)
    deep = pictures.pattern(3, np.uint16)
    return {
        "jpeg": encoded(Image.fromarray(rgb), "JPEG"),
        "progressive": encoded(Image.fromarray(rgb), "JPEG", progressive=True),
        "png": pictures.png_bytes(rgba),
        "png16": pictures.png_bytes(deep),
        "webp": encoded(Image.fromarray(rgba), "WEBP", lossless=True, exact=True),
        "gif": encoded(Image.fromarray(rgb[..., 0]), "GIF"),
        "bmp": encoded(Image.fromarray(rgb), "BMP"),
        "tiff": encoded(Image.fromarray(rgb), "TIFF"),
        "tiff-lzw": encoded(Image.fromarray(rgb), "TIFF", compression="tiff_lzw"),
        "tiff16": tiff_bytes(deep, photometric="rgb", rowsperstrip=5),
        "tiff16-zlib": tiff_bytes(deep, photometric="rgb", compression="zlib"),
    }


@pytest.mark.parametrize("name", sound_files())
def test_truncated_file_is_refused_or_shows_the_same(
    tmp_path: Path, name: str, capfd: pytest.CaptureFixture[str]
) -> None:
    data = sound_files()[name]
    path = saved(tmp_path / "a", data)
    whole = read_picture(path)
    lengths = {*range(0, len(data), max(1, len(data) // 60)), *range(len(data) - 12, len(data))}
    refused = 0
    for length in sorted(lengths):
        saved(path, data[:length])
        try:
            picture = read_picture(path)
        except Text2LiveError as error:
            assert_one_line(error, path)
            refused += 1
        else:
            np.testing.assert_array_equal(picture.color, whole.color, err_msg=f"{length}")
    assert refused >= len(lengths) - 12
    assert capfd.readouterr() == ("", "")


FUZZ = settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@FUZZ
@given(
    start=st.sampled_from([b"", *pictures_module._TIFF_STARTS, *sound_files().values()]),
    tail=st.binary(),
)
def test_random_bytes_never_crash(tmp_path: Path, start: bytes, tail: bytes) -> None:
    path = saved(tmp_path / "a", start[:40] + tail)
    with pytest.raises(Text2LiveError) as caught:
        read_picture(path)
    assert_one_line(caught.value, path)


@pytest.mark.parametrize("name", sound_files())
def test_flipped_bytes_never_crash(tmp_path: Path, name: str) -> None:
    data = sound_files()[name]
    dice = random.Random(name)
    for _ in range(25):
        damaged = bytearray(data)
        for _ in range(3):
            damaged[dice.randrange(min(len(data), 400))] = dice.randrange(256)
        try:
            read_picture(saved(tmp_path / "a", bytes(damaged)))
        except Text2LiveError as error:
            assert_one_line(error, tmp_path / "a")


# Masks


def test_mask_is_white_where_it_may_be_edited(tmp_path: Path) -> None:
    samples = pictures.pattern(1)
    path = saved(tmp_path / "m.png", pictures.png_bytes(samples))
    mask = read_mask(path, (20, 28))
    assert mask.dtype == np.float32
    np.testing.assert_allclose(mask, samples[..., 0] / 255, atol=1e-6)


def test_mask_reads_alpha_only_where_colour_says_nothing(tmp_path: Path) -> None:
    path = tmp_path / "m.png"
    drawn = pictures.pattern(2)
    saved(path, pictures.png_bytes(drawn))
    np.testing.assert_allclose(read_mask(path, (20, 28)), drawn[..., 0] / 255, atol=1e-6)
    cut_out = drawn.copy()
    cut_out[..., 0] = 0
    saved(path, pictures.png_bytes(cut_out))
    np.testing.assert_allclose(read_mask(path, (20, 28)), cut_out[..., 1] / 255, atol=1e-6)
    saved(path, pictures.png_bytes(np.full((20, 28, 2), (0, 255), np.uint8)))
    assert (read_mask(path, (20, 28)) == 0).all()


@pytest.mark.parametrize("size", [(40, 50), (28, 20), (20, 27)])
def test_mask_of_another_shape_is_refused(tmp_path: Path, size: tuple[int, int]) -> None:
    path = saved(tmp_path / "m.png", pictures.png_bytes(pictures.pattern(1)))
    with pytest.raises(UsageError, match=f"mask is 28×20 .* picture is {size[1]}×{size[0]}"):
        read_mask(path, size)


@pytest.mark.parametrize("size", [(40, 56), (18, 25), (200, 281)])
def test_mask_of_another_size_is_resized_and_that_is_said(
    tmp_path: Path, size: tuple[int, int]
) -> None:
    drawn = np.zeros((20, 28, 3), np.uint8)
    drawn[:, 14:] = 255
    path = saved(tmp_path / "m.png", pictures.png_bytes(drawn))
    told: list[str] = []

    class Heard(Silent):
        def message(self, text: str) -> None:
            told.append(text)

    mask = read_mask(path, size, Heard())
    assert mask.shape == size and mask.dtype == np.float32
    middle = size[1] // 2
    assert (mask[:, : middle - 8] == 0).all() and (mask[:, middle + 8 :] == 1).all()
    assert len(told) == 1 and f"picture is {size[1]}×{size[0]}: resized to it" in told[0]


# Writing


@pytest.mark.parametrize("ending", [".png", ".PNG", ".tif", ".tiff"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [3, 4])
def test_round_trip_is_exact(tmp_path: Path, channels: int, dtype: type, ending: str) -> None:
    samples = pictures.pattern(channels, dtype)
    color, alpha = split(samples)
    profile = pictures.rgb_profile()
    path = tmp_path / f"a{ending}"
    assert write_picture(path, color, alpha, profile) == ()
    picture = read_picture(path)
    assert_shows(picture, samples)
    assert picture.icc_profile == profile
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("ending", [".png", ".tif", ".webp", ".jpg"])
def test_grey_is_written(tmp_path: Path, ending: str) -> None:
    grey = np.tile(np.arange(64, dtype=np.uint8), (20, 1))
    write_picture(tmp_path / f"a{ending}", grey)
    np.testing.assert_allclose(
        read_picture(tmp_path / f"a{ending}").color, split(grey[..., np.newaxis])[0], atol=2
    )


def test_webp_is_lossless_after_rounding(tmp_path: Path) -> None:
    samples = pictures.pattern(4, np.uint16)
    samples[:10, :, 3] = 0
    notes = write_picture(tmp_path / "a.webp", samples[..., :3], samples[..., 3])
    assert notes == ("a.webp: 16 bits are rounded to the 8 that WebP can hold",)
    rounded = np.rint(samples / 257).astype(np.uint8)
    assert_shows(read_picture(tmp_path / "a.webp"), rounded)


def test_jpeg_has_no_alpha(tmp_path: Path) -> None:
    color = np.full((20, 28, 3), (200, 100, 50), np.uint8)
    alpha = np.full((20, 28), 255, np.uint8)
    path = tmp_path / "a.jpg"
    assert write_picture(path, color, alpha, pictures.rgb_profile()) == ()
    picture = read_picture(path)
    np.testing.assert_allclose(picture.color, color, atol=3)
    assert picture.icc_profile == pictures.rgb_profile()
    alpha[3, 4] = 254
    with pytest.raises(UsageError, match="JPEG has no transparency"):
        write_picture(path, color, alpha)


def test_names_and_sizes_that_cannot_be_written(tmp_path: Path) -> None:
    color = np.zeros((2, 20_000, 3), np.uint8)
    with pytest.raises(UsageError, match=r"ends in \.png"):
        write_picture(tmp_path / "a.gif", color)
    with pytest.raises(Text2LiveError, match="WebP ends at 16383"):
        write_picture(tmp_path / "a.webp", color)
    assert list(tmp_path.iterdir()) == []


def test_failed_write_is_one_line_and_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = saved(tmp_path / "a.png", b"old")
    write_bytes = Path.write_bytes

    def fill_the_disk(self: Path, data: bytes) -> int:
        write_bytes(self, data[:10])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", fill_the_disk)
    with pytest.raises(Text2LiveError, match="No space left on device") as caught:
        write_picture(path, pictures.pattern())
    assert_one_line(caught.value, path)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_unwritable_places(tmp_path: Path) -> None:
    (tmp_path / "folder.png").mkdir()
    saved(tmp_path / "file", b"")
    for path in ("missing/a.png", "folder.png", "file/a.png"):
        with pytest.raises(Text2LiveError) as caught:
            write_picture(tmp_path / path, pictures.pattern())
        assert_one_line(caught.value, tmp_path / path)
    assert len(list(tmp_path.iterdir())) == 2


def test_interrupted_block_leaves_no_trace(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.mp4", b"old")
    with pytest.raises(KeyboardInterrupt), files.atomic_path(path) as temporary:
        assert (temporary.parent, temporary.suffix) == (tmp_path, ".mp4")
        temporary.write_bytes(b"new")
        raise KeyboardInterrupt
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_text_and_json(tmp_path: Path) -> None:
    files.write_text_atomic(tmp_path / "a.txt", "é\n")
    assert (tmp_path / "a.txt").read_bytes() == "é\n".encode()
    files.write_json_atomic(tmp_path / "a.json", {"prompt": "gâteau", "loss": [0.5]})
    assert json.loads((tmp_path / "a.json").read_text("utf-8")) == {
        "prompt": "gâteau",
        "loss": [0.5],
    }
    with pytest.raises(ValueError, match="JSON"):
        files.write_json_atomic(tmp_path / "b.json", float("nan"))
    assert not (tmp_path / "b.json").exists()


# Numbers


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_unit_values_go_there_and_back(dtype: type) -> None:
    high = int(np.iinfo(dtype).max)
    values = np.arange(high + 1, dtype=dtype)
    unit = to_unit(values)
    assert unit.dtype == np.float32
    assert (unit.min(), unit.max()) == (0, 1)
    np.testing.assert_array_equal(to_uint(unit, high), values, strict=True)


def test_to_uint_rounds_and_clips() -> None:
    values = np.array([-1, 0.4 / 255, 0.6 / 255, 1, 2], np.float32)
    assert to_uint(values, 255).tolist() == [0, 0, 1, 255, 255]
