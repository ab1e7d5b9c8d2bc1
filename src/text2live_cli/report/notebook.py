"""How a result shows itself in a notebook: pictures small and within the text, nothing fetched."""

from __future__ import annotations

import io
from base64 import b64encode
from collections.abc import Sequence
from html import escape

from PIL import Image

_SIDE = 320  # pixels, of the longer side
_BOARD = "repeating-conic-gradient(#bbb 0 25%, #eee 0 50%) 0 0/16px 16px"


def pictures_html(pictures: Sequence[tuple[str, Image.Image]], sentences: Sequence[str]) -> str:
    """Captioned pictures side by side, transparent ones on a checkerboard, and lines below."""
    figures = "".join(_figure(caption, image) for caption, image in pictures)
    lines = "".join(f"<div>{escape(text)}</div>" for text in sentences)
    return f'<div style="display:flex;flex-wrap:wrap;gap:8px">{figures}</div>{lines}'


def _figure(caption: str, image: Image.Image) -> str:
    small = image.copy()
    small.thumbnail((_SIDE, _SIDE))
    buffer = io.BytesIO()
    small.save(buffer, "PNG")
    source = f"data:image/png;base64,{b64encode(buffer.getvalue()).decode('ascii')}"
    style = f"background:{_BOARD};display:block" if small.mode == "RGBA" else "display:block"
    return (
        f'<figure style="margin:0"><img alt="{escape(caption)}" src="{source}" style="{style}">'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
    )
