"""`doctor`: what of this machine an edit needs, looked at piece by piece."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit

import av

from ..guide import weights
from ..media.clip_kinds import KINDS, LAYER_KINDS
from ..media.clip_program import needs_program
from ..runs import memory

_PACKAGES = ("text2live", "torch", "open_clip_torch", "av", "pillow")
_LEAST_ROOM, _LEAST_MEMORY = 2e9, 3e9  # bytes
_NETWORK_SECONDS = 3
_PROXIES = ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy")
_EXTRAS = {
    "heif": "pillow_heif",
    "psd": "psd_tools",
    "ray": "ray",
    "pictures": "textual_image",
    "tensorboard": "tensorboard",
}
_ENCODERS = {"MP4": KINDS[".mp4"], "ProRes 4444": LAYER_KINDS[".mov"], "VP9": LAYER_KINDS[".webm"]}


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    name: str
    good: bool
    text: str
    """What it is, and where it is not good, what to do."""


def examine() -> Iterator[Finding]:
    """Everything in turn; none of it downloads anything."""
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in _PACKAGES)
    yield Finding("versions", True, versions)
    yield _device()
    yield _threads()
    for name, kind in _ENCODERS.items():
        yield _encoder(name, kind.encoder)
    yield _weights()
    yield _network()
    yield _extras()
    yield _cache()
    yield _room()
    yield _memory()


def _network() -> Finding:
    """Whether the place of the weights can be reached; it is asked for a connection and no more."""
    place = urlsplit(os.environ.get("HF_ENDPOINT") or "https://huggingface.co")
    host, port = place.hostname or "", place.port or (80 if place.scheme == "http" else 443)
    if os.environ.get("HF_HUB_OFFLINE"):
        return Finding("network", True, "not asked for, as HF_HUB_OFFLINE says")
    proxy = next((name for name in _PROXIES if os.environ.get(name)), None)
    if proxy is not None:
        return Finding("network", True, f"{host} is asked through the proxy of {proxy}")
    try:
        with socket.create_connection((host, port), _NETWORK_SECONDS):
            return Finding("network", True, f"{host} answers")
    except (OSError, ValueError):
        text = f"{host} does not answer; --clip swatch needs none, for others see docs/offline.md"
        return Finding("network", True, text)


def _extras() -> Finding:
    here = [name for name, module in _EXTRAS.items() if find_spec(module)]
    away = [name for name in _EXTRAS if name not in here]
    parts = [f"{', '.join(here)} here"] * bool(here)
    parts += [f"pip install 'text2live[{','.join(away)}]' for the rest"] * bool(away)
    return Finding("extras", True, "; ".join(parts))


def _device() -> Finding:
    from ..device import choose_device
    from .self_test import edit_step, fit_step

    device = choose_device("auto")
    try:
        for step in (edit_step, fit_step):
            step(device)
    except Exception as error:  # noqa: BLE001  # whatever it is, that is the finding
        reason = next(iter(str(error).splitlines()), type(error).__name__)[:150]
        return Finding("device", False, f"{device.type} fails ({reason}): use --device cpu")
    kind = "a GPU: presets are `paper`" if device.type != "cpu" else "no GPU: presets are `draft`"
    return Finding("device", True, f"{device.type}, one step of an edit and of a fit done ({kind})")


def _threads() -> Finding:
    import torch

    text = f"{torch.get_num_threads()} of {os.cpu_count()} processors (OMP_NUM_THREADS changes it)"
    return Finding("threads", True, text)


def _encoder(name: str, encoder: str) -> Finding:
    if needs_program(encoder):
        return Finding(name, True, f"{encoder}, lent by imageio-ffmpeg's program")
    try:
        av.codec.Codec(encoder, "w")
    except av.codec.codec.UnknownCodecError:
        return Finding(name, False, f"{encoder} is missing: pip install --force-reinstall av")
    return Finding(name, True, encoder)


def _weights() -> Finding:
    here = [row.name for row in weights.listing() if row.cached and row.name != weights.SWATCH]
    if here:
        return Finding("weights", True, ", ".join(here))
    fetch = f"text2live weights fetch {weights.DEFAULT_CLIP}"
    return Finding("weights", True, f"only swatch, the embedded encoder; for photos: {fetch}")


def _cache() -> Finding:
    folder = weights.cache_folder()
    place = next(path for path in (folder, *folder.parents) if path.exists())
    if os.access(place, os.W_OK):
        return Finding("cache", True, str(folder))
    return Finding("cache", False, f"{folder} cannot be written: set TEXT2LIVE_CACHE to another")


def _room() -> Finding:
    free = shutil.disk_usage(Path()).free
    advice = "" if free >= _LEAST_ROOM else ": make room, or work in another folder"
    return Finding("disk", not advice, f"{free / 1e9:.1f} GB free here{advice}")


def _memory() -> Finding:
    free = memory.available()
    if free is None:
        return Finding("memory", True, "the system does not say")
    advice = "" if free >= _LEAST_MEMORY else ": close other programs, or lower --size and --views"
    return Finding("memory", not advice, f"{free / 2**30:.1f} GiB free{advice}")
