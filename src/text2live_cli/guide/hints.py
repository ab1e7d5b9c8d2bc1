"""Where an edit is to be, as a user says it: a box and points, in pixels or per cent."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from ..errors import UsageError

_NUMBER = r"\d{1,9}(?:\.\d{1,9})?|\.\d{1,9}"
_LENGTH = re.compile(rf"\s*({_NUMBER})(%?)\s*")
_LEAST = 2  # pixels a side of a box
_ROUNDING = 1e-6
_FRAME = re.compile(r"(.*?)(?:@(\d{1,9}))?")


class Point(NamedTuple):
    """A place in a picture, as shares of its width and height, and the frame of a clip."""

    x: float
    y: float
    frame: int | None = None


class Box(NamedTuple):
    """A rectangle of a picture, as shares of its width and height, and the frame of a clip."""

    x: float
    y: float
    width: float
    height: float
    frame: int | None = None

    def holds(self, point: Point) -> bool:
        """Whether the point lies in it."""
        across, down = point.x - self.x, point.y - self.y
        return 0 <= across <= self.width and 0 <= down <= self.height


class Hints(NamedTuple):
    """What a user points at: the object is in `box`, at `points` and not at `not_points`."""

    box: Box | None = None
    points: tuple[Point, ...] = ()
    not_points: tuple[Point, ...] = ()

    @property
    def given(self) -> bool:
        """Whether there is any."""
        return self.box is not None or bool(self.points)

    @property
    def frames(self) -> set[int]:
        """The frames of a clip that are named; those that name none are on the same."""
        boxes = () if self.box is None else (self.box,)
        numbers = (hint.frame for hint in (*boxes, *self.points, *self.not_points))
        return {number for number in numbers if number is not None}

    def describe(self) -> str:
        """In words: "box", "2 points", "box and 1 point"."""
        count = len(self.points)
        parts = ["box"] if self.box else []
        parts += [f"{count} point{'s' * (count > 1)}"] if count else []
        return " and ".join(parts)


def parse_hints(
    size: tuple[int, int],
    box: str | None = None,
    points: Sequence[str] = (),
    not_points: Sequence[str] = (),
    frames: range | None = None,
) -> Hints:
    """Read "X,Y,W,H" and "X,Y", each in pixels or per cent of a picture of `size` (H, W).

    In a clip, of whose frames `frames` can be pointed at, each may end in "@FRAME", all of them in
    the same. Raises UsageError, naming the option.
    """
    hints = Hints(
        None if box is None else _parse_box(box, size, frames),
        tuple(_parse_point("--point", text, size, frames) for text in points),
        tuple(_parse_point("--not", text, size, frames) for text in not_points),
    )
    for text, point in zip(points, hints.points, strict=True):
        if hints.box is not None and not hints.box.holds(point):
            raise UsageError(f"--point {text}: it lies outside of --box {box}")
    if hints.not_points and not hints.given:
        raise UsageError("--not: it says what is beside the object; add a --point or a --box on it")
    for text, point in zip(not_points, hints.not_points, strict=True):
        if point[:2] in {place[:2] for place in hints.points}:
            raise UsageError(f"--not {text}: the same point is a --point; leave one of them out")
    if frames is not None and len(hints.frames) > 1:
        numbers = " and ".join(map(str, sorted(hints.frames)))
        raise UsageError(f"--box, --point, --not: they are on the frames {numbers}; choose one")
    return hints


def _parse_box(text: str, size: tuple[int, int], frames: range | None) -> Box:
    (x, y, width, height), frame = _parse("--box", text, "X,Y,W,H", size, frames)
    if width * size[1] < _LEAST or height * size[0] < _LEAST:
        raise UsageError(f"--box {text}: it has no area, or hardly any; write X,Y,W,H")
    if x + width > 1 + _ROUNDING or y + height > 1 + _ROUNDING:
        raise UsageError(f"--box {text}: must lie in the {_whole(size, frames)}")
    return Box(x, y, width, height, frame)


def _parse_point(flag: str, text: str, size: tuple[int, int], frames: range | None) -> Point:
    (x, y), frame = _parse(flag, text, "X,Y", size, frames)
    if x > 1 or y > 1:
        raise UsageError(f"{flag} {text}: must lie in the {_whole(size, frames)}")
    return Point(x, y, frame)


def _parse(
    flag: str, text: str, form: str, size: tuple[int, int], frames: range | None
) -> tuple[list[float], int | None]:
    """The lengths of `text` as shares of the picture, x and y by turns, and its frame."""
    match = _FRAME.fullmatch(text)
    place, frame = match.groups() if match else ("", None)
    lengths = [_LENGTH.fullmatch(part) for part in place.split(",")]
    if len(lengths) != form.count(",") + 1 or None in lengths:
        or_frame = f" or {form}@FRAME" if frames is not None else ""
        raise UsageError(
            f"{flag} {text[:60]}: must be {form}{or_frame},"
            " in pixels (120,80) or per cent (40%,25%)"
        )
    if frame is not None and frames is None:
        raise UsageError(f"{flag} {text}: @{frame} names a frame, and a picture has none")
    number = None if frame is None else int(frame)
    if number is not None and frames is not None and number not in frames:
        raise UsageError(f"{flag} {text}: frame {number} is not in {frames.start}:{frames.stop}")
    shares = []
    for axis, length in enumerate(lengths):
        assert length is not None
        value, percent = float(length[1]), bool(length[2])
        if percent and value > 100:
            raise UsageError(f"{flag} {text}: {length[0].strip()} is more than 100%")
        shares.append(value / (100 if percent else size[1 - axis % 2]))
    return shares, number


def _whole(size: tuple[int, int], frames: range | None) -> str:
    return f"{'picture' if frames is None else 'frame'}, {size[1]}×{size[0]}"
