"""Optical flow: what it measures, and reading and writing it."""

from __future__ import annotations

import itertools
import os
import sys
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.hub import load_state_dict_from_url
from torchvision.models.optical_flow import Raft_Large_Weights

from text2live_cli.atlas.fit import raft
from text2live_cli.atlas.fit.flow import (
    Flow,
    agree,
    dis_flow,
    load_flow,
    raft_flow,
    read_flow_dir,
    save_flow,
    with_agreement,
)
from text2live_cli.errors import Text2LiveError, UsageError
from text2live_cli.media.files import sha256_of
from text2live_cli.progress import Silent

SIZE = (48, 64)


def texture(height: int, width: int, seed: int = 0) -> np.ndarray:
    noise = np.random.default_rng(seed).uniform(0, 255, (height, width, 3)).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), 2)
    low, high = smooth.min(), smooth.max()
    return ((smooth - low) / (high - low) * 255).astype(np.uint8)


def panned(count: int, step: int, size: tuple[int, int] = SIZE) -> np.ndarray:
    wide = texture(size[0], size[1] + step * count)
    return np.stack([wide[:, t * step : t * step + size[1]] for t in range(count)])


def constant(shift: tuple[float, float], pairs: int = 2) -> np.ndarray:
    return np.broadcast_to(np.float32(shift), (pairs, *SIZE, 2)).copy()


def write_pairs(folder: Path, names: list[str], ending: str = ".npy") -> None:
    for a, b in itertools.pairwise(names):
        for first, second, shift in ((a, b, (2, 1)), (b, a, (-2, -1))):
            values = constant(shift)[0]
            path = folder / f"{first}_{second}{ending}"
            cv2.writeOpticalFlow(str(path), values) if ending == ".flo" else np.save(path, values)


def one_line(error: pytest.ExceptionInfo[Exception], *words: str) -> None:
    text = str(error.value)
    assert "\n" not in text
    for word in words:
        assert word in text


@pytest.mark.parametrize("gap", [1, 2])
def test_dis_flow_measures_a_pan(gap: int) -> None:
    flow = dis_flow(panned(4, 3), Silent(), gap=gap)
    assert flow.forward.shape == (4 - gap, *SIZE, 2)
    inner = (slice(None), slice(8, -8), slice(12, -12))
    np.testing.assert_allclose(
        np.median(flow.forward[inner], axis=(0, 1, 2)), (-3 * gap, 0), atol=0.1
    )
    np.testing.assert_allclose(
        np.median(flow.backward[inner], axis=(0, 1, 2)), (3 * gap, 0), atol=0.1
    )
    assert flow.forward_ok[inner].mean() > 0.95


@given(st.floats(-5, 5), st.floats(-5, 5))
@settings(deadline=None, max_examples=20)
def test_what_leads_there_and_back_agrees_inside_the_frame_only(dx: float, dy: float) -> None:
    there = constant((dx, dy))[0]
    y, x = np.mgrid[: SIZE[0], : SIZE[1]].astype(np.float32)
    x, y = x + np.float32(dx), y + np.float32(dy)
    inside = (x >= 0) & (x <= SIZE[1] - 1) & (y >= 0) & (y <= SIZE[0] - 1)
    np.testing.assert_array_equal(agree(there, -there), inside)
    assert not agree(there, -there + 1.5).any()


def test_saved_flow_comes_back(tmp_path: Path) -> None:
    flow = dis_flow(panned(3, 2), Silent())
    path = tmp_path / "flow.safetensors"
    save_flow(path, flow, "this clip")
    again = load_flow(path, "this clip")
    assert again is not None
    for part, saved in zip(again, flow, strict=True):
        np.testing.assert_array_equal(part, saved)
        assert part.dtype == saved.dtype
    assert load_flow(path, "another") is None


def test_what_is_changed_in_saved_flow_does_not_change_the_file(tmp_path: Path) -> None:
    flow = dis_flow(panned(3, 2), Silent())
    save_flow(path := tmp_path / "flow.safetensors", flow)
    before, read = path.read_bytes(), load_flow(path)
    assert read is not None
    read.forward[:], read.forward_ok[:] = 7, False
    assert path.read_bytes() == before


@pytest.mark.skipif(sys.platform != "linux", reason="names are any bytes on Linux only")
def test_saved_flow_comes_back_from_a_folder_whose_name_is_no_text(tmp_path: Path) -> None:
    flow = dis_flow(panned(3, 2), Silent())
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    folder.mkdir()
    save_flow(folder / "flow.safetensors", flow)
    again = load_flow(folder / "flow.safetensors")
    assert again is not None
    np.testing.assert_array_equal(again.forward, flow.forward)


def test_flow_out_of_every_frame_fits_a_half(tmp_path: Path) -> None:
    far = np.full((*SIZE, 2), 1e6, np.float32)
    flow = with_agreement([(far, -far)], 1, SIZE)
    assert np.isfinite(flow.forward).all() and np.isfinite(flow.backward).all()
    assert not flow.forward_ok.any()


@pytest.mark.parametrize("kind", ["garbage", "other shapes", "missing"])
def test_a_damaged_cache_is_none(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "flow.safetensors"
    if kind == "garbage":
        path.write_bytes(b"\xff" * 100)
    elif kind == "other shapes":
        forward = constant((1, 1))
        save_flow(path, Flow(forward, forward[:1], forward[..., 0] > 0, forward[..., 0] > 0))
    assert load_flow(path) is None


@pytest.mark.parametrize("ending", [".npy", ".flo"])
@pytest.mark.parametrize("pattern", ["{:05d}", "{:05d}.jpg", "frame{}"])
def test_flow_is_read_by_the_names_of_two_frames(tmp_path: Path, ending: str, pattern: str) -> None:
    write_pairs(tmp_path, [pattern.format(number) for number in (7, 8, 9, 10)], ending)
    flow = read_flow_dir(tmp_path, [8, 9, 10], SIZE)
    np.testing.assert_array_equal(flow.forward, constant((2, 1)))
    np.testing.assert_array_equal(flow.backward, constant((-2, -1)))
    assert flow.forward_ok[:, 2:-2, 3:-3].all()


def test_files_counted_from_one_serve_frames_counted_from_zero(tmp_path: Path) -> None:
    write_pairs(tmp_path, ["1", "2", "3"])
    np.save(tmp_path / "2_3.npy", constant((4, 0))[0])
    found = read_flow_dir(tmp_path, [1, 2], SIZE)
    np.testing.assert_array_equal(found.forward, constant((4, 0), 1))


def test_files_that_begin_elsewhere_are_taken_in_order(tmp_path: Path) -> None:
    write_pairs(tmp_path, ["30", "31", "32"])
    assert len(read_flow_dir(tmp_path, [0, 1, 2], SIZE).forward) == 2


def test_flow_of_another_size_is_rescaled_with_its_values(tmp_path: Path) -> None:
    write_pairs(tmp_path, ["0", "1"])
    flow = read_flow_dir(tmp_path, [0, 1], (24, 96))
    np.testing.assert_allclose(flow.forward[0, 12, 40], (3, 0.5), atol=1e-6)


def test_unknown_flow_agrees_with_nothing(tmp_path: Path) -> None:
    write_pairs(tmp_path, ["0", "1"], ".flo")
    values = constant((2, 1))[0]
    values[10:20, 10:20] = 1e9
    values[30, 30] = np.nan
    cv2.writeOpticalFlow(str(tmp_path / "0_1.flo"), values)
    flow = read_flow_dir(tmp_path, [0, 1], SIZE)
    assert np.isfinite(flow.forward).all() and np.abs(flow.forward).max() <= 2
    assert not flow.forward_ok[0, 10:20, 10:20].any() and not flow.forward_ok[0, 30, 30]
    assert flow.forward_ok[0, 25, 25]


def test_missing_flow_is_listed(tmp_path: Path) -> None:
    write_pairs(tmp_path, ["0", "1", "2"])
    (tmp_path / "2_1.npy").unlink()
    with pytest.raises(UsageError) as error:
        read_flow_dir(tmp_path, [0, 1, 2, 3], SIZE)
    one_line(error, "3 of 6", "00002_00001", "00002_00003", "00003_00002")


def test_no_flow_folder_is_one_line(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "absent"):
        with pytest.raises(UsageError) as error:
            read_flow_dir(folder, [0, 1], SIZE)
        one_line(error, str(folder))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"PIEH",
        b"\x93NUMPY\x01\x00",
        b"PIEH" + b"\xff\xff\xff\x7f" * 2,
        b"PIEH" + b"\xff" * 8,
        b"PIEH" + np.int32([64, 48]).tobytes() + bytes(8 * 48 * 64 - 1),
    ],
)
@pytest.mark.parametrize("ending", [".npy", ".flo"])
def test_damaged_flow_files_are_one_line(tmp_path: Path, content: bytes, ending: str) -> None:
    write_pairs(tmp_path, ["0", "1"], ending)
    (tmp_path / f"1_0{ending}").write_bytes(content)
    with pytest.raises(Text2LiveError) as error:
        read_flow_dir(tmp_path, [0, 1], SIZE)
    one_line(error, f"1_0{ending}")


def test_pickles_are_not_read(tmp_path: Path) -> None:
    write_pairs(tmp_path, ["0", "1"])
    np.save(tmp_path / "0_1.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(Text2LiveError, match=r"0_1\.npy"):
        read_flow_dir(tmp_path, [0, 1], SIZE)


def test_raft_runs_from_a_file_of_weights(tmp_path: Path) -> None:
    from torchvision.models.optical_flow import raft_small

    torch.manual_seed(0)
    path = tmp_path / "raft_small.pth"
    network = raft_small().eval()
    torch.save(network.state_dict(), path)
    frames = panned(3, 2, (128, 160))  # a size that RAFT takes as it is
    flow = raft_flow(frames, torch.device("cpu"), Silent(), path)
    pictures = torch.from_numpy(frames).permute(0, 3, 1, 2) / 127.5 - 1
    for t in range(2):
        first, second = pictures[t : t + 1], pictures[t + 1 : t + 2]
        for found, pair in ((flow.forward, (first, second)), (flow.backward, (second, first))):
            with torch.no_grad():
                expected = network(*pair, num_flow_updates=raft._UPDATES)[-1][0].permute(1, 2, 0)
            np.testing.assert_allclose(found[t], expected, rtol=1e-3, atol=1e-3)  # halves


def test_other_files_are_no_raft(tmp_path: Path) -> None:
    path = tmp_path / "raft_large.pth"
    torch.save({"a": torch.zeros(1)}, path)
    for content in (path.read_bytes(), b"nothing"):
        path.write_bytes(content)
        with pytest.raises(Text2LiveError) as error:
            raft_flow(panned(2, 2), torch.device("cpu"), Silent(), path)
        one_line(error, str(path), "RAFT")


@pytest.fixture
def raft_caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """Where torch and we keep torchvision's weights: the files are not there."""
    monkeypatch.setenv("TEXT2LIVE_CACHE", str(tmp_path / "ours"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    name = Raft_Large_Weights.C_T_SKHT_V2.url.rpartition("/")[2]
    folders = (tmp_path / "torch" / "hub" / "checkpoints", tmp_path / "ours" / "torchvision")
    for folder in folders:
        folder.mkdir(parents=True)
    return folders[0] / name, folders[1] / name


def test_raft_that_cannot_be_had_is_one_line(
    raft_caches: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    raft_caches[0].write_bytes(b"not the published one")
    with pytest.raises(Text2LiveError) as error:
        raft.published_state(Silent())
    one_line(error, "--flow dis", str(tmp_path / "ours"), "HF_HUB_OFFLINE")


def test_raft_is_fetched_by_torchvision_and_checked_by_its_hash(
    raft_caches: tuple[Path, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    torch.save({"a": torch.ones(3)}, tmp_path / "published")
    digest = sha256_of(tmp_path / "published")[:8]
    source = tmp_path / f"raft-{digest}.pth"
    (tmp_path / "published").rename(source)
    weights = SimpleNamespace(url=source.as_uri())
    weights.get_state_dict = partial(load_state_dict_from_url, weights.url)
    published = SimpleNamespace(C_T_SKHT_V2=weights)
    monkeypatch.setattr("torchvision.models.optical_flow.Raft_Large_Weights", published)
    ours = raft_caches[1].with_name(source.name)
    for former in (None, b"damaged"):
        if former is not None:
            ours.write_bytes(former)
        assert raft.published_state(Silent())["a"].tolist() == [1, 1, 1]
        assert ours.read_bytes() == source.read_bytes()
    assert capsys.readouterr().out == ""
    ours.unlink()
    source.write_bytes(b"altered on the way")
    with pytest.raises(Text2LiveError) as error:
        raft.published_state(Silent())
    one_line(error, "invalid hash value", "--flow dis")
    assert not ours.exists()


def test_agreement_of_nothing_in_common_is_false() -> None:
    pairs = zip(constant((3, 0)), constant((3, 0)), strict=True)
    flow = with_agreement(pairs, 2, SIZE)
    assert not flow.forward_ok.any() and not flow.backward_ok.any()
