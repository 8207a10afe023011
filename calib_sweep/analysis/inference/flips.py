"""The SD of a score over draws, split into flips of single items and real shifts.

For n draws and N items, x[s, i] the score of item i on draw s, a_s = mean over items:

    s^2           = variance of a_s over draws
    floor^2       = sum_i var_s(x[s, i]) / N^2                  if items moved independently; for
                    right or wrong var_s = n/(n-1) p_i (1 - p_i), p_i the share of draws right
                  = sum_g var_s(sum_(i in g) x[s, i]) / N^2     if groups of items did: of those
                    about one passage, which flip together without any change of ability
    systematic^2  = max(0, s^2 - floor^2)                                   what all items share
    p             = P(chi2(n-1) >= (n-1) s^2 / floor^2)                     Cochran's Q; of groups
                    the same with their floor

The floor falls with more items, the systematic part is a change of ability. The interval of the
systematic SD is that of s (stretched where draws have heavy tails, `heavy_tails`), less the floor.
ceiling = sqrt(pbar (1 - pbar) / N): the floor if each item were tossed anew.

    unstable    share of items that are right on some draws and wrong on others
    agreement   share of items on which two draws agree, in both right and wrong; kappa: beyond
                chance (Fleiss 1971)

Shapes: S draws (n), I items (N), G groups. SDs are in the unit of the scores.
"""

from dataclasses import dataclass

import numpy as np

from calib_sweep.analysis.inference import intervals, typed_scipy
from calib_sweep.analysis.inference.heavy_tails import sample_inflation
from calib_sweep.analysis.inference.item_groups import group_sums, numbered
from calib_sweep.analysis.rounding import variance


@dataclass(frozen=True)
class Split:
    """The variance of a score over draws, and its parts; NaN where items are not right or wrong."""

    n: int
    num_items: int
    variance: float
    floor_variance: float
    num_groups: int  # of items that belong together; as many as items where none do
    ceiling: float = np.nan
    unstable: float = np.nan
    agreement: float = np.nan
    kappa: float = np.nan
    inflation: float = 1.0  # of the interval of the SD over draws


def split(value_SI: np.ndarray, group_I: np.ndarray | None = None) -> Split:
    """Split the variance over draws of the mean over items [S, I]; 0 and 1: wrong and right.

    `group_I`: equal for items that belong together; None: each is on its own.
    """
    value_SI = np.asarray(value_SI, dtype=float)
    n, num_items = value_SI.shape
    sums_SG = group_sums(value_SI, numbered(group_I, num_items))
    within_I = variance(value_SI)
    mean_S = value_SI.mean(1)
    of_means, inflation = float(variance(mean_S)), sample_inflation(mean_S)
    floor_variance = float(variance(sums_SG).sum()) / num_items**2
    num_groups = sums_SG.shape[1]
    if not np.isin(value_SI, (0.0, 1.0)).all():
        return Split(n, num_items, of_means, floor_variance, num_groups, inflation=inflation)
    share = value_SI.mean()
    agreement = 1 - 2 * float(within_I.mean())
    by_chance = share**2 + (1 - share) ** 2
    return Split(
        n,
        num_items,
        of_means,
        floor_variance,
        num_groups,
        ceiling=float(np.sqrt(share * (1 - share) / num_items)),
        unstable=float(np.mean(within_I > 0)),
        agreement=agreement,
        kappa=float((agreement - by_chance) / (1 - by_chance)) if by_chance < 1 else np.nan,
        inflation=inflation,
    )


def systematic_sd(own: Split) -> tuple[float, float, float]:
    """Return the SD of what all items share, and the ends of its 95 % interval."""
    sd = np.sqrt(own.variance)
    low, high = intervals.sd_interval(np.array([sd]), np.array([own.n]), own.inflation)
    beyond = (max(0.0, float(end) ** 2 - own.floor_variance) for end in (sd, low[0], high[0]))
    systematic, low, high = (float(np.sqrt(square)) for square in beyond)
    return systematic, low, high


def cochran_p(own: Split) -> float:
    """Return the p of Cochran's Q: could items that flip independently do it? NaN: none moved."""
    if not own.floor_variance > 0:
        return np.nan
    return float(typed_scipy.chi2_sf((own.n - 1) * own.variance / own.floor_variance, own.n - 1))
