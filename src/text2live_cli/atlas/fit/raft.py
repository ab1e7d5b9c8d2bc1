"""torchvision's RAFT: where its weights are, fetching them, running it on a pair of frames."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from ...errors import Text2LiveError
from ...guide.weights import cache_folder
from ...media.files import sha256_of
from ...progress import Progress

_URL = "https://download.pytorch.org/models/raft_large_C_T_SKHT_V2-ff5fadd5.pth"
_SMALL = "raft_small"
_UPDATES = 12
_LEAST_SIDE = 128
"""Pixels: smaller pictures leave nothing at the coarsest level of the correlations."""

FlowArray = NDArray[np.float32]


def find_weights(progress: Progress) -> Path:
    """torchvision's weights of raft_large: from torch's hub cache, ours, or downloaded to ours.

    The published part of the file's SHA-256, which stands in its name, is checked each time.
    Raises Text2LiveError where they cannot be had.
    """
    name = Path(urlsplit(_URL).path).name
    ours = cache_folder() / "torchvision" / name
    for path in (Path(torch.hub.get_dir()) / "checkpoints" / name, ours):
        if path.is_file() and _is_published(path):
            return path
    try:
        if os.environ.get("HF_HUB_OFFLINE", "0").upper() in ("1", "TRUE", "YES", "ON"):
            raise OSError("HF_HUB_OFFLINE is set and no cache has it")
        progress.message(f"fetching {name} from {_URL}")
        ours.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(_URL, str(ours), _published_hash(name), progress=False)
    except (OSError, RuntimeError) as error:  # RuntimeError: of another hash
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise Text2LiveError(
            f"cannot fetch RAFT: {reason} ({_URL} into {ours.parent}); put the file there yourself,"
            " or use --flow dis, which needs none"
        ) from error
    return ours


def _published_hash(name: str) -> str:
    return name.rpartition("-")[2].partition(".")[0]


def _is_published(path: Path) -> bool:
    return sha256_of(path).startswith(_published_hash(path.name))


def load(
    weights: Path, device: torch.device
) -> Callable[[NDArray[np.uint8], NDArray[np.uint8]], tuple[FlowArray, FlowArray]]:
    """A function of two frames (h, w, 3) that gives the flow (h, w, 2) there and back, in pixels.

    `weights` are of raft_small where the file's name begins so, else of raft_large. Raises
    Text2LiveError where they are of neither.
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
