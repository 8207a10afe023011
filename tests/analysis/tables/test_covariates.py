import json

import numpy as np
import pytest
from helpers.simulated import SETTINGS, array_of, normal
from safetensors.numpy import save_file

from calib_sweep.analysis.inference.correlation import correlate
from calib_sweep.analysis.tables.covariates import (
    COLUMNS,
    covariate_table,
    describe_tokens,
    read_descriptors,
)
from calib_sweep.hashing import tokens_sha256


def test_descriptors_of_a_small_set():
    """Eight tokens, 4 times 1 and once 2, 3, 4, 5: entropy 0.5 * 1 + 4 / 8 * 3 = 2 bits."""
    found = describe_tokens(np.array([[1, 1, 2, 3], [1, 1, 4, 5]]), None)
    assert found == {
        "entropy": pytest.approx(2.0),
        "unique_share": 5 / 8,
        "duplicates": 0.0,
        "filled": 1.0,
    }


def test_padding_is_no_token_and_a_repeated_sample_is_a_duplicate():
    tokens_NT = np.array([[7, 7, 0, 0], [7, 7, 0, 0]])
    found = describe_tokens(tokens_NT, np.array([2, 2]))
    assert (found["entropy"], found["unique_share"]) == (0.0, 0.25)
    assert (found["duplicates"], found["filled"]) == (0.5, 0.5)


def test_sets_are_found_by_their_hash_and_recorded_numbers_are_added(tmp_path):
    folder = tmp_path / "calibration" / "0123"
    folder.mkdir(parents=True)
    tokens_NT = np.array([[1, 2, 3, 3]])
    save_file({"tokens": tokens_NT}, folder / "tokens.safetensors")
    own = tokens_sha256(tokens_NT, None)
    (folder / "card.json").write_text(json.dumps({"hash": own}))
    broken = tmp_path / "calibration" / "broken"
    broken.mkdir()
    (broken / "card.json").write_text("{")
    cells = [
        {"cell_id": "a", "calibration": {"hash": own, "descriptors": {"ppl": 9.0, "by": "me"}}},
        {"cell_id": "b", "calibration": {"hash": "gone"}},
        {"cell_id": "c", "calibration": None},
    ]
    found = read_descriptors(tmp_path, cells)
    assert list(found) == ["a"]
    assert found["a"]["entropy"] == pytest.approx(1.5)
    assert found["a"]["ppl"] == 9.0
    assert "by" not in found["a"]


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
