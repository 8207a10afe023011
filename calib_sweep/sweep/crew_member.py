"""One process of a command's crew: python -m calib_sweep.sweep.crew_member SOCKET.

The socket is an open file without a name, inherited from the command. When the command dies,
however it does, the socket closes, and this process ends with all that it started.
"""

import logging
import queue
import sys
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from importlib import import_module
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING

from calib_sweep.cell import Cell
from calib_sweep.console import CellProgress
from calib_sweep.interruption import (
    INTERRUPTED,
    TERMINATION,
    end_group,
    ending_on,
    raise_if_told,
)
from calib_sweep.processes import look_for_less_garbage

if TYPE_CHECKING:
    from calib_sweep.session import Session
    from calib_sweep.sweep.worker import Worker

# What every cell needs, from the ground up; to be imported while the command still plans.
NEEDED = (
    "calib_sweep.run",
    "calib_sweep.sweep.worker",
    "lm_eval.models.huggingface",
    "lm_eval.tasks",
    "transformers.models.llama.modeling_llama",
)
# Of the sweep, not of a cell: the command says it.
UNSAID = ("calib_sweep.sweep.worker", "calib_sweep.compression.walk")


class Link:
    """The command's end, as a worker of its crew sees it."""

    def __init__(self, socket: Connection) -> None:
        self._socket, self._sending = socket, threading.Lock()
        self._bell = threading.Event()
        self.tasks: queue.SimpleQueue[Worker | None] = queue.SimpleQueue()  # None: no more
        threading.Thread(target=self._hear, daemon=True, name="lifeline").start()

    def _hear(self) -> None:
        try:
            while True:
                what, *about = self._socket.recv()
                if what == "look":
                    self._bell.set()
                else:
                    self.tasks.put(about[0] if about else None)
        except (EOFError, OSError):
            end_group()

    def tell(self, *message: object) -> None:
        """Send a message to the command. Without one this process is about to end."""
        with self._sending, suppress(OSError):
            self._socket.send(message)

    def pause(self, seconds: float) -> None:
        """Wait so many seconds, or until a cell has been settled elsewhere."""
        if self._bell.wait(seconds):
            self._bell.clear()

    def ran(self, cell_id: str, *, failed: bool) -> None:
        """Say that a cell was run here."""
        self.tell("settled", cell_id, failed)

    @contextmanager
    def running(self, cell: Cell) -> Iterator[CellProgress]:
        """Have the command show `cell` while it runs."""
        self.tell("cell", cell.id)
        yield CellProgress(lambda *done: self.tell("part", *done))

    def look(self, *_: object) -> None:
        """Show nothing: the command counts."""

    def finished(self, *_: object) -> None:
        """Show nothing: the command sees the record."""


class _Log(logging.Handler):
    """Has the command say what this process logs."""

    def __init__(self, link: Link) -> None:
        super().__init__()
        self._link = link

    def emit(self, record: logging.LogRecord) -> None:
        if record.name not in UNSAID or record.levelno > logging.INFO:
            self._link.tell("log", record.name, record.levelno, record.getMessage())


def main(socket: int) -> int:
    """Do what the command says, until there is nothing more."""
    look_for_less_garbage()
    link = Link(Connection(socket))
    package = logging.getLogger("calib_sweep")
    package.addHandler(_Log(link))
    package.setLevel(logging.INFO)
    for module in NEEDED:
        import_module(module)
    sessions: list[Session] = []
    while (task := link.tasks.get()) is not None:
        link.tell("idle", _work(replace(task, sessions=sessions), link))
    return 0


def _work(worker: "Worker", link: Link) -> str | None:
    """Do it; return what ended it before its time, if anything did."""
    try:
        worker.load_ahead()
        worker.work(link, link)
    except Exception as error:
        raise_if_told()
        traceback.print_exc()
        return f"{type(error).__name__}: {error}"
    return None


if __name__ == "__main__":
    try:
        with ending_on(*TERMINATION):
            sys.exit(main(int(sys.argv[1])))
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
