"""What can be asked of `apply`, once, as `options` says it of the other commands."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import Annotated, Any

from ..config import Help
from ..errors import UsageError
from ..progress import Progress
from .options import BOX, MASK, NOT, OVERWRITE, POINT, WEIGHTS


@dataclass(frozen=True)
class ApplyOptions:
    """Of `apply`. Raises UsageError, naming the option, for what cannot be asked for."""

    result: Annotated[Path | str, Help("The folder of a result of edit-image.")]
    pictures: Annotated[Sequence[Path | str], Help("Other pictures.", metavar="PICTURE...")]
    _: KW_ONLY
    output: Annotated[
        Path | str | None,
        Help("Folder of the result; of several pictures, of their results.", flag="-o/--output"),
    ] = None
    overwrite: Annotated[bool, OVERWRITE] = False
    region: Annotated[
        str | None, Help("auto or paper, as of edit-image. Default: as the result was made.")
    ] = None
    box: Annotated[str | None, BOX] = None
    points: Annotated[Sequence[str], POINT] = ()
    not_points: Annotated[Sequence[str], NOT] = ()
    mask: Annotated[Path | str | None, MASK] = None
    clip_weights: Annotated[Path | str | None, WEIGHTS] = None
    device: Annotated[str | None, Help("auto, cuda, mps or cpu.")] = None
    progress: Progress | None = None

    def __post_init__(self) -> None:
        """Raise UsageError where a place is given for several pictures."""
        object.__setattr__(self, "pictures", tuple(self.pictures))
        if len(self.pictures) > 1 and self.places:
            raise UsageError(
                "--box, --point, --not, --mask: are of one picture; apply to each alone"
            )

    @property
    def places(self) -> dict[str, Any]:
        """The options that say where the edit is, as far as they are given."""
        names = ("box", "points", "not_points", "mask")
        return {name: getattr(self, name) for name in names if getattr(self, name)}
