"""Seconds that the three films of an edited clip take: composite, layer over green, layer.

    python bench/films.py CLIP ATLAS RESULT [--runs 3] [--threads 2]

RESULT is one of `edit-video` that lies on no other. Beside an older version, in turn: the same with
PYTHONPATH at its sources.
"""

from __future__ import annotations

import text2live_cli  # isort: skip  # noqa: F401  # before torch: it tells OpenMP how to wait

import argparse
import json
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from text2live_cli.atlas.discretise import AtlasPicture
from text2live_cli.atlas.layers import LAYERS
from text2live_cli.atlas.store import Atlas, read_atlas
from text2live_cli.media.clips import Clip, open_clip
from text2live_cli.media.pictures import read_picture
from text2live_cli.progress import Silent
from text2live_cli.video.result import ATLAS_LAYER, AtlasEdit, write_videos


def read_edit(result: Path, clip: Clip, atlas: Atlas) -> AtlasEdit:
    """The edit of a result's folder, from run.json and atlas-layer.png."""
    record = json.loads((result / "run.json").read_text())
    assert record["onto"] is None and record["input"]["sha256"] == clip.sha256
    place = record["layer"]
    picture = read_picture(result / ATLAS_LAYER)
    assert picture.alpha is not None
    rgba = np.dstack([picture.color, picture.alpha])
    layer = AtlasPicture(rgba, place["left"], place["top"])
    side = LAYERS.index(place["side"])
    return AtlasEdit(clip, atlas, side, layer, place["scale"], np.zeros_like(rgba), ())


def main() -> None:
    """Print the seconds of each run, of the clock and of the processor."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("clip", type=Path)
    parser.add_argument("atlas", type=Path)
    parser.add_argument("result", type=Path)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    clip, atlas = open_clip(given.clip), read_atlas(given.atlas)
    edit = read_edit(given.result, clip, atlas)
    for _ in range(given.runs):
        begin, begin_cpu = time.monotonic(), time.process_time()
        with tempfile.TemporaryDirectory() as folder:
            write_videos(Path(folder), clip, edit, ["mov"], Silent())
        spent, cpu = time.monotonic() - begin, time.process_time() - begin_cpu
        print(f"{clip.count} frames: {spent:.2f} s, of the processor {cpu:.2f} s")


if __name__ == "__main__":
    main()
