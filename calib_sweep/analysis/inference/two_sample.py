"""Two samples of scores compared, all metrics at once.

Paired: both met on the same calibration sets, x = a - b on each of the N sets.
    one dataset     xbar -+ t(n-1) s / sqrt(n)
    all datasets    mean of the xbar_d -+ t(df) se,  se^2 = sum_d (s_d^2 / n_d) / D^2,  df after
                    Satterthwaite: for these datasets and new draws of them; each counts equally.
                    A dataset of fewer than three pairs takes s^2 = sum_d (n_d - 1) s_d^2 / sum_d
                    (n_d - 1); two pairs that lie farther apart keep their own, and df is 2 or more
    P(A > B)        share of the N pairs that A wins, ties half;  interval: Clopper and Pearson
    p               sign flips, all of them counted (`permutation`)
Unpaired:
    difference      abar - bbar -+ t(df) sqrt(s_a^2 / n_a + s_b^2 / n_b)                 Welch
    P(A > B)        share of the n_a n_b pairs that A wins; interval: Newcombe
    p               permutations, exact while there are few
`mde` is the difference that a test of this size finds with the power asked for.

NaN is a score that is not there. An infinite one (a perplexity that blew up) counts in P(A > B),
where it loses against any other, and leaves no mean and no test.

Shapes: D datasets, S seeds, E metrics; results [D + 1, E], the last line over all datasets.
"""

from dataclasses import dataclass, fields

import numpy as np

from calib_sweep.analysis.inference import intervals, typed_scipy
from calib_sweep.analysis.inference.permutation import sign_flip_p, two_sample_p
from calib_sweep.analysis.inference.power import smallest_detectable
from calib_sweep.analysis.rounding import without_rounding

MIN_DF = intervals.MIN_DRAWS - 1


@dataclass(frozen=True, eq=False)
class Compared:
    """Everything that a comparison finds, each [lines, E]; in the unit of the scores."""

    n_pairs: np.ndarray
    mean_diff: np.ndarray  # a - b
    lo: np.ndarray
    hi: np.ndarray
    p: np.ndarray
    prob_better: np.ndarray  # of a; NaN where it is not known which way is better
    prob_lo: np.ndarray
    prob_hi: np.ndarray
    mde: np.ndarray
    sd_diff: np.ndarray  # of the difference of a pair
    df: np.ndarray
    p_t: np.ndarray  # of the t test that belongs to lo and hi
    is_finite: np.ndarray

    def columns(self) -> dict[str, np.ndarray]:
        """Return every field by its name, flat: line by line, metrics within."""
        return {field.name: getattr(self, field.name).ravel() for field in fields(self)}


def compare_paired(
    a_DSE: np.ndarray, b_DSE: np.ndarray, directions_E: np.ndarray, *, power: float
) -> Compared:
    """Compare pairs of the same dataset and seed: a line per dataset, and one over all.

    `directions_E`: +1 more is better, -1 less is, 0 not known. `power`: of the smallest detectable
    difference (mde).
    """
    is_pair = ~(np.isnan(a_DSE) | np.isnan(b_DSE))
    with np.errstate(invalid="ignore"):
        x_DSE = np.where(is_pair, a_DSE - b_DSE, np.nan)  # inf - inf is NaN, and a tie below
    wins_DE = (is_pair & (a_DSE * directions_E > b_DSE * directions_E)).sum(1)
    ties_DE = (is_pair & (a_DSE == b_DSE)).sum(1)
    n_DE = is_pair.sum(1)
    is_finite = (np.isfinite(x_DSE) == is_pair).all(axis=1)
    x_DSE = np.where(is_finite[:, None] & is_pair, x_DSE, np.nan)
    size_DSE = np.where(np.isfinite(x_DSE), np.maximum(np.abs(a_DSE), np.abs(b_DSE)), 0.0)
    mean_DE, variance_DE = _moments(x_DSE, n_DE, size_DSE.max(axis=1))
    se_DE = np.sqrt(variance_DE / np.maximum(n_DE, 1))
    df_DE = np.where(n_DE > MIN_DF, n_DE - 1.0, np.nan)
    pooled = _over_datasets(mean_DE, variance_DE, n_DE)
    share = _shares(wins_DE, ties_DE, n_DE, directions_E)
    p = [sign_flip_p(x_SE) for x_SE in x_DSE]
    # Datasets count equally in the mean, so their pairs do not where their numbers differ.
    weighted = (x_DSE / np.where(n_DE > 0, n_DE, np.nan)[:, None]).reshape(-1, x_DSE.shape[2])
    weighted[:, ~(is_finite.all(axis=0))] = np.nan
    p.append(sign_flip_p(weighted))
    return _compared(
        n=np.vstack([n_DE, n_DE.sum(0)]),
        mean=np.vstack([mean_DE, pooled[0]]),
        se=np.vstack([se_DE, pooled[1]]),
        df=np.vstack([df_DE, pooled[2]]),
        p=np.vstack(p),
        share=share,
        sd_diff=np.sqrt(np.vstack([variance_DE, pooled[3]])),
        is_finite=np.vstack([is_finite, is_finite.all(axis=0)]),
        power=power,
    )


def _moments(
    x_DSE: np.ndarray, n_DE: np.ndarray, size_DE: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and variance over seeds; NaN where there are too few, or one is not finite.

    `size`: of the largest score behind them, which says what is rounding.
    """
    sum_DE = np.nansum(x_DSE, axis=1)
    is_known = np.isfinite(x_DSE).sum(1) == n_DE
    mean_DE = np.where(is_known & (n_DE > 0), sum_DE / np.maximum(n_DE, 1), np.nan)
    away_DSE = without_rounding(x_DSE - mean_DE[:, None], size_DE[:, None])
    square_DE = np.nansum(away_DSE**2, axis=1)
    variance_DE = np.where(is_known & (n_DE > 1), square_DE / np.maximum(n_DE - 1, 1), np.nan)
    return mean_DE, variance_DE


def _over_datasets(
    mean_DE: np.ndarray, variance_DE: np.ndarray, n_DE: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return the mean, its SE, df and the mean variance of a pair, over datasets with pairs.

    A dataset of one or two pairs, whose variance is not or hardly known, takes that of all
    together; two pairs that lie farther apart keep their own.
    """
    has_D = n_DE > 0
    num_E = has_D.sum(0)
    df_DE = np.where(n_DE > 1, n_DE - 1.0, 0.0)
    square_DE = np.where(n_DE > 1, variance_DE * df_DE, 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        mean_E = np.where(has_D, mean_DE, 0.0).sum(0) / num_E
        common_E = square_DE.sum(0) / df_DE.sum(0)
        borrows_DE = has_D & (n_DE < intervals.MIN_DRAWS) & ~(variance_DE > common_E)
        # Each variance counts for its own mean, and by its df for those that borrow.
        own_DE = np.where(has_D & ~borrows_DE, 1 / n_DE, 0.0)
        borrowed_E = np.where(borrows_DE, 1 / n_DE, 0.0).sum(0)
        weight_DE = own_DE + df_DE / df_DE.sum(0) * borrowed_E
        part_DE = np.where(df_DE > 0, weight_DE * variance_DE, 0.0)
        se_E = np.sqrt(part_DE.sum(0)) / num_E
        spread_DE = np.where(df_DE > 0, part_DE**2 / df_DE, 0.0)
        welch_E = np.asarray(part_DE.sum(0) ** 2 / spread_DE.sum(0))
        # All differences alike: the SE is 0 whatever the df.
        welch_E = np.asarray(np.where(part_DE.sum(0) == 0, df_DE.sum(0), welch_E))
        used_DE = np.where(borrows_DE, common_E, variance_DE)
        pair_E = np.where(has_D, used_DE, 0.0).sum(0) / num_E
        # Two pairs far apart have a df near 1, and t(1) says nothing: never below MIN_DF.
        df_E = np.where(df_DE.sum(0) >= MIN_DF, np.maximum(welch_E, MIN_DF), np.nan)
        # A spread of 0 cannot be lent to a single pair that differs from the others.
        is_alike_E = np.isclose(np.where(has_D, mean_DE, mean_E), mean_E, rtol=1e-12).all(0)
        df_E = np.where((n_DE == 1).any(0) & (common_E == 0) & ~is_alike_E, np.nan, df_E)
    return mean_E, se_E, df_E, pair_E


def _shares(
    wins_DE: np.ndarray, ties_DE: np.ndarray, n_DE: np.ndarray, directions_E: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return P(A > B) and its interval, of each dataset and of all pairs together."""
    won = wins_DE + ties_DE / 2
    won, n = np.vstack([won, won.sum(0)]), np.vstack([n_DE, n_DE.sum(0)])
    low, high = intervals.share_interval(won, n)
    share = np.where(n > 0, won / np.maximum(n, 1), np.nan)
    share, low, high = (np.where(directions_E != 0, of, np.nan) for of in (share, low, high))
    return share, low, high


def compare_unpaired(
    a_SE: np.ndarray,
    b_SE: np.ndarray,
    directions_E: np.ndarray,
    *,
    power: float,
    seed: int,
    num_resamples: int,
) -> Compared:
    """Compare two samples that share nothing; one line.

    `seed`, `num_resamples`: of the permutations, where they are too many to count all.
    """
    n_2E = np.stack([(~np.isnan(a_SE)).sum(0), (~np.isnan(b_SE)).sum(0)])
    is_finite = np.isinf(np.concatenate([a_SE, b_SE])).sum(0) == 0
    moments = [
        _moments(x[None], n[None], np.where(np.isfinite(x), np.abs(x), 0.0).max(axis=0)[None])
        for x, n in zip((a_SE, b_SE), n_2E, strict=True)
    ]
    mean = moments[0][0] - moments[1][0]
    part_2E = np.vstack([variance for _, variance in moments]) / np.maximum(n_2E, 1)
    df_2E = np.maximum(n_2E - 1.0, 1.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        welch_E = np.asarray(part_2E.sum(0) ** 2 / (part_2E**2 / df_2E).sum(0))
        welch_E = np.asarray(np.where(part_2E.sum(0) == 0, df_2E.sum(0), welch_E))
    enough_E = n_2E.min(0) >= intervals.MIN_DRAWS
    p_E = np.full(len(directions_E), np.nan)
    for e in np.flatnonzero(is_finite & (n_2E > 0).all(axis=0)):
        a_S, b_S = (x[~np.isnan(x[:, e]), e][:, None] for x in (a_SE, b_SE))
        p_E[e] = two_sample_p(a_S, b_S, seed, num_resamples)[0]
    return _compared(
        n=n_2E.min(0)[None],
        mean=mean,
        se=np.sqrt(part_2E.sum(0))[None],
        df=np.where(enough_E, welch_E, np.nan)[None],
        p=p_E[None],
        share=_superiority(a_SE, b_SE, n_2E, directions_E),
        sd_diff=np.sqrt(np.vstack([v for _, v in moments]).sum(0))[None],
        is_finite=is_finite[None],
        power=power,
    )


def _superiority(
    a_SE: np.ndarray, b_SE: np.ndarray, n_2E: np.ndarray, directions_E: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the share of all pairs that a wins, and its interval."""
    a, b = a_SE[:, None] * directions_E, b_SE[None] * directions_E
    won_E = (a > b).sum((0, 1)) + (a == b).sum((0, 1)) / 2
    known_E = (n_2E > 0).all(axis=0) & (directions_E != 0)
    share_E = np.where(known_E, won_E / np.maximum(n_2E.prod(0), 1), np.nan)
    low, high = intervals.superiority_interval(share_E, n_2E[0], n_2E[1])
    return share_E[None], low[None], high[None]


def _compared(
    *,
    n: np.ndarray,
    mean: np.ndarray,
    se: np.ndarray,
    df: np.ndarray,
    p: np.ndarray,
    share: tuple[np.ndarray, np.ndarray, np.ndarray],
    sd_diff: np.ndarray,
    is_finite: np.ndarray,
    power: float,
) -> Compared:
    """Add interval, detectable difference and t test to a mean with its SE and df; NaN: too few."""
    lo, hi = intervals.around(mean, se, df)
    with np.errstate(divide="ignore", invalid="ignore"):
        p_t = np.where(
            se > 0, 2 * typed_scipy.t_sf(np.abs(mean) / se, df), np.where(mean == 0, 1.0, 0.0)
        )
    mde = smallest_detectable(se, df, power)
    enough = np.isfinite(df)
    return Compared(
        n_pairs=n,
        mean_diff=mean,
        lo=lo,
        hi=hi,
        p=np.where(enough, p, np.nan),
        prob_better=share[0],
        prob_lo=share[1],
        prob_hi=share[2],
        mde=mde,
        sd_diff=sd_diff,
        df=df,
        p_t=np.where(enough, p_t, np.nan),
        is_finite=is_finite,
    )
