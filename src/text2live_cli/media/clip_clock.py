"""When the frames of a clip appear: time stamps as files have them, mended.

Stamps repeat, go back, or jump where recordings were joined. A single wrong one is put between its
neighbours; after a jump all streams go on by the same offset, so that they stay in step. The first
stamp is the origin, and the last frame has an end.
"""

from __future__ import annotations

import bisect
import itertools
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import av

from ..errors import Text2LiveError
from .stamps import mend_stamps

JITTER = Fraction(1, 1000)
"""Timestamps this close (seconds) to a constant rate are taken for rounded ones of that rate."""

MAX_RATE = 1000
"""Frames per second beyond which a clock is absurd: `JITTER` is all that is kept of a stamp."""

MAX_HOLD = 3600
"""Seconds for which one frame may stand; MP4 counts them in 32 bits, enough for six hours."""

DEFAULT_RATE = Fraction(24)
"""Frames per second where nobody says otherwise."""

_FAR = 10  # seconds ahead at which a stamp is a jump, or wrong; FFmpeg's own threshold
_BACK = Fraction(1, 10)  # seconds back from which it is a jump; less is mended frame by frame
_NEAR = 1  # seconds: a stream that goes on as before beside the jump of another
_TOGETHER = 10  # seconds between the new stamps of streams that jump together
_LONGEST_SLIP = 3  # stamps in a row that are wrong, and not the beginning of another recording
_SAME_RATE = 1e-4  # relative; 60 and 60000/1001 differ by 1e-3
_TRUE_RATES = tuple(
    Fraction(rate * 1000, 1001 if ntsc else 1000)
    for rate in (24, 25, 30, 48, 50, 60, 100, 120, 240)
    for ntsc in (False, True)
    if not (ntsc and rate % 24 and rate % 30)
)


class Clock(NamedTuple):
    """When the frames of a clip appear."""

    times: tuple[Fraction, ...]
    """Seconds from the first frame, increasing."""
    end: Fraction
    """Seconds from the first frame until the last one ends."""
    start: Fraction
    """Seconds of the first frame on the file's clock."""
    rate: Fraction
    variable: bool
    notes: tuple[str, ...]


class FrameStamp(NamedTuple):
    """What a decoder says of a frame, in ticks of its stream."""

    pts: int | None
    dts: int | None
    duration: int


def read_clock(
    path: Path, stamps: Sequence[FrameStamp], container: Any, stream: Any, is_whole: bool = True
) -> Clock:
    """The clock of the frames with these `stamps`, which the timeline has brought in order.

    Of a file that is not whole the header's duration says nothing. Raises Text2LiveError for an
    absurd clock.
    """
    base, declared = stream.time_base, declared_rates(stream)
    for kind in (0, 1):  # some containers store decoding times only
        mended = mend_stamps([stamp[kind] for stamp in stamps])
        if mended is not None:
            ticks, wrong = mended
            start = ticks[0] * base
            times = tuple((tick - ticks[0]) * base for tick in ticks)
            notes = (f"{path.name}: {_wrong_stamps(wrong)} mended",) if wrong else ()
            break
    else:
        values = [stamp.pts for stamp in stamps if stamp.pts is not None]
        start = values[0] * base if values else Fraction(0)
        rate = next((rate for rate in declared if rate <= MAX_RATE), DEFAULT_RATE)
        times = tuple(index / rate for index in range(len(stamps)))
        notes = (f"{path.name}: no usable timestamps; {float(rate):g} frames a second assumed",)
    durations = [stamp.duration * base for stamp in stamps]
    rate, variable = nominal_rate(times, declared, durations[-1], base)
    length = _told_end(container, stream) - start if is_whole else Fraction(0)
    hold = length - times[-1] if length > times[-1] else _last_duration(times, durations)
    if hold <= 0 or abs(hold - 1 / rate) <= JITTER:
        hold = 1 / rate
    end = times[-1] + hold
    refuse_absurd(path, times, end, rate)
    return Clock(times, end, start, rate, variable, notes)


def _wrong_stamps(count: int) -> str:
    if count == 1:
        return "1 timestamp that repeats or is out of order is"
    return f"{count} timestamps that repeat or are out of order are"


def _last_duration(times: Sequence[Fraction], durations: Sequence[Fraction]) -> Fraction:
    """How long the last frame says that it stands; 0 where the one before is wrong about it."""
    if len(times) > 1 and abs(times[-1] - times[-2] - durations[-2]) > 2 * JITTER:
        return Fraction(0)
    return durations[-1]


def _told_end(container: Any, stream: Any) -> Fraction:
    """When the header says that the pictures end, on the file's clock; 0 where it does not.

    Decoders know durations in the order of decoding; Matroska has none for a single frame.
    """
    name = container.format.name
    if stream.duration and ("mp4" in name or name in ("gif", "apng")):
        return ((stream.start_time or 0) + stream.duration) * stream.time_base
    if "matroska" not in name or not container.duration:
        return Fraction(0)
    ends = Fraction(container.duration, av.time_base)
    tag = re.fullmatch(r"(\d+):(\d\d):(\d\d(?:\.\d+)?)", stream.metadata.get("DURATION", ""))
    if tag:
        hours, minutes, seconds = tag.groups()
        return min(ends, 3600 * int(hours) + 60 * int(minutes) + Fraction(seconds))
    return ends if len(container.streams) == 1 else Fraction(0)


def declared_rates(stream: Any) -> list[Fraction]:
    """The frame rates that a container claims, the likeliest first."""
    rates = (stream.guessed_rate, stream.average_rate, stream.base_rate)
    return [_true_rate(Fraction(rate)) for rate in rates if rate and rate > 0] or [DEFAULT_RATE]


def _true_rate(rate: Fraction) -> Fraction:
    """The rate of the trade that a file's rounded one stands for: 19001/317 is 60000/1001."""
    return next((true for true in _TRUE_RATES if abs(rate / true - 1) < _SAME_RATE), rate)


def nominal_rate(
    times: Sequence[Fraction],
    declared: Sequence[Fraction],
    hold: Fraction = Fraction(0),
    tick: Fraction = JITTER,
) -> tuple[Fraction, bool]:
    """The declared rate that the times keep, else their mean; and whether they vary.

    Times in fine ticks (seconds) tell 59.94 from 60 in a short clip; the rate that they keep within
    these comes first. A single frame has the first rate that is not absurd, or stands for `hold`
    seconds.
    """
    if len(times) == 1:
        rate = next((rate for rate in declared if rate <= MAX_RATE), None)
        return rate or (1 / hold if hold > 0 else DEFAULT_RATE), False
    mean = (len(times) - 1) / times[-1]
    mean = mean.limit_denominator(1001) or mean
    rates = [*declared, _true_rate(mean), mean]
    for tolerance in (min(2 * tick, JITTER), JITTER):
        for rate in rates:
            if keeps_rate(times, rate, tolerance):
                return rate, False
    return rates[-1], True


def keeps_rate(times: Sequence[Fraction], rate: Fraction, tolerance: Fraction = JITTER) -> bool:
    """Whether `times`, seconds from the first frame, are those of a constant `rate`."""
    return all(abs(time - index / rate) <= tolerance for index, time in enumerate(times))


def refuse_absurd(path: Path, times: Sequence[Fraction], end: Fraction, rate: Fraction) -> None:
    """Raise Text2LiveError where a frame stands for over an hour, or there are too many a second.

    `times` and `end` are seconds, `rate` frames a second.
    """
    for index, (time, after) in enumerate(itertools.pairwise([*times, end])):
        if after - time > MAX_HOLD:
            raise Text2LiveError(
                f"{path}: frame {index} stands for {_spoken(after - time)} (limit one hour); export"
                " the clip again, with sound timestamps"
            )
    if rate > MAX_RATE:
        raise Text2LiveError(
            f"{path}: {float(rate):.6g} frames a second are too many (limit {MAX_RATE}); export the"
            " clip again, with a sound frame rate"
        )


def _spoken(seconds: Fraction) -> str:
    for name, length in (("years", 31_557_600), ("days", 86_400)):
        if seconds >= length:
            return f"{float(seconds / length):,.1f} {name}"
    return f"{float(seconds / 3600):.1f} hours"


# Jumps, and the sound beside them


@dataclass
class Timeline:
    """By how much the stamps of the packets of each stream are to be moved, in seconds."""

    joints: int = 0
    """Where the clock jumps."""
    moves: dict[int, list[tuple[int, Fraction]]] = field(default_factory=dict)
    """By stream: from which packet on, by how much."""
    slips: dict[tuple[int, int], Fraction] = field(default_factory=dict)
    """By stream and packet: of single stamps of the sound, by how much more."""

    def notes(self, path: Path) -> tuple[str, ...]:
        """What the user should be told."""
        if not self.joints:
            return ()
        times = "once" if self.joints == 1 else f"{self.joints} times"
        return (f"{path.name}: its clock jumps {times}; pictures and sound go on in step",)

    def ordered(self, packets: Iterable[Any]) -> Iterator[Any]:
        """The packets of a container, or of some of its streams, with their stamps moved."""
        numbers: Counter[int] = Counter()
        for packet in packets:
            if packet is not None:
                index = packet.stream_index
                move = self._move(index, numbers[index])
                numbers[index] += 1
                if move:
                    ticks = round(move / packet.time_base)
                    packet.pts = None if packet.pts is None else packet.pts + ticks
                    packet.dts = None if packet.dts is None else packet.dts + ticks
            yield packet

    def _move(self, index: int, number: int) -> Fraction:
        moves = self.moves.get(index, [])
        passed = [move for begin, move in moves if begin <= number]
        return (passed[-1] if passed else Fraction(0)) + self.slips.get((index, number), 0)


def read_timeline(container: Any, packets: Iterable[Any]) -> Timeline:
    """Find the jumps of a container's clock in all its `packets`, in the order of the file."""
    tracks = {s.index: _Track(s) for s in container.streams if s.type in ("video", "audio")}
    places: dict[int, list[int]] = defaultdict(list)
    for place, packet in enumerate(packets):
        if packet is not None:
            numbers = places[packet.stream_index]
            if packet.stream_index in tracks:
                tracks[packet.stream_index].add(packet, len(numbers))
            numbers.append(place)
    timeline = Timeline()
    jumps: list[_Jump] = []
    is_broken = bool(container.format.flags & av.format.Flags.ts_discont.value)
    for track in tracks.values():
        jumps += track.jumps(is_broken, timeline.slips, places[track.index])
    total: dict[int, Fraction] = defaultdict(Fraction)
    for joint in _joints(jumps):
        timeline.joints += 1
        shift = max(jump.shift for jump in joint)
        numbers_of = {jump.stream: jump.number for jump in joint}
        for index, in_file in places.items():
            number = numbers_of.get(index)
            if number is None:  # by its place in the file, unless it goes on as before
                number = bisect.bisect_left(in_file, joint[0].place)
                if index in tracks and tracks[index].goes_on(number):
                    continue
            total[index] += shift
            timeline.moves.setdefault(index, []).append((number, total[index]))
    return timeline


class _Jump(NamedTuple):
    place: int
    """In the file."""
    stream: int
    """Its index."""
    number: int
    """Of the packet in its stream."""
    begins: Fraction
    """The new stamp, seconds."""
    shift: Fraction
    """What would bring it to the end of the stamps before, seconds."""


def _joints(jumps: list[_Jump]) -> list[list[_Jump]]:
    """Jumps of several streams at the same place."""
    joints: list[list[_Jump]] = []
    for jump in sorted(jumps):
        together = joints and all(
            jump.stream != other.stream
            and abs(jump.begins - other.begins) < _TOGETHER
            and (jump.shift > 0) == (other.shift > 0)
            for other in joints[-1]
        )
        if together:
            joints[-1].append(jump)
        else:
            joints.append([jump])
    return joints


class _Track:
    """The decoding times of one stream of pictures or sound, in ticks."""

    def __init__(self, stream: Any) -> None:
        self.index = stream.index
        self.is_sound = stream.type == "audio"
        self._base = stream.time_base
        self._numbers: list[int] = []
        self._stamps: list[int] = []
        self._durations: list[int] = []

    def add(self, packet: Any, number: int) -> None:
        """Note the stamp of the file's packet `number`; one without a stamp is left out."""
        stamp = packet.dts
        if stamp is None and self.is_sound:  # which is never out of order
            stamp = packet.pts
        if stamp is not None:
            self._numbers.append(number)
            self._stamps.append(stamp)
            self._durations.append(packet.duration or 0)

    def goes_on(self, number: int) -> bool:
        """Whether the packet of that number has about the stamp that should follow."""
        at = bisect.bisect_left(self._numbers, number)
        if not 0 < at < len(self._stamps):
            return True
        due = self._stamps[at - 1] + self._durations[at - 1]
        return abs(self._stamps[at] - due) * self._base < _NEAR

    def jumps(
        self, forward_too: bool, slips: dict[tuple[int, int], Fraction], places: list[int]
    ) -> list[_Jump]:
        """Where the stamps go back for good (or far ahead); single wrong ones go into `slips`."""
        jumps: list[_Jump] = []
        far, back = _FAR / self._base, _BACK / self._base
        at, stamps = 1, self._stamps
        while at < len(stamps):
            before, stamp = stamps[at - 1], stamps[at]
            due = before + self._durations[at - 1]
            length = 0
            if stamp <= before or stamp > due + far:
                length = self._slip(at, before, far)
            if length:
                self._mend(at, length, due, slips)
            elif stamp < before - back or (forward_too and stamp > due + far):
                number = self._numbers[at]
                shift = (due - stamp) * self._base
                jumps.append(_Jump(places[number], self.index, number, stamp * self._base, shift))
            at += length + 1
        return jumps

    def _slip(self, at: int, before: int, far: Fraction) -> int:
        """How many stamps from `at` on are wrong before they go on as they did; 0 for a jump."""
        stamp = self._stamps[at]
        for length in range(1, _LONGEST_SLIP + 1):
            if at + length >= len(self._stamps):
                return len(self._stamps) - at
            last, after = self._stamps[at + length - 1 : at + length + 1]
            if stamp > before:  # far ahead
                if before < after < stamp - far / 2:
                    return length
            elif after > before and 2 * (after - last) > 3 * self._durations[at + length - 1]:
                return length
        return 0

    def _mend(self, at: int, length: int, due: int, slips: dict[tuple[int, int], Fraction]) -> None:
        """Put wrong stamps where they are due; those of frames are mended after decoding."""
        for index in range(at, at + length):
            if self.is_sound:
                key = (self.index, self._numbers[index])
                slips[key] = (due - self._stamps[index]) * self._base
            self._stamps[index] = due  # the next ones are judged by it
            due += self._durations[index]
