"""A sweep from the command line to its exit code: plan, check, launch workers, summarise.

Exit codes: 0 all cells done; 1 refused before anything started; 3 some cells failed, the others
are kept.
"""

import logging
import os
import time
from collections.abc import Callable, Sequence
from functools import cached_property, partial
from typing import TYPE_CHECKING

from hydra.types import HydraContext
from omegaconf import DictConfig

from calib_sweep.cell import Cell, Config
from calib_sweep.console import configure_logging, is_speaker
from calib_sweep.errors import ConfigError, StoreError, collected
from calib_sweep.parts.building import Builder
from calib_sweep.parts.interfaces import PartialParts, Tracking
from calib_sweep.places import CONF
from calib_sweep.results import grids
from calib_sweep.results.store import Store
from calib_sweep.sweep.closing import Closing
from calib_sweep.sweep.compose import Composed, compose_grid
from calib_sweep.sweep.explain import DONE, SOME_FAILED, explain
from calib_sweep.sweep.launching import check_launcher, preview
from calib_sweep.sweep.own_folders import log_own_folders
from calib_sweep.sweep.packing import packing
from calib_sweep.sweep.plan import plan_cells, require_one_value, store_of
from calib_sweep.sweep.points import Point, largest_seeds
from calib_sweep.sweep.queue import Failures, failures, tidy_settled
from calib_sweep.sweep.reach import (
    cells_to_run,
    made_before,
    refuse_changed_inputs,
    require_made_before,
    within_reach,
)
from calib_sweep.sweep.staffing import check_ranks, check_workers
from calib_sweep.sweep.threads import probed
from calib_sweep.sweep.workforce import Workforce
from calib_sweep.wording import counted

if TYPE_CHECKING:
    from calib_sweep.analysis.settings import AnalysisSettings
    from calib_sweep.dataset.calibration.calibration_set import CalibrationSet
    from calib_sweep.session import Session

log = logging.getLogger(__name__)

MANY = 1000  # points from which it pays to look at a few of them first


class Sweep:
    """The cells that one command line names, and what can be done with them."""

    bound = ""  # before the number of cells: "at most " where not all of them need to run
    was_done = False  # before the command: all records were read then, and nothing has run since

    def __init__(
        self,
        context: HydraContext,
        master: DictConfig,
        points: Sequence[Point],
        typed: Sequence[str] = (),
    ) -> None:
        self.context, self.master, self.points, self.typed = context, master, points, typed
        self.options: Sequence[str] = ()  # of the verb
        self.builder = Builder()
        self.workforce = Workforce(context, master, points, self.builder)

    @cached_property
    def composed(self) -> list[Composed]:
        composed = compose_grid(self.context.config_loader, self.master, self.points)
        require_one_value(composed)
        return composed

    def first_config(self) -> Config:
        """Return the configuration of one cell, before all others are composed."""
        return compose_grid(self.context.config_loader, self.master, self.points[:1])[0].config

    @cached_property
    def store(self) -> Store:
        return store_of(self.composed[0].config)

    @cached_property
    def cells(self) -> list[Cell]:
        return plan_cells(self.store, self.composed)

    def perform(self, action: str) -> int:
        """Do `action` with the cells; return the exit code."""
        actions: dict[str, Callable[[], int]] = {
            "run": self.run,
            "rescore": self.rescore,
            "check": self.check,
            "prefetch": self.prefetch,
            "inspect": self.inspect,
        }
        self.prepare()
        return actions[action]()

    def prepare(self) -> None:
        """Say what is special, and refuse a large grid early."""
        configure_logging()
        log_own_folders(CONF, self.typed)
        self._refuse_what_no_pool_holds()

    def _refuse_what_no_pool_holds(self) -> None:
        """Try the largest seeds of a large grid before all others are composed."""
        last = largest_seeds(self.points)
        if len(self.points) < MANY or len(last) > len(self.points) / 10:
            return
        few = Sweep(self.context, self.master, last)
        # What is done is not read again: its files may be gone.
        if todo := [cell for cell in few.cells if few.store.look(cell) == (None, None)]:
            from calib_sweep.sweep.check import check_cells, check_pool

            draw = partial(check_pool, results_dir=few.store.results_dir)
            check_cells(self.builder, todo, draw=draw)

    def run(self) -> int:
        """Run every cell that has no record yet, then say what came out."""
        try:
            return self._run()
        finally:
            self.workforce.crew.stop()

    def rescore(self) -> int:
        """Run as ever, but nothing that no finished cell has the weights of."""
        todo = [cell for cell in self.cells if not self.store.is_done(cell)]
        require_made_before(todo, made_before(self.store, todo))
        return self.run()

    def _run(self) -> int:
        start = time.perf_counter()
        if not self.store.folder.exists():  # else it is not known yet whether anything is to do
            self.workforce.expect([point.config for point in self.composed])
        self.store.sweep_leftovers()
        num_planned = len(self.cells)
        self.cells, found = within_reach(self.store, self.cells)
        is_short = len(self.cells) < num_planned
        todo = cells_to_run(self.store, self.cells, found)
        self.was_done = not todo
        self.workforce.expect([cell.config for cell in todo])
        again = made_before(self.store, todo)
        refuse_changed_inputs(self.builder, [*found, *again])
        if todo:
            self.check_to_run(todo)
            num_done = len(self.cells) - len(todo)
            cells = f"{self.bound}{counted(len(self.cells), 'cell')}"
            log.info("%s: %d done before, %d to run", cells, num_done, len(todo))
            if num := len({cell.id for cell, _ in again}):
                told = "%s with another evaluation before: only what is new is scored"
                log.info(told, counted(num, "cell was run", "cells were run"))
            chosen = self.workforce.choose_threads(self.store, todo)
            self.cells, todo = probed(self.cells, chosen), probed(todo, chosen)
        try:
            code = self._work(todo, failures(found), start)
            return SOME_FAILED if is_short and is_speaker() else code
        except (ConfigError, StoreError) as error:
            if all(self.store.find(cell) is None for cell in todo):
                raise  # refused, as nothing has run
            explain(error)
            return SOME_FAILED

    def _work(self, todo: Sequence[Cell], failed_before: Failures, start: float) -> int:
        self.keep()
        if todo:
            self._launch(todo, failed_before)
            if self.workforce.is_detached:
                return SOME_FAILED if self.workforce.is_short else DONE
        self.workforce.crew.resize(0)  # they end while we sum up
        tidy_settled(self.store, self.cells)
        self._mirror()
        code = self._summarise(time.perf_counter() - start)
        undecided = any(self.store.conflicts(cell) for cell in self.cells)  # the summary says which
        return SOME_FAILED if undecided and is_speaker() else code

    def keep(self) -> None:
        """Keep the cells in the folder, for workers and lists."""
        grids.keep(self.store, self.cells, self.typed)

    def check(self) -> int:
        """Validate every cell; say which are done and what the others may cost."""
        from calib_sweep.console import output
        from calib_sweep.inspection.contamination import Contamination
        from calib_sweep.sweep.check import Pools, check_cells, check_pool
        from calib_sweep.sweep.estimate import describe_plan

        num_planned = len(self.cells)
        self.cells, _ = within_reach(self.store, self.cells)
        seen = Contamination(self.builder, self.cells)
        pools = Pools()
        notes: dict[str, None] = {}
        with collected(notes) as problems:
            problems.of(check_launcher, self.master)
            problems.of(check_workers, self.master, self.cells, os.environ)
            problems.of(check_ranks, self.master, self.cells)
            # What is refused leaves nothing behind.
            place = None if problems.errors else self.store.results_dir
            draw = partial(check_pool, looks=(seen.look, pools.look), results_dir=place)
            found = problems.of(partial(check_cells, self.builder, self.cells, draw=draw))
        plan = describe_plan(self.builder, self.store, self.cells, [*notes, *found])
        warnings = [f"warning: {text}" for text in seen.warnings]
        output("\n".join(filter(None, [self.describe_bound(), *warnings, *pools.lines, plan])))
        todo = [cell for cell in self.cells if not self.store.is_done(cell)]
        packed = packing(self.builder, self.store, self.master, self.at_once(todo))
        if script := preview(self.master, packed.num_workers):
            output(f"this would be submitted, and is not:\n\n{script}")
        return DONE if len(self.cells) == num_planned else SOME_FAILED

    def describe_bound(self) -> str:
        """Say what is before the plan: nothing of a grid, which runs all its cells."""
        return ""

    def at_once(self, todo: Sequence[Cell]) -> Sequence[Cell]:
        """Return those of `todo` that workers are started for first: all of a grid."""
        return todo

    def prefetch(self) -> int:
        """Download all that the cells need, and prove that it loads offline."""
        from calib_sweep.console import output
        from calib_sweep.sweep.prefetch import prefetch_cells

        prefetch_cells(self.builder, self.cells, ["prefetch", *self.typed])
        needed = "1 cell needs" if len(self.cells) == 1 else f"{len(self.cells):,} cells need"
        output(f"all that {needed} is on this machine and loads offline")
        return DONE

    def inspect(self) -> int:
        """Show the calibration sets of the cells, and write a page about them."""
        from calib_sweep.inspection.command import inspect_cells

        cells = [cell for cell in self.cells if cell.needs_data]
        if not cells:
            raise ConfigError(
                "method: expected one that needs calibration data. Example: method=wanda."
            )
        inspect_cells(self.builder, self.store, cells, self._draw)
        return DONE

    def check_to_run(self, todo: Sequence[Cell], *, here: bool = True) -> None:
        """Check the cells to run, `here` or elsewhere; what is not on this machine is an error."""
        from calib_sweep.sweep.check import check_cells, check_pool

        notes: dict[str, None] = {}  # a run is refused for these as well
        with collected() as problems:
            problems.of(self.store.require_writable)
            problems.of(check_launcher, self.master)
            if here:
                problems.of(check_workers, self.master, todo, os.environ)
                problems.of(check_ranks, self.master, todo, self.workforce.ranks)
            draw = check_pool if problems.errors else self._draw
            problems.of(partial(check_cells, self.builder, todo, draw=draw, notes=notes))
            problems.add(*notes)

    def _draw(
        self, cell: Cell, parts: PartialParts, session: "Session | None" = None
    ) -> "CalibrationSet | None":
        """Return the set of `cell`; `session` loads the model where the dataset needs it."""
        assert parts.model is not None
        dense = None
        if session is not None and parts.dataset is not None and parts.dataset.needs_model:
            dense = session.dense(cell, parts)
        return parts.draw(self.store.results_dir, parts.model.load_tokenizer(), dense)

    def _launch(self, todo: Sequence[Cell], failed_before: Failures) -> None:
        """Have workers run `todo`."""
        closing = Closing(cells=self.cells, settings=self._analysis_settings())
        self.workforce.run(todo, self.store, self._tracking(), failed_before, closing)

    def _tracking(self) -> Tracking:
        return self.builder.build("tracking", self.composed[0].config["tracking"])

    def _analysis_settings(self) -> "AnalysisSettings":
        from calib_sweep.analysis.settings import AnalysisSettings

        return AnalysisSettings(**self.composed[0].config["analysis"])

    def _mirror(self) -> None:
        self._tracking().log_missing(self.cells, self.store)

    def _summarise(self, seconds: float) -> int:
        from calib_sweep.analysis.report import terminal as summary
        from calib_sweep.analysis.report import write as report
        from calib_sweep.console import output

        folder = self.store.folder
        told = report.bring_up_to_date(folder, self._analysis_settings())
        title = f"sweep {self.store.sweep_name}"
        output(summary.terminal_summary(folder, title=title, seconds=seconds, told=told))
        records = [(cell, self.store.find(cell)) for cell in ([] if self.was_done else self.cells)]
        for cell in [cell for cell, record in records if record is None]:
            log.error("not run: %s", cell.title)
        unfinished = any(not (one and self.store.completes(cell, one)) for cell, one in records)
        self._tracking().log_report(self.store)
        # `accelerate launch` kills all processes when one fails, so only the speaker does.
        return SOME_FAILED if unfinished and is_speaker() else DONE
