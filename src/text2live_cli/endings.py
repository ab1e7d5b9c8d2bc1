"""How a command ends early: Ctrl-C, SIGTERM (a service is stopped), SIGHUP (a terminal closes).

While a generator or an atlas is trained, a signal is only noted: the step ends, and checkpoint and
result are written (`catch_signals`). At other times it ends the command where it is
(`signals_raise`), by an exception, so that nothing half-written is left.
"""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType

_ECHO_SECONDS = 0.3
"""A signal this soon after another is the same one: wrappers pass on what the terminal sent too."""


class Stopped(KeyboardInterrupt):
    """The process was asked to end, by the signal `number`; `kept` says what its work left."""

    def __init__(self, number: int = signal.SIGINT) -> None:
        super().__init__()
        self.number = number
        self.kept = ""

    @classmethod
    def by(cls, name: str | None) -> Stopped:
        """By the signal `name`, such as "SIGTERM"; None is Ctrl-C."""
        return cls(signal.SIGINT if name is None else signal.Signals[name])

    @property
    def exit_code(self) -> int:
        """As shells count it."""
        return 128 + self.number


class Stop:
    """Whether the process was asked to end; called, it answers that.

    The first time, the step ends, and checkpoint and result are written. The second time
    (`hurried`) the result is left out. The third time nothing is waited for.
    """

    def __init__(self) -> None:
        self.number: int | None = None
        self.times = 0
        self._noted = float("-inf")

    def __call__(self) -> bool:
        return self.times > 0

    @property
    def name(self) -> str | None:
        """The signal's, such as "SIGTERM"; None where none came."""
        return None if self.number is None else signal.Signals(self.number).name

    @property
    def hurried(self) -> bool:
        """Whether there is no time for a result."""
        return self.times > 1

    def note(self, number: int, frame: FrameType | None = None) -> None:
        """The handler of the signals."""
        now = time.monotonic()
        if now - self._noted < _ECHO_SECONDS:
            return
        self._noted = now
        self.number, self.times = number, self.times + 1
        if self.times > 2:
            raise Stopped(number)

    def end(self) -> None:
        """Raise `Stopped` where the process was asked to end."""
        if self.number is not None:
            raise Stopped(self.number)


@contextlib.contextmanager
def catch_signals() -> Iterator[Stop]:
    """Within it, signals are only noted, in what it yields; the third raises `Stopped`.

    So does a KeyboardInterrupt that code within raises because of it. Signals reach the main
    thread alone: elsewhere nothing is caught.
    """
    stop = Stop()
    with _handled(stop.note, (signal.SIGINT, *_others())):
        try:
            yield stop
        except KeyboardInterrupt:
            stop.end()
            raise


@contextlib.contextmanager
def signals_raise() -> Iterator[None]:
    """Within it, SIGTERM and SIGHUP raise `Stopped`, as Ctrl-C raises KeyboardInterrupt."""

    def end(number: int, frame: FrameType | None) -> None:
        raise Stopped(number)

    with _handled(end, _others()):
        yield


def _others() -> tuple[signal.Signals, ...]:
    """The signals beside Ctrl-C that ask a process to end; not one that `nohup` has switched off.

    Windows has no SIGHUP.
    """
    signals = (getattr(signal, name, None) for name in ("SIGTERM", "SIGHUP"))
    return tuple(s for s in signals if s is not None and signal.getsignal(s) != signal.SIG_IGN)


@contextlib.contextmanager
def _handled(
    handler: Callable[[int, FrameType | None], None], numbers: tuple[signal.Signals, ...]
) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield
    finally:
        for number, former in before.items():
            signal.signal(number, former)
