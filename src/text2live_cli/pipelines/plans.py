"""What a command is going to do, before it does any of it: checked, sized and named.

Neither torch nor weights are needed for a plan; `dry_run.py` says one in words.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..atlas import ATLAS
from ..atlas.fit.settings import (
    FitSettings,
    Span,
    choose_span,
    fit_hints,
    working_size,
)
from ..config import (
    MAX_LONG_SIDE,
    MIN_SIZE,
    EditSettings,
    resolve_settings,
    resolve_video_settings,
)
from ..errors import UsageError
from ..guide.encoder_names import SWATCH
from ..guide.hints import Hints, parse_hints
from ..guide.swatch import reading
from ..media.clip_reading import rate_of
from ..media.clip_writing import require_encoders, require_writable
from ..media.clips import Clip, open_clip
from ..media.files import sha256_of
from ..media.layered_files import LAYERED_ENDINGS, layered_beside, require_layered
from ..media.pictures import Picture, read_mask, read_picture
from ..progress import Progress
from ..runs.atlas_folder import default_folder, find_atlas
from ..runs.clock import CheckpointClock
from ..runs.folder import (
    CHECKPOINT,
    EDIT_IMAGE,
    EDIT_VIDEO,
    FIT_ATLAS,
    LAYER_PICTURE,
    RECORD,
    Outputs,
    can_be_resumed,
    check_output,
)
from ..runs.memory import fit_need
from ..runs.places import explained
from ..runs.preflight import fit_bytes, picture_bytes, require_file_place, require_room
from ..video.frames import FrameHints, read_frame_hints, training_size
from .checks import check_choices, check_limits, check_threads, preset_of, require_words
from .folders import film_kind, image_copy, image_folder, video_copy, video_folder
from .options import FitOptions, ImageOptions, VideoOptions
from .requests import request
from .standing import names_copy, require_vacant, same_record

_MAX_AREA_ASPECT = 4.0  # a longer picture is trained smaller, so that its area stays that of 4:1
_GB = 1e9


@dataclass(frozen=True)
class ImagePlan:
    """An edit of a picture, ready to be prepared for training."""

    options: ImageOptions
    settings: EditSettings
    folder: Path
    picture: Picture
    hints: Hints
    working: tuple[int, int]
    """Height and width of the picture in training."""
    copy: Path | None
    """Where the composite goes besides, if -o names a picture."""
    device: str
    """The type of device that it is planned for."""
    request: dict[str, Any]
    """What was asked for, as a record keeps it."""
    outputs: Outputs = EDIT_IMAGE
    command: str = "edit-image"

    @property
    def reason(self) -> str:
        """Why it has its preset; nothing where that was asked for."""
        return _reason(self.options, self.device)

    @property
    def pixels(self) -> int:
        """Of the source."""
        return self.picture.height * self.picture.width

    @property
    def inputs(self) -> list[Path | str | None]:
        """The files that must not be written over."""
        return [self.options.source, self.options.mask, self.options.clip_weights]

    @property
    def is_placed(self) -> bool:
        """Whether the place of the edit is given, so that no text is looked for."""
        return self.hints.given or self.options.mask is not None

    @property
    def resumes(self) -> bool:
        """Whether a stopped run goes on."""
        return self.options.resume


@dataclass(frozen=True)
class VideoPlan:
    """An edit of a clip, ready to be prepared for training."""

    options: VideoOptions
    settings: EditSettings
    folder: Path
    clip: Clip
    hints: FrameHints
    size: tuple[int, int]
    """Height and width of the frames in training."""
    atlas_folder: Path | None
    """None: the baseline "frames" has none."""
    resumes_fit: bool
    """Whether a fit was stopped there, and goes on."""
    resumes: bool
    """Whether a stopped training goes on; where a stopped fit does, it begins anew."""
    device: str
    """The type of device that it is planned for."""
    request: dict[str, Any]
    """What was asked for, as a record keeps it."""
    copy: Path | None
    """A film or animation for the composite beside the folder, if -o names one."""
    outputs: Outputs = EDIT_VIDEO
    command: str = "edit-video"

    @property
    def reason(self) -> str:
        """Why it has its preset; nothing where that was asked for."""
        return _reason(self.options, self.device)

    @property
    def inputs(self) -> list[Path | str | None]:
        """The files that must not be written over."""
        options = self.options
        used = [options.source, options.masks, self.hints.path, options.atlas_dir]
        return [*used, options.clip_weights]

    @property
    def is_placed(self) -> bool:
        """Whether the place of the edit is given, so that no text is looked for."""
        return self.hints.given


@dataclass(frozen=True)
class FitPlan:
    """A fit of a clip's atlas, ready to begin."""

    options: FitOptions
    settings: FitSettings
    folder: Path
    clip: Clip
    span: Span
    size: tuple[int, int]
    """Height and width of the frames in the fit."""
    outputs: Outputs = field(default=FIT_ATLAS)

    @property
    def inputs(self) -> list[Path | str | None]:
        """The files that must not be written over."""
        settings = self.settings
        used = [self.clip.path, settings.masks, settings.flow_dir, settings.import_nla]
        return [*used, settings.clip_weights]

    @property
    def need(self) -> int:
        """Bytes of memory that the fit takes at the most."""
        return fit_need(len(self.span.numbers), self.size)

    @property
    def room(self) -> int:
        """Bytes that its result takes at the most."""
        return fit_bytes(len(self.span.numbers) * self.size[0] * self.size[1])


def plan_image(options: ImageOptions, device: str, progress: Progress) -> ImagePlan:
    """Check an edit of a picture on a `device` of that type, and size it.

    Raises UsageError for what cannot be asked for, Text2LiveError where the result has no room.
    """
    source = Path(options.source)
    settings = resolve_settings(preset_of(options, device), options.clip, **options.overrides())
    check_limits(options)
    folder, copy = image_folder(options), image_copy(options)
    former = same_record(folder, "edit-image", options, settings.preset, device)
    if copy is not None:
        require_file_place("-o", copy)
        if copy.suffix.lower() in LAYERED_ENDINGS:
            require_layered(copy)
        ours = options.overwrite or options.resume or names_copy(former, copy)
        check_output(copy, [source, options.mask], ours)
    layered_beside(folder / LAYER_PICTURE, options.layer_formats)
    inputs = [source, options.mask, options.clip_weights]
    require_vacant(folder, EDIT_IMAGE, inputs, options, former is not None)
    picture = read_picture(source)
    for note in picture.notes:
        progress.message(f"{source.name}: {note}")
    size = picture.height, picture.width
    require_room(folder, picture_bytes(size[0] * size[1], picture.color.dtype.itemsize))
    hints = parse_hints(size, options.box, options.points, options.not_points)
    if options.mask is not None:
        read_mask(Path(options.mask), size)  # checked; read again when it is needed, as it is large
    require_words(options, hints.given or options.mask is not None)
    working = _working_size(picture, settings.size, progress)
    wishes = request(options)
    return ImagePlan(options, settings, folder, picture, hints, working, copy, device, wishes)


def plan_video(options: VideoOptions, device: str, progress: Progress) -> VideoPlan:
    """The same for an edit of a clip; its atlas is only located."""
    source = Path(options.source)
    check_choices(options)
    foreground = options.atlas == "fg"
    preset = preset_of(options, device)
    settings = resolve_video_settings(preset, options.clip, foreground, **options.overrides())
    check_limits(options)
    folder, copy = video_folder(options), video_copy(options)
    _check_folder(folder, source)
    former = same_record(folder, "edit-video", options, settings.preset, device)
    _check_copy(copy, options, former)
    inputs = [source, options.masks, options.atlas_dir, options.clip_weights]
    require_vacant(folder, EDIT_VIDEO, inputs, options, former is not None)
    require_encoders(options.layer_formats)
    clip = open_clip(source, rate_of(options.fps))
    pointing = (options.mask, options.box, options.points, options.not_points)
    hints = read_frame_hints(clip, *pointing)
    if hints.given and options.baseline == "frames":
        raise UsageError("--box, --point, --mask: the baseline frames has no atlas to carry it to")
    require_words(options, hints.given)
    _check_span(options, clip, hints)
    atlas_folder, resumes_fit = None, False
    stopped = can_be_resumed(folder)
    if options.baseline != "frames":
        place = Path(options.atlas_dir) if options.atlas_dir else find_atlas(clip.path)
        atlas_folder = place or default_folder(clip.path, progress)
        may_resume = options.resume and not options.overwrite and not stopped
        resumes_fit = may_resume and (atlas_folder / CHECKPOINT).exists()
    # Of an edit that was stopped because its atlas is poor, there is nothing yet to go on with.
    begins = resumes_fit or (options.any_atlas and not stopped)
    return VideoPlan(
        options,
        settings,
        folder,
        clip,
        hints,
        training_size(clip, settings),
        atlas_folder,
        resumes_fit,
        options.resume and not begins,
        device,
        _video_request(options, hints),
        copy,
    )


def plan_fit(options: FitOptions, device: str, progress: Progress) -> FitPlan:
    """The same for a fit."""
    settings = options.settings()
    check_threads(options.threads)
    CheckpointClock(options.checkpoint_every)
    clip = open_clip(Path(options.source), rate_of(options.fps))
    for note in clip.notes:
        progress.message(note)
    span = choose_span(settings, clip)
    size = working_size(clip, settings, device)
    folder = Path(options.output) if options.output else default_folder(clip.path, progress)
    if folder.resolve() == clip.path.resolve():
        raise UsageError(f"{folder} is the clip itself: choose another -o DIR")
    fit_hints(settings, span, clip)
    if settings.foreground is not None and settings.clip == SWATCH:
        reading.require_known("--foreground", settings.foreground, seen=True, placed=False)
    if settings.export_nla is not None:
        require_file_place("--export-nla", Path(settings.export_nla))
    require_encoders(())
    plan = FitPlan(options, settings, folder, clip, span, size)
    require_room(folder, plan.room)
    return plan


def _check_copy(copy: Path | None, options: VideoOptions, former: dict[str, Any] | None) -> None:
    """Refuse a file for the composite that cannot be written, or as asked for."""
    kind = film_kind(options)
    if copy is None:
        return
    require_file_place("-o", copy)
    inputs = [options.source, options.masks, options.mask]
    ours = options.overwrite or options.resume or names_copy(former, copy)
    check_output(copy, inputs, ours)
    if kind is not None:
        require_writable(copy, kind=kind)


def _check_span(options: VideoOptions, clip: Clip, hints: FrameHints) -> None:
    """Refuse frames for the fit that the clip has not, and hints on one that is not fitted."""
    if options.frames is None and options.every is None:
        return
    span = choose_span(FitSettings(frames=options.frames, every=options.every or 1), clip)
    if hints.frame is not None and hints.frame not in span.numbers:
        raise UsageError(
            f"--box, --point, --mask: frame {hints.frame} is not fitted; choose one of"
            f" {span.numbers[0]} to {span.numbers[-1]}, as --frames and --every say"
        )


def _reason(options: ImageOptions | VideoOptions, device: str) -> str:
    if options.preset is not None:
        return ""
    if options.device not in (None, "auto"):
        return f"the default on {device}"
    return "no GPU here" if device == "cpu" else "there is a GPU"


def _video_request(options: VideoOptions, hints: FrameHints) -> dict[str, Any]:
    """With the contents of the files that it names otherwise than by their path."""
    values = request(options)
    if hints.path is not None:
        values["mask"] = [sha256_of(hints.path), hints.frame]
    if options.onto is not None and (Path(options.onto) / RECORD).is_file():
        values["onto"] = sha256_of(Path(options.onto) / RECORD)
    return values


def _check_folder(folder: Path, source: Path) -> None:
    """Refuse to write among the clip's frames, or over an atlas."""
    with explained(folder):
        if folder.resolve() == source.resolve():
            raise UsageError(f"{folder} is the clip itself: choose another -o DIR")
        if folder.name == f"{source.stem}.atlas" or (folder / ATLAS).exists():
            raise UsageError(f"{folder} is for an atlas: choose another -o DIR")


def _working_size(picture: Picture, short: int, progress: Progress) -> tuple[int, int]:
    """Height and width of the working picture; that of a long panorama is held in bounds."""
    aspect = max(picture.height, picture.width) / min(picture.height, picture.width)
    bounded = max(MIN_SIZE, min(short, int(short * (_MAX_AREA_ASPECT / aspect) ** 0.5)))
    if bounded < short:
        progress.message(f"a panorama: trained at a short side of {bounded} px, not {short}")
    if bounded * aspect > MAX_LONG_SIDE:
        raise UsageError(
            f"{picture.path}: {picture.width}×{picture.height} is too long a strip to edit;"
            " cut it into parts"
        )
    scale = bounded / min(picture.height, picture.width)
    return round(scale * picture.height), round(scale * picture.width)
