"""Items that belong together: read beside files that know of none, and counted in errors."""

import numpy as np
import pytest
import statsmodels.api as sm
from helpers.item_files import write_items
from helpers.simulated import normal

from calib_sweep.analysis.inference.item_groups import clustered_se
from calib_sweep.analysis.scores.clustered import with_clustered_errors
from calib_sweep.analysis.scores.items import read_items
from calib_sweep.analysis.scores.table import read_cells, to_rows

RIGHT = np.array([1.0, 1, 0, 0, 1, 0])
PASSAGES = ["a", "a", "b", "b", "b", "c"]


def add(sweep, seed, groups, value_I=RIGHT, **scores):
    known = {"acc/x": float(value_I.mean()), **scores}
    stderr = dict.fromkeys(known, 0.1)
    record = sweep.add("wanda", known, dataset="web", seed=seed, stderr=stderr)
    path = record.with_name("items.parquet")
    write_items(path, value_I, groups=groups)
    return path, record.parent.name


def read(sweep):
    cells = read_cells(sweep.folder)
    return to_rows(cells), read_items(sweep.folder, cells)


def test_files_with_and_without_groups_list_the_same_items(sweep):
    names = [add(sweep, seed, groups)[1] for seed, groups in enumerate([None, PASSAGES, None])]
    _, items = read(sweep)
    value_CI, kept = items.of("acc/x", names)
    assert kept == names and value_CI.shape == (3, 6)
    for name in names:
        assert items.groups_of("acc/x", name).tolist() == [0, 0, 1, 1, 1, 2]


@pytest.mark.parametrize("groups", [["a"] * 6, list("abcdef"), ["a", "a", "b", None, "b", "c"]])
def test_one_group_or_none_or_a_gap_is_no_grouping(sweep, groups):
    _, name = add(sweep, 0, groups)
    _, items = read(sweep)
    assert items.groups_of("acc/x", name) is None


@pytest.mark.parametrize("group_I", [np.repeat(np.arange(8), 5), normal("who", 40) > 0.3])
def test_the_clustered_error_is_that_of_a_regression_on_a_constant(group_I):
    value_I = normal("clustered", 40) + 0.5 * np.repeat(normal("clusters", 8), 5)
    fit = sm.OLS(value_I, np.ones(40)).fit(cov_type="cluster", cov_kwds={"groups": group_I})
    assert clustered_se(value_I, group_I) == pytest.approx(float(fit.bse[0]))


def test_without_groups_it_is_the_usual_error():
    value_I = normal("clustered", 40)
    assert clustered_se(value_I) == pytest.approx(value_I.std(ddof=1) / np.sqrt(40))


def test_groups_replace_the_recorded_error_of_their_task_and_of_the_mean(sweep):
    """Sums of what is off the mean, by passage: 1, -1/2, -1/2; SE^2 = 3/2 (3/2) / 36."""
    path, _ = add(sweep, 0, PASSAGES, **{"acc/y": 0.75, "acc/mean": 0.625})
    write_items(path, np.array([1.0, 1, 1, 0]), "y", groups=list("abcd"))
    rows, items = read(sweep)
    stderr = {row["metric"]: row["stderr"] for row in with_clustered_errors(rows, items)}
    assert stderr["acc/x"] == pytest.approx(np.sqrt(1.5 * 1.5 / 36))
    assert stderr["acc/y"] == 0.1  # its items are on their own
    wanted = 0.1**2 + (1.5 * 1.5 / 36 - 0.1**2) / 2**2
    assert stderr["acc/mean"] == pytest.approx(np.sqrt(wanted))
    assert {row["stderr"] for row in rows} == {0.1}
