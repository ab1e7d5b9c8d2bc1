"""What a clip's file holds beside its pictures, on its way into another file.

All sound tracks with language and title, subtitles, chapters, timecode, date and place go along
where the format holds them; what does not is told in one note. Packets are read once and streamed.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Iterator
from fractions import Fraction
from typing import Any, Protocol

import av
import av.filter

from .clip_clock import MAX_HOLD
from .clip_decoding import (
    DECODER_ERRORS,
    decoded_frames,
    demuxed_packets,
    open_container,
)
from .clip_kinds import Kind, add_stream
from .clips import Clip

# Tags of a file, by the names under which they come; the first that is there is kept.
_TAGS = {
    **{name: (name,) for name in ("title", "artist", "album", "comment", "copyright", "date")},
    **{name: (name,) for name in ("description", "genre", "creation_time")},
    "location": ("location", "com.apple.quicktime.location.iso6709"),
    "make": ("make", "com.apple.quicktime.make"),
    "model": ("model", "com.apple.quicktime.model"),
}
_DATE = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d.*")
_TIMECODE = re.compile(r"(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d([:;.])(\d\d)")
_DROP_RATES = (Fraction(30_000, 1001), Fraction(60_000, 1001))  # that ";" and "." are for

# FFmpeg writes MOV's own list of languages, which has these under their older codes.
_MOV_LANGUAGES = {
    "deu": "ger", "nld": "dut", "swe": "sve", "ell": "gre", "isl": "ice", "zho": "chi",
    "fre": "fra", "rum": "ron", "cze": "ces", "slo": "slk", "sqi": "alb", "mkd": "mac",
    "hye": "arm", "kat": "geo", "bod": "tib", "mya": "bur", "msa": "may", "cym": "wel",
    "eus": "baq", "hrv": "hr ", "srp": "sr ", "fao": "fo ", "pan": "pa ", "fas": "iri",
}  # fmt: skip

_TEXTS = frozenset({"subrip", "ass", "ssa", "webvtt", "mov_text", "text"})
# An encoder of MOV texts asks for what an ASS file begins with.
_ASS_HEADER = b"""[Script Info]
ScriptType: v4.00+

[V4+ Styles]
Format: Name, Fontname, Fontsize, PrimaryColour, SecondaryColour, OutlineColour, BackColour, Bold, \
Italic, Underline, StrikeOut, ScaleX, ScaleY, Spacing, Angle, BorderStyle, Outline, Shadow, \
Alignment, MarginL, MarginR, MarginV, Encoding
Style: Default,Arial,16,&Hffffff,&Hffffff,&H0,&H0,0,0,0,0,100,100,0,0,1,1,0,2,10,10,10,1

[Events]
Format: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text
"""
_STYLES = re.compile(rb"\{\\[^}]*\}")  # of ASS, in the midst of the text
_TICK = Fraction(1, 1000)  # of subtitles and chapters

# Layouts that the encoders take; the speakers at the side and at the back are the same to players.
_LAYOUTS = {
    "mono": "mono", "stereo": "stereo", "downmix": "stereo", "5.0": "5.0", "5.0(side)": "5.0",
    "5.1": "5.1", "5.1(side)": "5.1", "6.1": "5.1", "7.1": "5.1", "7.1(wide)": "5.1",
}  # fmt: skip
_LESS = "stereo"  # what others become
_UNNAMED = {1: "mono", 2: "stereo", 6: "5.1"}  # channels of files that do not say where they are
_BIT_RATES = {"mono": 192_000, "stereo": 192_000, "5.0": 448_000, "5.1": 448_000}
_GAP = "0.005"  # seconds of sound that is missing, or too much, before the stamps are followed


class CarriedStreams:
    """The streams of a clip's file but its pictures, packet by packet."""

    def __init__(
        self, stack: contextlib.ExitStack, output: Any, kind: Kind, clip: Clip, video: Any
    ) -> None:
        """Add to `output` a stream for each; `video` is the one of its pictures."""
        self._container = stack.enter_context(open_container(clip.path))
        self._output, self._kind, self._clip = output, kind, clip
        self._said: list[str] = []
        self._left_out: list[str] = []
        self._tracks: dict[int, _Track] = {}
        pictures = self._container.streams.best("video")
        for stream in sorted(self._container.streams, key=lambda stream: stream.type):
            if stream is not pictures:
                self._add(stream)
        self._carry_facts(video, pictures)
        self._packets = self._converted()
        self._next: Any = None

    def notes(self) -> tuple[str, ...]:
        """What the user should be told, once all is written."""
        name, notes = self._clip.path.name, list(dict.fromkeys(self._said))
        if self._left_out:
            notes.append(f"left out, for want of a place in the file: {', '.join(self._left_out)}")
        lost = max((track.lost for track in self._tracks.values()), default=Fraction(0))
        if lost:
            notes.append(f"{float(lost):.2g} s of its sound are dropped where its clock goes back")
        return tuple(f"{name}: {note}" for note in notes)

    def write(self, until: Fraction | None) -> None:
        """Mux what begins before `until` (seconds of the video; None: all that is left)."""
        while True:
            if self._next is None:
                self._next = next(self._packets, None)
            if self._next is None:
                return
            if until is not None and self._next.pts * self._next.time_base >= until:
                return
            self._output.mux(self._next)
            self._next = None

    def _converted(self) -> Iterator[Any]:
        packets = self._clip.timeline.ordered(demuxed_packets(self._container))
        latest = self._clip.end + MAX_HOLD
        for packet in packets:
            track = None if packet is None else self._tracks.get(packet.stream_index)
            if track is None or packet.pts is None:
                continue
            shift = round(self._clip.start / packet.time_base)
            packet.pts -= shift
            packet.dts = packet.pts if packet.dts is None else packet.dts - shift
            if packet.pts * packet.time_base < latest:
                yield from track.take(packet)
        for track in self._tracks.values():
            yield from track.take(None)

    def _add(self, stream: Any) -> None:
        """Make the track that carries a stream, or say that there is none."""
        track: _Track | None = None
        if stream.type == "audio":
            track = self._sound(stream)
        elif stream.type == "subtitle":
            track = self._subtitle(stream)
        if track is None:
            self._tell_left_out(stream)
            return
        track.stream.metadata.update(self._track_tags(stream))
        track.stream.disposition = int(stream.disposition)
        self._tracks[stream.index] = track

    def _sound(self, stream: Any) -> _Track | None:
        if stream.codec_context is None:
            self._said.append("its audio cannot be read and is left out")
            return None
        codec = stream.codec_context.codec.canonical_name
        if codec in self._kind.copied:
            return _Copied(self._output.add_stream_from_template(stream))
        layout = _layout_name(stream)
        becomes = _LAYOUTS.get(layout, _LESS)
        # 44.1 kHz only where that is the source's
        is_cd_rate = self._kind.audio_encoder == "aac" and stream.codec_context.rate == 44_100
        added = add_stream(
            self._output,
            self._kind.audio_encoder,
            self._kind.instead,
            rate=44_100 if is_cd_rate else 48_000,
            layout=becomes,
            bit_rate=_BIT_RATES[becomes],
        )
        name = added.codec_context.codec.canonical_name
        down = (
            ""
            if layout.startswith(becomes) or layout == "downmix"
            else f", and from {layout} to {becomes}"
        )
        self._said.append(f"its audio is converted from {codec} to {name}{down}")
        return _Encoded(added, stream)

    def _subtitle(self, stream: Any) -> _Track | None:
        if stream.codec_context is None:
            return None
        codec = stream.codec_context.codec.canonical_name
        if codec in self._kind.subtitles:
            return _Copied(self._output.add_stream_from_template(stream))
        text = next(iter(self._kind.subtitles & {"mov_text", "subrip"}), None)
        if codec not in _TEXTS or text is None:
            return None
        added = add_stream(self._output, text, "")
        added.codec_context.subtitle_header = _ASS_HEADER
        added.time_base = _TICK
        return _Text(added, stream, text == "mov_text")

    def _tell_left_out(self, stream: Any) -> None:
        context = stream.codec_context
        name = context.codec.canonical_name if context else stream.name
        if stream.type == "data":
            tags = {key.lower() for key in stream.metadata}
            if "timecode" in tags or (name == "bin_data" and self._container.chapters()):
                return  # it comes as such
            name = stream.metadata.get("handler_name") or name
        what = {"video": "a further video track", "attachment": "an attachment"}
        if stream.type == "video" and stream.disposition & av.stream.Disposition.attached_pic:
            what["video"] = "a cover picture"
        if stream.type == "audio" and stream.codec_context is None:
            return  # said already
        kind = what.get(stream.type, f"a {stream.type} track")
        self._left_out.append(f"{kind} ({name})" if name else kind)

    def _carry_facts(self, video: Any, pictures: Any) -> None:
        """Tags, timecode and chapters."""
        metadata = _lower(self._container.metadata)
        for name, keys in _TAGS.items():
            value = next((metadata[key] for key in keys if metadata.get(key)), None)
            if value and (name != "creation_time" or _DATE.fullmatch(value)):
                self._output.metadata[name] = value
        video.metadata.update(self._track_tags(pictures))
        streams = [pictures, *self._container.streams]
        tags = [_lower(stream.metadata) for stream in streams] + [metadata]
        code = next((tag["timecode"] for tag in tags if tag.get("timecode")), None)
        if code and _fits(code, self._clip):
            video.metadata["timecode"] = code
            reel = next((tag["reel_name"] for tag in tags if tag.get("reel_name")), None)
            video.metadata.update({"reel_name": reel} if reel else {})
        elif code:
            self._left_out.append(f"its timecode ({code})")
        chapters = list(_chapters(self._container.chapters(), self._clip))
        if chapters:
            self._output.set_chapters(chapters)

    def _track_tags(self, stream: Any) -> dict[str, str]:
        """Language and title of a track; MP4 calls the title a name."""
        tags = _lower(stream.metadata)
        language, title = tags.get("language"), tags.get("title") or tags.get("name")
        if language and self._kind.format == "mov":
            language = _MOV_LANGUAGES.get(language, language)
        values = {"language": language, "title": title}
        return {name: value for name, value in values.items() if value}


def _lower(tags: dict[str, str]) -> dict[str, str]:
    return {name.lower(): value for name, value in tags.items()}


def _layout_name(stream: Any) -> str:
    """The layout of a stream's speakers, or what is usual for as many."""
    layout = stream.codec_context.layout
    return (
        _UNNAMED.get(layout.nb_channels, layout.name) if "channel" in layout.name else layout.name
    )


def _fits(code: str, clip: Clip) -> bool:
    """Whether a timecode can count the frames of a clip."""
    parts = _TIMECODE.fullmatch(code)
    if parts is None or clip.variable or int(parts[2]) >= round(clip.rate):
        return False
    return parts[1] == ":" or clip.rate in _DROP_RATES


def _chapters(chapters: Iterable[dict[str, Any]], clip: Clip) -> Iterator[dict[str, Any]]:
    """The chapters on the clock of the video."""
    for number, chapter in enumerate(chapters):
        base = chapter["time_base"]
        begin = max(chapter["start"] * base - clip.start, Fraction(0))
        end = min(chapter["end"] * base - clip.start, clip.end)
        if begin < end:
            yield {
                "id": number,
                "start": round(begin / _TICK),
                "end": round(end / _TICK),
                "time_base": _TICK,
                "metadata": {k: v for k, v in chapter["metadata"].items() if k == "title"},
            }


class _Track(Protocol):
    """One stream on its way."""

    stream: Any
    """Of the output."""
    lost: Fraction
    """Seconds that could not be kept."""

    def take(self, packet: Any) -> Iterator[Any]:
        """What becomes of the next packet; None stands for the end."""


class _Copied:
    """A stream whose packets go as they are."""

    def __init__(self, stream: Any) -> None:
        self.stream = stream
        self.lost = Fraction(0)
        self._last: int | None = None

    def take(self, packet: Any) -> Iterator[Any]:
        """What is written of a packet of the source; of None, what is left at its end."""
        if packet is None:
            return
        # Muxers refuse to go back in time. What is due within the packet before is put behind it.
        if self._last is not None and packet.dts <= self._last:
            late = self._last + 1 - packet.dts
            if self.stream.type == "audio" and late > max(packet.duration or 0, 1):
                self.lost += (packet.duration or 0) * packet.time_base
                return
            packet.dts += late
            packet.pts = max(packet.pts, packet.dts)
        self._last = packet.dts
        packet.stream = self.stream
        yield packet


class _Encoded:
    """Sound that the format asks for in another codec; its stamps are followed."""

    def __init__(self, stream: Any, source: Any) -> None:
        self.stream = stream
        self.lost = Fraction(0)
        self._source = source
        self._graph: Any = None
        self._of: tuple[Any, ...] = ()

    def take(self, packet: Any) -> Iterator[Any]:
        """What is written of a packet of the source; of None, what is left at its end."""
        if packet is None:
            packets = [None]
            yield from self._encoded(self._decoded(packets))
            if self._graph is not None:
                self._graph.push(None)
                yield from self._encoded(self._resampled())
            yield from self.stream.encode(None)
        else:
            yield from self._encoded(self._decoded([packet]))

    def _decoded(self, packets: list[Any]) -> Iterator[Any]:
        for frame in decoded_frames(self._source, packets):
            if frame is None or frame.pts is None:
                continue
            of = (frame.sample_rate, frame.format.name, frame.layout.name, frame.time_base)
            with contextlib.suppress(*DECODER_ERRORS):  # what cannot be converted is left silent
                if of != self._of:
                    self._graph, self._of = self._resampler(of), of
                self._graph.push(frame)
            yield from self._resampled()

    def _resampler(self, of: tuple[Any, ...]) -> Any:
        rate, form, layout, base = of
        graph, context = av.filter.Graph(), self.stream.codec_context
        source = graph.add_abuffer(sample_rate=rate, format=form, layout=layout, time_base=base)
        follows = graph.add("aresample", f"async=1:min_hard_comp={_GAP}")
        becomes = graph.add(
            "aformat",
            sample_rates=str(context.rate),
            sample_fmts=context.format.name,
            channel_layouts=context.layout.name,
        )
        graph.link_nodes(source, follows, becomes, graph.add("abuffersink")).configure()
        return graph

    def _resampled(self) -> Iterator[Any]:
        while self._graph is not None:
            try:
                yield self._graph.pull()
            except (av.BlockingIOError, av.EOFError):
                return

    def _encoded(self, frames: Iterator[Any]) -> Iterator[Any]:
        for frame in frames:
            yield from self.stream.encode(frame)


class _Text:
    """Subtitles as plain text, in the form that the format takes."""

    def __init__(self, stream: Any, source: Any, counts_bytes: bool) -> None:
        self.stream = stream
        self.lost = Fraction(0)
        self._source = source
        self._counts_bytes = counts_bytes
        self._last = -1

    def take(self, packet: Any) -> Iterator[Any]:
        """What is written of a packet of the source; of None, what is left at its end."""
        if packet is None or not packet.size:
            return
        begin = round(packet.pts * packet.time_base / _TICK)
        end = begin + round((packet.duration or 0) * packet.time_base / _TICK)
        if end <= 0:
            return
        text = b"\n".join(self._lines(packet))[:0xFFFF]
        if not text:
            return
        data = len(text).to_bytes(2, "big") + text if self._counts_bytes else text
        sample = av.Packet(data)
        sample.time_base, sample.stream = _TICK, self.stream
        sample.pts = sample.dts = self._last = max(begin, self._last + 1, 0)
        sample.duration = max(end - sample.pts, 1)
        yield sample

    def _lines(self, packet: Any) -> Iterator[bytes]:
        with contextlib.suppress(*DECODER_ERRORS):
            for part in self._source.decode(packet):
                spoken = _STYLES.sub(b"", getattr(part, "dialogue", b"").replace(b"\\N", b"\n"))
                yield spoken.strip()
