"""`calib-sweep work FOLDER`: workers for the grids that are kept in a folder.

    add, or any command that runs a grid --> grid-HASH.json in the folder --> work: its cells

It goes the way of every sweep, so launchers, checks, claims and the report are the same. The cells
come from the folder: neither what was typed for them is needed, nor the YAML behind it.
"""

import logging
import time
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from hydra.types import HydraContext
from omegaconf import DictConfig, OmegaConf

from calib_sweep.arguments import near_sweeps
from calib_sweep.cell import Cell, Config, digest
from calib_sweep.console import configure_logging, is_speaker
from calib_sweep.errors import ConfigError, StoreError
from calib_sweep.interruption import raise_if_told
from calib_sweep.results import grids
from calib_sweep.settings import BOOKKEEPING
from calib_sweep.sweep.compose import Composed
from calib_sweep.sweep.explain import DONE, SOME_FAILED
from calib_sweep.sweep.limits import SKIP_FAILED, TRUST, Limits
from calib_sweep.sweep.plan import store_of
from calib_sweep.sweep.points import read_options
from calib_sweep.sweep.queue import FAILED, Failures, Outlook
from calib_sweep.sweep.sweep import Sweep
from calib_sweep.sweep.trust import require_trusted
from calib_sweep.sweep.words import word
from calib_sweep.wording import counted

log = logging.getLogger(__name__)

POLL_S = 2.0  # between two looks for another grid
OF_A_SWEEP = ("tracking", "analysis", "workers")  # one value for all cells of a command
LAUNCHER, WORKERS = ("hydra/launcher=", "hydra.launcher."), "workers="


def words_of(arguments: Sequence[str]) -> list[str]:
    """Return what Hydra is told of `work FOLDER [hydra/launcher=NAME ...] [workers=N]`."""
    options = read_options(arguments)
    told = [text for text in options.overrides if text.startswith((*LAUNCHER, WORKERS))]
    folders = [text for text in options.overrides if text not in told]
    if len(folders) != 1 or ("=" in folders[0] and not Path(folders[0]).is_dir()):
        given = " ".join(arguments) or "nothing"
        raise ConfigError(
            f"work {given}: expected the folder of one sweep and, if anything, a launcher or "
            "workers=N: all else is as its grid was planned. "
            "Example: python -m calib_sweep work results/NAME hydra/launcher=accelerate."
        )
    folder = Path(folders[0]).absolute()
    flags = [text for text in arguments if text not in options.overrides]
    place = [word("results_dir", str(folder.parent)), word("sweep_name", folder.name)]
    return [*flags, *told, *place]


class KeptSweep(Sweep):
    """The cells of all grids of a folder, also of those that come while it works."""

    def __init__(self, context: HydraContext, master: DictConfig, typed: Sequence[str]) -> None:
        super().__init__(context, master, [[]], typed)
        self.had_work = False  # in the last pass
        self.flaws: list[str] = []  # of files that should be grids
        self.store = store_of({key: master[key] for key in ("results_dir", "sweep_name")})

    def perform(self, action: str) -> int:
        configure_logging()
        self.limits = self.workforce.limits = Limits.of(self.options)
        seen, code, since = set[str](), DONE, time.monotonic()
        while not (seen and self.limits.is_over):
            if cells := self._next(seen):
                seen.update(cell.id for cell in cells)
                code = max(code, self._run_also(cells))
                since = time.monotonic()
                if self.limits.max_cells and self.had_work:
                    break
            elif time.monotonic() - since < self.limits.wait_s:
                raise_if_told()
                time.sleep(min(POLL_S, self.limits.wait_s))
            else:
                break
        if self.flaws and not seen:
            raise StoreError(" ".join(self.flaws))
        if not seen:
            raise ConfigError(
                f"{self.store.folder}: expected the folder of a sweep that has been planned, and "
                "no grid is kept there. Plan it. Example: python -m calib_sweep add -m "
                f"method=wanda 'seed=range(5)' {word('sweep_name', self.store.sweep_name)}."
                f"{near_sweeps(self.store.folder)}"
            )
        return max(code, SOME_FAILED) if self.flaws and is_speaker() else code

    def first_config(self) -> Config:
        cells = grids.kept_cells(self.store, [])  # what is wrong is told when they are run
        return cells[0].config if cells else super().first_config()

    def _next(self, seen: Collection[str]) -> list[Cell]:
        """Return cells that have not been seen yet, with one tracker and one kind of report."""
        alike: dict[str, list[Cell]] = {}
        flaws: list[str] = []
        found = grids.kept(self.store, flaws)
        for flaw in [flaw for flaw in flaws if flaw not in self.flaws]:
            log.error("left out: %s", flaw)
            self.flaws.append(flaw)
        if TRUST not in self.options:
            require_trusted(found)
        for cell in {cell.id: cell for grid in found for cell in grid.cells}.values():
            if cell.id not in seen:
                key = digest([cell.config[name] for name in OF_A_SWEEP])
                alike.setdefault(key, []).append(cell)
        return next(iter(alike.values()), [])

    def _run_also(self, cells: Sequence[Cell]) -> int:
        if SKIP_FAILED in self.options and (failed := self._failed(cells)):
            told = "%s failed before: left as they are, by %s"
            log.warning(told, counted(len(failed), "cell"), SKIP_FAILED)
            rest = [cell for cell in cells if cell.id not in failed]
            code = SOME_FAILED if is_speaker() else DONE
            return max(code, self._run_also(rest)) if rest else code
        cells = [replace(cell, config=self._completed(cell.config)) for cell in cells]
        self.cells, self.had_work = list(cells), False
        self.composed = [Composed(c.config, dict(c.choices), dict(c.settings)) for c in cells]
        return self.run()

    def _failed(self, cells: Sequence[Cell]) -> set[str]:
        """Return the ids of those that have failed."""
        found = {cell.id: self.store.look(cell)[0] for cell in cells}
        return {key for key, one in found.items() if one is not None and one["status"] == FAILED}

    def _completed(self, config: Config) -> Config:
        """Return `config` with what was typed, and with keys that are younger than its grid."""
        younger = [key for key in self.master if key in BOOKKEEPING and key not in config]
        told: dict[str, Any] = {
            str(key): OmegaConf.select(self.master, str(key)) for key in younger
        }
        told = {
            k: OmegaConf.to_container(v) if OmegaConf.is_config(v) else v for k, v in told.items()
        }
        for text in self.typed:
            if text.startswith(WORKERS):
                number = text.removeprefix(WORKERS)
                told["workers"] = int(number) if number.isdigit() else number
        return {**config, **told}

    def keep(self) -> None:
        """Keep nothing: they are kept."""

    def _work(self, todo: Sequence[Cell], failed_before: Failures, start: float) -> int:
        self.had_work = bool(todo)
        if not (todo and self.limits.are_set):
            return super()._work(todo, failed_before, start)
        self._launch(todo, failed_before)
        self.workforce.crew.resize(0)
        outlook = Outlook(self.store, failed_before)
        left = outlook.unsettled(todo)
        if not left:
            return super()._work([], failed_before, start)
        log.info("%s left: other workers, or the same command, go on", counted(len(left), "cell"))
        failed = self.workforce.is_short or any(outlook.of(cell) == FAILED for cell in todo)
        return SOME_FAILED if failed and is_speaker() else DONE
