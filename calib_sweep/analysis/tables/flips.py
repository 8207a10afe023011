"""Does a score move with the draw because single items flip, or because ability shifts?

`inference.flips` has the formulas. acc/mean and ppl/geomean combine the parts of their tasks and
corpora, floor^2 = sum floor_t^2 / T^2. Items that belong together (`evaluation.item_groups`) are
taken to flip together. Perplexity counts windows and is on the log scale.

Shapes: S draws (n), I items (N).
"""

from collections.abc import Iterator, Sequence
from itertools import product

import numpy as np
import pandas as pd

from calib_sweep.analysis.inference.flips import Split, cochran_p, split, systematic_sd
from calib_sweep.analysis.inference.heavy_tails import sample_inflation
from calib_sweep.analysis.inference.intervals import MIN_DRAWS
from calib_sweep.analysis.rounding import variance
from calib_sweep.analysis.scores.arrays import ScoreArray
from calib_sweep.analysis.scores.items import Items, parts_of_mean
from calib_sweep.analysis.scores.means import ACC_MEAN, PPL_MEAN

COLUMNS = [
    *("model", "method", "dataset", "metric", "n", "num_items", "num_groups"),
    *("sd", "floor", "ceiling"),
    *("systematic", "systematic_lo", "systematic_hi", "p", "unstable", "agreement", "kappa"),
]
UNSTABLE_COLUMNS = [
    *("model", "metric", "item", "item_hash", "num_groups", "num_unstable"),
    *("share_right", "instability"),
]
MAX_UNSTABLE = 50  # items listed for each model and metric


def flip_table(arrays: Sequence[ScoreArray], items: Items) -> pd.DataFrame:
    """Make flips.csv: each method, dataset and metric with items, of three draws or more."""
    rows = []
    for array in arrays:
        for m, d in product(np.flatnonzero(array.reads_data_M), range(len(array.datasets))):
            names = (array.model, array.methods[m].method, array.datasets[d])
            splits = dict(_splits(array, int(m), d, items))
            splits |= dict(_of_means(array, int(m), d, items, splits))
            rows += [(*names, metric, own) for metric, own in splits.items()]
    table = pd.DataFrame([[*row[:4], *_numbers(row[4])] for row in rows])
    return table.set_axis(COLUMNS, axis=1) if rows else pd.DataFrame(columns=pd.Index(COLUMNS))


def _splits(array: ScoreArray, m: int, d: int, items: Items) -> Iterator[tuple[str, Split]]:
    for metric in array.metrics:
        value_SI, kept = items.of(metric, _cells(array, m, d))
        if len(value_SI) >= MIN_DRAWS and value_SI.shape[1] > 1:
            yield metric, split(value_SI, items.groups_of(metric, kept[0]))


def _cells(array: ScoreArray, m: int, d: int) -> list[str]:
    """Return ids of the cells of a method and dataset, the first replicate of each seed."""
    return [next((i for i in ids if i), "") for ids in array.cell_ids_MDSR[m, d]]


def _of_means(
    array: ScoreArray, m: int, d: int, items: Items, splits: dict[str, Split]
) -> Iterator[tuple[str, Split]]:
    """Split acc/mean and ppl/geomean, from the splits of their parts."""
    for metric in (ACC_MEAN, PPL_MEAN):
        if metric not in array.metrics:
            continue
        value_S = array.value_MDSE[m, d, :, array.metrics.index(metric)]
        scored = np.flatnonzero(np.isfinite(value_S))
        if len(scored) < MIN_DRAWS:
            continue
        first = array.value_MDSE[m, d, scored[0]]
        parts = parts_of_mean(metric, items, dict(zip(array.metrics, first, strict=True)))
        own = [splits[part] for part in parts if part in splits]
        if parts and len(own) == len(parts) and {part.n for part in own} == {len(scored)}:
            floor_variance = sum(part.floor_variance for part in own) / len(own) ** 2
            num_items = sum(part.num_items for part in own)
            seen = float(variance(value_S[scored]))
            num_groups = sum(part.num_groups for part in own)
            stretch = sample_inflation(value_S[scored])
            counts = len(scored), num_items
            yield metric, Split(*counts, seen, floor_variance, num_groups, inflation=stretch)


def _numbers(own: Split) -> list[float]:
    """Return the number columns of a row."""
    sd, floor = np.sqrt(own.variance), np.sqrt(own.floor_variance)
    systematic, low, high = systematic_sd(own)
    p = cochran_p(own)
    shares = [own.unstable, own.agreement, own.kappa]
    counts = [own.n, own.num_items, own.num_groups]
    numbers = [sd, floor, own.ceiling, systematic, low, high, p, *shares]
    return [*counts, *map(float, numbers)]


def unstable_table(arrays: Sequence[ScoreArray], items: Items) -> pd.DataFrame:
    """Make unstable_items.csv: the items of each task that change most with the draw."""
    tables = []
    for array in arrays:
        for metric in array.metrics:
            table = _unstable(array, metric, items)
            if table is not None:
                tables.append(table.assign(model=array.model, metric=metric))
    empty = pd.DataFrame(columns=pd.Index(UNSTABLE_COLUMNS))
    joined = pd.concat(tables, ignore_index=True) if tables else empty
    return joined.reindex(columns=UNSTABLE_COLUMNS)


def _unstable(array: ScoreArray, metric: str, items: Items) -> pd.DataFrame | None:
    """Return items of a task over all methods and datasets whose cells have the same layout."""
    groups: dict[int, list[np.ndarray]] = {}
    for m, d in product(np.flatnonzero(array.reads_data_M), range(len(array.datasets))):
        value_SI, kept = items.of(metric, _cells(array, int(m), d))
        if len(kept) >= MIN_DRAWS and np.isin(value_SI, (0.0, 1.0)).all():
            groups.setdefault(items.layout_of[kept[0]], []).append(value_SI.mean(0, dtype=float))
    if not groups:
        return None
    layout = max(groups, key=lambda number: len(groups[number]))
    share_GI = np.stack(groups[layout])
    is_unstable_GI = (share_GI > 0) & (share_GI < 1)
    labels = items.labels[metric.partition("/")[2], layout]
    table = pd.DataFrame(labels, columns=pd.Index(["item", "item_hash"])).assign(
        num_groups=len(share_GI),
        num_unstable=is_unstable_GI.sum(0),
        share_right=share_GI.mean(0),
        instability=(4 * share_GI * (1 - share_GI)).mean(0),
    )
    order = ["num_unstable", "instability", "item"]
    table = table.loc[table["num_unstable"] > 0].sort_values(order, ascending=[False, False, True])
    return table.head(MAX_UNSTABLE)
