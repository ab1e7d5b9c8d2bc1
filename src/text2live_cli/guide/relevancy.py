"""Where in the picture is the text? The relevancy map that bootstraps the alpha (paper §3.1).

Two rules; the encoder's weights say which suits them. "last-block" is the paper's: the method of
Chefer et al. (2021) on the last attention block. "dense" compares the text with every patch, for
the embedded encoder, whose patches are trained to name what they show.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from .blocks import run_block_with_attention
from .clip import ClipGuide
from .swatch import vocabulary

# Chosen on painted scenes (docs/swatch.md).
_STRETCH = (0.3, 0.7)  # of the min-max normalised similarity
_RIVALRY = 4.0  # logits: how much better than its rivals a text must be to stand out clearly

_WINDOW = 0.7  # of each side: of the windows that an averaged map also looks through


class Query(NamedTuple):
    """A text to be found: un-normalised embeddings, of the bare prompt without a template.

    `kin` and `others` are what else a patch may show, for the dense rule: things of the text's own
    kind, and all that is not. They are empty for the rule of the paper.
    """

    text: Tensor  # (D,)
    kin: Tensor  # (k, D)
    others: Tensor  # (o, D)


def make_query(guide: ClipGuide, text: str) -> Query:
    """Encode `text`, and with the embedded encoder what it is to be told from."""
    kin: list[str] = []
    others: list[str] = []
    if guide.relevancy_rule == "dense":
        kin, others = vocabulary.kin_and_others(text)
    embeddings = guide.encode_text([text, *kin, *others])
    return Query(embeddings[0], embeddings[1 : 1 + len(kin)], embeddings[1 + len(kin) :])


def relevancy_map(guide: ClipGuide, pictures: Tensor, queries: list[Query]) -> Tensor:
    """Relevancy of every pixel to each query, in [0, 1], without gradient.

    `pictures` (B, 3, H, W) are squeezed to a square; the result is (B, K, N, N) with N the
    encoder's native side.
    """
    coarse = _coarse(guide, _square(pictures, _side(guide)), queries)
    side = guide.native
    fine = F.interpolate(coarse, (side, side), mode="bilinear", align_corners=False)
    return _normalized(fine)


def averaged_relevancy(guide: ClipGuide, picture: Tensor, queries: list[Query]) -> Tensor:
    """Relevancy of each pixel of `picture` (1, 3, H, W) to each query: (K, H, W), each in [0, 1].

    Averaged over the whole picture and a window in each corner, and their mirror images: finer
    than one map, and less subject to where the patches happen to lie. Without gradient.
    """
    height, width = picture.shape[2:]
    tall, wide = round(_WINDOW * height), round(_WINDOW * width)
    corners = [(y, x) for y in (0, height - tall) for x in (0, width - wide)]
    windows = [(0, 0, height, width), *((y, x, tall, wide) for y, x in corners)]
    side = _side(guide)
    views = torch.cat(
        [_square(picture[:, :, y : y + h, x : x + w], side, True) for y, x, h, w in windows]
    )
    coarse = _coarse(guide, torch.cat([views, views.flip(3)]), queries, together=True)
    straight, mirrored = coarse.chunk(2)
    maps = (straight + mirrored.flip(3)) / 2
    total = torch.zeros(maps.shape[1], height, width, device=maps.device)
    weight = torch.zeros(height, width, device=maps.device)
    for one, (y, x, h, w) in zip(maps, windows, strict=True):
        fade = _fade(h, w, maps.device)
        fine = F.interpolate(one[None], (h, w), mode="bilinear", align_corners=False)[0]
        total[:, y : y + h, x : x + w] += fade * fine
        weight[y : y + h, x : x + w] += fade
    return _normalized(total / weight)


@torch.no_grad()
def patch_probability(guide: ClipGuide, picture: Tensor, query: Query) -> Tensor:
    """How likely each patch of `picture` (1, 3, H, W) shows the query's text, and nothing else that
    the query tells it from: (grid h, grid w) in [0, 1]. For the dense rule; without gradient.
    """
    patches = guide.patch_embeddings(_square(picture, _side(guide), True))[0]
    texts = torch.cat([query.text[None], query.kin, query.others])
    scale = guide.model.logit_scale.exp().float()
    logits = scale * F.normalize(patches, dim=-1) @ F.normalize(texts, dim=-1).T
    return logits.softmax(-1)[..., 0]


def _fade(height: int, width: int, device: torch.device) -> Tensor:
    """Weights (h, w) of a window, less towards its rim, so that averages have no seams."""
    along = [
        1 - 0.98 * torch.linspace(-1, 1, count, device=device).abs() for count in (height, width)
    ]
    return torch.outer(along[0], along[1])


def attention_relevancy(guide: ClipGuide, views: Tensor, text: Tensor, blocks: int = 1) -> Tensor:
    """Attention relevancy of (B, 3, N, N) to texts (K, D): (B, K, grid h, grid w), unscaled.

    R ← R + A̅·R with A̅ = mean over heads of relu(∂logit/∂attention · attention), over the last
    `blocks` blocks; the row of the class token over the spatial tokens. Equations 5–6 of Chefer
    et al., as used in §3.1 of the paper, which takes the last block alone.
    """
    depth = len(guide.blocks) - blocks
    with torch.no_grad():
        x = guide.tokens(views, depth)
    with torch.enable_grad():
        attentions = []
        for block in guide.blocks[depth:]:
            x, attention = run_block_with_attention(block, x)
            attentions.append(attention)
        features = F.normalize(guide.project(x[:, 0]), dim=-1)
        logits = guide.model.logit_scale.exp() * features @ F.normalize(text, dim=-1).T
        rows = [
            _rollout(attentions, torch.autograd.grad(logit.sum(), attentions, retain_graph=True))
            for logit in logits.unbind(1)
        ]
    return torch.stack(rows, dim=1).unflatten(2, guide.grid(views))


def _side(guide: ClipGuide) -> int:
    """The side of the square views that the guide's rule looks at, pixels."""
    return guide.native * 320 // 224 if guide.relevancy_rule == "dense" else guide.native


def _coarse(
    guide: ClipGuide, views: Tensor, queries: list[Query], together: bool = False
) -> Tensor:
    """Unscaled relevancy of square views (B, 3, N, N): (B, K, grid h, grid w).

    `together`: the views show one picture, and are measured by one scale.
    """
    if guide.relevancy_rule == "dense":
        return _dense(guide, views, queries, together)
    return attention_relevancy(guide, views, torch.stack([query.text for query in queries]))


@torch.no_grad()
def _dense(guide: ClipGuide, views: Tensor, queries: list[Query], together: bool) -> Tensor:
    """Similarity of every patch, stretched, where it shows the text's kind and not its rivals."""
    patches = F.normalize(guide.patch_embeddings(views), dim=-1)
    scale = guide.model.logit_scale.exp().float()
    maps = [_dense_map(patches, query, scale, together) for query in queries]
    return torch.stack(maps, dim=1)


def _dense_map(patches: Tensor, query: Query, scale: Tensor, together: bool) -> Tensor:
    """One query's map (B, grid h, grid w) over normalised patches (B, grid h, grid w, D)."""

    def logits(texts: Tensor) -> Tensor:
        return scale * patches @ F.normalize(texts, dim=-1).T

    text = logits(query.text[None])[..., 0]
    kin, others = logits(query.kin), logits(query.others)
    rivals = kin.logsumexp(-1)
    of_its_kind = torch.logaddexp(text, rivals) - others.logsumexp(-1)
    above_rivals = (text - rivals) / _RIVALRY
    low, high = _STRETCH
    similar = (_normalized(text, (0, 1, 2) if together else (1, 2)) - low) / (high - low)
    return similar.clamp(0, 1) * of_its_kind.sigmoid() * above_rivals.sigmoid()


def _square(pictures: Tensor, side: int, antialias: bool = False) -> Tensor:
    return F.interpolate(
        pictures.detach(), (side, side), mode="bilinear", antialias=antialias, align_corners=False
    )


def _normalized(maps: Tensor, over: tuple[int, ...] = (-2, -1)) -> Tensor:
    """Maps from 0 to 1, each of those that the dimensions `over` span."""
    low, high = maps.amin(over, keepdim=True), maps.amax(over, keepdim=True)
    return (maps - low) / (high - low).clamp_min(1e-12)


def _rollout(attentions: list[Tensor], gradients: tuple[Tensor, ...]) -> Tensor:
    """The class token's row of the relevancy (B, spatial tokens)."""
    relevancy = torch.eye(attentions[0].shape[-1], device=attentions[0].device)
    relevancy = relevancy.expand(len(attentions[0]), -1, -1)
    for attention, gradient in zip(attentions, gradients, strict=True):
        mean = (gradient * attention).float().clamp_min(0).mean(1)
        relevancy = relevancy + mean @ relevancy
    return relevancy[:, 0, 1:].detach()
