import numpy as np
import pytest
from helpers.simulated import SETTINGS, array_of, normal
from scipy import stats

from calib_sweep.analysis.inference import intervals
from calib_sweep.analysis.inference.superiority import (
    draws_needed,
    draws_show,
    pairs_needed,
    pairs_show,
)
from calib_sweep.analysis.tables.comparisons import comparison_table
from calib_sweep.analysis.tables.power import needed


def shown_by_pairs(num_pairs, share):
    """Probability that Clopper and Pearson's interval of the wins lies above 1/2."""
    wins = np.arange(num_pairs + 1)
    low, _ = intervals.share_interval(wins, np.full(num_pairs + 1, num_pairs))
    return stats.binom.pmf(wins, num_pairs, share)[low > 0.5].sum()


@pytest.mark.parametrize(("share", "power"), [(0.75, 0.8), (0.9, 0.8), (0.75, 0.95)])
def test_so_many_pairs_and_any_more_show_it_and_one_less_does_not(share, power):
    num = int(pairs_needed(share, power))
    assert all(shown_by_pairs(n, share) >= power for n in range(num, num + 50))
    assert shown_by_pairs(num - 1, share) < power


@pytest.mark.parametrize("num_pairs", [6, 10, 35])
def test_what_so_many_pairs_show_is_shown_as_often_as_asked_for(num_pairs):
    assert shown_by_pairs(num_pairs, pairs_show(num_pairs, 0.8)) == pytest.approx(0.8)


def test_five_pairs_show_nothing_and_the_impossible_is_infinite():
    assert np.isnan(pairs_show(5, 0.8)) and np.isnan(draws_show(3, 0.8))
    assert pairs_needed(0.5001, 0.8) == draws_needed(0.5001, 0.8) == np.inf


def test_noethers_numbers_by_hand():
    # ((1.960 + 0.842) / (2.449 * 0.25))^2 = 20.9, and 8.2 for 0.4 instead of 0.25
    assert draws_needed(0.75, 0.8) == 21
    assert draws_needed(0.9, 0.8) == 9
    assert draws_needed(draws_show(21, 0.8), 0.8) == pytest.approx(21, abs=1)


@pytest.mark.parametrize("share", [0.75, 0.9])
def test_two_datasets_with_so_many_draws_are_told_apart_as_often_as_said_or_more(share):
    num_draws = int(draws_needed(share, 0.8))
    shift = np.sqrt(2) * stats.norm.ppf(share)
    a, b = (normal(f"superiority/{name}", 3000, num_draws) for name in ("a", "b"))
    seen = (a[:, :, None] + shift > b[:, None]).mean((1, 2))
    n = np.full(len(seen), num_draws)
    found = np.mean(intervals.superiority_interval(seen, n, n)[0] > 0.5)
    assert 0.8 <= found <= 0.96


def test_a_row_for_any_two_methods_and_any_two_datasets_counts_the_fewest_draws():
    value = 0.5 + 0.01 * normal("rows", 3, 2, 8, 1)
    value[0, 0, 6:] = np.nan
    comparisons = comparison_table([array_of(value)], SETTINGS).rename(columns={"n_pairs": "n"})
    own = comparisons[(comparisons["kind"] == "dataset") | (comparisons["dataset"] != "")]
    methods, datasets = needed(own, SETTINGS).to_dict("records")
    assert (methods["kind"], methods["n"], methods["seeds"]) == ("method", 6, 35)
    assert methods["now"] == pairs_show(6, 0.8)
    assert (datasets["kind"], datasets["n"], datasets["seeds"]) == ("dataset", 6, 21)
    assert {row[key] for row in (methods, datasets) for key in ("method", "against")} == {"*"}
