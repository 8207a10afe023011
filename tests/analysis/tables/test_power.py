import numpy as np
import pytest
from helpers.simulated import SETTINGS, array_of, normal
from scipy import special, stats

from calib_sweep.analysis.inference.power import (
    assured,
    noncentrality,
    pooled_df,
    seeds_for_difference,
    seeds_for_half_width,
    smallest_detectable,
)
from calib_sweep.analysis.tables.claims import claim_table
from calib_sweep.analysis.tables.comparisons import comparison_table
from calib_sweep.analysis.tables.power import COLUMNS, power_table


def power_of(num_D, num_n, alpha, target, name, num=6000):
    """Share of studies with n draws of each of D datasets that find `target`; the SD is 1."""
    n_B = np.broadcast_to(num_n, num).astype(float)
    rng = np.random.default_rng(len(name))
    variance_BD = rng.chisquare((n_B - 1)[:, None], (num, num_D)) / (n_B - 1)[:, None]
    se_B = np.sqrt(variance_BD.sum(1) / n_B) / num_D
    df_B = (n_B - 1) * variance_BD.sum(1) ** 2 / (variance_BD**2).sum(1)  # as the comparison has it
    mean_B = target + rng.standard_normal(num) / np.sqrt(num_D * n_B)
    return np.mean(np.abs(mean_B) / se_B > stats.t.isf(alpha / 2, np.maximum(df_B, 2)))


def pilots(num_D, num_n, num=6000):
    """SD of a pair, mean over datasets, and its df, as pilots of n draws see it; the truth is 1."""
    rng = np.random.default_rng(num_D * 100 + num_n)
    variance_BD = rng.chisquare(num_n - 1, (num, num_D)) / (num_n - 1)
    df_B = (num_n - 1) * variance_BD.sum(1) ** 2 / (variance_BD**2).sum(1)
    return np.sqrt(variance_BD.mean(1)), df_B


@pytest.mark.parametrize("alpha", [0.05, 0.004])
@pytest.mark.parametrize("num_pairs", [3, 5, 10, 20])
def test_seeds_planned_from_a_pilot_find_the_difference_as_often_as_they_say(num_pairs, alpha):
    sd_B, df_B = pilots(1, num_pairs)
    seeds_B = seeds_for_difference(sd_B, 0.5, 0.8, is_paired=True, known_df=df_B, alpha=alpha)
    assert power_of(1, seeds_B, alpha, 0.5, "assured") == pytest.approx(0.8, abs=0.025)
    # An SD that is taken for known has less, the more so the smaller the pilot.
    plain_B = seeds_for_difference(sd_B, 0.5, 0.8, is_paired=True, alpha=alpha)
    short = {3: 0.15, 5: 0.09, 10: 0.03, 20: 0.005}[num_pairs]
    assert power_of(1, plain_B, alpha, 0.5, "plain") < 0.8 - short


@pytest.mark.parametrize("num_pairs", [3, 5, 10, 20])
def test_seeds_of_each_of_five_datasets_find_the_difference_of_all_together(num_pairs):
    sd_B, df_B = pilots(5, num_pairs)
    plan = {"is_paired": True, "num_datasets": 5, "known_df": df_B, "alpha": 0.01}
    seeds_B = seeds_for_difference(sd_B, 0.3, 0.8, **plan)
    # More than 0.8, as seeds are whole and Satterthwaite's df of the pilot is on the safe side.
    assert 0.79 < power_of(5, seeds_B, 0.01, 0.3, "pooled") < 0.87


@pytest.mark.parametrize("num_pairs", [3, 5, 10, 20])
def test_what_would_have_shown_is_found_by_a_like_study_as_often_as_it_says(num_pairs):
    sd_B, _ = pilots(1, num_pairs)
    df = np.full(len(sd_B), num_pairs - 1.0)
    mde_B = smallest_detectable(sd_B / np.sqrt(num_pairs), df, 0.8)
    assert power_of(1, num_pairs, 0.05, mde_B, "mde") == pytest.approx(0.8, abs=0.02)


def test_the_assured_noncentrality_is_the_quantile_of_a_mixture_of_noncentral_t():
    """At many df of the test, c is the quantile of a noncentral t of the pilot's df."""
    wanted = special.nctdtrit(4, stats.norm.isf(0.025), 0.8)
    assert assured(1e9, 4, 0.8) == pytest.approx(wanted, rel=1e-4)
    shift_B = assured(9.0, 4.0, 0.8) * np.sqrt(
        stats.chi2.ppf((np.arange(2000) + 0.5) / 2000, 4) / 4
    )
    own_side = stats.nct.sf(stats.t.isf(0.025, 9), 9, shift_B)
    assert own_side.mean() == pytest.approx(0.8, abs=1e-3)


@pytest.mark.parametrize("num_pairs", [3, 10])
def test_an_interval_is_as_narrow_as_planned_as_often_as_it_says(num_pairs):
    sd_B, df_B = pilots(1, num_pairs)
    seeds_B = seeds_for_half_width(sd_B, 0.4, 0.8, df_B)
    rng = np.random.default_rng(0)
    sd_new_B = np.sqrt(rng.chisquare(seeds_B - 1) / (seeds_B - 1))
    half_B = stats.t.isf(0.025, seeds_B - 1) * sd_new_B / np.sqrt(seeds_B)
    assert np.mean(half_B <= 0.4) == pytest.approx(0.8, abs=0.03)


def test_df_over_datasets_that_vary_alike_is_what_satterthwaites_is_on_average():
    for num_D, num_n in ((1, 5), (5, 3), (5, 10)):
        assert pooled_df(num_n, num_D) == pytest.approx(pilots(num_D, num_n)[1].mean(), rel=0.07)


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


def table_of(array, settings=SETTINGS):
    comparisons = comparison_table([array], settings)
    claims = claim_table({"comparisons": comparisons})
    return power_table([array], comparisons, claims, settings), comparisons, claims


def test_the_table_has_a_row_per_target_for_each_method_and_each_pair():
    array = array_of(0.5 + 0.01 * normal("table", 2, 2, 5, 1), metrics=["acc/mean"])
    table, comparisons, claims = table_of(array)
    assert list(table.columns) == COLUMNS
    counts = table.groupby(["goal", "kind", "target"]).size().to_dict()
    assert counts == {
        ("difference", "dataset", 0.005): 1,
        ("difference", "dataset", 0.01): 1,
        ("difference", "method", 0.005): 3,  # each dataset, and both together
        ("difference", "method", 0.01): 3,
        ("half_width", "", 0.005): 4,
        ("half_width", "", 0.01): 4,
        ("open", "method", 0.005): 1,
        ("superiority", "dataset", 0.75): 1,
        ("superiority", "method", 0.75): 1,
    }
    own = table[(table["goal"] == "difference") & (table["kind"] == "method")]
    single, pooled = own[own["dataset"] != ""].iloc[0], own[own["dataset"] == ""].iloc[0]
    row = comparisons[comparisons["dataset"] == single["dataset"]].iloc[0]
    assert (single["sd"], single["n"], single["num_datasets"]) == (row["sd_diff"], 5, 1)
    assert (single["alpha"], pooled["alpha"]) == pytest.approx((0.05 * 9 / 38, 0.05 * 10 / 19))
    assert len(claims[claims["kind"] != "new_dataset"]) == 3
    assert (pooled["n"], pooled["num_datasets"]) == (5, 2)
    assert single["seeds_lo"] <= single["seeds"] <= single["seeds_hi"]
    assert pooled["seeds"] < single["seeds"]
    se = row["sd_diff"] / np.sqrt(5)
    assert single["now"] == pytest.approx(assured(4.0, 4.0, 0.8, 0.05 * 9 / 38) * se, rel=1e-3)
    width = table[table["goal"] == "half_width"].iloc[0]
    draw_S = array.value_MDSE[0, 0, :, 0]
    assert width["sd"] == pytest.approx(draw_S.std(ddof=1))
    assert width["now"] == pytest.approx(2.7764 * draw_S.std(ddof=1) / np.sqrt(5), rel=1e-4)


def test_the_open_pair_is_the_one_with_the_smallest_difference_and_half_of_it_the_target():
    value = 0.5 + 0.05 * normal("open", 3, 1, 6, 1)
    value += (
        np.reshape([0.0, 0.05, 0.0501], (-1, 1, 1, 1)) - value.mean(axis=2, keepdims=True) + 0.5
    )
    value[2] += 0.02
    table, comparisons, claims = table_of(array_of(value, metrics=["acc/mean"]))
    assert (claims["winner"] == "").all()
    (row,) = table[table["goal"] == "open"].to_dict("records")
    pooled = comparisons[comparisons["dataset"] == ""].set_index(["a", "b"])["mean_diff"].abs()
    assert (row["method"], row["against"]) == pooled.idxmin() == ("sparsegpt", "spqr")
    assert row["target"] == pytest.approx(pooled.min() / 2)
    assert row["alpha"] == pytest.approx(0.05 / 3)
    wanted = seeds_for_difference(
        row["sd"], row["target"], 0.8, is_paired=True, known_df=5.0, alpha=0.05 / 3
    )
    assert row["seeds"] == wanted


def test_a_pair_that_is_claimed_is_not_open_and_a_tiny_difference_has_the_smallest_target():
    value = 0.5 + 0.001 * normal("claimed", 2, 1, 6, 1)
    value[1] += 0.1
    assert not (table_of(array_of(value, metrics=["acc/mean"]))[0]["goal"] == "open").any()
    value[1] -= 0.1
    table = table_of(array_of(value, metrics=["acc/mean"]))[0]
    assert table.loc[table["goal"] == "open", "target"].tolist() == [0.005]


def test_what_no_number_of_seeds_would_tell_apart_is_not_open():
    """One has diverged; the same difference on three draws; no difference on any."""
    blown = np.log(8) + 0.01 * normal("blown", 2, 1, 6, 1)
    blown[0] -= 0.001
    blown[0, 0, 2] = 20.0
    still = np.full((2, 1, 3, 1), 0.5)
    moved = still + np.reshape([0.0, 0.01], (2, 1, 1, 1))
    for value, metric in ((blown, "ppl/geomean"), (still, "acc/mean"), (moved, "acc/mean")):
        table, _, claims = table_of(array_of(value, metrics=[metric]))
        own = claims[claims["kind"] == "methods"]
        assert (own["winner"] == "").all() and own["p"].notna().all()
        assert not (table["goal"] == "open").any()


def test_only_datasets_that_are_in_the_mean_are_planned_for():
    value = 0.5 + 0.01 * normal("planned", 2, 3, 6, 1)
    value[0, :, :3], value[1, :, 3:] = np.nan, np.nan  # no draws in common
    value[1, 2] = np.nan
    value[1, 2, 0] = 0.5  # one draw: nothing is known of the third dataset
    (row,) = (t := table_of(array_of(value, metrics=["acc/mean"]))[0])[t["goal"] == "open"].to_dict(
        "records"
    )
    assert (row["num_datasets"], row["n"]) == (2, 3)


def test_two_datasets_need_the_seeds_of_two_samples():
    array = array_of(0.5 + 0.01 * normal("datasets", 2, 2, 5, 1))
    table = table_of(array)[0]
    row = table[(table["kind"] == "dataset") & (table["target"] == 0.01)].iloc[0]
    assert (row["method"], row["dataset"], row["against"]) == ("*", "text00", "text01")
    mean_2S = array.value_MDSE[..., 0].mean(0)
    variances = mean_2S.var(axis=1, ddof=1)
    assert row["sd"] == pytest.approx(np.sqrt(variances.mean()))
    df = 4 * variances.sum() ** 2 / (variances**2).sum()
    wanted = seeds_for_difference(row["sd"], 0.01, 0.8, is_paired=False, known_df=df)
    assert row["seeds"] == wanted
    # the SD of two samples of five is known better than that of one: df is between 4 and 8
    assert 5 < (row["seeds_hi"] / row["seeds_lo"]) < 30
    assert row["seeds_lo"] < row["seeds"] < row["seeds_hi"]
