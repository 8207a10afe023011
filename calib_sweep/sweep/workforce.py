"""The workers of a sweep: those of Hydra's launcher, and on a CPU a crew beside this process.

Here is also decided what they run with: the threads of small models.
"""

import logging
import os
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hydra.core.utils import JobReturn, JobStatus
from hydra.types import HydraContext
from omegaconf import DictConfig, OmegaConf

from calib_sweep.cell import Cell, Config
from calib_sweep.errors import WorkerLostError
from calib_sweep.interruption import raise_if_told
from calib_sweep.parts.building import Builder
from calib_sweep.parts.interfaces import Tracking
from calib_sweep.ranks import ALONE, Ranks
from calib_sweep.results.store import Store
from calib_sweep.sweep import staffing, threads
from calib_sweep.sweep.choices import as_hydra_takes_it
from calib_sweep.sweep.closing import Closing
from calib_sweep.sweep.cost.jobs import num_weights
from calib_sweep.sweep.crew import Crew
from calib_sweep.sweep.limits import Limits
from calib_sweep.sweep.machine import num_cores
from calib_sweep.sweep.packing import packing
from calib_sweep.sweep.points import Point
from calib_sweep.sweep.queue import Failures, Outlook
from calib_sweep.sweep.together import losses_among
from calib_sweep.wording import counted

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from calib_sweep.session import Session

log = logging.getLogger(__name__)


class Workforce:
    """Starts workers for the cells of a sweep. `points`: Hydra composes the first one again."""

    def __init__(
        self, context: HydraContext, master: DictConfig, points: Sequence[Point], builder: Builder
    ) -> None:
        self.context, self.master, self.points, self.builder = context, master, points, builder
        self.sessions: list[Session] = []  # of the worker in this process, if there is one
        self.crew = Crew()
        self.limits = Limits()
        self.ranks: Ranks = ALONE  # this command is one of; a launcher's workers find theirs
        self.is_short = False  # fewer workers are on their way than there should be

    def expect(self, configs: Sequence[Config]) -> None:
        """Start the crew that cells of these configurations will need, as far as one can tell."""
        workers = configs[0]["workers"] if configs else 1
        if self._may_start(workers):
            self.crew.resize(staffing.first_guess(workers, configs) - 1)

    def _may_start(self, workers: int | str) -> bool:
        """Tell whether others may work beside this process: not where cells are counted."""
        is_counted = self.limits.max_cells is not None
        return not is_counted and staffing.may_start(self.master, workers, os.environ)

    def choose_threads(self, store: Store, todo: Sequence[Cell]) -> dict[str, int]:
        """Return the threads of each model in `todo` that has no `num_threads`, where it is small.

        What was chosen once in this sweep stays; else it is measured now.
        """
        undecided = {threads.model_key(c): c for c in todo if c.config["num_threads"] is None}
        chosen = {key: threads.kept(store, key) for key in undecided}
        for key in [key for key, number in chosen.items() if number is None]:
            chosen[key] = self._measure_threads(store, undecided[key], todo)
        return {key: number for key, number in chosen.items() if number is not None}

    def _measure_threads(self, store: Store, cell: Cell, todo: Sequence[Cell]) -> int | None:
        model, cores = cell.config["model"], num_cores()
        weights = num_weights(self.builder, model)
        is_ours = staffing.is_alone(self.master, os.environ) and not os.environ.get(
            "OMP_NUM_THREADS"
        )
        is_small = weights is not None and weights < threads.SMALL
        if cores == 1 or not is_ours or not is_small or staffing.is_on_gpu([cell]):
            return None

        def num_workers(number: int) -> int:
            workers, size = cell.config["workers"], staffing.worker_bytes(self.builder, model)
            return staffing.num_workers(workers, number, size, staffing.at_once(todo))

        if (loaded := self._load(cell)) is None:
            return None
        seconds = threads.time_passes(loaded, threads.candidates(cores))
        number = threads.fastest(seconds, staffing.at_once(todo), num_workers)
        number = threads.keep(store, threads.model_key(cell), number, seconds)
        told = "%s runs on %s: what these cells need the least time with. num_threads=N decides it"
        log.info(told, cell.model, counted(number, "thread"))
        return number

    def _load(self, cell: Cell) -> "PreTrainedModel | None":
        """Load a model for the worker in this process; None where that fails: its cells tell."""
        from calib_sweep.session import Session

        self.sessions[:] = self.sessions or [Session(self.builder)]
        try:
            part = self.builder.build("model", cell.config["model"])
            return self.sessions[0].model(part, part.fingerprint())
        except Exception as error:
            raise_if_told()
            log.debug("%s: no number of threads is measured: %s", cell.model, error)
            self.sessions[0].forget()
            return None

    @property
    def is_detached(self) -> bool:
        """Tell whether the launcher returns as soon as workers are on their way."""
        return bool(OmegaConf.select(self.master, "hydra.launcher.detach"))

    def run(
        self,
        todo: Sequence[Cell],
        store: Store,
        tracking: Tracking,
        failed_before: Failures,
        closing: Closing,
    ) -> None:
        """Have `todo` run: start workers again as long as each time leaves fewer cells.

        Or leaves more of a cell, for who runs it next: parts of its walk, or of its scores.
        Detached workers run on without this command: the last of them does the `closing`.
        """
        if self.is_detached:
            lacking = self._start(todo, store, tracking, failed_before, closing)
            self.is_short = bool(lacking)
            if lacking:
                log.error(
                    "%s of them are not on their way, and nobody submits them later: type the same "
                    "command again when there is room, or with more cells_per_worker",
                    f"{len(lacking):,}",
                )
            told = "see how they get on: python -m calib_sweep status %s"
            log.info(told, shlex.quote(str(store.folder)))
            return
        outlook = Outlook(store, failed_before)
        failed: set[str] = set()
        while True:
            num_lost, kept = losses_among(todo, store), _kept_of(todo, store)
            jobs = self._start(todo, store, tracking, failed_before)
            ended = [job._return_value for job in jobs if job.status == JobStatus.FAILED]
            for error in ended:
                log.error("a worker ended: %s: %s", type(error).__name__, error)
            failed.update(*(job._return_value for job in jobs if job.status != JobStatus.FAILED))
            left = [cell for cell in outlook.unsettled(todo) if cell.id not in failed]
            got_on = len(left) < len(todo) or losses_among(left, store) > num_lost
            is_lost = any(isinstance(error, WorkerLostError) for error in ended)
            got_on = got_on or (is_lost and bool(_kept_of(left, store) - kept))
            if not left or not got_on or self.limits.are_set:
                break
            cells = counted(len(left), "cell")
            log.warning("workers ended before %s ran; starting again", cells)
            todo = left
        errors = [error for error in ended if not isinstance(error, WorkerLostError)]
        if left and errors:
            raise errors[0]

    def _start(
        self,
        todo: Sequence[Cell],
        store: Store,
        tracking: Tracking,
        failed_before: Failures,
        closing: Closing | None = None,
    ) -> Sequence[JobReturn]:
        """Have Hydra's launcher run as many workers as `todo` needs, and wait for them."""
        from hydra.core.plugins import Plugins

        from calib_sweep.sweep.worker import Worker

        if self._may_start(workers := todo[0].config["workers"]):
            self.crew.resize(staffing.needed(self.builder, workers, todo) - 1)
        pack = packing(self.builder, store, self.master, todo)
        worker = Worker(
            cells=todo,
            store=store,
            tracking=tracking,
            max_cells=self.limits.least(pack.max_cells),
            failed_before=failed_before,
            builder=self.builder,
            sessions=self.sessions,
            crew=self.crew,
            until=self.limits.until,
            share=pack.share,
            closing=closing,
            ranks=self.ranks,
        )
        launcher = Plugins.instance().instantiate_launcher(
            hydra_context=self.context, task_function=worker, config=self.master
        )
        jobs = [as_hydra_takes_it(self.context.config_loader, self.points[0])]
        return launcher.launch(jobs * pack.num_workers, initial_job_idx=0)


def _kept_of(cells: Sequence[Cell], store: Store) -> set[tuple[Path, int]]:
    """Return what is kept of cells that are not done: files, and when they were written."""
    from calib_sweep.sweep.worker import kept_parts

    names = set(os.listdir(store.folder)) if store.folder.is_dir() else set()  # noqa: PTH208
    folders = [store.cell_folder(cell) for cell in cells if cell.folder_name in names]
    return {part for folder in folders for part in kept_parts(folder).items()}
