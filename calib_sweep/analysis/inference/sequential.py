"""Differences looked at after every round of seeds, until each is known: shown, or narrow.

x_1, x_2, ... are paired differences, one for each seed (over several datasets: their mean), with
mean xbar, SD s and t = xbar sqrt(n) / s. Looks begin at n = m.

Shown    for normal x, at level a in all looks together, however many there are (Lai 1976, Annals
         of Statistics 4:265; Wang and Ramdas 2024, arXiv:2310.03722):

             t^2 > (n - 1) ((n / m (1 + c^2 / (m - 1))^m)^(1/n) - 1),
             a = 2 (P(T > c) + c f(c))        T is Student's t with m - 1, f its density

         Behind it: n^(-1/2) (1 + t^2 / (n - 1))^(n/2), a likelihood ratio mixed over all effects,
         is a martingale where the mean is 0; by Ville's inequality it rarely grows. The p of a look
         is the a at which it just shows; Holm corrects it over contrasts. The interval is xbar -+
         that t times s / sqrt(n). Both hold at the look where one stops, for whatever reason, and
         after more looks than were planned.
         Of skewed x small samples are mostly on one side, with a small s. So t is weakened: to the
         smaller of t and Hall's t + g (1 + 2 t^2) / (6 sqrt(n)) + g^2 t^3 / (27 n), g the skewness
         (Hall 1992, Journal of the Royal Statistical Society B 54:221), 0 where their signs differ.

Narrow   t(n - 1) s sqrt((n - 1) / (n - 3)) / sqrt(n) <= d: then xbar -+ d holds the mean (Chow and
         Robbins 1965, Annals of Mathematical Statistics 36:457; Starr 1966). A look stops where s
         happens to be small, so s is made larger by the SD of Student's t. `half_width`.

`benchmarks/stopping.py` measures both, looking after each of 5 to 50 seeds; docs/analysis.md has
its figures. At least one difference is shown where there is none in at most 3 % of sweeps with
normal, t(3) or exponential draws; in up to 8 % where one of two methods has exponential draws and
the other hardly any (any t test of 5 such draws: 12 %). The interval xbar -+ d holds the mean in 94
to 99 %, with the latter draws in 86 %.

All functions take numbers or arrays that broadcast to one shape, and return arrays of it.
Shapes: K contrasts, N seeds in the order of the looks.
"""

from dataclasses import dataclass

import numpy as np

from calib_sweep.analysis.inference import intervals, typed_scipy
from calib_sweep.analysis.inference.multiplicity import holm_corrected
from calib_sweep.analysis.inference.typed_scipy import Numbers
from calib_sweep.analysis.rounding import variance

MIN_FIRST = 4  # draws at the first look: below, the width of a mean cannot be told
ERROR = 1 - intervals.LEVEL


@dataclass(frozen=True, eq=False)
class Look:
    """All contrasts at one look, each array [K]; in the unit of the differences."""

    n: np.ndarray
    mean: np.ndarray
    sd: np.ndarray
    half: np.ndarray  # width of the interval that the rule looks at, from its middle
    lo: np.ndarray  # sequential interval: holds at every look
    hi: np.ndarray
    p: np.ndarray  # sequential; 1 where there is no test
    p_holm: np.ndarray
    is_narrow: np.ndarray
    is_lost: np.ndarray  # no draw, or one that is not finite: more of them do not help

    @property
    def is_shown(self) -> np.ndarray:
        return self.p_holm < ERROR

    @property
    def is_known(self) -> np.ndarray:
        return self.is_shown | self.is_narrow

    @property
    def is_settled(self) -> bool:
        """Tell whether no further draw is needed."""
        return bool((self.is_known | self.is_lost).all())


def look(x_KN: np.ndarray, width_K: Numbers, first: int) -> Look:
    """Look at the differences of all rounds so far; NaN is a pair that is not there.

    `first`: draws at the first look, the same at every look. `width_K`: half-width asked for.
    """
    assert first >= MIN_FIRST, first
    n_K = (~np.isnan(x_KN)).sum(axis=1)
    is_lost_K = np.isinf(x_KN).any(axis=1) | (n_K == 0)
    mean_K, sd_K, skew_K = (np.full(n_K.shape, np.nan) for _ in range(3))
    for k in np.flatnonzero(~is_lost_K):
        own_N = x_KN[k, ~np.isnan(x_KN[k])]
        mean_K[k] = own_N.mean()
        if own_N.size > 1 and (square := float(variance(own_N))) > 0:
            sd_K[k] = np.sqrt(square)
            skew_K[k] = np.mean((own_N - mean_K[k]) ** 3) / sd_K[k] ** 3
        elif own_N.size > 1:  # equal on every draw: there is no spread to compare the mean with
            sd_K[k] = 0.0
    with np.errstate(divide="ignore", invalid="ignore"):
        t_K = weakened(mean_K / sd_K * np.sqrt(n_K), skew_K, n_K)
    p_K = p_value(np.where(sd_K > 0, t_K, np.nan), n_K, first)
    p_K = np.where(np.isnan(p_K), 1.0, p_K)
    half_K = half_width(sd_K, np.where(n_K >= first, n_K, np.nan))
    lo_K, hi_K = interval(mean_K, sd_K, n_K, first)
    return Look(
        n=n_K,
        mean=mean_K,
        sd=sd_K,
        half=half_K,
        lo=lo_K,
        hi=hi_K,
        p=p_K,
        p_holm=holm_corrected(p_K),
        is_narrow=half_K <= width_K,
        is_lost=is_lost_K,
    )


def half_width(sd: Numbers, n: Numbers) -> np.ndarray:
    """Return the half-width that the rule compares with the one asked for; NaN below 4 draws."""
    n = np.asarray(n, dtype=float)
    n = np.where(n >= MIN_FIRST, n, np.nan)
    se = sd / np.sqrt(n)
    return typed_scipy.t_isf(intervals.TAIL, n - 1) * se * np.sqrt((n - 1) / (n - 3))


def weakened(t: Numbers, skew: Numbers, n: Numbers) -> np.ndarray:
    """Return the smaller of t and Hall's t; 0 where their signs differ.

    `skew`: the third central moment of the `n` draws, over SD cubed.
    """
    hall = t + skew * (1 + 2 * np.square(t)) / (6 * np.sqrt(n))
    hall = hall + np.square(skew) * np.power(t, 3) / (27 * np.asarray(n, dtype=float))
    agree = np.sign(t) == np.sign(hall)
    return np.where(agree, np.sign(t) * np.minimum(np.abs(t), np.abs(hall)), 0.0)


def p_value(t: Numbers, n: Numbers, first: int) -> np.ndarray:
    """Return p of the mean being 0, valid at whatever look from `first` draws on one stops.

    NaN before, and where there is no t.
    """
    n = np.asarray(n, dtype=float)
    n = np.where(n >= first, n, np.nan)
    size = np.minimum(np.abs(t), 1e100)
    log_ratio = n * np.log1p(size**2 / (n - 1)) - np.log(n / first)
    # Too far out for a float, p is 0; and a ratio below 1 is no evidence at all.
    ratio = np.exp(np.clip(log_ratio / first, 0.0, 600.0))
    return np.minimum(_error(np.sqrt((first - 1) * (ratio - 1)), first), 1.0)


def interval(
    mean: Numbers, sd: Numbers, n: Numbers, first: int, error: float = ERROR
) -> intervals.Interval:
    """Return the interval that holds the mean at all looks from `first` on, but for `error`."""
    n = np.asarray(n, dtype=float)
    n = np.where(n >= first, n, np.nan)
    half = boundary(n, first, error) * sd / np.sqrt(n)
    return mean - half, mean + half


def boundary(n: Numbers, first: int, error: float = ERROR) -> np.ndarray:
    """Return the t that n draws must exceed to show a difference."""
    start = _start(error, first)
    log_growth = np.log(n / np.asarray(first)) + first * np.log1p(start**2 / (first - 1))
    return np.sqrt((np.asarray(n) - 1) * np.expm1(log_growth / n))


def _error(start: Numbers, first: int) -> np.ndarray:
    """Return the error in all looks of the boundary that begins with t = `start`."""
    df = first - 1.0
    tail, density = typed_scipy.t_sf(start, df), typed_scipy.t_pdf(start, df)
    return np.asarray(2 * (tail + start * density))


def _start(error: float, first: int) -> float:
    """Return the t of the first look at which the error in all looks is `error`."""
    low, high = 0.0, 1.0
    while _error(high, first) > error:
        low, high = high, 2 * high
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if _error(middle, first) > error else (low, middle)
    return high
