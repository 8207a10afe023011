import math

from helpers.simulated import row

from calib_sweep.analysis.report.task_table import paper_table
from calib_sweep.analysis.scores.groups import group_rows
from calib_sweep.analysis.scores.names import Naming
from calib_sweep.analysis.tables.tasks import task_table


def rows():
    yield row("dense", 0.8, metric="acc/x")
    yield row("dense", 0.7, metric="acc_norm/y")
    yield row("dense", 0.75)
    for method, x in (("gptq", 0.60), ("wanda", 0.62)):
        for seed in (0, 1):
            where = {"dataset": "web", "seed": seed}
            yield row(method, x + seed * 0.02, metric="acc/x", **where)
            yield row(method, 0.9 - x, metric="acc_norm/y", **where)
            yield row(method, 0.3, metric="acc_norm/x", **where)
            yield row(method, 5.0, metric="ppl/a@64", **where)
            yield row(method, (0.9 + seed * 0.02) / 2, **where)


def table():
    groups = group_rows(rows())
    return task_table(groups, Naming.of_groups(groups))


def test_each_task_has_one_accuracy_and_the_mean_comes_last():
    found = table()
    names = ["acc/x", "acc_norm/y", "acc/mean"]
    assert list(found.columns) == [
        *("model", "method", "dataset", "n"),
        *(name + end for name in names for end in ("", " SD")),
    ]
    gptq = found.set_index("method").loc["gptq"]
    assert math.isclose(gptq["acc/x"], 0.61) and gptq["n"] == 2
    assert math.isclose(gptq["acc/x SD"], 0.01 * math.sqrt(2))


def test_a_paper_gets_percent_with_the_best_of_each_task_bold():
    found = paper_table(table())
    assert list(found.header) == ["method", "dataset", "x", "y", "mean", "n"]
    assert found.rows[0] == ["dense", "-", "80.0", "70.0", "75.0", "1"]
    assert found.rows[2] == ["wanda", "web", "63.0 (1.4)", "28.0 (0)", "45.5 (0.7)", "2"]
    assert found.best == {(2, 2), (1, 3), (1, 4), (2, 4)}


def test_without_accuracies_there_is_no_such_table():
    groups = group_rows([row("gptq", 5.0, metric="ppl/a@64", dataset="web", seed=0)])
    assert task_table(groups, Naming.of_groups(groups)).empty
