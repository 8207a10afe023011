"""Equality within a margin: known numbers, and how often it is claimed where it is not so."""

import numpy as np
import pytest
from helpers.simulated import normal
from scipy import stats

from calib_sweep.analysis.inference.equivalence import (
    difference_within,
    spread_below,
    spread_of_draws,
    tail_inflation,
)


def test_the_two_one_sided_tests_of_a_sample_by_hand():
    """Ten differences of mean 0.1 and SE 0.2: t = (0.5 - 0.1) / 0.2 = 2 on 9 df, p = 0.0383."""
    found = difference_within(0.1, 0.2, 9, 0.5)
    assert found.p == pytest.approx(0.03828, abs=1e-5)
    assert found.hi == pytest.approx(0.1 + 1.83311 * 0.2, abs=1e-5)
    assert found.lo == pytest.approx(0.1 - 1.83311 * 0.2, abs=1e-5)
    mirrored = difference_within(-0.1, 0.2, 9, 0.5)
    assert (mirrored.p, mirrored.lo) == (found.p, -found.hi)


def test_scipy_finds_the_same_by_two_tests():
    x_S = np.array([0.3, -0.2, 0.4, 0.1, 0.0, 0.25])
    upper = stats.ttest_1samp(x_S, 0.5, alternative="less").pvalue
    lower = stats.ttest_1samp(x_S, -0.5, alternative="greater").pvalue
    found = difference_within(x_S.mean(), x_S.std(ddof=1) / np.sqrt(6), 5, 0.5)
    assert found.p == pytest.approx(max(upper, lower), rel=1e-12)


@pytest.mark.parametrize("num", [3, 5, 20])
def test_equality_is_claimed_in_five_per_cent_where_the_difference_is_the_margin(num):
    margin = 2.0
    x_BS = margin + normal("tost", 4000, num)
    found = difference_within(x_BS.mean(1), x_BS.std(1, ddof=1) / np.sqrt(num), num - 1, margin)
    claims = found.p < 0.05
    assert claims.mean() == pytest.approx(0.05, abs=0.012)
    assert np.array_equal(claims, (found.lo > -margin) & (found.hi < margin))


@pytest.mark.parametrize("num_D", [1, 5])
def test_a_spread_is_called_small_in_five_per_cent_where_it_is_the_margin(num_D):
    value_DSE = 1.5 * normal("spread", num_D, 5, 4000)
    sd_E, df_E = spread_of_draws(value_DSE)
    found = spread_below(sd_E, df_E, 1.5)
    assert 0.02 < np.mean(found.p < 0.05) < 0.062  # Satterthwaite's df is on the safe side
    assert np.array_equal(found.p < 0.05, found.hi < 1.5)


def test_draws_with_heavy_tails_are_called_insensitive_less_often():
    """Exponential draws whose SD is the margin: 22 % without, 17 % with fewer df."""
    uniform_DSE = stats.norm.cdf(normal("heavy", 1, 10, 2000))
    value_DSE = stats.expon.ppf(uniform_DSE)
    sd_E, df_E = spread_of_draws(value_DSE)
    plain = np.mean(spread_below(sd_E, df_E, 1.0).p < 0.05)
    cautious = np.mean(spread_below(sd_E, df_E / tail_inflation(value_DSE), 1.0).p < 0.05)
    assert cautious < plain - 0.03 and cautious < 0.19


def test_the_spread_over_datasets_is_the_mean_of_their_variances():
    value_DSE = np.array([[1.0, 2.0, 3.0, np.nan], [10.0, 14.0, 18.0, 14.0]])[..., None]
    sd_E, df_E = spread_of_draws(value_DSE)  # variances 1 on 2 df, 32/3 on 3 df
    assert sd_E == pytest.approx([np.sqrt((1 + 32 / 3) / 2)])
    assert df_E == pytest.approx([(1 + 32 / 3) ** 2 / (1 / 2 + (32 / 3) ** 2 / 3)])
    assert spread_below(2.0, 10, 3.0).hi == pytest.approx(2 * np.sqrt(10 / 3.9403), rel=1e-5)


def test_there_is_no_test_without_spread_or_draws():
    assert np.isnan(difference_within(0.0, 0.0, 4, 1.0).p)
    assert np.isnan(difference_within(0.1, 0.1, np.nan, 1.0).p)
    assert np.isnan(spread_below(0.0, 4, 1.0).p)
    assert np.isnan(spread_of_draws(np.array([[[1.0], [2.0]]]))[1])
    assert np.isnan(spread_of_draws(np.array([[[1.0], [np.inf], [2.0]]]))[0])
