"""Marks of the W&B mirror: what says that a run is there is believed only where it is."""

import json
import shutil
from types import SimpleNamespace

import pytest
from helpers.offline_runs import read_runs

from calib_sweep.results.store import Store
from calib_sweep.tracking import wandb_client
from calib_sweep.tracking.marks import Wanted
from calib_sweep.tracking.mirrored import run_id, shortened
from calib_sweep.tracking.wandb import WandbTracking

CELL_ID = "0123456789ab"
MARKS = WandbTracking.marks
MARK = {"id": "a", "run": "wandb/offline-run-1-a", "shows": "t", "project": "p", "is_online": False}
CORRUPTIONS = {
    "empty": "",
    "garbled": "\x00{",
    "a list": "[1]",
    "a number": "3",
    "null": "null",
    "no fields": "{}",
    "wrong types": json.dumps(MARK | {"shows": 3}),
    "no place": json.dumps({key: value for key, value in MARK.items() if key != "run"}),
    "an impossible place": json.dumps(MARK | {"run": "a\x00b"}),
    "of an earlier form": json.dumps({"id": "a", "run": "/x", "finished_at": "t", "project": "p"}),
    "of a run that is gone": json.dumps(MARK),
}


@pytest.fixture
def make_store(tmp_path):
    """`make_store(sweep_name, **changes)`: the store of a sweep of one finished cell."""

    def make(sweep_name="made_up", **changes):
        cell = {"model": "tiny", "method": "wanda", "dataset": "web", "seed": 0, "replicate": 0}
        record = {"schema": 1, "status": "done", "cell": cell, "cell_id": CELL_ID}
        record |= {"finished_at": "2030-01-01", "scores": {"acc/mean": 0.5}} | changes
        folder = tmp_path / "results" / sweep_name / f"tiny-wanda-{CELL_ID}"
        folder.mkdir(parents=True)
        (folder / "record.json").write_text(json.dumps(record))
        return Store(tmp_path / "results", sweep_name)

    return make


@pytest.fixture
def mirror(make_cell, monkeypatch):
    """`mirror(store)`: mirror its cell if that is missing, offline; return the cell's folder."""
    monkeypatch.setattr(type(make_cell()), "folder_name", f"tiny-wanda-{CELL_ID}")

    def go(store, **fields):
        settings = {
            "project": "p",
            "entity": None,
            "mode": "offline",
            "tags": [],
            "artifacts": [],
        } | fields
        tracking = WandbTracking(**settings, timeout_s=60)
        tracking.log_missing([make_cell()], store)
        return store.folder / f"tiny-wanda-{CELL_ID}"

    return go


@pytest.mark.parametrize("kind", CORRUPTIONS)
def test_a_mark_that_is_none_is_not_believed(kind, tmp_path):
    folder = tmp_path / "cell"
    folder.mkdir()
    (folder / "wandb.json").write_text(CORRUPTIONS[kind])
    assert MARKS.read(folder) is None


def test_a_mark_is_believed_where_the_run_is(tmp_path):
    folder, run = tmp_path / "cell", tmp_path / MARK["run"]
    folder.mkdir()
    run.mkdir(parents=True)
    mark = MARK | {"id": run_id(tmp_path.name, "a")}
    MARKS.write(folder, mark)
    assert MARKS.read(folder) is None  # no run in it
    (run / "run-a.wandb").touch()
    assert MARKS.read(folder) == mark
    assert MARKS.has(folder, "t") and not MARKS.has(folder, "later")
    assert not MARKS.has(folder, "t", Wanted(is_online=True))
    assert MARKS.has(folder, "t", Wanted(inside={"project": MARK["project"]}))
    assert not MARKS.has(folder, "t", Wanted(inside={"project": "another"}))


def test_the_mark_of_a_cell_that_was_copied_from_another_sweep_is_not_believed(tmp_path):
    """A cell in two sweeps is two runs: `merge` copies the first one's mark with the cell."""
    mark = {"id": run_id("first", CELL_ID), "run": "https://here/p/runs/x", "is_online": True}
    folders = [tmp_path / "first/cell", tmp_path / "merged/cell"]
    for folder in folders:
        folder.mkdir(parents=True)
        MARKS.write(folder, mark | {"shows": "t", "project": "p"})
    assert [MARKS.has(folder, "t") for folder in folders] == [True, False]


def test_a_damaged_mark_or_a_folder_in_its_place_is_made_again(make_store, mirror, caplog):
    store = make_store()
    folder = mirror(store)
    (folder / "wandb.json").write_text("[")
    mirror(store)
    (folder / "wandb.json").unlink()
    (folder / "wandb.json").mkdir()
    mirror(store)
    assert MARKS.read(folder)["shows"] == "2030-01-01" and "W&B" not in caplog.text
    assert len(read_runs(store.folder)) == 3
    mirror(store)
    assert len(read_runs(store.folder)) == 3


def test_a_run_whose_folder_was_deleted_is_mirrored_again(make_store, mirror):
    store = make_store()
    mirror(store)
    shutil.rmtree(store.folder / "wandb")
    folder = mirror(store)
    assert MARKS.read(folder) is not None and len(read_runs(store.folder)) == 1


def test_results_that_were_moved_keep_their_mirror(make_store, mirror, tmp_path):
    store = make_store()
    mirror(store)
    (tmp_path / "results").rename(tmp_path / "elsewhere")
    moved = Store(tmp_path / "elsewhere", store.sweep_name)
    mirror(moved)
    assert len(read_runs(moved.folder)) == 1


def test_a_disabled_run_is_no_mirror(make_store, mirror, monkeypatch):
    store = make_store()
    monkeypatch.setenv("WANDB_MODE", "disabled")
    folder = mirror(store, mode="auto")
    assert sorted(path.name for path in store.folder.rglob("*wandb*")) == []
    monkeypatch.setenv("WANDB_MODE", "offline")
    mirror(store, mode="auto")
    assert MARKS.read(folder) is not None and len(read_runs(store.folder)) == 1


def test_a_cell_in_two_sweeps_is_two_runs(make_store, mirror):
    first, second = make_store("first"), make_store("second")
    ids = {MARKS.read(mirror(store))["id"] for store in (first, second)}
    assert ids == {run_id("first", CELL_ID), run_id("second", CELL_ID)} and len(ids) == 2
    assert {run["id"] for run in read_runs(first.results_dir)} == ids
    assert all(one.startswith(f"{CELL_ID}-") for one in ids)


def test_scores_that_are_not_finite_and_names_too_long_or_odd_are_mirrored(make_store, mirror):
    cell = {"model": "m" * 300, "method": "a,b;#?/'\n", "dataset": "維" * 200, "seed": 0}
    scores = {"ppl/a": float("nan"), "ppl/b": float("inf"), "acc/mean": 0.5, "acc/lost": None}
    changes = {"scores": scores, "stderr": {"acc/mean": None, "ppl/a": float("nan")}}
    settings = {"method.name": "x" * 400}
    store = make_store("s" * 200, cell=cell | {"settings": settings}, **changes)
    folder = mirror(store, tags=["mine", "mine"])
    assert MARKS.read(folder) is not None
    (run,) = read_runs(store.folder)
    assert run["summary"]["acc/mean"] == 0.5 and run["summary"]["ppl/b"] == float("inf")
    assert not {"acc/lost", "stderr/acc/mean"} & run["summary"].keys()
    assert run["history"][-1]["ppl/a"] != run["history"][-1]["ppl/a"]  # NaN
    assert run["group"] == "s" * 128
    assert sorted(run["tags"]) == sorted(["mine", "m" * 64, cell["method"], "維" * 21])


def test_a_text_is_cut_by_bytes_between_characters():
    assert shortened("abc", 2) == "ab"
    assert shortened("a維維", 5) == "a維"
    assert shortened("a\ud800", 9) == "a?"


def test_a_run_that_cannot_be_written_is_no_mirror(make_store, mirror, caplog):
    store = make_store()
    (store.folder / "wandb").write_text("a file where W&B wants a folder")
    folder = mirror(store)
    assert MARKS.read(folder) is None and not (folder / "wandb.json").exists()
    assert f"W&B did not take {folder.name}" in caplog.text
    assert not list(folder.glob("claim.*"))


@pytest.mark.parametrize("content", ["", "[]", "folder"])
def test_a_damaged_word_that_the_mirror_waits_is_still_one(content, tmp_path):
    path = tmp_path / "wandb_waits.json"
    path.mkdir() if content == "folder" else path.write_text(content)
    assert MARKS.is_waiting(tmp_path)
    MARKS.end_waiting(tmp_path)
    assert not MARKS.is_waiting(tmp_path)
    MARKS.begin_waiting(tmp_path, "no answer")
    assert json.loads(path.read_text())["why"] == "no answer"


HEALTHY = '{"level":"INFO","msg":"stream: all finished"}\n'
ON_A_FULL_DISK = '{"level":"ERROR","msg":"writer: failed closing store: no space left on device"}\n'
REFUSED = '{"level":"ERROR","msg":"api: HTTP error","status":403,"url":"http://x/a/file_stream"}\n'
HARMLESS = '{"level":"ERROR","msg":"stream: failed to shut down analytics"}\n'


@pytest.mark.parametrize(
    ("log", "content", "is_whole"),
    [
        (HEALTHY, "x", True),
        (HARMLESS + HEALTHY, "x", True),
        (ON_A_FULL_DISK + HEALTHY, "x", False),
        (REFUSED + HEALTHY, "x", False),
        (HEALTHY, "", False),
        ("", "x", False),
        (None, "x", True),
    ],
    ids=["healthy", "harmless", "full disk", "refused", "no run", "no line", "no log"],
)
def test_a_run_is_whole_if_wandb_wrote_and_brought_over_all_of_it(log, content, is_whole, tmp_path):
    """As its log says, for `finish` does not; another version of wandb may keep none."""
    folder = tmp_path / "wandb" / "offline-run-1-a"
    (folder / "logs").mkdir(parents=True)
    (folder / "run-a.wandb").write_text(content)
    if log is not None:
        (folder / "logs" / "debug-internal.log").write_text(log)
    run = SimpleNamespace(dir=str(folder / "files"), offline=True)
    place = wandb_client._Place(run, tmp_path)
    if is_whole:
        place.require_whole()
    else:
        with pytest.raises(wandb_client.LossError):
            place.require_whole()


def test_a_run_that_wandb_wrote_elsewhere_is_no_mirror(tmp_path):
    """It takes a temporary folder where it cannot write to the one it is given."""
    run = SimpleNamespace(dir=str(tmp_path / "temporary" / "run-1-a" / "files"), offline=True)
    with pytest.raises(wandb_client.LossError, match="results cannot be written"):
        wandb_client._Place(run, tmp_path / "results").require_whole()
