"""Delete cells of a sweep, by the words that named them; a cell that somebody runs now stays.

A cell's folder leaves its place in one step, under a claim, and is deleted after. Whoever looks
meanwhile finds either the claim or no folder; then the cell is as one that never ran.
"""

import logging
import shutil
from collections.abc import Sequence

from calib_sweep import atomic
from calib_sweep.cell import DENSE, Cell
from calib_sweep.errors import ConfigError
from calib_sweep.results.claim import holder_of, try_claim
from calib_sweep.results.store import Store
from calib_sweep.sweep.limits import FORCE
from calib_sweep.sweep.plan import plan_cells
from calib_sweep.sweep.sweep import Sweep
from calib_sweep.wording import counted

log = logging.getLogger(__name__)

MAX_NAMED = 3  # cells in a refusal


def named_cells(sweep: Sweep) -> list[Cell]:
    """Return the cells that were typed: a dense one only if the dense method was."""
    typed = [point for point in sweep.composed if point.config["method"] == DENSE]
    dense = {cell.id for cell in plan_cells(sweep.store, typed)} if typed else set[str]()
    return [cell for cell in sweep.cells if not cell.is_dense or cell.id in dense]


def require_force(verb: str, sweep: Sweep, cells: Sequence[Cell]) -> None:
    """Raise `ConfigError` where a finished cell would be deleted and --force is not typed."""
    done = [cell.title for cell in cells if sweep.store.is_done(cell)]
    if done and FORCE not in sweep.options:
        more = f" and {len(done) - MAX_NAMED:,} more" if len(done) > MAX_NAMED else ""
        raise ConfigError(
            f"{verb}: of {counted(len(cells), 'cell')} {len(done):,} done: "
            f"{'; '.join(done[:MAX_NAMED])}{more}. Nothing was deleted. Type {FORCE}, too, to "
            "delete what they scored, or name other cells."
        )


def remove(store: Store, cells: Sequence[Cell]) -> tuple[int, int]:
    """Delete the folders of `cells`; return how many went, and how many are held."""
    num_gone = num_held = 0
    for cell in (cell for cell in cells if store.cell_folder(cell).is_dir()):
        if _remove(store, cell):
            num_gone += 1
        else:
            num_held += 1
            holder = holder_of(store.cell_folder(cell)) or "another worker"
            log.error("left alone: %s, which %s runs now", cell.title, holder)
    return num_gone, num_held


def _remove(store: Store, cell: Cell) -> bool:
    """Delete the folder of `cell`; False where somebody holds it."""
    folder = store.cell_folder(cell)
    if (claim := try_claim(folder)) is None:
        return False
    gone = atomic.partial_name(folder)  # so that it goes, too, if we are killed here
    try:
        folder.rename(gone)
    finally:
        claim.release()
    atomic.sync_folder(folder.parent)
    shutil.rmtree(gone)
    return True
