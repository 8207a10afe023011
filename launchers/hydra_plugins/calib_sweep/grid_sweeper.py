"""hydra/sweeper=grid: expand the command line into points and hand them to the sweep."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NoReturn

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.config_store import ConfigStore
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

if TYPE_CHECKING:
    from calib_sweep.sweep.points import Point
    from calib_sweep.sweep.sweep import Sweep


@dataclass
class GridSweeperConf:
    """Settings of the grid sweeper."""

    _target_: str = "hydra_plugins.calib_sweep.grid_sweeper.GridSweeper"
    action: str = "run"  # what to do with the cells: a verb of `calib_sweep.cli`
    # A grid named in YAML; the command line wins.
    params: dict[str, str] | None = field(default=None)
    typed: str | None = None  # all that was typed, packed; null: what Hydra hands over
    options: str = ""  # those of the verb, packed


ConfigStore.instance().store(
    group="hydra/sweeper", name="grid", node=GridSweeperConf, provider="calib_sweep"
)


class GridSweeper(BasicSweeper):
    """Composes every cell first, then runs (or only checks) those that are not finished."""

    def __init__(
        self,
        action: str,
        params: dict[str, str] | None = None,
        typed: str | None = None,
        options: str = "",
    ) -> None:
        super().__init__(max_batch_size=None, params=params)
        self.action, self.typed, self.options = action, typed, options

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """Keep what a launcher needs; it is made only once there is something to launch."""
        self.hydra_context, self.config = hydra_context, config

    def sweep(self, arguments: list[str]) -> NoReturn:
        """Run the grid and leave with its exit code."""
        from calib_sweep.sweep.explain import SweepEnded
        from calib_sweep.sweep.folder_verbs import perform
        from calib_sweep.sweep.handover import unpack

        typed = arguments if self.typed is None else unpack(self.typed)
        is_kept = self.action == "work"
        sweep = self._of_folder(typed) if is_kept else self._of_words(typed)
        sweep.options = unpack(self.options)
        code = perform(sweep, self.action)
        raise SweepEnded(code, sweep.store.folder)

    def _of_words(self, typed: list[str]) -> "Sweep":
        """Return the sweep of the grid that was typed."""
        from calib_sweep.sweep.points import parse_words, read_options, split_points

        assert self.hydra_context is not None
        words = [*self._parse_config(), *read_options(typed).overrides]
        overrides = parse_words(words, self.hydra_context.config_loader)
        points = split_points([o for o in overrides if not o.is_hydra_override()])
        return self.make_sweep(points, typed)

    def _of_folder(self, typed: list[str]) -> "Sweep":
        """Return the sweep of the grids that are kept in a folder."""
        from calib_sweep.sweep.kept import KeptSweep

        assert self.hydra_context is not None and self.config is not None
        return KeptSweep(self.hydra_context, self.config, typed)

    def make_sweep(self, points: "Sequence[Point]", typed: Sequence[str]) -> "Sweep":
        """Return the sweep of these points."""
        from calib_sweep.sweep.sweep import Sweep

        assert self.hydra_context is not None and self.config is not None
        return Sweep(self.hydra_context, self.config, points, typed)
