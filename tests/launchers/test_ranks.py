"""Cells of two ranks under every launcher that starts some, one rank killed in the middle."""

import os
import re
import signal
import subprocess
import sys
import threading
from contextlib import contextmanager
from pathlib import Path

import pytest
from helpers.rank_processes import kill_a_rank
from helpers.repository import ROOT
from helpers.sweeping import Results
from hydra_plugins.calib_sweep.accelerate_launcher import worker_environments
from hydra_plugins.calib_sweep.slurm_ranks import threads_of
from hydra_plugins.calib_sweep.slurm_settings import check_tasks

from calib_sweep.errors import ConfigError

TOGETHER = ["ranks_per_cell=2", "rank_timeout_s=10"]
SLURM = ["hydra/launcher=slurm", "hydra.launcher.poll_s=0.5", "hydra.launcher.cpus_per_task=1"]


@contextmanager
def killing(rank, folder):
    """Meanwhile a rank is killed once, when the second seed's cell has begun."""
    over, killed = threading.Event(), []

    def watch():
        pattern = "*-sparsegpt-*seed1*/config.yaml"
        while not over.wait(0.005) and not list((folder / "default").glob(pattern)):
            pass
        if not over.is_set():
            kill_a_rank(folder, rank, signal.SIGKILL)
            killed.append(rank)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield killed
    finally:
        over.set()
        thread.join()


def assert_alike(scores, others):
    """Sums of ranks round otherwise, and a weight of SparseGPT's, of two samples, may go or stay.

    What needs no data is the same to the last digit but one.
    """
    assert scores.keys() == others.keys()
    for cell, found in scores.items():
        assert found == pytest.approx(others[cell], rel=2e-2), cell
    alike = [found == pytest.approx(others[cell], rel=1e-6) for cell, found in scores.items()]
    assert sum(alike) >= 2  # dense and magnitude


def lost(results):
    return list(results.folder.glob("*/lost-*"))


@pytest.mark.slow
def test_a_group_that_lost_a_rank_is_replaced_and_all_cells_are_those_of_one_rank(
    tmp_path, grid, run_cli, undisturbed
):
    options = ["hydra/launcher=accelerate", *TOGETHER]
    with killing(1, tmp_path) as killed:
        ended = run_cli(*grid(tmp_path), *options, cwd=tmp_path)
    results = Results(tmp_path)
    assert killed == [1]
    assert ended.code == 0, ended.err
    assert "1 worker of 2 ranks" in ended.err
    assert "worker 0: rank 1 killed by SIGKILL; worker 1 replaces it" in ended.err
    assert_alike(results.scores(), undisturbed.scores())
    assert results.calibration_hashes() == undisturbed.calibration_hashes()
    assert results.claims() == lost(results) == []


@pytest.mark.slow
def test_the_tasks_of_a_slurm_job_run_cells_together_and_a_lost_cell_is_submitted_again(
    tmp_path, grid, run_cli, slurm, undisturbed
):
    options = [*SLURM, *TOGETHER, "hydra.launcher.tasks_per_node=2"]
    options.append("hydra.launcher.cells_per_worker=null")
    with killing(0, tmp_path) as killed:
        ended = run_cli(*grid(tmp_path), *options, cwd=tmp_path, env=slurm.environment)
    results = Results(tmp_path)
    assert killed == [0]
    assert ended.code == 0, ended.err
    assert re.findall(r"(\d) SLURM jobs? submitted", ended.err) == ["1", "1"]
    assert_alike(results.scores(), undisturbed.scores())
    assert results.claims() == lost(results) == []


@pytest.mark.slow
def test_processes_of_accelerate_launch_run_cells_together_and_the_first_one_shows_them(
    tmp_path, grid, undisturbed
):
    launch = [Path(sys.executable).parent / "accelerate", "launch"]
    launch += ["--config_file", ROOT / "launchers/accelerate/cpu.yaml"]
    done = subprocess.run(
        [*launch, "-m", "calib_sweep", *grid(tmp_path), *TOGETHER],
        cwd=tmp_path,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("to run\n") == 1  # the other one planned nothing
    assert done.stdout.count("vs dense") == 1
    assert_alike(Results(tmp_path).scores(), undisturbed.scores())


def test_more_ranks_than_tasks_in_a_job_are_refused_with_what_to_type():
    check_tasks(nodes=2, tasks_per_node=4, ranks_per_cell=8)
    check_tasks(nodes=1, tasks_per_node=1, ranks_per_cell=1)
    with pytest.raises(ConfigError, match="expected 8 tasks in a job"):
        check_tasks(nodes=2, tasks_per_node=1, ranks_per_cell=8)
    with pytest.raises(ConfigError, match="expected 1 task in a job"):
        check_tasks(nodes=1, tasks_per_node=4, ranks_per_cell=1)


def test_groups_of_ranks_share_the_gpus_of_a_machine(monkeypatch):
    monkeypatch.setattr("torch.cuda.device_count", lambda: 8)
    seen = [env["CUDA_VISIBLE_DEVICES"] for env in worker_environments(None, {}, num_ranks=4)]
    assert seen == ["0,1,2,3", "4,5,6,7"]
    seen = [env["CUDA_VISIBLE_DEVICES"] for env in worker_environments(1, {}, num_ranks=2)]
    assert seen == ["0,1"]


def test_tasks_of_a_job_share_its_cores():
    cores = {"SLURM_CPUS_ON_NODE": "8"}
    assert threads_of(cores) == "8"
    assert threads_of({**cores, "SLURM_NTASKS_PER_NODE": "2"}) == "4"
    assert threads_of({**cores, "SLURM_CPUS_PER_TASK": "3"}) == "3"
    assert threads_of({}) is None
