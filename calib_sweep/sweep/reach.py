"""Find what stands in a sweep's folder for a command, and what this user may not touch.

A folder that several people share holds files that one of them cannot read or write. Cells that
need these are named and left alone; the others go on.
"""

import logging
import shlex
from collections.abc import Iterable, Sequence
from typing import cast

from calib_sweep.cell import Cell
from calib_sweep.errors import ConfigError
from calib_sweep.parts.building import Builder
from calib_sweep.results.kin import OF_WEIGHTS, kin_of
from calib_sweep.results.record import Record
from calib_sweep.results.schema import NEEDED
from calib_sweep.results.store import Store

log = logging.getLogger(__name__)

MAX_NAMED = 3  # cells in a refusal
# Of a record that was found: ten thousand whole ones take half a gigabyte.
FOUND = (*NEEDED, "inputs", "finished_at")

Found = list[tuple[Cell, Record]]


def within_reach(store: Store, cells: Sequence[Cell]) -> tuple[list[Cell], Found]:
    """Those of `cells` that can be skipped or run, and the records among them: `FOUND` of each."""
    seen = {cell.id: _look(store, cell) for cell in cells}
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


def _look(store: Store, cell: Cell) -> tuple[Record | None, str | None]:
    record, reason = store.look(cell)
    if record is not None:
        record = cast(Record, {key: value for key, value in record.items() if key in FOUND})
    return record, reason


def cells_to_run(store: Store, cells: Sequence[Cell], found: Found) -> list[Cell]:
    """Those of `cells` that are not done, and the dense cells that they need and that are damaged.

    `found`: the records there are.
    """
    done = {cell.id for cell, record in found if store.completes(cell, record)}
    needed = {cell.dense().id: cell.dense() for cell in cells if cell.id not in done}
    damaged = {key for key, cell in needed.items() if store.set_aside_if_damaged(cell)}
    whole = done - damaged
    return [cell for cell in cells if cell.id not in whole]


def made_before(store: Store, cells: Sequence[Cell]) -> Found:
    """Find the finished cells that have the weights of `cells`, with what they made these from."""
    found: Found = []
    for cell, kin in kin_of(store, cells):
        for record in (one.record for one in kin):
            inputs = record.get("inputs", {})
            own = {key: inputs[key] for key in OF_WEIGHTS if key in inputs}
            found.append((cell, {**record, "inputs": own}))
    return found


def require_made_before(cells: Sequence[Cell], found: Found) -> None:
    """Raise `ConfigError` unless each of `cells` has the weights of a finished one in `found`."""
    known = {cell.id for cell, _ in found}
    new = [cell.title for cell in cells if cell.id not in known]
    if new:
        more = f" and {len(new) - MAX_NAMED:,} more" if len(new) > MAX_NAMED else ""
        raise ConfigError(
            f"rescore: expected cells that were finished before with another evaluation, but "
            f"{len(new):,} of {len(cells):,} were not: {'; '.join(new[:MAX_NAMED])}{more}. Correct "
            "what is typed, or leave the word rescore out to run them."
        )


def refuse_changed_inputs(builder: Builder, found: Iterable[tuple[Cell, Record]]) -> None:
    """Skip a finished cell only if the local files that it read are still what they were."""
    from calib_sweep.inputs import changed_inputs

    done = [(cell, record) for cell, record in found if record["status"] == "done"]
    if changed := changed_inputs(builder, done):
        raise ConfigError(*changed)
