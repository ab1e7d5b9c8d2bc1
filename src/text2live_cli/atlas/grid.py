"""The explicit model (`--model grid`): two textures, two smooth mappings and an opacity volume.

The layers of paper §3.2 with every network replaced by something that is looked up. A mapping is a
projective map per frame plus a cubic spline over (t, y, x).
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from . import spline
from .coordinates import bilinear_taps, centres, sample_border
from .layers import FRONT_FIRST, LAYERS, Maps, Side

_SOFT_END = 0.05
"""A fit does not bring opacities to 0 and 1: those this near count as such, or an edit of one layer
would tint the other."""
_PITCH = "mappings.{}.pitch"
"""The name in files of a mapping's distances between knots. In double precision, which is why no
model has it as a buffer: MPS has none."""


class Lattice(NamedTuple):
    """Positions in n frames that form a lattice in each: all pairs of its y and x."""

    t: Tensor
    """(n,) frame numbers; may be fractional."""
    y: Tensor
    """(n, rows) in pixels of the working size, the centre of the first at 0."""
    x: Tensor
    """(n, columns)."""
    whole: bool = False
    """Whether all of `t` are known to be whole: looking at them would make a GPU wait."""


class Place(NamedTuple):
    """Pixels of the working size that need form no lattice: parts that broadcast to one shape."""

    t: Tensor
    """Whole numbers of frames."""
    y: Tensor
    x: Tensor


def whole_frames(t: Tensor, y: Tensor, x: Tensor, whole: bool = False) -> Lattice:
    """The same rows y (rows,) and columns x (columns,) in each of the frames `t`."""
    return Lattice(t, y.expand(len(t), -1), x.expand(len(t), -1), whole)


class Mapping(nn.Module):
    """Frame position → atlas position: uv = H_t(x, y) + D(x, y, t)."""

    base: Tensor
    centring: Tensor

    def __init__(self, base: Tensor, size: tuple[int, int], spacing: float, period: float) -> None:
        """`base` (T, 3, 3) takes (x, y, 1) to uv; knots lie `spacing` pixels and `period` frames
        apart.
        """
        super().__init__()
        self.size, self.spacing, self.period = size, spacing, period
        frames, (height, width) = len(base), size
        self.time_knots = spline.knots(frames, period)
        self.row_knots = spline.knots(height, spacing)
        self.column_knots = spline.knots(width, spacing)
        self.register_buffer("base", base)
        self.register_buffer("centring", _centring(size).to(base.dtype), persistent=False)
        # D of each knot, and the rest of each frame's own: both start at nothing
        self.field = nn.Parameter(
            torch.zeros(self.time_knots, 2, self.row_knots, self.column_knots)
        )
        self.affine = nn.Parameter(torch.zeros(frames, 2, 3))

    def forward(self, at: Lattice) -> Tensor:
        """uv (n, rows, columns, 2) of a lattice, in pixels of the atlas."""
        u, v = self._projected(at.t, at.y[:, :, None], at.x[:, None, :])
        more_u, more_v = self.bend(at).unbind(1)
        return torch.stack([u + more_u, v + more_v], dim=-1)

    def project(self, t: Tensor, y: Tensor, x: Tensor) -> Tensor:
        """The projective part at `t` (n,), y and x, (n, h, w) or what broadcasts to it: uv (n, h,
        w, 2).
        """
        return torch.stack(self._projected(t, y, x), dim=-1)

    def _projected(self, t: Tensor, y: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        """The same as u and v, (n, h, w) each."""
        m = self._matrices(t)[..., None, None]  # (n, 3, 3, 1, 1)
        u, v, w = (m[:, i, 0] * x + m[:, i, 1] * y + m[:, i, 2] for i in range(3))
        return u / w, v / w

    def bend(self, at: Lattice) -> Tensor:
        """The spline part in atlas pixels, u and v: (n, 2, rows, columns)."""
        in_time = spline.basis(at.t, self.period, self.time_knots)
        rows = spline.basis(at.y, self.spacing, self.row_knots)
        columns = spline.basis(at.x, self.spacing, self.column_knots)
        fields = torch.einsum("nk,kcij->ncij", in_time, self.field)
        return rows[:, None] @ fields @ columns[:, None].mT

    def _matrices(self, t: Tensor) -> Tensor:
        """H of each `t`, between two frames the mean of theirs."""
        below = t.floor().clamp(0, len(self.base) - 1).long()
        above = (below + 1).clamp(max=len(self.base) - 1)
        share = (t - below)[:, None, None]
        base = torch.lerp(self.base[below], self.base[above], share)
        rest = torch.lerp(self.affine[below], self.affine[above], share)
        return torch.cat([base[:, :2] + rest @ self.centring, base[:, 2:]], dim=1)


def _centring(size: tuple[int, int]) -> Tensor:
    """Takes (x, y, 1) to [-1, 1] over the larger side, so that all of `affine` is in pixels."""
    height, width = size
    half = max(height, width) / 2
    rows = [[1 / half, 0, -width / 2 / half], [0, 1 / half, -height / 2 / half], [0, 0, 1]]
    return torch.tensor(rows, dtype=torch.float64)


class Texture(nn.Module):
    """A picture: what it started as, and a pyramid of changes, so that coarse ones come first."""

    start: Tensor

    def __init__(self, start: Tensor, levels: int) -> None:
        """`start` (3, H, W) in [0, 1]; each of the `levels` has a quarter of the sides before."""
        super().__init__()
        height, width = start.shape[1:]
        self.register_buffer("start", start[None].clone())
        sizes = [(-(-height // 4**k), -(-width // 4**k)) for k in range(levels)]
        self.levels = nn.ParameterList([torch.zeros(1, 3, *size) for size in sizes])

    def forward(self) -> Tensor:
        """The picture, (1, 3, H, W)."""
        change = None
        for level in reversed(self.levels):
            if change is None:
                change = level
            else:
                size = (level.shape[2], level.shape[3])
                change = level + F.interpolate(change, size, mode="bilinear")
        return self.start if change is None else self.start + change


class GridModel(nn.Module):
    """An `AtlasModel`."""

    name = "grid"

    def __init__(
        self,
        size: tuple[int, int],
        mappings: dict[Side, Mapping],
        textures: dict[Side, Texture],
        opacity: Tensor,
    ) -> None:
        """A mapping and a texture for each layer; `opacity` (T, h', w') are the foreground's, as
        logits on a coarser lattice than the frames.
        """
        super().__init__()
        self.size, self.frames = size, len(opacity)
        self.mappings = nn.ModuleDict({LAYERS[side]: mappings[side] for side in FRONT_FIRST})
        self.textures = nn.ModuleDict({LAYERS[side]: textures[side] for side in FRONT_FIRST})
        self.opacity_logits = nn.Parameter(opacity)

    @classmethod
    def from_tensors(
        cls,
        tensors: dict[str, Tensor],
        size: tuple[int, int],
        frames: int,
        canvases: dict[Side, tuple[int, int]],
    ) -> GridModel:
        """The model whose `tensors` these are.

        Raises LookupError, RuntimeError or ValueError where they are no such.
        """
        mappings: dict[Side, Mapping] = {}
        textures: dict[Side, Texture] = {}
        for side in FRONT_FIRST:
            spacing, period = tensors[_PITCH.format(LAYERS[side])].tolist()
            if not (spacing >= 1 and period >= 1):
                raise ValueError("impossible knots")
            mappings[side] = Mapping(torch.zeros(frames, 3, 3), size, spacing, period)
            textures[side] = Texture(torch.zeros(3, *canvases[side]), 0)
        model = cls(size, mappings, textures, torch.zeros_like(tensors["opacity_logits"]))
        pitches = [_PITCH.format(name) for name in LAYERS]
        model.load_state_dict({n: value for n, value in tensors.items() if n not in pitches})
        return model

    @property
    def device(self) -> torch.device:
        """See `AtlasModel`."""
        return self.opacity_logits.device

    def on(self, device: torch.device) -> GridModel:
        """See `AtlasModel`."""
        return self if device == self.device else copy.deepcopy(self).to(device)

    def canvas(self, side: Side) -> tuple[int, int]:
        """Height and width of the layer's atlas, in atlas pixels."""
        height, width = self._texture(side).start.shape[2:]
        return height, width

    def mapping(self, side: Side) -> Mapping:
        """Frame position → position in the layer's atlas."""
        mapping = self.mappings[LAYERS[side]]
        assert isinstance(mapping, Mapping)
        return mapping

    def _texture(self, side: Side) -> Texture:
        texture = self.textures[LAYERS[side]]
        assert isinstance(texture, Texture)
        return texture

    def pictures(self) -> dict[Side, Tensor]:
        """The layers' atlases, (1, 3, H, W) in [0, 1]."""
        return {side: self._texture(side)().clamp(0, 1) for side in FRONT_FIRST}

    @torch.no_grad()
    def texture(self, side: Side) -> Tensor:
        """The layer's atlas, RGB (3, H, W) in [0, 1]."""
        return self.pictures()[side][0]

    @torch.no_grad()
    def locate(self, t: float, size: tuple[int, int] | None = None) -> Maps:
        """The maps of all pixels of frame `t`, (2, h, w, ...); see `AtlasModel`."""
        height, width = size or self.size
        y, x = (centres(*n, self.device) for n in zip((height, width), self.size, strict=True))
        at_t = torch.full((1,), float(t), device=self.device)
        at = whole_frames(at_t, y, x, float(t).is_integer())
        foreground, background = (self.mapping(side)(at)[0] for side in FRONT_FIRST)
        opacity = ((self.opacity(at)[0] - _SOFT_END) / (1 - 2 * _SOFT_END)).clamp(0, 1)
        return Maps.of_two(background, foreground, opacity)

    def opacity(self, at: Lattice) -> Tensor:
        """Opacity of the foreground (n, rows, columns) in [0, 1], linear between the frames."""
        below = at.t.floor().clamp(0, self.frames - 1).long()
        above = (below + 1).clamp(max=self.frames - 1)
        share = (at.t - below)[:, None, None]
        logits = self.opacity_logits[below]
        if not at.whole:
            logits = torch.lerp(logits, self.opacity_logits[above], share)
        v, u = (((p + 0.5) * (2 / n) - 1) for p, n in zip((at.y, at.x), self.size, strict=True))
        rows, columns = v.shape[1], u.shape[1]
        grid = torch.stack(
            [u[:, None].expand(-1, rows, -1), v[:, :, None].expand(-1, -1, columns)], dim=-1
        )
        return sample_border(logits[:, None], grid)[:, 0].sigmoid()

    def opacities(self, places: Sequence[Place]) -> list[Tensor]:
        """Opacity at several places, each in the shape that its parts broadcast to.

        From one look-up, as each has a gradient of all frames' size.
        """
        height, width = self.opacity_logits.shape[1:]
        taps, shapes = [], []
        for place in places:
            t, y, x = torch.broadcast_tensors(*place)
            shapes.append(t.shape)
            rows, columns = (
                (p.flatten() + 0.5) * (n / of) - 0.5
                for p, n, of in zip((y, x), (height, width), self.size, strict=True)
            )
            index, weights = bilinear_taps(rows, columns, (height, width))
            taps.append((index + t.flatten() * (height * width), weights))
        index, weights = (torch.cat(parts, dim=1) for parts in zip(*taps, strict=True))
        read = self.opacity_logits.flatten().index_select(0, index.flatten()).view_as(weights)
        values = (read * weights).sum(0).sigmoid()
        parts = values.split([shape.numel() for shape in shapes])
        return [part.view(shape) for part, shape in zip(parts, shapes, strict=True)]

    @torch.no_grad()
    def closed(self) -> GridModel:
        """See `AtlasModel`: holes and gaps of up to two cells of the opacity, about 4 pixels."""
        grown = F.max_pool2d(self.opacity_logits[:, None], 3, 1, 1)
        logits = -F.max_pool2d(-grown, 3, 1, 1)[:, 0]
        mappings = {side: self.mapping(side) for side in FRONT_FIRST}
        textures = {side: self._texture(side) for side in FRONT_FIRST}
        return GridModel(self.size, mappings, textures, logits)

    @torch.no_grad()
    def tensors(self) -> dict[str, Tensor]:
        """What `from_tensors` needs; each texture is one picture in it."""
        values = {n: v for n, v in self.state_dict().items() if not n.startswith("textures.")}
        for side in FRONT_FIRST:
            name, mapping = LAYERS[side], self.mapping(side)
            pitch = torch.tensor([mapping.spacing, mapping.period], dtype=torch.float64)
            values |= {_PITCH.format(name): pitch, f"textures.{name}.start": self.textures[name]()}
        return values
