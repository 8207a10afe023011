"""Being told to end: by Ctrl-C, SIGTERM, SIGHUP, or a scheduler's signal before its time limit.

Such a signal raises `Interrupted` wherever the main thread is. No `except Exception` on the way
catches it, so nothing takes it for the failure of a cell; claims are given back as it passes.
Libraries also have a bare `except:`, or turn what they catch into errors of theirs. So it is
remembered as well, and `raise_if_told` raises it again before anything is concluded. Most of all
they do so while they are imported, for seconds: the next import raises it again.
"""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

TERMINATION = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# Impatient repetitions must not interrupt what the first one set in motion: workers are being
# ended, jobs cancelled, claims given back.
PATIENCE_S = 5.0
INTERRUPTED = 130  # exit code, as a shell says it of a program that Ctrl-C ended
# Set by `torchrun` and `accelerate launch` for the processes that they start.
STARTED_BY_ANOTHER = ("TORCHELASTIC_RUN_ID", "ACCELERATE_MIXED_PRECISION")
PARENT_POLL_S = 1.0
GRACE_S = 5.0  # from SIGTERM to SIGKILL

_told: dict[str, float] = {}  # signal: when it came; empty unless this process was told to end


class Interrupted(KeyboardInterrupt):
    """This process was told to end. Carries the name of the signal."""


def interruptible(action: Callable[[], int]) -> int:
    """Run `action`, the program; being told to end is said in one line, and the code is 130."""
    try:
        with ending_on(*TERMINATION):
            return action()
    except KeyboardInterrupt:
        sys.stderr.write("Interrupted. Finished cells are kept: run the same command to go on.\n")
        return INTERRUPTED


def end_with_parent() -> None:
    """Be told to end once the `accelerate launch` that started this process has died.

    It ends its processes when it is told to, but not when it is killed: they would work on unseen.
    """
    if os.environ.keys() & set(STARTED_BY_ANOTHER):
        end_with(os.getppid())


def end_with(parent: int) -> None:
    """Be told to end once the process `parent`, which started this one, has died."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(PARENT_POLL_S)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, daemon=True, name="parent").start()


def end_group() -> None:
    """End this process and all that it started and that is in its group, whatever they do."""
    os.killpg(os.getpgrp(), signal.SIGTERM)
    time.sleep(GRACE_S)
    os.killpg(os.getpgrp(), signal.SIGKILL)


@contextmanager
def ending_on(*numbers: signal.Signals) -> Iterator[None]:
    """Meanwhile these signals raise `Interrupted`; one that is ignored (nohup) stays ignored."""
    if threading.current_thread() is not threading.main_thread():
        yield  # signals belong to the main thread
        return
    before = {number: signal.getsignal(number) for number in numbers}
    gate, hook = _Gate(), sys.unraisablehook
    sys.meta_path.insert(0, gate)
    sys.unraisablehook = lambda lost: _raise_again(lost) or hook(lost)
    for number, handler in before.items():
        if handler is not signal.SIG_IGN:
            signal.signal(number, _leave)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        sys.meta_path.remove(gate)
        sys.unraisablehook = hook
        _told.clear()


class _Gate:
    """Lets no module be imported once this process was told to end, but by who cleans up."""

    def find_spec(self, *_: object) -> None:
        """Raise `Interrupted` where it was swallowed; find nothing otherwise."""
        is_on_its_way = isinstance(sys.exc_info()[1], Interrupted)
        if threading.current_thread() is threading.main_thread() and not is_on_its_way:
            raise_if_told()


def _raise_again(lost: "sys.UnraisableHookArgs") -> bool:
    """Tell whether `lost` is an `Interrupted` that came where Python can raise nothing.

    That is in a `__del__`, or as a lock of an import goes. It is raised again a moment later.
    """
    if not isinstance(lost.exc_value, Interrupted):
        return False
    _told.clear()
    number = signal.Signals[str(lost.exc_value)]
    threading.Timer(0.01, os.kill, [os.getpid(), number]).start()
    return True


def _leave(number: int, _frame: FrameType | None) -> None:
    now = time.monotonic()
    if _told and now - max(_told.values()) < PATIENCE_S:
        return
    _told[signal.Signals(number).name] = now
    raise Interrupted(signal.Signals(number).name)


def was_told() -> bool:
    """Tell whether this process was told to end. Any thread may ask."""
    return bool(_told)


def raise_if_told() -> None:
    """Raise `Interrupted` if this process was told to end."""
    if _told:
        raise Interrupted(next(iter(_told)))
