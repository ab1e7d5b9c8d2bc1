"""Our own safetensors files: tensors with text beside them, written whole or not at all.

A checksum over all of it tells damage; that a file is sound says nothing of who wrote it, so that
its readers check names, shapes and ranges as well.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save_file
from torch import Tensor

from .files import atomic_path, usual_mode
from .outside import open_regular

_TEXTS = "texts"
"""The one entry of a file's own metadata: of several, safetensors shuffles the order."""
_CHECKSUM = "checksum"
_MAX_BYTES = 2**34  # of a file that is read: beyond, no atlas or checkpoint is one of ours

READ_ERRORS = (
    *(SafetensorError, OSError, LookupError, RuntimeError, TypeError, ValueError, AttributeError),
    OverflowError,
)
"""What reading a damaged or foreign file, and using what is in it, may raise."""


def write_tensors(path: Path, tensors: Mapping[str, Tensor], texts: Mapping[str, str]) -> None:
    """Write tensors of any device; the same ones give the same bytes.

    Raises Text2LiveError where the file cannot be written.
    """
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    about = {**texts, _CHECKSUM: _checksum(plain, texts)}
    with atomic_path(path) as temporary:
        try:
            with usual_mode(temporary):
                save_file(plain, temporary, {_TEXTS: json.dumps(about)})
        except SafetensorError as error:  # its way to report a full disk
            raise OSError(str(error)) from error


def read_tensors(path: Path, form: str) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors, on the CPU, and texts of a file whose text "format" is `form`.

    Raises one of `READ_ERRORS` for anything else, and where the checksum is not that of the rest.
    """
    return parse_tensors(read_bytes(path), form)


def read_bytes(path: Path) -> bytes:
    """A file's bytes, for `parse_tensors`. OSError or ValueError for what cannot be one."""
    with open_regular(path) as file:
        if os.fstat(file.fileno()).st_size > _MAX_BYTES:
            raise ValueError("too large")
        return file.read()


def parse_tensors(data: bytes, form: str) -> tuple[dict[str, Tensor], dict[str, str]]:
    """As `read_tensors`, of a file that was read already."""
    tensors = load(data)
    length = int.from_bytes(data[:8], "little")
    about = json.loads(json.loads(data[8 : 8 + length])["__metadata__"][_TEXTS])
    texts = {name: value for name, value in about.items() if name != _CHECKSUM}
    if texts.get("format") != form or not all(isinstance(v, str) for v in texts.values()):
        raise ValueError("another format")
    if _CHECKSUM in about and about[_CHECKSUM] != _checksum(tensors, texts):  # older ones have none
        raise ValueError("another checksum")
    return tensors, texts


def require_like(tensors: Mapping[str, Tensor], like: Mapping[str, Tensor]) -> None:
    """ValueError unless `tensors` are those of `like` by name, kind and shape (else `copy_` would
    stretch them), and LookupError where one is missing.
    """
    if strange := tensors.keys() - like.keys():
        raise ValueError(f"a strange tensor: {min(strange)}")
    for name, model in like.items():
        tensor = tensors[name]
        if tensor.shape != model.shape or tensor.dtype != model.dtype:
            raise ValueError(f"{name} has another shape")


def require_finite(tensors: Mapping[str, Tensor]) -> None:
    """ValueError where a number is not finite."""
    if not all(bool(tensor.isfinite().all()) for tensor in tensors.values()):
        raise ValueError("numbers that are not finite")


def _checksum(tensors: Mapping[str, Tensor], texts: Mapping[str, str]) -> str:
    digest = hashlib.sha256(json.dumps(sorted(texts.items())).encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name!r} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        flat = tensor.contiguous().reshape(-1).view(torch.uint8)
        digest.update(flat.numpy().data)
    return digest.hexdigest()
