"""A watch over the ranks of a group: if one is lost, this process ends, whatever it is doing.

Two threads. One exchanges signs of life with the other ranks, the other one judges: what the first
one asks may itself be stopped, and then it hears nothing for too long. A process that ends is sent
SIGTERM by itself, as claims are to be given back and bars to leave the terminal; if it does not
come to that, it is gone `GRACE_S` later.
"""

import logging
import os
import queue
import re
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from typing import Any, Protocol, TypeVar

from calib_sweep.group.signs import (
    DONE,
    ENDED,
    LOST,
    OVER,
    TOLD,
    WORKING,
    Ending,
    Heard,
    Sign,
    ending_of,
)
from calib_sweep.interruption import GRACE_S, INTERRUPTED, was_told

log = logging.getLogger(__name__)

T = TypeVar("T")

RANKS_LOST = 75  # exit code, as sysexits.h says it: try again
BEAT_S = 0.5
SETTLE_S = 4 * BEAT_S  # from a connection that breaks to knowing whose
LINGER_S = 4.0  # who leaves waits so long for the others to hear of it
POLL_S = 0.05


class Board(Protocol):
    """Where all ranks read what each has written."""

    def write(self, key: str, text: str, /) -> None: ...
    def read(self, keys: Sequence[str], /) -> list[bytes]: ...  # all of them are there


class Watch:
    """One rank's. `timeout_s`: a rank that gives no sign for so long is lost."""

    def __init__(self, board: Board, index: int, count: int, timeout_s: float) -> None:
        self.index, self.count, self.timeout_s = index, count, timeout_s
        self.ending: Ending | None = None
        self.prepare: Callable[[], None] | None = None  # the thread of exchanges
        self._board, self._others = board, [rank for rank in range(count) if rank != index]
        self.cell = 0  # the number of the last one begun
        self._beat, self._calls, self._state, self._why = 0, 0, WORKING, ""
        self._note: Callable[[str], None] | None = None  # of a loss, beside the cell that runs
        self._waits_since: float | None = None
        self._heard: dict[int, Heard] = {}
        self._exchanged_at = self._counts_from = time.monotonic()
        self._broken: tuple[float, str] | None = None  # an exchange of values: when, and how
        self._deaf: tuple[float, str] | None = None  # that of signs
        self._line: queue.SimpleQueue[tuple[Future[Any], Callable[[], Any]]] = queue.SimpleQueue()
        self._over, self._saying = threading.Event(), threading.Lock()
        self._last_resort: threading.Timer | None = None

    @property
    def is_on_a_cell(self) -> bool:
        """Whether a cell runs, or ended by what no cell may raise."""
        return self._note is not None

    def start(self) -> None:
        """Begin. All ranks must have said something before any of them asks."""
        self._exchanged_at = time.monotonic()
        for target in (self._exchange, self._judge, self._carry_out):
            threading.Thread(target=target, daemon=True, name=f"ranks {target.__name__}").start()

    def say(self) -> None:
        """Write this rank's sign."""
        with self._saying:
            self._beat += 1
            self._board.write(f"sign/{self.index}", self._sign().to_text())

    def _try_to_say(self) -> None:
        with suppress(Exception):  # nobody hears it
            self.say()

    def call(self, function: Callable[[], T]) -> T:
        """Do what all ranks do together, in a thread: signals would not reach one that waits.

        If that fails, the ranks can never be brought in step again: this process ends.
        """
        self._calls += 1
        self._waits_since = time.monotonic()
        future: Future[T] = Future()
        self._line.put((future, function))
        try:
            return future.result()
        except Exception as error:
            self._broken = time.monotonic(), f"{type(error).__name__}: {error}"
            while True:  # the judge ends it
                time.sleep(1)
        finally:
            self._waits_since = None

    @contextmanager
    def on(self, number: int, note: Callable[[str], None]) -> Iterator[None]:
        """Meanwhile this rank is on cell `number`; `note` writes beside it why it was lost."""
        self.cell, self._state, self._why, self._note = number, WORKING, "", note
        yield
        self._state, self._note = DONE, None
        self.say()

    def leave(self, error: BaseException | None, *, wait: bool) -> None:
        """Say that this rank ends; where that matters to others, `wait` until they have heard it.

        Who is told to end may be so because a rank is lost: whoever started them noticed first. So
        one that says nothing while we wait counts as lost.
        """
        if self.ending is not None:
            return
        self._why = "" if error is None else f"{type(error).__name__}: {error}"
        if isinstance(error, KeyboardInterrupt):
            self._state = TOLD
            silent = self._linger()
            if silent and self._note is not None:
                self._note(f"rank {silent[0]} said nothing more")
        elif error is not None and self._note is not None:
            self._state = LOST
            self._note(f"rank {self.index}: {self._why}")
            self._linger()
        else:
            self._state = OVER
            self._linger() if wait else self.say()
        self._over.set()

    def spare(self) -> None:
        """Let this process, which ends in order, take its time."""
        if self._last_resort is not None:
            self._last_resort.cancel()

    def _linger(self) -> list[int]:
        """Wait until all others have ended, or a moment; return those who said nothing in it."""
        deadline, left = time.monotonic() + LINGER_S, self._others
        self.say()
        while left and not self._deaf and time.monotonic() < deadline:
            time.sleep(POLL_S)
            left = [rank for rank in self._others if not self._has_ended(rank)]
        known = [] if self._deaf else [rank for rank in left if rank in self._heard]
        heard = [(rank, self._heard[rank]) for rank in known]
        return [rank for rank, last in heard if time.monotonic() - last.at > SETTLE_S]

    def _has_ended(self, rank: int) -> bool:
        return rank in self._heard and self._heard[rank].sign.state in ENDED

    def _sign(self) -> Sign:
        return Sign(
            beat=self._beat,
            cell=self.cell,
            calls=self._calls,
            state=self._state,
            why=self._why,
        )

    def _exchange(self) -> None:
        """Say and hear, twice a second."""
        names = [f"sign/{rank}" for rank in self._others]
        while not self._over.is_set():
            if was_told() and self._state not in ENDED:
                self._state = TOLD
            try:
                self.say()
                signs = [Sign.from_text(text) for text in self._board.read(names)]
            except Exception as error:  # whatever the client of the board raises: nobody is heard
                self._deaf = time.monotonic(), f"{type(error).__name__}: {error}"
                return
            self._exchanged_at = time.monotonic()
            for rank, sign in zip(self._others, signs, strict=True):
                if rank not in self._heard or self._heard[rank].sign != sign:
                    self._heard[rank] = Heard(sign, self._exchanged_at)
            self._over.wait(BEAT_S)

    def _judge(self) -> None:
        awake_at = time.monotonic()
        while not self._over.wait(BEAT_S / 2):
            asleep_at, awake_at = awake_at, time.monotonic()
            if awake_at - asleep_at > self.timeout_s / 2:  # it was stopped itself, maybe with all
                self._counts_from = awake_at
            if self._state in ENDED:
                continue  # it is on its way
            if (ending := self._verdict()) is not None:
                return self._end(ending)
        return None

    def _verdict(self) -> Ending | None:
        now, start, waits_since = time.monotonic(), self._counts_from, self._waits_since
        heard = {k: Heard(last.sign, max(last.at, start)) for k, last in dict(self._heard).items()}
        waits_since = None if waits_since is None else max(waits_since, start)
        found = ending_of(self._sign(), heard, now, self.timeout_s, waits_since)
        if found is not None:
            return found
        broken = self._broken or self._deaf
        if broken and now - broken[0] > SETTLE_S:
            silent = [rank for rank, last in heard.items() if now - last.at > SETTLE_S - BEAT_S / 2]
            names = " and ".join(map(str, silent)) or "another"
            return Ending(f"rank {names} is gone: {_first_sentence(broken[1])}", is_loss=True)
        if now - max(self._exchanged_at, start) > self.timeout_s:
            reason = f"the process that ranks meet at did not answer for {self.timeout_s:.0f} s"
            return Ending(reason, is_loss=True)
        return None

    def _end(self, ending: Ending) -> None:
        """End this process: in order if that is possible, and soon if not."""
        self.ending = ending
        code = RANKS_LOST if ending.is_loss else INTERRUPTED
        self._last_resort = threading.Timer(GRACE_S, end_at_once, [code])
        self._last_resort.daemon = True
        self._last_resort.start()
        self._state, self._why = (LOST if ending.is_loss else TOLD), ending.reason
        log.error("rank %d of %d ends: %s", self.index, self.count, ending.reason)
        if ending.is_loss and self._note is not None:
            self._note(ending.reason)
        # The others are to hear of it, but whoever keeps the signs may be the one that is lost.
        saying = threading.Thread(target=self._try_to_say, daemon=True)
        saying.start()
        saying.join(BEAT_S)
        os.kill(os.getpid(), signal.SIGTERM)

    def _carry_out(self) -> None:
        """Do what all ranks do together, one call after the other."""
        if self.prepare is not None:
            self.prepare()
        while True:
            future, function = self._line.get()
            try:
                future.set_result(function())
            except BaseException as error:  # is raised where the result is waited for
                future.set_exception(error)


def _first_sentence(text: str) -> str:
    """Return what gloo or the store says, without where in their code."""
    return re.sub(r"\[[^][]*\] *", "", text).partition(". ")[0].strip()


def in_a_thread(function: Callable[[], T]) -> T:
    """Return what `function` does in a thread: it may wait for long, and signals come through."""
    future: Future[T] = Future()

    def work() -> None:
        try:
            future.set_result(function())
        except BaseException as error:  # is raised where the result is waited for
            future.set_exception(error)

    threading.Thread(target=work, daemon=True, name=function.__name__).start()
    return future.result()


def end_at_once(code: int) -> None:
    """End this process without what Python does at its end, which would wait for lost ranks."""
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(code)
