"""Show a person how cells get on: live bars on a terminal, plain log lines elsewhere."""

import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as Bars

from calib_sweep.analysis.formatting import duration
from calib_sweep.cell import Cell
from calib_sweep.console import (
    CellProgress,
    console,
    is_speaker,
)
from calib_sweep.results.store import Store

log = logging.getLogger(__name__)


class Progress:
    """Progress over the cells of a sweep and the blocks of the cell that runs here."""

    def __init__(self, cells: Sequence[Cell], store: Store) -> None:
        self.num_cells, self.num_settled, self.store = len(cells), 0, store
        self.is_live = console.is_terminal and is_speaker()

    def __enter__(self) -> "Progress":
        self.start_s = time.monotonic()
        if self.is_live:
            self.bars = Bars(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                TimeRemainingColumn(compact=True),
                console=console,
                transient=True,
            )
            self.bars.start()
            name = f"sweep {self.store.sweep_name}"
            self.cell_bar = self.bars.add_task(name, total=self.num_cells)
        return self

    def __exit__(self, *exc: object) -> None:
        if self.is_live:
            self.bars.stop()

    def settled(self, number: int) -> None:
        """`number` cells of the sweep need nothing more, whoever ran them."""
        self.num_settled = number
        if self.is_live:
            self.bars.update(self.cell_bar, completed=number)

    def _time_left(self) -> str:
        """Say how long the rest takes if it goes on like this, once a cell has been settled."""
        if not self.num_settled:
            return ""
        per_cell_s = (time.monotonic() - self.start_s) / self.num_settled
        return f", about {duration(per_cell_s * (self.num_cells - self.num_settled))} left"

    @contextmanager
    def running(self, cell: Cell) -> Iterator["CellProgress"]:
        """Show `cell` while it runs."""
        place = f"{self.num_settled + 1}/{self.num_cells}"
        log.info("cell %s: %s%s", place, cell.title, self._time_left())
        if not self.is_live:
            yield CellProgress()
            return
        bar = self.bars.add_task(cell.title, total=None)
        try:
            yield CellProgress(
                lambda done, total, part: self.bars.update(
                    bar, completed=done, total=total, description=f"{cell.title}: {part}"
                )
            )
        finally:
            self.bars.remove_task(bar)
