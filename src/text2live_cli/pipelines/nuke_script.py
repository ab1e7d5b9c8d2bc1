"""A script for Nuke that lays the atlas pictures, edited there, over the clip again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

_HERE = r"\[file dirname \[value root.name]]"  # Nuke's own words for the script's folder


@dataclass(frozen=True)
class NukeScene:
    """What the script is of; sizes are (width, height)."""

    clip: str
    """Its path from the script's folder; "" where it is not known."""
    size: tuple[int, int]
    first: int
    last: int
    rate: float
    layers: dict[str, tuple[int, int]]
    """The layers, back to front, with the sizes of their pictures."""


def nuke_script(scene: NukeScene) -> str:
    """The text of a .nk file.

    out = Σ_l s_l·(α_l·C_l) + (1 − Σ_l s_l·α_l)·clip over the layers l and their shares s_l, as
    `render.lay_over_frame` has it: the layers, looked up by their maps and held by their shares,
    are added, and lie over the clip. All is read raw, since our composites mix coded values.
    Nodes take their inputs from the stack on which Nuke puts them; its top is the first input.
    """
    width, height = scene.size
    root = _node(
        "Root",
        inputs=0,
        first_frame=scene.first,
        last_frame=scene.last,
        fps=f"{scene.rate:g}",
        format=f'"{width} {height} 0 0 {width} {height} 1 clip"',
        proxy_type="scale",
    )
    lines = ["version 12.0", root, _read("clip", scene.clip, scene, scene.size), "set C [stack 0]"]
    for name, size in scene.layers.items():
        lines += _layer(name, size, scene)
    names = list(scene.layers)
    lines.append(f"push $L_{names[0]}")
    for name in names[1:]:
        lines += [
            f"push $L_{name}",
            _node("Merge2", inputs=2, operation="plus", name=f"add_{name}"),
        ]
    lines += ["push $C", _node("Merge2", inputs=2, operation="over", name="over_clip")]
    file = f'"{_HERE}/composite.%05d.png"'
    lines.append(_node("Write", file=file, file_type="png", raw="true", name="out"))
    return "\n".join(lines) + "\n"


def _layer(name: str, size: tuple[int, int], scene: NukeScene) -> Iterator[str]:
    """A layer in every frame: its picture looked up by the map, held by the map's alpha."""
    yield _read(f"{name}_map", f"{name}-map/%05d.exr", scene, scene.size)
    yield f"set M_{name} [stack 0]"
    yield _read(f"{name}_picture", f"{name}.png", scene, size, is_still=True)
    yield _node("Premult", name=f"{name}_premultiplied")
    yield _node("STMap", inputs=2, channels="rgba", uv="rgb", name=f"{name}_seen")
    yield f"push $M_{name}"
    yield _node("Merge2", inputs=2, operation="in", name=f"{name}_held")
    yield f"set L_{name} [stack 0]"


def _read(
    name: str, path: str, scene: NukeScene, size: tuple[int, int], is_still: bool = False
) -> str:
    width, height = size
    span = {} if is_still else {"first": scene.first, "last": scene.last}
    file = f'"{_HERE}/{path}"' if path else '""'
    form = f'"{width} {height} 0 0 {width} {height} 1 "'
    return _node("Read", inputs=0, file=file, format=form, **span, raw="true", name=name)


def _node(kind: str, **knobs: object) -> str:
    return "\n".join([f"{kind} {{", *(f" {name} {value}" for name, value in knobs.items()), "}"])
