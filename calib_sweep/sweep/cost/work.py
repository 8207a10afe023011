"""What a cell's compression does, about: the method's own work, and what activations add."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from calib_sweep.cell import DENSE, Cell, Config
from calib_sweep.parts.building import Builder
from calib_sweep.wording import counted

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


def tools_among(builder: Builder, cells: Sequence[Cell]) -> Iterator[str]:
    """Say which tools of others these cells run: nobody knows what they take."""
    from calib_sweep.method.whole_model import WholeModelMethod

    nodes = {cell.method: cell.config["method"] for cell in cells}
    built = {name: builder.build("method", node) for name, node in nodes.items()}
    names = sorted(name for name, one in built.items() if isinstance(one, WholeModelMethod))
    if names:
        num = counted(sum(cell.method in names for cell in cells), "cell")
        yield f"besides: what {', '.join(names)} takes by itself, in {num}"
