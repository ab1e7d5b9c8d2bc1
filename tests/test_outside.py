"""What comes from outside: files of other kinds, records, checkpoints, texts, names."""

from __future__ import annotations

import io
import json
import os
import random
import shutil
import socket
import struct
import subprocess
import sys
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from rich.console import Console
from swatch_training.moving import paint_clip
from swatch_training.painter import paint_scene
from typer.testing import Result

from tests.clips import save_frames
from tests.commands import StopAt, one_line, passed, run
from text2live_cli import (
    Text2LiveError,
    UsageError,
    edit_image,
    edit_video,
    fit_atlas,
)
from text2live_cli.atlas import ATLAS
from text2live_cli.atlas.fit.settings import GridSettings
from text2live_cli.atlas.store import read_atlas
from text2live_cli.cli.console import ConsoleProgress
from text2live_cli.engine.training import FORMAT
from text2live_cli.media import heif_pictures, pictures
from text2live_cli.media.file_kinds import kind_of
from text2live_cli.media.outside import read_record, whole_number
from text2live_cli.media.picture_writing import write_picture
from text2live_cli.media.pictures import read_picture
from text2live_cli.media.samples import to_uint
from text2live_cli.media.tensor_files import READ_ERRORS, read_tensors, write_tensors
from text2live_cli.runs.checkpoint import Checkpoint
from text2live_cli.runs.folder import CHECKPOINT, RECORD
from text2live_cli.texts import (
    MAX_TEXT,
    require_text,
    shown_path,
    visible,
)

SETTINGS: dict[str, Any] = {"clip": "swatch", "preset": "draft", "views": 1, "steps": 2}
QUICK = [text for name, value in SETTINGS.items() for text in (f"--{name}", str(value))]
posix = pytest.mark.skipif(os.name != "posix", reason="pipes and byte names as POSIX has them")


@pytest.fixture
def cup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    rgb, _ = paint_scene([("cup", "red")], "wooden table", 3, (160, 200))
    write_picture(tmp_path / "cup.png", rgb)
    return Path("cup.png")


@pytest.fixture
def clip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    frames, masks = paint_clip("cat", "leopard", "mossy wall", 3, 4, (136, 160))
    save_frames(tmp_path / "clip", frames)
    save_frames(tmp_path / "masks", masks.astype(np.uint8) * 255)
    return Path("clip")


def edit(source: Path | str, *arguments: object, prompt: str = "golden cup") -> Result:
    return run("edit-image", source, prompt, *QUICK, *arguments)


# Pictures that are sound, and what is none


def chunk(kind: bytes, body: bytes, checksum: int | None = None) -> bytes:
    crc = zlib.crc32(kind + body) if checksum is None else checksum
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", crc)


def with_chunks(data: bytes, *chunks: bytes) -> bytes:
    """A PNG with more chunks after its header."""
    return data[:33] + b"".join(chunks) + data[33:]


def png(size: tuple[int, int] = (40, 30), mode: str = "RGB") -> bytes:
    values = np.random.default_rng(0).integers(0, 256, (size[1], size[0], len(mode)), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(values).save(buffer, "PNG")
    return buffer.getvalue()


XMP = b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(b"<x:xmpmeta>" + b"a" * 2_400_000)
WORKFLOW = b"workflow\0\0" + zlib.compress(bytes(random.Random(0).choices(b'{"}', k=2_800_000)))


@pytest.mark.parametrize(
    "beside",
    [
        chunk(b"iTXt", XMP),
        chunk(b"zTXt", WORKFLOW),
        chunk(b"tEXt", b"parameters\0" + b"x" * 80_000_000),
        chunk(b"tEXt", b"Comment\0hello", 7),
        chunk(b"tIME", b"\7\xe8\1\1\1\1\1", 7),
        chunk(b"pHYs", b"\0\0\1\0\0\0\1\0\1", 7),
        chunk(b"iCCP", b"name\0\0" + zlib.compress(b"no profile"), 7),
        chunk(b"eXIf", b"MM\0*broken", 7),
        chunk(b"caBX", b"anything"),
    ],
    ids=["xmp", "workflow", "80 MB", "tEXt", "tIME", "pHYs", "iCCP", "eXIf", "unknown"],
)
@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_a_sound_png_is_read_whatever_lies_beside_its_pixels(
    tmp_path: Path, beside: bytes, mode: str
) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(with_chunks(png(mode=mode), beside))
    found = read_picture(path)
    true = cv2.cvtColor(cv2.imread(str(path), cv2.IMREAD_UNCHANGED), cv2.COLOR_BGRA2RGBA)
    np.testing.assert_array_equal(found.color, true[..., :3])
    if mode == "RGBA":
        np.testing.assert_array_equal(found.alpha, true[..., 3])


def test_a_large_colour_profile_is_kept(tmp_path: Path) -> None:
    profile = pictures.ImageCms.ImageCmsProfile(pictures.ImageCms.createProfile("sRGB")).tobytes()
    large = profile + bytes(2_000_000)
    path = tmp_path / "a.png"
    path.write_bytes(with_chunks(png(), chunk(b"iCCP", b"name\0\0" + zlib.compress(large))))
    assert read_picture(path).icc_profile == large


def test_a_wrong_checksum_of_pixels_is_damage(tmp_path: Path) -> None:
    data = bytearray(png())
    data[-20] ^= 1
    path = tmp_path / "a.png"
    path.write_bytes(data)
    with pytest.raises(Text2LiveError, match="damaged or cut short"):
        read_picture(path)


def test_memory_trouble_is_called_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise MemoryError

    path = tmp_path / "a.png"
    path.write_bytes(png())
    monkeypatch.setattr(Image.Image, "load", full)
    monkeypatch.setattr("PIL.PngImagePlugin.PngImageFile.load", full)
    with pytest.raises(Text2LiveError, match="not enough memory"):
        read_picture(path)


KINDS = [
    (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "HEIC", "text2live[heif]"),
    (b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic", "HEIF", "text2live[heif]"),
    (b"\0\0\0\x18ftypavif\0\0\0\0mif1avif", "AVIF", "text2live[heif]"),
    (b"\0\0\0\x18ftypisom\0\0\0\0mp41iso2", "MP4", "edit-video"),
    (b"\0\0\0\x18ftypcrx \0\0\0\1crx isom", "RAW", "develop"),
    (b"%PDF-1.7\n", "PDF", "PNG"),
    (b"8BPS\0\1", "Photoshop", "PNG"),
    (b"II*\0\x10\0\0\0CR\2\0", "RAW", "develop"),
    (b"PK\3\4\x14\0", "ZIP", "unpack"),
    (b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg">', "SVG", "PNG"),
    (b"\xef\xbb\xbf<!DOCTYPE html><title>404</title>", "web page", "download"),
    (b"\x1a\x45\xdf\xa3\x01\0\0\0", "Matroska", "edit-video"),
    (b"version https://git-lfs.github.com/spec/v1\noid sha256:00", "Git LFS", "git lfs pull"),
]


@pytest.mark.parametrize(("data", "name", "advice"), KINDS, ids=[name for _, name, _ in KINDS])
def test_a_file_is_called_what_it_is(
    cup: Path, data: bytes, name: str, advice: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heif_pictures, "can_read", lambda data: False)  # without the extra
    Path("named.jpg").write_bytes(data + bytes(range(256)) * 4)
    result = edit("named.jpg")
    assert result.exit_code == 1
    line = one_line(result)
    assert name in line
    assert advice in line
    assert "damaged" not in line


def test_what_is_read_here_has_no_other_name() -> None:
    for kind in ("PNG", "JPEG", "WEBP", "TIFF", "GIF", "BMP"):
        buffer = io.BytesIO()
        Image.new("RGB", (20, 20)).save(buffer, kind)
        assert kind_of(buffer.getvalue()) is None
    assert kind_of(b"") is kind_of(b"text") is kind_of(b"\0" * 64) is None


@pytest.mark.parametrize("depth", [8, 10])
def test_the_extra_reads_heic(tmp_path: Path, depth: int) -> None:
    pillow_heif = pytest.importorskip("pillow_heif", reason="the extra heif is not installed")
    ramp = np.linspace(0, 1, 64)[None, :, None].repeat(48, 0).repeat(3, 2)
    true = to_uint(ramp, 255 if depth == 8 else 65535)
    mode = "RGB" if depth == 8 else "RGB;16"
    written = pillow_heif.from_bytes(mode, (64, 48), true.tobytes())
    path = tmp_path / "phone.jpg"
    written.save(path, quality=-1, chroma=444)
    found = read_picture(path)
    assert found.format == "HEIC"
    assert found.color.dtype == true.dtype
    off = np.abs(found.color.astype(float) - true) / found.max_value
    assert off.max() < 0.02
    assert found.color.max() > 0.99 * found.max_value
    path.write_bytes(path.read_bytes()[:-400])
    with pytest.raises(Text2LiveError, match="HEIC picture, damaged or cut short"):
        read_picture(path)


def test_the_extra_reads_avif(tmp_path: Path) -> None:
    path = tmp_path / "a.avif"
    try:
        Image.new("RGB", (64, 48), (200, 30, 40)).save(path)
    except (KeyError, OSError, ValueError):
        pytest.skip("this Pillow writes no AVIF")
    found = read_picture(path)
    assert (found.format, found.width, found.height) == ("AVIF", 64, 48)
    assert np.abs(found.color.astype(int) - (200, 30, 40)).max() <= 4


# Pipes, devices, sockets


def place(kind: str) -> str:
    if kind == "device":
        return "/dev/zero"
    if kind == "pipe":
        os.mkfifo("special")
    else:
        socket.socket(socket.AF_UNIX).bind("special")
    return "special"


@posix
@pytest.mark.parametrize("kind", ["pipe", "socket", "device"])
def test_what_is_no_file_is_refused_at_once(cup: Path, clip: Path, kind: str) -> None:
    special = place(kind)
    weights = [*QUICK[2:], "--clip", "ViT-B-32/openai", "--clip-weights"]
    nla = ("fit-atlas", "clip", "--model", "nla", "--steps", 2)
    for arguments in (
        ("edit-image", special, "golden cup", *QUICK),
        ("edit-image", "cup.png", "golden cup", *QUICK, "--mask", special),
        ("edit-image", "cup.png", "golden cup", *weights, special),
        ("edit-image", "cup.png", "golden cup", *QUICK, "-o", special),
        ("edit-video", special, "golden cup", *QUICK),
        ("fit-atlas", special),
        ("fit-atlas", "clip", "--masks", special),
        ("fit-atlas", "clip", "--import", special),
        ("fit-atlas", "clip", "--flow-dir", special),
        ("fit-atlas", "clip", "-o", special),
        (*nla, "--export-nla", special),
        ("composite", special, "cup.png", "-o", "out.png"),
        ("composite", "cup.png", special, "-o", "out.png"),
        ("composite", "cup.png", "cup.png", "-o", special, "--overwrite"),
    ):
        begun = time.monotonic()
        result = run(*arguments)
        assert result.exit_code in (1, 2), (arguments, result.output)
        assert special in one_line(result)
        assert time.monotonic() - begun < 10, arguments
    assert {path.name for path in Path().iterdir()} - {"special"} == {"cup.png", "clip", "masks"}


@posix
@pytest.mark.parametrize("name", [RECORD, CHECKPOINT, ATLAS])
def test_pipes_within_results_are_not_waited_for(clip: Path, name: str) -> None:
    Path("out").mkdir()
    os.mkfifo(Path("out", name))
    for flags in (("--overwrite",), ("--resume",), ()):
        result = run("fit-atlas", "clip", "-o", "out", "--steps", 2, *flags)
        assert result.exit_code in (1, 2)
        assert "out" in one_line(result)
    with pytest.raises(Text2LiveError, match="out"):
        read_atlas(Path("out"))
    with pytest.raises(UsageError, match="out"):
        edit_video("clip", "golden cup", onto="out", atlas_dir="out", **SETTINGS)


# Checkpoints, atlases, records


def flipped(path: Path, position: int) -> None:
    data = bytearray(path.read_bytes())
    data[position] ^= 1
    path.write_bytes(data)


def test_a_single_bit_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    tensors = {"a": torch.arange(6.0).reshape(2, 3), "b": torch.tensor(3), "c": torch.zeros(0)}
    texts = {"format": "x/1", "job": '{"steps": 12}'}
    write_tensors(path, tensors, texts)
    first = path.read_bytes()
    again, told = read_tensors(path, "x/1")
    assert told == texts
    assert all(torch.equal(again[name], tensors[name]) for name in tensors)
    write_tensors(path, again, told)
    assert path.read_bytes() == first
    for position in range(8, len(first)):
        path.write_bytes(first)
        flipped(path, position)
        try:
            read, told = read_tensors(path, "x/1")
        except READ_ERRORS:
            continue
        assert told.items() >= texts.items()  # white space, or the name of the checksum
        assert all(torch.equal(read[name], tensors[name]) for name in tensors)


def stopped_edit(cup: Path) -> Path:
    settings = {**SETTINGS, "steps": 4}
    edit_image(cup, "golden cup", output="out", progress=StopAt("training", 2), **settings)
    return Path("out", CHECKPOINT)


def history(**wrong: object) -> str:
    """That of two steps, but for what is `wrong`."""
    sound = {"terms": [{}, {}], "weighted": [{}, {}], "skipped": 0, "likeness": []}
    return json.dumps({**sound, **wrong})


Alter = Callable[[dict[str, torch.Tensor], dict[str, str]], object]
ALTERED: dict[str, Alter] = {
    "done": lambda t, x: x.update(done="9"),
    "negative": lambda t, x: x.update(done="-1"),
    "huge": lambda t, x: x.update(done="9" * 5000),
    "steps": lambda t, x: x.update(steps="0"),
    "optimizer steps": lambda t, x: x.update(optimizer_steps="-3"),
    "job": lambda t, x: x.update(job="[1]"),
    "depth": lambda t, x: x.update(job="[" * 100_000),
    "history": lambda t, x: x.update(history=history(terms=1, weighted=2)),
    "short history": lambda t, x: x.update(history=history(terms=[], weighted=[])),
    "texts in it": lambda t, x: x.update(history=history(terms=[{"a": "b"}, {}])),
    "a look that is no number": lambda t, x: x.update(history=history(likeness=["a"])),
    "more looks than steps": lambda t, x: x.update(history=history(likeness=[0.5] * 3)),
    "a look beyond a cosine": lambda t, x: x.update(history=history(likeness=[1e9])),
    "nan": lambda t, x: t["weights"].__setitem__(5, float("nan")),
    "infinite": lambda t, x: t["s"].__setitem__(5, float("inf")),
    "one weight": lambda t, x: t.update(weights=torch.zeros(1)),
    "shape": lambda t, x: t.update(s=torch.zeros(3)),
    "kind": lambda t, x: t.update(weights=t["weights"].double()),
    "missing": lambda t, x: t.pop("x0"),
    "strange": lambda t, x: t.update(more=torch.zeros(3)),
    "buffer": lambda t, x: t.pop(next(name for name in t if name.startswith("buffer."))),
}


def test_an_altered_checkpoint_is_refused_and_the_result_stays(cup: Path) -> None:
    path = stopped_edit(cup)
    sound = path.read_bytes()
    before = {p.name: p.read_bytes() for p in Path("out").glob("*.*") if p != path}
    resumed = ("--steps", 4, "-o", "out", "--resume")
    for name, alter in ALTERED.items():
        path.write_bytes(sound)
        tensors, texts = read_tensors(path, FORMAT)
        alter(tensors, texts)
        write_tensors(path, tensors, texts)
        result = edit(cup, *resumed)
        assert result.exit_code == 1, name
        assert "checkpoint is damaged" in one_line(result), name
    path.write_bytes(sound)
    flipped(path, len(sound) - 1000)  # of a weight or a moment: any number would do
    assert "checkpoint is damaged" in one_line(edit(cup, *resumed))
    assert {p.name: p.read_bytes() for p in Path("out").glob("*.*") if p != path} == before
    path.write_bytes(sound)
    passed(edit(cup, *resumed))


def test_an_altered_checkpoint_of_a_fit_is_refused(clip: Path) -> None:
    options: dict[str, Any] = {"masks": Path("masks"), "steps": 4, "output": "out"}
    fit_atlas("clip", progress=StopAt("fitting", 2), **options)
    path = Path("out", CHECKPOINT)
    sound = path.read_bytes()
    form = "text2live-fit/3"
    alterations: dict[str, Alter] = {
        "done": lambda t, x: x.update(done="9"),
        "stretched": lambda t, x: t.update({"0.value": torch.zeros(1)}),
        "nan": lambda t, x: t["0.exp_avg"].view(-1).__setitem__(0, float("nan")),
        "missing": lambda t, x: t.pop("1.value"),
        "strange": lambda t, x: t.update({"0.other": torch.zeros(1)}),
        "steps": lambda t, x: t.update({"0.step": torch.tensor(1e30)}),
    }
    for name, alter in alterations.items():
        path.write_bytes(sound)
        tensors, texts = read_tensors(path, form)
        alter(tensors, texts)
        write_tensors(path, tensors, texts)
        with pytest.raises(Text2LiveError, match="checkpoint is damaged"):
            fit_atlas("clip", resume=True, **options)
        assert tensors.keys(), name
    path.write_bytes(sound)
    assert not fit_atlas("clip", resume=True, **options).interrupted


def test_a_former_checkpoint_without_a_checksum_is_read(cup: Path) -> None:
    from safetensors.torch import save_file

    path = stopped_edit(cup)
    tensors, texts = read_tensors(path, FORMAT)
    save_file({n: t.clone() for n, t in tensors.items()}, path, {"texts": json.dumps(texts)})
    assert Checkpoint.read(path, FORMAT).texts["done"] == "2"


@pytest.mark.parametrize(
    "text",
    ["", "[1]", "7", "{", "[" * 100_000, '{"a":' * 100_000, "\xff", '{"interrupted": 0}', "{}"],
)
def test_records_that_are_none(clip: Path, text: str) -> None:
    passed(run("fit-atlas", "clip", "--masks", "masks", "--steps", 2))
    Path("clip.atlas", RECORD).write_text(text, "latin-1")
    result = run("fit-atlas", "clip", "--masks", "masks", "--steps", 2)
    assert result.exit_code == 2
    assert "unfinished fit" in one_line(result)


def test_the_reader_of_records(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text('{"a": [1, true]}')
    assert read_record(path) == {"a": [1, True]}
    assert whole_number(3, 0, 3) == 3
    for wrong in (4, -1, True, 1.0, "1", None):
        with pytest.raises(ValueError, match="whole number"):
            whole_number(wrong, 0, 3)


def test_an_atlas_that_is_fitted_anew_meanwhile_is_noticed(
    clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    passed(run("fit-atlas", "clip", "--masks", "masks", "--steps", 2))
    shutil.copytree("clip.atlas", "copy")
    digest = read_atlas(Path("clip.atlas")).digest

    class Refits(StopAt):
        def stage(self, name: str, total: int | None = None, unit: str = "step") -> None:
            if name == "training":
                fit_atlas("clip", masks=Path("masks"), steps=3, overwrite=True)

        def warning(self, text: str) -> None:
            told.append(text)

    told: list[str] = []
    options = {**SETTINGS, "layer_formats": ("none",)}
    made = edit_video(
        "clip", "golden cat", any_atlas=True, progress=Refits("", 0), output="a", **options
    )
    assert made.record["job"]["fit"] == digest != read_atlas(Path("clip.atlas")).digest
    assert [text for text in told if "clip.atlas was fitted anew" in text]
    passed(run("composite", "clip", "a", "--atlas-dir", "copy", "-o", "there.mp4"))
    result = run("composite", "clip", "a", "-o", "here.mp4")
    assert "another fit" in one_line(result)


# What records say


def texts_in(value: object) -> list[str]:
    if isinstance(value, dict):
        return [text for item in value.items() for part in item for text in texts_in(part)]
    if isinstance(value, list):
        return [text for part in value for text in texts_in(part)]
    return [value] if isinstance(value, str) else []


def test_no_record_holds_an_absolute_path(
    clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(GridSettings, "steps", 2)
    fit_atlas(tmp_path / "clip", masks=tmp_path / "masks", output=tmp_path / "clip.atlas")
    atlas = {"atlas_dir": tmp_path / "clip.atlas", "any_atlas": True}
    options = {**SETTINGS, "layer_formats": ("none",), **atlas}
    edit_video(tmp_path / "clip", "golden cat", output=tmp_path / "one", **options)
    edit_video(
        tmp_path / "clip", "golden cat", output=tmp_path / "two", onto=tmp_path / "one", **options
    )
    write_picture(tmp_path / "cup.png", np.full((160, 200, 3), 90, np.uint8))
    edit_image(tmp_path / "cup.png", "golden cup", output=tmp_path / "cup", **SETTINGS)
    secret = str(tmp_path.parent)
    for folder in ("clip.atlas", "one", "two", "cup"):
        told = json.loads(Path(folder, RECORD).read_text("utf-8"))
        for text in texts_in(told):
            assert not text.startswith(("/", "\\")), (folder, text)
            assert secret not in text, (folder, text)
        assert told["output"] == folder
        for path in Path(folder).iterdir():
            if path.suffix in (".html", ".safetensors", ".png"):
                assert secret.encode() not in path.read_bytes(), path


# Texts and names


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("golden \x1b[31mcup", "\\x1b, a control character"),
        ("golden\0cup", "\\x00, a control character"),
        ("golden \x9bcup", "\\x9b, a control character"),
        ("golden \u202ecup", "\\u202e, a control character"),
        ("golden \udce9cup", "\\xe9, no UTF-8"),
        ("golden " * 5000, "35000 characters are too many (limit 1000)"),
    ],
)
@pytest.mark.parametrize("option", ["PROMPT", "--roi", "--screen", "--also", "--keep"])
def test_texts_that_no_encoder_should_see(cup: Path, text: str, said: str, option: str) -> None:
    texts = {"--also": [text], "--keep": [text]}.get(option, text)
    given = {"prompt": "golden cup", option.strip("-").lower(): texts}
    begun = time.monotonic()
    with pytest.raises(UsageError) as caught:
        edit_image(cup, **given, **SETTINGS)
    assert option in str(caught.value)
    assert said in str(caught.value)
    assert time.monotonic() - begun < 1
    assert [path.name for path in Path().iterdir()] == ["cup.png"]


def test_plain_texts_are_taken() -> None:
    for text in ("oreo cake", "a\tb\nc", "ein Stück Käse 🔥", "蛋糕", "x" * MAX_TEXT, None):
        require_text("PROMPT", text)
    with pytest.raises(UsageError, match=r"PROMPT.*1001 characters are too many"):
        require_text("PROMPT", "x" * (MAX_TEXT + 1))


def test_how_texts_and_paths_are_shown() -> None:
    assert visible("a\x1b[2J\n\t\x7f\x9b\u202e\udce9é🔥") == (
        "a\\x1b[2J\\x0a\\x09\\x7f\\x9b\\u202e\\xe9é🔥"
    )
    assert shown_path(Path("a/b\x1b.png")) == "a/b\\x1b.png"
    assert shown_path(Path("/secret/place/b.png")) == "b.png"


@posix
def test_names_that_are_no_utf8_work(cup: Path) -> None:
    """In a process of its own: bytes on the command line are what Python makes of them."""
    cup.rename(os.fsdecode(b"caf\xe9.png"))
    command = [sys.executable, "-m", "text2live_cli", "edit-image", b"caf\xe9.png", "golden cup"]
    done = subprocess.run([*command, *QUICK], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    assert b"Traceback" not in done.stderr
    (folder,) = [path for path in Path().iterdir() if path.is_dir()]
    assert os.fsencode(folder).startswith(b"caf\xe9")
    told = json.loads((folder / RECORD).read_text("utf-8"))
    assert told["input"]["path"] == "caf\\xe9.png"
    again = subprocess.run([*command, *QUICK, "--resume"], capture_output=True, check=False)
    assert again.returncode == 0, again.stderr
    line = [*command[:5], b"golden \xff cup", *QUICK]
    refused = subprocess.run(line, capture_output=True, check=False)
    assert refused.returncode == 2
    assert b"\\xff, no UTF-8" in refused.stderr


@posix
def test_clips_whose_names_are_no_utf8_work(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(GridSettings, "steps", 2)
    name = os.fsdecode(b"caf\xe9")
    clip.rename(name)
    passed(run("fit-atlas", name, "--masks", "masks"))
    how = (*QUICK, "--any-atlas", "--layer-format", "none")
    passed(run("edit-video", name, "golden cat", *how, "-o", "out"))
    out = os.fsdecode(b"out\xff.mp4")
    passed(run("composite", name, "out", "-o", out))
    assert Path(out).stat().st_size > 500
    told = json.loads(Path("out", RECORD).read_text("utf-8"))
    assert told["input"]["path"] == "caf\\xe9"


# The terminal


@pytest.mark.parametrize("terminal", [True, False])
def test_nothing_from_outside_commands_the_terminal(terminal: bool) -> None:
    buffer = io.StringIO()
    progress = ConsoleProgress(style="bar" if terminal else "plain")
    progress.console = Console(
        file=buffer, force_terminal=terminal, color_system=None, width=200, highlight=False
    )
    hostile = "a\x1b]0;title\x07 :fire: [red]b[/red] [/] \r\x9b2J \u202e"
    with progress:
        progress.stage(hostile, 3)
        progress.advance(1, {hostile: 1.0})
        progress.message(hostile)
        progress.warning(hostile)
        progress.error(hostile)
    shown = buffer.getvalue()
    assert "\x1b]0" not in shown
    assert not {"\x07", "\x9b", "\u202e"} & set(shown)
    assert shown.count("a\\x1b]0;title\\x07 :fire: [red]b[/red] [/] \\x0d\\x9b2J \\u202e") >= 3
    if not terminal:
        assert "\x1b" not in shown


def test_an_error_shows_a_name_escaped(cup: Path) -> None:
    result = run("edit-image", "no\x1b[2J:fire:.png", "golden cup", *QUICK)
    assert "no\\x1b[2J:fire:.png: no such file" in one_line(result)
    assert "\x1b" not in result.output
