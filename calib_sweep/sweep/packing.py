"""How many cells each job of a launcher gets: so many, or as many as fill some minutes.

    cells_per_worker=4         four in a job, one after another
    minutes_per_worker=60      as many jobs as there are hours of work, by the estimate of `check`

By time a job takes cells as long as one is free, so that an estimate which is wrong costs no cell,
and jobs end at about the same time whatever their cells take.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from omegaconf import DictConfig, OmegaConf

from calib_sweep.cell import Cell
from calib_sweep.errors import ConfigError
from calib_sweep.parts.building import Builder
from calib_sweep.results.store import Store
from calib_sweep.sweep.cost.jobs import expected_seconds

CELLS, MINUTES = "hydra.launcher.cells_per_worker", "hydra.launcher.minutes_per_worker"


@dataclass(frozen=True)
class Packing:
    """Jobs and their cells."""

    num_workers: int
    max_cells: int | None  # of a worker; None: it stays until all are settled
    share: int | None  # cells from where one of them begins to where the next one does


def packing(builder: Builder, store: Store, master: DictConfig, todo: Sequence[Cell]) -> Packing:
    """Return the jobs that `todo` is worth, by the settings of the launcher."""
    per_worker, minutes = (OmegaConf.select(master, key) for key in (CELLS, MINUTES))
    if minutes is not None and todo:
        return by_minutes(minutes, expected_seconds(builder, store, todo), len(todo))
    num_workers = math.ceil(len(todo) / per_worker) if per_worker else min(1, len(todo))
    return Packing(num_workers, per_worker, per_worker)


def by_minutes(minutes: float, seconds: float | None, num_cells: int) -> Packing:
    """Return jobs of so many minutes for cells that take so many seconds, all in all."""
    if seconds is None:
        raise ConfigError(
            f"{MINUTES}={minutes}: expected cells whose time can be told, but these have a model "
            f"or an evaluation that no estimate knows. Type {CELLS}=4, for four in each job."
        )
    num_workers = min(num_cells, max(1, math.ceil(seconds / (60 * minutes))))
    return Packing(num_workers, num_cells, math.ceil(num_cells / num_workers))
