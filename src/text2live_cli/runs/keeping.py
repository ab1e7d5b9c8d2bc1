"""Whatever goes wrong becomes an error of the program's own, which says what is kept."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from ..endings import Stopped
from ..errors import Text2LiveError, UnexpectedError, UsageError
from .folder import CHECKPOINT, RunFolder


@contextlib.contextmanager
def keeping(run: RunFolder) -> Iterator[None]:
    """What goes wrong within is told with what `run` leaves.

    Raises Text2LiveError, for what the program did not expect UnexpectedError; and `Stopped`.
    """
    try:
        yield
    except KeyboardInterrupt as interrupt:
        stopped = interrupt if isinstance(interrupt, Stopped) else Stopped()
        stopped.kept = stopped.kept or _kept_by(run)
        raise stopped from None
    except Exception as error:
        failure = as_known(error)
        if not isinstance(failure, UsageError) and not failure.kept:
            failure.kept = _kept_by(run)
        if failure is error:
            raise
        raise failure from error


def as_known(error: Exception) -> Text2LiveError:
    """`error` as one of the program's own, in one line."""
    if isinstance(error, Text2LiveError):
        return error
    if isinstance(error, (MemoryError, RuntimeError)):
        from ..device import explain_out_of_memory

        with contextlib.suppress(MemoryError, RuntimeError):
            try:
                with explain_out_of_memory():
                    raise error
            except Text2LiveError as failure:
                return failure
    if isinstance(error, OSError):
        return Text2LiveError(_os_line(error))
    text = " ".join(str(error).split())[:300]
    return UnexpectedError(f"{type(error).__name__}" + (f": {text}" if text else ""))


def _os_line(error: OSError) -> str:
    """What the system refused, with the file or folder, which its own text leaves out at times."""
    names = [str(name)[:200] for name in (error.filename, error.filename2) if name is not None]
    reason = error.strerror or " ".join(str(error).split()) or type(error).__name__
    return f"{' → '.join(names)}: {reason}" if names else reason


def _kept_by(run: RunFolder) -> str:
    with contextlib.suppress(OSError):
        if (run.work / CHECKPOINT).exists():
            return f"the checkpoint in {str(run.work)[:200]} is kept: --resume goes on"
    return ""
