"""How each cell of a sweep stands, from its folder alone: nothing is written, and nobody is asked.

done       its record says so, and the model is kept if that was asked for
failed     its record says so, and nobody runs it again
running    somebody claims it whose process, or heartbeat, shows life
lost       whoever claimed it is gone: the next worker that comes along takes it over
open       all others: planned, and nobody is at it
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from calib_sweep.atomic import server_time
from calib_sweep.cell import Cell
from calib_sweep.places import CELLS, CONFIG, RECORD, RECORDS
from calib_sweep.results.claim import STALE_S, Watch, holder_of, last_claim
from calib_sweep.results.grids import kept_cells
from calib_sweep.results.reading import readable_records
from calib_sweep.results.record import Record
from calib_sweep.results.store import Store
from calib_sweep.settings import title_of
from calib_sweep.sweep.eta import Kind
from calib_sweep.sweep.tally import kind_of

DONE, FAILED, RUNNING, LOST, OPEN = "done", "failed", "running", "lost", "open"
STATES = (DONE, FAILED, RUNNING, LOST, OPEN)


@dataclass(frozen=True, kw_only=True)
class Standing:
    """One cell."""

    title: str
    kind: Kind
    folder: Path
    state: str
    record: Record | None
    by: str | None  # who claims it
    since_s: float | None  # seconds since it was begun


def standings(store: Store, flaws: list[str]) -> list[Standing]:
    """Return how the cells stand that commands have planned in the folder; else the begun ones.

    `flaws`: gets a sentence for each grid that cannot be read.
    """
    cells = kept_cells(store, flaws)
    now = _server_time(store.folder)
    if cells:
        return [_of_cell(cell, store, now) for cell in cells]
    return list(_of_folders(store, now))


def _of_cell(cell: Cell, store: Store, now: float) -> Standing:
    folder = store.cell_folder(cell)
    record = next(readable_records([folder / RECORD]), None)
    is_done = record is not None and store.completes(cell, record)
    return _standing(cell.title, kind_of(cell), folder, record, now, is_done=is_done)


def _of_folders(store: Store, now: float) -> Iterator[Standing]:
    """Say how the cells stand that have a folder; those of an earlier version kept no grid."""
    begun = (path.parent for path in store.folder.glob(CELLS + CONFIG))
    for folder in sorted({*begun, *(path.parent for path in store.folder.glob(RECORDS))}):
        record = next(readable_records([folder / RECORD]), None)
        is_done = record is not None and record["status"] == DONE
        names = {} if record is None else record["cell"]
        settings = names.get("settings") or {}
        title = title_of(names, settings) if names else folder.name
        kind = Kind(str(names.get("model")), str(names.get("method")), repr(settings))
        yield _standing(title, kind, folder, record, now, is_done=is_done)


def _standing(
    title: str, kind: Kind, folder: Path, record: Record | None, now: float, *, is_done: bool
) -> Standing:
    state = state_of(folder, record, is_done=is_done)
    by, since_s = None, None
    if state in (RUNNING, LOST):
        by, since_s = holder_of(folder), _age(folder / CONFIG, now)
    return Standing(
        title=title,
        kind=kind,
        folder=folder,
        state=state,
        record=record,
        by=by,
        since_s=since_s,
    )


def state_of(folder: Path, record: Record | None, *, is_done: bool) -> str:
    """Return the state of the cell in `folder`; nothing is written."""
    if is_done:
        return DONE
    if (claim := last_claim(folder)) is not None:
        return LOST if _is_dead(claim) else RUNNING
    state = OPEN if record is None else str(record["status"])
    return OPEN if state == DONE else state  # the model that was asked for is not there


def _is_dead(claim: Path) -> bool:
    try:
        return Watch().is_dead(claim)
    except PermissionError:  # a colleague's folder, where the server's clock cannot be read
        return (_age(claim, time.time()) or 0.0) > STALE_S


def _age(path: Path, now: float) -> float | None:
    try:
        return max(0.0, now - path.stat().st_mtime)
    except OSError:
        return None


def _server_time(folder: Path) -> float:
    try:
        return server_time(folder)
    except OSError:
        return time.time()
