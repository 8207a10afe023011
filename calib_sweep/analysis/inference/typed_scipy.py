# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportMissingTypeStubs=false
"""The functions of scipy that the statistics call, with types: scipy has none of its own.

The only file of this folder that imports scipy. Each function is scipy's own, element by element
unless it says otherwise. sf is P(X > x), ppf the inverse of P(X <= x), isf the inverse of sf.
"""

from collections.abc import Callable, Sequence

import numpy as np
from scipy import linalg, optimize, special, stats

Numbers = np.ndarray | float  # one number stands for an array of it

CholeskyFactor = tuple[np.ndarray, bool]


def t_isf(tail: Numbers, df: Numbers) -> np.ndarray:
    """Return the t that Student's t with `df` exceeds with probability `tail`."""
    return np.asarray(stats.t.isf(tail, df))


def t_sf(t: Numbers, df: Numbers) -> np.ndarray:
    """Return the probability that Student's t with `df` exceeds `t`."""
    return np.asarray(stats.t.sf(t, df))


def t_pdf(t: Numbers, df: Numbers) -> np.ndarray:
    """Return the density of Student's t with `df` at `t`."""
    return np.asarray(stats.t.pdf(t, df))


def noncentral_t_ppf(below: Numbers, df: Numbers, shift: Numbers) -> np.ndarray:
    """Return the t below which a noncentral t lies with probability `below`."""
    return np.asarray(stats.nct.ppf(below, df, shift))


def normal_isf(tail: float) -> float:
    """Return the z that a standard normal number exceeds with probability `tail`."""
    return float(stats.norm.isf(tail))


def normal_ppf(below: float) -> float:
    """Return the z below which a standard normal number lies with probability `below`."""
    return float(stats.norm.ppf(below))


def normal_cdf(z: np.ndarray) -> np.ndarray:
    """Return the probability that a standard normal number lies below `z`."""
    return np.asarray(special.ndtr(z))


def chi2_isf(tail: Numbers, df: Numbers) -> np.ndarray:
    """Return the value that chi-squared with `df` exceeds with probability `tail`."""
    return np.asarray(stats.chi2.isf(tail, df))


def chi2_ppf(below: Numbers, df: Numbers) -> np.ndarray:
    """Return the value below which chi-squared with `df` lies with probability `below`."""
    return np.asarray(stats.chi2.ppf(below, df))


def chi2_sf(value: Numbers, df: Numbers) -> np.ndarray:
    """Return the probability that chi-squared with `df` exceeds `value`."""
    return np.asarray(stats.chi2.sf(value, df))


def chi2_isf_fast(tail: Numbers, df: Numbers) -> np.ndarray:
    """Return `chi2_isf` by the routine of scipy.special: faster, and equal but for rounding."""
    return np.asarray(special.chdtri(df, tail))


def f_sf(value: Numbers, df_between: Numbers, df_within: Numbers) -> np.ndarray:
    """Return the probability that F exceeds `value`."""
    return np.asarray(stats.f.sf(value, df_between, df_within))


def f_isf(tail: Numbers, df_between: Numbers, df_within: Numbers) -> np.ndarray:
    """Return the F that is exceeded with probability `tail`."""
    return np.asarray(stats.f.isf(tail, df_between, df_within))


def binomial_sf(wins: Numbers, num: Numbers, share: float) -> np.ndarray:
    """Return the probability of more than `wins` in `num` trials."""
    return np.asarray(stats.binom.sf(wins, num, share))


def binomial_isf(tail: float, num: Numbers, share: float) -> np.ndarray:
    """Return the least number of wins in `num` trials that is exceeded with at most `tail`."""
    return np.asarray(stats.binom.isf(tail, num, share))


def beta_ppf(below: Numbers, a: Numbers, b: Numbers) -> np.ndarray:
    """Return the share below which Beta(a, b) lies with probability `below`."""
    return np.asarray(special.betaincinv(a, b, below))


def rank_data(value_S: np.ndarray) -> np.ndarray:
    """Return the ranks of the values from 1 on, equal ones their mean rank [S]."""
    return np.asarray(stats.rankdata(value_S))


def trimmed_mean(value_N: np.ndarray, share: float) -> float:
    """Return the mean of a flat array without `share` of it at either end."""
    return float(stats.trim_mean(value_N, share))


def false_discovery_rates(p_K: np.ndarray) -> np.ndarray:
    """Return Benjamini and Hochberg's corrected p-values [K]; none may be NaN."""
    return np.asarray(stats.false_discovery_control(p_K, method="bh"))


def cholesky(a_QQ: np.ndarray) -> CholeskyFactor:
    """Return the Cholesky factor of a positive definite matrix, for `cholesky_solve`."""
    return linalg.cho_factor(a_QQ, lower=True, check_finite=False)


def cholesky_solve(factor: CholeskyFactor, right_QX: np.ndarray) -> np.ndarray:
    """Return the solution of A x = right [Q, X]."""
    return np.asarray(linalg.cho_solve(factor, right_QX, check_finite=False))


def solve_positive(a_QQ: np.ndarray, right_QX: np.ndarray) -> np.ndarray:
    """Return the solution of A x = right [Q, X] for a positive definite A."""
    return np.asarray(linalg.solve(a_QQ, right_QX, assume_a="pos"))


def minimise(
    value_and_slope: Callable[[np.ndarray], tuple[float, np.ndarray]],
    start_K: np.ndarray,
    bounds: Sequence[tuple[float, float | None]],
    method: str,
    **options: float,
) -> np.ndarray:
    """Return the place of the minimum [K] within `bounds` that the search from `start_K` finds."""
    found = optimize.minimize(
        value_and_slope, start_K, jac=True, method=method, bounds=bounds, options=options
    )
    return np.asarray(found.x)
