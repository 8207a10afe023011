"""How far one sample moves with the draw against another: the ratio of two SDs.

    d = log(s_a / s_b),   s^2 = (squares about the means of the datasets) / nu,
                          nu = sum (n_d - 1) of the datasets with two draws or more

Paired (both met on the same draws): Pitman and Morgan 1939, pooled over datasets. For normal draws

    t = sinh(d) / sqrt(v0),  v0 = (1 - r^2) / (nu - 1),  r the correlation of a and b      t(nu - 1)

which is their test of the correlation of a + b and a - b, and d -+ asinh(t(nu - 1) sqrt(v0)) their
interval. It calls equal SDs of exponential or t3 draws unequal in up to 15 and 24 % of sweeps. So
v0 gives way to the variance of d that the draws themselves show, wherever that is larger:
v = max(v0, vj), vj by the jackknife (Miller 1968), from the N pseudo-values

    N d - (N - 1) d_(-i),   d_(-i) without draw i

Two samples that share nothing: v0 = 1 / (2 nu_a) + 1 / (2 nu_b), v the sum of each sample's
larger one, and d sqrt(v0 / v) takes the place of d in the F test of the variances:
    d - sqrt(v / v0) log(F_upper) / 2 .. d - sqrt(v / v0) log(F_lower) / 2,   F(nu_a, nu_b)

Shares in per cent at which equal SDs are called unequal, at 5 / 1 / 0.5 % (40,000 sweeps, half of
the variance shared; of 3, 5, 10, 20 seeds x 1, 5 datasets the worst one):

    draws         this test          Pitman and Morgan    jackknife, t(nu - 1)
    normal        4.2 / 0.8 / 0.4    5.2 / 1.1 / 0.6      5.6 / 1.5 / 0.9
    exponential   5.7 / 1.4 / 0.8    15 / 6.0 / 4.0       7.3 / 2.3 / 1.5
    t3            5.2 / 1.3 / 0.7    24 / 14 / 11         5.9 / 1.6 / 1.1
    spike         5.6 / 1.5 / 0.9    11 / 3.7 / 2.3       6.8 / 2.7 / 1.9

(spike: one draw in ten lies 5 SDs off.) If one of five datasets moves four times as far as the
others: 8 % at 5 %, as it holds nearly all that is known. With nothing shared, 14 / 6 / 4 % for
spikes at ten seeds and 10 / 4 / 2.5 for exponential draws: too few draws are hit to see that draws
can be. Power of one dataset with five seeds at 5 %, SD ratio 2 / 3 / 5 / 18: 14 / 33 / 65 / 99 %
(Pitman and Morgan 22 / 50 / 82 / 100, jackknife 13 / 26 / 45 / 82). Also tried and left: White's
errors (HC3, HC4; Wilcox 2015) in the regression of a - b on a + b, which keep the level no better
and find less on one dataset; signs and orders of draws at random, of which five seeds have too few
for a corrected p.

No test of more than two at once: the pairs say who moves more, and Holm's correction of all of them
is that of the claim. No draw's place in the order of seeds matters.

Shapes: D datasets, S draws, E metrics. NaN is a draw that is not there.
"""

from dataclasses import dataclass

import numpy as np

from calib_sweep.analysis.inference import typed_scipy
from calib_sweep.analysis.inference.intervals import MIN_DRAWS, TAIL
from calib_sweep.analysis.rounding import without_rounding

TOO_FEW, NOT_FINITE, EQUAL = "too few draws", "not finite", "equal on every draw"


@dataclass(frozen=True, eq=False)
class Ratio:
    """Two SDs compared, each [E]; NaN with a `reason`."""

    n: np.ndarray  # draws, pairs of them or those of the sample that has fewer
    sd_a: np.ndarray
    sd_b: np.ndarray
    estimate: np.ndarray  # log(sd_a / sd_b)
    lo: np.ndarray
    hi: np.ndarray
    p: np.ndarray
    reason: np.ndarray  # of str


@dataclass(frozen=True, eq=False)
class _Sample:
    """Draws about the means of their datasets."""

    away_DSE: np.ndarray  # 0 where there is no draw
    square_E: np.ndarray  # the sum of their squares
    num_E: np.ndarray  # draws in datasets of two or more
    df_E: np.ndarray
    pseudo_DSE: np.ndarray  # jackknife's, of log SD; NaN where there is no draw

    @classmethod
    def of(cls, value_DSE: np.ndarray) -> "_Sample":
        """Describe draws; NaN is a draw that is not there. Datasets of one draw say nothing."""
        is_there = np.isfinite(value_DSE)
        num_DE = is_there.sum(1)
        counts_DSE = is_there & (num_DE > 1)[:, None]
        size_DE = np.where(is_there, np.abs(value_DSE), 0.0).max(axis=1)
        mean_DE = np.where(is_there, value_DSE, 0.0).sum(1) / np.maximum(num_DE, 1)
        away_DSE = np.where(counts_DSE, value_DSE - mean_DE[:, None], 0.0)
        away_DSE = without_rounding(away_DSE, size_DE[:, None])
        square_E, num_E = (away_DSE**2).sum((0, 1)), counts_DSE.sum((0, 1))
        df_E = num_E - (num_DE > 1).sum(0)
        # Without one draw of n the squares about the new mean are less by n / (n - 1) of its own.
        times_DE = num_DE / np.maximum(num_DE - 1, 1)
        with np.errstate(divide="ignore", invalid="ignore"):
            left_DSE = square_E - away_DSE**2 * times_DE[:, None]
            left_DSE = without_rounding(left_DSE, square_E)
            pseudo_DSE = (num_E * np.log(square_E) - (num_E - 1) * np.log(left_DSE)) / 2
        return cls(away_DSE, square_E, num_E, df_E, np.where(counts_DSE, pseudo_DSE, np.nan))

    @property
    def sd_E(self) -> np.ndarray:
        return np.sqrt(self.square_E / np.where(self.df_E > 0, self.df_E, np.nan))


def paired_ratio(a_DSE: np.ndarray, b_DSE: np.ndarray) -> Ratio:
    """Compare the SDs of two that met on the same draws, all datasets together."""
    is_there = ~(np.isnan(a_DSE) | np.isnan(b_DSE))
    is_infinite_E = np.asarray((is_there & (np.isinf(a_DSE) | np.isinf(b_DSE))).any((0, 1)))
    is_pair = np.isfinite(a_DSE) & np.isfinite(b_DSE)
    a, b = (_Sample.of(np.where(is_pair, x, np.nan)) for x in (a_DSE, b_DSE))
    size_DSE = np.where(is_pair, np.maximum(np.abs(a_DSE), np.abs(b_DSE)), 0.0)
    apart_DSE = without_rounding(np.abs(a.away_DSE) - np.abs(b.away_DSE), size_DSE)
    with np.errstate(divide="ignore", invalid="ignore"):
        log_E = np.where((apart_DSE == 0).all((0, 1)), 0.0, np.log(a.sd_E / b.sd_E))
        r2_E = (a.away_DSE * b.away_DSE).sum((0, 1)) ** 2 / (a.square_E * b.square_E)
        df_E = np.where(a.df_E >= MIN_DRAWS - 1, a.df_E - 1.0, np.nan)
        variance_E = np.maximum(1 - r2_E, 0) / df_E
        variance_E = np.maximum(variance_E, _jackknife(a.pseudo_DSE - b.pseudo_DSE, a.num_E))
        t_E = np.where(log_E == 0, 0.0, np.sinh(np.abs(log_E)) / np.sqrt(variance_E))
        half_E = np.arcsinh(typed_scipy.t_isf(TAIL, df_E) * np.sqrt(variance_E))
    p_E = 2 * typed_scipy.t_sf(t_E, df_E)
    return _told(a, b, log_E, (log_E - half_E, log_E + half_E), p_E, is_infinite_E)


def unpaired_ratio(a_DSE: np.ndarray, b_DSE: np.ndarray) -> Ratio:
    """Compare the SDs of two samples that share no draw, each over its own datasets."""
    is_infinite_E = np.asarray(np.isinf(a_DSE).any((0, 1)) | np.isinf(b_DSE).any((0, 1)))
    a, b = _Sample.of(a_DSE), _Sample.of(b_DSE)
    with np.errstate(divide="ignore", invalid="ignore"):
        log_E = np.log(a.sd_E / b.sd_E)
        df_2E = [np.where(x.df_E >= MIN_DRAWS - 1, x.df_E, np.nan) for x in (a, b)]
        normal_2E = [1 / (2 * df_E) for df_E in df_2E]
        own_2E = [
            np.maximum(variance_E, _jackknife(x.pseudo_DSE, x.num_E))
            for x, variance_E in zip((a, b), normal_2E, strict=True)
        ]
        stretch_E = np.sqrt(sum(own_2E) / sum(normal_2E))
        tail_E = [
            typed_scipy.f_sf(np.exp(sign * 2 * log_E / stretch_E), *df)
            for sign, df in ((1, df_2E), (-1, df_2E[::-1]))
        ]
        above, below = (
            stretch_E * np.log(typed_scipy.f_isf(TAIL, *df)) / 2 for df in (df_2E, df_2E[::-1])
        )
        ends = (log_E - above, log_E + below)  # of one that never moves there are none
    p_E = np.minimum(1.0, 2 * np.minimum(*tail_E))
    return _told(a, b, log_E, ends, p_E, is_infinite_E)


def _jackknife(pseudo_DSE: np.ndarray, num_E: np.ndarray) -> np.ndarray:
    """Return the variance of the mean of pseudo-values; infinite where one of them is."""
    is_there = ~np.isnan(pseudo_DSE)
    mean_E = np.where(is_there, pseudo_DSE, 0.0).sum((0, 1)) / np.maximum(num_E, 1)
    square_E = np.where(is_there, (pseudo_DSE - mean_E) ** 2, 0.0).sum((0, 1))
    variance_E = square_E / np.maximum(num_E * (num_E - 1.0), 1)
    return np.where(np.isfinite(variance_E), variance_E, np.inf)


def _told(
    a: _Sample,
    b: _Sample,
    log_E: np.ndarray,
    ends: tuple[np.ndarray, np.ndarray],
    p_E: np.ndarray,
    is_infinite_E: np.ndarray,
) -> Ratio:
    """Say why there is no test, and leave its numbers out."""
    is_known_E = np.isfinite(p_E) & np.isfinite(ends[0]) & np.isfinite(ends[1])
    reason_E = np.select(
        [is_infinite_E, (a.df_E < MIN_DRAWS - 1) | (b.df_E < MIN_DRAWS - 1)],
        [NOT_FINITE, TOO_FEW],
        np.where((a.square_E == 0) | (b.square_E == 0), EQUAL, np.where(is_known_E, "", TOO_FEW)),
    )
    is_told_E = reason_E == ""
    estimate_E, lo_E, hi_E, p_E = (np.where(is_told_E, x, np.nan) for x in (log_E, *ends, p_E))
    sd_a_E, sd_b_E = (np.where(is_infinite_E, np.nan, x.sd_E) for x in (a, b))
    n_E = np.minimum(a.num_E, b.num_E)
    return Ratio(n_E, sd_a_E, sd_b_E, estimate_E, lo_E, hi_E, p_E, reason_E)
