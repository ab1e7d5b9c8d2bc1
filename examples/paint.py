"""Paint the example pictures and clip, the project's own, again: `python examples/paint.py`."""

from __future__ import annotations

import sys
from pathlib import Path

import imageio.v2 as imageio
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[1] / "bench"))
from swatch_training.moving import paint_clip
from swatch_training.painter import paint_scene

SCENES: dict[str, tuple[str, str, str, int]] = {
    "cup": ("cup", "red", "wooden table", 3),
    "house": ("house", "white", "grass", 3),
    "car": ("car", "blue", "stone wall", 3),
}
"""File name: object, its look, where it is, seed."""
CLIP = ("boat", "red", "sea", 12)
FPS = 12


def main() -> None:
    """Write each scene as a PNG (480×360) and the clip as an MP4 (320×180) beside this script."""
    folder = Path(__file__).parent
    for name, (thing, look, place, seed) in SCENES.items():
        rgb, _ = paint_scene([(thing, look)], place, seed)
        Image.fromarray(rgb).save(folder / f"{name}.png", optimize=True)
    frames, _ = paint_clip(*CLIP)
    imageio.mimwrite(folder / "boat.mp4", list(frames), fps=FPS, quality=6, macro_block_size=4)


if __name__ == "__main__":
    main()
