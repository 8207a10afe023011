"""Seeds needed: for an interval of given half-width, to see a difference of given size.

Two methods on D datasets with n draws of each, s^2 the variance of the difference of a pair, mean
over datasets; two datasets with n draws of each, s the SD of either sample:

    half-width      t(1 - a/2; n-1) s / sqrt(n)
    two methods     c s / sqrt(D n),        df = v (D v + 2) / (v + 2),  v = n - 1
    two datasets    c s sqrt(2 / n),        df = 2n - 2

That df is nearly what Satterthwaite's is on average where datasets vary alike; of one dataset it is
n - 1.
The test is two-sided at `alpha`; of a claim that is corrected for others, at its share of their
level.

Known s: c such that P(|T| > t(1 - a/2; df)) = power, T noncentral t(df; c).

Assurance (O'Hagan, Stevens and Campbell 2005): s is known from a pilot on df0 only. What it leaves
open is s^2 df0 / chi2(df0) = sigma^2, and c is such that the *mean* power over it is `power`:

    mean over W ~ chi2(df0), V ~ chi2(df) of  Phi(c sqrt(W / df0) - t(1 - a/2; df) sqrt(V / df))

As df0 s^2 / sigma^2 is a pivot, the power that studies planned so really have is `power` on average
too, whatever sigma. A plan that takes s for sigma has .62 of .80 after a pilot of three draws.

Likewise of a width: with F(q; n-1, df0) the quantile of the variance to come over the one seen,

    half-width      t(1 - a/2; n-1) s sqrt(F(power; n-1, df0) / n)        at most, with P = power

`smallest_detectable` is c se with the df of the study itself, known by itself: what a test of this
size finds with the given power. P(A > B) has no SD: `superiority`.

Shapes: K designs; V, W nodes of a quadrature.
"""

from functools import lru_cache

import numpy as np

from calib_sweep.analysis.inference import typed_scipy
from calib_sweep.analysis.inference.intervals import LEVEL, MIN_DRAWS, TAIL
from calib_sweep.analysis.inference.typed_scipy import Numbers

MAX_SEEDS = 10_000  # more is no plan
ALPHA = 1 - LEVEL
KNOWN = np.inf  # the df of an SD that is known
NUM_NODES = 24
AT_ONCE = 2000  # designs
STEPS = 26  # of bisection, in logarithms
MOST = 1000.0


def noncentrality(df: Numbers, power: float, alpha: float = ALPHA) -> np.ndarray:
    """Return c of a known SD: the true standard errors of a difference found with `power`.

    Only the tail on the difference's own side counts; at a power above 1/2 the other has nothing.
    """
    return assured(df, KNOWN, power, alpha)


def assured(df: Numbers, known_df: Numbers, power: float, alpha: Numbers = ALPHA) -> np.ndarray:
    """Return c: the estimated standard errors of a difference that is found with `power`.

    `df`: of the test; `known_df`: of the SD that the standard error is made of. The power is the
    mean over what such an estimate leaves open. NaN where a df is.
    """
    parts = [np.asarray(of, dtype=float) for of in (df, known_df, alpha)]
    parts = np.broadcast_arrays(*parts)
    shape = parts[0].shape
    designs = np.stack([of.ravel() for of in parts])
    different, place = np.unique(designs, axis=1, return_inverse=True)
    found = np.empty(different.shape[1])
    for start in range(0, different.shape[1], AT_ONCE):
        own = slice(start, start + AT_ONCE)
        found[own] = _solve(different[0, own], different[1, own], different[2, own], power)
    return np.where(np.isnan(designs.sum(0)), np.nan, found[place.ravel()]).reshape(shape)


def _solve(df_K: np.ndarray, known_K: np.ndarray, alpha_K: np.ndarray, power: float) -> np.ndarray:
    """Find c between an eighth of the threshold and MOST times it."""
    threshold_K = typed_scipy.t_isf(alpha_K / 2, df_K)
    seen_K1V = (threshold_K[:, None] * _relative_sds(df_K))[:, None]
    scale_KW1 = _relative_sds(known_K)[:, :, None]
    weight_V = _nodes()[1]
    low_K, high_K = np.log(threshold_K / 8), np.log(threshold_K * MOST)
    for _ in range(STEPS):
        middle_K = (low_K + high_K) / 2
        z_KWV = np.exp(middle_K)[:, None, None] * scale_KW1 - seen_K1V
        share_K = np.einsum("kwv,w,v->k", typed_scipy.normal_cdf(z_KWV), weight_V, weight_V)
        low_K = np.where(share_K < power, middle_K, low_K)
        high_K = np.where(share_K < power, high_K, middle_K)
    return np.exp((low_K + high_K) / 2)


def _relative_sds(df_K: np.ndarray) -> np.ndarray:
    """Return sqrt(chi2 / df) at the nodes [K, V]; 1 where df is infinite."""
    node_V = _nodes()[0]
    is_known = np.isinf(df_K)
    df_K1 = np.where(is_known, 1.0, df_K)[:, None]
    return np.where(
        is_known[:, None], 1.0, np.sqrt(typed_scipy.chi2_isf_fast(1 - node_V, df_K1) / df_K1)
    )


@lru_cache(maxsize=1)
def _nodes() -> tuple[np.ndarray, np.ndarray]:
    """Return probabilities and weights of a quadrature between 0 and 1.

    Gauss and Legendre's in t, with 3 t^2 - 2 t^3 for the probability: quantiles are steep at its
    ends.
    """
    node_V, weight_V = np.polynomial.legendre.leggauss(NUM_NODES)
    t_V = (node_V + 1) / 2
    return t_V**2 * (3 - 2 * t_V), weight_V * 3 * t_V * (1 - t_V)


def smallest_detectable(se: Numbers, df: Numbers, power: float, alpha: float = ALPHA) -> np.ndarray:
    """Return the difference that a study of this size finds with `power`, in the unit of `se`.

    `se` is an estimate on `df`: the power is the mean over what it leaves open.
    """
    inverse, log_c = _of_own_df(power, alpha)
    with np.errstate(divide="ignore"):
        return np.exp(np.interp(1 / np.asarray(df, dtype=float), inverse, log_c)) * se


@lru_cache(maxsize=64)
def _of_own_df(power: float, alpha: float) -> tuple[np.ndarray, np.ndarray]:
    """Return 1 / df and the logarithm of c where the SE is known by the test itself: smooth."""
    inverse = np.concatenate([[0.0], np.geomspace(1e-4, 1, 300)])
    df = np.concatenate([[KNOWN], 1 / inverse[1:]])
    return inverse, np.log(assured(df, df, power, alpha))


def pooled_df(num_draws: Numbers, num_datasets: int = 1) -> np.ndarray:
    """Return the mean of Satterthwaite's df over datasets that vary alike."""
    within = np.asarray(num_draws, dtype=float) - 1
    return within * (num_datasets * within + 2) / (within + 2)


def seeds_for_half_width(
    sd: Numbers, target: float, power: float = 0.5, known_df: Numbers = KNOWN
) -> np.ndarray:
    """Return the draws until the 95 % interval of the mean has at most this half-width.

    `sd` on `known_df`; `power`: how surely it is to be as narrow, where the SD is an estimate.
    `target` in the unit of `sd`; infinite beyond MAX_SEEDS.
    """
    sd, df = np.broadcast_arrays(np.asarray(sd, dtype=float), _rounded(known_df))
    seeds = np.full(sd.shape, np.nan)
    for known in np.unique(df[~np.isnan(df)]).tolist():
        own = df == known
        seeds[own] = _first_n(_half_widths(power, known), sd[own], target)
    return seeds


def seeds_for_difference(
    sd: Numbers,
    target: Numbers,
    power: float,
    *,
    is_paired: bool,
    num_datasets: int = 1,
    known_df: Numbers = KNOWN,
    alpha: Numbers = ALPHA,
) -> np.ndarray:
    """Return the draws of each dataset (of each sample, if unpaired) that find a difference.

    `sd`: of the differences of pairs, or of either sample, on `known_df`; `power`: how surely it is
    found, on average over what that leaves open. `target` in the unit of `sd`; infinite beyond
    MAX_SEEDS. Pairs are of `num_datasets` datasets.
    """
    parts = [np.asarray(of, dtype=float) for of in (sd, target, known_df, alpha)]
    parts = np.broadcast_arrays(*parts)
    seeds = np.full(parts[0].shape, np.nan)
    designs = np.stack([_rounded(parts[2]).ravel(), parts[3].ravel()])
    different, place = np.unique(designs, axis=1, return_inverse=True)
    place = place.reshape(seeds.shape)
    for index, (df, level) in enumerate(different.T.tolist()):
        if np.isnan(df):
            continue
        own = place == index
        falling = _detectable(power, is_paired, num_datasets, df, level)
        seeds[own] = _first_n(falling, parts[0][own], parts[1][own])
    return seeds


def _rounded(df: Numbers) -> np.ndarray:
    """Return df that are not whole in steps of 4 %, 1 % of the seeds: a table has few of them."""
    df = np.asarray(df, dtype=float)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(df == np.round(df), df, np.exp(np.round(np.log(df) / 0.04) * 0.04))


def _candidates() -> np.ndarray:
    """List the numbers of draws that are tried: all up to 200, then in steps of 1 %."""
    large = np.unique(np.geomspace(200, MAX_SEEDS, 400).astype(int))
    return np.unique(np.concatenate([np.arange(MIN_DRAWS, 200), large]))


@lru_cache(maxsize=512)
def _half_widths(power: float, known_df: float) -> np.ndarray:
    """Return the half-widths of one SD for each candidate, falling."""
    n = _candidates()
    is_known = np.isinf(known_df)
    ratio = 1.0 if is_known else np.sqrt(typed_scipy.f_isf(1 - power, n - 1.0, known_df))
    return typed_scipy.t_isf(TAIL, n - 1) * ratio / np.sqrt(n)


@lru_cache(maxsize=512)
def _detectable(
    power: float, is_paired: bool, num_datasets: int, known_df: float, alpha: float
) -> np.ndarray:
    """Return the detectable differences of one SD for each candidate, falling."""
    n = _candidates()
    df = pooled_df(n, num_datasets) if is_paired else 2.0 * n - 2
    num = num_datasets * n if is_paired else n / 2
    few = np.unique(np.geomspace(1, len(n), 80).astype(int)) - 1  # smooth in 1 / df between them
    c = np.interp(-1 / df, -1 / df[few], assured(df[few], known_df, power, alpha))
    return c / np.sqrt(num)


def _first_n(falling: np.ndarray, sd: Numbers, target: Numbers) -> np.ndarray:
    """Return the first candidate at which falling * sd <= target; infinite beyond the last."""
    sd = np.asarray(sd, dtype=float)
    with np.errstate(divide="ignore", invalid="ignore"):
        place = np.searchsorted(-falling, -(target / sd) * (1 + 1e-12), side="left")
    found = np.append(_candidates().astype(float), np.inf)[place]
    return np.where(np.isfinite(sd), found, np.nan)
