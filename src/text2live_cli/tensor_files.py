"""Our own safetensors files: tensors with text beside them, written whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from .atomic import atomic_path

_TEXTS = "texts"
"""The one entry of a file's own metadata: of several, safetensors shuffles the order."""

READ_ERRORS = (SafetensorError, OSError, LookupError, RuntimeError, TypeError, ValueError)
"""What reading a damaged or foreign file, and using what is in it, may raise."""


def write_tensors(path: Path, tensors: Mapping[str, Tensor], texts: Mapping[str, str]) -> None:
    """Write tensors of any device; the same ones give the same bytes.

    Raises Text2LiveError where the file cannot be written.
    """
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    with atomic_path(path) as temporary:
        temporary.touch()
        mode = temporary.stat().st_mode
        try:
            save_file(plain, temporary, {_TEXTS: json.dumps(dict(texts))})
            temporary.chmod(mode)  # safetensors makes files that only their owner can read
        except SafetensorError as error:  # its way to report a full disk
            raise OSError(str(error)) from error


def read_tensors(path: Path, form: str) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors, on the CPU, and texts of a file whose text "format" is `form`.

    Raises one of `READ_ERRORS` for anything else.
    """
    with safe_open(path, framework="pt") as file:
        texts = dict(json.loads((file.metadata() or {})[_TEXTS]))
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    if texts.get("format") != form:
        raise ValueError("another format")
    return tensors, texts
