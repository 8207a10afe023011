"""The tracker that does nothing."""

from collections.abc import Sequence
from dataclasses import dataclass

from calib_sweep.cell import Cell
from calib_sweep.results.record import Record
from calib_sweep.results.store import Store


@dataclass(frozen=True, kw_only=True)
class NoTracking:
    """Keep no mirror; nothing is imported."""

    def log(self, cell: Cell, record: Record, store: Store) -> None:
        """Do nothing."""

    def log_missing(self, cells: Sequence[Cell], store: Store) -> None:
        """Do nothing."""

    def log_report(self, store: Store) -> None:
        """Do nothing."""
