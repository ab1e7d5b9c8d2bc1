"""Is an edit of a clip steady, in its place, and like its text? Also the paper's baselines.

    python bench/video_quality.py [--atlas-dir DIR] [--steps 20] [--jobs 2] [--sheets FOLDER]

A painted clip, whose masks and true repaint are known, and car-turn, with its atlas's opacity for
masks, are edited by the method and by `--baseline atlas` and `--baseline frames`, with the embedded
encoder. All figures are of the frames before they are encoded:

- text: cosine with the prompt by the second encoder (`judge.safetensors`), which has never guided
  an edit, of the frame's middle square, and of the square around the object; means over frames.
- warp error: mean absolute difference, in 8-bit levels, of each frame and the next one brought back
  along the *source's* optical flow (DIS), where that can be trusted: on the object, and over the
  whole frame; then as multiples of what the source itself has.
- flicker: the same of the *change* (result − source), as a share of the mean change: 0 where what
  was added moves exactly with the flow, however strong or faint it is.
- outside: PSNR against the source farther than a few pixels from the object, dB (100: the same).
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from fit_atlas import CLIPS, MEDIA, fit
from guidance import SIZE, Edit, Judge
from numpy.typing import NDArray
from PIL import Image
from swatch_training.moving import paint_clip

from text2live_cli.atlas.fit.flow import Flow, dis_flow
from text2live_cli.atlas.fit.measure import psnr_of
from text2live_cli.atlas.layers import FOREGROUND
from text2live_cli.atlas.store import read_atlas
from text2live_cli.media.clips import open_clip
from text2live_cli.media.compositing import lay_over
from text2live_cli.media.picture_writing import write_picture
from text2live_cli.media.pictures import read_picture
from text2live_cli.pipelines.fit import fit_atlas
from text2live_cli.pipelines.video import edit_video
from text2live_cli.progress import Silent

PAINTED = Edit("car", "blue", "grass", "rusty", 11)
CAR_TURN_PROMPT = "rusty car"
METHODS = {"method": None, "baseline-atlas": "atlas", "baseline-frames": "frames"}
MARGIN = 4  # pixels around the object that are neither inside nor outside
JUDGED_EVERY = 4  # frames

Frames = NDArray[np.uint8]
Masks = NDArray[np.bool_]


class Case(NamedTuple):
    """A clip to edit, and what is known of it."""

    name: str
    path: Path
    atlas_dir: Path
    prompt: str
    frames: Frames
    masks: Masks
    """(T, h, w): the object."""
    truth: Frames | None
    """The clip, truly repainted."""


def paint_case(folder: Path, steps: int | None) -> Case:
    """The painted clip as a folder of frames, fitted with its masks."""
    scene = PAINTED
    frames, masks = paint_clip(scene.thing, scene.look, scene.place, scene.seed, size=SIZE)
    truth, _ = paint_clip(scene.thing, scene.wanted, scene.place, scene.seed, size=SIZE)
    path, mask_folder, atlas_dir = (folder / name for name in ("painted", "masks", "painted.atlas"))
    for into, pictures in ((path, frames), (mask_folder, _grey(masks))):
        into.mkdir()
        for number, picture in enumerate(pictures):
            write_picture(into / f"{number:05d}.png", picture)
    fit_atlas(path, output=atlas_dir, masks=mask_folder, steps=steps)
    return Case("painted", path, atlas_dir, scene.prompt, frames, masks, truth)


def _grey(masks: Masks) -> Frames:
    return np.repeat(masks[..., None], 3, axis=3).astype(np.uint8) * 255


def car_case(folder: Path, media: Path, atlas_dir: Path | None, steps: int | None) -> Case:
    """car-turn, and the foreground of its atlas; fitted where no atlas is given."""
    if atlas_dir is None:
        atlas_dir = folder / "car-turn.atlas"
        fit(CLIPS["car-turn"], media, atlas_dir, "auto", steps)
    clip = open_clip(media / CLIPS["car-turn"].clip)
    atlas, size = read_atlas(atlas_dir), (clip.height, clip.width)
    masks = np.stack(
        [atlas.locate(t, size).share[FOREGROUND].numpy() > 0.5 for t in range(clip.count)]
    )
    frames = np.stack(list(clip.frames()))
    return Case("car-turn", clip.path, atlas_dir, CAR_TURN_PROMPT, frames, masks, None)


def edit(case: Case, method: str, folder: Path, options: dict[str, Any]) -> Frames:
    """Run the edit by one of `METHODS`; the composited frames, before encoding."""
    result = edit_video(
        case.path,
        case.prompt,
        atlas_dir=case.atlas_dir,
        baseline=METHODS[method],
        layer_formats=("png",),
        clip="swatch",
        output=folder / f"{case.name}-{method}",
        **options,
    )
    made = np.empty_like(case.frames)
    for number, frame in enumerate(case.frames):
        layer = read_picture(result.folder / "layer" / f"{number:05d}.png")
        assert layer.alpha is not None
        made[number] = lay_over(frame, np.dstack([layer.color, layer.alpha]))
    return made


# Figures


def warp_errors(values: NDArray[np.float32], flow: Flow) -> NDArray[np.float32]:
    """(T − 1, h, w): how far each pixel of (T, h, w, 3) is from what the flow leads to.

    NaN where the flow is not trusted.
    """
    y, x = np.mgrid[: values.shape[1], : values.shape[2]].astype(np.float32)
    errors = np.empty(flow.forward_ok.shape, np.float32)
    for t, there in enumerate(flow.forward):
        carried = cv2.remap(values[t + 1], x + there[..., 0], y + there[..., 1], cv2.INTER_LINEAR)
        errors[t] = np.abs(values[t] - carried).mean(-1)
    errors[~flow.forward_ok] = np.nan
    return errors


def flicker(change: NDArray[np.float32], flow: Flow) -> str:
    """Warp error of the change (T, h, w, 3), as a share of the mean change."""
    changed = np.abs(change[:-1]).mean(-1)[flow.forward_ok].mean()
    return f"{np.nanmean(warp_errors(change, flow)) / changed:.3f}" if changed else "–"


def around(mask: NDArray[np.bool_]) -> tuple[slice, slice] | None:
    """Rows and columns of the smallest square around a mask (h, w), as far as the frame goes."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(rows):
        return None
    side = max(np.ptp(rows), np.ptp(columns)) + 1 + 2 * MARGIN
    spans = []
    for found, limit in ((rows, mask.shape[0]), (columns, mask.shape[1])):
        start = int(found[0] + found[-1] + 1 - side) // 2
        start = min(max(start, 0), max(limit - side, 0))
        spans.append(slice(start, start + side))
    return spans[0], spans[1]


def outside_of(masks: Masks) -> Masks:
    """Where nothing of the object is, nor its edge."""
    kernel = np.ones((2 * MARGIN + 1,) * 2, np.uint8)
    return np.stack([cv2.dilate(mask.astype(np.uint8), kernel) == 0 for mask in masks])


def judge_text(frames: Frames, masks: Masks, prompt: str, judge: Judge) -> tuple[float, float]:
    """Mean cosine with the prompt of the frames, and of what is around the object."""
    whole, near = [], []
    for frame, mask in zip(frames[::JUDGED_EVERY], masks[::JUDGED_EVERY], strict=True):
        whole.append(judge.score(frame, prompt))
        box = around(mask)
        if box:
            near.append(judge.score(np.ascontiguousarray(frame[box]), prompt))
    return float(np.mean(whole)), float(np.mean(near))


def table(case: Case, made: dict[str, Frames]) -> Iterator[list[str]]:
    """The rows of a clip: source, truth where there is one, and each method."""
    judge, flow = Judge(), dis_flow(case.frames, Silent())
    outside, inside = outside_of(case.masks), case.masks[:-1]
    rows = {"source": case.frames, **({} if case.truth is None else {"true repaint": case.truth})}
    usual: tuple[float, float] | None = None
    for name, frames in {**rows, **made}.items():
        shown = frames.astype(np.float32)
        errors = warp_errors(shown, flow)
        on_object, over_all = float(np.nanmean(errors[inside])), float(np.nanmean(errors))
        usual = usual or (on_object, over_all)  # the source comes first
        whole, near = judge_text(frames, case.masks, case.prompt, judge)
        yield [
            f"{case.name}, {name}",
            f"{whole:.3f}",
            f"{near:.3f}",
            f"{on_object:.2f}",
            f"{on_object / usual[0]:.2f}",
            f"{over_all:.2f}",
            f"{over_all / usual[1]:.2f}",
            flicker(shown - case.frames, flow),
            f"{psnr_of(frames[outside], case.frames[outside]):.1f}",
        ]


COLUMNS = (
    "text, frame",
    "text, object",
    "warp error, object",
    "÷ source's",
    "warp error, frame",
    "÷ source's",
    "flicker",
    "outside, dB",
)


def save_sheet(case: Case, made: dict[str, Frames], path: Path) -> None:
    """Start, middle and end of the source and of each method, one row each, one below the other."""
    last = len(case.frames) - 1
    shown = [round(share * last) for share in (0.02, 0.5, 0.98)]
    rows = [np.concatenate(frames[shown], axis=1) for frames in (case.frames, *made.values())]
    Image.fromarray(np.concatenate(rows)).save(path, quality=88)


@contextmanager
def _workplace(kept: Path | None) -> Iterator[Path]:
    if kept is None:
        with tempfile.TemporaryDirectory() as folder:
            yield Path(folder)
    else:
        kept.mkdir(parents=True)
        yield kept


def main() -> None:
    """Edit what was asked for and print one table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("--media", type=Path, default=MEDIA, help="folder with car-turn.mp4")
    parser.add_argument("--atlas-dir", type=Path, help="of car-turn; default: it is fitted first")
    parser.add_argument("--clips", nargs="+", choices=("painted", "car-turn"), default=None)
    parser.add_argument("--preset", default="draft")
    parser.add_argument("--steps", type=int, help="of each edit; default: the preset's")
    parser.add_argument("--fit-steps", type=int, help="of each fit; default: the model's")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--jobs", type=int, default=1, help="edits at once, on one core each")
    parser.add_argument("--keep", type=Path, help="a new folder to keep the results in")
    parser.add_argument("--sheets", type=Path, help="folder for a contact sheet of each clip")
    asked = parser.parse_args()
    options = {name: getattr(asked, name) for name in ("preset", "steps", "seed", "device")}
    if asked.jobs > 1:
        os.environ["OMP_NUM_THREADS"] = "1"
    wanted = asked.clips or ("painted", "car-turn")
    print("| | " + " | ".join(COLUMNS) + " |")
    print("| --- |" + " ---: |" * len(COLUMNS), flush=True)
    with (
        _workplace(asked.keep) as folder,
        ProcessPoolExecutor(asked.jobs, get_context("spawn")) as pool,
    ):
        for name in wanted:
            if name == "painted":
                case = paint_case(folder, asked.fit_steps)
            else:
                case = car_case(folder, asked.media, asked.atlas_dir, asked.fit_steps)
            jobs = {method: pool.submit(edit, case, method, folder, options) for method in METHODS}
            made = {method: job.result() for method, job in jobs.items()}
            for row in table(case, made):
                print("| " + " | ".join(row) + " |", flush=True)
            if asked.sheets:
                asked.sheets.mkdir(parents=True, exist_ok=True)
                save_sheet(case, made, asked.sheets / f"{case.name}.jpg")


if __name__ == "__main__":
    main()
