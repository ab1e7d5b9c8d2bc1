"""`composite`: saved layers over a picture again, or painted ones over a clip through its atlas."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import KW_ONLY, dataclass, fields, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageColor

from ..atlas.footage import composited, stacked, tell_uncovered
from ..atlas.layers import BACKGROUND, FOREGROUND
from ..atlas.painting import painted_layer, read_frame_edits
from ..atlas.store import read_atlas
from ..errors import Text2LiveError, UsageError
from ..media.animation_writing import ANIMATION_ENDINGS, write_animation
from ..media.blending import NORMAL
from ..media.clip_frames import transparency_note
from ..media.clip_kinds import Kind, encoded_as
from ..media.clip_reading import rate_of
from ..media.clip_writing import keeps_alpha, require_writable, write_layer_frames, write_video
from ..media.clips import Clip, open_clip
from ..media.compositing import lay_over
from ..media.layered_files import (
    LAYERED_ENDINGS,
    NamedLayer,
    layered_beside,
    read_layered,
    require_layered,
    write_layered,
)
from ..media.picture_writing import writable_kind, write_picture
from ..media.pictures import Picture, read_picture
from ..progress import Progress, Silent
from ..runs.atlas_folder import find_atlas
from ..runs.folder import check_output
from ..runs.preflight import require_file_place
from ..video.result import ATLAS_LAYER, result_layers
from .fading import Fade
from .lift import lift_frame
from .option_fields import taking
from .options import CompositeOptions
from .overlays import is_for_a_clip, layer_modes, overlaid, read_layer, read_overlay, region_of

_ASPECT_TOLERANCE = 0.01


def run_composite(options: CompositeOptions) -> Path:
    """`composite`, or `composite_clip` where the source is a clip, or its atlas is named."""
    if options.output is None:
        raise UsageError("-o OUT: name the file to write")
    layers = [Path(layer) for layer in options.layers]
    for path in layers:
        if not path.exists():
            raise UsageError(f"{path}: no such file or folder")
    edits = [path for path in layers if (path / ATLAS_LAYER).exists()]
    by_hand = (options.fg_layer, options.bg_layer, options.frame_edits, options.atlas_dir)
    through_atlas = bool(edits) or any(by_hand)
    if not through_atlas and not is_for_a_clip(Path(options.source), Path(options.output)):
        return composite(
            options.source,
            layers,
            options.output,
            opacity=options.opacity,
            blend=options.blend,
            background=options.background,
            layer_formats=options.layer_formats,
            overwrite=options.overwrite,
            progress=options.progress,
        )
    strange = next((path for path in layers if path not in edits), None)
    if through_atlas and strange is not None:
        raise UsageError(f"{strange}: no result of edit-video, as a clip takes")
    for flag, value in (
        ("--background", options.background),
        ("--layer-format", options.layer_formats),
    ):
        if value:
            raise UsageError(f"{flag}: is for pictures")
    apart = ("source", "output", "layers", "background", "layer_formats")
    shared: dict[str, Any] = {
        f.name: getattr(options, f.name) for f in fields(options) if f.name not in apart
    }
    shared["results" if through_atlas else "overlays"] = layers
    return run_composite_clip(ClipComposite(options.source, options.output, **shared))


def composite(
    source: Path | str,
    layers: Sequence[Path | str],
    output: Path | str,
    *,
    opacity: str | float = 1.0,
    blend: Sequence[str] = (),
    background: str | None = None,
    layer_formats: Sequence[str] = (),
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Path:
    """Stack saved layers over a picture, the first lowest, and write `output`.

    A layer is an RGBA picture, a layered file (.ora, .psd), or a result folder of `edit_image`. The
    source may be a larger or re-graded version of the one that the layers were made on: they are
    resized to it. `blend` has a mode for each layer, or one for all; `background` is a colour in
    place of transparency. An `output` that ends in .ora or .psd keeps the layers apart, as do the
    files beside it that `layer_formats` names.
    Raises UsageError and Text2LiveError.
    """
    progress = progress or Silent()
    source, output = Path(source), Path(output)
    share = Fade.read(opacity).constant
    if not layers:
        raise UsageError("name at least one layer to lay over the source")
    modes = layer_modes(blend, len(layers))
    is_layered = output.suffix.lower() in LAYERED_ENDINGS
    require_layered(output) if is_layered else writable_kind(output)
    beside = [path for path in layered_beside(output, layer_formats) if path != output]
    for path in (output, *beside):
        require_file_place("-o", path)
        check_output(path, [source, *map(_layer_file, map(Path, layers))], overwrite)
    picture = _flattened(read_picture(source), background)
    _tell(picture, progress)
    stack = [
        layer
        for path, mode in zip(map(Path, layers), modes, strict=True)
        for layer in _named_layers(path, mode, share, picture, progress)
    ]
    if is_layered:
        notes = write_layered(output, picture, stack)
    else:
        color = picture.color
        for layer in stack:
            color = lay_over(color, layer.rgba, layer.opacity, layer.blend)
        profile, exif = picture.icc_profile, picture.exif
        notes = write_picture(output, color, picture.alpha, profile, exif)
    for path in beside:
        notes += write_layered(path, picture, stack)
    for note in notes:
        progress.message(note)
    return output


def _flattened(picture: Picture, background: str | None) -> Picture:
    """The picture with a colour in place of its transparency, if one is given."""
    if background is None:
        return picture
    try:
        color = ImageColor.getrgb(background)[:3]
    except ValueError as error:
        raise UsageError(f"--background {background}: is no colour (white, #ff8800)") from error
    if picture.alpha is None:
        return picture
    most = np.iinfo(picture.color.dtype).max
    share = picture.alpha[..., None] / most
    below = np.array(color) / 255 * most
    flat = np.rint(below + share * (picture.color - below)).astype(picture.color.dtype)
    return replace(picture, color=flat, alpha=None)


def _named_layers(
    path: Path, mode: str, opacity: float, source: Picture, progress: Progress
) -> Iterator[NamedLayer]:
    """The layers that an argument names: one, or those of a layered file with their own modes."""
    if path.suffix.lower() not in LAYERED_ENDINGS or path.is_dir():
        file, whole = _layer_file(path), path.resolve()
        name = whole.name if path.is_dir() else whole.stem
        rgba = _at_size(read_layer(file), file, source, progress)
        region = region_of(path, rgba) if path.is_dir() else None
        yield NamedLayer(name, rgba, opacity, mode, region)
        return
    for layer in read_layered(path):
        rgba = _at_size(layer.rgba, path, source, progress)
        own = layer.blend if mode == NORMAL else mode
        yield NamedLayer(layer.name, rgba, layer.opacity * opacity, own)


def _at_size(
    rgba: NDArray[np.uint8], path: Path, source: Picture, progress: Progress
) -> NDArray[np.uint8]:
    """A layer (h, w, 4) at the size of the source."""
    height, width = rgba.shape[:2]
    if (height, width) == (source.height, source.width):
        return rgba
    if abs(width * source.height / (height * source.width) - 1) > _ASPECT_TOLERANCE:
        raise Text2LiveError(
            f"{path}: {width}×{height} has not the shape of the source,"
            f" {source.width}×{source.height}"
        )
    progress.message(f"{path}: resized to {source.width}×{source.height}")
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


@dataclass(frozen=True)
class ClipComposite:
    """What `composite_clip` takes."""

    source: Path | str
    output: Path | str
    """A video with the source's rate, timing, colour tags and sound, an animation, or without an
    ending a folder of PNG frames. Transparency of the source is kept by .mov, .webm and PNG, and
    shown on white by others."""
    _: KW_ONLY
    overlays: Sequence[Path | str] = ()
    """Stills or clips with alpha of the clip's size, the first lowest; without an atlas."""
    atlas_dir: Path | str | None = None
    """By default what `fit_atlas` made beside the clip or here."""
    fg_layer: Path | str | None = None
    bg_layer: Path | str | None = None
    """Pictures of the size of the atlas's foreground.png and background.png or a whole multiple of
    it: either RGBA layers or painted-over copies."""
    frame_edits: Sequence[str] = ()
    """Each "N:PICTURE": an RGBA layer of the clip's size, painted on frame N (from 0), or that
    frame itself, painted over. They lie above; where several have paint, the frame that shows the
    place largest has its way."""
    results: Sequence[Path | str] = ()
    """Folders of `edit_video`; their layers lie lowest."""
    opacity: str | float = 1.0
    """0 to 1, a factor on every alpha; or by frame, "0:0,24:1", linear between."""
    blend: Sequence[str] = ()
    """A mode for each of the overlays, or one for all; through an atlas one for all."""
    overwrite: bool = False
    fps: float | None = None
    codec: str | None = None
    crf: int | None = None
    progress: Progress | None = None


def run_composite_clip(options: ClipComposite) -> Path:
    """Composite layers over all frames of a clip, through its atlas or as they are, into `output`.

    The options are the fields of `ClipComposite`. Frames that were not fitted are copied, and so
    is, bit for bit before encoding, every pixel that no paint reaches.

    Raises UsageError for what cannot be asked for, Text2LiveError for what goes wrong.
    """
    progress = options.progress or Silent()
    source = Path(options.source)
    destination = _Destination.of(options.output, options.codec, options.crf)
    painted = [options.fg_layer, options.bg_layer]
    if not (any(painted) or options.frame_edits or options.results or options.overlays):
        raise UsageError(
            "nothing to lay over the clip: give --fg-layer, --bg-layer, --frame-edit or results"
        )
    fade = Fade.read(options.opacity)
    folder = Path(options.atlas_dir) if options.atlas_dir is not None else find_atlas(source)
    edit_files = [text.partition(":")[2] for text in options.frame_edits]
    inputs = [folder, *painted, *edit_files, *options.results, *options.overlays]
    destination.check(source, inputs, options.overwrite)
    clip = open_clip(source, rate_of(options.fps))
    alpha = destination.keeps_alpha(clip)
    if options.overlays:
        overlays = [read_overlay(Path(layer), clip, progress) for layer in options.overlays]
        modes = layer_modes(options.blend, len(overlays))
        frames = overlaid(clip, list(zip(overlays, modes, strict=True)), fade, alpha, progress)
    else:
        frames = _through_atlas(options, clip, folder, fade, alpha, progress)
    destination.write(frames, clip, progress)
    return destination.path


composite_clip = taking(ClipComposite)(run_composite_clip)


def _through_atlas(
    options: ClipComposite,
    clip: Clip,
    folder: Path | None,
    fade: Fade,
    alpha: bool,
    progress: Progress,
) -> Iterator[NDArray[np.uint8]]:
    """The frames under all layers that lie on the clip's atlas in `folder`."""
    if folder is None:
        raise UsageError(
            f"{clip.path}: no atlas of it; run text2live fit-atlas, or give --atlas-dir"
        )
    atlas = read_atlas(folder)
    atlas.require_clip(clip, folder)
    for note in clip.notes + tell_uncovered(clip, atlas):
        if not (alpha and note == transparency_note(clip.path)):
            progress.message(note)
    if len(options.blend) > 1:
        raise UsageError("--blend: through an atlas, one mode for all layers")
    (mode,) = layer_modes(options.blend, 1)
    files = {FOREGROUND: options.fg_layer, BACKGROUND: options.bg_layer}
    paint = {s: painted_layer(Path(p), s, atlas, folder, progress) for s, p in files.items() if p}
    results = [Path(result) for result in options.results]
    stack = list(stacked(result_layers(results, clip, atlas.digest)))
    stack.append({side: layer for side, layer in paint.items() if layer is not None})
    if options.frame_edits:
        edits = options.frame_edits
        stack.append(read_frame_edits(edits, clip, atlas, folder, lift_frame, progress))
    parts = [part for part in stack if part]
    return composited(clip, atlas, parts, progress, alpha, fade, mode)


class _Destination(NamedTuple):
    """Where a composited clip goes: a video, an animated picture, or a folder of PNG frames."""

    path: Path
    is_folder: bool
    kind: Kind | None
    """How a video is encoded, where that was asked for."""

    @classmethod
    def of(cls, output: Path | str, codec: str | None, crf: int | None) -> _Destination:
        """A name that ends with a slash, or without an ending, is that of a folder."""
        path = Path(output)
        is_folder = str(output).endswith(("/", os.sep)) or not path.suffix
        if codec is None and crf is None:
            return cls(path, is_folder, None)
        if is_folder or path.suffix.lower() in ANIMATION_ENDINGS:
            raise UsageError("--codec, --crf: are for films; name one: -o name.mov")
        return cls(path, is_folder, encoded_as(path, codec, crf))

    @property
    def is_animation(self) -> bool:
        """Whether it is an animated picture."""
        return not self.is_folder and self.path.suffix.lower() in ANIMATION_ENDINGS

    def check(self, source: Path, inputs: Sequence[Path | str | None], overwrite: bool) -> None:
        """Raise UsageError where the result cannot or must not be written there."""
        path = self.path
        if not self.is_folder:
            if not self.is_animation:
                require_writable(path, kind=self.kind)
            require_file_place("-o", path)
        if path.exists() and source.exists() and path.samefile(source):
            raise UsageError(f"{path} is the clip itself: choose another -o OUT")
        check_output(path, [source, *inputs], overwrite, "folder" if self.is_folder else "file")

    def keeps_alpha(self, clip: Clip) -> bool:
        """Whether the clip is transparent and stays so; raises UsageError as `require_writable`."""
        if self.is_animation or self.kind is not None:
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
        how: dict[str, Any] = {"audio_from": clip, "kind": self.kind}
        notes = write_video(self.path, frames, clip.rate, **timing, **how)
        for note in notes:
            progress.message(note)


def _write_frames(folder: Path, frames: Iterator[NDArray[np.uint8]]) -> None:
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Text2LiveError(f"{folder}: cannot be made a folder ({error.strerror})") from error
    write_layer_frames(folder, frames)
