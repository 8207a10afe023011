"""hydra/sweeper=adaptive: the grid of a command line, seeds round by round, until it is known."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hydra.core.config_store import ConfigStore
from hydra_plugins.calib_sweep.grid_sweeper import GridSweeper, GridSweeperConf
from omegaconf import OmegaConf

if TYPE_CHECKING:
    from calib_sweep.sweep.points import Point
    from calib_sweep.sweep.sweep import Sweep

RULE = ("min_seeds", "round", "width", "contrasts")


@dataclass
class AdaptiveSweeperConf(GridSweeperConf):
    """Settings of the adaptive sweeper; `sweep.rounds.Rule` checks their values, all at once."""

    _target_: str = "hydra_plugins.calib_sweep.adaptive_sweeper.AdaptiveSweeper"
    min_seeds: Any = 5  # before the first look; an integer >= 4
    round: Any = 1  # seeds between two looks
    width: Any = 0.01  # half-width: 1 point of accuracy, 1 % of perplexity; or {acc: ..., ppl: ...}
    contrasts: Any = None  # methods, each against each, or pairs; null: all methods of the grid


ConfigStore.instance().store(
    group="hydra/sweeper", name="adaptive", node=AdaptiveSweeperConf, provider="calib_sweep"
)


class AdaptiveSweeper(GridSweeper):
    """Runs the seeds of a grid in rounds; all seeds typed are the most that are used."""

    def __init__(
        self, min_seeds: Any, round: Any, width: Any, contrasts: Any, **of_grid: Any
    ) -> None:
        super().__init__(**of_grid)
        values = (min_seeds, round, width, contrasts)
        self.rule = {name: _plain(value) for name, value in zip(RULE, values, strict=True)}

    def make_sweep(self, points: "Sequence[Point]", typed: Sequence[str]) -> "Sweep":
        """Return the sweep of these points."""
        from calib_sweep.sweep.adaptive import AdaptiveSweep

        assert self.hydra_context is not None and self.config is not None
        return AdaptiveSweep(self.hydra_context, self.config, points, typed, self.rule)


def _plain(value: Any) -> Any:
    return OmegaConf.to_container(value) if OmegaConf.is_config(value) else value
