"""Painted scenes on disk, painted once in parallel, and seen many times through new views."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import multiprocessing

from swatch_training.captions import MAX_REGIONS, encode_scene
from swatch_training.painter import degrade, paint
from swatch_training.scene import PainterSettings, random_scene

PAINTED_SIZE = 128


@dataclass(frozen=True)
class Store:
    """Painted scenes on disk: pictures (N, s, s, 3), labels (N, s/2, s/2), codes (N, R, 2)."""

    pictures: np.ndarray
    labels: np.ndarray
    codes: np.ndarray

    @classmethod
    def open(cls, folder: Path, count: int, mode: str) -> Store:
        """Map the store's arrays; mode "w+" makes them, "r" and "r+" need them."""
        s = PAINTED_SIZE
        shapes = {
            "pictures": ((count, s, s, 3), np.uint8),
            "labels": ((count, s // 2, s // 2), np.uint8),
            "codes": ((count, MAX_REGIONS, 2), np.int16),
        }
        maps = {
            name: np.lib.format.open_memmap(folder / f"{name}.npy", mode, dtype, shape)
            for name, (shape, dtype) in shapes.items()
        }
        if any(maps[name].shape != shape for name, (shape, _) in shapes.items()):
            raise ValueError(f"{folder}: painted by another version; choose another --work")
        return cls(**maps)

    def batch(self, rows: np.ndarray) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Pictures (B, 3, s, s) in 0..1, labels (B, s/2, s/2) and codes (B, R, 2) of some rows."""
        pictures = torch.from_numpy(self.pictures[rows]).permute(0, 3, 1, 2).float() / 255
        return pictures, torch.from_numpy(self.labels[rows]), torch.from_numpy(self.codes[rows])


def paint_store(store: Store, rows: range, seed: int, painter: PainterSettings) -> None:
    """Paint the scenes numbered `rows`; each depends on the seed and its number alone."""
    for row in rows:
        rng = np.random.default_rng([seed, row])
        scene = random_scene(rng, painter)
        rgb, labels = paint(scene, PAINTED_SIZE, PAINTED_SIZE)
        store.pictures[row] = degrade(rgb, rng)
        store.labels[row] = labels[::2, ::2]
        store.codes[row] = encode_scene(scene)


def paint_all(folder: Path, count: int, seed: int, painter: PainterSettings) -> float:
    """Paint the scenes, unless an earlier run has; returns the seconds that it took."""
    ready = folder / f"painted-{seed}-{count}"
    if not ready.exists():
        begin = time.monotonic()
        Store.open(folder, count, "w+")
        painters = os.cpu_count() or 1
        work = painters, folder, count, seed, painter
        multiprocessing.spawn(_paint_share, work, painters)
        ready.write_text(f"{time.monotonic() - begin:.1f}")
    return float(ready.read_text())


def _paint_share(
    index: int, painters: int, folder: Path, count: int, seed: int, painter: PainterSettings
) -> None:
    store = Store.open(folder, count, "r+")
    paint_store(store, range(index, count, painters), seed, painter)
