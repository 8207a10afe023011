import dataclasses

import numpy as np
import pytest
from helpers.simulated import SETTINGS, array_of, normal, row, rows_of
from scipy import stats

from calib_sweep.analysis.inference.interquartile import iqm, resampled_iqm
from calib_sweep.analysis.scores.arrays import score_arrays
from calib_sweep.analysis.tables.profiles import (
    IQM_COLUMNS,
    PROFILE_COLUMNS,
    profile_tables,
)


def with_dense(value, dense):
    metrics = [f"acc/task{e}" for e in range(value.shape[3])]
    array = array_of(value, metrics=metrics)
    return dataclasses.replace(array, dense_E=np.asarray(dense, dtype=float))


def test_the_interquartile_mean_is_that_of_the_middle_half():
    assert iqm(np.array([[1.0, 2.0, 3.0, 4.0], [5.0, 6.0, 7.0, 1000.0]])) == 4.5


def test_resampling_by_counts_is_resampling():
    """One block of two draws: both, or one of them twice."""
    draws = normal("counts", 2, 6)
    simulated = resampled_iqm([draws], **SETTINGS.resampling)
    possible = [iqm(draws), iqm(draws[[0, 0]]), iqm(draws[[1, 1]])]
    distance = np.abs(simulated[:, None] - np.array(possible))
    assert distance.min(1).max() < 1e-12
    assert np.mean(distance.argmin(1) == 0) == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize(("num_D", "num_S"), [(1, 5), (3, 3)])
def test_the_interval_of_the_iqm_holds_the_truth_where_tasks_move_together(num_D, num_S):
    num_sweeps, num_T = 400, 6
    value = 0.02 * normal("iqm", num_sweeps, num_D, num_S, 1)
    value = value + 0.01 * normal("iqm/own", num_sweeps, num_D, num_S, num_T)
    value += 0.8 + np.linspace(-0.1, 0.1, num_T)
    arrays = [with_dense(one[None], np.ones(num_T)) for one in value]
    found = profile_tables(arrays, SETTINGS)["iqm"]
    held = (found["iqm_lo"] <= 0.8) & (found["iqm_hi"] >= 0.8)
    assert held.mean() == pytest.approx(0.95, abs=0.033)


def test_tasks_are_put_on_the_dense_models_scale():
    value = np.full((1, 1, 3, 2), 0.4)
    value[..., 1] = 0.1
    tables = profile_tables([with_dense(value, [0.8, 0.2])], SETTINGS)
    (found,) = tables["iqm"].to_dict("records")
    assert list(found) == IQM_COLUMNS
    assert (found["iqm"], found["iqm_lo"], found["iqm_hi"]) == (0.5, 0.5, 0.5)
    assert (found["num_tasks"], found["n"]) == (2, 3)


def test_a_profile_falls_from_one_to_zero_and_is_the_share_above():
    value = 0.7 + 0.05 * normal("profile", 2, 2, 5, 4)
    table = profile_tables([with_dense(value, np.ones(4))], SETTINGS)["profiles"]
    assert list(table.columns) == PROFILE_COLUMNS
    own = table[table["method"] == "gptq"]
    assert own["share"].is_monotonic_decreasing
    assert own["share"].iloc[-1] == 0
    middle = own.iloc[25]
    assert middle["share"] == np.mean(value[0] > middle["tau"])
    assert own["share_lo"].between(0, 1).all() and (own["share_lo"] <= own["share"]).all()


def test_the_interval_of_a_profile_is_over_draws_not_over_single_scores():
    """All tasks of a draw are above or below together: n is the number of draws."""
    value = np.repeat(np.array([0.5, 0.5, 0.9, 0.9, 0.9]), 4).reshape(1, 1, 5, 4)
    table = profile_tables([with_dense(value, np.ones(4))], SETTINGS)["profiles"]
    found = table.iloc[25]
    half = stats.t.isf(0.025, 4) * np.sqrt(0.3 / 5)
    assert found["share"] == 0.6
    assert found["share_lo"] == pytest.approx(max(0, 0.6 - half))


def test_one_task_no_dense_or_two_draws_make_no_profile():
    for array in (
        with_dense(normal("one", 1, 1, 5, 1), [1.0]),
        with_dense(normal("two", 1, 1, 2, 3), np.ones(3)),
        with_dense(normal("none", 1, 1, 5, 3), np.full(3, np.nan)),
    ):
        assert all(table.empty for table in profile_tables([array], SETTINGS).values())


def test_methods_without_data_and_tasks_without_acc_are_left_out():
    value = 0.5 + 0.01 * normal("left out", 1, 1, 5, 4)
    metrics = ["acc/x", "acc/y", "acc_norm/z", "acc/mean"]
    rows = rows_of(value, metrics=metrics)
    for method in ("dense", "rtn"):
        rows += [row(method, 0.8, metric=metric) for metric in metrics]
    (found,) = profile_tables(score_arrays(rows), SETTINGS)["iqm"].to_dict("records")
    assert (found["method"], found["num_tasks"]) == ("gptq", 2)
    assert found["mean"] == pytest.approx((value[..., :2] / 0.8).mean())
