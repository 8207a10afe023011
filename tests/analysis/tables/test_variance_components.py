import numpy as np
import pytest
from helpers.dyestuff import DYESTUFF
from helpers.simulated import (
    COMPONENTS,
    SETTINGS,
    array_of,
    crossed,
    normal,
    row,
    rows_of,
    share_inside,
)

from calib_sweep.analysis.inference.anova import crossed_anova, nested_anova
from calib_sweep.analysis.scores.arrays import score_arrays
from calib_sweep.analysis.tables.variance_components import COLUMNS, variance_table
from calib_sweep.seeding import stream

NUM_SWEEPS = 1500
ONE_DRAWN = {"dataset": 0.5, "draw": 1.0}


def one_method(num_D, num_S, num_sweeps, variances=ONE_DRAWN):
    """Scores of one method [D, S, 1, sweep]."""
    between = np.sqrt(variances["dataset"]) * normal("one/dataset", num_D, 1, 1, num_sweeps)
    return between + np.sqrt(variances["draw"]) * normal("one/draw", num_D, num_S, 1, num_sweeps)


@pytest.mark.parametrize(("num_D", "num_S"), [(3, 3), (3, 10), (5, 5), (10, 3)])
def test_intervals_of_one_methods_components_hold_the_truth(num_D, num_S):
    anova = nested_anova(one_method(num_D, num_S, NUM_SWEEPS))
    low, high = anova.interval(0, 1000)
    for name, truth in ONE_DRAWN.items():
        line = anova.names.index(name)
        assert 0.93 <= share_inside((low[line], high[line]), truth) <= 0.97, name


@pytest.mark.parametrize(("num_M", "num_D", "num_S"), [(4, 5, 5), (3, 3, 3)])
def test_intervals_of_components_across_methods_hold_the_truth(num_M, num_D, num_S):
    anova = crossed_anova(crossed("cover", num_M, num_D, num_S, NUM_SWEEPS, COMPONENTS))
    low, high = anova.interval(0, 1000)
    for name, truth in COMPONENTS.items():
        line = anova.names.index(name)
        assert 0.93 <= share_inside((low[line], high[line]), truth) <= 0.975, name


@pytest.mark.parametrize("num_S", [3, 5])
def test_intervals_across_methods_hold_where_one_moves_four_times_as_far(num_S):
    """`method:draw` is the mean over methods of each one's own variance."""
    value = crossed("unlike", 4, 5, num_S, 600, {**COMPONENTS, "method:draw": 0.0})
    sd = np.array([1.0, 1.0, 1.0, 4.0]).reshape(4, 1, 1, 1)
    anova = crossed_anova(value + sd * np.sqrt(0.1) * normal("unlike/own", 4, 5, num_S, 600))
    low, high = anova.interval(0, 1000)
    truth = {**COMPONENTS, "method:draw": 0.1 * np.mean(sd**2)}
    for line, name in enumerate(anova.names):
        assert 0.93 <= share_inside((low[line], high[line]), truth[name]) <= 0.98, name


def test_the_interval_of_the_draw_holds_where_datasets_spread_unlike_or_tails_are_heavy():
    sd = np.geomspace(1, 3, 5).reshape(5, 1, 1, 1)
    sd = sd / np.sqrt(np.mean(sd**2))
    draw = stream("tests/heavy/one").exponential(size=(5, 5, 1, 600)) - 1
    for value, least in ((sd * one_method(5, 5, 600), 0.92), (draw, 0.84)):
        anova = nested_anova(value)
        low, high = anova.interval(0, 1000)
        line = anova.names.index("draw")
        assert least <= share_inside((low[line], high[line]), 1.0) <= 0.975


def test_a_component_of_zero_is_held_by_its_interval():
    anova = nested_anova(one_method(5, 5, NUM_SWEEPS, {"dataset": 0.0, "draw": 1.0}))
    low, high = anova.interval(0, 1000)
    assert share_inside((low[2], high[2]), 0.0) >= 0.95
    assert low[2].min() == 0  # a variance is not negative


def test_estimates_are_right_on_average_also_with_unequal_numbers_of_draws():
    value = one_method(5, 8, 4000)
    for d in range(5):
        value[d, 3 + d :] = np.nan
    estimate = dict(
        zip(("replicate", "draw", "dataset"), nested_anova(value).estimate(), strict=True)
    )
    assert estimate["draw"].mean() == pytest.approx(1.0, abs=0.02)
    assert estimate["dataset"].mean() == pytest.approx(0.5, abs=0.04)
    across = crossed("mean", 3, 4, 6, 4000, COMPONENTS)
    across[:, 0, 2:] = np.nan
    anova = crossed_anova(across)
    for name, found in zip(anova.names, anova.estimate(), strict=True):
        assert found.mean() == pytest.approx(COMPONENTS[name], abs=0.08), name


def one_array(value_MDSE, **fields):
    (array,) = score_arrays(rows_of(value_MDSE, **fields))
    return array


def components(array, **wanted):
    table = variance_table([array], SETTINGS)
    for key, value in wanted.items():
        table = table[table[key] == value]
    return table.set_index("component")


def test_the_dyestuff_data_have_their_published_components():
    value = DYESTUFF.reshape(1, 6, 5, 1)
    found = components(array_of(value), method="gptq")
    assert found["variance"].to_dict() == {"dataset": pytest.approx(1764.05), "draw": 2451.25}
    assert found["anova"].to_dict() == pytest.approx(found["variance"].to_dict())
    assert found.loc["dataset", "share"] == pytest.approx(1764.05 / (1764.05 + 2451.25))
    assert found.loc["dataset", "icc"] == found.loc["dataset", "share"]
    # exact: 24 * 2451.25 / chi2(24) at 97.5 % and 2.5 %
    assert found.loc["draw", "sd_lo"] ** 2 == pytest.approx(58830 / 39.364, rel=0.01)
    assert found.loc["draw", "sd_hi"] ** 2 == pytest.approx(58830 / 12.401, rel=0.01)


def test_the_columns_are_the_promised_ones_and_all_methods_are_a_star():
    table = variance_table([array_of(crossed("table", 3, 3, 4, 2, COMPONENTS))], SETTINGS)
    assert list(table.columns[: len(COLUMNS)]) == COLUMNS
    assert list(dict.fromkeys(table["method"])) == ["gptq", "sparsegpt", "spqr", "*"]
    star = table[table["method"] == "*"]
    assert list(star["component"][:5]) == list(COMPONENTS)
    assert star.groupby("metric")["share"].sum().tolist() == pytest.approx([1.0, 1.0])
    last = star[star["component"] == "method:draw"]
    assert last["icc"].tolist() == pytest.approx([1.0, 1.0])


def test_reml_is_the_anova_in_a_complete_design_and_never_negative():
    array = array_of(crossed("reml", 4, 3, 4, 20, COMPONENTS))
    table = variance_table([array], SETTINGS)
    feasible = table.groupby(["method", "metric"])["anova"].transform("min") >= 0
    assert feasible.any() and not feasible.all()
    same = table[feasible]
    assert same["variance"].to_numpy() == pytest.approx(same["anova"].to_numpy())
    assert (table["variance"] >= 0).all()


def test_a_missing_cell_is_left_out_of_the_interval_and_said():
    value = crossed("missing", 3, 3, 5, 1, COMPONENTS)
    value[1, 2, 0] = np.nan
    star = components(array_of(value), method="*")
    said = "the interval leaves out draws that not every method has: 1"
    assert star["note"].str.endswith(said).all()
    assert star.loc["method:draw", "df"] == 2 * 11
    own = components(array_of(value), method="sparsegpt")
    assert own.loc["draw", "df"] == 11


def test_a_score_that_is_not_finite_is_left_out_and_said():
    value = crossed("infinite", 3, 3, 5, 1, COMPONENTS)
    value[1, 2, 0] = np.inf
    array = array_of(value, metrics=["ppl/a"])
    said = "leaves out scores that are not finite or have diverged: 1"
    for method, its_own in (("sparsegpt", True), ("*", True), ("gptq", False)):
        notes = components(array, method=method)["note"]
        assert notes.str.endswith(said).all() == its_own, method
    assert components(array, method="sparsegpt").loc["draw", "df"] == 11


def test_a_diverged_draw_is_in_no_component():
    value = crossed("diverged", 2, 3, 5, 1, COMPONENTS)
    value[1, 2, 0] = 30.0
    lost = value.copy()
    lost[1, 2, 0] = np.nan
    for method in ("sparsegpt", "*"):
        own, wanted = (
            components(array_of(v, metrics=["ppl/a"]), method=method) for v in (value, lost)
        )
        assert own["sd"].tolist() == pytest.approx(wanted["sd"].tolist())
        assert own["note"].str.contains("diverged: 1").all()


def test_one_dataset_has_no_number_for_what_lies_between_datasets():
    found = components(array_of(crossed("single", 3, 1, 5, 1, COMPONENTS)), method="*")
    assert np.isnan(found.loc["dataset", "variance"])
    assert np.isnan(found.loc["method:dataset", "variance"])
    assert "one dataset" in found.loc["dataset", "note"]
    assert found.loc[["method", "draw", "method:draw"], "variance"].notna().all()


def test_two_datasets_have_an_estimate_but_no_interval():
    found = components(array_of(crossed("two", 2, 2, 5, 1, COMPONENTS)), method="gptq")
    assert found.loc["dataset", "variance"] >= 0
    assert np.isnan(found.loc["dataset", "sd_lo"])
    assert found.loc["dataset", "note"] == "dataset has 1 degree of freedom: no interval"


def test_one_seed_each_tells_nothing_of_draws():
    found = variance_table([array_of(crossed("one", 3, 4, 1, 1, COMPONENTS))], SETTINGS)
    assert found["variance"].isna().all()
    assert found["note"].str.contains("cannot be told apart").all()


def repeated(noise):
    value = one_method(3, 5, 1)[..., 0][None]
    again = value + noise * normal("again", *value.shape)
    return [*rows_of(value), *rows_of(again, replicate=1)]


def test_replicates_have_a_component_of_their_own():
    (array,) = score_arrays(repeated(0.1))
    found = components(array, method="gptq")
    assert list(found.index) == ["dataset", "draw", "replicate"]
    difference = 0.1 * normal("again", 1, 3, 5, 1).ravel()
    assert found.loc["replicate", "variance"] == pytest.approx(np.mean(difference**2) / 2, rel=1e-6)
    assert found.loc["replicate", "df"] == 15
    assert found.loc["draw", "icc"] == pytest.approx(1 - found.loc["replicate", "share"])


def test_bit_equal_replicates_have_a_component_of_exactly_zero():
    (array,) = score_arrays(repeated(0.0))
    found = components(array, method="gptq")
    (without,) = score_arrays(rows_of(one_method(3, 5, 1)[..., 0][None]))
    assert found.loc["replicate", "variance"] == 0
    assert found.loc["draw", "variance"] == pytest.approx(
        components(without, method="gptq").loc["draw", "variance"]
    )


def test_methods_without_data_and_sets_of_other_sizes_are_kept_apart():
    value = crossed("sizes", 2, 3, 4, 1, COMPONENTS)
    small = rows_of(value, **{"calibration.num_samples": 16})
    large = rows_of(value + 1, **{"calibration.num_samples": 128})
    arrays = score_arrays([*small, *large, row("magnitude", 0.4, metric="acc/task0")])
    methods = list(dict.fromkeys(variance_table(arrays, SETTINGS)["method"]))
    assert methods == [
        "gptq num_samples=128",
        "gptq num_samples=16",
        "sparsegpt num_samples=128",
        "sparsegpt num_samples=16",
        "* num_samples=128",
        "* num_samples=16",
    ]


def test_perplexity_is_decomposed_on_the_log_scale():
    value = crossed("log", 1, 3, 4, 1, COMPONENTS)
    plain = components(array_of(value), method="gptq")
    logged = components(one_array(np.exp(value), metrics=["ppl/a@64"]), method="gptq")
    assert logged["variance"].to_numpy() == pytest.approx(plain["variance"].to_numpy())


def test_equal_draws_of_incomplete_datasets_leave_what_lies_between_datasets():
    """All of 0.7 in one dataset, one draw of 0.75 in another: the rest is still to come."""
    value = np.full((1, 2, 3, 1), 0.7)
    value[0, 1] = [[0.75], [np.nan], [np.nan]]
    found = variance_table([array_of(value)], SETTINGS).set_index("component")["variance"]
    assert found["dataset"] == pytest.approx(0.05**2 / 2)
    assert found["draw"] == 0


@pytest.mark.parametrize("others", [1, 3])
def test_where_one_dataset_is_complete_the_draw_is_that_of_this_dataset(others):
    """The second method has not run on the other datasets, which lie ten SDs apart.

    Of two methods on one dataset the component draw is the covariance of their scores, that of
    method:draw what is left of their mean variance.
    """
    value = 0.4 * normal("alone/shared", 1, 1 + others, 5, 1) + 0.3 * normal(
        "alone/own", 2, 1 + others, 5, 1
    )
    value = value + 10 * np.arange(1 + others).reshape(1, -1, 1, 1)
    value[1] += 2  # the methods differ, or their component would be 0 and the others take it up
    value[1, 1:] = np.nan
    covariance = np.cov(value[:, 0, :, 0])
    assert covariance[0, 1] > 0
    found = components(array_of(value), method="*")
    assert found.loc["draw", "variance"] == pytest.approx(covariance[0, 1])
    left = (covariance[0, 0] + covariance[1, 1]) / 2 - covariance[0, 1]
    assert found.loc["method:draw", "variance"] == pytest.approx(left)
    assert found.loc["draw", "sd"] < found.loc["draw", "sd_hi"]
    assert np.isnan(found.loc["dataset", "variance"])
    said = f"one dataset has draws that every method has: {others} others are left out"
    assert said.replace("1 others are", "1 other is") in found.loc["draw", "note"]


def test_a_second_dataset_with_one_complete_draw_is_told_from_the_draw():
    """Its effect of 10 must not count as draw, although one draw has no spread."""
    value = 0.4 * normal("barely/shared", 1, 2, 8, 1) + 0.3 * normal("barely/own", 2, 2, 8, 1)
    value[:, 1] += 10
    value[1, 1, 1:] = np.nan
    found = components(array_of(value), method="*")
    assert found.loc["draw", "sd"] < 1
    assert found.loc["dataset", "sd"] == pytest.approx(10 / np.sqrt(2), rel=0.1)


def test_where_no_draw_is_complete_nothing_is_said_across_methods():
    value = normal("apart", 2, 2, 5, 1)
    value[0, 0], value[1, 1] = np.nan, np.nan
    table = variance_table([array_of(value)], SETTINGS)
    assert "*" not in set(table["method"])
    own = table[table["component"] == "draw"]["sd"].to_numpy()
    assert own == pytest.approx([value[0, 1].std(ddof=1), value[1, 0].std(ddof=1)])


def test_with_replicates_the_draw_of_one_complete_dataset_is_free_of_the_other():
    """A dataset of one draw, ten SDs away, adds to the dataset and not to draw or replicate."""
    value = normal("alone/draw", 1, 2, 6, 1)
    value[0, 1] += 10
    value[0, 1, 1:] = np.nan
    again = value + 0.1 * normal("alone/again", 1, 2, 6, 1)
    (array,) = score_arrays([*rows_of(value), *rows_of(again, replicate=1)])
    found = components(array, method="gptq")
    pair_S2 = np.stack([value[0, 0, :, 0], again[0, 0, :, 0]], axis=1)
    between = pair_S2.mean(1).var(ddof=1)
    repeats = np.append(np.ptp(pair_S2, axis=1), again[0, 1, 0, 0] - value[0, 1, 0, 0])
    noise = np.mean(repeats**2) / 2
    assert found.loc["draw", "variance"] == pytest.approx(between - noise / 2, rel=0.01)
    assert found.loc["replicate", "variance"] == pytest.approx(noise, rel=0.05)
