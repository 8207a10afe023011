"""Curves of layer errors: means by kind of layer and block, nothing where nothing is known."""

import pandas as pd
import pytest

from calib_sweep.tracking.layer_curves import mean_error, read_curves


def write_layers(folder, *rows):
    table = [dict(zip(("block", "layer", "output_error"), row, strict=True)) for row in rows]
    pd.DataFrame(table).to_parquet(folder / "layers.parquet", index=False)


def test_layers_of_one_kind_are_averaged_within_a_block_and_unknown_errors_left_out(tmp_path):
    write_layers(
        tmp_path,
        (1, "mlp.experts.0.up_proj", 0.2),
        (1, "mlp.experts.1.up_proj", 0.4),
        (1, "mlp.experts.2.up_proj", None),  # no token reached it
        (0, "self_attn.q_proj", 0.3),
    )
    assert read_curves(tmp_path) == [
        {"layers/block": 0, "layers/output_error/q_proj": 0.3},
        {"layers/block": 1, "layers/output_error/up_proj": pytest.approx(0.3)},
    ]
    assert mean_error(tmp_path) == pytest.approx(0.3)


@pytest.mark.parametrize("rows", [[], [(0, "fc1", None)]])
def test_a_cell_without_known_errors_has_no_curve(tmp_path, rows):
    write_layers(tmp_path, *rows)
    assert read_curves(tmp_path) == [] and mean_error(tmp_path) is None


def test_a_record_from_elsewhere_has_no_table_of_layers(tmp_path):
    assert read_curves(tmp_path) == [] and mean_error(tmp_path) is None
