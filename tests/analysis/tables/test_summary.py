import math

import numpy as np
import pytest
from helpers.simulated import normal, row, rows_of

from calib_sweep.analysis.inference.sample import worst_draws
from calib_sweep.analysis.metrics import OURS
from calib_sweep.analysis.scores.groups import group_rows
from calib_sweep.analysis.scores.names import Naming
from calib_sweep.analysis.tables.summary import (
    SUMMARY_COLUMNS,
    summary_table,
    uncertainty_table,
)


def tables(rows):
    groups = group_rows(rows)
    naming = Naming.of_groups(groups)
    return summary_table(groups, naming), uncertainty_table(groups, naming)


def test_a_worked_example():
    """1, 2, 3, 4, 5 and a dense score of 6: SD sqrt(2.5), t(4) = 2.776, chi2(4) 0.484 and 11.14."""
    rows = [row("dense", 6.0)]
    rows += [
        row("wanda", value, dataset="c4", seed=int(value), stderr=0.3)
        for value in (1.0, 2.0, 3.0, 4.0, 5.0)
    ]
    spread, uncertainty = tables(rows)
    assert list(spread.columns) == [*SUMMARY_COLUMNS, "note"]
    found = spread.iloc[1]
    assert (found["n"], found["mean"], found["min"], found["max"]) == (5, 3.0, 1.0, 5.0)
    assert found["sd"] == pytest.approx(math.sqrt(2.5))
    half = 2.7764 * math.sqrt(2.5 / 5)
    assert found["mean_lo"] == pytest.approx(3 - half, abs=1e-4)
    assert found["mean_hi"] == pytest.approx(3 + half, abs=1e-4)
    assert found["sd_lo"] == pytest.approx(math.sqrt(10 / 11.1433), abs=1e-4)
    assert found["sd_hi"] == pytest.approx(math.sqrt(10 / 0.48442), abs=1e-4)
    assert (found["dense"], found["drop"], found["recovery"]) == (6.0, 3.0, 0.5)
    (own,) = uncertainty.to_dict("records")
    assert (own["item_se"], own["worst"]) == (pytest.approx(0.3), 1.0)
    assert own["new_hi"] == pytest.approx(3 + math.hypot(half, 1.95996 * 0.3), abs=1e-4)
    assert own["draw_hi"] == pytest.approx(3 + 2.7764 * math.sqrt(2.5 * 1.2), abs=1e-3)


def test_what_is_kept_of_a_perplexity_is_the_inverse_ratio():
    rows = [row("dense", 5.0, metric="ppl/a@64")]
    rows += [row("wanda", 10.0, metric="ppl/a@64", dataset="c4", seed=s) for s in range(3)]
    spread, uncertainty = tables(rows)
    assert spread["recovery"].tolist() == [1.0, 0.5]
    assert spread["drop"].tolist() == [0.0, 5.0]
    assert uncertainty["worst"].tolist() == [10.0]


def test_what_is_kept_above_chance_by_hand():
    """Dense 80 %, guessing 25 %: of 55 points above chance 22 are kept by one, -5.5 by another."""
    rows = [row("dense", 0.80, metric="acc/x", stderr=0.02)]
    rows += [row("wanda", 0.47, metric="acc/x", dataset="c4", seed=s) for s in range(3)]
    rows += [row("rtn", 0.195, metric="acc/x")]
    known = OURS.extended({"acc/x": {"chance": 0.25}})
    groups = group_rows(rows, known)
    table = summary_table(groups, Naming.of_groups(groups)).set_index("method")
    assert table["chance"].tolist() == [0.25] * 3
    assert table["recovery"]["wanda"] == pytest.approx(0.47 / 0.80)
    assert table["recovery_above_chance"]["wanda"] == pytest.approx(0.4)
    assert table["recovery_above_chance"]["rtn"] == pytest.approx(-0.1)
    assert table["recovery_above_chance"]["dense"] == 1.0


@pytest.mark.parametrize(
    ("chance", "stderr", "kept"),
    [(0.5, 0.049, 0.5), (0.5, 0.05, None), (0.65, 0.01, None), (0.6, 0.0, None), (0.5, None, 0.5)],
)
def test_nothing_is_said_above_chance_where_dense_is_not(chance, stderr, kept):
    rows = [row("dense", 0.60, metric="acc/x", stderr=np.nan if stderr is None else stderr)]
    rows += [row("wanda", 0.55, metric="acc/x", dataset="c4", seed=s) for s in range(3)]
    groups = group_rows(rows, OURS.extended({"acc/x": {"chance": chance}}))
    found = summary_table(groups, Naming.of_groups(groups))["recovery_above_chance"][1]
    assert found == pytest.approx(kept) if kept is not None else math.isnan(found)


def test_scores_that_are_no_share_of_dense_have_no_recovery():
    rows = [row("dense", 0.3, metric="brier_score/x"), row("rtn", 0.4, metric="brier_score/x")]
    rows += [row("rtn", 0.2, metric="kl/a@64")]
    spread, _ = tables(rows)
    assert spread["recovery"].isna().all() and spread["recovery_above_chance"].isna().all()


def test_two_seeds_have_an_sd_but_no_interval_and_the_table_says_so():
    spread, uncertainty = tables(rows_of(np.array([1.0, 2.0]).reshape(1, 1, 2, 1)))
    assert spread["sd"].item() == pytest.approx(math.sqrt(0.5))
    intervals = ["mean_lo", "mean_hi", "sd_lo", "sd_hi"]
    assert spread[intervals].isna().all(axis=None)
    assert spread["note"].item() == "2 of at least 3 seeds: no interval"
    assert uncertainty[["same_lo", "new_hi", "draw_lo"]].isna().all(axis=None)


def test_an_infinite_perplexity_has_no_interval_and_the_table_says_so():
    rows = [
        row("wanda", value, metric="ppl/a@64", dataset="c4", seed=seed)
        for seed, value in enumerate((5.0, 6.0, math.inf))
    ]
    spread, _ = tables(rows)
    assert spread["max"].item() == math.inf
    assert np.isnan(spread["sd_hi"].item())
    assert spread["note"].item() == "a score is not finite: no SD, no interval"


@pytest.mark.parametrize("item_se", [0.1, 1.0, 5.0])
def test_the_interval_for_new_items_holds_the_truth(item_se):
    num_sweeps, num_draws = 1500, 5
    value = normal("draws", 1, 1, num_draws, num_sweeps)
    value += item_se * normal("items", 1, 1, 1, num_sweeps)
    _, uncertainty = tables(rows_of(value, stderr=item_se))
    held = (uncertainty["new_lo"] <= 0) & (uncertainty["new_hi"] >= 0)
    assert 0.935 <= held.mean() <= 0.98


def test_the_worst_twentieth_of_few_draws_is_the_worst_and_of_many_a_mean():
    assert worst_draws(np.array([3.0, 1.0, 2.0]), 1) == (1.0, 1.0, 1.0)
    assert worst_draws(np.array([3.0, 1.0, math.inf]), -1) == (math.inf, math.inf, math.inf)
    # of 30 draws the worst 1.5: the second worst, and (1 + 0.5 * 2) / 1.5
    assert worst_draws(np.arange(30.0, 0.0, -1.0), 1) == (1.0, 2.0, pytest.approx(4 / 3))
    assert worst_draws(np.arange(40.0), -1) == (39.0, 38.0, 38.5)
    assert np.isnan(worst_draws(np.array([1.0, 2.0]), 0)).all()
    assert np.isnan(worst_draws(np.array([1.0, math.nan]), -1)).all()


def test_the_worst_draw_of_a_table_is_the_highest_perplexity_and_the_lowest_accuracy():
    value = np.array([1.0, 2.0, 3.0]).reshape(1, 1, 3, 1) * [1.0, 1.0]
    _, uncertainty = tables(rows_of(value, metrics=["acc/x", "ppl/a@64"]))
    assert uncertainty[["worst", "q05", "cvar05"]].to_numpy().tolist() == [[1.0] * 3, [3.0] * 3]
