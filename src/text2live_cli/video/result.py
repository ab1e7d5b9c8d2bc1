"""What an edit of a clip leaves behind: videos, the layer on the atlas, and the report."""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..atlas.discretise import AtlasPicture
from ..atlas.footage import by_itself, composited, on_green, stacked
from ..atlas.layers import LAYERS, Side
from ..atlas.render import Layer
from ..atlas.store import Atlas
from ..errors import Text2LiveError, UsageError
from ..media.animation_writing import ANIMATION_ENDINGS, write_animation
from ..media.clip_kinds import Kind
from ..media.clip_writing import (
    webm_bytes,
    write_layer_frames,
    write_layer_video,
    write_video,
)
from ..media.clips import Clip, open_clip
from ..media.compositing import lay_over
from ..media.files import write_text_atomic
from ..media.outside import RECORD_ERRORS, plain_text, read_record
from ..media.picture_writing import write_picture
from ..media.pictures import read_picture
from ..progress import Progress, Silent
from ..report.page import in_words
from ..report.video import VideoReport, video_report_html
from ..runs.folder import COMPOSITE, RECORD

REPORT = "report.html"
_REPORT_SIDE = 640  # longest side of its videos, pixels
_REPORT_FILMS = 3
_TRIED_FRAMES = 8
_ATLAS_PICTURES = 3  # times as long as painting the edit: painted, saved, and in the report

Frames = Iterator[NDArray[np.uint8]]


class Edit(Protocol):
    """A trained edit, in every frame of the clip; each call streams the frames anew."""

    def composited(self, progress: Progress) -> Frames:
        """The clip under the edit, (h, w, 3)."""

    def on_green(self, progress: Progress) -> Frames:
        """The edit layer over plain green, (h, w, 3)."""

    def by_itself(self, progress: Progress) -> Frames:
        """The edit layer, straight RGBA (h, w, 4)."""


@dataclass(frozen=True)
class AtlasEdit:
    """An edit layer on an atlas (docs/method.md), over those of earlier results."""

    clip: Clip
    atlas: Atlas
    side: Side
    picture: AtlasPicture
    """The edit layer on the atlas, as saved."""
    scale: float
    """Its pixels to an atlas pixel."""
    before: NDArray[np.uint8]
    """The atlas without the edit, RGBA of the same size; alpha is 255 where the clip uses it."""
    below: Sequence[tuple[Side, Layer]]

    @property
    def after(self) -> NDArray[np.uint8]:
        """The atlas under the edit, RGBA (H, W, 4) as `before`."""
        return np.dstack([lay_over(self.before[..., :3], self.picture.rgba), self.before[..., 3]])

    @property
    def layer(self) -> Layer:
        """The edit layer, ready to be sampled."""
        return Layer.of(self.picture, self.scale)

    def composited(self, progress: Progress) -> Frames:
        """The clip under the edit and those below, (h, w, 3)."""
        layers = stacked([*self.below, (self.side, self.layer)])
        return composited(self.clip, self.atlas, layers, progress)

    def on_green(self, progress: Progress) -> Frames:
        """The edit layer over plain green, (h, w, 3)."""
        return on_green(self.clip, self.atlas, self.side, self.layer, progress)

    def by_itself(self, progress: Progress) -> Frames:
        """The edit layer in every frame, straight RGBA (h, w, 4)."""
        return by_itself(self.clip, self.atlas, self.side, self.layer, progress)


def write_videos(
    folder: Path,
    clip: Clip,
    edit: Edit,
    layer_formats: Sequence[str],
    progress: Progress,
    premultiplied: bool = False,
) -> tuple[str, ...]:
    """Write composite.mp4, screen.mp4 and the edit layer; with the clip's timing, colour and sound.

    The colours of layer.mov and layer/ are `premultiplied`, or straight.
    Returns what the user should be told. Raises Text2LiveError where one cannot be written.
    """
    timing: dict[str, Any] = {"times": clip.times, "end": clip.end, "like": clip}
    composite, screen = folder / "composite.mp4", folder / "screen.mp4"
    frames = edit.composited(progress)
    notes = write_video(composite, frames, clip.rate, audio_from=clip, **timing)
    write_video(screen, edit.on_green(progress), clip.rate, **timing)
    for name in layer_formats:
        if name == "none":
            continue
        layer = edit.by_itself(progress)
        if name == "matte":
            mattes = (np.repeat(frame[..., 3:], 3, axis=2) for frame in layer)
            notes += write_video(folder / "matte.mp4", mattes, clip.rate, **timing)
            continue
        if premultiplied and name in ("mov", "png"):
            layer = map(_premultiplied, layer)
        if name == "png":
            write_layer_frames(folder / "layer", layer)
        else:
            notes += write_layer_video(folder / f"layer.{name}", layer, clip.rate, **timing)
    _write_like_source(folder, clip, edit, progress)
    for note in notes:
        progress.message(note)
    return notes


def _premultiplied(frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A straight RGBA frame (h, w, 4), its colours multiplied by its alpha."""
    color = frame[..., :3].astype(np.uint16) * frame[..., 3:] + 127
    return np.dstack([(color // 255).astype(np.uint8), frame[..., 3]])


def write_copy(
    path: Path, clip: Clip, edit: Edit, kind: Kind | None, progress: Progress
) -> tuple[str, ...]:
    """Write the composite as the film, of `kind`, or the animation that `path` names.

    Returns what the user should be told. Raises Text2LiveError where it cannot be written.
    """
    frames = edit.composited(progress)
    if path.suffix.lower() in ANIMATION_ENDINGS:
        write_animation(path, frames, clip.times, clip.end)
        return ()
    timing: dict[str, Any] = {"times": clip.times, "end": clip.end, "like": clip}
    return write_video(path, frames, clip.rate, audio_from=clip, kind=kind, **timing)


def _write_like_source(folder: Path, clip: Clip, edit: Edit, progress: Progress) -> None:
    """The composite as what the source is, where that is no film: frames, or an animation."""
    ending = clip.path.suffix.lower()
    if clip.pictures:
        write_layer_frames(folder / COMPOSITE, edit.composited(progress))
    elif ending in ANIMATION_ENDINGS:
        frames = edit.composited(progress)
        write_animation(folder / f"{COMPOSITE}{ending}", frames, clip.times, clip.end)


@dataclass(frozen=True)
class _Beginning:
    """The first frames of an edit."""

    edit: Edit
    count: int

    def composited(self, progress: Progress) -> Frames:
        return islice(self.edit.composited(progress), self.count)

    def on_green(self, progress: Progress) -> Frames:
        return islice(self.edit.on_green(progress), self.count)

    def by_itself(self, progress: Progress) -> Frames:
        return islice(self.edit.by_itself(progress), self.count)


def delivery_seconds(
    clip: Clip, make_edit: Callable[[], Edit], layer_formats: Sequence[str]
) -> float:
    """How long edit, videos and report will take: tried on the first frames, by their number."""
    begin = time.monotonic()
    edit = make_edit()
    once = time.monotonic() - begin
    count = min(clip.count, _TRIED_FRAMES)
    end = clip.times[count] if count < clip.count else clip.end
    part = replace(clip, count=count, times=clip.times[:count], end=end)
    begin = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        write_videos(Path(folder), part, _Beginning(edit, count), layer_formats, Silent())
    for _ in range(_REPORT_FILMS):
        webm_bytes(_small(part, part), part.rate)
    return _ATLAS_PICTURES * once + (time.monotonic() - begin) * clip.count / count


def write_atlas_layer(folder: Path, edit: AtlasEdit) -> dict[str, Any]:
    """Write atlas-layer.png, from which the frames can be rendered again.

    Returns the place of the layer, as `footage.result_layers` reads it from the record.
    """
    picture = edit.picture
    write_picture(folder / ATLAS_LAYER, picture.rgba[..., :3], picture.rgba[..., 3])
    return {
        "side": LAYERS[edit.side],
        "left": picture.left,
        "top": picture.top,
        "scale": edit.scale,
    }


def write_report(
    folder: Path, clip: Clip, edit: Edit, facts: dict[str, Any], notes: Sequence[str]
) -> None:
    """Write report.html: what was written, to look at in a browser. Raises Text2LiveError where the
    videos cannot be read or the page cannot be written.
    """
    composite, screen = (open_clip(folder / name) for name in ("composite.mp4", "screen.mp4"))
    prompts = facts["prompts"]
    texts = {name: value for name, value in prompts.items() if value}
    report = VideoReport(
        title=f"{clip.path.name}: {prompts['target']}",
        summary=(f"“{prompts['roi']}” becomes “{prompts['target']}”",),
        original=webm_bytes(_small(clip, clip), clip.rate),
        composite=webm_bytes(_small(composite, clip), clip.rate),
        screen=webm_bytes(_small(screen, clip), clip.rate),
        atlas=(edit.before, edit.after) if isinstance(edit, AtlasEdit) else None,
        figures=(
            *((name.replace("_", " "), in_words(v)) for name, v in facts["figures"].items()),
            *((f"seconds, {k}", f"{v:.1f}") for k, v in facts["seconds"].items()),
        ),
        settings={name: v for name, v in facts["job"].items() if name not in prompts},
        prompts=tuple((k, v if isinstance(v, str) else ", ".join(v)) for k, v in texts.items()),
        warnings=tuple(notes),
    )
    write_text_atomic(folder / REPORT, video_report_html(report))


def _small(clip: Clip, like: Clip) -> Frames:
    """The clip's frames as small as a report's, all of the shape of `like`."""
    share = min(1.0, _REPORT_SIDE / max(like.width, like.height))
    return clip.frames(size=(max(2, round(like.height * share)), max(2, round(like.width * share))))


_LONGEST_PATH = 4096  # characters


ATLAS_LAYER = "atlas-layer.png"
"""The edit layer of a result, on the atlas."""


def result_layers(
    folders: Sequence[Path], clip: Clip, fit: str, output: Path | None = None
) -> list[tuple[Side, Layer]]:
    """The layers of results of `edit_video`, lowest first, each with what it was laid onto, once.

    `fit` is the digest of the atlas. Raises UsageError where a folder is no such result, one of
    another clip or fit, or where a result would lie on itself: `output` is the folder of one that
    is about to be laid onto them.
    """
    layers: list[tuple[Side, Layer]] = []
    places: set[Path] = set()
    for folder in folders:
        chain: list[tuple[Side, Layer]] = []
        chain_places = set() if output is None else {output.resolve()}
        below: Path | None = folder
        while below is not None:
            place = below.resolve()
            if place in chain_places:
                raise UsageError(f"{folder}: {below} would lie on itself; choose another -o DIR")
            chain_places.add(place)
            layer, below = _result_layer(below, clip, fit)
            if place not in places:
                chain.insert(0, layer)
            places.add(place)
        layers += chain
    return layers


def _result_layer(folder: Path, clip: Clip, fit: str) -> tuple[tuple[Side, Layer], Path | None]:
    """The layer of a result, and the folder of the one that it lies on."""
    try:
        record = read_record(folder / RECORD)
        facts, source, onto = record["layer"], record["input"]["sha256"], record["onto"]
        own_fit, name = record["job"]["fit"], facts["side"]
        place = float(facts["left"]), float(facts["top"]), float(facts["scale"])
        if onto is not None and Path(plain_text(onto, _LONGEST_PATH)).is_absolute():
            raise ValueError("a record names no place outside of where it lies")
        below = None if onto is None else folder / onto
    except RECORD_ERRORS as error:
        raise UsageError(f"{folder}: no result of edit-video there") from error
    if source != clip.sha256:
        raise UsageError(f"{folder}: it is an edit of another clip than {clip.path}")
    if own_fit != fit:
        raise UsageError(f"{folder}: it was made on another fit of the clip; edit it again")
    picture = read_picture(folder / ATLAS_LAYER)
    sound = name in LAYERS and all(map(math.isfinite, place)) and place[2] > 0
    if not sound or picture.alpha is None or picture.color.dtype != np.uint8:
        raise Text2LiveError(f"{folder}: {ATLAS_LAYER} or {RECORD} was altered; edit it again")
    rgba = np.dstack([picture.color, picture.alpha])
    left, top, scale = place
    layer = Layer.of(AtlasPicture(rgba, 0, 0), scale)._replace(left=left, top=top)
    return (LAYERS.index(name), layer), below
