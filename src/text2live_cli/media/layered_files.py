"""Layered files: Photoshop's PSD and OpenRaster (Krita, GIMP), written and read; OpenEXR, written.

The picture lies below, then the layers, the first lowest, each with its name, opacity and blend
mode. PSD goes through psd-tools (the extra `psd`) and keeps 16 bits; OpenRaster is a ZIP of PNGs;
OpenEXR (the extra `exr`) has a part for each, in linear light.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..config import BLEND_MODES, LAYERED_FORMATS, require_one_of
from ..errors import Text2LiveError, UsageError
from .blending import NORMAL
from .compositing import lay_over
from .exr_files import linear_part, picture_facts, require_exr, write_exr
from .files import write_bytes_atomic
from .outside import open_regular
from .picture_writing import encode_png
from .pictures import Picture, decode_picture
from .samples import to_uint, to_unit

LAYERED_ENDINGS = tuple(f".{name}" for name in LAYERED_FORMATS)
SOURCE = "source"
"""Name of the picture below; of a file that is read, layers of that name are left out."""
_OPERATORS = {mode: f"svg:{mode}" for mode in BLEND_MODES} | {NORMAL: "svg:src-over"}
_MAX_LAYERS, _MAX_BYTES, _MAX_XML = 256, 2**31, 2**20
_THUMBNAIL = 256  # pixels, as OpenRaster asks


@dataclass(frozen=True)
class NamedLayer:
    """One layer: (h, w, 4) with straight alpha, uint8."""

    name: str
    rgba: NDArray[np.uint8]
    opacity: float = 1.0
    blend: str = NORMAL
    region: NDArray[np.uint8] | None = None
    """(h, w): where the edit is. In a PSD a layer mask that is switched off: the alpha of the layer
    is all that the composite takes."""


def write_layered(path: Path, source: Picture, layers: Sequence[NamedLayer]) -> tuple[str, ...]:
    """Write a file by its ending, whole or not at all; layers are of the size of the source.

    Returns what the user should be told. Raises UsageError without the package that it needs,
    Text2LiveError where it cannot be written.
    """
    if path.suffix.lower() == ".exr":
        return _write_exr(path, source, layers)
    if path.suffix.lower() == ".psd":
        write_bytes_atomic(path, _psd(source, layers))
        return ()
    write_bytes_atomic(path, _openraster(source.in_eight_bits(), layers))
    deep = source.color.dtype != np.uint8
    return (f"{path.name}: 16 bits are rounded to the 8 of OpenRaster",) if deep else ()


def require_layered(path: Path) -> None:
    """Raise UsageError, before the work, where files of that ending cannot be written here."""
    if path.suffix.lower() == ".psd":
        _psd_tools()
    if path.suffix.lower() == ".exr":
        require_exr()


def layered_beside(picture: Path, formats: Sequence[str]) -> list[Path]:
    """The layered files of these formats that go beside a picture, under its name.

    Raises UsageError for what is no such format, or cannot be written here.
    """
    for name in formats:
        require_one_of("--layer-format", name, LAYERED_FORMATS)
    paths = [picture.with_suffix(f".{name}") for name in dict.fromkeys(formats)]
    for path in paths:
        require_layered(path)
    return paths


def read_layered(path: Path) -> list[NamedLayer]:
    """The visible layers of a file, the lowest first, but for the source; on the whole canvas.

    Raises UsageError for what is no such file, is damaged, or too large.
    """
    if path.suffix.lower() == ".exr":
        raise UsageError(f"{path}: layers of OpenEXR are not read; save it as .ora, .psd or .png")
    try:
        reader = _read_psd if path.suffix.lower() == ".psd" else _read_openraster
        layers = [layer for layer in reader(path) if layer.name != SOURCE]
    except UsageError:
        raise
    except MemoryError:
        raise
    except Exception as error:
        raise UsageError(f"{path}: is damaged, or no {path.suffix[1:].upper()}") from error
    if not layers:
        raise UsageError(f"{path}: has no visible layer beside the source")
    return layers


def stacked_layer(layers: Sequence[NamedLayer]) -> NDArray[np.uint8]:
    """One straight-alpha layer (h, w, 4) that does what several normal ones do."""
    color = np.zeros((*layers[0].rgba.shape[:2], 3))
    alpha = np.zeros((*layers[0].rgba.shape[:2], 1))
    for layer in layers:
        share = layer.rgba[..., 3:] / 255.0 * layer.opacity
        color = color * (1 - share) + to_unit(layer.rgba[..., :3]) * share
        alpha = alpha * (1 - share) + share
    straight = np.divide(color, alpha, out=np.zeros_like(color), where=alpha > 0)
    return to_uint(np.dstack([straight, alpha]), 255)


def layered_picture(path: Path) -> Picture:
    """The visible layers of a file but its source, as one picture with alpha."""
    rgba = stacked_layer(read_layered(path))
    color, alpha = np.ascontiguousarray(rgba[..., :3]), np.ascontiguousarray(rgba[..., 3])
    return Picture(color, alpha, None, path, path.suffix[1:].upper(), "", ())


def _merged(source: Picture, layers: Sequence[NamedLayer]) -> NDArray[Any]:
    """What the file shows, with the source's alpha."""
    color = source.color
    for layer in layers:
        color = lay_over(color, layer.rgba, layer.opacity, layer.blend)
    return color if source.alpha is None else np.dstack([color, source.alpha])


def _write_exr(path: Path, source: Picture, layers: Sequence[NamedLayer]) -> tuple[str, ...]:
    """A part for the picture and for each layer; the layers' opacity is in their samples."""
    below = source.color if source.alpha is None else np.dstack([source.color, source.alpha])
    parts, facts = {SOURCE: linear_part(below)}, {SOURCE: picture_facts()}
    for number, layer in enumerate(layers, 1):
        name = layer.name if layer.name and layer.name not in parts else f"{layer.name}.{number}"
        parts[name] = linear_part(layer.rgba) * np.float16(layer.opacity)
        facts[name] = picture_facts(blendMode=layer.blend)
    write_exr(path, parts, facts)
    profile = source.icc_profile is not None
    return (f"{path.name}: the profile is not applied; colours are taken as sRGB",) * profile


def _openraster(source: Picture, layers: Sequence[NamedLayer]) -> bytes:
    """As openraster.org has it: the file type first and stored, then pictures and their order."""
    height, width = source.color.shape[:2]
    image = ElementTree.Element("image", version="0.0.3", w=str(width), h=str(height))
    stack = ElementTree.SubElement(image, "stack")
    merged = _merged(source, layers)
    thumbnail = Image.fromarray(merged)
    thumbnail.thumbnail((_THUMBNAIL, _THUMBNAIL))
    small = io.BytesIO()
    thumbnail.save(small, "PNG")
    below = source.color if source.alpha is None else np.dstack([source.color, source.alpha])
    pictures = [NamedLayer(SOURCE, below), *layers]
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:

        def add(name: str, content: bytes, method: int = zipfile.ZIP_STORED) -> None:
            about = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))  # no clock: same bytes again
            archive.writestr(about, content, method)

        add("mimetype", b"image/openraster")
        for number, layer in enumerate(pictures):
            name = f"data/{number:03d}.png"
            add(name, encode_png(layer.rgba, source.icc_profile))
            about = {"name": layer.name, "src": name, "x": "0", "y": "0", "visibility": "visible"}
            about |= {"opacity": f"{layer.opacity:g}", "composite-op": _OPERATORS[layer.blend]}
            stack.insert(0, ElementTree.Element("layer", about))
        add("mergedimage.png", encode_png(merged, source.icc_profile))
        add("Thumbnails/thumbnail.png", small.getvalue())
        text = ElementTree.tostring(image, "utf-8", xml_declaration=True)
        add("stack.xml", text, zipfile.ZIP_DEFLATED)
    return data.getvalue()


def _read_openraster(path: Path) -> list[NamedLayer]:
    with open_regular(path) as file, zipfile.ZipFile(file) as archive:
        if sum(one.file_size for one in archive.infolist()) > _MAX_BYTES:
            raise UsageError(f"{path}: is too large")
        if archive.getinfo("stack.xml").file_size > _MAX_XML:
            raise UsageError(f"{path}: its stack.xml is too large")
        text = archive.read("stack.xml")
        if b"<!DOCTYPE" in text or b"<!ENTITY" in text:
            raise UsageError(f"{path}: its stack.xml holds a document type, which no editor writes")
        image = ElementTree.fromstring(text)
        size = int(image.attrib["h"]), int(image.attrib["w"])
        elements = [one for one in image.iter("layer") if one.get("visibility") != "hidden"]
        if len(elements) > _MAX_LAYERS:
            raise UsageError(f"{path}: has more than {_MAX_LAYERS} layers")
        modes = {operator: mode for mode, operator in _OPERATORS.items()}
        layers = []
        for one in reversed(elements):
            if one.get("name") == SOURCE:
                continue
            picture = decode_picture(archive.read(one.attrib["src"]), path)
            rgba = _on_canvas(_rgba(picture), int(one.get("x", 0)), int(one.get("y", 0)), size)
            blend = modes.get(one.get("composite-op", ""), NORMAL)
            opacity = min(max(float(one.get("opacity", 1)), 0.0), 1.0)
            layers.append(NamedLayer(one.get("name", ""), rgba, opacity, blend))
    return layers


def _rgba(picture: Picture) -> NDArray[np.uint8]:
    picture = picture.in_eight_bits()
    alpha = picture.alpha
    if alpha is None:
        alpha = np.full(picture.color.shape[:2], 255, np.uint8)
    return np.dstack([picture.color, alpha])


def _on_canvas(
    rgba: NDArray[np.uint8], left: int, top: int, size: tuple[int, int]
) -> NDArray[np.uint8]:
    """A layer (h, w, 4) that lies somewhere, on the whole canvas (height, width)."""
    if size[0] < 1 or size[1] < 1 or size[0] * size[1] * 4 > _MAX_BYTES:
        raise ValueError("no such canvas")
    canvas = np.zeros((*size, 4), np.uint8)
    bottom, right = top + rgba.shape[0], left + rgba.shape[1]
    rows, columns = slice(max(top, 0), max(bottom, 0)), slice(max(left, 0), max(right, 0))
    part = rgba[max(-top, 0) :, max(-left, 0) :]
    place = canvas[rows, columns]
    place[:] = part[: place.shape[0], : place.shape[1]]
    return canvas


def _psd_tools() -> Any:
    try:
        import psd_tools
    except ImportError as error:
        raise UsageError(".psd: needs psd-tools: pip install 'text2live[psd]'") from error
    return psd_tools


def _psd(source: Picture, layers: Sequence[NamedLayer]) -> bytes:
    tools = _psd_tools()
    from psd_tools.constants import BlendMode, Resource
    from psd_tools.psd.image_resources import ImageResource

    height, width = source.color.shape[:2]
    if max(height, width) > 30_000:
        raise Text2LiveError(".psd: ends at 30,000 pixels a side; write .ora")
    depth = source.color.dtype.itemsize * 8
    document = tools.PSDImage.new("RGB", (width, height), depth=depth)
    below = source.color if source.alpha is None else np.dstack([source.color, source.alpha])
    document.create_pixel_layer_from_array(below, name=SOURCE)
    for layer in layers:
        rgba = layer.rgba if depth == 8 else layer.rgba.astype(np.uint16) * 257
        pixels = document.create_pixel_layer_from_array(
            rgba,
            name=layer.name,
            opacity=round(layer.opacity * 255),
            blend_mode=BlendMode[layer.blend.replace("-", "_").upper()],
        )
        if layer.region is not None and hasattr(pixels, "create_mask"):
            mask = pixels.create_mask(Image.fromarray(layer.region), top=0, left=0)
            mask.flags.mask_disabled = True
    if source.icc_profile is not None:
        key = Resource.ICC_PROFILE
        document.image_resources[key] = ImageResource(key=key, data=source.icc_profile)
    data = io.BytesIO()
    document.save(data)
    return data.getvalue()


def _read_psd(path: Path) -> list[NamedLayer]:
    tools = _psd_tools()
    with open_regular(path) as file:
        document = tools.PSDImage.open(file)
    size = document.height, document.width
    modes = {mode.replace("-", "_").upper(): mode for mode in BLEND_MODES}
    layers: list[NamedLayer] = []
    for one in document.descendants():
        if one.is_group() or not one.is_visible() or not one.has_pixels() or one.name == SOURCE:
            continue
        if len(layers) >= _MAX_LAYERS:
            raise UsageError(f"{path}: has more than {_MAX_LAYERS} layers")
        rgba = np.array(one.topil().convert("RGBA"))
        canvas = _on_canvas(rgba, one.left, one.top, size)
        blend = modes.get(one.blend_mode.name, NORMAL)
        layers.append(NamedLayer(one.name, canvas, one.opacity / 255, blend))
    return layers
