"""Mean squares of a sweep's designs, and what they say of variance components.

One method, D datasets with n_d draws each, x the mean over the r replicates of a draw:
    replicate   sum (y - x)^2 / (number of repeats)           E = v_rep
    draw        sum (x - xbar_d)^2 / (N - D)                  E = v_draw + h_r v_rep
    dataset     sum (xbar_d - mean of xbar_d)^2 / (D - 1)     E = v_data + h_n (v_draw + h_r v_rep)

M methods on the same draws (h_n = 1/n when all datasets have n draws):
    method:draw     of x_mds - xbar_md - xbar_ds + xbar_d     E = v_ms
    draw            M times, of xbar_ds - xbar_d              E = M v_s + v_ms
    method:dataset  of xbar_md - xbar_m - xbar_d + xbar       E = v_md + h_n v_ms
    dataset         M times, of xbar_d - xbar                 E = M v_d + v_md + h_n (M v_s + v_ms)
    method          D times, of xbar_m - xbar                 E = D v_m + v_md + h_n v_ms
With one dataset v_d and v_md drop out (method then holds what is particular to this dataset).
Methods may move differently far: v_ms is the mean over methods of the variance of each one's own
part of a draw, v_draw of one method the mean over its datasets.

h_n is the mean of 1/n_d, h_r of 1/r. Datasets count equally whatever their n_d (unweighted means,
Thomas and Hultquist 1978): exact where counts are equal, an approximation elsewhere.

Estimates solve E[MS] = MS (analysis of variance). Intervals are generalized ones (Weerahandi 1993):
SS / chi2(df) stands for each E[MS], the same equations are solved for simulated chi2, negative
results count as zero, and the interval runs between the tail quantiles. Where draws have heavy
tails or do not all spread alike, (df / chi2)^sqrt(inflation) takes the place of df / chi2 in the
lines `draw` and `method:draw` (`heavy_tails`).

Shapes: E metrics, L lines (mean squares and components, in the same order), B simulations.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from calib_sweep.analysis.inference import typed_scipy
from calib_sweep.analysis.inference.heavy_tails import inflation, unlike
from calib_sweep.analysis.inference.intervals import TAIL, Interval
from calib_sweep.analysis.rounding import without_rounding
from calib_sweep.seeding import stream

MIN_DF = 2  # of a mean square whose component has an interval


@dataclass(frozen=True, eq=False)
class Anova:
    """The analysis of variance of one design, many metrics at once.

    `weight_LL` @ components = expected mean squares.
    """

    names: tuple[str, ...]  # L, of the components
    weight_LL: np.ndarray
    df_L: np.ndarray
    square_LE: np.ndarray
    inflation_LE: np.ndarray  # of the variances of mean squares; 1 or more

    def estimate(self) -> np.ndarray:
        """Return the components by analysis of variance [L, E]; some may be negative."""
        return np.linalg.solve(self.weight_LL, np.where(self.df_L[:, None] > 0, self.square_LE, 0))

    def interval(self, seed: int, num_resamples: int) -> Interval:
        """Return the 95 % interval of each component [L, E]; NaN where it has too few df.

        Generalized intervals from `num_resamples` simulated chi-squared numbers each, of `seed`.
        """
        with np.errstate(divide="ignore", invalid="ignore"):
            log_LB = np.log(self.df_L[:, None]) - np.log(
                [
                    chi2_draws(name, df, seed, num_resamples)
                    for name, df in zip(self.names, self.df_L, strict=True)
                ]
            )
        stretch_LE = np.sqrt(self.inflation_LE)
        inverse_LL = np.linalg.inv(self.weight_LL)
        low, high = np.empty_like(self.square_LE), np.empty_like(self.square_LE)
        for e in range(self.square_LE.shape[1]):
            pivot_LB = np.exp(stretch_LE[:, [e]] * log_LB)
            square_L = np.where(self.df_L > 0, self.square_LE[:, e], 0.0)
            # einsum, as threads of BLAS cost more than they save, and may sum in another order.
            simulated_LB = np.einsum("kl,lb->kb", inverse_LL * square_L, pivot_LB)
            low[:, e], high[:, e] = np.quantile(
                np.maximum(simulated_LB, 0), [TAIL, 1 - TAIL], axis=1
            )
        is_known_L = (self.df_L >= MIN_DF)[:, None]
        return np.where(is_known_L, low, np.nan), np.where(is_known_L, high, np.nan)


@lru_cache(maxsize=256)
def chi2_draws(name: str, df: float, seed: int, num_resamples: int) -> np.ndarray:
    """Simulate chi2(df) [B], one in each of B slices of equal probability, in random order.

    The same uniform numbers for a name, whatever the df.
    """
    if df <= 0:
        return np.ones(num_resamples)
    draw = stream("analysis/components", seed, name)
    uniform_B = (draw.permutation(num_resamples) + draw.random(num_resamples)) / num_resamples
    return typed_scipy.chi2_isf_fast(uniform_B, df)


def nested_anova(value_DSRE: np.ndarray) -> Anova:
    """Analyse one method: replicate in draw in dataset. NaN: no score, the same for all metrics."""
    scored_DSR = is_whole(value_DSRE, axis=3)
    value_DSRE = np.where(scored_DSR[..., None], value_DSRE, np.nan)
    repeats_DS: np.ndarray = scored_DSR.sum(2)
    mean_DSE = _mean(value_DSRE, 2)
    count_D: np.ndarray = (repeats_DS > 0).sum(1)
    mean_DE, count_D = _mean(mean_DSE, 1)[count_D > 0], count_D[count_D > 0]
    h_rep = float(np.mean(1 / repeats_DS[repeats_DS > 0]))
    h_draw = float(np.mean(1 / count_D))
    names = ("replicate", "draw", "dataset")
    df_L = np.array(
        [
            (repeats_DS - 1)[repeats_DS > 0].sum(),
            count_D.sum() - len(count_D),
            len(count_D) - 1,
        ]
    )
    within_DSE = mean_DSE - _mean(mean_DSE, 1)[:, None]
    sums_LE = [
        np.nansum((value_DSRE - mean_DSE[:, :, None]) ** 2, axis=(0, 1, 2)),
        np.nansum(within_DSE**2, axis=(0, 1)),
        np.sum((mean_DE - mean_DE.mean(0)) ** 2, axis=0),
    ]
    weight_LL = np.array([[1, 0, 0], [h_rep, 1, 0], [h_draw * h_rep, h_draw, 1]])
    square_LE = _per_df(sums_LE, df_L, value_DSRE)
    inflation_LE = np.ones_like(square_LE)
    inflation_LE[1] = _inflation(within_DSE**2, square_LE[1], 1)
    return Anova(names, weight_LL, df_L, square_LE, inflation_LE)


def crossed_anova(value_MDSE: np.ndarray) -> Anova:
    """Analyse several methods that met on the same draws: method x (draw in dataset).

    A draw counts where every method has all its metrics; all others must be NaN throughout.
    """
    kept_DS = is_whole(value_MDSE, axis=(0, 3))
    num_M = value_MDSE.shape[0]
    count_D: np.ndarray = kept_DS.sum(1)
    value = np.where(kept_DS[..., None], value_MDSE, np.nan)[:, count_D > 0]
    count_D = count_D[count_D > 0]
    num_D, num_draws = len(count_D), int(count_D.sum())
    cell_MDE = _mean(value, 2)
    draw_DSE = value.mean(0)
    data_DE, method_ME = cell_MDE.mean(0), cell_MDE.mean(1)
    mean_E = data_DE.mean(0)
    both = value - cell_MDE[:, :, None] - draw_DSE + data_DE[:, None]
    sums = {
        "method:draw": np.nansum(both**2, axis=(0, 1, 2)),
        "draw": num_M * np.nansum((draw_DSE - data_DE[:, None]) ** 2, axis=(0, 1)),
        "method:dataset": np.sum(
            (cell_MDE - method_ME[:, None] - data_DE + mean_E) ** 2, axis=(0, 1)
        ),
        "dataset": num_M * np.sum((data_DE - mean_E) ** 2, axis=0),
        "method": num_D * np.sum((method_ME - mean_E) ** 2, axis=0),
    }
    within = num_draws - num_D
    df = [(num_M - 1) * within, within, (num_M - 1) * (num_D - 1), num_D - 1, num_M - 1]
    h = float(np.mean(1 / count_D))
    weight_LL = np.array(
        [
            [1, 0, 0, 0, 0],
            [1, num_M, 0, 0, 0],
            [h, 0, 1, 0, 0],
            [h, h * num_M, 1, num_M, 0],
            [h, 0, 1, 0, num_D],
        ]
    )
    kept = [0, 1, 4] if num_D == 1 else [0, 1, 2, 3, 4]  # one dataset: none between datasets
    names = tuple(list(sums)[line] for line in kept)
    df_L = np.array(df)[kept]
    square_LE = _per_df([sums[name] for name in names], df_L, value)
    inflation_LE = np.ones_like(square_LE)
    inflation_LE[0] = np.maximum(
        _inflation(np.sum(both**2, axis=0), square_LE[0], num_M - 1), unlike(both, within)
    )
    inflation_LE[1] = _inflation((draw_DSE - data_DE[:, None]) ** 2, square_LE[1], 1)
    return Anova(names, weight_LL[np.ix_(kept, kept)], df_L, square_LE, inflation_LE)


def _mean(value: np.ndarray, axis: int) -> np.ndarray:
    """Average what is there; NaN where nothing is."""
    count = np.isfinite(value).sum(axis)
    with np.errstate(invalid="ignore"):
        return np.nansum(value, axis) / np.where(count > 0, count, np.nan)


def _inflation(part_DSE: np.ndarray, square_E: np.ndarray, num_values: int) -> np.ndarray:
    """Return that of the draws that are there; 1 where a mean square is rounding."""
    where = np.argwhere(np.isfinite(part_DSE[..., 0]))
    found_E = inflation(part_DSE[tuple(where.T)], where[:, 0], num_values)
    return np.where(square_E > 0, found_E, 1.0)


def _per_df(sums_LE: list[np.ndarray], df_L: np.ndarray, value: np.ndarray) -> np.ndarray:
    """Return the mean squares; those of the rounding of `value` [..., E] are 0."""
    size_E = np.nanmax(np.abs(value), axis=tuple(range(value.ndim - 1)))
    square_LE = np.stack(sums_LE) / np.where(df_L > 0, df_L, np.nan)[:, None]
    return np.where(without_rounding(np.sqrt(square_LE), size_E) == 0, 0.0, square_LE)


def is_whole(value: np.ndarray, axis: int | tuple[int, ...]) -> np.ndarray:
    """Tell whether all values along `axis` are there and finite."""
    return np.asarray(np.isfinite(value).all(axis=axis))
