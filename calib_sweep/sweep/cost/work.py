"""What a cell's compression does, about: the method's own work, and what activations add."""

from typing import TYPE_CHECKING

from calib_sweep.cell import DENSE, Config
from calib_sweep.parts.building import Builder

if TYPE_CHECKING:
    from calib_sweep.method.base import Work


def work_of(builder: Builder, config: Config) -> "Work":
    """Return the work of a cell with this configuration; `ConfigError` if a part is mistaken."""
    work = builder.build("method", config["method"]).work()
    node = config.get("activations")
    if node is None or config["method"] == DENSE:
        return work
    if builder.build("activations", node).statistic is None:
        return work
    return work._replace(passes=max(work.passes, 1) + 1)  # observed for static scales; propagated
