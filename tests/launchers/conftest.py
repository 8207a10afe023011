"""One tiny grid for all launchers, its undisturbed result, and a real SLURM."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from helpers.mini_slurm import MiniSlurm, missing_binaries
from helpers.sweeping import GRID, NUM_CELLS, Results


@pytest.fixture(scope="session")
def grid(tiny_world) -> Callable[[Path], list[str]]:
    """`grid(results_dir)`: the arguments that every test here starts, one way or another."""
    return lambda results_dir: [*GRID, *tiny_world, f"results_dir={results_dir}"]


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory, grid, run_cli) -> Results:
    """The grid run by one worker, from the beginning to the end."""
    folder = tmp_path_factory.mktemp("undisturbed")
    done = run_cli(*grid(folder), cwd=folder)
    assert done.code == 0, done.err
    results = Results(folder)
    assert len(results.scores()) == NUM_CELLS
    return results


@pytest.fixture(scope="session")
def slurm(tmp_path_factory) -> Iterator[MiniSlurm]:
    """A SLURM of four CPUs and two pretended GPUs; skipped where it is missing, but not in CI."""
    if missing := missing_binaries():
        reason = f"SLURM is not installed (no {', '.join(missing)}): apt-get install slurm-wlm"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    with MiniSlurm(tmp_path_factory.mktemp("slurm"), num_cpus=4, num_gpus=2) as running:
        yield running
