"""Edit photos and clips from a sentence: the Python API, with the same power as the commands.

Nothing heavy is imported before it is needed.
"""

from __future__ import annotations

import os
from importlib import import_module, metadata
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .errors import Text2LiveError, UsageError
    from .guide.region import Region
    from .pipelines.apply import ApplyResult, apply_edit
    from .pipelines.composite import composite, composite_clip
    from .pipelines.export_maps import MapsResult, export_maps
    from .pipelines.fit import AtlasResult, fit_atlas
    from .pipelines.gallery import gallery
    from .pipelines.image import EditResult, edit_image
    from .pipelines.lift import LiftResult, lift
    from .pipelines.preview import PreviewResult, preview
    from .pipelines.region import find_region
    from .pipelines.video import VideoResult, edit_video
    from .progress import Progress, Silent

# Before torch loads OpenMP: threads that spin for long while they wait make a run ten times slower
# when other programs want the same cores, and gain nothing when they do not.
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", "3000")

__version__ = metadata.version("text2live")
__all__ = [
    "ApplyResult",
    "AtlasResult",
    "EditResult",
    "LiftResult",
    "MapsResult",
    "PreviewResult",
    "Progress",
    "Region",
    "Silent",
    "Text2LiveError",
    "UsageError",
    "VideoResult",
    "apply_edit",
    "composite",
    "composite_clip",
    "edit_image",
    "edit_video",
    "export_maps",
    "find_region",
    "fit_atlas",
    "gallery",
    "lift",
    "preview",
]

_HOMES = {
    "ApplyResult": "pipelines.apply",
    "AtlasResult": "pipelines.fit",
    "EditResult": "pipelines.image",
    "LiftResult": "pipelines.lift",
    "MapsResult": "pipelines.export_maps",
    "PreviewResult": "pipelines.preview",
    "Progress": "progress",
    "Region": "guide.region",
    "Silent": "progress",
    "Text2LiveError": "errors",
    "UsageError": "errors",
    "VideoResult": "pipelines.video",
    "apply_edit": "pipelines.apply",
    "composite": "pipelines.composite",
    "composite_clip": "pipelines.composite",
    "edit_image": "pipelines.image",
    "edit_video": "pipelines.video",
    "export_maps": "pipelines.export_maps",
    "find_region": "pipelines.region",
    "fit_atlas": "pipelines.fit",
    "gallery": "pipelines.gallery",
    "lift": "pipelines.lift",
    "preview": "pipelines.preview",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOMES[name]}", __name__), name)
