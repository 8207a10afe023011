"""Scores over many tasks at once, after Agarwal et al. 2021: IQM, gap, profiles, improvement.

Each task is first put on the dense model's scale, retention = score / dense, so that no task counts
for more because its numbers are larger. The tasks are those with acc/; the methods those that read
data: one that reads none has one value of each task, of which there is nothing to resample.

`inference.interquartile` has the formulas. Whole draws are resampled, within their dataset.

Shapes: D datasets, S draws, T tasks, X points of tau.
"""

from collections.abc import Iterator, Sequence
from itertools import combinations

import numpy as np
import pandas as pd

from calib_sweep.analysis.inference.interquartile import (
    improvement,
    iqm_interval,
    optimality_gap,
    profile,
)
from calib_sweep.analysis.inference.intervals import MIN_DRAWS
from calib_sweep.analysis.scores.arrays import ScoreArray
from calib_sweep.analysis.scores.means import ACC_MEAN
from calib_sweep.analysis.settings import AnalysisSettings

NUM_POINTS = 51
IQM_COLUMNS = [
    *("model", "method", "num_tasks", "n", "iqm", "iqm_lo", "iqm_hi", "mean"),
    *("gap", "gap_lo", "gap_hi"),
]
IMPROVEMENT_COLUMNS = ["model", "a", "b", "num_tasks", "n", "prob", "prob_lo", "prob_hi"]
PROFILE_COLUMNS = ["model", "method", "tau", "share", "share_lo", "share_hi"]


def profile_tables(
    arrays: Sequence[ScoreArray], settings: AnalysisSettings
) -> dict[str, pd.DataFrame]:
    """Make iqm, profiles and improvement, of all methods with two tasks or more."""
    iqm: list[tuple] = []
    profiles: list[tuple] = []
    for array in arrays:
        own = dict(_retentions(array))
        if not own:
            continue
        everything = np.concatenate([v.ravel() for blocks in own.values() for v in blocks])
        tau_X = np.linspace(everything.min(), everything.max(), NUM_POINTS)
        for method, blocks in own.items():
            iqm.append((array.model, method, *_iqm_row(blocks, settings)))
            profiles += [(array.model, method, *row) for row in _profile_rows(blocks, tau_X)]
    return {
        "iqm": pd.DataFrame(iqm, columns=pd.Index(IQM_COLUMNS)),
        "profiles": pd.DataFrame(profiles, columns=pd.Index(PROFILE_COLUMNS)),
        "improvement": pd.DataFrame(
            [row for array in arrays for row in _improvements(array)],
            columns=pd.Index(IMPROVEMENT_COLUMNS),
        ),
    }


def _tasks(array: ScoreArray) -> list[int]:
    """Return the places of the accuracies of single tasks."""
    metrics = enumerate(array.metrics)
    return [e for e, metric in metrics if metric.startswith("acc/") and metric != ACC_MEAN]


def _improvements(
    array: ScoreArray,
) -> Iterator[tuple[str, str, str, int, int, float, float, float]]:
    """Yield a row for each pair of methods that read data, over the draws that both have whole.

    The one that is more often better stands first.
    """
    tasks = _tasks(array)
    if len(tasks) < 2 or array.is_wide:
        return
    value_MDST = array.value_MDSE[..., tasks]
    for a, b in combinations(np.flatnonzero(array.reads_data_M), 2):
        if array.methods[a].draw != array.methods[b].draw:
            continue
        is_whole_DS = np.isfinite(value_MDST[[a, b]]).all(axis=(0, 3))
        first, second = (value_MDST[m][is_whole_DS] for m in (a, b))
        if len(first) < MIN_DRAWS:
            continue
        found = improvement(first, second, np.ones(len(tasks)))
        names = [array.methods[m].method for m in (a, b)]
        ends = (found.value, found.lo, found.hi)
        if found.value < 0.5:
            names, ends = names[::-1], (1 - found.value, 1 - found.hi, 1 - found.lo)
        yield (array.model, names[0], names[1], len(tasks), len(first), *ends)


def _retentions(array: ScoreArray) -> Iterator[tuple[str, list[np.ndarray]]]:
    """Return retention [S, T] of each method in each dataset, complete draws only."""
    tasks = [e for e in _tasks(array) if 0 < array.dense_E[e] < np.inf]
    if len(tasks) < 2:
        return
    for m in np.flatnonzero(array.reads_data_M):
        value_DST = array.value_MDSE[m][..., tasks] / array.dense_E[tasks]
        blocks = [value_ST[np.isfinite(value_ST).all(axis=1)] for value_ST in value_DST]
        blocks = [value_ST for value_ST in blocks if len(value_ST) >= MIN_DRAWS]
        if blocks:
            yield array.methods[m].method, blocks


def _iqm_row(blocks: Sequence[np.ndarray], settings: AnalysisSettings) -> tuple[float, ...]:
    """Return the number columns of iqm.csv."""
    found = iqm_interval(blocks, **settings.resampling)
    mean = float(np.concatenate(blocks).mean())
    return blocks[0].shape[1], sum(map(len, blocks)), *found, mean, *optimality_gap(blocks)


def _profile_rows(blocks: Sequence[np.ndarray], tau_X: np.ndarray) -> Iterator[tuple[float, ...]]:
    """Return tau, F(tau) and its interval, a row per tau."""
    columns = [column_X.tolist() for column_X in (tau_X, *profile(blocks, tau_X))]
    yield from zip(*columns, strict=True)
