"""One contrast over several models, against cases by hand, statsmodels and simulated models."""

import numpy as np
import pytest
from helpers.simulated import normal, share_inside
from scipy import stats
from statsmodels.stats.meta_analysis import combine_effects

from calib_sweep.analysis.inference.random_effects import over_models

KNOWN = 1e9  # df of a standard error that is known


def columns(*values: float) -> np.ndarray:
    return np.array(values, dtype=float)[:, None]


def test_a_case_by_hand():
    """y = 1, 2, 6: mean 3, s^2 = 7; e^2 = 1, 1, 4: mean 2, so tau^2 = 5. t(2) = 4.303."""
    found = over_models(columns(1, 2, 6), columns(1, 1, 2), columns(*[KNOWN] * 3))
    half = 4.302653 * np.sqrt(7 / 3)
    assert found.mean == pytest.approx(3)
    assert (found.lo[0], found.hi[0]) == pytest.approx((3 - half, 3 + half), rel=1e-6)
    assert found.tau == pytest.approx(np.sqrt(5))
    assert found.new_hi - 3 == pytest.approx(4.302653 * np.sqrt(7 * 4 / 3), rel=1e-6)
    # t = 3 / sqrt(7/3); P(|t(2)| > t) = 1 - t / sqrt(2 + t^2)
    t = 3 / np.sqrt(7 / 3)
    assert found.p == pytest.approx(1 - t / np.sqrt(2 + t**2))


def test_the_ends_of_tau_with_equal_known_errors_are_of_chi_squared():
    """s^2 = 7 of three; chi2(2) is exponential: its quantiles are -2 log(1 - q)."""
    found = over_models(columns(1, 2, 6), columns(*[0.5] * 3), columns(*[KNOWN] * 3))
    ends = [np.sqrt(14 / (-2 * np.log(tail)) - 0.25) for tail in (0.025, 0.975)]
    assert (found.tau_lo[0], found.tau_hi[0]) == pytest.approx(tuple(ends), rel=1e-6)


def test_the_spread_of_s2_is_boxs():
    """Against the matrices of the header: A centres, V has the variances on its diagonal."""
    noise_K, square = np.array([1.0, 2, 9]), 0.7
    a_KK, v_KK = np.eye(3) - 1 / 3, np.diag(noise_K + square)
    f = 2 * np.mean(noise_K + square) ** 2 / (2 * np.trace(a_KK @ v_KK @ a_KK @ v_KK) / 4)
    m = np.mean(noise_K + square)
    s2 = m * stats.f.isf(0.025, f, KNOWN)  # then sqrt(0.7) is the lower end
    x = np.sqrt(s2)
    found = over_models(columns(-x, 0, x), np.sqrt(noise_K)[:, None], columns(*[KNOWN] * 3))
    assert found.tau_lo[0] == pytest.approx(np.sqrt(square), rel=1e-5)


@pytest.mark.parametrize("num_K", [2, 3, 8])
def test_with_equal_standard_errors_it_is_hartung_and_knapps(num_K):
    y_K = normal("random_effects/equal", num_K)
    found = over_models(y_K[:, None], np.full((num_K, 1), 0.3), np.full((num_K, 1), 4))
    theirs = combine_effects(y_K, np.full(num_K, 0.09), method_re="chi2")
    assert found.tau[0] ** 2 == pytest.approx(theirs.tau2)
    assert found.mean[0] == pytest.approx(theirs.mean_effect_re)
    se = (found.hi[0] - found.mean[0]) / (12.706205, 4.302653, 2.364624)[[2, 3, 8].index(num_K)]
    assert se == pytest.approx(theirs.sd_eff_w_re_hksj, rel=1e-5)


def test_a_model_without_the_contrast_is_left_out():
    found = over_models(
        np.array([[1.0, 1], [2, np.nan], [6, 6]]), np.array([[1.0], [1], [2]]), columns(4, 4, 4)
    )
    assert found.num_models.tolist() == [3, 2]
    assert found.mean.tolist() == [3, 3.5]


def test_estimates_closer_than_their_errors_allow_do_not_show_that_tau_is_0():
    """s^2 = 0.01 where e^2 = 1: the upper end is that of s^2 = 1, with chi2(2) as above."""
    found = over_models(columns(0.9, 1, 1.1), columns(1, 1, 1), columns(*[KNOWN] * 3))
    assert (found.tau, found.tau_lo) == (0, 0)
    assert found.tau_hi[0] == pytest.approx(np.sqrt(2 / (-2 * np.log(0.975)) - 1), rel=1e-6)


def test_single_draws_leave_no_tau_and_all_else():
    unknown = columns(*[np.nan] * 3)
    found, wanted = (
        over_models(columns(1, 2, 6), unknown, unknown),
        over_models(columns(1, 2, 6), columns(1, 1, 1), columns(4, 4, 4)),
    )
    for name in ("num_models", "mean", "lo", "hi", "p", "new_lo", "new_hi"):
        assert getattr(found, name) == getattr(wanted, name), name
    assert np.isnan([found.tau, found.tau_lo, found.tau_hi]).all()


def test_one_model_says_nothing_of_others():
    found = over_models(columns(1), columns(0.1), columns(4))
    assert found.num_models == 1
    for name in ("mean", "lo", "hi", "p", "tau", "tau_lo", "tau_hi", "new_lo", "new_hi"):
        assert np.isnan(getattr(found, name)).all(), name


def test_equal_contrasts_have_no_spread_and_no_test():
    found = over_models(columns(0.1 + 0.2, 0.3, 0.3), columns(0, 0, 0), columns(4, 4, 4))
    assert (found.tau, found.tau_hi) == (0, 0)
    assert np.isnan(found.p)


@pytest.mark.parametrize("num_K", [3, 5, 10])
@pytest.mark.parametrize("tau", [0.0, 0.5, 2.0])
@pytest.mark.parametrize("widest", [1.0, 6.0])
def test_intervals_hold_the_truth(num_K, tau, widest):
    """Models of five draws each; the last one's SD is `widest` times the first one's."""
    name, num_E = f"random_effects/{num_K}/{tau}/{widest}", 2000
    sd_K = np.geomspace(1, widest, num_K)[:, None]
    draws_SKE = sd_K * normal(f"{name}/draws", 5, num_K, num_E)
    of_model_KE = tau * normal(f"{name}/models", num_K, num_E)
    se_KE = draws_SKE.std(0, ddof=1) / np.sqrt(5)
    found = over_models(of_model_KE + draws_SKE.mean(0), se_KE, np.full_like(se_KE, 4))
    error = np.sqrt(0.05 * 0.95 / num_E)  # of a simulated share
    assert share_inside((found.lo, found.hi), 0.0) > 0.95 - 3 * error
    assert np.mean(found.p < 0.05) < 0.05 + 3 * error
    assert share_inside((found.tau_lo, found.tau_hi), tau) > 0.95 - 5 * error
    new_E = tau * normal(f"{name}/new", num_E)
    assert np.mean((found.new_lo <= new_E) & (new_E <= found.new_hi)) > 0.95 - 3 * error
    if widest == 1:
        assert share_inside((found.lo, found.hi), 0.0) < 0.95 + 4 * error
