"""What an edit did, in figures that its training did not see: likeness to the text, and the rest.

The views are drawn from a seed of their own. The encoder is the one that guided the edit, so that
its likings are in the figure: two runs with one encoder compare, two encoders do not.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from ..guide.clip import ClipGuide
from ..guide.views import ViewSettings, apply_views, draw_views, panorama_windows
from ..media.samples import to_unit

GOOD_GAIN, FAIR_GAIN = 0.12, 0.04
"""Of the likeness to the text (docs/method.md)."""
UNTOUCHED, DELTA_E = 0.9, 2.0
"""Outside of the region: the share that a good edit leaves as it was, and the most mean ΔE."""
FLICKER = 0.15
"""Of the change, along the source's flow: more of it shows."""
_SEED = 0x7E57  # of the views: no --seed, as those are hashed with the step
_VIEWS = 24


@dataclass(frozen=True)
class Figures:
    """Of one edit. Likenesses are cosines, −1 to 1."""

    text_before: float
    text_after: float
    untouched_share: float
    """Of the pixels outside of the region (where there is none, and of clips, of all), 0 to 1."""
    delta_e_outside: float | None
    """Mean there, ΔE; None where there is no region."""
    flicker: float | None = None
    """Of clips: what the change does not follow the source's flow by, as a share of the change."""

    @property
    def gain(self) -> float:
        """By how much the edit looks more like the text than the source does."""
        return self.text_after - self.text_before

    @property
    def score(self) -> float:
        """What runs are ranked by: the gain, times the share that stays untouched."""
        return self.gain * self.untouched_share

    @property
    def verdict(self) -> str:
        """good, fair or poor."""
        if self.gain < FAIR_GAIN:
            return "poor"
        return (
            "good" if self.gain >= GOOD_GAIN and not self._spills and not self._flickers else "fair"
        )

    @property
    def advice(self) -> list[str]:
        """What to do where it is not good, in sentences."""
        told = []
        if self.gain < GOOD_GAIN:
            told.append(
                "It looks little more like the text than before: see region.png, point at the"
                " place with --box or --point, try another --seed, or a plainer text."
            )
        if self._spills:
            told.append("It reaches beyond its region: give --box or --mask, or --keep TEXT.")
        if self._flickers:
            told.append("It does not quite follow the clip: see the atlas's report.html.")
        return told

    @property
    def _spills(self) -> bool:
        outside = self.delta_e_outside
        return self.untouched_share < UNTOUCHED and outside is not None and outside > DELTA_E

    @property
    def _flickers(self) -> bool:
        return self.flicker is not None and self.flicker > FLICKER

    def describe(self) -> dict[str, Any]:
        """As a record keeps it."""
        figures = {k: None if v is None else round(v, 4) for k, v in asdict(self).items()}
        return {
            **figures,
            "score": round(self.score, 4),
            "verdict": self.verdict,
            "advice": self.advice,
        }


@torch.no_grad()
def likeness(guide: ClipGuide, texts: Tensor, pictures: list[Tensor]) -> list[float]:
    """Mean cosine of each picture (1, 3, H, W), all of one size, with the texts (N, D).

    All are seen through the same views, which no training draws.
    """
    size = pictures[0].shape[2], pictures[0].shape[3]
    windows = panorama_windows(*size, guide.max_aspect)
    seen = guide.view_size(windows[0].height, windows[0].width)
    rng = torch.Generator().manual_seed(_SEED)
    views = draw_views(_VIEWS, seen, windows, size, ViewSettings(), rng).to(pictures[0].device)
    text = F.normalize(F.normalize(texts, dim=-1).mean(0), dim=-1)
    encoded = [guide.encode_views(apply_views(picture, views)) for picture in pictures]
    return [float((F.normalize(rows, dim=-1) @ text).mean()) for rows in encoded]


def outside_figures(
    before: NDArray[np.uint8],
    after: NDArray[np.uint8],
    alpha: NDArray[np.uint8],
    region: NDArray[np.float32] | None,
) -> tuple[float, float | None]:
    """Share of the pixels outside of the region (H, W) that stay untouched, and the mean ΔE there.

    Pictures are (H, W, 3), the alpha (H, W). Without a region: of all pixels, and no ΔE.
    """
    if region is None or not (region < 0.5).any():
        return float((alpha == 0).mean()), None
    outside = region < 0.5
    lab = [cv2.cvtColor(to_unit(picture), cv2.COLOR_RGB2Lab) for picture in (before, after)]
    change = np.linalg.norm(lab[1] - lab[0], axis=-1)
    return float((alpha[outside] == 0).mean()), float(change[outside].mean())
