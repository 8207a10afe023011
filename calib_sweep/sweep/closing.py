"""The end of a sweep that no command waits for: the last worker out sums it up.

It also runs what the dead left, if nothing else is left to do: nobody submits that again. Whether
those are dead who hold what is left takes two minutes to know, most of the time far less. Workers
that end at the same time all see that every cell is settled. The first of them claims the end, and
the others leave.
"""

import contextlib
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from calib_sweep.cell import Cell
from calib_sweep.interruption import raise_if_told
from calib_sweep.parts.interfaces import Tracking
from calib_sweep.results.claim import Watch, last_claim, try_claim
from calib_sweep.sweep.queue import Outlook, tidy_settled

if TYPE_CHECKING:
    from calib_sweep.analysis.settings import AnalysisSettings

log = logging.getLogger(__name__)

CLOSING = ".closing"  # of a sweep: who sums it up
POLL_S = 2.0  # between two looks at somebody who may be dead


@dataclass(frozen=True, kw_only=True)
class Closing:
    """What a command does at its end, for a worker to do: tidy, report, mirror."""

    cells: Sequence[Cell]  # all of the plan
    settings: "AnalysisSettings"

    def is_left_by_the_dead(self, outlook: Outlook) -> bool:
        """Tell whether somebody claimed every cell that is left, and is gone.

        Whoever may be alive is watched until that is known: the living sum up, and nobody else.
        """
        watch, cells = Watch(), self.cells
        while True:
            left: list[tuple[Cell, Path]] = []
            for cell in reversed(cells):  # most often the last one is open, and nobody's yet
                if outlook.unsettled([cell]):
                    claim = last_claim(outlook.store.cell_folder(cell))
                    if claim is None:
                        return False
                    left.append((cell, claim))
            claims = [claim for _, claim in left]
            dead = [watch.is_dead(claim) for claim in claims]
            if all(dead) or any(map(watch.shows_life, claims)):
                return bool(claims) and all(dead)
            cells = [cell for cell, _ in reversed(left)]
            raise_if_told()
            time.sleep(POLL_S)

    def by_last_worker(self, outlook: Outlook, tracking: Tracking) -> bool:
        """Sum up, if nothing is left to do and nobody else does; tell whether that was done."""
        from calib_sweep.analysis.report import write as report

        store = outlook.store
        if self._is_open(outlook) or report.is_current(store.folder, self.settings):
            return False
        claims = store.folder / CLOSING
        if (claim := try_claim(claims)) is None:
            return False
        with claim:
            if is_mine := not report.is_current(store.folder, self.settings):
                log.info("every cell is settled: writing the report")
                tidy_settled(store, self.cells)
                report.write_report(store.folder, self.settings)
                tracking.log_missing(self.cells, store)
                tracking.log_report(store)
        with contextlib.suppress(OSError):  # another process has it
            claims.rmdir()
        return is_mine

    def _is_open(self, outlook: Outlook) -> bool:
        """Tell whether a cell is left. Most often the last one is, so one record is read, not all.

        A thousand jobs that each read all records at their end would keep a file server busy.
        """
        backwards = reversed(self.cells)
        return any(outlook.unsettled([cell]) for cell in backwards)
