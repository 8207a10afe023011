"""What is done with a grid: its verbs, alone or as one of several ranks; and the verb add."""

from collections.abc import Callable

from calib_sweep.console import configure_logging, output
from calib_sweep.errors import ConfigError
from calib_sweep.sweep.explain import DONE
from calib_sweep.sweep.reach import cells_to_run, within_reach
from calib_sweep.sweep.sweep import Sweep
from calib_sweep.sweep.together import command_company, follow
from calib_sweep.wording import counted

RUNS = ("run", "rescore")  # what several ranks do together


def perform(sweep: Sweep, action: str) -> int:
    """Do `action` with the cells of `sweep`; return the exit code."""
    if action in ACTIONS:
        sweep.prepare()
        return ACTIONS[action](sweep)
    if action not in RUNS:
        return sweep.perform(action)
    with command_company(sweep.context.config_loader, sweep.master, sweep.points) as ranks:
        if ranks.is_first:
            sweep.workforce.ranks = ranks
            return sweep.perform(action)
        configure_logging()
        follow(ranks, sweep.builder)
        raise SystemExit(DONE)  # before the grid is composed, only to say where its records are


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
        sweep.check_to_run(todo)
    sweep.keep()
    folder = sweep.store.folder
    cells = f"{counted(len(sweep.cells), 'cell')}: {len(sweep.cells) - len(todo):,} done"
    output(f"{cells}, {len(todo):,} for workers. Start any: python -m calib_sweep work {folder}")
    return DONE


ACTIONS: dict[str, Callable[[Sweep], int]] = {"add": add}
