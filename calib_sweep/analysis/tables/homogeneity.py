"""Tests that all methods, or all datasets, move equally much, before pooling their variances.

The test is that of `inference.homogeneity`: methods in blocks of the draws that they share,
datasets as samples that share nothing.

Shapes: M methods, D datasets, S seeds, C contrasts, E metrics.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from calib_sweep.analysis.inference.anova import is_whole
from calib_sweep.analysis.inference.homogeneity import (
    Homogeneity,
    between_datasets,
    between_methods,
    contrasts,
)
from calib_sweep.analysis.scores.arrays import ALL, ScoreArray, equally_complete

COLUMNS = [
    *("model", "method", "metric", "kind", "num_groups", "num_contrasts"),
    *("statistic", "df_between", "df_within", "p", "smallest_sd", "largest_sd"),
]


def homogeneity_table(arrays: Sequence[ScoreArray]) -> pd.DataFrame:
    """Make unequal_variance.csv: kind method (all of a model), kind dataset (each method)."""
    tables = []
    for array in arrays:
        for draw in array.draws:
            methods = array.drawn_with(draw)
            tables += _between_methods(array, methods, f"{ALL} {draw}" if draw else ALL)
        for m in np.flatnonzero(array.reads_data_M):
            tables += _between_datasets(array, int(m))
    empty = pd.DataFrame(columns=pd.Index(COLUMNS))
    return pd.concat(tables, ignore_index=True) if tables else empty


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
        labels = (array.model, name, "method")
        yield _table(labels, array, metrics, len(q_MCE[0]), between_methods(q_MCE))


def _between_datasets(array: ScoreArray, m: int) -> Iterator[pd.DataFrame]:
    for metrics in equally_complete(array.value_MDSE[[m]]):
        value = array.value_MDSE[m][..., metrics]
        q_D = [contrasts(own[np.isfinite(own[:, 0])]) for own in value]
        q_D = [q_CE for q_CE in q_D if len(q_CE) > 1]
        if len(q_D) < 2:
            continue
        labels = (array.model, array.methods[m].method, "dataset")
        num_contrasts = sum(map(len, q_D)) // len(q_D)
        yield _table(labels, array, metrics, num_contrasts, between_datasets(q_D))


def _table(
    labels: tuple[str, str, str],
    array: ScoreArray,
    metrics: Sequence[int],
    num_contrasts: int,
    found: Homogeneity,
) -> pd.DataFrame:
    model, method, kind = labels
    table = pd.DataFrame({"metric": [array.metrics[e] for e in metrics]})
    table = table.assign(
        model=model,
        method=method,
        kind=kind,
        num_groups=len(found.sd_GE),
        num_contrasts=num_contrasts,
        statistic=found.statistic_E,
        df_between=found.df_between,
        df_within=found.df_within,
        p=found.p_E,
        smallest_sd=found.sd_GE.min(0),
        largest_sd=found.sd_GE.max(0),
    )
    return table.reindex(columns=COLUMNS)
