"""Many runs brought over at once: each of them once, by its id, whatever happens in between."""

import shutil
import signal
import subprocess
import sys
import threading
import time

import psutil
import pytest
from helpers.benchmark_scripts import run_benchmark
from helpers.calibrated_cells import make_calibrated_cell
from helpers.signals import hear
from helpers.wandb_server import answer, hang, serving

from calib_sweep.results.store import Store
from calib_sweep.tracking import client_process, sync
from calib_sweep.tracking.mirrored import run_id
from calib_sweep.tracking.wandb import WandbTracking

NUM_CELLS = 9  # more than one client has its start worth


@pytest.fixture
def server():
    with serving() as server:
        yield server
    client_process.end()


@pytest.fixture
def store(tmp_path, server, monkeypatch):
    for key, value in server.environment(tmp_path).items():
        monkeypatch.setenv(key, value)
    for number in range(NUM_CELLS):
        make_calibrated_cell(tmp_path / "results" / "many", number)
    return Store(tmp_path / "results", "many")


def bring_over(store, *words):
    return sync.main([str(store.folder), "tracking.wandb.timeout_s=60", *words])


@pytest.mark.slow
def test_runs_are_brought_over_at_once_and_each_only_once(server, store, capsys):
    together = threading.Barrier(2, timeout=60)

    def meet(handler):
        """Answer the first request of a run when another run has asked its own."""
        together.wait()
        server.faults.clear()
        answer(503)(handler)  # W&B's client asks again

    server.faults["UpsertBucket"] = meet
    assert bring_over(store) == sync.DONE
    assert not together.broken
    assert f"{NUM_CELLS} cells are now in W&B, 0 left" in capsys.readouterr().out
    ids = {run_id("many", f"{number:012x}") for number in range(NUM_CELLS)}
    assert server.runs.keys() == ids
    for number in range(NUM_CELLS):
        run = server.runs[run_id("many", f"{number:012x}")]
        assert run.summary["acc/mean"] == 0.5 + number / 1000 and run.exit_code == 0
        assert [step["_step"] for step in run.history.values()] == [0]
    (used,) = server.artifacts.of_type("calibration-set")
    assert set(used.used_by) == ids

    num_asked = len(server.asked)
    assert bring_over(store) == sync.DONE
    assert len(server.asked) == num_asked


@pytest.mark.slow
def test_runs_are_made_again_in_the_project_that_is_typed_and_once(server, store, capsys):
    """That of before may be gone; W&B never takes the id of a run that was deleted there again."""
    for folder in sorted(store.folder.glob("tiny-*"))[2:]:
        shutil.rmtree(folder)
    assert bring_over(store) == sync.DONE
    assert {run.told["project"] for run in server.runs.values()} == {"calib_sweep"}
    typed = "tracking.wandb.project=second"
    for told in ("2 cells are now in W&B, 0 left", "0 cells are now in W&B, 0 left"):
        capsys.readouterr()
        assert bring_over(store, typed) == sync.DONE
        assert told in capsys.readouterr().out
    assert {run.told["project"] for run in server.runs.values()} == {"second"}
    num_asked = len(server.asked)
    assert bring_over(store) == sync.DONE  # nothing is typed: they are in W&B
    assert len(server.asked) == num_asked


@pytest.mark.slow
def test_a_cell_that_is_deleted_meanwhile_is_not_left(server, store, capsys):
    (gone, *others) = sorted(store.folder.glob("tiny-*"))

    def delete(handler):
        server.faults.clear()
        shutil.rmtree(gone)
        answer(503)(handler)

    for folder in others[1:]:
        shutil.rmtree(folder)
    server.faults["UpsertBucket"] = delete
    bring_over(store)
    assert "0 left" in capsys.readouterr().out


@pytest.mark.slow
def test_what_is_refused_time_and_again_is_not_asked_for_every_run(server, store, capsys):
    server.faults["UpsertBucket"] = answer(401)
    assert bring_over(store) == sync.SOME_LEFT
    assert server.asked.count("UpsertBucket") <= sync.MAX_REFUSED + 1  # as many as are under way
    assert f"0 cells are now in W&B, {NUM_CELLS} left" in capsys.readouterr().out
    server.faults.clear()
    assert bring_over(store) == sync.DONE
    assert len(server.runs) == NUM_CELLS


@pytest.mark.slow
def test_who_one_is_is_asked_for_once_of_a_server_that_does_not_say(
    server, store, capsys, monkeypatch
):
    monkeypatch.delenv("WANDB_MODE")
    server.faults["Viewer"] = answer(401)
    assert bring_over(store) == sync.SOME_LEFT
    told = capsys.readouterr().out
    assert told.startswith("W&B does not say who you are (") and "Run the same command" in told
    server.faults.clear()
    assert server.runs == {} and bring_over(store) == sync.DONE
    assert len(server.runs) == NUM_CELLS


@pytest.mark.slow
def test_ctrl_c_ends_all_clients_at_once(server, store):
    server.faults["UpsertBucket"] = hang
    command = [sys.executable, "-m", "calib_sweep", "sync", str(store.folder)]
    with subprocess.Popen(
        [*command, "tracking.wandb.timeout_s=600"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=hear,
    ) as started:
        try:
            deadline = time.monotonic() + 120
            while server.asked.count("UpsertBucket") < 2:  # both clients wait for an answer
                assert started.poll() is None and time.monotonic() < deadline
                time.sleep(0.1)
            family = psutil.Process(started.pid).children(recursive=True)
            started.send_signal(signal.SIGINT)
            assert started.wait(60) != sync.DONE
        finally:
            started.kill()
    _, alive = psutil.wait_procs(family, timeout=20)
    assert [one for one in alive if one.status() != psutil.STATUS_ZOMBIE] == []
    server.faults.clear()
    assert bring_over(store) == sync.DONE
    assert len(server.runs) == NUM_CELLS


@pytest.mark.slow
def test_a_run_under_its_id_is_one_run_however_often_it_is_made(server, store):
    """A mark may be lost: its run is written over, and not added to."""
    settings = {"project": "p", "entity": None, "mode": "auto", "tags": [], "artifacts": []}
    (folder, *_) = sorted(path.parent for path in store.folder.glob("*/record.json"))
    for _ in range(2):
        WandbTracking(**settings, timeout_s=60).mirror_cell(folder, "0" * 12, "name")
    ((name, run),) = server.runs.items()
    assert name == run_id("many", "0" * 12)
    assert [step["_step"] for step in run.history.values()] == [0]


@pytest.mark.slow
def test_the_benchmark_brings_all_over_and_says_how_long_it_took():
    lines = run_benchmark("mirror.py", "--runs", 9, "--latency", 0).splitlines()
    assert [line.rpartition(":")[0] for line in lines if not line.startswith("sync /")] == [
        "a cell, artifacts []",
        "a cell, artifacts ['items']",
        "a cell, artifacts ['calibration-set', 'items']",
        "sync of 9 runs by 1 clients",
        "sync of 9 runs by 8 clients",
    ]
