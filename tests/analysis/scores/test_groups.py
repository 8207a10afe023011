import math

import numpy as np
import pytest

from calib_sweep.analysis.inference.sample import describe
from calib_sweep.analysis.report.findings import findings
from calib_sweep.analysis.scores.groups import direction, drop, group_rows
from calib_sweep.analysis.scores.table import read_rows
from calib_sweep.analysis.tables.controls import count_cells, failures


def groups_of(sweep):
    return group_rows(read_rows(sweep.folder))


def group_of(sweep, method, metric, **wanted):
    found = [g for g in groups_of(sweep) if (g.method, g.metric) == (method, metric)]
    found = [g for g in found if all(getattr(g, k) == v for k, v in wanted.items())]
    assert len(found) == 1, found
    return found[0]


def test_a_sample_is_described_with_its_sample_sd():
    spread = describe(np.array([2.0, 4.0, 9.0]))
    assert (spread.n, spread.mean, spread.min, spread.max) == (3, 5.0, 2.0, 9.0)
    assert spread.sd == pytest.approx(math.sqrt((9 + 1 + 16) / 2))


def test_one_value_has_no_sd():
    spread = describe(np.array([0.7]))
    assert (spread.n, spread.mean, spread.min, spread.max) == (1, 0.7, 0.7, 0.7)
    assert math.isnan(spread.sd)


def test_an_infinite_value_is_not_left_out_of_the_mean():
    spread = describe(np.array([5.0, math.inf]))
    assert spread.mean == math.inf
    assert math.isnan(spread.sd)


def test_a_drop_is_positive_where_a_score_is_worse_than_dense():
    assert drop(0.6, 0.7, 1) == pytest.approx(0.1)
    assert drop(7.5, 5.5, -1) == pytest.approx(2.0)
    assert drop(0.65, 0.7, 1) == pytest.approx(0.05)
    assert math.isnan(drop(1.0, 2.0, 0))
    kinds = ("acc/mean", "ppl/geomean", "kl/a@64", "flips/x", "latency")
    assert [direction(kind) for kind in kinds] == [1, -1, -1, -1, 0]


def test_groups_have_the_hand_computed_numbers(two_methods):
    wanda = group_of(two_methods, "wanda", "ppl/geomean")
    assert (wanda.model, wanda.dataset, wanda.seeds) == ("tiny", "web", (0, 1, 2, 3, 4))
    assert wanda.value_S == pytest.approx([4.02, 4.04, 4.06, 4.08, 4.10])
    assert wanda.spread.mean == pytest.approx(4.06)
    assert wanda.spread.sd == pytest.approx(0.02 * math.sqrt(2.5))
    assert (wanda.dense, wanda.drop) == (pytest.approx(2.0), pytest.approx(2.06))
    sparsegpt = group_of(two_methods, "sparsegpt", "acc/mean")
    assert sparsegpt.value_S == pytest.approx([0.67, 0.66, 0.65, 0.64, 0.63])
    assert sparsegpt.drop == pytest.approx(0.05)


def test_dense_comes_first_then_methods_without_data_then_the_others_by_name(two_methods):
    two_methods.add("rtn", {"acc/mean": 0.5})
    order = list(dict.fromkeys(group.method for group in groups_of(two_methods)))
    assert order == ["dense", "rtn", "sparsegpt", "wanda"]


def test_a_method_without_data_is_one_row_of_one_value(two_methods):
    two_methods.add("rtn", {"acc/mean": 0.5})
    rtn = group_of(two_methods, "rtn", "acc/mean")
    assert (rtn.dataset, rtn.seeds, rtn.spread.n) == (None, (None,), 1)
    assert rtn.drop == pytest.approx(0.2)


def test_each_model_and_each_evaluation_has_its_own_dense(sweep):
    for model, size, acc in (("m1", 10, 0.9), ("m1", 20, 0.8), ("m2", 10, 0.7)):
        settings = {"evaluation.limit": size}
        sweep.add("dense", {"acc/mean": acc}, model=model, settings=settings)
        both = settings | {"method.sparsity": 0.5}
        sweep.add("wanda", {"acc/mean": 0.5}, model=model, dataset="d", seed=0, settings=both)
    sweep.add("wanda", {"acc/mean": 0.5}, model="m3", dataset="d", seed=0)
    wanda = [group for group in groups_of(sweep) if group.method == "wanda"]
    assert [group.dense for group in wanda[:3]] == [0.9, 0.8, 0.7]
    assert math.isnan(wanda[3].dense)
    assert math.isnan(wanda[3].drop)


def test_settings_make_groups_and_numbers_among_them_are_in_order(sweep):
    for sparsity in (0.5, 0.10, 0.05):
        settings = {"method.sparsity": sparsity}
        sweep.add("wanda", {"acc/mean": sparsity}, dataset="d", seed=0, settings=settings)
    assert [group.spread.mean for group in groups_of(sweep)] == [0.05, 0.10, 0.5]


def test_replicates_are_described_apart_from_the_spread_over_seeds(two_methods):
    scores = {"ppl/a@64": 2.01, "ppl/b@64": 4 * 2.01, "acc/x": 0.7, "acc/y": 0.6, "acc/mean": 0.64}
    two_methods.add("wanda", scores, dataset="web", seed=0, replicate=1)
    acc, ppl = (group_of(two_methods, "wanda", m) for m in ("acc/mean", "ppl/geomean"))
    assert (acc.spread.n, acc.num_repeated) == (5, 1)
    assert acc.spread.mean == pytest.approx(0.63)
    assert acc.max_difference == pytest.approx(0.03)
    assert ppl.max_difference == 0
    notes = findings(read_rows(two_methods.folder), groups_of(two_methods))
    assert notes == [
        "replicates: the same cell run again differs by at most 0 in perplexity (1 repeated) "
        "and 3 points in accuracy (1 repeated)."
    ]


def test_a_seed_that_has_only_a_later_replicate_still_counts(sweep):
    sweep.add("wanda", {"acc/mean": 0.5}, dataset="d", seed=0)
    sweep.add("wanda", {"acc/mean": 0.6}, dataset="d", seed=1, replicate=2)
    assert group_of(sweep, "wanda", "acc/mean").value_S.tolist() == [0.5, 0.6]


def test_failed_cells_do_not_count_as_scores_but_are_counted_and_named(two_methods):
    error = {"type": "ValueError", "message": "bad", "where": ""}
    two_methods.add("wanda", {}, dataset="web", seed=5, status="failed", error=error)
    rows = read_rows(two_methods.folder)
    count = count_cells(rows)
    assert (count.total, count.done, count.failed, count.unfinished) == (12, 11, 1, 0)
    assert failures(rows) == [("tiny wanda web seed 5", "ValueError: bad")]
    assert group_of(two_methods, "wanda", "acc/mean").spread.n == 5


def test_a_diverged_seed_is_kept_and_named(two_methods):
    two_methods.add("wanda", {"ppl/a@64": 1000.0}, dataset="web", seed=5)
    groups = groups_of(two_methods)
    assert group_of(two_methods, "wanda", "ppl/geomean").spread.max == pytest.approx(1000)
    notes = findings(read_rows(two_methods.folder), groups)
    (note,) = [note for note in notes if note.startswith("diverged")]
    assert "wanda web, seed 5" in note
    assert "without it the mean is 4.06" in note
    assert any("different corpora" in note for note in notes)
    assert any("compare min..max only where n is equal" in note for note in notes)


def test_a_superseded_cell_is_neither_a_value_nor_a_replicate_but_is_named(sweep):
    sweep.add("wanda", {"acc/mean": 0.5}, dataset="d", seed=0, finished_at="2026-01-01")
    sweep.add("wanda", {"acc/mean": 0.6}, dataset="d", seed=0, finished_at="2026-01-02")
    group = group_of(sweep, "wanda", "acc/mean")
    assert (group.value_S.tolist(), group.num_repeated) == ([0.6], 0)
    rows = read_rows(sweep.folder)
    assert count_cells(rows).total == 1
    (note,) = findings(rows, groups_of(sweep))
    assert "left out" in note
    assert "tiny wanda d seed 0" in note
