"""Two studies by mean, SD and n: against scipy, and by how often equal ones are told apart."""

import math

import numpy as np
import pytest
from helpers.simulated import normal
from scipy import stats

from calib_sweep.analysis.inference.multiplicity import holm_corrected
from calib_sweep.analysis.inference.summaries import Summary, compare_summaries


def test_difference_and_p_are_welchs():
    found = compare_summaries(Summary(61.7, 0.8, 5), Summary(60.9, 0.3, 8), margin=2.0)
    theirs = stats.ttest_ind_from_stats(61.7, 0.8, 5, 60.9, 0.3, 8, equal_var=False)
    assert found.p == pytest.approx(theirs.pvalue)
    interval = theirs.confidence_interval(0.95) if hasattr(theirs, "confidence_interval") else None
    se = math.sqrt(0.64 / 5 + 0.09 / 8)
    df = se**4 / ((0.64 / 5) ** 2 / 4 + (0.09 / 8) ** 2 / 7)
    half = stats.t.ppf(0.975, df) * se
    assert (found.lo, found.hi) == pytest.approx((0.8 - half, 0.8 + half))
    assert interval is None or interval.low == pytest.approx(found.lo)
    assert found.p_equal == pytest.approx(stats.t.sf((2.0 - 0.8) / se, df))


def test_the_ratio_of_sds_has_the_interval_of_f():
    found = compare_summaries(Summary(0, 2.0, 5), Summary(0, 1.0, 9), margin=1)
    assert found.sd_ratio == 2
    low, high = stats.f.ppf([0.025, 0.975], 4, 8)
    ends = found.sd_ratio_lo, found.sd_ratio_hi
    assert ends == pytest.approx((2 / math.sqrt(high), 2 / math.sqrt(low)))


def test_rounding_makes_no_difference_and_no_agreement():
    printed = Summary(61.3, 0.0, 5, half_mean=0.05, half_sd=0.05)
    found = compare_summaries(Summary(61.34, 0.01, 5), printed, margin=0.05)
    assert found.p == 1 and found.lo < 0 < found.hi
    assert found.p_equal > 0.5  # it may be 61.25
    assert math.isnan(found.sd_ratio)
    se = math.sqrt((0.01**2 + 0.05**2) / 5)
    df = se**4 / ((0.01**4 + 0.05**4) / 25 / 4)
    half = stats.t.ppf(0.975, df) * se + 0.05
    assert found.hi == pytest.approx(0.04 + half)


def test_without_spread_or_draws_the_difference_stands_alone():
    sd, n = np.array([1.0, 1.0, 0.0, np.nan]), np.array([5, 2, 5, np.nan])
    found = compare_summaries(Summary(np.full(4, 3.0), sd, n), Summary(1.0, 0.0, 5), margin=1.0)
    assert found.difference.tolist() == [2.0] * 4
    assert np.isfinite(found.p).tolist() == [True, False, False, False]
    assert np.isnan(found.lo[1:]).all() and np.isnan(found.sd_ratio).all()


@pytest.mark.parametrize(("n", "decimals"), [(3, 1), (5, 1), (20, 4)])
def test_of_studies_that_are_equal_few_are_called_different_anywhere(n, decimals):
    """30 rows of 2,000 pairs of studies, printed; SDs from 0.1 (one digit) to 3."""
    sd_R = np.geomspace(0.1, 3, 30)[:, None]
    ours, theirs = 50 + sd_R * normal(f"equal studies {n}", 2, n, 30, 2000)
    told = [Summary(of.mean(0), of.std(0, ddof=1), n) for of in (ours, theirs)]
    printed = [np.round(of, decimals) for of in (told[1].mean, told[1].sd)]
    half = 0.5 * 10.0**-decimals
    found = compare_summaries(told[0], Summary(*printed, n, half, half), margin=0.5)
    any_R = np.array([(holm_corrected(p) < 0.05).any() for p in found.p.T])
    assert any_R.mean() <= 0.06
    inside = (found.lo <= 0) & (found.hi >= 0)
    assert inside.mean() >= 0.945
