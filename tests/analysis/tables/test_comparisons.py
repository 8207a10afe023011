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
    assert found["p"] == 2 / 16
    assert (found["prob_better"], found["prob_hi"]) == (1.0, 1.0)
    assert found["prob_lo"] == pytest.approx(0.025 ** (1 / 4))
    assert found["verdict"] == "a better"
    assert found["note"] == "4 pairs: p cannot be below 0.125"


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
    assert compare(a[:1], 0 * a[:1]).loc["", "note"] == "4 pairs: p cannot be below 0.125"


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
        assert ((found["verdict"] == "not shown") == held).mean() > 0.99
        assert (found["p"] <= 0.05).mean() <= 0.065
        share_held = (found["prob_lo"] <= 0.5) & (found["prob_hi"] >= 0.5)
        assert share_held.mean() >= 0.94


@pytest.mark.parametrize("num_S", [3, 5, 10])
def test_datasets_that_do_not_differ_are_not_told_apart(num_S):
    table = comparison_table([array_of(normal("alike", 1, 2, num_S, 1500))], SETTINGS)
    held = (table["lo"] <= 0) & (table["hi"] >= 0)
    assert held.mean() == pytest.approx(0.955, abs=0.02)
    assert (table["p"] <= 0.05).mean() <= 0.065


def test_the_detectable_difference_is_what_is_found_four_times_in_five():
    null = compare(np.zeros((1, 10)), normal("mde", 1, 10)).loc["text00"]
    shift = null["mde"] * 1.0 / null["sd_diff"]
    value = np.stack([np.zeros((1, 10, 3000)), shift + normal("found", 1, 10, 3000)])
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
    assert found["p_t"] == pytest.approx(wanted.pvalue)
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
    assert found["note"] == f"3 pairs: p cannot be below 0.25; {NO_WIDTH}"


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


def test_an_infinite_perplexity_loses_and_leaves_no_mean():
    value = np.array([[[5.0, 6.0, np.inf, 5.5]], [[5.1, 6.1, 7.0, 5.6]]])[..., None]
    rows = rows_of(value, metrics=["ppl/a@64"])
    found = comparison_table(score_arrays(rows), SETTINGS).set_index("dataset").loc["text00"]
    assert (found["n_pairs"], found["prob_better"]) == (4, 0.75)
    assert found["verdict"] == "not finite"
    assert np.isnan([found["mean_diff"], found["lo"], found["p"]]).all()
    rows = rows_of(np.where(np.isinf(value), 1.0, value), metrics=["ppl/a@64"])
    rows[2]["value"] = np.nan  # recorded, and no number
    again = comparison_table(score_arrays(rows), SETTINGS).set_index("dataset").loc["text00"]
    assert (again["verdict"], again["prob_better"]) == ("not finite", 0.75)


def test_an_infinite_perplexity_is_not_left_out_of_a_comparison_of_datasets():
    value = np.array([[[5.0, 6.0, np.inf], [5.1, 6.1, 5.7]]])[..., None]
    (found,) = comparison_table(
        score_arrays(rows_of(value, metrics=["ppl/a@64"])), SETTINGS
    ).to_dict("records")
    assert (found["verdict"], found["n_pairs"]) == ("not finite", 3)
    assert found["prob_better"] == pytest.approx(4 / 9)


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
    found = compare([[1.0, 2.0, 4.0]], [[0.0, 0.0, 0.0]], metrics=["bleu/x"]).loc["text00"]
    assert found["verdict"] == "no direction"
    assert np.isnan(found["prob_better"])
    assert found["lo"] < found["mean_diff"] < found["hi"]


def test_holm_corrects_within_a_metric_and_kind_and_bh_over_the_table():
    table = comparison_table([array_of(normal("families", 3, 2, 8, 2))], SETTINGS)
    one = (table["metric"] == "acc/task0") & (table["kind"] == "method") & (table["dataset"] != "")
    assert one.sum() == 6
    wanted = multipletests(table[one]["p"], method="holm")[1]
    assert table[one]["p_holm"].to_numpy() == pytest.approx(wanted)
    assert table["p_bh"].to_numpy() == pytest.approx(multipletests(table["p"], method="fdr_bh")[1])


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
