"""A worker: takes the next cell nobody holds, runs it, and goes on until the sweep is settled.

Workers know nothing of each other but claims and records in the sweep's folder, so the same
command, started as often as one likes wherever that folder is seen, shares the work.
"""

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hydra.core.hydra_config import HydraConfig

from calib_sweep.cell import Cell
from calib_sweep.interruption import raise_if_told
from calib_sweep.parts.building import Builder
from calib_sweep.parts.interfaces import Tracking
from calib_sweep.results.store import Store
from calib_sweep.sweep.progress import Progress
from calib_sweep.sweep.queue import Outlook, Queue
from calib_sweep.wording import counted

if TYPE_CHECKING:
    from calib_sweep.session import Session

log = logging.getLogger(__name__)

# Between two looks at cells that others hold: soon at first, then longer, because hundreds of
# waiting workers that look at thousands of cells would keep a file server busy.
FIRST_POLL_S, LONGEST_POLL_S = 0.2, 5.0


@dataclass
class Worker:
    """Runs cells of `cells` from `store`. Called by a Hydra launcher, here or in another process.

    max_cells: run at most so many, and wait for nobody but the dense cells these need, and those
    who may be dead; None: stay until every cell is settled, whoever runs it, so that the cells of a
    worker that dies are taken over.
    failed_before: the failed cells as the command found them; these are run again.
    sessions: at most one, kept for the next worker of this process.
    """

    cells: Sequence[Cell]
    store: Store
    tracking: Tracking
    max_cells: int | None = None
    failed_before: Mapping[str, str | None] = field(default_factory=dict)
    builder: Builder = field(default_factory=Builder)
    sessions: "list[Session]" = field(default_factory=list)
    _poll_s: float = 0.0  # 0: not waiting

    def __call__(self, _config: object = None) -> list[str]:
        """Work; return the ids of the cells that failed here."""
        from calib_sweep.run import run_cell
        from calib_sweep.session import Session

        self.sessions[:] = self.sessions or [Session(self.builder)]
        session, num_run, failed = self.sessions[0], 0, []
        with Progress(self.cells, self.store, self.max_cells) as progress:
            outlook = Outlook(self.store, self.failed_before, progress.tally.finished)
            queue = Queue(self._from_own_share(), outlook)
            while self.max_cells is None or num_run < self.max_cells:
                raise_if_told()
                taken = queue.take()
                progress.look(queue, taken[0] if taken else None)
                if taken is None:
                    if not self._is_worth_waiting(queue):
                        break
                    self._wait(queue)
                    continue
                cell, claim = taken
                self._poll_s = 0.0
                with claim, progress.running(cell) as cell_progress:
                    record = run_cell(cell, self.store, session, cell_progress)
                    self.tracking.log(cell, record, self.store)
                progress.tally.finished(cell, record)
                queue.settle(cell, failed=record["status"] == "failed")
                failed += [cell.id] if record["status"] == "failed" else []
                num_run += 1
        return failed

    def _from_own_share(self) -> Sequence[Cell]:
        """Return the cells in order; for one of many jobs from its share on.

        A thousand jobs that each looked for the first free cell would read half a million records.
        """
        if self.max_cells is None or not self.cells or not HydraConfig.initialized():
            return self.cells
        start = HydraConfig.get().job.num * self.max_cells % len(self.cells)
        return [*self.cells[start:], *self.cells[:start]]

    def _is_worth_waiting(self, queue: Queue) -> bool:
        if self.max_cells is None:
            return len(queue) > 0
        return not queue.is_with_the_living()

    def _wait(self, queue: Queue) -> None:
        """Wait a moment for cells that others hold; say once for whom."""
        if not self._poll_s:
            names = " and ".join(queue.holders()) or "another worker"
            log.info("waiting for %s that %s runs", counted(len(queue), "cell"), names)
        self._poll_s = min(max(1.2 * self._poll_s, FIRST_POLL_S), LONGEST_POLL_S)
        time.sleep(self._poll_s)
