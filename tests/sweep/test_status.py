"""The verb `status`: every state of a cell, told from the folder alone."""

import json
import os
import shutil
import time
from pathlib import Path

import pytest

from calib_sweep.processes import host_identity
from calib_sweep.results import submitted
from calib_sweep.results.claim import STALE_S, try_claim
from calib_sweep.results.grids import keep
from calib_sweep.results.record import new_record
from calib_sweep.results.store import Store
from calib_sweep.sweep import status
from calib_sweep.sweep.standing import standings


@pytest.fixture
def sweep(tmp_path, make_cell):
    """A store with a grid of a dense cell and five others; only the dense one is done."""
    store = Store(tmp_path, "first")
    cells = [make_cell(seed=seed) for seed in range(5)]
    cells = [cells[0].dense(), *cells]
    keep(store, cells, ["-m", "seed=range(5)"])
    finish(store, cells[0], seconds=10.0)
    return store, cells


def finish(store, cell, seconds=1.0, error=None):
    record = new_record(cell) | {"timings_s": {"load": 50.0, "evaluate": seconds}}
    record |= {"status": "done"} if error is None else {"error": error}
    store.cell_folder(cell).mkdir(parents=True, exist_ok=True)
    (store.cell_folder(cell) / "record.json").write_text(json.dumps(record))


def claim_elsewhere(store, cell, age_s):
    """A claim of a process on another host, whose heart beat so long ago."""
    folder = store.cell_folder(cell)
    folder.mkdir(parents=True)
    claim = folder / "claim.0"
    claim.write_text(json.dumps({"host": "node9/boot", "pid": 4711, "started": "1"}))
    os.utime(claim, (time.time() - age_s,) * 2)
    (folder / "config.yaml").touch()


def states(store):
    return [one.state for one in standings(store, [])]


def test_each_cell_is_in_one_of_five_states(sweep):
    store, cells = sweep
    finish(store, cells[1], error={"type": "LinAlgError", "message": "singular"})
    claim_elsewhere(store, cells[2], age_s=0)
    claim_elsewhere(store, cells[3], age_s=STALE_S + 60)
    with try_claim(store.cell_folder(cells[4])):
        assert states(store) == ["done", "failed", "running", "lost", "running", "open"]
    assert states(store)[4] == "open"


def test_a_failed_cell_that_runs_again_is_running(sweep):
    store, cells = sweep
    finish(store, cells[1], error={"type": "LinAlgError", "message": "singular"})
    with try_claim(store.cell_folder(cells[1])):
        assert states(store)[1] == "running"


def test_a_dead_process_of_this_host_is_lost_at_once(sweep):
    store, cells = sweep
    claim_elsewhere(store, cells[1], age_s=0)
    claim = store.cell_folder(cells[1]) / "claim.0"
    claim.write_text(json.dumps({"host": host_identity(), "pid": 2**22 + 1, "started": "1"}))
    assert states(store)[1] == "lost"


def test_it_says_what_is_left_who_is_at_it_and_what_went_wrong(sweep, run_cli, tmp_path):
    store, cells = sweep
    finish(store, cells[1], seconds=100.0)
    finish(store, cells[2], error={"type": "LinAlgError", "message": "singular\nmatrix"})
    claim_elsewhere(store, cells[3], age_s=0)
    claim_elsewhere(store, cells[4], age_s=STALE_S + 60)
    ended = run_cli("status", "first", cwd=tmp_path)
    lines = ended.out.splitlines()
    assert ended.code == 3
    assert lines[0] == "sweep first: 6 cells: 2 done, 1 failed, 1 running, 1 lost, 1 open"
    # one worker: what it runs, and two more of 100 s each
    assert lines[1].endswith(" left") and "min" in lines[1]
    assert lines[2].startswith("running: tiny wanda corpus seed 2, for ")
    assert lines[2].endswith("by process 4711 on node9")
    assert lines[3].startswith("lost: tiny wanda corpus seed 3: process 4711 on node9 is gone")
    log = store.cell_folder(cells[2]).name + "/log.txt"
    assert lines[4].startswith("failed: tiny wanda corpus seed 1: LinAlgError: singular matrix")
    assert log in lines[4] and len(lines) == 5


def test_the_time_left_is_that_of_the_cells_over_those_that_run(sweep):
    store, cells = sweep
    finish(store, cells[1], seconds=100.0)
    claim_elsewhere(store, cells[2], age_s=0)
    claim_elsewhere(store, cells[3], age_s=STALE_S + 60)
    estimate = status.time_left_of(standings(store, []))
    assert estimate.num_workers == 1
    assert estimate.seconds == pytest.approx(400, abs=2)  # one runs, one is lost, two are open
    claim_elsewhere(store, cells[4], age_s=0)
    estimate = status.time_left_of(standings(store, []))
    assert estimate.num_workers == 2
    assert estimate.seconds == pytest.approx(200, abs=2)


def test_a_finished_sweep_is_code_0_and_names_its_report(sweep, run_cli, tmp_path):
    store, cells = sweep
    for cell in cells[1:]:
        finish(store, cell)
    ended = run_cli("status", "first", cwd=tmp_path)
    assert ended.code == 0 and ended.out.splitlines() == [
        "sweep first: 6 cells: 6 done",
        "report: not written. Type python -m calib_sweep report first",
    ]
    (store.folder / "report").mkdir()
    (store.folder / "report/index.html").touch()
    assert "report: first/report/index.html" in run_cli("status", "first", cwd=tmp_path).out


def test_a_sweep_that_nobody_works_on_says_so(sweep, run_cli, tmp_path):
    assert "nobody works on it" in run_cli("status", "first", cwd=tmp_path).out


def test_a_folder_without_a_grid_is_told_by_what_was_begun(sweep, tmp_path):
    store, cells = sweep
    finish(store, cells[1])
    for path in store.folder.glob("grid-*.json"):
        path.unlink()
    for cell in cells[:3]:
        store.cell_folder(cell).mkdir(exist_ok=True)
        (store.cell_folder(cell) / "config.yaml").touch()
    (store.cell_folder(cells[1]) / "config.yaml").unlink(missing_ok=True)  # as import leaves it
    found = {one.title: one.state for one in standings(store, [])}
    assert sorted(found.values()) == ["done", "done", "open"]
    assert found["tiny wanda corpus seed 0"] == "done"


def test_nothing_is_written_and_a_damaged_record_stays_where_it_is(sweep, run_cli, tmp_path):
    store, cells = sweep
    (store.cell_folder(cells[0]) / "record.json").write_text("{")
    before = sorted(tmp_path.rglob("*"))
    ended = run_cli("status", "first", cwd=tmp_path)
    assert "6 open" in ended.out and "left out" in ended.err
    assert sorted(tmp_path.rglob("*")) == before


def test_a_folder_of_a_colleague_that_cannot_be_written_is_told_as_well(sweep, monkeypatch):
    from calib_sweep import atomic

    store, cells = sweep
    claim_elsewhere(store, cells[1], age_s=0)
    claim_elsewhere(store, cells[2], age_s=STALE_S + 60)

    def refuse(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(atomic, "partial_name", refuse)
    assert states(store)[1:3] == ["running", "lost"]


@pytest.mark.parametrize("words", [["nowhere"], [], ["first", "seed=1"], ["first", "--jobs"]])
def test_what_is_no_sweep_is_refused_with_an_example(words, run_cli, sweep, tmp_path):
    ended = run_cli("status", *words, cwd=tmp_path)
    assert ended.code == 1 and ended.err.startswith("ConfigError: status")


def squeue(folder: Path, text: str) -> dict[str, str]:
    """A SLURM whose queue looks like this."""
    (folder / "bin").mkdir()
    (folder / "bin/squeue").write_text(f"#!/bin/sh\nprintf '{text}'\n")
    (folder / "bin/squeue").chmod(0o755)
    return {"PATH": f"{folder / 'bin'}:{os.environ['PATH']}"}


def test_jobs_of_the_sweep_are_told_and_no_others(sweep, run_cli, tmp_path):
    store, _ = sweep
    submitted.keep(store.folder, ["12", "13"], 5)
    lines = ["12 RUNNING None", "13 PENDING Priority", "13 PENDING (Resources)", "99 RUNNING None"]
    queue = squeue(tmp_path, "\\n".join([*lines, "13 PENDING launch failed requeued held"]))
    ended = run_cli("status", "first", cwd=tmp_path, env=queue)
    assert (
        ": 2 pending, 1 pending (launch failed requeued held), 1 running\n" in ended.out
        and "5 SLURM jobs submitted on" in ended.out
    )
    assert "nobody works on it" not in ended.out


def test_without_slurm_jobs_are_told_as_far_as_they_are_known(sweep, run_cli, tmp_path):
    store, _ = sweep
    submitted.keep(store.folder, ["12"], 5)
    ended = run_cli("status", "first", cwd=tmp_path, env={"PATH": str(tmp_path)})
    assert "SLURM does not say here how they are" in ended.out
    (tmp_path / "bin").mkdir()
    shutil.copy("/bin/false", tmp_path / "bin/squeue")
    ended = run_cli("status", "first", cwd=tmp_path, env={"PATH": str(tmp_path / "bin")})
    assert "SLURM does not say here how they are" in ended.out
