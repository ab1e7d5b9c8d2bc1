"""examples/boat.mp4, the README's first clip, against what its painter knows."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

import numpy as np
import pytest
from swatch_training.moving import paint_clip

from tests.commands import passed, run
from tests.moving_truth import overlap, paint_closed, transfer_errors
from text2live_cli.atlas.fit.flow import dis_flow
from text2live_cli.atlas.fit.foreground import masks_from_motion
from text2live_cli.atlas.layers import BACKGROUND, FOREGROUND
from text2live_cli.atlas.store import read_atlas
from text2live_cli.media.clips import open_clip
from text2live_cli.progress import Silent

EXAMPLES = Path(__file__).parents[1] / "examples"
BOAT = EXAMPLES / "boat.mp4"
PAINTED = runpy.run_path(str(EXAMPLES / "paint.py"))["CLIP"]
"""What `paint_clip` made it from."""


def test_the_whole_boat_is_found() -> None:
    """Its hull, of one colour, uncovers the sea behind its middle in no frame near by."""
    _, true = paint_clip(*PAINTED)
    frames = np.stack(list(open_clip(BOAT).frames()))
    found = masks_from_motion(frames, dis_flow(frames, Silent()), Silent()).masks > 0.5
    for mask, boat in zip(found, true, strict=True):
        assert (mask & boat).sum() > 0.95 * boat.sum()
        assert (mask & boat).sum() > 0.84 * (mask | boat).sum()


@pytest.mark.slow
def test_the_boat_is_fitted_well(tmp_path: Path) -> None:
    passed(run("fit-atlas", BOAT, "-o", tmp_path / "out", "--steps", 150))
    atlas = read_atlas(tmp_path / "out")
    _, masks = paint_closed(*PAINTED)  # as edits see them
    size = masks.shape[1:]
    pairs = [(s, t) for s in range(0, 24, 3) for t in (s - 4, s + 4) if 0 <= t < 24]
    assert overlap(lambda t: atlas.locate(t, size), masks) >= 0.85
    for side, mean in ((FOREGROUND, 2.0), (BACKGROUND, 1.0)):
        errors = transfer_errors(lambda t: atlas.locate(t, size), masks, side, pairs)
        assert np.median(errors) <= 1
        assert errors.mean() <= mean
    quality = json.loads((tmp_path / "out" / "run.json").read_text("utf-8"))["quality"]
    assert quality["drift"]["foreground"] <= 1
    assert quality["drift"]["background"] <= 1
    assert quality["psnr_mean"] >= 36
