"""The figures of an edited clip: a few pairs of its frames, as they were written."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..atlas.fit.flow import dis_flow
from ..engine.figures import Figures, likeness
from ..engine.objective import Objective
from ..media.clips import Clip
from ..progress import Silent

_PLACES = (0.1, 0.5, 0.9)  # shares of the clip
_SHORT_SIDE = 240  # pixels
_SAME = 2  # levels: what a codec changes


def clip_figures(objective: Objective, source: Clip, composite: Clip) -> Figures:
    """Of an edited clip; `untouched_share` is of all pixels, as far as the film's codec tells."""
    device = objective.guide.device
    numbers = [min(round(place * source.count), max(source.count - 2, 0)) for place in _PLACES]
    before, after = (_pairs(clip, numbers, source) for clip in (source, composite))
    texts, guide = objective.texts.target, objective.guide
    likenesses = [
        likeness(guide, texts, [_tensor(a[0], device), _tensor(b[0], device)])
        for a, b in zip(before, after, strict=True)
    ]
    flickers = [flicker(a, b) for a, b in zip(before, after, strict=True) if len(a) == len(b) == 2]
    change = np.abs(np.concatenate(after).astype(int) - np.concatenate(before)).max(-1)
    known = [value for value in flickers if value is not None]
    text_before, text_after = (float(np.mean(column)) for column in zip(*likenesses, strict=True))
    untouched = float((change <= _SAME).mean())
    steadiness = float(np.mean(known)) if known else None
    return Figures(text_before, text_after, untouched, None, steadiness)


def flicker(before: NDArray[np.uint8], after: NDArray[np.uint8]) -> float | None:
    """What the change of two frames (2, h, w, 3) does not follow the source's flow by.

    As a share of the mean change: 0 where what was added moves exactly with the source. None
    where nothing was changed, or no flow can be trusted.
    """
    flow = dis_flow(before, Silent())
    change = after.astype(np.float32) - before
    sure = flow.forward_ok[0]
    size = np.abs(change[0]).mean(-1)[sure].mean() if sure.any() else 0.0
    if size < 0.1:
        return None
    y, x = np.mgrid[: change.shape[1], : change.shape[2]].astype(np.float32)
    there = flow.forward[0]
    brought = cv2.remap(change[1], x + there[..., 0], y + there[..., 1], cv2.INTER_LINEAR)
    return float(np.abs(brought - change[0]).mean(-1)[sure].mean() / size)


def _pairs(clip: Clip, numbers: list[int], like: Clip) -> list[NDArray[np.uint8]]:
    """The frames of these numbers, each with the next if there is one, (1 or 2, h, w, 3)."""
    scale = min(1.0, _SHORT_SIDE / min(like.height, like.width))
    size = round(like.height * scale), round(like.width * scale)
    wanted = {n + i for n in numbers for i in (0, 1) if n + i < clip.count}
    frames = enumerate(clip.frames(stop=max(wanted) + 1, size=size))
    seen = {number: frame for number, frame in frames if number in wanted}
    return [np.stack([seen[n + i] for i in (0, 1) if n + i in seen]) for n in numbers]


def _tensor(frame: NDArray[np.uint8], device: torch.device) -> Tensor:
    return torch.from_numpy(frame).to(device).permute(2, 0, 1)[None].float() / 255
