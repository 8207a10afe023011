"""p-values corrected for how many tests there are: Holm, Benjamini and Hochberg."""

import numpy as np
from scipy.stats import false_discovery_control


def holm_corrected(p_K: np.ndarray) -> np.ndarray:
    """Holm 1979: the i-th smallest of K times K - i + 1, and none below a smaller one's.

    NaN does not count. (statsmodels' multipletests collects garbage at each call: 0.3 s a family.)
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
    """Benjamini and Hochberg 1995: the share of false discoveries among all p this small."""
    result_K = np.full(p_K.shape, np.nan)
    known_K = np.isfinite(p_K)
    if known_K.any():
        result_K[known_K] = false_discovery_control(p_K[known_K], method="bh")
    return result_K
