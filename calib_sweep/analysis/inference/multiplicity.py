"""p-values corrected for how many tests there are: Holm, Benjamini and Hochberg.

Holm 1979, with weights w_i: the level is split by weight, so that one kind of question keeps its
share of it however many of another kind are asked. In order of p_i / w_i, the smallest first,

    p'_(j) = max over i <= j of  p_(i) (w_(i) + w_(i+1) + ... + w_(K)) / w_(i),    at most 1

Rejecting where p' <= level rejects any true null in at most `level` of all studies, whatever the
tests have to do with each other. It is the closure of weighted Bonferroni tests: H_i goes where for
each set I of hypotheses with i in it some j in I has p_j <= level w_j / sum of w over I.

Shapes: K tests. NaN is a test that was not made, and does not count.
"""

import numpy as np

from calib_sweep.analysis.inference import typed_scipy


def weighted_holm(p_K: np.ndarray, weight_K: np.ndarray) -> np.ndarray:
    """Return p-values corrected after Holm 1979 with weights above 0 [K]; only ratios matter."""
    known_K = np.isfinite(p_K)
    p, weight = p_K[known_K], np.asarray(weight_K, dtype=float)[known_K]
    order = np.argsort(p / weight, kind="stable")
    left = np.cumsum(weight[order][::-1])[::-1]  # of what is not yet rejected
    corrected = np.empty(order.size)
    times = left / weight[order]
    corrected[order] = np.minimum(np.maximum.accumulate(p[order] * times), 1.0)
    result_K = np.full(p_K.shape, np.nan)
    result_K[known_K] = corrected
    return result_K


def holm_corrected(p_K: np.ndarray) -> np.ndarray:
    """Return p-values corrected after Holm 1979, all of the same weight [K].

    The i-th smallest of K times K - i + 1, and none below a smaller one's.
    (statsmodels' multipletests collects garbage at each call: 0.3 s a family.)
    """
    return weighted_holm(p_K, np.ones(p_K.shape))


def bh_corrected(p_K: np.ndarray) -> np.ndarray:
    """Return the share of false discoveries among all p this small [K].

    Benjamini and Hochberg 1995.
    """
    result_K = np.full(p_K.shape, np.nan)
    known_K = np.isfinite(p_K)
    if known_K.any():
        result_K[known_K] = typed_scipy.false_discovery_rates(p_K[known_K])
    return result_K
