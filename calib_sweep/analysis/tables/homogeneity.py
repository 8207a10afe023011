"""Do all methods move equally much with the draw? Do all datasets? Before pooling their variances.

Levene's idea, an analysis of variance of absolute deviations, in a form that keeps its level with
few draws that several methods share (his own and Brown and Forsythe's find nothing there):

    q = Helmert contrasts of the n_d draws of a dataset: n_d - 1 values of mean 0 and the draws'
        variance, independent for normal draws, for each method
    methods meet on the same draws:  F of |q| between methods in blocks, a block being a contrast
    datasets share nothing:          F of |q| between datasets, one way

Draws are taken in the order of their seeds. Another order gives other contrasts, hence another p:
all are tests of the same level, and the order is fixed before any score is seen. Methods that meet
have the same contrasts, dataset by dataset, whatever the order.

Level found for normal draws of 3 to 10 seeds: 4 to 6 % at 5 %; for exponential ones up to 20 %.

Shapes: M methods, D datasets, S seeds, C contrasts, E metrics.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
from scipy import linalg, stats

from calib_sweep.analysis.inference.anova import is_whole
from calib_sweep.analysis.rounding import without_rounding
from calib_sweep.analysis.scores.arrays import ALL, ScoreArray, equally_complete

COLUMNS = [
    *("model", "method", "metric", "kind", "num_groups", "num_contrasts"),
    *("statistic", "df_between", "df_within", "p", "smallest_sd", "largest_sd"),
]


def homogeneity_table(arrays: Sequence[ScoreArray]) -> pd.DataFrame:
    """unequal_variance.csv: kind method (all methods of a model), kind dataset (each method)."""
    tables = []
    for array in arrays:
        for draw in array.draws:
            methods = array.drawn_with(draw)
            tables += _between_methods(array, methods, f"{ALL} {draw}" if draw else ALL)
        for m in np.flatnonzero(array.reads_data_M):
            tables += _between_datasets(array, int(m))
    empty = pd.DataFrame(columns=pd.Index(COLUMNS))
    return pd.concat(tables, ignore_index=True) if tables else empty


def contrasts(value_SE: np.ndarray) -> np.ndarray:
    """Helmert contrasts over the draws [C, E], C = S - 1: orthonormal, of mean 0."""
    if len(value_SE) < 2:
        return value_SE[:0]
    return without_rounding(linalg.helmert(len(value_SE)) @ value_SE, np.abs(value_SE).max(axis=0))


def f_in_blocks(value_GCE: np.ndarray) -> tuple[np.ndarray, int, int]:
    """F between groups with blocks taken out [E], and its degrees of freedom."""
    num_groups, num_blocks = value_GCE.shape[:2]
    mean_GE, mean_CE, mean_E = value_GCE.mean(1), value_GCE.mean(0), value_GCE.mean((0, 1))
    between_E = num_blocks * np.sum((mean_GE - mean_E) ** 2, axis=0) / (num_groups - 1)
    df = (num_groups - 1) * (num_blocks - 1)
    rest_GCE = value_GCE - mean_GE[:, None] - mean_CE + mean_E
    within_E = np.sum(rest_GCE**2, axis=(0, 1)) / df
    return between_E / np.where(within_E > 0, within_E, np.nan), num_groups - 1, df


def _between_methods(array: ScoreArray, methods: np.ndarray, name: str) -> Iterator[pd.DataFrame]:
    for metrics in equally_complete(array.value_MDSE[methods]):
        value = array.value_MDSE[methods][..., metrics]
        value = value[np.isfinite(value[..., 0]).any(axis=(1, 2))]
        kept_DS = is_whole(value[..., 0], axis=0)
        if len(value) < 2 or (kept_DS.sum(1) - 1).clip(0).sum() < 2:
            continue
        q_MCE = np.stack(
            [
                np.concatenate([contrasts(v[kept]) for v, kept in zip(own, kept_DS, strict=True)])
                for own in value
            ]
        )
        found = f_in_blocks(np.abs(q_MCE))
        yield _table((array.model, name, "method"), array, metrics, list(q_MCE), *found)


def _between_datasets(array: ScoreArray, m: int) -> Iterator[pd.DataFrame]:
    for metrics in equally_complete(array.value_MDSE[[m]]):
        value = array.value_MDSE[m][..., metrics]
        q_D = [contrasts(own[np.isfinite(own[:, 0])]) for own in value]
        q_D = [q_CE for q_CE in q_D if len(q_CE) > 1]
        if len(q_D) < 2:
            continue
        with np.errstate(divide="ignore", invalid="ignore"):
            f_E = stats.f_oneway(*(np.abs(q_CE) for q_CE in q_D), axis=0).statistic
        df = len(q_D) - 1, sum(map(len, q_D)) - len(q_D)
        yield _table(
            (array.model, array.methods[m].method, "dataset"), array, metrics, q_D, f_E, *df
        )


def _table(
    names: tuple[str, str, str],
    array: ScoreArray,
    metrics: Sequence[int],
    groups: Sequence[np.ndarray],
    statistic_E: np.ndarray,
    df_between: int,
    df_within: int,
) -> pd.DataFrame:
    sd_GE = np.stack([np.sqrt(np.mean(q_CE**2, axis=0)) for q_CE in groups])
    model, method, kind = names
    table = pd.DataFrame({"metric": [array.metrics[e] for e in metrics]})
    table = table.assign(
        model=model,
        method=method,
        kind=kind,
        num_groups=len(groups),
        num_contrasts=sum(map(len, groups)) // len(groups),
        statistic=np.where(np.isfinite(statistic_E), statistic_E, np.nan),
        df_between=df_between,
        df_within=df_within,
        p=stats.f.sf(statistic_E, df_between, df_within),
        smallest_sd=sd_GE.min(0),
        largest_sd=sd_GE.max(0),
    )
    return table.reindex(columns=COLUMNS)
