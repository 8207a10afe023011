"""A sweep from the command line to its exit code: plan, check, launch workers, summarise.

Exit codes: 0 all cells done; 1 refused before anything started; 3 some cells failed, the others
are kept.
"""

import logging
import math
import time
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from hydra.core.utils import JobStatus
from hydra.types import HydraContext
from omegaconf import DictConfig, OmegaConf

from calib_sweep.cell import Cell
from calib_sweep.errors import ConfigError, StoreError, WorkerLostError
from calib_sweep.plan import Composed, compose_grid, plan_cells
from calib_sweep.progress import configure_logging, is_speaker
from calib_sweep.results.store import Store

log = logging.getLogger(__name__)

DONE, REFUSED, SOME_FAILED = 0, 1, 3


class Sweep:
    """The cells that one command line names, and what can be done with them."""

    def __init__(
        self, context: HydraContext, master: DictConfig, points: Sequence[Sequence[str]]
    ) -> None:
        self.context, self.master, self.points = context, master, points

    @cached_property
    def composed(self) -> list[Composed]:
        composed = compose_grid(self.context.config_loader, self.master, self.points)
        for key in ("results_dir", "sweep_name"):
            values = sorted({str(point.config[key]) for point in composed})
            if len(values) > 1:
                raise ConfigError(
                    f"{key}={','.join(values)}: expected one value for all cells of a sweep. "
                    "Start one command for each."
                )
        return composed

    @cached_property
    def store(self) -> Store:
        config = self.composed[0].config
        return Store(Path(config["results_dir"]).absolute(), config["sweep_name"])

    @cached_property
    def cells(self) -> list[Cell]:
        return plan_cells(self.store, self.composed)

    def perform(self, action: str) -> int:
        """Do `action` with the cells; return the exit code."""
        actions: dict[str, Callable[[], int]] = {
            "run": self.run,
            "check": self.check,
            "inspect": self.inspect,
        }
        configure_logging()
        return actions[action]()

    def run(self) -> int:
        """Run every cell that has no record yet, then say what came out."""
        start = time.perf_counter()
        todo = [cell for cell in self.cells if not self.store.is_done(cell)]
        self._refuse_changed_inputs()
        if todo:
            self._check(todo)
            num_done = len(self.cells) - len(todo)
            log.info("%d cells: %d done before, %d to run", len(self.cells), num_done, len(todo))
            self._launch(todo)
        self._mirror()
        return self._summarise(time.perf_counter() - start)

    def check(self) -> int:
        """Validate every cell; say which are done and what the others may cost."""
        from calib_sweep.check import check_cells, check_pool
        from calib_sweep.estimate import describe_plan
        from calib_sweep.progress import output

        notes = check_cells(self.cells, draw=check_pool)
        output(describe_plan(self.store, self.cells, notes))
        return DONE

    def inspect(self) -> int:
        """Show the calibration sets of the cells."""
        from calib_sweep.check import build_parts
        from calib_sweep.dataset.inspect import inspect_set
        from calib_sweep.progress import output

        cells = [cell for cell in self.cells if cell.needs_data]
        if not cells:
            raise ConfigError(
                "method: expected one that needs calibration data. Type method=wanda."
            )
        sets = {cell.title: self._draw(cell, build_parts(cell)) for cell in cells}
        for title, one in sets.items():
            output(inspect_set(one, {name: other for name, other in sets.items() if name != title}))
        return DONE

    def _check(self, todo: Sequence[Cell]) -> None:
        """Check the cells to run; what is not on this machine is an error now."""
        from calib_sweep.check import check_cells

        self.store.require_writable()
        if notes := check_cells(todo, draw=self._draw):
            raise ConfigError(*notes)

    def _draw(self, cell: Cell, parts: Any) -> Any:
        return parts.draw(self.store.results_dir, parts.model.load_tokenizer())

    def _refuse_changed_inputs(self) -> None:
        """A finished cell is skipped only if the local files it read are still what they were."""
        from calib_sweep.check import changed_inputs

        done = [(cell, self.store.find(cell)) for cell in self.cells]
        changed = changed_inputs((cell, record) for cell, record in done if record is not None)
        if changed:
            raise ConfigError(*changed)

    def _launch(self, todo: Sequence[Cell]) -> None:
        """Start workers by Hydra's launcher, again while cells are left and some get finished."""
        from hydra.core.plugins import Plugins

        from calib_sweep.worker import Worker

        per_worker = OmegaConf.select(self.master, "hydra.launcher.cells_per_worker")
        while True:
            worker = Worker(todo, self.store, self._tracking(), max_cells=per_worker)
            launcher = Plugins.instance().instantiate_launcher(
                hydra_context=self.context, task_function=worker, config=self.master
            )
            num_workers = math.ceil(len(todo) / per_worker) if per_worker else 1
            jobs = launcher.launch([list(self.points[0])] * num_workers, initial_job_idx=0)
            for job in jobs:
                if job.status == JobStatus.FAILED:
                    error = job._return_value
                    log.error("a worker ended: %s: %s", type(error).__name__, error)
            left = [cell for cell in todo if not worker.is_settled(cell)]
            if not left or len(left) == len(todo):
                break
            log.warning("%d cells were left by workers that ended; starting again", len(left))
            todo = left
        ended = [job._return_value for job in jobs if job.status == JobStatus.FAILED]
        errors = [error for error in ended if not isinstance(error, WorkerLostError)]
        if left and errors:
            raise errors[0]

    def _tracking(self) -> Any:
        from calib_sweep.check import build

        return build("tracking", self.composed[0].config["tracking"])

    def _mirror(self) -> None:
        self._tracking().log_missing(self.cells, self.store)

    def _summarise(self, seconds: float) -> int:
        from calib_sweep.analysis import report, summary
        from calib_sweep.progress import output

        if not report.is_current(self.store.folder):
            report.write_report(self.store.folder)
        title = f"sweep {self.store.sweep_name}"
        output(summary.terminal_summary(self.store.folder, title=title, seconds=seconds))
        unfinished = [cell for cell in self.cells if not self.store.is_done(cell)]
        for cell in unfinished:
            if self.store.find(cell) is None:
                log.error("not run: %s", cell.title)
        # `accelerate launch` kills all processes when one fails, so only the speaker does.
        return SOME_FAILED if unfinished and is_speaker() else DONE


def explain(error: BaseException) -> int | None:
    """Print an error that is the user's to fix and return the exit code; None for any other."""
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    from calib_sweep.plan import describe_hydra_error
    from calib_sweep.progress import console

    if isinstance(error, ConfigError | StoreError):
        problems = error.problems if isinstance(error, ConfigError) else (str(error),)
    elif isinstance(error, HydraException | OmegaConfBaseException):
        problems = (describe_hydra_error(error),)
    else:
        return None
    for problem in problems:
        console.print(f"{type(error).__name__}: {problem}", markup=False, highlight=False)
    return REFUSED
