"""The published model of layered neural atlases (Kasten et al. 2021): four networks.

Two map a pixel (x, y, t) of the clip to the two atlases, one gives the opacity of the foreground,
and one is both atlases: each has a quadrant of its own. A "point" is a network input from
`coordinates.clip_to_unit`; "places" are what a mapping answers, in (-1, 1)² for any layer.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ..config import NLA_RESOLUTION, NLA_WIDTH
from ..engine.initial import draw_weights
from .coordinates import centres, clip_to_unit
from .layers import BACKGROUND, FOREGROUND, LAYERS, Maps, Side

OPACITY_FLOOR, OPACITY_SPAN = 0.001, 0.99
_CHUNK = 1 << 16  # points at a time through a network, to bound the memory
_MAX_LAYERS, _MAX_WIDTH, _MAX_OCTAVES = 32, 1024, 24


class Shape(NamedTuple):
    """What a network looks like, apart from its width."""

    inputs: int
    outputs: int
    layers: int
    """Linear layers, the output layer included."""
    octaves: int | None
    """Of the positional encoding; None: the input enters as it is."""
    skips: tuple[int, ...] = ()
    """Layers that see the encoding again."""


PUBLISHED: dict[str, Shape] = {
    "foreground": Shape(3, 2, 6, None),
    "background": Shape(3, 2, 4, None),
    "alpha": Shape(3, 1, 8, 5),
    "atlas": Shape(2, 3, 8, 10, (4, 7)),
}
"""Kasten et al.'s networks, by their names in `NlaModel`."""
_QUADRANTS = (-0.5, 0.5)
"""Where the atlas network has the quadrant of each layer: its centre, along both axes."""


class Imlp(nn.Module):
    """A coordinate MLP with ReLU inside and tanh at its end."""

    def __init__(self, shape: Shape, width: int = NLA_WIDTH) -> None:
        """`width` channels in every hidden layer; weights as `nn.Linear` draws them."""
        super().__init__()
        self.shape = shape
        channels = encoding_size(shape.inputs, shape.octaves)
        entering = [channels] + [width] * (shape.layers - 1)
        for skip in shape.skips:
            entering[skip] += channels
        leaving = [width] * (shape.layers - 1) + [shape.outputs]
        self.hidden = nn.ModuleList(map(nn.Linear, entering, leaving))

    def forward(self, x: Tensor) -> Tensor:
        """(..., inputs) → (..., outputs) in (-1, 1).

        The encoding that enters again at a skip is detached: no gradient reaches x through it.
        """
        encoding = encode(x, self.shape.octaves)
        again = encoding.detach()
        value = self.hidden[0](encoding)
        for i, layer in enumerate(self.hidden[1:], start=1):
            value = torch.relu(value)
            value = layer(torch.cat([value, again], dim=-1) if i in self.shape.skips else value)
        return torch.tanh(value)


def encode(x: Tensor, octaves: int | None) -> Tensor:
    """Positional encoding of (..., d): (..., 2·d·octaves), or x itself without octaves.

    Octave by octave: the sines of 2ʲπ times all coordinates, then their cosines.
    """
    if octaves is None:
        return x
    angles = [x * (2**j * math.pi) for j in range(octaves)]
    return torch.cat([wave(a) for a in angles for wave in (torch.sin, torch.cos)], dim=-1)


def encoding_size(inputs: int, octaves: int | None) -> int:
    """Channels that `encode` gives of `inputs` coordinates."""
    return inputs if octaves is None else 2 * inputs * octaves


class NlaModel(nn.Module):
    """An `AtlasModel` of four networks; on the device that its parameters are on.

    Either atlas is discretised to `resolution` × `resolution` pixels over the whole quadrant. In
    the published code the pixel i shows the atlas at i/resolution; here its centre is, like every
    pixel's (docs/conventions.md), at (i + ½)/resolution, so that sampling needs no correction.
    """

    name = "nla"

    def __init__(
        self,
        networks: Mapping[str, Imlp],
        size: tuple[int, int],
        frames: int,
        resolution: int = NLA_RESOLUTION,
    ) -> None:
        """`networks` are those of `PUBLISHED`, by name; `size` (height, width) and `frames` are the
        clip's.
        """
        super().__init__()
        self.foreground = networks["foreground"]
        self.background = networks["background"]
        self.alpha = networks["alpha"]
        self.atlas = networks["atlas"]
        self.size = size
        self.frames = frames
        self.resolution = resolution

    @classmethod
    def from_tensors(
        cls,
        tensors: Mapping[str, Tensor],
        size: tuple[int, int],
        frames: int,
        resolution: int = NLA_RESOLUTION,
    ) -> NlaModel:
        """The model whose `tensors` these are, "foreground.hidden.0.weight" and so on.

        Raises ValueError where they are no such.
        """
        networks = {}
        for name in PUBLISHED:
            start = name + "."
            state = {n[len(start) :]: t for n, t in tensors.items() if n.startswith(start)}
            networks[name] = network_of(name, state)
        return cls(networks, size, frames, resolution)

    def tensors(self) -> dict[str, Tensor]:
        """The networks' parameters by name; they say the networks' shapes too."""
        return {name: tensor.detach() for name, tensor in self.state_dict().items()}

    @property
    def device(self) -> torch.device:
        """See `AtlasModel`."""
        return next(self.parameters()).device

    def on(self, device: torch.device) -> NlaModel:
        """See `AtlasModel`."""
        return self if device == self.device else copy.deepcopy(self).to(device)

    def canvas(self, side: Side) -> tuple[int, int]:
        """Height and width of either atlas, in atlas pixels."""
        return self.resolution, self.resolution

    def mapped(self, side: Side, points: Tensor) -> Tensor:
        """Where points (..., 3) are in the layer's atlas: (..., 2) in (-1, 1)."""
        mapping: Imlp = getattr(self, LAYERS[side])
        return mapping(points)

    def opacity(self, points: Tensor) -> Tensor:
        """The published α of the foreground at points (..., 3): (...), from .001 to .991."""
        return OPACITY_SPAN * self._matte(points) + OPACITY_FLOOR

    def colour(self, side: Side, places: Tensor) -> Tensor:
        """The layer's atlas at `places` (..., 2): RGB (..., 3) in [0, 1]."""
        return (self.atlas(places / 2 + _QUADRANTS[side]) + 1) / 2

    @torch.no_grad()
    def locate(self, t: float, size: tuple[int, int] | None = None) -> Maps:
        """The maps of all pixels of frame `t`, (2, h, w, ...); see `AtlasModel`.

        The opacity is stretched to reach 0 and 1, which the published α never does: else an edit
        of the background would tint every pixel of the foreground (docs/method.md).
        """
        points = self._points(t, size)
        return Maps.of_two(
            self._pixels(in_chunks(self.background, points)),
            self._pixels(in_chunks(self.foreground, points)),
            in_chunks(self._matte, points),
        )

    def closed(self) -> NlaModel:
        """Itself: published networks give just what they gave."""
        return self

    @torch.no_grad()
    def texture(self, side: Side) -> Tensor:
        """The layer's atlas, RGB (3, resolution, resolution) in [0, 1]."""
        along = (torch.arange(self.resolution, device=self.device) + 0.5) / self.resolution
        across = along.expand(self.resolution, -1)
        places = torch.stack([across, across.T], dim=-1) * 2 - 1
        return in_chunks(lambda part: self.colour(side, part), places).permute(2, 0, 1)

    @torch.no_grad()
    def reconstruct(self, t: float, size: tuple[int, int] | None = None) -> Tensor:
        """Frame `t` straight from the networks, without a texture: RGB (h, w, 3) in [0, 1]."""
        return in_chunks(self.shown, self._points(t, size))

    def shown(self, points: Tensor) -> Tensor:
        """The clip's colour at points (..., 3): both layers composited, RGB (..., 3) in [0, 1]."""
        front = self.colour(FOREGROUND, self.mapped(FOREGROUND, points))
        behind = self.colour(BACKGROUND, self.mapped(BACKGROUND, points))
        return behind + (front - behind) * self.opacity(points)[..., None]

    def _matte(self, points: Tensor) -> Tensor:
        return (self.alpha(points)[..., 0] + 1) / 2

    def _pixels(self, places: Tensor) -> Tensor:
        """Network units → atlas pixels."""
        return (places + 1) * (self.resolution / 2)

    def _points(self, t: float, size: tuple[int, int] | None) -> Tensor:
        """All pixels of a frame, (h, w, 3)."""
        height, width = size or self.size
        x = centres(width, self.size[1], self.device)
        y = centres(height, self.size[0], self.device)[:, None]
        at_t = torch.full((), float(t), device=self.device)
        return clip_to_unit(x, y, at_t, self.size, self.frames)


def in_chunks(function: Callable[[Tensor], Tensor], points: Tensor) -> Tensor:
    """`function` of points (h, w, d), some at a time: (h, w, ...)."""
    parts = [function(part) for part in points.flatten(0, 1).split(_CHUNK)]
    return torch.cat(parts).unflatten(0, points.shape[:2])


def new_networks(width: int = NLA_WIDTH, rng: torch.Generator | None = None) -> dict[str, Imlp]:
    """The published networks by name, freshly drawn from `rng` (None: the process's random
    numbers).
    """
    networks = {}
    for name, shape in PUBLISHED.items():
        with torch.device("meta"):
            network = Imlp(shape, width)
        networks[name] = network.to_empty(device="cpu")
        draw_weights(networks[name], rng)
    return networks


def network_of(name: str, state: Mapping[str, Tensor]) -> Imlp:
    """The network with the parameters `state`, "hidden.0.weight" and so on.

    `name` is one of `PUBLISHED`; it fixes inputs and outputs. Depth, width, octaves and skips are
    read off the shapes. Raises ValueError, with a reason, for anything but such a network; `state`
    may come from a hostile file.
    """
    inputs, outputs = PUBLISHED[name].inputs, PUBLISHED[name].outputs
    layers = len(state) // 2
    parts = [f"hidden.{i}.{kind}" for i in range(layers) for kind in ("weight", "bias")]
    if not 2 <= layers <= _MAX_LAYERS or set(state) != set(parts):
        raise ValueError(f"{name} has not the layers hidden.0, hidden.1, …")
    for part in parts:
        _require_plain(f"{name}.{part}", state[part])
    width, entering = state["hidden.0.weight"].shape
    channels = int(entering)
    octaves = None if channels == inputs else channels // (2 * inputs)
    skips = [i for i in range(1, layers) if _enters(state, i) == width + channels]
    if octaves is not None and not 1 <= octaves <= _MAX_OCTAVES:
        raise ValueError(f"{name}: {channels} inputs are no positional encoding of {inputs}")
    with torch.device("meta"):  # only shapes
        network = Imlp(Shape(inputs, outputs, layers, octaves, tuple(skips)), int(width))
    for part, own in network.state_dict().items():
        if state[part].shape != own.shape:
            shape = "×".join(map(str, state[part].shape))
            raise ValueError(f"{name}.{part} has the shape {shape}")
    own_copy = {part: tensor.detach().float().clone() for part, tensor in state.items()}
    network.load_state_dict(own_copy, assign=True)
    return network


def _enters(state: Mapping[str, Tensor], layer: int) -> int:
    return int(state[f"hidden.{layer}.weight"].shape[1])


def _require_plain(part: str, value: object) -> None:
    """Refuse what is no finite matrix or vector, before anything large is made of it."""
    plain = (
        isinstance(value, Tensor)
        and value.layout == torch.strided
        and value.device.type != "meta"
        and value.is_floating_point()
        and value.ndim == (2 if part.endswith("weight") else 1)
        and all(1 <= length <= _MAX_WIDTH for length in value.shape)
    )
    if not plain:
        raise ValueError(f"{part} is no matrix or vector of weights")
    assert isinstance(value, Tensor)
    if not bool(value.float().isfinite().all()):
        raise ValueError(f"{part} holds numbers that are not finite")
