"""What can be asked of `region`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import Annotated

from ..config import Help
from ..guide.weights import DEFAULT_CLIP
from ..progress import Progress
from ..texts import require_text
from .options import BOX, ENCODER, MASK, NOT, POINT, WEIGHTS


@dataclass(frozen=True)
class RegionOptions:
    """Of `region`, but for where its pictures go."""

    source: Annotated[Path | str, Help("The picture.")]
    text: Annotated[str | None, Help('What is looked for: "cake". Not needed with --box.')] = None
    _: KW_ONLY
    box: Annotated[str | None, BOX] = None
    points: Annotated[Sequence[str], POINT] = ()
    not_points: Annotated[Sequence[str], NOT] = ()
    mask: Annotated[Path | str | None, MASK] = None
    clip: Annotated[str, Help(ENCODER)] = DEFAULT_CLIP
    clip_weights: Annotated[Path | str | None, WEIGHTS] = None
    device: Annotated[str, Help("auto, cuda, mps or cpu.")] = "auto"
    progress: Progress | None = None

    def __post_init__(self) -> None:
        """Raise UsageError where the text cannot be used."""
        require_text("TEXT", self.text)
