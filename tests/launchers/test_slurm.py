"""hydra/launcher=slurm and the sbatch examples, on a real SLURM of one machine."""

import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from helpers.repository import ROOT
from helpers.sweeping import NUM_CELLS, Results, killing_the_first_worker_on, starts, wait_until
from hydra_plugins.calib_sweep.slurm_settings import SlurmLauncherConf, check_settings
from omegaconf import OmegaConf

from calib_sweep.errors import ConfigError

OPTIONS = ["hydra/launcher=slurm", "hydra.launcher.poll_s=0.5", "hydra.launcher.cpus_per_task=1"]


@pytest.fixture(scope="module")
def with_one_killed(tmp_path_factory, grid, run_cli, slurm):
    """Two jobs of two cells at most, one of which is killed while it runs a cell."""
    folder = tmp_path_factory.mktemp("slurm-killed")
    results = Results(folder)
    arguments = [*grid(folder), *OPTIONS, "hydra.launcher.cells_per_worker=2"]
    with killing_the_first_worker_on("*-sparsegpt-*seed1*", results) as killed:
        ended = run_cli(*arguments, cwd=folder, env=slurm.environment)
    return ended, results, killed


@pytest.mark.slow
def test_a_grid_runs_in_slurm_jobs_and_a_killed_one_is_made_good(with_one_killed, undisturbed):
    ended, results, killed = with_one_killed
    assert len(killed) == 1
    assert ended.code == 0, ended.err
    assert results.scores() == undisturbed.scores()
    assert results.calibration_hashes() == undisturbed.calibration_hashes()
    assert results.table() == undisturbed.table()
    assert results.claims() == []
    assert f"{NUM_CELLS} done, 0 failed" in ended.out


@pytest.mark.slow
def test_a_killed_job_is_told_with_its_state_and_its_log(with_one_killed):
    ended, _, _ = with_one_killed
    assert re.search(r"SLURM job \S+ ended without a result \(FAILED\)", ended.err)
    assert "task 0: Killed" in ended.err  # the end of the job's own log
    assert "ran; starting again" in ended.err


@pytest.mark.slow
def test_only_what_the_killed_job_left_is_started_again(with_one_killed):
    ended, results, _ = with_one_killed
    assert re.findall(r"(\d) SLURM jobs? submitted", ended.err) == ["2", "1"]
    logs = [path.read_text() for path in results.folder.glob(".submitit/*/*_log.err")]
    assert len(logs) == 3
    started = starts(*logs)
    assert sorted(started.values()) == [1] * (NUM_CELLS - 1) + [2]


@pytest.fixture(scope="module", params=["launchers/slurm/workers.sh", "examples/sweep.sbatch"])
def by_sbatch(request, tmp_path_factory, grid, slurm):
    """An array of two tasks: two processes that know nothing of each other."""
    folder = tmp_path_factory.mktemp("sbatch")
    own = ["--array=0-1", "--cpus-per-task=1", "--mem=1G", "--parsable"]
    environment = {
        **os.environ,
        **slurm.environment,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    submitted = subprocess.run(
        ["sbatch", *own, ROOT / request.param, *grid(folder)],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert submitted.returncode == 0, submitted.stderr
    wait_until(lambda: slurm.run("squeue", "--noheader").strip() == "", timeout_s=120)
    logs = sorted(folder.glob("calib_sweep-*_?.log"))
    return Results(folder), [path.read_text() for path in logs]


@pytest.mark.slow
def test_each_round_of_seeds_is_submitted_and_waited_for(tmp_path, tiny_world, run_cli, slurm):
    words = ["-m", "method=wanda,sparsegpt", "seed=range(7)", "hydra/sweeper=adaptive"]
    words += ["hydra.sweeper.round=2", "hydra.sweeper.width=1e-6", *OPTIONS]
    words += ["hydra.launcher.cells_per_worker=6", f"results_dir={tmp_path}"]
    ended = run_cli(*words, *tiny_world, cwd=tmp_path, env=slurm.environment)
    assert ended.code == 0, ended.err
    lines = [line.partition("] ")[2] for line in ended.err.splitlines()]
    told = [line for line in lines if "submitted" in line or line.startswith("look after")]
    assert told[0].startswith("2 SLURM jobs submitted")  # 11 cells, six in each
    assert told[1].startswith("look after 5 seeds")
    # Two seeds more may be needed or not: either way no job is submitted in vain.
    assert [line[:11] for line in told[2:]] in ([], ["1 SLURM job", "look after "])
    assert Results(tmp_path).claims() == []


@pytest.mark.slow
def test_the_same_command_in_two_processes_shares_the_cells(by_sbatch, undisturbed):
    results, logs = by_sbatch
    assert len(logs) == 2
    started = starts(*logs)
    assert started == Counter(dict.fromkeys(started, 1))
    assert len(started) == NUM_CELLS
    assert results.scores() == undisturbed.scores()
    assert results.table() == undisturbed.table()
    assert results.claims() == []
    tables = [log[log.index(f"{NUM_CELLS} done, 0 failed") :].splitlines()[1:] for log in logs]
    assert tables[0] == tables[1] != []


def test_what_sbatch_refuses_is_said_in_its_words(tmp_path, grid, run_cli, slurm):
    arguments = [*grid(tmp_path), *OPTIONS, "hydra.launcher.partition=nowhere"]
    ended = run_cli(*arguments, cwd=tmp_path, env=slurm.environment)
    said = " ".join(ended.err.split())
    assert ended.code == 1
    assert "invalid partition specified: nowhere" in said
    assert "hydra.launcher.partition" in said


def test_a_machine_without_slurm_is_told_at_once(tmp_path, grid, run_cli, monkeypatch):
    ended = run_cli(*grid(tmp_path), *OPTIONS, cwd=tmp_path, env={"PATH": str(tmp_path)})
    said = " ".join(ended.err.split())
    assert ended.code == 1
    assert "sbatch, srun, squeue cannot be found here" in said
    assert "hydra/launcher=accelerate" in said


@pytest.mark.parametrize(
    ("option", "phrase"),
    [
        ("nodes=0", "hydra.launcher.nodes=0: expected a number >= 1"),
        ("tasks_per_node=0", "hydra.launcher.tasks_per_node=0: expected a number >= 1"),
        ("poll_s=0", "hydra.launcher.poll_s=0.0: expected a number > 0"),
        ("max_num_timeout=-1", "hydra.launcher.max_num_timeout=-1: expected a number >= 0"),
        ("minutes_per_worker=0", "hydra.launcher.minutes_per_worker=0.0: expected a number >= 1"),
        ("array_parallelism=-1", "hydra.launcher.array_parallelism=-1: expected a number >= 1"),
        ("timeout_min=1", "signal_delay_s=120: expected less than 60"),
        ("timeout_min=2", "signal_delay_s=120: expected less than 120"),
    ],
)
def test_a_setting_that_cannot_work_is_refused(option, phrase):
    settings = OmegaConf.structured(SlurmLauncherConf)
    OmegaConf.update(settings, *option.split("="))
    with pytest.raises(ConfigError) as refused:
        check_settings(OmegaConf.to_container(settings))
    mine = [text for text in refused.value.problems if "SLURM's commands" not in text]
    assert len(mine) == 1 and phrase in mine[0]


def test_the_jobs_of_an_interrupted_command_are_cancelled(tmp_path, slurm):
    """SIGTERM stands for Ctrl-C too: both leave by the same door."""
    environment = {**os.environ, **slurm.environment}
    sweep = subprocess.Popen(
        [sys.executable, ROOT / "tests/helpers/slurm_of_sleepers.py", tmp_path],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    wait_until(lambda: len(slurm.run("squeue", "--noheader", "--states=RUNNING").split("\n")) > 2)
    sweep.terminate()
    said, _ = sweep.communicate(timeout=20)
    assert sweep.returncode == 130
    assert re.search(r"3 SLURM jobs submitted \(\d+, \d+\)", said)  # two arrays
    assert "cancelling 3 SLURM jobs" in said
    wait_until(lambda: slurm.run("squeue", "--noheader", "--states=RUNNING,PENDING") == "")
