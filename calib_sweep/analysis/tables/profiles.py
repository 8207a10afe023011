"""Scores over many tasks at once: interquartile mean, performance profiles (Agarwal et al. 2021).

Each task is first put on the dense model's scale, retention = score / dense, so that no task counts
for more because its numbers are larger. The tasks are those with acc/; the methods those that read
data: one that reads none has one value of each task, of which there is nothing to resample.

    IQM            mean of the middle half of all draws x tasks
    F(tau)         share of all draws x tasks with a retention above tau

Agarwal et al. resample the runs of each task on their own. Here one calibration set makes the
scores of all tasks together, so whole draws are resampled, within their dataset. Intervals are the
estimate -+ t(df) sqrt(n / (n-1)) times the SD over resamples, df = draws less datasets; percentiles
of few draws are too narrow. F is a mean over draws: its resampled SD is known without resampling.

Shapes: D datasets, S draws, T tasks, B resamples, X points of tau.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
from scipy import stats

from calib_sweep.analysis.inference.intervals import MIN_DRAWS, around
from calib_sweep.analysis.inference.resampling import resampled_counts
from calib_sweep.analysis.scores.arrays import ScoreArray
from calib_sweep.analysis.scores.means import ACC_MEAN
from calib_sweep.analysis.settings import AnalysisSettings

TRIMMED = 0.25  # at either end
NUM_POINTS = 51
IQM_COLUMNS = ["model", "method", "num_tasks", "n", "iqm", "iqm_lo", "iqm_hi", "mean"]
PROFILE_COLUMNS = ["model", "method", "tau", "share", "share_lo", "share_hi"]


def profile_tables(
    arrays: Sequence[ScoreArray], settings: AnalysisSettings
) -> dict[str, pd.DataFrame]:
    """iqm and profiles, of all methods with two tasks or more and a dense model."""
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
    }


def iqm(value: np.ndarray) -> float:
    """Mean of the middle half of all values."""
    return float(stats.trim_mean(value.ravel(), TRIMMED))


def _retentions(array: ScoreArray) -> Iterator[tuple[str, list[np.ndarray]]]:
    """Retention [S, T] of each method in each dataset, complete draws only."""
    tasks = [
        e
        for e, metric in enumerate(array.metrics)
        if metric.startswith("acc/") and metric != ACC_MEAN and 0 < array.dense_E[e] < np.inf
    ]
    if len(tasks) < 2:
        return
    for m in np.flatnonzero(array.reads_data_M):
        value_DST = array.value_MDSE[m][..., tasks] / array.dense_E[tasks]
        blocks = [value_ST[np.isfinite(value_ST).all(axis=1)] for value_ST in value_DST]
        blocks = [value_ST for value_ST in blocks if len(value_ST) >= MIN_DRAWS]
        if blocks:
            yield array.methods[m].method, blocks


def _iqm_row(blocks: Sequence[np.ndarray], settings: AnalysisSettings) -> tuple[float, ...]:
    estimate, mean = iqm(np.concatenate(blocks)), float(np.concatenate(blocks).mean())
    num_draws = sum(map(len, blocks))
    simulated_B = resampled_iqm(blocks, settings)
    stretch = np.sqrt(num_draws / (num_draws - len(blocks)))
    low, high = around(
        np.array(estimate), stretch * simulated_B.std(), np.array(num_draws - len(blocks))
    )
    return blocks[0].shape[1], num_draws, estimate, float(low), float(high), mean


def resampled_iqm(blocks: Sequence[np.ndarray], settings: AnalysisSettings) -> np.ndarray:
    """IQM of whole draws drawn with replacement within each block [B].

    A resample is how often each draw occurs, so all values are sorted once: of each, as much counts
    as lies between the trimmed ends of the sorted resample.
    """
    counts = [
        resampled_counts(number, len(own), len(own), settings.seed, settings.num_resamples)
        for number, own in enumerate(blocks)
    ]
    value_ST = np.concatenate(blocks)
    order = np.argsort(value_ST, axis=None, kind="stable")
    count_BN = np.concatenate(counts, axis=1)[:, order // value_ST.shape[1]]
    upto_BN = np.cumsum(count_BN, axis=1)
    num = value_ST.size
    cut = int(TRIMMED * num)  # as scipy.stats.trim_mean
    kept_BN = np.clip(np.minimum(upto_BN, num - cut) - np.maximum(upto_BN - count_BN, cut), 0, None)
    return np.einsum("bn,n->b", kept_BN, value_ST.ravel()[order]) / (num - 2 * cut)


def _profile_rows(blocks: Sequence[np.ndarray], tau_X: np.ndarray) -> Iterator[tuple[float, ...]]:
    """tau, F(tau) and its interval; every draw counts equally."""
    above = [(block[:, :, None] > tau_X).mean(1) for block in blocks]  # [S, X] each
    num_draws = sum(map(len, above))
    share_X = np.concatenate(above).mean(0)
    square_X = sum(((own - own.mean(0)) ** 2).sum(0) for own in above)
    df = num_draws - len(blocks)
    low_X, high_X = around(share_X, np.sqrt(square_X / df / num_draws), np.array(df))
    yield from zip(
        tau_X.tolist(),
        share_X.tolist(),
        np.clip(low_X, 0, 1).tolist(),
        np.clip(high_X, 0, 1).tolist(),
        strict=True,
    )
