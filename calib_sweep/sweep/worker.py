"""A worker: takes the next cell nobody holds, runs it, and goes on until the sweep is settled.

Workers know nothing of each other but claims and records in the sweep's folder, so the same
command, started as often as one likes wherever that folder is seen, shares the work.
"""

import logging
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from hydra.core.hydra_config import HydraConfig

from calib_sweep.cell import Cell
from calib_sweep.console import CellProgress
from calib_sweep.interruption import raise_if_told
from calib_sweep.parts.building import Builder
from calib_sweep.parts.interfaces import Tracking
from calib_sweep.ranks import ALONE, Ranks
from calib_sweep.results.record import Record
from calib_sweep.results.store import Store
from calib_sweep.sweep.closing import Closing
from calib_sweep.sweep.crew import Crew
from calib_sweep.sweep.progress import Progress
from calib_sweep.sweep.queue import Outlook, Queue
from calib_sweep.sweep.together import company, follow, lead
from calib_sweep.wording import counted

if TYPE_CHECKING:
    from calib_sweep.session import Session

log = logging.getLogger(__name__)

# Between two looks at cells that others hold: soon at first, then longer, because hundreds of
# waiting workers that look at thousands of cells would keep a file server busy.
FIRST_POLL_S, LONGEST_POLL_S = 0.2, 5.0

Kept = Mapping[Path, int]  # files of a cell that is not done, and when they were written


class Shown(Protocol):
    """Where a worker shows what it does."""

    def look(self, queue: Queue, own: Cell | None, /) -> None: ...  # it begins with `own`
    def running(self, cell: Cell, /) -> AbstractContextManager[CellProgress]: ...
    def finished(self, cell: Cell, record: Record, /) -> None: ...  # whoever ran it


class Company(Protocol):
    """The workers beside one, as it sees them."""

    def ran(self, cell_id: str, *, failed: bool) -> None: ...  # this worker did
    def pause(self, seconds: float) -> None: ...  # or until there may be something to do


@dataclass
class Worker:
    """Runs cells of `cells` from `store`. Called by a Hydra launcher, here or in another process.

    max_cells: run at most so many, and wait for nobody but the dense cells these need, and those
    who may be dead; None: stay until every cell is settled, whoever runs it, so that the cells of a
    worker that dies are taken over.
    share: cells from where one of many jobs begins to where the next one does; None: `max_cells`.
    closing: what the last worker does at the end of a sweep that no command waits for. What the
    dead left is then run beyond `max_cells`: their number of cells is nobody's now.
    failed_before: the failed cells as the command found them; these are run again.
    sessions: at most one, kept for the next worker of this process.
    crew: other processes that do the same beside this one.
    until: take no cell after this moment, in seconds since 1970.
    ranks: that run each cell together with this one; found when it begins where they are not given.
    """

    cells: Sequence[Cell]
    store: Store
    tracking: Tracking
    max_cells: int | None = None
    failed_before: Mapping[str, str | None] = field(default_factory=dict)
    builder: Builder = field(default_factory=Builder)
    sessions: "list[Session]" = field(default_factory=list)
    crew: Crew = field(default_factory=Crew)
    until: float | None = None
    share: int | None = None
    closing: Closing | None = None
    ranks: Ranks = ALONE
    _poll_s: float = 0.0  # 0: not waiting
    _num_run: int = 0
    _num_beyond: int = 0  # of those, what the dead left
    _running: tuple[Path, Kept] | None = None  # the folder of a cell, and what was kept of it

    def __call__(self, _config: object = None) -> list[str]:
        """Work, with the crew or as one of several ranks; return the ids of cells that failed."""
        with company(self.cells, self.ranks) as ranks:
            if ranks.is_first:
                self.ranks = ranks
                return self._work()
            follow(ranks, self.builder)
            return []

    def _work(self) -> list[str]:
        from calib_sweep.sweep.cost.jobs import default_seconds

        alike, cost_of = replace(self, sessions=[]), partial(default_seconds, self.builder)
        with Progress(self.cells, self.store, self.max_cells, cost_of) as progress:
            with self.crew.at_work(alike, self.cells, progress):
                self.work(progress, self.crew)
            failed = self.crew.failed()
        if self.closing is not None:
            self.closing.by_last_worker(Outlook(self.store, self.failed_before), self.tracking)
        return failed

    @property
    def ranks_per_cell(self) -> int:
        """Processes that a launcher starts for this worker."""
        return self.cells[0].config["ranks_per_cell"] if self.cells else 1

    @property
    def patience_s(self) -> float:
        """How long it takes ranks to notice that one is lost, and to end."""
        return 2 * self.cells[0].config["rank_timeout_s"] if self.ranks_per_cell > 1 else 0.0

    def got_on(self) -> bool:
        """Tell whether this worker, told to end, left more than it found, or lost nothing.

        That is a settled cell, or more of the cell that it ran: one that is run again goes on.
        """
        if self._num_run or self._running is None:
            return True
        folder, before = self._running
        return kept_parts(folder) != before

    def work(self, progress: "Shown", crew: "Company") -> None:
        """Take cells and run them, show them by `progress` and tell `crew` of them."""
        session, self._num_run, self._num_beyond = self._session(), 0, 0
        outlook = Outlook(self.store, self.failed_before, progress.finished)
        queue = Queue(self._from_own_share(), outlook)
        while self._takes_more(outlook):
            raise_if_told()
            taken = queue.take()
            progress.look(queue, taken[0] if taken else None)
            if taken is None:
                if not self._is_worth_waiting(queue):
                    break
                self._wait(queue, crew)
                continue
            cell, claim = taken
            self._poll_s = 0.0
            folder = self.store.cell_folder(cell)
            self._running = folder, kept_parts(folder)
            with claim, progress.running(cell) as cell_progress:
                record = lead(cell, self.store, session, cell_progress)
                self.tracking.log(cell, record, self.store)
            progress.finished(cell, record)
            failed = record["status"] == "failed"
            queue.settle(cell, failed=failed)
            crew.ran(cell.id, failed=failed)
            self._num_run += 1
            self._num_beyond += self.closing is not None and claim.takes_over
            self._running = None

    def _takes_more(self, outlook: Outlook) -> bool:
        if self.until is not None and time.time() >= self.until:
            return False
        if self.max_cells is None or self._num_run - self._num_beyond < self.max_cells:
            return True
        return self.closing is not None and self.closing.is_left_by_the_dead(outlook)

    def load_ahead(self) -> None:
        """Load what the first cells need, while others run what these wait for."""
        from calib_sweep.inputs import inputs_of

        session, cell = self._session(), self.cells[0]
        if not cell.is_dense:  # can be run at once
            return
        try:
            parts = session.builder.parts(cell)
            inputs = inputs_of(parts)
            session.model(parts.model, inputs["model"])
            tokenizer = session.tokenizer(parts.model, inputs["model"])
            session.suite(parts.evaluation, inputs["evaluation"], tokenizer)
        except Exception as error:  # the cells that need it tell
            raise_if_told()
            session.forget()
            log.debug("nothing is loaded ahead: %s", error)

    def _session(self) -> "Session":
        from calib_sweep.session import Session

        self.sessions[:] = self.sessions or [Session(self.builder, self.ranks)]
        return self.sessions[0]

    def _from_own_share(self) -> Sequence[Cell]:
        """Return the cells in order; for one of many jobs from its share on.

        A thousand jobs that each looked for the first free cell would read half a million records.
        """
        if self.max_cells is None or not self.cells or not HydraConfig.initialized():
            return self.cells
        share = self.share or self.max_cells
        start = HydraConfig.get().job.num * share % len(self.cells)
        return [*self.cells[start:], *self.cells[:start]]

    def _is_worth_waiting(self, queue: Queue) -> bool:
        if self.max_cells is None:
            return len(queue) > 0
        return not queue.is_with_the_living()

    def _wait(self, queue: Queue, crew: "Company") -> None:
        """Wait a moment for cells that others hold; say once for whom."""
        if not self._poll_s:
            names = " and ".join(queue.holders()) or "another worker"
            log.info("waiting for %s that %s runs", counted(len(queue), "cell"), names)
        self._poll_s = min(max(1.2 * self._poll_s, FIRST_POLL_S), LONGEST_POLL_S)
        crew.pause(self._poll_s)


def kept_parts(folder: Path) -> Kept:
    """Return what is kept of a cell that is not done, in its folder under hidden names."""
    found: dict[Path, int] = {}
    for path in folder.glob(".*"):
        if path.suffix == ".partial":
            continue  # nobody goes on from what is half written
        with suppress(OSError):  # it goes as we look
            inside = path.rglob("*") if path.is_dir() else [path]
            found.update((one, one.stat().st_mtime_ns) for one in inside)
    return found
