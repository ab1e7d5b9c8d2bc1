"""The checkpoints of layered neural atlases that people have: read without running code, written.

Such a file is one `torch.save` of a dict of four state dicts, as Kasten et al.'s code makes them.
It holds neither the size nor the number of frames of its clip, so an import must be checked.
"""

from __future__ import annotations

import io
import pickle
import struct
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...config import NLA_RESOLUTION
from ...errors import Text2LiveError
from ...media.files import write_bytes_atomic
from ..nla import NlaModel, network_of
from .settings import NlaSettings

KEYS = {
    "foreground": "model_F_mapping1_state_dict",
    "background": "model_F_mapping2_state_dict",
    "alpha": "model_F_alpha_state_dict",
    "atlas": "F_atlas_state_dict",
}
"""The published name of each network's state dict."""
MIN_PSNR = 20.0
"""Decibels: an import that reconstructs its clip worse is not of this clip."""
_CHECKED_FRAMES = 5

# What torch.load raises on damaged or foreign bytes.
_DAMAGED = (
    pickle.UnpicklingError,
    zipfile.BadZipFile,
    RuntimeError,
    EOFError,
    ValueError,
    LookupError,
    AssertionError,
    AttributeError,
    NotImplementedError,
    TypeError,
    OverflowError,
    MemoryError,
    struct.error,
)


def read_published(
    path: Path, size: tuple[int, int], frames: int, resolution: int = NLA_RESOLUTION
) -> NlaModel:
    """The model in a published checkpoint, for a clip of `frames` frames of `size`, on the CPU.

    Networks of other depth, width, octaves or skips than the published ones are read too. Raises
    Text2LiveError for a file that cannot be read, holds no such networks, or would need code.
    """
    contents = _load(path)
    if not isinstance(contents, dict):
        raise _foreign(path, "no dict")
    networks = {}
    for name, key in KEYS.items():
        state = contents.get(key)
        if not isinstance(state, Mapping):
            raise _foreign(path, f"no {key}")
        try:
            networks[name] = network_of(name, state)
        except ValueError as error:
            raise Text2LiveError(
                f"{path}: the checkpoint is damaged or altered ({error}); take another copy"
            ) from error
    return NlaModel(networks, size, frames, resolution)


def write_published(path: Path, model: NlaModel, iteration: int) -> None:
    """Write `model` as a published checkpoint after `iteration` steps, whole or not at all.

    The published format is a pickle, by `torch.save`; this one is of tensors and numbers only, so
    that it loads with `weights_only=True`. The optimiser's state is that of a fresh Adam.
    """
    networks = {name: getattr(model, name) for name in KEYS}
    optimizer = torch.optim.Adam(
        [{"params": list(network.parameters())} for network in networks.values()],
        lr=NlaSettings.learning_rate,
    )
    contents: dict[str, object] = {
        KEYS[name]: _on_cpu(network.state_dict()) for name, network in networks.items()
    }
    contents["iteration"] = iteration
    contents["optimizer_all_state_dict"] = optimizer.state_dict()
    buffer = io.BytesIO()  # saved to a path, the file would hold that path's temporary name
    torch.save(contents, buffer)
    write_bytes_atomic(path, buffer.getvalue())


def check_import(model: NlaModel, frames: NDArray[np.uint8]) -> float:
    """PSNR, in decibels, of five frames of the clip (T, h, w, 3) as the networks show them.

    Under `MIN_PSNR` the model belongs to another clip, or to other frames of it (`--frames`).
    """
    count = min(_CHECKED_FRAMES, len(frames))
    errors = []
    for t in np.linspace(0, len(frames) - 1, count).round().astype(int):
        true = torch.from_numpy(frames[t]).float() / 255
        frame = model.reconstruct(int(t), (frames.shape[1], frames.shape[2])).cpu()
        errors.append(float((frame - true).square().mean()))
    return float(-10 * np.log10(max(float(np.mean(errors)), 1e-10)))


def _load(path: Path) -> object:
    """What the file holds, unpickled from a list of harmless types only."""
    try:
        _require_stored(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # pickles of other protocols
            return torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise Text2LiveError(f"cannot read {path}: {error.strerror or error}") from error
    except pickle.UnpicklingError as error:
        raise Text2LiveError(
            f"{path} is no plain dict of tensors, and text2live runs no code from checkpoints:"
            " give a checkpoint of layered neural atlases as its training wrote it"
        ) from error
    except _DAMAGED as error:
        raise _foreign(path, "damaged, or of another kind") from error


def _require_stored(path: Path) -> None:
    """Refuse compressed archives: torch writes none, and a small one can fill the memory."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            if any(entry.compress_type != zipfile.ZIP_STORED for entry in archive.infolist()):
                raise ValueError("compressed")


def _foreign(path: Path, reason: str) -> Text2LiveError:
    return Text2LiveError(
        f"{path} is no checkpoint of layered neural atlases ({reason}): give the file that its"
        " training wrote"
    )


def _on_cpu(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().cpu() for name, tensor in state.items()}
