"""Show a person how cells get on: live bars on a terminal, plain log lines elsewhere."""

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence, Set
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    ProgressColumn,
    Task,
    TimeElapsedColumn,
)
from rich.progress import Progress as Bars
from rich.table import Column
from rich.text import Text

from calib_sweep.analysis.formatting import duration
from calib_sweep.cell import Cell
from calib_sweep.console import (
    CellProgress,
    console,
    is_speaker,
)
from calib_sweep.results.record import Record
from calib_sweep.results.store import Store
from calib_sweep.sweep.eta import Estimate
from calib_sweep.sweep.tally import Tally

if TYPE_CHECKING:
    from calib_sweep.sweep.queue import Queue

log = logging.getLogger(__name__)


REFRESH_S = 0.2  # seconds between two drawings of the bars
BESIDE_NAME = 43  # columns of a terminal for a short bar, counts and times, and what parts them


class Name(ProgressColumn):
    """What a bar is about, as much of it as leaves room for the rest of its line."""

    def render(self, task: Task) -> Text:
        text = Text(task.description, no_wrap=True)
        text.truncate(max(1, console.width - BESIDE_NAME), overflow="ellipsis")
        return text


class TimeLeft(ProgressColumn):
    """The seconds to the moment when a task is expected to end."""

    def render(self, task: Task) -> Text:
        ends_s = task.fields.get("ends_s")
        left = "" if ends_s is None else f"{duration(max(0.0, ends_s - time.monotonic()))} left"
        return Text(left, style="progress.remaining")


class LiveBars(Bars):
    """Bars that hold the console while they are drawn, as every line does that is printed.

    A thread of rich's own would not.
    """

    def __init__(self, *columns: ProgressColumn) -> None:
        super().__init__(*columns, console=console, transient=True, auto_refresh=False)
        self._is_over = threading.Event()

    def start(self) -> None:
        with self.console:
            super().start()
        threading.Thread(target=self._tick, daemon=True, name="bars").start()

    def stop(self) -> None:
        self._is_over.set()
        with self.console:
            super().stop()

    def refresh(self) -> None:
        with self.console:
            super().refresh()

    def _tick(self) -> None:
        while not self._is_over.wait(REFRESH_S):
            self.refresh()


class Progress:
    """Progress over the cells of a sweep and the blocks of the cell that runs here.

    `most`: cells that this worker runs at most; None: it stays to the end. `cost_of`: what a cell
    costs, in any unit; None where that is not known.
    """

    def __init__(
        self,
        cells: Sequence[Cell],
        store: Store,
        most: int | None = None,
        cost_of: Callable[[Cell], float | None] = lambda _: None,
    ) -> None:
        self.num_cells, self.store = len(cells), store
        self._open: Set[str] = {cell.id for cell in cells}  # as of the last look
        self._begun, self._ended = set[str](), set[str]()  # here, or in workers beside this one
        self.left: Estimate | None = None
        self.tally = Tally(cells, lambda: time.monotonic(), most, cost_of)
        self.is_live = console.is_terminal and is_speaker()

    def __enter__(self) -> "Progress":
        if self.is_live:
            whole = Column(no_wrap=True)  # only the bar gives way
            self.bars = LiveBars(
                Name(table_column=whole.copy()),
                BarColumn(),
                MofNCompleteColumn(table_column=whole.copy()),
                TimeElapsedColumn(table_column=whole.copy()),
                TimeLeft(table_column=whole.copy()),
            )
            self.bars.start()
            name = f"sweep {self.store.sweep_name}"
            self.cell_bar = self.bars.add_task(name, total=self.num_cells, ends_s=None)
        return self

    def __exit__(self, *exc: object) -> None:
        if self.is_live:
            self.bars.stop()

    def look(self, queue: "Queue", own: Cell | None = None) -> None:
        """See what is left, whoever runs it; `own`: the cell that begins here now."""
        self._open = queue.is_open
        own_id = None if own is None else own.id
        self.left = self.tally.time_left(queue.is_open, queue.held, own_id)
        if self.is_live:
            ends_s = None if self.left is None else time.monotonic() + self.left.seconds
            self.bars.update(self.cell_bar, completed=self.num_settled, ends_s=ends_s)

    @property
    def num_settled(self) -> int:
        """Return how many cells need nothing more, whoever ran them."""
        return self.num_cells - len(self._open) + len(self._ended & self._open)

    def _place(self) -> int:
        """Return which cell the last one is that was begun: all of others' came before it."""
        num_of_others = self.num_cells - len(self._open) - len(self._begun - self._open)
        return len(self._begun) + num_of_others

    def ended(self, cell: Cell) -> None:
        """A worker beside this one has run `cell`; the next look will see it."""
        self._ended.add(cell.id)
        if self.is_live:
            self.bars.update(self.cell_bar, completed=self.num_settled)

    def finished(self, cell: Cell, record: Record) -> None:
        """`record` is what `cell` left, whoever ran it."""
        self.tally.finished(cell, record)

    @contextmanager
    def running(self, cell: Cell) -> Iterator["CellProgress"]:
        """Show `cell` while it runs, here or in a worker beside this one."""
        self._begun.add(cell.id)
        place = f"{self._place()}/{self.num_cells}"
        log.info("cell %s: %s%s", place, cell.title, f", {self.left.words()}" if self.left else "")
        try:
            with self._bar(cell) as shown:
                yield shown
        finally:
            self.tally.ran_one()

    @contextmanager
    def _bar(self, cell: Cell) -> Iterator["CellProgress"]:
        if not self.is_live:
            yield CellProgress()
            return
        seconds = self.tally.seconds_of(cell)
        ends_s = None if seconds is None else time.monotonic() + seconds
        bar = self.bars.add_task(cell.title, total=None, ends_s=ends_s)
        try:
            yield CellProgress(
                lambda done, total, part: self.bars.update(
                    bar, completed=done, total=total, description=f"{cell.title}: {part}"
                )
            )
        finally:
            self.bars.remove_task(bar)
