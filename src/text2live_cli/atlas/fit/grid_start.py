"""Where the explicit model starts: mappings from flow, textures and opacity from what they show."""

from __future__ import annotations

from collections.abc import Iterable

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from .. import spline
from ..coordinates import to_grid
from ..grid import (
    GridModel,
    Mapping,
    Texture,
    whole_frames,
)
from ..layers import BACKGROUND, FOREGROUND, Side
from .flow import Flow
from .motion import background_homographies
from .object_flow import aligned_steps, settle_flow
from .settings import GridStart

_LATTICE = 4  # pixels between the positions that are matched
_MARGIN = 8  # atlas pixels around what is seen at the start
_MAX_EXTENT = 16.0  # of an atlas, in sides of the frame
_BENDING = 0.3  # weight of a spline's second differences against its matches
_SLIGHT = 1e-4  # weight in a mosaic of what shows another layer
_ROUNDS = 40  # of conjugate gradients, for one frame
_MIN_MATCHES = 12
_STANDING = 0.6  # pixels a frame: below it a foreground stands still
_JOIN = 9  # pixels over which moving parts of a mask are joined
_DOUBT = 0.2  # opacity to start with where a mask does not move
_UNSEEN = -8.0  # logit of an opacity that is far from every mask


def start_model(
    frames: NDArray[np.uint8], masks: NDArray[np.float32], flow: Flow, settings: GridStart
) -> tuple[GridModel, NDArray[np.float32]]:
    """The model before its fit, and the masks without what does not move against the camera.

    `frames` (T, h, w, 3), RGB; `masks`, given and returned, (T, h, w) in [0, 1]. `flow` becomes
    what the fit shall follow.
    """
    size = (frames.shape[1], frames.shape[2])
    camera = background_homographies(flow, masks)
    background = Mapping(
        _tensor(chain(camera, len(frames) // 2)),
        size,
        settings.background_spacing,
        settings.background_period,
    )
    largest = int(masks.sum((1, 2)).argmax())
    steps, moving = foreground_steps(flow, masks, camera)
    steps = aligned_steps(frames, moving, steps)
    settle_flow(frames, moving, steps, flow)
    foreground = Mapping(
        _tensor(chain(steps, largest)),
        size,
        settings.foreground_spacing,
        settings.foreground_period,
    )
    follow_flow(foreground, flow, moving, largest)
    sure = sure_foreground(masks, moving)
    mappings: dict[Side, Mapping] = {FOREGROUND: foreground, BACKGROUND: background}
    textures: dict[Side, Texture] = {}
    for side, mapping in mappings.items():
        canvas = place_on_canvas(mapping, sure > 0.5 if side == FOREGROUND else None, size)
        shares = (share if side == FOREGROUND else 1 - share for share in torch.from_numpy(sure))
        pictures = (torch.from_numpy(f).permute(2, 0, 1).float() / 255 for f in frames)
        weights = (share**2 + _SLIGHT for share in shares)
        textures[side] = Texture(mosaic(pictures, weights, mapping, canvas), settings.levels)
    return GridModel(size, mappings, textures, opacity_logits(masks, sure)), sure


def _tensor(matrices: NDArray[np.float64]) -> Tensor:
    return torch.from_numpy(matrices).float()


def chain(steps: NDArray[np.float64], reference: int) -> NDArray[np.float64]:
    """Maps of neighbours (T−1, 3, 3), frame t → t + 1, as maps (T, 3, 3) of every frame to
    `reference`.
    """
    whole = np.tile(np.eye(3), (len(steps) + 1, 1, 1))
    for t in range(reference - 1, -1, -1):
        whole[t] = whole[t + 1] @ steps[t]
    for t in range(reference + 1, len(whole)):
        whole[t] = whole[t - 1] @ np.linalg.inv(steps[t - 1])
    return whole / whole[:, 2:, 2:]


def foreground_steps(
    flow: Flow, masks: NDArray[np.float32], camera: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """The similarity that fits the flow inside the masks best: (T−1, 3, 3), frame t → t + 1.

    Also where it was looked for, (T, h, w): rough masks hold ground and shadow, which go with the
    `camera`, so that where anything in a mask moves against it, only that counts.
    """
    steps = camera.copy()
    use = masks > 0.5
    for t, (way, ok) in enumerate(zip(flow.forward, flow.forward_ok, strict=True)):
        use[t] = _moving(way, use[t], camera[t])
        matches = use[t] & ok
        y, x = np.nonzero(matches if matches.sum() >= _MIN_MATCHES else use[t])
        if len(x) < _MIN_MATCHES:
            continue
        start = np.stack([x, y], 1).astype(np.float64)
        similarity, _ = cv2.estimateAffinePartial2D(
            start, start + way[y, x], method=cv2.RANSAC, ransacReprojThreshold=1.5
        )
        if similarity is not None:
            steps[t, :2] = similarity
            steps[t, 2] = (0, 0, 1)
    if len(use) > 1:
        use[-1] = _moving(flow.backward[-1], use[-1], np.linalg.inv(camera[-1]))
    return steps, use


def _moving(
    way: NDArray[np.float16], mask: NDArray[np.bool_], camera: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """The part of a mask that moves against the camera; all of it where nothing does."""
    height, width = mask.shape
    y, x = np.mgrid[:height, :width].astype(np.float64)
    u, v, w = (row[0] * x + row[1] * y + row[2] for row in camera)
    residual = np.hypot(x + way[..., 0] - u / w, y + way[..., 1] - v / w)
    if not mask.any():
        return mask
    typical = np.percentile(residual[mask], 90)
    return mask & (residual > 0.3 * typical) if typical > _STANDING else mask


def follow_flow(mapping: Mapping, flow: Flow, use: NDArray[np.bool_], reference: int) -> None:
    """Bend `mapping` so that flow, where `use` (T, h, w) says so, joins equal atlas positions.

    Starting at `reference`, every frame's spline is fitted to where its neighbour's pixels went.
    """
    tracker = _Tracker(mapping)
    frames = len(mapping.base)
    fields = [torch.zeros_like(mapping.field[0])] * frames
    for order, step in ((range(reference + 1, frames), -1), (range(reference - 1, -1, -1), 1)):
        for t in order:
            pair = min(t, t + step)
            back, ok = (
                (flow.backward[pair], flow.backward_ok[pair])
                if step < 0
                else (flow.forward[pair], flow.forward_ok[pair])
            )
            fields[t] = tracker.next(t, t + step, fields[t + step], back, ok & use[t])
    in_time = spline.basis(torch.arange(frames).float(), mapping.period, mapping.time_knots)
    every = torch.stack(fields).flatten(1)
    knots = torch.linalg.lstsq(
        in_time.T @ in_time + 1e-4 * torch.eye(in_time.shape[1]), in_time.T @ every
    ).solution
    with torch.no_grad():
        mapping.field.copy_(knots.unflatten(1, mapping.field.shape[1:]))


class _Tracker:
    """Fits the spline of one frame to that of its neighbour."""

    def __init__(self, mapping: Mapping) -> None:
        self.mapping = mapping
        height, width = mapping.size
        self.y = torch.arange(0, height, _LATTICE).float()
        self.x = torch.arange(0, width, _LATTICE).float()
        self.rows = spline.basis(self.y, mapping.spacing, mapping.row_knots)
        self.columns = spline.basis(self.x, mapping.spacing, mapping.column_knots)

    def next(
        self,
        t: int,
        neighbour: int,
        field: Tensor,
        flow: NDArray[np.float16],
        use: NDArray[np.bool_],
    ) -> Tensor:
        """The field (2, rows, columns) of frame `t`, given its neighbour's and the flow to it."""
        way = torch.from_numpy(flow[::_LATTICE, ::_LATTICE]).float()
        weight = torch.from_numpy(use[::_LATTICE, ::_LATTICE]).float()
        if weight.sum() < _MIN_MATCHES:
            return field
        x, y = self.x + way[..., 0], self.y[:, None] + way[..., 1]
        with torch.no_grad():
            goal = self._project(neighbour, y, x) + self._bend_at(field, y, x)
            goal = goal - self._project(t, self.y[:, None], self.x)
        return self._fit(goal.permute(2, 0, 1), weight, field)

    def _project(self, t: int, y: Tensor, x: Tensor) -> Tensor:
        return self.mapping.project(torch.tensor([float(t)]), y, x)[0]

    def _bend_at(self, field: Tensor, y: Tensor, x: Tensor) -> Tensor:
        """The neighbour's spline at scattered positions, through its values on the lattice."""
        values = self.rows @ field @ self.columns.T
        at = torch.stack([x / _LATTICE + 0.5, y / _LATTICE + 0.5], dim=-1)
        grid = to_grid(at, (values.shape[1], values.shape[2]))
        bend = F.grid_sample(values[None], grid[None], padding_mode="border", align_corners=False)
        return bend[0].permute(1, 2, 0)

    def _fit(self, goal: Tensor, weight: Tensor, start: Tensor) -> Tensor:
        """Smoothing spline through `goal` (2, rows, columns), by conjugate gradients."""

        def normal(c: Tensor) -> Tensor:
            """The matrix of the normal equations times `c` (2, rows, columns)."""
            return self.rows.T @ (weight * (self.rows @ c @ self.columns.T)) @ self.columns + (
                _BENDING * _bending(c)
            )

        right = self.rows.T @ (weight * goal) @ self.columns
        c = start.clone()
        residual = right - normal(c)
        direction = residual.clone()
        norm = residual.square().sum()
        for _ in range(_ROUNDS):
            if norm < 1e-6:
                break
            image = normal(direction)
            step = norm / (direction * image).sum()
            c += step * direction
            residual -= step * image
            before, norm = norm, residual.square().sum()
            direction = residual + (norm / before) * direction
        return c


def _bending(c: Tensor) -> Tensor:
    """Gradient of half the sum of squared second differences of (..., rows, columns)."""
    out = torch.zeros_like(c)
    for dim in (-1, -2):
        along = c.movedim(dim, -1)
        second = along[..., 2:] - 2 * along[..., 1:-1] + along[..., :-2]
        part = torch.zeros_like(along)
        part[..., 2:] += second
        part[..., 1:-1] -= 2 * second
        part[..., :-2] += second
        out += part.movedim(-1, dim)
    return out


def place_on_canvas(
    mapping: Mapping, masks: NDArray[np.bool_] | None, frame: tuple[int, int]
) -> tuple[int, int]:
    """Shift `mapping` so that all of `masks` (T, h, w) lies on a canvas; the canvas's height and
    width. None is the whole of all frames.

    No canvas is larger than some frames (height, width `frame`) side by side: what lies further out
    is cut.
    """
    y, x = (torch.arange(0, n, _LATTICE).float() for n in mapping.size)
    with torch.no_grad():
        uv = mapping(whole_frames(torch.arange(len(mapping.base)).float(), y, x))
    if masks is None:
        places = uv.flatten(0, 2)
    else:
        places = uv[torch.from_numpy(masks[:, ::_LATTICE, ::_LATTICE])]
    if not len(places):
        places = torch.zeros(1, 2)
    middle = places.median(0).values
    reach = _MAX_EXTENT / 2 * torch.tensor([frame[1], frame[0]])
    low = torch.maximum(places.amin(0), middle - reach).floor() - _MARGIN
    high = torch.minimum(places.amax(0), middle + reach).ceil() + _MARGIN
    shift = torch.eye(3)
    shift[:2, 2] = -low
    mapping.base.copy_(shift @ mapping.base)
    width, height = (int(n) for n in high - low)
    return height, width


def mosaic(
    frames: Iterable[Tensor],
    weights: Iterable[Tensor],
    mapping: Mapping,
    canvas: tuple[int, int],
) -> Tensor:
    """Weighted mean of frames, each (3, h, w) in [0, 1], laid on the canvas (height, width):
    (3, H, W).

    Each of the `weights` is (h, w), over 0. What no frame covers is filled from around.
    """
    colours, total = torch.zeros(3, *canvas), torch.zeros(1, *canvas)
    y, x = (torch.arange(n).float() for n in mapping.size)
    for t, (frame, weight) in enumerate(zip(frames, weights, strict=True)):
        with torch.no_grad():
            uv = mapping(whole_frames(torch.tensor([float(t)]), y, x))
        for sum_, values in ((colours, frame * weight), (total, weight[None])):
            sum_ += _splat(values, uv, canvas)
    return _fill(colours, total)


def _splat(values: Tensor, uv: Tensor, canvas: tuple[int, int]) -> Tensor:
    """The transpose of sampling: adds `values` (C, h, w) to a canvas at uv (1, h, w, 2)."""
    blank = torch.zeros(1, len(values), *canvas, requires_grad=True)
    samples = F.grid_sample(blank, to_grid(uv, canvas), align_corners=False)
    return torch.autograd.grad(samples, blank, values[None])[0][0]


def _fill(colours: Tensor, weight: Tensor) -> Tensor:
    """Colours / weight, from coarser and coarser means where the weight is nothing."""
    mean = colours / weight.clamp(min=1e-6)
    if min(colours.shape[1:]) <= 2:
        overall = colours.sum((1, 2)) / weight.sum().clamp(min=1e-6)
        return torch.where(weight > 1e-3, mean, overall[:, None, None])
    coarse = _fill(
        *(
            F.avg_pool2d(p[None], 2, ceil_mode=True, count_include_pad=False)[0]
            for p in (colours, weight)
        )
    )
    around = F.interpolate(coarse[None], colours.shape[1:], mode="bilinear")[0]
    return torch.where(weight > 1e-3, mean, around)


def sure_foreground(masks: NDArray[np.float32], moving: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Masks (T, h, w) without what does not move against the camera: ground and shadow in rough
    ones. `moving` (T, h, w) says what does.
    """
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (_JOIN, _JOIN))
    shapes = [cv2.morphologyEx(m.astype(np.uint8), cv2.MORPH_CLOSE, kernel) for m in moving]
    near = np.stack([cv2.dilate(m, kernel) for m in shapes])
    return masks * near


def opacity_logits(
    masks: NDArray[np.float32], sure: NDArray[np.float32], shrink: int = 2
) -> Tensor:
    """Logits (T, h/shrink, w/shrink) of the blurred masks, (T, h, w) in [0, 1].

    Where only the mask says so, and not the motion (`sure`, of the same shape), it is left open;
    far from every mask it is next to nothing.
    """
    height, width = masks.shape[1:]
    size = (-(-height // shrink), -(-width // shrink))

    def shrunk(mask: NDArray[np.float32]) -> Tensor:
        return F.interpolate(
            torch.from_numpy(mask)[None, None], size, mode="bilinear", antialias=True
        )

    soft = torch.cat([shrunk(one) for one in sure])
    open_ = torch.cat([shrunk(mask - one) for mask, one in zip(masks, sure, strict=True)])
    near = F.max_pool2d((soft + open_ > 0.5).float(), 13, 1, 6)
    logits = torch.logit((soft + _DOUBT * open_).clamp(0.03, 0.97))
    return torch.where(near > 0, logits, torch.full_like(logits, _UNSEEN))[:, 0]
