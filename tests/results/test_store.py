"""The store: records appear whole, once, and a finished one is never overwritten."""

import json
import math
import os
import shutil
import threading

import pytest

from calib_sweep import atomic
from calib_sweep.analysis.scores.table import read_rows
from calib_sweep.errors import ConfigError, StoreError
from calib_sweep.results.reading import DamagedRecordError, read_record
from calib_sweep.results.record import new_record
from calib_sweep.results.store import Store


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path, "default")


def record_of(cell, status="done", **scores):
    return new_record(cell) | {"status": status, "scores": scores, "finished_at": "2030"}


def write(store, cell, record):
    store.cell_folder(cell).mkdir(parents=True, exist_ok=True)
    store.write(cell, record)


def test_a_record_is_read_back_as_it_was_written(store, make_cell):
    cell = make_cell(seed=0, settings={"method.sparsity": 0.5})
    record = record_of(cell, **{"ppl/a@32": 0.1 + 0.2})
    write(store, cell, record)
    assert store.find(cell) == record
    assert store.is_done(cell)
    assert record["cell"]["seed"] == 0 and record["cell"]["settings"] == {"method.sparsity": 0.5}
    assert [r["cell_id"] for r in store.records()] == [cell.id]


def test_numbers_that_are_not_finite_are_valid_json_and_come_back(store, make_cell):
    """As R, jq and a browser read it; the analysis sees what it saw when the cell ran."""
    scores = {"ppl/a@32": math.inf, "kl/a@32": math.nan, "x": -math.inf, "acc/b": 0.5}
    drawn = {"hash": "Infinity", "descriptors": {"dense_perplexity": math.nan}}
    changes = {"stderr": {"ppl/a@32": math.nan}, "calibration": drawn}
    record = record_of(make_cell(), **scores) | changes
    write(store, make_cell(), record)
    path = store.cell_folder(make_cell()) / "record.json"
    text = json.loads(path.read_text(), parse_constant=lambda name: pytest.fail(f"bare {name}"))
    assert text["scores"] == {
        "ppl/a@32": "Infinity", "kl/a@32": "NaN", "x": "-Infinity", "acc/b": 0.5
    }  # fmt: skip
    assert text["calibration"]["descriptors"] == {"dense_perplexity": "NaN"}
    found = store.find(make_cell())
    assert repr(found["scores"]) == repr(scores) and repr(found["calibration"]) == repr(drawn)
    rows = {row["metric"]: row for row in read_rows(store.folder)}
    assert {key: repr(rows[key]["value"]) for key in scores} == {
        key: repr(value) for key, value in scores.items()
    }
    assert math.isnan(rows["ppl/a@32"]["stderr"])
    write(store, make_cell(), record)  # the same result again


def test_nothing_but_the_record_is_left_behind(store, make_cell):
    write(store, make_cell(), record_of(make_cell(), a=1.0))
    assert [p.name for p in store.cell_folder(make_cell()).iterdir()] == ["record.json"]


def test_a_missing_record_is_not_done(store, make_cell):
    assert store.find(make_cell()) is None
    assert not store.is_done(make_cell())


def test_the_same_result_again_is_welcome_and_changes_nothing(store, make_cell):
    write(store, make_cell(), record_of(make_cell(), a=1.0))
    write(store, make_cell(), record_of(make_cell(), a=1.0) | {"finished_at": "2031"})
    assert store.find(make_cell())["finished_at"] == "2030"


def test_another_result_for_the_same_cell_is_an_error_and_both_are_kept(store, make_cell):
    write(store, make_cell(), record_of(make_cell(), a=1.0))
    with pytest.raises(StoreError, match="exists with different scores"):
        write(store, make_cell(), record_of(make_cell(), a=2.0))
    assert store.find(make_cell())["scores"] == {"a": 1.0}
    (aside,) = store.cell_folder(make_cell()).glob("record.conflict-*.json")
    assert json.loads(aside.read_text())["scores"] == {"a": 2.0}


def test_a_failed_record_gives_way_but_never_replaces_a_finished_one(store, make_cell):
    cell = make_cell()
    write(store, cell, record_of(cell, "failed"))
    assert not store.is_done(cell)
    write(store, cell, record_of(cell, a=1.0))
    write(store, cell, record_of(cell, "failed"))
    assert store.find(cell)["scores"] == {"a": 1.0}


@pytest.mark.parametrize("damage", ["", '{"schema": 1, "status": "do', "[]", '{"schema": 1}'])
def test_a_damaged_record_is_set_aside_and_its_cell_runs_again(store, make_cell, damage, caplog):
    cell = make_cell()
    write(store, cell, record_of(cell, a=1.0))
    path = store.cell_folder(cell) / "record.json"
    path.write_text(damage)
    with caplog.at_level("WARNING", logger="calib_sweep"):
        assert store.find(cell) is None
    assert "is damaged" in caplog.text and "runs again" in caplog.text
    (aside,) = path.parent.glob("record.broken-*.json")
    assert aside.read_text() == damage
    write(store, cell, record_of(cell, a=1.0))
    assert store.is_done(cell)


def test_a_reader_never_sees_half_a_record(store, make_cell, monkeypatch):
    """A writer that dies before the last step leaves no record at all."""
    cell = make_cell()
    store.cell_folder(cell).mkdir(parents=True)

    def die(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "link", die)
    with pytest.raises(KeyboardInterrupt):
        store.write(cell, record_of(cell, a=1.0))
    assert read_record(store.cell_folder(cell) / "record.json") is None


def test_a_results_folder_that_cannot_be_written_is_refused(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    with pytest.raises(ConfigError, match=r"results_dir=.*can be written.*Example: results_dir"):
        Store(blocked, "default").require_writable()


WRONG = [
    ("schema", "1"),
    ("schema", 0),
    ("schema", True),
    ("cell_id", 12),
    ("cell_id", "0123456789ab"),  # of another cell
    ("status", "running"),
    ("status", None),
    ("cell", []),
    ("cell", {"method": "wanda"}),
    ("config", []),
    ("inputs", None),
    ("inputs", {"model": 1}),
    ("files", ["items.parquet"]),
    ("calibration", "abc"),
    ("calibration", {"hash": 1}),
    ("compression", []),
    ("scores", [1.0]),
    ("scores", {"acc/mean": "high"}),
    ("scores", {"acc/mean": True}),
    ("scores", {"acc/mean": 10**400}),
    ("calibration", {"overlap": {"a@32": {"share": 0.5, "samples": float("inf")}}}),
    ("stderr", []),
    ("versions", None),
    ("timings_s", {"load": "long"}),
    ("peak_memory_bytes", "1 GiB"),
    ("environment", "a laptop"),
    ("error", "it broke"),
    ("error", {"type": "ValueError"}),
    ("finished_at", 2030),
]


@pytest.mark.parametrize(("field", "value"), WRONG)
def test_a_field_of_another_type_makes_no_record_for_whoever_asks(store, make_cell, field, value):
    cell = make_cell()
    write(store, cell, record_of(cell, a=1.0) | {field: value})
    path = store.cell_folder(cell) / "record.json"
    with pytest.raises(DamagedRecordError, match=rf"record\.json is damaged: .*({field}|another)"):
        read_record(path)
    (row,) = read_rows(store.folder)
    assert (row["status"], row["metric"]) == ("unreadable", None)
    assert list(store.records()) == []
    assert store.find(cell) is None and not path.exists()


def test_a_record_of_a_newer_version_is_refused_and_stays(store, make_cell):
    cell = make_cell()
    write(store, cell, record_of(cell, a=1.0) | {"schema": 2, "scores": "in another file"})
    with pytest.raises(StoreError, match=r"newer calib_sweep .schema 2, .*sweep_name=NEW_NAME"):
        store.is_done(cell)
    assert (store.cell_folder(cell) / "record.json").exists()


def test_a_finished_record_that_appears_at_the_last_moment_outlives_a_failed_one(
    store, make_cell, monkeypatch
):
    """The failed record that was read has become a finished one when its place is to be taken."""
    cell = make_cell()
    write(store, cell, record_of(cell, "failed"))
    make_room = Store._make_room

    def finish_first(path):
        monkeypatch.setattr(Store, "_make_room", staticmethod(make_room))
        write(store, cell, record_of(cell, a=1.0))
        make_room(path)

    monkeypatch.setattr(Store, "_make_room", staticmethod(finish_first))
    write(store, cell, record_of(cell, "failed") | {"finished_at": "2031"})
    assert store.find(cell)["scores"] == {"a": 1.0}
    assert [p.name for p in store.cell_folder(cell).iterdir()] == ["record.json"]


def test_what_a_killed_writer_left_is_cleared_and_a_record_it_had_in_hand_is_put_back(
    store, make_cell
):
    cell = make_cell()
    write(store, cell, record_of(cell, a=1.0))
    folder = store.cell_folder(cell)
    (folder / "record.json").rename(folder / "record.replaced-01234567.json")
    (folder / "dense_reference").mkdir()
    for place in (folder / "model", folder / "dense_reference" / "reference.safetensors"):
        partial = atomic.partial_name(place)
        partial.with_name(partial.name.replace(f"-{os.getpid()}-", f"-{2**22 + 1}-")).mkdir()
    store.tidy(cell)
    assert store.is_done(cell)
    assert {p.name for p in folder.rglob("*")} == {"record.json", "dense_reference"}


@pytest.mark.parametrize("status", ["done", "failed"])
def test_what_was_scored_is_kept_until_the_cell_is_done(store, make_cell, status):
    cell = make_cell()
    scored = store.cell_folder(cell) / ".scored"
    scored.mkdir(parents=True)
    (scored / "part.safetensors").write_text("kept")
    partial = atomic.partial_name(scored / "part.safetensors")
    partial.with_name(partial.name.replace(f"-{os.getpid()}-", f"-{2**22 + 1}-")).write_text("half")
    store.tidy(cell)
    assert [path.name for path in scored.iterdir()] == ["part.safetensors"]
    write(store, cell, record_of(cell, status))
    store.tidy(cell)
    assert scored.exists() == (status == "failed")


@pytest.mark.parametrize("present", ["", '{"schema": 1}'])
def test_a_finished_record_in_hand_outlives_a_damaged_one_in_its_place(store, make_cell, present):
    cell = make_cell()
    write(store, cell, record_of(cell, a=1.0))
    folder = store.cell_folder(cell)
    (folder / "record.json").rename(folder / "record.replaced-01234567.json")
    (folder / "record.json").write_text(present)
    store.tidy(cell)
    (kept,) = folder.glob("record.conflict-*.json")
    assert read_record(kept)["scores"] == {"a": 1.0}


def test_many_writers_at_once_leave_one_finished_record(store, make_cell):
    cell = make_cell()
    write(store, cell, record_of(cell, "failed"))
    failures = []

    def work(status):
        try:
            for _ in range(10):
                write(
                    store, cell, record_of(cell, status, **({"a": 1.0} if status == "done" else {}))
                )
        except Exception as error:
            failures.append(error)

    writers = [
        threading.Thread(target=work, args=[s]) for s in ("failed", "done", "failed", "done")
    ]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert not failures and store.find(cell)["scores"] == {"a": 1.0}
    assert [p.name for p in store.cell_folder(cell).iterdir()] == ["record.json"]


def test_a_second_result_is_told_until_one_of_the_two_is_deleted(store, make_cell):
    cell = make_cell()
    write(store, cell, record_of(cell, a=1.0))
    with pytest.raises(StoreError):
        write(store, cell, record_of(cell, a=2.0))
    (text,) = store.conflicts(cell)
    (second,) = store.cell_folder(cell).glob("record.conflict-*")
    assert cell.folder_name in text and f"delete {second.name}" in text
    second.rename(store.cell_folder(cell) / "record.json")
    assert store.conflicts(cell) == [] and store.find(cell)["scores"] == {"a": 2.0}


def test_a_mean_that_only_one_of_two_records_has_makes_no_second_result(store, make_cell):
    cell, scores = make_cell(), {"ppl/a@8": 2.0, "ppl/b@8": 8.0}
    write(store, cell, record_of(cell, **scores))
    write(store, cell, record_of(cell, **scores, **{"ppl/geomean": 4.0}))
    assert store.conflicts(cell) == []
    with pytest.raises(StoreError):
        write(store, cell, record_of(cell, **scores | {"ppl/b@8": 8.1}, **{"ppl/geomean": 4.0}))


def test_a_record_whose_place_is_a_link_to_nowhere_is_refused_not_tried_for_ever(store, make_cell):
    cell = make_cell()
    folder = store.cell_folder(cell)
    folder.mkdir(parents=True)
    (folder / "record.json").symlink_to(folder / "nowhere")
    with pytest.raises(StoreError, match="something is there that is no record"):
        store.write(cell, record_of(cell))
    assert [path.name for path in folder.iterdir()] == ["record.json"]


def test_a_record_is_written_where_the_results_folder_was_deleted_meanwhile(store, make_cell):
    store.write(make_cell(), record_of(make_cell()))
    shutil.rmtree(store.results_dir)
    store.write(make_cell(), record_of(make_cell()))
    assert store.is_done(make_cell())


def test_the_name_of_every_cell_is_on_the_disk_with_its_record(store, make_cell, monkeypatch):
    """Also where a claim has made the cell's folder; the folders above the sweep's once will do."""
    synced, sync = [], atomic.sync_folder
    monkeypatch.setattr(atomic, "sync_folder", lambda path: synced.append(path) or sync(path))
    above = {store.results_dir, store.results_dir.parent}
    for seed in range(2):
        cell = make_cell(seed=seed)
        store.cell_folder(cell).mkdir(parents=True)
        synced.clear()
        store.write(cell, record_of(cell, a=1.0))
        assert {store.folder, store.cell_folder(cell)} <= set(synced)
        assert above <= set(synced) or seed > 0


def test_a_record_that_is_listed_and_cannot_be_opened_yet_is_known(
    tmp_path, make_cell, monkeypatch
):
    """A file server's client that remembers for a while that a name was not there."""
    store, cell = Store(tmp_path, "default"), make_cell()
    assert not store.is_behind(cell)
    store.cell_folder(cell).mkdir(parents=True)
    assert not store.is_behind(cell)
    (store.cell_folder(cell) / "record.json").symlink_to("nowhere")  # waiting would be in vain
    assert not store.is_behind(cell)
    monkeypatch.setattr("os.path.lexists", lambda _: False)
    assert store.is_behind(cell)
