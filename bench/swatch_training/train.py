"""Train `swatch` on painted scenes: in bench/, `python -m swatch_training.train --out F --work D`.

The scenes are painted once, in parallel, and seen many times through new views. On a CPU the
workers are single-threaded processes that average their gradients; on a GPU there is one. Seeded by
step, so a resumed training goes on as if it had not stopped.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from open_clip.model import CLIP
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import multiprocessing

from swatch_training.augment import augment, random_size, soften
from swatch_training.encoder import build_model
from swatch_training.losses import training_losses
from swatch_training.scene import PainterSettings
from swatch_training.store import Store, paint_all
from text2live_cli.guide.swatch.model import load_swatch
from text2live_cli.guide.swatch.tokenizer import SwatchTokenizer
from text2live_cli.guide.swatch.towers import ModelSettings

_WARMUP, _LOG_EVERY, _SAVE_EVERY = 150, 50, 250
_FALL = 0.6


@dataclass(frozen=True)
class Settings:
    """Everything that a training depends on; the defaults are those of `swatch`."""

    out: Path
    work: Path
    seed: int = 1
    steps: int = 7_000
    finish: int = 1_000
    """Steps after `steps`, on softened views and from a quarter of the learning rate."""
    workers: int = 2
    device: str = "cpu"
    scenes: int = 80_000
    batch: int = 48
    learning_rate: float = 1.3e-3
    start: Path | None = None
    """Weights to go on from, in place of random ones."""
    model: ModelSettings = field(default_factory=ModelSettings)
    painter: PainterSettings = field(default_factory=PainterSettings)

    def paint(self) -> float:
        """Paint the scenes, unless an earlier run has; returns the seconds that it took."""
        return paint_all(self.work, self.scenes, self.seed, self.painter)

    def for_judge(self) -> Settings:
        """The second encoder, which judges what the first has guided: see bench/guidance.py."""
        return replace(
            self,
            seed=1_000 + self.seed,
            steps=self.steps // 3,
            finish=0,
            scenes=self.scenes // 2,
            model=ModelSettings(vision_width=96, text_width=64, embedding=96),
            painter=PainterSettings(
                landscapes=0,
                lifelike=0,
                counts=(0.15, 0.65, 0.2),
                crowded=0.1,
                screens=0.1,
                plain=0.4,
                mixed=0.2,
            ),
        )


class Trainer:
    """Model, optimiser and schedule of one worker."""

    def __init__(self, settings: Settings, rank: int = 0) -> None:
        torch.manual_seed(settings.seed)
        self.settings, self.rank, self.step, self.seconds = settings, rank, 0, 0.0
        self.start = digest(settings.start) if settings.start else "random"
        self.tokenizer = SwatchTokenizer()
        self.model: CLIP = build_model(self.tokenizer, settings.model)
        if settings.start:
            self._start_from(settings.start)
        self.model.to(settings.device)
        self.model.visual.conv1.to(memory_format=torch.channels_last)
        decayed = [p for p in self.model.parameters() if p.ndim >= 2]
        plain = [p for p in self.model.parameters() if p.ndim < 2]
        groups = [{"params": decayed, "weight_decay": 0.05}, {"params": plain, "weight_decay": 0.0}]
        self.optimizer = torch.optim.AdamW(groups, settings.learning_rate, betas=(0.9, 0.98))

    def _start_from(self, path: Path) -> None:
        """Take over the weights in a file; words that they do not know stay random."""
        known, tokenizer, _ = load_swatch(path)
        here, there = self.tokenizer.rows_shared_with(tokenizer)
        state, words = known.state_dict(), self.model.token_embedding.weight.detach().clone()
        words[here] = state["token_embedding.weight"][there]
        self.model.load_state_dict({**state, "token_embedding.weight": words})

    def train_step(self, store: Store) -> dict[str, float]:
        """One optimiser step on a fresh random batch; returns the loss terms."""
        settings = self.settings
        rng = np.random.default_rng([settings.seed, self.step, self.rank])
        views_rng = torch.Generator().manual_seed(int(rng.integers(2**62)))
        rows = np.sort(rng.choice(len(store.codes), settings.batch, replace=False))
        pictures, labels, codes = store.batch(rows)
        size_rng = torch.Generator().manual_seed(settings.seed + self.step)
        size = random_size(self.step / settings.steps, size_rng)
        views, labels = augment(pictures, labels, size, views_rng)
        if self.step >= settings.steps:
            views = soften(views, views_rng)
        views = views.to(settings.device).contiguous(memory_format=torch.channels_last)
        losses = training_losses(self.model, self.tokenizer, views, labels, codes, rng)
        self.optimizer.zero_grad()
        losses["total"].backward()
        average_gradients(self.model.parameters())
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
        tensors = {k: v.contiguous() for k, v in tensors.items()}
        metadata = {"step": self.step, "seconds": self.seconds, "start": self.start}
        save_file(tensors, part, {name: str(value) for name, value in metadata.items()})
        part.replace(path)

    def load_checkpoint(self, path: Path) -> None:
        """Go on where `save_checkpoint` left off."""
        with safe_open(path, "pt") as file:
            metadata = file.metadata()
        self.step, self.seconds = int(metadata["step"]), float(metadata["seconds"])
        self.start = metadata["start"]
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
        """Rises, stays, falls to nothing over the last steps; falls once more in the finish."""
        settings = self.settings
        if self.step >= settings.steps:
            left = settings.steps + settings.finish - self.step
            return settings.learning_rate * 0.25 * left / settings.finish
        rise = (self.step + 1) / _WARMUP
        fall = (settings.steps - self.step) / (_FALL * settings.steps)
        return settings.learning_rate * min(1.0, rise, fall)


def average_gradients(parameters: Iterable[torch.nn.Parameter]) -> None:
    """Make the gradients those of all workers together; alone they stay as they are."""
    if not dist.is_initialized():
        return
    gradients = [p.grad for p in parameters if p.grad is not None]
    flat = torch.cat([g.flatten() for g in gradients])
    dist.all_reduce(flat)
    flat /= dist.get_world_size()
    for gradient, mean in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
        gradient.copy_(mean.view_as(gradient))


def _work(rank: int, settings: Settings) -> None:
    """One worker: trains in step with the others."""
    if settings.device == "cpu":
        torch.set_num_threads(1)
    rendezvous = (settings.work / "rendezvous").as_uri()
    dist.init_process_group("gloo", rendezvous, rank=rank, world_size=settings.workers)
    store = Store.open(settings.work, settings.scenes, "r")
    trainer = Trainer(settings, rank)
    commit = commit_of_code()
    checkpoint = settings.work / "checkpoint.safetensors"
    if checkpoint.exists():
        trainer.load_checkpoint(checkpoint)
    _train(trainer, store, checkpoint)
    if rank == 0:
        save_weights(trainer, commit)
    dist.destroy_process_group()


def _train(trainer: Trainer, store: Store, checkpoint: Path) -> None:
    """Step to the end; the first worker keeps the log and the checkpoint."""
    settings, begin, before = trainer.settings, time.monotonic(), trainer.seconds
    history: list[dict[str, float]] = []
    while trainer.step < settings.steps + settings.finish:
        history.append(trainer.train_step(store))
        trainer.seconds = before + time.monotonic() - begin
        if trainer.rank:
            continue
        if trainer.step % _LOG_EVERY == 0:
            means = {k: round(float(np.mean([h[k] for h in history])), 4) for k in history[0]}
            _log(settings, {"step": trainer.step, **means, "seconds": round(trainer.seconds, 1)})
            history.clear()
        if trainer.step % _SAVE_EVERY == 0:
            trainer.save_checkpoint(checkpoint)


def _log(settings: Settings, record: dict[str, float]) -> None:
    line = json.dumps(record)
    print(line, flush=True)
    with (settings.work / "log.jsonl").open("a") as file:
        file.write(line + "\n")


def save_weights(trainer: Trainer, commit: str) -> None:
    """Write the weights in half precision, with where they come from."""
    settings = trainer.settings
    state = {
        k: v.half().contiguous() if v.is_floating_point() else v
        for k, v in trainer.model.state_dict().items()
    }
    hours = (trainer.seconds + settings.paint()) / 3600
    metadata = {
        "commit": commit, "seed": settings.seed, "steps": trainer.step, "device": settings.device,
        "threads": settings.workers, "hours": round(hours, 3),
        "scenes": settings.scenes, "passes": trainer.step * settings.batch * settings.workers,
        "words": json.dumps(trainer.tokenizer.words),
        "start": trainer.start,
    }  # fmt: skip
    save_file(state, settings.out, {k: str(v) for k, v in metadata.items()})


def digest(path: Path) -> str:
    return "sha256 " + hashlib.sha256(path.read_bytes()).hexdigest()


def commit_of_code() -> str:
    """The commit that this folder's code is at, or "uncommitted" where it differs from it."""
    head, changes = _git("rev-parse", "HEAD"), _git("status", "--porcelain", ".")
    return head if head and changes == "" else "uncommitted"


def _git(*arguments: str) -> str | None:
    command = ["git", "-C", str(Path(__file__).parent), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else None


def main() -> None:
    """Parse the command line, paint, and run the workers."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="the weights to write")
    parser.add_argument(
        "--work", type=Path, help="scenes, log, checkpoint; give it again to resume"
    )
    parser.add_argument("--judge", action="store_true", help="train the second, judging encoder")
    parser.add_argument("--steps", type=int, default=Settings.steps)
    parser.add_argument("--finish", type=int, default=Settings.finish)
    parser.add_argument("--seed", type=int, default=Settings.seed)
    parser.add_argument("--workers", type=int, default=Settings.workers)
    parser.add_argument("--scenes", type=int, default=Settings.scenes)
    parser.add_argument("--start", type=Path, help="weights to go on from")
    parser.add_argument("--learning-rate", type=float, default=Settings.learning_rate)
    parser.add_argument("--device", default=Settings.device, help="cpu, or cuda with --workers 1")
    arguments = vars(parser.parse_args())
    judge, start = arguments.pop("judge"), arguments["start"]
    if judge and start:
        parser.error("--start: the judge begins at random")
    if start and not start.is_file():
        parser.error(f"--start {start}: there is no such file")
    arguments["work"] = arguments["work"] or Path(tempfile.mkdtemp(prefix="swatch-"))
    settings = Settings(**arguments)
    settings = settings.for_judge() if judge else settings
    settings.work.mkdir(parents=True, exist_ok=True)
    (settings.work / "rendezvous").unlink(missing_ok=True)
    print(f"work folder: {settings.work}", flush=True)
    settings.paint()
    multiprocessing.spawn(_work, (settings,), settings.workers)


if __name__ == "__main__":
    main()
