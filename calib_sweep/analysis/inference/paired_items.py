"""A difference of two models on the same items, for other calibration draws and other items.

x[c, i] = compressed - dense on item i in cell c, a draw of one of D datasets. All cells and the
dense model answer the same N items, so draws and items are crossed:

    x[c, i] = mu_d + item_i + draw_c + (draw x item)_ci
    Var(mean) = sigma_draw^2 / n + sigma_item^2 / N + sigma_(draw x item)^2 / (n N)    per dataset

The mean counts datasets equally: w_c = 1 / (D n_d). Three parts can be seen:

    draws   sum_d s_d^2 / n_d / D^2, s_d^2 the variance over draws of the mean over items: holds the
            first and the third term
    items   the variance of the mean over items of xbar_i = sum_c w_c x[c, i]: the second and third
    both    the same from the residuals x[c, i] - xbar_c - xbar_di + xbar_d: the third term alone

so Var(mean) = draws + items - both is unbiased (Cameron, Gelbach and Miller 2011, two-way
clustering); draws - both is taken as 0 where it comes out below. df after Satterthwaite (1946).

Items of a group (one passage, one subject) are answered alike: all sums over items are of group
sums, see `item_groups`, and the df of items are G - 1.

    One cell, items right or wrong: McNemar's exact test. Of the items that one model has right and
    the other wrong, either is right on Binomial(number, 1/2) of them.

Shapes: C cells, I items (N), D datasets, T tasks. Variances are of the mean, in the unit of x^2.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from calib_sweep.analysis.inference import intervals, typed_scipy
from calib_sweep.analysis.inference.item_groups import group_sums, numbered, scale

Tested = tuple[float, float, float]  # ends of the 95 % interval, p


@dataclass(frozen=True)
class Part:
    """A variance of a mean, and the df on which it is known."""

    variance: float
    df: float


NO_PART = Part(0.0, np.inf)


def item_parts(
    x_CI: np.ndarray, dataset_C: Sequence[object], group_I: np.ndarray | None = None
) -> tuple[Part, Part]:
    """Return the parts `items` and `both` of the mean over cells of equally weighted datasets.

    `both` is 0 where no dataset has two draws, or there is one item. `group_I`: equal for items
    that belong together; None: each on its own. Needs two items, of two groups.
    """
    x_CI = np.asarray(x_CI, dtype=float)
    number_I = numbered(group_I, x_CI.shape[1])
    num_groups = len(set(number_I.tolist()))
    times = scale(x_CI.shape[1], num_groups)
    members = [np.flatnonzero([d == own for d in dataset_C]) for own in dict.fromkeys(dataset_C)]
    mean_DI = np.stack([x_CI[own].mean(0) for own in members])
    mean_I = mean_DI.mean(0)
    squares = np.sum(group_sums((mean_I - mean_I.mean())[None], number_I) ** 2)
    residual_D = np.zeros(len(members))
    for d, own in enumerate(members):
        away_CI = x_CI[own] - x_CI[own].mean(1, keepdims=True) - mean_DI[d] + mean_DI[d].mean()
        residual_D[d] = times * np.sum(group_sums(away_CI, number_I) ** 2)
    n_D = np.array([len(own) for own in members], dtype=float)
    items = Part(float(times * squares), num_groups - 1.0)
    return items, _mean_of_datasets(residual_D, n_D, num_groups - 1.0)


def _mean_of_datasets(square_D: np.ndarray, n_D: np.ndarray, df_items: float) -> Part:
    """Return the part of the mean over datasets from sums of squares over n_d cells on n_d - 1.

    Datasets of fewer than MIN_DRAWS draws take the variance of all together.
    """
    df_D = n_D - 1
    if df_D.sum() == 0:
        return NO_PART
    common = square_D.sum() / df_D.sum()
    own_D = n_D >= intervals.MIN_DRAWS
    weight_D = np.where(own_D, 1 / n_D, 0.0)
    borrowed = np.where(own_D, 0.0, 1 / n_D).sum()
    each_D = np.where(own_D, square_D / np.maximum(df_D, 1), 0.0) * weight_D
    variance = float(each_D.sum() + borrowed * common) / len(n_D) ** 2
    return Part(variance, float(df_D.sum()) * df_items)


def mean_of_tasks(parts: Sequence[Part]) -> Part:
    """Return the part of the unweighted mean over T tasks, which share no items."""
    return _sum([Part(own.variance / len(parts) ** 2, own.df) for own in parts])


def together(draws: Part, items: Part, both: Part) -> Part:
    """Return the variance of the mean for other draws and other items: draws + items - both."""
    if draws.variance <= both.variance:
        return items
    total = draws.variance + items.variance - both.variance
    return Part(total, _satterthwaite(total, [draws, items, both]))


def _sum(parts: Sequence[Part]) -> Part:
    total = float(sum(own.variance for own in parts))
    return Part(total, _satterthwaite(total, parts))


def _satterthwaite(total: float, parts: Sequence[Part]) -> float:
    """Return the df of a sum of variances; where all are 0, that of the best known."""
    spread = sum(own.variance**2 / own.df for own in parts if own.variance > 0)
    return total**2 / spread if spread > 0 else max(own.df for own in parts)


def t_test(estimate: float, part: Part, num: int) -> Tested:
    """Return the ends of the 95 % interval and the p of the t test that belongs to it.

    `num`: of draws, datasets or items. Where none of them varied, t has no spread to go by, and p
    is that of so many signs: 2^(1 - num).
    """
    se = np.sqrt(part.variance)
    low, high = intervals.around(estimate, se, part.df)
    if se == 0:
        return float(low), float(high), 1.0 if estimate == 0 else 2.0 ** (1 - min(num, 1000))
    return float(low), float(high), float(2 * typed_scipy.t_sf(abs(estimate) / se, part.df))


def mcnemar_p(x_I: np.ndarray) -> float:
    """Return the exact two-sided p of McNemar's test; x: -1, 0 or +1, items of equal weight."""
    won, lost = int(np.sum(x_I > 0)), int(np.sum(x_I < 0))
    if won + lost == 0:
        return 1.0
    return float(min(1.0, 2 * typed_scipy.binomial_sf(max(won, lost) - 1, won + lost, 0.5)))
