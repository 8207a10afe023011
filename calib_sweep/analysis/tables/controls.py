"""Counts of cells by status, and the cells that have no scores."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from calib_sweep.analysis.scores.contained import CONTAINED
from calib_sweep.analysis.scores.groups import Group
from calib_sweep.analysis.scores.table import LEFT_OUT, Row, settings_of
from calib_sweep.settings import axes_of, telling, title_of


def cell_title(row: Row, shown: Collection[str] | None = None) -> str:
    """Name the cell of a row; by its folder when its record cannot be read.

    `shown`: the settings worth naming; None: all.
    """
    if row["model"] is None:
        return str(row["cell_id"])
    return title_of(row, settings_of(row), shown)


@dataclass(frozen=True)
class Count:
    """Cells by status."""

    total: int
    done: int
    failed: int  # with the unreadable ones
    unfinished: int
    superseded: int
    contained: int = 0


def count_cells(rows: Iterable[Row]) -> Count:
    """Count the cells behind `rows`."""
    status_of = {row["cell_id"]: row["status"] for row in rows}
    status = list(status_of.values())
    superseded, unfinished = status.count("superseded"), status.count("unfinished")
    contained = status.count(CONTAINED)
    done, total = status.count("done"), len(status) - superseded - contained
    return Count(total, done, total - done - unfinished, unfinished, superseded, contained)


def failures(rows: Iterable[Row]) -> list[tuple[str, str]]:
    """List title and reason of every cell that has no scores in the tables."""
    rows = list(rows)
    shown = telling((axes_of(row), settings_of(row)) for row in rows)
    return [
        (cell_title(row, shown), str(row["error"]))
        for row in rows
        if row["status"] not in LEFT_OUT and row["metric"] is None
    ]


def data_free(groups: Iterable[Group]) -> list[Group]:
    """Return the groups whose method reads no data: any spread of theirs is the machine's."""
    return [group for group in groups if group.dataset is None and not group.is_dense]
