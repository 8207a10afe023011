import pytest

from calib_sweep.cell import DENSE, Cell


@pytest.fixture
def make_cell():
    """A cell of an invented model, method and dataset; keywords go into its configuration."""

    def make(*, needs_data=True, method=None, settings=None, **changes):
        config = {
            "model": {"name": "tiny", "path": "tiny", "dtype": "float32", "device": "cpu"},
            "method": method or {"_target_": "somewhere.Wanda", "sparsity": 0.5},
            "dataset": {"name": "corpus", "path": "corpus.txt"},
            "evaluation": {"perplexity": {"seq_len": 32, "batch_size": 4}},
            "calibration": {"num_samples": 4, "seq_len": 32},
            "walk": {"propagate": "compressed", "batch_tokens": 512},
            "tracking": {"_target_": "somewhere.NoTracking"},
            "seed": 0,
            "replicate": 0,
            "sweep_name": "default",
            "results_dir": "results",
            "save_model": None,
            "ranks_per_cell": 1,
        } | changes
        choices = {"model": "hf", "method": "wanda", "dataset": "text"}
        return Cell(config=config, choices=choices, settings=settings or {}, needs_data=needs_data)

    return make


@pytest.fixture
def dense_method():
    return DENSE
