"""`export-maps`: the maps by independent look-ups, and the script as Nuke would run it."""

from __future__ import annotations

import json
import re
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from tests.commands import one_line, passed, run
from tests.moving_truth import paint_closed
from tests.test_edit_video import Painted, save_painted, save_video
from text2live_cli import UsageError, export_maps
from text2live_cli.atlas.discretise import AtlasPicture
from text2live_cli.atlas.layers import BACKGROUND, FOREGROUND, LAYERS, Maps
from text2live_cli.atlas.render import Layer, lay_over_frame
from text2live_cli.atlas.st_maps import map_to_atlas, map_to_frame
from text2live_cli.atlas.store import read_atlas
from text2live_cli.media.pictures import read_picture

OpenEXR = pytest.importorskip("OpenEXR", reason="the extra `exr` is not installed")
COUNT, SIZE = 4, (96, 128)


@pytest.fixture(scope="module")
def painted(tmp_path_factory: pytest.TempPathFactory) -> Painted:
    frames, masks = paint_closed("cup", "red", "grass", 3, COUNT, SIZE)
    return save_painted(tmp_path_factory.mktemp("painted"), frames, masks)


def read_exr(path: Path) -> NDArray[np.float32]:
    (part,) = OpenEXR.File(str(path)).parts
    samples = part.channels["RGBA"].pixels
    assert samples.dtype == np.float32
    return np.asarray(samples)


def warped(picture: NDArray[Any], st: NDArray[np.float32]) -> NDArray[np.float32]:
    """As Nuke's STMap has it, by OpenCV: what is outside of the picture is nothing."""
    height, width = picture.shape[:2]
    x, y = st[..., 0] * width - 0.5, (1 - st[..., 1]) * height - 0.5
    return cv2.remap(picture.astype(np.float32), x, y, cv2.INTER_LINEAR, borderValue=0)


def checkerboard(height: int, width: int) -> NDArray[np.uint8]:
    rows, columns = np.indices((height, width)) // 5
    board = np.where((rows + columns) % 2, 230, 30).astype(np.uint8)
    return np.dstack([board, 255 - board, board // 2, np.full_like(board, 255)])


# Maps


def still(uv: torch.Tensor) -> Maps:
    """Of one layer that is all there is."""
    return Maps(uv[None], torch.ones(1, *uv.shape[:2]))


def centres(height: int, width: int) -> torch.Tensor:
    y, x = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    return torch.stack([x, y], -1)


def test_the_map_that_changes_nothing_is_nukes(tmp_path: Path) -> None:
    st = map_to_atlas(still(centres(30, 40) + 7), 0, (7, 7), (30, 40))
    y, x = np.indices((30, 40))
    assert np.allclose(st[..., 0], (x + 0.5) / 40, atol=1e-6)
    assert np.allclose(st[..., 1], (29 - y + 0.5) / 30, atol=1e-6)  # upwards, from the lowest row
    assert (st[..., 3] == 1).all() and (st[..., 2] == 1).all()
    back = map_to_frame(still(centres(30, 40) + 7), 0, (7, 7), (30, 40))
    inner = np.s_[2:-2, 2:-2]
    assert (back[inner][..., 3] == 1).all()
    assert np.allclose(back[inner][..., :2], st[inner][..., :2], atol=1e-4)


@pytest.mark.parametrize("side", [BACKGROUND, FOREGROUND])
def test_a_checkerboard_warped_by_another_program_is_what_we_render(
    painted: Painted, side: int
) -> None:
    atlas = read_atlas(painted.atlas)
    picture = read_picture(painted.atlas / f"{LAYERS[side]}.png")
    board, corner = checkerboard(picture.height, picture.width), atlas.facts.corners[side]
    layer = Layer.of(AtlasPicture(board, *corner))
    maps = atlas.locate(2, SIZE)
    black = np.zeros((*SIZE, 3), np.uint8)
    ours = lay_over_frame(black, maps, {side: layer})
    st = map_to_atlas(maps, side, corner, (picture.height, picture.width))
    theirs = warped(board, st)[..., :3] * st[..., 3:]
    assert np.abs(ours - theirs).max() <= 1.5  # OpenCV looks up in 1/32 of a pixel
    assert ours.max() > 200


def test_the_way_back_is_the_inverse_where_there_is_one(painted: Painted) -> None:
    atlas = read_atlas(painted.atlas)
    maps, corner = atlas.locate(1, SIZE), atlas.facts.corners[BACKGROUND]
    picture = read_picture(painted.atlas / "background.png")
    size = picture.height, picture.width
    there, back = (f(maps, BACKGROUND, corner, size) for f in (map_to_atlas, map_to_frame))
    assert 0.3 < back[..., 3].mean() < 1
    round_trip = warped(there[..., :2], back)  # a place in the atlas → frame → atlas
    y, x = np.indices(size)
    known = cv2.erode(back[..., 3], np.ones((5, 5))) > 0
    assert np.abs(round_trip[..., 0] * size[1] - (x + 0.5))[known].max() < 0.5
    assert np.abs((1 - round_trip[..., 1]) * size[0] - (y + 0.5))[known].max() < 0.5


def test_what_two_places_of_a_frame_show_has_no_way_back() -> None:
    uv = centres(30, 40)
    uv[..., 0] = 20 - (uv[..., 0] - 20).abs()  # the right half shows the left one, mirrored
    back = map_to_frame(still(uv), 0, (0, 0), (30, 20))
    assert back[5:25, 2:14, 3].max() == 0 and (back[back[..., 3] == 0] == 0).all()
    assert back[5:25, 18, 3].min() == 1  # beside the fold the two places are one
    nothing = Maps(uv[None], torch.zeros(1, 30, 40))
    assert not map_to_frame(nothing, 0, (0, 0), (30, 20)).any()


# The command


def run_script(path: Path, number: int) -> NDArray[np.float32]:
    """What a .nk file writes for a frame, by the stack that Nuke has; its few nodes, all raw."""
    stack: list[NDArray[np.float32]] = []
    kept: dict[str, NDArray[np.float32]] = {}

    def read(knobs: dict[str, str]) -> NDArray[np.float32]:
        assert knobs["raw"] == "true"
        name = knobs["file"].strip('"').removeprefix("\\[file dirname \\[value root.name]]/")
        place = path.parent / (name % number if "%" in name else name)
        if place.suffix == ".exr":
            return read_exr(place)
        picture = np.array(Image.open(place).convert("RGBA"), np.float32) / 255
        width, height = map(int, knobs["format"].strip('"').split()[:2])
        assert picture.shape[:2] == (height, width)
        return picture

    for text in re.findall(
        r"^\w+ \{\n.*?^\}|^set [^\n]*|^push [^\n]*", path.read_text(), re.M | re.S
    ):
        kind, rest = text.split(" ", 1)
        if kind == "set":
            kept[rest.split()[0]] = stack[-1]
            continue
        if kind == "push":
            stack.append(kept[rest.strip().removeprefix("$")])
            continue
        knobs = dict(line.strip().split(" ", 1) for line in rest.splitlines()[1:-1])
        inputs = [stack.pop() for _ in range(int(knobs.get("inputs", "1")))]
        if kind == "Read":
            stack.append(read(knobs))
        elif kind == "Premult":
            (a,) = inputs
            stack.append(np.dstack([a[..., :3] * a[..., 3:], a[..., 3]]))
        elif kind == "STMap":
            source, st = inputs
            stack.append(warped(source, st))
        elif kind == "Merge2":
            b, a = inputs
            operations = {
                "in": lambda a, b: a * b[..., 3:],
                "plus": lambda a, b: a + b,
                "over": lambda a, b: a + b * (1 - a[..., 3:]),
            }
            stack.append(operations[knobs["operation"]](a, b))
        elif kind == "Write":
            return inputs[0]
    raise AssertionError("nothing is written")


def test_the_script_makes_what_composite_makes(
    painted: Painted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = passed(run("export-maps", painted.atlas, "-o", "maps", "--json"))
    record = json.loads(result.stdout)
    assert record["frames"] == [0, COUNT - 1] and record["size"] == [*SIZE]
    folder = Path("maps")
    names = {path.name for path in folder.iterdir()}
    kinds = {f"{side}-{kind}" for side in LAYERS for kind in ("map", "back", "matte")}
    assert names == {"composite.nk", "run.json", *(f"{side}.png" for side in LAYERS), *kinds}
    matte = np.array(Image.open(folder / "foreground-matte/00002.png"))
    share = read_exr(folder / "foreground-map/00002.exr")[..., 3]
    assert matte.dtype == np.uint16 and np.abs(matte / 65535 - share).max() < 1e-4
    for side, color in zip(LAYERS, ((250, 200, 0), (40, 0, 200)), strict=True):
        picture = np.array(Image.open(folder / f"{side}.png").convert("RGBA"))
        picture[:] = (*color, 0)
        picture[8:-8, 8:-8, 3] = 180
        Image.fromarray(picture).save(folder / f"{side}.png")
    layers = [text for s, f in zip(LAYERS, ("--bg-layer", "--fg-layer"), strict=True)
              for text in (f, folder / f"{s}.png")]  # fmt: skip
    passed(run("composite", painted.clip, *layers, "-o", "ours/"))
    for number in range(COUNT):
        ours = np.array(Image.open(f"ours/{number:05d}.png")).astype(float)
        theirs = run_script(folder / "composite.nk", number)[..., :3] * 255
        assert np.abs(ours - theirs).max() <= 2
    again = run("export-maps", painted.atlas, "-o", "maps")
    assert again.exit_code == 2 and "--overwrite" in one_line(again)
    told = passed(run("export-maps", painted.atlas, "-o", "maps", "--overwrite"))
    assert "up to 0.0" in told.stderr


def test_the_clip_is_found_or_named(painted: Painted, tmp_path: Path) -> None:
    clip = save_video(tmp_path / "clip.mp4", painted, Fraction(24))
    atlas = clip.with_suffix(".atlas")
    script = export_maps(atlas).script
    assert script.parent == tmp_path / "clip.maps"
    assert "/../clip.mp4" in script.read_text()
    clip.rename(tmp_path / "elsewhere.mp4")
    text = export_maps(atlas, output=tmp_path / "b").script.read_text()
    assert 'file ""' in text
    text = export_maps(atlas, output=tmp_path / "c", clip=tmp_path / "elsewhere.mp4").script
    assert "/../elsewhere.mp4" in text.read_text()
    with pytest.raises(UsageError, match="another clip"):
        export_maps(atlas, output=tmp_path / "d", clip=painted.clip)
    assert not (tmp_path / "d").exists()
    assert "no atlas there" in one_line(run("export-maps", tmp_path))
