"""Write docs/cli.md, the page of all commands and options, from the code itself.

    python bench/cli_page.py [--check]

`--check` writes nothing and fails where the page is not what the code says.
"""

from __future__ import annotations

import argparse
import inspect
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from typer.main import get_command

from text2live_cli.cli.commands import app

PAGE = Path(__file__).parents[1] / "docs" / "cli.md"
HEAD = """\
# All commands

Written by `python bench/cli_page.py`; a test holds it. `text2live COMMAND --help` says the same.

Exit codes: 0 done; 1 something outside went wrong (a file, a download, memory, the disk); 2 what
cannot be done was asked for; 70 a fault of text2live; 128 + n ended by signal n (130 after Ctrl-C).
With `--json` the result is the only text on stdout, an error too: `{"error": …, "kind": …}`. More:
[reliability.md](reliability.md).
"""
FILES = {
    "composite.png": "the edited picture, at the size, depth and colour profile of the source",
    "composite.mp4": "the edited clip: size, frame rate, timing and sound of the source",
    "composite.gif, composite.webp, composite.apng": "the same, where the source was one",
    "composite/": "the same as frames, where the source was a folder of frames",
    "layer.png": "the edit by itself: RGBA, straight alpha, for any editor",
    "layer.psd, layer.ora, layer.exr": "source and layer in one file (`--layer-format`)",
    "layer.mov, layer.webm, layer/, matte.mp4": "of a clip: ProRes 4444, VP9, PNGs, its alpha alone"
    " (`--layer-format`)",
    "alpha.png": "its opacity",
    "screen.png, screen.mp4": "the layer over green",
    "atlas-layer.png": "the edit on the unwrapped picture of a clip",
    "region.png, mask.png": "where the edit is drawn to; to be painted over, for `--mask`",
    "relevancy.png": "where the encoder saw what is edited",
    "report.html": "to look at: before and after, the layer, curves, settings, the command again",
    "previews/": "the edit while it is trained: latest.png, and with `--save-every` by step",
    "loss.png, history.csv": "the curves, and every step's terms",
    "run.json": "all settings, versions, hashes, seconds and figures; `--config` repeats it",
    "checkpoint.safetensors": "to go on with `--resume`",
    "atlas.safetensors, flow.safetensors": "of a fit: where each pixel of each frame lies",
    "foreground.png, background.png": "of a fit: the clip unwrapped; paint on these",
    "opacity.mp4, reconstruction.mp4": "of a fit: what is foreground, and the clip made again",
}
"""Of results, with what they are for."""
_EVERYWHERE = ("--help",)


def page() -> str:
    """The whole page."""
    commands = dict(_commands("text2live", get_command(app)))
    contents = [f"- [`{name}`](#{name.replace(' ', '-')})" for name in commands]
    contents.append("- [files of a result](#files-of-a-result)")
    parts = [HEAD, "\n".join(contents) + "\n"]
    parts += [_section(name, command) for name, command in commands.items()]
    rows = [f"| {', '.join(f'`{n}`' for n in k.split(', '))} | {v} |" for k, v in FILES.items()]
    parts.append(
        "\n".join(["## Files of a result\n", "| file | what |", "| --- | --- |", *rows, ""])
    )
    return "\n".join(parts)


def _commands(name: str, command: Any) -> Iterator[tuple[str, Any]]:
    """Every command that does something, by its name."""
    inner = getattr(command, "commands", None)
    if not inner:
        yield name, command
        return
    for sub, one in inner.items():
        if not one.hidden:
            yield from _commands(f"{name} {sub}", one)


def _section(name: str, command: Any) -> str:
    """A command with its arguments and options, by their headings."""
    text = inspect.cleandoc(command.help or "")
    text, _, example = text.partition("Example: ")
    lines = [f"## {name}\n", text.strip() + "\n"]
    if example:
        lines.append(f"```sh\n{example.strip()}\n```\n")
    panels: dict[str, list[str]] = {}
    for one in command.params:
        if getattr(one, "hidden", False) or set(one.opts) & set(_EVERYWHERE):
            continue
        panel = getattr(one, "rich_help_panel", None) or ""
        panels.setdefault(panel, []).append(_row(one))
    for panel, rows in panels.items():
        title = panel or "argument or option"
        lines += [f"| {title} | |", "| --- | --- |", *rows, ""]
    return "\n".join(lines)


def _row(one: Any) -> str:
    if one.param_type_name == "argument":
        names = f"`{one.metavar or one.name.upper()}`"
    else:
        value = f" {one.metavar}" if one.metavar else ""
        names = ", ".join(f"`{name}{value}`" for name in sorted(one.opts, key=len))
    text = " ".join((getattr(one, "help", None) or "").split())
    return f"| {names.replace('|', chr(92) + '|')} | {text.replace('|', chr(92) + '|')} |"


def main() -> None:
    """Write the page, or compare."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args().check
    if not check:
        PAGE.write_text(page(), "utf-8")
    elif PAGE.read_text("utf-8") != page():
        sys.exit(f"{PAGE.name} is not what the code says: run python bench/cli_page.py")


if __name__ == "__main__":
    main()
