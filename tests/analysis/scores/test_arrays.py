import numpy as np
import pytest
from helpers.simulated import SETTINGS, row, rows_of

from calib_sweep.analysis.scores.arrays import score_arrays
from calib_sweep.analysis.tables.variance_components import variance_table


def test_an_array_holds_every_score_at_its_place():
    value = np.arange(24.0).reshape(2, 3, 4, 1)
    (array,) = score_arrays(rows_of(value))
    assert array.value_MDSE.tolist() == value.tolist()
    assert [names.method for names in array.methods] == ["gptq", "sparsegpt"]
    assert (array.datasets, array.seeds) == (("text00", "text01", "text02"), (0, 1, 2, 3))
    assert array.metrics == ("acc/task0",)


def test_missing_failed_and_superseded_cells_are_nan_and_have_no_id():
    value = np.ones((1, 1, 3, 1))
    rows = rows_of(value)
    rows[0]["status"] = "superseded"
    rows[1] |= {"status": "failed", "metric": None, "value": np.nan}
    (array,) = score_arrays(rows)
    assert array.seeds == (2,)
    value[0, 0, 1] = np.nan
    (array,) = score_arrays(rows_of(value))
    assert array.seeds == (0, 2)
    both = [*rows_of(value), *rows_of(np.ones((2, 1, 3, 1))[1:], methods=["wanda"])]
    (array,) = score_arrays(both)
    assert np.isnan(array.value_MDSE[0, 0, 1, 0])
    assert array.cell_ids_MDSR[0, 0, 1, 0] == ""


def test_perplexity_is_logged_and_dense_kept_apart():
    rows = [
        row("dense", 4.0, metric="ppl/a@64"),
        row("wanda", 8.0, metric="ppl/a@64", dataset="c4", seed=0),
    ]
    (array,) = score_arrays(rows)
    assert array.value_MDSE.ravel() == pytest.approx(np.log([8.0]))
    assert array.dense_E == pytest.approx(np.log([4.0]))
    assert array.directions_E.tolist() == [-1]


def test_a_method_without_data_stands_for_every_dataset_and_seed():
    rows = [*rows_of(np.zeros((1, 2, 3, 1))), row("rtn", 0.25, metric="acc/task0")]
    (array,) = score_arrays(rows)
    assert [names.method for names in array.methods] == ["gptq", "rtn"]
    assert array.value_MDSE[1].ravel().tolist() == [0.25] * 6
    assert array.reads_data_M.tolist() == [True, False]


def test_spread_is_over_the_first_replicate_there_is():
    rows = [
        row("wanda", 0.5, dataset="c4", seed=0),
        row("wanda", 0.6, dataset="c4", seed=0, replicate=1),
        row("wanda", 0.7, dataset="c4", seed=1, replicate=1),
    ]
    (array,) = score_arrays(rows)
    assert array.value_MDSE[0, 0, :, 0].tolist() == [0.5, 0.7]
    assert array.value_MDSRE[0, 0, 0, :, 0].tolist() == [0.5, 0.6]


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
    arrays = score_arrays(rows)
    assert [array.model for array in arrays] == ["tiny dtype=float16", "tiny dtype=float32"]
    assert [names.method for names in arrays[0].methods][:2] == [
        "rtn",
        "wanda sparsity=0.5 num_samples=128",
    ]
    assert arrays[1].draws == ("num_samples=128", "num_samples=16")
    assert arrays[1].num_samples_M.tolist() == [128, 16, 128, 16]
    assert arrays[0].drawn_with("num_samples=16").tolist() == [2, 4]
    assert arrays[0].drawn_with("num_samples=16", data_free=True).tolist() == [0, 2, 4]


def test_a_seed_of_zero_and_no_seed_at_all_are_two_things():
    rows = [row("wanda", 0.5, dataset="c4", seed=seed) for seed in (0, None)]
    (array,) = score_arrays(rows)
    assert array.seeds == (None, 0)


@pytest.mark.parametrize("perplexity", [1.0, 1.0 + 1e-7, 7.4, 3e5])
def test_a_constant_perplexity_has_a_spread_of_exactly_zero(perplexity):
    """exp(mean(log)) may end in another digit; near 1 its logarithm is smaller than that digit."""
    rows = [
        row(method, value, metric="ppl/geomean", dataset="web", seed=seed)
        for method in ("gptq", "wanda")
        for seed, value in enumerate([perplexity, perplexity * (1 + 4e-16), perplexity])
    ]
    (array,) = score_arrays(rows)
    assert np.ptp(array.value_MDSE) == 0
    parts = variance_table([array], SETTINGS)
    assert set(parts["variance"].dropna()) == {0.0}
    assert parts["share"].isna().all()
