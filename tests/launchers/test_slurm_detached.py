"""Sweeps whose command is gone: hydra.launcher.detach, and commands that were killed."""

import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers import drowsy
from helpers.repository import ROOT
from helpers.sweeping import Results, program, starts, wait_until

GRID = ["-m", "method=drowsy,magnitude", "seed=0"]
LAUNCHER = (
    "hydra/launcher=slurm",
    "hydra.launcher.poll_s=0.5",
    "hydra.launcher.cells_per_worker=3",
)
NUM_CELLS = 3
pytestmark = pytest.mark.slow


@pytest.fixture
def command(tmp_path, tiny_world) -> list[str]:
    return [*GRID, *tiny_world, f"results_dir={tmp_path}", *LAUNCHER]


@pytest.fixture
def environment(tmp_path, slurm) -> Iterator[dict[str, str]]:
    yield slurm.environment | drowsy.environment(tmp_path)
    slurm.run("scancel", f"--user={os.geteuid()}")  # what a test that failed left asleep
    wait_until(lambda: slurm.run("squeue", "--noheader") == "")


def log_of(results: Results) -> str:
    """What the only job wrote."""
    (path,) = results.folder.glob(".submitit/*/*_log.err")
    return path.read_text()


def test_a_detached_sweep_outlives_a_preemption_and_its_last_job_writes_the_report(
    tmp_path, command, environment, run_cli, slurm
):
    results, bed = Results(tmp_path), tmp_path / "bed"
    ended = run_cli(*command, "hydra.launcher.detach=true", cwd=tmp_path, env=environment)
    assert ended.code == 0, ended.err
    assert not (results.folder / "report").exists()
    wait_until(bed.exists, timeout_s=240)

    urgent = slurm.run(
        *("sbatch", "--parsable", "--partition=urgent", "--cpus-per-task=4", "--wrap=true"),
        f"--chdir={tmp_path}",
    )
    wait_until(lambda: urgent.strip() not in slurm.run("squeue", "--noheader"), timeout_s=120)
    assert log_of(results).count("back in the queue") == 1
    slurm.go_on()
    (bed / "woken").touch()
    wait_until(lambda: slurm.run("squeue", "--noheader") == "", timeout_s=240)

    assert len(results.scores()) == NUM_CELLS
    assert results.table().count("\n") > 1
    assert results.claims() == [] and not (results.folder / ".closing").exists()
    log = log_of(results)
    assert sorted(starts(log).values()) == [1, 1, 2]
    assert log.count("every cell is settled: writing the report") == 1


def test_jobs_of_a_command_that_was_killed_run_on_and_the_same_command_shares_the_rest(
    tmp_path, command, environment, run_cli, slurm
):
    results, bed = Results(tmp_path), tmp_path / "bed"
    killed = subprocess.Popen(
        program(*command, "hydra.launcher.cells_per_worker=2"),
        cwd=tmp_path,
        env={**os.environ, **environment},
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_until(bed.exists, timeout_s=240)
    finally:
        killed.kill()
        killed.wait()
    one = slurm.run("squeue", "--noheader", "--array", "--format=%i %T")
    assert "RUNNING" in one
    status = run_cli("status", str(results.folder), cwd=tmp_path, env=slurm.environment)
    assert status.code == 3
    assert re.search(r"sweep default: 3 cells: [12] done, ", status.out)  # magnitude, or not yet
    assert re.search(r"running: miniature drowsy, for .*, by process \d+", status.out)
    assert "2 SLURM jobs submitted on" in status.out

    waker = threading.Thread(target=_wake, args=(results, bed), daemon=True)
    waker.start()
    ended = run_cli(*command, cwd=tmp_path, env=environment)
    waker.join()
    assert ended.code == 0, ended.err
    assert f"{NUM_CELLS} done, 0 failed" in ended.out
    logs = [path.read_text() for path in results.folder.glob(".submitit/*/*_log.err")]
    assert starts(*logs) == dict.fromkeys(starts(*logs), 1) and len(starts(*logs)) == NUM_CELLS
    assert run_cli("status", str(results.folder), cwd=tmp_path).code == 0


def _wake(results: Results, bed: Path) -> None:
    """Wake the sleeper when the second command has submitted its jobs."""
    wait_until(lambda: len(list(results.folder.glob("jobs-*.json"))) == 2, timeout_s=120)
    (bed / "woken").touch()


def test_the_task_that_is_cancelled_leaves_its_cell_and_the_others_go_on(
    tmp_path, command, environment, run_cli, slurm
):
    results, bed = Results(tmp_path), tmp_path / "bed"
    words = [*command, "hydra.launcher.detach=true", "hydra.launcher.cells_per_worker=2"]
    assert run_cli(*words, cwd=tmp_path, env=environment).code == 0
    wait_until(bed.exists, timeout_s=240)
    # The other job has ended: it might take over what the first one gives back.
    jobs = ["squeue", "--noheader", "--array"]
    wait_until(lambda: len(slurm.run(*jobs).splitlines()) == 1, timeout_s=120)
    (claim,) = results.folder.glob("*drowsy*/claim.*")
    (log,) = [
        path
        for path in results.folder.glob(".submitit/*/*_log.err")
        if ": miniature drowsy" in path.read_text()
    ]
    slurm.run("scancel", log.parent.name)
    wait_until(lambda: slurm.run("squeue", "--noheader") == "", timeout_s=240)
    assert not claim.exists()
    status = run_cli("status", str(results.folder), cwd=tmp_path, env=slurm.environment)
    assert "3 cells: 2 done, 1 open" in status.out and status.code == 3
    assert "none in the queue any more" in status.out and "nobody works on it" in status.out
    assert not (results.folder / "report").exists()

    (bed / "woken").touch()
    assert run_cli(*words, cwd=tmp_path, env=environment).code == 0
    wait_until(lambda: (results.folder / "report/made_from.json").exists(), timeout_s=240)
    assert len(results.scores()) == NUM_CELLS


def test_a_task_of_the_sbatch_script_goes_on_from_the_queue(tmp_path, command, environment, slurm):
    """USR1 is what --signal sends two minutes before the time is over."""
    results, bed = Results(tmp_path), tmp_path / "bed"
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    script = ["--array=0-0", "--cpus-per-task=1", "--mem=1G", ROOT / "launchers/slurm/workers.sh"]
    submitted = subprocess.run(
        ["sbatch", *script, *command[: -len(LAUNCHER)]],
        cwd=tmp_path,
        env={**os.environ, **environment, "PATH": path},
        capture_output=True,
        text=True,
    )
    assert submitted.returncode == 0, submitted.stderr
    wait_until(bed.exists, timeout_s=240)
    slurm.run("scancel", "--batch", "--signal=USR1", f"--user={os.geteuid()}")
    slurm.go_on()
    (bed / "woken").touch()
    wait_until(lambda: slurm.run("squeue", "--noheader") == "", timeout_s=240)
    assert len(results.scores()) == NUM_CELLS and results.claims() == []
    (log,) = [path.read_text() for path in tmp_path.glob("calib_sweep-*.log")]
    assert f"{NUM_CELLS} done, 0 failed" in log
    assert sorted(starts(log).values()) == [1, 1, 2]
    assert log.count("Interrupted. Finished cells are kept") == 1
