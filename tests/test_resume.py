"""kill -9 at any moment, then the same command: what is missing is finished, nothing done is
repeated."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from calib_sweep.results.claim import holder_of

GRID = [
    "-m",
    "method=wanda,sparsegpt",
    "seed=0,1",
    "tracking=none",
    "calibration.num_samples=2",
    "evaluation.zero_shot=null",
    "evaluation.perplexity.max_windows=1",
]
NUM_CELLS = 5  # four and the dense one


def command(cwd, *more):
    return [sys.executable, "-m", "calib_sweep", *GRID, f"results_dir={cwd}/results", *more]


def run(cwd, *more):
    return subprocess.run(command(cwd, *more), capture_output=True, text=True, timeout=120)


def record_files(cwd) -> list[Path]:
    return sorted(Path(cwd).glob("results/default/*/record.json"))


def scores(cwd):
    records = [json.loads(path.read_text()) for path in record_files(cwd)]
    assert all(record["status"] == "done" for record in records)
    return {record["cell_id"]: record["scores"] for record in records}


def calibration_sets(cwd):
    return {path.name for path in (Path(cwd) / "results/calibration").iterdir()}


def table(cwd):
    return (Path(cwd) / "results/default/report/tables/summary.csv").read_text()


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    cwd = tmp_path_factory.mktemp("undisturbed")
    done = run(cwd)
    assert done.returncode == 0, done.stderr[-3000:]
    assert len(record_files(cwd)) == NUM_CELLS
    return cwd


def wait_for(condition, process, timeout_s=90):
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert process.poll() is None, "the sweep ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.002)


MOMENTS = {
    "while the first cell is claimed": lambda cwd: any(Path(cwd).glob("results/default/*/claim.*")),
    "when the first record appears": lambda cwd: len(record_files(cwd)) >= 1,
    "in the middle of the grid": lambda cwd: len(record_files(cwd)) >= 3,
}


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_killed_sweep_is_finished_by_the_same_command(moment, tmp_path, undisturbed):
    process = subprocess.Popen(
        command(tmp_path), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    wait_for(lambda: MOMENTS[moment](tmp_path), process)
    process.send_signal(signal.SIGKILL)
    process.wait()
    kept = {path: path.stat().st_mtime_ns for path in record_files(tmp_path)}
    assert len(kept) < NUM_CELLS

    done = run(tmp_path)

    assert done.returncode == 0, done.stderr[-3000:]
    assert all(path.stat().st_mtime_ns == before for path, before in kept.items())
    assert scores(tmp_path) == scores(undisturbed)
    assert table(tmp_path) == table(undisturbed)
    folders = {path.parent for path in record_files(tmp_path)}
    assert not any(holder_of(folder) for folder in folders)


def test_a_finished_sweep_is_skipped_whole(undisturbed):
    before = {path: path.stat().st_mtime_ns for path in record_files(undisturbed)}
    done = run(undisturbed)
    assert done.returncode == 0
    assert "5 done" in done.stdout
    assert {path: path.stat().st_mtime_ns for path in record_files(undisturbed)} == before


def test_a_finished_sweep_is_skipped_without_importing_torch(undisturbed):
    python = [sys.executable, "-X", "importtime"]
    done = subprocess.run(
        [*python, *command(undisturbed)[1:]], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert not imported & {"torch", "transformers", "datasets", "lm_eval", "pandas"}


def test_from_nothing_in_the_other_order_and_cell_by_cell_the_scores_are_the_same(
    tmp_path, undisturbed
):
    """Each cell in a process of its own, last one first; bit-equal: the batch size is the same."""
    for method in ("sparsegpt", "wanda"):
        for seed in (1, 0):
            done = run(tmp_path, f"method={method}", f"seed={seed}")
            assert done.returncode == 0, done.stderr[-3000:]
    assert scores(tmp_path) == scores(undisturbed)


def test_another_batch_size_gives_the_same_sets_and_scores_to_float32_summation_order(
    tmp_path, undisturbed
):
    done = run(tmp_path, "walk.batch_tokens=256", "evaluation.perplexity.batch_tokens=256")
    assert done.returncode == 0, done.stderr[-3000:]
    ours, theirs = scores(tmp_path), scores(undisturbed)
    assert ours.keys() == theirs.keys()
    for cell_id, values in ours.items():
        assert values == pytest.approx(theirs[cell_id], rel=1e-5, abs=1e-7)
    sets = [
        sorted(p.name for p in (c / "results/calibration").iterdir())
        for c in (tmp_path, undisturbed)
    ]
    assert sets[0] == sets[1]
