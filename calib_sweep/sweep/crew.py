"""The workers that a command starts beside itself: processes of this machine that share its cells.

    command   plan, check ...............   work, show what all do   report
    member    import torch, lm-eval, ...    work                     end

A member is started as soon as it is likely to be needed, so that its imports go on while the
command plans. Cells are shared by claims, so nothing here gives them out: one that is killed leaves
a claim on its cell, and any other worker takes that over. What a member says comes through a socket
without a name, and is shown as if this process said it.
"""

import logging
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from multiprocessing.connection import Connection, Pipe
from typing import Any

from calib_sweep.cell import Cell
from calib_sweep.interruption import GRACE_S
from calib_sweep.processes import describe_exit
from calib_sweep.sweep.progress import Progress

log = logging.getLogger(__name__)

MEMBER = "calib_sweep.sweep.crew_member"
POLL_S = 0.1
LAST_WORDS = 15  # lines


class Crew:
    """The worker processes beside this one; at first none. One that is pickled arrives empty."""

    def __init__(self) -> None:
        self.members: list[_Member] = []
        self._bell = threading.Event()  # a cell was settled, or a member is idle
        self._failed: list[str] = []  # ids of cells, until somebody asks

    def __reduce__(self) -> tuple[type["Crew"], tuple[()]]:
        return Crew, ()

    def resize(self, number: int) -> None:
        """Have so many members that can work: start some, or send some home."""
        ready = [member for member in self.members if member.can_work]
        for member in ready[number:]:
            member.send_home()
        self.members += [_Member(self) for _ in range(number - len(ready))]

    @contextmanager
    def at_work(self, task: object, cells: Sequence[Cell], progress: Progress) -> Iterator[None]:
        """Meanwhile all members do `task`, which is about `cells`.

        At the end wait for those that run a cell. The others found nothing to do, or will: they may
        not even have been ready.
        """
        by_id = {cell.id: cell for cell in cells}
        for member in self.members:
            member.begin(task, by_id, progress)
        yield
        self.ring()
        while any(member.is_running for member in self.members):
            self.pause(POLL_S)

    def pause(self, seconds: float) -> None:
        """Wait so many seconds, or until a member has settled a cell."""
        if self._bell.wait(seconds):
            self._bell.clear()

    def failed(self) -> list[str]:
        """Return the ids of the cells that failed, here and in members, since the last call."""
        told, self._failed = self._failed, []
        return told

    def ring(self) -> None:
        """Have everybody who waits look again: a cell has been settled, or a member is idle."""
        self._bell.set()
        for member in self.members:
            member.tell("look")

    def ran(self, cell_id: str, *, failed: bool) -> None:
        """Take note that a cell was run, here or in a member."""
        self._failed += [cell_id] if failed else []
        self.ring()

    def stop(self) -> None:
        """End all that still run, with all that they started."""
        for member in self.members:
            member.send_home()
        for number in (signal.SIGTERM, signal.SIGKILL):
            deadline = time.monotonic() + GRACE_S
            while running := [m for m in self.members if m.process.poll() is None]:
                if time.monotonic() > deadline:
                    break
                for member in running:
                    member.signal_once(number)
                time.sleep(POLL_S)


class _Member:
    """One process, and the thread that hears it."""

    def __init__(self, crew: Crew) -> None:
        self.crew, self.can_work, self.is_running = crew, True, False
        self._cells: dict[str, Cell] = {}
        self._progress: Progress | None = None
        self._cell = ExitStack()  # what shows the cell that runs there
        self._show: Any = None
        self._sending, self._signals = threading.Lock(), set[int]()
        self._output = tempfile.TemporaryFile()  # noqa: SIM115 - of libraries; shown if it dies
        self._socket, theirs = Pipe()
        with theirs:
            self.process = _start(theirs, self._output.fileno())
        threading.Thread(target=self._hear, daemon=True, name="crew").start()

    def begin(self, task: object, cells: dict[str, Cell], progress: Progress) -> None:
        """Have it do `task`, after what it does now."""
        if self.can_work:
            self._cells, self._progress = cells, progress
            self.tell("work", task)

    def tell(self, *message: object) -> None:
        """Send a message; the dead hear nothing."""
        with self._sending, suppress(OSError):
            self._socket.send(message)

    def send_home(self) -> None:
        """Have it end when it has done what it was told to do."""
        self.can_work = False
        self.tell("end")

    def signal_once(self, number: int) -> None:
        """Send its group a signal, unless it was sent before."""
        if number not in self._signals:
            self._signals.add(number)
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, number)

    def _hear(self) -> None:
        """Act on what it says, until it has ended. It ends, too, if there is a bug in here."""
        try:
            while True:
                what, *about = self._socket.recv()
                getattr(self, f"_on_{what}")(*about)
        except (EOFError, OSError):
            pass
        finally:
            self._leave()
            self._socket.close()
            self._tell_end(self.process.wait())
            self.crew.ring()

    def _tell_end(self, code: int) -> None:
        """Say how it ended, unless it was sent home."""
        if self.can_work:
            self.can_work = False
            self._output.seek(0)
            lines = self._output.read().decode(errors="replace").splitlines()[-LAST_WORDS:]
            told = "worker process %d: %s. The others go on. Its last words:\n%s"
            log.warning(told, self.process.pid, describe_exit(code), "\n".join(lines) or "(none)")

    def _on_log(self, name: str, level: int, text: str) -> None:
        line = logging.LogRecord(name, level, "", 0, text, None, None)
        line.process = self.process.pid
        if logging.getLogger(name).isEnabledFor(level):
            logging.getLogger(name).handle(line)

    def _on_cell(self, cell_id: str) -> None:
        assert self._progress is not None
        self.is_running = True
        shown = self._progress.running(self._cells[cell_id])
        self._show = self._cell.enter_context(shown).show

    def _on_part(self, *done: Any) -> None:
        self._show(*done)

    def _on_settled(self, cell_id: str, failed: bool) -> None:
        assert self._progress is not None
        self._progress.ended(self._cells[cell_id])
        self._leave()
        self.crew.ran(cell_id, failed=failed)

    def _on_idle(self, error: str | None) -> None:
        self._leave()
        if error is not None:
            log.error("worker process %d ended its work: %s", self.process.pid, error)
        self.crew.ring()

    def _leave(self) -> None:
        self._cell.close()
        self._show, self.is_running = None, False


def _start(socket: Connection, output: int) -> subprocess.Popen[bytes]:
    """Start a process in a group of its own: Ctrl-C is for the command, which ends its members."""
    return subprocess.Popen(
        [sys.executable, "-m", MEMBER, str(socket.fileno())],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        start_new_session=True,
        pass_fds=[socket.fileno()],
    )
