"""Two independent estimates: with one sample each they are Welch's test, which scipy has."""

import numpy as np
import pytest
from helpers.simulated import normal
from scipy import stats

from calib_sweep.analysis.inference.estimates import Estimate, difference, of_interval
from calib_sweep.analysis.inference.intervals import mean_interval


def of_sample(value_S: np.ndarray) -> Estimate:
    n, mean, sd = np.array(float(len(value_S))), value_S.mean(), value_S.std(ddof=1)
    return of_interval(mean, *mean_interval(mean, sd, n), n - 1)


def test_of_two_samples_it_is_welchs():
    a_S, b_S = normal("estimates/a", 5), 1 + 3 * normal("estimates/b", 9)
    found = difference(of_sample(a_S), of_sample(b_S))
    theirs = stats.ttest_ind(a_S, b_S, equal_var=False)
    assert found.value == pytest.approx(a_S.mean() - b_S.mean())
    assert found.df == pytest.approx(theirs.df)
    assert found.p == pytest.approx(theirs.pvalue)
    ends = theirs.confidence_interval(0.95)
    assert found.interval == pytest.approx((ends.low, ends.high))


def test_an_interval_gives_its_standard_error_back():
    x_S = normal("estimates/one", 7)
    assert of_sample(x_S).se == pytest.approx(x_S.std(ddof=1) / np.sqrt(7))


def test_without_any_spread_there_is_no_test():
    alike = Estimate(np.array(1.0), np.array(0.0), np.array(4.0))
    found = difference(alike, Estimate(np.array(0.5), np.array(0.0), np.array(3.0)))
    assert (found.value, found.se, found.df) == (0.5, 0.0, 7.0)
    assert np.isnan(found.p)


def test_what_has_no_interval_has_no_difference():
    nothing = of_interval(1.0, np.nan, np.nan, np.nan)
    assert np.isnan(difference(nothing, nothing).se)
