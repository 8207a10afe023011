"""p-values corrected for how many tests there are: Holm, Benjamini and Hochberg."""

import numpy as np

from calib_sweep.analysis.inference import typed_scipy


def holm_corrected(p_K: np.ndarray) -> np.ndarray:
    """Return p-values corrected after Holm 1979 [K]: true nulls are rejected in 1 - level at most.

    The i-th smallest of K times K - i + 1, and none below a smaller one's. NaN does not count.
    (statsmodels' multipletests collects garbage at each call: 0.3 s a family.)
    """
    known_K = np.isfinite(p_K)
    order = np.argsort(p_K[known_K], kind="stable")
    times = np.arange(order.size, 0, -1)
    corrected = np.empty(order.size)
    corrected[order] = np.minimum(np.maximum.accumulate(p_K[known_K][order] * times), 1.0)
    result_K = np.full(p_K.shape, np.nan)
    result_K[known_K] = corrected
    return result_K


def bh_corrected(p_K: np.ndarray) -> np.ndarray:
    """Return the share of false discoveries among all p this small [K]; NaN does not count.

    Benjamini and Hochberg 1995.
    """
    result_K = np.full(p_K.shape, np.nan)
    known_K = np.isfinite(p_K)
    if known_K.any():
        result_K[known_K] = typed_scipy.false_discovery_rates(p_K[known_K])
    return result_K
