"""hydra/sweeper=grid: expands the command line into points and hands them to calib_sweep.sweep."""

from dataclasses import dataclass, field
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


@dataclass
class GridSweeperConf:
    """Settings of the grid sweeper."""

    _target_: str = "hydra_plugins.calib_sweep.grid_sweeper.GridSweeper"
    action: str = "run"  # what to do with the cells: run, check, prefetch or inspect
    params: dict[str, str] | None = field(
        default=None
    )  # a grid named in YAML; the command line wins


ConfigStore.instance().store(
    group="hydra/sweeper", name="grid", node=GridSweeperConf, provider="calib_sweep"
)


class GridSweeper(BasicSweeper):
    """Composes every cell first, then runs (or only checks) those that are not finished."""

    def __init__(self, action: str, params: dict[str, str] | None = None) -> None:
        super().__init__(max_batch_size=None, params=params)
        self.action = action

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """Keep what a launcher needs; it is made only once there is something to launch."""
        self.hydra_context, self.config = hydra_context, config

    def sweep(self, arguments: list[str]) -> Any:
        """Run the grid and leave with its exit code."""
        from calib_sweep.sweep import Sweep

        assert self.hydra_context is not None and self.config is not None
        parser = OverridesParser.create(config_loader=self.hydra_context.config_loader)
        overrides = parser.parse_overrides([*self._parse_config(), *arguments])
        points = self.split_arguments(overrides, max_batch_size=None)[0]
        raise SystemExit(Sweep(self.hydra_context, self.config, points).perform(self.action))
