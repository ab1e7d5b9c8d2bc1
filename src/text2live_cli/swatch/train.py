"""Train `swatch` on painted scenes: `python -m text2live_cli.swatch.train --out FILE --minutes 40`.

The scenes are painted once, in parallel, and seen many times through new views. The workers are
single-threaded processes that average their gradients. Seeded by step, so a resumed training goes
on as if it had not stopped.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from open_clip.model import CLIP
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import multiprocessing

from text2live_cli.swatch.augment import augment, random_size
from text2live_cli.swatch.captions import MAX_REGIONS, encode_scene
from text2live_cli.swatch.losses import training_losses
from text2live_cli.swatch.model import build_model
from text2live_cli.swatch.painter import degrade, paint, random_scene
from text2live_cli.swatch.tokenizer import SwatchTokenizer

PAINTED_SIZE = 128
RELEVANCY = "dense"
_WARMUP, _PACE_STEPS, _LOG_EVERY, _SAVE_EVERY = 150, 40, 50, 250
_FALL = 0.3
_ANY_STEPS = 1_000_000


@dataclass(frozen=True)
class Settings:
    """Everything that a training depends on."""

    out: Path
    work: Path
    seed: int = 0
    steps: int = 0
    minutes: float = 40.0
    workers: int = 2
    scenes: int = 36_000
    batch: int = 48
    learning_rate: float = 1.3e-3


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
        return cls(**maps)

    def batch(self, rows: np.ndarray) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Pictures (B, 3, s, s) in 0..1, labels (B, s/2, s/2) and codes (B, R, 2) of some rows."""
        pictures = torch.from_numpy(self.pictures[rows]).permute(0, 3, 1, 2).float() / 255
        return pictures, torch.from_numpy(self.labels[rows]), torch.from_numpy(self.codes[rows])


def paint_store(store: Store, rows: range, seed: int) -> None:
    """Paint the scenes numbered `rows`; each depends on the seed and its number alone."""
    for row in rows:
        rng = np.random.default_rng([seed, row])
        scene = random_scene(rng)
        rgb, labels = paint(scene, PAINTED_SIZE, PAINTED_SIZE)
        store.pictures[row] = degrade(rgb, rng)
        store.labels[row] = labels[::2, ::2]
        store.codes[row] = encode_scene(scene)


class Trainer:
    """Model, optimiser and schedule of one worker."""

    def __init__(self, settings: Settings, rank: int = 0) -> None:
        torch.manual_seed(settings.seed)
        self.settings, self.rank, self.step = settings, rank, 0
        self.total = settings.steps or _ANY_STEPS
        self.tokenizer = SwatchTokenizer()
        self.model: CLIP = build_model(self.tokenizer.vocab_size, self.tokenizer.context_length)
        decayed = [p for p in self.model.parameters() if p.ndim >= 2]
        plain = [p for p in self.model.parameters() if p.ndim < 2]
        groups = [{"params": decayed, "weight_decay": 0.05}, {"params": plain, "weight_decay": 0.0}]
        self.optimizer = torch.optim.AdamW(groups, settings.learning_rate, betas=(0.9, 0.98))

    def train_step(self, store: Store) -> dict[str, float]:
        """One optimiser step on a fresh random batch; returns the loss terms."""
        key = [self.settings.seed, self.step, self.rank]
        rng = np.random.default_rng(key)
        views_rng = torch.Generator().manual_seed(int(rng.integers(2**62)))
        rows = np.sort(rng.choice(len(store.codes), self.settings.batch, replace=False))
        pictures, labels, codes = store.batch(rows)
        size = random_size(torch.Generator().manual_seed(self.settings.seed + self.step))
        views, labels = augment(pictures, labels, size, views_rng)
        losses = training_losses(self.model, self.tokenizer, views, labels, codes, rng)
        self.optimizer.zero_grad()
        losses["total"].backward()
        self._average_gradients()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        for group in self.optimizer.param_groups:
            group["lr"] = self._learning_rate()
        self.optimizer.step()
        self.step += 1
        return {name: value.item() for name, value in losses.items()}

    def save_checkpoint(self, path: Path) -> None:
        """Write all that a resumed training needs, replacing the file at once."""
        tensors = {f"model.{k}": v for k, v in self.model.state_dict().items()}
        for i, state in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{i}.{k}": v for k, v in state.items()}
        part = path.with_suffix(".part")
        save_file(tensors, part, {"step": str(self.step), "total": str(self.total)})
        part.replace(path)

    def load_checkpoint(self, path: Path) -> None:
        """Go on where `save_checkpoint` left off."""
        with safe_open(path, "pt") as file:
            metadata = file.metadata()
        self.step = int(metadata["step"])
        self.total = self.settings.steps or int(metadata["total"])
        model: dict[str, torch.Tensor] = {}
        state: dict[int, dict[str, torch.Tensor]] = {}
        for name, tensor in load_file(path).items():
            kind, rest = name.split(".", 1)
            if kind == "model":
                model[rest] = tensor
            else:
                index, key = rest.split(".")
                state.setdefault(int(index), {})[key] = tensor
        self.model.load_state_dict(model)
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": state, "param_groups": groups})

    def _learning_rate(self) -> float:
        """Rises, stays, and falls to nothing over the last steps.

        Until the fall it does not depend on the total, which may thus change on a resumption.
        """
        rise = (self.step + 1) / _WARMUP
        fall = (self.total - self.step) / (_FALL * self.total)
        return self.settings.learning_rate * min(1.0, rise, fall)

    def _average_gradients(self) -> None:
        if not dist.is_initialized():
            return
        gradients = [p.grad for p in self.model.parameters() if p.grad is not None]
        flat = torch.cat([g.flatten() for g in gradients])
        dist.all_reduce(flat)
        flat /= dist.get_world_size()
        for gradient, mean in zip(
            gradients, flat.split([g.numel() for g in gradients]), strict=True
        ):
            gradient.copy_(mean.view_as(gradient))


def _work(rank: int, settings: Settings) -> None:
    """One worker: paints its share, then trains in step with the others."""
    torch.set_num_threads(1)
    start = time.monotonic()
    rendezvous = (settings.work / "rendezvous").as_uri()
    dist.init_process_group("gloo", rendezvous, rank=rank, world_size=settings.workers)
    store = _shared_store(settings, rank)
    trainer = Trainer(settings, rank)
    checkpoint = settings.work / "checkpoint.safetensors"
    if checkpoint.exists():
        trainer.load_checkpoint(checkpoint)
    _train(trainer, store, checkpoint, deadline=start + settings.minutes * 60)
    if rank == 0:
        save_weights(trainer, settings.out, (time.monotonic() - start) / 3600)
    dist.destroy_process_group()


def _train(trainer: Trainer, store: Store, checkpoint: Path, deadline: float) -> None:
    """Step to the end; without a number of steps, take as many as fit before the deadline."""
    settings, first, begin = trainer.settings, trainer.step, time.monotonic()
    history: list[dict[str, float]] = []
    while trainer.step < trainer.total:
        history.append(trainer.train_step(store))
        done, spent = trainer.step - first, time.monotonic() - begin
        if done == _PACE_STEPS and trainer.total == _ANY_STEPS:
            left = deadline - time.monotonic()
            trainer.total = _agreed(trainer.step + int(left * done / spent))
        if trainer.rank:
            continue
        if trainer.step % _LOG_EVERY == 0:
            pace = done * settings.batch * settings.workers / spent
            means = {k: round(float(np.mean([h[k] for h in history])), 4) for k in history[0]}
            record = {"step": trainer.step, "of": trainer.total, **means}
            _log(settings, {**record, "pictures_per_second": round(pace, 1)})
            history.clear()
        if trainer.step % _SAVE_EVERY == 0:
            trainer.save_checkpoint(checkpoint)


def _shared_store(settings: Settings, rank: int) -> Store:
    """Open the painted scenes, painting this worker's share where they do not exist yet."""
    ready = settings.work / f"painted-{settings.seed}-{settings.scenes}"
    if rank == 0 and not ready.exists():
        Store.open(settings.work, settings.scenes, "w+")
    dist.barrier()
    if not ready.exists():
        share = range(rank, settings.scenes, settings.workers)
        paint_store(Store.open(settings.work, settings.scenes, "r+"), share, settings.seed)
    dist.barrier()
    ready.touch()
    return Store.open(settings.work, settings.scenes, "r")


def _agreed(value: int) -> int:
    """The first worker's value, in all workers."""
    shared = torch.tensor([value])
    dist.broadcast(shared, 0)
    return int(shared)


def _log(settings: Settings, record: dict[str, float]) -> None:
    line = json.dumps(record)
    print(line, flush=True)
    with (settings.work / "log.jsonl").open("a") as file:
        file.write(line + "\n")


def save_weights(trainer: Trainer, path: Path, hours: float) -> None:
    """Write the weights in half precision, with where they come from."""
    settings = trainer.settings
    state = {
        k: v.half().contiguous() if v.is_floating_point() else v
        for k, v in trainer.model.state_dict().items()
    }
    metadata = {
        "commit": _commit(), "seed": settings.seed, "steps": trainer.step, "device": "cpu",
        "threads": settings.workers, "hours": round(hours, 3), "scenes": settings.scenes,
        "passes": trainer.step * settings.batch * settings.workers, "relevancy": RELEVANCY,
    }  # fmt: skip
    save_file(state, path, {k: str(v) for k, v in metadata.items()})


def _commit() -> str:
    """The commit that this folder's code is at, or "uncommitted" where it differs from it."""
    head, changes = _git("rev-parse", "HEAD"), _git("status", "--porcelain", ".")
    return head if head and changes == "" else "uncommitted"


def _git(*arguments: str) -> str | None:
    command = ["git", "-C", str(Path(__file__).parent), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else None


def main() -> None:
    """Parse the command line and run the workers."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="the weights to write")
    parser.add_argument("--minutes", type=float, default=40.0, help="time, painting included")
    parser.add_argument("--steps", type=int, default=0, help="exact steps, in place of --minutes")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--scenes", type=int, default=Settings.scenes)
    parser.add_argument(
        "--work", type=Path, help="scenes, log, checkpoint; give it again to resume"
    )
    arguments = vars(parser.parse_args())
    arguments["work"] = arguments["work"] or Path(tempfile.mkdtemp(prefix="swatch-"))
    settings = Settings(**arguments)
    settings.work.mkdir(parents=True, exist_ok=True)
    (settings.work / "rendezvous").unlink(missing_ok=True)
    print(f"work folder: {settings.work}", flush=True)
    multiprocessing.spawn(_work, (settings,), settings.workers)


if __name__ == "__main__":
    main()
