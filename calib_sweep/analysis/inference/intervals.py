"""Intervals of one sample: of its mean, its SD, one draw more, a share, P(A > B) of two samples.

    mean        ybar -+ t(1 - a/2; n-1) s / sqrt(n)                                    Student
    SD          s sqrt((n-1) / chi2(1 - a/2; n-1)) .. s sqrt((n-1) / chi2(a/2; n-1))
    one draw    ybar -+ t(1 - a/2; n-1) s sqrt(1 + 1/n)          where the next draw will lie
    share k/n   Beta(a/2; k, n-k+1) .. Beta(1 - a/2; k+1, n-k)                 Clopper, Pearson 1934
    P(A > B)    all q with |U/(mn) - q| <= z sqrt(V(q)),                  Newcombe 2006, method 5
                V(q) = q (1-q) (1 + (N/2 - 1) ((1-q)/(2-q) + q/(1+q))) / (mn),  N = m + n

Exact for normal draws (the first three) and for any draws (the share, at least at the level); the
last one's coverage is in docs/analysis.md. Fewer than MIN_DRAWS draws give no interval: two have a
95 % interval of the SD from 0.45 to 32 times what is seen.

All functions take and return arrays of any one shape, NaN where there is nothing to say.
"""

import numpy as np
from scipy import special, stats

from calib_sweep.analysis.settings import LEVEL

MIN_DRAWS = 3
TAIL = (1 - LEVEL) / 2

Interval = tuple[np.ndarray, np.ndarray]


def mean_interval(mean: np.ndarray, sd: np.ndarray, n: np.ndarray) -> Interval:
    """Of the mean that infinitely many draws would have."""
    n = _enough(n)
    return around(mean, sd / np.sqrt(n), n - 1)


def around(estimate: np.ndarray, se: np.ndarray, df: np.ndarray) -> Interval:
    """estimate -+ t(df) se."""
    half = stats.t.isf(TAIL, df) * se
    return estimate - half, estimate + half


def sd_interval(sd: np.ndarray, n: np.ndarray) -> Interval:
    """Of the SD that infinitely many draws would have."""
    df = _enough(n) - 1
    return (
        sd * np.sqrt(df / stats.chi2.isf(TAIL, df)),
        sd * np.sqrt(df / stats.chi2.ppf(TAIL, df)),
    )


def next_draw_interval(mean: np.ndarray, sd: np.ndarray, n: np.ndarray) -> Interval:
    """Where one more draw will lie: what a user of the method has to expect."""
    n = _enough(n)
    return around(mean, sd * np.sqrt(1 + 1 / n), n - 1)


def share_interval(num: np.ndarray, n: np.ndarray) -> Interval:
    """Of the share behind `num` of `n`; `num` may be half a number, where ties count half."""
    num, n = np.asarray(num, dtype=float), _enough(n)
    with np.errstate(invalid="ignore"):
        low = special.betaincinv(num, n - num + 1, TAIL)
        high = special.betaincinv(num + 1, n - num, 1 - TAIL)
    known = np.isfinite(n)
    return (
        np.where(known & (num == 0), 0.0, np.where(known, low, np.nan)),
        np.where(known & (num == n), 1.0, np.where(known, high, np.nan)),
    )


def superiority_interval(share: np.ndarray, n_a: np.ndarray, n_b: np.ndarray) -> Interval:
    """Of P(A > B), from the share of the n_a x n_b pairs that A wins (Mann-Whitney's U / mn)."""
    share = np.asarray(share, dtype=float)
    n_a, n_b = _enough(n_a), _enough(n_b)
    z = stats.norm.isf(TAIL)

    def excess(q: np.ndarray) -> np.ndarray:
        """How far the share lies from q, in units of what is allowed, less one."""
        spread = (1 - q) / (2 - q) + q / (1 + q)
        variance = q * (1 - q) * (1 + ((n_a + n_b) / 2 - 1) * spread) / (n_a * n_b)
        return np.abs(share - q) - z * np.sqrt(variance)

    low = _bisect(lambda q: excess(q) > 0, np.zeros_like(share), share)
    high = 1 - _bisect(lambda q: excess(1 - q) > 0, np.zeros_like(share), 1 - share)
    known = np.isfinite(n_a + n_b + share)
    return np.where(known, low, np.nan), np.where(known, high, np.nan)


def _bisect(is_below, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """The point between `low` and `high` where `is_below` turns from true to false."""
    for _ in range(50):
        middle = (low + high) / 2
        below = is_below(middle)
        low, high = np.where(below, middle, low), np.where(below, high, middle)
    return (low + high) / 2


def _enough(n: np.ndarray) -> np.ndarray:
    """`n` as floats, NaN where it is too small for an interval."""
    n = np.asarray(n, dtype=float)
    return np.where(n >= MIN_DRAWS, n, np.nan)
