"""Blend modes, and layered files: OpenRaster and PSD, read again by other programs' libraries."""

from __future__ import annotations

import io
import os
import random
import re
import shutil
import subprocess
import zipfile
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image, ImageChops

from tests.commands import one_line, passed, run
from text2live_cli import Text2LiveError, UsageError, composite, edit_image
from text2live_cli.config import BLEND_MODES
from text2live_cli.media.blending import blend
from text2live_cli.media.compositing import lay_over
from text2live_cli.media.layered_files import NamedLayer, read_layered, stacked_layer
from text2live_cli.media.picture_writing import write_picture

SIZE = (40, 56)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder: a.png of noise, one.png and two.png as layers over it."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(3)
    write_picture(tmp_path / "a.png", rng.integers(0, 256, (*SIZE, 3), np.uint8))
    for name in ("one", "two"):
        rgba = rng.integers(0, 256, (*SIZE, 4), np.uint8)
        rgba[: SIZE[0] // 2, :, 3] = 0
        write_picture(tmp_path / f"{name}.png", rgba[..., :3], rgba[..., 3])
    return tmp_path


def pixels(path: Path | str) -> np.ndarray:
    return np.array(Image.open(path))


# Blending


@pytest.mark.parametrize(
    ("mode", "below", "above", "expected"),
    [
        ("normal", (0.2, 0.4, 0.6), (0.9, 0.1, 0.5), (0.9, 0.1, 0.5)),
        ("multiply", (0.2, 0.4, 0.6), (0.5, 0.5, 0.5), (0.1, 0.2, 0.3)),
        ("screen", (0.2, 0.4, 0.6), (0.5, 0.5, 0.5), (0.6, 0.7, 0.8)),
        ("overlay", (0.25, 0.5, 0.75), (0.5, 0.2, 0.8), (0.25, 0.2, 0.9)),
        ("soft-light", (0.25, 0.64, 0.2), (0.5, 1.0, 0.0), (0.25, 0.8, 0.04)),
        ("soft-light", (0.1, 0.1, 0.1), (1.0, 1.0, 1.0), (0.296, 0.296, 0.296)),
        # the luminosity of (.6, .5, .4) is .519: by hand, without clipping and with it
        ("color", (0.5, 0.5, 0.5), (0.6, 0.5, 0.4), (0.581, 0.481, 0.381)),
        ("luminosity", (0.6, 0.5, 0.4), (0.5, 0.5, 0.5), (0.581, 0.481, 0.381)),
        ("color", (0.0, 0.0, 0.0), (1.0, 0.0, 0.0), (0.0, 0.0, 0.0)),
        ("color", (1.0, 1.0, 1.0), (0.0, 0.0, 1.0), (1.0, 1.0, 1.0)),
        ("color", (0.5, 0.5, 0.5), (1.0, 0.0, 0.0), (1.0, 0.285714, 0.285714)),
    ],
)
def test_blend_modes_give_the_values_of_the_standard(
    mode: str, below: tuple[float, ...], above: tuple[float, ...], expected: tuple[float, ...]
) -> None:
    got = blend(mode, np.array([below]), np.array([above]))[0]
    assert got == pytest.approx(np.array(expected), abs=1e-6)


@pytest.mark.parametrize("mode", ["multiply", "screen"])
def test_pillow_blends_alike(mode: str, here: Path) -> None:
    below, above = Image.open("a.png"), Image.open("one.png").convert("RGB")
    theirs = np.array(getattr(ImageChops, mode)(below, above)).astype(int)
    layer = np.dstack([np.array(above), np.full(SIZE, 255, np.uint8)])
    ours = lay_over(np.array(below), layer, 1.0, mode).astype(int)
    assert np.abs(ours - theirs).max() <= 1


COLORS = arrays(np.uint8, (3, 4, 4))


@settings(max_examples=60, deadline=None)
@given(COLORS, COLORS, st.sampled_from(BLEND_MODES), st.sampled_from([np.uint8, np.uint16]))
def test_every_mode_stays_in_range_and_leaves_what_alpha_leaves(
    source: np.ndarray, layer: np.ndarray, mode: str, kind: Any
) -> None:
    below = source[..., :3].astype(kind) * (257 if kind is np.uint16 else 1)
    colors = blend(mode, source[..., :3] / 255, layer[..., :3] / 255)
    assert colors.min() >= -1e-9 and colors.max() <= 1 + 1e-9
    result = lay_over(below, layer, 1.0, mode)
    nothing = layer[..., 3] == 0
    assert (result[nothing] == below[nothing]).all()


def test_modes_and_a_background_from_the_command_line(here: Path) -> None:
    words = ["composite", "a.png", "one.png", "two.png"]
    passed(run(*words, "-o", "b.png", "--blend", "multiply", "--blend", "screen"))
    by_hand = lay_over(pixels("a.png"), pixels("one.png"), 1.0, "multiply")
    assert (pixels("b.png") == lay_over(by_hand, pixels("two.png"), 1.0, "screen")).all()
    upper = SIZE[0] // 2
    assert (pixels("b.png")[:upper] == pixels("a.png")[:upper]).all()
    assert "--blend glow: must be one of" in one_line(run(*words, "-o", "c.png", "--blend", "glow"))
    three = ("--blend", "screen") * 3
    assert "3 modes for 2 layers" in one_line(run(*words, "-o", "c.png", *three))
    passed(run("composite", "one.png", "two.png", "-o", "flat.jpg", "--background", "white"))
    assert "is no colour" in one_line(
        run("composite", "one.png", "two.png", "-o", "d.png", "--background", "whiet")
    )


# Layered files


def test_an_openraster_file_holds_source_and_layers(here: Path) -> None:
    words = ["composite", "a.png", "one.png", "two.png", "-o", "c.ora", "--opacity", 0.5]
    passed(run(*words, "--blend", "normal", "--blend", "soft-light"))
    with zipfile.ZipFile("c.ora") as archive:
        first = archive.infolist()[0]
        assert (first.filename, first.compress_type) == ("mimetype", zipfile.ZIP_STORED)
        assert archive.read("mimetype") == b"image/openraster"
        layers = list(ElementTree.fromstring(archive.read("stack.xml")).iter("layer"))
        assert [one.get("name") for one in layers] == ["two", "one", "source"]
        assert [one.get("opacity") for one in layers] == ["0.5", "0.5", "1"]
        assert layers[0].get("composite-op") == "svg:soft-light"
        for one, path in zip(layers, ("two.png", "one.png", "a.png"), strict=True):
            data = archive.read(str(one.get("src")))
            assert (np.array(Image.open(io.BytesIO(data))) == pixels(path)).all()
        merged = np.array(Image.open(io.BytesIO(archive.read("mergedimage.png"))))
        assert max(Image.open(io.BytesIO(archive.read("Thumbnails/thumbnail.png"))).size) <= 256
    below = lay_over(pixels("a.png"), pixels("one.png"), 0.5)
    assert (merged == lay_over(below, pixels("two.png"), 0.5, "soft-light")).all()
    passed(run("composite", "a.png", "c.ora", "-o", "again.png"))
    assert (pixels("again.png") == merged).all()
    before = Path("c.ora").read_bytes()
    passed(run(*words, "--blend", "normal", "--blend", "soft-light", "--overwrite"))
    assert Path("c.ora").read_bytes() == before


@pytest.mark.parametrize("deep", [False, True])
def test_a_psd_holds_source_and_layers(deep: bool, here: Path) -> None:
    psd_tools = pytest.importorskip("psd_tools", reason="the extra `psd` is not installed")
    source = pixels("a.png")
    if deep:
        source = source.astype(np.uint16) * 256 + 77
        write_picture(Path("deep.tif"), source)
    name = "deep.tif" if deep else "a.png"
    words = ["composite", name, "one.png", "two.png", "-o", "c.psd", "--opacity", 0.6]
    passed(run(*words, "--blend", "normal", "--blend", "multiply"))
    document = psd_tools.PSDImage.open("c.psd")
    layers = list(document)
    assert [layer.name for layer in layers] == ["source", "one", "two"]
    assert [layer.opacity for layer in layers] == [255, 153, 153]
    assert layers[2].blend_mode.name == "MULTIPLY" and document.depth == (16 if deep else 8)
    most = 65535 if deep else 255
    assert np.abs(layers[0].numpy()[..., :3] * most - source).max() < 0.01
    assert (np.rint(layers[1].numpy() * 255) == pixels("one.png")).all()
    passed(run("composite", name, "c.psd", "-o", "again.tif"))
    passed(run(*words[:-4], "-o", "direct.tif", "--opacity", 0.6, "--blend", "normal"))
    read = read_layered(Path("c.psd"))
    assert [layer.blend for layer in read] == ["normal", "multiply"]


@pytest.mark.parametrize("deep", [False, True])
def test_openexr_has_a_part_for_each_in_linear_light(deep: bool, here: Path) -> None:
    exr = pytest.importorskip("OpenEXR", reason="the extra `exr` is not installed")
    expected = pixels("a.png") / 255
    if deep:
        write_picture(here / "a.png", pixels("a.png").astype(np.uint16) * 257)
    how = ("--opacity", 0.5, "--blend", "multiply", "--blend", "normal")
    passed(run("composite", "a.png", "one.png", "two.png", *how, "-o", "out.exr"))
    parts = exr.File("out.exr").parts
    assert [part.header["name"] for part in parts] == ["source", "one", "two"]
    assert [part.header.get("blendMode") for part in parts] == [None, "multiply", "normal"]
    assert "linear" in parts[0].header["transferFunction"]
    source = parts[0].channels["RGB"].pixels
    assert source.dtype == np.float16
    assert np.abs(coded(source) - expected).max() < 1e-3
    one, rgba = parts[1].channels["RGBA"].pixels.astype(float), pixels("one.png") / 255
    assert np.abs(one[..., 3] - 0.5 * rgba[..., 3]).max() < 1e-3
    thick = rgba[..., 3] > 0.2
    straight = one[..., :3] / np.maximum(one[..., 3:], 1e-6)
    assert np.abs(coded(straight) - rgba[..., :3])[thick].max() < 3e-3
    first = Path("out.exr").read_bytes()
    passed(run("composite", "a.png", "one.png", "two.png", *how, "-o", "out.exr", "--overwrite"))
    assert Path("out.exr").read_bytes() == first
    assert "not read" in one_line(run("composite", "a.png", "out.exr", "-o", "b.png"))


def coded(light: np.ndarray) -> np.ndarray:
    """Linear → sRGB, by the standard's own figures."""
    light = light.astype(np.float64)
    return np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)


def test_an_edit_is_written_as_a_layered_file(here: Path) -> None:
    from swatch_training.painter import paint_scene

    rgb, _ = paint_scene([("cup", "red")], "wooden table", 3, (96, 128))
    write_picture(Path("cup.png"), rgb)
    how: dict[str, Any] = {"clip": "swatch", "preset": "draft", "views": 1, "layout": "plain"}
    how["layer_formats"] = ("ora",)
    result = edit_image("cup.png", "golden cup", output="cup.ora", steps=1, **how)
    assert result.folder == Path("cup")
    (layer,) = read_layered(Path("cup.ora"))
    assert layer.name == "golden cup" and (layer.rgba == pixels(result.layer)).all()
    assert Path("cup/layer.ora").read_bytes() == Path("cup.ora").read_bytes()
    composite("cup.png", ["cup.ora"], "b.png")
    assert (pixels("b.png") == pixels(result.composite)).all()
    Path("cup/layer.ora").unlink()
    with pytest.raises(UsageError, match="holds a result already"):  # no whole one
        edit_image("cup.png", "golden cup", output="cup.ora", steps=1, **how)


def test_layered_files_beside_the_result(here: Path) -> None:
    one = ("composite", "a.png", "one.png", "-o", "c.png")
    passed(run(*one, "--layer-format", "ora", "--layer-format", "exr"))
    (layer,) = read_layered(Path("c.ora"))
    assert (layer.rgba == pixels("one.png")).all() and Path("c.exr").stat().st_size > 0
    refused = run(*one, "--overwrite", "--layer-format", "xcf")
    assert refused.exit_code == 2 and "--layer-format xcf" in one_line(refused)
    Path("c.png").unlink()
    taken = run(*one, "--layer-format", "ora")
    assert taken.exit_code == 2 and "c.ora" in one_line(taken) and not Path("c.png").exists()


def test_the_region_is_a_layer_mask_that_is_off(here: Path) -> None:
    psd_tools = pytest.importorskip("psd_tools", reason="the extra `psd` is not installed")
    Path("edit").mkdir()
    shutil.copy("one.png", "edit/layer.png")
    region = np.zeros(SIZE, np.uint8)
    region[4:30, 6:40] = 200
    write_picture(here / "edit/mask.png", region)
    passed(run("composite", "a.png", "edit", "-o", "out.psd"))
    _, layer = psd_tools.PSDImage.open("out.psd")
    assert layer.mask.disabled and layer.mask.size == SIZE[::-1]
    assert np.array_equal(np.array(layer.mask.topil()), region)
    passed(run("composite", "a.png", "out.psd", "-o", "b.png"))
    passed(run("composite", "a.png", "one.png", "-o", "c.png"))
    assert np.array_equal(pixels("b.png"), pixels("c.png"))


def test_layers_of_others_lie_where_they_put_them() -> None:
    one = NamedLayer("a", np.full((2, 2, 4), (255, 0, 0, 255), np.uint8), 0.5)
    two = NamedLayer("b", np.full((2, 2, 4), (0, 0, 255, 128), np.uint8))
    merged = stacked_layer([one, two])
    below = np.full((2, 2, 3), 200, np.uint8)
    step = lay_over(lay_over(below, one.rgba, 0.5), two.rgba)
    assert np.abs(lay_over(below, merged).astype(int) - step).max() <= 1


def openraster(path: str, text: str, pictures: dict[str, np.ndarray]) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("mimetype", "image/openraster")
        archive.writestr("stack.xml", text)
        for name, picture in pictures.items():
            data = io.BytesIO()
            Image.fromarray(picture).save(data, "PNG")
            archive.writestr(name, data.getvalue())


def test_a_painting_of_an_editor_is_taken_as_it_is(here: Path) -> None:
    stroke = np.full((10, 8, 4), (10, 200, 30, 255), np.uint8)
    text = (
        f'<image w="{SIZE[1]}" h="{SIZE[0]}"><stack><stack name="group">'
        '<layer name="stroke" src="data/s.png" x="5" y="-3" opacity="0.5"/>'
        '<layer name="notes" src="data/s.png" x="0" y="0" visibility="hidden"/></stack>'
        '<layer name="source" src="data/s.png"/></stack></image>'
    )
    openraster("krita.ora", text, {"data/s.png": stroke})
    passed(run("composite", "a.png", "krita.ora", "-o", "b.png"))
    changed = (pixels("b.png") != pixels("a.png")).any(axis=-1)
    rows, columns = np.nonzero(changed)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (0, 6, 5, 12)


HOSTILE = {
    "an entity": '<!DOCTYPE x [<!ENTITY a "b">]><image w="9" h="9"><stack/></image>',
    "no layer": '<image w="9" h="9"><stack/></image>',
    "a canvas": '<image w="999999999" h="999999999"><stack><layer src="s.png"/></stack></image>',
    "a name": '<image w="9" h="9"><stack><layer src="../../etc/passwd"/></stack></image>',
    "none": "",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files_are_one_line(name: str, here: Path) -> None:
    openraster("x.ora", HOSTILE[name], {"s.png": np.zeros((64, 64, 4), np.uint8)})
    result = run("composite", "a.png", "x.ora", "-o", "b.png")
    assert result.exit_code == 2 and "x.ora" in one_line(result)
    assert not Path("b.png").exists()


@pytest.mark.parametrize("ending", [".ora", ".psd"])
def test_mutated_files_give_one_line_or_a_picture(ending: str, here: Path) -> None:
    if ending == ".psd":
        pytest.importorskip("psd_tools")
    composite("a.png", ["one.png"], f"sound{ending}")
    sound = Path(f"sound{ending}").read_bytes()
    rng = random.Random(5)
    for _ in range(100):
        data = bytearray(sound[: rng.randrange(len(sound))] if rng.random() < 0.3 else sound)
        for _ in range(rng.randrange(1, 6)):
            if data:
                data[rng.randrange(len(data))] = rng.randrange(256)
        Path(f"bad{ending}").write_bytes(data)
        try:
            layers = read_layered(Path(f"bad{ending}"))
        except Text2LiveError as error:
            assert f"bad{ending}" in str(error)
        else:
            assert all(layer.rgba.dtype == np.uint8 for layer in layers)


@pytest.mark.slow
def test_gimp_shows_a_psd_as_it_was_written(here: Path) -> None:
    gimp = shutil.which("gimp-console")
    if gimp is None:
        pytest.skip("GIMP is not installed")
    pytest.importorskip("psd_tools")
    composite("a.png", ["one.png", "two.png"], "c.psd")
    composite("a.png", ["one.png", "two.png"], "c.png")
    script = (
        '(let* ((image (car (gimp-file-load RUN-NONINTERACTIVE "c.psd" "c.psd")))'
        " (layers (vector->list (cadr (gimp-image-get-layers image)))))"
        " (for-each (lambda (one) (gimp-message (car (gimp-item-get-name one)))) layers)"
        " (gimp-image-merge-visible-layers image CLIP-TO-IMAGE)"
        " (file-png-save RUN-NONINTERACTIVE image (car (gimp-image-get-active-drawable image))"
        ' "gimp.png" "gimp.png" 0 9 0 0 0 0 0))'
    )
    command = [gimp, "-i", "-d", "-f", "-b", script, "-b", "(gimp-quit 0)"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    names = re.findall(r"Warning: (\w+)", done.stdout + done.stderr)
    assert names == ["two", "one", "source"]
    difference = np.abs(pixels("gimp.png")[..., :3].astype(int) - pixels("c.png"))
    assert difference.max() <= 1


@pytest.mark.slow
def test_krita_shows_openraster_as_it_was_written(here: Path) -> None:
    krita, screen = shutil.which("krita"), shutil.which("xvfb-run")
    if krita is None or screen is None:
        pytest.skip("Krita is not installed, or no Xvfb to run it in")
    composite("a.png", ["one.png", "two.png"], "c.ora")
    composite("a.png", ["one.png", "two.png"], "c.png")
    files = str(here / "krita.png"), str(here / "c.ora")
    command = [screen, "-a", krita, "--nosplash", "--export", "--export-filename", *files]
    there = {**os.environ, "HOME": str(here)}
    subprocess.run(command, capture_output=True, timeout=300, env=there)
    shown = np.array(Image.open("krita.png").convert("RGB")).astype(int)
    assert np.abs(shown - pixels("c.png")).max() <= 1
