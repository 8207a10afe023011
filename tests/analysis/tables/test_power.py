import numpy as np
import pytest
from helpers.simulated import SETTINGS, array_of, normal
from scipy import stats

from calib_sweep.analysis.inference.power import (
    noncentrality,
    seeds_for_difference,
    seeds_for_half_width,
    smallest_detectable,
)
from calib_sweep.analysis.tables.comparisons import comparison_table
from calib_sweep.analysis.tables.power import COLUMNS, power_table


@pytest.mark.parametrize("num_pairs", [3, 5, 10, 20])
def test_the_smallest_detectable_difference_is_detected_as_often_as_it_says(num_pairs):
    mde = smallest_detectable(np.array([2 / np.sqrt(num_pairs)]), np.array([num_pairs - 1]), 0.8)[0]
    draw_BS = mde + 2.0 * normal("power", 4000, num_pairs)
    found = stats.ttest_1samp(draw_BS, 0, axis=1).pvalue < 0.05
    assert np.mean(found) == pytest.approx(0.8, abs=0.02)


def test_statsmodels_finds_the_same_noncentrality():
    from statsmodels.stats.power import TTestPower

    for num_pairs in (5, 10, 30):
        effect = TTestPower().solve_power(nobs=num_pairs, alpha=0.05, power=0.9)
        found = noncentrality(np.array([num_pairs - 1]), 0.9)[0] / np.sqrt(num_pairs)
        assert found == pytest.approx(effect, rel=1e-4)


def test_numbers_of_seeds_known_from_tables_of_sample_sizes():
    """Two-sided 5 %, power 0.8; an SD of one, differences of 0.5, 1, 1.5 and 2."""
    sd = 1 / np.array([0.5, 1.0, 1.5, 2.0])
    assert seeds_for_difference(sd, 1.0, 0.8, is_paired=False).tolist() == [64, 17, 9, 6]
    assert seeds_for_difference(sd, 1.0, 0.8, is_paired=True).tolist() == [34, 10, 6, 5]
    # t(n-1) / sqrt(n) <= 0.5 first at n = 18: 2.110 / 4.243 = 0.497
    assert seeds_for_half_width(np.array([1.0]), 0.5).tolist() == [18]


def test_no_spread_needs_the_least_and_the_impossible_is_infinite():
    assert seeds_for_half_width(np.array([0.0, 1e9, np.nan]), 0.01)[:2].tolist() == [3, np.inf]
    assert np.isnan(seeds_for_half_width(np.array([np.nan]), 0.01))


def test_the_table_has_a_row_per_target_for_each_method_and_each_pair():
    array = array_of(0.5 + 0.01 * normal("table", 2, 2, 5, 1))
    comparisons = comparison_table([array], SETTINGS)
    table = power_table([array], comparisons, SETTINGS)
    assert list(table.columns) == COLUMNS
    counts = table.groupby(["goal", "kind", "target"]).size().to_dict()
    assert counts == {
        ("difference", "dataset", 0.005): 1,
        ("difference", "dataset", 0.01): 1,
        ("difference", "method", 0.005): 2,
        ("difference", "method", 0.01): 2,
        ("half_width", "", 0.005): 4,
        ("half_width", "", 0.01): 4,
        ("superiority", "dataset", 0.75): 1,
        ("superiority", "method", 0.75): 1,
    }
    pair = table[(table["goal"] == "difference") & (table["kind"] == "method")].iloc[0]
    row = comparisons[comparisons["dataset"] == pair["dataset"]].iloc[0]
    assert (pair["sd"], pair["now"], pair["n"]) == (row["sd_diff"], row["mde"], 5)
    assert pair["seeds_lo"] <= pair["seeds"] <= pair["seeds_hi"]
    width = table[table["goal"] == "half_width"].iloc[0]
    draw_S = array.value_MDSE[0, 0, :, 0]
    assert width["sd"] == pytest.approx(draw_S.std(ddof=1))
    assert width["now"] == pytest.approx(2.7764 * draw_S.std(ddof=1) / np.sqrt(5), rel=1e-4)


def test_two_datasets_need_the_seeds_of_two_samples():
    array = array_of(0.5 + 0.01 * normal("datasets", 2, 2, 5, 1))
    table = power_table([array], comparison_table([array], SETTINGS), SETTINGS)
    row = table[(table["kind"] == "dataset") & (table["target"] == 0.01)].iloc[0]
    assert (row["method"], row["dataset"], row["against"]) == ("*", "text00", "text01")
    mean_2S = array.value_MDSE[..., 0].mean(0)
    assert row["sd"] == pytest.approx(np.sqrt(mean_2S.var(axis=1, ddof=1).mean()))
    sd = np.array([row["sd"]])
    assert row["seeds"] == seeds_for_difference(sd, 0.01, 0.8, is_paired=False)[0]
    # the SD of two samples of five is known better than that of one: df is between 4 and 8
    assert 5 < (row["seeds_hi"] / row["seeds_lo"]) < 30
    assert row["seeds_lo"] < row["seeds"] < row["seeds_hi"]
