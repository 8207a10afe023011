import numpy as np
import pandas as pd
import pytest
from helpers.simulated import SETTINGS, crossed, normal, row, rows_of

from calib_sweep.analysis.tables.claims import COLUMNS, claim_table
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


def test_half_of_the_level_is_for_methods_and_the_other_kinds_share_the_rest():
    found = claims_of(10 + crossed("weights", 3, 2, 5, 2, {**ALIKE, "draw": 1.0}), HEADLINE)
    own = found[found["weight"].notna()].groupby("kind")["weight"].agg(["sum", "nunique", "size"])
    assert own.loc[["methods", "methods_on", "datasets"], "size"].tolist() == [6, 12, 6]
    family = own.loc[own.index.isin(["methods", "methods_on", "datasets", "spread"])]
    assert (family["nunique"] == 1).all()
    assert family.loc["methods", "sum"] == pytest.approx(0.5)
    rest = family.drop(index="methods")["sum"]
    assert rest.to_numpy() == pytest.approx(0.5 / len(rest))


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
    # Weights 1/4, 1/4, 1/2: 0.001 / (1/4), then 0.004 (3/4) / (1/2). The SD of gptq is larger.
    assert found["p_sweep"].to_numpy() == pytest.approx([0.004, 0.9, 0.006, 0.06, 0.06])
    assert found["winner"].tolist() == ["wanda", "", "dense", "", ""]


def test_a_row_with_a_reason_has_no_test_and_does_not_count():
    rows = [spread(0.02), spread(0.001, a="spqr", reason="too few draws")]
    found = claim_table({"spreads": pd.DataFrame(rows)})
    assert found["p_sweep"].tolist() == pytest.approx([0.02, np.nan], nan_ok=True)
    assert found["winner"].tolist() == ["wanda", ""]


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
