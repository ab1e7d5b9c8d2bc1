"""Where in the picture is the text? The relevancy map that bootstraps the alpha (paper §3.1).

Two rules. The paper's is the method of Chefer et al. (2021) on the last attention block. The
embedded encoder has a locator, which is trained to name what each spot shows: its map is how much
more likely the text is there than all else that it has a word for.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from .blocks import run_block_with_attention
from .clip import ClipGuide
from .swatch import vocabulary

_SIDE = 160  # pixels of the square views that the locator looks at
# Chosen on photos (docs/region.md), which look less like anything than what the locator has seen:
_CLEAR = 1.0  # log odds that the likeliest spot is given at least
_MOST_RAISED = 5.0  # of log odds: what is still less likely then is not there
_SOFTNESS = 0.85  # of all odds

_WINDOW = 0.7  # of each side: of the windows that an averaged map also looks through


class Query(NamedTuple):
    """A text to be found: un-normalised embeddings, of the bare prompt without a template.

    `rivals` are what else a spot may show, for a locator; none for the rule of the paper.
    """

    text: Tensor  # (D,)
    rivals: Tensor  # (r, D)


class Averaged(NamedTuple):
    """Maps (K, H, W) in [0, 1] of some queries."""

    relevancy: Tensor
    """Relative: 1 at the most relevant spot, less where a locator hardly sees it anywhere."""
    probability: Tensor | None
    """That each spot shows the text; None where nothing knows."""


def make_query(guide: ClipGuide, text: str) -> Query:
    """Encode `text`, and where there is a locator what it is to be told from."""
    rivals = vocabulary.rivals(text) if guide.locator else []
    embeddings = guide.encode_text([text, *rivals])
    return Query(embeddings[0], embeddings[1:])


def relevancy_map(guide: ClipGuide, pictures: Tensor, queries: list[Query]) -> Tensor:
    """Relevancy of every pixel to each query, in [0, 1], without gradient.

    `pictures` (B, 3, H, W) are squeezed to a square; the result is (B, K, N, N) with N the
    encoder's native side.
    """
    side = guide.native
    if guide.locator:
        maps = _relative(_odds(guide, _square(pictures, _SIDE, True), queries))
        return F.interpolate(maps, (side, side), mode="bilinear", align_corners=False)
    coarse = _attention(guide, _square(pictures, side), queries)
    return _normalized(F.interpolate(coarse, (side, side), mode="bilinear", align_corners=False))


def averaged_relevancy(guide: ClipGuide, picture: Tensor, queries: list[Query]) -> Averaged:
    """Relevancy of each pixel of `picture` (1, 3, H, W) to each query, without gradient.

    Averaged over the whole picture and a window in each corner, and their mirror images: finer
    than one map, and less subject to where the patches happen to lie.
    """
    if guide.locator:
        odds = _averaged(picture, _SIDE, lambda views: _odds(guide, views, queries))
        return Averaged(_relative(odds), odds.sigmoid())
    maps = _averaged(picture, guide.native, lambda views: _attention(guide, views, queries))
    return Averaged(_normalized(maps), None)


def _averaged(picture: Tensor, side: int, look: Callable[[Tensor], Tensor]) -> Tensor:
    """What a `look` at square views (B, 3, side, side) gives, (B, K, h, w), as (K, H, W)."""
    height, width = picture.shape[2:]
    tall, wide = round(_WINDOW * height), round(_WINDOW * width)
    corners = [(y, x) for y in (0, height - tall) for x in (0, width - wide)]
    windows = [(0, 0, height, width), *((y, x, tall, wide) for y, x in corners)]
    views = torch.cat(
        [_square(picture[:, :, y : y + h, x : x + w], side, True) for y, x, h, w in windows]
    )
    straight, mirrored = look(torch.cat([views, views.flip(3)])).chunk(2)
    maps = (straight + mirrored.flip(3)) / 2
    total = torch.zeros(maps.shape[1], height, width, device=maps.device)
    weight = torch.zeros(height, width, device=maps.device)
    for one, (y, x, h, w) in zip(maps, windows, strict=True):
        fade = _fade(h, w, maps.device)
        fine = F.interpolate(one[None], (h, w), mode="bilinear", align_corners=False)[0]
        total[:, y : y + h, x : x + w] += fade * fine
        weight[y : y + h, x : x + w] += fade
    return total / weight


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


def _attention(guide: ClipGuide, views: Tensor, queries: list[Query]) -> Tensor:
    return attention_relevancy(guide, views, torch.stack([query.text for query in queries]))


@torch.no_grad()
def _odds(guide: ClipGuide, views: Tensor, queries: list[Query]) -> Tensor:
    """Log odds that spots of square views (B, 3, N, N) show each text and not its rivals:
    (B, K, h, w).
    """
    assert guide.locator
    spots = guide.locator(views)

    def logits(texts: Tensor) -> Tensor:
        return spots @ F.normalize(texts, dim=-1).T

    odds = [
        logits(query.text[None])[..., 0] - logits(query.rivals).logsumexp(-1) for query in queries
    ]
    return torch.stack(odds, dim=1)


def _relative(odds: Tensor) -> Tensor:
    """Log odds (…, h, w) as relevancy: where even the best spot is unlikely, all are raised."""
    best = odds.amax((-2, -1), keepdim=True)
    raised = (_CLEAR - best).clamp(0, _MOST_RAISED)
    whole = (_SOFTNESS * (best + raised).clamp_min(_CLEAR)).sigmoid()
    return (_SOFTNESS * (odds + raised)).sigmoid() / whole


def _square(pictures: Tensor, side: int, antialias: bool = False) -> Tensor:
    return F.interpolate(
        pictures.detach(), (side, side), mode="bilinear", antialias=antialias, align_corners=False
    )


def _normalized(maps: Tensor) -> Tensor:
    """Maps (…, h, w), each from 0 to 1."""
    low, high = maps.amin((-2, -1), keepdim=True), maps.amax((-2, -1), keepdim=True)
    return (maps - low) / (high - low).clamp_min(1e-12)


def _rollout(attentions: list[Tensor], gradients: tuple[Tensor, ...]) -> Tensor:
    """The class token's row of the relevancy (B, spatial tokens)."""
    relevancy = torch.eye(attentions[0].shape[-1], device=attentions[0].device)
    relevancy = relevancy.expand(len(attentions[0]), -1, -1)
    for attention, gradient in zip(attentions, gradients, strict=True):
        mean = (gradient * attention).float().clamp_min(0).mean(1)
        relevancy = relevancy + mean @ relevancy
    return relevancy[:, 0, 1:].detach()
