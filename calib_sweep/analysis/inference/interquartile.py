"""Scores over many tasks at once, after Agarwal et al. 2021.

    IQM            mean of the middle half of all draws x tasks
    F(tau)         share of all draws x tasks above tau: the performance profile
    gap            mean over draws x tasks of max(0, 1 - y): how much of an optimum of 1 is missing
    P(A > B)       share of draws x tasks on which A does better, ties half; draws are paired

Agarwal et al. resample the runs of each task on their own. Here one calibration set makes the
scores of all tasks together, so whole draws are resampled, within their block (dataset). Intervals
are the estimate -+ t(df) sqrt(n / (n-1)) times the SD over resamples, df = draws less blocks;
percentiles of few draws are too narrow. F and the gap are means over draws: their resampled SD is
known without resampling. The share of tasks that A wins in a draw lies between 0 and 1, so that a
mean of them varies no more than a share of draws that win or lose does (Hoeffding 1956): the
interval of P(A > B) is Clopper and Pearson's, of as many draws, and holds at least at the level.

Shapes: S draws, T tasks, B resamples, N draws x tasks, X points of tau.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from calib_sweep.analysis.inference import typed_scipy
from calib_sweep.analysis.inference.intervals import around, share_interval
from calib_sweep.analysis.inference.resampling import resampled_counts

TRIMMED = 0.25  # at either end
AT_ONCE = 4_000_000  # values of resamples in memory; thousands of draws have many times as many


class Estimate(NamedTuple):
    """A number with the ends of its 95 % interval."""

    value: float
    lo: float
    hi: float


class Profile(NamedTuple):
    """F(tau) with the ends of its 95 % interval, at each tau [X]."""

    share_X: np.ndarray
    lo_X: np.ndarray
    hi_X: np.ndarray


def iqm(value: np.ndarray) -> float:
    """Return the mean of the middle half of all values, whatever their shape."""
    return typed_scipy.trimmed_mean(value.ravel(), TRIMMED)


def iqm_interval(blocks: Sequence[np.ndarray], *, seed: int, num_resamples: int) -> Estimate:
    """Return the IQM of several blocks of draws [S, T] with its interval over whole draws."""
    num_draws = sum(map(len, blocks))
    simulated_B = resampled_iqm(blocks, seed=seed, num_resamples=num_resamples)
    stretch = np.sqrt(num_draws / (num_draws - len(blocks)))
    estimate, df = iqm(np.concatenate(blocks)), num_draws - len(blocks)
    low, high = around(np.array(estimate), stretch * simulated_B.std(), np.array(df))
    return Estimate(estimate, float(low), float(high))


def resampled_iqm(blocks: Sequence[np.ndarray], *, seed: int, num_resamples: int) -> np.ndarray:
    """Return IQMs of whole draws drawn with replacement within each block [S, T] of them [B].

    A resample is how often each draw occurs, so all values are sorted once: of each, as much counts
    as lies between the trimmed ends of the sorted resample.
    """
    counts = [
        resampled_counts(number, len(own), len(own), seed, num_resamples)
        for number, own in enumerate(blocks)
    ]
    value_ST = np.concatenate(blocks)
    order = np.argsort(value_ST, axis=None, kind="stable")
    num, value_N, draw_N = value_ST.size, value_ST.ravel()[order], order // value_ST.shape[1]
    cut = int(TRIMMED * num)  # as scipy.stats.trim_mean
    count_BS = np.concatenate(counts, axis=1)
    sums: list[np.ndarray] = []
    for part_BS in np.array_split(count_BS, max(1, len(count_BS) * num // AT_ONCE)):
        count_BN = part_BS[:, draw_N]
        upto_BN = np.cumsum(count_BN, axis=1)
        kept_BN = np.minimum(upto_BN, num - cut) - np.maximum(upto_BN - count_BN, cut)
        sums.append(np.einsum("bn,n->b", np.clip(kept_BN, 0, None), value_N))
    return np.concatenate(sums) / (num - 2 * cut)


def profile(blocks: Sequence[np.ndarray], tau_X: np.ndarray) -> Profile:
    """Return the share of all draws and tasks above each tau; blocks [S, T], draws count equally.

    `tau_X`: in the unit of the values. Shares are between 0 and 1.
    """
    above = [(block[:, :, None] > tau_X).mean(1) for block in blocks]  # [S, X] each
    num_draws = sum(map(len, above))
    share_X = np.concatenate(above).mean(0)
    square_X = np.zeros(len(tau_X))
    for own in above:
        square_X += ((own - own.mean(0)) ** 2).sum(0)
    df = num_draws - len(blocks)
    low_X, high_X = around(share_X, np.sqrt(square_X / df / num_draws), np.array(df))
    return Profile(share_X, np.clip(low_X, 0, 1), np.clip(high_X, 0, 1))


def optimality_gap(blocks: Sequence[np.ndarray]) -> Estimate:
    """Return how much is missing to 1, on average over draws and tasks; blocks [S, T]."""
    gaps = [np.maximum(1 - block, 0).mean(1) for block in blocks]
    df = sum(map(len, gaps)) - len(gaps)
    gap_S = np.concatenate(gaps)
    square = sum(float(((own - own.mean()) ** 2).sum()) for own in gaps)
    mean, se = gap_S.mean(), np.sqrt(square / df / len(gap_S))
    low, high = around(mean, se, np.array(float(df)))
    return Estimate(float(mean), max(float(low), 0.0), float(high))


def improvement(a_ST: np.ndarray, b_ST: np.ndarray, directions_T: np.ndarray) -> Estimate:
    """Return P(A > B) over draws and tasks; `directions`: +1 more is better, -1 less is."""
    difference_ST = (a_ST - b_ST) * directions_T
    won_S = ((difference_ST > 0) + (difference_ST == 0) / 2).mean(1)
    low, high = share_interval(won_S.sum(), np.array(len(won_S)))
    return Estimate(float(won_S.mean()), float(low), float(high))
