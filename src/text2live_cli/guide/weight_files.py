"""Reads a file of CLIP weights into a state dict without ever running code from it."""

from __future__ import annotations

import pickle
import struct
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import Text2LiveError, UsageError

if TYPE_CHECKING:
    from torch import Tensor

PICKLE_SUFFIXES = (".pt", ".pth", ".bin")

# SHA-256 → architecture of the TorchScript archives that OpenAI publishes.
OPENAI_ARCHIVES: Mapping[str, str] = {
    "40d365715913c9da98579312b702a82c18be219cc2a73407c4526f58eba950af": "ViT-B-32-quickgelu",
    "5806e77cd80f8b59890b7e101eabd078d9fb84e6937f9e85e4ecb61988df416f": "ViT-B-16-quickgelu",
    "b8cca3fd41ae0c99ba7e8951adf17d267cdb84cd88be6f7c2e0eca1737a03836": "ViT-L-14-quickgelu",
    "3035c92b350959924f9f00213499208652fc7ea050643e8b385c2dac08641f02": "ViT-L-14-336-quickgelu",
}

# The same weights in open_clip's layout (timm/vit_base_patch32_clip_224.openai on the hub).
OPENAI_FILES: Mapping[str, str] = {
    **OPENAI_ARCHIVES,
    "e6d1bd7789aa45192b3bf90570a789b478bae1b74ebcce7eddd908e83a2b7c31": "ViT-B-32-quickgelu",
}

# Entries that only OpenAI's own model carries beside its weights.
OPENAI_MARKS = frozenset({"input_resolution", "context_length", "vocab_size"})

# What torch.load raises on damaged or foreign bytes, besides refusing a pickle.
_DAMAGED = (
    RuntimeError,
    EOFError,
    ValueError,
    LookupError,
    AssertionError,
    AttributeError,
    TypeError,
    struct.error,
)


def read_state_dict(path: Path, sha256: str) -> dict[str, Tensor]:
    """The tensors of a weights file on the CPU, by their names in open_clip's layout.

    Takes `.safetensors`, or `.pt`, `.pth`, `.bin` with a plain state dict, as such or as
    `state_dict` in a training checkpoint of open_clip. A TorchScript archive is read only where
    `sha256` (of this file) is one that OpenAI publishes, for reading it can run code.

    Raises UsageError for another kind of file, Text2LiveError for one that cannot be read.
    """
    suffix = path.suffix.lower()
    if suffix == ".safetensors":
        contents: object = _read_safetensors(path)
    elif suffix in PICKLE_SUFFIXES:
        contents = _read_pickle(path, sha256)
    else:
        kinds = ", ".join((".safetensors", *PICKLE_SUFFIXES))
        raise UsageError(f"{path} is not a weights file: expected one of {kinds}")
    return _tensors(contents, path)


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path, device="cpu")
    except (SafetensorError, OSError) as error:
        raise _damaged(path, error) from error


def _read_pickle(path: Path, sha256: str) -> object:
    import torch

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch.jit is deprecated; pickles of other protocols
            if _is_torchscript(path):
                return _read_openai_archive(path, sha256)
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise Text2LiveError(
            f"{path} is not a plain state dict of tensors, and text2live runs no code from "
            "weights files: save the model's state_dict() alone, best as .safetensors"
        ) from error
    except (*_DAMAGED, OSError) as error:
        raise _damaged(path, error) from error


def _is_torchscript(path: Path) -> bool:
    """Whether `path` is a zip file with the entry by which torch itself tells TorchScript."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.endswith("/constants.pkl") for name in archive.namelist())


def _read_openai_archive(path: Path, sha256: str) -> object:
    if sha256 not in OPENAI_ARCHIVES:
        raise Text2LiveError(
            f"{path} is a TorchScript archive but not one that OpenAI publishes: loading it would "
            "run code, so it is refused; save the model's state_dict() as .safetensors"
        )
    import torch

    return dict(torch.jit.load(str(path), map_location="cpu").state_dict())


def _tensors(contents: object, path: Path) -> dict[str, Tensor]:
    """The state dict inside `contents`, without the prefix that data-parallel training adds."""
    import torch

    if isinstance(contents, dict) and "state_dict" in contents:
        contents = contents["state_dict"]
    if not isinstance(contents, dict) or not all(
        isinstance(name, str) and isinstance(value, torch.Tensor)
        for name, value in contents.items()
    ):
        raise Text2LiveError(f"{path} holds no state dict of tensors")
    tensors = {name.removeprefix("module."): value for name, value in contents.items()}
    if not any(name.startswith("visual.") for name in tensors):
        raise Text2LiveError(
            f"{path} holds no CLIP weights in the layout of open_clip or OpenAI (no visual.*)"
        )
    return tensors


def _damaged(path: Path, error: Exception) -> Text2LiveError:
    reason = next(iter(str(error).splitlines()), type(error).__name__)
    return Text2LiveError(f"{path} is damaged or not a weights file: {reason}")
