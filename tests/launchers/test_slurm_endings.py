"""Jobs that are told to end, and a SLURM that is away for a while, on a real one-machine SLURM."""

import os
import re
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from helpers import drowsy
from helpers.sweeping import Results, starts, wait_until

GRID = ["-m", "method=drowsy,magnitude", "seed=0"]
NUM_CELLS = 3
POLL_S = 0.5
pytestmark = pytest.mark.slow


@pytest.fixture
def sweep(tmp_path, tiny_world, run_cli, slurm) -> Callable:
    """`sweep(meanwhile, *options)`: one job with all cells; `meanwhile(bed)` once it sleeps.

    words: of the grid, beyond GRID.
    """
    bed = tmp_path / "bed"
    environment = slurm.environment | drowsy.environment(tmp_path)

    def run(
        meanwhile: Callable[[Path], None],
        *options: str,
        env: dict[str, str] | None = None,
        words: Sequence[str] = (),
    ):
        def act() -> None:
            wait_until(bed.exists, timeout_s=240)
            meanwhile(bed)

        thread = threading.Thread(target=act, daemon=True)
        thread.start()
        launcher = ["hydra/launcher=slurm", "cells_per_worker=10", f"poll_s={POLL_S}", *options]
        ended = run_cli(
            *(*GRID, *words, *tiny_world, f"results_dir={tmp_path}"),
            *(launcher[0], *(f"hydra.launcher.{option}" for option in launcher[1:])),
            cwd=tmp_path,
            env=environment | (env or {}),
        )
        thread.join()
        return ended, Results(tmp_path)

    return run


def logs_of(results: Results) -> list[str]:
    """What the jobs wrote, in the order of their numbers."""
    paths = results.folder.glob(".submitit/*/*_log.err")
    return [path.read_text() for path in sorted(paths, key=lambda p: int(p.parent.name))]


def assert_made_good(ended, results: Results, signal: str) -> None:
    """The job gave back the cell that it ran; a second one did what was left, and no more."""
    assert ended.code == 0, ended.err
    assert f"{NUM_CELLS} done, 0 failed" in ended.out
    assert len(results.scores()) == NUM_CELLS  # none of them failed
    assert results.claims() == []
    assert re.findall(r"(\d) SLURM jobs? submitted", ended.err) == ["1", "1"]
    first, second = logs_of(results)
    assert f"told to end by {signal}: the cell that ran here can be taken by others" in first
    assert "Traceback" not in first and " failed" not in first
    assert [len(starts(first)), len(starts(second))] == [2, 2]  # dense, drowsy; drowsy, magnitude


def test_a_job_out_of_time_goes_on_from_the_queue_behind_the_last_block(sweep, slurm, tmp_path):
    """SLURM says so half a minute before, or up to a minute earlier."""
    method = tmp_path / "conf/method/drowsy.yaml"
    method.write_text(method.read_text().replace("after: 0", "after: 20"))  # layers, 7 in a block
    ended, results = sweep(
        *(lambda bed: slurm.go_on(), "timeout_min=2", "signal_delay_s=30", "cells_per_worker=1"),
        words=("checkpoint=blocks", "checkpoint_seconds=0"),
    )
    assert ended.code == 0, ended.err
    assert len(results.scores()) == NUM_CELLS
    assert re.findall(r"(\d) SLURM jobs? submitted", ended.err) == ["3"]
    (log,) = [log for log in logs_of(results) if "told to end" in log]
    assert "told to end by SIGUSR2: the cell that ran here can be taken by others" in log
    assert log.count("back in the queue: it goes on from there") == 1
    assert "Traceback" not in log and " failed" not in log
    assert list(starts(log).values()) == [2]  # it had settled no cell
    (of_cell,) = results.folder.glob("*-drowsy-*/log.txt")
    assert "goes on behind 2 blocks that were compressed before" in of_cell.read_text()


def test_a_job_that_somebody_puts_back_into_the_queue_goes_on_there(sweep, slurm):
    def requeue(bed: Path) -> None:
        job_id = slurm.run("squeue", "--noheader", "--array", "--format=%i").strip()
        slurm.run("scontrol", "requeue", job_id)
        slurm.go_on()

    ended, results = sweep(requeue)
    assert ended.code == 0, ended.err
    assert len(results.scores()) == NUM_CELLS and results.claims() == []
    assert re.findall(r"(\d) SLURM jobs? submitted", ended.err) == ["1"]
    (log,) = logs_of(results)
    assert "told to end by SIGTERM" in log and "back in the queue" not in log
    assert sorted(starts(log).values()) == [1, 1, 2]


def test_a_job_of_several_ranks_that_is_out_of_time_goes_back_into_the_queue_too(sweep, slurm):
    """One rank sleeps in a layer, and the other one waits for it: whoever notices first."""

    def tell(bed: Path) -> None:
        job_id = slurm.run("squeue", "--noheader", "--array", "--format=%i").strip()
        slurm.run("scancel", "--signal=USR2", job_id)  # as SLURM does before the time is over
        slurm.go_on()

    ended, results = sweep(
        *(tell, "tasks_per_node=2", "cpus_per_task=1"),
        words=("ranks_per_cell=2", "rank_timeout_s=10", "checkpoint=blocks"),
    )
    assert ended.code == 0, ended.err
    assert len(results.scores()) == NUM_CELLS and results.claims() == []
    assert re.findall(r"(\d) SLURM jobs? submitted", ended.err) == ["1"]
    log = "".join(path.read_text() for path in results.folder.glob(".submitit/*/*_log.err"))
    assert log.count("back in the queue: it goes on from there") == 1


def test_a_job_cancelled_by_somebody_gives_its_cell_back(sweep, slurm):
    ended, results = sweep(lambda bed: slurm.run("scancel", f"--user={os.geteuid()}"))
    assert_made_good(ended, results, "SIGTERM")
    assert "ended without a result (CANCELLED)" in ended.err


def assert_undisturbed(ended, results: Results) -> None:
    assert ended.code == 0, ended.err
    assert len(results.scores()) == NUM_CELLS
    assert re.findall(r"(\d) SLURM jobs? submitted", ended.err) == ["1"]
    assert starts(*logs_of(results)) == dict.fromkeys(starts(*logs_of(results)), 1)


def test_a_controller_that_restarts_ends_no_job(sweep, slurm):
    def restart(bed: Path) -> None:
        slurm.restart_controller(away_s=6 * POLL_S)
        time.sleep(6 * POLL_S)
        (bed / "woken").touch()

    ended, results = sweep(restart)
    assert_undisturbed(ended, results)


def test_a_squeue_that_shows_nothing_for_a_while_ends_no_job(sweep, tmp_path):
    blank = tmp_path / "bin" / "squeue"
    blank.parent.mkdir()
    blank.write_text("#!/bin/sh\nexit 0\n")
    blank.chmod(0o755)

    def wait(bed: Path) -> None:
        time.sleep(10 * POLL_S)
        blank.unlink()
        time.sleep(4 * POLL_S)
        (bed / "woken").touch()

    ended, results = sweep(wait, env={"PATH": f"{blank.parent}:{os.environ['PATH']}"})
    assert_undisturbed(ended, results)
