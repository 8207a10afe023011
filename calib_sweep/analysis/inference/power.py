"""How many seeds it takes: for an interval of given half-width, to see a difference of given size.

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
from scipy import special, stats

from calib_sweep.analysis.inference.intervals import MIN_DRAWS, TAIL

MAX_SEEDS = 10_000  # more is no plan


def noncentrality(df: np.ndarray, power: float) -> np.ndarray:
    """d: how many standard errors a difference must be for a two-sided t test to have `power`.

    Only the tail on the difference's own side counts; at a power above 1/2 the other has nothing.
    """
    df = np.asarray(df, dtype=float)
    different, place = np.unique(df, return_inverse=True)  # an array has few, and each is dear
    threshold = stats.t.isf(TAIL, different)
    return special.nctdtrinc(different, 1 - power, threshold)[place].reshape(df.shape)


def smallest_detectable(se: np.ndarray, df: np.ndarray, power: float) -> np.ndarray:
    """The difference that a t test with this standard error and df finds with `power`."""
    return noncentrality(df, power) * se


def seeds_for_half_width(sd: np.ndarray, target: float) -> np.ndarray:
    """Draws until the 95 % interval of the mean has at most this half-width."""
    return _first_n(_half_widths(), sd, target)


def seeds_for_difference(
    sd: np.ndarray, target: float, power: float, *, is_paired: bool
) -> np.ndarray:
    """Draws (in each sample, if unpaired) until a difference of `target` is found with `power`."""
    return _first_n(_detectable(power, is_paired), sd, target)


def _candidates() -> np.ndarray:
    """Numbers of draws that are tried: all up to 200, then in steps of 1 %."""
    large = np.unique(np.geomspace(200, MAX_SEEDS, 400).astype(int))
    return np.unique(np.concatenate([np.arange(MIN_DRAWS, 200), large]))


@lru_cache(maxsize=1)
def _half_widths() -> np.ndarray:
    """Half-widths of one SD for each candidate, falling."""
    n = _candidates()
    return stats.t.isf(TAIL, n - 1) / np.sqrt(n)


@lru_cache(maxsize=8)
def _detectable(power: float, is_paired: bool) -> np.ndarray:
    """Detectable differences of one SD for each candidate, falling."""
    n = _candidates()
    df, factor = (n - 1, 1.0) if is_paired else (2 * n - 2, 2.0)
    return noncentrality(df, power) * np.sqrt(factor / n)


def _first_n(falling: np.ndarray, sd: np.ndarray, target: float) -> np.ndarray:
    """The first candidate at which falling * sd <= target; infinite beyond the last."""
    sd = np.asarray(sd, dtype=float)
    with np.errstate(divide="ignore", invalid="ignore"):
        place = np.searchsorted(-falling, -(target / sd) * (1 + 1e-12), side="left")
    found = np.append(_candidates().astype(float), np.inf)[place]
    return np.where(np.isfinite(sd), found, np.nan)
