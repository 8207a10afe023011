"""The SD of a score over draws, split into flips of single items and real shifts."""

from dataclasses import dataclass

import numpy as np

from calib_sweep.analysis.inference import intervals
from calib_sweep.analysis.rounding import variance


@dataclass(frozen=True)
class Split:
    """The SD of a score over draws, and its parts."""

    n: int
    num_items: int
    variance: float
    floor_variance: float
    ceiling: float = np.nan
    unstable: float = np.nan
    agreement: float = np.nan
    kappa: float = np.nan


def split(value_SI: np.ndarray) -> Split:
    """Split the variance over draws of the mean over items."""
    value_SI = np.asarray(value_SI, dtype=float)
    n, num_items = value_SI.shape
    within_I = variance(value_SI)
    of_means = float(variance(value_SI.mean(1)))
    floor_variance = float(within_I.sum()) / num_items**2
    if not np.isin(value_SI, (0.0, 1.0)).all():
        return Split(n, num_items, of_means, floor_variance)
    share = value_SI.mean()
    agreement = 1 - 2 * float(within_I.mean())
    by_chance = share**2 + (1 - share) ** 2
    return Split(
        n,
        num_items,
        of_means,
        floor_variance,
        ceiling=float(np.sqrt(share * (1 - share) / num_items)),
        unstable=float(np.mean(within_I > 0)),
        agreement=agreement,
        kappa=float((agreement - by_chance) / (1 - by_chance)) if by_chance < 1 else np.nan,
    )


def systematic_sd(own: Split) -> tuple[float, float, float]:
    """The SD of what all items share, and the ends of its interval."""
    sd = np.sqrt(own.variance)
    low, high = intervals.sd_interval(np.array([sd]), np.array([own.n]))
    beyond = (max(0.0, float(end) ** 2 - own.floor_variance) for end in (sd, low[0], high[0]))
    systematic, low, high = (float(np.sqrt(square)) for square in beyond)
    return systematic, low, high
