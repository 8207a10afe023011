"""How many jobs a grid is worth: by cells, or by the time that they take."""

import pytest
from omegaconf import OmegaConf

from calib_sweep.errors import ConfigError
from calib_sweep.sweep import packing
from calib_sweep.sweep.packing import Packing, by_minutes


def packed(monkeypatch, num_cells, seconds=None, **launcher):
    monkeypatch.setattr(packing, "expected_seconds", lambda *_: seconds)
    master = OmegaConf.create({"hydra": {"launcher": launcher}})
    return packing.packing(None, None, master, [None] * num_cells)


@pytest.mark.parametrize(
    ("num_cells", "per_worker", "expected"),
    [
        (7, 3, Packing(3, 3, 3)),
        (6, 3, Packing(2, 3, 3)),
        (7, None, Packing(1, None, None)),
        (0, 3, Packing(0, 3, 3)),
        (0, None, Packing(0, None, None)),
    ],
)
def test_by_cells_the_last_job_has_what_is_left(num_cells, per_worker, expected, monkeypatch):
    assert packed(monkeypatch, num_cells, cells_per_worker=per_worker) == expected


def test_a_launcher_without_such_settings_gets_one_worker(monkeypatch):
    assert packed(monkeypatch, 5) == Packing(1, None, None)


@pytest.mark.parametrize(
    ("minutes", "seconds", "num_cells", "num_jobs", "share"),
    [
        (10, 6000, 100, 10, 10),
        (10, 6001, 100, 11, 10),  # what is left is worth a job
        (60, 20, 100, 1, 100),  # all are short
        (1, 6000, 8, 8, 1),  # a cell is never parted
    ],
)
def test_by_time_a_job_begins_at_its_share_and_takes_whatever_is_free(
    minutes, seconds, num_cells, num_jobs, share, monkeypatch
):
    found = packed(monkeypatch, num_cells, seconds, cells_per_worker=4, minutes_per_worker=minutes)
    assert found == Packing(num_jobs, num_cells, share)


def test_time_that_nobody_knows_is_refused():
    with pytest.raises(ConfigError, match=r"minutes_per_worker=10: .* Type hydra.launcher.cells"):
        by_minutes(10, None, 3)


def test_check_shows_the_jobs_that_the_estimate_is_worth(
    tmp_path, tiny_world, run_cli, monkeypatch
):
    for name in ("srun", "sbatch", "squeue"):
        (tmp_path / name).write_text("#!/bin/sh\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    words = ["check", "-m", *tiny_world, "seed=range(3)", "hydra/launcher=slurm"]
    words += ["hydra.launcher.cells_per_worker=1", "hydra.launcher.minutes_per_worker"]
    one_job = run_cli(*words[:-1], f"{words[-1]}=600", cwd=tmp_path)
    assert one_job.code == 0, one_job.err
    assert "this would be submitted" in one_job.out and "--array" not in one_job.out
