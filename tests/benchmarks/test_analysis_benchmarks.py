"""The benchmarks of the analysis run; their numbers need more sweeps and a quiet machine."""

import pytest
from helpers.benchmark_scripts import run_benchmark as run


@pytest.mark.slow
def test_coverage_is_shown_for_every_interval():
    lines = run("interval_coverage.py", "--sweeps", 20).splitlines()
    rows = {line.split("|")[1].strip(): line.split("|")[2:6] for line in lines if "|" in line}
    for name in ("mean, normal draws", "method:draw, true variance 0.1", "difference"):
        assert any(name in row for row in rows), name
    shares = [float(share) for share in rows["SD, normal draws"]]
    assert min(shares) >= 70


@pytest.mark.slow
def test_what_is_said_of_items_is_counted():
    lines = run("item_coverage.py", "--sweeps", 20).splitlines()
    rows = {line.split("|")[1].strip(): line.split("|")[2:6] for line in lines if "|" in line}
    held = [float(share) for share in rows["systematic SD, true 0: its interval holds 0"]]
    assert min(held) >= 80
    passed = next(row for name, row in rows.items() if name.startswith("mean draw"))
    assert max(float(share) for share in passed) <= 30


@pytest.mark.slow
def test_a_small_report_is_measured_and_left_behind(tmp_path):
    said = run("report.py", "--folder", tmp_path, "--small")
    assert said.startswith("10 cells: wall_s ")
    assert (tmp_path / "cells10" / "report" / "tables" / "flips.csv").stat().st_size > 500


@pytest.mark.slow
def test_plans_keep_what_they_promise():
    lines = run("planning.py", "--studies", 400).splitlines()
    rows = {line.split("|")[1].strip(): line.split("|")[2:6] for line in lines if "|" in line}
    planned = rows["normal draws, 1 dataset: the SD taken as known -> with assurance"]
    assert all(72 < float(cell.split("->")[1]) < 90 for cell in planned)
    assert float(planned[0].split("->")[0]) < 70
    told = [float(cell.split("/")[0]) for cell in rows["equal"]]
    assert max(told) < 48


@pytest.mark.slow
def test_looks_are_simulated_for_every_shape_of_draws():
    lines = run("stopping.py", "--sweeps", 500).splitlines()
    rows = {line.split("|")[1].strip(): line.split("|")[2:-1] for line in lines if "|" in line}
    null = {name: float(shares[-1]) for name, shares in rows.items() if " methods on " in name}
    assert len(null) > 30 and max(null["normal: 4 methods on 5"], null["t(3): 4 methods on 5"]) < 5
    used = [float(seeds) for seeds in rows["seeds used"]]
    assert used == sorted(used, reverse=True) and used[-1] < 7
