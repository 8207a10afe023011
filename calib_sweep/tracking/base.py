"""All trackers of a sweep as one: what is mirrored goes to each of them, in the order chosen."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from calib_sweep.cell import Cell
from calib_sweep.interruption import raise_if_told
from calib_sweep.results.record import Record
from calib_sweep.results.store import Store

log = logging.getLogger(__name__)


class Tracker(Protocol):
    """A mirror of the records."""

    def log(self, cell: Cell, record: Record, store: Store) -> None: ...
    def log_missing(self, cells: Sequence[Cell], store: Store) -> None: ...
    def log_report(self, store: Store) -> None: ...  # the last call of a sweep


@dataclass(frozen=True, kw_only=True)
class Trackers:
    """Mirror the records by any number of trackers; none of them can end a cell, or another."""

    by_name: Mapping[str, Tracker]

    def log(self, cell: Cell, record: Record, store: Store) -> None:
        """Mirror the record of `cell`."""
        for name, tracker in self.by_name.items():
            with _surviving(name):
                tracker.log(cell, record, store)

    def log_missing(self, cells: Sequence[Cell], store: Store) -> None:
        """Mirror finished cells that are not yet."""
        for name, tracker in self.by_name.items():
            with _surviving(name):
                tracker.log_missing(cells, store)

    def log_report(self, store: Store) -> None:
        """Mirror the report of the sweep."""
        for name, tracker in self.by_name.items():
            with _surviving(name):
                tracker.log_report(store)


@contextmanager
def _surviving(name: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # of a tracker from anywhere; the records are safe without it
        raise_if_told()
        log.warning("tracking.%s: %s: %s", name, type(error).__name__, error)
        log.debug("tracking.%s", name, exc_info=True)
