"""Paint the example pictures, the project's own, again: `python examples/paint.py`."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from text2live_cli.swatch.painter import paint_scene

SCENES: dict[str, tuple[str, str, str, int]] = {
    "cup": ("cup", "red", "wooden table", 3),
    "house": ("house", "white", "grass", 3),
    "car": ("car", "blue", "stone wall", 3),
}
"""File name: object, its look, where it is, seed."""


def main() -> None:
    """Write each scene beside this script as a PNG of 480×360."""
    for name, (thing, look, place, seed) in SCENES.items():
        rgb, _ = paint_scene([(thing, look)], place, seed)
        Image.fromarray(rgb).save(Path(__file__).with_name(f"{name}.png"), optimize=True)


if __name__ == "__main__":
    main()
