import numpy as np
import pytest
from scipy import stats
from simulated import normal

from calib_sweep.analysis import permutation
from calib_sweep.analysis.permutation import sign_flip_p, two_sample_p


def column(*values):
    return np.array(values, dtype=float)[:, None]


def flipped(*values, seed=0):
    return sign_flip_p(column(*values), seed, 1000)[0]


def test_worked_examples_of_sign_flips():
    assert flipped(1, 1, 1, 1, 1) == 2 / 32  # only all plus and all minus are as far from zero
    assert flipped(1, 2, 3) == 2 / 8
    assert flipped(1, 2, -3) == 1.0  # the sum is 0, and every sum is at least as large
    assert flipped(3, 2, -1) == 4 / 8  # +-4 and +-6 of 6, 4, 2, 0, 0, -2, -4, -6
    assert flipped(0, 0, 0) == 1.0
    assert flipped(2) == 1.0


def test_half_sums_count_what_all_sums_would():
    difference_N = normal("flips", 9) + 0.4
    sums = permutation._all_signs(9) @ difference_N
    wanted = np.mean(np.abs(sums) >= abs(difference_N.sum()) - 1e-9)
    assert flipped(*difference_N) == pytest.approx(wanted)
    found = stats.permutation_test(
        (difference_N,),
        np.mean,
        permutation_type="samples",
        n_resamples=np.inf,
    )
    assert flipped(*difference_N) == pytest.approx(found.pvalue)


def test_twenty_pairs_are_exact_and_more_are_sampled_and_close():
    difference_N = normal("many", 21) + 0.3
    exact = stats.permutation_test(
        (difference_N[:20],), np.mean, permutation_type="samples", n_resamples=20_000
    )
    assert flipped(*difference_N[:20]) == pytest.approx(exact.pvalue, abs=0.015)
    sampled = sign_flip_p(difference_N[:, None], 0, 20_000)[0]
    seed = sign_flip_p(difference_N[:, None], 1, 20_000)[0]
    assert sampled == pytest.approx(stats.ttest_1samp(difference_N, 0).pvalue, abs=0.03)
    assert sampled != seed
    assert sampled == sign_flip_p(difference_N[:, None], 0, 20_000)[0]


@pytest.mark.parametrize("num_pairs", [6, 10, 25])
def test_sign_flips_keep_their_level_also_where_draws_are_not_normal(num_pairs):
    difference_NK = normal("level", num_pairs, 1500) ** 3
    p_K = sign_flip_p(difference_NK, 0, 1000)
    assert np.mean(p_K <= 0.05) <= 0.065


def test_pairs_that_are_not_there_do_not_count():
    assert flipped(1, np.nan, 2, 3) == 2 / 8
    assert np.isnan(flipped(np.nan))
    assert np.isnan(flipped(1, np.inf))


def test_worked_example_of_two_samples():
    # 4, 5 against 1, 2, 3: of 10 choices of two, {4, 5} and {1, 2} lie farthest from the mean sum
    # of 6, by 3: p = 2 / 10.
    assert two_sample_p(column(4, 5), column(1, 2, 3), 0, 1000)[0] == 0.2


def test_two_samples_agree_with_scipy():
    a, b = normal("a", 5) + 1, normal("b", 5)
    found = stats.permutation_test(
        (a, b), lambda x, y, axis: x.mean(axis) - y.mean(axis), n_resamples=np.inf, vectorized=True
    )
    assert two_sample_p(column(*a), column(*b), 0, 1000)[0] == pytest.approx(found.pvalue)


@pytest.mark.parametrize("num_draws", [4, 10])
def test_two_sample_permutations_keep_their_level(num_draws):
    a, b = (normal(name, num_draws, 1500) for name in ("level/a", "level/b"))
    assert np.mean(two_sample_p(a, b, 0, 1000) <= 0.05) <= 0.065
