import numpy as np
import pandas as pd
import pytest
from helpers.simulated import array_of, normal, rows_of

from calib_sweep.analysis.scores.arrays import score_arrays
from calib_sweep.analysis.tables.spreads import COLUMNS, DATASET_COLUMNS, spread_tables
from calib_sweep.seeding import stream


def test_every_pair_of_methods_has_a_row_with_the_sds_of_their_draws():
    value = normal("spreads", 3, 2, 6, 2)
    value[:, 1] += 100  # what lies between datasets is in no SD
    table = spread_tables([array_of(value)])["spreads"]
    assert list(table.columns) == COLUMNS
    assert list(zip(table["a"], table["b"], strict=True))[::2] == [
        ("gptq", "sparsegpt"),
        ("gptq", "spqr"),
        ("sparsegpt", "spqr"),
    ]
    first = table.iloc[0]
    sd = np.sqrt(value[:, :, :, 0].var(axis=2, ddof=1).mean(1))
    assert [first["sd_a"], first["sd_b"]] == pytest.approx([sd[0], sd[1]])
    assert first["ratio"] == pytest.approx(sd[0] / sd[1])
    assert first["estimate"] == pytest.approx(np.log(sd[0] / sd[1]))
    assert first["ratio_lo"] == pytest.approx(np.exp(first["lo"]))
    assert (first["n"], first["draws"], first["dataset"]) == (12, "shared", "")


def test_perplexities_are_compared_on_the_log_scale():
    log = 2 + 0.1 * normal("spreads/log", 2, 1, 5, 1)
    (array,) = score_arrays(rows_of(np.exp(log), metrics=["ppl/a@64"]))
    (found,) = spread_tables([array])["spreads"].to_dict("records")
    assert found["sd_a"] == pytest.approx(log[0].std(ddof=1))


def test_one_diverged_draw_is_no_ratio_of_spreads():
    log = 2 + 0.1 * normal("spreads/log", 2, 1, 5, 1)
    log[0, 0, 3] = np.log(1e9)
    (array,) = score_arrays(rows_of(np.exp(log), metrics=["ppl/a@64"]))
    (found,) = spread_tables([array])["spreads"].to_dict("records")
    assert found["reason"] == "not finite" and np.isnan([found["p"], found["lo"]]).all()


def test_methods_without_draws_in_common_are_compared_on_their_own():
    value = normal("spreads/own", 2, 1, 10, 1)
    value[0, :, 5:], value[1, :, :5] = np.nan, np.nan
    (found,) = spread_tables([array_of(value)])["spreads"].to_dict("records")
    assert (found["draws"], found["n"], found["reason"]) == ("own", 5, "")
    assert found["sd_b"] == pytest.approx(value[1, 0, 5:, 0].std(ddof=1))


def test_datasets_of_a_method_are_compared_and_too_few_draws_are_said():
    value = normal("spreads/datasets", 1, 3, 6, 1)
    value[0, 1] *= 30
    value[0, 2, 2:] = np.nan
    table = spread_tables([array_of(value)])["dataset_spreads"]
    assert list(table.columns) == DATASET_COLUMNS
    assert table["reason"].tolist() == ["", "too few draws", "too few draws"]
    assert table["p"][0] < 0.01 and table["ratio_hi"][0] < 1


def test_another_order_of_records_or_seeds_changes_no_number():
    rows = rows_of(normal("spreads/order", 3, 2, 6, 2))
    shuffled = [rows[i] for i in stream("tests/shuffled").permutation(len(rows))]
    renumbered = [{**row, "seed": (row["seed"] * 5 + 2) % 6} for row in rows]
    first, again, other = (
        spread_tables(score_arrays(own))["spreads"] for own in (rows, shuffled, renumbered)
    )
    pd.testing.assert_frame_equal(first, again)
    pd.testing.assert_frame_equal(first, other)


def test_nothing_to_compare_leaves_empty_tables_with_their_columns():
    tables = spread_tables([])
    assert list(tables["spreads"].columns) == COLUMNS
    assert tables["dataset_spreads"].empty
