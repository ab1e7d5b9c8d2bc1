"""The frame of the reports, and what they have in common: one page that needs no other file.

`page.html` (a `string.Template`), `page.css` and `films.js` beside this module are in every page.
Films and pictures are data: URIs, and a Content-Security-Policy forbids everything else: nothing is
fetched, and no text of a report can become code.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from html import escape
from importlib.resources import files
from io import BytesIO
from string import Template

import numpy as np
from PIL import Image

from ..texts import is_unfit

MAX_PICTURE_SIDE = 1600
"""Larger pictures are shrunk for a report, to this long side in pixels."""


def html_page(command: str, title: str, content: str, style: str, script: str) -> str:
    """A whole page, to be saved as UTF-8.

    `command` and `title` are plain text: any characters, no markup. `content` is HTML in which
    every text has gone through this module. `style` and `script` follow page.css and films.js, and
    are our own: nothing is escaped in them.
    """
    style = page_part(__package__, "page.css") + style
    script = page_part(__package__, "films.js") + script
    return Template(page_part(__package__, "page.html")).substitute(
        policy=_policy(style, script),
        style=style,
        script=script,
        command=as_text(command),
        title=as_text(title),
        content=content,
    )


def page_part(package: str | None, name: str) -> str:
    """The text of a file that is installed in `package`."""
    return files(package or "").joinpath(name).read_text("utf-8")


def as_text(text: str) -> str:
    """Text as HTML, also within quotes, on one line and without what makes a file name look like
    another: control characters, undecodable bytes, turns of the writing direction.
    """
    return escape("".join("\N{REPLACEMENT CHARACTER}" if is_unfit(c) else c for c in text))


def opening(label: str, sentences: Sequence[str]) -> str:
    """The section that a page begins with; its first sentence stands out."""
    paragraphs = "\n".join(f"<p>{_sentence(sentence)}</p>" for sentence in sentences)
    return f'<section class="opening" aria-label="{as_text(label)}">\n{paragraphs}\n</section>'


def notes(heading: str, sentences: Sequence[str], kind: str = "") -> str:
    """A marked list of sentences, or nothing where there are none; `kind` is a CSS class."""
    if not sentences:
        return ""
    items = "".join(f"<li>{_sentence(sentence)}</li>" for sentence in sentences)
    kind = f"notes {kind}".rstrip()
    return f'<section class="{kind}"><h2>{as_text(heading)}</h2><ul>{items}</ul></section>'


def film(caption: str, webm: bytes) -> str:
    """A figure with a film. `controls` are for browsers without scripts: films.js replaces them by
    those of `film_controls`, one set for all films of the page.
    """
    caption = as_text(caption)
    return (
        f'<figure class="film"><video aria-label="{caption}" muted playsinline controls '
        f'preload="auto" src="data:video/webm;base64,{_base64(webm)}"></video>'
        f"<figcaption>{caption}</figcaption></figure>"
    )


def film_controls(frames: int) -> str:
    """What moves all films of the page, each of `frames` frames; films.js brings it to life."""
    return (
        '<p class="failed" role="alert" hidden>'
        "This browser cannot show the films (VP9 in WebM).</p>\n"
        '<div class="transport" role="group" aria-label="Playback of all films" hidden>\n'
        '<button type="button" class="play">Play</button>\n'
        f'<input type="range" class="scrubber" min="0" max="{frames - 1}" step="1" value="0" '
        'aria-label="Frame">\n'
        '<output class="readout" aria-live="off"></output>\n</div>'
    )


def picture(caption: str, rgba: np.ndarray) -> str:
    """A figure with a picture, (H, W, 4) uint8 with straight alpha, over a checkerboard."""
    height, width = rgba.shape[:2]
    image = _shrunk(Image.fromarray(rgba))
    data = BytesIO()
    image.save(data, "PNG")
    size = f"{width}×{height} pixels"
    if image.width < width:
        size += f", shown at {image.width}×{image.height}"
    return (
        f'<figure class="picture"><img alt="{as_text(caption)}" width="{image.width}" '
        f'height="{image.height}" src="data:image/png;base64,{_base64(data.getvalue())}">'
        f"<figcaption>{as_text(caption)} <small>{size}</small></figcaption></figure>"
    )


def table(rows: Iterable[tuple[str, str]]) -> str:
    """A table of names and values."""
    body = "\n".join(
        f'<tr><th scope="row">{as_text(name)}</th><td>{as_text(value)}</td></tr>'
        for name, value in rows
    )
    return f"<table><tbody>\n{body}\n</tbody></table>"


def in_words(value: object) -> str:
    """A setting as plain text."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{name}: {in_words(item)}" for name, item in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(in_words(item) for item in value)
    return str(value)


def _policy(style: str, script: str) -> str:
    """Only what is inside the page, and of that only our own style and script."""
    return (
        "default-src 'none'; img-src data:; media-src data:; "
        f"style-src 'sha256-{_base64(sha256(style.encode()).digest())}'; "
        f"script-src 'sha256-{_base64(sha256(script.encode()).digest())}'; "
        "base-uri 'none'; form-action 'none'"
    )


def _base64(data: bytes) -> str:
    return b64encode(data).decode("ascii")


def _sentence(text: str) -> str:
    """An option such as --frames is not broken over two lines."""
    return re.sub(r"--[a-z][a-z-]*", r"<code>\g<0></code>", as_text(text))


def _shrunk(image: Image.Image) -> Image.Image:
    """Colours are weighted by alpha, so that those of uncovered pixels do not bleed in."""
    scale = MAX_PICTURE_SIDE / max(image.size)
    if scale >= 1:
        return image
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    return image.convert("RGBa").resize(size, Image.Resampling.BICUBIC).convert("RGBA")
