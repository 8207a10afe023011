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
Tests of KL, of the same top token and of flips would be of nothing: all are measured from the dense
model.

Shapes: C cells, I items, D datasets, S seeds, E metrics.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

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
from calib_sweep.analysis.metrics import Metrics, kind_of
from calib_sweep.analysis.scores.arrays import ScoreArray
from calib_sweep.analysis.scores.items import Items, parts_of_mean
from calib_sweep.analysis.scores.means import ACC_MEAN, PPL_MEAN
from calib_sweep.analysis.scores.table import DENSE

COLUMNS = [
    *("model", "metric", "method", "a", "b", "dataset", "population", "n", "num_datasets"),
    *("num_items", "num_groups", "dense", "estimate", "lo", "hi", "p", "se", "df", "draws_lo"),
    *("draws_hi", "draws_p", "draws_se", "items_se", "reason"),
]
MEASURED_FROM_DENSE = ("kl", "kl_median", "kl_p99", "kl_p999", "same_top", "flips")
MIN_DATASETS = 3  # of one draw each, to stand for datasets in general
MIN_CHANGED = 10  # groups of items that changed, to know how far items of one go together
POOLED = ""
ONE_SCORE = "one score, and no list of the same items"
LOST = "a score is not finite, or far above the others"
DRAWS, DATASETS, ITEMS, ONE_DRAW = "draws", "datasets", "items", "items of one draw"


@dataclass(frozen=True)
class Cells:
    """The scores of a method and metric, one per draw: method - dense, dataset, cell id."""

    metric: str
    difference_C: np.ndarray
    dataset_C: list[str]
    ids: list[str]

    def by_dataset(self) -> dict[str, np.ndarray]:
        """Return the differences of the draws of each dataset [S]."""
        names = np.array(self.dataset_C)
        return {name: self.difference_C[names == name] for name in dict.fromkeys(self.dataset_C)}


@dataclass(frozen=True)
class OnItems:
    """The variance that lies in the items, and how many of them there are."""

    items: Part
    both: Part
    by_dataset: dict[str, Part]  # `items` of the draws of one dataset
    num_items: int
    num_groups: int
    num_alone: float  # items on their own that tell as much; of a mean over tasks, of equal ones
    are_right_or_wrong: bool
    p_exact: float  # McNemar's; NaN where it does not apply


@dataclass(frozen=True)
class Loss:
    """A method against dense in one metric; the numbers are method - dense."""

    model: str
    method: str
    cells: Cells
    dense: float
    estimate: float = np.nan
    draws: Part | None = None
    on: OnItems | None = None
    part: Part | None = None  # the variance of the estimate for `population`
    population: str = ""
    reason: str = ""


def loss_table(arrays: Sequence[ScoreArray], items: Items) -> pd.DataFrame:
    """Make losses.csv."""
    rows = [_row(loss) for loss in losses_of(arrays, items)]
    return pd.DataFrame(rows, columns=pd.Index(COLUMNS))


def losses_of(arrays: Sequence[ScoreArray], items: Items) -> Iterator[Loss]:
    """Find what is known of each method and score for which there is a dense one."""
    for array in arrays:
        for m, names in enumerate(array.methods):
            for e, metric in enumerate(array.metrics):
                if can_be_lost(metric, array.known) and not np.isnan(array.dense_E[e]):
                    cells = _cells(array, m, e)
                    empty = Loss(array.model, names.method, cells, float(array.dense_E[e]))
                    if cells.ids:
                        yield _tested(empty, array, m, e, items)


def can_be_lost(metric: str, known: Metrics) -> bool:
    """Tell whether a difference of this score to dense is a gain or a loss."""
    return bool(known.of(metric).direction) and kind_of(metric) not in MEASURED_FROM_DENSE


def _cells(array: ScoreArray, m: int, e: int) -> Cells:
    """Return the draws of a method that have the score; one where it reads no data."""
    found = []
    if not array.reads_data_M[m]:
        cell_id, value_E = array.undrawn[m]
        found = [] if np.isnan(value_E[e]) else [(value_E[e], POOLED, cell_id)]
    else:
        value_DS = array.lasting_MDSE[m, :, :, e]  # a diverged draw has no loss
        for d, s in np.ndindex(value_DS.shape):
            name = next((i for i in array.cell_ids_MDSR[m, d, s] if i), "")
            if name and not np.isnan(value_DS[d, s]):
                found.append((value_DS[d, s], array.datasets[d], name))
    values, datasets, ids = zip(*found, strict=True) if found else ((), (), ())
    with np.errstate(invalid="ignore"):  # of two that are not finite there is no difference
        difference_C = np.array(values, dtype=float) - array.dense_E[e]
    return Cells(array.metrics[e], difference_C, list(datasets), list(ids))


def _tested(empty: Loss, array: ScoreArray, m: int, e: int, items: Items) -> Loss:
    """Add what can be known: the variance of the draws, of the items, and of both together."""
    cells = empty.cells
    if not np.isfinite(cells.difference_C).all():
        return replace(empty, reason=LOST)
    estimate = float(np.mean([own.mean() for own in cells.by_dataset().values()]))
    draws, what = _over_draws(array, m, e, cells)
    datasets = [POOLED] * len(cells.ids) if what == DATASETS else cells.dataset_C
    on = _over_items(array, cells, datasets, items)
    known = replace(empty, estimate=estimate, draws=draws, on=on, population=what)
    if draws is None:
        part = on.items if on is not None else None
        lacking = "too few draws" if array.reads_data_M[m] else ONE_SCORE
        return replace(known, part=part, reason="" if part else lacking)
    if on is None:
        return replace(known, part=draws)
    return replace(known, part=together(draws, on.items, on.both), population=f"{what} and items")


def _over_draws(array: ScoreArray, m: int, e: int, cells: Cells) -> tuple[Part | None, str]:
    """Return the variance of the mean over draws, as the pooled comparison of methods has it."""
    if not array.reads_data_M[m]:
        return None, ITEMS
    value_DSE = array.value_MDSE[m, :, :, e : e + 1]
    dense_DSE = np.broadcast_to(array.dense_E[e], value_DSE.shape)
    found = two_sample.compare_paired(value_DSE, dense_DSE, np.ones(1), power=0.8)
    df = float(found.df[-1, 0])
    if np.isfinite(df):
        half = float(found.hi[-1, 0] - found.lo[-1, 0]) / 2
        return Part(float(half / typed_scipy.t_isf(intervals.TAIL, df)) ** 2, df), DRAWS
    mean_D = [own.mean() for own in cells.by_dataset().values()]
    if len(mean_D) >= MIN_DATASETS:
        return Part(float(np.var(mean_D, ddof=1)) / len(mean_D), len(mean_D) - 1.0), DATASETS
    return None, ONE_DRAW


def _over_items(
    array: ScoreArray, cells: Cells, datasets: Sequence[str], items: Items
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
    by_dataset = {}
    for name in dict.fromkeys(cells.dataset_C):
        own = np.array(cells.dataset_C) == name
        each = [
            item_parts(x_CI[own], [name] * int(own.sum()), group_I)[0] for x_CI, group_I in known
        ]
        by_dataset[name] = mean_of_tasks(each)
    alone_T = np.array([_num_alone(x_CI, group_I) for x_CI, group_I in known])
    return OnItems(
        items=mean_of_tasks([own for own, _ in parts]),
        both=mean_of_tasks([own for _, own in parts]),
        by_dataset=by_dataset,
        num_items=sum(x_CI.shape[1] for x_CI, _ in known),
        num_groups=sum(int(own.df) + 1 for own, _ in parts),
        num_alone=float(len(known) ** 2 / (1 / alone_T).sum()),
        are_right_or_wrong=all(np.isin(x_CI, (-1.0, 0.0, 1.0)).all() for x_CI, _ in known),
        p_exact=_exact_p(known),
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


def _num_alone(x_CI: np.ndarray, group_I: np.ndarray | None) -> float:
    """Return how many items on their own would tell as much as these groups of them."""
    num = x_CI.shape[1]
    if group_I is None:
        return float(num)
    one = ["all"] * len(x_CI)
    grouped, alone = (item_parts(x_CI, one, own)[0] for own in (group_I, None))
    num_changed = len(set(group_I[(x_CI != 0).any(axis=0)]))
    if num_changed < MIN_CHANGED:
        return grouped.df + 1
    return float(num * min(1.0, alone.variance / grouped.variance))


def _exact_p(known: Sequence[tuple[np.ndarray, np.ndarray | None]]) -> float:
    """Return McNemar's p of one cell: items right or wrong, on their own, of equal weight."""
    x = [x_CI[0] for x_CI, _ in known]
    are_alone = all(group_I is None for _, group_I in known)
    if len(known[0][0]) > 1 or not are_alone or len({len(own) for own in x}) > 1:
        return np.nan
    joined = np.concatenate(x)
    return mcnemar_p(joined) if np.isin(joined, (-1.0, 0.0, 1.0)).all() else np.nan


def _row(loss: Loss) -> dict[str, object]:
    """Return a row of losses.csv."""
    cells, on, part = loss.cells, loss.on, loss.part
    axes = {"model": loss.model, "metric": cells.metric, "method": loss.method, "a": loss.method}
    axes |= {"b": DENSE, "dataset": POOLED, "population": loss.population if part else ""}
    counts = {"n": len(cells.ids), "num_datasets": len(set(cells.dataset_C))}
    row = {**axes, **counts, "dense": loss.dense, "estimate": loss.estimate, "reason": loss.reason}
    is_of_datasets = loss.population.startswith(DATASETS)
    num = counts["num_datasets"] if is_of_datasets else counts["n"]
    if loss.draws is not None:
        low, high, p = t_test(loss.estimate, loss.draws, num)
        row |= {"draws_lo": low, "draws_hi": high, "draws_p": p}
        row["draws_se"] = float(np.sqrt(loss.draws.variance))
    if on is not None:
        row |= {"num_items": on.num_items, "num_groups": on.num_groups}
        row["items_se"] = float(np.sqrt(on.items.variance))
    if part is None:
        return row
    num = on.num_groups if on is not None and loss.draws is None else num
    low, high, p = t_test(loss.estimate, part, num)
    if on is not None and loss.draws is None and np.isfinite(on.p_exact):
        p = on.p_exact
        if p >= 1 - intervals.LEVEL:
            low, high = min(low, 0.0), max(high, 0.0)
    is_equal = part.variance == 0 and loss.estimate == 0
    row |= {"lo": low, "hi": high, "p": p, "se": float(np.sqrt(part.variance)), "df": part.df}
    return {**row, "reason": "equal on every draw" if is_equal else ""}
