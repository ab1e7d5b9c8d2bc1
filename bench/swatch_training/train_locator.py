"""Train the locator: in bench/, `python -m swatch_training.train_locator --out F --work D`.

From the tower of the trained `swatch`, whose texts it is compared with and which stays as it is. As
`train.py` does, on scenes that are painted once, by single-threaded processes that average their
gradients. Seeded by step; it is not resumed.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from safetensors.torch import save_file
from torch import multiprocessing, nn
from torch.nn import functional

from swatch_training.augment import augment, develop, soften
from swatch_training.captions import BANK, describe, sentence
from swatch_training.losses import locating_loss
from swatch_training.scene import PainterSettings
from swatch_training.store import Store, paint_all
from swatch_training.train import average_gradients, commit_of_code, digest
from text2live_cli.guide.swatch.locator import Locator
from text2live_cli.guide.swatch.model import WEIGHTS, encode_rows, folded, load_swatch

_SIZES = ((112, 112), (128, 128), (144, 144), (144, 144), (160, 160), (112, 144), (144, 112))
_SOFTENED = 0.1
_WARMUP, _LOG_EVERY, _FALL = 100, 50, 0.6


@dataclass(frozen=True)
class Settings:
    """Everything that a training depends on; the defaults are those of the locator."""

    out: Path
    work: Path
    seed: int = 6
    steps: int = 4_600
    workers: int = 2
    scenes: int = 48_000
    batch: int = 24
    learning_rate: float = 1e-3
    tower_rate: float = 3e-4
    """The learning rate of what has been trained before."""
    painter: PainterSettings = field(default_factory=PainterSettings)


class Trainer:
    """Locator, texts, optimiser and schedule of one worker."""

    def __init__(self, settings: Settings, rank: int = 0) -> None:
        torch.manual_seed(settings.seed)
        self.settings, self.rank, self.step = settings, rank, 0
        self.encoder, self.tokenizer, _ = load_swatch()
        self.locator = untrained(self.encoder.visual)
        tower = list(self.locator.tower.parameters())
        known = {id(p) for p in tower}
        head = [p for p in self.locator.parameters() if id(p) not in known]
        self.rates = settings.tower_rate, settings.learning_rate
        groups = [{"params": tower}, {"params": head}]
        self.optimizer = torch.optim.AdamW(groups, betas=(0.9, 0.98), weight_decay=0.02)

    def train_step(self, store: Store) -> float:
        """One optimiser step on a fresh random batch; returns the loss."""
        settings = self.settings
        rng = np.random.default_rng([settings.seed, self.step, self.rank])
        views_rng = torch.Generator().manual_seed(int(rng.integers(2**62)))
        size = _SIZES[int(np.random.default_rng([settings.seed, self.step]).integers(len(_SIZES)))]
        rows = np.sort(rng.choice(len(store.codes), settings.batch, replace=False))
        pictures, labels, codes = store.batch(rows)
        views, labels = augment(pictures, labels, size, views_rng)
        views = develop(views, views_rng)
        if rng.random() < _SOFTENED:
            views = soften(views, views_rng)
        described = [claim for code in codes.numpy() for claim in describe(code, rng)]
        sentences = [sentence(claim, rng) for claim in [*BANK, *described]]
        texts = functional.normalize(encode_rows(self.encoder, self.tokenizer(sentences)), dim=-1)
        found = self.locator(views.contiguous(memory_format=torch.channels_last))
        loss = locating_loss(found, texts, labels, codes, described, views_rng)
        self._learn(loss)
        return loss.item()

    def _learn(self, loss: torch.Tensor) -> None:
        self.optimizer.zero_grad()
        loss.backward()
        average_gradients(self.locator.parameters())
        nn.utils.clip_grad_norm_(self.locator.parameters(), 1.0)
        steps = self.settings.steps
        share = min(1.0, (self.step + 1) / _WARMUP, (steps - self.step) / (_FALL * steps))
        for group, rate in zip(self.optimizer.param_groups, self.rates, strict=True):
            group["lr"] = rate * share
        self.optimizer.step()
        self.step += 1


def untrained(tower: nn.Module) -> Locator:
    """A locator whose tower knows what the encoder's does, and whose rest adds nothing yet."""
    locator = Locator()
    state = tower.state_dict()
    rest = {name: value for name, value in state.items() if not name.startswith("conv1.")}
    assert isinstance(tower.conv1, nn.Sequential)
    stem = {f"conv1.{name}": value for name, value in folded(tower.conv1).state_dict().items()}
    locator.tower.load_state_dict({**rest, **stem})
    for value in locator.project.parameters():
        nn.init.zeros_(value)
    return locator.requires_grad_(True).to(memory_format=torch.channels_last)


def _work(rank: int, settings: Settings) -> None:
    """One worker: trains in step with the others."""
    torch.set_num_threads(1)
    rendezvous = (settings.work / "rendezvous").as_uri()
    dist.init_process_group("gloo", rendezvous, rank=rank, world_size=settings.workers)
    store = Store.open(settings.work, settings.scenes, "r")
    trainer, commit, begin = Trainer(settings, rank), commit_of_code(), time.monotonic()
    for losses in _in_fifties(trainer, store):
        if not rank:
            record = {"step": trainer.step, "loss": round(float(np.mean(losses)), 4)}
            print(json.dumps(record), round(time.monotonic() - begin, 1), flush=True)
            save_weights(trainer, commit, (time.monotonic() - begin) / 3600)
    dist.destroy_process_group()


def _in_fifties(trainer: Trainer, store: Store) -> Iterator[list[float]]:
    """Train to the end; the losses of each stretch, whenever one is done."""
    steps = trainer.settings.steps
    while trainer.step < steps:
        stretch = min(_LOG_EVERY, steps - trainer.step)
        yield [trainer.train_step(store) for _ in range(stretch)]


def save_weights(trainer: Trainer, commit: str, hours: float) -> None:
    """Write the weights in half precision, with where they come from."""
    settings = trainer.settings
    state = {k: v.half().contiguous() for k, v in trainer.locator.state_dict().items()}
    metadata = {
        "commit": commit, "seed": settings.seed, "steps": trainer.step, "scenes": settings.scenes,
        "passes": trainer.step * settings.batch * settings.workers, "threads": settings.workers,
        "hours": round(hours, 3), "start": digest(WEIGHTS),
    }  # fmt: skip
    save_file(state, settings.out, {k: str(v) for k, v in metadata.items()})


def main() -> None:
    """Parse the command line, paint, and run the workers."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="the weights to write")
    parser.add_argument("--work", type=Path, help="folder of the painted scenes")
    parser.add_argument("--steps", type=int, default=Settings.steps)
    parser.add_argument("--seed", type=int, default=Settings.seed)
    parser.add_argument("--workers", type=int, default=Settings.workers)
    parser.add_argument("--scenes", type=int, default=Settings.scenes)
    arguments = vars(parser.parse_args())
    arguments["work"] = arguments["work"] or Path(tempfile.mkdtemp(prefix="locator-"))
    settings = Settings(**arguments)
    settings.work.mkdir(parents=True, exist_ok=True)
    (settings.work / "rendezvous").unlink(missing_ok=True)
    paint_all(settings.work, settings.scenes, settings.seed, settings.painter)
    multiprocessing.spawn(_work, (settings,), settings.workers)


if __name__ == "__main__":
    main()
