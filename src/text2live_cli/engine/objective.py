"""The objective L = L_comp + λg·L_screen + λs·L_structure + λr·L_reg + λb·L_init (paper, Eq. 2).

The one place where terms get their weights. It judges pictures wherever they come from: a photo,
a frame, an atlas.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ..config import LossWeights
from ..guide.clip import ClipGuide
from ..guide.prompts import TextEmbeddings
from ..guide.relevancy import relevancy_map
from ..guide.views import (
    Views,
    ViewSettings,
    apply_views,
    draw_views,
    panorama_windows,
)
from . import losses


class Rendered(NamedTuple):
    """One picture of a training step, each (1, C, H, W) in [0, 1]."""

    source: Tensor
    composite: Tensor
    screen: Tensor  # the edit layer over green
    alpha: Tensor
    target: Tensor | None = None  # what the alpha is drawn to, if that is known beforehand
    keep: Tensor | None = None  # (1, K, H, W): where the things are that must stay, likewise


class Chances(NamedTuple):
    """What a step draws by chance to judge its pictures by."""

    composite: list[Views]
    """Of each picture: how its composite is seen, and its source."""
    screen: list[Views]
    """How its layer over green is seen; empty where that is not judged."""
    composition_shares: Tensor
    """How often each text is drawn, (texts,), summing to 1; so the next, None where not judged."""
    direction_shares: Tensor | None
    screen_shares: Tensor | None


class Terms(NamedTuple):
    """The terms of one step by name, without their weights, and the weights."""

    values: dict[str, Tensor]
    weights: dict[str, float | Tensor]

    @property
    def total(self) -> Tensor:
        """The weighted sum: what is minimised."""
        return torch.stack([self.weights[k] * v for k, v in self.values.items()]).sum()


class Objective:
    """Judges the pictures of a step by the texts.

    Terms with weight 0 are not computed, except the text part of L_comp.
    """

    def __init__(
        self,
        guide: ClipGuide,
        texts: TextEmbeddings,
        weights: LossWeights,
        views: int,
        text_distance: str,
        view_settings: ViewSettings | None = None,
    ) -> None:
        self.guide = guide
        self.texts = texts
        self.weights = weights
        self.views = views
        self.text_distance = text_distance
        self.view_settings = view_settings or ViewSettings()

    def draw(
        self, sizes: Sequence[tuple[int, int]], device: torch.device, rng: torch.Generator
    ) -> Chances:
        """The chances of a step that shows pictures of these sizes (height, width)."""
        composites, screens = [], []
        for size in sizes:
            composites.append(self.draw_views(size, rng).to(device))
            if self.weights.screen:
                screens.append(self.draw_views(size, rng).to(device))

        def draw_shares(texts: Tensor) -> Tensor:
            return _draw_shares(len(texts), rng).to(device, non_blocking=True)

        return Chances(
            composites,
            screens,
            draw_shares(self.texts.target),
            draw_shares(self.texts.target) if self.weights.direction else None,
            draw_shares(self.texts.screen) if self.weights.screen else None,
        )

    def __call__(
        self, pictures: list[Rendered], chances: Chances, bootstrap_weight: float | Tensor
    ) -> Terms:
        """The terms, averaged over the pictures; without a bootstrapping where its weight is the
        number 0.
        """
        values = self._text_terms(pictures, chances)
        if self.weights.structure:
            values["structure"] = _mean([self._structure(p) for p in pictures])
        if self.weights.form:
            values["form"] = _mean([losses.form_loss(p.source, p.composite) for p in pictures])
        if self.weights.sparsity:
            l1 = _mean([losses.alpha_l1(p.alpha) for p in pictures])
            l0 = _mean([losses.alpha_l0(p.alpha) for p in pictures])
            values["sparsity"] = self.weights.sparsity_l1 * l1 + l0
        bootstraps = isinstance(bootstrap_weight, Tensor) or bootstrap_weight > 0
        values.update(self._relevancy_terms(pictures, bootstraps))
        weights: dict[str, float | Tensor] = {**self.weights_of(values, 0.0)}
        if "bootstrap" in values:
            weights["bootstrap"] = bootstrap_weight
        return Terms(values, weights)

    def weights_of(self, names: Iterable[str], bootstrap_weight: float) -> dict[str, float]:
        """The weights of the terms called `names`."""
        weights = {
            "composition": self.weights.composition,
            "direction": self.weights.composition * self.weights.direction,
            "screen": self.weights.screen,
            "structure": self.weights.structure,
            "form": self.weights.form,
            "sparsity": self.weights.sparsity,
            "bootstrap": bootstrap_weight,
            "keep": self.weights.keep,
        }
        return {name: weights[name] for name in names}

    def _text_terms(self, pictures: list[Rendered], chances: Chances) -> dict[str, Tensor]:
        """L_comp (Eq. 3, L_dir in it) and L_screen (Eq. 4), from one pass of the encoder."""
        seen = list(zip(pictures, chances.composite, strict=True))
        composites = [apply_views(picture.composite, views) for picture, views in seen]
        screens = [apply_views(p.screen, v) for p, v in zip(pictures, chances.screen, strict=False)]
        composite, screen = self._encode(composites, screens)
        target, shares = self.texts.target, chances.composition_shares
        values = {"composition": losses.text_loss(composite, target, shares, self.text_distance)}
        if chances.direction_shares is not None:
            with torch.no_grad():
                source, _ = self._encode([apply_views(p.source, v) for p, v in seen], [])
            values["direction"] = losses.directional_loss(
                composite, source, target, self.texts.roi, chances.direction_shares
            )
        if chances.screen_shares is not None:
            values["screen"] = losses.text_loss(
                screen, self.texts.screen, chances.screen_shares, self.text_distance
            )
        return values

    def draw_views(self, size: tuple[int, int], rng: torch.Generator) -> Views:
        """The random views of one picture (height, width) that a step sees, on the CPU."""
        windows = panorama_windows(*size, self.guide.max_aspect)
        seen_size = self.guide.view_size(windows[0].height, windows[0].width)
        return draw_views(self.views, seen_size, windows, size, self.view_settings, rng)

    def _encode(self, first: list[Tensor], second: list[Tensor]) -> tuple[Tensor, Tensor]:
        """Embeddings of two lists of view batches, in one pass for each size of view."""
        batches = first + second
        rows: list[Tensor | None] = [None] * len(batches)
        for size in dict.fromkeys(batch.shape[2:] for batch in batches):
            places = [i for i, batch in enumerate(batches) if batch.shape[2:] == size]
            encoded = self.guide.encode_views(torch.cat([batches[i] for i in places]))
            counts = [len(batches[i]) for i in places]
            for i, part in zip(places, encoded.split(counts), strict=True):
                rows[i] = part
        done = [row for row in rows if row is not None]
        return torch.cat(done[: len(first)]), torch.cat(done[len(first) :] or [done[0][:0]])

    def _structure(self, picture: Rendered) -> Tensor:
        with torch.no_grad():
            source = self.guide.self_similarity(picture.source)
        return losses.structure_loss(source, self.guide.self_similarity(picture.composite))

    def _relevancy_terms(self, pictures: list[Rendered], bootstraps: bool) -> dict[str, Tensor]:
        """L_init (Eq. 8) and negative relevancy, by the region, or by each picture's relevancy."""
        bootstrap, keep = [], []
        for picture in pictures:
            target, stays = self._region(picture, bootstraps)
            if target is not None and bootstraps:
                bootstrap.append(losses.bootstrap_loss(picture.alpha, target))
            if stays is not None:
                keep.append(losses.keep_loss(picture.alpha, stays))
        terms = {"bootstrap": bootstrap, "keep": keep}
        return {name: _mean(values) for name, values in terms.items() if values}

    def _region(self, picture: Rendered, bootstraps: bool) -> tuple[Tensor | None, Tensor | None]:
        """What the alpha is drawn to and what is to stay; one relevancy pass where not known."""
        target, keep = picture.target, picture.keep
        queries = []
        if target is None and bootstraps:
            queries.append(self.texts.roi_query)
        if keep is None:
            queries += self.texts.keep_queries
        if queries:
            relevancy = relevancy_map(self.guide, picture.source, queries)
            count = len(queries) - (len(self.texts.keep_queries) if keep is None else 0)
            target = relevancy[:, :1] if count else target
            keep = relevancy[:, count:] if relevancy.shape[1] > count else keep
        return target, keep


def _mean(terms: list[Tensor]) -> Tensor:
    return torch.stack(terms).mean()


def _draw_shares(count: int, rng: torch.Generator) -> Tensor:
    """How often each of `count` texts is drawn, as shares: n ∈ [1, count] draws with replacement.

    A weighting of all texts is the same average as a list of draws, at a fixed size.
    """
    number = int(torch.randint(1, count + 1, (1,), generator=rng))
    indices = torch.randint(count, (number,), generator=rng)
    return torch.bincount(indices, minlength=count).float() / number
