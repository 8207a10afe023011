"""How much less a variance is known than that of normal draws, where the draws show it.

    s^2 = sum q / (m nu),   q the squares that one draw adds about the mean of its dataset,
                            of m numbers (1, or the m contrasts of m + 1 methods)
    nu = sum (n_d - 1),  N = sum n_d

log s of normal draws has the variance v0 = 1 / (2 m nu). Of draws with heavy tails, or that spread
farther on one dataset than on another, or of one method than of others, it is larger: vj by the
jackknife (Miller 1968), from the N pseudo-values

    (N log(sum q) - (N - 1) log(sum q - q_i n_d / (n_d - 1))) / 2

The logarithm of an interval of s is then sqrt(inflation) as wide, inflation = vj / v0, between 1
and m nu. It is asked for only where the draws look so: where their kurtosis
N sum q^2 / (sum q)^2 is larger than that of four in five normal samples of this design (simulated).
Intervals of normal draws so hold in 95 to 96 %; with three draws of one dataset nothing shows.

Methods that move differently far show in the covariance matrix S of their contrasts as well, also
where tails are light. The sum of squares then has the variance of one with m nu epsilon degrees of
freedom (Box 1954),  epsilon = (tr S)^2 / (m tr S^2), both traces without bias (Huynh and Feldt
1976), and the inflation is 1 / epsilon if that is larger.

Coverage in per cent of the interval of an SD, chi-squared alone -> with this (20,000 samples):

    draws          1 dataset: 5 seeds   10          20          5 datasets: 5    20
    normal         94.8 -> 96.0         95.2 96.0   95.2 96.0   95.1 -> 96.0     94.9 95.6
    exponential    82.5 -> 88.7         76.0 85.4   73.2 86.7   75.4 -> 88.5     69.6 91.3
    lognormal      78.3 -> 85.4         68.2 80.3   60.6 80.4   63.3 -> 82.5     52.3 86.2
    t3             85.1 -> 89.9         76.3 85.4   66.4 80.5   67.8 -> 82.1     50.4 80.3
    spike          82.5 -> 87.4         74.1 78.6   78.2 83.7   81.2 -> 87.9     81.1 94.5
    SDs from 1 to 3 over the datasets                           89.5 -> 95.2     89.0 95.7

(lognormal: sigma 0.75; spike: one draw in ten lies 5 SDs off.) Bonett's interval (2006) in its
place holds 7 to 9 points more often of five draws, 0 to 4 of more; but it is 1.6 times as wide for
five normal ones, and holds in 99 % of them.

Shapes: N draws, M methods, D datasets, S draws of a dataset, E metrics.
"""

from functools import lru_cache

import numpy as np

from calib_sweep.analysis.rounding import variance
from calib_sweep.seeding import stream

HIGH = 0.8  # of normal samples have a smaller kurtosis
CAUTION = (
    "draws with heavier tails than four in five normal samples: the interval of the SD is wider "
    "than theirs, and may still be too narrow"
)
MAX_SAMPLES, MIN_SAMPLES, MAX_NUMBERS = 4000, 500, 4_000_000  # of a simulation


def inflation(square_NE: np.ndarray, group_N: np.ndarray, num_values: int = 1) -> np.ndarray:
    """Return by how much the variance of log s is larger than that of normal draws [E]; 1: not.

    `square_NE`: q of each draw. `group_N`: its dataset, as a whole number. `num_values`: m.
    """
    group_N, num_D = np.unique(group_N, return_inverse=True, return_counts=True)[1:]
    is_several_N = num_D[group_N] > 1
    if not is_several_N.any():
        return np.ones(len(square_NE.T))
    square_NE, group_N = square_NE[is_several_N], group_N[is_several_N]
    sizes = sorted(int(num) for num in num_D if num > 1)
    num, df = len(group_N), len(group_N) - len(sizes)
    times_N = num_D[group_N] / (num_D[group_N] - 1)
    total_E = square_NE.sum(0)
    with np.errstate(divide="ignore", invalid="ignore"):
        left_NE = total_E - square_NE * times_N[:, None]
        pseudo_NE = (num * np.log(total_E) - (num - 1) * np.log(np.maximum(left_NE, 0))) / 2
        variance_E = pseudo_NE.var(axis=0, ddof=1) / num
    found_E = np.where(np.isfinite(variance_E), variance_E, np.inf) * 2 * num_values * df
    is_high_E = kurtosis(square_NE) > high_kurtosis(tuple(sizes), num_values)
    return np.where(is_high_E, np.clip(found_E, 1, num_values * df), 1.0)


def unlike(contrast_MDSE: np.ndarray, df: int) -> np.ndarray:
    """Return 1 / epsilon [E] of what is left of M methods without their mean and that of datasets.

    `df`: nu. NaN is a draw that is not there.
    """
    here = np.where(np.isnan(contrast_MDSE), 0.0, contrast_MDSE)
    num = len(here) - 1
    if df < 2 or num < 2:
        return np.ones(len(contrast_MDSE.T))
    s_MME = np.einsum("mdse,kdse->mke", here, here) / df
    trace_E, square_E = np.einsum("mme->e", s_MME), np.sum(s_MME**2, axis=(0, 1))
    # Of a Wishart matrix E tr S^2 = (1 + 1/df) t2 + t1^2 / df and E (tr S)^2 = t1^2 + 2 t2 / df.
    t2_E = (square_E - trace_E**2 / df) / (1 + 1 / df - 2 / df**2)
    t1_E = trace_E**2 - 2 * t2_E / df
    with np.errstate(divide="ignore", invalid="ignore"):
        found_E = np.where(t2_E > 0, num * t2_E / t1_E, 1.0)
    return np.clip(np.nan_to_num(found_E, nan=1.0), 1, num)


def kurtosis(square_NE: np.ndarray) -> np.ndarray:
    """Return N sum q^2 / (sum q)^2 [E]: 3 for many normal draws; 0 where nothing moves."""
    total_E = square_NE.sum(0)
    return len(square_NE) * (square_NE**2).sum(0) / np.where(total_E > 0, total_E, np.inf) ** 2


def sample_inflation(value_N: np.ndarray) -> float:
    """Return the inflation of one sample's SD; 1 where a value is not finite or none moves."""
    if len(value_N) < 2 or not np.isfinite(value_N).all() or variance(value_N) == 0:
        return 1.0
    square_NE = (value_N - value_N.mean())[:, None] ** 2
    return float(inflation(square_NE, np.zeros(len(value_N), dtype=int))[0])


@lru_cache(maxsize=256)
def high_kurtosis(num_D: tuple[int, ...], num_values: int) -> float:
    """Return the kurtosis that HIGH of normal samples of these sizes stay below."""
    draw = stream("analysis/kurtosis", num_values, *num_D)
    num_samples = np.clip(MAX_NUMBERS // (num_values * sum(num_D)), MIN_SAMPLES, MAX_SAMPLES)
    parts: list[np.ndarray] = []
    for num in num_D:
        value = draw.standard_normal((num, num_values, int(num_samples)))
        parts.append(((value - value.mean(0)) ** 2).sum(1))
    rounding = 1e-9  # three draws of one dataset all have the same
    return float(np.quantile(kurtosis(np.concatenate(parts)), HIGH)) + rounding
