import numpy as np
import pytest
from helpers.simulated import row, rows_of

from calib_sweep.analysis.scores.arrays import to_grids


def test_a_grid_holds_every_score_at_its_place():
    value = np.arange(24.0).reshape(2, 3, 4, 1)
    (grid,) = to_grids(rows_of(value))
    assert grid.value_MDSE.tolist() == value.tolist()
    assert [names.method for names in grid.methods] == ["gptq", "sparsegpt"]
    assert (grid.datasets, grid.seeds) == (("text00", "text01", "text02"), (0, 1, 2, 3))
    assert grid.metrics == ("acc/task0",)


def test_missing_failed_and_superseded_cells_are_nan_and_have_no_id():
    value = np.ones((1, 1, 3, 1))
    rows = rows_of(value)
    rows[0]["status"] = "superseded"
    rows[1] |= {"status": "failed", "metric": None, "value": np.nan}
    (grid,) = to_grids(rows)
    assert grid.seeds == (2,)
    value[0, 0, 1] = np.nan
    (grid,) = to_grids(rows_of(value))
    assert grid.seeds == (0, 2)
    both = [*rows_of(value), *rows_of(np.ones((2, 1, 3, 1))[1:], methods=["wanda"])]
    (grid,) = to_grids(both)
    assert np.isnan(grid.value_MDSE[0, 0, 1, 0])
    assert grid.cell_ids_MDSR[0, 0, 1, 0] == ""


def test_perplexity_is_logged_and_dense_kept_apart():
    rows = [
        row("dense", 4.0, metric="ppl/a@64"),
        row("wanda", 8.0, metric="ppl/a@64", dataset="c4", seed=0),
    ]
    (grid,) = to_grids(rows)
    assert grid.value_MDSE.ravel() == pytest.approx(np.log([8.0]))
    assert grid.dense_E == pytest.approx(np.log([4.0]))
    assert grid.directions_E.tolist() == [-1]


def test_a_method_without_data_stands_for_every_dataset_and_seed():
    rows = [*rows_of(np.zeros((1, 2, 3, 1))), row("rtn", 0.25, metric="acc/task0")]
    (grid,) = to_grids(rows)
    assert [names.method for names in grid.methods] == ["gptq", "rtn"]
    assert grid.value_MDSE[1].ravel().tolist() == [0.25] * 6
    assert grid.reads_data_M.tolist() == [True, False]


def test_spread_is_over_the_first_replicate_there_is():
    rows = [
        row("wanda", 0.5, dataset="c4", seed=0),
        row("wanda", 0.6, dataset="c4", seed=0, replicate=1),
        row("wanda", 0.7, dataset="c4", seed=1, replicate=1),
    ]
    (grid,) = to_grids(rows)
    assert grid.value_MDSE[0, 0, :, 0].tolist() == [0.5, 0.7]
    assert grid.value_MDSRE[0, 0, 0, :, 0].tolist() == [0.5, 0.6]


def test_names_carry_the_settings_that_tell_cells_apart_each_at_its_place():
    base = {"dataset": "c4", "seed": 0}
    rows = [
        row(
            "wanda",
            0.5,
            **base,
            **{"method.sparsity": sparsity, "calibration.num_samples": size, "model.dtype": dtype},
        )
        for sparsity in (0.5, 0.6)
        for size in (16, 128)
        for dtype in ("float16", "float32")
    ]
    rows.append(row("rtn", 0.4, **{"model.dtype": "float16", "method.bits": 4}))
    grids = to_grids(rows)
    assert [grid.model for grid in grids] == ["tiny dtype=float16", "tiny dtype=float32"]
    assert [names.method for names in grids[0].methods][:2] == [
        "rtn",
        "wanda sparsity=0.5 num_samples=128",
    ]
    assert grids[1].draws == ("num_samples=128", "num_samples=16")
    assert grids[1].num_samples_M.tolist() == [128, 16, 128, 16]
    assert grids[0].drawn_with("num_samples=16").tolist() == [2, 4]
    assert grids[0].drawn_with("num_samples=16", data_free=True).tolist() == [0, 2, 4]


def test_a_seed_of_zero_and_no_seed_at_all_are_two_things():
    rows = [row("wanda", 0.5, dataset="c4", seed=seed) for seed in (0, None)]
    (grid,) = to_grids(rows)
    assert grid.seeds == (None, 0)
