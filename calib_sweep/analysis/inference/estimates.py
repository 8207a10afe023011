"""Estimates that come with a standard error and its degrees of freedom: two of them compared.

    x_1 -+ e_1 on f_1 df,  x_2 -+ e_2 on f_2 df, independent of each other:

    difference    x_1 - x_2 -+ t(f) e
    e^2 = e_1^2 + e_2^2      f = e^4 / (e_1^4 / f_1 + e_2^4 / f_2)        Satterthwaite 1946
    p             2 P(t(f) > |x_1 - x_2| / e)

An interval x -+ t(f) e gives its e back: half its width over t(f).

All functions take numbers or arrays that broadcast to one shape. NaN: there is nothing to say.
"""

from typing import NamedTuple

import numpy as np

from calib_sweep.analysis.inference import intervals, typed_scipy
from calib_sweep.analysis.inference.typed_scipy import Numbers


class Estimate(NamedTuple):
    """An estimate, its standard error and the degrees of freedom of that."""

    value: np.ndarray
    se: np.ndarray
    df: np.ndarray

    @property
    def interval(self) -> intervals.Interval:
        """Return the ends of the 95 % interval."""
        return intervals.around(self.value, self.se, self.df)

    @property
    def p(self) -> np.ndarray:
        """Return the p of the t test against 0, to which the interval belongs.

        NaN where the standard error is 0: equal numbers leave nothing to test with.
        """
        with np.errstate(divide="ignore", invalid="ignore"):
            t = np.where(self.se > 0, np.abs(self.value) / self.se, np.nan)
        return 2 * typed_scipy.t_sf(t, self.df)


def of_interval(value: Numbers, low: Numbers, high: Numbers, df: Numbers) -> Estimate:
    """Return the estimate that has this t interval."""
    se = (np.asarray(high) - low) / 2 / typed_scipy.t_isf(intervals.TAIL, df)
    return Estimate(np.asarray(value), se, np.asarray(df))


def difference(first: Estimate, second: Estimate) -> Estimate:
    """Return first - second of two independent estimates."""
    parts = first.se**2, second.se**2
    total = parts[0] + parts[1]
    with np.errstate(divide="ignore", invalid="ignore"):
        df = total**2 / (parts[0] ** 2 / first.df + parts[1] ** 2 / second.df)
    # Both are 0: any df gives the same interval, none.
    df = np.where(total == 0, first.df + second.df, df)
    return Estimate(first.value - second.value, np.sqrt(total), df)
