"""What an edit leaves behind, for Python."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from PIL.Image import Image


class PictureResult:
    """What every result of a picture has."""

    folder: Path

    @property
    def composite(self) -> Path:
        """The edited picture."""
        return self.folder / "composite.png"

    @property
    def layer(self) -> Path:
        """The RGBA edit layer, straight alpha."""
        return self.folder / "layer.png"

    def picture(self) -> Image:
        """The edited picture, for PIL."""
        return _opened(self.composite)

    def layer_picture(self) -> Image:
        """The edit layer, for PIL, in RGBA."""
        return _opened(self.layer)


@dataclass(frozen=True)
class EditResult(PictureResult):
    """What an edit left behind; `record` is what stands in run.json."""

    folder: Path
    interrupted: bool
    record: dict[str, Any]
    source: Path | None = None
    """The picture that was edited."""
    copy: Path | None = None
    """What -o named beside the folder: the composite, or source and layer in one file."""

    def _repr_html_(self) -> str:
        """For notebooks: source, composite and layer, small, and how good it is."""
        from ..report.notebook import pictures_html

        shown = [("edited", self.picture()), ("edit layer", self.layer_picture())]
        if self.source is not None and self.source.exists():
            shown.insert(0, ("source", _opened(self.source)))
        figures = self.record.get("figures")
        told = [] if figures is None else [f"{figures['verdict']}; {' '.join(figures['advice'])}"]
        return pictures_html(shown, [f"{self.record['prompts']['target']} · {self.folder}", *told])


@dataclass(frozen=True)
class VideoResult:
    """What an edit left behind; `record` is what stands in run.json."""

    folder: Path
    interrupted: bool
    record: dict[str, Any]
    copy: Path | None = None
    """The film or animation that -o named beside the folder: the composite."""

    @property
    def composite(self) -> Path:
        """The edited clip."""
        return self.folder / "composite.mp4"


def _opened(path: Path) -> Image:
    from PIL import ImageOps

    from ..media.pictures import opened

    with opened(path) as image:
        upright = ImageOps.exif_transpose(image)
        return upright if upright.mode == "RGBA" else upright.convert("RGB")
