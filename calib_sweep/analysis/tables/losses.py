"""Is a compressed model worse than the dense one, or could other draws or other items undo it?

`inference.paired_items` has the formulas. One row per method and score, over all datasets, which
are the same ones; `estimate` is method - dense, on the scale of the analysis. `population` says
what `lo`, `hi` and `p` are about:

    draws and items        other draws of these datasets, scored on other items of the same kind
    draws                  other draws, these items: there is no list of items, or not the same one
    datasets and items     the one draw of each of three datasets or more stands for a new dataset
    datasets               the same, on these items
    items                  other items; the method reads no data, so there is no other draw
    items of one draw      the one calibration set that there is, on other items

Of one cell whose items are right or wrong p is McNemar's, and the interval reaches 0 where that
test does not reject. `draws_lo`, `draws_hi`, `draws_p`: of the draws alone, where they are known.
Tests of KL and flips would be of nothing: both are measured from the dense model.

Shapes: C cells, I items, D datasets, S seeds, E metrics.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from calib_sweep.analysis.inference import intervals, two_sample, typed_scipy
from calib_sweep.analysis.inference.paired_items import (
    Part,
    item_parts,
    mcnemar_p,
    mean_of_tasks,
    t_test,
    together,
)
from calib_sweep.analysis.scores.arrays import ScoreArray
from calib_sweep.analysis.scores.items import Items, parts_of_mean
from calib_sweep.analysis.scores.means import ACC_MEAN, PPL_MEAN
from calib_sweep.analysis.scores.table import DENSE

COLUMNS = [
    *("model", "metric", "method", "a", "b", "dataset", "population", "n", "num_datasets"),
    *("num_items", "num_groups", "dense", "estimate", "lo", "hi", "p", "se", "df", "draws_lo"),
    *("draws_hi", "draws_p", "draws_se", "items_se", "reason"),
]
MEASURED_FROM_DENSE = ("kl", "flips")
MIN_DATASETS = 3  # of one draw each, to stand for datasets in general
POOLED = ""


@dataclass(frozen=True)
class Cells:
    """The scores of a method and metric: one per draw, and where each is."""

    metric: str
    value_C: np.ndarray
    dataset_C: list[int]
    ids: list[str]

    def means_of_datasets(self) -> np.ndarray:
        """Return the mean over the draws of each dataset [D]."""
        own = [np.equal(self.dataset_C, d) for d in dict.fromkeys(self.dataset_C)]
        return np.array([self.value_C[is_own].mean() for is_own in own])


@dataclass(frozen=True)
class OnItems:
    """The variance that lies in the items, and how many of them there are."""

    items: Part
    both: Part
    num_items: int
    num_groups: int
    p_exact: float  # McNemar's; NaN where it does not apply


def loss_table(arrays: Sequence[ScoreArray], items: Items) -> pd.DataFrame:
    """Make losses.csv."""
    rows = []
    for array in arrays:
        for m, names in enumerate(array.methods):
            for e, metric in enumerate(array.metrics):
                cells = _cells(array, m, e)
                is_asked = array.directions_E[e] and metric.split("/")[0] not in MEASURED_FROM_DENSE
                if is_asked and len(cells.ids) and not np.isnan(array.dense_E[e]):
                    axes = {"model": array.model, "metric": metric, "method": names.method}
                    axes |= {"a": names.method, "b": DENSE, "dataset": POOLED}
                    rows.append({**axes, **_row(array, m, e, cells, items)})
    return pd.DataFrame(rows, columns=pd.Index(COLUMNS))


def _cells(array: ScoreArray, m: int, e: int) -> Cells:
    """Return the draws of a method that have the score; one where it reads no data."""
    value_DS, found = array.value_MDSE[m, :, :, e], []
    for d, s in np.ndindex(value_DS.shape):
        name = next((i for i in array.cell_ids_MDSR[m, d, s] if i), "")
        if name and not np.isnan(value_DS[d, s]):
            found.append((value_DS[d, s], d, name))
    if not array.reads_data_M[m]:
        found = found[:1]
    values, datasets, ids = zip(*found, strict=True) if found else ((), (), ())
    return Cells(array.metrics[e], np.array(values, dtype=float), list(datasets), list(ids))


def _row(array: ScoreArray, m: int, e: int, cells: Cells, items: Items) -> dict[str, object]:
    """Return the numbers of a row."""
    dense = float(array.dense_E[e])
    row: dict[str, object] = {"n": len(cells.ids), "num_datasets": len(set(cells.dataset_C))}
    row |= {"dense": dense, "reason": ""}
    if not (np.isfinite(cells.value_C).all() and np.isfinite(dense)):
        return {**row, "reason": "not finite"}
    difference_D = cells.means_of_datasets() - dense
    estimate = float(difference_D.mean())
    row["estimate"] = estimate
    draws, what = _over_draws(array, m, e, difference_D)
    if draws is not None:
        low, high, p = t_test(estimate, draws)
        row |= {"draws_lo": low, "draws_hi": high, "draws_p": p}
        row["draws_se"] = float(np.sqrt(draws.variance))
    datasets = [0] * len(cells.ids) if what == "datasets" else cells.dataset_C
    on = _over_items(array, cells, datasets, items)
    part, population = _joined(draws, on, what)
    row["population"] = population
    if on is not None:
        row |= {"num_items": on.num_items, "num_groups": on.num_groups}
        row["items_se"] = float(np.sqrt(on.items.variance))
    if part is None:
        return {**row, "reason": "too few draws"}
    low, high, p = t_test(estimate, part)
    if on is not None and draws is None and np.isfinite(on.p_exact):
        p = on.p_exact
        if p >= 1 - intervals.LEVEL:
            low, high = min(low, 0.0), max(high, 0.0)
    is_equal = part.variance == 0 and estimate == 0
    row |= {"lo": low, "hi": high, "p": p, "se": float(np.sqrt(part.variance)), "df": part.df}
    return {**row, "reason": "equal on every draw" if is_equal else ""}


def _over_draws(
    array: ScoreArray, m: int, e: int, difference_D: np.ndarray
) -> tuple[Part | None, str]:
    """Return the variance of the mean over draws, as the pooled comparison of methods has it."""
    if not array.reads_data_M[m]:
        return None, "items"
    value_DSE = array.value_MDSE[m, :, :, e : e + 1]
    dense_DSE = np.broadcast_to(array.dense_E[e], value_DSE.shape)
    found = two_sample.compare_paired(value_DSE, dense_DSE, np.ones(1), power=0.8)
    df = float(found.df[-1, 0])
    if np.isfinite(df):
        half = float(found.hi[-1, 0] - found.lo[-1, 0]) / 2
        return Part(float(half / typed_scipy.t_isf(intervals.TAIL, df)) ** 2, df), "draws"
    num = len(difference_D)
    if num >= MIN_DATASETS:
        return Part(float(np.var(difference_D, ddof=1)) / num, num - 1.0), "datasets"
    return None, "items of one draw"


def _over_items(
    array: ScoreArray, cells: Cells, datasets: Sequence[int], items: Items
) -> OnItems | None:
    """Return what lies in the items; None where cells and dense have not the same ones."""
    metrics = [cells.metric] if cells.metric in items.scores else []
    if cells.metric in (ACC_MEAN, PPL_MEAN):
        scores = dict(zip(array.metrics, array.dense_E, strict=True))
        metrics = parts_of_mean(cells.metric, items, scores)
    found = [_differences(array, metric, cells, items) for metric in metrics]
    known = [own for own in found if own is not None]
    if not known or len(known) < len(metrics):
        return None
    parts = [item_parts(x_CI, datasets, group_I) for x_CI, group_I in known]
    return OnItems(
        mean_of_tasks([own for own, _ in parts]),
        mean_of_tasks([own for _, own in parts]),
        sum(x_CI.shape[1] for x_CI, _ in known),
        sum(int(own.df) + 1 for own, _ in parts),
        _exact_p(known),
    )


def _differences(
    array: ScoreArray, metric: str, cells: Cells, items: Items
) -> tuple[np.ndarray, np.ndarray | None] | None:
    """Return compressed - dense on each item [C, I], and the items' groups."""
    dense = [i for i in array.dense_cell_ids if i in items.scores.get(metric, {})][:1]
    value_CI, kept = items.of(metric, [*dense, *cells.ids])
    if not dense or kept != [*dense, *cells.ids] or value_CI.shape[1] < 2:
        return None
    value_CI = value_CI.astype(float)
    return value_CI[1:] - value_CI[0], items.groups_of(metric, dense[0])


def _exact_p(known: Sequence[tuple[np.ndarray, np.ndarray | None]]) -> float:
    """Return McNemar's p of one cell: items right or wrong, on their own, of equal weight."""
    x = [x_CI[0] for x_CI, _ in known]
    are_alone = all(group_I is None for _, group_I in known)
    if len(known[0][0]) > 1 or not are_alone or len({len(own) for own in x}) > 1:
        return np.nan
    joined = np.concatenate(x)
    return mcnemar_p(joined) if np.isin(joined, (-1.0, 0.0, 1.0)).all() else np.nan


def _joined(draws: Part | None, on: OnItems | None, what: str) -> tuple[Part | None, str]:
    """Return the variance of a row's interval, and what it is about."""
    if on is None:
        return draws, what if draws is not None else ""
    if draws is None:
        return on.items, what
    return together(draws, on.items, on.both), f"{what} and items"
