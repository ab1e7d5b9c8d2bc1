"""torchvision's RAFT: where its weights are, fetching them, running it on a pair of frames."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from functools import partial
from io import StringIO
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from ...errors import Text2LiveError
from ...guide.weights import cache_folder
from ...media.files import sha256_of
from ...progress import Progress

_SMALL = "raft_small"
_UPDATES = 12
_LEAST_SIDE = 128
"""Pixels: smaller pictures leave nothing at the coarsest level of the correlations."""

FlowArray = NDArray[np.float32]


Estimate = Callable[[NDArray[np.uint8], NDArray[np.uint8]], tuple[FlowArray, FlowArray]]
"""Of two frames (h, w, 3) the flow (h, w, 2) there and back, pixels."""


def published_state(progress: Progress) -> dict[str, Tensor]:
    """torchvision's weights of raft_large: from torch's hub cache, ours, or downloaded to ours.

    torchvision checks what it downloads by the part of the SHA-256 that stands in the file's name;
    what a cache has is checked so here. Raises Text2LiveError where they cannot be had.
    """
    from torchvision.models.optical_flow import Raft_Large_Weights

    weights = Raft_Large_Weights.C_T_SKHT_V2
    name = Path(urlsplit(weights.url).path).name
    ours = cache_folder() / "torchvision"
    folders = (Path(torch.hub.get_dir()) / "checkpoints", ours)
    folder = next((folder for folder in folders if _is_published(folder / name)), None)
    try:
        if folder is None:
            if os.environ.get("HF_HUB_OFFLINE", "0").upper() in ("1", "TRUE", "YES", "ON"):
                raise OSError("HF_HUB_OFFLINE is set and no cache has it")
            progress.message(f"fetching {name} from {weights.url}")
            (ours / name).unlink(missing_ok=True)  # it is damaged, if it is there
        with contextlib.redirect_stdout(StringIO()):  # torch says there what it downloads
            return weights.get_state_dict(
                model_dir=str(folder or ours),
                progress=False,
                check_hash=True,
                map_location="cpu",
                weights_only=True,
            )
    except (OSError, RuntimeError) as error:  # RuntimeError: of another hash
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise Text2LiveError(
            f"cannot fetch RAFT: {reason} ({weights.url} into {ours}); put the file there yourself,"
            " or use --flow dis, which needs none"
        ) from error


def _is_published(path: Path) -> bool:
    """Whether the file is there, with the SHA-256 that its name begins to tell."""
    published = path.stem.rpartition("-")[2]
    return path.is_file() and sha256_of(path).startswith(published)


def load_published(device: torch.device, progress: Progress) -> Estimate:
    """torchvision's raft_large. Raises what `published_state` raises."""
    from torchvision.models.optical_flow import raft_large

    network = raft_large()
    network.load_state_dict(published_state(progress))
    return _estimator(network, device)


def load(weights: Path, device: torch.device) -> Estimate:
    """RAFT with the weights in a file: of raft_small where its name begins so, else of raft_large.

    Raises Text2LiveError where they are of neither.
    """
    from torchvision.models.optical_flow import raft_large, raft_small

    network = (raft_small if weights.name.startswith(_SMALL) else raft_large)()
    try:
        state = torch.load(weights, map_location="cpu", weights_only=True)
        network.load_state_dict(state)
    except Exception as error:  # torch.load raises whatever the bytes lead it to
        raise Text2LiveError(
            f"{weights}: these are not torchvision's weights of RAFT; delete it and run again"
        ) from error
    return _estimator(network, device)


def _estimator(network: torch.nn.Module, device: torch.device) -> Estimate:
    return partial(_estimate, network.eval().to(device), device)


@torch.inference_mode()
def _estimate(
    network: torch.nn.Module,
    device: torch.device,
    first: NDArray[np.uint8],
    second: NDArray[np.uint8],
) -> tuple[FlowArray, FlowArray]:
    height, width = first.shape[:2]
    pair = torch.from_numpy(np.stack([first, second])).to(device).permute(0, 3, 1, 2)
    pair = pair.float() / 127.5 - 1
    size = [max(_LEAST_SIDE, -(-side // 8) * 8) for side in (height, width)]
    pair = F.interpolate(pair, size, mode="bilinear", align_corners=False)
    flows = network(pair, pair.flip(0), num_flow_updates=_UPDATES)[-1].float()
    scale = torch.tensor([width / size[1], height / size[0]], device=device)
    back = F.interpolate(flows, (height, width), mode="bilinear", align_corners=False)
    flow = (back * scale[:, None, None]).permute(0, 2, 3, 1).cpu().numpy()
    return flow[0], flow[1]
