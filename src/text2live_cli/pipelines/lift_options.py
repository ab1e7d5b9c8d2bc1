"""What can be asked of `lift`, once, as `options` says it of the other commands."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import Annotated

from ..config import Help
from ..errors import UsageError
from ..progress import Progress


@dataclass(frozen=True)
class LiftOptions:
    """Of `lift`. Raises UsageError, naming the option, where a value cannot work."""

    source: Annotated[Path | str, Help("The picture as it was.", metavar="BEFORE")]
    edited: Annotated[
        Path | str,
        Help("Anybody's edited version of it, of any size and compression.", metavar="AFTER"),
    ]
    _: KW_ONLY
    output: Annotated[Path | str | None, Help("Folder of the result.", flag="-o/--output")] = None
    box: Annotated[
        str | None, Help("Take the edit only within it, pixels or %.", metavar="X,Y,W,H")
    ] = None
    points: Annotated[
        Sequence[str],
        Help("Take only the changes at it, pixels or %; repeatable.", "--point", "X,Y"),
    ] = ()
    not_points: Annotated[
        Sequence[str], Help("Leave out the change at it; repeatable.", "--not", "X,Y")
    ] = ()
    mask: Annotated[
        Path | str | None, Help("A picture of the same shape: the edit is taken where it is white.")
    ] = None
    strength: Annotated[float, Help("Of the layer, from 0 to 1.")] = 1.0
    feather: Annotated[float, Help("How far outside the change its rim may reach, pixels.")] = 1.0
    min_area: Annotated[
        float, Help("The smallest change that counts, per cent of the picture.", metavar="%")
    ] = 0.02
    keep_colour: Annotated[
        bool, Help("Inside the layer, do not undo what changed all colours alike.")
    ] = False
    layer_formats: Annotated[
        Sequence[str],
        Help("Both in one file as well: psd, ora or exr; repeatable.", "--layer-format"),
    ] = ()
    overwrite: Annotated[bool, Help("Replace an existing result.")] = False
    progress: Progress | None = None

    def __post_init__(self) -> None:
        """Raise UsageError where a number is out of its range."""
        for flag, value, low, high in (
            ("--strength", self.strength, 0, 1),
            ("--feather", self.feather, 0, 50),
            ("--min-area", self.min_area, 0, 50),
        ):
            if not low <= value <= high:
                raise UsageError(f"{flag} {value}: must be from {low} to {high}")
