"""hydra/sweeper=adaptive: a grid whose seeds are run round by round, until it is known.

round of seeds --> workers, by the same launcher --> all its cells settled --> look --> stop?
   ^                                                                            |
   +---------------------------- no: the next round ----------------------------+

A look is a function of the records (`looking`), so what was killed goes on by the same command, and
several commands on one folder stop at the same round. A failed cell is settled: its seed does not
count for the contrasts that need it.
"""

import logging
from collections.abc import Sequence
from functools import cached_property

from hydra.types import HydraContext
from omegaconf import DictConfig

from calib_sweep import atomic, valid_json
from calib_sweep.analysis.report.stopping import describe_look
from calib_sweep.cell import Cell, Config
from calib_sweep.errors import Problems
from calib_sweep.places import STOPPING
from calib_sweep.results import grids
from calib_sweep.sweep.compose import GridError
from calib_sweep.sweep.looking import Entry, Scored, look
from calib_sweep.sweep.points import Point
from calib_sweep.sweep.queue import Failures, Outlook
from calib_sweep.sweep.rounds import (
    Contrast,
    Rule,
    are_names,
    contrasts_of,
    describe_bound,
    require_seeds,
)
from calib_sweep.sweep.sweep import Sweep

log = logging.getLogger(__name__)


class AdaptiveSweep(Sweep):
    """A sweep that stops adding seeds when every contrast is known."""

    bound = "at most "

    def __init__(
        self,
        context: HydraContext,
        master: DictConfig,
        points: Sequence[Point],
        typed: Sequence[str],
        settings: Config,
    ) -> None:
        super().__init__(context, master, points, typed)
        self.settings = settings

    @cached_property
    def rule(self) -> Rule:
        return Rule(**self.settings)

    @cached_property
    def seeds(self) -> list[int]:
        """Return all that may be used, in the order typed."""
        return list(dict.fromkeys(point.config["seed"] for point in self.composed))

    @cached_property
    def contrasts(self) -> list[Contrast]:
        return contrasts_of(self.cells, self.rule.contrasts)

    def perform(self, action: str) -> int:
        self._check_rule()
        return super().perform(action)

    def _check_rule(self) -> None:
        """Raise `GridError` with all that is wrong with the rule, and with the points."""
        problems = Problems()
        problems.of(lambda: self.rule)
        try:
            composed = self.composed
        except GridError as error:
            raise GridError(*error.problems, *problems.texts, composed=error.composed) from None
        problems.of(require_seeds, self.seeds, self.settings["min_seeds"])
        if are_names(wanted := self.settings["contrasts"]):
            problems.of(lambda: contrasts_of(self.cells, wanted))
        if problems.errors:
            raise GridError(*problems.texts, composed=composed)

    def run(self) -> int:
        """Run rounds until every contrast is known; what is known already needs no check."""
        self.cells = self._needed()
        return super().run()

    def _needed(self) -> list[Cell]:
        """Return the cells up to the round that ends the sweep, as far as that is known now."""
        cells, used = list[Cell](), list[int]()
        for seeds in self.rule.rounds(self.seeds):
            used += seeds
            cells += (part := self._of_round(self.cells, seeds))
            if not all(self.store.is_done(cell) for cell in part):
                break
            if look(self.rule, self.contrasts, self._scored(cells), used)["is_settled"]:
                return cells
        return self.cells

    def describe_bound(self) -> str:
        return describe_bound(self.rule, len(self.seeds), self.contrasts)

    def at_once(self, todo: Sequence[Cell]) -> Sequence[Cell]:
        """Return the cells of the first round that is not done."""
        for seeds in self.rule.rounds(self.seeds):
            if part := self._of_round(todo, seeds):
                return part
        return todo

    def _of_round(self, cells: Sequence[Cell], seeds: Sequence[int]) -> list[Cell]:
        """Return the cells of `seeds`; what needs none belongs to the first round."""
        is_first = self.seeds[0] in seeds
        return [cell for cell in cells if (cell.seed in seeds if cell.needs_data else is_first)]

    def _work(self, todo: Sequence[Cell], failed_before: Failures, start: float) -> int:
        outlook, looks = Outlook(self.store, failed_before), list[Entry]()
        contrasts, used, cells = self.contrasts, list[int](), list[Cell]()
        for seeds in self.rule.rounds(self.seeds):
            used += seeds
            cells += self._of_round(self.cells, seeds)
            part = self._of_round(todo, seeds)
            grids.keep(self.store, cells, self.typed)
            if part:
                self._launch(part, failed_before)
            if outlook.unsettled(part):  # workers ended before; what is left is told below
                self.cells = cells
                return super()._work([], failed_before, start)
            scored = self._scored(cells)
            looks.append(look(self.rule, contrasts, scored, used))
            log.info("%s", describe_look(looks[-1], scored.known))
            if looks[-1]["is_settled"]:
                break
        self._write(looks)
        self.cells = cells
        return super()._work([], failed_before, start)

    def _scored(self, cells: Sequence[Cell]) -> Scored:
        return Scored.of(self.store.folder, cells, self._analysis_settings().metrics)

    def _write(self, looks: Sequence[Entry]) -> None:
        rule = {
            "min_seeds": self.rule.min_seeds,
            "round": self.rule.round,
            "width": self.rule.width,
            "contrasts": self.rule.contrasts,
            "most_seeds": len(self.seeds),
        }
        seeds = self.seeds[: looks[-1]["num_seeds"]]
        told = {"schema": 1, "rule": rule, "seeds": seeds, "looks": looks}
        atomic.write(self.store.folder / STOPPING, valid_json.dumps(told, indent=1) + "\n")
