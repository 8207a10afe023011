"""A worker: takes the next cell nobody holds, runs it, and goes on until the sweep is settled.

Workers know nothing of each other but claims and records in the sweep's folder, so the same
command, started as often as one likes wherever that folder is seen, shares the work.
"""

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from calib_sweep.cell import Cell
from calib_sweep.progress import Progress
from calib_sweep.results.claim import Claim, holder_of, last_claim, try_claim
from calib_sweep.results.record import utc_now
from calib_sweep.results.store import Store

log = logging.getLogger(__name__)

# Between two looks at cells that others hold: soon at first, then longer, because hundreds of
# waiting workers that look at thousands of cells would keep a file server busy.
FIRST_POLL_S, LONGEST_POLL_S = 0.2, 5.0


@dataclass
class Worker:
    """Runs cells of `cells` from `store`. Called by a Hydra launcher, here or in another process.

    max_cells: run at most so many, and wait for nobody but the dense cells these need; None: stay
    until every cell is settled, whoever runs it, so that the cells of a worker that dies are
    taken over.
    """

    cells: Sequence[Cell]
    store: Store
    tracking: Any
    max_cells: int | None = None
    started_at: str = field(default_factory=utc_now)
    _settled: set[str] = field(default_factory=set, repr=False)  # ids; a settled cell stays so
    _poll_s: float = 0.0  # 0: not waiting

    def __call__(self, _config: Any = None) -> int:
        """Work; return how many cells this worker ran."""
        from calib_sweep.run import run_cell
        from calib_sweep.session import Session

        session, num_run = Session(), 0
        with Progress(self.cells, self.store) as progress:
            while self.max_cells is None or num_run < self.max_cells:
                waiting = [cell for cell in self.cells if not self.is_settled(cell)]
                progress.settled(len(self.cells) - len(waiting))
                if not waiting:
                    break
                taken = self._take(waiting)
                if taken is None:
                    if self.max_cells is not None and not self._some_need_dense(waiting):
                        break
                    self._wait(waiting)
                    continue
                cell, claim = taken
                self._poll_s = 0.0
                with claim, progress.running(cell) as cell_progress:
                    record = run_cell(cell, self.store, session, cell_progress)
                    self.tracking.log(cell, record, self.store)
                if record["status"] == "failed":  # a finished record shows no later failure
                    self._settled.add(cell.id)
                num_run += 1
        return num_run

    def _wait(self, waiting: Sequence[Cell]) -> None:
        """Wait a moment for cells that others hold; say once for whom."""
        if not self._poll_s:
            holders = sorted({holder_of(self.store.cell_folder(cell)) or "" for cell in waiting})
            names = ", ".join(filter(None, holders)) or "others"
            log.info("waiting for %d cells that are with %s", len(waiting), names)
        self._poll_s = min(max(1.2 * self._poll_s, FIRST_POLL_S), LONGEST_POLL_S)
        time.sleep(self._poll_s)

    def is_settled(self, cell: Cell) -> bool:
        """Whether nothing is left to do: done, failed since this worker began, or hopeless."""
        if cell.id not in self._settled and self._look(cell):
            self._settled.add(cell.id)
        return cell.id in self._settled

    def _look(self, cell: Cell) -> bool:
        if self.store.is_done(cell) or self._has_failed(self.store.find(cell)):
            return True
        return not cell.is_dense and self._has_failed(self.store.find(cell.dense()))

    def _has_failed(self, record: dict[str, Any] | None) -> bool:
        if record is None or record["status"] != "failed":
            return False
        return record["finished_at"] >= self.started_at

    def _take(self, waiting: Sequence[Cell]) -> tuple[Cell, Claim] | None:
        """Claim the first cell that is free, still unsettled then, and has its dense cell.

        Cells whose holder died come last: what killed it may be the cell (too little memory, say),
        and the others are to be done before it takes the next worker along.
        """
        claimed_before = []
        for cell in waiting:
            if not self._is_ready(cell):
                continue
            if last_claim(self.store.cell_folder(cell)):
                claimed_before.append(cell)
            elif claim := self._claim(cell):
                return cell, claim
        for cell in claimed_before:
            if claim := self._claim(cell):
                return cell, claim
        return None

    def _claim(self, cell: Cell) -> Claim | None:
        claim = try_claim(self.store.cell_folder(cell))
        if claim is not None and self.is_settled(cell):
            claim.release()
            return None
        return claim

    def _is_ready(self, cell: Cell) -> bool:
        return cell.is_dense or self.store.is_done(cell.dense())

    def _some_need_dense(self, waiting: Sequence[Cell]) -> bool:
        return any(not self._is_ready(cell) for cell in waiting)
