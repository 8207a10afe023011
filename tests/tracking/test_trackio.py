"""Trackio's own client, whose database is read back by Trackio."""

import json
import subprocess
import sys
from importlib.util import find_spec

import pytest
from helpers.mirrored_sweeps import cells_of, finished_sweep, mirror
from helpers.mlflow_server import serving

from calib_sweep.tracking import client_process
from calib_sweep.tracking.trackio import TrackioTracking

pytestmark = pytest.mark.skipif(find_spec("trackio") is None, reason="trackio is not installed")

READER = """
import json, sys, trackio
from trackio.sqlite_storage import SQLiteStorage
runs = {}
for run in trackio.Api().runs("mine"):
    logs = SQLiteStorage.get_logs("mine", run.name, run_id=run.id)
    runs[run.name] = {"config": run.config, "logs": logs}
print("\\n" + json.dumps(runs, default=str))
"""


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))
    yield finished_sweep(tmp_path / "results", num_cells=2)
    client_process.end()


def read_runs():
    """All runs, as a program reads them that begins with TRACKIO_DIR as it is now."""
    command = [sys.executable, "-c", READER]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.slow
def test_runs_are_what_trackio_reads_and_are_replaced_when_made_again(store, caplog):
    tracker = TrackioTracking(project="mine", timeout_s=60)
    mirror(tracker, store)
    assert "did not take" not in caplog.text
    runs = read_runs()
    assert len(runs) == 3
    mark = tracker.marks.read(store.folder / "tiny-wanda-000000000001")
    assert mark["run"].endswith("trackio/mine.db") and not mark["is_online"]
    name = f"tiny-wanda-000000000001 [{mark['id']}]"
    config, logs = runs[name]["config"], runs[name]["logs"]
    assert config["cell.settings.method.sparsity"] == 0.5 and config["run"]["id"] == mark["id"]
    errors = {
        log["step"]: log["layers/output_error/up"]
        for log in logs
        if "layers/output_error/up" in log
    }
    assert errors == {0: 0.5, 1: 0.25}
    (scores,) = [log for log in logs if "acc/mean" in log]
    assert scores["acc/mean"] == 0.625 and scores["status"] == "done"
    report = runs[next(key for key in runs if key.startswith("analysis"))]["logs"]
    assert any("conclusion" in log for log in report)
    assert any(key.startswith("tables/") for log in report for key in log)

    (store.folder / "tiny-wanda-000000000001" / "trackio.json").unlink()
    cells = cells_of(store)
    cells[1].title = "longer"  # as in a sweep that has grown
    tracker.log_missing(cells, store)
    again = read_runs()
    longer = f"longer [{mark['id']}]"
    assert again.keys() == {longer, *runs} - {name} and len(again[longer]["logs"]) == len(logs)


@pytest.mark.slow
def test_what_cannot_be_written_ends_nothing(store, tmp_path, caplog):
    (tmp_path / "trackio").write_text("a file where a folder is wanted")
    mirror(TrackioTracking(project="mine", timeout_s=60), store)
    assert caplog.text.count("Trackio did not take") == 1
    assert "Trackio lacks 3 runs of this sweep" in caplog.text


@pytest.mark.slow
def test_runs_stay_on_this_disk_whatever_else_uses_trackio_here(store, caplog, monkeypatch):
    tracker = TrackioTracking(project="mine", timeout_s=60)
    with serving() as server:
        monkeypatch.setenv("TRACKIO_SERVER_URL", f"{server.uri}/?write_token=secret")
        mirror(tracker, store)
        client_process.end()
    assert server.asked == [] and "did not take" not in caplog.text
    assert tracker.marks.num_missing(store.folder) == 0
