"""How large a loss may still be, with confidence: of the mean draw, and of all but the worst draws.

    mean     L + t(C; df) se                                          one-sided, confidence C
    draws    L + z_P s + sqrt(((k - z_P) s)^2 + (t(C; df) se_items)^2)

The second is a tolerance bound: with confidence C the share P of all draws lose at most this much,
on all items of the kind. k s is that of n normal draws on the same items, k = t'(C; n - 1,
z_P sqrt(n)) / sqrt(n), t' the noncentral t (Owen 1968); other items move all draws together, and
their margin is added to that of the draws as MOVER does it (Zou and Donner 2008). The variance of a
draw over these items holds that of its own flips, so the bound is on the safe side.

Near a limit l of a loss of right answers no test may trust a variance of items below that of
losing just so much, item by item: l (1 - l) / N (`at_limit`). Without it a model that changes no
answer of 100 items would be said to lose less than 1 %, of which 3 % can be true.

A test "is the bound <= l" passes at most 1 - C of models whose true loss is l. Losses are positive
where the model is worse.
"""

import numpy as np

from calib_sweep.analysis.inference import typed_scipy
from calib_sweep.analysis.inference.intervals import MIN_DRAWS
from calib_sweep.analysis.inference.paired_items import NO_PART, Part


def at_limit(part: Part, limit: float, num_items: float) -> Part:
    """Return `part`, or the variance of losing the share `limit` of the items where that is larger.

    `num_items`: as many as there are on their own; of grouped ones fewer.
    """
    return Part(max(part.variance, limit * (1 - limit) / num_items), part.df)


def mean_bound(loss: float, part: Part, confidence: float) -> float:
    """Return what the mean loss is at most, with confidence; `part`: the variance of `loss`."""
    return loss + _margin(part, confidence)


def draws_bound(loss_S: np.ndarray, items: Part, share: float, confidence: float) -> float:
    """Return what the share of all draws lose at most, with confidence; NaN: too few draws.

    `items`: the variance of their mean that lies in the items; `NO_PART` for these very ones.
    """
    n = len(loss_S)
    if n < MIN_DRAWS:
        return np.nan
    sd, z = float(np.std(loss_S, ddof=1)), typed_scipy.normal_ppf(share)
    k = float(typed_scipy.noncentral_t_ppf(confidence, n - 1, z * np.sqrt(n))) / np.sqrt(n)
    margin = np.hypot((k - z) * sd, _margin(items, confidence))
    return float(np.mean(loss_S) + z * sd + margin)


def _margin(part: Part, confidence: float) -> float:
    if part == NO_PART:
        return 0.0
    return float(typed_scipy.t_isf(1 - confidence, part.df) * np.sqrt(part.variance))
