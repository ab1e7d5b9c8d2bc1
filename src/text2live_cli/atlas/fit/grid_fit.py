"""The training problem of the explicit model: what every step compares, and at which rates."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from ...device import upload
from ...progress import Progress
from ..coordinates import sample_border, to_grid
from ..grid import (
    GridModel,
    Lattice,
    Mapping,
    Place,
    whole_frames,
)
from ..layers import BACKGROUND, FOREGROUND, FRONT_FIRST, LAYERS, Side
from .flow import Flow
from .grid_start import start_model
from .settings import GridSettings

_NOTHING = 1e-3  # opacity below which a foreground is not looked up
_MARGIN = 6  # pixels around the boxes of the foreground
_UPRIGHT = 0.3  # share of its usual area under which a cell of a mapping counts as folding


class Flowing(NamedTuple):
    """Pixels that flow carries to the next frame, (n, rows, columns) each."""

    use: Tensor
    """Whether it is trusted there."""
    later: Place
    """Where they lie in that frame; of the last frame: in itself, and not trusted."""


class GridProblem:
    """A clip to be fitted: a `GridModel` to be optimised with Adam, and its weighted terms."""

    def __init__(
        self,
        frames: NDArray[np.uint8],
        masks: NDArray[np.float32],
        flow: Flow,
        settings: GridSettings,
        device: torch.device,
    ) -> None:
        """`frames` (T, h, w, 3); rough foreground `masks` (T, h, w) in [0, 1]; `flow` between
        neighbouring frames, which is changed (`start_model`).
        """
        self.settings, self.device = settings, device
        self.count, height, width = masks.shape
        self.size = (height, width)
        model, sure = start_model(frames, masks, flow, settings.start)
        self.model: GridModel = model.to(device)
        self.boxes = _boxes(sure).to(device)
        most = min(self.count, settings.max_frames)
        self.stride = max(2, round((most * height * width / settings.samples) ** 0.5))
        self.lines = max(2, round((settings.samples / most) ** 0.5))
        self.frames = torch.from_numpy(frames).to(device)
        self.masks = torch.from_numpy(sure).to(device)
        self.doubtful = torch.from_numpy(masks > sure).to(device)
        self.forward = torch.from_numpy(flow.forward).to(device)
        self.forward_ok = torch.from_numpy(flow.forward_ok).to(device)

    def prepare(self, progress: Progress, stopped: Callable[[], bool]) -> None:
        """Nothing to do: the model starts from the flow."""

    def parameter_groups(self) -> list[dict[str, Any]]:
        """All parameters for Adam, with their learning rates; checkpoints number them in this
        order.
        """
        s, model = self.settings, self.model
        mappings = [model.mapping(side) for side in FRONT_FIRST]
        textures = list(model.textures.parameters())
        hold = {"eps": s.texture_eps, "weight_decay": s.texture_hold}
        return [
            {"params": textures, "lr": s.texture_rate, **hold},
            {"params": [mapping.field for mapping in mappings], "lr": s.field_rate},
            {"params": [mapping.affine for mapping in mappings], "lr": s.affine_rate},
            {"params": [model.opacity_logits], "lr": s.opacity_rate},
        ]

    def rate(self, step: int) -> float:
        """Share of the learning rates at `step` (from 0), in (0, 1]: falls to `last_rate`."""
        return self.settings.last_rate ** (step / self.settings.steps)

    def loss(self, step: int, rng: torch.Generator) -> dict[str, Tensor]:
        """The weighted terms by name, each a scalar, with random numbers from `rng` (CPU).

        They are taken on two lattices: of whole frames, and of the foreground's boxes. Flow costs
        as much as colour, so that it is compared on one of them by turns; so are the mappings'
        shapes.
        """
        times = self._draw_frames(rng)
        lattices = self._in_frames(times, rng), self._in_boxes(times, rng)
        pixels = [_pixels(at) for at in lattices]
        uv = [
            {side: self.model.mapping(side)(_real(at)) for side in FRONT_FIRST} for at in lattices
        ]
        turn = step % 2
        flowing = self._flowing(pixels[turn])
        *opacities, later = self.model.opacities([*pixels, flowing.later])
        shares = 1.0, self.settings.inside
        terms = self._colours(pixels, uv, opacities, shares, step / self.settings.steps)
        flows = self._flow(flowing, uv[turn], opacities[turn], later)
        terms.update({name: shares[turn] * value for name, value in flows.items()})
        shapes = self._shape(FRONT_FIRST[turn], times)
        terms.update({name: 2 * value for name, value in shapes.items()})
        return terms

    def _draw_frames(self, rng: torch.Generator) -> Tensor:
        most = self.settings.max_frames
        if self.count <= most:
            return torch.arange(self.count, device=self.device)
        numbers = torch.randperm(self.count, generator=rng)[:most].sort().values
        return upload(numbers, self.device)

    def _in_frames(self, times: Tensor, rng: torch.Generator) -> Lattice:
        """Every `stride`-th pixel of both axes, from a random one on."""
        phase = torch.randint(self.stride, (2,), generator=rng).tolist()
        y, x = (
            torch.arange(p, n, self.stride, device=self.device)
            for p, n in zip(phase, self.size, strict=True)
        )
        return whole_frames(times, y, x)

    def _in_boxes(self, times: Tensor, rng: torch.Generator) -> Lattice:
        """Rows and columns of pixels, spread over each frame's box of the foreground."""
        top, bottom, left, right = self.boxes[times].float()[..., None].unbind(1)
        offsets = torch.stack([torch.rand(len(times), 1, generator=rng) for _ in range(2)])
        lines = torch.arange(self.lines, device=self.device)
        spread = (lines + upload(offsets, self.device)) / self.lines
        y = (top + spread[0] * (bottom - top)).long()
        x = (left + spread[1] * (right - left)).long()
        return Lattice(times, y, x)

    def _colours(
        self,
        pixels: Sequence[Place],
        uv: Sequence[dict[Side, Tensor]],
        opacities: Sequence[Tensor],
        shares: Sequence[float],
        age: float,
    ) -> dict[str, Tensor]:
        """The terms of colour and opacity, when the share `age` of the fit is over.

        All pixels in one row, so that each texture is looked up once. `shares` say how much the
        mean over each lattice counts.
        """
        s = self.settings
        colour, masks, doubtful = (
            torch.cat([volume[place].flatten(0, 2) for place in pixels])
            for volume in (self.frames, self.masks, self.doubtful)
        )
        opacity = torch.cat([value.flatten() for value in opacities])
        weights = torch.cat(
            [
                torch.full_like(value.flatten(), share / value.numel())
                for value, share in zip(opacities, shares, strict=True)
            ]
        )
        places = {side: torch.cat([at[side].flatten(0, 2) for at in uv]) for side in FRONT_FIRST}
        hidden = (masks > 0.5) & (opacity.detach() > 0.5)
        error = _colour_error(places, opacity, colour.float() / 255, self.model.pictures(), hidden)
        use = (opacity > _NOTHING) & ~doubtful
        off = F.binary_cross_entropy(opacity.clamp(1e-4, 1 - 1e-4), masks, reduction="none")
        bootstrap = s.bootstrap * max(s.bootstrap_left, 1 - 2 * age)
        return {
            "colour": s.colour * weights @ error,
            "bootstrap": bootstrap * weights @ (off * use),
            "halves": s.halves * age * weights @ (opacity * (1 - opacity)),
        }

    def _flowing(self, pixels: Place) -> Flowing:
        """Where every second row of the pixels goes."""
        frame, rows, columns = pixels.t, pixels.y[:, ::2], pixels.x
        pair = frame.clamp(max=self.count - 2)
        use = self.forward_ok[pair, rows, columns] * (frame < self.count - 1)
        way = self.forward[pair, rows, columns].float()
        later = (frame + 1).clamp(max=self.count - 1)
        return Flowing(use, Place(later, rows + way[..., 1], columns + way[..., 0]))

    def _flow(
        self, flowing: Flowing, uv: dict[Side, Tensor], opacity: Tensor, later: Tensor
    ) -> dict[str, Tensor]:
        """What flow joins shall share its place in the atlas, and its opacity (docs/method.md).

        Distances are those of the atlas, means are over the trusted pixels.
        """
        s, use = self.settings, flowing.use
        t, y, x = flowing.later.t[:, 0, 0].float(), flowing.later.y, flowing.later.x
        share = opacity[:, ::2]
        terms = {}
        for side, weight in ((FOREGROUND, share), (BACKGROUND, 1 - share)):
            mapping = self.model.mapping(side)
            place = mapping.project(t, y, x) + self._bend_at(mapping, t, y, x)
            distance = ((place - uv[side][:, ::2]).square().sum(-1) + 1e-4).sqrt()
            trust = use * weight.detach()
            terms[f"flow {LAYERS[side]}"] = (
                s.flow * (trust * distance).sum() / trust.sum().clamp(min=1)
            )
        change = (later - share).abs()
        return terms | {"opacity flow": s.opacity_flow * (use * change).mean()}

    def _bend_at(self, mapping: Mapping, t: Tensor, y: Tensor, x: Tensor) -> Tensor:
        """The spline at scattered positions, (n, h, w, 2), between those of a lattice."""
        rows, columns, pitch = self._cells(mapping, 2)
        values = mapping.bend(whole_frames(t, rows, columns))
        grid = to_grid(
            torch.stack([x / pitch + 0.5, y / pitch + 0.5], dim=-1), (len(rows), len(columns))
        )
        return sample_border(values, grid).permute(0, 2, 3, 1)

    def _shape(self, side: Side, times: Tensor) -> dict[str, Tensor]:
        """A mapping shall keep shapes and sizes (rigidity), and turn nothing over (fold)."""
        s, mapping = self.settings, self.model.mapping(side)
        rows, columns, pitch = self._cells(mapping, 1)
        uv = mapping(whole_frames(times.float(), rows, columns))
        right = (uv[:, :-1, 1:] - uv[:, :-1, :-1]) / pitch
        down = (uv[:, 1:, :-1] - uv[:, :-1, :-1]) / pitch
        xx, yy, xy = right.square().sum(-1), down.square().sum(-1), (right * down).sum(-1)
        area = right[..., 0] * down[..., 1] - right[..., 1] * down[..., 0]
        usual = 0.5 * (xx + yy).detach().mean((1, 2), keepdim=True)
        shear = ((xx - yy).square() + 4 * xy.square()) / usual.square()
        stretch = (0.5 * (xx + yy) / usual - 1).square()
        rigidity = (s.rigidity_background, s.rigidity_foreground)[side]
        return {
            f"rigidity {LAYERS[side]}": rigidity * (shear + stretch).mean(),
            f"fold {LAYERS[side]}": s.fold * F.relu(_UPRIGHT - area / usual).mean(),
        }

    def _cells(self, mapping: Mapping, parts: int) -> tuple[Tensor, Tensor, float]:
        """Rows and columns over the frame, `parts` to a knot of the mapping, and their distance."""
        pitch = mapping.spacing / parts
        rows, columns = (torch.arange(0, n + pitch, pitch, device=self.device) for n in self.size)
        return rows, columns, pitch


def _pixels(at: Lattice) -> Place:
    return Place(at.t[:, None, None], at.y[:, :, None], at.x[:, None, :])


def _real(at: Lattice) -> Lattice:
    """The same pixels as positions."""
    return Lattice(at.t.float(), at.y.float(), at.x.float())


def _colour_error(
    uv: dict[Side, Tensor],
    opacity: Tensor,
    colour: Tensor,
    pictures: dict[Side, Tensor],
    hidden: Tensor,
) -> Tensor:
    """‖α·foreground + (1 − α)·background − colour‖² of n pixels; the first only where there is any.

    Where the background is `hidden` it learns nothing, or its texture would take up what little of
    the foreground's error its small share can mend, and end up white or black.
    """
    background = _look_up(pictures[BACKGROUND], uv[BACKGROUND])
    background = torch.where(hidden[:, None], background.detach(), background)
    error, places = background - colour, uv[FOREGROUND]
    if opacity.device.type != "cpu":  # how many pixels there are is known to a GPU alone
        foreground = _look_up(pictures[FOREGROUND], places)
        change = opacity[:, None] * (foreground - background)
        return (error + change.where(opacity[:, None] > _NOTHING, 0)).square().sum(1)
    near = (opacity > _NOTHING).nonzero()[:, 0]
    foreground = _look_up(pictures[FOREGROUND], places[near])
    change = opacity[near, None] * (foreground - background[near])
    return error.index_add(0, near, change).square().sum(1)


def _look_up(picture: Tensor, uv: Tensor) -> Tensor:
    """Colours (n, 3) of a picture (1, 3, H, W) at uv (n, 2)."""
    grid = to_grid(uv[None, None], (picture.shape[2], picture.shape[3]))
    return sample_border(picture, grid)[0, :, 0].T


def _boxes(masks: NDArray[np.float32]) -> Tensor:
    """Top, bottom, left and right (T, 4) of what is over one half; of nothing: the frame."""
    height, width = masks.shape[1:]
    boxes = np.tile(np.array([0, height, 0, width]), (len(masks), 1))
    for box, mask in zip(boxes, masks > 0.5, strict=True):
        y, x = np.nonzero(mask)
        if len(y):
            box[:] = (
                y.min() - _MARGIN,
                y.max() + 1 + _MARGIN,
                x.min() - _MARGIN,
                x.max() + 1 + _MARGIN,
            )
    return torch.from_numpy(boxes.clip(0, [height, height, width, width]))
