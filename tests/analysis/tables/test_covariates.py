import json

import numpy as np
import pytest
from helpers.simulated import SETTINGS, array_of, normal
from safetensors.numpy import save_file

from calib_sweep.analysis.inference.correlation import correlate
from calib_sweep.analysis.tables.covariates import (
    COLUMNS,
    covariate_table,
    read_descriptors,
)
from calib_sweep.dataset.calibration.descriptors import OF_TOKENS
from calib_sweep.hashing import tokens_sha256


def test_sets_are_found_by_their_hash_and_recorded_numbers_are_added(tmp_path):
    folder = tmp_path / "calibration" / "0123"
    folder.mkdir(parents=True)
    tokens_NT = np.array([[1, 2, 3, 3]])
    save_file({"tokens": tokens_NT}, folder / "tokens.safetensors")
    own = tokens_sha256(tokens_NT, None)
    (folder / "card.json").write_text(json.dumps({"hash": own}))
    of_set = {"hash": own, "tokenizer": {"vocabulary": 6}}
    broken = tmp_path / "calibration" / "broken"
    broken.mkdir()
    (broken / "card.json").write_text("{")
    cells = [
        {"cell_id": "a", "calibration": {**of_set, "descriptors": {"ppl": 9.0, "by": "me"}}},
        {"cell_id": "b", "calibration": {"hash": "gone"}},
        {"cell_id": "c", "calibration": None},
    ]
    found = read_descriptors(tmp_path, cells)
    assert list(found) == ["a"]
    assert found["a"]["entropy"] == pytest.approx(1.5)
    assert found["a"]["coverage"] == 0.5  # of the six tokens that its tokenizer has
    assert found["a"]["ppl"] == 9.0
    assert "by" not in found["a"]


def test_a_set_whose_record_describes_it_is_not_read_again(tmp_path):
    described = dict.fromkeys(OF_TOKENS, 0.5)
    folder = tmp_path / "calibration" / "0123"
    folder.mkdir(parents=True)
    (folder / "card.json").write_text(json.dumps({"hash": "abc"}))
    (folder / "tokens.safetensors").write_text("no tokens")
    cells = [{"cell_id": "a", "calibration": {"hash": "abc", "descriptors": described}}]
    told = []
    assert read_descriptors(tmp_path, cells, told.append) == {"a": described}
    assert not told


def test_the_table_correlates_each_descriptor_with_the_headline_scores():
    value = normal("covariates", 1, 2, 6, 3)
    array = array_of(value, metrics=["acc/mean", "acc/x", "ppl/geomean"])
    descriptors = {
        str(cell): {"entropy": float(value[0, d, s, 0]) * 2 + d, "constant": 1.0}
        for (d, s), cell in np.ndenumerate(array.cell_ids_MDSR[0, :, :, 0])
    }
    table = covariate_table([array], descriptors, SETTINGS)
    assert list(table.columns) == COLUMNS
    assert set(table["descriptor"]) == {"entropy"}
    own = table[table["metric"] == "acc/mean"].set_index("dataset")
    assert own["rho"].to_dict() == pytest.approx({"text00": 1.0, "text01": 1.0, "": 1.0}, abs=1e-6)
    other = table[(table["metric"] == "ppl/geomean") & (table["dataset"] == "text01")].iloc[0]
    wanted = correlate([(value[0, 1, :, 0], value[0, 1, :, 2])], **SETTINGS.resampling)
    assert (other["rho"], other["p"]) == (pytest.approx(wanted[1]), wanted[4])


def test_without_descriptors_there_is_no_row():
    assert covariate_table([array_of(normal("none", 1, 1, 6, 1))], {}, SETTINGS).empty
