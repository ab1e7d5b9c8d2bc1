"""One page of many results: a card for each, filtered and sorted in the browser."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..media.pictures import opened
from .page import Shown, html_page, photo

THUMBNAIL = 256
"""Long side, pixels."""
SIGN = '<p class="kind">text2live report</p>'
"""By which a gallery is known to be ours."""


@dataclass(frozen=True)
class Card:
    """What the page says of one result. All texts are plain: any characters, no markup."""

    name: str
    state: str
    """done, interrupted, failed or damaged."""
    link: str
    """From the page to the result's own, relative, as a URL."""
    prompt: str = ""
    input: str = ""
    told: str = ""
    """Verdict, score, seed, seconds, in words."""
    reason: str = ""
    """Why it failed."""
    date: float = 0.0
    """When it was written, seconds since 1970."""
    score: float | str = ""
    seconds: float | str = ""
    thumbnail: Shown | None = None


def gallery_html(title: str, cards: Sequence[Card]) -> str:
    """The page, to be saved as UTF-8."""
    return html_page(
        "gallery",
        "text2live report",
        title,
        cards=cards,
        inputs=sorted({card.input for card in cards if card.input}),
        states=sorted({card.state for card in cards}),
    )


def thumbnail(path: Path) -> Shown:
    """A small copy of a picture. Raises what Pillow raises for one that cannot be read."""
    with opened(path) as image:
        image.draft("RGB", (THUMBNAIL, THUMBNAIL))
        image.thumbnail((THUMBNAIL, THUMBNAIL), reducing_gap=2.0)
        return photo("", np.array(image.convert("RGB")))
