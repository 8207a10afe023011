"""The benchmarks of a sweep run; their numbers need more cells, more kills and a quiet machine."""

import pytest
from helpers.benchmark_scripts import run_benchmark as run


@pytest.mark.slow
def test_a_sweep_that_is_killed_now_and_then_loses_and_doubles_nothing(tmp_path):
    assert "2 kills in" in (said := run("kill_cycles.py", "--cycles", 2, "--folder", tmp_path))
    assert ", 0 problems" in said
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_each_part_of_the_overhead_is_told_in_reads_and_milliseconds(tmp_path):
    said = run("worker_overhead.py", "--cells", 20, "--folder", tmp_path)
    (worker,) = [line for line in said.splitlines() if "worker" in line]
    assert " ms " in worker and "records 4." in worker
