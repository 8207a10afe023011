"""Standard errors over items that belong together, in place of those that records have.

A record's error is of as many items on their own: too small where several are about one passage,
up to three times (Miller 2024, arXiv:2411.00640). acc/mean takes over what its tasks change:

    SE^2 = recorded SE^2 + sum_t (clustered SE_t^2 - recorded SE_t^2) / T^2

Only rows of tasks with groups are changed; of others, and without items, the recorded error stays.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from calib_sweep.analysis.inference.item_groups import clustered_se
from calib_sweep.analysis.scores.items import Items, parts_of_mean
from calib_sweep.analysis.scores.means import ACC_MEAN
from calib_sweep.analysis.scores.table import Row


def with_clustered_errors(rows: Sequence[Row], items: Items) -> list[Row]:
    """Return `rows` with `stderr` of groups of items where `items` knows of any."""
    if not items.groups:
        return list(rows)
    changed: dict[tuple[str, str], float] = {}
    for cell_id, own in _by_cell(rows).items():
        for metric in own:
            group_I = _groups(items, metric, cell_id)
            if group_I is not None:
                value_I = items.scores[metric][cell_id].astype(float)
                changed[cell_id, metric] = clustered_se(value_I, group_I)
        if ACC_MEAN in own:
            changed |= _of_mean(cell_id, own, items, changed)
    return [
        {**row, "stderr": changed.get((row["cell_id"], row["metric"]), row["stderr"])}
        for row in rows
    ]


def _by_cell(rows: Sequence[Row]) -> dict[str, dict[str, Row]]:
    found: dict[str, dict[str, Row]] = {}
    for row in rows:
        if row["metric"] is not None:
            found.setdefault(row["cell_id"], {})[row["metric"]] = row
    return found


def _groups(items: Items, metric: str, cell_id: str) -> np.ndarray | None:
    is_known = cell_id in items.scores.get(metric, {})
    return items.groups_of(metric, cell_id) if is_known else None


def _of_mean(
    cell_id: str,
    own: Mapping[str, Row],
    items: Items,
    changed: Mapping[tuple[str, str], float],
) -> dict[tuple[str, str], float]:
    """Return the error of acc/mean where an error of one of its tasks is changed."""
    values = {metric: float(row["value"]) for metric, row in own.items()}
    parts = [part for part in parts_of_mean(ACC_MEAN, items, values) if part in own]
    grouped = [part for part in parts if (cell_id, part) in changed]
    if not grouped:
        return {}
    more = sum(changed[cell_id, part] ** 2 - own[part]["stderr"] ** 2 for part in grouped)
    square = own[ACC_MEAN]["stderr"] ** 2 + more / len(parts) ** 2
    return {(cell_id, ACC_MEAN): float(np.sqrt(max(square, 0.0)))}
