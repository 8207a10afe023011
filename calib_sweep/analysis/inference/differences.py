"""The mean of differences with its standard error and degrees of freedom, per dataset and over all.

    one dataset     xbar -+ t(n-1) s / sqrt(n)
    these datasets  mean of the xbar_d -+ t(df) se,  se^2 = sum_d (s_d^2 / n_d) / D^2,  df after
                    Satterthwaite 1946: of these and new draws from them; each counts equally. A
                    dataset of fewer than three takes s^2 = sum_d (n_d - 1) s_d^2 / sum_d (n_d - 1);
                    two that lie farther apart keep their own, and df is 2 or more
    a new dataset   mean of the xbar_d -+ t(D-1) SD(xbar_d) / sqrt(D): of datasets like these, taken
                    as a sample. It knows nothing of draws within a dataset, so one draw on each is
                    enough. Three datasets or more

Shapes: D datasets, S draws, E metrics, K independent parts. NaN: it is not there.
"""

import numpy as np

from calib_sweep.analysis.inference import intervals, typed_scipy
from calib_sweep.analysis.rounding import without_rounding

MIN_DF = intervals.MIN_DRAWS - 1
Estimate = tuple[np.ndarray, np.ndarray, np.ndarray]  # mean, its SE, df


def moments(
    x_DSE: np.ndarray, n_DE: np.ndarray, size_DE: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and variance over seeds; NaN where there are too few.

    `size`: of the largest score behind them, which says what is rounding.
    """
    mean_DE = np.where(n_DE > 0, np.nansum(x_DSE, axis=1) / np.maximum(n_DE, 1), np.nan)
    away_DSE = without_rounding(x_DSE - mean_DE[:, None], size_DE[:, None])
    square_DE = np.nansum(away_DSE**2, axis=1)
    return mean_DE, np.where(n_DE > 1, square_DE / np.maximum(n_DE - 1, 1), np.nan)


def satterthwaite(part_KE: np.ndarray, df_KE: np.ndarray) -> np.ndarray:
    """Return the df of a sum of independent variances with df of their own.

    All scores alike: the SE is 0 whatever the df.
    """
    total_E = part_KE.sum(0)
    with np.errstate(divide="ignore", invalid="ignore"):
        spread_E = np.where(df_KE > 0, part_KE**2 / df_KE, 0.0).sum(0)
        df_E = np.asarray(total_E**2 / spread_E)
    return np.where(total_E == 0, df_KE.sum(0), df_E)


def over_datasets(
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
        welch_E = satterthwaite(part_DE, df_DE)
        used_DE = np.where(borrows_DE, common_E, variance_DE)
        pair_E = np.where(has_D, used_DE, 0.0).sum(0) / num_E
        # Two pairs far apart have a df near 1, and t(1) says nothing: never below MIN_DF.
        df_E = np.where(df_DE.sum(0) >= MIN_DF, np.maximum(welch_E, MIN_DF), np.nan)
        # A spread of 0 cannot be lent to a single pair that differs from the others.
        is_alike_E = np.isclose(np.where(has_D, mean_DE, mean_E), mean_E, rtol=1e-12).all(0)
        df_E = np.where((n_DE == 1).any(0) & (common_E == 0) & ~is_alike_E, np.nan, df_E)
    return mean_E, se_E, df_E, pair_E


def for_new_dataset(mean_DE: np.ndarray) -> Estimate:
    """Return mean, SE and df [E] over datasets taken as a sample; NaN: one has no mean.

    `mean_DE`: of the differences on each dataset; all count equally. Fewer than three have no df.
    """
    n_E = np.isfinite(mean_DE).sum(0)
    size_E = np.abs(np.where(np.isnan(mean_DE), 0.0, mean_DE)).max(axis=0)
    mean_1E, variance_1E = moments(mean_DE[None], n_E[None], size_E[None])
    df_E = np.where(n_E > MIN_DF, n_E - 1.0, np.nan)
    return mean_1E[0], np.sqrt(variance_1E[0] / np.maximum(n_E, 1)), df_E


def t_test(estimate: Estimate, without_spread: np.ndarray) -> np.ndarray:
    """Return the two-sided p of t; `without_spread` where the difference never varied, and is one.

    NaN without df.
    """
    mean, se, df = estimate
    with np.errstate(divide="ignore", invalid="ignore"):
        p = 2 * typed_scipy.t_sf(np.abs(mean) / se, df)
    p = np.where(se > 0, p, np.where(mean == 0, 1.0, without_spread))
    return np.where(np.isfinite(df), p, np.nan)
