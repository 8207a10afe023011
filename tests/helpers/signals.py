"""Signals as a terminal sends them, wherever the tests run.

A shell that runs them in the background has them ignore SIGINT, nohup has them ignore SIGHUP, and
whatever they start ignores both as well.

    subprocess.Popen(command, preexec_fn=hear)     a child that hears them
    with hearing(): ...                            this process does
"""

import signal
from collections.abc import Iterator
from contextlib import contextmanager

HEARD = {signal.SIGINT: signal.default_int_handler, signal.SIGHUP: signal.SIG_DFL}


def hear() -> None:
    """Set the handlers that a program starts with at a terminal."""
    for number, handler in HEARD.items():
        signal.signal(number, handler)


@contextmanager
def hearing() -> Iterator[None]:
    """Meanwhile this process has those handlers."""
    before = {number: signal.getsignal(number) for number in HEARD}
    hear()
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
