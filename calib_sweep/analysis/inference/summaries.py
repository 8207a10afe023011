"""Two studies of which only mean, SD and n are known: do they differ, or agree within a margin?

    difference      d = a - b,  se^2 = s_a^2 / n_a + s_b^2 / n_b,  df after Welch (1947):
                    df = se^4 / (s_a^4 / (n_a^2 (n_a - 1)) + s_b^4 / (n_b^2 (n_b - 1)))
                    interval d -+ t(.975; df) se,   p = 2 P(T(df) > |d| / se)
    agreement       two one-sided t tests against the margin (`equivalence`)
    ratio of SDs    r = s_a / s_b, for normal draws
                    r / sqrt(F(.975; n_a-1, n_b-1)) .. r sqrt(F(.975; n_b-1, n_a-1))

Printed numbers are rounded. A mean of b printed as 61.3 lies within h = 0.05 of it, an SD too. The
interval is h wider on either side, p is that of |d| - h, agreement is of |d| + h, and s_b is taken
as s_b + h of its own: so rounding makes no difference and no agreement. The interval of the ratio
spans s_b - h .. s_b + h.

All functions take numbers or arrays that broadcast to one shape. NaN: there is nothing to say. With
fewer than MIN_DRAWS draws on either side, or no spread at all, the difference stands alone.
"""

from dataclasses import dataclass

import numpy as np

from calib_sweep.analysis.inference import typed_scipy
from calib_sweep.analysis.inference.equivalence import difference_within
from calib_sweep.analysis.inference.intervals import MIN_DRAWS, TAIL
from calib_sweep.analysis.inference.typed_scipy import Numbers


@dataclass(frozen=True, eq=False)
class Summary:
    """A study: the mean of n draws, their sample SD (ddof = 1), and how both are rounded."""

    mean: Numbers
    sd: Numbers
    n: Numbers
    half_mean: Numbers = 0.0  # half a unit of the last digit that is printed
    half_sd: Numbers = 0.0


@dataclass(frozen=True, eq=False)
class Compared:
    """What the comparison of two studies says, each an array."""

    difference: np.ndarray
    lo: np.ndarray
    hi: np.ndarray
    p: np.ndarray  # that there is no difference
    p_equal: np.ndarray  # that it is not within the margin
    sd_ratio: np.ndarray
    sd_ratio_lo: np.ndarray
    sd_ratio_hi: np.ndarray


def compare_summaries(a: Summary, b: Summary, margin: Numbers) -> Compared:
    """Compare study a with the printed study b; `margin` in the unit of the means."""
    n_a, n_b = (np.asarray(of.n, dtype=float) for of in (a, b))
    s_a = np.asarray(a.sd, dtype=float) + np.asarray(a.half_sd)
    s_b = np.asarray(b.sd, dtype=float) + np.asarray(b.half_sd)
    half = np.asarray(a.half_mean) + np.asarray(b.half_mean)
    enough = (n_a >= MIN_DRAWS) & (n_b >= MIN_DRAWS)
    n_a, n_b = np.where(enough, n_a, np.nan), np.where(enough, n_b, np.nan)
    with np.errstate(divide="ignore", invalid="ignore"):
        part_a, part_b = s_a**2 / n_a, s_b**2 / n_b
        se = np.where(part_a + part_b > 0, np.sqrt(part_a + part_b), np.nan)
        df = se**4 / (part_a**2 / (n_a - 1) + part_b**2 / (n_b - 1))
        difference = np.asarray(a.mean, dtype=float) - np.asarray(b.mean, dtype=float)
        away, wide = np.abs(difference), typed_scipy.t_isf(TAIL, df) * se + half
        p = 2 * typed_scipy.t_sf(np.maximum(away - half, 0.0) / se, df)
        p_equal = difference_within(away + half, se, df, margin).p
        ratio, low, high = _ratio(a, b, n_a, n_b)
    return Compared(difference, difference - wide, difference + wide, p, p_equal, ratio, low, high)


def _ratio(
    a: Summary, b: Summary, n_a: np.ndarray, n_b: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the ratio of SDs with its interval; NaN where either is 0."""
    s_a, s_b = (np.asarray(of.sd, dtype=float) for of in (a, b))
    half_a, half_b = (np.asarray(of.half_sd, dtype=float) for of in (a, b))
    known = (s_a > 0) & (s_b > 0)
    ratio = np.where(known, s_a / s_b, np.nan)
    least = np.where(known, np.maximum(s_a - half_a, 0.0) / (s_b + half_b), np.nan)
    most = np.where(known, (s_a + half_a) / np.maximum(s_b - half_b, 0.0), np.nan)
    low = least / np.sqrt(typed_scipy.f_isf(TAIL, n_a - 1, n_b - 1))
    return ratio, low, most * np.sqrt(typed_scipy.f_isf(TAIL, n_b - 1, n_a - 1))
