"""One small step of what a command needs: whether a device can do it is seen by doing it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from ..errors import Text2LiveError
from ..progress import Silent

if TYPE_CHECKING:
    from ..atlas.fit.fitting import Problem
    from ..atlas.fit.flow import Flow
    from ..atlas.fit.grid_fit import GridProblem

_FRAMES, _SIZE = 3, (64, 96)


def edit_step(device: torch.device) -> None:
    """Train one step on a picture with the embedded encoder, and look a frame up in an atlas.

    Raises whatever the device cannot do; Text2LiveError where what it gives is not finite.
    """
    from ..config import resolve_settings
    from ..device import FP32
    from ..engine.internal_dataset import Example, InternalDataset
    from ..engine.training import make_trainer
    from ..guide.clip import load_guide
    from ..guide.prompts import Prompts

    settings = resolve_settings("draft", "swatch", channels=4, views=2, steps=1)
    picture = torch.rand(1, 3, 192, 208, generator=torch.Generator().manual_seed(0))
    dataset = InternalDataset(Example(picture.to(device), None), settings.dataset, True)
    guide = load_guide("swatch", None, Silent()).to(device)
    prompts = Prompts("golden cup", "cup", "golden cup", keep=("table",))
    trainer = make_trainer(guide, prompts, dataset, settings, device, FP32)
    trainer.step()
    trainer.read()
    _require_finite(trainer.optimizer.flat.detach())
    if trainer.history.skipped:
        raise Text2LiveError("a step was not finite")
    _locate(device)


def fit_step(device: torch.device) -> None:
    """Fit either model of a clip for one step, and look a frame up in it; as `edit_step`."""
    from ..atlas.fit.fitting import Fitter
    from ..atlas.fit.nla_losses import NlaProblem
    from ..atlas.fit.settings import NlaSettings

    quick = NlaSettings(samples=50, width=16, resolution=32, pretraining_rounds=1)
    nla = NlaProblem(*_clip(), quick, 0, device)
    nla.prepare(Silent(), lambda: False)
    problems: list[Problem] = [_grid_problem(device), nla]
    for problem in problems:
        fitter = Fitter(problem, 1, 0, device)
        fitter.step()
        _require_finite(torch.tensor([*fitter.read().values()]))
        for value in problem.model.tensors().values():
            _require_finite(value)
    _locate(device)


def _locate(device: torch.device) -> None:
    from ..atlas.layers import FOREGROUND
    from ..atlas.render import (
        Layer,
        lay_over_frame,
        reconstruct,
        textures_of,
    )

    model = _grid_problem(torch.device("cpu")).model.on(device).closed()
    maps = model.locate(0.5)
    for values in maps:
        _require_finite(values)
    reconstruct(textures_of(model), maps)
    layer = Layer(torch.ones(4, 8, 8, device=device), 0, 0, 1.0)
    lay_over_frame(_clip()[0][0], maps, {FOREGROUND: layer})


def _grid_problem(device: torch.device) -> GridProblem:
    from ..atlas.fit.grid_fit import GridProblem
    from ..atlas.fit.settings import GridSettings

    return GridProblem(*_clip(), GridSettings(steps=1, samples=500), device)


def _clip() -> tuple[NDArray[np.uint8], NDArray[np.float32], Flow]:
    """Frames, masks and flow of a clip in which nothing moves."""
    from ..atlas.fit.flow import Flow

    height, width = _SIZE
    frames = np.random.default_rng(0).integers(0, 256, (_FRAMES, height, width, 3), np.uint8)
    masks = np.zeros((_FRAMES, height, width), np.float32)
    masks[:, 20:44, 30:66] = 1
    still = np.zeros((_FRAMES - 1, height, width, 2), np.float16)
    trusted = np.ones((_FRAMES - 1, height, width), bool)
    return frames, masks, Flow(still, still.copy(), trusted, trusted.copy())


def _require_finite(values: torch.Tensor) -> None:
    if not bool(values.isfinite().all()):
        raise Text2LiveError("numbers that are not finite")
