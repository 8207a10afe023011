"""Cells that real processes share, weights and all: the model is the one of one process."""

import pytest
from helpers.ranked import in_processes
from safetensors.torch import load_file
from test_shared_scoring import run_grid

from calib_sweep.ranks import ALONE

SAVED = ["method=rtn_imatrix", "save_model=compressed-tensors"]
PREPARED = ["method=wanda", "rotation=hadamard", "activations=int8", "activations.scaling=static"]
GRIDS = {"saved": SAVED, "prepared": PREPARED, "flap": ["method=flap"]}


def run_grids(ranks, words, folder):
    return {name: run_grid(ranks, [*words, *more], folder / name) for name, more in GRIDS.items()}


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
