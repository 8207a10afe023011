"""Does A beat B, by how much, how often, and could the draws alone have done it?

Methods are paired: they met on the same calibration sets. Where they did not (no dataset has three
sets in common, though one has three draws of each), they are two samples, and `design` says
unpaired. Datasets share no sets, so their draws are two samples, of the mean over methods; for each
method on its own in dataset_comparisons. `inference.two_sample` has the formulas.

`lo..hi` is the 95 % interval of the mean difference, on these datasets and for new draws from them,
each row on its own. p is of its t test, `p_holm` corrected for all rows that a claim is chosen
from: of a headline score for everything that the sweep may claim (`claims`), of another for the
rows of one model, score and kind, pooled ones apart; `p_bh` over the whole table. `new_*` is the
same for a dataset that was not seen. `p_flip` is the exact test, of no verdict.

`mde` is the difference that a test of this size finds with the power asked for: what "not shown"
does not exclude. Differences of perplexities are of logarithms: -0.01 is one per cent less.

A diverged draw, whose perplexity is not finite or far above the others (`inference.sample`), has no
part in a mean or test. `lost_a`, `lost_b` count those left out; in P(A > B) they count, and lose.

Verdict. Shown at all: `p_holm` is below 5 %. (The P(A > B) of 5 pairs can leave out 1/2 in no case,
however large the difference.) Then, after Bouthillier et al. 2021: "better" if P(A > B) is above
1/2 and may be as large as `better_from`, else "slightly better".

Shapes: K comparisons, D datasets, S seeds, E metrics; M methods, P pairs of them.
"""

from collections.abc import Iterator, Sequence
from itertools import combinations, islice

import numpy as np
import pandas as pd

from calib_sweep.analysis.inference import two_sample
from calib_sweep.analysis.inference.intervals import MIN_DRAWS
from calib_sweep.analysis.scores.arrays import MAX_METHODS, ScoreArray
from calib_sweep.analysis.settings import AnalysisSettings
from calib_sweep.analysis.tables import verdicts

COLUMNS = [
    *("model", "metric", "kind", "design", "a", "b", "dataset", "n_pairs", "lost_a", "lost_b"),
    *("mean_diff", "lo", "hi", "p", "p_holm", "p_bh", "p_flip"),
    *("prob_better", "prob_lo", "prob_hi", "mde", "new_lo", "new_hi", "new_p", "verdict"),
]
PAIRS_AT_ONCE = 200
PAIRED, UNPAIRED = "paired", "unpaired"
POOLED = ""  # the dataset of a row that speaks of all of them


def comparison_table(arrays: Sequence[ScoreArray], settings: AnalysisSettings) -> pd.DataFrame:
    """Make comparisons.csv, with `sd_diff`, `df`, `reason` and `note` besides."""
    tables = []
    for array in arrays:
        tables += _compare_methods(array, settings)
        for draw in array.draws:
            methods = array.drawn_with(draw)
            tables += _compare_datasets(array, methods, draw, settings)
    return verdicts.with_verdicts(_joined(tables), COLUMNS, settings)


def dataset_table(arrays: Sequence[ScoreArray], settings: AnalysisSettings) -> pd.DataFrame:
    """Make dataset_comparisons.csv: the rows of kind dataset for each method on its own."""
    tables = []
    for array in arrays:
        for m in np.flatnonzero(array.reads_data_M):
            names = array.methods[m]
            for table in _compare_datasets(array, np.array([m]), names.draw, settings):
                tables.append(table.assign(method=names.method))
    columns = ["model", "method", *COLUMNS[1:]]
    return verdicts.with_verdicts(_joined(tables), columns, settings)


def _joined(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()


def _method_pairs(array: ScoreArray) -> Iterator[tuple[int, int]]:
    """Find methods that can be compared: on the same sets, or one on sets of other sizes.

    Two that read no data have one value each, and nothing to pair. Of a wide array only methods
    with the same settings meet: a choice that no score has a part in.
    """
    for a, b in _near_pairs(array) if array.is_wide else combinations(range(len(array.methods)), 2):
        first, second = array.methods[a], array.methods[b]
        reads = array.reads_data_M[[a, b]]
        is_same_set = first.draw == second.draw or not reads.all()
        if reads.any() and (is_same_set or first.bare_method == second.bare_method):
            yield a, b


def _near_pairs(array: ScoreArray) -> Iterator[tuple[int, int]]:
    """Find methods with the same settings of their own and, if they read data, of sets."""
    groups: dict[tuple[str, str], list[int]] = {}
    free: dict[str, list[int]] = {}
    for m, names in enumerate(array.methods):
        if names.dataset is None:
            free.setdefault(names.settings, []).append(m)
        else:
            groups.setdefault((names.settings, names.draw), []).append(m)
    for (settings, _), own in groups.items():
        yield from combinations(sorted([*own, *free.get(settings, [])]), 2)


def _compare_methods(array: ScoreArray, settings: AnalysisSettings) -> Iterator[pd.DataFrame]:
    """Make rows of all pairs of methods: each dataset, and all. Many pairs at once."""
    value, pairs = array.lasting_MDSE, _method_pairs(array)
    datasets = [*array.datasets, POOLED]
    while chunk := list(islice(pairs, PAIRS_AT_ONCE)):
        a_P, b_P = np.array(chunk).T
        a_DSK, b_DSK = (
            value[of].transpose(1, 2, 0, 3).reshape(*value.shape[1:3], -1) for of in (a_P, b_P)
        )
        directions_K = np.tile(array.directions_E, len(chunk))
        found = two_sample.compare_paired(a_DSK, b_DSK, directions_K, power=settings.power)
        apart_K = _share_too_few(a_DSK, b_DSK)
        if apart_K.any():
            two = two_sample.compare_unpaired(
                a_DSK[..., apart_K],
                b_DSK[..., apart_K],
                directions_K[apart_K],
                power=settings.power,
                **settings.resampling,
            )
            found = found.replaced(apart_K, two)
        first, second = ([array.methods[m].method for m in of] for of in (a_P, b_P))
        rows = _rows(array, "method", first, second, datasets, found)
        apart = np.broadcast_to(
            apart_K.reshape(len(chunk), 1, -1), (len(chunk), len(datasets), len(array.metrics))
        )
        yield _where_known(rows.assign(design=np.where(apart.ravel(), UNPAIRED, PAIRED)))


def _share_too_few(a_DSK: np.ndarray, b_DSK: np.ndarray) -> np.ndarray:
    """Tell which have three draws of each on some dataset, yet three in common on none [K]."""
    has_a, has_b = ~np.isnan(a_DSK), ~np.isnan(b_DSK)
    enough_DK = np.minimum(has_a.sum(1), has_b.sum(1)) >= MIN_DRAWS
    return enough_DK.any(0) & ((has_a & has_b).sum(1) < MIN_DRAWS).all(0)


def _compare_datasets(
    array: ScoreArray, methods: np.ndarray, draw: str, settings: AnalysisSettings
) -> list[pd.DataFrame]:
    """Make rows of each pair of datasets, of the mean over `methods` that have both."""
    tables = []
    if len(array.datasets) > MAX_METHODS:
        return tables
    value = array.lasting_MDSE[methods]
    for a, b in combinations(range(len(array.datasets)), 2):
        own = value[:, [a, b]]
        num_scores_M2 = np.isfinite(own).sum(axis=(2, 3))
        has_both_M = num_scores_M2.min(axis=1) > 0
        if not has_both_M.any():
            continue
        mean_2SE = own[has_both_M].mean(0)  # of draws that all these methods have
        found = two_sample.compare_unpaired(
            mean_2SE[:1],
            mean_2SE[1:],
            array.directions_E,
            power=settings.power,
            **settings.resampling,
        )
        names = [f"{array.datasets[d]} {draw}".rstrip() for d in (a, b)]
        rows = _rows(array, "dataset", [names[0]], [names[1]], [POOLED], found.line(0))
        tables.append(_where_known(rows.assign(design=UNPAIRED)))
    return tables


def _rows(
    array: ScoreArray,
    kind: str,
    a: Sequence[str],
    b: Sequence[str],
    datasets: Sequence[str],
    found: two_sample.Compared,
) -> pd.DataFrame:
    """Make rows of `found` [datasets, pairs x metrics], pair by pair."""
    num_P, num_D, num_E = len(a), len(datasets), len(array.metrics)
    numbers = {
        name: value.reshape(num_D, num_P, num_E).swapaxes(0, 1).ravel()
        for name, value in found.columns().items()
    }
    return pd.DataFrame(
        {
            "model": array.model,
            "metric": np.tile(np.array(array.metrics, dtype=object), num_P * num_D),
            "kind": kind,
            "a": np.repeat(np.array(a, dtype=object), num_D * num_E),
            "b": np.repeat(np.array(b, dtype=object), num_D * num_E),
            "dataset": np.tile(np.repeat(np.array(datasets, dtype=object), num_E), num_P),
            "direction": np.tile(array.directions_E, num_P * num_D),
            **numbers,
        }
    )


def _where_known(table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows with any draw to compare."""
    return table.loc[table["n_pairs"] + table["lost_a"] + table["lost_b"] > 0]
