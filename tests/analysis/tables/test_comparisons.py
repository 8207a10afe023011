import numpy as np
import pytest
from helpers.simulated import SETTINGS, array_of, normal, row, rows_of
from scipy import stats
from statsmodels.stats.multitest import multipletests

from calib_sweep.analysis import formatting
from calib_sweep.analysis.scores.arrays import score_arrays
from calib_sweep.analysis.tables.comparisons import COLUMNS, comparison_table, dataset_table
from calib_sweep.analysis.tables.verdicts import NO_WIDTH, ONE_SPREAD


def compare(a, b, **fields):
    """The rows of two methods with scores [D, S]; dataset "" is pooled."""
    value = np.stack([np.asarray(a, float), np.asarray(b, float)])[..., None]
    table = comparison_table([array_of(value, **fields)], SETTINGS)
    return table[table["kind"] == "method"].set_index("dataset")


def test_a_worked_example_of_paired_draws():
    """Differences 1, 2, 3, 4: mean 2.5, SD sqrt(5/3), t(3) = 3.1824; all four won by a."""
    found = compare([[2.0, 4.0, 6.0, 8.0]], [[1.0, 2.0, 3.0, 4.0]]).loc["text00"]
    assert (found["a"], found["b"], found["n_pairs"]) == ("gptq", "sparsegpt", 4)
    assert found["mean_diff"] == 2.5
    half = 3.18245 * np.sqrt(5 / 3) / 2
    assert (found["lo"], found["hi"]) == (
        pytest.approx(2.5 - half, abs=1e-4),
        pytest.approx(2.5 + half, abs=1e-4),
    )
    assert found["p"] == pytest.approx(2 * stats.t.sf(2.5 / np.sqrt(5 / 12), 3))
    assert found["p_flip"] == 2 / 16
    assert (found["prob_better"], found["prob_hi"]) == (1.0, 1.0)
    assert found["prob_lo"] == pytest.approx(0.025 ** (1 / 4))
    assert found["verdict"] == "a better"
    assert found["note"] == "4 pairs: p_flip cannot be below 0.125, corrected 0.125"


def test_a_tie_is_half_a_win():
    found = compare([[1.0, 2.0, 3.0, 4.0]], [[1.0, 1.0, 3.5, 4.0]]).loc["text00"]
    assert found["prob_better"] == (1 + 2 / 2) / 4


def test_lower_perplexity_is_better_and_compared_by_its_logarithm():
    found = compare([np.exp([1.0, 1.1, 1.2])], [np.exp([2.0, 2.2, 2.4])], metrics=["acc/x"])
    assert found["verdict"].tolist() == ["b better", "b better"]
    rows = rows_of(np.exp([[[1.0, 1.1, 1.2]], [[2.0, 2.2, 2.4]]])[..., None], metrics=["ppl/a@64"])
    table = comparison_table(score_arrays(rows), SETTINGS).set_index("dataset")
    assert table.loc["text00", "mean_diff"] == pytest.approx(-1.1)
    assert table.loc["text00", "verdict"] == "a better"
    assert table.loc["text00", "prob_better"] == 1.0


def test_the_columns_are_the_promised_ones_and_every_pair_has_a_pooled_row():
    array = array_of(normal("columns", 3, 2, 4, 2))
    table = comparison_table([array], SETTINGS)
    assert list(table.columns[: len(COLUMNS)]) == COLUMNS
    methods = table[table["kind"] == "method"]
    assert len(methods) == 3 * 2 * (2 + 1)
    assert (methods["dataset"] == "").sum() == 3 * 2
    datasets = table[table["kind"] == "dataset"]
    assert datasets[["a", "b", "dataset"]].drop_duplicates().to_numpy().tolist() == [
        ["text00", "text01", ""]
    ]


def test_the_pooled_interval_counts_datasets_equally():
    a, b = [[1.0, 3.0, 5.0], [7.0, 7.5, 8.0]], np.zeros((2, 3))
    found = compare(a, b).loc[""]
    assert found["mean_diff"] == pytest.approx((3 + 7.5) / 2)
    part = np.array([4.0, 0.25]) / 3  # s^2 / n
    df = part.sum() ** 2 / np.sum(part**2 / 2)
    half = stats.t.isf(0.025, df) * np.sqrt(part.sum()) / 2
    assert found["df"] == pytest.approx(df)
    assert found["hi"] == pytest.approx(found["mean_diff"] + half)
    assert found["n_pairs"] == 6


def test_a_dataset_of_two_pairs_varies_as_the_others_do():
    a = np.array([[1.0, 3.0, 5.0, 7.0], [9.0, 7.0, np.nan, np.nan]])
    found = compare(a, np.where(np.isnan(a), np.nan, 0.0)).loc[""]
    common = (20 + 2) / (3 + 1)  # sums of squares / df: to it each gives a part of its own
    parts = np.array([20 / 3 / 4 + 20 / 4 / 2, 2 / 4 / 2])
    df = parts.sum() ** 2 / (parts[0] ** 2 / 3 + parts[1] ** 2)
    half = stats.t.isf(0.025, df) * np.sqrt(20 / 3 / 4 + common / 2) / 2
    assert (found["mean_diff"], found["df"]) == ((4 + 8) / 2, pytest.approx(df))
    assert found["hi"] == pytest.approx(6 + half)
    assert found["sd_diff"] == pytest.approx(np.sqrt((20 / 3 + common) / 2))
    assert found["note"] == ONE_SPREAD
    a[1, 1] = 1.0  # two pairs that lie far apart keep their own variance, 32, not 52 / 4
    found = compare(a, np.where(np.isnan(a), np.nan, 0.0)).loc[""]
    parts = np.array([20 / 3 / 4, 32 / 2])
    df = max(parts.sum() ** 2 / (parts[0] ** 2 / 3 + parts[1] ** 2), 2)
    half = stats.t.isf(0.025, df) * np.sqrt(parts.sum()) / 2
    assert (found["df"], found["hi"]) == (pytest.approx(df), pytest.approx(4.5 + half))
    assert found["mde"] > half
    assert (
        compare(a[:1], 0 * a[:1]).loc["", "note"]
        == "4 pairs: p_flip cannot be below 0.125, corrected 0.125"
    )


def test_pairs_of_all_datasets_are_enough_where_one_of_them_has_few():
    value = normal("few", 2, 2, 10, 1500)
    value[:, 1, 2:] = np.nan
    table = comparison_table([array_of(value)], SETTINGS)
    pooled = table[(table["dataset"] == "") & (table["kind"] == "method")]
    assert not (pooled["verdict"] == "too few draws").any()
    assert pooled["p"].notna().all()
    held = (pooled["lo"] <= 0) & (pooled["hi"] >= 0)
    assert held.mean() == pytest.approx(0.96, abs=0.02)


def test_a_dataset_of_many_pairs_keeps_its_own_variance_beside_one_of_few():
    """Of 20, 3 and 2 pairs; those of 3 vary most, and most of the interval is theirs."""
    value = normal("own spread", 2, 3, 20, 1500)
    value[:, 1] *= 4
    value[:, 1, 3:], value[:, 2, 2:] = np.nan, np.nan
    table = comparison_table([array_of(value)], SETTINGS)
    pooled = table[(table["dataset"] == "") & (table["kind"] == "method")]
    held = (pooled["lo"] <= 0) & (pooled["hi"] >= 0)
    assert held.mean() == pytest.approx(0.95, abs=0.02)


@pytest.mark.parametrize("num_S", [3, 5, 10])
def test_intervals_of_differences_hold_the_truth_and_verdicts_keep_the_level(num_S):
    """Two methods that do not differ on average, though their draws move together."""
    value = normal("null", 1, 2, num_S, 1500) + 0.5 * normal("own", 2, 2, num_S, 1500)
    table = comparison_table([array_of(value)], SETTINGS)
    own, pooled = table[table["dataset"] == "text00"], table[table["dataset"] == ""]
    pooled = pooled[pooled["kind"] == "method"]
    for found in (own, pooled):
        held = (found["lo"] <= 0) & (found["hi"] >= 0)
        assert held.mean() == pytest.approx(0.95, abs=0.02)
        assert ((found["p"] >= 0.05) == held).all()
        assert (found["p_flip"] <= 0.05).mean() <= 0.065
        share_held = (found["prob_lo"] <= 0.5) & (found["prob_hi"] >= 0.5)
        assert share_held.mean() >= 0.94


@pytest.mark.parametrize("num_S", [3, 5, 10])
def test_datasets_that_do_not_differ_are_not_told_apart(num_S):
    table = comparison_table([array_of(normal("alike", 1, 2, num_S, 1500))], SETTINGS)
    held = (table["lo"] <= 0) & (table["hi"] >= 0)
    assert held.mean() == pytest.approx(0.955, abs=0.02)
    assert (table["p_flip"] <= 0.05).mean() <= 0.065


def test_the_detectable_difference_is_what_is_found_four_times_in_five():
    """By studies like those that told it: each knows its SD as badly."""
    pilot = np.stack([np.zeros((1, 5, 3000)), normal("mde", 1, 5, 3000)])
    table = comparison_table([array_of(pilot)], SETTINGS)
    shift_E = table.loc[table["dataset"] == "text00", "mde"].to_numpy()
    value = np.stack([np.zeros((1, 5, 3000)), shift_E + normal("found", 1, 5, 3000)])
    table = comparison_table([array_of(value)], SETTINGS)
    found = table[table["dataset"] == "text00"]
    assert (found["verdict"] != "not shown").mean() == pytest.approx(0.8, abs=0.025)


def test_datasets_are_two_samples_of_the_mean_over_methods():
    value = normal("datasets", 2, 2, 5, 1)
    table = comparison_table([array_of(value)], SETTINGS)
    (found,) = table[table["kind"] == "dataset"].to_dict("records")
    a, b = value.mean(0)[..., 0]
    wanted = stats.ttest_ind(a, b, equal_var=False)
    interval = wanted.confidence_interval()
    assert found["p"] == pytest.approx(wanted.pvalue)
    assert (found["lo"], found["hi"]) == (
        pytest.approx(interval.low),
        pytest.approx(interval.high),
    )
    assert found["prob_better"] == np.mean(a[:, None] > b)
    assert found["n_pairs"] == 5
    alone = dataset_table([array_of(value)], SETTINGS)
    assert alone["method"].tolist() == ["gptq", "sparsegpt"]
    assert alone["mean_diff"].mean() == pytest.approx(found["mean_diff"])


def test_the_four_kinds_of_verdict():
    steady = np.tile([0.9, 1.0, 1.1], 5)[None]
    assert compare(steady, 0 * steady).loc["text00", "verdict"] == "a better"
    # Shown on average, yet the other one wins on 18 of 60 draws.
    mixed = np.tile([1.0, 1.1, 0.9, 1.0, 1.2, -0.5, 0.8, 1.0, -0.4, -0.5], 6)[None]
    found = compare(mixed, 0 * mixed).loc["text00"]
    assert found["prob_better"] == 0.7
    assert found["verdict"] == "a better"
    often = np.tile([1.0, 1.1, 0.9, -0.9, 1.2, -0.5, 0.8, 1.0, -0.4, -0.5], 20)[None]
    found = compare(often, 0 * often).loc["text00"]
    assert found["prob_hi"] < 0.75
    assert found["verdict"] == "a slightly better"
    assert compare(0 * often, often).loc["text00", "verdict"] == "b slightly better"
    level = np.array([[1.0, -1.0, 0.5, -0.5]])
    assert compare(level, 0 * level).loc["text00", "verdict"] == "not shown"
    assert compare(level, level).loc["text00", "verdict"] == "equal"
    assert compare(level[:, :2], 0 * level[:, :2]).loc["text00", "verdict"] == "too few draws"


def test_a_difference_that_is_shown_is_never_called_not_shown():
    """Half of the draws go either way, but one way by much: the mean difference leaves out 0."""
    value = np.array([[1.0] * 5 + [-0.01, -0.02, -0.01, -0.015, -0.01]])
    found = compare(value, 0 * value).loc["text00"]
    assert found["lo"] > 0 and found["prob_better"] == 0.5
    assert found["verdict"] == "a slightly better"


def test_an_interval_without_width_is_said_to_say_little():
    found = compare(np.array([[0.5, 0.75, 1.0]]), np.array([[0.25, 0.5, 0.75]])).loc["text00"]
    assert found["lo"] == found["hi"] == 0.25
    assert found["p"] == found["p_flip"] == 0.25  # t has no spread to go by
    assert found["verdict"] == "not shown"
    assert found["note"] == f"3 pairs: p_flip cannot be below 0.25, corrected 0.25; {NO_WIDTH}"


def test_a_spread_of_zero_is_not_lent_to_a_single_pair_that_differs():
    nan = np.nan
    zero = [[0.0, 0.0, 0.0], [0.0, nan, nan]]
    pooled = compare([[0.0, 0.0, 0.0], [0.05, nan, nan]], zero).loc[""]
    assert pooled["verdict"] == "too few draws" and np.isnan(pooled["lo"])
    # 0.05 as differences of scores: alike but for rounding.
    a, b = [[0.75, 0.65, 0.35], [0.9, nan, nan]], [[0.7, 0.6, 0.3], [0.8, nan, nan]]
    assert compare(a, b).loc["", "verdict"] == "too few draws"
    assert compare(a, b).loc["text00", "note"].endswith(NO_WIDTH)
    alike = compare([[0.05, 0.05, 0.05], [0.05, nan, nan]], zero).loc[""]
    assert (alike["lo"], alike["hi"]) == pytest.approx((0.05, 0.05))


def test_a_perplexity_without_an_interval_is_shown_without_one():
    assert np.isnan(formatting.difference("ppl/a@64", np.nan))
    assert formatting.difference("ppl/a@64", 101.0) == np.inf


def test_an_infinite_perplexity_loses_and_has_no_part_in_the_mean():
    a, b = np.array([5.0, 6.0, np.inf, 5.5]), np.array([5.1, 6.1, 7.0, 5.6])
    value = np.array([[a], [b]])[..., None]
    rows = rows_of(value, metrics=["ppl/a@64"])
    found = comparison_table(score_arrays(rows), SETTINGS).set_index("dataset").loc["text00"]
    assert (found["n_pairs"], found["lost_a"], found["lost_b"]) == (3, 1, 0)
    assert found["prob_better"] == 0.75
    x = np.log(a / b)[[0, 1, 3]]
    assert found["mean_diff"] == pytest.approx(x.mean())
    assert found["p"] == pytest.approx(stats.ttest_1samp(x, 0).pvalue)
    # gptq is ahead on the draws that it survives, by far: nobody may be told that it is better.
    assert found["p_holm"] < 0.01 and found["verdict"] == "ahead but diverged"
    rows = rows_of(np.where(np.isinf(value), 1.0, value), metrics=["ppl/a@64"])
    rows[2]["value"] = np.nan  # recorded, and no number
    again = comparison_table(score_arrays(rows), SETTINGS).set_index("dataset").loc["text00"]
    assert again["verdict"] == "ahead but diverged"
    assert again[["lost_a", "prob_better"]].tolist() == [1, 0.75]


def test_a_perplexity_far_above_the_others_leaves_the_interval_as_it_is_without_it():
    """One of a billion made the interval -79055 % to 100 %; the loser stays one that diverged."""
    a, b = np.array([7.0, 7.2, 7.1, 6.9, 7.3]), np.array([7.5, 7.6, 1e9, 7.4, 7.9])
    rows = rows_of(np.array([[a], [b]])[..., None], metrics=["ppl/a@64"])
    found = comparison_table(score_arrays(rows), SETTINGS).set_index("dataset").loc["text00"]
    wanted = stats.ttest_1samp(np.log(a / b)[[0, 1, 3, 4]], 0)
    low, high = wanted.confidence_interval()
    assert (found["lo"], found["hi"]) == (pytest.approx(low), pytest.approx(high))
    assert (found["n_pairs"], found["lost_b"], found["prob_better"]) == (4, 1, 1.0)
    assert found["verdict"] == "a better"
    spread = np.array([[7.0, 9.0, 60.0, 11.0], [7.0, 9.0, 60.0, 11.0]])  # wide, and no more
    rows = rows_of(spread[:, None, :, None], metrics=["ppl/a@64"])
    assert (
        comparison_table(score_arrays(rows), SETTINGS)[["lost_a", "lost_b"]].to_numpy().max() == 0
    )


def test_what_is_lost_everywhere_is_not_finite():
    value = np.array([[[np.inf, np.inf, np.inf]], [[5.1, 6.1, 5.7]]])[..., None]
    found = comparison_table(score_arrays(rows_of(value, metrics=["ppl/a@64"])), SETTINGS)
    assert found["verdict"].tolist() == ["not finite"] * 2
    assert found["lost_a"].tolist() == [3, 3] and found["prob_better"].tolist() == [0.0, 0.0]


def test_an_infinite_perplexity_loses_in_a_comparison_of_datasets():
    value = np.array([[[5.0, 6.0, np.inf, 5.2], [5.1, 6.1, 5.7, 5.3]]])[..., None]
    (found,) = comparison_table(
        score_arrays(rows_of(value, metrics=["ppl/a@64"])), SETTINGS
    ).to_dict("records")
    assert (found["n_pairs"], found["lost_a"]) == (3, 1)
    assert found["prob_better"] == pytest.approx((4 + 1 + 0 + 3) / 16)
    wanted = stats.ttest_ind(*np.log([[5.0, 6.0, 5.2], [5.1, 6.1, 5.7]]), equal_var=False)
    assert found["p"] != pytest.approx(wanted.pvalue)  # all four of the other count
    left = np.log([5.0, 6.0, 5.2]), np.log([5.1, 6.1, 5.7, 5.3])
    assert found["p"] == pytest.approx(stats.ttest_ind(*left, equal_var=False).pvalue)


def test_seeds_that_are_not_shared_are_two_samples():
    """Seeds 0..4 of one method and 3..7 of the other on each of two datasets."""
    value = normal("apart", 2, 2, 8, 1)
    value[0, :, 5:], value[1, :, :3] = np.nan, np.nan
    table = comparison_table([array_of(value)], SETTINGS)
    found = table[table["kind"] == "method"].set_index("dataset")
    assert (found["design"] == "unpaired").all()
    assert found["n_pairs"].to_dict() == {"text00": 5, "text01": 5, "": 10}
    a, b = value[0, :, :5, 0], value[1, :, 3:, 0]
    for d, name in enumerate(("text00", "text01")):
        wanted = stats.ttest_ind(a[d], b[d], equal_var=False)
        assert found.loc[name, "p"] == pytest.approx(wanted.pvalue)
        assert found.loc[name, "lo"] == pytest.approx(wanted.confidence_interval().low)
    parts = np.array([a.var(1, ddof=1), b.var(1, ddof=1)]).ravel() / 5
    df = parts.sum() ** 2 / np.sum(parts**2 / 4)
    half = stats.t.isf(0.025, df) * np.sqrt(parts.sum()) / 2
    pooled = found.loc[""]
    assert pooled["mean_diff"] == pytest.approx((a.mean(1) - b.mean(1)).mean())
    assert (pooled["df"], pooled["hi"]) == (
        pytest.approx(df),
        pytest.approx(pooled["mean_diff"] + half),
    )
    wins = (a[:, :, None] > b[:, None]).sum()
    assert pooled["prob_better"] == pytest.approx(wins / 50)


def test_three_seeds_in_common_are_enough_to_be_paired_and_one_draw_of_each_is_no_sample():
    value = normal("three", 2, 1, 7, 1)
    value[0, 0, 5:], value[1, 0, :2] = np.nan, np.nan
    found = comparison_table([array_of(value)], SETTINGS).set_index("dataset").loc["text00"]
    assert (found["design"], found["n_pairs"]) == ("paired", 3)
    value[0, 0, 2:], value[1, 0, :5] = np.nan, np.nan  # two draws of each, none in common
    assert comparison_table([array_of(value)], SETTINGS).empty


@pytest.mark.parametrize("num_S", [3, 5, 10])
def test_intervals_of_unpaired_methods_hold_the_truth(num_S):
    value = normal("apart/null", 2, 5, 2 * num_S, 1500)
    value[0, :, :num_S], value[1, :, num_S:] = np.nan, np.nan
    table = comparison_table([array_of(value)], SETTINGS)
    table = table[table["kind"] == "method"]
    for dataset in ("text00", ""):
        own = table[table["dataset"] == dataset]
        held = (own["lo"] <= 0) & (own["hi"] >= 0)
        assert held.mean() == pytest.approx(0.955, abs=0.02)


def test_one_draw_on_each_of_several_datasets_says_something_of_a_new_one():
    """The differences of five datasets, one draw on each, in points: t(4) of their mean."""
    x = np.array([-3.1, 0.4, -1.2, 1.9, -0.45]) / 100
    value = 0.6 + np.stack([x, 0 * x])[:, :, None, None]
    found = comparison_table([array_of(value)], SETTINGS).set_index("dataset")
    pooled = found[found["kind"] == "method"].loc[""]
    wanted = stats.ttest_1samp(x, 0)
    low, high = wanted.confidence_interval()
    assert pooled["mean_diff"] == pytest.approx(-0.0049)
    assert pooled[["new_lo", "new_hi", "new_p"]].tolist() == pytest.approx(
        [low, high, wanted.pvalue]
    )
    assert np.isnan(pooled["lo"]) and pooled["verdict"] == "too few draws"
    assert found["new_lo"].notna().sum() == 1
    two = comparison_table([array_of(value[:, :2])], SETTINGS)
    assert two["new_lo"].isna().all()  # two datasets are no sample


def test_every_dataset_counts_equally_for_a_new_one_however_many_draws_it_has():
    value = normal("new/unequal", 2, 4, 6, 1)
    value[:, 0, 3:], value[:, 1, 1:] = np.nan, np.nan
    pooled = comparison_table([array_of(value)], SETTINGS).set_index("dataset").loc[""]
    pooled = pooled[pooled["kind"] == "method"].iloc[0]
    wanted = stats.ttest_1samp(np.nanmean(value[0] - value[1], axis=1)[:, 0], 0)
    assert pooled["new_p"] == pytest.approx(wanted.pvalue)


def test_intervals_for_a_new_dataset_hold_where_datasets_differ_and_those_of_these_do_not():
    """Each dataset shifts the difference, by half an SD of a draw; on average by nothing."""
    own = 0.5 * normal("new/dataset", 2, 4, 1, 1500)
    table = comparison_table([array_of(own + normal("new/draw", 2, 4, 5, 1500))], SETTINGS)
    table = table[(table["kind"] == "method") & (table["dataset"] == "")]
    held = (table["new_lo"] <= 0) & (table["new_hi"] >= 0)
    assert held.mean() == pytest.approx(0.95, abs=0.02)
    assert ((table["lo"] <= 0) & (table["hi"] >= 0)).mean() < 0.88


def test_only_pairs_of_the_same_set_count_and_missing_cells_leave_theirs_out():
    value = normal("holes", 2, 2, 5, 1)
    value[0, 0, :2] = np.nan
    value[1, 1, 4] = np.nan
    found = comparison_table([array_of(value)], SETTINGS)
    found = found[found["kind"] == "method"].set_index("dataset")
    assert found["n_pairs"].to_dict() == {"text00": 3, "text01": 4, "": 7}
    x = value[0, :, :, 0] - value[1, :, :, 0]
    wanted = (x[0, 2:].mean() + x[1, :4].mean()) / 2
    assert found.loc["", "mean_diff"] == pytest.approx(wanted)


def test_a_method_without_data_meets_every_set_but_not_another_such_method():
    rows = [
        *rows_of(np.arange(3.0).reshape(1, 1, 3, 1)),
        row("magnitude", 5.0, metric="acc/task0"),
        row("rtn", 6.0, metric="acc/task0"),
    ]
    table = comparison_table(score_arrays(rows), SETTINGS)
    own = table[(table["dataset"] == "text00")]
    assert own[["a", "b", "mean_diff"]].to_numpy().tolist() == [
        ["gptq", "magnitude", -4.0],
        ["gptq", "rtn", -5.0],
    ]


def test_sets_of_other_sizes_meet_only_within_one_method():
    value = normal("sizes", 2, 1, 4, 1)
    small = rows_of(value, **{"calibration.num_samples": 16})
    large = rows_of(value + 1, **{"calibration.num_samples": 128})
    table = comparison_table(score_arrays([*small, *large]), SETTINGS)
    pairs = table[table["kind"] == "method"][["a", "b"]].drop_duplicates().to_numpy().tolist()
    assert pairs == [
        ["gptq num_samples=128", "gptq num_samples=16"],
        ["gptq num_samples=128", "sparsegpt num_samples=128"],
        ["gptq num_samples=16", "sparsegpt num_samples=16"],
        ["sparsegpt num_samples=128", "sparsegpt num_samples=16"],
    ]


def test_a_metric_of_unknown_direction_has_a_difference_but_no_winner():
    found = compare([[1.0, 2.0, 4.0]], [[0.0, 0.0, 0.0]], metrics=["loudness/x"]).loc["text00"]
    assert found["verdict"] == "no direction"
    assert np.isnan(found["prob_better"])
    assert found["lo"] < found["mean_diff"] < found["hi"]


def test_holm_corrects_within_a_metric_and_kind_and_bh_over_the_table():
    array = array_of(normal("families", 3, 2, 8, 2))
    table = comparison_table([array], SETTINGS)
    one = (table["metric"] == "acc/task0") & (table["kind"] == "method") & (table["dataset"] != "")
    assert one.sum() == 6
    wanted = multipletests(table[one]["p"], method="holm")[1]
    assert table[one]["p_holm"].to_numpy() == pytest.approx(wanted)
    assert table["p_bh"].to_numpy() == pytest.approx(multipletests(table["p"], method="fdr_bh")[1])
    each = dataset_table([array], SETTINGS)
    one = each["metric"] == "acc/task0"  # all methods are one family
    assert one.sum() == 3
    wanted = multipletests(each[one]["p"], method="holm")[1]
    assert each[one]["p_holm"].to_numpy() == pytest.approx(wanted)


def test_what_a_flip_test_cannot_show_is_noted():
    """Six pairs of four methods: 2 / 2^6 would do alone, times six rows it cannot be below 0.19."""
    table = comparison_table([array_of(normal("cannot", 4, 1, 6, 1))], SETTINGS)
    single = table[table["dataset"] != ""]
    assert set(single["note"]) == {"6 pairs: p_flip cannot be below 0.0312, corrected 0.188"}
    alone = compare(normal("alone/a", 1, 6), normal("alone/b", 1, 6)).loc["text00"]
    assert alone["note"] == ""


def test_nothing_to_compare_is_an_empty_table_with_its_columns():
    table = comparison_table([array_of(normal("alone", 1, 1, 3, 1))], SETTINGS)
    assert table.empty
    assert list(table.columns[: len(COLUMNS)]) == COLUMNS


def test_methods_too_many_to_meet_each_other_meet_those_with_their_settings(monkeypatch):
    monkeypatch.setattr("calib_sweep.analysis.scores.arrays.MAX_METHODS", 5)
    rows = []
    for sparsity in (0.5, 0.6, 0.7):
        for shift, method in enumerate(("sparsegpt", "wanda")):
            value = normal(f"wide/{sparsity}/{method}", 1, 1, 5, 1) + shift
            settings = {"method.sparsity": sparsity}
            rows += rows_of(value, methods=[method], metrics=["acc/mean"], **settings)
    (array,) = score_arrays(rows)
    found = comparison_table([array], SETTINGS)
    found = found[(found["kind"] == "method") & (found["dataset"] == "")]
    assert list(zip(found["a"], found["b"], strict=True)) == [
        (f"sparsegpt sparsity={s}", f"wanda sparsity={s}") for s in (0.5, 0.6, 0.7)
    ]
    monkeypatch.undo()
    every = comparison_table([array], SETTINGS)
    every = every[(every["kind"] == "method") & (every["dataset"] == "")]
    assert len(every) == 15
    both = every.merge(found, on=["a", "b"], suffixes=("", "_wide"))
    assert (both["mean_diff"] == both["mean_diff_wide"]).all() and len(both) == 3
