"""The frame of the reports, and what they have in common: one page that needs no other file.

`page.html` and `page.css` beside this module are in every page; `parts.html` holds what pages are
put together from, `films.js`, `wipe.js` and `wipe.css` what some of them share. They are Jinja2
templates that escape whatever they are given. Films and pictures are data: URIs, and a
Content-Security-Policy forbids everything else: nothing is fetched, and no text of a report can
become code.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Mapping
from functools import cache
from hashlib import sha256
from importlib.resources import files
from io import BytesIO
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from PIL import Image

from ..media.picture_writing import png_bytes
from ..texts import is_unfit

if TYPE_CHECKING:
    from jinja2 import Environment

_QUALITY = 88  # of WebP
MAX_PICTURE_SIDE = 1600
"""Larger pictures are shrunk for a report, to this long side in pixels."""


class Film(NamedTuple):
    """A film of a page."""

    caption: str
    source: str
    """A data: URI."""


class Shown(NamedTuple):
    """A picture of a page."""

    caption: str
    source: str
    """A data: URI."""
    width: int
    height: int
    size: str
    """The size of the picture itself, in words."""


def html_page(
    name: str, command: str, title: str, parts: tuple[str, ...] = (), **values: object
) -> str:
    """The whole page called `name`, to be saved as UTF-8.

    Its template is `name`.html beside this module; its style and script are those of the page, of
    `parts` and its own, as far as there are such files. `command`, `title` and all texts in
    `values` are plain: any characters, no markup. Only `markupsafe.Markup` is taken as it is.
    """
    names = ("page", *parts, name)
    style = "".join(_installed(f"{one}.css") for one in names)
    script = "".join(_installed(f"{one}.js") for one in names)
    page = _templates().get_template(f"{name}.html")
    return page.render(
        command=command,
        title=title,
        policy=_markup(_policy(style, script)),
        style=_markup(style),
        script=_markup(script),
        **values,
    )


def film(caption: str, webm: bytes) -> Film:
    """A film for a page, from the bytes of a WebM file."""
    return Film(caption, _data_uri("video/webm", webm))


def picture(caption: str, rgba: np.ndarray) -> Shown:
    """A picture for a page, (H, W, 4) uint8 with straight alpha, shrunk where it is large."""
    height, width = rgba.shape[:2]
    image = _shrunk(rgba)
    size = f"{width}×{height} pixels"
    if image.shape[1] < width:
        size += f", shown at {image.shape[1]}×{image.shape[0]}"
    data = _data_uri("image/png", png_bytes(image))
    return Shown(caption, data, image.shape[1], image.shape[0], size)


def photo(caption: str, pixels: np.ndarray) -> Shown:
    """A picture for a page that is looked at as a whole, (H, W, 3 or 4) uint8, as lossy WebP."""
    height, width = pixels.shape[:2]
    data = BytesIO()
    Image.fromarray(pixels).save(data, "WEBP", quality=_QUALITY, method=4)
    return Shown(caption, _data_uri("image/webp", data.getvalue()), width, height, "")


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


@cache
def _templates() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined  # needed once, at a run's end

    environment = Environment(
        loader=PackageLoader("text2live_cli.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_clean,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["sentence"] = _sentence
    environment.filters["in_words"] = in_words
    return environment


def _clean(value: object) -> object:
    """Text on one line and without what makes a file name look like another: control characters,
    undecodable bytes, turns of the writing direction. Markup, which is ours, stays.
    """
    if not isinstance(value, str) or hasattr(value, "__html__"):
        return value
    return "".join("\N{REPLACEMENT CHARACTER}" if is_unfit(c) else c for c in value)


def _sentence(text: str) -> str:
    """An option such as --frames is not broken over two lines."""
    from markupsafe import escape

    html = str(escape(_clean(text)))
    return _markup(re.sub(r"--[a-z][a-z-]*", r"<code>\g<0></code>", html))


def _markup(html: str) -> str:
    """`html` as it is: only for what no report's text is in, but escaped."""
    from markupsafe import Markup

    return Markup(html)


def _policy(style: str, script: str) -> str:
    """Only what is inside the page, and of that only our own style and script."""
    return (
        "default-src 'none'; img-src data:; media-src data:; "
        f"style-src 'sha256-{_base64(sha256(style.encode()).digest())}'; "
        f"script-src 'sha256-{_base64(sha256(script.encode()).digest())}'; "
        "base-uri 'none'; form-action 'none'"
    )


def _installed(name: str) -> str:
    """The text of a file beside this module; nothing where there is none."""
    file = files("text2live_cli.report").joinpath(name)
    return file.read_text("utf-8") if file.is_file() else ""


def _data_uri(kind: str, data: bytes) -> str:
    return _markup(f"data:{kind};base64,{_base64(data)}")


def _base64(data: bytes) -> str:
    return b64encode(data).decode("ascii")


def _shrunk(rgba: np.ndarray) -> np.ndarray:
    """Colours are weighted by alpha, so that those of uncovered pixels do not bleed in."""
    scale = MAX_PICTURE_SIDE / max(rgba.shape[:2])
    if scale >= 1:
        return rgba
    height, width = (max(1, round(side * scale)) for side in rgba.shape[:2])
    image = Image.fromarray(rgba).convert("RGBa")
    return np.array(image.resize((width, height), Image.Resampling.BICUBIC).convert("RGBA"))
