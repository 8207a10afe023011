import dataclasses

import numpy as np
import pytest
from helpers.simulated import SETTINGS, array_of, normal, row, rows_of
from scipy import stats

from calib_sweep.analysis.inference import interquartile
from calib_sweep.analysis.inference.interquartile import iqm, resampled_iqm
from calib_sweep.analysis.scores.arrays import score_arrays
from calib_sweep.analysis.tables.profiles import (
    IMPROVEMENT_COLUMNS,
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


def test_resampling_in_parts_is_resampling_at_once(monkeypatch):
    blocks = [normal("parts", 6, 4), normal("more parts", 5, 4)]
    at_once = resampled_iqm(blocks, **SETTINGS.resampling)
    monkeypatch.setattr(interquartile, "AT_ONCE", 7 * 44)  # resamples of so many values
    assert np.array_equal(resampled_iqm(blocks, **SETTINGS.resampling), at_once)


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


def test_the_gap_counts_what_is_missing_and_not_what_is_above_dense():
    """Draws miss 0.5 and 0, 0.5 and 0, 0.2 and 0 of their two tasks: 0.25, 0.25 and 0.1."""
    value = np.array([[0.5, 1.5], [0.5, 1.0], [0.8, 1.2]])[None, None]
    (found,) = profile_tables([with_dense(value, [1, 1])], SETTINGS)["iqm"].to_dict("records")
    assert found["gap"] == pytest.approx(0.2)
    half = 4.302653 * np.std([0.25, 0.25, 0.1], ddof=1) / np.sqrt(3)  # t(2)
    assert (found["gap_lo"], found["gap_hi"]) == pytest.approx((max(0.2 - half, 0), 0.2 + half))


def test_improvement_is_the_share_of_draws_and_tasks_and_ties_are_halves():
    """Of 3 draws x 2 tasks the second wins 4 and ties 1: 4.5 of 6, told as the first one's."""
    first = np.array([[0.5, 0.5], [0.5, 0.5], [0.5, 0.5]])
    second = np.array([[0.6, 0.6], [0.6, 0.4], [0.6, 0.5]])
    array = with_dense(np.stack([first, second])[:, None], [np.nan, np.nan])
    tables = profile_tables([array], SETTINGS)
    (found,) = tables["improvement"].to_dict("records")
    assert list(found) == IMPROVEMENT_COLUMNS and tables["iqm"].empty
    assert (found["a"], found["b"], found["num_tasks"], found["n"]) == ("sparsegpt", "gptq", 2, 3)
    assert found["prob"] == 0.75
    ends = stats.beta.ppf(0.025, 2.25, 1.75), stats.beta.ppf(0.975, 3.25, 0.75)
    assert (found["prob_lo"], found["prob_hi"]) == pytest.approx(ends)


def test_a_draw_that_one_of_them_lacks_is_no_part_of_improvement():
    value = 0.5 + 0.1 * normal("improvement/lacks", 2, 1, 5, 3)
    value[1, 0, 4, 2] = np.nan
    (found,) = profile_tables([with_dense(value, np.ones(3))], SETTINGS)["improvement"]["n"]
    assert found == 4


@pytest.mark.parametrize(("num_D", "num_S", "lead"), [(1, 5, 0.0), (3, 3, 0.5), (1, 10, 1.5)])
def test_the_interval_of_improvement_holds_the_truth(num_D, num_S, lead):
    """Tasks that move together with the draw, and on their own; the lead differs by task."""
    num_T, num = 5, 400
    lead_T = lead + np.linspace(-0.5, 0.5, num_T)
    truth = stats.norm.cdf(lead_T / np.sqrt(2 * (0.5**2 + 1))).mean()
    common = 0.5 * normal(f"improvement/{num_S}", num, 2, num_D, num_S, 1)
    value = common + normal(f"improvement/own/{num_S}", num, 2, num_D, num_S, num_T)
    value[:, 0] += lead_T
    found = profile_tables([with_dense(one, np.ones(num_T)) for one in value], SETTINGS)
    table = found["improvement"]
    is_turned = table["a"] != "gptq"
    low = np.where(is_turned, 1 - table["prob_hi"], table["prob_lo"])
    high = np.where(is_turned, 1 - table["prob_lo"], table["prob_hi"])
    assert np.mean((low <= truth) & (truth <= high)) > 0.95 - 2.5 * np.sqrt(0.05 * 0.95 / num)
