"""One sample of scores described: mean, SD, extremes, and what the worst draws are like.

    mean = sum(y) / n    SD = sqrt(sum((y - mean)^2) / (n - 1)), undefined for n = 1    min, max, n

    worst     the worst draw seen; a user of the method gets one draw, not the mean
    q05       the 5 % quantile on the worse side: of n draws the ceil(n / 20)-th worst
    cvar05    mean of the worst 5 %: of the n / 20 worst draws, the last of them in part

The worst 5 % of up to 20 draws are the worst one: all three are equal.

Shapes: S draws. All numbers are in the unit of the values.
"""

from dataclasses import dataclass

import numpy as np

from calib_sweep.analysis.rounding import variance

ONE_IN = 20  # draws: 5 %
DIVERGED_TIMES = 10.0


@dataclass(frozen=True)
class Spread:
    """A sample described; `sd` is NaN for n = 1 and with an infinite value."""

    n: int
    mean: float
    sd: float  # ddof = 1
    min: float
    max: float


def describe(value_S: np.ndarray) -> Spread:
    """Describe the values of one metric over seeds [S]; needs at least one."""
    assert value_S.ndim == 1 and value_S.size > 0, value_S
    low, high = float(np.min(value_S)), float(np.max(value_S))
    with np.errstate(invalid="ignore", over="ignore"):  # of an infinite perplexity there is no SD
        sd = float(np.sqrt(variance(value_S))) if value_S.size > 1 else np.nan
        mean = float(np.mean(value_S))
    if sd == 0:  # equal but for rounding
        return Spread(value_S.size, low, sd, low, low)
    return Spread(value_S.size, mean, sd, low, high)


def has_diverged(perplexity_S: np.ndarray) -> np.ndarray:
    """Tell which perplexities are not finite, or far above their median [S]."""
    ordered_S = np.where(perplexity_S > 0, perplexity_S, np.inf)  # what is no perplexity, too
    return np.isinf(ordered_S) | (ordered_S > DIVERGED_TIMES * np.median(ordered_S))


def worst_draws(value_S: np.ndarray, sign: int) -> tuple[float, float, float]:
    """Return the worst draw, the 5 % quantile on its side, the mean of the worst 5 %.

    `sign`: +1 more is better, -1 less is, 0 not known. NaN where it is not known, or a score is
    no number.
    """
    if sign == 0 or np.isnan(value_S).any():
        return np.nan, np.nan, np.nan
    ordered_S = sign * np.sort(sign * value_S)
    share = len(value_S) / ONE_IN  # how many draws the worst 5 % are
    whole, last = int(share), int(np.ceil(share)) - 1
    total = ordered_S[:whole].sum()
    if share > whole:
        total += (share - whole) * ordered_S[whole]
    return float(ordered_S[0]), float(ordered_S[last]), float(total / share)
