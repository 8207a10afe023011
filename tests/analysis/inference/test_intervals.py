import numpy as np
import pytest
from helpers.simulated import normal, share_inside
from scipy import stats

from calib_sweep.analysis.inference import intervals

NUM_SWEEPS = 4000
# Of 4,000 sweeps a share of 0.95 is seen within 0.0103 in 99.7 % of cases.
NOMINAL = pytest.approx(0.95, abs=0.0103)


def described(num_draws):
    draw_BS = 7.0 + 2.0 * normal("intervals", NUM_SWEEPS, num_draws)
    n = np.full(NUM_SWEEPS, num_draws)
    return draw_BS.mean(1), draw_BS.std(1, ddof=1), n


@pytest.mark.parametrize("num_draws", [3, 5, 10, 20])
def test_intervals_hold_the_truth_in_95_of_100_sweeps(num_draws):
    mean, sd, n = described(num_draws)
    assert share_inside(intervals.mean_interval(mean, sd, n), 7.0) == NOMINAL
    assert share_inside(intervals.sd_interval(sd, n), 2.0) == NOMINAL
    next_draw = 7.0 + 2.0 * normal("intervals/next", NUM_SWEEPS)
    low, high = intervals.next_draw_interval(mean, sd, n)
    assert np.mean((low <= next_draw) & (next_draw <= high)) == NOMINAL


def test_the_worked_numbers_of_ten_draws_with_sd_one():
    one, n = np.ones(1), np.array([10])
    low, high = intervals.sd_interval(one, n)
    assert (low[0], high[0]) == (pytest.approx(0.688, abs=5e-4), pytest.approx(1.826, abs=5e-4))
    low, high = intervals.mean_interval(0 * one, one, n)
    assert (low[0], high[0]) == (pytest.approx(-0.715, abs=5e-4), pytest.approx(0.715, abs=5e-4))


@pytest.mark.parametrize("num_draws", [0, 1, 2])
def test_two_draws_have_no_interval(num_draws):
    one, n = np.ones(1), np.array([num_draws])
    for found in (
        intervals.mean_interval(one, one, n),
        intervals.sd_interval(one, n),
        intervals.next_draw_interval(one, one, n),
        intervals.share_interval(0 * one, n),
        intervals.superiority_interval(one, n, n),
    ):
        assert np.isnan(found).all()


def test_the_interval_of_a_share_is_clopper_and_pearsons():
    for num, n in ((0, 5), (5, 5), (9, 10), (13, 29)):
        low, high = intervals.share_interval(np.array([num]), np.array([n]))
        wanted = stats.binomtest(num, n).proportion_ci(method="exact")
        assert (low[0], high[0]) == (pytest.approx(wanted.low), pytest.approx(wanted.high))


def test_half_a_win_lies_between_its_neighbours():
    low, high = intervals.share_interval(np.array([3, 3.5, 4]), np.full(3, 5))
    assert low[0] < low[1] < low[2]
    assert high[0] < high[1] < high[2]


@pytest.mark.parametrize("shift", [0.0, 0.5, 1.0, 2.0])
@pytest.mark.parametrize("num_draws", [5, 10, 20])
def test_the_interval_of_superiority_holds_the_truth(num_draws, shift):
    a_BS = shift + normal("superiority/a", NUM_SWEEPS, num_draws, 1)
    b_BS = normal("superiority/b", NUM_SWEEPS, 1, num_draws)
    share = (a_BS > b_BS).mean(axis=(1, 2))
    n = np.full(NUM_SWEEPS, num_draws)
    truth = stats.norm.cdf(shift / np.sqrt(2))
    held = share_inside(intervals.superiority_interval(share, n, n), truth)
    assert 0.93 <= held <= 0.98


def test_the_interval_of_superiority_is_symmetric_and_inside_zero_and_one():
    share = np.array([0.0, 0.2, 0.8, 1.0])
    n = np.full(4, 6)
    low, high = intervals.superiority_interval(share, n, n)
    assert low == pytest.approx(1 - high[::-1], abs=1e-9)
    assert low[0] == pytest.approx(0, abs=1e-9)
    assert ((low >= 0) & (low <= share + 1e-9) & (share <= high + 1e-9) & (high <= 1)).all()
