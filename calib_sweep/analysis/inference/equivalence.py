"""Is a difference, or a spread, surely smaller than a margin that one has chosen before?

That a difference is not shown does not make two methods equal. Equality within a margin is a claim
of its own, with an error rate of its own: 5 % where the truth lies at the margin.

    |difference| < margin    two one-sided t tests (Schuirmann 1987):
                                 p = P(T(df) > (margin - |xbar|) / se),  the larger of the two
                             the 90 % interval xbar -+ t(.95; df) se lies inside exactly if p < .05
    SD < margin              p = P(chi2(df) < df s^2 / margin^2), for normal draws
                             interval s sqrt(df / chi2(.95; df)) .. s sqrt(df / chi2(.05; df)),
                             whose upper end lies below the margin exactly if p < .05

Of a method on D datasets, s^2 is the mean of the s_d^2, with df after Satterthwaite (1946):
(sum s_d^2)^2 / sum(s_d^4 / (n_d - 1)). Each dataset counts equally, whatever its spread. Draws with
heavy tails count fewer df (`heavy_tails`), which is a help and no cure: an SD that is the margin is
called small in 4 to 5 % of normal samples of one dataset, 2 to 4 of five datasets; of exponential
ones in 12, 13, 17 and 15 % with 3, 5, 10 and 20 draws of one dataset, and in 6 to 9 % of five
(without: 12, 16, 22, 22, and 7 to 19).

All functions take numbers or arrays that broadcast to one shape. NaN: there is nothing to say.
Without any spread there is no test: other draws may differ.

Shapes: D datasets, S draws of each, E metrics.
"""

from dataclasses import dataclass

import numpy as np

from calib_sweep.analysis.inference import typed_scipy
from calib_sweep.analysis.inference.heavy_tails import inflation
from calib_sweep.analysis.inference.intervals import LEVEL, MIN_DRAWS
from calib_sweep.analysis.inference.typed_scipy import Numbers
from calib_sweep.analysis.rounding import variance

ONE_SIDED = 1 - LEVEL  # of each end; both ends together leave 90 %


@dataclass(frozen=True, eq=False)
class Equivalence:
    """A difference or an SD, its 90 % interval, and p that it is not within the margin."""

    estimate: np.ndarray
    lo: np.ndarray
    hi: np.ndarray
    p: np.ndarray


def difference_within(mean: Numbers, se: Numbers, df: Numbers, margin: Numbers) -> Equivalence:
    """Test that a difference lies within -margin..margin, all in the unit of `mean`."""
    mean, se, df = (np.asarray(of, dtype=float) for of in (mean, se, df))
    se = np.where(se > 0, se, np.nan)
    half = typed_scipy.t_isf(ONE_SIDED, df) * se
    p = typed_scipy.t_sf((margin - np.abs(mean)) / se, df)
    return Equivalence(mean + 0 * half, mean - half, mean + half, p)


def spread_below(sd: Numbers, df: Numbers, margin: Numbers) -> Equivalence:
    """Test that the SD which infinitely many normal draws would have lies below `margin`."""
    sd, df = (np.asarray(of, dtype=float) for of in (sd, df))
    df = np.where((sd > 0) & (df >= 1), df, np.nan)
    with np.errstate(divide="ignore"):
        p = 1 - typed_scipy.chi2_sf(df * (sd / margin) ** 2, df)
    return Equivalence(
        sd + 0 * df,
        sd * np.sqrt(df / typed_scipy.chi2_isf(ONE_SIDED, df)),
        sd * np.sqrt(df / typed_scipy.chi2_ppf(ONE_SIDED, df)),
        p,
    )


def tail_inflation(value_DSE: np.ndarray) -> np.ndarray:
    """Return by how much less an SD is known than that of normal draws [E]; 1: not less."""
    found_E = np.ones(value_DSE.shape[-1])
    for e in range(len(found_E)):
        value_DS = value_DSE[..., e]
        is_there_DS = np.isfinite(value_DS)
        mean_D = np.where(is_there_DS, value_DS, 0.0).sum(1) / np.maximum(is_there_DS.sum(1), 1)
        away_DS = value_DS - mean_D[:, None]
        dataset_N = np.nonzero(is_there_DS)[0]
        if len(dataset_N) and np.any(away_DS[is_there_DS] != 0):
            found_E[e] = inflation(away_DS[is_there_DS][:, None] ** 2, dataset_N)[0]
    return found_E


def spread_of_draws(value_DSE: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the SD of a draw over all datasets and its df [E]; df NaN where there are too few.

    NaN is a score that is not there. An infinite one leaves no SD.
    """
    num_E = value_DSE.shape[-1]
    sum_E, spread_E, df_E, count_E = (np.zeros(num_E) for _ in range(4))
    for value_SE in value_DSE:
        for e in range(num_E):
            value_S = value_SE[~np.isnan(value_SE[:, e]), e]
            if len(value_S) < 2:
                continue
            own = float(variance(value_S))
            sum_E[e] += own
            spread_E[e] += own**2 / (len(value_S) - 1)
            df_E[e] += len(value_S) - 1
            count_E[e] += 1
    with np.errstate(divide="ignore", invalid="ignore"):
        sd_E = np.sqrt(sum_E / count_E)
        satterthwaite_E = np.where(sum_E > 0, sum_E**2 / spread_E, df_E)
    return sd_E, np.where(df_E >= MIN_DRAWS - 1, satterthwaite_E, np.nan)
