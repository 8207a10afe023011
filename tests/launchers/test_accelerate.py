"""hydra/launcher=accelerate and `accelerate launch`: workers share cells, the dead are replaced."""

import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from helpers.repository import ROOT
from helpers.signals import hear
from helpers.sweeping import (
    NUM_CELLS,
    Results,
    killing_the_first_worker_on,
    planted,
    starts,
    wait_until,
)
from hydra_plugins.calib_sweep.accelerate_launcher import visible_gpus, worker_environments

CPU_CONFIG = ROOT / "launchers/accelerate/cpu.yaml"


@pytest.fixture(scope="module")
def with_one_killed(tmp_path_factory, grid, run_cli):
    """Two workers, one of which is killed while it holds a cell.

    Somebody has put pickles where launchers of an earlier version had theirs.
    """
    folder = tmp_path_factory.mktemp("killed")
    results = Results(folder)
    workers = results.folder / ".workers"
    workers.mkdir(parents=True)
    for name in ("task", "0.result", "1.result", "2.result"):
        stem = f"{os.uname().nodename.split('.')[0]}-{os.getpid()}-0"
        (workers / f"{stem}.{name}.pkl").write_bytes(planted(folder / "harm"))
    options = ["hydra/launcher=accelerate", "hydra.launcher.num_workers=2"]
    with killing_the_first_worker_on("*-sparsegpt-*seed1*", results) as killed:
        ended = run_cli(*grid(folder), *options, cwd=folder)
    return ended, results, killed


@pytest.mark.slow
def test_a_worker_killed_on_a_cell_is_replaced_and_all_cells_are_done(with_one_killed, undisturbed):
    ended, results, killed = with_one_killed
    assert len(killed) == 1
    assert ended.code == 0, ended.err
    assert sum(starts(ended.err).values()) >= NUM_CELLS  # the workers' lines are shown here too
    assert "killed by SIGKILL; worker 2 replaces it (1 of at most 3)" in ended.err
    assert results.scores() == undisturbed.scores()
    assert results.calibration_hashes() == undisturbed.calibration_hashes()
    assert results.table() == undisturbed.table()
    assert results.claims() == []


@pytest.mark.slow
def test_only_the_cell_of_the_killed_worker_is_started_again(with_one_killed):
    _, results, _ = with_one_killed
    logs = [path.read_text() for path in (results.folder / ".workers").glob("*.log")]
    assert len(logs) == 3
    started = starts(*logs)
    assert sorted(started.values()) == [1] * (NUM_CELLS - 1) + [2]
    again = started.most_common(1)[0][0]
    assert "sparsegpt" in again
    assert "seed 1" in again
    assert any("taken over" in log for log in logs)


@pytest.mark.slow
def test_no_pickle_is_run_and_nothing_but_the_logs_is_left_of_the_workers(with_one_killed):
    _, results, _ = with_one_killed
    assert not (results.folder.parent / "harm").exists()
    left = [path.name for path in (results.folder / ".workers").iterdir()]
    assert sum(name.endswith(".pkl") for name in left) == 4  # somebody's, which we do not touch
    assert {Path(name).suffix for name in left} == {".log", ".pkl"}


def test_workers_that_all_die_are_replaced_a_few_times_and_the_cells_listed(
    tmp_path, grid, run_cli, monkeypatch
):
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho last words of a worker\nkill -ABRT $$\n")
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    options = ["hydra/launcher=accelerate", "hydra.launcher.num_workers=2"]
    ended = run_cli(*grid(tmp_path), *options, "hydra.launcher.max_restarts=1", cwd=tmp_path)
    assert ended.code == 3
    assert ended.err.count("replaces it (1 of at most 1)") == 1
    assert ended.err.count("killed by SIGABRT; not replaced") == 2
    assert "last words of a worker" in ended.err
    assert ended.err.count("not run: ") == NUM_CELLS


@pytest.mark.parametrize(
    ("option", "phrase"),
    [
        ("num_workers=0", "hydra.launcher.num_workers=0: expected an integer >= 1, or null"),
        ("max_restarts=-1", "hydra.launcher.max_restarts=-1: expected an integer >= 0"),
    ],
)
def test_a_number_of_workers_that_cannot_be_is_refused(option, phrase, tmp_path, grid, run_cli):
    options = ["hydra/launcher=accelerate", f"hydra.launcher.{option}"]
    ended = run_cli(*grid(tmp_path), *options, cwd=tmp_path)
    assert ended.code == 1
    assert phrase in " ".join(ended.err.split())


def test_both_ways_to_start_several_processes_at_once_are_refused(tmp_path, grid, run_cli):
    options = ["hydra/launcher=accelerate", "hydra.launcher.num_workers=2"]
    environment = {"LOCAL_RANK": "0"}
    ended = run_cli(*grid(tmp_path), *options, cwd=tmp_path, env=environment)
    assert ended.code == 1
    assert "Leave out one of the two" in " ".join(ended.err.split())


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGHUP", "SIGKILL"])
def test_however_the_command_ends_its_workers_end_too(name, tmp_path):
    """They are in process groups of their own, so no signal reaches them by itself."""
    parent = subprocess.Popen(
        [sys.executable, ROOT / "tests/helpers/supervised_sleepers.py", tmp_path],
        stderr=subprocess.DEVNULL,
        preexec_fn=hear,
    )
    wait_until(lambda: len(list(tmp_path.glob("*.pid"))) == 2)
    pids = [int(path.stem) for path in tmp_path.glob("*.pid")]
    parent.send_signal(signal.Signals[name])
    assert parent.wait(20) == (-signal.SIGKILL if name == "SIGKILL" else 130)
    wait_until(lambda: not any(is_running(pid) for pid in pids), timeout_s=10)


def is_running(pid: int) -> bool:
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False


def test_each_worker_gets_a_gpu_of_its_own_as_the_user_named_them(monkeypatch):
    monkeypatch.setattr("torch.cuda.device_count", lambda: 3)
    given = {"CUDA_VISIBLE_DEVICES": "5,GPU-ab12,0"}
    assert visible_gpus(given) == ["5", "GPU-ab12", "0"]
    assert visible_gpus({}) == ["0", "1", "2"]
    seen = [env["CUDA_VISIBLE_DEVICES"] for env in worker_environments(None, given)]
    assert seen == ["5", "GPU-ab12", "0"]
    shared = [env["CUDA_VISIBLE_DEVICES"] for env in worker_environments(4, {})]
    assert shared == ["0", "1", "2", "0"]


def test_workers_without_gpus_share_the_cores_unless_the_user_says_otherwise(monkeypatch):
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(6)))
    assert [env["OMP_NUM_THREADS"] for env in worker_environments(4, {})] == ["1"] * 4
    assert [env["OMP_NUM_THREADS"] for env in worker_environments(2, {})] == ["3", "3"]
    assert worker_environments(None, {"A": "b"}) == [{"OMP_NUM_THREADS": "6", "A": "b"}]
    assert worker_environments(1, {"OMP_NUM_THREADS": "2"}) == [{"OMP_NUM_THREADS": "2"}]


@pytest.fixture(scope="module")
def launched(tmp_path_factory, grid):
    """`accelerate launch` with the shipped configuration for CPUs, with runs in W&B."""
    folder = tmp_path_factory.mktemp("launched")
    arguments = [word for word in grid(folder) if word != "tracking=none"]
    done = subprocess.run(
        [
            *(Path(sys.executable).parent / "accelerate", "launch", "--config_file", CPU_CONFIG),
            *("-m", "calib_sweep", *arguments, "tracking.wandb.mode=offline"),
        ],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    return done, Results(folder)


@pytest.mark.slow
def test_two_processes_of_accelerate_launch_share_the_cells(launched, undisturbed):
    done, results = launched
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("to run\n") == 2  # both planned the same sweep
    assert starts(done.stderr) == Counter(dict.fromkeys(starts(done.stderr), 1))
    assert len(starts(done.stderr)) == NUM_CELLS
    assert results.scores() == undisturbed.scores()
    assert results.calibration_hashes() == undisturbed.calibration_hashes()
    assert results.table() == undisturbed.table()


@pytest.mark.slow
def test_only_one_process_of_accelerate_launch_shows_the_table(launched):
    done, _ = launched
    assert done.stdout.count(f"{NUM_CELLS} done") == 1
    assert done.stdout.count("vs dense") == 1


@pytest.mark.slow
def test_each_cell_is_one_run_in_wandb_whoever_ran_it(launched):
    _, results = launched
    paths = list(results.folder.glob("wandb/offline-run-*"))
    runs = [path.name.split("-")[3] for path in paths if "-analysis-" not in path.name]
    assert sorted(runs) == sorted(results.scores())
    assert len(paths) == len(runs) + 1  # the report is one more, written by whoever was last


def test_no_process_of_accelerate_launch_but_the_first_ends_it_early(
    tmp_path, grid, run_cli, monkeypatch
):
    """accelerate kills all processes at the first non-zero exit, so the others leave that to it."""
    monkeypatch.setattr("calib_sweep.sweep.sweep.Sweep._launch", lambda *_: None)
    (tmp_path / "default").mkdir()
    codes = {}
    for rank in ("0", "1"):
        ended = run_cli(*grid(tmp_path), cwd=tmp_path, env={"LOCAL_RANK": rank})
        codes[rank] = ended.code, bool(ended.out)
    assert codes == {"0": (3, True), "1": (0, False)}
