"""Intervals of one sample: of its mean, its SD, one draw more, a share, P(A > B) of two samples.

    mean        ybar -+ t(1 - a/2; n-1) s / sqrt(n)                                    Student
    SD          s sqrt((n-1) / chi2(1 - a/2; n-1)) .. s sqrt((n-1) / chi2(a/2; n-1))
    one draw    ybar -+ t(1 - a/2; n-1) s sqrt(1 + 1/n)          where the next draw will lie
    share k/n   Beta(a/2; k, n-k+1) .. Beta(1 - a/2; k+1, n-k)                 Clopper, Pearson 1934
    P(A > B)    all q with |U/(mn) - q| <= z sqrt(V(q)),                  Newcombe 2006, method 5
                V(q) = q (1-q) (1 + (N/2 - 1) ((1-q)/(2-q) + q/(1+q))) / (mn),  N = m + n

Of draws with heavy tails the interval of the SD is stretched on the log scale (`heavy_tails`).

Exact for normal draws (the first three) and for any draws (the share, at least at the level); the
last one's coverage is in docs/analysis.md. Fewer than MIN_DRAWS draws give no interval: two have a
95 % interval of the SD from 0.45 to 32 times what is seen.

All functions take numbers or arrays that broadcast to one shape, and return two arrays of it: the
lower and the upper ends. They are in the unit of the values. NaN: there is nothing to say.
"""

from collections.abc import Callable

import numpy as np

from calib_sweep.analysis.inference import typed_scipy
from calib_sweep.analysis.inference.typed_scipy import Numbers

LEVEL = 0.95  # of every interval; tests are two-sided at 1 - LEVEL
MIN_DRAWS = 3
TAIL = (1 - LEVEL) / 2

Interval = tuple[np.ndarray, np.ndarray]


def mean_interval(mean: Numbers, sd: Numbers, n: Numbers) -> Interval:
    """Return the interval of the mean that infinitely many draws would have (Student 1908).

    `sd`: sample SD (ddof = 1) of `n` draws.
    """
    n = _enough(n)
    return around(mean, sd / np.sqrt(n), n - 1)


def around(estimate: Numbers, se: Numbers, df: Numbers) -> Interval:
    """Return estimate -+ t(df) se: of anything normal with a standard error on `df`."""
    half = typed_scipy.t_isf(TAIL, df) * se
    return estimate - half, estimate + half


def sd_interval(sd: Numbers, n: Numbers, inflation: Numbers = 1.0) -> Interval:
    """Return the interval of the SD that infinitely many draws would have (chi-squared).

    `sd`: sample SD (ddof = 1) of `n` draws. `inflation`: of its variance, where the draws have
    heavy tails (`heavy_tails`).
    """
    df, stretch = _enough(n) - 1, np.sqrt(inflation)
    return (
        sd * np.sqrt(df / typed_scipy.chi2_isf(TAIL, df)) ** stretch,
        sd * np.sqrt(df / typed_scipy.chi2_ppf(TAIL, df)) ** stretch,
    )


def next_draw_interval(mean: Numbers, sd: Numbers, n: Numbers) -> Interval:
    """Return where one more normal draw will lie: what a user of the method has to expect.

    `sd`: sample SD (ddof = 1) of `n` draws.
    """
    n = _enough(n)
    return around(mean, sd * np.sqrt(1 + 1 / n), n - 1)


def share_interval(num: Numbers, n: Numbers) -> Interval:
    """Return the interval of the share behind `num` of `n` (Clopper and Pearson 1934).

    `num` may be half a number, where ties count half.
    """
    num, n = np.asarray(num, dtype=float), _enough(n)
    with np.errstate(invalid="ignore"):
        low = typed_scipy.beta_ppf(TAIL, num, n - num + 1)
        high = typed_scipy.beta_ppf(1 - TAIL, num + 1, n - num)
    known = np.isfinite(n)
    return (
        np.where(known & (num == 0), 0.0, np.where(known, low, np.nan)),
        np.where(known & (num == n), 1.0, np.where(known, high, np.nan)),
    )


def superiority_interval(share: Numbers, n_a: Numbers, n_b: Numbers) -> Interval:
    """Return the interval of P(A > B) of two independent samples (Newcombe 2006, method 5).

    `share`: of the n_a x n_b pairs, those that A wins, ties half (Mann-Whitney's U / mn).
    """
    share = np.asarray(share, dtype=float)
    n_a, n_b = _enough(n_a), _enough(n_b)
    z = typed_scipy.normal_isf(TAIL)

    def excess(q: np.ndarray) -> np.ndarray:
        """Say how much farther the share lies from q than is allowed."""
        spread = (1 - q) / (2 - q) + q / (1 + q)
        variance = q * (1 - q) * (1 + ((n_a + n_b) / 2 - 1) * spread) / (n_a * n_b)
        return np.abs(share - q) - z * np.sqrt(variance)

    def is_below(q: np.ndarray) -> np.ndarray:
        return excess(q) > 0

    def is_above(q: np.ndarray) -> np.ndarray:
        return excess(1 - q) > 0

    low = _bisect(is_below, np.zeros_like(share), share)
    high = 1 - _bisect(is_above, np.zeros_like(share), 1 - share)
    known = np.isfinite(n_a + n_b + share)
    return np.where(known, low, np.nan), np.where(known, high, np.nan)


def _bisect(
    is_below: Callable[[np.ndarray], np.ndarray], low: np.ndarray, high: np.ndarray
) -> np.ndarray:
    """Find the point between `low` and `high` where `is_below` turns from true to false."""
    for _ in range(50):
        middle = (low + high) / 2
        below = is_below(middle)
        low, high = np.where(below, middle, low), np.where(below, high, middle)
    return (low + high) / 2


def _enough(n: Numbers) -> np.ndarray:
    """Return `n` as floats, NaN where it is too small for an interval."""
    n = np.asarray(n, dtype=float)
    return np.where(n >= MIN_DRAWS, n, np.nan)
