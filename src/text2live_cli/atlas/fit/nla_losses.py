"""What the published model is fitted by: its losses with their weights (docs/method.md).

All of them are means over the sampled pixels. Distances in an atlas are told in pixels of the clip:
a mapping that is the identity times `scale` moves one pixel per pixel.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import binary_cross_entropy

from ...device import upload
from ...progress import Progress
from ..coordinates import clip_to_unit
from ..layers import FRONT_FIRST, LAYERS
from ..nla import (
    NlaModel,
    new_networks,
)
from .flow import Flow
from .settings import NlaSettings

_DIAGONAL = 1e-3  # added before JᵀJ is inverted


def colour_loss(composite: Tensor, true: Tensor) -> Tensor:
    """Mean of ‖shown − true‖² over colours (N, 3)."""
    return (composite - true).square().sum(-1).mean()


def gradient_loss(composite: Tensor, true: Tensor) -> Tensor:
    """Mean squared distance of the spatial gradients, along x and along y together.

    Both are colours (3, N, 3): of the pixels, of those to their right, and of those below.
    """
    off = composite - true
    return (off[1:] - off[0]).square().sum(-1).sum(0).mean()


def flow_loss(places: Tensor, later: Tensor, weight: Tensor, ok: Tensor, pixels: float) -> Tensor:
    """How far, in pixels, a pixel's place in the atlas moves while the flow carries the pixel.

    `places` and `later` (2, N, 2) are before and after, for the flow to the next and to the
    previous frame; `weight` (N,) is the layer's share of the pixel, `ok` (2, N) tells where
    the flow holds, `pixels` is what one network unit is. The mean over the trusted pixels, of both
    ways; 0 where there are none.
    """
    distance = pixels * torch.linalg.vector_norm(places - later, dim=-1)
    return _trusted_mean(distance * weight, ok)


def opacity_flow_loss(opacity: Tensor, later: Tensor, ok: Tensor) -> Tensor:
    """L1 between the opacity (N,) of a pixel and that, `later` (2, N), of where the flow carries
    it.

    `ok` (2, N) tells where the flow to the next and to the previous frame holds.
    """
    return _trusted_mean((opacity - later).abs(), ok)


def _trusted_mean(values: Tensor, ok: Tensor) -> Tensor:
    """Mean of the trusted values (2, N) of each way; then of the two ways."""
    return ((values * ok).sum(1) / ok.sum(1).clamp(min=1)).mean()


def rigidity_loss(places: Tensor, right: Tensor, below: Tensor, pixels: float) -> Tensor:
    """‖JᵀJ‖ + ‖(JᵀJ)⁻¹‖ of a mapping's Jacobian; least, about 2√2, where it is rigid.

    `right` and `below` (N, 2) are the mapping one step along x and y; `pixels` is what one network
    unit is, in steps. Norms are Frobenius'.
    """
    dx, dy = pixels * (right - places), pixels * (below - places)
    xx, yy, xy = dx.square().sum(-1), dy.square().sum(-1), (dx * dy).sum(-1)
    area = dx[..., 0] * dy[..., 1] - dx[..., 1] * dy[..., 0]
    # |JᵀJ + εI| = |J|² + ε tr JᵀJ + ε²: no cancellation where the map is folded
    determinant = area.square() + _DIAGONAL * (xx + yy) + _DIAGONAL**2
    inverse = _frobenius(xx + _DIAGONAL, xy, yy + _DIAGONAL) / determinant
    return (_frobenius(xx, xy, yy) + inverse).mean()


def _frobenius(xx: Tensor, xy: Tensor, yy: Tensor) -> Tensor:
    """Norm of the symmetric matrix of these entries (and, of 2×2, of its adjugate)."""
    return torch.linalg.vector_norm(torch.stack([xx, xy, xy, yy]), dim=0)


def sparsity_loss(opacity: Tensor, foreground: Tensor) -> Tensor:
    """Mean of ‖(1 − α)·foreground‖² over opacities (N,) and colours (N, 3): those that nobody sees
    are to be black.
    """
    return ((1 - opacity)[..., None] * foreground).square().sum(-1).mean()


def bootstrap_loss(opacity: Tensor, masks: Tensor) -> Tensor:
    """Binary cross-entropy of the opacity (N,) against the rough masks (N,) in [0, 1]."""
    return binary_cross_entropy(opacity, masks)


class _Sample(NamedTuple):
    """Pixels drawn from the clip; true colours are (3, N, 3): of each, to its right and below."""

    points: Tensor
    """(K, N, 3), network inputs: the pixels; to their right; below; carried to the next frame; to
    the previous one; and, while there is global rigidity, far to the right and far below."""
    colours: Tensor
    flow_ok: Tensor
    """(2, N): whether the flow to the next and to the previous frame holds."""
    masks: Tensor
    """(N,)."""


class NlaProblem:
    """A clip to be fitted: an `NlaModel` to be optimised with Adam, and its weighted losses."""

    def __init__(
        self,
        frames: NDArray[np.uint8],
        masks: NDArray[np.float32],
        flow: Flow,
        settings: NlaSettings,
        seed: int,
        device: torch.device | str,
    ) -> None:
        """`frames` (T, h, w, 3); rough foreground `masks` (T, h, w) in [0, 1]; `flow` between
        neighbouring frames. The same seed gives the same fit, drawn alike on every device."""
        networks = new_networks(settings.width, torch.Generator().manual_seed(seed))
        count, height, width = masks.shape
        self.model = NlaModel(networks, (height, width), count, settings.resolution).to(device)
        self.settings = settings
        self._seed = seed
        self._device = torch.device(device)
        self._pixels = max(height, width) / (2 * settings.scale)  # of the clip per network unit
        self._frames = self._per_pixel(frames, 3)
        self._masks = self._per_pixel(masks)
        last = ((0, 1), (0, 0), (0, 0))  # no flow leads on from the last frame, none back from
        first = ((1, 0), (0, 0), (0, 0))  # the first
        self._flows = [
            self._per_pixel(np.pad(flow.forward, (*last, (0, 0))), 2),
            self._per_pixel(np.pad(flow.backward, (*first, (0, 0))), 2),
        ]
        self._flow_ok = [
            self._per_pixel(np.pad(flow.forward_ok, last)),
            self._per_pixel(np.pad(flow.backward_ok, first)),
        ]

    def prepare(self, progress: Progress, stopped: Callable[[], bool]) -> None:
        """Pre-train both mappings to the identity times `scale`, frame after frame.

        Raises KeyboardInterrupt as soon as `stopped` says so.
        """
        rng = torch.Generator().manual_seed(self._seed)
        mappings = [self.model.foreground, self.model.background]
        optimizer = torch.optim.Adam(
            [p for mapping in mappings for p in mapping.parameters()], self.settings.learning_rate
        )
        progress.stage("preparing the mappings", self.settings.pretraining_rounds, "round")
        for number in range(1, self.settings.pretraining_rounds + 1):
            for t in range(self.model.frames):
                if stopped():
                    raise KeyboardInterrupt
                points = self._points_of_frame(t, rng)
                aim = points[:, :2] * self.settings.scale
                off = [torch.linalg.vector_norm(net(points) - aim, dim=-1) for net in mappings]
                optimizer.zero_grad()
                torch.stack(off).mean(1).sum().backward()
                optimizer.step()
            progress.advance(number)

    def rate(self, step: int) -> float:
        """Share of the learning rate at `step`: all of it."""
        return 1.0

    def parameter_groups(self) -> list[dict[str, Any]]:
        """For `torch.optim.Adam`; in the order of the published checkpoints."""
        model = self.model
        return [
            {"params": list(network.parameters()), "lr": self.settings.learning_rate}
            for network in (model.foreground, model.background, model.alpha, model.atlas)
        ]

    def loss(self, step: int, rng: torch.Generator) -> dict[str, Tensor]:
        """The weighted terms of step `step` (from 0) by name, on pixels drawn from `rng` (CPU)."""
        settings, model, pixels = self.settings, self.model, self._pixels
        global_rigidity = step < settings.global_rigidity_until
        sample = self._draw(rng, settings.global_rigidity_reach if global_rigidity else None)
        places = {side: model.mapped(side, sample.points) for side in FRONT_FIRST}
        front, behind = (model.colour(side, places[side][:3]) for side in FRONT_FIRST)
        opacity = model.opacity(sample.points[:5])
        alpha = opacity[0]
        composite = behind + (front - behind) * opacity[:3, :, None]
        terms = {
            "colour": settings.colour * colour_loss(composite[0], sample.colours[0]),
            "gradient": settings.gradient * gradient_loss(composite, sample.colours),
            "opacity_flow": settings.opacity_flow
            * opacity_flow_loss(alpha, opacity[3:], sample.flow_ok),
            "sparsity": settings.sparsity * sparsity_loss(alpha, front[0]),
        }
        for side, share in zip(FRONT_FIRST, (alpha, 1 - alpha), strict=True):
            uv = places[side]
            drift = flow_loss(uv[0], uv[3:5], share, sample.flow_ok, pixels)
            terms[f"flow_{LAYERS[side]}"] = settings.flow * drift
            terms[f"rigidity_{LAYERS[side]}"] = settings.rigidity * rigidity_loss(
                uv[0], uv[1], uv[2], pixels
            )
        if global_rigidity:
            terms |= self._global_rigidity(places)
        if step < settings.bootstrap_until:
            terms["bootstrap"] = settings.bootstrap * bootstrap_loss(alpha, sample.masks)
        return terms

    def _global_rigidity(self, places: dict[Any, Tensor]) -> dict[str, Tensor]:
        settings = self.settings
        weights = (settings.global_rigidity_foreground, settings.global_rigidity_background)
        reach = self._pixels / settings.global_rigidity_reach
        return {
            f"global_rigidity_{LAYERS[side]}": weight
            * rigidity_loss(places[side][0], places[side][5], places[side][6], reach)
            for side, weight in zip(FRONT_FIRST, weights, strict=True)
        }

    def _draw(self, rng: torch.Generator, reach: int | None) -> _Sample:
        """Pixels from all over the clip; with points `reach` pixels away where that is given.

        Past its right and lower edge a frame goes on with its edge pixels.
        """
        height, width = self.model.size
        numbers = torch.randint(len(self._masks), (self.settings.samples,), generator=rng)
        index = upload(numbers.int(), self._device).long()
        x, y, t = index % width, index // width % height, index // (width * height)
        right, below = index + (x < width - 1), index + width * (y < height - 1)
        (ahead_x, ahead_y), (back_x, back_y) = (
            flow[index].float().unbind(-1) for flow in self._flows
        )
        points = [
            self._points(x, y, t),
            self._points(x + 1, y, t),
            self._points(x, y + 1, t),
            self._points(x + ahead_x, y + ahead_y, t + 1),
            self._points(x + back_x, y + back_y, t - 1),
        ]
        if reach is not None:
            points += [self._points(x + reach, y, t), self._points(x, y + reach, t)]
        return _Sample(
            torch.stack(points),
            self._frames[torch.stack([index, right, below])].float() / 255,
            torch.stack([ok[index] for ok in self._flow_ok]),
            self._masks[index],
        )

    def _points_of_frame(self, t: int, rng: torch.Generator) -> Tensor:
        """Pixels drawn from frame `t`, (N, 3)."""
        height, width = self.model.size
        index = torch.randint(height * width, (self.settings.samples,), generator=rng)
        index = upload(index.int(), self._device).long()
        return self._points(index % width, index // width, torch.full_like(index, t))

    def _points(self, x: Tensor, y: Tensor, t: Tensor) -> Tensor:
        return clip_to_unit(x, y, t, self.model.size, self.model.frames)

    def _per_pixel(self, array: NDArray[Any], channels: int | None = None) -> Tensor:
        """An array (T, h, w[, channels]) as (T·h·w[, channels]) on the device."""
        flat = array.reshape(-1) if channels is None else array.reshape(-1, channels)
        return torch.from_numpy(np.ascontiguousarray(flat)).to(self._device)
