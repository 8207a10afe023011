"""The per-item results of a sweep: which items each cell answered right, each window's loss.

A metric's items are kept only if their mean is the recorded score: acc/<task> and acc_norm/<task>
are means of 0 and 1, the logarithm of ppl/<corpus> is the mean of the windows' losses. Cells whose
items.parquet lists the same items have the same layout and can be compared item by item.

Shapes: I items.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from calib_sweep.analysis.scores.cells import ReadCell
from calib_sweep.analysis.scores.sidecars import SCORED, Tell, item_tables
from calib_sweep.errors import printable

if TYPE_CHECKING:
    import pyarrow

log = logging.getLogger(__name__)

Option = tuple[int, str]  # which task or corpus, another of its metrics

GROUP = "group"  # the column of what items that belong together share
# Scores of a task that the column of right answers does not hold.
NEVER_OF_ITEMS = ("acc", "acc_norm", "flips", "cut")
TOLERANCE = 1e-5  # of a mean of items beside the recorded score; items are kept in float32


@dataclass(eq=False)
class Items:
    """Scores per item. `layout_of` a cell is the number of its list of items."""

    scores: dict[str, dict[str, np.ndarray]] = field(default_factory=dict)  # metric, cell id -> [I]
    layout_of: dict[str, int] = field(default_factory=dict)  # by cell id
    labels: dict[tuple[str, int], list[tuple[int, str]]] = field(default_factory=dict)
    # (task or corpus, layout) -> position and hash of each item
    groups: dict[tuple[str, int], np.ndarray] = field(default_factory=dict)
    # (task, layout) -> number of each item's group [I]; only where several items share one

    def groups_of(self, metric: str, cell_id: str) -> np.ndarray | None:
        """Return the group of each item of a cell [I]; None: each item is on its own."""
        return self.groups.get((metric.partition("/")[2], self.layout_of[cell_id]))

    def of(self, metric: str, cell_ids: Sequence[str]) -> tuple[np.ndarray, list[str]]:
        """Return scores of the cells that share the most common layout [cells, I], and which."""
        known = [i for i in cell_ids if i in self.scores.get(metric, {})]
        if not known:
            return np.empty((0, 0)), []
        layouts = [self.layout_of[i] for i in known]
        common = max(dict.fromkeys(layouts), key=layouts.count)
        kept = [i for i, layout in zip(known, layouts, strict=True) if layout == common]
        return np.stack([self.scores[metric][i] for i in kept]), kept


def read_items(folder: str | Path, cells: Sequence[ReadCell], tell: Tell = log.warning) -> Items:
    """Return the items of the done cells of the sweep in `folder`, of those that have any.

    `tell`: takes a sentence about each file that is damaged.
    """
    items = Items()
    layouts: list[tuple[pyarrow.Table, dict[str, np.ndarray]]] = []
    for record, table in item_tables(folder, cells, tell):
        _add(items, layouts, str(record["cell_id"]), record["scores"], table)
    return items


def _add(
    items: Items,
    layouts: list[tuple["pyarrow.Table", dict[str, np.ndarray]]],
    cell_id: str,
    scores: Mapping[str, float | None],
    table: "pyarrow.Table",
) -> None:
    present = set(table.column_names)
    if not present >= {"kind", "name", "item"}:
        return  # a file of somebody else's
    keys = table.select([c for c in ("kind", "name", "item", "item_hash") if c in present])
    number = next((i for i, (known, _) in enumerate(layouts) if known.equals(keys)), len(layouts))
    if number == len(layouts):
        layouts.append((keys, _places(keys)))
        _label(items, number, keys, layouts[number][1])
    items.layout_of[cell_id] = number
    if GROUP in present:
        _add_groups(items, number, table[GROUP], layouts[number][1])
    for column in SCORED:
        if column not in present:
            continue
        value_N = table[column].to_numpy(zero_copy_only=False).astype(np.float32)
        for name, place in layouts[number][1].items():
            metric = _metric(column, name, value_N[place], scores)
            if metric is not None:
                items.scores.setdefault(metric, {})[cell_id] = value_N[place]


def _add_groups(
    items: Items, layout: int, column: "pyarrow.ChunkedArray", places: Mapping[str, np.ndarray]
) -> None:
    """Keep the groups of tasks where some items share one; files from before have none."""
    for name, place in places.items():
        own = column.take(place)
        if (name, layout) not in items.groups and own.null_count == 0:
            _, number_I = np.unique(np.array(own.to_pylist()), return_inverse=True)
            if 0 < number_I.max() < len(place) - 1:
                items.groups[name, layout] = number_I


def _places(keys: "pyarrow.Table") -> dict[str, np.ndarray]:
    """Find the rows of each task or corpus, by its name."""
    names = keys["name"].to_numpy(zero_copy_only=False).astype(str)
    return {str(name): np.flatnonzero(names == name) for name in np.unique(names)}


def _label(
    items: Items, layout: int, keys: "pyarrow.Table", places: Mapping[str, np.ndarray]
) -> None:
    numbers = keys["item"].to_pylist()
    hashes = keys["item_hash"].to_pylist() if "item_hash" in keys.column_names else numbers
    for name, place in places.items():
        items.labels[name, layout] = [(int(numbers[i]), printable(str(hashes[i]))) for i in place]


def _metric(
    column: str, name: str, value_I: np.ndarray, scores: Mapping[str, float | None]
) -> str | None:
    """Find the score that is the mean of these items; None where there is none."""
    if not np.isfinite(value_I).all():
        return None
    mean = float(np.mean(value_I, dtype=float))
    for metric in _candidates(column, name, scores):
        score = scores[metric]
        if score is None or not np.isfinite(score):
            continue
        recorded = np.log(score) if column == "nll" and score > 0 else score
        if abs(mean - recorded) <= TOLERANCE * max(1.0, abs(recorded)):
            return metric
    return None


def _candidates(column: str, name: str, scores: Mapping[str, float | None]) -> Iterator[str]:
    usual = {"correct": "acc", "correct_norm": "acc_norm", "nll": "ppl"}[column]
    yield from (m for m in [f"{usual}/{name}"] if m in scores)
    if column == "correct":  # of a task without acc, its headline metric
        yield from (
            m
            for m in scores
            if m.partition("/")[2] == name and m.split("/")[0] not in NEVER_OF_ITEMS
        )


def parts_of_mean(metric: str, items: Items, scores: Mapping[str, float]) -> list[str]:
    """Find the metrics with items whose unweighted mean is `metric`; none where it is not.

    acc/mean takes acc of a task or another of its metrics; ppl/geomean all corpora, as logarithms.
    """
    kind = metric.split("/")[0]
    by_name: dict[str, list[str]] = {}
    for part in sorted(items.scores):
        if part in scores and (part.split("/")[0] == "ppl") == (kind == "ppl"):
            by_name.setdefault(part.partition("/")[2], []).append(part)
    chosen = [options[0] for options in by_name.values()]
    others = [(i, part) for i, o in enumerate(by_name.values()) for part in o[1:]]
    for changed in _subsets(others):
        parts = list(chosen)
        for index, part in changed:
            parts[index] = part
        if parts and abs(np.mean([scores[part] for part in parts]) - scores[metric]) < 1e-9:
            return parts
    return []


def _subsets(options: Sequence[Option], most: int = 10) -> Iterator[list[Option]]:
    """Return all subsets, the empty one first; of the first `most` options."""
    options = options[:most]
    for bits in range(2 ** len(options)):
        yield [option for place, option in enumerate(options) if bits >> place & 1]
