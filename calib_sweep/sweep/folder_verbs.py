"""What is done with a grid: its verbs, alone or as one of several ranks; add, rm and rerun."""

import shlex
from collections.abc import Callable

from calib_sweep.console import configure_logging, output
from calib_sweep.errors import ConfigError
from calib_sweep.places import INDEX, REPORT
from calib_sweep.sweep.explain import DONE, SOME_FAILED
from calib_sweep.sweep.limits import FORCE
from calib_sweep.sweep.reach import cells_to_run, within_reach
from calib_sweep.sweep.removing import (
    named_cells,
    remove,
    require_force,
    require_named,
    require_there,
)
from calib_sweep.sweep.sweep import Sweep
from calib_sweep.sweep.together import command_company, follow
from calib_sweep.wording import counted

RUNS = ("run", "rescore", "rerun", "work")  # what several ranks do together


def perform(sweep: Sweep, action: str) -> int:
    """Do `action` with the cells of `sweep`; return the exit code."""
    if action not in RUNS:
        return _perform(sweep, action)
    with command_company(sweep.master, sweep.first_config) as ranks:
        if ranks.is_first:
            sweep.workforce.ranks = ranks
            return _perform(sweep, action)
        configure_logging()
        follow(ranks, sweep.builder)
        raise SystemExit(DONE)  # before the grid is composed, only to say where its records are


def _perform(sweep: Sweep, action: str) -> int:
    if action not in ACTIONS:
        return sweep.perform(action)
    sweep.prepare()
    return ACTIONS[action](sweep)


def add(sweep: Sweep) -> int:
    """Check the cells and keep them, for workers that are started elsewhere."""
    if sweep.bound:
        raise ConfigError(
            "add: expected a grid, as hydra/sweeper=adaptive decides on each round when the one "
            "before is done. Leave out the word add: the command keeps a round when it begins."
        )
    sweep.cells, found = within_reach(sweep.store, sweep.cells)
    todo = cells_to_run(sweep.store, sweep.cells, found)
    if todo:
        sweep.check_to_run(todo, here=False)
    sweep.keep()
    folder = shlex.quote(str(sweep.store.folder))
    cells = f"{counted(len(sweep.cells), 'cell')}: {len(sweep.cells) - len(todo):,} done"
    output(
        f"{cells}, {len(todo):,} for workers. Start one, or many, here or elsewhere:\n"
        f"python -m calib_sweep work {folder}"
    )
    return DONE


def rm(sweep: Sweep) -> int:
    """Delete the cells that were typed, and take them out of the kept grids."""
    require_named("rm", sweep)
    cells = named_cells(sweep)
    require_there(sweep, cells)
    require_force("rm", sweep, cells)
    num_new = sum(not sweep.store.cell_folder(cell).is_dir() for cell in cells)
    is_forced = FORCE in sweep.options
    num_gone, num_held = remove(sweep.store, cells, is_forced=is_forced, is_planned=False)
    folder = shlex.quote(str(sweep.store.folder))
    told = f"{counted(num_gone, 'cell')} deleted, {num_held:,} left alone"
    told += f", {num_new:,} not begun and planned no more" if num_new else ""
    stays = f"a report has them still; to renew it: python -m calib_sweep report {folder}"
    has_report = (sweep.store.folder / REPORT / INDEX).is_file()
    output(f"{told}\n{stays}" if num_gone and has_report else told)
    return SOME_FAILED if num_held else DONE


def rerun(sweep: Sweep) -> int:
    """Delete the cells that were typed, and run them."""
    require_named("rerun", sweep)
    cells = named_cells(sweep)
    require_force("rerun", sweep, cells)
    sweep.check_to_run(sweep.cells)  # what cannot run is not deleted
    is_forced = FORCE in sweep.options
    _, num_held = remove(sweep.store, cells, is_forced=is_forced, is_planned=True)
    code = sweep.run()
    return SOME_FAILED if num_held else code


ACTIONS: dict[str, Callable[[Sweep], int]] = {"add": add, "rm": rm, "rerun": rerun}
