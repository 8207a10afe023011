from itertools import combinations

import numpy as np
import pytest
from helpers.simulated import normal
from scipy import stats

from calib_sweep.analysis.inference import permutation
from calib_sweep.analysis.inference.multiplicity import holm_corrected
from calib_sweep.analysis.inference.permutation import sign_flip_p, two_sample_p


def column(*values):
    return np.array(values, dtype=float)[:, None]


def flipped(*values):
    return sign_flip_p(column(*values))[0]


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


def test_rounded_sums_count_all_signs_too():
    """By hand: only +++ and --- of 1, 2, 3 reach 6; of 3, 2, -1 also +-4 do; all reach 0."""
    found = [
        permutation._of_rounded_sums(np.array(differences, dtype=float), steps=6)
        for differences in ([1, 2, 3], [3, 2, -1], [1, 2, -3], [0, 0, 0])
    ]
    assert found == [2 / 8, 4 / 8, 1.0, 1.0]


@pytest.mark.parametrize("shift", [0.1, 0.5, 1.0, 2.0])
def test_beyond_twenty_pairs_the_p_is_that_of_all_sums(shift):
    difference_N = normal("many", 22) + shift
    wanted = permutation._of_all_sums(difference_N)
    assert flipped(*difference_N) == pytest.approx(wanted, rel=0.01)
    assert flipped(*difference_N) == flipped(*-difference_N[::-1])


def test_a_difference_on_every_one_of_many_pairs_passes_holm_for_thousands_of_pairs():
    assert flipped(*[0.3] * 50) == 2.0**-49
    assert flipped(*(normal("sure", 50) + 4)) == pytest.approx(2.0**-49)
    assert holm_corrected(np.full(5000, flipped(*[0.3] * 50))).max() < 1e-10


@pytest.mark.parametrize("num_pairs", [6, 10, 25])
def test_sign_flips_keep_their_level_also_where_draws_are_not_normal(num_pairs):
    difference_NK = normal("level", num_pairs, 1500) ** 3
    p_K = sign_flip_p(difference_NK)
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


def test_random_orders_count_the_one_that_was_seen():
    a, b = normal("far", 10) + 100, normal("near", 10)
    assert two_sample_p(column(*a), column(*b), 0, 1000)[0] == 1 / 1001


@pytest.mark.parametrize("num_draws", [4, 10])
def test_two_sample_permutations_keep_their_level(num_draws):
    a, b = (normal(name, num_draws, 1500) for name in ("level/a", "level/b"))
    assert np.mean(two_sample_p(a, b, 0, 1000) <= 0.05) <= 0.065


def test_fewer_draws_that_spread_farther_hardly_raise_the_level():
    """The sum alone rejects equal means in 27 of 100 sweeps here."""
    a, b = 3 * normal("unlike/a", 5, 1500), normal("unlike/b", 20, 1500)
    assert np.mean(two_sample_p(a, b, 0, 1000) <= 0.05) <= 0.1
    swapped = two_sample_p(b, a, 0, 1000)
    assert np.mean(swapped <= 0.05) <= 0.1


def test_each_choice_is_judged_by_its_own_spread():
    """Welch's t of all 10 choices by hand: scipy's statistic, those as large counted."""
    a, b = np.array([3.0, 9.0]), np.array([1.0, 2.0, 3.5])
    both = np.concatenate([a, b])
    sizes = []
    for chosen in combinations(range(5), 2):
        mine, rest = both[list(chosen)], np.delete(both, chosen)
        sizes.append(abs(stats.ttest_ind(mine, rest, equal_var=False).statistic))
    wanted = np.mean(np.array(sizes) >= sizes[0] - 1e-12)
    assert two_sample_p(column(*a), column(*b), 0, 1000)[0] == pytest.approx(wanted)
    sums = np.abs(
        [both[list(c)].mean() - np.delete(both, c).mean() for c in combinations(range(5), 2)]
    )
    assert wanted != np.mean(sums >= sums[0] - 1e-12)  # the difference alone says something else


def test_equal_draws_on_either_side_differ_by_their_means():
    assert two_sample_p(np.ones((4, 1)), 2 * np.ones((4, 1)), 0, 1000)[0] == 2 / 70
    assert two_sample_p(np.ones((4, 1)), np.ones((4, 1)), 0, 1000)[0] == 1
    assert two_sample_p(column(3), column(1, 2), 0, 1000)[0] == pytest.approx(2 / 3)
