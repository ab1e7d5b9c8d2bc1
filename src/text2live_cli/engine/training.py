"""The training loop, one for pictures and videos: they differ only in what they render.

Every step draws its random numbers from (seed, step) alone, so that a resumed run is the run that
was never stopped.
"""

from __future__ import annotations

import dataclasses
import json
import math
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from ..config import MAX_STEPS, PLAIN, EditSettings
from ..device import FP32, Precision, upload
from ..endings import Stop
from ..errors import Text2LiveError, UsageError
from ..guide.clip import ClipGuide
from ..guide.prompts import Prompts, embed_prompts
from ..guide.views import ViewSettings
from ..media.outside import whole_number
from ..media.tensor_files import require_finite, require_like
from ..progress import Progress
from .figures import likeness
from .generator import Generator
from .graphs import Graphs
from .objective import Objective
from .optimizer import FlatMadgrad
from .settling import LOOKS, SEED, is_settled, look_every
from .steps import Dataset, Given, step_rng

MAX_SKIPPED = 3
"""After this many non-finite steps the run goes on in fp32."""
MAX_LOST = 25
"""After this many in a row, in fp32, it ends."""
PACE_STEPS = 10
"""Steps that are timed to fix the length of a run with a time limit."""
LEAST_STEPS = 10
"""Of such a run: fewer show nothing."""
_PACE_SHARE = 0.1  # of the time for a run, after which no more of them are timed
_MAX_STEPS = 2**40  # that a checkpoint may claim
FORMAT = "4"
"""Of its checkpoints: another where a run would not end as it began, by its arithmetic too."""
_BUFFER = "buffer."
_VECTORS = ("weights", "grad_sum_sq", "s", "x0")  # of MADGRAD, from its first step on
_READ_EVERY = 25  # steps between looks at the device, where looking makes it wait


@dataclass
class History:
    """Every step's terms, unweighted and weighted, the steps that were skipped, and the likeness to
    the text at each look of a run that may end when it is settled.
    """

    terms: list[dict[str, float]] = field(default_factory=list)
    weighted: list[dict[str, float]] = field(default_factory=list)
    skipped: int = 0
    likeness: list[float] = field(default_factory=list)

    def totals(self) -> list[float]:
        """The objective of every step."""
        return [sum(row.values()) for row in self.weighted]


class Trainer:
    """A generator in training: its optimiser, precision and history, and how far it is."""

    def __init__(
        self,
        dataset: Dataset,
        objective: Objective,
        settings: EditSettings,
        device: torch.device,
        precision: Precision,
    ) -> None:
        self.dataset = dataset
        self.objective = objective
        self.settings = settings
        self.device = device
        self.precision = precision
        self.start()

    def start(self) -> None:
        """A fresh generator; the same seed gives the same weights on every device."""
        rng = torch.Generator().manual_seed(self.settings.seed)
        generator = Generator(self.settings.channels, self.settings.layout != PLAIN, rng)
        generator = generator.to(memory_format=generator.memory_format)
        self.generator = generator.to(self.device).train()
        self.optimizer = FlatMadgrad(self.generator, self.settings.schedule)
        self.recorded = 0  # graphs of the run
        self.graphs: Graphs | None = None
        self._begin_graphs()
        self.history = History()
        self.done = 0
        self.schedule_steps = self.settings.steps  # fewer than all in a run that is trained on
        self.stopped_by: str | None = None  # the signal that ended a run early
        self._skipped_in_a_row = 0
        self._unread: list[tuple[Tensor, Tensor, dict[str, float]]] = []

    def generator_on(self, device: torch.device) -> tuple[Generator, Precision]:
        """The generator for a result that is made on `device`, and in which precision there."""
        if device == self.device:
            return self.generator, self.precision
        copied = Generator(self.settings.channels, self.settings.layout != PLAIN, torch.Generator())
        copied.load_state_dict(self.generator.state_dict())
        copied = copied.to(memory_format=copied.memory_format)
        return copied.to(device).train(), FP32

    def fit_to(
        self, minutes: float, left: Callable[[], float], progress: Progress, stopped: Stop
    ) -> None:
        """Fix the number of steps by the mean pace of ten, which are then taken back.

        Fewer are timed where they would take much of the `minutes`. `left`, asked after them, says
        how many seconds the training has. The run is thereby the one that `--steps` of that number
        gives. Raises UsageError where they would be fewer than `LEAST_STEPS`.
        """
        progress.stage("measuring the pace", PACE_STEPS)
        self.graphs = None  # recording takes longer than these few steps
        times = []
        for done in range(1, PACE_STEPS + 1):
            started = time.monotonic()
            self.step()
            self.read()
            times.append(time.monotonic() - started)
            progress.advance(done)
            stopped.end()
            if done > 1 and sum(times) > _PACE_SHARE * 60 * minutes:
                break
        pace = statistics.fmean(times[1:] or times)  # the first one makes its kernels
        seconds = left() - self._seconds_of_looks()
        steps = min(MAX_STEPS, int(seconds / pace))
        if steps < LEAST_STEPS:
            more = minutes + (LEAST_STEPS * pace - seconds) / 60
            raise UsageError(
                f"--minutes {minutes:g}: leaves time for {max(steps, 0)} steps, too few to show"
                f" anything; give {math.ceil(10 * more) / 10:g} minutes or more, or --steps"
            )
        self.settings = dataclasses.replace(self.settings, steps=steps)
        self.start()

    def run(self, progress: Progress, stopped: Stop, save: Callable[[], None]) -> None:
        """Train until it is `ended`, or `stopped` says so; both are asked after every step."""
        progress.stage("training", self.settings.steps)
        self._begin_graphs()
        every = 1 if self.device.type == "cpu" else _READ_EVERY
        while not self.ended and not stopped():
            self.step()
            self._tell_of_graphs(progress)
            self._look()
            if self.done % every == 0 or self.ended:
                self.read()
                self._judge_skipped(progress)
                progress.advance(self.done, self.history.weighted[-1])
            save()
        self.read()
        if self.graphs is not None:  # their memory is needed for the result
            self.recorded, self.graphs = self.graphs.count, None
        self.stopped_by = None if self.ended else stopped.name
        if self.ended and self.done < self.steps:
            progress.message(
                f"settled after {self.done} of {self.steps} steps: three looks in a row brought it"
                " no nearer to the text"
            )

    def step(self) -> None:
        """One step of the optimiser, without waiting for the device (but where it is recorded)."""
        share = self.settings.schedule.bootstrap_share_at(self.done, self.schedule_steps)
        bootstrap = self.settings.weights.bootstrap * share
        values = self._pass(self._draw(bootstrap))
        finite = self.optimizer.step(self.learning_rate, self.precision.loss_scale)
        weights = self.objective.weights_of(values, bootstrap)
        self._unread.append((torch.stack(list(values.values())), finite, weights))
        self.done += 1

    def _draw(self, bootstrap_weight: float) -> Given:
        """All chances of the next step."""
        rng = step_rng(self.settings.seed, self.done)
        examples = self.dataset.examples(self.done, rng)
        chances = self.objective.draw(examples.sizes, self.device, rng)
        weight = upload(torch.tensor(bootstrap_weight), self.device) if bootstrap_weight else 0.0
        return Given(examples, chances, weight)

    def _forward_and_backward(self, given: Given) -> dict[str, Tensor]:
        """The terms of a step by name; their gradients are the optimiser's."""
        self.optimizer.zero_grad()
        with self.precision.autocast(self.device):
            pictures = given.examples.render(self.generator)
        terms = self.objective(pictures, given.chances, given.bootstrap_weight)
        (terms.total * self.precision.loss_scale).backward()
        return {name: value.detach() for name, value in terms.values.items()}

    def _begin_graphs(self) -> None:
        """Have steps recorded anew, where they are: weights or precision are others."""
        self.graphs = None
        if self.settings.uses_graphs(self.device.type):
            self.graphs = Graphs(self.optimizer.gradient)

    def _pass(self, given: Given) -> dict[str, Tensor]:
        """As `_forward_and_backward`, as a graph where there is one."""
        if self.graphs is not None:
            return self.graphs(self._forward_and_backward, given)
        return self._forward_and_backward(given)

    def _tell_of_graphs(self, progress: Progress) -> None:
        """Say so, once, where steps are not recorded."""
        if self.graphs and self.graphs.refused is not None:
            progress.message(f"steps go to the GPU kernel by kernel: {self.graphs.refused}")
            self.graphs = None

    @property
    def steps(self) -> int:
        """Steps of the whole run."""
        return self.settings.steps

    @property
    def ended(self) -> bool:
        """Whether all steps are done, or the rest may be left out."""
        return self.done >= self.steps or (self._may_settle and is_settled(self.history.likeness))

    @property
    def _may_settle(self) -> bool:
        """Not where more steps than the run had were asked for."""
        return self.settings.until_settled and self.schedule_steps == self.steps

    def _look(self) -> None:
        """Note how much the edit is like the text by now, where it is time for that."""
        if self._may_settle and self.done % look_every(self.schedule_steps) == 0:
            seen = self._likeness()
            if math.isfinite(seen):
                self.history.likeness.append(seen)

    @torch.no_grad()
    def _likeness(self) -> float:
        """Of the edit, as it is, with the text; always of the same example."""
        with self.precision.autocast(self.device):
            shown = self.dataset.examples(0, step_rng(SEED, 0)).render(self.generator)[-1].composite
        return likeness(self.objective.guide, self.objective.texts.target, [shown])[0]

    def _seconds_of_looks(self) -> float:
        """That those of the whole run will take: one is timed."""
        if not self.settings.until_settled:
            return 0.0
        begin = time.monotonic()
        self._likeness()
        return LOOKS * (time.monotonic() - begin)

    @property
    def learning_rate(self) -> float:
        """Of the next step."""
        return self.settings.schedule.learning_rate_at(self.done, self.schedule_steps)

    def train_on(self, steps: int) -> None:
        """Go on to more steps than the run had: its schedule does, beyond its end, step by step."""
        self.settings = dataclasses.replace(self.settings, steps=steps)

    @property
    def format(self) -> str:
        """Name of what `state` gives."""
        return FORMAT

    def state(self) -> tuple[dict[str, Tensor], dict[str, str]]:
        """All that the rest of the run depends on, as tensors and as texts."""
        self.read()
        buffers = {_BUFFER + name: value for name, value in self.generator.named_buffers()}
        texts = {
            "steps": str(self.steps),
            "schedule_steps": str(self.schedule_steps),
            "done": str(self.done),
            "optimizer_steps": str(self.optimizer.steps),
            "precision": self.precision.name,
            "history": json.dumps(dataclasses.asdict(self.history)),
        }
        return self.optimizer.state() | buffers, texts

    def load(self, tensors: dict[str, Tensor], texts: dict[str, str]) -> None:
        """Go on where `state` was called.

        Nothing of it is trusted: raises ValueError, LookupError or TypeError for what that never
        gives.
        """
        steps = whole_number(int(texts["steps"]), 1, _MAX_STEPS)
        schedule_steps = whole_number(int(texts.get("schedule_steps", steps)), 1, steps)
        done = whole_number(int(texts["done"]), 0, steps)
        optimizer_steps = whole_number(int(texts["optimizer_steps"]), 0, _MAX_STEPS)
        history = _read_history(texts["history"], done)
        if len(history.likeness) > done // look_every(schedule_steps):
            raise ValueError("more looks than there were")
        own = {_BUFFER + name: value for name, value in self.generator.named_buffers()}
        buffers = {name: tensor for name, tensor in tensors.items() if name.startswith(_BUFFER)}
        state = {n: t for n, t in tensors.items() if not n.startswith(_BUFFER)}
        require_finite(state)
        weights = self.optimizer.state()["weights"]
        require_like(buffers, own)
        require_like(state, dict.fromkeys(_VECTORS if done else ("weights",), weights))
        for name, value in own.items():
            value.copy_(buffers[name])
        self.optimizer.load(state, optimizer_steps)
        self.settings = dataclasses.replace(self.settings, steps=steps)
        self.done, self.history, self.schedule_steps = done, history, schedule_steps
        if texts["precision"] == FP32.name and self.precision is not FP32:
            self.use_fp32()

    def read(self) -> None:
        """Fetch the figures of the steps since the last look into the history."""
        rows = [torch.cat([values, finite[None]]) for values, finite, _ in self._unread]
        flat = torch.cat(rows).tolist() if rows else []  # one look at the device for all
        for _, _, weights in self._unread:
            *figures, finite = flat[: len(weights) + 1]
            del flat[: len(weights) + 1]
            row = dict(zip(weights, figures, strict=True))
            self.history.terms.append(row)
            self.history.weighted.append({k: weights[k] * v for k, v in row.items()})
            self.history.skipped += not bool(finite)
            self._skipped_in_a_row = 0 if finite else self._skipped_in_a_row + 1
        self._unread.clear()

    def _judge_skipped(self, progress: Progress) -> None:
        if self.history.skipped >= MAX_SKIPPED and self.precision is not FP32:
            progress.warning(
                f"{self.history.skipped} steps were not finite in {self.precision.name}:"
                " going on in fp32"
            )
            self.use_fp32()
        elif self._skipped_in_a_row >= MAX_LOST:
            raise Text2LiveError(
                f"the last {self._skipped_in_a_row} steps were not finite, in fp32 too:"
                " lower the λ's that were raised, or take another --seed"
            )

    def use_fp32(self) -> None:
        """Compute in full precision from here on."""
        self.precision = FP32
        self.objective.guide.to(self.device)
        self._begin_graphs()


def _read_history(text: str, done: int) -> History:
    """The terms of `done` steps; those of a skipped step need not be finite."""
    rows = json.loads(text)
    skipped, seen = whole_number(rows["skipped"], 0, done), list(rows["likeness"])
    history = History(rows["terms"], rows["weighted"], skipped, seen)
    if not all(isinstance(value, float) and -1.01 < value < 1.01 for value in seen):
        raise ValueError("impossible likenesses")
    for terms in (history.terms, history.weighted):
        if len(terms) != done:
            raise ValueError("the history has another length than the run")
        for row in terms:
            if not all(isinstance(value, float) for value in row.values()):
                raise ValueError("a term that is no number")
    return history


def make_trainer(
    guide: ClipGuide,
    prompts: Prompts,
    dataset: Dataset,
    settings: EditSettings,
    device: torch.device,
    precision: Precision,
    view_settings: ViewSettings | None = None,
) -> Trainer:
    """The one generator, and all that judges it, for what `dataset` shows and its prompts."""
    texts = embed_prompts(guide, prompts)
    loss_weights = settings.weights
    if not prompts.directed:  # from "cake" to "cake" there is no direction
        loss_weights = dataclasses.replace(loss_weights, direction=0.0)
    objective = Objective(
        guide.to(device, precision.encoder),
        texts,
        loss_weights,
        settings.views,
        settings.text_distance,
        view_settings,
    )
    return Trainer(dataset, objective, settings, device, precision)
