"""Looks after every round: Lai's boundary, the fixed-width rule, and both under looking."""

import numpy as np
import pytest
from helpers.simulated import normal
from scipy import integrate, stats

from calib_sweep.analysis.inference import sequential
from calib_sweep.seeding import stream

FIRST = 5
SWEEPS, MOST = 4000, 50


def paths(x_BN):
    """Mean and SD after each draw [B, N]; the SD of the first is NaN."""
    n_N = np.arange(1, x_BN.shape[1] + 1)
    mean_BN = np.cumsum(x_BN, axis=1) / n_N
    square_BN = np.cumsum(x_BN**2, axis=1) - n_N * mean_BN**2
    with np.errstate(invalid="ignore", divide="ignore"):
        return n_N, mean_BN, np.sqrt(np.maximum(square_BN, 0) / (n_N - 1))


def mixed_ratio(t, n):
    """n^(-1/2) (1 + t^2 / (n - 1))^(n/2): the martingale behind the boundary."""
    return n**-0.5 * (1 + t**2 / (n - 1)) ** (n / 2)


def test_the_ratio_is_a_martingale_where_the_mean_is_0():
    """Its mean over one normal draw more, given four and the SD that is unknown: the ratio now.

    Given all that does not depend on the scale, the next draw's share of the sum of squares is a
    t with n degrees of freedom.
    """
    x_N = np.array([0.3, -1.2, 0.8, 0.5])

    def ratio(x):
        n = len(x)
        return mixed_ratio(x.mean() * np.sqrt(n) / x.std(ddof=1), n)

    def density(y):
        size = np.sqrt(np.mean(x_N**2))
        return stats.t.pdf(y / size, len(x_N)) / size

    after, _ = integrate.quad(
        lambda y: ratio(np.append(x_N, y)) * density(y), -np.inf, np.inf, limit=500
    )
    assert after == pytest.approx(ratio(x_N), rel=1e-6)


@pytest.mark.parametrize(("first", "error"), [(5, 0.05), (5, 0.05 / 12), (8, 0.05), (20, 0.001)])
def test_the_boundary_spends_its_error_at_the_first_look_and_by_villes_inequality(first, error):
    """P(ratio >= c at the first look) + E[ratio where it is not] / c, by integration."""
    t = float(sequential.boundary(first, first, error))
    below, _ = integrate.quad(
        lambda u: mixed_ratio(u, first) * stats.t.pdf(u, first - 1), -t, t, limit=200
    )
    spent = 2 * stats.t.sf(t, first - 1) + below / mixed_ratio(t, first)
    assert spent == pytest.approx(error, rel=1e-6)
    # and from then on the ratio has to stay where it was
    later = sequential.boundary(np.array([first + 1, 3 * first]), first, error)
    for n, own in zip((first + 1, 3 * first), later, strict=True):
        assert mixed_ratio(own, n) == pytest.approx(mixed_ratio(t, first), rel=1e-9)


def test_the_boundary_by_hand():
    # t(4): P(T > 4.45) = .00562, f(4.45) = .00436; 2 (.00562 + 4.45 x .00436) = .0500
    assert sequential.boundary(5, 5) == pytest.approx(4.45, abs=0.01)
    # 10 draws: 9 ((10/5 x (1 + 4.45^2 / 4)^5)^(1/10) - 1) = 9 (1.0718 x 2.4398 - 1) = 14.53
    assert sequential.boundary(10, 5) == pytest.approx(np.sqrt(14.53), abs=0.02)


@pytest.mark.parametrize("n", [5, 6, 11, 50])
@pytest.mark.parametrize("error", [0.05, 0.001])
def test_p_is_the_error_at_which_a_difference_just_shows(n, error):
    t = float(sequential.boundary(n, FIRST, error))
    assert sequential.p_value(-t, n, FIRST) == pytest.approx(error, rel=1e-6)
    low, high = sequential.interval(t * 2.0 / np.sqrt(n), 2.0, n, FIRST, error)
    assert low == pytest.approx(0.0, abs=1e-9) and high > 0


def test_p_is_1_without_evidence_and_never_overflows():
    assert sequential.p_value(0.0, 20, FIRST) == 1.0
    assert sequential.p_value(1e200, 20, FIRST) == 0.0
    assert sequential.p_value(1e4, 20, FIRST) > 0
    assert np.isnan(sequential.p_value(1.0, 4, FIRST))
    assert np.isnan(sequential.p_value(np.nan, 5, FIRST))


def test_halls_t_by_hand():
    # n = 9, t = 3: 3 + g (1 + 2 x 9) / (6 x 3) + g^2 x 27 / (27 x 9) = 3 + 1.0556 g + g^2 / 9
    t = sequential.weakened(3.0, np.array([-0.9, 0.0, 0.9, -4.0]), 9)
    assert t == pytest.approx([2.14, 3.0, 3.0, 0.5556], abs=1e-3)
    assert sequential.weakened(-3.0, 0.9, 9) == pytest.approx(-2.14)
    assert sequential.weakened(0.1, -2.0, 9) == 0.0


def test_no_skewness_hides_a_difference_of_many_sds():
    """Hall's t rises with t whatever the skewness: a transformation of second order does not."""
    t_T = np.linspace(0, 200, 2001)
    for skew in (-2.0, -0.5, 0.5, 2.0):
        weak_T = sequential.weakened(t_T, skew, 5)
        assert (np.diff(weak_T) >= -1e-9).all() and weak_T[-1] > 100


def ever_shown(x_BN):
    """How often a difference is shown at one of the looks, with the t that is weakened."""
    n, mean, sd = paths(x_BN)
    third = np.cumsum(x_BN**3, axis=1) / n - 3 * mean * np.cumsum(x_BN**2, axis=1) / n + 2 * mean**3
    with np.errstate(invalid="ignore", divide="ignore"):
        t = sequential.weakened(mean * np.sqrt(n) / sd, third / sd**3, n)
    return float((sequential.p_value(t, n, FIRST) < 0.05).any(axis=1).mean())


def test_looking_after_each_of_46_rounds_shows_a_difference_that_is_not_there_in_5_percent():
    x_BN = normal("sequential/null", SWEEPS, MOST)
    assert 0.015 < ever_shown(x_BN) < 0.035  # what is left of the 5 % is for looks beyond 50
    n, mean, sd = paths(x_BN)
    t = np.abs(mean[:, FIRST - 1 :] * np.sqrt(n[FIRST - 1 :]) / sd[:, FIRST - 1 :])
    naive = (t > stats.t.isf(0.025, n[FIRST - 1 :] - 1)).any(axis=1).mean()
    assert naive > 0.2  # adding draws until a p-value passes


@pytest.mark.parametrize(
    ("name", "most"), [("t3", 0.03), ("two exponentials", 0.03), ("one exponential", 0.08)]
)
def test_draws_that_are_not_normal_are_shown_falsely_as_often_as_said(name, most):
    draw = stream("tests/sequential", name)
    size = (SWEEPS, MOST)
    x_BN = {
        "t3": lambda: draw.standard_t(3, size),
        "two exponentials": lambda: draw.exponential(size=size) - draw.exponential(size=size),
        "one exponential": lambda: draw.exponential(size=size) - 1,
    }[name]()
    assert ever_shown(x_BN) < most


@pytest.mark.parametrize("best", [6, 16, 30])
def test_the_width_that_was_asked_for_holds_the_mean_as_often_as_said(best):
    """`best`: draws that a known SD would need."""
    n, mean, sd = paths(normal("sequential/width", SWEEPS, 150))
    width = 1.96 / np.sqrt(best)
    half = sequential.half_width(sd, n)
    stop = (half[:, FIRST - 1 :] <= width).argmax(axis=1) + FIRST - 1
    held = np.mean(np.abs(mean[np.arange(SWEEPS), stop]) <= width)
    assert held > 0.94
    assert np.mean(stop + 1) < best + 5


def test_the_half_width_by_hand():
    # t(4) = 2.776, SD 1, n = 5: 2.776 / 2.2361 x sqrt(4 / 2)
    assert sequential.half_width(1.0, 5) == pytest.approx(1.7559, abs=1e-3)
    assert np.isnan(sequential.half_width(1.0, 3))


def test_a_look_at_several_contrasts():
    spread = np.array([-1.0, 1.0, -0.5, 0.5, 0.0])
    x_KN = np.array(
        [
            0.1 * spread + 5,  # far from 0
            0.001 * spread,  # narrow
            spread,  # open
            np.full(5, 2.0),  # equal on every draw: known, but no test shows it
            [1, 2, np.inf, 1, 1],
            np.full(5, np.nan),
            [1.0, 2.0, 1.5, np.nan, 1.0],  # four of five
        ]
    )
    found = sequential.look(x_KN, 0.01, FIRST)
    assert found.is_shown.tolist() == [True] + 6 * [False]
    assert found.is_narrow.tolist() == [False, True, False, True, False, False, False]
    assert found.is_lost.tolist() == [False] * 4 + [True, True, False]
    assert found.n.tolist() == [5, 5, 5, 5, 5, 0, 4]
    assert not found.is_settled
    assert sequential.look(x_KN[[0, 1, 3, 4, 5]], 0.01, FIRST).is_settled
    # Holm over all seven, also those that have no test
    assert found.p_holm[0] == pytest.approx(7 * found.p[0])
    assert found.p[3:].tolist() == [1.0] * 4
