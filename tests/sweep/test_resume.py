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

GRID = ["-m", "method=wanda,sparsegpt", "seed=0,1"]
NUM_CELLS = 5  # four and the dense one


def command(cwd, *arguments):
    return [sys.executable, "-m", "calib_sweep", *arguments, f"results_dir={cwd}/results"]


@pytest.fixture(scope="module")
def run(run_cli, tiny_world):
    """Run cells to the end in this process."""

    def run(cwd, *arguments):
        done = run_cli(*arguments, *tiny_world, f"results_dir={cwd}/results", cwd=cwd)
        assert done.code == 0, done.err[-3000:]
        return done

    return run


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
def undisturbed(tmp_path_factory, run):
    cwd = tmp_path_factory.mktemp("undisturbed")
    run(cwd, *GRID)
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


@pytest.mark.slow  # test_failures.py holds the same of Ctrl-C, in one process
@pytest.mark.parametrize("moment", MOMENTS)
def test_a_killed_sweep_is_finished_by_the_same_command(
    moment, tmp_path, run, undisturbed, tiny_world
):
    process = subprocess.Popen(
        command(tmp_path, *GRID, *tiny_world),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    wait_for(lambda: MOMENTS[moment](tmp_path), process)
    process.send_signal(signal.SIGKILL)
    process.wait()
    kept = {path: path.stat().st_mtime_ns for path in record_files(tmp_path)}
    assert len(kept) < NUM_CELLS

    run(tmp_path, *GRID)

    assert all(path.stat().st_mtime_ns == before for path, before in kept.items())
    assert scores(tmp_path) == scores(undisturbed)
    assert table(tmp_path) == table(undisturbed)
    assert not any(holder_of(path.parent) for path in record_files(tmp_path))


def test_a_finished_sweep_is_skipped_whole_and_without_importing_torch(undisturbed, tiny_world):
    before = {path: path.stat().st_mtime_ns for path in record_files(undisturbed)}
    python = [sys.executable, "-X", "importtime"]
    done = subprocess.run(
        [*python, *command(undisturbed, *GRID, *tiny_world)[1:]],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "5 done" in done.stdout
    assert {path: path.stat().st_mtime_ns for path in record_files(undisturbed)} == before
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert not imported & {"torch", "transformers", "datasets", "lm_eval", "pandas"}


@pytest.mark.slow
def test_in_the_other_order_and_in_a_process_of_its_own_a_cell_scores_the_same(
    tmp_path, run, undisturbed, tiny_world
):
    """The last cell first, each alone; bit-equal, as the batch size is the same."""
    alone = command(tmp_path, "method=sparsegpt", "seed=1", *tiny_world)
    subprocess.run(alone, check=True, capture_output=True, timeout=120)
    for method, seed in (("wanda", 1), ("sparsegpt", 0), ("wanda", 0)):
        run(tmp_path, f"method={method}", f"seed={seed}")
    assert scores(tmp_path) == scores(undisturbed)


@pytest.mark.slow
def test_another_batch_size_gives_the_same_sets_and_scores_to_float32_summation_order(
    tmp_path, run_cli
):
    """At the miniature's own calibration size. With fewer tokens than features SparseGPT's Hessian
    is singular but for the damping, and a last-digit difference can turn a mask over.
    """
    cells = ["-m", "method=wanda,sparsegpt", "seed=0", "evaluation.zero_shot=null", "tracking=none"]
    cells += ["evaluation.perplexity.max_windows=5", "dense_perplexity=false"]
    folders = [tmp_path / "large", tmp_path / "small"]
    for folder, batch_tokens in zip(folders, (16384, 1024), strict=True):
        more = [
            f"walk.batch_tokens={batch_tokens}",
            f"evaluation.perplexity.batch_tokens={batch_tokens}",
            f"results_dir={folder}/results",
        ]
        assert run_cli(*cells, *more, cwd=tmp_path).code == 0
    large, small = (scores(folder) for folder in folders)
    assert large.keys() == small.keys() and len(large) == 3
    for cell_id, values in large.items():
        assert values == pytest.approx(small[cell_id], rel=1e-5, abs=1e-7)
    assert calibration_sets(folders[0]) == calibration_sets(folders[1])


@pytest.mark.slow
def test_scores_do_not_depend_on_the_global_seed(tmp_path, run, undisturbed, monkeypatch):
    """Third-party code is seeded with a constant; another constant changes nothing."""
    monkeypatch.setattr("calib_sweep.run.SEAT_BELT_SEED", 12345)
    run(tmp_path, *GRID)
    assert scores(tmp_path) == scores(undisturbed)
