"""Cells of two sweeps that are the same point of the grid, whatever else differs between them.

Two done cells belong together when they have the same model, method, dataset, seed and replicate.
Where a sweep has several such cells, the settings that tell them apart within it decide too. Of
cells that nothing tells apart the last to finish counts, as everywhere in the analysis.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from calib_sweep.analysis.scores.cells import ReadCell
from calib_sweep.analysis.scores.table import cell_settings
from calib_sweep.settings import axes_of, flatten, flatten_config, text_of, title_of

Key = tuple[object, ...]


@dataclass(frozen=True)
class Shared:
    """The cells of two sweeps: pairs that belong together, and those that only one has."""

    pairs: list[tuple[ReadCell, ReadCell]]
    only_first: list[ReadCell]
    only_second: list[ReadCell]


def shared_cells(first: Sequence[ReadCell], second: Sequence[ReadCell]) -> Shared:
    """Find the done cells that both have."""
    sweeps = [
        [record for record in cells if record["status"] == "done"] for cells in (first, second)
    ]
    telling = _telling(sweeps)
    places = [{_key(record, telling): record for record in _by_age(cells)} for cells in sweeps]
    both = [key for key in places[0] if key in places[1]]
    only = [
        [record for key, record in own.items() if key not in other]
        for own, other in (places, places[::-1])
    ]
    return Shared([(places[0][key], places[1][key]) for key in both], *only)


def named(record: ReadCell) -> str:
    """Name a cell in one line."""
    return title_of(record["cell"], record["cell"].get("settings") or {})


def _by_age(cells: Iterable[ReadCell]) -> list[ReadCell]:
    """Order cells so that the last to finish comes last; names decide where no time is recorded."""
    return sorted(cells, key=lambda one: (str(one.get("finished_at") or ""), one["cell_id"]))


def _telling(sweeps: Sequence[Sequence[ReadCell]]) -> dict[Key, list[str]]:
    """Return the settings that tell cells of the same axes apart in one of the sweeps, by axes."""
    found: dict[Key, set[str]] = {}
    for cells in sweeps:
        alike: dict[Key, list[ReadCell]] = {}
        for record in cells:
            alike.setdefault(_point(record), []).append(record)
        for own in alike.values():
            if len(own) > 1:
                names = {name for settings in cell_settings(own) for name in settings}
                found.setdefault(axes_of(own[0]["cell"]), set()).update(names)
    return {axes: sorted(names) for axes, names in found.items()}


def _point(record: ReadCell) -> Key:
    cell = record["cell"]
    return (*axes_of(cell), cell.get("seed"), cell.get("replicate") or 0)


def _key(record: ReadCell, telling: Mapping[Key, Sequence[str]]) -> Key:
    names = telling.get(axes_of(record["cell"]), [])
    typed = flatten(record["cell"].get("settings") or {})
    run = {**typed, **flatten_config(record.get("config") or {})}
    return (*_point(record), *(text_of(run.get(name)) for name in names))
