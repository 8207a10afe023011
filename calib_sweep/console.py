"""The terminal: where results and log lines go, and how the progress of one cell is shown."""

import logging
import os
import sys
from collections.abc import Callable

from rich.console import Console, RenderableType
from rich.logging import RichHandler

from calib_sweep.errors import printable

console = Console(stderr=True)


PIPE_WIDTH = 120  # columns of a table that no terminal will show


def is_speaker() -> bool:
    """Tell whether this process shows results: one of those that `accelerate launch` starts."""
    return os.environ.get("LOCAL_RANK", "0") == "0"


def output(renderable: RenderableType) -> None:
    """Write a result to standard output."""
    if not is_speaker():
        return
    screen = Console() if Console().is_terminal else Console(width=PIPE_WIDTH)
    if isinstance(renderable, str):
        screen.print(printable(renderable), markup=False, soft_wrap=True, crop=False)
    else:
        screen.print(renderable, crop=False)


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
