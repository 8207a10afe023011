"""Find what stands in a sweep's folder for a command, and what this user may not touch.

A folder that several people share holds files that one of them cannot read or write. Cells that
need these are named and left alone; the others go on.
"""

import logging
import shlex
from collections.abc import Sequence

from calib_sweep.cell import Cell
from calib_sweep.results.record import Record
from calib_sweep.results.store import Store

log = logging.getLogger(__name__)

Found = list[tuple[Cell, Record]]


def within_reach(store: Store, cells: Sequence[Cell]) -> tuple[list[Cell], Found]:
    """Those of `cells` that can be skipped or run, and the records among them."""
    seen = {cell.id: store.look(cell) for cell in cells}
    why = {key: reason for key, (_, reason) in seen.items() if reason is not None}
    for cell in cells:
        record = seen[cell.id][0]
        is_done = record is not None and store.completes(cell, record)
        reason = why.get(cell.id) or why.get(cell.dense().id)
        if reason is not None and not is_done:
            why[cell.id] = reason
            ask = f"Ask its owner to type chmod -R g+rwX {shlex.quote(str(store.folder))}."
            log.error("left alone: %s: %s. %s", cell.title, reason, ask)
    kept = [cell for cell in cells if cell.id not in why]
    found = [(cell, record) for cell in kept if (record := seen[cell.id][0]) is not None]
    return kept, found


def cells_to_run(store: Store, cells: Sequence[Cell], found: Found) -> list[Cell]:
    """Those of `cells` that are not done, and the dense cells that they need and that are damaged.

    `found`: the records there are.
    """
    done = {cell.id for cell, record in found if store.completes(cell, record)}
    needed = {cell.dense().id: cell.dense() for cell in cells if cell.id not in done}
    damaged = {key for key, cell in needed.items() if store.set_aside_if_damaged(cell)}
    return [cell for cell in cells if cell.id not in done - damaged]
