"""A command with workers beside it: the same scores as by one, whatever becomes of them."""

import json
import os
import signal
import subprocess

import pytest
from helpers import drowsy
from helpers.signals import hear
from helpers.sweeping import Results, program, starts, wait_until

GRID = ["-m", "method=drowsy,wanda", "replicate=0,1"]
NUM_CELLS = 5  # with the dense one
pytestmark = pytest.mark.slow


@pytest.fixture
def start(tmp_path, tiny_world):
    """`start()`: the grid by two workers; returns once the one beside the command sleeps."""
    processes, is_asleep = [], (tmp_path / "bed").is_dir

    def run():
        process = subprocess.Popen(
            [*program(), *GRID, *tiny_world, "workers=2", f"results_dir={tmp_path}/results"],
            cwd=tmp_path,
            env={**os.environ, **drowsy.environment(tmp_path, who="crew_member")},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=hear,
        )
        processes.append(process)
        wait_until(lambda: is_asleep() or process.poll() is not None, timeout_s=240)
        assert is_asleep(), process.communicate()
        return process

    yield run
    for process in processes:
        process.kill()


@pytest.fixture
def results(tmp_path):
    return Results(tmp_path / "results")


def sleeper(results, process):
    """The process beside the command that holds a cell."""
    claims = [json.loads(path.read_text()) for path in results.claims()]
    (pid,) = {claim["pid"] for claim in claims} - {process.pid}
    return pid


def has_ended(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def test_two_workers_share_a_grid_and_leave_what_one_leaves(
    start, results, run_cli, tiny_world, tmp_path
):
    process = start()
    wait_until(lambda: len(list(results.folder.glob("*/record.json"))) == NUM_CELLS - 1)
    (tmp_path / "bed/woken").touch()
    said = process.communicate(timeout=120)[1]
    assert process.returncode == 0, said
    assert sorted(starts(said).values()) == [1] * NUM_CELLS
    assert said.count(" done in ") == NUM_CELLS
    alone = [*GRID, *tiny_world, f"results_dir={tmp_path}/alone"]
    ended = run_cli(*alone, cwd=tmp_path, env={"CALIB_SWEEP_CONF": str(tmp_path / "conf")})
    assert ended.code == 0, ended.err
    assert results.scores() == Results(tmp_path / "alone").scores()
    assert results.table() == Results(tmp_path / "alone").table()
    names = [{path.name for path in folder.iterdir()} for folder in results.folder.glob("mini*")]
    assert not any(name.startswith(("claim", ".")) for name in set().union(*names))


def test_the_cell_of_a_killed_worker_is_taken_over(start, results):
    process = start()
    os.kill(sleeper(results, process), signal.SIGKILL)
    said = process.communicate(timeout=120)[1]
    assert process.returncode == 0, said
    assert "killed by SIGKILL. The others go on" in said and "taken over" in said
    assert len(results.scores()) == NUM_CELLS and results.claims() == []


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGKILL"])
def test_all_workers_end_with_the_command(name, start, results):
    process = start()
    pid = sleeper(results, process)
    process.send_signal(signal.Signals[name])
    said = process.communicate(timeout=60)[1]
    wait_until(lambda: has_ended(pid), timeout_s=20)
    if name != "SIGKILL":
        assert process.returncode == 130, said
        assert said.count("Interrupted. Finished cells are kept") == 1
        assert "Traceback" not in said and "failed" not in said and "killed" not in said
        assert results.claims() == []


def test_what_is_refused_leaves_neither_files_nor_workers(run_cli, tiny_world, tmp_path):
    words = ["-m", "method=wanda", "method.sparsity=2", "seed=0,1,2", *tiny_world, "workers=3"]
    before = children()
    ended = run_cli(*words, cwd=tmp_path)
    assert ended.code == 1 and "method.sparsity=2" in ended.err
    assert not (tmp_path / "results").exists()
    assert children() == before


def children():
    import psutil

    return {child.pid for child in psutil.Process().children(recursive=True)}
