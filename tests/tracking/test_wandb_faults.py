"""W&B online that hangs, errs or breaks off at any request: nothing is lost, one bounded attempt.

The client is W&B's own, the server is on the loopback device. A command line is typed where it
counts; elsewhere records are made up, and mirrored as a command mirrors them.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
from helpers.calibrated_cells import make_calibrated_cell
from helpers.sweeps import read_records
from helpers.wandb_server import answer, hang, reset, serving, sign_in

from calib_sweep.analysis.report.write import write_report
from calib_sweep.results.store import Store
from calib_sweep.tracking import client_process, sync
from calib_sweep.tracking.mirrored import ITEM_SCORES, SET, run_id
from calib_sweep.tracking.wandb import WandbTracking

MARKS = WandbTracking.marks

OF_A_CELL = ["UpsertBucket", "file_stream", "CreateRunFiles", "upload"]
OF_THE_REPORT = ["Viewer", "ArtifactType", "CreateArtifact", "CreateArtifactManifest"]
OF_THE_REPORT += ["CreateArtifactFiles", "CommitArtifact"]
OF_ARTIFACTS = ["CreateArtifact", "CommitArtifact", "UseArtifact"]
RETRIED = {"hang": hang, "500": answer(500), "reset": reset}  # by W&B's client, without end
FAULTS = RETRIED | {"403": answer(403)}  # it gives up at once, and says that all is well
HARMLESS = ("ArtifactType", "403")  # W&B's client asks for advice alone, and does without
MORE_FAULTS = {"401": answer(401), "429": answer(429), "503": answer(503), "page": sign_in}
BOTH = [SET, ITEM_SCORES]
TIMEOUT_S, AMPLE_S = 2, 60
SLACK_S = 8  # for the client to start on a machine that is busy


@pytest.fixture
def server():
    with serving() as server:
        yield server
    client_process.end()


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    """The results of three finished cells with items and a set, and a report of a few files."""
    results = tmp_path_factory.mktemp("template") / "results"
    for number in range(3):
        make_calibrated_cell(results / "online", number)
    write_report(results / "online")
    report = results / "online" / "report"
    for path in [*sorted(report.glob("tables/*.csv"))[2:], *sorted(report.glob("figures/*"))[2:]]:
        path.unlink()
    return results


@pytest.fixture
def store(tmp_path, server, template, monkeypatch):
    """A copy of the template, of a user who is logged in at `server`."""
    for key, value in server.environment(tmp_path).items():
        monkeypatch.setenv(key, value)
    shutil.copytree(template, tmp_path / "results")
    return Store(tmp_path / "results", "online")


def tracking(**fields):
    settings = {"project": "p", "entity": None, "mode": "auto", "tags": [], "artifacts": []}
    return WandbTracking(**(settings | {"timeout_s": TIMEOUT_S} | fields))


def mirror(store, **fields):
    """Mirror what is missing, as the end of every command does; return the seconds it took."""
    start = time.monotonic()
    folders = sorted(path.parent for path in store.folder.glob("*/record.json"))
    cells = [SimpleNamespace(folder_name=folder.name, title=folder.name) for folder in folders]
    tracking(**fields).log_missing(cells, store)
    tracking(**fields).log_report(store)
    return time.monotonic() - start


def bring_over(store, *words):
    return sync.main([str(store.folder), f"tracking.wandb.timeout_s={AMPLE_S}", *words])


def assert_whole(server, folder):
    """Every finished cell is a run that holds its record, and the report is one."""
    records = {record["cell_id"]: record for record in read_records(folder)}
    runs = {name.rpartition("-")[0]: run for name, run in server.runs.items()}
    assert len(runs) == len(server.runs) and runs.keys() == {*records, "analysis"}
    for cell_id, record in records.items():
        run = runs[cell_id]
        assert (run.told["groupName"], run.told["jobType"], run.exit_code) == ("online", "cell", 0)
        steps = [run.history[number] for number in sorted(run.history)]
        assert [step["_step"] for step in steps] == list(range(len(steps)))  # nothing twice
        for kept in (run.summary, steps[-1]):
            assert {key: kept[key] for key in record["scores"]} == record["scores"]
    report = runs["analysis"]
    assert any("report_" in file and file.endswith(".html") for file in report.files)
    assert "conclusion" in report.summary and report.exit_code == 0
    for place in [*(path.parent for path in folder.glob("*/record.json")), folder / "report"]:
        assert MARKS.read(place)["is_online"]


@pytest.mark.slow
def test_a_fault_costs_one_bounded_attempt_and_nothing_is_lost(server, store, caplog):
    server.faults["UpsertBucket"] = hang
    mirror(store, timeout_s=0.2)
    assert MARKS.is_waiting(store.folder) and caplog.text.count("W&B did not take") == 1
    assert f"type: python -m calib_sweep sync {store.folder}" in caplog.records[-1].getMessage()
    server.faults.clear()
    num_asked = len(server.asked)
    mirror(store)
    assert len(server.asked) == num_asked  # nobody had asked for it
    assert bring_over(store) == sync.DONE
    assert_whole(server, store.folder)
    num_asked = len(server.asked)
    mirror(store)
    assert len(server.asked) == num_asked  # mirrored once


@pytest.mark.slow
def test_a_sweep_outlives_a_server_that_hangs_and_is_brought_over_when_asked(
    run_cli, tiny_world, tmp_path, server
):
    environment = server.environment(tmp_path)
    kept = [word for word in tiny_world if word != "tracking=none"]
    command = ["-m", *kept, "method=magnitude", "sweep_name=online", "tracking=wandb"]
    start = time.monotonic()
    offline = ("sweep_name=offline", "tracking.wandb.mode=offline")
    assert run_cli(*command, *offline, cwd=tmp_path, env=environment).code == 0
    offline_s = time.monotonic() - start
    server.faults["UpsertBucket"] = hang
    ended = run_cli(*command, "tracking.wandb.timeout_s=0.2", cwd=tmp_path, env=environment)
    took_s = time.monotonic() - start - offline_s
    assert took_s < 2 * offline_s + 0.2 + client_process.GRACE_S
    folder = tmp_path / "results" / "online"
    assert ended.code == 0 and "2 cells, 2 done" in ended.out
    assert ended.err.count("W&B did not take") == 1
    told = f"When it answers, type: python -m calib_sweep sync {folder}"
    assert ended.err.rstrip().endswith(told)
    server.faults.clear()
    num_asked = len(server.asked)
    assert run_cli(*command, cwd=tmp_path, env=environment).err.rstrip().endswith(told)
    assert len(server.asked) == num_asked  # nobody had asked for it

    again = ["sync", "results/online", f"tracking.wandb.timeout_s={AMPLE_S}"]
    synced = run_cli(*again, cwd=tmp_path, env=environment)
    assert synced.code == 0 and "2 cells are now in W&B, 0 left" in synced.out, synced
    assert_whole(server, folder)
    num_asked = len(server.asked)
    assert "W&B lacks" not in run_cli(*command, cwd=tmp_path, env=environment).err
    assert len(server.asked) == num_asked  # mirrored once


@pytest.mark.slow
@pytest.mark.parametrize(
    ("request_name", "kind"),
    [
        (name, kind)
        for name in [*OF_A_CELL, *OF_THE_REPORT]
        for kind in FAULTS
        if (name, kind) != HARMLESS
    ],
)
def test_a_fault_at_any_request_costs_one_bounded_attempt_and_nothing_is_lost(
    request_name, kind, server, store, caplog
):
    """From the second run on; what only the report asks fails there."""
    assert_one_attempt(server, store, caplog, request_name, FAULTS[kind])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("request_name", "kind"),
    [
        *[(name, kind) for name in ("UpsertBucket", "file_stream") for kind in MORE_FAULTS],
        *zip(OF_ARTIFACTS, ("hang", "429", "401"), strict=True),
        ("CreateArtifact", "403"), ("UseArtifact", "500"), ("ArtifactByID", "reset"),
    ],
)  # fmt: skip
def test_a_refusal_or_a_fault_at_an_artifact_costs_one_bounded_attempt(
    request_name, kind, server, store, caplog
):
    fault = (FAULTS | MORE_FAULTS)[kind]
    num_good = 0 if request_name == "ArtifactByID" else 1  # a client looks a set up once
    assert_one_attempt(server, store, caplog, request_name, fault, num_good, artifacts=BOTH)
    (used,) = server.artifacts.of_type(SET)
    runs = {run_id("online", record["cell_id"]) for record in read_records(store.folder)}
    assert set(used.used_by) == runs
    assert {one.made_by for one in server.artifacts.of_type(ITEM_SCORES)} == runs


@pytest.mark.slow
def test_a_refusal_of_advice_loses_nothing(server, store, caplog):
    name, kind = HARMLESS
    server.faults[name] = FAULTS[kind]
    mirror(store, timeout_s=AMPLE_S, artifacts=BOTH)
    assert name in server.asked and not MARKS.is_waiting(store.folder), caplog.text
    assert_whole(server, store.folder)
    assert len(server.artifacts.of_type(ITEM_SCORES)) == 3


@pytest.mark.slow
def test_a_server_that_answers_too_slowly_costs_the_time_of_one_run(server, store, caplog):
    server.latency_s = TIMEOUT_S / 2  # of each answer; a run asks for more than four
    took_s = mirror(store, artifacts=BOTH)
    assert took_s < 2 * SLACK_S + TIMEOUT_S + client_process.GRACE_S
    assert MARKS.is_waiting(store.folder) and caplog.text.count("W&B did not take") == 1
    server.latency_s = 0.0
    assert bring_over(store) == sync.DONE
    assert_whole(server, store.folder)


def assert_one_attempt(server, store, caplog, request_name, fault, num_good=1, **fields):
    """A fault of the server is noticed once, and made good by `sync` when it is over."""
    server.faults[request_name] = fault
    server.num_good_runs = num_good
    took_s = mirror(store, **fields)
    assert took_s < 4 * SLACK_S + TIMEOUT_S + client_process.GRACE_S
    assert MARKS.is_waiting(store.folder) and caplog.text.count("W&B did not take") == 1
    assert mirror(store, **fields) < 1
    marks = [MARKS.read(path.parent) for path in store.folder.glob("*/record.json")]
    in_w_and_b = [run for run in server.runs.values() if run.exit_code == 0]
    assert len([mark for mark in marks if mark]) <= len(in_w_and_b)  # no mark says more than is so
    server.faults.clear()
    assert bring_over(store) == sync.DONE
    assert_whole(server, store.folder)
    assert not MARKS.is_waiting(store.folder)


@pytest.mark.slow
@pytest.mark.parametrize("kind", sorted(RETRIED.keys() - {"hang"}))
@pytest.mark.parametrize("request_name", OF_A_CELL)
def test_a_fault_that_passes_in_time_is_not_noticed(request_name, kind, server, store, caplog):
    def once(handler):
        server.faults.clear()
        RETRIED[kind](handler)

    server.faults[request_name] = once
    mirror(store, timeout_s=AMPLE_S)
    assert not [r for r in caplog.records if r.levelname == "WARNING"], caplog.text
    assert_whole(server, store.folder)


def test_a_client_that_does_not_start_in_time_is_ended(monkeypatch):
    client_process.end()
    monkeypatch.setattr(client_process, "START_S", 0.0)
    with pytest.raises(client_process.MirrorError, match="no answer within 0 s"):
        tracking().current_mode()
    assert not [child for child in psutil.Process().children() if "wandb" in str(child.cmdline())]


@pytest.mark.slow
def test_workers_of_one_sweep_try_once_and_sync_stops_at_the_first_silence(
    server, store, capsys, monkeypatch
):
    server.faults["UpsertBucket"] = hang
    mirror(store)
    program = (
        "import sys; import test_wandb_faults as t; from calib_sweep.results.store import Store\n"
        "print(t.mirror(Store(sys.argv[1], 'online')))"
    )
    here = Path(__file__).parent
    other = subprocess.run(
        [sys.executable, "-c", program, str(store.results_dir)],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([*sys.path, str(here)])},
    )
    assert float(other.stdout) < 1, other.stderr

    start = time.monotonic()
    assert sync.main([str(store.folder), f"tracking.wandb.timeout_s={TIMEOUT_S}"]) == sync.SOME_LEFT
    assert time.monotonic() - start < TIMEOUT_S + client_process.GRACE_S + SLACK_S
    told = capsys.readouterr().out
    assert "0 cells are now in W&B, 3 left" in told and "Run the same command to go on" in told
    assert MARKS.is_waiting(store.folder)


@pytest.mark.slow
def test_sync_goes_on_behind_a_cell_that_w_and_b_refuses(server, store, capsys):
    def once(handler):
        server.faults.clear()
        answer(403)(handler)

    server.faults["UpsertBucket"] = once
    assert bring_over(store) == sync.SOME_LEFT
    assert "2 cells are now in W&B, 1 left" in capsys.readouterr().out
    assert bring_over(store) == sync.DONE
    assert_whole(server, store.folder)


@pytest.mark.slow
@pytest.mark.parametrize("when", ["at rest", "at work"])
def test_a_program_that_is_killed_leaves_no_client_and_no_service(when, server, store):
    program = (
        "import sys, time; from calib_sweep.tracking.client_process import ask\n"
        "settings = dict(project='p', entity=None, mode='auto', tags=[], artifacts=[])\n"
        "settings |= dict(timeout_s=4)\n"
        "folder = sys.argv[1]\n"
        "where = dict(folder=folder, name='')\n"
        "log = lambda run: ask('wandb', 'log_cell', settings, run_id=run, **where)\n"
        "log('a')\n"
        "print('ready', flush=True)\n"
        "log('b') if sys.argv[2:] else None\n"
        "time.sleep(60)"
    )
    folder = next(store.folder.glob("tiny-*"))
    server.num_good_runs, server.faults["file_stream"] = 1, hang
    arguments = [sys.executable, "-c", program, str(folder), *(["on"] if when == "at work" else [])]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as started:
        assert started.stdout.readline() == "ready\n"
        time.sleep(1)
        family = psutil.Process(started.pid).children(recursive=True)
        assert len(family) >= 2  # the client and its service, and what these may just be asking
        started.send_signal(signal.SIGKILL)
    _, alive = psutil.wait_procs(family, timeout=20)
    assert [one for one in alive if one.status() != psutil.STATUS_ZOMBIE] == []
