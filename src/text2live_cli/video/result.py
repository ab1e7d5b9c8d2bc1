"""What an edit of a clip leaves behind: videos, the layer on the atlas, and the report."""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..atlas.discretise import AtlasPicture
from ..atlas.footage import EditedFrame, edited
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
from ..media.shared_frames import share_out
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

    def frames(self) -> Iterator[EditedFrame]:
        """Every frame under the edit, and the layer by itself."""


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

    def frames(self) -> Iterator[EditedFrame]:
        """Every frame under the edit and those below, and the layer by itself."""
        return edited(self.clip, self.atlas, self.below, self.side, self.layer)


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
    films = _Films(folder, clip)
    films.add(lambda frame: frame.composite, films.video("composite.mp4", audio_from=clip))
    films.add(lambda frame: frame.screen, films.video("screen.mp4"))
    for name in dict.fromkeys(layer_formats):  # each once: no two write one file
        if name == "matte":
            films.add(lambda frame: np.repeat(frame.layer[..., 3:], 3, 2), films.video("matte.mp4"))
        elif name != "none":
            multiplied = premultiplied and name in ("mov", "png")
            films.add(_multiplied_layer if multiplied else lambda f: f.layer, films.layer(name))
    films.add_like_source()
    notes = films.write(edit, progress)
    for note in notes:
        progress.message(note)
    return notes


class _Films:
    """The films of a clip's edit, which are written side by side from one pass over its frames."""

    def __init__(self, folder: Path, clip: Clip) -> None:
        self.folder, self.clip = folder, clip
        self._takers: list[Callable[[Iterator[EditedFrame]], tuple[str, ...]]] = []

    def add(
        self,
        part: Callable[[EditedFrame], NDArray[np.uint8]],
        write: Callable[[Frames], tuple[str, ...]],
    ) -> None:
        """One more, of that part of every frame; `write` returns what the user should be told."""
        self._takers.append(lambda frames: write(map(part, frames)))

    def add_like_source(self) -> None:
        """The composite as what the source is, where that is no film: frames, or an animation."""
        ending, clip = self.clip.path.suffix.lower(), self.clip

        def as_animation(frames: Frames) -> tuple[str, ...]:
            write_animation(self.folder / f"{COMPOSITE}{ending}", frames, clip.times, clip.end)
            return ()

        if clip.pictures:
            self.add(lambda frame: frame.composite, self.pictures(COMPOSITE))
        elif ending in ANIMATION_ENDINGS:
            self.add(lambda frame: frame.composite, as_animation)

    def video(self, name: str, **how: Any) -> Callable[[Frames], tuple[str, ...]]:
        """With the clip's timing and colours."""
        return lambda frames: write_video(
            self.folder / name, frames, self.clip.rate, **_timing(self.clip), **how
        )

    def layer(self, form: str) -> Callable[[Frames], tuple[str, ...]]:
        """The edit layer as a film with alpha, or as pictures."""
        if form == "png":
            return self.pictures("layer")
        path = self.folder / f"layer.{form}"
        return lambda frames: write_layer_video(path, frames, self.clip.rate, **_timing(self.clip))

    def pictures(self, name: str) -> Callable[[Frames], tuple[str, ...]]:
        """A folder of them."""

        def write(frames: Frames) -> tuple[str, ...]:
            write_layer_frames(self.folder / name, frames)
            return ()

        return write

    def write(self, edit: Edit, progress: Progress) -> tuple[str, ...]:
        """All of them; what the user should be told."""
        frames = _told(edit.frames(), self.clip.count, progress)
        return tuple(note for notes in share_out(frames, self._takers) for note in notes)


def _told(frames: Iterator[EditedFrame], count: int, progress: Progress) -> Iterator[EditedFrame]:
    progress.stage("writing the films", count, "frame")
    for number, frame in enumerate(frames, 1):
        yield frame
        progress.advance(number)


def _timing(clip: Clip) -> dict[str, Any]:
    return {"times": clip.times, "end": clip.end, "like": clip}


def _multiplied_layer(frame: EditedFrame) -> NDArray[np.uint8]:
    """The layer (h, w, 4), its colours multiplied by its alpha."""
    color = frame.layer[..., :3].astype(np.uint16) * frame.layer[..., 3:] + 127
    return np.dstack([(color // 255).astype(np.uint8), frame.layer[..., 3]])


def composites(edit: Edit, count: int, progress: Progress) -> Frames:
    """The frames (h, w, 3) under an edit, `count` of them."""
    return (frame.composite for frame in _told(edit.frames(), count, progress))


def write_copy(path: Path, clip: Clip, frames: Frames, kind: Kind | None) -> tuple[str, ...]:
    """Write composites (h, w, 3) as the film, of `kind`, or the animation that `path` names.

    Returns what the user should be told. Raises Text2LiveError where it cannot be written.
    """
    if path.suffix.lower() in ANIMATION_ENDINGS:
        write_animation(path, frames, clip.times, clip.end)
        return ()
    return write_video(path, frames, clip.rate, audio_from=clip, kind=kind, **_timing(clip))


@dataclass(frozen=True)
class _Beginning:
    """The first frames of an edit."""

    edit: Edit
    count: int

    def frames(self) -> Iterator[EditedFrame]:
        return islice(self.edit.frames(), self.count)


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
    _small_films([part] * _REPORT_FILMS, part)
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
    original, changed, green = _small_films([clip, composite, screen], clip)
    prompts = facts["prompts"]
    texts = {name: value for name, value in prompts.items() if value}
    report = VideoReport(
        title=f"{clip.path.name}: {prompts['target']}",
        summary=(f"“{prompts['roi']}” becomes “{prompts['target']}”",),
        original=original,
        composite=changed,
        screen=green,
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


def _small_films(clips: Sequence[Clip], like: Clip) -> list[bytes]:
    """WebM for the report, side by side."""
    with ThreadPoolExecutor(len(clips)) as pool:
        return list(pool.map(lambda clip: webm_bytes(_small(clip, like), like.rate), clips))


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
