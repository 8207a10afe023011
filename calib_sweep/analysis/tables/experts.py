"""How many calibration tokens the experts of a mixture got, by model, method and dataset.

A row where routed experts were compressed with data: over all experts of all blocks the fewest, the
median and the most tokens that a router sent to one, and how many got none. Means over the cells
(`n`). An expert that got few is compressed by few: `num_routed` in each cell's layers.parquet has
them one by one.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from calib_sweep.analysis.scores.cells import ReadCell
from calib_sweep.analysis.scores.groups import Group
from calib_sweep.analysis.scores.names import Naming
from calib_sweep.analysis.scores.table import Row, settings_of

COUNTS = ("num_experts", "fewest", "median", "most", "unreached")
COLUMNS = ["model", "method", "dataset", "n", *COUNTS]

Key = tuple[str, str, str]


def expert_table(
    rows: Sequence[Row], cells: Sequence[ReadCell], groups: Sequence[Group], naming: Naming
) -> pd.DataFrame:
    """Make experts.csv, in the order of the groups; no rows where no model has routed experts."""
    counted = {str(record["cell_id"]): note for record in cells if (note := _note(record))}
    found: dict[Key, dict[str, Mapping[str, float]]] = {}
    for row in rows:
        if row["status"] == "done" and row["cell_id"] in counted:
            names = naming.name(row["model"], row["method"], row["dataset"], settings_of(row))
            key = (names.model, names.method, names.dataset or "")
            found.setdefault(key, {})[row["cell_id"]] = counted[row["cell_id"]]
    order = dict.fromkeys(_key(naming, group) for group in groups)
    return pd.DataFrame(
        [_row(key, list(found[key].values())) for key in order if key in found],
        columns=pd.Index(COLUMNS),
    )


def _note(record: ReadCell) -> Mapping[str, float] | None:
    """Return what a finished record counted of its experts; None where there is nothing whole."""
    note = (record.get("compression") or {}).get("experts")
    is_whole = isinstance(note, Mapping) and all(_is_number(note.get(key)) for key in COUNTS)
    return note if is_whole and record["status"] == "done" else None  # pyright: ignore


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _key(naming: Naming, group: Group) -> Key:
    names = naming.of(group)
    return names.model, names.method, names.dataset or ""


def _row(key: Key, notes: Sequence[Mapping[str, float]]) -> dict[str, object]:
    axes = dict(zip(COLUMNS, key, strict=False))
    means = {name: float(np.mean([note[name] for note in notes])) for name in COUNTS}
    return {**axes, "n": len(notes), **means}
