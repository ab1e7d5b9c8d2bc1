"""The formats that clips are written in, with their encoders and what they hold."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import av

from ..config import require_one_of, require_whole
from ..errors import Text2LiveError, UsageError
from .clip_colors import BT709


class Kind(NamedTuple):
    """A file format with its encoders."""

    format: str
    encoder: str
    encoder_options: dict[str, str]
    options: dict[str, str]
    instead: str
    """What else can be done where an encoder is missing."""
    even: bool = False
    """Whether both sides have to be even."""
    pixels: str = "yuv420p"
    left_sited: bool = True
    """Whether readers take chroma to lie on every second column of luma, not between columns."""
    matrix: int | None = None
    """The one colour matrix that its readers take it to have, by H.273."""
    limited: bool = False
    """Whether the format cannot say that the range is full."""
    copied: frozenset[str] = frozenset()
    """The audio codecs that go in as they are."""
    audio_encoder: str = ""
    tag: str = ""
    """Four letters by which a file names its codec, where the usual ones will not do."""
    subtitles: frozenset[str] = frozenset()
    """The subtitle codecs that go in as they are."""


_IN_MP4 = frozenset({"aac", "mp3", "ac3", "eac3", "alac", "opus"})
_IN_MOV = frozenset({"aac", "mp3", "ac3", "eac3", "alac", "pcm_s16le", "pcm_s24le"})
_IN_MKV = _IN_MP4 | _IN_MOV | {"vorbis", "flac", "dts", "mp2"}
_IN_WEBM = frozenset({"opus", "vorbis"})
_MOV_TEXT = frozenset({"mov_text"})
_MKV_SUBTITLES = frozenset(
    {"subrip", "ass", "ssa", "webvtt", "hdmv_pgs_subtitle", "dvd_subtitle", "dvb_subtitle"}
)
_X264 = {"crf": "16", "preset": "medium"}
_VP9 = {"crf": "20", "b": "0", "deadline": "good", "cpu-used": "4", "row-mt": "1"}
_QUICK_VP9 = {"crf": "32", "b": "0", "deadline": "realtime", "cpu-used": "8", "row-mt": "1"}
# Hidden frames would have to fall together in the streams of the colours and of the alpha.
_VP9_LAYER = {**_VP9, "crf": "8", "auto-alt-ref": "0"}
# The finest quantiser, as a rule what a search for it ends at, which takes two thirds of the time.
_FINEST = {"flags": "+qscale", "global_quality": "118"}  # 1, in FFmpeg's unit
_PRORES_LAYER = {"profile": "4444", "alpha_bits": "16", **_FINEST}  # of 8 some come back one lower
_INDEX_FIRST = {"movflags": "+faststart"}  # a browser can start before it has the whole file

_OR_WEBM = ", or write a .webm file"
_H264_IN_MP4 = Kind(
    "mp4",
    "libx264",
    _X264,
    _INDEX_FIRST,
    _OR_WEBM,
    even=True,
    copied=_IN_MP4,
    audio_encoder="aac",
    subtitles=_MOV_TEXT,
)
KINDS = {
    ".mp4": _H264_IN_MP4,
    ".mov": _H264_IN_MP4._replace(format="mov", copied=_IN_MOV),
    ".mkv": _H264_IN_MP4._replace(
        format="matroska", options={}, copied=_IN_MKV, subtitles=_MKV_SUBTITLES
    ),
    ".webm": Kind(
        "webm",
        "libvpx-vp9",
        _VP9,
        {},
        ", or write a .mp4, .mov or .mkv file",
        left_sited=False,
        copied=_IN_WEBM,
        audio_encoder="libopus",
        subtitles=frozenset({"webvtt"}),
    ),
}
CODECS = {
    "h264": {ending: kind for ending, kind in KINDS.items() if kind.encoder == "libx264"},
    "hevc": {
        ending: kind._replace(
            encoder="libx265",
            encoder_options={
                "crf": "18",
                "preset": "medium",
                "x265-params": "log-level=error:bframes=0",  # shown in the order of decoding
            },
            pixels="yuv420p10le",
            tag="hvc1" if ending != ".mkv" else "",  # by which players of Apple know it
        )
        for ending, kind in KINDS.items()
        if kind.encoder == "libx264"
    },
    "prores": {
        ".mov": KINDS[".mov"]._replace(
            encoder="prores_ks",
            encoder_options={"profile": "hq", "vendor": "apl0"},
            pixels="yuv422p10le",
            limited=True,
        )
    },
    "dnxhr": {
        ".mov": KINDS[".mov"]._replace(
            encoder="dnxhd",
            encoder_options={"profile": "dnxhr_hqx"},
            pixels="yuv422p10le",
            matrix=BT709,
            limited=True,
        )
    },
    "vp9": {".webm": KINDS[".webm"]},
}
"""What a video can be encoded as, by name: 10 bits but for h264 and vp9; by the file's ending."""
MAX_CRF = 63
PREVIEW = Kind("webm", "libvpx-vp9", _QUICK_VP9, {}, "", left_sited=False)
LAYER_KINDS = {
    ".mov": Kind(
        "mov",
        "prores_ks",
        _PRORES_LAYER,
        {},
        ", or write the layer as .webm or PNG frames",
        pixels="yuva444p10le",
        left_sited=False,  # chroma for each pixel
        limited=True,
    ),
    ".webm": Kind(
        "webm",
        "libvpx-vp9",
        _VP9_LAYER,
        {},
        ", or write the layer as .mov or PNG frames",
        pixels="yuva420p",
        left_sited=False,
    ),
}

CLIP_ENDINGS = frozenset({*KINDS, ".avi", ".m4v", ".mpg", ".mpeg", ".ts", ".wmv"})
"""What is taken for a film by its name, to be read."""
ALPHA_KINDS = {
    ".mov": LAYER_KINDS[".mov"]._replace(
        copied=_IN_MOV, audio_encoder="aac", subtitles=_MOV_TEXT, instead=_OR_WEBM
    ),
    ".webm": KINDS[".webm"]._replace(
        encoder_options={**_VP9, "auto-alt-ref": "0"}, pixels="yuva420p"
    ),
}
"""Of videos whose frames are not opaque."""


def kind_of(path: Path, kinds: dict[str, Kind]) -> Kind:
    """The format of a file by its ending. Raises UsageError for another one."""
    kind = kinds.get(path.suffix.lower())
    if kind is None:
        raise UsageError(f"cannot write {path}: use a name that ends in {', '.join(kinds)}")
    return kind


def encoded_as(path: Path, codec: str | None, crf: int | None) -> Kind:
    """The format of a file by its ending, by `codec` where that is given, at a quality of `crf`.

    Raises UsageError, naming the option, where the two do not go together.
    """
    if codec is None:
        kind = kind_of(path, KINDS)
    else:
        require_one_of("--codec", codec, tuple(CODECS))
        of_codec = CODECS[codec]
        if path.suffix.lower() not in of_codec:
            raise UsageError(f"--codec {codec}: name a file that ends in {', '.join(of_codec)}")
        kind = of_codec[path.suffix.lower()]
    if crf is None:
        return kind
    if "crf" not in kind.encoder_options:
        raise UsageError(f"--crf {crf}: is for h264, hevc and vp9, not for {codec}")
    require_whole("--crf", crf, 0, MAX_CRF if kind.encoder == "libvpx-vp9" else 51)
    return kind._replace(encoder_options={**kind.encoder_options, "crf": str(crf)})


def add_stream(output: Any, encoder: str, instead: str, **settings: Any) -> Any:
    """A new stream of `output`. Raises Text2LiveError where its encoder is missing."""
    with named_encoder(encoder, instead):
        return output.add_stream(encoder, **settings)


@contextlib.contextmanager
def named_encoder(encoder: str, instead: str) -> Iterator[None]:
    """An encoder that is missing within is named, with what to do."""
    try:
        yield
    except (av.codec.codec.UnknownCodecError, av.error.EncoderNotFoundError) as error:
        raise Text2LiveError(
            f"the encoder {encoder} is missing from this build of FFmpeg; install the wheel of "
            f"av from PyPI{instead}"
        ) from error
