"""`composite`: saved layers over a picture again, or painted ones over a clip through its atlas."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..atlas.footage import Stack, composited, stacked, tell_uncovered
from ..atlas.layers import BACKGROUND, FOREGROUND
from ..atlas.painting import painted_layer, read_frame_edit
from ..atlas.store import read_atlas
from ..errors import Text2LiveError, UsageError
from ..media.animation_writing import ANIMATION_ENDINGS, write_animation
from ..media.clip_frames import transparency_note
from ..media.clip_reading import rate_of
from ..media.clip_writing import keeps_alpha, require_writable, write_layer_frames, write_video
from ..media.clips import Clip, open_clip
from ..media.compositing import lay_over
from ..media.picture_writing import writable_kind, write_picture
from ..media.pictures import Picture, read_picture
from ..progress import Progress, Silent
from ..runs.atlas_folder import find_atlas
from ..runs.folder import check_output
from ..runs.preflight import require_file_place
from ..video.result import ATLAS_LAYER, result_layers
from .options import CompositeOptions
from .overlays import is_for_a_clip, overlaid, read_overlay

_ASPECT_TOLERANCE = 0.01


def run_composite(options: CompositeOptions) -> Path:
    """`composite`, or `composite_clip` where a layer of a clip or its atlas is named."""
    if options.output is None:
        raise UsageError("-o OUT: name the file to write")
    common: dict[str, Any] = {"opacity": options.opacity, "overwrite": options.overwrite}
    film = {name: getattr(options, name) for name in ("fps", "codec", "crf")}
    layers = [Path(layer) for layer in options.layers]
    for path in layers:
        if not path.exists():
            raise UsageError(f"{path}: no such file or folder")
    edits = [path for path in layers if (path / ATLAS_LAYER).exists()]
    by_hand = options.fg_layer or options.bg_layer or options.frame_edits
    if not edits and not by_hand and not options.atlas_dir:
        if layers and is_for_a_clip(Path(options.source), Path(options.output)):
            return overlay_clip(
                options.source, layers, options.output, **common, **film, progress=options.progress
            )
        return composite(
            options.source, layers, options.output, **common, progress=options.progress
        )
    strange = next((path for path in layers if path not in edits), None)
    if strange is not None:
        raise UsageError(f"{strange}: no result of edit-video, as a clip takes")
    return composite_clip(
        options.source,
        options.output,
        atlas_dir=options.atlas_dir,
        fg_layer=options.fg_layer,
        bg_layer=options.bg_layer,
        frame_edits=options.frame_edits,
        results=edits,
        **common,
        **film,
        progress=options.progress,
    )


def composite(
    source: Path | str,
    layers: Sequence[Path | str],
    output: Path | str,
    *,
    opacity: float = 1.0,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Path:
    """Stack saved layers over a picture, the first lowest, and write `output`.

    A layer is an RGBA picture, or a result folder of `edit_image`. The source may be a larger or
    re-graded version of the one that the layers were made on: they are resized to it.
    Raises UsageError and Text2LiveError.
    """
    progress = progress or Silent()
    source, output = Path(source), Path(output)
    _require_opacity(opacity)
    if not layers:
        raise UsageError("name at least one layer to lay over the source")
    writable_kind(output)
    require_file_place("-o", output)
    check_output(output, [source, *map(_layer_file, map(Path, layers))], overwrite)
    picture = read_picture(source)
    _tell(picture, progress)
    color = picture.color
    for path in layers:
        color = lay_over(color, _read_layer(Path(path), picture, progress), opacity)
    for note in write_picture(output, color, picture.alpha, picture.icc_profile):
        progress.message(note)
    return output


def _read_layer(path: Path, source: Picture, progress: Progress) -> np.ndarray:
    """A layer (H, W, 4) uint8 at the size of the source."""
    layer = read_picture(_layer_file(path))
    if layer.alpha is None:
        raise UsageError(f"{layer.path}: has no alpha, so it is no layer; give a layer.png")
    rgba = np.dstack([layer.color, layer.alpha])
    if rgba.dtype != np.uint8:
        rgba = np.rint(rgba / 257).astype(np.uint8)
    if (layer.height, layer.width) == (source.height, source.width):
        return rgba
    if abs(layer.width * source.height / (layer.height * source.width) - 1) > _ASPECT_TOLERANCE:
        raise Text2LiveError(
            f"{layer.path}: {layer.width}×{layer.height} has not the shape of the source,"
            f" {source.width}×{source.height}"
        )
    progress.message(f"{layer.path}: resized to {source.width}×{source.height}")
    return _resized(rgba, source.width, source.height)


def _layer_file(path: Path) -> Path:
    return path / "layer.png" if path.is_dir() else path


def _resized(rgba: np.ndarray, width: int, height: int) -> np.ndarray:
    """Resize with colours weighted by alpha, so that hidden colours do not bleed in."""
    image = Image.fromarray(rgba, "RGBA").convert("RGBa")
    image = image.resize((width, height), Image.Resampling.BICUBIC)
    return np.array(image.convert("RGBA"))


def _tell(picture: Picture, progress: Progress) -> None:
    for note in picture.notes:
        progress.message(f"{picture.path.name}: {note}")


def composite_clip(
    source: Path | str,
    output: Path | str,
    *,
    atlas_dir: Path | str | None = None,
    fg_layer: Path | str | None = None,
    bg_layer: Path | str | None = None,
    frame_edits: Sequence[str] = (),
    results: Sequence[Path | str] = (),
    opacity: float = 1.0,
    overwrite: bool = False,
    fps: float | None = None,
    codec: str | None = None,
    crf: int | None = None,
    progress: Progress | None = None,
) -> Path:
    """Composite hand-painted layers over all frames of a clip, through its atlas, into `output`.

    `fg_layer` and `bg_layer` are pictures of the size of the atlas's foreground.png and
    background.png or a whole multiple of it: either RGBA layers or painted-over copies. A frame
    edit "N:PICTURE" is an RGBA layer of the clip's size, painted on frame N (from 0); these lie
    above, in their order. `results` are folders of `edit_video`; their layers lie lowest.
    `opacity`, 0 to 1, is a factor on every alpha. `output` is a video with the source's rate,
    timing, colour tags and sound, or without an ending a folder of PNG frames; transparency of the
    source is kept by .mov, .webm and PNG, and shown on white by others. Frames that were not fitted
    are copied, and so is, bit for bit before encoding, every pixel that no paint reaches.
    `atlas_dir` is by default what `fit_atlas` made beside the clip or here.

    Raises UsageError for what cannot be asked for, Text2LiveError for what goes wrong.
    """
    progress = progress or Silent()
    source, destination = Path(source), _Destination.of(output, codec, crf)
    if fg_layer is None and bg_layer is None and not frame_edits and not results:
        raise UsageError(
            "nothing to lay over the clip: give --fg-layer, --bg-layer, --frame-edit or results"
        )
    _require_opacity(opacity)
    folder = Path(atlas_dir) if atlas_dir is not None else find_atlas(source)
    edited_frames = [text.partition(":")[2] for text in frame_edits]
    inputs = [folder, fg_layer, bg_layer, *edited_frames, *results]
    destination.check(source, inputs, overwrite)
    clip = open_clip(source, rate_of(fps))
    if folder is None:
        raise UsageError(f"{source}: no atlas of it; run text2live fit-atlas, or give --atlas-dir")
    atlas = read_atlas(folder)
    atlas.require_clip(clip, folder)
    alpha = destination.keeps_alpha(clip)
    for note in clip.notes + tell_uncovered(clip, atlas):
        if not (alpha and note == transparency_note(clip.path)):
            progress.message(note)
    files = {FOREGROUND: fg_layer, BACKGROUND: bg_layer}
    paint = {s: painted_layer(Path(p), s, atlas, folder, progress) for s, p in files.items() if p}
    stack = list(stacked(result_layers([Path(result) for result in results], clip, atlas.digest)))
    stack.append({side: layer for side, layer in paint.items() if layer is not None})
    stack += [read_frame_edit(text, clip, atlas, progress) for text in frame_edits]
    frames = composited(clip, atlas, _faded(stack, opacity), progress, alpha)
    destination.write(frames, clip, progress)
    return destination.path


def overlay_clip(
    source: Path | str,
    layers: Sequence[Path | str],
    output: Path | str,
    *,
    opacity: float = 1.0,
    overwrite: bool = False,
    fps: float | None = None,
    codec: str | None = None,
    crf: int | None = None,
    progress: Progress | None = None,
) -> Path:
    """Lay stills or clips with alpha over every frame of a clip, the first lowest, into `output`.

    They have the clip's size, and clips at least its number of frames. `output` is as that of
    `composite_clip`. Raises UsageError and Text2LiveError.
    """
    progress = progress or Silent()
    source, destination = Path(source), _Destination.of(output, codec, crf)
    _require_opacity(opacity)
    destination.check(source, layers, overwrite)
    clip = open_clip(source, rate_of(fps))
    alpha = destination.keeps_alpha(clip)
    overlays = [read_overlay(Path(layer), clip, progress) for layer in layers]
    destination.write(overlaid(clip, overlays, opacity, alpha, progress), clip, progress)
    return destination.path


class _Destination(NamedTuple):
    """Where a composited clip goes: a video, or a folder of PNG frames."""

    path: Path
    is_folder: bool
    codec: str | None
    crf: int | None

    @classmethod
    def of(cls, output: Path | str, codec: str | None, crf: int | None) -> _Destination:
        """A name that ends with a slash, or without an ending, is that of a folder."""
        path = Path(output)
        is_folder = str(output).endswith(("/", os.sep)) or not path.suffix
        return cls(path, is_folder, codec, crf)

    @property
    def is_animation(self) -> bool:
        """Whether it is an animated picture."""
        return not self.is_folder and self.path.suffix.lower() in ANIMATION_ENDINGS

    def check(self, source: Path, inputs: Sequence[Path | str | None], overwrite: bool) -> None:
        """Raise UsageError where the result cannot or must not be written there."""
        path = self.path
        if (self.is_folder or self.is_animation) and (self.codec or self.crf is not None):
            raise UsageError("--codec, --crf: are for films; name one: -o name.mov")
        if not self.is_folder:
            if not self.is_animation:
                require_writable(path, codec=self.codec, crf=self.crf)
            require_file_place("-o", path)
        if path.exists() and source.exists() and path.samefile(source):
            raise UsageError(f"{path} is the clip itself: choose another -o OUT")
        check_output(path, [source, *inputs], overwrite, "folder" if self.is_folder else "file")

    def keeps_alpha(self, clip: Clip) -> bool:
        """Whether the clip is transparent and stays so; raises UsageError as `require_writable`."""
        if self.is_animation or self.codec is not None:
            return False
        alpha = clip.transparent and (self.is_folder or keeps_alpha(self.path))
        if alpha and not self.is_folder:
            require_writable(self.path, alpha)
        return alpha

    def write(self, frames: Iterator[NDArray[np.uint8]], clip: Clip, progress: Progress) -> None:
        """Write frames (h, w, 3 or 4), the video with the clip's timing, colour tags and sound."""
        if self.is_folder:
            _write_frames(self.path, frames)
            return
        if self.is_animation:
            write_animation(self.path, frames, clip.times, clip.end)
            return
        timing: dict[str, Any] = {"times": clip.times, "end": clip.end, "like": clip}
        how: dict[str, Any] = {"audio_from": clip, "codec": self.codec, "crf": self.crf}
        notes = write_video(self.path, frames, clip.rate, **timing, **how)
        for note in notes:
            progress.message(note)


def _require_opacity(opacity: float) -> None:
    if not 0 <= opacity <= 1:
        raise UsageError(f"--opacity {opacity}: must be from 0 to 1")


def _faded(stack: Stack, opacity: float) -> Stack:
    """The same layers with every alpha times `opacity`."""
    return [
        {
            side: layer._replace(premultiplied=layer.premultiplied * opacity)
            for side, layer in on.items()
        }
        for on in stack
        if on
    ]


def _write_frames(folder: Path, frames: Iterator[NDArray[np.uint8]]) -> None:
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Text2LiveError(f"{folder}: cannot be made a folder ({error.strerror})") from error
    write_layer_frames(folder, frames)
