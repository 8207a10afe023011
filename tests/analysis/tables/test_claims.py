import numpy as np
import pandas as pd
import pytest
from helpers.simulated import SETTINGS, crossed, normal, row, rows_of

from calib_sweep.analysis.tables.claims import COLUMNS, claim_table, corrected
from calib_sweep.analysis.tables.tables import Evidence, all_tables

HEADLINE = ["acc/mean", "ppl/geomean"]
BESIDE = {"estimate": 1.0, "lo": 0.5, "hi": 1.5, "n": 5, "reason": ""}


def claims_of(value_MDSE, metrics=("acc/mean",), **fields):
    """The claims of a whole sweep with these scores."""
    rows = rows_of(np.asarray(value_MDSE, float), metrics=list(metrics), **fields)
    return all_tables(rows, Evidence(), SETTINGS)["claims"]


def spread(p, a="gptq", b="wanda", **fields):
    own = {"model": "tiny", "metric": "acc/mean", "a": a, "b": b, "dataset": "", "p": p}
    return {**own, **BESIDE, **fields}


def test_nothing_to_claim_is_an_empty_table_with_its_columns():
    for tables in ({}, {"spreads": pd.DataFrame()}):
        found = claim_table(tables)
        assert found.empty and list(found.columns) == COLUMNS
    found = all_tables([row("dense", 1.0)], Evidence(), SETTINGS)["claims"]
    assert found.empty and list(found.columns) == COLUMNS


def test_methods_have_half_of_the_level_losses_a_twentieth_and_other_kinds_share_the_rest():
    found = claims_of(10 + crossed("weights", 3, 2, 5, 2, {**ALIKE, "draw": 1.0}), HEADLINE)
    own = found[found["weight"].notna()].groupby("kind")["weight"].agg(["sum", "nunique", "size"])
    assert own.loc[["methods", "methods_on", "datasets"], "size"].tolist() == [6, 12, 6]
    family = own.loc[own.index.isin(["methods", "methods_on", "datasets", "spread"])]
    assert (family["nunique"] == 1).all()
    rest = family.drop(index="methods")["sum"]
    assert family.loc["methods", "sum"] == pytest.approx(0.5 / 0.95)  # a twentieth is for losses
    assert rest.to_numpy() == pytest.approx(0.45 / 0.95 / len(rest))


ALIKE = {"method": 0.0, "dataset": 0.0, "method:dataset": 0.0, "draw": 0.0, "method:draw": 1.0}


def test_tables_of_other_kinds_become_rows_and_need_no_other_table():
    found = claim_table(
        {
            "spreads": pd.DataFrame([spread(0.001), spread(0.9, a="spqr")]),
            "losses": pd.DataFrame([{**spread(0.004), "method": "gptq", "estimate": -0.02}]),
            "equivalence": pd.DataFrame([spread(0.04), spread(0.03, a="spqr")]),
        }
    )
    assert found["kind"].tolist() == ["spread", "spread", "loss", "equivalence", "equivalence"]
    assert found["a"].tolist()[2] == "gptq" and found["b"].tolist()[2] == "dense"
    # Weights 0.45, 0.45, 0.1: 0.001 / 0.45, then 0.004 (0.55) / 0.1. The SD of gptq is larger.
    assert found["p_sweep"].to_numpy() == pytest.approx([0.001 / 0.45, 0.9, 0.022, 0.06, 0.06])
    assert found["winner"].tolist() == ["wanda", "", "dense", "", ""]


def test_what_has_no_test_does_not_count_and_what_has_a_reason_does_not_win():
    rows = [spread(0.02), spread(np.nan, a="spqr", reason="too few draws")]
    found = claim_table({"spreads": pd.DataFrame(rows)})
    assert found["p_sweep"].tolist() == pytest.approx([0.02, np.nan], nan_ok=True)
    assert found["winner"].tolist() == ["wanda", ""]
    (found,) = claim_table({"spreads": pd.DataFrame([spread(0.02, reason="no")])})["winner"]
    assert found == ""


def test_scores_that_are_no_headline_are_not_in_the_family():
    found = claims_of(normal("beside", 2, 1, 5, 2), ["acc/mean", "acc/other"])
    assert set(found["metric"]) == {"acc/mean"}


def test_a_lead_that_changes_sign_is_told_dataset_by_dataset():
    """A is 3 points ahead on d0..d2 and 2 behind on d3 and d4, on every draw."""
    lead = np.array([3, 3, 3, -2, -2.0]).reshape(1, 5, 1, 1)
    own = 0.5 * normal("crossing/draw", 1, 5, 5, 1) + 0.4 * normal("crossing/own", 2, 5, 5, 1)
    value = 0.6 + (own + np.concatenate([lead, 0 * lead])) / 100
    names = [f"d{number}" for number in range(5)]
    found = claims_of(value, methods=["A", "B"], datasets=names)
    single = found[found["kind"] == "methods_on"].set_index("dataset")["winner"]
    assert single.to_dict() == {"d0": "A", "d1": "A", "d2": "A", "d3": "B", "d4": "B"}


def test_one_draw_on_each_dataset_claims_for_a_new_one_only():
    own = np.array([2.0, 2.2, 1.8, 2.1, 1.9]).reshape(1, 5, 1, 1) / 100
    found = claims_of(0.6 + np.concatenate([own, 0 * own])).set_index("kind")
    found = found.drop(index="equivalence", errors="ignore")
    assert found["winner"].to_dict() == {
        **{kind: "" for kind in ("methods", "methods_on", "datasets")},
        "new_dataset": "gptq",
    }
    assert found.loc["methods", "reason"] == "too few draws"
    assert (found.loc["new_dataset", "n"], found.loc["new_dataset", "reason"]) == (5, "")


def test_without_draws_to_test_new_datasets_and_losses_are_one_family():
    """One draw on each dataset: weights of 10/11 for methods and 1/11 for losses, two of these."""
    kind = np.array(["methods", "methods", "loss", "loss"], dtype=object)
    weight, p = corrected(kind, np.array([np.nan, 0.01, 0.004, 0.5]))
    assert weight[1:] == pytest.approx([10 / 11, 1 / 22, 1 / 22])
    # 0.01 / (10/11); 0.004 (2/22) / (1/22) is less
    assert p[1:] == pytest.approx([0.011, 0.011, 0.5])


def test_a_score_with_one_draw_on_each_dataset_is_in_the_family_of_the_others():
    """Of two scores one has three draws on each dataset, the other one draw."""
    value = np.array([0.6, 6.0]) + 0.01 * normal("one of two", 2, 5, 3, 2)
    value[:, :, 1:, 1] = np.nan
    rows = rows_of(value, metrics=["acc/mean", "ppl/geomean"])
    found = all_tables([r for r in rows if r["value"] > 0], Evidence(), SETTINGS)["claims"]
    found = found[found["p"].notna() & found["kind"].isin(["methods", "new_dataset"])]
    found = found.set_index(["kind", "metric"])["weight"]
    own, other = found["methods", "acc/mean"], found["new_dataset", "ppl/geomean"]
    assert own == other and found["new_dataset", "acc/mean"] == 1.0


def test_a_new_dataset_is_claimed_only_with_these_and_two_are_no_sample():
    """Six methods: a pair that is shown for a new dataset need not be shown among all claims."""
    gap = np.array([0.9, 1.0, 1.1, 1.0, 1.0]).reshape(1, 5, 1, 1)
    value = np.concatenate([gap, 0 * gap]) + 3.0 * normal("only/draw", 1, 5, 1, 1)
    value = value + np.array([0, 4, -4]).reshape(1, 1, 3, 1) * np.array([1, -1]).reshape(2, 1, 1, 1)
    found = claims_of(value).set_index("kind")
    new = found.loc["new_dataset"]
    assert new["p_sweep"] < 0.001 and found.loc["methods", "winner"] == "" == new["winner"]
    found = claims_of(value[:, :2]).set_index("kind")
    assert found.loc["new_dataset", "reason"] == "fewer than three datasets"
    assert "new_dataset" not in set(claims_of(value[:, :1])["kind"])


def test_verdicts_of_headline_scores_are_those_of_the_claims():
    value = 5 + crossed("verdicts", 3, 2, 4, 2, {**ALIKE, "method": 60.0, "dataset": 2.0})
    rows = rows_of(value, metrics=["acc/mean", "acc/other"])
    tables = all_tables(rows, Evidence(), SETTINGS)
    claims, compared = tables["claims"], tables["comparisons"]
    own = compared[(compared["metric"] == "acc/mean") & (compared["kind"] == "method")]
    joined = own.merge(claims, on=["metric", "a", "b", "dataset"], suffixes=("", "_claim"))
    joined = joined[joined["kind_claim"].isin(["methods", "methods_on"])]
    assert len(joined) == len(own) == 9
    assert joined["p_holm"].to_numpy() == pytest.approx(joined["p_sweep"].to_numpy())
    is_better = joined["verdict"].str.contains("better")
    assert (is_better == (joined["winner"] != "")).all() and is_better.nunique() == 2
    of_datasets = tables["dataset_comparisons"].query("metric == 'acc/mean'")
    wanted = claims[claims["kind"] == "datasets"]["p_sweep"].to_numpy()
    assert of_datasets["p_holm"].to_numpy() == pytest.approx(wanted)


def test_on_the_only_dataset_a_row_has_the_p_of_all_datasets():
    rows = rows_of(normal("only", 3, 1, 5, 1), metrics=["acc/mean"])
    tables = all_tables(rows, Evidence(), SETTINGS)
    assert "methods_on" not in set(tables["claims"]["kind"])  # the same test is not made twice
    compared = tables["comparisons"].set_index(["a", "b"])
    single, pooled = (compared[compared["dataset"] == name] for name in ("text00", ""))
    assert single["p_holm"].to_dict() == pooled["p_holm"].to_dict()


def test_datasets_that_shift_the_lead_are_told_on_these_and_not_for_a_new_one():
    """As found by Ji et al. with four datasets: 43 of 70 draws, one dataset carries the mean."""
    shift = np.array([-0.04, 0.18, 0.01, 0.34]).reshape(1, 4, 1, 1)
    own = 0.12 * normal("ji/own", 2, 4, 17, 1) + 0.3 * normal("ji/shared", 1, 4, 17, 1)
    value = 0.6 + (own + np.concatenate([shift, 0 * shift])) / 100
    found = claims_of(value, methods=["dsnot", "wanda"], datasets=["c4", "dclm", "slim", "wiki"])
    told = found[found["winner"] != ""]
    assert set(told[told["kind"] == "methods"]["winner"]) == {"dsnot"}
    assert told[told["kind"] == "methods_on"].set_index("dataset")["winner"].to_dict() == {
        "dclm": "dsnot",
        "wiki": "dsnot",
    }
    assert "new_dataset" not in set(told["kind"])
