"""The store: records appear whole, once, and a finished one is never overwritten."""

import json
import os

import pytest

from calib_sweep.errors import ConfigError, StoreError
from calib_sweep.results.record import new_record
from calib_sweep.results.store import Store, read_record


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
    assert "cannot be read" in caplog.text and "runs again" in caplog.text
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
    with pytest.raises(ConfigError, match=r"results_dir=.*can be written.*Set results_dir"):
        Store(blocked, "default").require_writable()
