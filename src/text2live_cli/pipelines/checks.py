"""What an edit's options must be, whatever its input; checked without torch."""

from __future__ import annotations

from ..config import (
    MAX_MINUTES,
    MAX_STEPS,
    MAX_THREADS,
    require_whole,
    resolve_settings,
    resolve_video_settings,
)
from ..errors import UsageError
from ..guide.encoder_names import SWATCH
from ..guide.swatch import reading
from ..runs.clock import CheckpointClock
from .options import EditOptions, ImageOptions, VideoOptions

LAYER_FORMATS = ("mov", "webm", "png", "matte", "none")
BASELINES = ("atlas", "frames")
SIDES = {"fg": "foreground", "bg": "background"}
"""The layers by their short names; atlases count them (`atlas.layers.LAYERS`)."""


def check_values(options: ImageOptions | VideoOptions) -> None:
    """Raise UsageError for values that no edit could have, whatever its input; nothing is read."""
    preset, placed = preset_of(options, "cpu"), any((options.box, options.points, options.mask))
    if isinstance(options, ImageOptions):
        resolve_settings(preset, options.clip, **options.overrides())
    else:
        check_choices(options)
        foreground = options.atlas == "fg"
        resolve_video_settings(preset, options.clip, foreground, **options.overrides())
    check_limits(options)
    require_words(options, placed)


def preset_of(options: ImageOptions | VideoOptions, device: str) -> str:
    """As given, or by the type of device."""
    default = "draft" if device == "cpu" else "paper"
    return default if options.preset is None else options.preset


def check_limits(options: EditOptions) -> None:
    """Refuse limits that cannot be kept, naming the option."""
    minutes = options.minutes
    if minutes is not None and options.steps is not None:
        raise UsageError("--minutes and --steps: choose one")
    if minutes is not None and not 0 < minutes <= MAX_MINUTES:
        raise UsageError(f"--minutes {minutes:g}: must be over 0, and {MAX_MINUTES:g} at most")
    if options.save_every is not None:
        require_whole("--save-every", options.save_every, 1, MAX_STEPS)
    check_threads(options.threads)
    CheckpointClock(options.checkpoint_every)


def check_threads(threads: int | None) -> None:
    """Raise UsageError for a number that cannot be."""
    if threads is not None:
        require_whole("--threads", threads, 1, MAX_THREADS)


def require_words(options: EditOptions, placed: bool) -> None:
    """Refuse texts that the embedded encoder cannot read, before anything is loaded."""
    if options.clip == SWATCH:
        texts = options.prompt, options.roi, options.screen, options.also, options.keep
        reading.require_edit(*texts, placed)


def check_choices(options: VideoOptions) -> None:
    """Refuse what is none of the choices, or does not go together."""
    if options.atlas not in SIDES:
        raise UsageError(f"--atlas {options.atlas}: must be fg or bg")
    for name in options.layer_formats:
        if name not in LAYER_FORMATS:
            raise UsageError(f"--layer-format {name}: must be one of {', '.join(LAYER_FORMATS)}")
    if "none" in options.layer_formats and len({*options.layer_formats}) > 1:
        raise UsageError("--layer-format none: stands alone; leave it out to have the others")
    if options.premultiplied and not {"mov", "png"} & {*options.layer_formats}:
        raise UsageError("--premultiplied: is of --layer-format mov and png")
    baseline = options.baseline
    if baseline is not None and baseline not in BASELINES:
        raise UsageError(f"--baseline {baseline}: must be {', '.join(BASELINES)}")
    if options.onto and baseline == "frames":
        raise UsageError("--onto: the baseline frames has no atlas to share")
