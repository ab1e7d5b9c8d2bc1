"""The CLIP guide: one frozen text-image encoder, shared by every loss and by the relevancy.

Works on any open_clip vision transformer with a class token, at any picture size: the positional
embedding of the spatial tokens is interpolated to the token grid (appendix A.3 of the paper).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import Text2LiveError
from ..progress import Progress
from . import weights
from .blocks import run_block, run_block_for_class
from .encoder_names import can_guide, unsuitable
from .shape import EncoderShape
from .swatch.locator import Locator, load_locator
from .swatch.model import WEIGHTS, load_folded
from .swatch.towers import Encoder
from .views import panorama_windows, resize

MIN_PATCHES = 2
"""A view is never narrower than this many patches; longer panoramas are seen through windows."""


class ClipGuide:
    """A text-image encoder in eval mode, without gradients for its weights.

    Pictures are RGB in [0, 1]; normalisation happens inside. `native` is the side in pixels that
    the encoder was trained at, `patch` the side of one patch. A `locator`, in the encoder's space
    of texts, says where things are; it computes in full precision always.
    """

    def __init__(
        self,
        model: nn.Module,
        tokenizer: Callable[..., Tensor],
        name: str,
        sha256: str = "",
        locator: Locator | None = None,
        reload: Callable[[], Mapping[str, Tensor]] | None = None,
    ) -> None:
        visual = _require_class_token(model, name)
        self.model: Any = model.eval().requires_grad_(False)
        self.visual = visual
        self.tokenizer = tokenizer
        self.name = name
        self.sha256 = sha256
        self.locator = locator
        self.native = int(visual.image_size[0])
        self.patch = int(visual.patch_size[0])
        self.shape = EncoderShape(
            native=self.native,
            patch=self.patch,
            blocks=len(visual.transformer.resblocks),
            width=visual.class_embedding.shape[-1],
            parameters=sum(weight.numel() for weight in self.model.parameters()),
        )
        self._mean = torch.tensor(visual.image_mean).view(1, 3, 1, 1)
        self._std = torch.tensor(visual.image_std).view(1, 3, 1, 1)
        self._reload = reload
        self._positions: dict[tuple[int, int], Tensor] = {}

    @property
    def relevancy_rule(self) -> str:
        """What a record calls the rule by which texts are found."""
        return "located" if self.locator else "last-block"

    @property
    def device(self) -> torch.device:
        """Where the encoder's weights are."""
        return self.visual.class_embedding.device

    @property
    def dtype(self) -> torch.dtype:
        """The precision the encoder computes in."""
        return self.visual.class_embedding.dtype

    def to(self, device: torch.device, dtype: torch.dtype = torch.float32) -> ClipGuide:
        """Move the encoder, and set the precision of its arithmetic.

        Back in full precision, the weights are loaded again: what was rounded away is gone.
        """
        if (self.device, self.dtype) == (device, dtype):
            return self
        rounded = self.dtype != torch.float32
        if device.type == "mps":  # few of its kernels know another order in memory
            for module in filter(None, (self.model, self.locator)):
                module.to(memory_format=torch.contiguous_format)
        self.model.to(device=device, dtype=dtype)
        if self.locator:
            self.locator.to(device)
        if rounded and dtype == torch.float32 and self._reload is not None:
            self.model.load_state_dict(self._reload())
        self._mean, self._std = self._mean.to(device), self._std.to(device)
        self._positions.clear()
        return self

    def view_size(self, height: float, width: float) -> tuple[int, int]:
        """Size of a view for the losses: short side N, long side at most N·320/224."""
        return self.shape.view_size(height, width)

    def structure_size(self, height: float, width: float) -> tuple[int, int]:
        """Size of the view for the structure tokens: short side N, long side at most N·380/224."""
        return self.shape.structure_size(height, width)

    @property
    def max_aspect(self) -> float:
        """Pictures longer than this are seen through several windows."""
        return (self.native * 320 // 224) / (MIN_PATCHES * self.patch)

    def token_count(self, text: str) -> int:
        """Tokens of `text` with start and end, before any cut to the context length."""
        encode = getattr(self.tokenizer, "encode", None)
        return len(encode(text)) + 2 if encode else int((self.tokenizer([text]) != 0).sum())

    @property
    def context_length(self) -> int:
        """The most tokens of a text that the encoder reads."""
        return int(self.model.context_length)

    @torch.no_grad()
    def encode_text(self, texts: Sequence[str]) -> Tensor:
        """Un-normalised text embeddings (len(texts), D), float32."""
        tokens = self.tokenizer(list(texts)).to(self.device)
        return self.model.encode_text(tokens).float()

    def encode_views(self, views: Tensor) -> Tensor:
        """Un-normalised embeddings (B, D), float32, of pictures (B, 3, H, W) as they are."""
        *_, last = self.blocks
        tokens = self.tokens(views, len(self.blocks) - 1)
        return self.project(run_block_for_class(last, tokens)[:, 0])

    def project(self, tokens: Tensor) -> Tensor:
        """Tokens (…, width) after the last block → the joint space (…, D), float32."""
        return (self.visual.ln_post(tokens) @ self.visual.proj).float()

    def self_similarity(self, pictures: Tensor) -> Tensor:
        """Cosines of all pairs of the tokens that enter the last block, class token included.

        (B, 3, H, W) at any size → (B·windows, T, T) float32. Eq. 5 of the paper, after Splice.
        """
        views = self.structure_views(pictures)
        tokens = F.normalize(self.tokens(views, len(self.blocks) - 1).float(), dim=-1)
        return tokens @ tokens.transpose(1, 2)

    def structure_views(self, pictures: Tensor) -> Tensor:
        """Pictures (B, 3, H, W) at the size of the structure tokens, panoramas by windows."""
        windows = self._windows(pictures)
        return torch.cat([resize(w, *self.structure_size(*w.shape[2:])) for w in windows])

    def _windows(self, pictures: Tensor) -> list[Tensor]:
        height, width = pictures.shape[2:]
        rectangles = panorama_windows(height, width, self.max_aspect)
        return [
            pictures[:, :, int(r.y) : int(r.y + r.height), int(r.x) : int(r.x + r.width)]
            for r in rectangles
        ]

    @property
    def blocks(self) -> nn.ModuleList:
        """The residual attention blocks of the vision transformer."""
        return self.visual.transformer.resblocks

    def grid(self, views: Tensor) -> tuple[int, int]:
        """Rows and columns of whole patches in (B, 3, H, W); pixels past the last are unused."""
        return views.shape[2] // self.patch, views.shape[3] // self.patch

    def tokens(self, views: Tensor, depth: int) -> Tensor:
        """Tokens (B, 1 + grid h · grid w, width) that leave block number `depth` (0: enter it)."""
        x = self.embed(views)
        for block in self.blocks[:depth]:
            x = run_block(block, x)
        return x

    def embed(self, views: Tensor) -> Tensor:
        """(B, 3, H, W) normalised, in patches, with class token and positions: enters block 0."""
        height, width = self.grid(views)
        views = views[:, :, : height * self.patch, : width * self.patch]
        x = self.visual.conv1(((views - self._mean) / self._std).to(self.dtype))
        x = x.flatten(2).transpose(1, 2)
        class_token = self.visual.class_embedding.expand(len(x), 1, -1)
        x = torch.cat([class_token, x], dim=1) + self.positions(height, width)
        return self.visual.ln_pre(x)

    def positions(self, height: int, width: int) -> Tensor:
        """Positional embedding (1 + height·width, width of the encoder) for a token grid.

        Rows follow the rows of patches: transposing a picture transposes the grid of positions.
        """
        if (height, width) not in self._positions:
            table = self.visual.positional_embedding
            self._positions[height, width] = interpolate_positions(table, height, width)
        return self._positions[height, width]


def interpolate_positions(table: Tensor, height: int, width: int) -> Tensor:
    """Bicubic interpolation of the spatial rows of `table` (1 + n·n, D) to height × width, as DINO.

    The scale is (size + 0.1)/n: the 0.1 is DINO's guard against rounding, kept for parity.
    """
    side = round((len(table) - 1) ** 0.5)
    if (height, width) == (side, side):
        return table
    grid = table[1:].float().T.reshape(1, -1, side, side)
    grid = F.interpolate(
        grid,
        scale_factor=((height + 0.1) / side, (width + 0.1) / side),
        mode="bicubic",
        align_corners=False,
        recompute_scale_factor=False,
    )
    return torch.cat([table[:1], grid[0].flatten(1).T.to(table.dtype)])


def load_guide(name: str, file: Path | None, progress: Progress) -> ClipGuide:
    """The guide called `name` ("swatch" or open_clip's MODEL/TAG), from `file` where given.

    Raises UsageError for names and architectures that cannot serve, Text2LiveError for weights
    that cannot be had or do not fit.
    """
    if name == weights.SWATCH:
        model, tokenizer, _ = load_folded()
        return ClipGuide(
            model,
            tokenizer,
            name,
            hashlib.sha256(WEIGHTS.read_bytes()).hexdigest(),
            load_locator(),
            lambda: load_folded()[0].state_dict(),
        )
    import open_clip

    source = weights.locate(name, file, progress)
    model = build_model(source.architecture)
    load_state(model, weights.read_state_dict(source), source)
    architecture, _, tag = source.name.partition("/")
    published = open_clip.get_pretrained_cfg(architecture, tag) or {}
    model.visual.image_mean = published.get("mean", model.visual.image_mean)
    model.visual.image_std = published.get("std", model.visual.image_std)
    tokenizer = open_clip.get_tokenizer(source.architecture)
    return ClipGuide(
        model,
        tokenizer,
        source.name,
        source.sha256,
        reload=lambda: weights.read_state_dict(source),
    )


def load_state(
    model: nn.Module,
    state: Mapping[str, Tensor],
    source: weights.WeightsFile,
    assign: bool = False,
) -> None:
    """Give a model the tensors of `source`; Text2LiveError where they do not fit it.

    With `assign` it has those very tensors, in their own precision.
    """
    try:
        model.load_state_dict(state, assign=assign)
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[1].strip()
        raise Text2LiveError(
            f"{source.path}: these weights do not fit {source.architecture}: {reason[:150]}"
            " (name their own MODEL/TAG)"
        ) from error


def build_model(architecture: str) -> Any:
    """open_clip's model called `architecture`, its weights random.

    Raises UsageError where its encoders cannot guide an edit.
    """
    import open_clip

    config = dict(open_clip.get_model_config(architecture))
    if not can_guide(config):
        raise unsuitable(architecture)
    custom = config.pop("custom_text", False)
    model = (open_clip.CustomTextCLIP if custom else open_clip.CLIP)(**config)
    model.visual.image_mean = open_clip.OPENAI_DATASET_MEAN
    model.visual.image_std = open_clip.OPENAI_DATASET_STD
    return model


def _require_class_token(model: nn.Module, name: str) -> Any:
    """The vision tower, if the engine can look inside it."""
    if isinstance(model, Encoder):
        return model.visual
    from open_clip.transformer import ResidualAttentionBlock, VisionTransformer

    visual = getattr(model, "visual", None)
    fits = (
        isinstance(visual, VisionTransformer)
        and visual.attn_pool is None
        and visual.pool_type == "tok"
        and not visual.final_ln_after_pool
        and all(type(b) is ResidualAttentionBlock for b in visual.transformer.resblocks)
    )
    if not fits:
        raise unsuitable(name)
    return visual
