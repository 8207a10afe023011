"""MLflow's own client: runs in files, read back by MLflow, and at a server with faults."""

import base64
import logging
import math
import time
from importlib.util import find_spec

import pytest
from helpers.mirrored_sweeps import cells_of, finished_sweep, mirror
from helpers.mlflow_server import serving

from calib_sweep.errors import ConfigError
from calib_sweep.tracking import client_process
from calib_sweep.tracking.mlflow import MlflowTracking

pytestmark = pytest.mark.skipif(find_spec("mlflow") is None, reason="mlflow is not installed")

TIMEOUT_S, SLACK_S = 2, 20  # slack: for the client to start on a machine that is busy


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    yield finished_sweep(tmp_path / "results of 5%20 #1?", num_cells=2)
    client_process.end()


@pytest.fixture
def server():
    with serving() as server:
        yield server
        client_process.end()


def tracker(uri=None, timeout_s=60):
    return MlflowTracking(experiment="mine", uri=uri, timeout_s=timeout_s)


def runs_in_files(store, monkeypatch):
    import mlflow  # here: it takes seconds, in every worker, whatever is tested

    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    client = mlflow.MlflowClient(tracking_uri=(store.results_dir / "mlruns").as_uri())
    experiment = client.get_experiment_by_name("mine")
    found = client.search_runs([experiment.experiment_id])
    return client, {run.data.tags["calib_sweep.run"]: run for run in found}


@pytest.mark.slow
def test_runs_in_files_are_what_mlflow_reads(store, caplog, monkeypatch):
    caplog.set_level(logging.INFO)
    mirror(tracker(), store)
    assert "did not take" not in caplog.text
    assert f"mlflow ui --backend-store-uri {store.results_dir.as_uri()}/mlruns" in caplog.text
    assert [path.name for path in store.results_dir.parent.iterdir()] == [store.results_dir.name]
    client, runs = runs_in_files(store, monkeypatch)
    assert len(runs) == 3
    mark = tracker().marks.read(store.folder / "tiny-wanda-000000000001")
    run = runs[mark["id"]]
    assert (store.folder / mark["run"]).resolve().name == run.info.run_id
    assert run.info.run_name == "tiny-wanda-000000000001" and run.info.status == "FINISHED"
    assert run.data.params["method.sparsity"] == "0.5" and run.data.params["method"] == "wanda"
    assert run.data.metrics["acc/mean"] == 0.625 and math.isinf(run.data.metrics["ppl/web"])
    assert run.data.tags["status"] == "done" and run.data.tags["sweep"] == "mirrored"
    history = client.get_metric_history(run.info.run_id, "layers/output_error/up")
    assert [(point.step, point.value) for point in history] == [(0, 0.5), (1, 0.25)]
    report = runs[tracker().marks.read(store.folder / "report")["id"]]
    names = {entry.path for entry in client.list_artifacts(report.info.run_id)}
    assert names == {"tables", "figures", "index.html"} and report.data.tags["conclusion"]


@pytest.mark.slow
def test_a_run_that_is_made_again_replaces_the_one_before(store, monkeypatch):
    cells = cells_of(store)
    tracker().log_missing(cells, store)
    _, before = runs_in_files(store, monkeypatch)
    tracker().log_missing(cells, store)
    _, same = runs_in_files(store, monkeypatch)
    ids = {key: run.info.run_id for key, run in before.items()}
    assert {key: run.info.run_id for key, run in same.items()} == ids
    (store.folder / cells[0].folder_name / "mlflow.json").unlink()
    tracker().log_missing(cells, store)
    _, after = runs_in_files(store, monkeypatch)
    assert after.keys() == before.keys()
    assert sum(run.info.run_id != ids[key] for key, run in after.items()) == 1


@pytest.mark.slow
def test_runs_at_a_server_with_files(store, server, caplog):
    caplog.set_level(logging.INFO)
    mirror(tracker(server.uri), store)
    assert "did not take" not in caplog.text and len(server.runs) == 3
    run = server.runs[f"{1:032x}"]
    scores = {metric["key"]: metric["value"] for metric in run["data"]["metrics"]}
    assert scores["acc/mean"] == 0.625 and run["info"]["status"] == "FINISHED"
    kept = {path.partition("/artifacts/7/")[2].partition("/artifacts/")[2] for path in server.files}
    assert "index.html" in kept and any(path.startswith("tables/") for path in kept)
    mark = tracker().marks.read(store.folder / "report")
    assert mark["is_online"] and mark["run"] == f"{server.uri}/#/experiments/7/runs/{2:032x}"
    asked = len(server.asked)
    mirror(tracker(server.uri), store)
    assert len(server.asked) == asked  # all of it is there


@pytest.mark.slow
@pytest.mark.parametrize("fault", [500, 401, "hang"])
def test_a_server_that_takes_nothing_costs_one_bounded_attempt_a_command(
    store, server, caplog, fault
):
    server.fault = fault
    mlflow_tracker = tracker(server.uri, TIMEOUT_S)
    for cell in cells_of(store):
        mlflow_tracker.log(_as_run(cell), {}, store)
    assert caplog.text.count("MLflow did not take") == 1
    start = time.monotonic()
    mirror(mlflow_tracker, store)
    assert time.monotonic() - start < TIMEOUT_S + client_process.GRACE_S + SLACK_S
    assert caplog.text.count("MLflow did not take") == 2  # once more, at the end
    assert "MLflow lacks 3 runs of this sweep" in caplog.text and server.runs == {}
    server.fault = None
    server.released.set()
    mirror(tracker(server.uri), store)
    assert len(server.runs) == 3 and not mlflow_tracker.marks.is_waiting(store.folder)


@pytest.mark.slow
def test_a_password_in_the_address_reaches_the_server_and_nobody_else(
    store, server, caplog, monkeypatch
):
    caplog.set_level(logging.INFO)
    uri = server.uri.replace("://", "://me:s3cr%40t@")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    server.fault = 500
    mirror(tracker(), store)
    assert "MLflow did not take" in caplog.text
    server.fault = None
    mirror(tracker(), store)
    assert len(server.runs) == 3 and tracker().marks.num_missing(store.folder) == 0
    assert base64.b64decode(server.asked_by.removeprefix("Basic ")) == b"me:s3cr@t"
    assert "s3cr" not in caplog.text
    kept = [path for path in store.folder.rglob("*") if path.is_file()]
    assert kept and not [path for path in kept if b"s3cr" in path.read_bytes()]


def test_a_password_among_the_settings_is_refused_and_not_repeated():
    for uri in ("http://me:s3cret@here:5000", "postgresql://me:s3cret@here/runs"):
        with pytest.raises(ConfigError, match="without a password") as caught:
            tracker(uri)
        assert "s3cret" not in str(caught.value) and "me:***@here" in str(caught.value)
    assert tracker("postgresql://me@here/runs").uri and tracker("http://[::1]:5000/a@b").uri


def _as_run(cell):
    cell.id = cell.folder_name.rpartition("-")[2]
    return cell


def test_mistakes_are_told_together():
    with pytest.raises(ConfigError) as caught:
        MlflowTracking(experiment=" ", uri="nowhere", timeout_s=0)
    starts = [problem.split("=")[0] for problem in caught.value.problems]
    assert starts == [f"tracking.mlflow.{key}" for key in ("experiment", "uri", "timeout_s")]
    with pytest.raises(ConfigError, match="without '"):
        MlflowTracking(experiment="it's", uri=None, timeout_s=1)
