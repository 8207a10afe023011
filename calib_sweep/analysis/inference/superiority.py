"""Draws that show that A beats B more often than not, where it truly does with P(A > B) = g.

Shown: the 95 % interval of P(A > B) in comparisons.csv leaves out 1/2.

    two methods    Clopper and Pearson's interval of W of N pairs does where W >= k(N), the least k
                   with P(Binomial(N, 1/2) >= k) <= 2.5 %. Needed: the N from which on
                   P(Binomial(N, g) >= k(N)) >= power; it goes up and down with N
    two datasets   n in each,  n >= ((z(97.5 %) + z(power)) / (sqrt(6) (g - 1/2)))^2    Noether 1987

Noether's n is that of the rank sum of two samples; for pairs it is too small by a third or so, and
for the interval of two datasets in the table (Newcombe) too large by one or two. No ties foreseen.

`now` is the g that the draws there are would show with that power; NaN where no g is shown.
"""

from functools import lru_cache

import numpy as np

from calib_sweep.analysis.inference import typed_scipy
from calib_sweep.analysis.inference.intervals import MIN_DRAWS, TAIL

MAX_PAIRS = 10_000  # more is no plan


def pairs_needed(share: float, power: float) -> float:
    """Return the pairs from which on P(A > B) = `share` is told from 1/2 with `power`.

    Infinite beyond MAX_PAIRS.
    """
    num_N = np.arange(MIN_DRAWS, MAX_PAIRS + 1)
    power_N = typed_scipy.binomial_sf(_wins_needed() - 1, num_N, share)
    too_few = num_N[power_N < power]
    last = too_few[-1] if too_few.size else MIN_DRAWS - 1
    return float(last + 1) if last < MAX_PAIRS else np.inf


def draws_needed(share: float, power: float) -> float:
    """Return the same for two independent samples: draws of each (Noether 1987)."""
    n = float(np.ceil(_noether(power) / (share - 0.5) ** 2))
    return max(n, MIN_DRAWS) if n <= MAX_PAIRS else np.inf


def pairs_show(num_pairs: int, power: float) -> float:
    """Return the P(A > B) that so many pairs tell from 1/2 with `power`; NaN: none is told."""
    if not MIN_DRAWS <= num_pairs <= MAX_PAIRS:
        return np.nan
    wins = _wins_needed()[num_pairs - MIN_DRAWS]
    if wins > num_pairs:
        return np.nan
    # P(Binomial(N, g) >= k) is the share of Beta(k, N - k + 1) below g
    return float(typed_scipy.beta_ppf(power, wins, num_pairs - wins + 1))


def draws_show(num_draws: int, power: float) -> float:
    """Return the same for two independent samples of so many draws each."""
    if num_draws < MIN_DRAWS:
        return np.nan
    share = 0.5 + np.sqrt(_noether(power) / num_draws)
    return float(share) if share <= 1 else np.nan


def _noether(power: float) -> float:
    return ((typed_scipy.normal_isf(TAIL) + typed_scipy.normal_ppf(power)) / np.sqrt(6)) ** 2


@lru_cache(maxsize=1)
def _wins_needed() -> np.ndarray:
    """Return k(N) for each N from MIN_DRAWS to MAX_PAIRS; N + 1 where all wins are too few."""
    num_N = np.arange(MIN_DRAWS, MAX_PAIRS + 1)
    return typed_scipy.binomial_isf(TAIL, num_N, 0.5).astype(int) + 1
