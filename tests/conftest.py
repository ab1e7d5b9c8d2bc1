"""Shared fixtures: parity arrays and tiny encoders, made once per run."""

from __future__ import annotations

import os

# Before torch: one thread each, as they may run side by side; commands do not measure then.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import text2live_cli  # isort: skip  # noqa: F401  # before torch: it tells OpenMP how to wait

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from tests import tiny_clip
from text2live_cli.config import CHANNELS_LAST
from text2live_cli.guide.clip import ClipGuide

DATA = Path(__file__).parent / "data"


@pytest.fixture(scope="session")
def tiny() -> ClipGuide:
    """Four blocks, one head."""
    return tiny_clip.guide(tiny_clip.TINY)


@pytest.fixture(scope="session")
def tiny12() -> ClipGuide:
    """Twelve blocks, two heads."""
    return tiny_clip.guide(tiny_clip.TINY12)


class Arrays:
    """Arrays of one file under tests/data, as tensors."""

    def __init__(self, name: str) -> None:
        self._file = np.load(DATA / f"{name}.npz")
        self.names = self._file.files

    def __getitem__(self, name: str) -> Tensor:
        array = self._file[name]
        return torch.from_numpy(array.astype(np.float32) if array.dtype == np.float16 else array)

    def picture(self, name: str) -> Tensor:
        """A stored (H, W, 3) uint8 picture as (1, 3, H, W) in [0, 1]."""
        return self[name].permute(2, 0, 1)[None].float() / 255


@pytest.fixture(scope="session")
def encoder_arrays() -> Arrays:
    return Arrays("encoder")


@pytest.fixture(scope="session")
def loss_arrays() -> Arrays:
    return Arrays("losses")


@pytest.fixture(scope="session")
def generator_arrays() -> Arrays:
    return Arrays("generator")


@pytest.fixture(scope="session", autouse=True)
def nothing_is_timed() -> Iterator[None]:
    """Neither memory layout nor threads are measured, and no cache of the user's is written.

    Of the whole session, since results that a module shares are made before its first test.
    """
    with pytest.MonkeyPatch.context() as patch:
        threads = "text2live_cli.pipelines.thread_choice.choose_threads"
        patch.setattr(threads, lambda *given: torch.get_num_threads())
        choose = "text2live_cli.pipelines.session.choose_layout"
        patch.setattr(choose, lambda *given: CHANNELS_LAST)
        yield
