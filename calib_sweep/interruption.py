"""Being told to end: by Ctrl-C, SIGTERM, SIGHUP, or a scheduler's signal before its time limit.

Such a signal raises `Interrupted` wherever the main thread is. No `except Exception` on the way
catches it, so nothing takes it for the failure of a cell; claims are given back as it passes.
Libraries also have a bare `except:`, or turn what they catch into errors of theirs. So it is
remembered as well, and `raise_if_told` raises it again before anything is concluded.
"""

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

TERMINATION = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# Impatient repetitions must not interrupt what the first one set in motion: workers are being
# ended, jobs cancelled, claims given back.
PATIENCE_S = 5.0

_told: dict[str, float] = {}  # signal: when it came; empty unless this process was told to end


class Interrupted(KeyboardInterrupt):
    """This process was told to end. Carries the name of the signal."""


@contextmanager
def ending_on(*numbers: signal.Signals) -> Iterator[None]:
    """Meanwhile these signals raise `Interrupted`; one that is ignored (nohup) stays ignored."""
    if threading.current_thread() is not threading.main_thread():
        yield  # signals belong to the main thread
        return
    before = {number: signal.getsignal(number) for number in numbers}
    for number, handler in before.items():
        if handler is not signal.SIG_IGN:
            signal.signal(number, _leave)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        _told.clear()


def _leave(number: int, _frame: FrameType | None) -> None:
    now = time.monotonic()
    if _told and now - max(_told.values()) < PATIENCE_S:
        return
    _told[signal.Signals(number).name] = now
    raise Interrupted(signal.Signals(number).name)


def was_told() -> bool:
    """Whether this process was told to end, whatever became of the exception."""
    return bool(_told)


def raise_if_told() -> None:
    """Raise `Interrupted` if this process was told to end."""
    if _told:
        raise Interrupted(next(iter(_told)))
