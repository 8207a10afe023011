"""The terminal: where results and log lines go, and how the progress of one cell is shown."""

import logging
import os
import sys
import threading
from collections.abc import Callable
from typing import IO

from rich.console import Console, RenderableType
from rich.logging import RichHandler

from calib_sweep.errors import printable

PIPE_WIDTH = 120  # columns of a table that no terminal will show


class Screen(Console):
    """A console for many threads, whose reader may leave.

    Above live bars rich first works out how far up the cursor has to go, and writes after that: of
    two threads that did so at once, one would write over the lines of the other.
    """

    def __init__(self, *, stderr: bool = False, width: int | None = None) -> None:
        super().__init__(stderr=stderr, width=width)
        self._one_thread = threading.RLock()

    def __enter__(self) -> "Screen":
        self._one_thread.acquire()
        super().__enter__()
        return self

    def __exit__(self, *exc: object) -> None:
        try:
            super().__exit__(None, None, None)
        finally:
            self._one_thread.release()

    def on_broken_pipe(self) -> None:
        """Go on: what is done after the output counts."""
        _write_nowhere(self.file)


console = Screen(stderr=True)


def is_speaker() -> bool:
    """Tell whether this process shows results: one of those that `accelerate launch` starts."""
    return os.environ.get("LOCAL_RANK", "0") == "0"


def output(renderable: RenderableType) -> None:
    """Write a result to standard output."""
    if not is_speaker():
        return
    screen = Screen() if Screen().is_terminal else Screen(width=PIPE_WIDTH)
    if isinstance(renderable, str):
        screen.print(printable(renderable), markup=False, soft_wrap=True, crop=False)
    else:
        screen.print(renderable, crop=False)


def write(text: str) -> None:
    """Write `text` to standard output as it is; to nowhere once its reader (`head`) has left."""
    if sys.stdout is None:  # closed by whoever started this process
        return
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        _write_nowhere(sys.stdout)


def _write_nowhere(stream: IO[str]) -> None:
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


class PlainFormatter(logging.Formatter):
    """Formats a line of the log for a terminal: names and errors are what others wrote."""

    def format(self, record: logging.LogRecord) -> str:
        return printable(super().format(record))


def configure_logging() -> None:
    """Send this package's log to the terminal: above the live bars, or as plain lines."""
    package = logging.getLogger("calib_sweep")
    if package.handlers:
        return
    if console.is_terminal:
        handler: logging.Handler = RichHandler(
            console=console, show_path=False, show_level=False, log_time_format="[%X]"
        )
        handler.setFormatter(PlainFormatter("%(message)s"))
    else:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(PlainFormatter("[%(asctime)s] %(message)s", datefmt="%H:%M:%S"))
    # One line per block is for the cell's own log; here the bars or the line per cell do.
    handler.addFilter(
        lambda line: line.name != "calib_sweep.compression.walk" or line.levelno > logging.INFO
    )
    package.addHandler(handler)
    # On a terminal the speaker's bars tell of all; lines of its siblings would tear them.
    package.setLevel(logging.INFO if is_speaker() or not console.is_terminal else logging.WARNING)


class CellProgress:
    """Progress inside one cell: first over its blocks, then over what is scored."""

    def __init__(self, show: Callable[[int, int, str], None] = lambda *_: None) -> None:
        self.show = show

    def on_block(self, index: int, num_blocks: int, _seconds: float) -> None:
        """Block `index` has been compressed."""
        self.show(index + 1, num_blocks, "compress")

    def on_score(self, num_done: int, num_parts: int, part: str) -> None:
        """So many parts of the evaluation are done; `part` begins."""
        self.show(num_done, num_parts, f"score {part}")
