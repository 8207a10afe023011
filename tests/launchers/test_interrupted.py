"""A command that is told to end, or killed, in the middle of a cell, under each launcher."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from helpers import drowsy
from helpers.repository import ROOT
from helpers.signals import hear
from helpers.sweeping import Results, program, wait_until

CPU_CONFIG = ROOT / "launchers/accelerate/cpu.yaml"
GRID = ["-m", "method=drowsy", "seed=0"]
ACCELERATE = ["hydra/launcher=accelerate", "hydra.launcher.num_workers=2"]
pytestmark = pytest.mark.slow


@pytest.fixture
def start(tmp_path, tiny_world):
    """`start(command, environment)`: the grid by this command; returns once a cell sleeps."""
    processes = []

    def run(command: list[str], environment: dict[str, str]) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [*command, *GRID, *tiny_world, f"results_dir={tmp_path}"],
            cwd=tmp_path,
            env={**os.environ, **environment, **drowsy.environment(tmp_path)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=hear,
        )
        processes.append(process)
        wait_until((tmp_path / "bed").is_dir, timeout_s=240)
        return process

    yield run
    for process in processes:
        process.kill()


def has_given_back(folder: Path) -> bool:
    """Whether nobody claims a cell. The dense cell is done, the other one has no record."""
    return Results(folder).claims() == []


def assert_left_in_order(process: subprocess.Popen[str], folder: Path) -> None:
    said = process.communicate(timeout=60)[1]
    assert process.returncode == 130, said
    assert said.count("Interrupted. Finished cells are kept") == 1
    assert "Traceback" not in said and "failed" not in said
    wait_until(lambda: has_given_back(folder), timeout_s=20)
    assert len(Results(folder).scores()) == 1


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
@pytest.mark.parametrize("launcher", [["hydra/launcher=basic"], ACCELERATE])
def test_cells_are_given_back_whatever_ends_the_command(launcher, name, start, tmp_path):
    process = start([*program(), *launcher], {})
    process.send_signal(signal.Signals[name])
    assert_left_in_order(process, tmp_path)


def test_ctrl_c_ends_the_slurm_jobs_and_they_give_their_cells_back(start, tmp_path, slurm):
    options = ["poll_s=0.5", "cells_per_worker=10"]
    launcher = ["hydra/launcher=slurm", *(f"hydra.launcher.{option}" for option in options)]
    process = start([*program(), *launcher], slurm.environment)
    process.send_signal(signal.SIGINT)
    assert_left_in_order(process, tmp_path)
    wait_until(lambda: slurm.run("squeue", "--noheader") == "", timeout_s=20)


def test_processes_of_a_killed_accelerate_launch_give_their_cells_back(start, tmp_path):
    tool = [str(Path(sys.executable).parent / "accelerate"), "launch"]
    process = start([*tool, "--config_file", str(CPU_CONFIG), "-m", "calib_sweep"], {})
    process.kill()
    wait_until(lambda: has_given_back(tmp_path), timeout_s=20)
    assert len(Results(tmp_path).scores()) == 1
