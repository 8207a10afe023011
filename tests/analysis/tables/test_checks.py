import numpy as np
import pytest
from helpers.simulated import SETTINGS, normal, row, rows_of

from calib_sweep.analysis.scores.arrays import score_arrays
from calib_sweep.analysis.scores.groups import group_rows
from calib_sweep.analysis.scores.names import Naming
from calib_sweep.analysis.tables.checks import control_table
from calib_sweep.analysis.tables.missing import missing_table
from calib_sweep.analysis.tables.outliers import outlier_table
from calib_sweep.analysis.tables.variance_components import variance_table


def tables_of(rows, set_problems=()):
    groups = group_rows(rows)
    naming = Naming.of_groups(groups)
    arrays = score_arrays(rows, naming)
    tables = {
        "variance_components": variance_table(arrays, SETTINGS),
        "tails": outlier_table(groups, naming),
        "missing": missing_table(rows, arrays, naming),
    }
    return tables | {"controls": control_table(rows, arrays, tables, set_problems)}


def control(rows, name, **evidence):
    table = tables_of(rows, **evidence)["controls"]
    return table[table["control"] == name].to_dict("records")


def test_a_complete_sweep_is_all_ok():
    rows = [*rows_of(normal("ok", 2, 2, 4, 1)), row("dense", 0.5, metric="acc/task0")]
    table = tables_of(rows)["controls"]
    assert set(table["verdict"]) == {"ok"}
    (cells,) = control(rows, "cells with scores")
    assert (cells["value"], cells["limit"], cells["detail"]) == (17, 17, "")


def test_what_has_no_scores_is_counted_and_listed_whatever_the_reason():
    value = normal("missing", 2, 2, 3, 1)
    rows = rows_of(value)
    never, failed = rows.pop(0), rows[-1]
    failed |= {"status": "failed", "metric": None, "value": np.nan, "error": "ValueError: bad"}
    unread = dict.fromkeys(failed)
    unread |= {"status": "unreadable", "cell_id": "torn", "error": "damaged", "settings": ""}
    rows.append(unread)
    missing = tables_of(rows)["missing"]
    listed = missing[["method", "dataset", "seed", "status"]].to_numpy().tolist()
    assert ["sparsegpt", "text01", "2", "failed"] in listed
    assert ["", "", "", "unreadable"] in listed
    assert [never["method"], never["dataset"], "0", "missing"] in listed
    assert len(listed) == 3
    (cells,) = control(rows, "cells with scores")
    assert (cells["value"], cells["limit"], cells["verdict"]) == (10, 13, "look")
    assert cells["detail"] == "2 failed, 1 never run"


def test_methods_that_share_too_few_draws_are_told_not_to_be_ranked():
    value = normal("shared", 2, 2, 5, 1)
    value[0, 1, 2:] = np.nan
    (found,) = control(rows_of(value), "complete draws")
    assert (found["verdict"], found["value"], found["limit"]) == ("look", 2, 3)
    assert found["detail"].endswith("too few: text01 has 2")
    assert not control(rows_of(value[:, :1]), "complete draws")


def test_a_cell_is_expected_only_where_another_method_has_its_set():
    rows = [*rows_of(normal("own", 1, 1, 3, 1)), *rows_of(normal("two", 1, 2, 2, 1))]
    only_one = [r for r in rows if not (r["dataset"] == "text00" and r["method"] == "x")]
    assert tables_of(only_one)["missing"].empty


def test_replicates_are_measured_against_the_draws():
    value = normal("draws", 1, 2, 5, 1)
    for noise, verdict in ((0.01, "ok"), (1.0, "look"), (0.0, "ok")):
        again = value + noise * normal("noise", *value.shape)
        (found,) = control([*rows_of(value), *rows_of(again, replicate=1)], "replicate")
        assert found["verdict"] == verdict
        assert found["limit"] == 0.25
    assert found["value"] == 0


def test_replicates_of_several_methods_are_measured_each():
    value = normal("several", 3, 2, 5, 1)
    again = value.copy()
    again[1] += normal("several noise", 2, 5, 1)
    found = control([*rows_of(value), *rows_of(again, replicate=1)], "replicate")
    assert [row["method"] for row in found] == ["gptq", "sparsegpt", "spqr"]
    assert [row["verdict"] for row in found] == ["ok", "look", "ok"]


def test_a_method_without_data_must_repeat_itself():
    rows = rows_of(normal("data", 1, 1, 3, 1))
    rows += [row("rtn", 0.5, metric="acc/task0"), row("rtn", 0.6, metric="acc/task0", replicate=1)]
    (found,) = control(rows, "no data")
    assert (found["method"], found["verdict"]) == ("rtn", "look")
    assert found["value"] == pytest.approx(0.1)
    (alone,) = control(rows[:-1], "no data")
    assert (alone["verdict"], alone["detail"]) == ("ok", "one cell for all draws")


def test_scores_that_never_move_with_the_draw_are_told():
    value = normal("moves", 2, 2, 3, 1)
    value[1, 0] = 0.5
    found = control(rows_of(value), "the draw matters")
    assert [row["verdict"] for row in found] == ["ok", "look"]
    assert found[1]["detail"] == "every score is the same on all draws of text00"


def test_tails_and_unpaired_sets_are_pointed_at():
    rows = rows_of(np.exp(0.01 * normal("spread", 2, 2, 10, 1)), metrics=["ppl/a@64"])
    rows[0]["value"] = 1e6
    (tail,) = control(rows, "heavy tails")
    assert (tail["method"], tail["detail"]) == ("gptq", "1 diverged")
    (sets,) = control(rows, "calibration sets", set_problems=["not paired: this one."])
    assert sets["detail"] == "not paired: this one."


def test_reml_and_anova_agree_in_complete_designs():
    (found,) = control(rows_of(normal("agree", 3, 3, 5, 4)), "REML and ANOVA")
    assert found["value"] == pytest.approx(0, abs=1e-9)
