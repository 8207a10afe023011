"""The same contrast in two sweeps: against Welch's test, by hand draw by draw, and error rates."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
from helpers.simulated import SETTINGS, array_of, normal, rows_of
from scipy import stats

from calib_sweep.analysis.inference.multiplicity import holm_corrected
from calib_sweep.analysis.metrics import OURS
from calib_sweep.analysis.scores.arrays import score_arrays
from calib_sweep.analysis.tables.across import (
    COLUMNS,
    INDEPENDENT,
    SAME_DRAWS,
    Sweep,
    across_table,
    matched_models,
)

ACCURACY = "acc/mean"


def sweep_of(value_MDSE: np.ndarray, name: str = "first", **fields: object) -> Sweep:
    metrics = [ACCURACY, *(f"acc/task{e}" for e in range(1, value_MDSE.shape[3]))]
    rows = rows_of(value_MDSE, metrics=metrics, **fields)
    return Sweep(name=name, arrays=score_arrays(rows), hashes={})


def with_sets(sweep: Sweep, salt: str = "") -> Sweep:
    """The same sweep whose sets are known: one for each dataset and seed."""
    hashes = {}
    for array in sweep.arrays:
        for (_, d, s, _), cell in np.ndenumerate(array.cell_ids_MDSR):
            hashes[cell] = f"{salt}{array.datasets[d]} {array.seeds[s]}"
    return dataclasses.replace(sweep, hashes=hashes)


def only_row(table: pd.DataFrame) -> dict:
    (row,) = table.to_dict("records")
    return row


def test_independent_sweeps_on_one_dataset_are_welchs_test_of_their_paired_differences():
    first, second = normal("across/a", 2, 1, 5, 1), normal("across/b", 2, 1, 8, 1)
    table = across_table(sweep_of(first), [sweep_of(second, "second")], SETTINGS)
    assert list(table.columns) == COLUMNS
    x, y = (value[0, 0, :, 0] - value[1, 0, :, 0] for value in (first, second))
    theirs = stats.ttest_ind(x, y, equal_var=False)
    row = only_row(table)
    assert (row["design"], row["first"], row["second"]) == (INDEPENDENT, "first", "second")
    assert (row["n_first"], row["n_second"]) == (5, 8)
    assert row["first_diff"] == pytest.approx(x.mean())
    assert row["difference"] == pytest.approx(x.mean() - y.mean())
    assert (row["df"], row["p"]) == pytest.approx((theirs.df, theirs.pvalue))
    ends = theirs.confidence_interval(0.95)
    assert (row["lo"], row["hi"]) == pytest.approx((ends.low, ends.high))


def test_sweeps_on_the_same_sets_are_compared_draw_by_draw():
    """Draws that move both sweeps alike cancel: the paired t test of both differences."""
    common = normal("across/common", 2, 1, 6, 1)
    first, second = (common + 0.01 * normal(f"across/{name}", 2, 1, 6, 1) for name in "cd")
    sweeps = [with_sets(sweep_of(first)), with_sets(sweep_of(second, "second"))]
    row = only_row(across_table(sweeps[0], sweeps[1:], SETTINGS))
    x, y = (value[0, 0, :, 0] - value[1, 0, :, 0] for value in (first, second))
    theirs = stats.ttest_rel(x, y)
    assert row["design"] == SAME_DRAWS
    assert (row["df"], row["p"]) == pytest.approx((5, theirs.pvalue))
    assert row["difference"] == pytest.approx(row["first_diff"] - row["second_diff"])


def test_a_diverged_draw_is_left_out_of_the_difference_as_of_each_sweep():
    first, second = (2 + 0.1 * normal(f"across/lost/{name}", 2, 1, 6, 1) for name in "ab")
    second[1, 0, 4] = np.log(1e9)
    sweeps = []
    for value, name in ((first, "first"), (second, "second")):
        rows = rows_of(np.exp(value), metrics=["ppl/geomean"])
        sweeps.append(with_sets(Sweep(name=name, arrays=score_arrays(rows), hashes={})))
    row = only_row(across_table(sweeps[0], sweeps[1:], SETTINGS))
    kept = np.arange(6) != 4
    x, y = (value[0, 0, kept, 0] - value[1, 0, kept, 0] for value in (first, second))
    assert row["design"] == SAME_DRAWS
    assert row["difference"] == pytest.approx((x - y).mean())
    assert row["second_diff"] == pytest.approx(y.mean())


@pytest.mark.parametrize("change", ["another set", "unknown sets", "fewer draws"])
def test_other_sets_are_other_draws(change):
    value = normal("across/sets", 2, 2, 4, 1)
    first = with_sets(sweep_of(value))
    second = {
        "another set": lambda: with_sets(sweep_of(value, "second"), "other "),
        "unknown sets": lambda: sweep_of(value, "second"),
        "fewer draws": lambda: with_sets(sweep_of(value[:, :, :3], "second")),
    }[change]()
    assert only_row(across_table(first, [second], SETTINGS))["design"] == INDEPENDENT


def test_equal_sweeps_have_no_test_and_say_why():
    value = normal("across/equal", 2, 1, 4, 1)
    sweeps = [with_sets(sweep_of(value, name)) for name in ("first", "second")]
    row = only_row(across_table(sweeps[0], sweeps[1:], SETTINGS))
    assert (row["difference"], row["is_shown"]) == (0, False)
    assert row["reason"] == "equal on every draw" and np.isnan(row["p"])


def test_one_draw_leaves_no_test_and_says_why():
    value = normal("across/one", 2, 1, 4, 1)
    row = only_row(across_table(sweep_of(value), [sweep_of(value[:, :, :1], "second")], SETTINGS))
    assert row["reason"] == "too few draws" and not row["is_shown"]


def test_models_meet_by_name_or_where_each_sweep_has_one():
    value = normal("across/models", 2, 1, 4, 1)
    opt, llama = (sweep_of(value, name, model=name) for name in ("opt", "llama"))
    both = Sweep(name="both", arrays=[*opt.arrays, *llama.arrays], hashes={})
    assert matched_models(opt, llama) == {"opt | llama": ("opt", "llama")}
    assert matched_models(opt, both) == {"opt": ("opt", "opt")}
    third = sweep_of(value, "qwen", model="qwen")
    assert matched_models(both, third) == {}
    assert only_row(across_table(opt, [llama], SETTINGS))["model"] == "opt | llama"


def test_holm_counts_every_contrast_of_every_other_sweep():
    values = [normal(f"across/holm {k}", 3, 1, 5, 1) for k in range(3)]
    sweeps = [sweep_of(value, str(k)) for k, value in enumerate(values)]
    table = across_table(sweeps[0], sweeps[1:], SETTINGS)
    assert len(table) == 6 and set(table["second"]) == {"1", "2"}
    smallest = table.loc[table["p"].idxmin()]
    assert smallest["p_holm"] == pytest.approx(min(6 * smallest["p"], 1))


def test_only_methods_that_both_have_are_there():
    three, two = normal("across/three", 3, 1, 4, 1), normal("across/two", 2, 1, 4, 1)
    row = only_row(across_table(sweep_of(three), [sweep_of(two, "second")], SETTINGS))
    assert (row["a"], row["b"]) == ("gptq", "sparsegpt")


@pytest.mark.parametrize("shared", [0.0, 0.7])
def test_where_nothing_differs_few_pairs_of_sweeps_show_anything(shared):
    """Three methods, two datasets, five draws. `shared`: of a draw's variance, in both sweeps.

    Each score is a pair of sweeps of its own; its three contrasts are a family. Sets that are
    shared make the sweeps alike: draw by draw that cancels.
    """
    num, name = 800, f"across/null {shared}"
    level = normal(f"{name}/level", 3, 1, 1, num)  # of a method: the same in both sweeps
    common = np.sqrt(shared) * normal(f"{name}/common", 3, 2, 5, num)
    values = [
        level + common + np.sqrt(1 - shared) * normal(f"{name}/{sweep}", 3, 2, 5, num)
        for sweep in ("first", "second")
    ]
    sweeps = [
        Sweep(name=str(k), arrays=[array_of(value)], hashes={}) for k, value in enumerate(values)
    ]
    sweeps = [with_sets(sweep) for sweep in sweeps] if shared else sweeps
    known = OURS.extended({"acc": {"headline": True}})
    table = across_table(sweeps[0], sweeps[1:], SETTINGS, known)
    assert set(table["design"]) == {SAME_DRAWS if shared else INDEPENDENT}
    families = table.groupby("metric")["p"]
    claims = families.agg(lambda p: (holm_corrected(p.to_numpy(float)) < 0.05).any())
    assert len(claims) == num
    assert claims.mean() <= 0.05 + 2.5 * np.sqrt(0.05 * 0.95 / num)
    assert (table["p"] < 0.05).mean() == pytest.approx(0.05, abs=0.012)
