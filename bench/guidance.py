"""Does a draft edit do the right thing in the right place? Painted scenes, whose truth is known.

    python bench/guidance.py [--precision bf16] [--sheet FILE.jpg]

Every scene is painted, edited by `edit_image` with the embedded encoder, and compared with the same
scene truly repainted in the look that was asked for. Prints one Markdown table: IoU of the alpha
with the object, distance of the object's mean colour to the truth before and after (CIE Lab),
mean change outside the object (ΔE), share of the pixels outside that are bit-identical, seconds.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image, ImageCms

from text2live_cli import edit_image
from text2live_cli.media import read_picture, write_picture
from text2live_cli.swatch.painter import paint_scene

SIZE = (240, 320)
# Object, its look, its place, the look asked for, seed.
SCENES = (
    ("cup", "red", "wooden table", "golden", 3),
    ("car", "blue", "grass", "rusty", 11),
    ("house", "white", "grass", "brick", 5),
    ("apple", "green", "wooden table", "chocolate", 8),
    ("ball", "purple", "sandy beach", "checkered", 21),
    ("fish", "orange", "sea", "zebra", 14),
    ("vase", "blue", "brick wall", "marble", 31),
    ("tree", "green", "sky", "snowy", 9),
)
COLUMNS = ("alpha IoU", "before", "after", "outside ΔE", "untouched", "seconds")


def run(scene: tuple[str, str, str, str, int], precision: str) -> tuple[list[float], np.ndarray]:
    """The figures of one scene, and source, alpha, result and truth one below the other."""
    thing, look, place, wanted, seed = scene
    source, masks = paint_scene([(thing, look)], place, seed, SIZE)
    truth, _ = paint_scene([(thing, wanted)], place, seed, SIZE)
    inside = masks[0]
    with tempfile.TemporaryDirectory() as folder:
        write_picture(Path(folder, "source.png"), source)
        begin = time.perf_counter()
        result = edit_image(
            Path(folder, "source.png"),
            f"{wanted} {thing}",
            clip="swatch",
            preset="draft",
            precision=precision,
            output=Path(folder, "out"),
        )
        seconds = time.perf_counter() - begin
        made = read_picture(result.composite).color
        alpha = read_picture(result.layer).alpha
    assert alpha is not None
    edited = alpha > 127
    source_lab, made_lab, truth_lab = (to_lab(rgb) for rgb in (source, made, truth))
    figures = [
        float((edited & inside).sum() / (edited | inside).sum()),
        float(np.linalg.norm((source_lab - truth_lab)[inside].mean(0))),
        float(np.linalg.norm((made_lab - truth_lab)[inside].mean(0))),
        float(np.linalg.norm(made_lab - source_lab, axis=-1)[~inside].mean()),
        float((made == source).all(-1)[~inside].mean()),
        seconds,
    ]
    shown = np.repeat(alpha[..., None], 3, axis=2)
    return figures, np.concatenate([source, shown, made, truth])


def to_lab(rgb: np.ndarray) -> np.ndarray:
    """(H, W, 3) uint8 sRGB → CIE Lab, in 8-bit steps of L and whole a and b."""
    transform = ImageCms.buildTransform(
        ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), "RGB", "LAB"
    )
    lab = ImageCms.applyTransform(Image.fromarray(rgb), transform)
    assert lab is not None
    light, a, b = (np.asarray(band) for band in lab.split())
    return np.dstack([light * (100 / 255), a - 128.0, b - 128.0])


def main() -> None:
    """Edit every scene and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--precision", default="fp32")
    parser.add_argument("--sheet", type=Path)
    arguments = parser.parse_args()
    print("| scene | prompt | " + " | ".join(COLUMNS) + " |")
    print("| --- | --- |" + " ---: |" * len(COLUMNS), flush=True)
    rows, tiles = [], []
    for scene in SCENES:
        figures, tile = run(scene, arguments.precision)
        rows.append(figures)
        tiles.append(tile)
        thing, look, place, wanted, _ = scene
        show(f"{look} {thing}, {place}", f"{wanted} {thing}", figures)
    show("**median**", "", np.median(rows, axis=0).tolist())
    if arguments.sheet:
        sheet = Image.fromarray(np.concatenate(tiles, axis=1))
        sheet.resize((sheet.width // 2, sheet.height // 2)).save(arguments.sheet, quality=85)


def show(scene: str, prompt: str, figures: list[float]) -> None:
    """Print one row."""
    iou, before, after, outside, untouched, seconds = figures
    cells = f"{iou:.2f} | {before:.1f} | {after:.1f} | {outside:.1f} | {untouched:.0%}"
    print(f"| {scene} | {prompt} | {cells} | {seconds:.0f} |", flush=True)


if __name__ == "__main__":
    main()
