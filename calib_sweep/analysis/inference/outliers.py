"""Single scores that stand out of their draws, and by which rule.

    not finite    an infinite perplexity, or one that is no number
    diverged      finite, but above ten times the median of its draws; perplexity only
    outlier       Grubbs' test, |y - ybar| / s beyond its critical value at 0.1 % (two-sided), so
                  that of 1,000 groups of normal draws one is flagged by chance; log perplexity

Grubbs 1969. Shapes: S draws.
"""

import numpy as np

from calib_sweep.analysis.inference import typed_scipy
from calib_sweep.analysis.inference.sample import has_diverged
from calib_sweep.analysis.rounding import variance

MIN_DRAWS = 5  # of fewer, two that happen to agree make an outlier of any third
GRUBBS_LEVEL = 0.001


def reasons(value_S: np.ndarray, *, is_perplexity: bool) -> list[str]:
    """Say why each value stands out [S]; "" where it does not."""
    why_S = np.where(np.isfinite(value_S), "", "not finite").astype(object)
    finite_S = np.isfinite(value_S)
    if is_perplexity:
        why_S[finite_S & has_diverged(value_S)] = "diverged"
        value_S = np.log(np.where(finite_S & (value_S > 0), value_S, np.nan))
    rest_S = (why_S == "") & np.isfinite(value_S)
    n = int(rest_S.sum())
    spread = float(np.sqrt(variance(value_S[rest_S]))) if n >= MIN_DRAWS else 0.0
    if spread > 0:
        distance_S = np.where(rest_S, np.abs(value_S - value_S[rest_S].mean()) / spread, 0.0)
        why_S[distance_S > grubbs_limit(n)] = "outlier"
    return [str(why) for why in why_S]


def grubbs_limit(n: int, level: float = GRUBBS_LEVEL) -> float:
    """Return the largest distance from the mean, in SDs, of n normal values, but in `level`."""
    t = typed_scipy.t_isf(level / (2 * n), n - 2)
    return float((n - 1) / np.sqrt(n) * np.sqrt(t**2 / (n - 2 + t**2)))
