import dataclasses

import numpy as np
import pytest
from helpers.simulated import SETTINGS, array_of, normal
from scipy import stats

from calib_sweep.analysis.tables.comparisons import comparison_table
from calib_sweep.analysis.tables.equivalence import COLUMNS, equivalence_table


def table_of(array, settings=SETTINGS):
    return equivalence_table([array], comparison_table([array], settings), settings)


def test_each_pair_and_each_method_has_a_row_with_the_margin_of_its_metric():
    value = 0.5 + 0.002 * normal("equal", 3, 1, 8, 2)
    metrics = ["acc/mean", "kl/wikitext@64"]
    table = table_of(array_of(value, metrics=metrics))
    assert list(table.columns) == COLUMNS
    assert set(table["metric"]) == {"acc/mean"}  # of KL no margin is named
    assert table.groupby("kind").size().to_dict() == {"methods": 3, "draws": 3}
    assert (table["margin"] == 0.005).all() and (table["level"] == 0.9).all()
    pair = table[table["kind"] == "methods"].iloc[0]
    x_S = value[0, 0, :, 0] - value[1, 0, :, 0]
    tests = [
        stats.ttest_1samp(x_S, margin, alternative=side).pvalue
        for margin, side in ((0.005, "less"), (-0.005, "greater"))
    ]
    assert pair["p"] == pytest.approx(max(tests), rel=1e-9)
    low, high = stats.t.interval(0.9, 7, x_S.mean(), stats.sem(x_S))
    assert (pair["lo"], pair["hi"]) == pytest.approx((low, high))
    draw = table[table["kind"] == "draws"].iloc[0]
    sd = value[0, 0, :, 0].std(ddof=1)
    assert (draw["method"], draw["estimate"], draw["n"]) == ("gptq", pytest.approx(sd), 8)
    assert draw["p"] == pytest.approx(stats.chi2.cdf(7 * (sd / 0.005) ** 2, 7))


def test_the_margin_of_a_metric_goes_before_that_of_its_kind():
    settings = dataclasses.replace(SETTINGS, equivalence={"acc": 0.005, "acc/task1": 0.02})
    table = table_of(array_of(0.5 + 0.002 * normal("own", 2, 1, 5, 2)), settings)
    assert table.groupby("metric")["margin"].first().to_dict() == {
        "acc/task0": 0.005,
        "acc/task1": 0.02,
    }


def test_what_has_no_test_says_why():
    value = 0.5 + 0.002 * normal("why", 4, 1, 5, 1)
    value[1] = value[0]
    value[2] = value[0] + 0.001
    value[3, 0, 0] = np.inf
    table = table_of(array_of(value)).set_index(["a", "b"])
    reasons = table[table["kind"] == "methods"]["reason"]
    assert reasons["gptq", "sparsegpt"] == "equal on every draw"
    assert reasons["gptq", "spqr"] == "the same difference on every draw"
    assert reasons["gptq", "wanda"] == "not finite"
    few = table_of(array_of(value[:2, :, :2]))
    assert set(few["reason"]) == {"too few draws"}
    assert few["p"].isna().all()
