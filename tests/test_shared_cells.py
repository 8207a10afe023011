"""Cells that real processes share, weights and all: the model is the one of one process."""

from unittest.mock import patch

import pytest
from helpers.ranked import in_processes
from safetensors.torch import load_file
from test_shared_scoring import run_grid

from calib_sweep import run as run_module
from calib_sweep.ranks import ALONE

SAVED = ["method=rtn_imatrix", "save_model=compressed-tensors"]
PREPARED = ["method=wanda", "rotation=hadamard", "activations=int8", "activations.scaling=static"]
GRIDS = {"saved": SAVED, "prepared": PREPARED, "flap": ["method=flap"]}


def run_grids(ranks, words, folder):
    return {name: run_grid(ranks, [*words, *more], folder / name) for name, more in GRIDS.items()}


class Misprint(Exception):
    """Told by its text alone, it would arrive as another one."""

    def __init__(self, place, *, found):
        super().__init__(f"{found} at {place}")


def run_misprinted(ranks, words, folder):
    """Run a grid of which the last rank alone cannot read the second set."""
    found, hashes = run_module._data_of, set()

    def misread(drawn, parts):
        hashes.add(drawn and drawn.hash)
        if len(hashes) == 3 and ranks.index == ranks.count - 1:  # of dense, 0 and now 1
            hashes.add("")
            raise Misprint("page 7", found="a smudge")
        return found(drawn, parts)

    with patch.object(run_module, "_data_of", misread):
        return run_grid(ranks, [*words, "method=rtn_imatrix", "seed=range(3)"], folder)


@pytest.mark.slow
def test_an_error_of_one_rank_is_that_of_the_cell_and_the_next_one_is_run(tiny_world, tmp_path):
    found = in_processes(3, tmp_path, run_misprinted, [*tiny_world], tmp_path)
    for records in found:
        assert [record["status"] for record in records] == ["done", "done", "failed", "done"]
        error = records[2]["error"]
        assert (error["type"], error["message"]) == ("Misprint", "a smudge at page 7")
    assert "on rank 2:" in found[0][2]["error"]["where"]
    assert "test_shared_cells.py" in found[0][2]["error"]["where"]
    assert found[0][3]["scores"] == found[1][3]["scores"] == found[2][3]["scores"]


@pytest.mark.slow
def test_what_processes_compress_together_is_what_one_compresses(tiny_world, tmp_path):
    words = [*tiny_world, "seed=0", "calibration.num_samples=5"]
    alone = run_grids(ALONE, words, tmp_path / "alone")
    both = in_processes(2, tmp_path, run_grids, words, tmp_path / "shared")
    for name, records in alone.items():
        for one, *others in zip(records, both[0][name], both[1][name], strict=True):
            assert {of["status"] for of in (one, *others)} == {"done"}, (name, one, *others)
            for other in others:
                assert other["scores"] == pytest.approx(one["scores"], rel=1e-3), name
                assert other["compression"]["sparsity"] == one["compression"]["sparsity"]
    records = [*(tmp_path / "shared" / "saved").rglob("record*.json")]
    assert len(records) == 2  # of the dense cell and the other, written by the first rank alone
    (whole,) = (tmp_path / "alone").rglob("model*.safetensors")
    (shared,) = (tmp_path / "shared").rglob("model*.safetensors")
    expected, found = load_file(whole), load_file(shared)
    assert expected.keys() == found.keys()
    same = [bool((found[key] == tensor).float().mean() > 0.99) for key, tensor in expected.items()]
    assert all(same)
