import numpy as np
import pytest
from helpers.simulated import normal, share_inside
from scipy import stats

from calib_sweep.analysis.inference import intervals
from calib_sweep.analysis.inference.heavy_tails import (
    high_kurtosis,
    inflation,
    kurtosis,
    sample_inflation,
    unlike,
)
from calib_sweep.seeding import stream

NUM = 4000
SPIKED = np.array([0.0, 0.2, -0.1, 0.1, -0.2, 0.15, -0.15, 4.0])


def away(value_DSE):
    """Squares about the means of datasets [N, E], and the dataset of each."""
    square = (value_DSE - value_DSE.mean(1, keepdims=True)) ** 2
    num_D, num_S = value_DSE.shape[:2]
    return square.reshape(num_D * num_S, -1), np.repeat(np.arange(num_D), num_S)


def test_the_inflation_is_the_variance_of_pseudo_values_made_one_by_one():
    whole = np.log(SPIKED.std())
    rest = [0.5 * np.log(np.var(np.delete(SPIKED, i)) * 7 / 8) for i in range(8)]
    pseudo = 8 * whole - 7 * np.array(rest)
    wanted = pseudo.var(ddof=1) / 8 * 2 * 7
    assert wanted > 2
    assert sample_inflation(SPIKED) == pytest.approx(min(wanted, 7))
    low, high = intervals.sd_interval(1.0, 8, 2.0)
    ends = [np.sqrt(7 / stats.chi2.isf(tail, 7)) ** np.sqrt(2) for tail in (0.025, 0.975)]
    assert [float(low), float(high)] == pytest.approx(ends)


def test_a_dataset_of_a_single_draw_knows_nothing_of_tails():
    square_NE, group_N = away(SPIKED.reshape(1, 8, 1))
    with_one = inflation(np.vstack([square_NE, [[0.0]]]), np.append(group_N, 5))
    assert with_one == pytest.approx(inflation(square_NE, group_N))


def test_four_in_five_normal_samples_are_as_they_are_and_three_draws_always():
    square_NE, group_N = away(normal("tails/normal", 3, 6, NUM))
    assert np.mean(inflation(square_NE, group_N) == 1) == pytest.approx(0.82, abs=0.04)
    assert kurtosis(square_NE).shape == (NUM,)
    few = inflation(*away(normal("tails/three", 1, 3, NUM) ** 3))
    assert (few == 1).all()
    assert high_kurtosis((20,), 1) < 3.5  # a normal distribution has 3


@pytest.mark.parametrize("num", [5, 10, 20])
def test_intervals_of_the_sd_hold_for_normal_draws_and_far_more_often_for_others(num):
    draw = stream("tests/tails", num)
    for value, least, most in (
        (draw.standard_normal((1, num, NUM)), 0.945, 0.967),
        (draw.exponential(size=(1, num, NUM)) - 1, 0.84, 0.97),
        (draw.standard_t(3, size=(1, num, NUM)) / np.sqrt(3), 0.79, 0.97),
    ):
        times = inflation(*away(value))
        sd = value[0].std(0, ddof=1)
        assert least <= share_inside(intervals.sd_interval(sd, num, times), 1.0) <= most


def test_methods_that_move_unlike_show_in_their_contrasts():
    own = normal("tails/unlike", 4, 25, 500) * np.array([1, 1, 1, 4]).reshape(4, 1, 1)
    square_NE = ((own - own.mean(0)) ** 2).sum(0)
    found = inflation(square_NE, np.repeat(np.arange(5), 5), 3)
    assert np.median(found) > 1.5


def test_epsilon_is_that_of_the_true_covariances_on_average():
    """Of contrasts with covariance S, epsilon = (tr S)^2 / (m tr S^2): 1 and .445."""
    for times, wanted in ((1.0, 1.0), (4.0, 0.445)):
        own = normal("tails/epsilon", 4, 5, 20, 300)
        own *= np.array([1, 1, 1, times]).reshape(4, 1, 1, 1)
        left = own - own.mean(0)
        left -= left.mean(2, keepdims=True)
        centre = np.eye(4) - 0.25
        true = centre @ np.diag([1, 1, 1, times**2]) @ centre
        assert np.trace(true) ** 2 / (3 * np.sum(true**2)) == pytest.approx(wanted, abs=0.001)
        assert np.median(1 / unlike(left, 95)) == pytest.approx(wanted, rel=0.06)
    assert (unlike(left[:2], 95) == 1).all()


def test_what_does_not_move_or_is_no_number_is_left_alone():
    for value in ([1.0, 1.0, 1.0, 1.0], [1.0, np.inf, 2.0], [1.0]):
        assert sample_inflation(np.array(value)) == 1
