import math

import numpy as np
import pytest
from helpers.simulated import normal, row, rows_of

from calib_sweep.analysis.inference.outliers import grubbs_limit, reasons
from calib_sweep.analysis.report.findings import findings
from calib_sweep.analysis.scores.groups import group_rows
from calib_sweep.analysis.scores.means import PPL_MEAN
from calib_sweep.analysis.scores.names import Naming
from calib_sweep.analysis.tables.outliers import COLUMNS, outlier_table


def tails(rows):
    groups = group_rows(rows)
    return outlier_table(groups, Naming.of_groups(groups))


def perplexities(*values):
    return [
        row("wanda", value, metric="ppl/a@64", dataset="c4", seed=seed)
        for seed, value in enumerate(values)
    ]


def test_a_diverged_seed_is_shown_with_the_numbers_it_moves():
    (found,) = tails(perplexities(5.0, 6.0, 7.0, 1000.0)).to_dict("records")
    assert list(found) == COLUMNS
    assert (found["seed"], found["value"], found["why"], found["n"]) == (3, 1000.0, "diverged", 4)
    assert (found["mean"], found["mean_without"]) == (pytest.approx(254.5), 6.0)
    assert found["sd_without"] == 1.0


def test_what_is_not_finite_is_shown_even_where_it_is_most_of_them():
    found = tails(perplexities(5.0, math.inf, math.nan))
    assert found["seed"].tolist() == [1, 2]
    assert found["why"].tolist() == ["not finite", "not finite"]
    assert found["mean_without"].tolist() == [5.0, 5.0]
    assert found["sd_without"].isna().all()


def test_an_outlier_is_beyond_grubbs_limit():
    # two-sided tables of Grubbs' test for n = 10: 2.290 at 5 %, 2.482 at 1 %
    assert grubbs_limit(10, 0.05) == pytest.approx(2.290, abs=5e-4)
    assert grubbs_limit(10, 0.01) == pytest.approx(2.482, abs=5e-4)
    value = np.array([0.50, 0.51, 0.49, 0.50, 0.52, 0.48, 0.50, 0.51, 0.49, 0.70])
    assert reasons(value, is_perplexity=False) == [""] * 9 + ["outlier"]
    assert not any(reasons(value[:9], is_perplexity=False))


@pytest.mark.parametrize("num_S", [3, 5, 10, 20])
def test_normal_draws_are_hardly_ever_flagged(num_S):
    table = tails(rows_of(normal("tails", 1, 1, num_S, 1000)))
    assert table["metric"].nunique() <= 5


def test_one_seed_and_equal_seeds_have_no_tails():
    assert tails(perplexities(1e9)).empty
    assert tails(perplexities(3.0, 3.0, 3.0)).empty


def test_the_page_and_the_table_call_the_same_draws_diverged():
    rows = [
        fields | {"metric": PPL_MEAN} for fields in perplexities(5.0, 6.0, 7.0, 1000.0, math.nan)
    ]
    (note,) = findings(rows, group_rows(rows))
    assert note.startswith("diverged: wanda c4, seed 3, 4; the table keeps them, without them")
    assert tails(rows)["why"].tolist() == ["diverged", "not finite"]


def test_a_diverged_draw_is_named_by_the_settings_that_differ():
    rows = []
    for sparsity, last in ((0.5, 6.2), (0.9, math.inf)):
        for seed, value in enumerate((6.0, 6.1, last)):
            settings = {"method.sparsity": sparsity, "method.pattern": "unstructured"}
            fields = {"dataset": "c4", "seed": seed, "metric": PPL_MEAN}
            rows.append(row("wanda", value, **fields, **settings))
    (note,) = findings(rows, group_rows(rows))
    assert note.startswith("diverged: wanda sparsity=0.9 c4, seed 2; the table keeps it")
