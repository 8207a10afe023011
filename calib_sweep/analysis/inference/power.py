"""Seeds needed: for an interval of given half-width, to see a difference of given size.

    half-width          t(1 - a/2; n-1) s / sqrt(n)
    two methods         d s / sqrt(n),          s the SD of the differences of pairs, df = n - 1
    two datasets        d s sqrt(2 / n),        s the SD of either sample (the root mean square of
                                                the two), n draws in each, df = 2n - 2
    d                   such that P(|T| > t(1 - a/2; df)) = power, T noncentral t(df; d)

`smallest_detectable` is d s / sqrt(n) with the n and s that there are: what a test of this size
would have found with the given power. s is an estimate: `seeds_lo` and `seeds_hi` are for the ends
of its own interval. P(A > B) has no SD: `superiority`.
"""

from functools import lru_cache

import numpy as np

from calib_sweep.analysis.inference import typed_scipy
from calib_sweep.analysis.inference.intervals import MIN_DRAWS, TAIL
from calib_sweep.analysis.inference.typed_scipy import Numbers

MAX_SEEDS = 10_000  # more is no plan


def noncentrality(df: Numbers, power: float) -> np.ndarray:
    """Return d: the standard errors of difference at which a two-sided t test has `power`.

    Only the tail on the difference's own side counts; at a power above 1/2 the other has nothing.
    """
    df = np.asarray(df, dtype=float)
    different, place = np.unique(df, return_inverse=True)  # an array has few, and each is dear
    threshold = typed_scipy.t_isf(TAIL, different)
    shift = typed_scipy.noncentral_t_shift(different, 1 - power, threshold)
    return shift[place].reshape(df.shape)


def smallest_detectable(se: Numbers, df: Numbers, power: float) -> np.ndarray:
    """Return the difference that a t test with this standard error and df finds with `power`.

    In the unit of `se`.
    """
    return noncentrality(df, power) * se


def seeds_for_half_width(sd: Numbers, target: float) -> np.ndarray:
    """Return the draws until the 95 % interval of the mean has at most this half-width.

    `target` in the unit of `sd`; infinite beyond MAX_SEEDS.
    """
    return _first_n(_half_widths(), sd, target)


def seeds_for_difference(
    sd: Numbers, target: float, power: float, *, is_paired: bool
) -> np.ndarray:
    """Return the draws (of each sample, if unpaired) that find a difference of `target`.

    `sd`: of the differences of pairs, or of either sample; `power`: how surely it is found.
    `target` in the unit of `sd`; infinite beyond MAX_SEEDS.
    """
    return _first_n(_detectable(power, is_paired), sd, target)


def _candidates() -> np.ndarray:
    """List the numbers of draws that are tried: all up to 200, then in steps of 1 %."""
    large = np.unique(np.geomspace(200, MAX_SEEDS, 400).astype(int))
    return np.unique(np.concatenate([np.arange(MIN_DRAWS, 200), large]))


@lru_cache(maxsize=1)
def _half_widths() -> np.ndarray:
    """Return the half-widths of one SD for each candidate, falling."""
    n = _candidates()
    return typed_scipy.t_isf(TAIL, n - 1) / np.sqrt(n)


@lru_cache(maxsize=8)
def _detectable(power: float, is_paired: bool) -> np.ndarray:
    """Return the detectable differences of one SD for each candidate, falling."""
    n = _candidates()
    df, factor = (n - 1, 1.0) if is_paired else (2 * n - 2, 2.0)
    return noncentrality(df, power) * np.sqrt(factor / n)


def _first_n(falling: np.ndarray, sd: Numbers, target: float) -> np.ndarray:
    """Return the first candidate at which falling * sd <= target; infinite beyond the last."""
    sd = np.asarray(sd, dtype=float)
    with np.errstate(divide="ignore", invalid="ignore"):
        place = np.searchsorted(-falling, -(target / sd) * (1 + 1e-12), side="left")
    found = np.append(_candidates().astype(float), np.inf)[place]
    return np.where(np.isfinite(sd), found, np.nan)
