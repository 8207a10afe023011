"""What the launchers share about being interrupted."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def sigterm_as_exit() -> Iterator[None]:
    """Meanwhile SIGTERM unwinds the stack as Ctrl-C does, so that children can be stopped."""
    if threading.current_thread() is not threading.main_thread():
        yield  # signals belong to the main thread
        return

    def leave(number: int, _frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
