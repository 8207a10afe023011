"""The benchmarks of a sweep run; their numbers need more cells, more kills and a quiet machine."""

import re

import pytest
from helpers.benchmark_scripts import run_benchmark as run
from helpers.mini_slurm import missing_binaries


@pytest.mark.slow
def test_a_sweep_that_is_killed_now_and_then_loses_and_doubles_nothing(tmp_path):
    assert "2 kills in" in (said := run("kill_cycles.py", "--cycles", 2, "--folder", tmp_path))
    assert ", 0 problems" in said
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_grid_is_planned_skipped_and_worked_off_and_each_part_told(tmp_path):
    said = run("sweep.py", "--cells", 20, "--folder", tmp_path)
    (worker,) = [line for line in said.splitlines() if "  worker  " in line]
    assert " ms " in worker and "records 4." in worker
    for part in ("check", "first report of all", "typed again"):
        (line,) = [line for line in said.splitlines() if f"  {part}  " in line]
        assert "of the processor" in line and line.endswith(" MiB")


@pytest.mark.slow
def test_what_real_cells_cost_beyond_their_work_is_told(tmp_path):
    said = run("sweep.py", "cells", "--cells", 4, "--folder", tmp_path)
    assert "ms a cell beyond its work" in said and " files a cell" in said


@pytest.mark.slow
@pytest.mark.skipif(bool(missing_binaries()), reason="SLURM is not installed")
def test_jobs_are_counted_and_measured_for_each_packing():
    told = run("slurm_packing.py", "--mini", "--cells", 2, "--packing", "cells_per_worker=2")
    assert re.match(r"cells_per_worker=2 +2 jobs, +[\d.]+ s \(1\.00 of the first\), ", told)
