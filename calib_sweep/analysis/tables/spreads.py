"""Which method moves farther with the draw, and on which dataset: ratios of SDs.

`spreads`           two methods: on the draws that both have, over all datasets together; where
                    these are too few, each on draws of its own (`draws`: shared, own)
`dataset_spreads`   two datasets for one method, which share no draw

`estimate` is log(SD of a / SD of b) with its 95 % interval, `ratio` its exponential. SDs are about
the mean of each dataset, so what lies between datasets is not in them, and on the scale of the
analysis: for perplexity SDs of its logarithm. One draw that has diverged would be all of an SD, so
there is no ratio with it: `reason` says so. `p` belongs to the interval; neither is corrected.
There is no row that calls two equal: an interval from 0.3 to 3 does not. `inference.spread` has
the formulas and how often they err.

Shapes: D datasets, S seeds, E metrics; P pairs.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations, islice

import numpy as np
import pandas as pd

from calib_sweep.analysis.inference.intervals import MIN_DRAWS
from calib_sweep.analysis.inference.spread import TOO_FEW, Ratio, paired_ratio, unpaired_ratio
from calib_sweep.analysis.scores.arrays import MAX_METHODS, ScoreArray

NUMBERS = [
    *("n", "sd_a", "sd_b", "ratio", "ratio_lo", "ratio_hi", "estimate", "lo", "hi", "p", "reason"),
]
COLUMNS = ["model", "metric", "a", "b", "dataset", "draws", *NUMBERS]
DATASET_COLUMNS = ["model", "method", "metric", "a", "b", *NUMBERS]
PAIRS_AT_ONCE = 200
SHARED, OWN = "shared", "own"


def spread_tables(arrays: Sequence[ScoreArray]) -> dict[str, pd.DataFrame]:
    """Make spreads.csv, of methods, and dataset_spreads.csv, of the datasets of each."""
    methods, datasets = [], []
    for array in arrays:
        methods += _of_methods(array)
        datasets += _of_datasets(array)
    return {
        "spreads": _joined(methods, COLUMNS),
        "dataset_spreads": _joined(datasets, DATASET_COLUMNS),
    }


def _joined(tables: Sequence[pd.DataFrame], columns: Sequence[str]) -> pd.DataFrame:
    if not tables:
        return pd.DataFrame(columns=pd.Index(columns))
    return pd.concat(tables, ignore_index=True).reindex(columns=columns)


def _of_methods(array: ScoreArray) -> Iterator[pd.DataFrame]:
    """Compare methods that read sets drawn in the same way; of a wide array none."""
    if array.is_wide:
        return
    for draw in array.draws:
        pairs = combinations(array.drawn_with(draw), 2)
        while chunk := list(islice(pairs, PAIRS_AT_ONCE)):
            yield _of_pairs(array, *np.array(chunk).T)


def _of_pairs(array: ScoreArray, a_P: np.ndarray, b_P: np.ndarray) -> pd.DataFrame:
    """Compare many pairs at once: on the draws that both have, or each on its own."""
    a_DSK, b_DSK = (
        array.lasting_MDSE[of].transpose(1, 2, 0, 3).reshape(*array.value_MDSE.shape[1:3], -1)
        for of in (a_P, b_P)
    )
    shared, own = paired_ratio(a_DSK, b_DSK), unpaired_ratio(a_DSK, b_DSK)
    is_own_K = (shared.n < MIN_DRAWS) & (own.reason == "")
    better = {name: np.where(is_own_K, vars(own)[name], x) for name, x in vars(shared).items()}
    num_E = len(array.metrics)
    first, second = ([array.methods[m].method for m in of] for of in (a_P, b_P))
    names = {
        "metric": list(array.metrics) * len(a_P),
        "a": np.repeat(np.array(first, dtype=object), num_E),
        "b": np.repeat(np.array(second, dtype=object), num_E),
        "dataset": "",
        "draws": np.where(is_own_K, OWN, SHARED),
    }
    return _table(array, names, Ratio(**better)).loc[own.n > 0]


def _of_datasets(array: ScoreArray) -> Iterator[pd.DataFrame]:
    """Compare the datasets of each method."""
    if array.is_wide or len(array.datasets) > MAX_METHODS:
        return
    for m in np.flatnonzero(array.reads_data_M):
        value_DSE = array.lasting_MDSE[m]
        for a, b in combinations(range(len(array.datasets)), 2):
            names = {
                "metric": list(array.metrics),
                "method": array.methods[m].method,
                "a": array.datasets[a],
                "b": array.datasets[b],
            }
            found = unpaired_ratio(value_DSE[[a]], value_DSE[[b]])
            table = _table(array, names, found)
            yield table.loc[(table["n"] > 0) | (table["reason"] != TOO_FEW)]


def _table(array: ScoreArray, names: Mapping[str, object], found: Ratio) -> pd.DataFrame:
    ratio, ratio_lo, ratio_hi = (np.exp(x) for x in (found.estimate, found.lo, found.hi))
    numbers = {"ratio": ratio, "ratio_lo": ratio_lo, "ratio_hi": ratio_hi, **vars(found)}
    return pd.DataFrame({"model": array.model, **names, **numbers})
