"""Delete cells of a sweep, by the words that named them; a cell that somebody runs now stays.

A cell's folder leaves its place in one step, under a claim, and is deleted after. Whoever looks
meanwhile finds either the claim or no folder; then the cell is as one that never ran.
"""

import logging
import shlex
import shutil
from collections.abc import Sequence
from pathlib import Path

from calib_sweep import atomic
from calib_sweep.cell import DENSE, Cell
from calib_sweep.errors import ConfigError
from calib_sweep.results import grids
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


def require_named(verb: str, sweep: Sweep) -> None:
    """Raise `ConfigError` where no word names cells: no word at all means the default ones."""
    if not any("=" in word for word in sweep.typed):
        raise ConfigError(
            f"{verb} nothing: expected the words that cells were run with. Nothing was deleted. "
            f"Example: python -m calib_sweep {verb} -m method=wanda seed=3 sweep_name=first."
        )


def require_there(sweep: Sweep, cells: Sequence[Cell]) -> None:
    """Raise `ConfigError` where none of `cells` has a folder or is planned."""
    store, flaws = sweep.store, list[str]()
    planned = {cell.id for cell in grids.kept_cells(store, flaws)}
    if not any(cell.id in planned or store.cell_folder(cell).is_dir() for cell in cells):
        folder = shlex.quote(str(store.folder))
        raise ConfigError(
            f"rm: expected cells of {store.folder}, and none of {len(cells):,} that were named "
            f"is there. Nothing was deleted. See what is: python -m calib_sweep ls {folder}.",
            *flaws,
        )


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


def remove(
    store: Store, cells: Sequence[Cell], *, is_forced: bool, is_planned: bool
) -> tuple[int, int]:
    """Delete the folders of `cells`; return how many went, and how many were left alone.

    Those are held, or were finished since `require_force` looked and --force is not typed.
    `is_planned`: whether the cells that went stay in the kept grids; those left alone do.
    """
    gone: list[Path] = []
    left: set[str] = set()
    for cell in (cell for cell in cells if store.cell_folder(cell).is_dir()):
        try:
            gone.append(_taken_away(store, cell, is_forced=is_forced))
        except _LeftAloneError as why:
            left.add(cell.id)
            log.error("left alone: %s, %s", cell.title, why)
    if not is_planned:  # before they are deleted, which may take long: nobody begins them again
        grids.take_out(store, [cell.id for cell in cells if cell.id not in left])
    for folder in gone:
        shutil.rmtree(folder)
    return len(gone), len(left)


class _LeftAloneError(Exception):
    """A cell is not deleted; the message says why."""


def _taken_away(store: Store, cell: Cell, *, is_forced: bool) -> Path:
    """Take the folder of `cell` from its place; return where it is now."""
    folder = store.cell_folder(cell)
    if (claim := try_claim(folder)) is None:
        raise _LeftAloneError(f"which {holder_of(folder) or 'another worker'} runs now")
    gone = atomic.partial_name(folder)  # so that it goes, too, if we are killed here
    with claim:
        if not is_forced and store.is_done(cell):
            raise _LeftAloneError(
                f"which is done by now: type {FORCE}, too, to delete what it scored"
            )
        folder.rename(gone)
    atomic.sync_folder(folder.parent)
    return gone
